//! The policies of named queues among each other: which one is never asked, and where dead letters lead.

use tidegate_message::{ByteSize, Topic, TopicFilter, TopicPattern};

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::schema::{Config, NamedQueue};

/// Pairs of names that are compared; nobody waits for a file with more.
const COMPARISONS_MAX: usize = 200_000;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let policies: Vec<Policy<'_>> = config.queues.iter().enumerate().map(Policy::new).collect();
    for policy in &policies {
        let names = join(&policy.path, "names");
        if policy.written.names.is_empty() && !findings.is_reported(&names) {
            let message = "`names` is empty: the policy would hold for no queue";
            let suggestion = "write `names = [\"#\"]` for all queues".to_owned();
            findings.error(&names, Part::Value, message, Some(suggestion));
        }
        check_bytes(policy, config, findings);
    }
    check_order(&policies, findings);
    check_dead_letters(&policies, findings);
}

/// A policy with its place, and its names as filters of topics where they can be read.
struct Policy<'c> {
    path: String,
    written: &'c NamedQueue,
    queues: Vec<Option<TopicFilter>>,
}

impl<'c> Policy<'c> {
    fn new((index, written): (usize, &'c NamedQueue)) -> Policy<'c> {
        let filter = |name: &String| TopicFilter::parse_mqtt(format!("$queue/{name}").as_bytes()).ok();
        Policy { path: item("queue", index), written, queues: written.names.iter().map(filter).collect() }
    }

    fn is_about(&self, topic: &Topic) -> bool {
        self.queues.iter().flatten().any(|queue| queue.matches(topic))
    }
}

fn check_bytes(policy: &Policy<'_>, config: &Config, findings: &mut Findings<'_>) {
    let total = config.limits.queued_bytes_total;
    // With a store most of a long queue is on the disk.
    let in_memory = |own: &ByteSize| config.data_dir.is_none() && *own > total;
    if let Some(own) = policy.written.max_bytes.filter(in_memory) {
        let message = format!("`max_bytes` ({own}) is never reached: all queues together may hold {total}");
        findings.warning(&join(&policy.path, "max_bytes"), message, None);
    }
}

/// Warns of names that an earlier policy takes.
fn check_order(policies: &[Policy<'_>], findings: &mut Findings<'_>) {
    let mut comparisons = 0;
    for (index, policy) in policies.iter().enumerate() {
        for (at, name) in policy.written.names.iter().enumerate() {
            let earlier = policies.iter().take(index);
            comparisons += earlier.clone().map(|earlier| earlier.written.names.len()).sum::<usize>();
            if comparisons > COMPARISONS_MAX {
                return;
            }
            let covers =
                |earlier: &&Policy<'_>| earlier.written.names.iter().any(|other| covers(other, name));
            let Some(counts) = earlier.clone().find(covers) else { continue };
            let note = findings.line_note(&counts.path);
            let message = format!("{} is never asked about: an earlier policy{note} counts", quoted(name));
            let suggestion = "the first policy that fits counts: put the more special one first".to_owned();
            findings.warning(&item(&join(&policy.path, "names"), at), message, Some(suggestion));
        }
    }
}

/// Whether all queues of the second name are among those of the first.
fn covers(name: &str, other: &str) -> bool {
    // Behind `$queue/`, where a wildcard means every name.
    let pattern = |name: &str| TopicPattern::parse(&format!("$queue/{}", name.replace('%', "%%"))).ok();
    pattern(name).zip(pattern(other)).is_some_and(|(name, other)| name.covers_pattern(&other))
}

/// The policy by which messages die that are in the queue of this topic, if its dead letters go anywhere.
fn next<'p, 'c>(policies: &'p [Policy<'c>], topic: &Topic) -> Option<(&'p Policy<'c>, Topic)> {
    let policy = policies.iter().find(|policy| policy.is_about(topic))?;
    let to = Topic::parse(policy.written.dead_letter.as_deref()?.as_bytes()).ok()?;
    to.queue_name().is_some().then_some((policy, to))
}

/// A queue that is its own dead letter is a mistake. A way that comes back over other queues may be meant, and ends after some rounds.
fn check_dead_letters(policies: &[Policy<'_>], findings: &mut Findings<'_>) {
    for policy in policies {
        let path = join(&policy.path, "dead_letter");
        let letter = policy.written.dead_letter.as_deref();
        let Some(first) = letter.and_then(|text| Topic::parse(text.as_bytes()).ok()) else { continue };
        if findings.is_reported(&path) {
            continue;
        }
        let (mut at, mut steps) = (first.clone(), 0);
        while let Some((counts, to)) = next(policies, &at) {
            if to == first && steps == 0 {
                let name = first.queue_name().unwrap_or_default();
                let message =
                    format!("the dead letters of the queue {} would go to that queue itself", quoted(name));
                let suggestion = format!("put a [[queue]] for {} in front of this one", quoted(name));
                findings.error(&path, Part::Value, message, Some(suggestion));
                break;
            }
            steps += 1;
            if to == first {
                let note = findings.line_note(&counts.path);
                let message = format!("dead letters go round in a circle{note}, at most 16 times");
                findings.warning(&path, message, None);
                break;
            }
            if steps > policies.len() {
                break;
            }
            at = to;
        }
    }
}
