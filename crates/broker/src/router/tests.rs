use super::*;
use crate::access::Clearance;
use crate::budget::TotalBytes;
use crate::route::OwnMessages;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::parse(text.as_bytes()).unwrap()
}

fn queue(id: u64, home: u8) -> Arc<Queue> {
    Arc::new(Queue::new(id, home, Arc::new(TotalBytes::new(&Limits::default()))))
}

fn subscription(queue: &Arc<Queue>, qos_max: QoS, no_local: bool, id: u32) -> Subscription {
    let (queue, retain_as_published) = (queue.clone(), false);
    Subscription {
        queue,
        group: None,
        qos_max,
        no_local,
        retain_as_published,
        subscription_id: Some(id),
        clearance: Clearance::default(),
        since: 0,
    }
}

fn subscribe(router: &Router, text: &str, subscription: Subscription) {
    subscription.queue.filters().add(&filter(text), 100).unwrap();
    router.subscribe(&filter(text), subscription).unwrap();
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.1.1/3.3.5-1]: one delivery with the highest level and every identifier.
#[test]
fn overlapping_subscriptions_become_one_entry() {
    let router = Router::new(&Limits::default(), false);
    let receiver = queue(1, 0);
    subscribe(&router, "a/+", subscription(&receiver, QoS::AtMostOnce, false, 7));
    subscribe(&router, "a/#", subscription(&receiver, QoS::ExactlyOnce, false, 8));
    let route = router.route(topic("a/b"), 0);
    let [entry] = route.here.as_slice() else { panic!("one entry") };
    let mut ids = entry.grant.subscription_ids.to_vec();
    ids.sort_unstable();
    assert_eq!((entry.grant.qos, ids), (QoS::ExactlyOnce, vec![7, 8]));
}

/// [MQTT-3.8.3-3]: a subscription without "no local" still delivers own messages, in whatever order they are met.
#[test]
fn no_local_hides_own_messages_from_that_subscription_only() {
    let router = Router::new(&Limits::default(), false);
    let receiver = queue(1, 0);
    subscribe(&router, "a/+", subscription(&receiver, QoS::ExactlyOnce, true, 7));
    assert_eq!(router.route(topic("a/b"), 0).here[0].own, OwnMessages::None);
    subscribe(&router, "a/#", subscription(&receiver, QoS::AtMostOnce, false, 8));
    subscribe(&router, "#", subscription(&receiver, QoS::AtLeastOnce, true, 9));
    let route = router.route(topic("a/b"), 0);
    let own = route.here[0].grant_for(1).unwrap();
    assert_eq!((own.qos, own.subscription_ids.to_vec()), (QoS::AtMostOnce, vec![8]));
    assert_eq!(route.here[0].grant_for(2).unwrap().qos, QoS::ExactlyOnce);
}

#[test]
fn each_worker_sees_its_own_receivers_and_who_else_is_concerned() {
    let router = Router::new(&Limits::default(), false);
    let [first, second, third] = [queue(1, 0), queue(2, 1), queue(3, 5)];
    for receiver in [&first, &second, &third] {
        subscribe(&router, "a", subscription(receiver, QoS::AtMostOnce, false, 1));
    }
    let route = router.route(topic("a"), 1);
    assert_eq!((route.here.len(), route.elsewhere), (1, 0b10_0001));
}

#[test]
fn every_change_makes_a_new_generation() {
    let router = Router::new(&Limits::default(), false);
    let receiver = queue(1, 0);
    let generations = [
        router.generation(),
        {
            subscribe(&router, "a", subscription(&receiver, QoS::AtMostOnce, false, 1));
            router.generation()
        },
        {
            router.move_home(&receiver, 1, None);
            router.generation()
        },
        {
            router.forget(&receiver);
            router.generation()
        },
    ];
    assert!(generations.is_sorted_by(|left, right| left < right), "{generations:?}");
    assert_eq!(router.subscription_count(), 0);
    assert_eq!((receiver.home_at(generations[1]), receiver.home_at(generations[2])), (0, 1));
}

/// A few filters of many levels can cost as much as many of few.
#[test]
fn subscriptions_of_all_sessions_have_a_limit_in_bytes() {
    let router = Router::new(&Limits { subscription_bytes: 4096, ..Limits::default() }, false);
    let receiver = queue(1, 0);
    subscribe(&router, "a", subscription(&receiver, QoS::AtMostOnce, false, 1));
    let deep = filter(&["l"; 100].join("/"));
    let more = router.subscribe(&deep, subscription(&receiver, QoS::AtMostOnce, false, 1));
    assert_eq!(more, Err(TooManySubscriptions));
    subscribe(&router, "b", subscription(&receiver, QoS::AtMostOnce, false, 1));
}

#[test]
fn subscriptions_of_all_sessions_have_a_limit() {
    let router = Router::new(&Limits { subscriptions: 1, ..Limits::default() }, false);
    let receiver = queue(1, 0);
    subscribe(&router, "a", subscription(&receiver, QoS::AtMostOnce, false, 1));
    let more = router.subscribe(&filter("b"), subscription(&receiver, QoS::AtMostOnce, false, 1));
    assert_eq!(more, Err(TooManySubscriptions));
}
