//! One connection to RabbitMQ at work: hands the bridge's orders to its forwards and receives, and ends with the first of them.
//!
//! ```text
//!             ┌─► Publisher (a channel per forward) ──► verdicts
//!  orders ────┼─► Subscriber (a channel per receive) ─► received
//!             └─► prober (a channel) ─────────────────► round trips
//! ```
//!
//! While RabbitMQ blocks the connection (memory or disk run short there) the library writes nothing at all: no message is lost, no
//! probe is answered, and the bridge shows that nothing moves. Why is logged once.

use crate::declare::declare;
use crate::options::{Finding, RabbitMqOptions};
use crate::outbound::rendered_message;
use crate::publisher::Publisher;
use crate::refusal::{lost, one_line};
use crate::subscriber::Subscriber;
use crate::wire::{Attached, connect};
use futures_core::Stream;
use lapin::options::BasicQosOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection, Event};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidegate_bridge::{Line, Lost, Order, Outgoing, Rendered, Report, Taken, Upstream, Verdict, lane_of};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Orders that wait for one forward or receive to take them.
const ORDERS_MAX: usize = 256;
/// How long a connection may take to end in order.
const FINISH: Duration = Duration::from_secs(4);

/// RabbitMQ as an upstream.
#[derive(Debug)]
pub struct RabbitMq(Arc<Shared>);

/// What all parts of a connection know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: RabbitMqOptions,
    /// Whether RabbitMQ takes nothing; over connections, so that it is said once.
    is_blocked: AtomicBool,
}

impl RabbitMq {
    /// An upstream with these options, or what is wrong with them.
    pub fn new(options: RabbitMqOptions) -> Result<RabbitMq, Vec<Finding>> {
        let findings = options.check();
        match findings.is_empty() {
            true => Ok(RabbitMq(Arc::new(Shared { options, is_blocked: AtomicBool::new(false) }))),
            false => Err(findings),
        }
    }
}

impl Upstream for RabbitMq {
    fn addresses(&self) -> usize {
        self.0.options.addresses.len()
    }

    fn address(&self, number: usize) -> String {
        self.0.options.addresses.get(number).map(ToString::to_string).unwrap_or_default()
    }

    fn render(&self, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
        let missing = || Verdict::Never {
            label: "not_expressible",
            reason: "the bridge has no such forward".to_owned(),
        };
        rendered_message(self.0.options.forwards.get(outgoing.lane).ok_or_else(missing)?, outgoing)
    }

    fn serve(self: Arc<Self>, address: usize, line: Line) -> Pin<Box<dyn Future<Output = Lost> + Send>> {
        Box::pin(async move { self.0.clone().serve(address, line).await.err().unwrap_or(Lost::Closed) })
    }
}

/// The parts of a connection, and the ways to them. Dropping it ends them.
struct Parts {
    tasks: JoinSet<Result<(), Lost>>,
    forwards: Vec<mpsc::Sender<Box<Outgoing>>>,
    receives: Vec<mpsc::Sender<(u64, Taken)>>,
    probes: mpsc::Sender<()>,
}

impl Shared {
    async fn serve(self: Arc<Self>, address: usize, line: Line) -> Result<(), Lost> {
        let Some(address) = self.options.addresses.get(address) else {
            return Err(Lost::Refused("there is no such address".to_owned()));
        };
        let Attached { connection, hangup } = connect(&self.options, address).await?;
        let connection = Arc::new(connection);
        let mut watching = JoinSet::new();
        watching.spawn(watch(self.clone(), connection.events_listener()));
        let ended = self.work(&connection, line).await;
        if ended.is_ok() {
            // What is left to be said is a farewell; without an answer the socket is shut down.
            let closing = connection.close(200, ShortString::default());
            let _ = tokio::time::timeout(FINISH, closing).await;
        }
        drop(hangup);
        ended
    }

    async fn work(self: &Arc<Self>, connection: &Arc<Connection>, mut line: Line) -> Result<(), Lost> {
        declare(connection, &self.options.declarations).await?;
        let mut subscribers = Vec::new();
        for (lane, source) in self.options.receives.iter().enumerate() {
            subscribers.push(Subscriber::open(lane, source, connection).await?);
        }
        let prober = connection.create_channel().await.map_err(|error| lost(&error))?;
        // Nothing may be handed on before the bridge knows the connection: it could not settle it.
        let _ = line.reports.send(Report::Ready).await;
        let mut parts = self.start(connection, subscribers, prober, &line.reports);
        let mut orders = Vec::with_capacity(ORDERS_MAX);
        loop {
            tokio::select! {
                count = line.orders.recv_many(&mut orders, ORDERS_MAX) => {
                    if count == 0 {
                        break;
                    }
                    for order in orders.drain(..) {
                        parts.hand_on(order).await;
                    }
                }
                Some(ended) = parts.tasks.join_next() => result_of(ended)?,
            }
        }
        let Parts { mut tasks, .. } = parts;
        let finishing = async {
            while let Some(ended) = tasks.join_next().await {
                result_of(ended)?;
            }
            Ok(())
        };
        let late = Lost::Broken("RabbitMQ did not answer in time at the end".to_owned());
        tokio::time::timeout(FINISH, finishing).await.unwrap_or(Err(late))
    }

    fn start(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        subscribers: Vec<Subscriber>,
        prober: Channel,
        reports: &mpsc::Sender<Report>,
    ) -> Parts {
        let mut tasks = JoinSet::new();
        let (mut forwards, mut receives) = (Vec::new(), Vec::new());
        for lane in 0..self.options.forwards.len() {
            let (sender, orders) = mpsc::channel(ORDERS_MAX);
            forwards.push(sender);
            let publisher = Publisher::new(lane, self.clone(), connection.clone(), orders, reports.clone());
            tasks.spawn(publisher.run());
        }
        for subscriber in subscribers {
            let (sender, orders) = mpsc::channel(ORDERS_MAX);
            receives.push(sender);
            tasks.spawn(subscriber.run(orders, reports.clone()));
        }
        let (probes, asked) = mpsc::channel(1);
        tasks.spawn(probe(prober, asked, reports.clone()));
        Parts { tasks, forwards, receives, probes }
    }

    /// RabbitMQ takes messages.
    pub(crate) fn note_answer(&self) {
        if self.is_blocked.load(Ordering::Relaxed) {
            self.set_blocked(None);
        }
    }

    fn set_blocked(&self, reason: Option<&str>) {
        let connection = &self.options.connection_name;
        match (reason, self.is_blocked.swap(reason.is_some(), Ordering::Relaxed)) {
            (Some(reason), false) => {
                let reason = one_line(reason);
                warn!(%connection, %reason, "RabbitMQ takes no messages: it blocks the connection");
            }
            (None, true) => info!(%connection, "RabbitMQ takes messages again"),
            _ => {}
        }
    }
}

impl Parts {
    async fn hand_on(&self, order: Order) {
        // A part that has ended takes nothing; it is looked at next.
        match order {
            Order::Send(outgoing) => {
                if let Some(forward) = self.forwards.get(outgoing.lane) {
                    let _ = forward.send(outgoing).await;
                }
            }
            Order::Settle { ticket, taken } => {
                if let Some(receive) = self.receives.get(lane_of(ticket)) {
                    let _ = receive.send((ticket, taken)).await;
                }
            }
            // One question is answered for all.
            Order::Probe => drop(self.probes.try_send(())),
        }
    }
}

fn result_of(ended: Result<Result<(), Lost>, tokio::task::JoinError>) -> Result<(), Lost> {
    ended.unwrap_or_else(|error| Err(Lost::Broken(format!("a part of the connection has failed: {error}"))))
}

/// Asks RabbitMQ something that changes nothing: how much it sends ahead on a channel on which it sends nothing.
async fn probe(
    channel: Channel,
    mut asked: mpsc::Receiver<()>,
    reports: mpsc::Sender<Report>,
) -> Result<(), Lost> {
    while asked.recv().await.is_some() {
        channel.basic_qos(1, BasicQosOptions::default()).await.map_err(|error| lost(&error))?;
        let _ = reports.send(Report::RoundTrip).await;
    }
    Ok(())
}

/// Follows whether the connection is blocked.
async fn watch(shared: Arc<Shared>, events: impl Stream<Item = Event>) {
    let mut events = pin!(events);
    while let Some(event) = poll_fn(|context| events.as_mut().poll_next(context)).await {
        match event {
            Event::ConnectionBlocked(reason) => shared.set_blocked(Some(&reason)),
            Event::ConnectionUnblocked => shared.set_blocked(None),
            _ => {}
        }
    }
}
