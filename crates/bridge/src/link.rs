//! A client that lives in this process: how a bridge publishes, and how it receives what it has to forward.
//!
//! A [`Link`] is one connection to the gateway, without a socket. Its session is a queue like that of any client that comes back: long, on
//! the disk where there is a store, and with nothing taken out of it before it was settled. That makes it the cursor of a bridge.
//!
//! Everything here is said in [frames](frame) over a pipe; at the other end is a machine like those of the protocols
//! ([`LinkProtocol`]), so that the broker and its driver know nothing of bridges.

mod deadline;
mod frame;
mod machine;

pub use frame::{BadFrame, Event, Matched};
pub use machine::{LinkProtocol, PROTOCOL};

use bytes::{Bytes, BytesMut};
use frame::Command;
use std::io;
use std::time::{Duration, Instant};
use tidegate_message::{Properties, Publisher, QoS, Topic, TopicFilter};
use tidegate_protocol::{Backlog, DeliveryTag, Outcome, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// A message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// What it is settled by; stays the same when it comes again, also after a restart of a gateway with a store.
    pub tag: DeliveryTag,
    /// Where it was published.
    pub topic: Topic,
    /// The application's bytes.
    pub payload: Bytes,
    /// What it carries beside the payload.
    pub properties: Option<Box<Properties>>,
    /// The level of the delivery.
    pub qos: QoS,
    /// Whether it was published to be retained, or is a retained message.
    pub retain: bool,
    /// Whether it may have come before.
    pub redelivered: bool,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
    /// From when on it is worth nothing.
    pub expires_at: Option<Instant>,
    /// Who published it and when: known of messages that were published when the session stood already, but not of those of the gateway itself.
    pub publisher: Option<Box<Publisher>>,
    /// Whether it is one of the backlog that was asked for.
    pub is_backlog: bool,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Publishing {
    /// The topic in canonical text; what is no topic is refused.
    pub topic: Bytes,
    /// The application's bytes.
    pub payload: Bytes,
    /// The level.
    pub qos: QoS,
    /// Whether it replaces the topic's retained message.
    pub retain: bool,
    /// What it carries beside the payload.
    pub properties: Option<Box<Properties>>,
    /// Its lifetime from now.
    pub expiry: Option<Duration>,
}

/// Why the gateway says no to a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LinkRefusal {
    /// Whether the same may be taken later: there is no room now, or the disk fails.
    pub is_passing: bool,
    /// In words.
    pub text: String,
}

impl From<Refusal> for LinkRefusal {
    fn from(refusal: Refusal) -> LinkRefusal {
        let is_passing = matches!(
            refusal,
            Refusal::QueueFull
                | Refusal::StoreFull
                | Refusal::StoreFailing
                | Refusal::RetainedFull
                | Refusal::TooManySessions { .. }
                | Refusal::SubscriptionsFull
                | Refusal::TooManyQueues { .. }
        );
        LinkRefusal { is_passing, text: refusal.to_string() }
    }
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The gateway has closed it, most likely because it stops.
    #[error("the gateway has closed the link")]
    Closed,
    /// The pipe broke.
    #[error("the link is broken: {0}")]
    Broken(#[from] io::Error),
    /// A fault of this crate.
    #[error(transparent)]
    BadFrame(#[from] BadFrame),
    /// The session or one of its filters cannot be had.
    #[error("the gateway refuses: {0}")]
    Refused(#[from] LinkRefusal),
}

/// The two ends of one connection to the gateway.
#[derive(Debug)]
pub struct Link<P> {
    /// What comes.
    pub inbox: Inbox<P>,
    /// What goes.
    pub outbox: Outbox<P>,
}

/// What comes from the gateway.
#[derive(Debug)]
pub struct Inbox<P> {
    pipe: ReadHalf<P>,
    input: BytesMut,
}

/// What goes to the gateway: gathered until [`Outbox::flush`].
#[derive(Debug)]
pub struct Outbox<P> {
    pipe: WriteHalf<P>,
    output: Vec<u8>,
    written: usize,
}

impl<P: AsyncRead + AsyncWrite> Link<P> {
    /// A link over a pipe at whose other end a machine of [`LinkProtocol`] runs.
    pub fn new(pipe: P) -> Link<P> {
        let (read_half, write_half) = tokio::io::split(pipe);
        Link {
            inbox: Inbox { pipe: read_half, input: BytesMut::new() },
            outbox: Outbox { pipe: write_half, output: Vec::new(), written: 0 },
        }
    }

    /// Claims the session of this name, which is never forgotten while it is not ended, with at most `credit` deliveries that are not
    /// settled, and makes these its only filters: what was kept under another one that it had still comes. Returns when all of that is kept where it has to be.
    /// Deliveries may come before; they are handed to `early`, in their order.
    pub async fn attach(
        &mut self,
        name: &str,
        credit: u32,
        filters: &[(TopicFilter, QoS)],
        retained: bool,
        early: &mut Vec<Delivered>,
    ) -> Result<(), LinkError> {
        self.outbox.push(&Command::Attach { name: name.to_owned(), credit });
        let text = |filter: &TopicFilter| Bytes::copy_from_slice(filter.as_str().as_bytes());
        for (filter, qos_max) in filters {
            self.outbox.push(&Command::Subscribe { filter: text(filter), qos_max: *qos_max, retained });
        }
        // Behind those that are new, so that nothing is missed that both select.
        self.outbox.push(&Command::KeepOnly(filters.iter().map(|(filter, _)| text(filter)).collect()));
        self.outbox.push(&Command::Done);
        self.outbox.flush().await?;
        loop {
            match self.inbox.next().await? {
                Event::Done => return Ok(()),
                Event::Refused(refusal) => return Err(refusal.into()),
                Event::Delivered(delivered) => early.push(*delivered),
                Event::Saved(_) | Event::Attached { .. } | Event::Published { .. } => {}
            }
        }
    }

    /// Claims the session of this name only to save something in it. Returns what it has saved, the oldest piece first: nothing where the
    /// gateway keeps nothing.
    pub async fn attach_to_save(&mut self, name: &str) -> Result<Vec<Bytes>, LinkError> {
        self.outbox.push(&Command::Attach { name: name.to_owned(), credit: 1 });
        self.outbox.push(&Command::Done);
        self.outbox.flush().await?;
        let mut saved = Vec::new();
        loop {
            match self.inbox.next().await? {
                Event::Saved(piece) => saved.push(piece),
                Event::Done => return Ok(saved),
                Event::Refused(refusal) => return Err(refusal.into()),
                Event::Delivered(_) | Event::Attached { .. } | Event::Published { .. } => {}
            }
        }
    }

    /// Ends the session and the link: everything that waits in it is thrown away.
    pub async fn end(mut self) -> Result<(), LinkError> {
        self.outbox.push(&Command::End);
        self.outbox.flush().await?;
        loop {
            match self.inbox.next().await {
                Ok(_) => {}
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl<P: AsyncRead> Inbox<P> {
    /// The next thing that comes. Nothing is lost where the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        loop {
            if let Some(event) = self.take_ready()? {
                return Ok(event);
            }
            self.input.reserve(READ_BYTES);
            if self.pipe.read_buf(&mut self.input).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// The next thing that has come already.
    pub fn take_ready(&mut self) -> Result<Option<Event>, BadFrame> {
        Event::take(&mut self.input)
    }
}

impl<P: AsyncWrite> Outbox<P> {
    /// Publishes a message; its answer is an [`Event::Published`] with this ticket, not necessarily in the order of the tickets.
    pub fn publish(&mut self, ticket: u64, publishing: Publishing) {
        self.push(&Command::Publish { ticket, publishing });
    }

    /// Saves a piece with the next message that is published, behind what was saved before: after a crash both are kept or neither is. Not where the
    /// message is refused at once.
    pub fn save_more(&mut self, piece: Bytes) {
        self.push(&Command::SaveMore(piece));
    }

    /// Saves this in place of everything before.
    pub fn save_whole(&mut self, whole: Bytes) {
        self.push(&Command::SaveWhole(whole));
    }

    /// Says what became of a delivery.
    pub fn settle(&mut self, tag: DeliveryTag, outcome: Outcome) {
        self.push(&Command::Settle { tag, outcome });
    }

    /// Says what becomes of the backlog of the session; before it is attached, of everything that waits in it.
    pub fn arrange(&mut self, backlog: Backlog) {
        self.push(&Command::Arrange(backlog));
    }

    fn push(&mut self, command: &Command) {
        command.write(&mut self.output);
    }

    /// Whether something waits for [`Outbox::flush`].
    pub fn has_more(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends what was gathered. Where the future is dropped, the next call goes on.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += self.pipe.write(rest).await?;
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}
