//! A session over several connections: what is sent again, under which identifier, and what is not (section 4.4).

use crate::client::Client;
use crate::packets::{
    V5, VERSIONS, connect, delivered, delivered_1, delivered_2, id, puback, pubcomp, publish_2, pubrec,
    pubrel,
};
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{Property, Version};
use tidegate_protocol::{Attached, Attachment, ConsumerId, DeliveryTag, Outcome, Refused, SavedState};
use tidegate_testkit::script::{Request, parcel};

fn settled(tag: u64, outcome: Outcome) -> Request {
    Request::Settle { consumer: ConsumerId(0), tag: DeliveryTag(tag), outcome }
}

fn lasting(version: Version) -> Client {
    let script = connect(version).continued();
    Client::connected_by(match version {
        Version::V5 => script.with(Property::SessionExpiryInterval(u32::MAX)),
        Version::V31 | Version::V3 => script,
    })
}

/// A message that comes again under its identifier.
fn again(version: Version, qos: QoS, number: u16, payload: &str) -> Vec<u8> {
    delivered(version, "a", payload, |publish| {
        (publish.qos, publish.packet_id, publish.dup) = (qos, Some(id(number)), true);
    })
}

/// Leaves behind: 1 wants PUBACK (tag 10), 2 wants PUBREC (tag 11), 3 wants PUBCOMP (tag 12), 4 wants PUBACK (tag 13).
fn interrupted(version: Version) -> SavedState {
    let mut client = lasting(version);
    client.delivers(parcel("a", "10").at_least_once(10)).delivers(parcel("a", "11").exactly_once(11));
    client.delivers(parcel("a", "12").exactly_once(12)).delivers(parcel("a", "13").at_least_once(13));
    client.sends(pubrec(3));
    client.is_lost().0
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/3.3.1-1]
/// [MQTT-3.1.1/4.3.2-1] [MQTT-3.1.1/4.3.3-1]: unacknowledged messages come again under their identifiers with DUP, PUBREL
/// right behind CONNACK.
#[test]
fn interrupted_exchanges_go_on() {
    for version in VERSIONS {
        let mut client = Client::continues(version, interrupted(version));
        let output = client.harness.take_output();
        assert!(output.ends_with(&pubrel(3)));
        client.delivers(parcel("a", "10").at_least_once(10).redelivered());
        client.delivers(parcel("a", "11").exactly_once(11).redelivered());
        client.delivers(parcel("a", "12").exactly_once(12).redelivered());
        client.delivers(parcel("a", "13").at_least_once(13).redelivered());
        client.delivers(parcel("a", "14").at_least_once(14));
        client.receives([
            again(version, QoS::AtLeastOnce, 1, "10"),
            again(version, QoS::ExactlyOnce, 2, "11"),
            again(version, QoS::AtLeastOnce, 4, "13"),
            delivered_1(version, 5, "a", "14"),
        ]);
        client.sends([pubcomp(3), puback(4), pubrec(2), puback(1), puback(5), pubcomp(2)].concat());
        client.receives([pubrel(2)]);
        client.asks([12, 13, 10, 14, 11].map(|tag| settled(tag, Outcome::Accepted)));
    }
}

/// [MQTT-4.3.3-6] [MQTT-3.1.1/4.3.3-1]: a message whose PUBCOMP came before it was delivered again is not sent again.
#[test]
fn exchange_that_ends_before_its_redelivery_is_not_begun_again() {
    for version in VERSIONS {
        let mut client = Client::continues(version, interrupted(version));
        client.sends(pubcomp(3)).asks([settled(12, Outcome::Accepted)]);
        client.harness.take_output();
        client.delivers(parcel("a", "12").exactly_once(12).redelivered()).receives_nothing();
        client.harness.handle_timeout();
        client.asks([settled(12, Outcome::Accepted)]);
    }
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/2.3.1-4]: found by their tags, whatever order their identifiers have.
#[test]
fn identifiers_need_not_follow_the_tags() {
    for version in VERSIONS {
        let mut client = lasting(version);
        for tag in [13, 12, 11, 10] {
            client.delivers(parcel("a", "x").at_least_once(tag));
        }
        let (saved, _) = client.is_lost();
        let mut client = Client::continues(version, saved);
        client.is_accepted();
        for tag in [10, 11, 12, 13] {
            client.delivers(parcel("a", "x").at_least_once(tag).redelivered());
        }
        client.receives([4, 3, 2, 1].map(|number| again(version, QoS::AtLeastOnce, number, "x")));
    }
}

/// A message that the broker has dropped meanwhile: its identifier is free with QoS 1; with QoS 2 the client ends the exchange
/// first. What comes instead is a new message, even where it has a tag that was used before.
#[test]
fn vanished_messages_free_their_identifiers() {
    for version in VERSIONS {
        for tag in [10, 11, 12, 20] {
            let mut client = Client::continues(version, interrupted(version));
            client.harness.take_output();
            client.delivers(parcel("a", "new").exactly_once(tag));
            client.receives([delivered_2(version, 5, "a", "new"), pubrel(2)]);
            client.sends([pubrec(2), pubcomp(2), pubcomp(3), puback(1), puback(4)].concat());
            client.receives([pubrel(2)]).asks([]);
            client.sends([pubrec(5), pubcomp(5)].concat()).asks([settled(tag, Outcome::Accepted)]);
            assert_eq!(client.is_lost().0, b"");
        }
    }
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1]: PUBREL is repeated for an exchange whose message has vanished, and settles
/// nothing.
#[test]
fn vanished_exchanges_survive_another_connection() {
    for version in VERSIONS {
        let mut client = Client::continues(version, interrupted(version));
        client.delivers(parcel("a", "new").at_least_once(20));
        client.sends(puback(5));
        let (saved, _) = client.is_lost();
        let mut client = Client::continues(version, saved);
        assert!(client.harness.take_output().ends_with(&[pubrel(2), pubrel(3)].concat()));
        client.delivers(parcel("a", "new").at_least_once(1)).receives([delivered_1(version, 4, "a", "new")]);
        client.delivers(parcel("a", "x").at_least_once(11).redelivered());
        client.receives([delivered_1(version, 5, "a", "x")]);
        client.sends([pubcomp(2), pubcomp(3)].concat()).asks([]);
    }
}

/// [MQTT-3.1.2-24] [MQTT-4.3.3-1]: a QoS 2 message that is too large for the next connection cannot be sent again; its identifier is not
/// given to another message before the client has been told to forget it.
#[test]
fn message_that_became_too_large_keeps_its_identifier() {
    let mut client = lasting(V5);
    client
        .delivers(parcel("a", "x".repeat(100)).exactly_once(1))
        .delivers(parcel("a", "x".repeat(100)).at_least_once(2));
    let (saved, _) = client.is_lost();
    let mut client = Client::silent(V5);
    let attached =
        |saved| Attached { present: true, saved: vec![saved], expiry: Duration::MAX, is_durable: false };
    client.harness.broker.attachments.push_back(Attachment::Now(attached(saved)));
    client.sends(connect(V5).continued().packet_bytes_max(50).bytes()).is_accepted();
    for parcel in
        [parcel("a", "x".repeat(100)).exactly_once(1), parcel("a", "x".repeat(100)).at_least_once(2)]
    {
        assert_eq!(client.harness.deliver(&parcel.redelivered()), Err(Refused::TooLargeForPeer));
    }
    client.delivers(parcel("a", "y").exactly_once(3)).receives([delivered_2(V5, 3, "a", "y")]);
    client.harness.take_requests();
    let (saved, _) = client.is_lost();
    let mut client = Client::continues(V5, saved);
    assert!(client.harness.take_output().ends_with(&pubrel(1)));
    client.sends(pubcomp(1)).asks([]);
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1]: the state lasts over as many connections as it takes.
#[test]
fn exchanges_survive_several_connections() {
    for version in VERSIONS {
        let saved = interrupted(version);
        let mut client = Client::continues(version, saved.clone());
        assert_eq!(client.is_lost().0, saved);
        let mut client = Client::continues(version, saved.clone());
        client.delivers(parcel("a", "10").at_least_once(10).redelivered());
        assert_eq!(client.is_lost().0, saved);
    }
}

/// [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2] [MQTT-3.1.1/4.1.0-1] and section 4.1: the receiver remembers over the end of the
/// connection.
#[test]
fn qos_2_is_published_once_over_two_connections() {
    for version in VERSIONS {
        let mut client = lasting(version);
        client.sends([publish_2(version, 7, "a", "x"), publish_2(version, 8, "a", "y")].concat());
        let (saved, _) = client.is_lost();
        let mut client = Client::continues(version, saved);
        client.harness.take_output();
        client.sends([publish_2(version, 7, "a", "x"), pubrel(7), pubrel(8)].concat());
        client.receives([pubrec(7), pubcomp(7), pubcomp(8)]).asks([]);
        assert_eq!(client.is_lost().0, b"");
    }
}

/// [MQTT-3.1.2-4] [MQTT-3.2.2-2]: a session that begins anew has no past.
#[test]
fn new_session_ignores_what_was_saved() {
    let saved = interrupted(V5);
    let mut client = Client::silent(V5);
    let attached = tidegate_protocol::Attached {
        present: false,
        saved: vec![saved],
        expiry: std::time::Duration::ZERO,
        is_durable: false,
    };
    client.harness.broker.attachments.push_back(tidegate_protocol::Attachment::Now(attached));
    client.sends(connect(V5).bytes()).is_accepted();
    client.delivers(parcel("a", "x").at_least_once(10)).receives([delivered_1(V5, 1, "a", "x")]);
}

/// Bytes that nobody wrote: the session goes on without them, and what was sent before is sent as new ([MQTT-4.3.2-2]).
#[test]
fn damaged_state_is_left_behind() {
    for version in VERSIONS {
        let mut client = Client::continues(version, b"\x01\xff\xff damaged".to_vec());
        client.is_accepted();
        client.delivers(parcel("a", "x").at_least_once(10).redelivered());
        client.receives([delivered_1(version, 1, "a", "x")]);
    }
}

/// [MQTT-4.4.0-1] [MQTT-3.1.1/4.4.0-1] [MQTT-3.1.1/4.6.0-6]: in the order in which they were first sent, also around the
/// end of the identifiers.
#[test]
fn pubrels_are_repeated_in_their_order() {
    for version in VERSIONS {
        let mut client = lasting(version);
        for tag in 0..65_533_u64 {
            client.delivers(parcel("a", "x").at_least_once(tag));
            client.sends(puback(tag as u16 + 1));
            client.harness.take_output();
        }
        for tag in 0..4 {
            client.delivers(parcel("a", "x").exactly_once(70_000 + tag));
        }
        client.sends([pubrec(2), pubrec(65_534), pubrec(1), pubrec(65_535)].concat());
        let (saved, _) = client.is_lost();
        let mut client = Client::continues(version, saved);
        let output = client.harness.take_output();
        assert!(output.ends_with(&[pubrel(65_534), pubrel(65_535), pubrel(1), pubrel(2)].concat()));
    }
}
