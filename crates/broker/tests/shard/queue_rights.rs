//! Access rules and named queues: who may fill one, who may work on it, and what a change of the rules does to it.

use crate::access::{attached_as, put, rules};
use crate::{QOS0, QOS1};
use tidegate_protocol::{CloseReason, Refusal};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

const QUEUE: &str = "$queue/orders";

#[test]
fn queues_are_allowed_by_their_names() {
    let mut world = World::new(2);
    put(
        &mut world,
        Some(rules(&["allow publish $queue/orders", "allow subscribe $queue/%u", "allow all #"])),
    );
    let [ann, orders] = ["ann", "orders"].map(|user| attached_as(&mut world, 1, user, user));
    assert_eq!(ann.subscribe_with(&mut world, QUEUE, |_| {}), Err(Refusal::NotAuthorized));
    assert!(orders.subscribe_with(&mut world, QUEUE, |_| {}).is_ok());
    assert!(ann.publish(&mut world, QUEUE, "1", QOS0).is_ok());
    let refused = ann.publish(&mut world, "$queue/other", "2", QOS1);
    assert_eq!(refused, Err(Refusal::NotAuthorized), "`#` does not mean queues");
    world.run();
    assert_eq!(orders.got_payloads(), ["1"]);
    assert_eq!(world.node().gauges().named_queues, 1, "what is refused makes no queue");
}

/// What waits does not follow the rights of one consumer: the others have it.
#[test]
fn who_may_not_consume_any_more_leaves_the_messages_to_the_others() {
    let mut world = World::new(2);
    let alice = world.toy(0);
    let [ann, bob] =
        [(0, "ann"), (1, "bob")].map(|(worker, user)| attached_as(&mut world, worker, user, user));
    ann.subscribe(&mut world, QUEUE);
    alice.publish(&mut world, QUEUE, "1", QOS1).unwrap();
    world.run();
    assert_eq!(ann.got_payloads(), ["1"]);
    bob.subscribe(&mut world, QUEUE);
    let only_bob =
        rules(&["deny subscribe $queue/%c/#", "allow publish $queue/#", "allow subscribe $queue/orders"]);
    put(&mut world, Some(only_bob));
    assert_eq!(ann.link.ended(), None, "both may still");
    put(&mut world, Some(rules(&["allow publish $queue/#"])));
    assert_eq!([&ann, &bob].map(|toy| toy.link.ended()), [Some(CloseReason::NotAuthorized); 2]);
    alice.publish(&mut world, QUEUE, "2", QOS1).unwrap();
    put(&mut world, None);
    let carol = world.attached(0, session("carol"));
    carol.subscribe(&mut world, QUEUE);
    world.run();
    let got: Vec<_> = carol.got().into_iter().map(|got| (got.payload, got.attempt)).collect();
    assert_eq!(got, [("1".to_owned(), 2), ("2".to_owned(), 1)]);
}
