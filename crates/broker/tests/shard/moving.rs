//! Sessions that move between workers while messages are under way: nothing is lost, doubled, or out of order.

use crate::{QOS0, QOS1};
use tidegate_protocol::RetainedDelivery;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1]: a letter that the old home has not read yet.
#[test]
fn a_message_under_way_to_the_old_home_follows_the_session() {
    let mut world = World::new(3);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(2, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["2"]);
}

/// A letter that was written before the filter that takes the place of the one that had selected its message.
#[test]
fn a_message_under_way_survives_a_change_of_filters_that_both_select_it() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "#");
    alice.publish(&mut world, "a/b", "1", QOS1).unwrap();
    alice.publish(&mut world, "other", "2", QOS1).unwrap();
    bob.subscribe(&mut world, "a/#");
    bob.keep_only(&mut world, "a/#");
    alice.publish(&mut world, "other", "3", QOS1).unwrap();
    alice.publish(&mut world, "a/b", "4", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "4"]);
}

/// [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2]: a letter that went to both homes because of other receivers is delivered once.
#[test]
fn a_message_under_way_to_both_homes_is_delivered_once() {
    for order in [[1, 2], [2, 1]] {
        let mut world = World::new(3);
        let alice = world.attached(0, session("alice"));
        let bob = world.attached(1, session("bob"));
        let others = [world.attached(1, session("one")), world.attached(2, session("two"))];
        bob.subscribe(&mut world, "a");
        for other in &others {
            other.subscribe(&mut world, "a");
        }
        bob.vanish(&mut world);
        alice.publish(&mut world, "a", "1", QOS1).unwrap();
        let bob = world.attached(2, session("bob"));
        order.into_iter().for_each(|worker| world.handle_mail(worker));
        world.run();
        assert_eq!(bob.got_payloads(), ["1"]);
        assert!(others.iter().all(|other| other.got_payloads() == ["1"]));
    }
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1]: the session comes back to the worker whose mail still waits.
#[test]
fn a_message_under_way_survives_a_move_away_and_back() {
    let mut world = World::new(3);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(2, session("bob"));
    bob.vanish(&mut world);
    let bob = world.attached(1, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

/// [MQTT-4.5.0-1] [MQTT-3.1.1/4.5.0-1]: two moves before the first home reads its mail.
#[test]
fn a_message_under_way_survives_two_moves() {
    let mut world = World::new(4);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(2, session("bob"));
    bob.vanish(&mut world);
    let bob = world.attached(3, session("bob"));
    world.run();
    assert_eq!(bob.got_payloads(), ["1"]);
}

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]: the new home reads its mail before the old one does.
#[test]
fn the_order_is_kept_when_the_new_home_is_quicker_than_the_old_one() {
    let mut world = World::new(3);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(2, session("bob"));
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    world.handle_mail(2);
    world.handle_mail(1);
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]: the session moves twice, and each new home is quicker than the one before.
#[test]
fn the_order_is_kept_over_two_moves() {
    let mut world = World::new(4);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(1, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(2, session("bob"));
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    let bob = world.attached(3, session("bob"));
    alice.publish(&mut world, "a", "3", QOS1).unwrap();
    [3, 2, 1, 3, 2].into_iter().for_each(|worker| world.handle_mail(worker));
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2", "3"]);
}

/// [MQTT-4.6.0-6] [MQTT-3.1.1/4.6.0-6]: the publisher is on the new home itself.
#[test]
fn the_order_is_kept_when_the_publisher_lives_on_the_new_home() {
    let mut world = World::new(2);
    let alice = world.attached(1, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    bob.vanish(&mut world);
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    let bob = world.attached(1, session("bob"));
    alice.publish(&mut world, "a", "2", QOS1).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

/// Unsettled deliveries of the old home come first, under their tags.
#[test]
fn a_session_takes_its_backlog_along() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob").credit(2));
    bob.subscribe(&mut world, "a");
    for number in ["1", "2", "3", "4"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
    }
    world.run();
    bob.got();
    bob.accept(&mut world, 1);
    bob.vanish(&mut world);
    let bob = world.attached(1, session("bob").credit(10));
    alice.publish(&mut world, "a", "5", QOS0).unwrap();
    world.run();
    let got: Vec<_> = bob.got().into_iter().map(|got| (got.payload, got.tag, got.redelivered)).collect();
    let expected = [("2", Some(2), true), ("3", Some(3), true), ("4", Some(4), false), ("5", None, false)];
    assert_eq!(got, expected.map(|(payload, tag, again)| (payload.to_owned(), tag, again)));
}

/// A subscription selects what is published after it: a letter that is older than the subscription is not for it.
#[test]
fn a_message_from_before_the_subscription_is_not_delivered() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let other = world.attached(1, session("other"));
    other.subscribe(&mut world, "a");
    let bob = world.attached(1, session("bob"));
    alice.publish(&mut world, "a", "old", QOS1).unwrap();
    bob.subscribe(&mut world, "a");
    world.run();
    assert_eq!((bob.got_payloads(), other.got_payloads()), (vec![], vec!["old".to_owned()]));
}

/// [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2]: a retained message that the new subscription has got already does not come live
/// as well.
#[test]
fn a_retained_message_under_way_does_not_come_twice_to_a_new_subscription() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let other = world.attached(1, session("other"));
    other.subscribe(&mut world, "a");
    let bob = world.attached(1, session("bob"));
    alice.publish_with(&mut world, "a", "state", QOS1, |publish| publish.retain = true).unwrap();
    bob.subscribe_with(&mut world, "a", |subscribe| subscribe.retained = RetainedDelivery::Always).unwrap();
    world.run();
    assert_eq!(bob.got_payloads(), ["state"]);
}

/// Any change of any subscription makes letters old; that alone must change nothing.
#[test]
fn letters_of_an_older_generation_reach_everybody_once() {
    let mut world = World::new(2);
    let alice = world.attached(0, session("alice"));
    let receivers = ["one", "two", "three"].map(|name| world.attached(1, session(name)));
    for receiver in &receivers {
        receiver.subscribe(&mut world, "a");
    }
    let other = world.attached(1, session("other"));
    for number in ["1", "2", "3"] {
        alice.publish(&mut world, "a", number, QOS1).unwrap();
        other.subscribe(&mut world, "elsewhere");
    }
    world.run();
    assert!(receivers.iter().all(|receiver| receiver.got_payloads() == ["1", "2", "3"]));
}

/// A letter for a session that has ended meanwhile leaves nothing behind.
#[test]
fn a_message_under_way_to_a_session_that_ends_leaves_nothing() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let bob = world.attached(1, session("bob").expiry(std::time::Duration::ZERO));
    bob.subscribe(&mut world, "a");
    alice.publish(&mut world, "a", "1", QOS1).unwrap();
    bob.vanish(&mut world);
    world.run();
    crate::assert_nothing_is_left(&world);
}
