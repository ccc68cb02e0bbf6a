//! Names as STOMP clients write them. In the file names are MQTT's, where `/queue/…` and `/topic/…` are topics like any others, so
//! what was meant would never be met.
//!
//! Such a topic may be meant, so it is a warning.

use crate::diagnostic::quoted;
use crate::findings::{Findings, item, join};
use crate::schema::Config;

/// How STOMP clients begin the name of a topic.
const TOPIC: &str = "/topic/";
/// How they begin the name of a queue.
const QUEUE: &str = "/queue/";
/// How the file begins the topic of a queue.
const QUEUE_TOPIC: &str = "$queue/";

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (index, policy) in config.queues.iter().enumerate() {
        let path = item("queue", index);
        for (at, name) in policy.names.iter().enumerate() {
            // A policy is about queues alone, and leaves out how their topics begin.
            warn(&item(&join(&path, "names"), at), name, name.strip_prefix(QUEUE).map(write), findings);
        }
        if let Some(topic) = &policy.dead_letter {
            warn(&join(&path, "dead_letter"), topic, topic_instead(topic), findings);
        }
    }
    for (index, ring) in config.rings.iter().enumerate() {
        let topics = join(&item("replay", index), "topics");
        for (at, topic) in ring.topics.iter().enumerate() {
            let in_no_ring =
                topic.starts_with(QUEUE).then(|| "leave it out: queues are in no ring".to_owned());
            warn(&item(&topics, at), topic, in_no_ring.or_else(|| topic_instead(topic)), findings);
        }
    }
    for (index, policy) in config.topics.iter().enumerate() {
        let topics = join(&item("topic", index), "topics");
        for (at, topic) in policy.topics.iter().enumerate() {
            warn(&item(&topics, at), topic, topic_instead(topic), findings);
        }
    }
    for (index, rule) in config.access.rules.iter().enumerate() {
        let topics = join(&item("access.rule", index), "topics");
        for (at, topic) in rule.topics.iter().enumerate() {
            warn(&item(&topics, at), topic, topic_instead(topic), findings);
        }
    }
}

/// What to write instead of a destination, if the text is one.
fn topic_instead(text: &str) -> Option<String> {
    let queue = text.strip_prefix(QUEUE).map(|name| write(&format!("{QUEUE_TOPIC}{name}")));
    queue.or_else(|| text.strip_prefix(TOPIC).map(write))
}

fn write(name: &str) -> String {
    format!("write {}", quoted(name))
}

fn warn(path: &str, text: &str, instead: Option<String>, findings: &mut Findings<'_>) {
    if instead.is_some() && !findings.is_reported(path) {
        let message = format!("{} is a STOMP destination; in the file names are MQTT's", quoted(text));
        findings.warning(path, message, instead);
    }
}
