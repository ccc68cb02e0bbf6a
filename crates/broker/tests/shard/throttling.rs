//! How fast one client may publish: nothing is lost, and silence that was forced on it is not held against it.

use crate::{HOUR, QOS0, QOS1};
use std::time::Duration;
use tidegate_broker::PublishLimits;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{SILENCE_MAX, session};

const SECOND: Duration = Duration::from_secs(1);

fn limits(messages: Option<u64>, bytes: Option<u64>) -> PublishLimits {
    PublishLimits { messages_per_second: messages, bytes_per_second: bytes }
}

#[test]
fn too_many_messages_are_taken_and_rested_for() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let bob = world.attached(0, session("bob"));
    bob.subscribe(&mut world, "a");
    let (key, now) = (alice.link.key(), world.now);
    world.shard(0).limit_publishing(key, limits(Some(10), None), now);
    for _ in 0..30 {
        alice.publish(&mut world, "a", "x", QOS0).unwrap();
    }
    world.run();
    assert_eq!(bob.got_payloads().len(), 30);
    let until = world.shard(0).rests_until(key, now).unwrap();
    assert!(until >= now + 2 * SECOND && until < now + 3 * SECOND, "{:?}", until - now);
    assert_eq!(world.shard(0).rests_until(key, until), None);
    assert_eq!(world.shard(0).rests_until(bob.link.key(), now), None);
}

/// Whichever of the two rates is exceeded further decides.
#[test]
fn bytes_count_beside_messages() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let (key, now) = (alice.link.key(), world.now);
    world.shard(0).limit_publishing(key, limits(Some(1000), Some(100)), now);
    alice.publish(&mut world, "a", &"x".repeat(399), QOS1).unwrap();
    let until = world.shard(0).rests_until(key, now).unwrap();
    assert!(until >= now + 3 * SECOND && until < now + 4 * SECOND, "{:?}", until - now);
}

/// A keep-alive that runs out while the client is not read from is looked at afterwards, when it has been read from.
#[test]
fn silence_during_a_rest_is_not_held_against_the_client() {
    let mut world = World::new(1);
    let alice = world.attached(0, session("alice"));
    let (key, now) = (alice.link.key(), world.now);
    world.shard(0).limit_publishing(key, limits(Some(1), None), now);
    for _ in 0..61 {
        alice.publish(&mut world, "a", "x", QOS0).unwrap();
    }
    alice.set_timeout(&mut world, Some(now + 10 * SECOND), true);
    world.advance(59 * SECOND);
    assert!(!alice.link.is_ended());
    world.advance(HOUR);
    assert!(alice.link.is_ended());
}

/// A gateway that was stopped for an hour, or a worker that was busy, has not listened: what arrived meanwhile is read before anybody is
/// blamed for silence.
#[test]
fn silence_is_not_held_against_a_client_whose_bytes_wait_to_be_read() {
    let mut world = World::new(1);
    let (talking, silent) = (world.attached(0, session("talking")), world.attached(0, session("silent")));
    let soon = world.now + 10 * SECOND;
    for toy in [&talking, &silent] {
        toy.set_timeout(&mut world, Some(soon), true);
    }
    world.arrive(&talking.link, b"ping");
    world.advance(HOUR);
    assert!(!talking.link.is_ended() && silent.link.is_ended());
    assert_eq!(talking.timeouts(), 0);
    // They were read, and nothing followed.
    world.advance(SILENCE_MAX);
    assert!(talking.link.is_ended());
}
