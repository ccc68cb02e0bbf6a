//! What a bridge tells of itself at one moment, as metrics, `$SYS`, HTTP and the command line show it.
//!
//! Everything in it is a number, a word, a name of the configuration or a text without secrets. Times are ages, since clocks differ.

use crate::lane_status::{LaneStatus, Problem};
use crate::status::{BridgeState, BridgeStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// All bridges of a gateway at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BridgeReports {
    /// Each of them, in the order in which they began.
    pub bridges: Vec<BridgeReport>,
}

/// One bridge at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BridgeReport {
    /// Its name.
    pub name: String,
    /// The kind of its upstream.
    pub kind: String,
    /// Its state.
    pub state: BridgeState,
    /// The address to which its connection stands, or is tried; without users and passwords.
    pub address: String,
    /// Which one that is of those that are configured, from 0.
    pub address_number: usize,
    /// For how long the connection stands, in seconds.
    pub connected_seconds: Option<f64>,
    /// How long ago the upstream has answered last, in seconds; nothing where it never has.
    pub answered_seconds_ago: Option<f64>,
    /// How often the connection was lost or could not be had.
    pub failures: u64,
    /// What went wrong last with the connection; it may be over.
    pub last_error: Option<Said>,
    /// What goes to the upstream.
    pub forwards: Vec<ForwardReport>,
    /// What comes from there.
    pub receives: Vec<ReceiveReport>,
}

/// A problem, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// What it was.
    pub text: String,
    /// How long ago, in seconds.
    pub seconds_ago: f64,
}

/// One forward at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForwardReport {
    /// Its name among the forwards of its bridge.
    pub name: String,
    /// Messages that are not confirmed: waiting, in memory or on the disk, and on their way.
    pub backlog_messages: u64,
    /// What these weigh in memory, or would.
    pub backlog_bytes: u64,
    /// How long ago the oldest of them was published, in seconds; nothing where none waits or that is not known.
    pub oldest_seconds: Option<f64>,
    /// In how many seconds nothing will wait any more, as it goes now, with what comes meanwhile; nothing where it does not become less.
    pub drained_in_seconds: Option<f64>,
    /// Those of them that are in memory of the bridge.
    pub in_flight: u64,
    /// For how long nothing has come of what is on its way, in seconds.
    pub waiting_seconds: Option<f64>,
    /// Messages that the upstream has confirmed.
    pub confirmed: u64,
    /// How many of them a second, over about the last ten.
    pub confirmed_per_second: f64,
    /// Messages that were sent again.
    pub retried: u64,
    /// Times that the upstream did not take a message for the moment.
    pub turned_away: u64,
    /// Messages that it refused for good, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Messages that were thrown away, by the reason.
    pub dropped: BTreeMap<String, u64>,
    /// What went wrong last with a message; it may be over.
    pub last_error: Option<Said>,
}

/// One receive at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiveReport {
    /// Its name among the receives of its bridge.
    pub name: String,
    /// Messages that came from the upstream.
    pub received: u64,
    /// How many of them a second, over about the last ten.
    pub received_per_second: f64,
    /// Messages that are published here.
    pub published: u64,
    /// Messages that came again and were recognised, and so not published again.
    pub duplicates: u64,
    /// Messages that were not published, by the reason: those that would go in circles (`loop_back`, `loop_circle`) among them.
    pub dropped: BTreeMap<String, u64>,
    /// Messages on their way into the gateway.
    pub in_flight: u64,
    /// For how long nothing has come of them, in seconds.
    pub waiting_seconds: Option<f64>,
    /// Times that the gateway did not take a message for the moment.
    pub turned_away: u64,
    /// What went wrong last with a message; it may be over.
    pub last_error: Option<Said>,
}

/// What waits for a forward in the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    /// Messages, those among them that are delivered to the forward and not settled.
    pub messages: u64,
    /// What these weigh in memory, or would.
    pub bytes: u64,
    /// When the oldest of them that is not delivered was published, in the time of the gateway, as far as that is known.
    pub oldest_taken_at_millis: Option<u64>,
}

/// A moment, by the clocks that a report needs.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// That of this process.
    pub instant: Instant,
    /// That by which the gateway knows when messages came.
    pub gateway_millis: u64,
}

impl BridgeStatus {
    /// What there is to be told now. `waiting` knows what waits in the session of a name.
    pub fn report(&self, moment: Now, waiting: impl Fn(&str) -> Waiting) -> BridgeReport {
        let (connection, now) = (self.connection(), moment.instant);
        BridgeReport {
            name: self.name().to_string(),
            kind: self.kind().to_owned(),
            state: self.state(now),
            address: connection.address,
            address_number: connection.address_number,
            connected_seconds: connection.ready_since.map(|since| age(since, now)),
            answered_seconds_ago: connection.answered_at.map(|at| age(at, now)),
            failures: connection.failures,
            last_error: said(connection.last_error, now),
            forwards: self
                .forwards()
                .iter()
                .map(|lane| self.forward(lane, waiting(&lane.name), moment))
                .collect(),
            receives: self.receives().iter().map(|lane| self.receive(lane, now)).collect(),
        }
    }

    /// Has the rates go on: to be called about once a second.
    pub fn sample(&self, now: Instant, waiting: impl Fn(&str) -> Waiting) {
        for lane in self.forwards() {
            lane.sample(get(&lane.confirmed), waiting(&lane.name).messages, now);
        }
        for lane in self.receives() {
            lane.sample(get(&lane.received), 0, now);
        }
    }

    fn forward(&self, lane: &LaneStatus, waiting: Waiting, moment: Now) -> ForwardReport {
        let now = moment.instant;
        let oldest = lane.oldest_held_at_millis().into_iter().chain(waiting.oldest_taken_at_millis).min();
        ForwardReport {
            name: self.short(&lane.name),
            backlog_messages: waiting.messages,
            backlog_bytes: waiting.bytes,
            oldest_seconds: oldest.map(|at| moment.gateway_millis.saturating_sub(at) as f64 / 1000.0),
            drained_in_seconds: lane.drained_in_seconds(waiting.messages),
            in_flight: get(&lane.in_flight),
            waiting_seconds: lane.waiting_since().map(|since| age(since, now)),
            confirmed: get(&lane.confirmed),
            confirmed_per_second: lane.per_second(),
            retried: get(&lane.retried),
            turned_away: get(&lane.turned_away),
            refused: owned(lane.refused()),
            dead_letters: get(&lane.dead_letters),
            dropped: owned(lane.dropped()),
            last_error: said(lane.problem(), now),
        }
    }

    fn receive(&self, lane: &LaneStatus, now: Instant) -> ReceiveReport {
        ReceiveReport {
            name: self.short(&lane.name),
            received: get(&lane.received),
            received_per_second: lane.per_second(),
            published: get(&lane.confirmed),
            duplicates: get(&lane.duplicates),
            dropped: owned(lane.dropped()),
            in_flight: get(&lane.in_flight),
            waiting_seconds: lane.waiting_since().map(|since| age(since, now)),
            turned_away: get(&lane.turned_away),
            last_error: said(lane.problem(), now),
        }
    }

    /// The name of a lane without that of its bridge, which stands in front.
    fn short(&self, lane: &str) -> String {
        let rest = lane.strip_prefix(&**self.name()).and_then(|rest| rest.strip_prefix('.'));
        rest.unwrap_or(lane).to_owned()
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn age(at: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(at).as_secs_f64()
}

fn said(problem: Option<Problem>, now: Instant) -> Option<Said> {
    problem.map(|problem| Said { seconds_ago: age(problem.at, now), text: problem.text })
}

fn owned(counts: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_backlog_is_said_to_be_over_when_it_will_be() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let status = BridgeStatus::new("central".into(), "toy", second, ["central.a".to_owned()], []);
        let lane = &status.forwards()[0];
        let at_second = |at: u32| Now { instant: start + at * second, gateway_millis: 0 };
        let drained_in = |at: u32, messages: u64| {
            let waiting = Waiting { messages, ..Waiting::default() };
            status.report(at_second(at), |_| waiting).forwards[0].drained_in_seconds
        };
        assert_eq!(drained_in(0, 0), Some(0.0));
        assert_eq!(drained_in(0, 5), None);
        // 300 a second are confirmed while 100 come in.
        lane.set_draining(true);
        for at in 0..30 {
            lane.confirmed.store(300 * u64::from(at), Ordering::Relaxed);
            let messages = 10_000 - 200 * u64::from(at);
            status.sample(start + at * second, |_| Waiting { messages, ..Waiting::default() });
        }
        let left = drained_in(30, 4200).unwrap();
        assert!((20.9..21.1).contains(&left), "{left}");
        let report = status.report(at_second(30), |_| Waiting::default());
        assert!((299.0..301.0).contains(&report.forwards[0].confirmed_per_second), "{report:?}");
        assert_eq!(report.forwards[0].name, "a");
        // As many come in as are confirmed.
        for at in 30..100 {
            status.sample(start + at * second, |_| Waiting { messages: 4200, ..Waiting::default() });
        }
        assert!(drained_in(100, 4200).is_none_or(|left| left > 3600.0));
    }

    #[test]
    fn a_report_is_the_same_behind_json() {
        let start = Instant::now();
        let status = BridgeStatus::new(
            "central".into(),
            "toy",
            Duration::from_secs(1),
            ["central.a".to_owned()],
            ["central.b".to_owned()],
        );
        status.note_trying(1, "toy://1".to_owned());
        status.note_lost(Some(Problem::new("gone", start)));
        status.forwards()[0].count_refused("too_large");
        status.receives()[0].count_dropped("loop_circle");
        let waiting = Waiting { messages: 3, bytes: 300, oldest_taken_at_millis: Some(8_500) };
        let now = Now { instant: start + Duration::from_secs(2), gateway_millis: 10_000 };
        let report = status.report(now, |name| {
            assert_eq!(name, "central.a");
            waiting
        });
        assert_eq!(report.last_error, Some(Said { text: "gone".to_owned(), seconds_ago: 2.0 }));
        assert_eq!(report.forwards[0].oldest_seconds, Some(1.5));
        status.forwards()[0].set_oldest_held(Some(4_000));
        assert_eq!(status.report(now, |_| waiting).forwards[0].oldest_seconds, Some(6.0));
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""state":"connecting","address":"toy://1","address_number":1"#), "{text}");
        assert_eq!(serde_json::from_str::<BridgeReport>(&text).unwrap(), report);
    }
}
