//! Bridges to other brokers that speak MQTT 5.0, 3.1.1 or 3.1.
//!
//! ```text
//!  Bridge ──orders──► ┌────────┐ ──bytes──► ┌──────┐
//!         ◄─reports── │ client │ ◄──bytes── │ peer │     client: the task of one connection
//!                     └────────┘            └──────┘     conversation: what is said, without a socket
//! ```
//!
//! The packets are those of `tidegate_mqtt::codec`. What goes there goes at level 1 at the most: a hand-shake of level 2 protects one
//! connection only, and after it is lost a message is sent again whatever the level was; the stable id tells repetitions in both
//! cases. What comes from there is taken at level 1 at the most for the same reason.

mod address;
mod arrivals;
mod client;
mod conversation;
mod options;
mod outbound;
mod strangers;

pub use address::{AddressError, MqttAddress};
pub use options::{Forwarded, MqttOptions, Received, Secret};
pub use tidegate_mqtt::codec::Version;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tidegate_bridge::{Line, Lost, Outgoing, Rendered, Upstream, Verdict};

/// Another MQTT broker.
#[derive(Debug)]
pub struct MqttUpstream {
    options: Arc<MqttOptions>,
}

impl MqttUpstream {
    /// The broker behind the addresses of these options.
    pub fn new(options: MqttOptions) -> MqttUpstream {
        MqttUpstream { options: Arc::new(options) }
    }
}

impl Upstream for MqttUpstream {
    fn addresses(&self) -> usize {
        self.options.addresses.len()
    }

    fn address(&self, number: usize) -> String {
        self.options.addresses.get(number).map(ToString::to_string).unwrap_or_default()
    }

    fn render(&self, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
        outbound::rendered(&self.options, outgoing)
    }

    fn serve(self: Arc<Self>, address: usize, line: Line) -> Pin<Box<dyn Future<Output = Lost> + Send>> {
        Box::pin(client::serve(self.options.clone(), address, line))
    }
}
