//! From RabbitMQ to the gateway.

use crate::central::{Central, declarations, options, source, text};
use crate::edge::start;
use lapin::BasicProperties;
use lapin::options::QueueDeleteOptions;
use lapin::types::{AMQPValue, FieldTable};
use std::sync::atomic::Ordering::Relaxed;
use tidegate_bridge::BridgeState;
use tidegate_bridge_rabbitmq::{Argument, Queue};
use tidegate_bridging::{Follower, property, with_gateway};
use tidegate_testkit::servers::RabbitMq;

fn path(path: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("tidegate-path".into(), AMQPValue::LongString(path.into()));
    headers.insert("site".into(), AMQPValue::LongString("a".into()));
    BasicProperties::default().with_headers(headers)
}

#[test]
fn what_waits_in_a_queue_is_published_here_in_order_and_acknowledged_there() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("commands", "#", "commands");
        options.receives = vec![source("commands", 50)];
        let mut follower = Follower::new(&inside, "in/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        let central = Central::new(&uri).await;
        for number in 0..200 {
            central.put("commands", &number.to_string(), path("cloud-1")).await;
        }
        for number in 0..200 {
            let delivered = follower.next().await;
            assert_eq!(
                (delivered.topic.as_str(), text(&delivered.payload)),
                ("in/commands", number.to_string())
            );
            assert_eq!(property(&delivered, "site").as_deref(), Some("a"));
            assert_eq!(property(&delivered, "tidegate-path").as_deref(), Some("cloud-1;via=central"));
        }
        bridge.until_so("settled", |status| status.receives()[0].in_flight.load(Relaxed) == 0).await;
        bridge.stop().await;
        // What had not been acknowledged would be back.
        assert_eq!(central.waiting("commands").await, 0);
    });
}

/// A message that will never be taken goes where the queue says, and not round and round.
#[test]
fn what_is_never_taken_goes_to_the_dead_letter_exchange() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("dead", "#", "dead");
        let arguments = vec![("x-dead-letter-exchange".to_owned(), Argument::Text("dead".to_owned()))];
        options.declarations.queues.push(Queue { name: "commands".to_owned(), durable: true, arguments });
        options.receives = vec![source("commands", 10)];
        let mut follower = Follower::new(&inside, "in/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        let central = Central::new(&uri).await;
        central.put("commands", "no path", path("a b")).await;
        central.put("commands", "good", path("cloud-1")).await;
        assert_eq!(text(&follower.next().await.payload), "good");
        let mut dead = central.consume("dead").await;
        assert_eq!(text(&dead.next().await.data), "no path");
        bridge.stop().await;
    });
}

/// The queue is deleted under the bridge, which says so and makes it again.
#[test]
fn a_queue_that_is_deleted_ends_the_connection_with_words() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("commands", "#", "commands");
        options.receives = vec![source("commands", 10)];
        let mut follower = Follower::new(&inside, "in/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        let central = Central::new(&uri).await;
        central.channel.queue_delete("commands".into(), QueueDeleteOptions::default()).await.unwrap();
        let said = |status: &tidegate_bridge::BridgeStatus| {
            status.connection().last_error.map(|problem| problem.text)
        };
        bridge
            .until_so("told", |status| said(status).is_some_and(|error| error.contains("`commands`")))
            .await;
        bridge.until(BridgeState::Live).await;
        central.put("commands", "after", path("cloud-1")).await;
        assert_eq!(text(&follower.next().await.payload), "after");
        bridge.stop().await;
    });
}
