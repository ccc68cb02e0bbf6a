//! The gateway's side: a bridge that forwards `out/#` and receives to `in/` and the routing key.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::{
    BridgeOptions, Destination, ForwardOptions, Incoming, Misplaced, Publishing, ReceiveOptions, RetryOptions,
};
use tidegate_bridge_rabbitmq::{RabbitMq, RabbitMqOptions};
use tidegate_bridging::AtWork;
use tidegate_message::QoS;
use tidegate_net::Inside;

/// A bridge with as many forwards and receives as the options have.
pub(crate) fn start(options: RabbitMqOptions, inside: &Inside) -> AtWork {
    let forwards = (0..options.forwards.len()).map(forward).collect();
    let receives = (0..options.receives.len()).map(receive).collect();
    let upstream = Arc::new(RabbitMq::new(options).unwrap());
    AtWork::start(bridge_options(forwards, receives), upstream, inside)
}

/// RabbitMQ on a busy machine takes its time.
fn bridge_options(forwards: Vec<ForwardOptions>, receives: Vec<ReceiveOptions>) -> BridgeOptions {
    BridgeOptions {
        retry: RetryOptions { first: Duration::from_millis(20), longest: Duration::from_millis(500) },
        connect_timeout: Duration::from_secs(20),
        probe_after: Duration::from_millis(300),
        stalled_after: Duration::from_secs(3),
        ..tidegate_bridging::options(forwards, receives)
    }
}

fn forward(number: usize) -> ForwardOptions {
    ForwardOptions {
        dead_letter: Some("dead/letters".to_owned()),
        ..tidegate_bridging::forward(&format!("central.{number}"), "out/#")
    }
}

fn receive(number: usize) -> ReceiveOptions {
    let destination = Arc::new(ByRoutingKey);
    ReceiveOptions {
        name: format!("central.in.{number}"),
        session: Some(format!("central.in.{number}/received")),
        destination,
        qos_max: QoS::ExactlyOnce,
    }
}

#[derive(Debug)]
struct ByRoutingKey;

impl Destination for ByRoutingKey {
    fn place(&self, incoming: &Incoming) -> Result<Publishing, Misplaced> {
        let place = incoming.place.iter().find(|(name, _)| *name == "routing_key");
        let (_, key) = place.ok_or_else(|| Misplaced("no routing key".to_owned()))?;
        Ok(Publishing {
            topic: Bytes::from(format!("in/{key}")),
            payload: incoming.payload.clone(),
            qos: incoming.qos,
            retain: false,
            properties: incoming.properties.clone(),
            expiry: None,
        })
    }
}
