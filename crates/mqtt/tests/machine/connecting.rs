//! CONNECT and CONNACK, sections 3.1 and 3.2.

use crate::client::Client;
use crate::packets::{V3, V5, V31, VERSIONS, connack, connect, id, properties, publish, will};
use std::num::NonZeroU32;
use std::time::Duration;
use tidegate_message::{Properties, QoS, Topic};
use tidegate_mqtt::codec::{Packet, Property, ReasonCode, Version, decode};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{
    Attached, Attachment, CloseReason, ConsumerId, MessageKind, Protocol, Recognition, Refusal, Settlement,
    Will,
};
use tidegate_testkit::script::{Harness, Request};

fn attach_of(client: &mut Client) -> Request {
    let mut requests = client.harness.take_requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// What every CONNACK of MQTT 5.0 announces with the default options.
fn announced<'a>() -> Vec<Property<'a>> {
    vec![
        Property::ReceiveMaximum(id(1024)),
        Property::MaximumPacketSize(NonZeroU32::new(1 << 20).unwrap()),
        Property::TopicAliasMaximum(16),
    ]
}

/// [MQTT-3.1.0-1] [MQTT-6.0.0-1] [MQTT-6.0.0-4] [MQTT-3.1.1/3.1.0-1] [MQTT-3.1.1/6.0.0-1] [MQTT-3.1.1/6.0.0-4]
#[test]
fn the_protocol_is_recognised_by_its_first_byte() {
    let mqtt = Mqtt::new(MqttOptions::default());
    for version in VERSIONS {
        assert_eq!(mqtt.recognise(&connect(version).bytes()), Recognition::Yes);
    }
    assert_eq!(mqtt.recognise(&[0x10]), Recognition::Yes);
    assert_eq!(mqtt.recognise(b"CONNECT"), Recognition::No);
    assert_eq!((mqtt.name(), mqtt.websocket_subprotocols()), ("mqtt", &["mqtt", "mqttv3.1"][..]));
    assert_eq!(mqtt.message_kind(), MessageKind::BinaryStream);
}

/// [MQTT-3.2.0-1] [MQTT-3.1.4-5] [MQTT-3.2.2-2] [MQTT-3.1.2-28] [MQTT-4.12.0-6] [MQTT-3.1.1/3.2.0-1] [MQTT-3.1.1/3.1.4-4]
/// [MQTT-3.1.1/3.2.2-1]
#[test]
fn connect_is_answered_by_connack() {
    for version in [V31, V3] {
        let mut client = Client::silent(version);
        client.sends(connect(version).bytes()).receives([connack(version, false, &[])]);
    }
    let mut client = Client::silent(V5);
    client.sends(connect(V5).bytes()).receives([connack(V5, false, &announced())]);
    assert_eq!(client.harness.connection().client_id(), Some("device"));
}

/// [MQTT-3.1.1/3.1.2-6] [MQTT-3.1.1/3.1.4-3]: Clean Session 1 is a session that ends with its connection.
#[test]
fn clean_session_begins_anew_and_ends_with_the_connection() {
    let mut client = Client::silent(V3);
    client.sends(connect(V3).bytes()).asks([Request::Attach {
        consumer: ConsumerId(0),
        protocol: "mqtt",
        client_id: "device".into(),
        clean_start: true,
        expiry: Duration::ZERO,
        credit: 1024,
        settlement: Settlement::AboveAtMostOnce,
        will: None,
    }]);
}

/// [MQTT-3.1.1/3.1.2-4]: Clean Session 0 is a session that never ends.
#[test]
fn session_of_version_3_without_clean_session_never_ends() {
    let mut client = Client::silent(V3);
    client.sends(connect(V3).continued().bytes());
    let Request::Attach { clean_start: false, expiry: Duration::MAX, .. } = attach_of(&mut client) else {
        panic!()
    };
}

/// [MQTT-3.1.2-23] and section 3.1.2.11.2: absent is 0, 0xFFFFFFFF is never.
#[test]
fn session_expiry_interval_is_in_seconds() {
    for (interval, expected) in [
        (None, Duration::ZERO),
        (Some(0), Duration::ZERO),
        (Some(60), Duration::from_secs(60)),
        (Some(u32::MAX), Duration::MAX),
    ] {
        let mut client = Client::silent(V5);
        let mut script = connect(V5);
        script.properties.extend(interval.map(Property::SessionExpiryInterval));
        client.sends(script.bytes());
        match attach_of(&mut client) {
            Request::Attach { expiry, .. } => assert_eq!(expiry, expected),
            other => panic!("{other:?}"),
        }
    }
}

/// [MQTT-3.1.0-1] [MQTT-3.1.1/3.1.0-1]
#[test]
fn first_packet_other_than_connect_closes_silently() {
    for version in VERSIONS {
        let mut client = Client::silent(version);
        client.sends(publish(version, "a", "b")).receives_nothing().asks([]);
        assert_eq!(client.harness.close_label(), Some("protocol_error"));
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT-3.1.1/3.1.0-2]
#[test]
fn second_connect_is_a_protocol_error() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(connect(version).bytes()).is_disconnected(ReasonCode::ProtocolError);
    }
}

/// [MQTT-3.1.2-2] [MQTT-3.1.1/3.1.2-2]: each level is refused in the version nearest to it.
#[test]
fn unknown_protocol_levels_are_refused() {
    for (level, version) in [(3, V3), (0x83, V3), (0x84, V3), (6, V5)] {
        let mut bytes = connect(V3).bytes();
        bytes[8] = level;
        let mut client = Client::silent(version);
        client.sends(bytes).is_refused(ReasonCode::UnsupportedProtocolVersion);
        assert_eq!(client.harness.close_label(), Some("unsupported_protocol_version"));
        client.asks([]);
    }
}

/// [MQTT-3.1.2-1] [MQTT-3.1.1/3.1.2-1]: another protocol's name is not answered.
#[test]
fn another_protocol_name_closes_silently() {
    for name in ["MQXsdp", "mqisdp", "mqtt", "MQTTT"] {
        let body = [&[0, name.len() as u8], name.as_bytes(), b"\x03\x02\x00\x3c\x00\x00"].concat();
        let mut client = Client::silent(V3);
        client.sends([&[0x10, body.len() as u8], &body[..]].concat()).receives_nothing();
        assert_eq!(client.harness.close_label(), Some("unsupported_protocol_version"));
    }
}

/// [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.1.1/3.1.2-3] [MQTT-3.1.1/3.1.4-1] [MQTT-3.1.1/3.2.2-6]: a malformed CONNECT is
/// answered where the version has a word for it.
#[test]
fn malformed_connect_is_refused() {
    let mut bytes = connect(V5).bytes();
    bytes[9] |= 1;
    let mut client = Client::silent(V5);
    client.sends(bytes).is_refused(ReasonCode::MalformedPacket);
    let mut bytes = connect(V3).bytes();
    bytes[9] |= 1;
    let mut client = Client::silent(V3);
    client.sends(bytes).receives_nothing();
    assert_eq!(client.harness.close_label(), Some("malformed_packet"));
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[test]
fn client_without_a_name_is_given_a_unique_one() {
    let mqtt = Mqtt::new(MqttOptions::default());
    let mut names = Vec::new();
    for connection in [1, 2] {
        let harness = Harness::open_for(&mqtt, |peer| peer.connection = connection);
        let mut client = Client { harness, version: V5 };
        let bytes = client.sends(connect(V5).client_id("").bytes()).is_accepted();
        let Some((Packet::ConnAck(connack), _)) = decode(&bytes, V5, usize::MAX).unwrap() else { panic!() };
        let name = connack.properties.assigned_client_identifier().unwrap().to_owned();
        assert_eq!(client.harness.connection().client_id(), Some(&*name));
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
    // Whoever knows one must not be able to tell the next.
    let secrets: Vec<_> = names.iter().map(|name| name.split('-').nth(1).unwrap()).collect();
    assert_ne!(secrets[0], secrets[1]);
}

/// [MQTT-3.1.1/3.1.3-7] [MQTT-3.1.1/3.1.3-8] [MQTT-3.1.1/3.1.3-9] [MQTT-3.1.1/3.2.2-5]
#[test]
fn client_without_a_name_needs_a_clean_session_in_version_3() {
    let mut client = Client::silent(V3);
    client.sends(connect(V3).client_id("").continued().bytes());
    client.is_refused(ReasonCode::ClientIdentifierNotValid);
    client.asks([]);
    let mut client = Client::silent(V3);
    client.sends(connect(V3).client_id("").bytes()).receives([connack(V3, false, &[])]);
}

/// [MQTT-3.1.2-7] and section 3.1.3.2: the will is handed over with all that it carries.
#[test]
fn will_is_handed_over_with_its_properties() {
    let with = properties(&[
        Property::WillDelayInterval(5),
        Property::MessageExpiryInterval(60),
        Property::ContentType("text/plain"),
        Property::UserProperty(("k", "v")),
    ]);
    let packet =
        tidegate_mqtt::codec::Will { retain: true, properties: with.as_ref(), ..will("state/device") };
    let mut client = Client::silent(V5);
    client.sends(connect(V5).will(packet).bytes());
    let expected = Will {
        topic: Topic::parse(b"state/device").unwrap(),
        payload: b"gone".as_slice().into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Some(Box::new(Properties {
            content_type: Some("text/plain".into()),
            user: vec![("k".into(), "v".into())],
            ..Properties::default()
        })),
        expiry: Some(Duration::from_secs(60)),
        delay: Duration::from_secs(5),
    };
    match attach_of(&mut client) {
        Request::Attach { will, .. } => assert_eq!(will, Some(expected)),
        other => panic!("{other:?}"),
    }
}

/// [MQTT-3.3.2-2] [MQTT-3.1.1/3.3.2-2] [MQTT-3.1.1/3.2.2-6]: a will's topic is a topic.
#[test]
fn will_to_a_wildcard_is_refused() {
    let mut client = Client::silent(V5);
    client.sends(connect(V5).will(will("a/+")).bytes()).is_refused(ReasonCode::TopicNameInvalid);
    let mut client = Client::silent(V3);
    client.sends(connect(V3).will(will("a/+")).bytes()).receives_nothing();
    assert_eq!(client.harness.close_label(), Some("topic_name_invalid"));
}

fn response_information(client_id: &str, asked: Option<bool>, packet_bytes_max: u32) -> Option<String> {
    let response_information = Some("answers/%c/".into());
    let options = MqttOptions { response_information, ..MqttOptions::default() };
    let mut client = Client::silent_with(V5, options);
    let mut script = connect(V5).client_id(client_id).packet_bytes_max(packet_bytes_max);
    script.properties.extend(asked.map(Property::RequestResponseInformation));
    let bytes = client.sends(script.bytes()).is_accepted();
    let Some((Packet::ConnAck(connack), _)) = decode(&bytes, V5, usize::MAX).unwrap() else { panic!() };
    connack.properties.response_information().map(Into::into)
}

/// [MQTT-3.1.2-28] and section 3.2.2.3.15: told only where it was asked for, where it fits, and where it is the client's own.
#[test]
fn response_information_is_told_on_request() {
    assert_eq!(response_information("device", Some(true), 1000).as_deref(), Some("answers/device/"));
    assert_eq!(response_information("device", Some(false), 1000), None);
    assert_eq!(response_information("device", None, 1000), None);
    assert_eq!(response_information("device", Some(true), 30), None);
    for hostile in ["a/b", "+", "#", "a+"] {
        assert_eq!(response_information(hostile, Some(true), 1000), None, "{hostile}");
    }
    let named = response_information("", Some(true), 1000).unwrap();
    assert!(named.starts_with("answers/auto-"), "{named}");
    let mut client = Client::silent(V5);
    let script = connect(V5).with(Property::RequestResponseInformation(true));
    client.sends(script.bytes()).receives([connack(V5, false, &announced())]);
}

/// [MQTT-3.2.2-1] [MQTT-3.2.2-3] [MQTT-3.1.1/3.2.2-2] [MQTT-3.1.1/3.2.2-3]
#[test]
fn connack_says_whether_the_session_was_there() {
    for (version, present) in [(V3, false), (V3, true), (V5, false), (V5, true)] {
        let mut client = Client::silent(version);
        let attached = Attached { present, saved: Vec::new(), expiry: Duration::ZERO, is_durable: false };
        client.harness.broker.attachments.push_back(Attachment::Now(attached));
        client.sends(connect(version).continued().bytes());
        let bytes = client.is_accepted();
        assert_eq!(bytes[2 + usize::from(false)], u8::from(present));
    }
}

/// Section 3.2.2.3.2: told where it is not what was asked for.
#[test]
fn shortened_session_expiry_is_told() {
    let mut client = Client::silent(V5);
    let attached =
        Attached { present: false, saved: Vec::new(), expiry: Duration::from_secs(100), is_durable: false };
    client.harness.broker.attachments.push_back(Attachment::Now(attached));
    client.sends(connect(V5).with(Property::SessionExpiryInterval(u32::MAX)).bytes());
    let mut expected = vec![Property::SessionExpiryInterval(100)];
    expected.extend(announced());
    client.receives([connack(V5, false, &expected)]);
}

/// [MQTT-3.1.2-21] [MQTT-3.2.2-21] [MQTT-3.2.2-22]: a keep alive beyond the limit, or none, is replaced; a client of
/// 3.1.1 cannot be told.
#[test]
fn keep_alive_beyond_the_limit_is_replaced() {
    let options = || MqttOptions { keep_alive_max: "60s".parse().ok(), ..MqttOptions::default() };
    for (asked, told, silence) in [(0, Some(60), 90), (61, Some(60), 90), (60, None, 90), (10, None, 15)] {
        let mut client = Client::silent_with(V5, options());
        let bytes = client.sends(connect(V5).keep_alive(asked).bytes()).is_accepted();
        let Some((Packet::ConnAck(connack), _)) = decode(&bytes, V5, usize::MAX).unwrap() else { panic!() };
        assert_eq!(connack.properties.server_keep_alive(), told, "{asked}");
        let due = client.harness.now + Duration::from_secs(silence);
        assert_eq!(client.harness.connection().next_timeout(), Some(due));
    }
    let client = Client::connected_with(connect(V3).keep_alive(0), options());
    assert_eq!(client.harness.connection().next_timeout(), None);
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1]: the smaller of what the client takes and what the listener gives.
#[test]
fn receive_maximum_becomes_credit() {
    let options = || MqttOptions { max_inflight: 20, ..MqttOptions::default() };
    for (script, expected) in [
        (connect(V3), 20),
        (connect(V5), 20),
        (connect(V5).receive_maximum(5), 5),
        (connect(V5).receive_maximum(21), 20),
    ] {
        let mut client = Client::silent_with(script.packet.version, options());
        client.sends(script.bytes());
        match attach_of(&mut client) {
            Request::Attach { credit, .. } => assert_eq!(credit, expected),
            other => panic!("{other:?}"),
        }
    }
}

/// [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-3.1.1/3.2.2-4] [MQTT-3.1.1/3.2.2-5]: why the broker refuses becomes
/// the nearest code of each version.
#[test]
fn refused_sessions_are_answered() {
    for (refusal, version, expected) in [
        (Refusal::TooManySessions { limit: 1 }, V5, ReasonCode::QuotaExceeded),
        (Refusal::TooManySessions { limit: 1 }, V3, ReasonCode::ServerUnavailable),
        (Refusal::QueueFull, V5, ReasonCode::QuotaExceeded),
        // [MQTT-3.1.3-8] [MQTT-3.1.1/3.1.3-9]
        (Refusal::ClientIdTooLong { bytes: 9, limit: 1 }, V5, ReasonCode::ClientIdentifierNotValid),
        (Refusal::ClientIdTooLong { bytes: 9, limit: 1 }, V3, ReasonCode::ClientIdentifierNotValid),
        (Refusal::TopicTooLong { bytes: 9, limit: 1 }, V5, ReasonCode::TopicNameInvalid),
    ] {
        let mut client = Client::silent(version);
        client.harness.broker.attachments.push_back(Attachment::Refused(refusal));
        client.sends(connect(version).bytes()).is_refused(expected);
    }
}

fn waiting(version: Version) -> Client {
    let mut client = Client::silent(version);
    client.harness.broker.attachments.push_back(Attachment::Later);
    client.sends([connect(version).bytes(), publish(version, "a", "b")].concat()).receives_nothing();
    assert_eq!(client.harness.connection().client_id(), Some("device"));
    client.harness.take_requests();
    client
}

/// [MQTT-3.1.4-3] [MQTT-3.2.0-1] [MQTT-3.1.1/3.2.0-1]: a session that another connection holds is waited for; nothing
/// behind the CONNECT is handled before.
#[test]
fn packets_wait_for_a_session_that_comes_later() {
    for version in VERSIONS {
        let mut client = waiting(version);
        client.asks([]);
        client.harness.reply(Ok(Attached {
            present: true,
            saved: Vec::new(),
            expiry: Duration::ZERO,
            is_durable: false,
        }));
        client.is_accepted();
        assert_eq!(client.harness.take_requests()[0].published_topic(), Some("a"));
    }
}

/// [MQTT-3.2.2-7] [MQTT-3.1.4-6]
#[test]
fn session_that_is_refused_later_is_answered() {
    let mut client = waiting(V5);
    client.harness.reply(Err(Refusal::TooManySessions { limit: 1 }));
    client.is_refused(ReasonCode::QuotaExceeded);
    client.asks([]);
}

/// Section 3.2.2.2: a close while the session is waited for says why, and detaches nothing.
#[test]
fn close_while_waiting_does_not_detach() {
    for version in VERSIONS {
        let mut client = waiting(version);
        client.harness.close(CloseReason::ServerShutdown);
        client.is_refused(ReasonCode::ServerUnavailable);
        client.asks([]);
    }
    let mut client = waiting(V5);
    client.harness.close(CloseReason::PeerClosed);
    client.receives_nothing().asks([]);
}

/// Section 3.1.4: a client that does not come to the point is let go.
#[test]
fn connect_must_come_in_time() {
    let mut client = Client::silent(V5);
    client.sends(&connect(V5).bytes()[..5]);
    client.harness.advance(Duration::from_secs(9)).handle_timeout();
    assert_eq!(client.harness.closed(), None);
    client.harness.advance(Duration::from_secs(1));
    assert_eq!(client.harness.close_label(), Some("connect_timeout"));
    client.receives_nothing().asks([]);
    let mut client = waiting(V5);
    client.harness.advance(Duration::from_secs(10));
    assert_eq!(client.harness.close_label(), Some("connect_timeout"));
    // Section 3.2.2.2: this one is not to blame.
    client.is_refused(ReasonCode::ServerBusy);
}

/// [MQTT-3.1.2-24]: a client that takes no packet as large as its CONNACK cannot be served; its session is given back.
#[test]
fn client_without_room_for_connack_is_closed() {
    let mut client = Client::silent(V5);
    client.sends(connect(V5).packet_bytes_max(8).bytes()).receives_nothing();
    assert_eq!(client.harness.close_label(), Some("packet_too_large"));
    client.detached();
}

/// [MQTT-3.2.2-15] [MQTT-4.13.2-1] and section 3.1.2.11.4: a packet above the limit is refused as soon as its header is
/// there.
#[test]
fn connect_above_the_limit_is_refused_at_its_header() {
    let mut client = Client::silent(V5);
    client.sends([0x10, 0xFF, 0xFF, 0xFF, 0x7F]).receives_nothing();
    assert_eq!(client.harness.close_label(), Some("packet_too_large"));
}
