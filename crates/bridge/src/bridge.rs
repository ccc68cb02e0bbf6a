//! One bridge: it keeps a connection to its upstream, fails over and back, and gives its forwards and receives what stands.
//!
//! ```text
//!                    ┌─► Forward ─┐  orders             ┌──────────┐
//!  sessions here ────┤            ├────────────────────►│ Upstream │
//!                    └─► Forward ─┘◄── verdicts ────────│          │
//!                          Bridge  ◄── reports ─────────│          │
//!  topics here ◄────── Receive ◄────── incoming ────────└──────────┘
//! ```
//!
//! It retries for ever, and ends when it is told to. Nothing here knows what the upstream speaks.

use crate::backoff::{Backoff, RetryOptions};
use crate::forward::{Connect, Forward, ForwardOptions, ForwardSeat, random};
use crate::lane_status::Problem;
use crate::lifetime::{GatewayClock, Lifetime};
use crate::packing::Packing;
use crate::receive::{Receive, ReceiveOptions, ReceiveSeat};
use crate::standing::{Standing, Way};
use crate::status::BridgeStatus;
use crate::ticket::lane_of;
use crate::upstream::{Incoming, Line, Lost, Order, Report, UNSETTLED_MAX, Upstream, Verdict};
use crate::{LoopGuard, NameError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Orders that wait for a connection to take them.
const ORDERS_MAX: usize = 256;
/// Reports that wait to be handed on.
const REPORTS_MAX: usize = 1024;
/// Reports that are handed on together: to look at everything that a connection may end by costs more than to hand one on.
const REPORTS_TOGETHER: usize = 256;

/// How a bridge works.
#[derive(Debug, Clone)]
pub struct BridgeOptions {
    /// Its name.
    pub name: Arc<str>,
    /// The name of this node.
    pub node: Arc<str>,
    /// The epoch of the store that numbers what is forwarded.
    pub epoch: u64,
    /// What goes to the upstream.
    pub forwards: Vec<ForwardOptions>,
    /// What comes from there.
    pub receives: Vec<ReceiveOptions>,
    /// How long to wait between attempts.
    pub retry: RetryOptions,
    /// How long an attempt may take until the upstream has answered.
    pub connect_timeout: Duration,
    /// How long the upstream may say nothing until it is asked.
    pub probe_after: Duration,
    /// How long it may take to answer until the connection is given up.
    pub stalled_after: Duration,
    /// How long a connection to another address than the first may stand until the first one is tried again.
    pub fail_back_after: Duration,
    /// The most nodes that a message may have passed.
    pub hops_max: usize,
}

/// One bridge, ready to run.
pub struct Bridge<P> {
    options: BridgeOptions,
    upstream: Arc<dyn Upstream>,
    status: Arc<BridgeStatus>,
    connect: Connect<P>,
    clock: GatewayClock,
    guard: LoopGuard,
    packings: Vec<Packing>,
}

/// The ways from the bridge to its parts.
struct Parts {
    standing: watch::Sender<Standing>,
    verdicts: Vec<mpsc::Sender<(u64, Verdict)>>,
    incoming: Vec<mpsc::Sender<(u64, Box<Incoming>)>>,
}

/// How one connection ended.
enum Ended {
    /// The bridge is to end.
    Stopped,
    /// The first address is to be tried again.
    FailBack,
    Lost(Lost),
}

impl<P: AsyncRead + AsyncWrite + Send + Unpin + 'static> Bridge<P> {
    /// A bridge between the gateway to which `connect` leads, whose clock this is, and an upstream. Its status has to have as many lanes as the options.
    pub fn new(
        options: BridgeOptions,
        upstream: Arc<dyn Upstream>,
        status: Arc<BridgeStatus>,
        connect: Connect<P>,
        clock: GatewayClock,
    ) -> Result<Bridge<P>, NameError> {
        let guard = LoopGuard::new(&options.node, options.hops_max)?;
        let packings = Packing::all(&options)?;
        Ok(Bridge { options, upstream, status, connect, clock, guard, packings })
    }

    /// Works until `stop` turns true or is dropped. What is on its way then is finished as far as the upstream answers within a few
    /// seconds; the rest waits for the next run.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let parts = self.start(&mut tasks);
        let mut backoff = Backoff::new(self.options.retry);
        let (mut address, mut number) = (0, 0);
        loop {
            number += 1;
            self.status.note_trying(address, self.upstream.address(address));
            let ended = self.serve(address, number, &parts, &mut backoff, &mut stop).await;
            parts.standing.send_replace(Standing::Gone);
            let lost = match ended {
                Ended::Stopped => break,
                Ended::FailBack => {
                    self.status.note_lost(None);
                    address = 0;
                    continue;
                }
                Ended::Lost(lost) => lost,
            };
            address = (address + 1) % self.upstream.addresses().max(1);
            let wait = backoff.next(random());
            self.note_lost(&lost, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped(&mut stop) => break,
            }
        }
        drop(parts);
        while tasks.join_next().await.is_some() {}
        self.status.note_stopped();
        info!(bridge = %self.options.name, "the bridge has ended");
    }

    /// Starts the forwards and receives.
    fn start(&self, tasks: &mut JoinSet<()>) -> Parts {
        let (standing, watched) = watch::channel(Standing::Gone);
        let (mut verdicts, mut incoming) = (Vec::new(), Vec::new());
        let forwards = self.options.forwards.iter().zip(&self.packings).zip(self.status.forwards());
        for ((options, packing), status) in forwards {
            // As many verdicts as there are messages without one: nobody waits for a forward.
            let (sender, receiver) = mpsc::channel(options.in_flight_max as usize + 1);
            verdicts.push(sender);
            let seat = ForwardSeat {
                packing: packing.clone(),
                lifetime: Lifetime { max_age: options.max_age, clock: self.clock.clone() },
                bridge: self.options.name.clone(),
                status: status.clone(),
                retry: self.options.retry,
                standing: watched.clone(),
                verdicts: receiver,
            };
            tasks.spawn(Forward::new(options.clone(), seat, self.connect.clone()).run());
        }
        for (options, status) in self.options.receives.iter().zip(self.status.receives()) {
            // As many as the upstream may hand over without their being settled. A receive makes room here for those of the next connection,
            // whatever it is doing: nobody waits for it.
            let (sender, receiver) = mpsc::channel(UNSETTLED_MAX);
            incoming.push(sender);
            let seat = ReceiveSeat {
                bridge: self.options.name.clone(),
                guard: self.guard.clone(),
                status: status.clone(),
                retry: self.options.retry,
                standing: watched.clone(),
                incoming: receiver,
            };
            tasks.spawn(Receive::new(options.clone(), seat, self.connect.clone()).run());
        }
        Parts { standing, verdicts, incoming }
    }

    /// One connection, from its beginning to its end.
    async fn serve(
        &self,
        address: usize,
        number: u64,
        parts: &Parts,
        backoff: &mut Backoff,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let serving = self.upstream.clone().serve(address, Line { orders: taken, reports });
        let now = Instant::now();
        let mut connection = Connection {
            number,
            orders,
            reported,
            serving,
            ready_at: now,
            answered_at: now,
            is_probed: false,
        };
        let ready = self.await_ready(&mut connection, parts);
        let ready = tokio::select! {
            ready = tokio::time::timeout(self.options.connect_timeout, ready) => ready,
            () = stopped(stop) => return Ended::Stopped,
        };
        match ready {
            Ok(None) => {}
            Ok(Some(lost)) => return Ended::Lost(lost),
            Err(_) => return Ended::Lost(Lost::Broken("the upstream did not answer in time".to_owned())),
        }
        backoff.reset();
        let now = Instant::now();
        (connection.ready_at, connection.answered_at) = (now, now);
        self.status.note_ready(now);
        info!(bridge = %self.options.name, address = %self.upstream.address(address), "the upstream answers");
        parts.standing.send_replace(Standing::Open(Way { orders: connection.orders.clone(), number }));
        let fail_back_at = (address > 0).then(|| now + self.options.fail_back_after);
        let ended = self.work(&mut connection, parts, fail_back_at, stop).await;
        match ended {
            Ended::Lost(_) => self.hand_on_rest(&mut connection.reported, number, parts).await,
            Ended::Stopped | Ended::FailBack => self.finish(connection, parts).await,
        }
        ended
    }

    async fn await_ready(&self, connection: &mut Connection, parts: &Parts) -> Option<Lost> {
        loop {
            tokio::select! {
                lost = &mut connection.serving => return Some(lost),
                report = connection.reported.recv() => match report {
                    Some(Report::Ready) => return None,
                    Some(report) => self.handle(report, connection.number, parts).await,
                    None => {}
                },
            }
        }
    }

    /// Hands reports on, and sees to it that the upstream is heard of.
    async fn work(
        &self,
        connection: &mut Connection,
        parts: &Parts,
        fail_back_at: Option<Instant>,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        let mut reports = Vec::with_capacity(REPORTS_TOGETHER);
        loop {
            let probe_at = match connection.is_probed {
                false => connection.answered_at + self.options.probe_after,
                true => connection.answered_at + self.options.probe_after + self.options.stalled_after,
            };
            let fail_back = async {
                match fail_back_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let stuck_at = self.stuck_at(connection.ready_at);
            let look_at = stuck_at.map_or(probe_at, |at| at.min(probe_at));
            tokio::select! {
                lost = &mut connection.serving => return Ended::Lost(lost),
                count = connection.reported.recv_many(&mut reports, REPORTS_TOGETHER) => {
                    if count == 0 {
                        continue;
                    }
                    connection.answered_at = Instant::now();
                    connection.is_probed = false;
                    self.status.note_answer(connection.answered_at);
                    for report in reports.drain(..) {
                        self.handle(report, connection.number, parts).await;
                    }
                }
                () = tokio::time::sleep_until(look_at.into()) => {
                    let now = Instant::now();
                    if stuck_at.is_some_and(|at| at <= now) {
                        return Ended::Lost(Lost::Broken("the upstream answers, but confirms nothing".to_owned()));
                    }
                    if probe_at > now {
                        continue;
                    }
                    if connection.is_probed {
                        return Ended::Lost(Lost::Broken("the upstream does not answer any more".to_owned()));
                    }
                    // Where there is no room for the question, orders wait that will be answered as well.
                    let _ = connection.orders.try_send(Order::Probe);
                    connection.is_probed = true;
                }
                () = fail_back => return Ended::FailBack,
                () = stopped(stop) => return Ended::Stopped,
            }
        }
    }

    /// When a connection is given up on which the upstream answers, and nothing comes of what was sent. The next one may be better; each gets as
    /// much time as all before it together, because what is sent again may arrive twice.
    fn stuck_at(&self, ready_at: Instant) -> Option<Instant> {
        let unanswered = self.status.forwards().iter().filter(|forward| forward.is_unanswered());
        let since = unanswered.filter_map(|forward| forward.waiting_since()).min()?;
        let before = ready_at.saturating_duration_since(since);
        Some((since + self.options.probe_after + self.options.stalled_after).max(ready_at + before))
    }

    async fn handle(&self, report: Report, number: u64, parts: &Parts) {
        match report {
            Report::Verdict { ticket, verdict } => {
                if let Some(forward) = parts.verdicts.get(lane_of(ticket)) {
                    let _ = forward.send((ticket, verdict)).await;
                }
            }
            Report::Received(incoming) => {
                if let Some(receive) = parts.incoming.get(incoming.lane) {
                    let _ = receive.send((number, incoming)).await;
                }
            }
            Report::Dropped { lane, label, reason } => {
                if let Some(status) = self.status.receives().get(lane) {
                    status.count_dropped(label);
                    status.note_problem(&reason);
                }
            }
            Report::Ready | Report::RoundTrip => {}
        }
    }

    /// What the upstream has said before the end still counts.
    async fn hand_on_rest(&self, reported: &mut mpsc::Receiver<Report>, number: u64, parts: &Parts) {
        while let Ok(report) = reported.try_recv() {
            self.handle(report, number, parts).await;
        }
    }

    /// Lets a connection end in order: its last verdicts save messages from being sent twice, and the last settlements from coming twice.
    async fn finish(&self, connection: Connection, parts: &Parts) {
        let Connection { number, orders, mut reported, mut serving, .. } = connection;
        // The orders end when the forwards and receives have said what they still have to say.
        parts.standing.send_replace(Standing::Ending(number));
        drop(orders);
        let all = async {
            loop {
                tokio::select! {
                    biased;
                    Some(report) = reported.recv() => self.handle(report, number, parts).await,
                    _ = &mut serving => return,
                }
            }
        };
        let _ = tokio::time::timeout(FINISH, all).await;
        self.hand_on_rest(&mut reported, number, parts).await;
    }

    fn note_lost(&self, lost: &Lost, wait: Duration) {
        let (name, why) = (&self.options.name, lost_text(lost));
        match lost {
            Lost::Refused(_) => {
                warn!(bridge = %name, %why, ?wait, "the upstream refuses the bridge; trying again")
            }
            _ => warn!(bridge = %name, %why, ?wait, "no connection to the upstream; trying again"),
        }
        self.status.note_lost(Some(Problem::new(&why, Instant::now())));
    }
}

/// How long a connection may take to end in order.
const FINISH: Duration = Duration::from_secs(5);

/// One connection.
struct Connection {
    number: u64,
    orders: mpsc::Sender<Order>,
    reported: mpsc::Receiver<Report>,
    serving: Pin<Box<dyn Future<Output = Lost> + Send>>,
    ready_at: Instant,
    answered_at: Instant,
    is_probed: bool,
}

fn lost_text(lost: &Lost) -> String {
    match lost {
        Lost::Closed => "the upstream has closed the connection".to_owned(),
        Lost::Broken(why) | Lost::Refused(why) => why.clone(),
    }
}

/// Ends when the bridge is to end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}
