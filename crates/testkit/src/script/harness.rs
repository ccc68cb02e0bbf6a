//! Plays the driver for one state machine.

use super::{Parcel, RecordingBroker, Request};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tidegate_protocol::{
    Attached, Authenticated, Close, Connection, Context, Denial, Encoded, MessageKind, Output, Peer,
    Protocol, Refusal, Refused, Reply,
};

/// How long after its opening the peer of [`peer`] may take for the protocol's own opening.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// One machine, its broker, its clock, and everything that came out.
///
/// Keeps the driver's side of the contract: an error is followed by one `handle_close` and nothing more; input waits while
/// an answer is late; input is offered again only when as many bytes stand there as the machine wants.
pub struct Harness {
    /// The clock; only the test moves it.
    pub now: Instant,
    /// Whom the machine asks.
    pub broker: RecordingBroker,
    connection: Box<dyn Connection>,
    output: Output,
    encoded: Encoded,
    input: Vec<u8>,
    closed: Option<Close>,
}

/// Everything that can be seen of a conversation, to compare two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// All bytes for the peer that were not taken before.
    pub output: Vec<u8>,
    /// All requests that were not taken before.
    pub requests: Vec<Request>,
    /// Why the connection ended, if it did.
    pub closed: Option<Close>,
}

/// A peer from 127.0.0.1 that has ten seconds for its opening.
pub fn peer(now: Instant) -> Peer {
    Peer {
        connection: 7,
        address: SocketAddr::from(([127, 0, 0, 1], 50_000)),
        listener: "test".into(),
        connect_deadline: now + CONNECT_TIME,
    }
}

impl Harness {
    /// Opens the protocol's machine for the peer of [`peer`].
    pub fn open(protocol: &dyn Protocol) -> Harness {
        Harness::open_for(protocol, |_| {})
    }

    /// Opens the protocol's machine for a peer that the test changed.
    pub fn open_for(protocol: &dyn Protocol, change: impl FnOnce(&mut Peer)) -> Harness {
        let now = Instant::now();
        let mut peer = peer(now);
        change(&mut peer);
        let output = match protocol.message_kind() {
            MessageKind::BinaryStream => Output::stream(),
            MessageKind::FramePerMessage => Output::frames(),
        };
        Harness {
            now,
            broker: RecordingBroker::default(),
            connection: protocol.open(&peer, now),
            output,
            encoded: Encoded::default(),
            input: Vec::new(),
            closed: None,
        }
    }

    /// Bytes arrive from the peer. After the end of the connection they are dropped, as a driver does.
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Harness {
        self.input.extend_from_slice(bytes.as_ref());
        self.offer_input();
        self
    }

    /// Bytes arrive in pieces of this many bytes.
    pub fn feed_in_pieces(&mut self, bytes: &[u8], piece_bytes: usize) -> &mut Harness {
        for piece in bytes.chunks(piece_bytes) {
            self.feed(piece);
        }
        self
    }

    /// The late answer to an attachment arrives, and then whatever input waited for it.
    pub fn reply(&mut self, answer: Result<Attached, Refusal>) -> &mut Harness {
        assert!(self.broker.owes_attachment() && self.closed.is_none(), "no reply is due");
        let consumer = self.broker.answer_attachment(answer.is_ok()).expect("a consumer waits for it");
        self.turn(|connection, context| connection.handle_reply(Reply::Attached(consumer, answer), context));
        self.offer_input();
        self
    }

    /// The late answer about the client's credentials arrives, and then whatever input waited for it.
    pub fn reply_authenticated(&mut self, answer: Result<Authenticated, Denial>) -> &mut Harness {
        assert!(self.broker.owes_authentication() && self.closed.is_none(), "no reply is due");
        self.broker.answer_authentication();
        self.turn(|connection, context| connection.handle_reply(Reply::Authenticated(answer), context));
        self.offer_input();
        self
    }

    /// What became of the oldest request that was answered [`tidegate_protocol::Answer::Later`].
    pub fn answer(&mut self, answer: Result<(), Refusal>) -> &mut Harness {
        assert!(self.broker.unanswered() > 0 && self.closed.is_none(), "no answer is due");
        self.broker.answer_request();
        self.turn(|connection, context| connection.handle_answer(answer, context));
        self
    }

    /// A message with one receiver is delivered.
    pub fn deliver(&mut self, parcel: &Parcel) -> Result<(), Refused> {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.start(false);
        let outcome = self.deliver_with(parcel, &mut encoded);
        self.encoded = encoded;
        outcome
    }

    /// A message is delivered whose wire forms are shared with other receivers.
    pub fn deliver_with(&mut self, parcel: &Parcel, encoded: &mut Encoded) -> Result<(), Refused> {
        assert!(self.closed.is_none(), "a closed connection gets no deliveries");
        let before = self.output.len();
        let outcome = self.connection.handle_delivery(&parcel.delivery(self.now), encoded, &mut self.output);
        assert!(outcome.is_ok() || self.output.len() == before, "a refused delivery writes nothing");
        outcome
    }

    /// Time passes; the machine's timeout is handled where it falls into it, at its own moment, as often as it does.
    pub fn advance(&mut self, time: Duration) -> &mut Harness {
        let end = self.now + time;
        while let Some(moment) =
            self.connection.next_timeout().filter(|&moment| moment <= end && self.closed.is_none())
        {
            self.now = self.now.max(moment);
            self.handle_timeout();
            let next = self.connection.next_timeout();
            assert!(self.closed.is_some() || next != Some(moment), "a handled timeout must pass");
        }
        self.now = end;
        self
    }

    /// The driver finds now that bytes of the peer wait to be read.
    pub fn has_unread_bytes(&mut self) -> &mut Harness {
        self.connection.handle_sign_of_life(self.now);
        self
    }

    /// Calls the machine's timeout now, which may be early.
    pub fn handle_timeout(&mut self) -> &mut Harness {
        self.turn(|connection, context| connection.handle_timeout(context));
        self
    }

    /// The driver ends the connection.
    pub fn close(&mut self, close: impl Into<Close>) -> &mut Harness {
        let close = close.into();
        self.turn(|_, _| Err(close));
        self
    }

    /// Why the connection ended, if it did.
    pub fn closed(&self) -> Option<&Close> {
        self.closed.as_ref()
    }

    /// The metric label of the end of the connection, if it ended.
    pub fn close_label(&self) -> Option<&'static str> {
        self.closed.as_ref().map(|close| close.reason.label())
    }

    /// The machine itself, for its smaller methods.
    pub fn connection(&self) -> &dyn Connection {
        &*self.connection
    }

    /// The bytes for the peer since the last time.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.replace_buffer(Vec::new())
    }

    /// The frames for the peer since the last time; only for protocols that send a frame per message.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        let ends = self.output.frame_ends().to_vec();
        let bytes = self.take_output();
        assert_eq!(ends.last().copied().unwrap_or(0), bytes.len(), "every byte belongs to an ended frame");
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| bytes[start..end].to_vec()).collect()
    }

    /// The requests since the last time.
    pub fn take_requests(&mut self) -> Vec<Request> {
        self.broker.take_requests()
    }

    /// Everything since the last time, and the end.
    pub fn transcript(&mut self) -> Transcript {
        Transcript { output: self.take_output(), requests: self.take_requests(), closed: self.closed.clone() }
    }

    /// How many bytes of input wait for more.
    pub fn input_waiting(&self) -> usize {
        self.input.len()
    }

    /// Offers the input for as long as the machine takes some of it.
    fn offer_input(&mut self) {
        while self.closed.is_none() && !self.broker.owes_an_answer() && !self.input.is_empty() {
            if self.input.len() < self.connection.bytes_wanted() {
                return;
            }
            let input = std::mem::take(&mut self.input);
            let mut taken = 0;
            self.turn(|connection, context| {
                connection.handle_bytes(&input, context).map(|count| taken = count)
            });
            assert!(taken <= input.len(), "a machine takes no more than it was given");
            self.input = input[taken..].to_vec();
            if taken == 0 {
                return;
            }
        }
    }

    /// One call of the machine, and its end where that failed.
    fn turn(&mut self, call: impl FnOnce(&mut dyn Connection, &mut Context<'_>) -> Result<(), Close>) {
        if self.closed.is_some() {
            return;
        }
        let mut context = Context { now: self.now, output: &mut self.output, broker: &mut self.broker };
        if let Err(close) = call(&mut *self.connection, &mut context) {
            self.connection.handle_close(&close, &mut context);
            self.closed = Some(close);
            assert!(!self.broker.is_attached(), "a closed connection has detached");
        }
    }
}

/// Checks that a conversation looks the same whole, split in two at every position, and byte by byte. Returns it.
///
/// `open` makes a machine at its beginning, or further on in its life with its output and requests taken.
pub fn same_at_every_split(bytes: &[u8], open: impl Fn() -> Harness) -> Transcript {
    let play = |pieces: &[&[u8]]| {
        let mut harness = open();
        for piece in pieces {
            harness.feed(piece);
        }
        harness.transcript()
    };
    let whole = play(&[bytes]);
    for at in 1..bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(play(&[front, back]), whole, "split at {at}");
    }
    assert_eq!(play(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    whole
}
