//! One worker: a thread with a runtime, a shard and the tasks that serve it.
//!
//! Every connection is one task, and so is each listener that the worker accepts for. Beside them a worker has six more: one that takes
//! commands, one that reads the mailbox when its bell rings, one that waits for timers, two that grant TLS handshakes and the
//! ends of connections their turns, and one flusher. Whoever has changed the shard calls [`Worker::event`], which wakes the
//! flusher and the timer where there is something to do; the flusher runs after the tasks that were ready before it, so that
//! one write carries the output of the whole turn.

use crate::acceptor::{Acceptor, Permit};
use crate::connection;
use crate::listener::Listener;
use crate::local::{self, LocalClient};
use crate::notices::Notices;
use crate::turns::{Handshakes, Turns};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_broker::{Node, Shard};
use tidegate_protocol::CloseReason;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tracing::{debug, error, warn};

/// What connections are counted under that never said which protocol they speak.
pub(crate) const UNRECOGNISED: &str = "unrecognised";
/// What one read can bring.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// An unfinished frame up to this size is put in front of the next read; a longer one is gathered on its own.
pub(crate) const REST_BYTES: usize = 4 << 10;

/// What a worker is told.
pub(crate) enum Command {
    /// Serve a new connection.
    Serve { socket: std::net::TcpStream, peer: SocketAddr, listener: Arc<Listener>, permit: Permit },
    /// Serve a client of this process.
    ServeLocal(LocalClient),
    /// Accept for a listener until it is closed.
    Accept(Acceptor),
}

/// What a worker begins with.
pub(crate) struct WorkerStart {
    pub(crate) number: usize,
    pub(crate) node: Arc<Node>,
    pub(crate) bell: Arc<Notify>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) shutdown_timeout: Duration,
}

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) node: Arc<Node>,
    shard: RefCell<Shard>,
    /// Where sockets are read into; nothing stays in it between two reads.
    pub(crate) read_buffer: RefCell<Vec<u8>>,
    /// Where TLS records are read into.
    pub(crate) tls_buffer: RefCell<Vec<u8>>,
    /// Where WebSocket frames are put together.
    pub(crate) frame_buffer: RefCell<Vec<u8>>,
    pub(crate) notices: Notices,
    pub(crate) handshakes: Handshakes,
    /// The ends of connections whose peers are gone.
    pub(crate) endings: Turns,
    /// Turns true when the gateway stops.
    pub(crate) stopped: watch::Receiver<bool>,
    flush_due: Notify,
    flush_waits: Cell<bool>,
    timer_moved: Notify,
    /// Connection tasks that have not ended, and whoever waits for the last one.
    tasks: Cell<usize>,
    tasks_ended: Notify,
}

impl Worker {
    /// Changes the shard, and sees to what follows.
    pub(crate) fn event<R>(&self, change: impl FnOnce(&mut Shard, Instant) -> R) -> R {
        let mut shard = self.shard.borrow_mut();
        let result = change(&mut shard, Instant::now());
        if shard.is_dirty() && !self.flush_waits.replace(true) {
            self.flush_due.notify_one();
        }
        if shard.take_timer_moved() {
            self.timer_moved.notify_one();
        }
        result
    }

    /// Whether another worker has so much mail that publishers should pause.
    pub(crate) fn is_pressed(&self) -> bool {
        self.shard.borrow().is_pressed()
    }

    /// Whether a connection has so much unsent output that it must not cause more.
    pub(crate) fn is_stalled(&self, key: tidegate_broker::SlotKey) -> bool {
        self.shard.borrow().is_stalled(key)
    }

    async fn run_flusher(&self) {
        loop {
            self.flush_due.notified().await;
            self.flush_waits.set(false);
            self.event(|shard, now| shard.flush_turn(now));
            if self.flush_waits.get() {
                // Whoever has more to send than fits into one output waits its turn behind the other connections.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn run_mail(&self, bell: &Notify) {
        loop {
            bell.notified().await;
            self.event(|shard, now| shard.handle_mail(now));
        }
    }

    async fn run_timers(&self) {
        loop {
            let next = self.shard.borrow().next_timer();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {
                    self.event(|shard, now| shard.handle_timers(now));
                    // Where more is due already, the connections come first.
                    tokio::task::yield_now().await;
                }
                () = self.timer_moved.notified() => {}
            }
        }
    }

    async fn run_commands(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            let worker = self.clone();
            match command {
                Command::Accept(acceptor) => drop(spawn_local(acceptor.run(worker))),
                Command::ServeLocal(client) => {
                    self.tasks.set(self.tasks.get() + 1);
                    spawn_local(async move {
                        let ended = TaskEnd(worker.clone());
                        local::serve(worker, client).await;
                        drop(ended);
                    });
                }
                Command::Serve { socket, peer, listener, permit } => {
                    self.tasks.set(self.tasks.get() + 1);
                    spawn_local(async move {
                        let ended = TaskEnd(worker.clone());
                        connection::serve(worker, socket, peer, listener).await;
                        drop((permit, ended));
                    });
                }
            }
        }
    }

    async fn wait_for_tasks(&self) {
        while self.tasks.get() > 0 {
            self.tasks_ended.notified().await;
        }
    }
}

/// Counts a connection task's end, however it ends.
struct TaskEnd(Rc<Worker>);

impl Drop for TaskEnd {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get().saturating_sub(1));
        self.0.tasks_ended.notify_one();
    }
}

/// Starts the thread of a worker.
pub(crate) fn spawn(start: WorkerStart) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    std::thread::Builder::new().name(format!("worker-{}", start.number)).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, run(start));
    })
}

async fn run(start: WorkerStart) {
    let WorkerStart { number, node, bell, commands, mut stopped, shutdown_timeout } = start;
    let worker = Rc::new(Worker {
        shard: RefCell::new(Shard::new(node.clone(), number)),
        node,
        read_buffer: RefCell::new(vec![0; REST_BYTES + READ_BYTES]),
        tls_buffer: RefCell::default(),
        frame_buffer: RefCell::default(),
        notices: Notices::default(),
        handshakes: Handshakes::new(),
        endings: Turns::default(),
        stopped: stopped.clone(),
        flush_due: Notify::new(),
        flush_waits: Cell::new(false),
        timer_moved: Notify::new(),
        tasks: Cell::new(0),
        tasks_ended: Notify::new(),
    });
    let (flusher, timers, mail) = (worker.clone(), worker.clone(), worker.clone());
    let (handshakes, endings) = (worker.clone(), worker.clone());
    let mut service = JoinSet::new();
    service.spawn_local(async move { flusher.run_flusher().await });
    service.spawn_local(async move { timers.run_timers().await });
    service.spawn_local(async move { mail.run_mail(&bell).await });
    service.spawn_local(async move { handshakes.handshakes.turns.grant().await });
    service.spawn_local(async move { endings.endings.grant().await });
    let commands = spawn_local(worker.clone().run_commands(commands));
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        // None of them ends but by a panic, and without it clients would wait for ever for what nobody sends: better a new
        // process than one that looks alive.
        _ = service.join_next() => {
            error!(worker = number, "a task of the worker has ended; the gateway cannot go on");
            std::process::abort();
        }
    }
    commands.abort();
    worker.event(|shard, now| shard.close_all(CloseReason::ServerShutdown, now));
    match tokio::time::timeout(shutdown_timeout, worker.wait_for_tasks()).await {
        Ok(()) => debug!(worker = number, "every connection has ended"),
        Err(_) => warn!(
            worker = number,
            connections = worker.tasks.get(),
            "the shutdown timeout has passed; connections are cut"
        ),
    }
}
