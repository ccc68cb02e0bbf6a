//! The forwarding side of one connection: a producer, and what it has not answered for.
//!
//! ```text
//!  send ──► producer ──► cluster
//!  pending            │
//!  take_answers ◄── answers ◄── delivery (on the producer's own thread)
//! ```
//!
//! The producer copies what it is given. Records are known to it by a number of this side; what is pending is bounded by what the
//! bridge has on its way.

use crate::fate::{Circumstances, Fate, fate};
use crate::options::ForwardTarget;
use crate::record::{Record, Scratch};
use crate::voice::{Listening, Voice};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{Lost, Outgoing, Report, Verdict};
use tokio::sync::Notify;

/// How long the answers may take that are still to come when a connection ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the cluster has said about records and nobody has looked at: number, and what was wrong.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    waiting: Mutex<Vec<(usize, Option<Code>)>>,
    arrived: Notify,
}

/// The context of the producer.
struct Answering {
    listening: Listening,
    answers: Arc<Answers>,
}

impl ClientContext for Answering {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listening.log(level, facility, message);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.listening.error(error, reason);
    }
}

impl ProducerContext for Answering {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let failure = result.as_ref().err().map(|(error, _)| code_of(error));
        let mut waiting = self.answers.waiting.lock();
        let was_empty = waiting.is_empty();
        waiting.push((number, failure));
        drop(waiting);
        if was_empty {
            self.answers.arrived.notify_one();
        }
    }
}

/// The producer. Its end purges what is on its way, which takes a moment: it is dropped off the runtime.
pub(crate) struct Producer(Option<Arc<ThreadedProducer<Answering>>>);

impl Producer {
    pub(crate) fn new(
        config: &ClientConfig,
        voice: Arc<Voice>,
        answers: Arc<Answers>,
    ) -> KafkaResult<Producer> {
        let context = Answering { listening: Listening(voice), answers };
        Ok(Producer(Some(Arc::new(config.create_with_context(context)?))))
    }

    fn get(&self) -> Option<&ThreadedProducer<Answering>> {
        self.0.as_deref()
    }

    /// Asks the cluster. Does not keep the producer.
    pub(crate) fn asker(&self) -> Option<Asker> {
        let producer = Arc::downgrade(self.0.as_ref()?);
        Some(Arc::new(move |topic, timeout| {
            let producer = producer.upgrade().ok_or(KafkaError::Canceled)?;
            producer.client().fetch_metadata(topic, timeout)
        }))
    }
}

/// Asks the cluster about a topic, or about all of them; blocks until it is answered.
pub(crate) type Asker = Arc<dyn Fn(Option<&str>, Duration) -> KafkaResult<Metadata> + Send + Sync>;

impl Drop for Producer {
    fn drop(&mut self) {
        let Some(producer) = self.0.take() else { return };
        // At once, since a question may hold the producer for a while: what this one has not sent, the next one sends.
        producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(producer))),
            Err(_) => drop(producer),
        }
    }
}

/// A record without an answer.
#[derive(Debug)]
struct Pending {
    ticket: u64,
    bytes: usize,
    is_named_by_message: bool,
    sent_at: Instant,
}

/// See the module.
pub(crate) struct Sender {
    producer: Producer,
    answers: Arc<Answers>,
    targets: Vec<ForwardTarget>,
    /// Those whose topic or partition depends on the message.
    named_by_message: Vec<bool>,
    batch_bytes: usize,
    pending: BTreeMap<usize, Pending>,
    next_number: usize,
    scratch: Scratch,
    confirmed: u64,
    /// When the last one was.
    confirmed_at: Option<Instant>,
    /// Why the connection ends, and since when that is known.
    end: Option<(Unusable, Instant)>,
}

/// Why a connection is of no use any more, as its answers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    Lost(Lost),
    /// The same, and the next connection is to make smaller batches.
    SmallerBatches(String),
}

impl Sender {
    pub(crate) fn new(
        producer: Producer,
        answers: Arc<Answers>,
        targets: Vec<ForwardTarget>,
        batch_bytes: usize,
    ) -> Sender {
        let varies = |target: &ForwardTarget| {
            target.topic.constant().is_none()
                || target.partition.as_ref().is_some_and(|partition| partition.constant().is_none())
        };
        let named_by_message = targets.iter().map(varies).collect();
        Sender {
            producer,
            answers,
            targets,
            named_by_message,
            batch_bytes,
            pending: BTreeMap::new(),
            next_number: 0,
            scratch: Scratch::default(),
            confirmed: 0,
            confirmed_at: None,
            end: None,
        }
    }

    /// Since when there are records without an answer, and none has come: a slow link takes its time for what is in front of a record.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        let (_, oldest) = self.pending.first_key_value()?;
        Some(self.confirmed_at.map_or(oldest.sent_at, |at| at.max(oldest.sent_at)))
    }

    /// How many records were confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Ends when there are answers to take.
    pub(crate) async fn answered(&self) {
        self.answers.arrived.notified().await;
    }

    /// When the connection ends whatever comes, where it is to end.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.end.as_ref().map(|(_, since)| *since + LAST_ANSWERS)
    }

    /// Why the connection is over, once the answers are in that were still to come.
    pub(crate) fn ended(&self, now: Instant) -> Option<&Unusable> {
        let (unusable, since) = self.end.as_ref()?;
        let is_over = self.pending.is_empty() || now >= *since + LAST_ANSWERS;
        (is_over || matches!(unusable, Unusable::SmallerBatches(_))).then_some(unusable)
    }

    /// The connection is to end. Nothing more goes out; what has gone may still be answered.
    ///
    /// Those answers matter: when a batch is refused, all other records fail as well, and theirs may be known earlier than the guilty one's.
    pub(crate) fn note_end(&mut self, unusable: Unusable, now: Instant) {
        match &mut self.end {
            None => {
                if let Some(producer) = self.producer.get() {
                    producer.purge(PurgeConfig::default().queue().non_blocking());
                }
                self.end = Some((unusable, now));
            }
            Some((known, _)) => {
                if matches!(unusable, Unusable::SmallerBatches(_)) {
                    *known = unusable;
                }
            }
        }
    }

    /// Sends a message. What can be said about it at once is reported; never blocks.
    pub(crate) fn send(&mut self, outgoing: &Outgoing, now: Instant) -> Option<Report> {
        let ticket = outgoing.ticket;
        let never = |label, reason| Some(report(ticket, Verdict::Never { label, reason }));
        let (Some(target), Some(producer)) = (self.targets.get(outgoing.lane), self.producer.get()) else {
            return never("not_expressible", "there is no such forward".to_owned());
        };
        if self.end.is_some() {
            return None;
        }
        if let Err(verdict) = outgoing.expires_in(now) {
            return Some(report(ticket, verdict));
        }
        let record = match Record::of(target, outgoing, &mut self.scratch) {
            Ok(record) => record,
            Err(error) => return never("not_expressible", error.to_string()),
        };
        let pending = Pending {
            ticket,
            bytes: record.bytes + outgoing.payload.len(),
            is_named_by_message: self.named_by_message.get(outgoing.lane).copied().unwrap_or_default(),
            sent_at: now,
        };
        let base = BaseRecord {
            topic: record.topic,
            partition: record.partition,
            payload: Some(&outgoing.payload[..]),
            key: Some(record.key),
            timestamp: record.timestamp_millis,
            headers: Some(record.headers),
            delivery_opaque: self.next_number,
        };
        let sent = producer.send(base).map_err(|(error, _)| error);
        match sent {
            Ok(()) => {
                self.pending.insert(self.next_number, pending);
                self.next_number = self.next_number.wrapping_add(1);
                None
            }
            Err(error) => {
                // It has not been in any batch.
                self.judge(code_of(&error), &Pending { bytes: usize::MAX, ..pending }, now)
            }
        }
    }

    /// What became of records, as far as it is known; in the order of the answers. Once the connection is to end, confirmations do not
    /// count any more: what was taken behind a record that was not must come again behind it.
    pub(crate) fn take_answers(&mut self, out: &mut impl Extend<Report>, now: Instant) {
        let answers = std::mem::take(&mut *self.answers.waiting.lock());
        for (number, failure) in answers {
            let Some(pending) = self.pending.remove(&number) else { continue };
            let report = match failure {
                None if self.end.is_some() => None,
                None => {
                    self.confirmed += 1;
                    self.confirmed_at = Some(now);
                    Some(report(pending.ticket, Verdict::Confirmed))
                }
                Some(code) => self.judge(code, &pending, now),
            };
            out.extend(report);
        }
    }

    /// A verdict on a record that was not taken, or the end of the connection.
    fn judge(&mut self, code: Code, pending: &Pending, now: Instant) -> Option<Report> {
        let circumstances = Circumstances {
            is_named_by_message: pending.is_named_by_message,
            // The library puts a record that is as large as a batch into one of its own.
            is_alone: pending.bytes.max(1) >= self.batch_bytes,
        };
        let reason = code.to_string();
        let unusable = match fate(code, circumstances) {
            Fate::Never(label) => return Some(report(pending.ticket, Verdict::Never { label, reason })),
            Fate::SmallerBatches => Unusable::SmallerBatches(reason),
            Fate::Refused => Unusable::Lost(Lost::Refused(reason)),
            Fate::Broken => Unusable::Lost(Lost::Broken(reason)),
        };
        self.note_end(unusable, now);
        None
    }
}

fn code_of(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Unknown)
}

fn report(ticket: u64, verdict: Verdict) -> Report {
    Report::Verdict { ticket, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidegate_bridge::{Form, Template, Vocabulary};
    use tidegate_message::{QoS, Topic};

    const SECOND: Duration = Duration::from_secs(1);

    /// A producer whose cluster nobody has.
    fn sender(answers: &Arc<Answers>) -> Sender {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        let producer = Producer::new(&config, Arc::default(), answers.clone()).unwrap();
        let topic = Template::parse("plant", &Vocabulary::FORWARD, Form::Text).unwrap();
        let target = ForwardTarget { topic, key: None, partition: None, headers: Vec::new() };
        Sender::new(producer, answers.clone(), vec![target], 1)
    }

    fn outgoing(ticket: u64) -> Outgoing {
        Outgoing {
            lane: 0,
            ticket,
            topic: Topic::parse(b"plant/7").unwrap(),
            payload: Bytes::from_static(b"21"),
            original: Bytes::from_static(b"21"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
            publisher: None,
            id: "edge-1/7/central.0/1".into(),
            path: "edge-1".into(),
            is_repeated: false,
        }
    }

    /// What is in front of a record takes its time on a slow link: as long as something is confirmed the link is of use.
    #[test]
    fn a_connection_waits_since_its_last_confirmation() {
        let answers = Arc::new(Answers::default());
        let (mut sender, start) = (sender(&answers), Instant::now());
        (0..3).for_each(|ticket| assert!(sender.send(&outgoing(ticket), start).is_none()));
        assert_eq!(sender.waits_since(), Some(start));
        answers.waiting.lock().push((0, None));
        let mut reports = Vec::new();
        sender.take_answers(&mut reports, start + 20 * SECOND);
        assert_eq!(sender.waits_since(), Some(start + 20 * SECOND));
        answers.waiting.lock().extend([(1, None), (2, None)]);
        sender.take_answers(&mut reports, start + 30 * SECOND);
        assert_eq!((reports.len(), sender.waits_since()), (3, None));
        assert!(sender.send(&outgoing(3), start + 90 * SECOND).is_none());
        assert_eq!(sender.waits_since(), Some(start + 90 * SECOND));
    }
}
