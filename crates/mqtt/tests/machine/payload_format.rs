//! Payloads that are checked against their format indicator: the listener option `check_payload_format`.

use crate::client::Client;
use crate::packets::{V5, ack_because, connect, id, properties, puback, publish_packet, publish_with, will};
use crate::publishing::published;
use tidegate_message::QoS;
use tidegate_mqtt::MqttOptions;
use tidegate_mqtt::codec::{PacketType, Property, ReasonCode};
use tidegate_testkit::script::Request;

/// Section 3.3.2.3.2, with the listener option `check_payload_format`.
#[test]
fn payload_that_is_not_the_text_it_is_said_to_be_is_refused() {
    let words = "the payload is not UTF-8, which its payload format indicator says that it is";
    let reason = ReasonCode::PayloadFormatInvalid;
    let with = properties(&[Property::PayloadFormatIndicator(true)]);
    let message = |qos, number, payload: &'static [u8]| {
        publish_packet(V5, "a", "", |publish| {
            (publish.qos, publish.packet_id) = (qos, number);
            (publish.properties, publish.payload) = (with.as_ref(), payload);
        })
    };
    let options = || MqttOptions { check_payload_format: true, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options());
    client.sends(message(QoS::AtLeastOnce, Some(id(1)), b"\xFF"));
    client.receives([ack_because(PacketType::PubAck, 1, reason, words)]);
    client.sends(message(QoS::ExactlyOnce, Some(id(2)), b"\xED\xA0\x80"));
    client.receives([ack_because(PacketType::PubRec, 2, reason, words)]);
    let dropped = || Request::NoteDropped("payload_format_invalid");
    client.asks([dropped(), dropped()]);
    client.sends(message(QoS::AtLeastOnce, Some(id(1)), "é\0".as_bytes())).receives([puback(1)]);
    client.sends(publish_packet(V5, "a", "", |publish| publish.payload = b"\xFF")).harness.take_requests();
    assert_eq!(client.harness.closed(), None);
    client.sends(message(QoS::AtMostOnce, None, b"\xFF")).is_disconnected(reason);
    assert_eq!(client.harness.take_requests()[0], dropped());

    let mut client = Client::connected(V5);
    client.sends(message(QoS::AtLeastOnce, Some(id(1)), b"\xFF")).receives([puback(1)]);
}

/// Section 3.3.2.3.4: a message that is refused has set its alias all the same.
#[test]
fn refused_payload_sets_its_topic_alias() {
    let options = MqttOptions { check_payload_format: true, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options);
    let with = properties(&[Property::PayloadFormatIndicator(true), Property::TopicAlias(id(3))]);
    client.sends(publish_packet(V5, "a", "", |publish| {
        (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, Some(id(1)));
        (publish.properties, publish.payload) = (with.as_ref(), b"\xFF");
    }));
    client.harness.take_requests();
    client.sends(publish_with("", "y", &[Property::TopicAlias(id(3))]));
    client.asks([published("a", "y", QoS::AtMostOnce)]);
}

/// Section 3.1.3.2.3, with the listener option `check_payload_format`.
#[test]
fn will_that_is_not_the_text_it_is_said_to_be_is_refused() {
    let with = properties(&[Property::PayloadFormatIndicator(true)]);
    let packet = |payload: &'static [u8]| tidegate_mqtt::codec::Will {
        payload,
        properties: with.as_ref(),
        ..will("w")
    };
    let options = || MqttOptions { check_payload_format: true, ..MqttOptions::default() };
    let mut client = Client::silent_with(V5, options());
    client.sends(connect(V5).will(packet(b"\xC0\x80")).bytes()).is_refused(ReasonCode::PayloadFormatInvalid);
    client.asks([]);
    let mut client = Client::silent_with(V5, options());
    client.sends(connect(V5).will(packet("é".as_bytes())).bytes()).is_accepted();
    let mut client = Client::silent(V5);
    client.sends(connect(V5).will(packet(b"\xC0\x80")).bytes()).is_accepted();
}
