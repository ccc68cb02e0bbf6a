//! The time that a client may take for its acknowledgements: the listener option `ack_timeout`.

use crate::client::Client;
use crate::packets::{V5, VERSIONS, connect, disconnect, puback, pubcomp, pubrec, pubrel};
use std::time::Duration;
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{Property, ReasonCode, Version};
use tidegate_protocol::{Attached, Attachment, WillAction};
use tidegate_testkit::script::parcel;

fn options() -> MqttOptions {
    MqttOptions { ack_timeout: "10s".parse().ok(), ..MqttOptions::default() }
}

fn client(version: Version) -> Client {
    Client::connected_with(connect(version), options())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The connection has ended because of it; a client of MQTT 5.0 was told that a limit was passed, an older one nothing.
#[track_caller]
fn is_let_go(client: &mut Client) {
    assert_eq!(client.harness.close_label(), Some("ack_timeout"));
    let words = [Property::ReasonString("a message was not acknowledged for 10 s")];
    match client.version {
        Version::V5 => client.receives([disconnect(V5, ReasonCode::QuotaExceeded, &words)]),
        Version::V31 | Version::V3 => client.receives_nothing(),
    };
    assert_eq!(client.detached().1, WillAction::Publish);
}

/// Section 4.4: a server does not send again on the same connection, so a client that forgot a message is let go.
#[test]
fn client_that_does_not_acknowledge_is_let_go() {
    for version in VERSIONS {
        for parcel in [parcel("a", "x").at_least_once(1), parcel("a", "x").exactly_once(1)] {
            let mut client = client(version);
            client.harness.advance(seconds(100));
            client.delivers(parcel).harness.take_output();
            client.harness.advance(Duration::from_millis(9_999));
            assert_eq!(client.harness.closed(), None);
            client.harness.advance(Duration::from_millis(1));
            is_let_go(&mut client);
        }
    }
}

/// An acknowledgement that has arrived and was not read yet is not late; where it was none, the client is let go a little later.
#[test]
fn unread_acknowledgements_are_waited_for() {
    for version in VERSIONS {
        for acknowledges in [true, false] {
            let mut client = client(version);
            client.delivers(parcel("a", "x").at_least_once(1)).harness.take_output();
            client.harness.advance(Duration::from_millis(9_999)).has_unread_bytes();
            client.harness.advance(Duration::from_millis(500));
            assert_eq!(client.harness.closed(), None);
            if acknowledges {
                client.sends(puback(1)).harness.advance(seconds(100));
                assert_eq!(client.harness.closed(), None);
            } else {
                client.harness.advance(Duration::from_millis(500));
                is_let_go(&mut client);
            }
        }
    }
}

/// Each step of a QoS 2 exchange has its own time.
#[test]
fn pubcomp_has_its_own_time() {
    for version in VERSIONS {
        let mut client = client(version);
        client.delivers(parcel("a", "x").exactly_once(1)).harness.advance(seconds(9));
        client.sends(pubrec(1)).harness.take_output();
        client.harness.advance(seconds(9));
        // Saying the same again is no progress.
        client.sends(pubrec(1)).receives([pubrel(1)]);
        client.harness.advance(Duration::from_millis(999));
        assert_eq!(client.harness.closed(), None);
        client.harness.advance(Duration::from_millis(101));
        is_let_go(&mut client);
    }
}

/// The oldest message counts, whatever else is acknowledged meanwhile.
#[test]
fn the_oldest_message_counts() {
    for version in VERSIONS {
        let mut client = client(version);
        client.delivers(parcel("a", "x").at_least_once(1));
        for number in 2..12_u16 {
            client.harness.advance(Duration::from_millis(900));
            client.delivers(parcel("a", "x").at_least_once(number.into())).sends(puback(number));
        }
        client.harness.take_output();
        assert_eq!(client.harness.closed(), None);
        client.harness.advance(seconds(1));
        is_let_go(&mut client);
    }
}

/// A client that acknowledges in time stays for ever, and costs no timer while nothing is in flight.
#[test]
fn client_that_acknowledges_in_time_stays() {
    for version in VERSIONS {
        let mut client = client(version);
        for round in 0..100_u64 {
            client.delivers(parcel("a", "x").at_least_once(2 * round + 1));
            client.harness.advance(seconds(5));
            client.delivers(parcel("a", "x").exactly_once(2 * round + 2));
            let first = 2 * round as u16 + 1;
            client.sends([puback(first), pubrec(first + 1), pubcomp(first + 1)].concat());
            client.harness.advance(seconds(3));
        }
        client.harness.advance(seconds(1000));
        assert_eq!(client.harness.closed(), None);
        assert_eq!(client.harness.connection().next_timeout(), None);
    }
}

/// Nothing is asked of QoS 0, and nothing where the option is not set.
#[test]
fn only_what_wants_an_acknowledgement_counts() {
    let mut client = client(V5);
    client.delivers(parcel("a", "x")).harness.advance(seconds(1000));
    assert_eq!(client.harness.closed(), None);
    let mut client = Client::connected(V5);
    client.delivers(parcel("a", "x").at_least_once(1)).harness.advance(seconds(1_000_000));
    assert_eq!(client.harness.closed(), None);
}

/// [MQTT-4.4.0-1]: after a reconnect the time begins with the packet that is sent again, not before.
#[test]
fn resumed_messages_have_their_time_again() {
    for version in VERSIONS {
        let mut before = Client::connected(version);
        before.delivers(parcel("a", "1").at_least_once(1)).delivers(parcel("a", "2").exactly_once(2));
        before.sends(pubrec(2));
        let (saved, _) = before.is_lost();

        let mut client = Client::silent_with(version, options());
        let attached =
            Attached { present: true, saved: vec![saved], expiry: Duration::MAX, is_durable: false };
        client.harness.broker.attachments.push_back(Attachment::Now(attached));
        client.sends(connect(version).continued().bytes());
        client.harness.advance(seconds(9));
        client.sends(pubcomp(2));
        // The other one has not been sent again yet: the window may be smaller than it was.
        client.harness.advance(seconds(100));
        assert_eq!(client.harness.closed(), None);
        client.delivers(parcel("a", "1").at_least_once(1).redelivered()).harness.take_output();
        client.harness.advance(seconds(9));
        assert_eq!(client.harness.closed(), None);
        client.harness.advance(seconds(1));
        is_let_go(&mut client);
    }
}
