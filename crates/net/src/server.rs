//! Starting, changing and stopping: bind everything, then start everything; prepare everything, then change everything.
//!
//! Nothing runs before every listener is bound, so that a port in use leaves nothing half-started.

use crate::acceptor::Dealer;
use crate::doors::{self, BindError, Door, ListenerChanges};
use crate::local::{LocalClient, PIPE_BYTES};
use crate::options::{ListenerOptions, ServerOptions};
use crate::worker::{self, Command, WorkerStart};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};
use tidegate_broker::{
    AccessRules, Authenticator, Bell, Limits, Node, NodeOptions, QueuePolicies, Reconfiguration,
    RecoveryError, RingOptions, StoreReader, TopicPolicies, WORKERS_MAX,
};
use tidegate_protocol::Protocol;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, mpsc, watch};

/// Connections on their way to one worker.
const COMMANDS_MAX: usize = 4096;

/// The gateway could not be started although its ports were free.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A worker's thread was refused.
    #[error("cannot start worker {worker}: {error}")]
    Worker {
        /// The worker's number.
        worker: usize,
        /// What the system said.
        error: io::Error,
    },
    /// The thread was refused that reads the store.
    #[error("cannot start the thread that reads the store: {0}")]
    StoreReader(io::Error),
}

/// The gateway cannot be made ready to serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A port cannot be taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What is in the store cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

/// A gateway whose ports are taken and which serves nobody yet.
pub struct Server {
    node: Arc<Node>,
    bells: Vec<Arc<Notify>>,
    options: ServerOptions,
    doors: Vec<Door>,
}

/// A gateway that serves.
pub struct Running {
    node: Arc<Node>,
    doors: Vec<Door>,
    dealer: Arc<Dealer>,
    unrecognised: usize,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    store_reader: StoreReader,
}

/// What can change while a gateway serves.
pub struct Changes {
    /// The broker's limits.
    pub limits: Limits,
    /// Who checks credentials from now on.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// What clients may do from now on; everything where there is nothing.
    pub access: Option<Arc<AccessRules>>,
    /// The replay rings from now on.
    pub rings: Vec<RingOptions>,
    /// What holds for named queues.
    pub queues: QueuePolicies,
    /// What holds for topics.
    pub topics: TopicPolicies,
    /// As [`ServerOptions::connections_max`].
    pub connections_max: usize,
    /// The listeners that are to be open.
    pub listeners: Vec<ListenerOptions>,
}

impl Server {
    /// Opens every listener and reads what an earlier gateway has left in the store.
    pub fn bind(mut options: ServerOptions) -> Result<Server, OpenError> {
        options.workers = options.workers.clamp(1, WORKERS_MAX);
        let unrecognised = options.protocols.len();
        let listeners = std::mem::take(&mut options.listeners).into_iter();
        let doors =
            listeners.map(|listener| Door::bind(listener, unrecognised)).collect::<Result<Vec<_>, _>>()?;
        let bells: Vec<Arc<Notify>> = (0..options.workers).map(|_| Arc::new(Notify::new())).collect();
        let ring = |bell: &Arc<Notify>| -> Bell {
            let bell = bell.clone();
            Box::new(move || bell.notify_one())
        };
        let mut protocols = options.protocols.clone();
        protocols.push(worker::UNRECOGNISED);
        let node_options = NodeOptions {
            limits: options.limits.clone(),
            protocols,
            bells: bells.iter().map(ring).collect(),
            authenticator: options.authenticator.clone(),
            access: options.access.clone(),
            rings: options.rings.clone(),
            queues: options.queues.clone(),
            topics: options.topics.clone(),
            storage: options.storage.clone(),
            skip_damaged: options.skip_damaged,
            wall_millis,
        };
        let node = Node::open(node_options, Instant::now())?;
        Ok(Server { node, bells, options, doors })
    }

    /// What the workers share; for metrics.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Starts the workers and serves. Blocks for a moment; not for use inside a runtime.
    pub fn start(self) -> Result<Running, StartError> {
        let Server { node, bells, options, mut doors } = self;
        let (stop, stopped) = watch::channel(false);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            bells.iter().map(|_| mpsc::channel::<Command>(COMMANDS_MAX)).unzip();
        let dealer = Arc::new(Dealer::new(senders, options.connections_max));
        let store_reader = StoreReader::start(&node).map_err(StartError::StoreReader)?;
        let mut threads = Vec::new();
        for (number, (bell, commands)) in bells.into_iter().zip(receivers).enumerate() {
            let start = WorkerStart {
                number,
                node: node.clone(),
                bell,
                commands,
                stopped: stopped.clone(),
                shutdown_timeout: options.shutdown_timeout,
            };
            let thread =
                worker::spawn(start).map_err(|error| StartError::Worker { worker: number, error })?;
            threads.push(thread);
        }
        doors.iter_mut().for_each(|door| door.start(&dealer));
        let unrecognised = options.protocols.len();
        Ok(Running { node, doors, dealer, unrecognised, stop, threads, store_reader })
    }
}

/// Opens connections of clients that are a part of this process. A clone opens them to the same gateway.
#[derive(Clone)]
pub struct Inside {
    dealer: Arc<Dealer>,
}

impl Inside {
    /// Connects a client, whose end of the connection this is. `index` is the protocol's position in [`ServerOptions::protocols`], `name`
    /// what logs call it. Nothing where the gateway stops, or has no room at this moment.
    pub fn connect(&self, name: Arc<str>, index: usize, protocol: Arc<dyn Protocol>) -> Option<DuplexStream> {
        let (ours, pipe) = tokio::io::duplex(PIPE_BYTES);
        self.dealer.connect(LocalClient { name, index, protocol, pipe })?;
        Some(ours)
    }
}

impl Running {
    /// The way in for clients of this process.
    pub fn inside(&self) -> Inside {
        Inside { dealer: self.dealer.clone() }
    }

    /// The listeners' names with the addresses that they have.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.doors.iter().map(|door| (door.name().clone(), door.address)).collect()
    }

    /// What the workers share; for metrics.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Opens, closes and changes listeners and takes other limits over. Where a listener cannot be opened nothing changes.
    ///
    /// Whoever is connected stays, with the options under which it came; but not where its listener is closed or its client certificate is no
    /// longer accepted: it is told and closed soon after this has returned. Blocks for a moment; not for use inside a runtime.
    pub fn reconfigure(&mut self, changes: Changes) -> Result<ListenerChanges, BindError> {
        let prepared = doors::prepare(&self.doors, changes.listeners)?;
        self.dealer.limit(changes.connections_max);
        let changed = doors::apply(&mut self.doors, prepared, &self.dealer, self.unrecognised);
        let Changes { limits, authenticator, access, queues, topics, rings, .. } = changes;
        self.node.reconfigure(Reconfiguration { limits, authenticator, access, queues, topics, rings });
        Ok(changed)
    }

    /// Closes the listeners, tells every client, sends what is queued for it within the shutdown timeout, and returns when
    /// all workers have ended. Blocks.
    pub fn stop(self) {
        self.stop.send_replace(true);
        drop(self.doors);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
        drop(self.store_reader);
    }
}

/// Milliseconds since 1970 (UTC); 0 where the clock is before that.
fn wall_millis() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
