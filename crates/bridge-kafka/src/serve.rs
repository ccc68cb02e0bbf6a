//! One connection: clients are made, the cluster answers, and then orders and reports go back and forth.
//!
//! ```text
//!  open ──► look at the topics ──► Ready ──► work ──► Lost
//! ```
//!
//! Everything that blocks in the client library is done off the runtime.

use crate::Kafka;
use crate::receiver::{Receiver, Waiting};
use crate::sender::{Answers, Asker, Producer, Sender, Unusable};
use crate::settings;
use crate::voice::Voice;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{Line, Lost, Order, Report, lane_of};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// How long a question may block before it is looked whether it is still of interest.
const SLICE: Duration = Duration::from_millis(500);
/// How long to wait until a topic is looked at again that is being made.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long what was ordered may take once there are no more orders.
const FINISH: Duration = Duration::from_secs(3);
/// Orders that are taken together.
const ORDERS_MAX: usize = 256;

/// Whom to ask whether the cluster answers, and about which topics.
#[derive(Clone)]
struct Question {
    asker: Asker,
    topics: Vec<String>,
}

/// One connection at work.
struct Serving {
    kafka: Arc<Kafka>,
    voice: Arc<Voice>,
    sender: Option<Sender>,
    receivers: Vec<Receiver>,
    /// Why the thread of a receiver has ended; closed once all have.
    over: mpsc::Receiver<Lost>,
    questions: Vec<Question>,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
    /// What waits for room: no more than there were orders.
    outbox: VecDeque<Report>,
    probe: Option<JoinHandle<Option<KafkaError>>>,
    /// Until when what was ordered may take, once there are no more orders.
    finish_at: Option<Instant>,
}

/// What happens on a connection.
enum Event {
    /// So many orders have come; none where there will be no more.
    Orders(usize),
    Answers,
    /// Whether reports can be handed over at all.
    Room(bool),
    /// Whether the cluster has answered.
    Probed(bool),
    Grave(Lost),
    /// A receiver has ended.
    Over(Lost),
    Time,
}

/// Connects and serves.
pub(crate) async fn serve(kafka: Arc<Kafka>, address: usize, line: Line) -> Lost {
    let (mut serving, waiting) = match open(kafka, address, line).await {
        Ok(opened) => opened,
        Err(lost) => return lost,
    };
    if let Err(lost) = serving.look().await {
        return lost;
    }
    if let Err(lost) = serving.start(waiting) {
        return lost;
    }
    if serving.reports.send(Report::Ready).await.is_err() {
        return Lost::Closed;
    }
    let lost = serving.work().await;
    serving.hand_over();
    serving.finish().await;
    lost
}

/// Makes the clients. They begin to connect by themselves.
async fn open(kafka: Arc<Kafka>, address: usize, line: Line) -> Result<(Serving, Waitings), Lost> {
    let voice = Arc::new(Voice::default());
    let made = {
        let (kafka, voice) = (kafka.clone(), voice.clone());
        spawn_blocking(move || make(&kafka, address, voice)).await
    };
    let Made { sender, waiting, questions } = made
        .map_err(|_| Lost::Broken("the client could not be made".to_owned()))?
        .map_err(|error| Lost::Refused(words(&error)))?;
    let serving = Serving {
        kafka,
        voice,
        sender,
        receivers: Vec::new(),
        over: mpsc::channel(1).1,
        questions,
        orders: line.orders,
        reports: line.reports,
        outbox: VecDeque::new(),
        probe: None,
        finish_at: None,
    };
    Ok((serving, Waitings(waiting)))
}

/// The clients of a connection.
struct Made {
    sender: Option<Sender>,
    waiting: Vec<Waiting>,
    questions: Vec<Question>,
}

/// Consumers that have no thread yet. Their end takes a moment: they are dropped off the runtime.
struct Waitings(Vec<Waiting>);

impl Drop for Waitings {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut self.0);
        if !waiting.is_empty() {
            drop(spawn_blocking(move || drop(waiting)));
        }
    }
}

fn make(kafka: &Kafka, address: usize, voice: Arc<Voice>) -> Result<Made, KafkaError> {
    let options = &kafka.options;
    let Some(address) = options.addresses.get(address) else {
        return Err(KafkaError::ClientCreation("there is no such address".to_owned()));
    };
    let mut questions = Vec::new();
    let mut sender = None;
    if !options.forwards.is_empty() {
        let (batch_bytes, answers) = (kafka.batch_bytes(), Arc::new(Answers::default()));
        let config = settings::producer(options, address, batch_bytes);
        let producer = Producer::new(&config, voice.clone(), answers.clone())?;
        let topics = options.forwards.iter().filter_map(|forward| forward.topic.constant());
        let mut topics: Vec<_> = topics.map(str::to_owned).collect();
        topics.sort();
        topics.dedup();
        questions.extend(producer.asker().map(|asker| Question { asker, topics }));
        sender = Some(Sender::new(producer, answers, options.forwards.clone(), batch_bytes));
    }
    let mut waiting = Vec::new();
    for (lane, source) in options.receives.iter().enumerate() {
        let config = settings::consumer(options, address, lane, source);
        let consumer = Waiting::new(&config, source, lane, voice.clone())?;
        questions.push(Question { asker: consumer.asker(), topics: source.topics.clone() });
        waiting.push(consumer);
    }
    Ok(Made { sender, waiting, questions })
}

/// An error without what may be a secret: the library puts the value of a setting into its error.
fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, problem, setting, _) => format!("{setting}: {problem}"),
        other => other.to_string(),
    }
}

impl Serving {
    /// Returns once the cluster has answered and every topic is there that the operator has named.
    async fn look(&mut self) -> Result<(), Lost> {
        let deadline = Instant::now() + self.kafka.options.timeouts.answer;
        for question in self.questions.clone() {
            if question.topics.is_empty() {
                self.look_at(&question.asker, None, deadline).await?;
            }
            for topic in question.topics {
                self.look_at(&question.asker, Some(topic), deadline).await?;
            }
        }
        Ok(())
    }

    async fn look_at(&self, asker: &Asker, topic: Option<String>, deadline: Instant) -> Result<(), Lost> {
        loop {
            let found = ask(asker, topic.clone(), SLICE).await;
            if let Some(lost) = self.voice.refused() {
                return Err(lost);
            }
            let problem = match &found {
                Ok(None) => return Ok(()),
                Ok(Some(code)) => missing(topic.as_deref().unwrap_or_default(), *code),
                Err(error) => Lost::Broken(self.voice.explain(&words(error))),
            };
            let is_final = matches!(&problem, Lost::Refused(_)) && !may_be_coming(found.ok().flatten());
            if is_final || Instant::now() >= deadline {
                return Err(problem);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Has the receivers begin.
    fn start(&mut self, mut waiting: Waitings) -> Result<(), Lost> {
        let (ended, over) = mpsc::channel(waiting.0.len().max(1));
        self.over = over;
        for consumer in waiting.0.drain(..) {
            let receiver = consumer.start(self.reports.clone(), ended.clone());
            self.receivers.push(receiver.map_err(|error| Lost::Broken(error.to_string()))?);
        }
        Ok(())
    }

    /// Has the receivers commit what is settled, and end.
    async fn finish(&mut self) {
        self.receivers.iter().for_each(Receiver::stop);
        let all = async { while self.over.recv().await.is_some() {} };
        let _ = tokio::time::timeout(FINISH, all).await;
    }

    async fn work(&mut self) -> Lost {
        let mut orders = Vec::with_capacity(ORDERS_MAX);
        loop {
            if let Some(lost) = self.is_over(Instant::now()) {
                return lost;
            }
            let event = self.next(&mut orders).await;
            let now = Instant::now();
            match event {
                Event::Orders(0) => self.finish_at = Some(now + FINISH),
                Event::Orders(_) => orders.drain(..).for_each(|order| self.handle(order, now)),
                Event::Answers => self.take_answers(now),
                Event::Room(true) => self.hand_over(),
                Event::Room(false) => return Lost::Closed,
                Event::Probed(has_answered) => {
                    self.probe = None;
                    self.outbox.extend(has_answered.then_some(Report::RoundTrip));
                }
                Event::Grave(lost) => match &mut self.sender {
                    Some(sender) => sender.note_end(Unusable::Lost(lost), now),
                    None => return lost,
                },
                Event::Over(lost) => return lost,
                Event::Time => {}
            }
        }
    }

    /// The next thing that happens; it can be dropped while it waits.
    async fn next(&mut self, orders: &mut Vec<Order>) -> Event {
        let (wake_at, is_ending) = (self.wake_at(), self.is_ending());
        let room = async { self.reports.reserve().await.is_ok() };
        tokio::select! {
            count = self.orders.recv_many(orders, ORDERS_MAX), if self.finish_at.is_none() => Event::Orders(count),
            () = answered(self.sender.as_ref()) => Event::Answers,
            has_room = room, if !self.outbox.is_empty() => Event::Room(has_room),
            has_answered = probed(&mut self.probe) => Event::Probed(has_answered),
            lost = self.voice.grave(), if !is_ending => Event::Grave(lost),
            Some(lost) = self.over.recv() => Event::Over(lost),
            () = sleep_until(wake_at) => Event::Time,
        }
    }

    fn is_ending(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.ends_at().is_some())
    }

    /// Whether the connection has ended, and how.
    fn is_over(&mut self, now: Instant) -> Option<Lost> {
        let sender = self.sender.as_ref();
        if let Some(unusable) = sender.and_then(|sender| sender.ended(now)) {
            return Some(match unusable {
                Unusable::Lost(lost) => lost.clone(),
                Unusable::SmallerBatches(reason) => {
                    self.kafka.shrink_batches();
                    Lost::Broken(format!("a batch is refused, trying with smaller ones: {reason}"))
                }
            });
        }
        if self.overdue_at().is_some_and(|at| now >= at) {
            let sentence = "the cluster has not confirmed a record in time";
            return Some(Lost::Broken(self.voice.explain(sentence)));
        }
        let finish_at = self.finish_at?;
        let is_finished =
            self.outbox.is_empty() && sender.is_none_or(|sender| sender.waits_since().is_none());
        (is_finished || now >= finish_at).then_some(Lost::Closed)
    }

    fn overdue_at(&self) -> Option<Instant> {
        let since = self.sender.as_ref()?.waits_since()?;
        Some(since + self.kafka.options.timeouts.delivery)
    }

    fn wake_at(&self) -> Option<Instant> {
        let ends_at = self.sender.as_ref().and_then(Sender::ends_at);
        [self.overdue_at(), ends_at, self.finish_at].into_iter().flatten().min()
    }

    fn handle(&mut self, order: Order, now: Instant) {
        match order {
            Order::Send(outgoing) => {
                let report = self.sender.as_mut().and_then(|sender| sender.send(&outgoing, now));
                self.outbox.extend(report);
            }
            // A record that nobody will ever take is behind us as well: Kafka knows no rejection.
            Order::Settle { ticket, .. } => {
                if let Some(receiver) = self.receivers.get(lane_of(ticket)) {
                    receiver.settle(ticket);
                }
            }
            Order::Probe => {
                let (questions, timeout) = (self.questions.clone(), self.kafka.options.timeouts.answer);
                // One question at a time.
                self.probe.get_or_insert_with(|| spawn_blocking(move || probe(&questions, timeout)));
            }
        }
    }

    fn take_answers(&mut self, now: Instant) {
        if let Some(sender) = &mut self.sender {
            sender.take_answers(&mut self.outbox, now);
        }
    }

    /// Hands over what there is room for.
    fn hand_over(&mut self) {
        while !self.outbox.is_empty() {
            let Ok(permit) = self.reports.try_reserve() else { return };
            if let Some(report) = self.outbox.pop_front() {
                permit.send(report);
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.sender.as_ref().is_some_and(|sender| sender.confirmed() >= CONFIDENCE) {
            self.kafka.grow_batches();
        }
    }
}

/// After how many confirmations a connection shows that batches may be larger again.
const CONFIDENCE: u64 = 10_000;

/// Asks about a topic, or about all; the answer is what is wrong with the topic.
async fn ask(asker: &Asker, topic: Option<String>, timeout: Duration) -> Result<Option<Code>, KafkaError> {
    let asker = asker.clone();
    let asked = spawn_blocking(move || {
        let metadata = asker(topic.as_deref(), timeout)?;
        let Some(topic) = topic else { return Ok(None) };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(Some(Code::UnknownTopic), |found| found.error().map(Code::from)))
    });
    asked.await.unwrap_or_else(|_| Err(KafkaError::MetadataFetch(Code::BadMessage)))
}

/// Asks everybody once; the answer is what went wrong.
fn probe(questions: &[Question], timeout: Duration) -> Option<KafkaError> {
    questions.iter().find_map(|question| {
        let topic = question.topics.first();
        (question.asker)(topic.map(String::as_str), timeout).err()
    })
}

fn missing(topic: &str, code: Code) -> Lost {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            Lost::Refused(format!("there is no topic `{topic}`"))
        }
        _ => Lost::Refused(format!("topic `{topic}`: {code}")),
    }
}

/// Whether a topic may be there in a moment: servers that make topics on their first use answer before they have done so.
fn may_be_coming(code: Option<Code>) -> bool {
    matches!(code, Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::LeaderNotAvailable))
}

async fn answered(sender: Option<&Sender>) {
    match sender {
        Some(sender) => sender.answered().await,
        None => pending().await,
    }
}

/// Ends with the probe; true where the cluster has answered.
async fn probed(probe: &mut Option<JoinHandle<Option<KafkaError>>>) -> bool {
    match probe {
        Some(probe) => matches!(probe.await, Ok(None)),
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
