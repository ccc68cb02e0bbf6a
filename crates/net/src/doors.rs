//! The listeners that are open, and how they become others while the gateway runs.
//!
//! A door is a bound socket with an acceptor behind it. A change is prepared as a whole, with every new socket bound, before
//! anything of it takes effect: what cannot be bound leaves everything as it was.
//!
//! A door stays open where name, address, transport and the presence of TLS stay: its options are exchanged for those who come
//! from now on. Otherwise it is closed, its clients are told, and another is opened; on the same address that one takes the
//! socket over, so that no client meets a closed port.

use crate::acceptor::{Acceptor, Dealer};
use crate::listener::{Listener, Port, Terms};
use crate::options::{Layer, ListenerOptions, WebSocketOptions};
use crate::tls::TlsMaterial;
use socket2::{Domain, Protocol as SocketProtocol, SockRef, Socket, Type};
use std::io;
use std::mem::discriminant;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::watch;

/// Connections that the kernel keeps until they are accepted: a fleet that reconnects comes all at once.
const BACKLOG: i32 = 4096;

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

/// One open listener.
pub(crate) struct Door {
    options: ListenerOptions,
    /// The address that it has, where the options leave the port open.
    pub(crate) address: SocketAddr,
    socket: TcpListener,
    /// The same socket for the acceptor, until it starts.
    accepting: Option<TcpListener>,
    port: Arc<Port>,
    present: watch::Sender<Option<Arc<Listener>>>,
}

/// What becomes of the listeners in a change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ListenerChanges {
    /// Those that are open now and were not before, with their addresses.
    pub opened: Vec<(Arc<str>, SocketAddr)>,
    /// Those that are closed, and whose clients are told.
    pub closed: Vec<Arc<str>>,
    /// Those whose certificates, keys, authorities or revocation lists are others than before.
    pub renewed: Vec<Arc<str>>,
}

/// A change whose sockets are bound; nothing of it has taken effect.
pub(crate) struct Prepared {
    /// For each of the new options, in their order: where its door comes from.
    sources: Vec<(ListenerOptions, Source)>,
}

enum Source {
    /// The door at this position stays open.
    Kept(usize),
    /// A new one on this socket.
    New(Bound),
}

/// A bound socket, twice: the door keeps one to hand over, the acceptor gets the other.
struct Bound {
    socket: TcpListener,
    accepting: TcpListener,
    address: SocketAddr,
}

impl Bound {
    fn new(socket: TcpListener) -> io::Result<Bound> {
        let (accepting, address) = (socket.try_clone()?, socket.local_addr()?);
        Ok(Bound { socket, accepting, address })
    }
}

impl Door {
    /// Opens a listener; it accepts nobody before [`Door::start`].
    pub(crate) fn bind(options: ListenerOptions, unrecognised: usize) -> Result<Door, BindError> {
        let bound = bind(options.bind, Sharing::No).map_err(|error| failed(&options, error))?;
        Ok(Door::new(options, bound, unrecognised))
    }

    fn new(options: ListenerOptions, bound: Bound, unrecognised: usize) -> Door {
        let Bound { socket, accepting, address } = bound;
        let port = Arc::new(Port::new(options.name.clone(), Terms::of(&options)));
        let listener = Listener::new(&options, port.clone(), address, unrecognised);
        let (present, _) = watch::channel(Some(Arc::new(listener)));
        Door { options, address, socket, accepting: Some(accepting), port, present }
    }

    /// The listener's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.port.name
    }

    /// Lets clients in.
    pub(crate) fn start(&mut self, dealer: &Arc<Dealer>) {
        if let Some(socket) = self.accepting.take() {
            let (name, present) = (self.port.name.clone(), self.present.subscribe());
            dealer.start(Acceptor { name, socket, present, dealer: dealer.clone() });
        }
    }

    /// Exchanges the options. Returns whether the TLS material is other than before.
    fn exchange(&mut self, mut options: ListenerOptions, unrecognised: usize) -> bool {
        let is_same = |old: &Arc<TlsMaterial>, new: &Arc<TlsMaterial>| old.is_same(new);
        let renewed = match (self.options.tls.get(), options.tls.get()) {
            (Some(old), Some(new)) => !is_same(old, new),
            _ => false,
        };
        if let (Some(old), false) = (self.options.tls.get(), renewed) {
            // The old one knows the tickets that it has given to clients.
            options.tls = options.tls.map(|_| old.clone());
        }
        let admits = |options: &ListenerOptions| {
            (options.allow_anonymous, options.client_identity, discriminant(&options.tls))
        };
        if renewed || admits(&self.options) != admits(&options) {
            self.port.change_terms(Terms::of(&options));
        }
        let listener = Listener::new(&options, self.port.clone(), self.address, unrecognised);
        self.present.send_replace(Some(Arc::new(listener)));
        self.options = options;
        renewed
    }

    fn close(&self) {
        self.port.close();
        self.present.send_replace(None);
    }

    fn stays_for(&self, options: &ListenerOptions) -> bool {
        self.options.name == options.name
            && self.options.bind == options.bind
            && self.options.tls.get().is_some() == options.tls.get().is_some()
            && discriminant::<Layer<WebSocketOptions>>(&self.options.websocket)
                == discriminant(&options.websocket)
    }

    /// Whether its socket can serve these options. A port that the system chose belongs to the name.
    fn can_hand_over_to(&self, options: &ListenerOptions) -> bool {
        self.options.bind == options.bind && (options.bind.port() != 0 || self.options.name == options.name)
    }
}

/// Finds or binds a socket for each of these options, beside the doors that are open.
pub(crate) fn prepare(doors: &[Door], wanted: Vec<ListenerOptions>) -> Result<Prepared, BindError> {
    let kept: Vec<Option<usize>> =
        wanted.iter().map(|options| doors.iter().position(|door| door.stays_for(options))).collect();
    let going = |position: &usize| !kept.contains(&Some(*position));
    let mut sources = Vec::with_capacity(wanted.len());
    for (options, kept) in wanted.into_iter().zip(&kept) {
        let source = match kept {
            Some(position) => Source::Kept(*position),
            None => {
                let leaving = doors.iter().enumerate().filter(|(position, _)| going(position));
                let leaving: Vec<&Door> = leaving.map(|(_, door)| door).collect();
                Source::New(socket_for(&options, &leaving).map_err(|error| failed(&options, error))?)
            }
        };
        sources.push((options, source));
    }
    Ok(Prepared { sources })
}

/// Puts a prepared change into effect.
pub(crate) fn apply(
    doors: &mut Vec<Door>,
    prepared: Prepared,
    dealer: &Arc<Dealer>,
    unrecognised: usize,
) -> ListenerChanges {
    let mut changes = ListenerChanges::default();
    let mut old: Vec<Option<Door>> = doors.drain(..).map(Some).collect();
    for (options, source) in prepared.sources {
        match source {
            Source::Kept(position) => {
                if let Some(mut door) = old.get_mut(position).and_then(Option::take) {
                    if door.exchange(options, unrecognised) {
                        changes.renewed.push(door.name().clone());
                    }
                    doors.push(door);
                }
            }
            Source::New(bound) => {
                changes.opened.push((options.name.clone(), bound.address));
                doors.push(Door::new(options, bound, unrecognised));
            }
        }
    }
    for door in old.into_iter().flatten() {
        door.close();
        changes.closed.push(door.name().clone());
    }
    doors.iter_mut().for_each(|door| door.start(dealer));
    changes
}

fn failed(options: &ListenerOptions, error: io::Error) -> BindError {
    BindError { listener: options.name.clone(), address: options.bind, error }
}

/// The socket of a door that leaves the same address, or a new one.
fn socket_for(options: &ListenerOptions, leaving: &[&Door]) -> io::Result<Bound> {
    if let Some(door) = leaving.iter().find(|door| door.can_hand_over_to(options)) {
        return Bound::new(door.socket.try_clone()?);
    }
    let first = bind(options.bind, Sharing::No);
    let in_the_way: Vec<_> =
        leaving.iter().filter(|door| door.address.port() == options.bind.port()).collect();
    match first {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !in_the_way.is_empty() => {
            // From one address to all of them, or back: for a moment both sockets have the port.
            let share = |shared| {
                in_the_way.iter().try_for_each(|door| SockRef::from(&door.socket).set_reuse_port(shared))
            };
            share(true)?;
            let second = bind(options.bind, Sharing::ForNow);
            share(false)?;
            second
        }
        first => first,
    }
}

/// Whether a socket may be bound beside one of this gateway's that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    No,
    ForNow,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(SocketProtocol::TCP))?;
    // A restart must not wait for the old connections' ends. A port that somebody listens on stays refused.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::ForNow)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // A second gateway must not be able to share the port.
    socket.set_reuse_port(false)?;
    Bound::new(TcpListener::from(socket))
}
