//! Accepting connections and dealing them out to the workers.
//!
//! One acceptor a listener, rather than a socket a worker with `SO_REUSEPORT`: the kernel would deal by a hash, unevenly for
//! few connections, and a second gateway could silently share the port.
//!
//! An acceptor ends when its listener is closed, and never before: what `accept` complains about is counted, told in the log now
//! and then, and tried again.

use crate::connection;
use crate::gate::Gate;
use crate::listener::{Listener, Open};
use crate::local::LocalClient;
use crate::reserve::{Reserve, is_exhausted};
use crate::worker::{Command, Worker};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, warn};

/// How long an acceptor rests when the system has no file descriptor or no memory left. It never gives up.
const REST: Duration = Duration::from_millis(50);
/// Lines about that are no closer than this.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);
/// Connections that are accepted before the other tasks of the worker have their turn.
const ACCEPTED_PER_TURN: u32 = 16;

/// Deals connections out to the workers and keeps the limits of open connections.
pub(crate) struct Dealer {
    workers: Vec<(mpsc::Sender<Command>, Open)>,
    open: Open,
    connections_max: AtomicUsize,
    next: AtomicUsize,
}

/// A connection's place among the open ones; given back when dropped.
pub(crate) struct Permit(Vec<Open>);

impl Drop for Permit {
    fn drop(&mut self) {
        for open in &self.0 {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Dealer {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Command>>, connections_max: usize) -> Dealer {
        let workers = workers.into_iter().map(|sender| (sender, Open::default())).collect();
        let (connections_max, next) = (connections_max.into(), AtomicUsize::new(0));
        Dealer { workers, open: Open::default(), connections_max, next }
    }

    /// Puts another limit in place. Connections that are open stay.
    pub(crate) fn limit(&self, connections_max: usize) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
    }

    /// Has one worker, the next in turn, accept for a listener.
    pub(crate) fn start(&self, acceptor: Acceptor) {
        let name = acceptor.name.clone();
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let told =
            self.workers.get(number).map(|(sender, _)| sender.blocking_send(Command::Accept(acceptor)));
        if !matches!(told, Some(Ok(()))) {
            error!(listener = %name, worker = number, "the worker that should accept has ended");
        }
    }

    /// Gives a client of this process to the next worker in turn; nothing where that one has ended, or has more to do than it can take.
    pub(crate) fn connect(&self, client: LocalClient) -> Option<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let (sender, _) = self.workers.get(number)?;
        sender.try_send(Command::ServeLocal(client)).ok()
    }

    fn permit(&self, listener: &Listener) -> Option<Permit> {
        let has_room = self.open.load(Ordering::Relaxed) < self.connections_max.load(Ordering::Relaxed)
            && listener.has_room();
        has_room.then(|| take_places(&[&self.open, &listener.port.open]))
    }

    /// Gives a connection to the worker with the fewest; in turn where several have as few.
    async fn deal(
        &self,
        socket: std::net::TcpStream,
        peer: SocketAddr,
        listener: Arc<Listener>,
        mut permit: Permit,
    ) {
        let count = self.workers.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
        let in_turn = self.workers.iter().cycle().skip(first).take(count);
        let Some((sender, open)) = in_turn.min_by_key(|(_, open)| open.load(Ordering::Relaxed)) else {
            return;
        };
        permit.0.append(&mut take_places(&[open]).0);
        if sender.send(Command::Serve { socket, peer, listener, permit }).await.is_err() {
            debug!(%peer, "the worker has ended; the connection is dropped");
        }
    }
}

fn take_places(counts: &[&Open]) -> Permit {
    let take = |open: &&Open| {
        open.fetch_add(1, Ordering::Relaxed);
        Arc::clone(open)
    };
    Permit(counts.iter().map(take).collect())
}

/// The listener that an acceptor accepts for, with its present options; nothing once it is closed.
pub(crate) type Present = watch::Receiver<Option<Arc<Listener>>>;

/// Accepts for one listener.
pub(crate) struct Acceptor {
    pub(crate) name: Arc<str>,
    pub(crate) socket: std::net::TcpListener,
    pub(crate) present: Present,
    pub(crate) dealer: Arc<Dealer>,
}

/// What one acceptor remembers from connection to connection.
struct Rounds {
    worker: Rc<Worker>,
    dealer: Arc<Dealer>,
    reserve: Reserve,
    gate: Gate,
    accepted: u32,
    complained_at: Option<Instant>,
    unsaid: u64,
}

impl Acceptor {
    /// Accepts until the listener is closed or the gateway stops. The socket is closed when this returns.
    pub(crate) async fn run(mut self, worker: Rc<Worker>) {
        let socket = match TcpListener::from_std(self.socket) {
            Ok(socket) => socket,
            Err(error) => return error!(listener = %self.name, %error, "cannot accept"),
        };
        let mut stopped = worker.stopped.clone();
        let (reserve, gate, complained_at) = (Reserve::new(), Gate::default(), None);
        let mut rounds =
            Rounds { worker, dealer: self.dealer, reserve, gate, accepted: 0, complained_at, unsaid: 0 };
        loop {
            let Some(listener) = self.present.borrow_and_update().clone() else { return };
            let now = Instant::now();
            rounds.gate.keep(listener.connection_rate, now);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                changed = self.present.changed() => match changed {
                    Ok(()) => {}
                    Err(_) => return,
                },
                accepted = rounds.gate.accept(&socket, now) => rounds.handle(&listener, &socket, accepted).await,
            }
        }
    }
}

impl Rounds {
    async fn handle(
        &mut self,
        listener: &Arc<Listener>,
        socket: &TcpListener,
        accepted: io::Result<(TcpStream, SocketAddr)>,
    ) {
        match accepted {
            Ok((stream, peer)) => {
                self.gate.count(Instant::now());
                self.admit(listener, stream, peer).await;
            }
            Err(error) => self.rest_after(listener, socket, &error).await,
        }
        self.accepted += 1;
        if self.accepted.is_multiple_of(ACCEPTED_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }

    async fn admit(&self, listener: &Arc<Listener>, stream: TcpStream, peer: SocketAddr) {
        let Some(permit) = self.dealer.permit(listener) else {
            debug!(listener = %listener.name(), %peer, "refused: the limit of open connections is reached");
            return connection::count_unopened(&self.worker, listener, "too_many_connections");
        };
        match stream.into_std() {
            Ok(socket) => self.dealer.deal(socket, peer, listener.clone(), permit).await,
            Err(error) => debug!(%peer, %error, "the connection broke before it was served"),
        }
    }

    /// Some errors of `accept` concern one connection that is already gone; the others want time.
    async fn rest_after(&mut self, listener: &Listener, socket: &TcpListener, error: &io::Error) {
        let gone =
            [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if gone.contains(&error.kind()) {
            return;
        }
        if is_exhausted(error) {
            for _ in 0..self.reserve.turn_away(socket).await {
                connection::count_unopened(&self.worker, listener, "no_file_descriptor");
            }
        }
        self.complain(listener, error);
        tokio::time::sleep(REST).await;
    }

    fn complain(&mut self, listener: &Listener, error: &io::Error) {
        let now = Instant::now();
        if self.complained_at.is_some_and(|at| now.duration_since(at) < COMPLAINT_EVERY) {
            self.unsaid += 1;
            return;
        }
        self.complained_at = Some(now);
        let unsaid = std::mem::take(&mut self.unsaid);
        warn!(listener = %listener.name(), address = %listener.address, %error, unsaid, "cannot accept for a moment");
    }
}
