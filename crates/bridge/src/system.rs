//! What a bridge tells under `$SYS/bridges/<name>/…`, declared once: the values and their part of the reference page come from here.

use crate::report::{BridgeReport, ForwardReport, ReceiveReport, Said};
use std::collections::BTreeMap;

/// A topic of something, and what stands in it.
struct SystemTopic<T> {
    /// Below the bridge, forward or receive.
    name: &'static str,
    #[cfg(test)]
    help: &'static str,
    value: fn(&T) -> String,
}

macro_rules! topics {
    ($table:ident: $of:ty; $($name:literal, $help:literal, |$report:ident| $value:expr;)*) => {
        const $table: &[SystemTopic<$of>] = &[$(
            SystemTopic { name: $name, #[cfg(test)] help: $help, value: |$report: &$of| $value.to_string() },
        )*];
    };
}

topics! { BRIDGE: BridgeReport;
    "state", "`connecting`, `live`, `draining`, `stalled`, `rejecting` or `stopped`.", |bridge| bridge.state.label();
    "address", "The address to which the connection stands, or is tried.", |bridge| bridge.address;
    "last_answer", "For how many seconds the upstream has said nothing; `never` where it never has.", |bridge| known(bridge.answered_seconds_ago, "never");
    "failures", "How often the connection was lost or could not be had.", |bridge| bridge.failures;
    "last_error", "What went wrong last with the connection, which may be over; else `none`.", |bridge| said(bridge.last_error.as_ref());
}

topics! { FORWARD: ForwardReport;
    "backlog/messages", "Messages that are not confirmed yet.", |forward| forward.backlog_messages;
    "backlog/bytes", "Bytes of these, headers included.", |forward| forward.backlog_bytes;
    "backlog/oldest", "How many seconds ago the oldest of them was published; `unknown` where none waits.", |forward| known(forward.oldest_seconds, "unknown");
    "backlog/drained_in", "In how many seconds nothing will wait any more, as it goes now; `unknown` where it does not become less.", |forward| known(forward.drained_in_seconds, "unknown");
    "in_flight", "Messages that the bridge has in memory.", |forward| forward.in_flight;
    "confirmed", "Messages that the upstream has confirmed.", |forward| forward.confirmed;
    "rate", "How many of them a second, over about the last ten.", |forward| rounded(forward.confirmed_per_second);
    "retried", "Messages that were sent again.", |forward| forward.retried;
    "refused", "Messages that the upstream refused for good.", |forward| sum(&forward.refused);
    "dead_letters", "Messages that became dead letters.", |forward| forward.dead_letters;
    "dropped", "Messages that were thrown away, for whatever reason.", |forward| sum(&forward.dropped);
    "last_error", "What went wrong last with a message, which may be over; else `none`.", |forward| said(forward.last_error.as_ref());
}

topics! { RECEIVE: ReceiveReport;
    "received", "Messages that came from the upstream.", |receive| receive.received;
    "rate", "How many of them a second, over about the last ten.", |receive| rounded(receive.received_per_second);
    "published", "Messages that are published here.", |receive| receive.published;
    "duplicates", "Messages that came again and were recognised.", |receive| receive.duplicates;
    "dropped", "Messages that were not published, for whatever other reason.", |receive| sum(&receive.dropped);
    "last_error", "What went wrong last with a message, which may be over; else `none`.", |receive| said(receive.last_error.as_ref());
}

fn rounded(number: f64) -> String {
    format!("{number:.1}")
}

fn known(number: Option<f64>, other: &str) -> String {
    number.map_or_else(|| other.to_owned(), rounded)
}

fn said(problem: Option<&Said>) -> String {
    problem.map_or("none", |said| said.text.as_str()).to_owned()
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

impl BridgeReport {
    /// What is told under `$SYS`: names below that level, and values.
    pub fn system_topics(&self) -> Vec<(String, String)> {
        let root = format!("bridges/{}", self.name);
        let mut topics = values(BRIDGE, &root, self);
        for forward in &self.forwards {
            topics.extend(values(FORWARD, &format!("{root}/forward/{}", forward.name), forward));
        }
        for receive in &self.receives {
            topics.extend(values(RECEIVE, &format!("{root}/receive/{}", receive.name), receive));
        }
        topics
    }
}

fn values<T>(table: &[SystemTopic<T>], root: &str, report: &T) -> Vec<(String, String)> {
    table.iter().map(|topic| (format!("{root}/{}", topic.name), (topic.value)(report))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Now, Waiting};
    use crate::status::BridgeStatus;
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    /// What stands before it is written elsewhere.
    const MARK: &str = "\n## Bridges\n";

    const INTRODUCTION: &str = "
<!-- From here on written from the declarations in crates/bridge/src/system.rs by `UPDATE=1 cargo test -p tidegate-bridge`. -->

What each bridge tells of itself ([guide](../guides/bridges.md)), at the same interval and in the same way. `GET /bridges` and the
metrics have the same numbers, with drops and refusals by their reasons.

| topic | meaning |
|---|---|
";

    fn rows<T>(table: &[SystemTopic<T>], root: &str) -> String {
        table
            .iter()
            .map(|topic| format!("| `$SYS/bridges/<name>/{root}{}` | {} |\n", topic.name, topic.help))
            .collect()
    }

    /// The reference page is what the declarations say. `UPDATE=1` writes it.
    #[test]
    fn reference_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/sys-topics.md");
        let tables = rows(BRIDGE, "") + &rows(FORWARD, "forward/<name>/") + &rows(RECEIVE, "receive/<name>/");
        let page = format!("{MARK}{INTRODUCTION}{tables}");
        let stands = fs::read_to_string(&path).unwrap();
        let before = stands.split(MARK).next().unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{before}{page}")).unwrap();
        }
        let stands = fs::read_to_string(&path).unwrap();
        assert!(
            stands.strip_prefix(before) == Some(&page),
            "docs/reference/sys-topics.md is out of date: run UPDATE=1 cargo test -p tidegate-bridge"
        );
    }

    #[test]
    fn topics_stand_below_their_bridge() {
        let (forwards, receives) = (["central.up".to_owned()], ["central.0".to_owned()]);
        let status = BridgeStatus::new("central".into(), "toy", Duration::from_secs(1), forwards, receives);
        let waiting = Waiting { messages: 7, ..Waiting::default() };
        let now = Now { instant: Instant::now(), gateway_millis: 0 };
        let topics = status.report(now, |_| waiting).system_topics();
        let value =
            |topic: &str| topics.iter().find(|(name, _)| name == topic).map(|(_, value)| value.as_str());
        assert_eq!(value("bridges/central/state"), Some("connecting"));
        assert_eq!(value("bridges/central/last_answer"), Some("never"));
        assert_eq!(value("bridges/central/forward/up/backlog/messages"), Some("7"));
        assert_eq!(value("bridges/central/forward/up/backlog/drained_in"), Some("unknown"));
        assert_eq!(value("bridges/central/receive/0/duplicates"), Some("0"));
        assert_eq!(topics.len(), BRIDGE.len() + FORWARD.len() + RECEIVE.len());
    }
}
