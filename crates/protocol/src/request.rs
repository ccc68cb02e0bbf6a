//! What a connection asks of the broker, and the answers.
//!
//! Each request is a structure and each answer has its own type, so that an answer cannot be mistaken for another
//! one. All of them are short and answered at once, but two, whose answer may come later, through `Connection::handle_reply`: a
//! session that is held by a connection of another worker has to be given up there first ([`Broker::attach`]), and a password
//! takes long to check ([`Broker::authenticate`]). A connection waits for one such reply at a time.
//!
//! What has to be on the disk before anybody may rely on it is done at once as well, but [`Answer::Later`] says that its
//! acknowledgement has to wait. Many of these may be outstanding, and nothing else waits for them.

use crate::{Authenticate, Authenticated, Authentication, DeliveryTag, Denial, Follow, Following};
use bytes::Bytes;
use std::time::Duration;
use tidegate_message::{Properties, QoS, Topic, TopicError, TopicFilter};

/// What a machine calls one of its consumers; unique within its connection. An MQTT connection has one, a STOMP connection one
/// per subscription, an AMQP connection one per consumer of each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u32);

/// What a protocol keeps in a session between two connections, in a form that only it can read.
///
/// Bytes rather than an object, so that a durable store can keep it.
pub type SavedState = Vec<u8>;

/// When a request that was taken may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Now.
    Now,
    /// When `Connection::handle_answer` says so, once for each such request of the connection and in their order. Whatever
    /// comes meanwhile is handled.
    Later,
}

/// What a protocol wants back at the next attachment should the process end before it detaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved<'a> {
    /// This, in place of everything before.
    Whole(&'a [u8]),
    /// This behind what was saved before. A machine writes the whole again before the pieces come to [`SAVED_PIECES_MAX`] or
    /// [`SAVED_BYTES_MAX`], past which they are not taken.
    More(&'a [u8]),
}

/// How much a machine cares when what it saves is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saving {
    /// It stands and falls with what else this call of the machine asks for, and is in no hurry by itself: nobody is told.
    Along,
    /// Something has to wait for it.
    Awaited,
}

/// The most pieces that a session keeps of its protocol's state.
pub const SAVED_PIECES_MAX: usize = 4096;

/// The most bytes of all these pieces.
pub const SAVED_BYTES_MAX: usize = 2 << 20;

/// The broker as one connection sees it.
pub trait Broker {
    /// Says who the client is. Comes before [`Broker::attach`] and [`Broker::consume`], which are refused to a client that
    /// nobody knows. A client that was refused is not asked again: its connection ends.
    fn authenticate(&mut self, authenticate: Authenticate<'_>) -> Authentication;

    /// Claims a session for a new consumer: its queue, its subscriptions, its unsettled deliveries. Ends whatever connection held it
    /// before, as a whole.
    ///
    /// A connection may hold several sessions, each under a consumer of its own. What it publishes carries the origin of the first.
    fn attach(&mut self, attach: Attach<'_>) -> Attachment;

    /// Gives a session up and ends its consumer. Unsettled deliveries go back to the front of its queue, or vanish with a session that
    /// ends here. Nothing happens where the consumer has none.
    fn detach(&mut self, detach: Detach);

    /// Keeps a piece of what the protocol wants back at the next attachment, together with everything else that this call of the machine
    /// asks for: after the end of the process either all of it has happened or nothing. Makes sense where
    /// [`Attached::is_durable`]; nothing happens where the consumer has no session.
    fn save(&mut self, consumer: ConsumerId, saved: Saved<'_>, saving: Saving) -> Answer;

    /// Opens a queue that ends with the connection, with this connection as its only consumer.
    fn consume(&mut self, consume: Consume) -> Result<(), Refusal>;

    /// Ends a consumer that [`Broker::consume`] opened, its queue and its subscriptions. Returns whether there was one.
    fn cancel(&mut self, consumer: ConsumerId) -> bool;

    /// Binds a filter to a consumer's queue, or replaces the options of the same filter.
    ///
    /// A filter `$queue/<name>` makes the consumer one of those that compete for what is published to the topic of that name.
    fn subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<Subscribed, Refusal>;

    /// Lets a consumer follow the replay ring that holds all topics of a filter, from now on or from where its client was. Ends with
    /// the consumer.
    fn follow(&mut self, follow: &Follow<'_>) -> Result<Following, Refusal>;

    /// Removes a filter from a consumer's queue, or the consumer's queue from the group `share` of that filter. Returns whether
    /// it was there.
    fn unsubscribe(&mut self, consumer: ConsumerId, share: Option<&str>, filter: &TopicFilter) -> bool;

    /// Removes every filter from a consumer's queue that is not among these, and every one that it shares under a name: for whoever says with each
    /// attachment what it wants. What has been kept under a filter that goes stays in the queue.
    fn keep_only(&mut self, consumer: ConsumerId, filters: &[TopicFilter]);

    /// What the addresses begin with at which this connection may wait for answers: a name behind it makes one. Only this connection may
    /// subscribe there, to one address at a time; everybody who was told an address may publish to it, and nothing is kept there. It stays
    /// the same as long as the connection lasts.
    fn reply_prefix(&mut self) -> Result<Box<str>, Refusal>;

    /// Routes a message. `Ok` with [`Answer::Now`], or the `Ok` that comes later, is the acknowledgement event: what it promises is what
    /// the publisher may be told.
    fn publish(&mut self, publish: &Publish<'_>) -> Result<Published, Refusal>;

    /// Routes several messages, or none of them: everything that one could be refused for is looked at first, room in named queues, in the
    /// other queues of this worker and for retained messages included. The error says which message is refused, counted from 0, and why; then
    /// nothing was published. What `Ok` promises of each message is what [`Broker::publish`] promises.
    fn publish_all(&mut self, batch: &[Publish<'_>]) -> Result<Answer, (usize, Refusal)>;

    /// Lets the driver read nothing more from this connection for a while, because its peer sends more than it may. What has been read
    /// already is still handled.
    fn slow_down(&mut self, time: Duration);

    /// Counts a message of this connection that the machine turned away without asking: `reason` is a label in metrics.
    fn note_dropped(&mut self, reason: &'static str);

    /// Says how a consumer's own queue gives what waits in it: newer deliveries before older ones, or of older ones the last of each topic. Until it is said for the
    /// first time on a connection everything comes, in its order.
    fn arrange(&mut self, consumer: ConsumerId, backlog: Backlog);

    /// Says what became of a delivery that had a tag, and gives its credit back. A delivery of an earlier connection may be settled before
    /// it has come again. Unknown tags are ignored.
    fn settle(&mut self, consumer: ConsumerId, tag: DeliveryTag, outcome: Outcome);
}

/// What becomes of that which waits for a consumer that does not take everything in its order.
///
/// Order is kept among what is backlog, and among what is not. More than a few hundred deliveries that are not, and wait, become backlog behind
/// everything else that is: their consumer does not keep up with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Everything that waits is backlog, and so is what comes from now on: it comes as far as it is asked for.
    Grows,
    /// Everything that waits is backlog, and what comes from now on is not: it goes before it, as far as the credit goes.
    Overtaken,
    /// So many deliveries more of the backlog may come.
    More(u32),
    /// Of what waits now the newest of each topic is left, and the rest counted as `superseded`. Says nothing about the order, nor about what comes.
    LastValues,
}

/// Claims a session.
#[derive(Debug)]
pub struct Attach<'a> {
    /// What the machine will call the session's consumer; not in use.
    pub consumer: ConsumerId,
    /// The protocol's name: two protocols never share a session by accident.
    pub protocol: &'static str,
    /// The session's name, for which a protocol with one session a client takes the client's; not empty.
    pub client_id: &'a str,
    /// Whether an existing session is ended first.
    pub clean_start: bool,
    /// How long the session outlives its connection; zero ends it with the connection, [`Duration::MAX`] never. The broker may shorten it.
    pub expiry: Duration,
    /// Deliveries that may be unsettled at a time, at least 1.
    pub credit: u32,
    /// Which deliveries have to be settled.
    pub settlement: Settlement,
    /// Published when the connection ends without [`WillAction::Discard`].
    pub will: Option<Will>,
    /// What bounds it.
    pub limits: SessionLimits,
    /// Whether it is told who has published what it gets, and when ([`crate::Delivery::publisher`]): of messages that were published when it
    /// had subscribed already. Kept with the session, for what comes while it is away.
    pub wants_publisher: bool,
}

/// What bounds a session: how many there may be, how long it is kept, how much waits in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionLimits {
    /// The limits that hold for every session.
    #[default]
    Usual,
    /// The disk: it is never turned away because there are too many, ends when its claimant says so, and of what is kept for it as much may wait
    /// as the store has room for. What waits for it in memory only, which is everything where there is no store, is bounded as usual, and
    /// nothing older gives way in it.
    Disk,
}

/// The answer to [`Attach`].
#[derive(Debug)]
pub enum Attachment {
    /// The session is attached.
    Now(Attached),
    /// The answer comes through `Connection::handle_reply`; until then the machine is fed nothing.
    Later,
    /// It cannot be had.
    Refused(Refusal),
}

/// An attached session. Its deliveries begin when the machine has returned from the call that told it.
#[derive(Debug)]
pub struct Attached {
    /// Whether the session existed before.
    pub present: bool,
    /// What the protocol left in it, oldest piece first; empty for a new session. May come from a disk.
    pub saved: Vec<SavedState>,
    /// How long the session will outlive its connection, after the broker's limit.
    pub expiry: Duration,
    /// Whether the session outlives the process, so that what must not be forgotten has to be saved when it happens
    /// ([`Broker::save`]).
    pub is_durable: bool,
}

/// An answer that comes later than its request.
#[derive(Debug)]
pub enum Reply {
    /// The answer to [`Broker::attach`] for this consumer.
    Attached(ConsumerId, Result<Attached, Refusal>),
    /// The answer to [`Broker::authenticate`].
    Authenticated(Result<Authenticated, Denial>),
}

/// Gives a session up.
#[derive(Debug)]
pub struct Detach {
    /// The session's consumer.
    pub consumer: ConsumerId,
    /// What happens to the will.
    pub will: WillAction,
    /// How long the session outlives the connection from now, where that changes (MQTT 5.0 section 3.14.2.2.2).
    pub expiry: Option<Duration>,
    /// What the protocol wants back with the next attachment; takes the place of everything saved before.
    pub saved: SavedState,
}

/// What happens to a will when its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WillAction {
    /// It is published, after its delay.
    Publish,
    /// It is forgotten ([MQTT-3.1.2-10]).
    Discard,
}

/// A message that is published when a connection ends badly (MQTT 5.0 section 3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: Topic,
    /// The application's bytes.
    pub payload: Bytes,
    /// Its level.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// What it carries beside the payload.
    pub properties: Option<Box<Properties>>,
    /// Its lifetime, counted from its publication.
    pub expiry: Option<Duration>,
    /// How long after the end of the connection it is published; a session that ends earlier publishes it at once.
    pub delay: Duration,
}

/// Opens a consumer with a queue of its own.
#[derive(Debug, Clone, Copy)]
pub struct Consume {
    /// What the machine will call it; not in use.
    pub consumer: ConsumerId,
    /// Deliveries that may be unsettled at a time, at least 1.
    pub credit: u32,
    /// Which deliveries have to be settled.
    pub settlement: Settlement,
}

/// Which deliveries have to be settled by the consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// None: sent is done (STOMP `ack:auto`, AMQP `no-ack`).
    Automatic,
    /// Those with a level above 0 (MQTT).
    AboveAtMostOnce,
    /// All (STOMP `client` and `client-individual`, AMQP).
    Always,
}

/// Binds a filter to a consumer's queue.
#[derive(Debug, Clone, Copy)]
pub struct Subscribe<'a> {
    /// The consumer.
    pub consumer: ConsumerId,
    /// The group of consumers that share what the filter selects: each message goes to one of them. The same name with another
    /// filter is another group. Nothing for a subscription of the consumer's own.
    pub share: Option<&'a str>,
    /// Which topics.
    pub filter: &'a TopicFilter,
    /// The highest level at which messages are delivered.
    pub qos_max: QoS,
    /// Whether messages that this connection published are left out (MQTT 5.0 section 3.8.3.1).
    pub no_local: bool,
    /// Whether live messages keep the retain flag that they were published with.
    pub retain_as_published: bool,
    /// Told with every delivery that this subscription matched.
    pub subscription_id: Option<u32>,
    /// Whether the retained messages that match are delivered now; to a group they never are.
    pub retained: RetainedDelivery,
}

/// When a subscription gets the retained messages that match it (MQTT 5.0 section 3.8.3.1, Retain Handling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainedDelivery {
    /// Always.
    Always,
    /// Only where the subscription is new.
    WhenNew,
    /// Never.
    Never,
}

/// The answer to [`Subscribe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// Whether the same filter was subscribed before.
    pub existed: bool,
    /// When it may be acknowledged.
    pub answer: Answer,
}

/// A message to route; everything borrowed from the reader's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The topic in canonical text, not yet checked: the broker checks each topic once and remembers it.
    pub topic: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The level.
    pub qos: QoS,
    /// Whether it replaces the topic's retained message; with an empty payload it clears it.
    pub retain: bool,
    /// What it carries beside the payload.
    pub properties: Option<&'a Properties>,
    /// Its lifetime from now.
    pub expiry: Option<Duration>,
}

/// The message is with every queue that is to receive it, or on its way to the worker that has the
/// queue. What that worker then finds full is counted, and not told to the publisher; in a named queue the room is reserved before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether any subscription matched.
    pub matched: bool,
    /// When it may be acknowledged: where it has to survive the end of the process, not before it does.
    pub answer: Answer,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has it.
    Accepted,
    /// The peer does not want it; it is counted as dropped.
    Rejected,
    /// It will not arrive where it was to go, and the peer has seen to what had to be done about that, counting included. A publisher that waits
    /// for its arrival is told so.
    GivenUp,
    /// It goes back to its place in the queue and is delivered again; of a named queue, to whichever consumer is next.
    Released,
}

/// Why the broker says no. Protocols map it to their codes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The topic's bytes are no topic.
    #[error("{0}")]
    InvalidTopic(#[from] TopicError),
    /// The topic or filter has more levels than the limit.
    #[error("the topic has {levels} levels; the limit is {limit}")]
    TooManyLevels {
        /// How many it has.
        levels: usize,
        /// `limits.topic_levels`.
        limit: usize,
    },
    /// The topic or filter is longer than the limit.
    #[error("the topic has {bytes} bytes; the limit is {limit}")]
    TopicTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// `limits.topic_bytes`.
        limit: usize,
    },
    /// The session has as many subscriptions as it may.
    #[error("the session has {limit} subscriptions, which is the limit")]
    TooManySubscriptions {
        /// `limits.subscriptions_per_session`.
        limit: usize,
    },
    /// All sessions together have as many subscriptions as they may, by number or by bytes.
    #[error("subscriptions fill their limit")]
    SubscriptionsFull,
    /// The client's name is longer than the limit.
    #[error("the client's name has {bytes} bytes; the limit is {limit}")]
    ClientIdTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// `limits.client_id_bytes`.
        limit: usize,
    },
    /// As many sessions exist as may.
    #[error("there are {limit} sessions, which is the limit")]
    TooManySessions {
        /// `limits.sessions`.
        limit: usize,
    },
    /// Retained messages fill their limit; the message was not routed either.
    #[error("retained messages fill their limit")]
    RetainedFull,
    /// There is no room: the queue of every receiver is full, or what was asked for would exceed what all queues may hold.
    #[error("there is no room left in the queues")]
    QueueFull,
    /// What has to be kept on the disk has no room there: `limits.disk` is reached, or the file system is full.
    #[error("the disk is full, or its limit is reached")]
    StoreFull,
    /// What has to be kept on the disk cannot be: the disk answers with errors.
    #[error("the disk cannot be written to")]
    StoreFailing,
    /// The message was taken, and is not where it was to go: it was refused there for good, has expired, or was dropped on its way.
    #[error("the message did not get to where it is forwarded to")]
    NotForwarded,
    /// The topic or filter names no queue: the name is empty, or has wildcards.
    #[error("a queue is `$queue/` and a name, which is not empty and has no wildcards")]
    InvalidQueueName,
    /// A shared subscription to a queue.
    #[error("a queue cannot be shared by a group: its consumers compete already")]
    QueueInGroup,
    /// A subscription to a queue that leaves out what its own connection published.
    #[error("a queue gives each message to one consumer, whoever published it: \"no local\" is not possible")]
    QueueNoLocal,
    /// A message that is to be retained, for a queue. It did not get into the queue either.
    #[error("a queue retains no messages")]
    QueueRetain,
    /// As many queues exist as may.
    #[error("there are {limit} queues, which is the limit")]
    TooManyQueues {
        /// `limits.queues`.
        limit: usize,
    },
    /// The topic is one of the gateway's own.
    #[error("topics that begin with `$` are the gateway's own")]
    ReservedTopic,
    /// A message that is to be retained, for a reply address. Nobody got it.
    #[error("a reply address retains no messages")]
    ReplyRetain,
    /// The system gives no random bytes, so nothing that nobody can guess could be made.
    #[error("the system gives no random bytes")]
    NoRandom,
    /// No replay ring holds all topics of the filter.
    #[error(
        "no replay ring (`[[replay]]`) holds all topics of this filter, so the subscription could not be resumed"
    )]
    NotInReplayRing,
    /// The client may not do this, or nobody knows who it is.
    #[error("not authorized")]
    NotAuthorized,
    /// The machine named a consumer that it does not have: a fault of the machine.
    #[error("no such consumer")]
    UnknownConsumer,
}
