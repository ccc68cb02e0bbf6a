//! Consumers that follow a replay ring and come back to it.

use crate::{MINUTE, QOS0, QOS1, QOS2};
use std::time::Duration;
use tidegate_broker::RingOptions;
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Outcome, Refusal, Settlement, Start, StateDelivery};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Got, Toy};

pub(crate) fn ring(topics: &[&str], messages_max: usize) -> RingOptions {
    let topics = topics.iter().map(|text| TopicFilter::parse(text.as_bytes()).unwrap()).collect();
    RingOptions { topics, messages_max, bytes_max: 64 << 20 }
}

/// A world whose ring holds so many messages of `a/#`.
pub(crate) fn world(workers: usize, messages_max: usize) -> World {
    let mut world = World::new(workers);
    world.set_rings(vec![ring(&["a/#"], messages_max)]);
    world
}

pub(crate) fn publish(world: &mut World, toy: &Toy, topic: &str, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        toy.publish(world, topic, &number.to_string(), QOS1).unwrap();
    }
    world.run();
}

pub(crate) fn retain(world: &mut World, toy: &Toy, topic: &str, payload: &str) {
    toy.publish_with(world, topic, payload, QOS1, |publish| publish.retain = true).unwrap();
    world.run();
}

pub(crate) fn payloads(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.payload.as_str()).collect()
}

fn numbers(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range.into_iter().map(|number| number.to_string()).collect()
}

pub(crate) fn token(got: &Got) -> String {
    got.token.clone().unwrap()
}

#[test]
fn a_consumer_that_follows_gets_what_comes_with_tokens() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    publish(&mut world, &alice, "a/b", 1..=2);
    assert_eq!(bob.follow(&mut world, 1, "a/+", None).unwrap().start, Start::Began);
    publish(&mut world, &alice, "a/b", 3..=4);
    publish(&mut world, &alice, "a/b/c", 5..=5);
    let got = bob.got();
    assert_eq!(payloads(&got), ["3", "4"]);
    assert!(got.iter().all(|got| got.consumer == 1 && got.qos == 1 && !got.retain && !got.is_after_gap));
    assert_ne!(got[0].token, got[1].token);
}

#[test]
fn whoever_comes_back_goes_on_behind_the_last_message() {
    let mut world = world(2, 100);
    let (alice, bob) = (world.toy(0), world.toy(1));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    publish(&mut world, &alice, "a", 1..=3);
    let last = token(&bob.got()[1]);
    bob.vanish(&mut world);
    publish(&mut world, &alice, "a", 4..=6);
    let bob = world.toy(0);
    assert_eq!(bob.follow(&mut world, 7, "a/#", Some(&last)).unwrap().start, Start::Continued);
    world.run();
    publish(&mut world, &alice, "a", 7..=7);
    let got = bob.got();
    assert_eq!(payloads(&got), ["3", "4", "5", "6", "7"]);
    assert!(got.iter().all(|got| !got.is_after_gap && !got.redelivered));
}

/// The token names a place, not a subscription: another filter goes on from there as well.
#[test]
fn a_token_is_good_for_another_filter_of_the_same_ring() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    bob.follow(&mut world, 1, "a/b", None).unwrap();
    publish(&mut world, &alice, "a/b", 1..=1);
    publish(&mut world, &alice, "a/c", 2..=2);
    let last = token(&bob.got()[0]);
    assert_eq!(bob.follow(&mut world, 2, "a/c", Some(&last)).unwrap().start, Start::Continued);
    world.run();
    assert_eq!(bob.got_payloads(), ["2"]);
}

/// Wherever the connection ends, and on whatever worker the next one is.
#[test]
fn a_cut_at_every_place_neither_loses_nor_doubles() {
    for cut in 0..20 {
        let mut world = world(3, 100);
        let (alice, carol) = (world.toy(0), world.toy(2));
        let mut bob = world.toy(1);
        let mut last = bob.follow(&mut world, 1, "a/#", None).unwrap().token.to_string();
        let mut all = Vec::new();
        for number in 0..20 {
            let publisher = if number % 3 == 0 { &alice } else { &carol };
            publisher.publish(&mut world, "a/b", &number.to_string(), QOS0).unwrap();
            if number % 2 == 0 {
                world.run();
            }
            if number == cut {
                let got = bob.got();
                last = got.last().map_or(last, token);
                all.extend(got.into_iter().map(|got| got.payload));
                bob.vanish(&mut world);
                bob = world.toy(number as usize % 3);
                assert_eq!(bob.follow(&mut world, 1, "a/#", Some(&last)).unwrap().start, Start::Continued);
            }
        }
        world.run();
        all.extend(bob.got_payloads());
        all.sort_unstable_by_key(|payload| payload.parse::<u32>().unwrap());
        assert_eq!(all, numbers(0..20), "cut at {cut}");
    }
}

/// Two workers' clients publish, and everybody sees the same order.
#[test]
fn all_consumers_see_one_order() {
    let mut world = world(3, 1000);
    let publishers = [world.toy(0), world.toy(1)];
    let readers = [world.toy(0), world.toy(1), world.toy(2)];
    for reader in &readers {
        reader.follow(&mut world, 1, "a/#", None).unwrap();
    }
    for number in 0..200 {
        let publisher = &publishers[number % 2];
        publisher.publish(&mut world, "a", &number.to_string(), QOS0).unwrap();
        world.handle_mail(number % 3);
    }
    world.run();
    let orders = readers.each_ref().map(|reader| reader.got());
    assert_eq!(orders[0].len(), 200);
    for order in &orders[1..] {
        assert_eq!(payloads(order), payloads(&orders[0]));
        assert!(order.iter().zip(&orders[0]).all(|(one, other)| one.token == other.token));
    }
}

#[test]
fn state_comes_first_and_fits_to_what_follows() {
    let mut world = world(2, 100);
    let (alice, bob) = (world.toy(0), world.toy(1));
    retain(&mut world, &alice, "a/1", "old");
    retain(&mut world, &alice, "a/2", "kept");
    retain(&mut world, &alice, "a/1", "new");
    assert_eq!(bob.follow(&mut world, 1, "a/#", None).unwrap().start, Start::Began);
    retain(&mut world, &alice, "a/1", "newer");
    retain(&mut world, &alice, "a/2", "");
    let got = bob.got();
    assert_eq!(payloads(&got), ["new", "kept", "newer", ""]);
    assert_eq!(got.iter().map(|got| got.retain).collect::<Vec<_>>(), [true, true, false, false]);
}

/// Between the place in the ring and the search nothing is missed and nothing comes twice, however slow the reader is.
#[test]
fn what_changes_while_the_state_is_sent_comes_once() {
    let mut world = world(2, 100);
    let (alice, bob) = (world.toy(0), world.toy(1));
    for number in 0..20 {
        retain(&mut world, &alice, &format!("a/{number:02}"), "1");
    }
    world.block_after(&bob.link, 200);
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    world.run();
    for number in 0..20 {
        retain(&mut world, &alice, &format!("a/{number:02}"), "2");
    }
    world.unblock(&bob.link);
    world.run();
    let mut all: Vec<(String, String, bool)> =
        bob.got().into_iter().map(|got| (got.topic, got.payload, got.retain)).collect();
    all.dedup();
    for number in 0..20 {
        let of_topic = all.iter().filter(|(topic, ..)| *topic == format!("a/{number:02}"));
        let values: Vec<(&str, bool)> =
            of_topic.map(|(_, payload, retain)| (payload.as_str(), *retain)).collect();
        assert!(matches!(values[..], [("1", true), ("2", false)]), "{number}: {values:?}");
    }
}

/// A connection that ends before the state was sent begins with the state again, and with nothing that it has had since.
#[test]
fn a_cut_within_the_state_repeats_the_state_and_loses_nothing() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    retain(&mut world, &alice, "a/1", "one");
    retain(&mut world, &alice, "a/2", "two");
    let begun = bob.follow(&mut world, 1, "a/#", None).unwrap().token.to_string();
    world.run();
    let got = bob.got();
    assert_eq!((token(&got[0]), token(&got[1])), (begun.clone(), begun.clone()));
    bob.vanish(&mut world);
    retain(&mut world, &alice, "a/2", "three");
    publish(&mut world, &alice, "a/3", 4..=4);
    let bob = world.toy(0);
    assert_eq!(bob.follow(&mut world, 1, "a/#", Some(&begun)).unwrap().start, Start::Continued);
    world.run();
    assert_eq!(bob.got_payloads(), ["one", "three", "4"]);
}

#[test]
fn without_state_only_what_comes_is_sent() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    retain(&mut world, &alice, "a/1", "one");
    bob.follow_with(&mut world, 1, "a/#", None, |_, follow| follow.state = StateDelivery::Nothing).unwrap();
    publish(&mut world, &alice, "a/1", 2..=2);
    assert_eq!(bob.got_payloads(), ["2"]);
}

#[test]
fn who_comes_back_too_late_is_told_and_begins_anew() {
    let mut world = world(1, 3);
    let (alice, bob) = (world.toy(0), world.toy(0));
    retain(&mut world, &alice, "a/state", "s");
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    publish(&mut world, &alice, "a", 1..=1);
    let last = token(bob.got().last().unwrap());
    bob.vanish(&mut world);
    publish(&mut world, &alice, "a", 2..=4);
    let bob = world.toy(0);
    assert_eq!(bob.follow(&mut world, 1, "a/#", Some(&last)).unwrap().start, Start::Continued);
    world.run();
    assert_eq!(bob.got_payloads(), ["2", "3", "4"]);
    publish(&mut world, &alice, "a", 5..=5);
    let carol = world.toy(0);
    assert_eq!(carol.follow(&mut world, 1, "a/#", Some(&last)).unwrap().start, Start::Gap);
    world.run();
    publish(&mut world, &alice, "a", 6..=6);
    let got = carol.got();
    assert_eq!(payloads(&got), ["s", "6"]);
    assert_eq!((got[0].is_after_gap, got[1].is_after_gap), (true, false));
    let resumes = |world: &World| {
        let resumes = &world.node().metrics()[0].resumes;
        [resumes.began.get(), resumes.continued.get(), resumes.gap.get()]
    };
    assert_eq!(resumes(&world), [1, 1, 1]);
}

#[test]
fn a_token_of_another_run_or_of_nobody_is_a_gap() {
    let mut first = world(1, 100);
    let bob = first.toy(0);
    let old = bob.follow(&mut first, 1, "a/#", None).unwrap().token.to_string();
    let mut second = world(1, 100);
    let bob = second.toy(0);
    let forged = bob.follow(&mut second, 1, "a/#", None).unwrap().token;
    let ahead = tidegate_protocol::ResumeToken { position: 99, ..forged }.to_string();
    let long = "1".repeat(100_000);
    for (consumer, text) in
        [&*old, &ahead, "", "true", "x", "1-2-3", &long, "\u{0}", "-1-1-1"].iter().enumerate()
    {
        let start = bob.follow(&mut second, 2 + consumer as u32, "a/#", Some(text)).unwrap().start;
        assert_eq!(start, Start::Gap, "{text:.40}");
    }
}

/// A forged number of the retained state finds no more than there is.
#[test]
fn a_forged_state_is_no_more_than_the_state() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    retain(&mut world, &alice, "a/1", "one");
    let token = bob.follow(&mut world, 1, "a/#", None).unwrap().token;
    bob.got();
    for (consumer, state_before, expected) in [(2, u64::MAX, vec!["one"]), (3, 0, vec![])] {
        let forged = tidegate_protocol::ResumeToken { state_before: Some(state_before), ..token }.to_string();
        world.run();
        bob.got();
        bob.follow(&mut world, consumer, "a/#", Some(&forged)).unwrap();
        world.run();
        assert_eq!(bob.got_payloads(), expected);
    }
}

#[test]
fn a_client_that_is_overtaken_skips_and_is_told() {
    let mut world = world(1, 10);
    let (alice, bob) = (world.toy(0), world.toy(0));
    bob.follow_with(&mut world, 1, "a/#", None, |consume, _| {
        (consume.credit, consume.settlement) = (2, Settlement::Always);
    })
    .unwrap();
    publish(&mut world, &alice, "a", 1..=2);
    let tags: Vec<u64> = bob.got().iter().map(|got| got.tag.unwrap()).collect();
    publish(&mut world, &alice, "a", 3..=100);
    assert!(bob.got().is_empty(), "no credit");
    settle(&mut world, &bob, 1, &tags, Outcome::Accepted);
    let got = bob.got();
    assert_eq!(payloads(&got)[0].parse::<u32>().unwrap(), 91);
    assert_eq!(got.iter().map(|got| got.is_after_gap).collect::<Vec<_>>(), [true, false]);
    assert_eq!(world.node().metrics()[0].replay_overruns.get(), 1);
}

fn settle(world: &mut World, toy: &Toy, consumer: u32, tags: &[u64], outcome: Outcome) {
    use tidegate_protocol::{ConsumerId, DeliveryTag};
    let tags = tags.to_vec();
    toy.ask(world, move |broker| {
        tags.into_iter().for_each(|tag| broker.settle(ConsumerId(consumer), DeliveryTag(tag), outcome));
    });
    world.run();
}

/// Overtaken while it stands among the audience: its worker was busy elsewhere.
#[test]
fn an_audience_that_is_overtaken_is_told() {
    let mut world = world(2, 5);
    let (alice, bob) = (world.toy(0), world.toy(1));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    world.run();
    for number in 1..=20 {
        alice.publish(&mut world, "a", &number.to_string(), QOS0).unwrap();
    }
    world.run();
    let got = bob.got();
    assert_eq!(payloads(&got), ["16", "17", "18", "19", "20"]);
    assert!(got[0].is_after_gap && !got[1].is_after_gap);
    publish(&mut world, &alice, "a", 21..=21);
    assert_eq!(bob.got_payloads(), ["21"]);
}

/// A message that no ring can hold is missed, and that is told.
#[test]
fn a_message_larger_than_the_ring_leaves_a_gap() {
    let mut world = World::new(1);
    world.set_rings(vec![RingOptions { bytes_max: 1000, ..ring(&["a/#"], 10) }]);
    let (alice, bob) = (world.toy(0), world.toy(0));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    alice.publish(&mut world, "a", &"x".repeat(2000), QOS0).unwrap();
    publish(&mut world, &alice, "a", 2..=3);
    let got = bob.got();
    assert_eq!(payloads(&got), ["2", "3"]);
    assert!(got[0].is_after_gap && !got[1].is_after_gap);
}

/// A peer that reads nothing gets what the ring holds when it reads again, in order, and holds up nobody.
#[test]
fn a_slow_reader_goes_on_where_it_stopped() {
    let mut world = world(1, 100_000);
    let (alice, bob, carol) = (world.toy(0), world.toy(0), world.toy(0));
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    carol.follow(&mut world, 1, "a/#", None).unwrap();
    world.block(&bob.link);
    publish(&mut world, &alice, "a", 0..20_000);
    assert_eq!(carol.got().len(), 20_000);
    assert!(bob.got().is_empty());
    world.unblock(&bob.link);
    world.run();
    assert_eq!(bob.got_payloads(), numbers(0..20_000));
    publish(&mut world, &alice, "a", 20_000..20_001);
    assert_eq!(
        (bob.got_payloads(), carol.got_payloads()),
        (numbers(20_000..20_001), numbers(20_000..20_001))
    );
}

/// One worker's turn is short although somebody has much to look through.
#[test]
fn who_is_far_behind_does_not_hold_up_the_others() {
    let mut world = world(1, 100_000);
    let (alice, bob) = (world.toy(0), world.toy(0));
    let begun = bob.follow(&mut world, 1, "a/none", None).unwrap().token.to_string();
    publish(&mut world, &alice, "a/b", 0..10_000);
    let carol = world.toy(0);
    carol.follow(&mut world, 2, "a/none", Some(&begun)).unwrap();
    alice.publish(&mut world, "a/none", "found", QOS0).unwrap();
    world.flush_turn(0);
    assert_eq!(bob.got_payloads(), ["found"]);
    assert!(carol.got().is_empty() && world.shard(0).is_dirty());
    world.run();
    assert_eq!(carol.got_payloads(), ["found"]);
}

#[test]
fn a_delivery_that_is_given_back_comes_again_with_its_token() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    bob.follow_with(&mut world, 1, "a/#", None, |consume, _| consume.settlement = Settlement::Always)
        .unwrap();
    publish(&mut world, &alice, "a", 1..=2);
    let got = bob.got();
    settle(&mut world, &bob, 1, &[got[0].tag.unwrap()], Outcome::Released);
    publish(&mut world, &alice, "a", 3..=3);
    let again = bob.got();
    assert_eq!(payloads(&again), ["1", "3"]);
    assert_eq!((again[0].redelivered, &again[0].token), (true, &got[0].token));
}

/// The lower of both levels, and a level 0 delivery without a tag where that is all that has to be settled.
#[test]
fn the_level_is_the_lower_one() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    bob.follow_with(&mut world, 1, "a/#", None, |_, follow| follow.qos_max = QoS::AtLeastOnce).unwrap();
    for qos in [QOS0, QOS1, QOS2] {
        alice.publish(&mut world, "a", "x", qos).unwrap();
    }
    world.run();
    assert_eq!(bob.got().iter().map(|got| got.qos).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn what_has_expired_is_not_replayed() {
    let mut world = world(1, 100);
    let (alice, bob) = (world.toy(0), world.toy(0));
    let begun = bob.follow(&mut world, 1, "a/#", None).unwrap().token.to_string();
    bob.vanish(&mut world);
    let second = Some(Duration::from_secs(1));
    alice.publish_with(&mut world, "a", "short", QOS1, move |publish| publish.expiry = second).unwrap();
    publish(&mut world, &alice, "a", 2..=2);
    world.advance(MINUTE);
    let bob = world.toy(0);
    bob.follow(&mut world, 1, "a/#", Some(&begun)).unwrap();
    world.run();
    assert_eq!((bob.got_payloads(), world.dropped("expired")), (vec!["2".to_owned()], 1));
}

#[test]
fn a_client_gets_what_it_publishes_itself() {
    let mut world = world(1, 100);
    let bob = world.toy(0);
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    publish(&mut world, &bob, "a", 1..=2);
    assert_eq!(bob.got_payloads(), ["1", "2"]);
}

#[test]
fn a_filter_outside_of_the_rings_is_refused() {
    let mut world = World::new(1);
    world.set_rings(vec![ring(&["a/1"], 10), ring(&["a/#", "b"], 10)]);
    let bob = world.toy(0);
    for (consumer, text) in ["a/#", "c", "#", "$SYS/#", "a/+"].iter().enumerate() {
        let refused = bob.follow(&mut world, consumer as u32, text, None).unwrap_err();
        assert_eq!(refused, Refusal::NotInReplayRing, "{text}");
    }
    assert!(
        bob.follow(&mut world, 11, "a/2/#", None).is_ok() && bob.follow(&mut world, 12, "b", None).is_ok()
    );
    assert_eq!(world.node().gauges().subscriptions, 2);
}

/// A session has a queue of its own, and a consumer that follows already has its place.
#[test]
fn only_a_consumer_without_anything_else_follows() {
    let mut world = world(1, 10);
    let bob = world.attached(0, tidegate_testkit::pair::toy::session("bob"));
    let filter = tidegate_testkit::pair::toy::filter("a/#");
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    for consumer in [0, 1, 2] {
        let filter = filter.clone();
        let answer = bob.ask(&mut world, move |broker| {
            broker.follow(&tidegate_protocol::Follow {
                consumer: tidegate_protocol::ConsumerId(consumer),
                filter: &filter,
                qos_max: QOS1,
                state: StateDelivery::Nothing,
                from: None,
            })
        });
        assert_eq!(answer.unwrap_err(), Refusal::UnknownConsumer, "{consumer}");
    }
}

#[test]
fn a_publish_to_a_ring_that_is_followed_has_matched() {
    let mut world = world(1, 10);
    let (alice, bob) = (world.toy(0), world.toy(0));
    assert!(!alice.publish(&mut world, "a", "1", QOS1).unwrap().matched);
    bob.follow(&mut world, 1, "a/#", None).unwrap();
    assert!(alice.publish(&mut world, "a", "2", QOS1).unwrap().matched);
    bob.vanish(&mut world);
    assert!(!alice.publish(&mut world, "a", "3", QOS1).unwrap().matched);
    let gauges = world.node().gauges();
    assert!(gauges.replay_messages == 3 && gauges.replay_bytes > 3 * 100, "{gauges:?}");
}
