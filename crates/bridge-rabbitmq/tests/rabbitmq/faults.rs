//! A bad link between the bridge and RabbitMQ: cut, reset, stalled, slow, with confirms and acknowledgements swallowed.
//!
//! What was acknowledged to a device arrives, in order per topic, and what comes twice has the id that it had before; what RabbitMQ hands
//! over arrives here once. `RABBITMQ_ROUNDS=100` makes many rounds of it, `RABBITMQ_SEED=…` brings the troubles of a seed back.

use crate::central::{Central, declarations, options, source, target, text};
use crate::edge::start;
use lapin::BasicProperties;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tidegate_bridge::BridgeState;
use tidegate_bridge_rabbitmq::{Queue, RabbitMqOptions};
use tidegate_bridging::{Follower, publish, with_gateway};
use tidegate_testkit::proxy::{FaultPlan, Proxy};
use tidegate_testkit::servers::RabbitMq;

const TOPICS: u32 = 3;
const OUT: u32 = 600;
const IN: u32 = 300;
const FAULTS: usize = 8;

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_over_a_bad_link() {
    let server = RabbitMq::shared();
    let vhost = server.vhost();
    let rounds = number_of("RABBITMQ_ROUNDS").unwrap_or(1);
    for round in 0..rounds {
        let seed = number_of("RABBITMQ_SEED").unwrap_or_else(|| RandomState::new().hash_one(round));
        println!("RABBITMQ_SEED={seed}");
        survive(&server, &vhost, seed);
    }
}

fn survive(server: &RabbitMq, vhost: &str, seed: u64) {
    let proxy = Arc::new(Proxy::start(server.address()));
    let direct = server.uri(vhost);
    let through = format!("amqp://guest:guest@{}/{vhost}", proxy.address());
    with_gateway(async |inside| {
        let names = Names::new(seed);
        let bridge = start(names.options(&through), &inside);
        bridge.until(BridgeState::Live).await;
        let mut follower = Follower::new(&inside, "in/#").await;
        let central = Central::new(&direct).await;
        let troubles = {
            let proxy = proxy.clone();
            tokio::task::spawn_blocking(move || {
                for step in FaultPlan::seeded(seed).within(16 * 1024, Duration::from_millis(500)).take(FAULTS)
                {
                    proxy.suffer(&step, Duration::from_millis(500));
                }
            })
        };
        let sending = async {
            for begin in (0..OUT).step_by(20) {
                let messages = (begin..begin + 20).map(|n| (format!("out/{}", n % TOPICS), n.to_string()));
                publish(&inside, messages).await;
                tokio::task::yield_now().await;
            }
        };
        let putting = async {
            for number in 0..IN {
                let id = format!("cloud-1/1/{}/{number}", names.commands).as_str().into();
                let properties = BasicProperties::default().with_message_id(id).with_delivery_mode(2);
                central.put(&names.commands, &number.to_string(), properties).await;
            }
        };
        tokio::join!(sending, putting);
        audit_out(&mut central.consume(&names.inbox).await).await;
        for number in 0..IN {
            assert_eq!(text(&follower.next().await.payload), number.to_string(), "once, and in order");
        }
        troubles.await.unwrap();
        bridge.until(BridgeState::Live).await;
        assert!(bridge.status.forwards()[0].dropped().is_empty(), "{:?}", bridge.status);
        bridge.stop().await;
    });
}

/// Every message, in order per topic, and twice only under the same id.
async fn audit_out(inbox: &mut crate::central::Taker) {
    let (mut ids, mut last) = (HashMap::new(), HashMap::new());
    while ids.len() < OUT as usize {
        let delivery = inbox.next().await;
        let (id, payload) =
            (delivery.properties.message_id().as_ref().unwrap().to_string(), text(&delivery.data));
        let number: u32 = payload.parse().unwrap();
        match ids.insert(id.clone(), number) {
            Some(before) => assert_eq!(before, number, "{id}"),
            None => {
                let last = last.insert(number % TOPICS, number);
                assert!(last.is_none_or(|last| last < number), "{number} behind {last:?}");
            }
        }
    }
    let mut numbers: Vec<u32> = ids.into_values().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..OUT).collect::<Vec<_>>());
}

/// Of one round.
struct Names {
    exchange: String,
    inbox: String,
    commands: String,
}

impl Names {
    fn new(seed: u64) -> Names {
        let name = |what: &str| format!("{what}-{seed}");
        Names { exchange: name("telemetry"), inbox: name("inbox"), commands: name("commands") }
    }

    fn options(&self, uri: &str) -> RabbitMqOptions {
        let mut options = options(uri);
        // A connection whose other end is gone keeps its messages until RabbitMQ notices.
        options.heartbeat_seconds = 1;
        options.declarations = declarations(&self.exchange, "#", &self.inbox);
        let commands = Queue { name: self.commands.clone(), durable: true, arguments: Vec::new() };
        options.declarations.queues.push(commands);
        options.forwards = vec![target(&self.exchange, "{topic}")];
        options.receives = vec![source(&self.commands, 50)];
        // Nobody else takes what stands in front of what is handed over: otherwise a connection that is dead might.
        options.receives[0].exclusive = true;
        options
    }
}
