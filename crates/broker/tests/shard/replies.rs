//! Reply addresses: one connection waits there, everybody who was told may send.

use crate::access::{attached_as, put, rules};
use crate::{HOUR, QOS0, QOS1, assert_nothing_is_left};
use tidegate_protocol::{Answer, CloseReason, Consume, ConsumerId, Published, Refusal, Settlement};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{Toy, filter, session, subscription};

/// What a stranger may guess.
const NOBODY: &str = "$reply/00000000000000000000000000000000/a";

fn prefix(world: &mut World, toy: &Toy) -> String {
    toy.ask(world, |broker| broker.reply_prefix()).unwrap().into()
}

/// Lets a connection wait for answers at an address, in a queue that ends with it.
fn wait_at(world: &mut World, toy: &Toy, address: &str) -> Result<(), Refusal> {
    let filter = filter(address);
    toy.ask(world, move |broker| {
        let consumer = ConsumerId(7);
        let settlement = Settlement::Automatic;
        broker.consume(Consume { consumer, credit: 10, settlement }).unwrap();
        let mut subscribe = subscription(&filter);
        subscribe.consumer = consumer;
        let subscribed = broker.subscribe(&subscribe).map(drop);
        if subscribed.is_err() {
            broker.cancel(consumer);
        }
        subscribed
    })
}

#[test]
fn an_answer_reaches_who_asked_on_every_worker() {
    for workers in 1..=2 {
        let mut world = World::new(workers);
        let asking = world.attached(0, session("asking"));
        let answering = world.attached(workers - 1, session("answering"));
        let address = prefix(&mut world, &asking) + "answers/7";
        assert_eq!(prefix(&mut world, &asking) + "answers/7", address, "it stays the same");
        assert_eq!(wait_at(&mut world, &asking, &address), Ok(()));
        let sent = answering.publish(&mut world, &address, "yes", QOS1);
        assert_eq!(sent, Ok(Published { matched: true, answer: Answer::Now }));
        world.run();
        let got = asking.got();
        assert_eq!((got.len(), &*got[0].topic, &*got[0].payload, got[0].qos), (1, &*address, "yes", 1));
        assert_eq!(answering.got(), []);
        world.end_everything(HOUR);
        assert_nothing_is_left(&world);
    }
}

/// The token is the right, and it belongs to one connection.
#[test]
fn only_the_owner_waits_at_an_address() {
    let mut world = World::new(1);
    let owner = world.attached(0, session("owner"));
    let other = world.attached(0, session("other"));
    let (own, address) = (prefix(&mut world, &other), prefix(&mut world, &owner) + "a");
    for text in
        [&*address, NOBODY, "$reply/#", "$reply/+/a", "$reply", &format!("{own}#"), &format!("{own}+"), &own]
    {
        assert_eq!(wait_at(&mut world, &other, text), Err(Refusal::NotAuthorized), "{text}");
    }
    let shared =
        other.subscribe_with(&mut world, &format!("{own}a"), |subscribe| subscribe.share = Some("g"));
    assert_eq!(shared, Err(Refusal::NotAuthorized));
    for pattern in ["#", "+/#", "+/+/a"] {
        other.subscribe(&mut world, pattern);
    }
    assert_eq!(wait_at(&mut world, &owner, &address), Ok(()));
    assert!(other.publish(&mut world, &address, "x", QOS1).is_ok());
    world.run();
    assert_eq!((owner.got().len(), other.got()), (1, vec![]));
}

/// Nothing waits where nobody is, and it is counted.
#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let mut world = World::new(2);
    let asking = world.attached(0, session("asking"));
    let answering = world.attached(1, session("answering"));
    let address = prefix(&mut world, &asking) + "a";
    let dropped = Ok(Published { matched: false, answer: Answer::Now });
    assert_eq!(answering.publish(&mut world, &address, "too early", QOS1), dropped);
    assert_eq!(answering.publish(&mut world, NOBODY, "to nobody", QOS0), dropped);
    assert_eq!(wait_at(&mut world, &asking, &address), Ok(()));
    assert_eq!(
        answering.publish(&mut world, &address, "now", QOS1),
        Ok(Published { matched: true, answer: Answer::Now })
    );
    world.run();
    assert_eq!(asking.got_payloads(), ["now"]);
    asking.fail(&mut world, CloseReason::PeerClosed);
    assert_eq!(answering.publish(&mut world, &address, "too late", QOS1), dropped);
    assert_eq!(world.dropped("no_receiver"), 3);
}

/// An answer is for whoever asked, not for who comes later.
#[test]
fn nothing_is_retained_at_an_address() {
    let mut world = World::new(1);
    let toy = world.attached(0, session("a"));
    let address = prefix(&mut world, &toy) + "a";
    assert_eq!(wait_at(&mut world, &toy, &address), Ok(()));
    let retained = toy.publish_with(&mut world, &address, "x", QOS1, |publish| publish.retain = true);
    assert_eq!(retained, Err(Refusal::ReplyRetain));
    assert_eq!((toy.got(), world.node().gauges().retained_messages), (vec![], 0));
    assert_eq!(world.dropped("retain_refused"), 1);
}

/// What is below `$reply` and no address is the gateway's own, as everything that begins with `$`.
#[test]
fn malformed_addresses_stay_reserved() {
    let mut world = World::new(1);
    let toy = world.attached(0, session("a"));
    for topic in ["$reply", "$reply/t", "$reply//a", "$reply/t/"] {
        assert_eq!(toy.publish(&mut world, topic, "x", QOS1), Err(Refusal::ReservedTopic), "{topic}");
    }
}

/// Whoever was told the address may use it, whatever the rules say about topics.
#[test]
fn rules_do_not_reach_reply_addresses() {
    let mut world = World::new(2);
    put(&mut world, Some(rules(&["deny all $reply/#", "allow all allowed"])));
    let asking = attached_as(&mut world, 0, "ann", "a");
    let answering = attached_as(&mut world, 1, "bob", "b");
    let address = prefix(&mut world, &asking) + "a";
    assert_eq!(wait_at(&mut world, &asking, &address), Ok(()));
    assert_eq!(
        answering.publish(&mut world, &address, "1", QOS1),
        Ok(Published { matched: true, answer: Answer::Now })
    );
    world.run();
    put(&mut world, Some(rules(&["deny all #"])));
    assert_eq!(
        answering.publish(&mut world, &address, "2", QOS1),
        Ok(Published { matched: true, answer: Answer::Now })
    );
    world.run();
    assert_eq!((asking.got_payloads(), asking.link.ended()), (vec!["1".to_owned(), "2".to_owned()], None));
}
