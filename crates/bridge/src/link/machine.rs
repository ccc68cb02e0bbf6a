//! The gateway's side of a link: a protocol like any other, whose client happens to live in the same process.
//!
//! ```text
//!  ┌───────┐ Attach ┌──────────┐ reply ┌──────────┐ End, or the client goes
//!  │ Fresh ├───────►│ Claiming ├──────►│ Attached ├────────────────────────► closed
//!  └───────┘        └──────────┘       └──────────┘
//! ```
//!
//! A link without a session publishes only, and stays fresh. The session outlives the connection for ever, until [`Command::End`].

use super::frame::{BadFrame, Command, Event, Matched, frame_bytes, write_delivery};
use super::{LinkRefusal, Publishing};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{
    Answer, Attach, Attached, Attachment, Authenticate, Authenticated, Authentication, Backlog, Broker,
    Close, CloseReason, Connection, ConsumerId, Context, Delivery, Detach, Encoded, Evidence, MessageKind,
    Output, Peer, Protocol, Publish, Recognition, Refusal, Refused, Reply, RetainedDelivery, Saved, Saving,
    SessionLimits, Settlement, Subscribe, WillAction,
};

/// What links are called where protocols are: in metrics, and as the owner of their sessions.
pub const PROTOCOL: &str = "bridge";

const SESSION: ConsumerId = ConsumerId(0);

/// Makes the machines of links. No listener can have it: it takes nobody for a client that comes from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkProtocol;

impl Protocol for LinkProtocol {
    fn name(&self) -> &'static str {
        PROTOCOL
    }

    fn recognise(&self, _: &[u8]) -> Recognition {
        Recognition::No
    }

    fn websocket_subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    fn message_kind(&self) -> MessageKind {
        MessageKind::BinaryStream
    }

    fn open(&self, _: &Peer, _: Instant) -> Box<dyn Connection> {
        Box::new(LinkMachine::default())
    }
}

/// One link.
#[derive(Debug, Default)]
pub(super) struct LinkMachine {
    state: State,
    /// What the broker will answer for, in this order.
    awaited: VecDeque<Awaited>,
    /// Filters that are not kept yet.
    filters_awaited: usize,
    /// Whether one of them could not be had.
    is_filter_refused: bool,
    /// Whether the client waits for them.
    is_done_awaited: bool,
    wanted: usize,
    name: String,
    /// What was said of the backlog before there was a session.
    arranged: Option<Backlog>,
    /// Whether what the session saves outlives the process.
    is_durable: bool,
    /// All that it has saved, which is told once more when the link goes.
    saved: Vec<u8>,
    /// What is to be saved with the next message.
    piece: Option<Bytes>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Fresh,
    Known,
    Claiming,
    Attached,
}

#[derive(Debug)]
enum Awaited {
    Publish { ticket: u64, matched: Matched },
    Filter,
}

fn fault(_: BadFrame) -> Close {
    CloseReason::ProtocolFault("bad_frame").into()
}

impl LinkMachine {
    /// What the gateway is part of need not be asked for; but everybody has to be somebody.
    fn become_known(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        if self.state != State::Fresh {
            return Ok(());
        }
        let client_id = Some(self.name.as_str()).filter(|name| !name.is_empty());
        let evidence = Evidence::Password { user: None, password: None };
        match context.broker.authenticate(Authenticate { client_id, evidence }) {
            Authentication::Now(Authenticated::Accepted { .. }) => {
                self.state = State::Known;
                Ok(())
            }
            _ => Err(CloseReason::NotAuthorized.into()),
        }
    }

    fn handle(&mut self, command: Command, context: &mut Context<'_>) -> Result<(), Close> {
        match command {
            Command::Attach { name, credit } => self.attach(name, credit, context)?,
            Command::Subscribe { filter, qos_max, retained } => {
                self.subscribe(&filter, qos_max, retained, context);
            }
            Command::KeepOnly(filters) => self.keep_only(&filters, context.broker),
            Command::Done => {
                self.is_done_awaited = true;
                self.say_done(context.output);
            }
            Command::Publish { ticket, publishing } => {
                self.become_known(context)?;
                self.publish(ticket, &publishing, context);
            }
            Command::Arrange(backlog) if self.state == State::Attached => {
                context.broker.arrange(SESSION, backlog);
            }
            Command::Arrange(backlog) => self.arranged = Some(backlog),
            Command::SaveMore(piece) => self.piece = Some(piece),
            Command::SaveWhole(whole) => self.save(Saved::Whole(&whole), context.broker),
            Command::Settle { tag, outcome } => context.broker.settle(SESSION, tag, outcome),
            Command::End => {
                detach(context.broker, Some(Duration::ZERO), Vec::new());
                return Err(CloseReason::Disconnected.into());
            }
        }
        Ok(())
    }

    fn attach(&mut self, name: String, credit: u32, context: &mut Context<'_>) -> Result<(), Close> {
        if !matches!(self.state, State::Fresh | State::Known) {
            return Err(CloseReason::ProtocolFault("attached_twice").into());
        }
        self.name = name;
        self.become_known(context)?;
        let attachment = context.broker.attach(Attach {
            consumer: SESSION,
            protocol: PROTOCOL,
            client_id: &self.name,
            clean_start: false,
            expiry: Duration::MAX,
            credit: credit.max(1),
            settlement: Settlement::Always,
            will: None,
            // What waits for an upstream may grow as far as the disk goes, and is nobody's to forget.
            limits: SessionLimits::Disk,
            wants_publisher: true,
        });
        match attachment {
            Attachment::Now(attached) => self.note_attached(&attached, context),
            Attachment::Later => self.state = State::Claiming,
            Attachment::Refused(refusal) => write(&Event::Refused(refusal.into()), context.output),
        }
        Ok(())
    }

    fn note_attached(&mut self, attached: &Attached, context: &mut Context<'_>) {
        self.state = State::Attached;
        // Before anything is delivered.
        if let Some(backlog) = self.arranged.take() {
            context.broker.arrange(SESSION, backlog);
        }
        self.is_durable = attached.is_durable;
        for piece in &attached.saved {
            self.saved.extend(piece);
            write(&Event::Saved(Bytes::copy_from_slice(piece)), context.output);
        }
        write(&Event::Attached { present: attached.present }, context.output);
    }

    fn subscribe(&mut self, filter: &[u8], qos_max: QoS, retained: bool, context: &mut Context<'_>) {
        let filter = match TopicFilter::parse(filter) {
            Ok(filter) => filter,
            Err(error) => {
                let refusal = LinkRefusal { is_passing: false, text: error.to_string() };
                return self.refuse_filter(refusal, context.output);
            }
        };
        let subscribed = context.broker.subscribe(&Subscribe {
            consumer: SESSION,
            share: None,
            filter: &filter,
            qos_max,
            no_local: filter.queue_name().is_none(),
            retain_as_published: true,
            subscription_id: None,
            retained: match retained {
                true => RetainedDelivery::WhenNew,
                false => RetainedDelivery::Never,
            },
        });
        match subscribed.map(|subscribed| subscribed.answer) {
            Ok(Answer::Now) => {}
            Ok(Answer::Later) => {
                self.filters_awaited += 1;
                self.awaited.push_back(Awaited::Filter);
            }
            Err(refusal) => self.refuse_filter(refusal.into(), context.output),
        }
    }

    fn refuse_filter(&mut self, refusal: LinkRefusal, output: &mut Output) {
        self.is_filter_refused = true;
        write(&Event::Refused(refusal), output);
    }

    /// Takes away what the session has from earlier links. Not where something cannot be had that is to stand in its place: then nothing is missed until
    /// it can be.
    fn keep_only(&self, filters: &[Bytes], broker: &mut dyn Broker) {
        if !self.is_filter_refused {
            let filters: Vec<_> =
                filters.iter().filter_map(|filter| TopicFilter::parse(filter).ok()).collect();
            broker.keep_only(SESSION, &filters);
        }
    }

    /// Saves something with everything else that this call asks for.
    fn save(&mut self, saved: Saved<'_>, broker: &mut dyn Broker) {
        if !self.is_durable {
            return;
        }
        broker.save(SESSION, saved, Saving::Along);
        match saved {
            Saved::Whole(whole) => self.saved = whole.to_vec(),
            Saved::More(piece) => self.saved.extend(piece),
        }
    }

    fn publish(&mut self, ticket: u64, publishing: &Publishing, context: &mut Context<'_>) {
        let piece = self.piece.take();
        let Publishing { topic, payload, qos, retain, properties, expiry } = publishing;
        let published = context.broker.publish(&Publish {
            topic,
            payload,
            qos: *qos,
            retain: *retain,
            properties: properties.as_deref(),
            expiry: *expiry,
        });
        if let Some(piece) = piece.filter(|_| published.is_ok()) {
            self.save(Saved::More(&piece), context.broker);
        }
        let result = match published {
            Ok(published) if published.answer == Answer::Later => {
                let matched = Matched(published.matched);
                return self.awaited.push_back(Awaited::Publish { ticket, matched });
            }
            Ok(published) => Ok(Matched(published.matched)),
            Err(refusal) => Err(refusal.into()),
        };
        write(&Event::Published { ticket, result }, context.output);
    }

    fn say_done(&mut self, output: &mut Output) {
        if self.is_done_awaited && self.filters_awaited == 0 {
            self.is_done_awaited = false;
            write(&Event::Done, output);
        }
    }
}

fn write(event: &Event, output: &mut Output) {
    event.write(output.buffer());
}

fn detach(broker: &mut dyn Broker, expiry: Option<Duration>, saved: Vec<u8>) {
    broker.detach(Detach { consumer: SESSION, will: WillAction::Discard, expiry, saved });
}

impl Connection for LinkMachine {
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let mut rest = input;
        while let Some(length) = frame_bytes(rest).map_err(fault)? {
            self.wanted = length;
            let Some((frame, behind)) = rest.split_at_checked(length) else { break };
            rest = behind;
            self.wanted = 1;
            self.handle(Command::read(frame).map_err(fault)?, context)?;
            if self.state == State::Claiming {
                break;
            }
        }
        Ok(input.len() - rest.len())
    }

    fn bytes_wanted(&self) -> usize {
        self.wanted.max(1)
    }

    fn handle_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Result<(), Close> {
        match reply {
            Reply::Attached(_, Ok(attached)) => self.note_attached(&attached, context),
            Reply::Attached(_, Err(refusal)) => {
                self.state = State::Known;
                write(&Event::Refused(refusal.into()), context.output);
            }
            Reply::Authenticated(_) => {}
        }
        Ok(())
    }

    fn handle_answer(&mut self, answer: Result<(), Refusal>, context: &mut Context<'_>) -> Result<(), Close> {
        match self.awaited.pop_front() {
            Some(Awaited::Publish { ticket, matched }) => {
                let result = answer.map(|()| matched).map_err(LinkRefusal::from);
                write(&Event::Published { ticket, result }, context.output);
            }
            Some(Awaited::Filter) => {
                self.filters_awaited -= 1;
                if let Err(refusal) = answer {
                    write(&Event::Refused(refusal.into()), context.output);
                }
                self.say_done(context.output);
            }
            None => {}
        }
        Ok(())
    }

    fn held_back(&self) -> usize {
        self.awaited.len()
    }

    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        _: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        // Everything has to be settled, so everything has a tag.
        let tag = delivery.tag.ok_or(Refused::NotExpressible)?;
        write_delivery(delivery, tag, output.buffer());
        Ok(())
    }

    fn handle_sign_of_life(&mut self, _: Instant) {}

    fn handle_timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_close(&mut self, _: &Close, context: &mut Context<'_>) {
        detach(context.broker, None, std::mem::take(&mut self.saved));
    }

    fn client_id(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !name.is_empty())
    }
}
