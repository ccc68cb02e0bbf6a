//! The other side of a bridge: one small implementation for each kind of upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_testkit::proxy::Proxy;

/// A server to which the bridge under audit leads, through a proxy, and to which the audit has connections of its own, past the proxy.
pub trait Upstream: Send + Sync {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Where it listens; the same after a restart.
    fn address(&self) -> SocketAddr;

    /// The link to it, of which the edge sees nothing else; asked for once. Nothing where no proxy can stand in front of it: the edge comes to
    /// [`Upstream::address`] then, and no fault comes over the link.
    fn link(&self) -> Option<Arc<Proxy>> {
        Some(Arc::new(Proxy::start(self.address())))
    }

    /// How many rounds are made where nobody asks for more: some within a minute, on a machine that has better things to do.
    fn rounds(&self) -> usize {
        1
    }

    /// How long a fault lasts at most. Some have to last longer than the bridge takes to give a connection up.
    fn fault_lasts_max(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// The `[[bridge]]` of a gateway that reaches it at this address: it forwards `telemetry/#`, and publishes at `commands/…` what
    /// [`Outbox`] sends.
    fn bridge(&self, at: SocketAddr) -> String;

    /// Whether the audit may end it at all.
    fn is_restarted(&self) -> bool {
        true
    }

    /// Ends it and starts it again, with everything that it had confirmed.
    fn restart(&self);

    /// Follows everything that the bridge forwards, from now on, over restarts.
    fn inbox(&self) -> Box<dyn Inbox>;

    /// A publisher of its own.
    fn outbox(&self) -> Box<dyn Outbox>;
}

/// What has arrived at an upstream, in the order of its arrival.
pub trait Inbox: Send {
    /// The next message, which is settled; nothing where none comes within this time. Reconnects by itself.
    fn next(&mut self, patience: Duration) -> Option<Arrival>;
}

/// A publisher at an upstream.
pub trait Outbox: Send {
    /// Sends one message, and is true where the upstream has confirmed it. Where it has not, nobody knows; the next call connects again.
    fn publish(&mut self, letter: &Letter<'_>) -> bool;

    /// The same for several in their order; together, where that is faster.
    fn publish_all(&mut self, letters: &[Letter<'_>]) -> Vec<bool> {
        letters.iter().map(|letter| self.publish(letter)).collect()
    }
}

/// A message that was forwarded.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its payload.
    pub payload: Vec<u8>,
    /// The id that the bridge has given it.
    pub id: Option<String>,
    /// Whether the upstream says that it has delivered it before, to the audit itself.
    pub is_redelivered: bool,
}

/// A message for the bridge.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The topic at which the gateway is to publish it, with `commands/` in front.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// An id like those that gateways give.
    pub id: Option<&'a str>,
}
