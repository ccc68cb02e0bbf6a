//! The receiving side of one connection: a member of a consumer group, polled by a thread of its own.
//!
//! ```text
//!  cluster ──► consumer ──► thread ──► Report::Received
//!                 ▲           │
//!       commit ───┴── Offsets ◄──── settle (from the connection)
//! ```
//!
//! The thread belongs to its [`Receiver`]: it ends when that is dropped or told to, and commits what is settled by then. It stays a member
//! of its group: it is a static one (KIP-345), whose partitions nobody else gets before its session is over.
//! When partitions are taken away, what is settled is committed first and the rest is forgotten.

use crate::incoming::{Taken, incoming};
use crate::offsets::{Offsets, Place};
use crate::options::ReceiveSource;
use crate::sender::Asker;
use crate::voice::{Listening, Voice};
use parking_lot::Mutex;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_bridge::{Lost, Report, UNSETTLED_MAX, first_ticket};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// How long a poll waits, and so how long the end of the thread takes.
const POLL: Duration = Duration::from_millis(50);
/// How often positions are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How long to wait after a commit that failed.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// What the thread, the callbacks of the client and the connection share.
struct Shared {
    offsets: Mutex<Offsets>,
    /// Whether the thread polls the consumer.
    is_polled: AtomicBool,
    is_stopped: AtomicBool,
    has_commit_failed: AtomicBool,
}

/// The context of the consumer.
struct Taking {
    listening: Listening,
    shared: Arc<Shared>,
}

type Group = BaseConsumer<Taking>;

/// See the module.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
}

/// A consumer that is not polled yet.
pub(crate) struct Waiting {
    consumer: Arc<Group>,
    shared: Arc<Shared>,
    lane: usize,
    topics: Vec<String>,
}

impl Waiting {
    /// Makes the consumer of a receive. It joins its group once it is polled.
    pub(crate) fn new(
        config: &ClientConfig,
        source: &ReceiveSource,
        lane: usize,
        voice: Arc<Voice>,
    ) -> KafkaResult<Waiting> {
        let shared = Arc::new(Shared {
            offsets: Mutex::new(Offsets::new(first_ticket(lane))),
            is_polled: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            has_commit_failed: AtomicBool::new(false),
        });
        let context = Taking { listening: Listening(voice), shared: shared.clone() };
        let consumer = Arc::new(config.create_with_context(context)?);
        Ok(Waiting { consumer, shared, lane, topics: source.topics.clone() })
    }

    /// Asks the cluster. Does not keep the consumer.
    pub(crate) fn asker(&self) -> Asker {
        let (consumer, shared) = (Arc::downgrade(&self.consumer), self.shared.clone());
        Arc::new(move |topic, timeout| {
            let consumer = consumer.upgrade().ok_or(KafkaError::Canceled)?;
            let found = consumer.fetch_metadata(topic, timeout);
            if !shared.is_polled.load(Ordering::Relaxed) {
                // Nothing is subscribed to, so that this yields nothing but what the client has to say.
                let _ = consumer.poll(Duration::ZERO);
            }
            found
        })
    }

    /// Starts the thread. Whoever holds the other end of `over` learns why a thread has ended, and that all have.
    pub(crate) fn start(
        self,
        reports: mpsc::Sender<Report>,
        over: mpsc::Sender<Lost>,
    ) -> std::io::Result<Receiver> {
        let Waiting { consumer, shared, lane, topics } = self;
        shared.is_polled.store(true, Ordering::Relaxed);
        let receiver = Receiver { shared: shared.clone() };
        let run = move || {
            let farewell = Farewell(over);
            let poller = Poller { consumer, shared, lane, reports, is_paused: false, has_warned: false };
            if let Err(lost) = poller.run(&topics) {
                let _ = farewell.0.try_send(lost);
            }
        };
        std::thread::Builder::new().name(format!("kafka receive {lane}")).spawn(run)?;
        Ok(receiver)
    }
}

/// Says that a thread has ended in a way that nobody has thought of.
struct Farewell(mpsc::Sender<Lost>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.try_send(Lost::Broken("the consumer has ended".to_owned()));
        }
    }
}

impl Receiver {
    /// A record is settled.
    pub(crate) fn settle(&self, ticket: u64) {
        self.shared.offsets.lock().settle(ticket);
    }

    /// The thread is to end.
    pub(crate) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread works with.
struct Poller {
    consumer: Arc<Group>,
    shared: Arc<Shared>,
    lane: usize,
    reports: mpsc::Sender<Report>,
    is_paused: bool,
    /// Whether it was said that headers cannot be read: a topic may be full of such records.
    has_warned: bool,
}

impl Poller {
    /// Works until it is stopped; commits what is settled.
    fn run(mut self, topics: &[String]) -> Result<(), Lost> {
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| Lost::Refused(error.to_string()))?;
        let worked = self.work();
        commit_settled(&self.consumer, &self.shared, CommitMode::Sync);
        worked
    }

    fn work(&mut self) -> Result<(), Lost> {
        let (consumer, mut commit_at) = (self.consumer.clone(), Instant::now());
        while !self.shared.is_stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            if self.shared.has_commit_failed.swap(false, Ordering::Relaxed) {
                commit_at = now + COMMIT_AGAIN;
            }
            if now >= commit_at {
                commit_settled(&self.consumer, &self.shared, CommitMode::Async);
                commit_at = now + COMMIT_EVERY;
            }
            self.hold_back();
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(record)) => match self.hand_over(&record) {
                    Ok(()) => {}
                    Err(_) => return Ok(()),
                },
                Some(Err(error)) => judge(&error)?,
            }
        }
        Ok(())
    }

    /// Pauses while too much is not settled. Polling goes on, as a member of a group has to.
    fn hold_back(&mut self) {
        let unsettled = self.shared.offsets.lock().unsettled();
        let is_full = unsettled >= UNSETTLED_MAX;
        if !is_full && (!self.is_paused || unsettled > UNSETTLED_MAX / 2) {
            return;
        }
        // Anew each time: partitions that have come meanwhile are not paused.
        let done = self.consumer.assignment().and_then(|assignment| match is_full {
            true => self.consumer.pause(&assignment),
            false => self.consumer.resume(&assignment),
        });
        match done {
            Ok(()) => self.is_paused = is_full,
            Err(error) => debug!(%error, "the partitions of a receive cannot be paused or resumed now"),
        }
    }

    /// Gives a record to the bridge; an error where nobody wants it any more.
    fn hand_over(&mut self, record: &BorrowedMessage<'_>) -> Result<(), mpsc::error::SendError<Report>> {
        let ticket =
            self.shared.offsets.lock().hand_over(record.topic(), record.partition(), record.offset());
        let Taken { incoming, lacks_headers } = incoming(self.lane, ticket, record);
        if lacks_headers && !self.has_warned {
            self.has_warned = true;
            let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
            warn!(
                topic,
                partition,
                offset,
                "the headers of a record are left out, because the name of one is no text; others like it are not told"
            );
        }
        self.reports.blocking_send(Report::Received(Box::new(incoming)))
    }
}

/// Whether an error ends the connection: the client gets over most of them by itself.
fn judge(error: &KafkaError) -> Result<(), Lost> {
    if let KafkaError::MessageConsumptionFatal(code) = error {
        return Err(Lost::Broken(code.to_string()));
    }
    match error.rdkafka_error_code() {
        Some(
            code @ (Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::GroupMaxSizeReached
            | Code::InconsistentGroupProtocol),
        ) => Err(Lost::Refused(code.to_string())),
        _ => {
            debug!(%error, "a consumer of a bridge reports an error");
            Ok(())
        }
    }
}

/// Commits the positions behind what is settled.
fn commit_settled(consumer: &Group, shared: &Shared, mode: CommitMode) {
    let commits = shared.offsets.lock().take_commits();
    if commits.is_empty() {
        return;
    }
    let committed = list(&commits).and_then(|list| consumer.commit(&list, mode));
    if let Err(error) = committed {
        debug!(%error, "a position cannot be committed now");
        shared.note_uncommitted();
    }
}

fn list(commits: &[(Place, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for ((topic, partition), position) in commits {
        list.add_partition_offset(topic, *partition, Offset::Offset(*position))?;
    }
    Ok(list)
}

impl Shared {
    fn note_uncommitted(&self) {
        self.offsets.lock().note_uncommitted();
        self.has_commit_failed.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Taking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.listening.log(level, facility, message);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.listening.error(error, reason);
    }
}

impl ConsumerContext for Taking {
    /// Runs in a poll of the thread, before the partitions are gone.
    fn pre_rebalance(&self, consumer: &Group, rebalance: &Rebalance<'_>) {
        if !matches!(rebalance, Rebalance::Revoke(_)) {
            return;
        }
        if !consumer.assignment_lost() {
            commit_settled(consumer, &self.shared, CommitMode::Sync);
        }
        self.shared.offsets.lock().forget();
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "a position was not committed");
            self.shared.note_uncommitted();
        }
    }
}
