//! From the gateway to RabbitMQ.

use crate::central::{Central, declarations, options, target, text};
use crate::edge::start;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use tidegate_bridge::BridgeState;
use tidegate_bridge_rabbitmq::{Argument, Declarations};
use tidegate_bridging::{Follower, property, publish, with_gateway};
use tidegate_testkit::servers::RabbitMq;

fn numbered(topic: &str, numbers: std::ops::Range<u32>) -> impl Iterator<Item = (String, String)> {
    numbers.map(move |number| (topic.to_owned(), number.to_string()))
}

#[test]
fn messages_arrive_in_order_with_their_ids() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("telemetry", "out.#", "inbox");
        options.forwards = vec![target("telemetry", "{topic}")];
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        publish(&inside, numbered("out/a", 0..1000)).await;
        let central = Central::new(&uri).await;
        let mut inbox = central.consume("inbox").await;
        let mut ids = HashSet::new();
        for number in 0..1000 {
            let delivery = inbox.next().await;
            assert_eq!((text(&delivery.data), delivery.routing_key.as_str()), (number.to_string(), "out.a"));
            let properties = delivery.properties;
            let id = properties.message_id().as_ref().unwrap().to_string();
            assert!(id.starts_with("edge-1/7/central.0/") && ids.insert(id));
            assert_eq!(properties.delivery_mode(), &Some(2));
            let headers = properties.headers().as_ref().unwrap();
            let names: Vec<&str> = headers.inner().keys().map(|name| name.as_str()).collect();
            assert_eq!(names, ["source", "tidegate-path"]);
        }
        bridge.stop().await;
    });
}

/// RabbitMQ returns what no queue takes, and confirms it: only the one that came back is a dead letter.
#[test]
fn what_no_queue_takes_becomes_a_dead_letter_and_the_rest_goes_on() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("telemetry", "out.good", "inbox");
        options.forwards = vec![target("telemetry", "{topic}")];
        let mut dead = Follower::new(&inside, "dead/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        let topic = |number| if number % 9 == 4 { "out/bad" } else { "out/good" };
        publish(&inside, (0..600).map(|number| (topic(number).to_owned(), number.to_string()))).await;
        let central = Central::new(&uri).await;
        let mut inbox = central.consume("inbox").await;
        for number in (0..600).filter(|number| number % 9 != 4) {
            assert_eq!(text(&inbox.next().await.data), number.to_string());
        }
        let mut letters = HashSet::new();
        for _ in 0..67 {
            let letter = dead.next().await;
            assert_eq!(property(&letter, "tidegate-reason").as_deref(), Some("unroutable"));
            letters.insert(text(&letter.payload));
        }
        let expected = (0..600).filter(|number| number % 9 == 4).map(|number: u32| number.to_string());
        assert_eq!(letters, expected.collect());
        bridge.stop().await;
    });
}

/// RabbitMQ confirms many returned messages with one frame, and the client library resolves their confirms in any order: none of them is taken.
#[test]
fn of_a_burst_that_no_queue_takes_nothing_is_confirmed() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("telemetry", "out.good", "inbox");
        options.forwards = vec![target("telemetry", "{topic}")];
        let mut dead = Follower::new(&inside, "dead/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        publish(&inside, numbered("out/bad", 0..1000)).await;
        let answered = |status: &tidegate_bridge::BridgeStatus| {
            let forward = &status.forwards()[0];
            (forward.confirmed.load(Relaxed), forward.dead_letters.load(Relaxed))
        };
        bridge.until_so("answered", |status| answered(status).0 + answered(status).1 == 1000).await;
        assert_eq!(answered(&bridge.status), (0, 1000));
        let mut letters = HashSet::new();
        while letters.len() < 1000 {
            letters.insert(text(&dead.next().await.payload));
        }
        bridge.stop().await;
    });
}

/// RabbitMQ closes the channel and does not say for which message. The others arrive all the same, and in order.
#[test]
fn a_message_that_closes_the_channel_is_found_among_many() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut options = options(&uri);
        options.declarations = declarations("good", "#", "inbox");
        options.forwards = vec![target("{topic[1]}", "{topic}")];
        let mut dead = Follower::new(&inside, "dead/#").await;
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        let topic = |number| if [37, 38, 150].contains(&number) { "out/missing" } else { "out/good" };
        publish(&inside, (0..200).map(|number| (topic(number).to_owned(), number.to_string()))).await;
        let letters = [dead.next().await, dead.next().await, dead.next().await];
        assert_eq!(letters.each_ref().map(|letter| text(&letter.payload)), ["37", "38", "150"]);
        assert!(property(&letters[0], "tidegate-detail").unwrap().contains("no exchange 'missing'"));
        bridge.until_so("empty", |status| status.forwards()[0].in_flight.load(Relaxed) == 0).await;
        let central = Central::new(&uri).await;
        let mut inbox = central.consume("inbox").await;
        let (mut ids, mut last) = (HashSet::new(), None);
        while ids.len() < 197 {
            let delivery = inbox.next().await;
            let number: u32 = text(&delivery.data).parse().unwrap();
            if ids.insert(delivery.properties.message_id().as_ref().unwrap().to_string()) {
                assert!(last.replace(number).is_none_or(|last| last < number), "{number} is out of order");
            }
        }
        bridge.stop().await;
    });
}

/// A backlog is not thrown away because nobody has made the exchange yet.
#[test]
fn an_exchange_that_is_missing_is_waited_for() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        // What no queue is bound to would be unroutable: the new exchange hands everything to one that has a queue from the start.
        let mut maker = options(&uri);
        maker.declarations = declarations("amq.topic", "#", "inbox");
        let exchanges = std::mem::take(&mut maker.declarations.exchanges);
        let mut later = options(&uri);
        later.declarations.exchanges = exchanges;
        later.declarations.exchanges[0].name = "telemetry".to_owned();
        later.declarations.exchanges[0].arguments =
            vec![("alternate-exchange".to_owned(), Argument::Text("amq.topic".to_owned()))];
        let maker = start(maker, &inside);
        maker.until(BridgeState::Live).await;
        let mut options = options(&uri);
        options.forwards = vec![target("telemetry", "{topic}")];
        let bridge = start(options, &inside);
        bridge.until(BridgeState::Live).await;
        publish(&inside, numbered("out/a", 0..300)).await;
        bridge.until(BridgeState::Rejecting).await;
        let later = start(later, &inside);
        let central = Central::new(&uri).await;
        let mut inbox = central.consume("inbox").await;
        for number in 0..300 {
            assert_eq!(text(&inbox.next().await.data), number.to_string());
        }
        bridge.until(BridgeState::Live).await;
        assert_eq!(bridge.status.forwards()[0].dropped().len(), 0);
        bridge.stop().await;
        maker.stop().await;
        later.stop().await;
    });
}

/// What is refused before a connection stands is said in RabbitMQ's words, without secrets.
#[test]
fn a_wrong_password_is_told() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost()).replace("guest:guest", "guest:Kennwort");
    with_gateway(async |inside| {
        let bridge = start(options(&uri), &inside);
        let said = |status: &tidegate_bridge::BridgeStatus| {
            status.connection().last_error.map(|problem| problem.text)
        };
        bridge.until_so("refused", |status| said(status).is_some_and(|error| error.contains("403"))).await;
        assert!(!format!("{:?}", bridge.status).contains("Kennwort"));
        bridge.stop().await;
    });
}

/// What is there otherwise than it is described is not used: somebody has to look.
#[test]
fn a_declaration_that_does_not_fit_is_told() {
    let server = RabbitMq::shared();
    let uri = server.uri(&server.vhost());
    with_gateway(async |inside| {
        let mut first = options(&uri);
        first.declarations = declarations("telemetry", "#", "inbox");
        let maker = start(first.clone(), &inside);
        maker.until(BridgeState::Live).await;
        let mut second = first;
        second.declarations =
            Declarations { queues: Vec::new(), bindings: Vec::new(), ..second.declarations };
        second.declarations.exchanges[0].kind = "direct".to_owned();
        let bridge = start(second, &inside);
        let said = |status: &tidegate_bridge::BridgeStatus| {
            status.connection().last_error.map(|problem| problem.text)
        };
        bridge.until_so("refused", |status| said(status).is_some_and(|error| error.contains("406"))).await;
        bridge.stop().await;
        maker.stop().await;
    });
}
