//! A TCP proxy between a client and its server that misbehaves on command: what lies between a bridge and its upstream.
//!
//! A [`Proxy`] listens on a loopback port of its own and joins every connection to the upstream. The test decides what becomes
//! of the bytes of each direction ([`Flow`]), when connections end and how ([`Ending`]), and whether new ones are let in
//! ([`Door`]). [`FaultPlan`] draws such troubles from a seed. What was counted ([`Counts`]) can be waited for, so that no test
//! has to guess with a sleep when something has got through.
//!
//! It runs on a thread of its own; every call takes effect for what has not been passed on yet, and none of them waits for the
//! network. It knows no protocol: a cut in the midst of a frame is a cut after some number of bytes. It delays and loses, but
//! it never changes, doubles or reorders bytes, because TCP does not either.
//!
//! A connection from which bytes were swallowed has a hole in its stream, which TCP would never pass on. So it lets nothing
//! through any more in that direction, and ends as soon as the direction is given another flow.

mod connection;
mod plan;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use plan::{Fault, FaultPlan, Step};

/// How long a wait for the proxy takes before it fails. Generous, because a busy machine is no bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the proxy.
    ToUpstream,
    /// To whoever connected to the proxy: answers, confirms.
    FromUpstream,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Direction; 2] = [Direction::ToUpstream, Direction::FromUpstream];
}

/// What becomes of the bytes of a direction, on every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They are passed on at once.
    Forward,
    /// They are held, and so is the end of the stream; the sender is slowed down as soon as the buffers between are full.
    Stall,
    /// They are passed on at this many bytes per second and connection.
    Slow(u32),
    /// They are read and thrown away: the sender sees a sound connection, the receiver silence.
    Swallow,
}

/// How the proxy ends a connection, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The end of the stream, as from a program that has closed its socket.
    Close,
    /// RST, as from a machine that has restarted: what was under way is lost, too.
    Reset,
}

/// What happens to whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They are joined to the upstream.
    Open,
    /// They are accepted and then cut, as by a balancer whose servers are gone.
    Slammed,
    /// Nobody listens: the system refuses them. The port remains the proxy's.
    Shut,
}

/// What the proxy has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted, those behind a slammed door among them.
    pub accepted: u64,
    /// Connections that are joined to the upstream now.
    pub open: u64,
    /// Bytes that were passed on to the upstream.
    pub to_upstream: u64,
    /// Bytes that were passed on from the upstream.
    pub from_upstream: u64,
    /// Bytes of both directions that were thrown away.
    pub swallowed: u64,
}

/// What the connections follow: it is watched, so that what waits learns of a change at once.
#[derive(Debug, Clone)]
struct Weather {
    upstream: SocketAddr,
    door: Door,
    flows: [Flow; 2],
    /// The connections that are open now end; the number tells one such order from the one before.
    ended: (u64, Ending),
    stopped: bool,
}

/// What all connections of a proxy share.
#[derive(Debug)]
struct Shared {
    weather: watch::Sender<Weather>,
    ledger: Mutex<Ledger>,
    counted: Condvar,
}

/// What is counted, and what ends when enough was.
#[derive(Debug)]
struct Ledger {
    counts: Counts,
    /// For each direction, the bytes that may still pass before the connection of the last of them ends.
    fuses: [Option<(u64, Ending)>; 2],
    /// Whether the door is not shut: what was ordered, as soon as it has been done.
    is_listening: bool,
}

/// See the module. Dropping it closes every connection and waits until its thread has ended.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy on a free loopback port that forwards everything to `upstream`.
    pub fn start(upstream: SocketAddr) -> Proxy {
        let weather = Weather {
            upstream,
            door: Door::Open,
            flows: [Flow::Forward; 2],
            ended: (0, Ending::Close),
            stopped: false,
        };
        let (weather, _) = watch::channel(weather);
        let ledger = Ledger { counts: Counts::default(), fuses: [None, None], is_listening: true };
        let shared = Arc::new(Shared { weather, ledger: Mutex::new(ledger), counted: Condvar::new() });
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = socket.local_addr().expect("a bound socket has an address");
        let owned = Arc::clone(&shared);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let listen =
                async { listen(TcpListener::from_std(socket).expect("it can be polled"), owned).await };
            runtime.expect("a thread can have a runtime").block_on(listen);
        };
        let thread = std::thread::Builder::new().name("fault proxy".to_owned()).spawn(run);
        Proxy { address, shared, thread: Some(thread.expect("a thread can be started")) }
    }

    /// Where it listens. The port stays the same, whatever happens to the door.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new connections are joined to from now on.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.weather.send_modify(|weather| weather.upstream = upstream);
    }

    /// Ends every trouble: both directions are forwarded, the door is open, no cut is waiting for its byte.
    pub fn heal(&self) {
        self.shared.ledger().fuses = [None, None];
        self.shared.weather.send_modify(|weather| weather.flows = [Flow::Forward; 2]);
        self.set_door(Door::Open);
    }

    /// Says what becomes of the bytes of a direction, on the connections of now and of later.
    pub fn set_flow(&self, direction: Direction, flow: Flow) {
        self.shared.weather.send_modify(|weather| weather.flows[direction as usize] = flow);
    }

    /// Says what happens to whoever connects from now on; the connections of now are left alone.
    pub fn set_door(&self, door: Door) {
        self.shared.weather.send_modify(|weather| weather.door = door);
        let is_listening = door != Door::Shut;
        let done = self.shared.wait(PATIENCE, &|ledger| ledger.is_listening == is_listening);
        assert!(done.1, "the proxy's thread has ended");
    }

    /// Ends the connections of now. Those that come later are let in, as the door says.
    pub fn end_connections(&self, ending: Ending) {
        self.shared.weather.send_modify(|weather| weather.ended = (weather.ended.0 + 1, ending));
    }

    /// Lets exactly this many bytes more pass in a direction, all connections taken together, and then ends the connection
    /// that the last of them was on. It happens once; a number set before is forgotten.
    pub fn end_after(&self, direction: Direction, bytes: u64, ending: Ending) {
        self.shared.ledger().fuses[direction as usize] = Some((bytes.max(1), ending));
    }

    /// Whether the number of bytes of [`Proxy::end_after`] has not been reached.
    pub fn is_end_pending(&self, direction: Direction) -> bool {
        self.shared.ledger().fuses[direction as usize].is_some()
    }

    /// What has been counted until now.
    pub fn counts(&self) -> Counts {
        self.shared.ledger().counts
    }

    /// Waits until the counts are as `wanted`, and returns them; fails with the last ones when that does not happen.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&Counts) -> bool) -> Counts {
        match self.shared.wait(PATIENCE, &|ledger| wanted(&ledger.counts)) {
            (counts, true) => counts,
            (counts, false) => panic!("the proxy did not see {what} in {PATIENCE:?}: {counts:?}"),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.weather.send_modify(|weather| weather.stopped = true);
        // Its panic has been printed; another one here would hide the test's own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with the ledger")
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.note(|ledger| change(&mut ledger.counts));
    }

    fn note(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger());
        self.counted.notify_all();
    }

    /// Waits for a ledger as `wanted`, at most so long; the second value is whether it came.
    fn wait(&self, patience: Duration, wanted: &impl Fn(&Ledger) -> bool) -> (Counts, bool) {
        let deadline = Instant::now() + patience;
        let mut ledger = self.ledger();
        while !wanted(&ledger) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (ledger.counts, false);
            }
            ledger = self.counted.wait_timeout(ledger, left).expect("nobody panics with the ledger").0;
        }
        (ledger.counts, true)
    }

    /// Has `write` pass on at most as many of `offered` bytes as may pass in this direction, and counts those that did. An
    /// ending comes behind the last byte of a fuse. The ledger is locked meanwhile, so that a fuse is exact when it is set.
    fn pass(
        &self,
        direction: Direction,
        offered: usize,
        write: impl FnOnce(usize) -> io::Result<usize>,
    ) -> io::Result<(usize, Option<Ending>)> {
        let mut ledger = self.ledger();
        let fuse = ledger.fuses[direction as usize];
        let limit = fuse.map_or(offered, |(left, _)| offered.min(usize::try_from(left).unwrap_or(offered)));
        let written = write(limit)?;
        match direction {
            Direction::ToUpstream => ledger.counts.to_upstream += written as u64,
            Direction::FromUpstream => ledger.counts.from_upstream += written as u64,
        }
        let left = fuse.map(|(left, ending)| (left - written as u64, ending));
        ledger.fuses[direction as usize] = left.filter(|(left, _)| *left > 0);
        drop(ledger);
        self.counted.notify_all();
        Ok((written, left.filter(|(left, _)| *left == 0).map(|(_, ending)| ending)))
    }
}

/// Accepts until the proxy is dropped. Connections end with it, because they are tasks of this runtime.
async fn listen(first: TcpListener, shared: Arc<Shared>) {
    let address = first.local_addr().expect("a bound socket has an address");
    let mut weather = shared.weather.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(first);
    loop {
        let (door, stopped) = {
            let now = weather.borrow_and_update();
            (now.door, now.stopped)
        };
        if stopped {
            return;
        }
        if door == Door::Shut {
            drop(listener.take());
            match stay_shut(address, &mut weather, &shared).await {
                Some(open) => listener = Some(open),
                None => return,
            }
            continue;
        }
        let Some(open) = &listener else { return };
        tokio::select! {
            accepted = open.accept() => {
                let Ok((client, _)) = accepted else { continue };
                shared.count(|counts| counts.accepted += 1);
                // Not what it was before the wait: an order given before this client came is not for it.
                let door = weather.borrow().door;
                if door == Door::Open {
                    connections.spawn(connection::serve(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = weather.changed() => {}
        }
    }
}

/// Keeps the port without listening on it until the door is opened; nothing when the proxy is dropped before.
async fn stay_shut(
    address: SocketAddr,
    weather: &mut watch::Receiver<Weather>,
    shared: &Shared,
) -> Option<TcpListener> {
    // A bound socket that does not listen keeps the port and has the system refuse whoever comes.
    let held = bind(address).await;
    shared.note(|ledger| ledger.is_listening = false);
    let stopped = weather.wait_for(|now| now.door != Door::Shut || now.stopped).await.ok()?.stopped;
    let listener = held.listen(BACKLOG).expect("a bound socket can listen");
    shared.note(|ledger| ledger.is_listening = true);
    (!stopped).then_some(listener)
}

/// The port is the proxy's own, but its listener may need a moment to be gone.
async fn bind(address: SocketAddr) -> TcpSocket {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let socket = TcpSocket::new_v4().expect("the system has a socket left");
        socket.set_reuseaddr(true).expect("the option is known");
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(error) if Instant::now() > deadline => panic!("{address} was taken from the proxy: {error}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
