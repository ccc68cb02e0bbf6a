//! The reference page of the metrics, written from their declarations; and whether both agree with what is exposed.

use crate::families::{self, Family};
use crate::metrics::tests::{node, text_of};
use prometheus_client::metrics::MetricType;
use std::fs;
use std::path::Path;

const INTRODUCTION: &str = "\
# Metrics

<!-- Written from the declarations in crates/admin/src/families.rs by `UPDATE=1 cargo test -p tidegate-admin`. -->

`GET /metrics` on the HTTP port answers in the OpenMetrics text format 1.0, which Prometheus reads. Every family is there from the
start with its help text; families with a `reason` label have no series until something happened for that reason, those of the store
have none where there is no store, and those of bridges none where there is no bridge. Counters begin
at 0 when the gateway starts. Numbers of one scrape are read one after the other, so two of them may differ by what happened in
between.

| name | type | labels | meaning |
|---|---|---|---|
";

const REMARKS: &str = "
A histogram is exposed as `…_bucket` (with the label `le`), `…_sum` and `…_count`.

## Health

`GET /healthz` answers 200 as long as the process answers. `GET /readyz` answers 200 while clients are welcome, with a word as its body: `ready`, or
`degraded: the store is failing` while the disk answers with errors: what needs no disk is served on, and what would have to be kept is refused. It
answers 503 with `starting` and `stopping`.

Bridges count for neither: a gateway whose upstream is gone does what it is there for, it takes messages and keeps them, and to send clients elsewhere
or to start it again would help nobody. Whoever wants to be told asks `tidegate_bridge_state`, `GET /bridges`, or `tidegate bridges`, which ends with
exit code 1 where a bridge does not move ([guide](../guides/bridges.md#looking-at-it)).

## Labels

- `protocol`: the name of a protocol as in a listener's `protocols`, or `unrecognised` for connections that ended before it was known
  what they speak. Connections to the HTTP port are in no metric.
- `qos`: `0`, `1` or `2`.
- `reason`: a fixed word, never text from a client. For closed connections `disconnected` (the client said goodbye), `peer_closed`
  (it did not), `keep_alive_timeout`, `connect_timeout`, `session_taken_over`, `server_shutdown`, `listener_closed` and
  `not_authorized` (after a reload), `too_many_connections` and `no_file_descriptor` (closed when it was accepted), `output_stalled`,
  `queue_overflow`, `replay_ended` (after a reload, the replay ring that it followed is gone), and
  one word for each kind of mistake that a protocol or a transport tells apart. For refused logins
  `bad_credentials`, `anonymous_not_allowed`, `unknown_method`, `malformed_exchange`, `another_user` (at a re-authentication) and `busy`
  (too many wait to be checked). For dropped messages among others `queue_full` (the
  receiver's queue is at its limit), `store_full` and `store_failing` (the disk does not take it), `disk_full` (it made room
  for a newer one on a full disk), `superseded` (a newer one of its topic waits in its place, with
  `disk_full = \"keep-last\"` or `limits.queue_overflow = \"keep-last\"`), `retained_full` (there was no room to
  retain it), `topic_refused` (its topic is none, or beyond a limit), `offline` (quality of service 0 and no connection), `no_receiver` (an
  answer for which nobody waits any more), `not_expressible` (the receiver's protocol has no words for it), `expired`, `rejected` (by
  the receiver), `session_ended` (what still waited in it, or was on its way to it), `delivery_limit` (in a named queue without dead letters),
  `dead_letter_unmatched` (nobody has subscribed to where it went), `retain_refused` (for a queue), `too_many_queues` and
  `not_authorized` (its sender or its receiver has no right to the topic). For dead letters `delivery_limit`, `expired`, `rejected`, `overflow`
  (it made room for a newer one), `too_large_for_peer`, `not_expressible` and `no_identifier_free` (its consumer's protocol could not take it).
  Of bridges `refused` by their upstream: `unroutable`, `too_large`, `not_authorised`, `not_expressible`; `dropped` in either direction: `loop_back`,
  `loop_circle` and `too_many_hops` (it would go in circles), `bad_path` (nobody knows where it has been); when receiving also `misplaced` (it
  has no topic here), `refused_here` (the gateway does not take it), `no_room` (at level 0 from an MQTT broker, while the receive could keep nothing) and
  `not_selected` (for no receive: the session at an MQTT broker has a subscription from before; counted at the first one); when forwarding also `expired`,
  `max_age` (it has waited for longer than its forward allows), `superseded` (a newer one of its topic waits, with `keep = \"last\"`), and what was refused while there is no `dead_letter`.
- `bridge`, `forward`, `receive`: names of the configuration, or their numbers.
- `state`: `connecting`, `live`, `draining`, `stalled`, `rejecting` or `stopped`.
- `start`: `began` (now, as a new subscription), `continued` (behind the message whose token the client gave) or `gap` (now, although the
  client gave a token: what follows its message is gone, or the token is of another run of the gateway).
- `action`: `publish`, `will`, `subscribe` or `receive`.
";

/// The name that a query uses: counters and infos carry a suffix there.
fn sample_name(family: &Family) -> String {
    match family.kind {
        MetricType::Counter => format!("{}_total", family.name),
        MetricType::Info => format!("{}_info", family.name),
        MetricType::Gauge | MetricType::Histogram | MetricType::Unknown => family.name.to_owned(),
    }
}

fn row(family: &Family) -> String {
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    let (name, kind, labels) = (sample_name(family), family.kind.as_str(), labels.join(", "));
    format!("| `{name}` | {kind} | {labels} | {} |\n", family.help)
}

/// The reference page is what the declarations say. `UPDATE=1` writes it.
#[test]
fn reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let rows: String = families::ALL.iter().map(|family| row(family)).collect();
    let page = format!("{INTRODUCTION}{rows}{REMARKS}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == page,
        "docs/reference/metrics.md is out of date: run UPDATE=1 cargo test -p tidegate-admin"
    );
}

/// Each declared family is exposed in its place, and none besides; so the page misses nothing and promises nothing.
#[cfg(target_os = "linux")]
#[test]
fn every_declared_family_is_exposed_from_the_start() {
    let text = text_of(&node());
    let exposed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    let declared: Vec<String> =
        families::ALL.iter().map(|family| format!("{} {}", family.name, family.help)).collect();
    assert_eq!(exposed, declared);
}
