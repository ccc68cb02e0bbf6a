//! Keep alive, DISCONNECT and every other way in which a connection ends: sections 3.12 to 3.14 and 4.13.

use crate::client::Client;
use crate::packets::{PINGREQ, PINGRESP, V3, V5, VERSIONS, connect, disconnect, publish, will};
use std::time::Duration;
use tidegate_message::ByteSize;
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{Property, ReasonCode, Version};
use tidegate_protocol::{Close, CloseReason, ConsumerId, WillAction};
use tidegate_testkit::script::Request;

/// [MQTT-3.12.4-1] [MQTT-3.1.1/3.12.4-1]
#[test]
fn pingreq_is_answered_by_pingresp() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(PINGREQ).receives([PINGRESP.to_vec()]);
    }
}

/// [MQTT-3.1.2-22] [MQTT-3.1.2-20] [MQTT-3.1.1/3.1.2-24] [MQTT-3.1.1/3.1.2-23]
#[test]
fn silence_beyond_one_and_a_half_keep_alives_closes() {
    for version in VERSIONS {
        let mut client = Client::connected_by(connect(version).keep_alive(10).will(will("w")));
        client.harness.advance(Duration::from_secs(14));
        client.sends(PINGREQ).receives([PINGRESP.to_vec()]);
        client.harness.advance(Duration::from_secs(14));
        client.sends(publish(version, "a", "x")).harness.take_requests();
        client.harness.advance(Duration::from_secs(14));
        assert_eq!(client.harness.closed(), None);
        client.harness.advance(Duration::from_secs(1));
        client.is_disconnected(ReasonCode::KeepAliveTimeout);
        assert_eq!(client.detached().1, WillAction::Publish);
    }
}

/// [MQTT-3.1.2-22]: an incomplete packet is no sign of life.
#[test]
fn half_a_packet_does_not_count_as_life() {
    let mut client = Client::connected_by(connect(V5).keep_alive(10));
    client.harness.advance(Duration::from_secs(14));
    client.sends(&PINGREQ[..1]);
    client.harness.advance(Duration::from_secs(1));
    client.is_disconnected(ReasonCode::KeepAliveTimeout);
}

/// [MQTT-3.1.2-22] [MQTT-3.1.1/3.1.2-24]: what has arrived and was not read yet may be a packet.
#[test]
fn unread_bytes_are_signs_of_life() {
    for version in VERSIONS {
        let mut client = Client::connected_by(connect(version).keep_alive(10));
        for _ in 0..3 {
            client.harness.advance(Duration::from_secs(14)).has_unread_bytes();
        }
        assert_eq!(client.harness.close_label(), None);
        client.harness.advance(Duration::from_secs(15));
        assert_eq!(client.harness.close_label(), Some("keep_alive_timeout"));
    }
}

/// Section 3.1.2.10: 0 switches it off.
#[test]
fn keep_alive_of_zero_is_off() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        assert_eq!(client.harness.connection().next_timeout(), None);
        client.harness.advance(Duration::from_secs(1_000_000));
        assert_eq!(client.harness.closed(), None);
    }
}

/// The contract of timeouts: called early, nothing happens.
#[test]
fn early_timeout_does_nothing() {
    let mut client = Client::connected_by(connect(V5).keep_alive(10));
    client.harness.handle_timeout();
    assert_eq!(client.harness.closed(), None);
    client.receives_nothing();
}

/// [MQTT-3.14.4-3] [MQTT-3.1.2-10] [MQTT-3.1.1/3.14.4-3] [MQTT-3.1.1/3.1.2-10]
#[test]
fn normal_disconnect_discards_the_will() {
    for version in VERSIONS {
        let mut client = Client::connected_by(connect(version).will(will("w")));
        client.sends(disconnect(version, ReasonCode::Success, &[])).receives_nothing();
        assert_eq!(client.harness.closed(), Some(&Close::from(CloseReason::Disconnected)));
        client.asks([Request::Detach {
            consumer: ConsumerId(0),
            will: WillAction::Discard,
            expiry: None,
            saved: Vec::new(),
        }]);
    }
}

/// Section 3.14.2.1: with any other reason the will is published.
#[test]
fn disconnect_with_another_reason_publishes_the_will() {
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
        let mut client = Client::connected_by(connect(V5).will(will("w")));
        client.sends(disconnect(V5, reason, &[])).receives_nothing();
        assert_eq!(client.harness.close_label(), Some("disconnected"));
        assert_eq!(client.detached().1, WillAction::Publish);
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.1/3.1.2-8]
#[test]
fn lost_connection_publishes_the_will() {
    for version in VERSIONS {
        let mut client = Client::connected_by(connect(version).will(will("w")));
        assert_eq!(client.is_lost().1, WillAction::Publish);
        client.receives_nothing();
    }
}

/// Section 3.14.2.2.2
#[test]
fn disconnect_may_change_the_session_expiry() {
    for (seconds, expected) in [(0, Duration::ZERO), (60, Duration::from_secs(60)), (u32::MAX, Duration::MAX)]
    {
        let mut client = Client::connected_by(connect(V5).with(Property::SessionExpiryInterval(10)));
        client.sends(disconnect(V5, ReasonCode::Success, &[Property::SessionExpiryInterval(seconds)]));
        client.asks([Request::Detach {
            consumer: ConsumerId(0),
            will: WillAction::Discard,
            expiry: Some(expected),
            saved: Vec::new(),
        }]);
    }
}

/// Section 3.14.2.2.2: a session that ends with its connection cannot be kept at its end.
#[test]
fn disconnect_may_not_keep_a_session_that_was_to_end() {
    let mut client = Client::connected(V5);
    client.sends(disconnect(V5, ReasonCode::Success, &[Property::SessionExpiryInterval(1)]));
    client.is_disconnected(ReasonCode::ProtocolError);
    client.asks([Request::Detach {
        consumer: ConsumerId(0),
        will: WillAction::Publish,
        expiry: None,
        saved: Vec::new(),
    }]);
    let mut client = Client::connected(V5);
    client.sends(disconnect(V5, ReasonCode::Success, &[Property::SessionExpiryInterval(0)]));
    assert_eq!(client.harness.close_label(), Some("disconnected"));
}

/// Section 3.14.2.2.5: only a server refers to another one.
#[test]
fn disconnect_with_a_server_reference_is_a_protocol_error() {
    let mut client = Client::connected_by(connect(V5).will(will("w")));
    client.sends(disconnect(V5, ReasonCode::Success, &[Property::ServerReference("elsewhere")]));
    client.is_disconnected(ReasonCode::ProtocolError);
    assert_eq!(client.detached().1, WillAction::Publish);
}

/// [MQTT-3.14.4-1] [MQTT-3.1.1/3.14.4-1] [MQTT-3.1.1/3.14.4-2]: nothing behind a DISCONNECT is handled, and the
/// connection is closed.
#[test]
fn nothing_is_handled_behind_a_disconnect() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends([disconnect(version, ReasonCode::Success, &[]), publish(version, "a", "x")].concat());
        client.asks([Request::Detach {
            consumer: ConsumerId(0),
            will: WillAction::Discard,
            expiry: None,
            saved: Vec::new(),
        }]);
    }
}

/// Section 3.14.2.1, [MQTT-3.1.4-3] and [MQTT-3.14.2-1]: the driver's reasons become the client's; a server of 3.1.1 has
/// no DISCONNECT.
#[test]
fn client_is_told_why_the_gateway_ends_the_connection() {
    for (reason, expected) in [
        (CloseReason::ServerShutdown, ReasonCode::ServerShuttingDown),
        (CloseReason::SessionTakenOver, ReasonCode::SessionTakenOver),
        (CloseReason::KeepAliveTimeout, ReasonCode::KeepAliveTimeout),
    ] {
        let mut client = Client::connected(V5);
        client.harness.close(reason);
        client.receives([disconnect(V5, expected, &[])]).detached();
        let mut client = Client::connected(V3);
        client.harness.close(reason);
        client.receives_nothing().detached();
    }
}

/// Section 4.13: where there is nobody to tell, nothing is written.
#[test]
fn who_is_gone_is_told_nothing() {
    for reason in [CloseReason::PeerClosed, CloseReason::OutputStalled, CloseReason::TransportFault("tls")] {
        let mut client = Client::connected(V5);
        client.harness.close(reason);
        client.receives_nothing().detached();
    }
}

/// [MQTT-3.14.0-1]: no DISCONNECT before CONNACK.
#[test]
fn nobody_is_told_before_connect() {
    let mut client = Client::silent(V5);
    client.sends(&connect(V5).bytes()[..5]).harness.close(CloseReason::ServerShutdown);
    client.receives_nothing().asks([]);
}

/// [MQTT-3.14.2-3]: the reason in words, unless it does not fit.
#[test]
fn reason_is_told_in_words_where_it_fits() {
    let close = || Close::new(CloseReason::ServerShutdown, "back in a minute");
    let mut client = Client::connected(V5);
    client.harness.close(close());
    let words = [Property::ReasonString("back in a minute")];
    client.receives([disconnect(V5, ReasonCode::ServerShuttingDown, &words)]);
    let mut client = Client::connected_by(connect(V5).packet_bytes_max(20));
    client.harness.close(close());
    client.receives([disconnect(V5, ReasonCode::ServerShuttingDown, &[])]);
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.2-1] [MQTT-3.1.2-8] [MQTT-3.1.1/4.8.0-1] [MQTT-3.1.1/2.2.2-2]
/// [MQTT-3.1.1/3.3.1-4] [MQTT-3.1.1/3.1.2-8]: each fault has its name.
#[test]
fn faults_are_named() {
    let cases: [(&[u8], ReasonCode); 7] = [
        (&[0x00, 0], ReasonCode::MalformedPacket),
        (&[0xC1, 0], ReasonCode::MalformedPacket),
        (&[0x36, 0], ReasonCode::MalformedPacket),
        (&[0xC0, 0xFF, 0xFF, 0xFF, 0xFF], ReasonCode::MalformedPacket),
        (&[0x30, 0x80, 0x80, 0x40], ReasonCode::PacketTooLarge),
        (&[0x40, 2, 0, 0], ReasonCode::ProtocolError),
        (&[0xD0, 0], ReasonCode::ProtocolError),
    ];
    // Flags that are not used mean nothing in 3.1.
    for version in [V3, V5] {
        for (bytes, reason) in cases {
            let mut client = Client::connected_by(connect(version).will(will("w")));
            client.sends(bytes).is_disconnected(reason);
            assert_eq!(client.detached().1, WillAction::Publish);
        }
    }
}

/// [MQTT-3.2.2-15]: the limit that was announced is the limit that is kept.
#[test]
fn packet_above_the_announced_limit_closes() {
    for version in VERSIONS {
        let options = || MqttOptions { max_packet_size: ByteSize::from_bytes(256), ..MqttOptions::default() };
        let overhead = publish(version, "a", "").len() + 1;
        let mut client = Client::connected_with(connect(version), options());
        client.sends(publish(version, "a", &"x".repeat(256 - overhead))).receives_nothing();
        assert_eq!(client.harness.take_requests().len(), 1);
        client.sends(publish(version, "a", &"x".repeat(257 - overhead)));
        client.is_disconnected(ReasonCode::PacketTooLarge);
    }
}

/// `connect_packet_size`: who is not let in yet can make the gateway hold less, and is refused by the header alone.
#[test]
fn large_packet_before_the_connection_is_refused_at_once() {
    let size = ByteSize::from_bytes(256);
    let options = MqttOptions { connect_packet_size: size, ..MqttOptions::default() };
    let mut client = Client::silent_with(Version::V5, options);
    // A CONNECT of 300 bytes, of which only the fixed header has come.
    client.sends(vec![0x10, 0xAC, 0x02]);
    assert!(client.harness.closed().is_some(), "it is not gathered");
}

/// Section 2.1: the driver is told how much it has to gather.
#[test]
fn machine_says_how_many_bytes_it_wants() {
    let mut client = Client::connected(Version::V5);
    let packet = publish(V5, "a", &"x".repeat(300));
    for (sent, wanted) in [(1, 2), (2, 3), (3, packet.len()), (100, packet.len())] {
        let mut part = Client::connected(V5);
        part.sends(&packet[..sent]);
        assert_eq!(part.harness.connection().bytes_wanted(), wanted);
        assert_eq!(part.harness.input_waiting(), sent);
    }
    client.sends(&packet);
    assert_eq!((client.harness.connection().bytes_wanted(), client.harness.input_waiting()), (1, 0));
}
