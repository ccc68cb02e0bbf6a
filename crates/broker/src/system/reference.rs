//! The reference page of `$SYS`, written from the declarations.

use super::load::{LOADS, WINDOWS};
use super::topics::{PREFIX, TOPICS, load_name};
use std::fs;
use std::path::Path;

const INTRODUCTION: &str = "\
# The topics under `$SYS`

<!-- Written from the declarations in crates/broker/src/system by `UPDATE=1 cargo test -p tidegate-broker`. -->

The gateway tells about itself under `$SYS/broker/…`, in the names that Mosquitto made usual. Every `sys_interval` (10 seconds; `0s`
switches all of it off) each topic that somebody has subscribed is published with QoS 0; without a subscriber nothing is. A
new subscription gets the values of that moment at once, marked as retained; nothing is stored among the retained messages. Every protocol
sees them: `$SYS/#` in MQTT, `/topic/$SYS/#` in STOMP. As in all brokers `#` alone does not select them ([MQTT-4.7.2-1]).

The numbers are those of `GET /metrics` ([metrics](metrics.md)), summed over protocols. All of them count since the gateway started,
or tell the present. MQTT packets that carry no message are not counted one by one, so `messages/…` is the same as
`publish/messages/…`. There is no `heap/…`: `process_resident_memory_bytes` of the metrics is what is known of memory.

| topic | meaning |
|---|---|
";

const LOAD: &str = "
## Load averages

How many a minute, on average over one, five or fifteen minutes: a moving average whose weights decay exponentially, so that after
the time that the topic names 63 % of a new rate are in it. They begin at 0 when the gateway starts.

| topics | meaning |
|---|---|
";

fn page() -> String {
    let rows = TOPICS.iter().map(|topic| format!("| `{PREFIX}{}` | {} |\n", topic.name, topic.help));
    let loads = LOADS.iter().map(|load| {
        let names = WINDOWS.map(|(window, _)| format!("`{PREFIX}{}`", load_name(load.name, window)));
        format!("| {} | The number of {} a minute. |\n", names.join(", "), load.what)
    });
    format!("{INTRODUCTION}{}{LOAD}{}", rows.collect::<String>(), loads.collect::<String>())
}

/// Behind this line stands what others tell, and write themselves.
const MARK: &str = "\n## Bridges\n";

/// The reference page is what the declarations say. `UPDATE=1` writes it.
#[test]
fn reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/sys-topics.md");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("UPDATE").is_some() {
        let stands = read();
        let rest = stands.split_once(MARK).map(|(_, rest)| format!("{MARK}{rest}")).unwrap_or_default();
        fs::write(&path, page() + &rest).unwrap();
    }
    let stands = read();
    assert!(
        stands.split(MARK).next() == Some(&page()),
        "docs/reference/sys-topics.md is out of date: run UPDATE=1 cargo test -p tidegate-broker"
    );
}
