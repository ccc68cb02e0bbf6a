//! What one publisher sends reaches each member of a group, and each consumer of a named queue, in the order of its sending.

use crate::queues::{consume, consumer, settle, subscriber};
use crate::sharing::member;
use crate::{QOS0, QOS1};
use tidegate_protocol::Outcome;
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::session;

/// A member of another worker has no room for what it is offered, which then waits while newer messages arrive.
#[test]
fn what_was_offered_to_another_worker_is_not_overtaken() {
    for group in ["a", "$queue/orders"] {
        let mut world = World::new(2);
        let alice = world.attached(0, session("alice"));
        let [here, there] = [(0, 100), (1, 1)].map(|(worker, credit)| {
            let attaching = session(&worker.to_string()).credit(credit);
            match group {
                "a" => member(&mut world, worker, attaching),
                _ => subscriber(&mut world, worker, &worker.to_string(), credit),
            }
        });
        for number in 0..9 {
            alice.publish(&mut world, group, &number.to_string(), QOS1).unwrap();
        }
        world.run();
        let (here, there) = (here.got_payloads(), there.got_payloads());
        assert!(here.is_sorted(), "{group}: {here:?}");
        assert_eq!((here.len(), there.len()), (8, 1), "{group}");
    }
}

/// What a client with little credit sends to itself does not come back behind what another consumer was given since.
#[test]
fn what_a_consumer_sends_itself_is_not_overtaken() {
    let mut world = World::new(1);
    let both = world.toy(0);
    consume(&mut world, &both, 1);
    let other = consumer(&mut world, 0, 10);
    both.ask(&mut world, |broker| {
        for number in 0..8 {
            let payload = number.to_string();
            broker.publish(&tidegate_testkit::pair::toy::message("$queue/orders", &payload, QOS0)).unwrap();
        }
    });
    world.run();
    settle(&mut world, &both, 1, Outcome::Accepted);
    let (own, others) = (both.got_payloads(), other.got_payloads());
    assert!(own.is_sorted() && others.is_sorted(), "{own:?} {others:?}");
    assert_eq!(own.len() + others.len(), 8);
}
