//! Starting and stopping: bind everything, then start everything.
//!
//! Nothing runs before every listener is bound, so that a port in use leaves nothing half-started.

use crate::acceptor::{Acceptor, Dealer, Listener};
use crate::options::{ListenerOptions, ServerOptions};
use crate::worker::{self, Command, WorkerStart};
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use tidegate_broker::{Bell, Node, NodeOptions, WORKERS_MAX};
use tokio::sync::{Notify, mpsc, watch};

/// Connections that the kernel keeps until they are accepted: a fleet that reconnects comes all at once.
const BACKLOG: i32 = 4096;
/// Connections on their way to one worker.
const COMMANDS_MAX: usize = 4096;

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}: {error}")]
pub struct BindError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

/// The gateway could not be started although its ports were free.
#[derive(Debug, thiserror::Error)]
#[error("cannot start worker {worker}: {error}")]
pub struct StartError {
    /// The worker's number.
    pub worker: usize,
    /// What the system said.
    pub error: io::Error,
}

/// A gateway whose ports are taken and which serves nobody yet.
pub struct Server {
    node: Arc<Node>,
    bells: Vec<Arc<Notify>>,
    options: ServerOptions,
    sockets: Vec<(TcpListener, SocketAddr)>,
}

/// A gateway that serves.
pub struct Running {
    node: Arc<Node>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens every listener.
    pub fn bind(mut options: ServerOptions) -> Result<Server, BindError> {
        options.workers = options.workers.clamp(1, WORKERS_MAX);
        let sockets = options.listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let bells: Vec<Arc<Notify>> = (0..options.workers).map(|_| Arc::new(Notify::new())).collect();
        let ring = |bell: &Arc<Notify>| -> Bell {
            let bell = bell.clone();
            Box::new(move || bell.notify_one())
        };
        let mut protocols = options.protocols.clone();
        protocols.push(worker::UNRECOGNISED);
        let node = Node::new(NodeOptions {
            limits: options.limits.clone(),
            protocols,
            bells: bells.iter().map(ring).collect(),
            authenticator: options.authenticator.clone(),
        });
        Ok(Server { node, bells, options, sockets })
    }

    /// What the workers share; for metrics.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Starts the workers and serves.
    pub fn start(self) -> Result<Running, StartError> {
        let Server { node, bells, options, sockets } = self;
        let (stop, stopped) = watch::channel(false);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            bells.iter().map(|_| mpsc::channel::<Command>(COMMANDS_MAX)).unzip();
        let dealer = Arc::new(Dealer::new(senders, options.connections_max));
        let addresses =
            options.listeners.iter().zip(&sockets).map(|(listener, (_, at))| (listener.name.clone(), *at));
        let addresses = addresses.collect();
        let protocols = options.protocols.len();
        let mut acceptors: Vec<Vec<Acceptor>> = bells.iter().map(|_| Vec::new()).collect();
        for (number, (listener, (socket, address))) in options.listeners.into_iter().zip(sockets).enumerate()
        {
            let listener = Arc::new(Listener::new(listener, address, protocols));
            let acceptor = Acceptor { socket, listener, dealer: dealer.clone(), stopped: stopped.clone() };
            if let Some(acceptors) = acceptors.get_mut(number % bells.len()) {
                acceptors.push(acceptor);
            }
        }
        let mut threads = Vec::new();
        for (number, ((bell, commands), acceptors)) in
            bells.into_iter().zip(receivers).zip(acceptors).enumerate()
        {
            let start = WorkerStart {
                number,
                node: node.clone(),
                bell,
                commands,
                acceptors,
                stopped: stopped.clone(),
                shutdown_timeout: options.shutdown_timeout,
            };
            let thread = worker::spawn(start).map_err(|error| StartError { worker: number, error })?;
            threads.push(thread);
        }
        Ok(Running { node, addresses, stop, threads })
    }
}

impl Running {
    /// The listeners' names with the addresses that they have.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// What the workers share; for metrics.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Closes the listeners, tells every client, sends what is queued for it within the shutdown timeout, and returns when
    /// all workers have ended. Blocks.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

fn bind(listener: &ListenerOptions) -> Result<(TcpListener, SocketAddr), BindError> {
    let open = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket =
            Socket::new(Domain::for_address(listener.bind), Type::STREAM, Some(SocketProtocol::TCP))?;
        // A restart must not wait for the old connections' ends. A port that somebody listens on stays refused.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listener.bind.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    open().map_err(|error| BindError { listener: listener.name.clone(), address: listener.bind, error })
}

/// How many connections are open, for the limits.
pub(crate) type Open = Arc<AtomicUsize>;
