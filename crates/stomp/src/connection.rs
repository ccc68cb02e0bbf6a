//! One client's state machine.
//!
//! ```text
//!            CONNECT, STOMP          known / CONNECTED             DISCONNECT / RECEIPT
//!   Opening ────────────────► Checking ──────────────► Connected ──────────────────────► Ended
//!      │                          │                    │  ▲   │                            ▲
//!      │                          │                    └──┘   │ any fault / ERROR          │
//!      │                          │   SEND, SUBSCRIBE, ... /  └────────────────────────────┤
//!      │                          │   RECEIPT, MESSAGE, ...                                │
//!      └──────────────────────────┴── any other frame, refusal, deadline / ERROR ──────────┘
//! ```
//!
//! Frames are handled strictly in order, so a RECEIPT is also the acknowledgement of everything before it. Two requests to the broker may be
//! replied to later: who the client is, and a session that another connection holds. Behind them frames wait. Behind a message that has to be
//! on the disk first only RECEIPTs wait (`receipts`).

use crate::StompOptions;
use crate::acknowledge::acknowledge;
use crate::codec::{Command, Decoder, Frame, FrameLimits, Version, encode};
use crate::durable::{DurableSubscriptions, Progress};
use crate::heart_beat::HeartBeats;
use crate::message::{FrameStart, push_message};
use crate::names::Names;
use crate::opening::{Candidate, Opening, evidence, value};
use crate::reason::Fault;
use crate::receipts::{Receipts, Words, push_receipt};
use crate::resuming::StartHeaders;
use crate::send::send;
use crate::subscribe::{required, subscribe, unsubscribe};
use crate::subscriptions::Subscriptions;
use crate::transactions::Transactions;
use std::sync::Arc;
use std::time::Instant;
use tidegate_protocol::{
    Answer, Attached, Authenticate, Authenticated, Authentication, Close, CloseReason, Connection, Context,
    Delivery, Denial, Encoded, Output, Peer, Refusal, Refused, Reply,
};

/// The machine of one STOMP client.
#[derive(Debug)]
pub(crate) struct StompConnection {
    options: Arc<StompOptions>,
    decoder: Decoder,
    phase: Phase,
    /// Beside the phase, because they are given up when it has ended.
    durables: DurableSubscriptions,
    receipts: Receipts,
}

/// Where the conversation stands.
#[derive(Debug)]
enum Phase {
    /// Nothing but CONNECT may come.
    Opening(Opening),
    /// The broker owes the answer who the client is.
    Checking(Candidate),
    /// The client is in.
    Connected(Box<Connected>),
    /// The last words are written.
    Ended,
}

/// The state of a client that is in.
#[derive(Debug)]
struct Connected {
    client_id: Option<Box<str>>,
    names: Names,
    heart_beats: HeartBeats,
    subscriptions: Subscriptions,
    transactions: Transactions,
    /// The number of the next MESSAGE that needs no ACK; unique within the connection ([STOMP-1.2/MESSAGE]).
    next_message: u64,
}

/// How frames are read and written before the version is known. The first frame has no escapes, so this matters to wrong ones only.
const VERSION_UNTIL_KNOWN: Version = Version::V1_2;

/// The header that names a transaction.
const TRANSACTION: &str = "transaction";

/// What a body may have before the client is let in. No frame of the opening has one; a short one is told so.
const OPENING_BODY_BYTES: usize = 1024;

/// A frame that was handled.
struct Done {
    /// What its RECEIPT says of where a subscription begins.
    start: Option<StartHeaders>,
    /// When it may be answered.
    answer: Answer,
}

impl Done {
    const NOW: Done = Done { start: None, answer: Answer::Now };
}

/// Why no more frames are handled.
enum Stop {
    /// The client said goodbye.
    Goodbye,
    /// Something is wrong.
    Fault(Fault),
    /// The broker owes an answer.
    Awaiting,
}

impl StompConnection {
    /// A machine that waits for CONNECT.
    pub(crate) fn new(options: Arc<StompOptions>, peer: &Peer) -> StompConnection {
        let limits = options.frame_limits();
        let body_bytes = limits.body_bytes.min(OPENING_BODY_BYTES);
        let decoder = Decoder::new(VERSION_UNTIL_KNOWN, FrameLimits { body_bytes, ..limits });
        let (phase, durables) = (Phase::Opening(Opening::of(peer)), DurableSubscriptions::default());
        StompConnection { options, decoder, phase, durables, receipts: Receipts::default() }
    }

    /// Handles all complete frames.
    fn handle_frames(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let mut taken = 0;
        loop {
            if self.receipts.are_last() {
                return Ok(input.len());
            }
            if self.durables.is_waiting() || matches!(self.phase, Phase::Checking(_)) {
                return Ok(taken);
            }
            let rest = input.get(taken..).unwrap_or_default();
            let decoded = match self.decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let headers = self.decoder.refused_headers(rest);
                    let receipt = headers.as_ref().and_then(|headers| headers.get("receipt"));
                    return Err(self.fail(error.into(), receipt, context.output));
                }
            };
            taken += decoded.consumed;
            let Some(frame) = decoded.frame else { return Ok(taken) };
            let (receipt, version) = (receipt_of(&frame), self.version());
            match self.handle_frame(&frame, context) {
                Ok(done) => self.finish(done, receipt, version, context.output),
                Err(Stop::Fault(fault)) => return Err(self.fail(fault, receipt, context.output)),
                Err(Stop::Awaiting) => self.durables.keep_receipt(receipt),
                Err(Stop::Goodbye) if !self.receipts.are_none_waiting() => {
                    let receipt = receipt.map(Box::from);
                    self.receipts.push(Answer::Now, Words { receipt, start: None, is_goodbye: true });
                }
                Err(Stop::Goodbye) => {
                    push_receipt(version, receipt, None, context.output);
                    self.phase = Phase::Ended;
                    return Err(CloseReason::Disconnected.into());
                }
            }
        }
    }

    /// Answers a frame that was handled, as soon as that may be.
    #[inline]
    fn finish(&mut self, done: Done, receipt: Option<&str>, version: Version, output: &mut Output) {
        match done.answer == Answer::Now && self.receipts.are_none_waiting() {
            true => push_receipt(version, receipt, done.start.as_ref(), output),
            false => {
                let receipt = receipt.map(Box::from);
                self.receipts.push(done.answer, Words { receipt, start: done.start, is_goodbye: false });
            }
        }
    }

    /// Handles one frame.
    fn handle_frame(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) -> Result<Done, Stop> {
        // In 1.0 such a body is ignored ([STOMP-1.0/SUBSCRIBE]).
        if !frame.body.is_empty() && !frame.command.may_have_body() && self.version() > Version::V1_0 {
            return Err(Fault::UnexpectedBody(frame.command).into());
        }
        match &mut self.phase {
            Phase::Opening(opening) => {
                if !matches!(frame.command, Command::Connect | Command::Stomp) {
                    return Err(Fault::NotConnected(frame.command).into());
                }
                let candidate = opening.read(frame, &self.options)?;
                let evidence = evidence(frame, candidate.version);
                let client_id = value(frame, candidate.version, "client-id");
                match context.broker.authenticate(Authenticate { client_id, evidence }) {
                    Authentication::Now(authenticated) => self.admit(candidate, &authenticated, context)?,
                    Authentication::Later => self.phase = Phase::Checking(candidate),
                    Authentication::Refused(denial) => return Err(Fault::Denied(denial).into()),
                }
                Ok(Done::NOW)
            }
            Phase::Checking(_) => Ok(Done::NOW),
            Phase::Connected(connected) => {
                connected.handle_frame(frame, &self.options, &mut self.durables, context)
            }
            Phase::Ended => Err(Stop::Goodbye),
        }
    }

    /// Lets a client in that is known now. STOMP has no method of several steps.
    fn admit(
        &mut self,
        candidate: Candidate,
        authenticated: &Authenticated,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Authenticated::Accepted { identity, .. } = authenticated else {
            return Err(Fault::Denied(Denial::MalformedExchange));
        };
        let heart_beats = candidate.welcome(&self.options, context.now, context.output);
        let version = candidate.version;
        self.durables = DurableSubscriptions::of(identity.client_id.as_deref());
        self.decoder = Decoder::new(version, self.options.frame_limits());
        self.phase = Phase::Connected(Box::new(Connected {
            client_id: candidate.client_id.or_else(|| identity.user.clone()),
            names: candidate.names,
            heart_beats,
            subscriptions: Subscriptions::new(version, self.options.max_subscriptions),
            transactions: Transactions::new(&self.options),
            next_message: 0,
        }));
        Ok(())
    }

    /// Goes on with the frame that waited for a session.
    fn resume(&mut self, answer: Result<Attached, Refusal>, context: &mut Context<'_>) -> Result<(), Close> {
        let (receipt, done) = self.durables.resume(answer, context.broker);
        let answer = done.map_err(|fault| self.fail(fault, receipt.as_deref(), context.output))?;
        let version = self.version();
        self.finish(Done { start: None, answer }, receipt.as_deref(), version, context.output);
        if let Phase::Connected(connected) = &mut self.phase {
            connected.heart_beats.note_received(context.now);
        }
        Ok(())
    }

    /// Writes the ERROR of a fault, after which nothing more is said.
    fn fail(&mut self, fault: Fault, receipt: Option<&str>, output: &mut Output) -> Close {
        push_error(self.version(), &fault, receipt, output);
        self.phase = Phase::Ended;
        fault.close()
    }

    /// The version in which frames are written now.
    fn version(&self) -> Version {
        match &self.phase {
            Phase::Opening(_) | Phase::Ended => VERSION_UNTIL_KNOWN,
            Phase::Checking(candidate) => candidate.version,
            Phase::Connected(connected) => connected.names.version(),
        }
    }
}

impl Connected {
    fn handle_frame(
        &mut self,
        frame: &Frame<'_>,
        options: &StompOptions,
        durables: &mut DurableSubscriptions,
        context: &mut Context<'_>,
    ) -> Result<Done, Stop> {
        let Connected { names, subscriptions, transactions, .. } = self;
        let (version, broker) = (names.version(), &mut *context.broker);
        match frame.command {
            command if !command.is_of(version) => {
                return Err(Fault::NotInVersion { version, command }.into());
            }
            Command::Send => {
                let answer = send(frame, names, subscriptions, transactions, broker)?;
                return Ok(Done { start: None, answer });
            }
            Command::Subscribe => {
                return subscribe(frame, options, names, subscriptions, durables, broker)?.into_frame();
            }
            Command::Unsubscribe => {
                return unsubscribe(frame, version, subscriptions, durables, broker)?.into_frame();
            }
            Command::Ack | Command::Nack => acknowledge(frame, version, subscriptions, transactions, broker)?,
            Command::Begin => transactions.begin(required(frame, TRANSACTION)?)?,
            Command::Commit => {
                let answer = transactions.commit(required(frame, TRANSACTION)?, subscriptions, broker)?;
                return Ok(Done { start: None, answer });
            }
            Command::Abort => transactions.abort(required(frame, TRANSACTION)?, subscriptions)?,
            Command::Disconnect => return Err(Stop::Goodbye),
            Command::Connect | Command::Stomp => return Err(Fault::AlreadyConnected.into()),
            Command::Connected | Command::Message | Command::Receipt | Command::Error => {
                return Err(Fault::ServerFrame(frame.command).into());
            }
        }
        Ok(Done::NOW)
    }

    fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        let subscription =
            self.subscriptions.of_consumer(delivery.consumer).ok_or(Refused::NotExpressible)?;
        let start = FrameStart { subscription: &subscription.frame_start, number: self.next_message };
        push_message(start, &self.names, delivery, encoded, output)?;
        self.next_message += 1;
        if let Some(tag) = delivery.tag {
            subscription.note_unsettled(tag);
        }
        self.heart_beats.note_sent(delivery.now);
        Ok(())
    }
}

impl Connection for StompConnection {
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let written = context.output.len();
        let outcome = self.handle_frames(input, context);
        if let Phase::Connected(connected) = &mut self.phase {
            connected.heart_beats.note_received(context.now);
            if context.output.len() > written {
                connected.heart_beats.note_sent(context.now);
            }
        }
        outcome
    }

    /// Where the peer promised heart-beats every arrival has to be seen, pieces of a large body too.
    fn bytes_wanted(&self) -> usize {
        match &self.phase {
            Phase::Connected(connected) if connected.heart_beats.expects() => 1,
            _ => self.decoder.bytes_wanted(),
        }
    }

    /// Who the client is, or what became of the session of a durable subscription.
    fn handle_reply(&mut self, reply: Reply, context: &mut Context<'_>) -> Result<(), Close> {
        let answer = match reply {
            Reply::Authenticated(answer) => answer,
            Reply::Attached(_, answer) => return self.resume(answer, context),
        };
        let candidate = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Checking(candidate) => candidate,
            other => {
                self.phase = other;
                return Ok(());
            }
        };
        let admitted = answer
            .map_err(Fault::Denied)
            .and_then(|authenticated| self.admit(candidate, &authenticated, context));
        admitted.map_err(|fault| self.fail(fault, None, context.output))
    }

    /// The oldest frame that waits is done, or what it wanted is not kept, which is told as if it had been refused at once.
    fn handle_answer(&mut self, answer: Result<(), Refusal>, context: &mut Context<'_>) -> Result<(), Close> {
        let Some(first) = self.receipts.take_answered() else { return Ok(()) };
        if let Err(refusal) = answer {
            return Err(self.fail(refusal.into(), first.receipt.as_deref(), context.output));
        }
        let (version, mut done) = (self.version(), Some(first));
        while let Some(Words { receipt, start, is_goodbye }) = done {
            push_receipt(version, receipt.as_deref(), start.as_ref(), context.output);
            if is_goodbye {
                self.phase = Phase::Ended;
                return Err(CloseReason::Disconnected.into());
            }
            done = self.receipts.next();
        }
        if let Phase::Connected(connected) = &mut self.phase {
            connected.heart_beats.note_sent(context.now);
        }
        Ok(())
    }

    fn held_back(&self) -> usize {
        self.receipts.len()
    }

    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        encoded: &mut Encoded,
        output: &mut Output,
    ) -> Result<(), Refused> {
        match &mut self.phase {
            Phase::Connected(connected) => connected.deliver(delivery, encoded, output),
            Phase::Opening(_) | Phase::Checking(_) | Phase::Ended => Err(Refused::NotExpressible),
        }
    }

    /// The deadline of the opening does not move: a client that has all that time is not silent but slow.
    fn handle_sign_of_life(&mut self, at: Instant) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.heart_beats.note_received(at);
        }
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        let now = context.now;
        if self.durables.is_waiting()
            && let Phase::Connected(connected) = &mut self.phase
        {
            // Nobody reads what the peer says meanwhile.
            connected.heart_beats.note_received(now);
        }
        let checked = match &mut self.phase {
            Phase::Opening(opening) if opening.deadline <= now => Err(Fault::ConnectTimeout),
            Phase::Checking(candidate) if candidate.deadline <= now => Err(Fault::ConnectTimeout),
            Phase::Opening(_) | Phase::Checking(_) | Phase::Ended => Ok(()),
            Phase::Connected(connected) => connected.heart_beats.check_peer(now),
        };
        checked.map_err(|fault| self.fail(fault, None, context.output))?;
        if let Phase::Connected(connected) = &mut self.phase
            && connected.heart_beats.is_due(now)
        {
            push_heart_beat(context.output);
            connected.heart_beats.note_sent(now);
        }
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening(opening) => Some(opening.deadline),
            Phase::Checking(candidate) => Some(candidate.deadline),
            Phase::Connected(connected) => connected.heart_beats.next_timeout(),
            Phase::Ended => None,
        }
    }

    /// Consumers end with their connection; what is durable is given back.
    fn handle_close(&mut self, close: &Close, context: &mut Context<'_>) {
        let last_words = match close.reason {
            CloseReason::SessionTakenOver => Some(Fault::SessionTakenOver),
            CloseReason::ServerShutdown => Some(Fault::ServerShutdown),
            CloseReason::ListenerClosed => Some(Fault::ListenerClosed),
            CloseReason::QueueOverflow => Some(Fault::QueueOverflow),
            CloseReason::ReplayEnded => Some(Fault::ReplayEnded),
            CloseReason::NotAuthorized => Some(Fault::NotAuthorized),
            CloseReason::ConnectTimeout => Some(Fault::ConnectTimeout),
            _ => None,
        };
        let is_open = !matches!(self.phase, Phase::Ended);
        if let Some(fault) = last_words.filter(|_| is_open) {
            push_error(self.version(), &fault, None, context.output);
        }
        self.phase = Phase::Ended;
        self.durables.give_up_all(context.broker);
    }

    fn client_id(&self) -> Option<&str> {
        match &self.phase {
            Phase::Connected(connected) => connected.client_id.as_deref(),
            Phase::Checking(candidate) => candidate.client_id.as_deref(),
            Phase::Opening(_) | Phase::Ended => None,
        }
    }
}

impl Progress {
    /// What it means for the frame that has made it.
    fn into_frame(self) -> Result<Done, Stop> {
        match self {
            Progress::Done(answer) => Ok(Done { start: None, answer }),
            Progress::Following(following) => Ok(Done { start: Some(following.into()), answer: Answer::Now }),
            Progress::Awaiting => Err(Stop::Awaiting),
        }
    }
}

impl<F: Into<Fault>> From<F> for Stop {
    fn from(fault: F) -> Stop {
        Stop::Fault(fault.into())
    }
}

/// The receipt that a frame asks for; CONNECT cannot ask for one ([STOMP-1.2/Header receipt]).
fn receipt_of<'f>(frame: &'f Frame<'_>) -> Option<&'f str> {
    match frame.command {
        Command::Connect | Command::Stomp => None,
        _ => frame.headers.get("receipt"),
    }
}

/// Appends the ERROR of a fault ([STOMP-1.2/ERROR]).
fn push_error(version: Version, fault: &Fault, receipt: Option<&str>, output: &mut Output) {
    let supported = matches!(fault, Fault::UnsupportedVersion).then_some(("version", "1.0,1.1,1.2"));
    let receipt = receipt.map(|receipt| ("receipt-id", receipt));
    let always = [("message", fault.message()), ("content-type", "text/plain")];
    let headers = supported.into_iter().chain(receipt).chain(always);
    if encode(output.buffer(), version, Command::Error, headers, fault.to_string().as_bytes()).is_ok() {
        output.end_frame();
    }
}

/// Appends a heart-beat: one line end ([STOMP-1.2/Heart-beating]).
fn push_heart_beat(output: &mut Output) {
    output.buffer().push(b'\n');
    output.end_frame();
}
