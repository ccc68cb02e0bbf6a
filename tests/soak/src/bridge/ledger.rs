//! What was promised on either side of a bridge, and what has come out of the other one.
//!
//! A stream is what one publisher sends on one topic. Nothing of it is sent twice: what was not acknowledged may arrive or not, what was
//! acknowledged has to. So whatever arrives for the second time was repeated by the bridge.

use crate::auditor::StreamId;
use crate::stamp::Stamp;
use crate::violations::{Kind, Violations};
use std::collections::{BTreeSet, HashMap};

/// How many of the missing are named.
const NAMED_MAX: usize = 8;

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From devices to the upstream.
    Out,
    /// From the upstream to local subscribers.
    In,
}

/// What may be said of a message that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Everything: nobody can tell.
    Unmarked,
    /// It carries the id that it had the first time.
    Marked,
    /// Nothing: it was recognised on its way, but for what the disk did not have yet when the edge was killed.
    Never,
}

/// What else explains that a message comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// Nothing.
    None,
    /// It comes over another connection than the first time: the edge may have been killed in between.
    Reconnected,
    /// The last link alone, which says so.
    Redelivered,
}

/// What was counted for one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) arrived: u64,
    pub(crate) repeated: u64,
    /// Behind a newer one of the same stream.
    pub(crate) out_of_order: u64,
    /// Acknowledged, and never seen.
    pub(crate) lost: u64,
}

#[derive(Debug)]
struct Stream {
    topic: String,
    way: Way,
    repeats: Repeats,
    published: u32,
    /// Acknowledged, and not seen yet.
    owed: BTreeSet<u32>,
    /// What has been seen, and under which id.
    seen: HashMap<u32, Option<Box<str>>>,
    newest: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    streams: Vec<Stream>,
    by_id: HashMap<Box<str>, Stamp>,
    tallies: [Tally; 2],
    owed: usize,
    /// Counts everything that happens.
    pub(crate) ticks: u64,
    pub(crate) violations: Violations,
}

impl Ledger {
    /// Nothing is promised.
    pub(crate) fn new(violations: Violations) -> Ledger {
        let (streams, by_id) = (Vec::new(), HashMap::new());
        Ledger { streams, by_id, tallies: [Tally::default(); 2], owed: 0, ticks: 0, violations }
    }

    /// A new stream.
    pub(crate) fn stream(&mut self, topic: &str, way: Way, repeats: Repeats) -> StreamId {
        let id = StreamId(self.streams.len() as u32);
        let (owed, seen) = (BTreeSet::new(), HashMap::new());
        let topic = topic.to_owned();
        self.streams.push(Stream { topic, way, repeats, published: 0, owed, seen, newest: 0 });
        id
    }

    /// The next message of a stream is about to be sent.
    pub(crate) fn publishing(&mut self, stream: StreamId) -> Stamp {
        let found = &mut self.streams[stream.0 as usize];
        found.published += 1;
        self.tallies[found.way as usize].published += 1;
        Stamp { stream, sequence: found.published }
    }

    /// A message was acknowledged to whoever published it.
    pub(crate) fn acknowledged(&mut self, stamp: Stamp) {
        self.ticks += 1;
        let stream = &mut self.streams[stamp.stream.0 as usize];
        self.tallies[stream.way as usize].acknowledged += 1;
        if !stream.seen.contains_key(&stamp.sequence) {
            self.owed += usize::from(stream.owed.insert(stamp.sequence));
        }
    }

    /// A message has come out.
    pub(crate) fn arrived(&mut self, payload: &[u8], id: Option<&str>, excuse: Excuse) {
        self.ticks += 1;
        let is_known = |stamp: &Stamp| {
            let stream = self.streams.get(stamp.stream.0 as usize);
            stream.is_some_and(|stream| (1..=stream.published).contains(&stamp.sequence))
        };
        let Some(stamp) = Stamp::read(payload).filter(is_known) else {
            let what = || format!("{} bytes that nobody sent", payload.len());
            return self.violations.add(Kind::Phantom, what);
        };
        let seen = self.streams[stamp.stream.0 as usize].seen.get(&stamp.sequence).cloned();
        match seen {
            Some(first) => self.repeated(stamp, first.as_deref(), id, excuse),
            None => self.first_seen(stamp, id),
        }
    }

    fn repeated(&mut self, stamp: Stamp, first: Option<&str>, again: Option<&str>, excuse: Excuse) {
        let Stream { topic, way, repeats, .. } = &self.streams[stamp.stream.0 as usize];
        self.tallies[*way as usize].repeated += u64::from(excuse != Excuse::Redelivered);
        let is_right = match repeats {
            Repeats::Unmarked => true,
            Repeats::Marked => first == again,
            Repeats::Never => excuse != Excuse::None,
        };
        if !is_right {
            let number = stamp.sequence;
            let told = || format!("{topic} {number}: first as {first:?}, again as {again:?}");
            self.violations.add(Kind::Duplicate, told);
        }
    }

    fn first_seen(&mut self, stamp: Stamp, id: Option<&str>) {
        let stream = &mut self.streams[stamp.stream.0 as usize];
        let (topic, number, newest) = (&stream.topic, stamp.sequence, stream.newest);
        let tally = &mut self.tallies[stream.way as usize];
        tally.arrived += 1;
        if number < newest {
            tally.out_of_order += 1;
            self.violations.add(Kind::OutOfOrder, || format!("{topic} {number} came behind {newest}"));
        }
        if stream.way == Way::Out && stream.repeats == Repeats::Marked {
            match id.map(|id| self.by_id.insert(id.into(), stamp)) {
                Some(None) => {}
                Some(Some(other)) => {
                    let told = || format!("{topic} {number} has the id {id:?} of {other:?}");
                    self.violations.add(Kind::Duplicate, told);
                }
                None => self.violations.add(Kind::Protocol, || format!("{topic} {number} has no id")),
            }
        }
        stream.newest = newest.max(number);
        stream.seen.insert(number, id.map(Box::from));
        self.owed -= usize::from(stream.owed.remove(&number));
    }

    /// How many messages were acknowledged and have not been seen.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Whether anything of a stream has been seen.
    pub(crate) fn has_seen(&self, stream: StreamId) -> bool {
        !self.streams[stream.0 as usize].seen.is_empty()
    }

    /// What is owed now does not come any more.
    pub(crate) fn write_off(&mut self) {
        for stream in &mut self.streams {
            let lost = std::mem::take(&mut stream.owed);
            if lost.is_empty() {
                continue;
            }
            self.tallies[stream.way as usize].lost += lost.len() as u64;
            let (topic, count) = (&stream.topic, lost.len());
            let named: Vec<_> = lost.iter().take(NAMED_MAX).collect();
            self.violations.add(Kind::Lost, || format!("{topic}: {count} messages, the first are {named:?}"));
        }
        self.owed = 0;
    }

    /// What has been counted for a way.
    pub(crate) fn tally(&self, way: Way) -> Tally {
        self.tallies[way as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(repeats: Repeats) -> (Ledger, StreamId) {
        let mut ledger = Ledger::new(Violations::new(|_| {}));
        let stream = ledger.stream("t", Way::Out, repeats);
        (ledger, stream)
    }

    fn send(ledger: &mut Ledger, stream: StreamId) -> Vec<u8> {
        let stamp = ledger.publishing(stream);
        ledger.acknowledged(stamp);
        stamp.payload(0)
    }

    fn counts(ledger: &Ledger) -> Vec<(Kind, u64)> {
        ledger.violations.counts().iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    #[test]
    fn what_was_acknowledged_and_never_comes_is_lost_and_what_was_not_is_nothing() {
        let (mut ledger, stream) = ledger(Repeats::Marked);
        let first = send(&mut ledger, stream);
        send(&mut ledger, stream);
        ledger.publishing(stream);
        ledger.arrived(&first, Some("a"), Excuse::None);
        assert_eq!(ledger.owed(), 1);
        ledger.write_off();
        assert_eq!((ledger.owed(), ledger.tally(Way::Out).lost), (0, 1));
        assert_eq!(counts(&ledger), [(Kind::Lost, 1)]);
    }

    #[test]
    fn a_repeat_has_the_id_of_the_first_and_comes_behind_newer_ones_only_then() {
        let (mut ledger, stream) = ledger(Repeats::Marked);
        let sent: Vec<_> = (0..3).map(|_| send(&mut ledger, stream)).collect();
        for (at, id) in [(0, "a"), (1, "b"), (0, "a"), (1, "b"), (2, "c")] {
            ledger.arrived(&sent[at], Some(id), Excuse::None);
        }
        assert_eq!((counts(&ledger), ledger.tally(Way::Out).repeated), (vec![], 2));
        ledger.arrived(&sent[0], Some("d"), Excuse::None);
        assert_eq!(counts(&ledger), [(Kind::Duplicate, 1)]);
    }

    #[test]
    fn an_older_one_that_was_never_seen_is_out_of_order() {
        let (mut ledger, stream) = ledger(Repeats::Unmarked);
        let sent: Vec<_> = (0..2).map(|_| send(&mut ledger, stream)).collect();
        ledger.arrived(&sent[1], None, Excuse::None);
        ledger.arrived(&sent[0], None, Excuse::None);
        assert_eq!(counts(&ledger), [(Kind::OutOfOrder, 1)]);
    }

    #[test]
    fn two_messages_never_share_an_id_and_each_has_one() {
        let (mut ledger, stream) = ledger(Repeats::Marked);
        let sent: Vec<_> = (0..3).map(|_| send(&mut ledger, stream)).collect();
        ledger.arrived(&sent[0], Some("a"), Excuse::None);
        ledger.arrived(&sent[1], Some("a"), Excuse::None);
        ledger.arrived(&sent[2], None, Excuse::None);
        assert_eq!(counts(&ledger), [(Kind::Duplicate, 1), (Kind::Protocol, 1)]);
    }

    #[test]
    fn what_the_last_link_alone_repeats_is_not_counted_and_is_the_same_message() {
        let (mut ledger, stream) = ledger(Repeats::Marked);
        let sent = send(&mut ledger, stream);
        ledger.arrived(&sent, Some("a"), Excuse::None);
        ledger.arrived(&sent, Some("a"), Excuse::Redelivered);
        assert_eq!((counts(&ledger), ledger.tally(Way::Out).repeated), (vec![], 0));
        ledger.arrived(&sent, Some("b"), Excuse::Redelivered);
        assert_eq!((counts(&ledger), ledger.tally(Way::Out).repeated), (vec![(Kind::Duplicate, 1)], 0));
    }

    #[test]
    fn what_is_recognised_on_its_way_comes_once_over_a_connection() {
        let (mut ledger, stream) = ledger(Repeats::Never);
        let sent = send(&mut ledger, stream);
        ledger.arrived(&sent, None, Excuse::None);
        ledger.arrived(&sent, None, Excuse::Redelivered);
        ledger.arrived(&sent, None, Excuse::Reconnected);
        assert_eq!((counts(&ledger), ledger.tally(Way::Out).repeated), (vec![], 1));
        ledger.arrived(&sent, None, Excuse::None);
        assert_eq!(counts(&ledger), [(Kind::Duplicate, 1)]);
    }

    #[test]
    fn bytes_that_nobody_sent_are_noticed() {
        let (mut ledger, stream) = ledger(Repeats::Marked);
        ledger.arrived(b"something", None, Excuse::None);
        ledger.arrived(&Stamp { stream, sequence: 1 }.payload(0), None, Excuse::None);
        assert_eq!(counts(&ledger), [(Kind::Phantom, 2)]);
    }
}
