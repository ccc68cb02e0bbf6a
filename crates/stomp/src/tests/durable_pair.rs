//! Durable subscriptions on a real broker with two workers.

use crate::{Stomp, StompOptions};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_protocol::{CloseReason, Connection, Protocol};
use tidegate_testkit::pair::toy::{Toy, session};
use tidegate_testkit::pair::{Link, World};
use tidegate_testkit::script::peer;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Two workers, and a client that publishes.
fn world() -> (World, Toy) {
    let mut world = World::with_protocols(2, Default::default(), vec!["toy", "stomp"]);
    let alice = world.attached(0, session("alice"));
    (world, alice)
}

fn publish(world: &mut World, alice: &Toy, payload: &str) {
    alice.publish(world, "a/b", payload, QoS::AtLeastOnce).unwrap();
    world.run();
}

fn machine(world: &World) -> Box<dyn Connection> {
    Stomp::new(StompOptions::default()).open(&peer(world.now), world.now)
}

/// Opens the connection of an anonymous client on a worker.
fn connect(world: &mut World, worker: usize, client_id: &str) -> Link {
    let link = world.connect(worker, 1, machine(world));
    say(world, &link, &format!("CONNECT\naccept-version:1.2\nclient-id:{client_id}\n\n\0"));
    link
}

/// The same for a client that has proved to be this user.
fn connect_as(world: &mut World, worker: usize, user: &str, client_id: &str) -> Link {
    let link = world.connect_as(worker, 1, user, machine(world));
    say(world, &link, &format!("CONNECT\naccept-version:1.2\nclient-id:{client_id}\n\n\0"));
    link
}

/// The client sends a frame. Returns what it is answered and what comes by itself.
fn say(world: &mut World, link: &Link, frame: &str) -> String {
    world.send(link, frame.as_bytes());
    world.run();
    String::from_utf8(link.take_received()).unwrap()
}

fn subscribe(world: &mut World, link: &Link, id: &str) -> String {
    let frame = format!(
        "SUBSCRIBE\nid:{id}\ndestination:/topic/a/+\ndurable:true\nack:client-individual\nreceipt:r\n\n\0"
    );
    say(world, link, &frame)
}

/// The bodies of all messages, those that come again with a `+` in front.
fn bodies(received: &str) -> Vec<String> {
    let messages = received.split('\0').filter(|frame| frame.starts_with("MESSAGE\n"));
    let body = |frame: &str| {
        let again = if frame.contains("\nredelivered:true\n") { "+" } else { "" };
        format!("{again}{}", frame.split_once("\n\n").unwrap().1)
    };
    messages.map(body).collect()
}

fn ack_ids(received: &str) -> Vec<String> {
    let ids = received.lines().filter_map(|line| line.strip_prefix("ack:"));
    ids.map(str::to_owned).collect()
}

/// First what was unsettled, then what waited, then what is live; the receipt is in front of all of it.
#[test]
fn what_was_unsettled_and_what_waited_come_to_the_next_connection() {
    for worker in [0, 1] {
        let (mut world, alice) = world();
        let bob = connect(&mut world, 1, "bob");
        subscribe(&mut world, &bob, "s");
        ["1", "2", "3"].iter().for_each(|payload| publish(&mut world, &alice, payload));
        let received = String::from_utf8(bob.take_received()).unwrap();
        assert_eq!(bodies(&received), ["1", "2", "3"]);
        say(&mut world, &bob, &format!("ACK\nid:{}\n\n\0", ack_ids(&received)[1]));
        say(&mut world, &bob, "DISCONNECT\n\n\0");
        publish(&mut world, &alice, "4");
        let bob = connect(&mut world, worker, "bob");
        let received = subscribe(&mut world, &bob, "s");
        assert!(received.starts_with("RECEIPT\nreceipt-id:r\n\n\0MESSAGE\n"), "{received}");
        assert_eq!(bodies(&received), ["+1", "+3", "4"], "worker {worker}");
        for id in ack_ids(&received) {
            say(&mut world, &bob, &format!("ACK\nid:{id}\n\n\0"));
        }
        publish(&mut world, &alice, "5");
        assert_eq!(bodies(&String::from_utf8(bob.take_received()).unwrap()), ["5"]);
        world.close(&bob, CloseReason::PeerClosed);
        let bob = connect(&mut world, worker, "bob");
        assert_eq!(bodies(&subscribe(&mut world, &bob, "s")), ["+5"]);
    }
}

/// The same pair of names closes the other connection, on whatever worker; other pairs are others.
#[test]
fn the_same_pair_on_another_connection_takes_over() {
    for worker in [0, 1] {
        let (mut world, alice) = world();
        let [bob, carol] = ["bob", "carol"].map(|name| connect(&mut world, 1, name));
        subscribe(&mut world, &bob, "s");
        subscribe(&mut world, &bob, "t");
        subscribe(&mut world, &carol, "s");
        publish(&mut world, &alice, "1");
        let again = connect(&mut world, worker, "bob");
        let frames = "SEND\ndestination:/topic/a/b\nreceipt:2\n\n2\0";
        world.send(&again, frames.as_bytes());
        let received = subscribe(&mut world, &again, "s");
        assert_eq!(bob.ended(), Some(CloseReason::SessionTakenOver));
        let last_words = String::from_utf8(bob.take_received()).unwrap();
        let text = "another connection of this client has taken a durable subscription over";
        assert!(
            last_words.contains("\0ERROR\n") && last_words.ends_with(&format!("{text}\0")),
            "{last_words}"
        );
        assert_eq!(bodies(&received), ["+1", "+2"], "worker {worker}");
        assert!(received.find("receipt-id:2") < received.find("receipt-id:r"), "{received}");
        assert_eq!(bodies(&subscribe(&mut world, &again, "t")), ["+1", "+2"]);
        assert!(!carol.is_ended());
        assert_eq!(bodies(&String::from_utf8(carol.take_received()).unwrap()), ["1", "2"]);
    }
}

/// A plain UNSUBSCRIBE keeps what comes; one with `durable:true` ends it, from whatever connection.
#[test]
fn unsubscribe_keeps_and_delete_ends() {
    let (mut world, alice) = world();
    let bob = connect(&mut world, 1, "bob");
    subscribe(&mut world, &bob, "s");
    say(&mut world, &bob, "UNSUBSCRIBE\nid:s\n\n\0");
    publish(&mut world, &alice, "1");
    assert_eq!(bob.take_received(), b"");
    assert_eq!(bodies(&subscribe(&mut world, &bob, "s")), ["1"]);
    let other = connect(&mut world, 0, "bob");
    let answer = say(&mut world, &other, "UNSUBSCRIBE\nid:s\ndurable:true\nreceipt:u\n\n\0");
    assert_eq!(answer, "RECEIPT\nreceipt-id:u\n\n\0");
    assert!(bob.is_ended());
    let gauges = world.node().gauges();
    assert_eq!((gauges.sessions, gauges.subscriptions, gauges.queued_messages), (1, 0, 0));
    publish(&mut world, &alice, "2");
    assert_eq!(bodies(&subscribe(&mut world, &other, "s")), [""; 0]);
}

/// The last values come to a new subscription only, or where they are asked for; what waits comes behind them.
#[test]
fn the_state_comes_once() {
    let (mut world, alice) = world();
    alice
        .publish_with(&mut world, "a/b", "state", QoS::AtLeastOnce, |publish| publish.retain = true)
        .unwrap();
    let bob = connect(&mut world, 1, "bob");
    let received = subscribe(&mut world, &bob, "s");
    assert_eq!((bodies(&received), received.contains("\nretained:true\n")), (vec!["state".to_owned()], true));
    say(&mut world, &bob, &format!("ACK\nid:{}\n\n\0", ack_ids(&received)[0]));
    say(&mut world, &bob, "DISCONNECT\n\n\0");
    publish(&mut world, &alice, "late");
    let bob = connect(&mut world, 1, "bob");
    assert_eq!(bodies(&subscribe(&mut world, &bob, "s")), ["late"]);
    say(&mut world, &bob, "UNSUBSCRIBE\nid:s\n\n\0");
    let frame = "SUBSCRIBE\nid:s\ndestination:/topic/a/+\ndurable:true\nretained:true\n\n\0";
    assert_eq!(bodies(&say(&mut world, &bob, frame)), ["+late", "state"]);
}

/// Another destination under the same names: what waits of the old one comes, what is published to it from now on does not.
#[test]
fn another_destination_keeps_what_waits() {
    let (mut world, alice) = world();
    let bob = connect(&mut world, 1, "bob");
    subscribe(&mut world, &bob, "s");
    say(&mut world, &bob, "DISCONNECT\n\n\0");
    publish(&mut world, &alice, "old");
    let bob = connect(&mut world, 0, "bob");
    let frame = "SUBSCRIBE\nid:s\ndestination:/topic/c\ndurable:true\n\n\0";
    assert_eq!(bodies(&say(&mut world, &bob, frame)), ["old"]);
    publish(&mut world, &alice, "gone");
    alice.publish(&mut world, "c", "new", QoS::AtLeastOnce).unwrap();
    world.run();
    assert_eq!(bodies(&String::from_utf8(bob.take_received()).unwrap()), ["new"]);
    assert_eq!(world.node().gauges().subscriptions, 1);
}

/// The option `durable_expiry`: after that time without a connection nothing is left.
#[test]
fn nobody_comes_back_and_it_ends() {
    let (mut world, alice) = world();
    let bob = connect(&mut world, 1, "bob");
    subscribe(&mut world, &bob, "s");
    world.close(&bob, CloseReason::PeerClosed);
    publish(&mut world, &alice, "1");
    world.advance(WEEK - Duration::from_secs(1));
    assert_eq!(world.node().gauges().sessions, 2);
    world.advance(Duration::from_secs(1));
    let gauges = world.node().gauges();
    assert_eq!((gauges.sessions, gauges.queued_messages, world.dropped("session_ended")), (1, 0, 1));
}

/// A message that is put back comes again to the same connection, before what has not been delivered yet.
#[test]
fn a_nack_brings_the_message_again() {
    let (mut world, alice) = world();
    let bob = connect(&mut world, 1, "bob");
    subscribe(&mut world, &bob, "s");
    publish(&mut world, &alice, "1");
    let received = String::from_utf8(bob.take_received()).unwrap();
    let again = say(&mut world, &bob, &format!("NACK\nid:{}\n\n\0", ack_ids(&received)[0]));
    assert_eq!(bodies(&again), ["+1"]);
    assert_eq!(world.dropped("rejected"), 0);
}

/// A user's subscription is no other's: it can neither be had nor deleted, and its holder notices nothing.
#[test]
fn another_user_has_no_part_in_it() {
    for worker in [0, 1] {
        let (mut world, alice) = world();
        let bob = connect_as(&mut world, 1, "bob", "service");
        subscribe(&mut world, &bob, "s");
        let eve = connect_as(&mut world, worker, "eve", "service");
        assert!(subscribe(&mut world, &eve, "s").contains("\nmessage:not authorized\n"));
        let eve = connect_as(&mut world, worker, "eve", "service");
        let answer = say(&mut world, &eve, "UNSUBSCRIBE\nid:s\ndurable:true\n\n\0");
        assert!(answer.contains("\nmessage:not authorized\n"), "{answer}");
        publish(&mut world, &alice, "1");
        assert_eq!(bodies(&String::from_utf8(bob.take_received()).unwrap()), ["1"]);
    }
}
