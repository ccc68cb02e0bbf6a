//! The ledger of a crash audit: what was promised to whom, and what came.
//!
//! It is a plain structure without sockets and clock; every entry is one tick. An *audience* is whoever has to get each message of its
//! filter at least once: a session of its own, all members of a shared subscription together, all consumers of a named queue together. It is
//! owed a message that was begun after the audience was known to stand, from the moment at which the gateway acknowledged it.
//!
//! What is settled may come again until the gateway must have kept that: a later message that waited for the disk was acknowledged,
//! and changes reach the disk in their order. A kill after that moment brings nothing of it back.

#[cfg(test)]
mod tests;

use crate::auditor::{StreamId, Tick};
use crate::stamp::Stamp;
use crate::violations::{Kind, Violations};
use std::collections::{BTreeSet, HashMap};
use tidegate_message::{QoS, Topic, TopicFilter};

/// An audience, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AudienceId(usize);

/// Who stands behind an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One session: order counts, and what it has settled stays away.
    Session,
    /// Several that share the messages.
    Crowd,
}

/// One client's messages on one topic, all at one level.
#[derive(Debug)]
struct Stream {
    topic: Topic,
    qos: QoS,
    audiences: Vec<AudienceId>,
    publications: Vec<Publication>,
    /// The sequence number of the newest one that was acknowledged.
    acknowledged: u32,
}

#[derive(Debug)]
struct Publication {
    began: Tick,
    is_acknowledged: bool,
    /// How often its publisher has sent it.
    sends: u32,
    /// It clears what is retained on its topic.
    is_clear: bool,
    /// It was a will, and nobody may get it.
    is_withdrawn: bool,
}

#[derive(Debug)]
struct Audience {
    name: String,
    filter: TopicFilter,
    /// The level that it was granted.
    qos: QoS,
    reach: Reach,
    since: Option<Tick>,
    /// By sequence number: see [`Receipt`].
    got: HashMap<StreamId, Vec<Receipt>>,
    newest: HashMap<StreamId, u32>,
}

/// What a retained message can be that a reader is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The newest one that was acknowledged when the reader came.
    pub(crate) floor: u32,
    /// The newest one that was sent when the reader was told that it has subscribed.
    pub(crate) sent: u32,
}

/// What became of a message at one audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Receipt {
    #[default]
    Never,
    Came,
    /// The gateway has handled its acknowledgement at this tick at the latest.
    Settled(Tick),
}

/// Messages that were sent as one, and whose acknowledgement never came.
#[derive(Debug)]
struct Batch(Vec<Stamp>);

/// What was counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Publications.
    pub(crate) published: u64,
    /// Those that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Publications that were sent again.
    pub(crate) again: u64,
    /// Deliveries that were owed, and came.
    pub(crate) kept: u64,
    /// Deliveries of what had come before.
    pub(crate) repeated: u64,
    /// Batches whose fate their sender was not told.
    pub(crate) batches: u64,
    /// Wills that had to be published.
    pub(crate) wills: u64,
    /// Wills that nobody may get.
    pub(crate) withdrawn: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    tick: Tick,
    streams: Vec<Stream>,
    audiences: Vec<Audience>,
    owed: BTreeSet<(AudienceId, Stamp)>,
    batches: Vec<Batch>,
    /// The newest moment of which it is known that everything before it was on the disk.
    on_disk: Tick,
    /// When each life of the gateway ended, and what was known to be on the disk then.
    kills: Vec<(Tick, Tick)>,
    /// What was published before has come and is settled everywhere.
    sealed: Tick,
    tally: Tally,
    violations: Violations,
}

impl Ledger {
    /// An empty one.
    pub(crate) fn new(violations: Violations) -> Ledger {
        Ledger {
            tick: 1,
            streams: Vec::new(),
            audiences: Vec::new(),
            owed: BTreeSet::new(),
            batches: Vec::new(),
            on_disk: 0,
            kills: Vec::new(),
            sealed: 0,
            tally: Tally::default(),
            violations,
        }
    }

    fn now(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    /// How much has happened.
    pub(crate) fn tick(&self) -> Tick {
        self.tick
    }

    /// Where violations are gathered.
    pub(crate) fn violations(&mut self) -> &mut Violations {
        &mut self.violations
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Somebody who is going to subscribe. The filter is the plain one, without the name of a share.
    pub(crate) fn audience(&mut self, name: String, filter: &str, qos: QoS, reach: Reach) -> AudienceId {
        let filter = TopicFilter::parse_mqtt(filter.as_bytes()).expect("a filter of the audit is a filter");
        let id = AudienceId(self.audiences.len());
        for stream in self.streams.iter_mut().filter(|stream| filter.matches(&stream.topic)) {
            stream.audiences.push(id);
        }
        let (got, newest) = (HashMap::new(), HashMap::new());
        self.audiences.push(Audience { name, filter, qos, reach, since: None, got, newest });
        id
    }

    /// The gateway has granted its subscription; the first time counts.
    pub(crate) fn subscribed(&mut self, id: AudienceId) {
        let now = self.now();
        self.audiences[id.0].since.get_or_insert(now);
    }

    /// A client begins to publish on a topic.
    pub(crate) fn stream(&mut self, topic: &str, qos: QoS) -> StreamId {
        let topic = Topic::parse(topic.as_bytes()).expect("a topic of the audit is a topic");
        let audiences = self.audiences.iter().enumerate();
        let matching = audiences.filter(|(_, audience)| audience.filter.matches(&topic));
        let audiences = matching.map(|(id, _)| AudienceId(id)).collect();
        self.streams.push(Stream { topic, qos, audiences, publications: Vec::new(), acknowledged: 0 });
        StreamId(self.streams.len() as u32 - 1)
    }

    fn publication(&mut self, stamp: Stamp) -> Option<&mut Publication> {
        let stream = self.streams.get_mut(stamp.stream.0 as usize)?;
        stream.publications.get_mut((stamp.sequence as usize).checked_sub(1)?)
    }

    /// The next message of a stream is about to be sent.
    pub(crate) fn publishing(&mut self, stream: StreamId) -> Stamp {
        self.begin(stream, false)
    }

    /// An empty retained message, which clears its topic, is about to be sent.
    pub(crate) fn clearing(&mut self, stream: StreamId) -> Stamp {
        self.begin(stream, true)
    }

    fn begin(&mut self, stream: StreamId, is_clear: bool) -> Stamp {
        let began = self.now();
        self.tally.published += 1;
        let publications = &mut self.streams[stream.0 as usize].publications;
        publications.push(Publication {
            began,
            is_acknowledged: false,
            sends: 1,
            is_clear,
            is_withdrawn: false,
        });
        Stamp { stream, sequence: publications.len() as u32 }
    }

    /// A message is about to be sent once more.
    pub(crate) fn publishing_again(&mut self, stamp: Stamp) {
        self.tally.again += 1;
        if let Some(publication) = self.publication(stamp) {
            publication.sends += 1;
        }
    }

    /// The gateway has taken responsibility: from now on whoever stood before it was sent is owed it.
    pub(crate) fn acknowledged(&mut self, stamp: Stamp) {
        if let Some(began) = self.take_on(stamp) {
            self.tally.acknowledged += 1;
            self.on_disk = self.on_disk.max(began);
        }
    }

    /// A will that the gateway is known to have kept has to be published: its client is gone for good.
    pub(crate) fn left_behind(&mut self, stamp: Stamp) {
        self.tally.wills += u64::from(self.take_on(stamp).is_some());
    }

    /// A will is known not to be kept any more.
    pub(crate) fn withdrawn(&mut self, stamp: Stamp) {
        self.tally.withdrawn += 1;
        if let Some(publication) = self.publication(stamp) {
            publication.is_withdrawn = true;
        }
        let has_it = |id: &AudienceId| self.audiences[id.0].receipt(stamp) != Receipt::Never;
        let early = self.streams[stamp.stream.0 as usize].audiences.iter().copied().find(has_it);
        early.into_iter().for_each(|id| self.accuse(Kind::Withdrawn, id, stamp, "came before"));
    }

    /// From now on a message is owed to whoever stood before it was sent. Returns when it was, the first time.
    fn take_on(&mut self, stamp: Stamp) -> Option<Tick> {
        self.now();
        let publication = self.publication(stamp)?;
        if std::mem::replace(&mut publication.is_acknowledged, true) {
            return None;
        }
        let began = publication.began;
        let stream = &mut self.streams[stamp.stream.0 as usize];
        stream.acknowledged = stream.acknowledged.max(stamp.sequence);
        for id in &stream.audiences {
            let audience = &self.audiences[id.0];
            match audience.receipt(stamp) {
                _ if audience.since.is_none_or(|since| since > began) => {}
                Receipt::Never => drop(self.owed.insert((*id, stamp))),
                Receipt::Came | Receipt::Settled(_) => self.tally.kept += 1,
            }
        }
        Some(began)
    }

    /// Messages were sent to be taken together, and the answer never came.
    pub(crate) fn cut(&mut self, batch: Vec<Stamp>) {
        self.tally.batches += 1;
        self.batches.push(Batch(batch));
    }

    /// What an audience got. The stamp that it carries, where it was published there.
    pub(crate) fn received(&mut self, id: AudienceId, topic: &str, payload: &[u8]) -> Option<Stamp> {
        let now = self.now();
        let stamp = Stamp::read(payload);
        let Some(stamp) = stamp.filter(|stamp| self.is_published(*stamp, topic)) else {
            let (name, bytes) = (&self.audiences[id.0].name, payload.len());
            let what = || format!("{name} got a message of {bytes} bytes on {topic} that nobody sent there");
            self.violations.add(Kind::Phantom, what);
            return None;
        };
        if !self.streams[stamp.stream.0 as usize].audiences.contains(&id) {
            self.accuse(Kind::WrongReceiver, id, stamp, "matches no filter of it");
            return Some(stamp);
        }
        let sealed = self.sealed;
        let is_sealed = self.publication(stamp).is_some_and(|publication| publication.began < sealed);
        if is_sealed && self.stays(sealed) {
            self.accuse(Kind::CameBack, id, stamp, "had come and was settled before the last end");
        }
        if self.publication(stamp).is_some_and(|publication| publication.is_withdrawn) {
            self.accuse(Kind::Withdrawn, id, stamp, "comes");
        }
        match self.audiences[id.0].receipt(stamp) {
            Receipt::Never => self.receive_first(id, stamp),
            earlier => self.receive_again(id, stamp, earlier, now),
        }
        Some(stamp)
    }

    fn is_published(&self, stamp: Stamp, topic: &str) -> bool {
        let stream = self.streams.get(stamp.stream.0 as usize);
        stream.is_some_and(|stream| {
            let sequence = stamp.sequence as usize;
            stream.topic.as_str() == topic && sequence > 0 && sequence <= stream.publications.len()
        })
    }

    fn receive_first(&mut self, id: AudienceId, stamp: Stamp) {
        self.tally.kept += u64::from(self.owed.remove(&(id, stamp)));
        let since = self.audiences[id.0].since;
        // Who has subscribed behind it gets it only because it is sent again, which may be behind a newer one that was sent in between.
        let is_late = self.publication(stamp).is_some_and(|publication| {
            publication.sends > 1 && since.is_none_or(|since| since > publication.began)
        });
        let audience = &mut self.audiences[id.0];
        *audience.place(stamp) = Receipt::Came;
        let newest = audience.newest.entry(stamp.stream).or_default();
        if *newest > stamp.sequence && audience.reach == Reach::Session && !is_late {
            let newest = *newest;
            return self.accuse(Kind::OutOfOrder, id, stamp, &format!("comes after number {newest}"));
        }
        *newest = stamp.sequence.max(*newest);
    }

    fn receive_again(&mut self, id: AudienceId, stamp: Stamp, earlier: Receipt, now: Tick) {
        self.tally.repeated += 1;
        let sends = self.publication(stamp).map_or(1, |publication| publication.sends);
        let published = self.streams[stamp.stream.0 as usize].qos;
        let audience = &self.audiences[id.0];
        if published == QoS::ExactlyOnce && audience.qos == QoS::ExactlyOnce {
            return self.accuse(Kind::Duplicate, id, stamp, &format!("had come before ({earlier:?})"));
        }
        // What is sent again at QoS 1 is a new message.
        let is_same = sends == 1 || published == QoS::ExactlyOnce;
        if let Receipt::Settled(at) = earlier
            && self.is_kept(at)
            && is_same
            && audience.reach == Reach::Session
        {
            self.accuse(
                Kind::CameBack,
                id,
                stamp,
                &format!("was settled at tick {at} and came back at {now}"),
            );
        }
    }

    /// Whether what was settled before this tick must not come any more: no life of the gateway has ended since, or it was on the disk by then.
    fn stays(&self, at: Tick) -> bool {
        let end = self.kills.iter().find(|(killed, _)| *killed >= at);
        end.is_none_or(|(_, on_disk)| at < *on_disk)
    }

    /// Whether what was settled at this tick was on the disk when the life of the gateway ended in which that was.
    fn is_kept(&self, at: Tick) -> bool {
        let end = self.kills.iter().find(|(killed, _)| *killed >= at);
        end.is_some_and(|(_, on_disk)| at < *on_disk)
    }

    /// The gateway is known to have handled that an audience has settled a message.
    pub(crate) fn settled(&mut self, id: AudienceId, stamp: Stamp) {
        let now = self.now();
        *self.audiences[id.0].place(stamp) = Receipt::Settled(now);
    }

    /// The gateway is about to be killed.
    pub(crate) fn killing(&mut self) {
        self.kills.push((self.tick, self.on_disk));
    }

    /// What audiences still have to get.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// The newest message of a stream that was acknowledged: what a reader who comes now must be given at least.
    pub(crate) fn floor(&self, stream: StreamId) -> u32 {
        self.streams[stream.0 as usize].acknowledged
    }

    /// The newest message of a stream that was sent: a reader who has subscribed by now is given this at the most as the retained message.
    pub(crate) fn sent(&self, stream: StreamId) -> u32 {
        self.streams[stream.0 as usize].publications.len() as u32
    }

    /// Whether what a reader was given first of a stream is its retained message, or what replaced that while it subscribed and comes live:
    /// what was acknowledged before the reader came, or a later one that was sent before it was told that it has subscribed.
    pub(crate) fn is_retained_right(&self, stream: StreamId, bounds: Bounds, first: Option<u32>) -> bool {
        let Bounds { floor, sent } = bounds;
        let publications = &self.streams[stream.0 as usize].publications;
        match first.filter(|first| *first <= sent) {
            Some(first) => first >= floor,
            // Nothing is right where nothing was acknowledged, or where a later one clears it.
            None => {
                floor == 0 || publications[floor as usize - 1..sent as usize].iter().any(|one| one.is_clear)
            }
        }
    }

    /// Judges what a reader was given first of a stream.
    pub(crate) fn judge_retained(&mut self, stream: StreamId, bounds: Bounds, first: Option<u32>) {
        self.now();
        if !self.is_retained_right(stream, bounds, first) {
            let (topic, Bounds { floor, sent }) = (&self.streams[stream.0 as usize].topic, bounds);
            let what =
                || format!("retained on {topic} is {first:?}, number {floor} was acknowledged, {sent} sent");
            self.violations.add(Kind::StaleRetained, what);
        }
    }

    /// Everybody has drained, and the gateway says so, too: whatever is still owed is lost, a batch came whole or not at all, and nothing of
    /// it may come again.
    pub(crate) fn judge_round(&mut self) {
        self.sealed = self.now();
        for (id, stamp) in std::mem::take(&mut self.owed) {
            self.accuse(Kind::Lost, id, stamp, "was acknowledged and never came");
        }
        for Batch(batch) in std::mem::take(&mut self.batches) {
            self.judge_batch(&batch);
        }
    }

    /// Only at QoS 2, on both sides: what is QoS 1 may be with a receiver before the disk has it.
    fn judge_batch(&mut self, batch: &[Stamp]) {
        let mut came: HashMap<AudienceId, Vec<bool>> = HashMap::new();
        for stamp in batch {
            let stream = &self.streams[stamp.stream.0 as usize];
            let began = stream.publications[stamp.sequence as usize - 1].began;
            for id in stream.audiences.iter().filter(|_| stream.qos == QoS::ExactlyOnce) {
                let audience = &self.audiences[id.0];
                let stood = audience.since.is_some_and(|since| since < began);
                if stood && audience.qos == QoS::ExactlyOnce {
                    came.entry(*id).or_default().push(audience.receipt(*stamp) != Receipt::Never);
                }
            }
        }
        for (id, came) in came.into_iter().filter(|(_, came)| came.contains(&true) && came.contains(&false)) {
            let name = &self.audiences[id.0].name;
            let what = || format!("{name} got {came:?} of a transaction that was cut off: {batch:?}");
            self.violations.add(Kind::HalfTransaction, what);
        }
    }

    fn accuse(&mut self, kind: Kind, id: AudienceId, stamp: Stamp, why: &str) {
        let (audience, stream) = (&self.audiences[id.0], &self.streams[stamp.stream.0 as usize]);
        let (name, topic, qos) = (&audience.name, &stream.topic, stream.qos);
        let sends = stream.publications.get(stamp.sequence as usize - 1).map_or(0, |one| one.sends);
        let (tick, Stamp { stream, sequence }) = (self.tick, stamp);
        self.violations.add(kind, || {
            format!(
                "at tick {tick} {name}: number {sequence} of stream {} on {topic} (QoS {qos}, sent {sends} times) {why}",
                stream.0
            )
        });
    }
}

impl Audience {
    fn receipt(&self, stamp: Stamp) -> Receipt {
        let stream = self.got.get(&stamp.stream);
        stream.and_then(|stream| stream.get(stamp.sequence as usize)).copied().unwrap_or_default()
    }

    fn place(&mut self, stamp: Stamp) -> &mut Receipt {
        let (stream, at) = (self.got.entry(stamp.stream).or_default(), stamp.sequence as usize);
        if stream.len() <= at {
            stream.resize(at + 1, Receipt::Never);
        }
        &mut stream[at]
    }
}
