//! The bridges that run.

use super::files::Files;
use super::{Roster, envelopes, upstream};
use crate::gateway::Refused;
use crate::registry;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Bridge, BridgeOptions, BridgeStatus, Connect, Destination, ForwardOptions, GatewayClock, Keep, Link,
    LinkProtocol, PaceOptions, ReceiveOptions, RetryOptions,
};
use tidegate_broker::Node;
use tidegate_config::{Config, Forward, ForwardKeep, ForwardOrder, Receive};
use tidegate_message::{QoS, TopicFilter};
use tidegate_net::Inside;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

/// How long a bridge may take to end.
const END: Duration = Duration::from_secs(10);

/// All bridges of a gateway.
pub(crate) struct Bridges {
    inside: Inside,
    node: Arc<Node>,
    epoch: u64,
    running: Vec<Running>,
    /// Sessions of what is gone that are being ended, by their names.
    forgetting: Vec<(String, AbortHandle)>,
    roster: Roster,
    /// The thread on which they run, and what ends it; only where there ever were any.
    thread: Option<Thread>,
}

struct Running {
    config: tidegate_config::Bridge,
    files: Files,
    status: Arc<BridgeStatus>,
    stop: watch::Sender<bool>,
    ended: std::sync::mpsc::Receiver<()>,
}

struct Thread {
    handle: tokio::runtime::Handle,
    stop: watch::Sender<bool>,
    join: JoinHandle<()>,
}

/// Bridges that can be begun at once.
pub(crate) struct Prepared(Vec<Ready>);

struct Ready {
    config: tidegate_config::Bridge,
    files: Files,
    bridge: Bridge<DuplexStream>,
    status: Arc<BridgeStatus>,
}

impl Prepared {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn begins(&self, name: &str) -> bool {
        self.0.iter().any(|ready| ready.config.name == name)
    }
}

impl Bridges {
    /// None yet. `epoch` belongs to the store that numbers what is forwarded.
    pub(crate) fn new(inside: Inside, node: Arc<Node>, epoch: u64) -> Bridges {
        Bridges {
            inside,
            node,
            epoch,
            running: Vec::new(),
            forgetting: Vec::new(),
            roster: Roster::default(),
            thread: None,
        }
    }

    /// Those that run, at any time.
    pub(crate) fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Names what forwards have left in the store that are not configured any more: it may be worth something, and goes on growing. What receives
    /// have left, which is only which ids they have had, is forgotten.
    pub(crate) fn note_strangers(&mut self, config: &Config) -> Result<(), Refused> {
        let kept = config.bridges.iter().flat_map(sessions).collect::<Vec<_>>();
        let sessions = self.node.sessions_of(tidegate_bridge::PROTOCOL);
        for (name, backlog) in sessions.iter().filter(|(name, _)| !kept.iter().any(|kept| **kept == ***name))
        {
            if name.ends_with(IDS) {
                self.forget(name.to_string())?;
            } else if !config.forget_forwards.iter().any(|forgotten| **forgotten == **name) {
                let (messages, bytes) = (backlog.messages, backlog.bytes);
                warn!(forward = %name, messages, bytes, "a forward is not configured any more, and what is for it goes on waiting; \
                     name it in `forget_forwards` to throw that away, or configure it again to have it sent");
            }
        }
        Ok(())
    }

    fn forget(&mut self, name: String) -> Result<(), Refused> {
        let connect = self.connect();
        let task = self.handle()?.spawn(forget(connect, name.clone()));
        self.forgetting.push((name, task.abort_handle()));
        Ok(())
    }

    /// Makes those ready that are new or other than before. Nothing has changed yet where one cannot be made.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Prepared, Refused> {
        let is_new = |bridge: &&tidegate_config::Bridge| {
            let same = self.running.iter().find(|running| running.config == **bridge);
            same.is_none_or(|running| running.files != Files::of(bridge))
        };
        let made = config.bridges.iter().filter(is_new).map(|bridge| self.make(bridge, config));
        made.collect::<Result<Vec<_>, _>>().map(Prepared)
    }

    /// Ends those that are gone or other than before, and begins what was prepared for the same configuration.
    pub(crate) fn apply(&mut self, config: &Config, prepared: Prepared) -> Result<(), Refused> {
        let stays = |running: &Running| {
            config.bridges.contains(&running.config) && !prepared.begins(&running.config.name)
        };
        let (stay, gone): (Vec<_>, Vec<_>) = self.running.drain(..).partition(stays);
        self.running = stay;
        let before = gone.iter().flat_map(|running| sessions(&running.config)).collect::<Vec<_>>();
        gone.into_iter().for_each(Running::end);
        let kept = config.bridges.iter().flat_map(sessions).collect::<Vec<_>>();
        let has_left = |name: &&String| self.node.backlog(tidegate_bridge::PROTOCOL, name).is_some();
        let told = config.forget_forwards.iter().filter(has_left).cloned().collect::<Vec<_>>();
        let mut gone = before.into_iter().chain(told).filter(|name| !kept.contains(name)).collect::<Vec<_>>();
        gone.sort_unstable();
        gone.dedup();
        // What has come back meanwhile has a session of its own to keep.
        self.forgetting.retain(|(name, task)| {
            let stays = !kept.contains(name);
            if !stays {
                task.abort();
            }
            stays && !task.is_finished()
        });
        gone.into_iter().try_for_each(|name| self.forget(name))?;
        for Ready { config: own, files, bridge, status } in prepared.0 {
            let handle = self.handle()?;
            let (stop, stopped) = watch::channel(false);
            let (end, ended) = std::sync::mpsc::channel();
            info!(bridge = %own.name, kind = %own.kind, "the bridge begins");
            handle.spawn(async move {
                bridge.run(stopped).await;
                // Nobody waits for it where the bridge is ended from elsewhere.
                let _ = end.send(());
            });
            self.running.push(Running { config: own, files, status, stop, ended });
        }
        let place = |running: &Running| config.bridges.iter().position(|bridge| *bridge == running.config);
        self.running.sort_by_key(place);
        self.roster.set(self.running.iter().map(|running| running.status.clone()).collect());
        Ok(())
    }

    fn make(&self, bridge: &tidegate_config::Bridge, config: &Config) -> Result<Ready, Refused> {
        let node = config.node.as_str();
        // Looked at first: what changes behind it is found by the next reload.
        let files = Files::of(bridge);
        let refused = |message: String| Refused::Bridge { bridge: bridge.name.clone(), message };
        let parts = upstream(bridge, node).map_err(|errors| {
            let first = errors.into_iter().next();
            refused(first.map(|error| format!("{}: {}", error.key, error.message)).unwrap_or_default())
        })?;
        let keeps_ids = config.data_dir.is_some();
        let options =
            bridge_options(bridge, node, self.epoch, keeps_ids, parts.destinations).map_err(refused)?;
        let status = BridgeStatus::new(
            options.name.clone(),
            parts.kind,
            // Said before the connection is given up for it.
            options.probe_after + options.stalled_after / 2,
            options.forwards.iter().map(|forward| forward.name.clone()),
            options.receives.iter().map(|receive| receive.name.clone()),
        );
        let made = Bridge::new(options, parts.upstream, status.clone(), self.connect(), self.clock());
        let made = made.map_err(|error| refused(error.to_string()))?;
        Ok(Ready { config: bridge.clone(), files, bridge: made, status })
    }

    fn connect(&self) -> Connect<DuplexStream> {
        let inside = self.inside.clone();
        Arc::new(move || {
            inside.connect(tidegate_bridge::PROTOCOL.into(), registry::LINK, Arc::new(LinkProtocol))
        })
    }

    /// The clock by which the node knows when messages came.
    fn clock(&self) -> GatewayClock {
        let node = self.node.clone();
        GatewayClock::new(move || node.time_millis(Instant::now()))
    }

    fn handle(&mut self) -> Result<tokio::runtime::Handle, Refused> {
        if let Some(thread) = &self.thread {
            return Ok(thread.handle.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Refused::Bridges)?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), watch::channel(false));
        let thread = std::thread::Builder::new().name("bridges".to_owned());
        let (roster, node) = (self.roster.clone(), self.node.clone());
        let join = thread.spawn(move || run(&runtime, &roster, &node, stopped)).map_err(Refused::Bridges)?;
        self.thread = Some(Thread { handle: handle.clone(), stop, join });
        Ok(handle)
    }

    /// Ends all of them: what is on its way is finished as far as the upstreams answer.
    pub(crate) fn stop(mut self) {
        for running in &self.running {
            running.stop.send_replace(true);
        }
        self.running.drain(..).for_each(Running::end);
        if let Some(thread) = self.thread {
            thread.stop.send_replace(true);
            if thread.join.join().is_err() {
                error!("the thread of the bridges ended by a panic");
            }
        }
    }
}

fn run(runtime: &Runtime, roster: &Roster, node: &Node, mut stopped: watch::Receiver<bool>) {
    runtime.block_on(async {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = roster.sample(node) => {}
        }
    });
}

impl Running {
    fn end(self) {
        self.stop.send_replace(true);
        if self.ended.recv_timeout(END).is_err() {
            warn!(bridge = %self.status.name(), "the bridge does not end in time");
        }
    }
}

/// How a bridge works. `epoch` belongs to the store that numbers what is forwarded; `keeps_ids`: so that what was received is known after a restart.
pub(super) fn bridge_options(
    bridge: &tidegate_config::Bridge,
    node: &str,
    epoch: u64,
    keeps_ids: bool,
    destinations: Vec<Arc<dyn Destination>>,
) -> Result<BridgeOptions, String> {
    let forwards = bridge.forwards.iter().enumerate();
    let forwards = forwards.map(|(index, forward)| forward_options(bridge, index, forward));
    let forwards = forwards.collect::<Result<Vec<_>, _>>()?;
    let receives = bridge.receives.iter().enumerate().zip(destinations);
    let receives = receives.map(|((index, receive), destination)| ReceiveOptions {
        name: part_name(bridge, receive.name.as_deref(), index),
        session: keeps_ids.then(|| ids_session(bridge, index, receive)),
        destination,
        qos_max: qos(receive.qos),
    });
    Ok(BridgeOptions {
        name: bridge.name.as_str().into(),
        node: node.into(),
        epoch,
        forwards,
        receives: receives.collect(),
        retry: RetryOptions {
            first: bridge.retry_first.duration(),
            longest: bridge.retry_longest.duration(),
        },
        connect_timeout: bridge.connect_timeout.duration(),
        probe_after: bridge.probe_after.duration(),
        stalled_after: bridge.stalled_after.duration(),
        fail_back_after: bridge.fail_back_after.duration(),
        hops_max: usize::try_from(bridge.max_hops).unwrap_or(usize::MAX),
    })
}

fn forward_options(
    bridge: &tidegate_config::Bridge,
    index: usize,
    forward: &Forward,
) -> Result<ForwardOptions, String> {
    let filter = TopicFilter::parse_mqtt(forward.from.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ForwardOptions {
        name: part_name(bridge, forward.name.as_deref(), index),
        filters: vec![(filter, qos(forward.qos))],
        retained: forward.retained,
        in_flight_max: forward.in_flight,
        in_flight_bytes_max: usize::try_from(forward.in_flight_bytes.bytes()).unwrap_or(usize::MAX),
        order: match forward.order {
            ForwardOrder::Strict => tidegate_bridge::ForwardOrder::Strict,
            ForwardOrder::LiveFirst => tidegate_bridge::ForwardOrder::LiveFirst,
        },
        drain: PaceOptions {
            messages_per_second: forward.drain_rate.map(u64::from),
            bytes_per_second: forward.drain_bytes_rate.map(|rate| rate.bytes()),
        },
        keep: match forward.keep {
            ForwardKeep::All => Keep::All,
            ForwardKeep::Last => Keep::Last,
        },
        max_age: forward.max_age.map(|age| age.duration()),
        envelope: envelopes::of_forward(forward).map_err(|(key, message)| format!("{key}: {message}"))?,
        dead_letter: forward.dead_letter.clone(),
    })
}

/// The names of the sessions of a bridge's forwards, and of those in which its receives keep what they have had.
fn sessions(bridge: &tidegate_config::Bridge) -> Vec<String> {
    let forwards = bridge.forwards.iter().enumerate();
    let forwards = forwards.map(|(index, forward)| part_name(bridge, forward.name.as_deref(), index));
    let receives = bridge.receives.iter().enumerate();
    forwards.chain(receives.map(|(index, receive)| ids_session(bridge, index, receive))).collect()
}

/// The session in which a receive keeps which ids it has had: no forward can have its name.
fn ids_session(bridge: &tidegate_config::Bridge, index: usize, receive: &Receive) -> String {
    format!("{}{IDS}", part_name(bridge, receive.name.as_deref(), index))
}

/// What the names of such sessions end in.
const IDS: &str = "/received";

/// How long is waited for room for one connection more.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Ends the session of a forward or receive that is not there any more: nobody would ever take what waits in it.
async fn forget(connect: Connect<DuplexStream>, name: String) {
    let pipe = loop {
        match connect() {
            Some(pipe) => break pipe,
            None => tokio::time::sleep(ROOM_PAUSE).await,
        }
    };
    let mut link = Link::new(pipe);
    let ended = match link.attach(&name, 1, &[], false, &mut Vec::new()).await {
        Ok(()) => link.end().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => match name.strip_suffix(IDS) {
            None => info!(forward = %name, "the forward is gone, and what waited in it"),
            Some(receive) => {
                info!(%receive, "the receive is gone, and which messages it has had is forgotten")
            }
        },
        Err(error) => {
            warn!(session = %name, %error, "the session of what is gone from a bridge could not be ended")
        }
    }
}

/// What a forward or receive is called beside those of other bridges.
fn part_name(bridge: &tidegate_config::Bridge, name: Option<&str>, index: usize) -> String {
    format!("{}.{}", bridge.name, name.map_or_else(|| index.to_string(), str::to_owned))
}

fn qos(level: u32) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    }
}
