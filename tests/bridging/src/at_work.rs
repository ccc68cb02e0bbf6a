//! A bridge that runs.

use crate::{PATIENCE, connect};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_bridge::{
    Bridge, BridgeOptions, BridgeState, BridgeStatus, Connect, Envelope, ForwardOptions, GatewayClock,
    PaceOptions, ReceiveOptions, RetryOptions, Upstream,
};
use tidegate_message::{QoS, TopicFilter};
use tidegate_net::Inside;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time between two looks at what a bridge says of itself.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// See the module.
pub struct AtWork {
    /// What it says of itself.
    pub status: Arc<BridgeStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AtWork {
    /// Starts it.
    pub fn start(options: BridgeOptions, upstream: Arc<dyn Upstream>, inside: &Inside) -> AtWork {
        AtWork::start_with(options.stalled_after, options, upstream, connect(inside))
    }

    /// The same with the gateway's clock, which needs to be right for ages only.
    pub fn start_at(
        clock: GatewayClock,
        options: BridgeOptions,
        upstream: Arc<dyn Upstream>,
        inside: &Inside,
    ) -> AtWork {
        AtWork::begin(options.stalled_after, options, upstream, connect(inside), clock)
    }

    /// The same, with pipes of one's own, and a time after which it says that it is stalled.
    pub fn start_with(
        stalled_after: Duration,
        options: BridgeOptions,
        upstream: Arc<dyn Upstream>,
        connect: Connect<DuplexStream>,
    ) -> AtWork {
        AtWork::begin(stalled_after, options, upstream, connect, GatewayClock::new(|| 0))
    }

    fn begin(
        stalled_after: Duration,
        options: BridgeOptions,
        upstream: Arc<dyn Upstream>,
        connect: Connect<DuplexStream>,
        clock: GatewayClock,
    ) -> AtWork {
        let forwards = options.forwards.iter().map(|forward| forward.name.clone());
        let receives = options.receives.iter().map(|receive| receive.name.clone());
        let status = BridgeStatus::new(options.name.clone(), "test", stalled_after, forwards, receives);
        let bridge = Bridge::new(options, upstream, status.clone(), connect, clock).unwrap();
        let (stop, stopped) = watch::channel(false);
        AtWork { status, stop, task: tokio::spawn(bridge.run(stopped)) }
    }

    /// The bridge ends as a process that is killed does: in the midst of whatever it is doing.
    pub fn kill(self) {
        self.task.abort();
    }

    /// It is told to end, and does.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("the bridge ends").unwrap();
        assert_eq!(self.status.state(Instant::now()), BridgeState::Stopped);
    }

    /// Waits until nothing that is published is missed.
    pub async fn until_attached(&self) {
        self.until_so("attached", is_attached).await;
    }

    /// Waits for a state, with sessions that miss nothing.
    pub async fn until(&self, state: BridgeState) {
        let is_there = |status: &BridgeStatus| is_attached(status) && status.state(Instant::now()) == state;
        self.until_so(&format!("{state:?}"), is_there).await;
    }

    /// Waits until something is so.
    pub async fn until_so(&self, what: &str, is_so: impl Fn(&BridgeStatus) -> bool) {
        let wait = async {
            while !is_so(&self.status) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await;
        let state = || self.status.state(Instant::now());
        in_time.unwrap_or_else(|_| panic!("never {what}: {:?} {:?}", state(), self.status));
    }
}

fn is_attached(status: &BridgeStatus) -> bool {
    status.forwards().iter().all(|forward| forward.is_attached())
}

/// A bridge `central` of the node `edge-1` that waits for nothing long. The epoch is 7.
pub fn options(forwards: Vec<ForwardOptions>, receives: Vec<ReceiveOptions>) -> BridgeOptions {
    BridgeOptions {
        name: "central".into(),
        node: "edge-1".into(),
        epoch: 7,
        forwards,
        receives,
        retry: RetryOptions { first: Duration::from_millis(5), longest: Duration::from_millis(50) },
        connect_timeout: Duration::from_secs(5),
        probe_after: Duration::from_millis(50),
        stalled_after: Duration::from_millis(200),
        fail_back_after: Duration::from_millis(100),
        hops_max: 8,
    }
}

/// A forward of this name that sends what a filter selects as it is.
pub fn forward(name: &str, filter: &str) -> ForwardOptions {
    ForwardOptions {
        name: name.to_owned(),
        filters: vec![(TopicFilter::parse(filter.as_bytes()).unwrap(), QoS::ExactlyOnce)],
        retained: false,
        in_flight_max: 200,
        in_flight_bytes_max: 16 << 20,
        order: tidegate_bridge::ForwardOrder::default(),
        drain: PaceOptions::default(),
        envelope: Envelope::Raw,
        keep: tidegate_bridge::Keep::default(),
        max_age: None,
        dead_letter: None,
    }
}
