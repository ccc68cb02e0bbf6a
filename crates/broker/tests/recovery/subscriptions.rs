//! Subscriptions come back as they were, shared ones and those to queues as well.

use crate::{Kept, QOS1};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_testkit::pair::toy::{Got, Toy, session};

/// What a toy gets of one message to each of these topics, published by somebody on another worker.
fn receives(kept: &mut Kept, toy: &Toy, topics: &[&str]) -> Vec<Got> {
    let attaching = session("publisher").expiry(Duration::ZERO).clean();
    let publisher = kept.world.attached(1, attaching);
    for topic in topics {
        publisher
            .publish_with(&mut kept.world, topic, "x", QoS::ExactlyOnce, |publish| publish.retain = true)
            .unwrap();
    }
    kept.world.run();
    publisher.vanish(&mut kept.world);
    toy.got()
}

/// [MQTT-3.1.2-5]: subscriptions with all their options are part of the session state (MQTT 5.0 section 4.1).
#[test]
fn a_subscription_keeps_its_options() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe_with(&mut kept.world, "a/+", |subscribe| {
        (subscribe.qos_max, subscribe.subscription_id, subscribe.no_local) = (QOS1, Some(7), true);
    })
    .unwrap();
    ann.subscribe_with(&mut kept.world, "b", |subscribe| subscribe.retain_as_published = true).unwrap();
    let mut kept = kept.kill();
    let ann = kept.world.attached(1, session("ann"));
    ann.publish(&mut kept.world, "a/own", "own", QOS1).unwrap();
    let got = receives(&mut kept, &ann, &["a/x", "b", "c"]);
    let told: Vec<_> =
        got.iter().map(|got| (&*got.topic, got.qos, got.retain, &got.subscription_ids[..])).collect();
    assert_eq!(told, [("a/x", 1, false, &[7][..]), ("b", 2, true, &[])]);
}

/// [MQTT-3.8.4-3]: the options of the last SUBSCRIBE count, and the same again writes nothing.
#[test]
fn a_subscription_is_kept_once_with_its_last_options() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    ann.subscribe(&mut kept.world, "a");
    ann.join(&mut kept.world, "group", "b");
    let changes = kept.storage.urgencies().len();
    ann.subscribe(&mut kept.world, "a");
    ann.join(&mut kept.world, "group", "b");
    assert_eq!(kept.storage.urgencies().len(), changes);
    for filter in ["a", "b"] {
        let share = (filter == "b").then_some("group");
        ann.subscribe_with(&mut kept.world, filter, move |subscribe| {
            (subscribe.share, subscribe.qos_max) = (share, QOS1);
        })
        .unwrap();
    }
    assert_eq!(kept.entries(), 3);
    let mut kept = kept.kill();
    assert_eq!((kept.subscriptions(), kept.world.node().recovered().subscriptions), (2, 2));
    let ann = kept.world.attached(0, session("ann"));
    let levels: Vec<u8> = receives(&mut kept, &ann, &["a", "b"]).iter().map(|got| got.qos).collect();
    assert_eq!(levels, [1, 1]);
}

/// [MQTT-3.10.4-2]
#[test]
fn what_was_unsubscribed_does_not_come_back() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    for filter in ["a", "b"] {
        ann.subscribe(&mut kept.world, filter);
        ann.join(&mut kept.world, "group", filter);
    }
    assert!(ann.unsubscribe(&mut kept.world, "a") && ann.leave_group(&mut kept.world, "group", "b"));
    let kept = kept.kill();
    assert_eq!((kept.subscriptions(), kept.entries()), (2, 3));
}

/// MQTT 5.0 section 4.8.2: each message goes to one of the members, on whatever workers they come back.
#[test]
fn a_group_has_its_members_again() {
    let mut kept = Kept::new();
    for (worker, name) in [(0, "ann"), (1, "bob")] {
        kept.world.attached(worker, session(name)).join(&mut kept.world, "group", "jobs/+");
    }
    let mut kept = kept.kill();
    assert_eq!(kept.subscriptions(), 2);
    let [ann, bob] = ["ann", "bob"].map(|name| kept.world.attached(1, session(name)));
    let of_ann = receives(&mut kept, &ann, &["jobs/1", "jobs/2", "jobs/3", "jobs/4"]).len();
    let of_bob = bob.got().len();
    assert!(of_ann > 0 && of_bob > 0 && of_ann + of_bob == 4, "{of_ann} and {of_bob}");
}

#[test]
fn a_consumer_of_a_queue_is_one_again() {
    let mut kept = Kept::new();
    kept.world.attached(0, session("ann")).subscribe(&mut kept.world, "$queue/jobs");
    let mut kept = kept.kill();
    assert_eq!((kept.subscriptions(), kept.world.node().gauges().named_queues), (1, 1));
    let ann = kept.world.attached(0, session("ann"));
    let publisher = kept.world.attached(1, session("publisher").expiry(Duration::ZERO));
    publisher.publish(&mut kept.world, "$queue/jobs", "1", QOS1).unwrap();
    kept.world.run();
    assert_eq!(ann.got_payloads(), ["1"]);
}

/// A reply address is its connection's, and nobody's after it.
#[test]
fn a_reply_address_is_not_kept() {
    let mut kept = Kept::new();
    let ann = kept.world.attached(0, session("ann"));
    let prefix = ann.ask(&mut kept.world, |broker| broker.reply_prefix()).unwrap();
    ann.subscribe(&mut kept.world, &format!("{prefix}a"));
    assert_eq!(kept.kill().subscriptions(), 0);
}

/// Each event is one change: wherever the machine goes down, a subscription and its session are there or not, and never one without the other.
#[test]
fn a_crash_between_two_events_leaves_whole_events() {
    let storage = tidegate_storage::MemoryStorage::manual();
    let mut kept = Kept::on(storage);
    let ann = kept.world.toy(0);
    ann.ask(&mut kept.world, |broker| {
        use tidegate_protocol::{Attach, SessionLimits, Settlement};
        use tidegate_testkit::pair::toy::{SESSION, filter, subscription};
        let attach = Attach {
            consumer: SESSION,
            protocol: "toy",
            client_id: "ann",
            clean_start: false,
            expiry: crate::HOUR,
            credit: 1,
            settlement: Settlement::Always,
            will: None,
            limits: SessionLimits::Usual,
            wants_publisher: false,
        };
        broker.attach(attach);
        broker.subscribe(&subscription(&filter("a"))).unwrap();
    });
    // In front of the event it was said which numbers may be given.
    assert_eq!(kept.storage.urgencies().len(), 2);
    assert_eq!(Kept::on(kept.storage.crash()).sessions(), 0);
    kept.storage.sync_all();
    ann.unsubscribe(&mut kept.world, "a");
    let kept = Kept::on(kept.storage.crash());
    assert_eq!((kept.sessions(), kept.subscriptions()), (1, 1));
}
