//! Connections without a socket: clients that are a part of this process, such as bridges.
//!
//! The driver's end of a pipe in memory, served like any other connection: what comes is fed to the machine, what the machine says goes
//! out once a turn, and whoever does not read is not sent more than its output may hold. Neither TLS nor WebSocket, no limit of
//! connections, and nothing to prove.

use crate::worker::{READ_BYTES, Worker};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_broker::{Entrance, Fed, Outlet, SlotKey};
use tidegate_protocol::{Close, CloseReason, Output, Peer, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::Notify;
use tracing::debug;

/// What fits into the pipe in each direction; the rest waits with whoever sends.
pub(crate) const PIPE_BYTES: usize = 256 << 10;
/// How long a client may take to read the last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a client rests when the other workers cannot keep up with what it publishes.
const PRESSED_REST: Duration = Duration::from_millis(1);

/// A client of this process.
pub(crate) struct LocalClient {
    /// What its connection is called where others are called by their listener.
    pub(crate) name: Arc<str>,
    /// The position of its protocol in [`crate::ServerOptions::protocols`].
    pub(crate) index: usize,
    pub(crate) protocol: Arc<dyn Protocol>,
    /// The driver's end of the pipe.
    pub(crate) pipe: DuplexStream,
}

/// What the task and the outlet share.
#[derive(Default)]
struct Wire {
    /// What was taken from the machine's output and is not in the pipe yet.
    pending: RefCell<Vec<u8>>,
    has_more: Notify,
    resumed: Notify,
    has_ended: Cell<bool>,
}

/// Serves a client until it goes or is sent away.
pub(crate) async fn serve(worker: Rc<Worker>, client: LocalClient) {
    let (read_half, write_half) = split(client.pipe);
    let number = worker.node.next_id();
    let wire = Rc::new(Wire::default());
    let peer = Peer {
        connection: number,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        listener: client.name.clone(),
        connect_deadline: Instant::now() + LAST_WORDS,
    };
    let entrance = Entrance { listener: client.name, is_of_process: true, ..Entrance::default() };
    let outlet = Box::new(LocalOutlet(wire.clone()));
    let key = worker.event(|shard, now| {
        let machine = client.protocol.open(&peer, now);
        shard.open(number, client.index, entrance, machine, Output::stream(), outlet)
    });
    let _open = OpenSlot { worker: worker.clone(), key };
    let mut reading =
        Reading { worker: worker.clone(), wire: wire.clone(), key, rest: Vec::new(), wanted: 1 };
    tokio::select! {
        () = reading.run(read_half) => {}
        // Ends when the last words are in the pipe, or when nobody holds its other end.
        result = write_all(&worker, &wire, key, write_half) => {
            if let Err(error) = result {
                debug!(connection = number, %error, "the client's end of the pipe is gone");
            }
        }
    }
}

/// However the task ends: the shard must not keep a connection that nobody serves.
struct OpenSlot {
    worker: Rc<Worker>,
    key: SlotKey,
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        self.worker.event(|shard, now| shard.close(self.key, &CloseReason::PeerClosed.into(), now));
    }
}

/// The reading side.
struct Reading {
    worker: Rc<Worker>,
    wire: Rc<Wire>,
    key: SlotKey,
    /// An unfinished frame, and how long it must be before the machine can do anything with it.
    rest: Vec<u8>,
    wanted: usize,
}

impl Reading {
    /// Feeds what comes until the client closes its end. After the shard has closed the connection it waits for ever: what is left is
    /// the writing side's.
    async fn run(&mut self, mut pipe: ReadHalf<DuplexStream>) {
        loop {
            match pipe.read_buf(&mut self.rest).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            while !self.rest.is_empty() && self.rest.len() >= self.wanted {
                if !self.feed().await {
                    return std::future::pending().await;
                }
            }
            self.rest.reserve(READ_BYTES.min(PIPE_BYTES));
        }
    }

    /// Feeds what is there; false where the connection has ended.
    async fn feed(&mut self) -> bool {
        while self.worker.is_pressed() || self.worker.is_stalled(self.key) {
            tokio::time::sleep(PRESSED_REST).await;
        }
        let fed = self.worker.event(|shard, now| shard.handle_bytes(self.key, &self.rest, now));
        let (consumed, is_waiting) = match fed {
            Fed::Closed => return false,
            Fed::Waiting { consumed } => (consumed, true),
            Fed::Open { consumed, wanted, .. } => {
                // Nothing was taken of what is there: only more of it helps.
                self.wanted = if consumed == 0 { wanted.max(self.rest.len() + 1) } else { wanted };
                (consumed, false)
            }
        };
        self.rest.drain(..consumed.min(self.rest.len()));
        if is_waiting {
            self.wanted = 1;
            self.wire.resumed.notified().await;
        }
        // Others have their turn between two pieces.
        tokio::task::yield_now().await;
        true
    }
}

async fn write_all(
    worker: &Worker,
    wire: &Wire,
    key: SlotKey,
    mut pipe: WriteHalf<DuplexStream>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        wire.has_more.notified().await;
        loop {
            bytes.clear();
            std::mem::swap(&mut *wire.pending.borrow_mut(), &mut bytes);
            if bytes.is_empty() {
                break;
            }
            match wire.has_ended.get() {
                false => pipe.write_all(&bytes).await?,
                true => tokio::time::timeout(LAST_WORDS, pipe.write_all(&bytes)).await??,
            }
            worker.event(|shard, now| shard.flush(key, now));
        }
        if wire.has_ended.get() {
            return pipe.shutdown().await;
        }
    }
}

/// The shard's way to the client.
struct LocalOutlet(Rc<Wire>);

impl Outlet for LocalOutlet {
    fn flush(&mut self, output: &mut Output) {
        let mut pending = self.0.pending.borrow_mut();
        if pending.is_empty() {
            pending.extend_from_slice(output.bytes());
            output.consume(output.len());
            self.0.has_more.notify_one();
        }
    }

    fn resume(&mut self) {
        self.0.resumed.notify_one();
    }

    fn end(self: Box<Self>, output: Output, close: &Close, client_id: Option<&str>) {
        debug!(client_id, reason = %close, "closed");
        self.0.pending.borrow_mut().extend_from_slice(output.bytes());
        self.0.has_ended.set(true);
        self.0.has_more.notify_one();
    }
}
