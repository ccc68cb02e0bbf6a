//! A protocol for tests: its machine does to the broker what the test says, and writes each delivery as a line.
//!
//! [`Toy::ask`] runs any piece of code inside the machine's own `handle_bytes`, as one event; the rest of the methods
//! are the requests that most tests make. What the peer received is read back from the wire as [`Got`], so that
//! a delivery which never left the output does not count as received.

mod answering;
mod attaching;
mod following;
mod received;

pub use attaching::{Attaching, session};
pub use received::Got;

use super::{Link, World};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tidegate_broker::{Certificate, Entrance};
use tidegate_message::{Publisher, QoS, TopicFilter};
use tidegate_protocol::{
    Attach, Attached, Attachment, Authenticate, Authenticated, Authentication, Backlog, Broker, Close,
    CloseReason, Connection, ConsumerId, Context, Delivery, DeliveryTag, Denial, Detach, Encoded, Evidence,
    Layout, Outcome, Output, Publish, Published, Refusal, Refused, Reply, RetainedDelivery, Subscribe,
    Subscribed, WillAction,
};

/// The consumer of the toy's session.
pub const SESSION: ConsumerId = ConsumerId(0);

/// How long a toy with a timeout waits behind a sign of life.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

type Action = Box<dyn FnOnce(&mut Context<'_>)>;

/// One toy connection. A clone is the same connection.
#[derive(Clone)]
pub struct Toy {
    /// Its wire.
    pub link: Link,
    state: Rc<RefCell<State>>,
}

struct State {
    action: Option<Action>,
    will: WillAction,
    expiry: Option<Duration>,
    saved: Vec<u8>,
    timeout: Option<Instant>,
    timeouts: usize,
    end_at_timeout: bool,
    refuse: Option<Refused>,
    fail: Option<CloseReason>,
    reply: Option<(ConsumerId, Result<Attached, Refusal>)>,
    checked: Option<Result<Authenticated, Denial>>,
    answers: Vec<Result<(), Refusal>>,
    held_back: usize,
    publishers: Vec<Publisher>,
    detached: bool,
    /// Consumers that have asked for a session; those that have none are detached without effect.
    consumers: Vec<ConsumerId>,
    /// Those of them whose backlog comes as it is asked for.
    with_backlog: Vec<ConsumerId>,
}

struct Machine(Rc<RefCell<State>>);

/// A subscription of the session's consumer, QoS 2, without retained messages, to change with `..`.
pub fn subscription(filter: &TopicFilter) -> Subscribe<'_> {
    Subscribe {
        consumer: SESSION,
        share: None,
        filter,
        qos_max: QoS::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained: RetainedDelivery::Never,
    }
}

/// A filter that the test knows to be valid.
pub fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).expect("a valid filter")
}

/// A message, to change with `..`.
pub fn message<'a>(topic: &'a str, payload: &'a str, qos: QoS) -> Publish<'a> {
    let (topic, payload) = (topic.as_bytes(), payload.as_bytes());
    Publish { topic, payload, qos, retain: false, properties: None, expiry: None }
}

impl World {
    /// Opens the connection of an anonymous toy on a worker.
    pub fn toy(&mut self, worker: usize) -> Toy {
        let entrance = Entrance { allow_anonymous: true, ..Entrance::default() };
        self.toy_of(worker, entrance, None)
    }

    /// Opens the connection of a toy whose certificate names this user, and that calls itself so.
    pub fn toy_as(&mut self, worker: usize, user: &str, client_id: &str) -> Toy {
        let entrance = Entrance { certificate: Certificate::Named(user.into()), ..Entrance::default() };
        self.toy_of(worker, entrance, Some(client_id))
    }

    fn toy_of(&mut self, worker: usize, entrance: Entrance, client_id: Option<&str>) -> Toy {
        let toy = self.stranger(worker, entrance);
        match toy.show_password(self, client_id, None, None) {
            Authentication::Now(_) => toy,
            other => panic!("the toy is not let in: {other:?}"),
        }
    }

    /// Opens a toy connection of which nobody knows whose it is.
    pub fn stranger(&mut self, worker: usize, entrance: Entrance) -> Toy {
        let state = Rc::new(RefCell::new(State {
            action: None,
            will: WillAction::Publish,
            expiry: None,
            saved: Vec::new(),
            timeout: None,
            timeouts: 0,
            end_at_timeout: false,
            refuse: None,
            fail: None,
            reply: None,
            checked: None,
            answers: Vec::new(),
            held_back: 0,
            publishers: Vec::new(),
            detached: false,
            consumers: Vec::new(),
            with_backlog: Vec::new(),
        }));
        let link = self.connect_through(worker, 0, entrance, Box::new(Machine(state.clone())));
        Toy { link, state }
    }

    /// Opens a toy connection and attaches a session that is free.
    pub fn attached(&mut self, worker: usize, attaching: Attaching) -> Toy {
        let toy = self.toy(worker);
        match toy.attach(self, attaching) {
            Attachment::Now(_) => toy,
            other => panic!("the session is not free: {other:?}"),
        }
    }
}

impl Toy {
    /// Runs code inside the machine's `handle_bytes`: everything in it is one event. See [`Toy::can_ask`].
    pub fn ask<R: 'static>(
        &self,
        world: &mut World,
        request: impl FnOnce(&mut dyn Broker) -> R + 'static,
    ) -> R {
        let answer = Rc::new(RefCell::new(None));
        let place = answer.clone();
        let action: Action = Box::new(move |context| *place.borrow_mut() = Some(request(context.broker)));
        self.state.borrow_mut().action = Some(action);
        world.send(&self.link, b"!");
        answer.take().expect("the connection is open, takes input and is not waiting")
    }

    /// Says who it is by a password.
    pub fn show_password(
        &self,
        world: &mut World,
        client_id: Option<&str>,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Authentication {
        let [client_id, user, password] = [client_id, user, password].map(|text| text.map(str::to_owned));
        self.ask(world, move |broker| {
            let password = password.as_ref().map(String::as_bytes);
            let evidence = Evidence::Password { user: user.as_deref(), password };
            broker.authenticate(Authenticate { client_id: client_id.as_deref(), evidence })
        })
    }

    /// Claims a session.
    pub fn attach(&self, world: &mut World, attaching: Attaching) -> Attachment {
        let (consumer, has_backlog) = (attaching.consumer, attaching.has_backlog);
        {
            let mut state = self.state.borrow_mut();
            state.consumers.push(consumer);
            state.with_backlog.extend(has_backlog.then_some(consumer));
        }
        self.ask(world, move |broker| {
            let attachment = broker.attach(Attach {
                consumer: attaching.consumer,
                protocol: "toy",
                client_id: &attaching.client_id,
                clean_start: attaching.clean_start,
                expiry: attaching.expiry,
                credit: attaching.credit,
                settlement: attaching.settlement,
                will: attaching.will,
                limits: attaching.limits,
                wants_publisher: attaching.wants_publisher,
            });
            if has_backlog && matches!(attachment, Attachment::Now(_)) {
                broker.arrange(consumer, Backlog::Grows);
            }
            attachment
        })
    }

    /// Subscribes the session.
    pub fn subscribe(&self, world: &mut World, text: &str) -> Subscribed {
        self.subscribe_with(world, text, |_| {}).expect("subscribed")
    }

    /// Subscribes the session with options.
    pub fn subscribe_with(
        &self,
        world: &mut World,
        text: &str,
        options: impl FnOnce(&mut Subscribe<'_>) + 'static,
    ) -> Result<Subscribed, Refusal> {
        let filter = filter(text);
        self.ask(world, move |broker| {
            let mut subscribe = subscription(&filter);
            options(&mut subscribe);
            broker.subscribe(&subscribe)
        })
    }

    /// Makes the session a member of a group.
    pub fn join(&self, world: &mut World, share: &'static str, text: &str) -> Subscribed {
        self.subscribe_with(world, text, move |subscribe| subscribe.share = Some(share)).expect("subscribed")
    }

    /// Ends the session's membership in a group.
    pub fn leave_group(&self, world: &mut World, share: &'static str, text: &str) -> bool {
        let filter = filter(text);
        self.ask(world, move |broker| broker.unsubscribe(SESSION, Some(share), &filter))
    }

    /// Unsubscribes the session.
    pub fn unsubscribe(&self, world: &mut World, text: &str) -> bool {
        let filter = filter(text);
        self.ask(world, move |broker| broker.unsubscribe(SESSION, None, &filter))
    }

    /// Removes every other filter of the session.
    pub fn keep_only(&self, world: &mut World, text: &str) {
        let filters = [filter(text)];
        self.ask(world, move |broker| broker.keep_only(SESSION, &filters));
    }

    /// Publishes.
    pub fn publish(
        &self,
        world: &mut World,
        topic: &str,
        payload: &str,
        qos: QoS,
    ) -> Result<Published, Refusal> {
        self.publish_with(world, topic, payload, qos, |_| {})
    }

    /// Publishes with options.
    pub fn publish_with(
        &self,
        world: &mut World,
        topic: &str,
        payload: &str,
        qos: QoS,
        options: impl FnOnce(&mut Publish<'_>) + 'static,
    ) -> Result<Published, Refusal> {
        let (topic, payload) = (topic.to_owned(), payload.to_owned());
        self.ask(world, move |broker| {
            let mut publish = message(&topic, &payload, qos);
            options(&mut publish);
            broker.publish(&publish)
        })
    }

    /// Settles a delivery of the session as accepted.
    pub fn accept(&self, world: &mut World, tag: u64) {
        self.ask(world, move |broker| broker.settle(SESSION, DeliveryTag(tag), Outcome::Accepted));
    }

    /// Says what becomes of the session's backlog.
    pub fn arrange(&self, world: &mut World, backlog: Backlog) {
        self.ask(world, move |broker| broker.arrange(SESSION, backlog));
    }

    /// The machine ends the connection by itself, as after a goodbye, and does this with its will.
    pub fn leave(&self, world: &mut World, will: WillAction) {
        self.state.borrow_mut().will = will;
        self.fail(world, CloseReason::Disconnected);
    }

    /// The machine returns this reason from its next input.
    pub fn fail(&self, world: &mut World, reason: CloseReason) {
        self.state.borrow_mut().fail = Some(reason);
        world.send(&self.link, b"!");
    }

    /// The peer is gone without a word.
    pub fn vanish(&self, world: &mut World) {
        world.close(&self.link, CloseReason::PeerClosed);
    }

    /// What the machine says when it detaches.
    pub fn set_farewell(&self, expiry: Option<Duration>, saved: &[u8]) {
        let mut state = self.state.borrow_mut();
        (state.expiry, state.saved) = (expiry, saved.to_vec());
    }

    /// The machine has detached already and does not do it again when it ends.
    pub fn set_detached(&self) {
        self.state.borrow_mut().detached = true;
    }

    /// Every delivery is refused for this reason, or none.
    pub fn set_refuse(&self, refuse: Option<Refused>) {
        self.state.borrow_mut().refuse = refuse;
    }

    /// The machine wants to be called at this moment; with `end` it then closes the connection.
    pub fn set_timeout(&self, world: &mut World, at: Option<Instant>, end: bool) {
        {
            let mut state = self.state.borrow_mut();
            (state.timeout, state.end_at_timeout) = (at, end);
        }
        world.send(&self.link, b".");
    }

    /// Wants a timeout from the next delivery on; the broker is not told.
    pub fn set_timeout_silently(&self, at: Instant) {
        self.state.borrow_mut().timeout = Some(at);
    }

    /// How often the moment had really come.
    pub fn timeouts(&self) -> usize {
        self.state.borrow().timeouts
    }

    /// The late answer to an attachment.
    pub fn take_reply(&self) -> Option<Result<Attached, Refusal>> {
        self.take_reply_for().map(|(_, answer)| answer)
    }

    /// The late answer to an attachment, with the consumer that it is for.
    pub fn take_reply_for(&self) -> Option<(ConsumerId, Result<Attached, Refusal>)> {
        self.state.borrow_mut().reply.take()
    }

    /// The late answer about its credentials.
    pub fn take_checked(&self) -> Option<Result<Authenticated, Denial>> {
        self.state.borrow_mut().checked.take()
    }

    /// Who has published what it got since this was asked, as far as it was told.
    pub fn take_publishers(&self) -> Vec<Publisher> {
        std::mem::take(&mut self.state.borrow_mut().publishers)
    }

    /// Whether the machine can be asked something now: it is open, waits for nothing and has room in its output.
    pub fn can_ask(&self, world: &mut World) -> bool {
        let (worker, key) = (self.link.worker(), self.link.key());
        let shard = world.shard(worker);
        !self.link.is_ended() && !shard.is_waiting(key) && !shard.is_stalled(key)
    }
}

impl Connection for Machine {
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let (action, fail) = {
            let mut state = self.0.borrow_mut();
            (state.action.take(), state.fail.take())
        };
        if let Some(action) = action {
            action(context);
        }
        match fail {
            Some(reason) => Err(Close::from(reason)),
            None => Ok(input.len()),
        }
    }

    fn handle_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Result<(), Close> {
        let mut state = self.0.borrow_mut();
        match reply {
            Reply::Attached(consumer, answer) => {
                if answer.is_ok() && state.with_backlog.contains(&consumer) {
                    context.broker.arrange(consumer, Backlog::Grows);
                }
                state.reply = Some((consumer, answer));
            }
            Reply::Authenticated(answer) => state.checked = Some(answer),
        }
        Ok(())
    }

    fn handle_answer(&mut self, answer: Result<(), Refusal>, _: &mut Context<'_>) -> Result<(), Close> {
        let mut state = self.0.borrow_mut();
        state.answers.push(answer);
        state.held_back = 0;
        Ok(())
    }

    fn held_back(&self) -> usize {
        self.0.borrow().held_back
    }

    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        if let Some(refused) = self.0.borrow().refuse {
            return Err(refused);
        }
        let layout = Layout(0x7000_0000 | u32::from(delivery.qos.number()) << 1 | u32::from(delivery.retain));
        encoded.write(layout, output, |bytes| {
            let payload = String::from_utf8_lossy(delivery.payload);
            let line =
                format!("{}|{}|{}|{}", delivery.topic, payload, delivery.qos.number(), delivery.retain);
            bytes.extend_from_slice(line.as_bytes());
        });
        let tag = delivery.tag.map_or("-".to_owned(), |tag| tag.0.to_string());
        let mut ids = delivery.subscription_ids.to_vec();
        ids.sort_unstable();
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        // Only where they say something, so that tests can count the bytes of ordinary lines.
        let attempt =
            if delivery.attempt > 1 { format!("|attempt={}", delivery.attempt) } else { String::new() };
        let backlog = if delivery.is_backlog { "|backlog" } else { "" };
        let position =
            delivery.position.map(|position| format!("|{}|{}", position.token, position.is_after_gap));
        self.0.borrow_mut().publishers.extend(delivery.publisher.cloned());
        let (consumer, redelivered, ids) = (delivery.consumer.0, delivery.redelivered, ids.join(" "));
        let rest = format!(
            "|{consumer}|{redelivered}|{tag}|{ids}{attempt}{backlog}{}\n",
            position.unwrap_or_default()
        );
        output.buffer().extend_from_slice(rest.as_bytes());
        Ok(())
    }

    fn handle_sign_of_life(&mut self, at: Instant) {
        let mut state = self.0.borrow_mut();
        state.timeout = state.timeout.map(|timeout| timeout.max(at + SILENCE_MAX));
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        let mut state = self.0.borrow_mut();
        if state.timeout.is_some_and(|at| at <= context.now) {
            state.timeout = None;
            state.timeouts += 1;
            if state.end_at_timeout {
                return Err(Close::from(CloseReason::KeepAliveTimeout));
            }
        }
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.borrow().timeout
    }

    fn handle_close(&mut self, _: &Close, context: &mut Context<'_>) {
        let state = self.0.borrow();
        for consumer in state.consumers.iter().filter(|_| !state.detached) {
            let (consumer, will, expiry, saved) = (*consumer, state.will, state.expiry, state.saved.clone());
            context.broker.detach(Detach { consumer, will, expiry, saved });
        }
    }

    fn client_id(&self) -> Option<&str> {
        None
    }
}
