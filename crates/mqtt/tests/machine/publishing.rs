//! Messages from the client: PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP in the direction to the gateway, sections 3.3 and 4.3.

use crate::client::Client;
use crate::packets::{
    V3, V5, V31, VERSIONS, ack_because, connect, id, puback, pubcomp, publish, publish_1, publish_2,
    publish_packet, publish_with, pubrec, pubrel, suback_because, subscribe, unsuback_because, unsubscribe,
};
use std::time::Duration;
use tidegate_message::{Properties, QoS, TopicError};
use tidegate_mqtt::codec::{PacketType, Property, ReasonCode, Version};
use tidegate_mqtt::{DeniedPublish, MqttOptions};
use tidegate_protocol::{Answer, Published, Refusal};
use tidegate_testkit::script::Request;

pub(crate) fn published(topic: &str, payload: &str, qos: QoS) -> Request {
    Request::Publish {
        topic: topic.into(),
        payload: payload.into(),
        qos,
        retain: false,
        properties: None,
        expiry: None,
    }
}

fn refuses(client: &mut Client, refusal: Refusal) {
    client.harness.broker.published.push_back(Err(refusal));
}

/// [MQTT-3.3.4-1] [MQTT-3.1.1/3.3.4-1] and section 4.3.1
#[test]
fn qos_0_is_routed_and_not_answered() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(publish(version, "a/b", "x")).receives_nothing();
        client.asks([published("a/b", "x", QoS::AtMostOnce)]);
    }
}

/// [MQTT-4.3.2-4] [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-3.1.1/4.3.2-2] [MQTT-3.1.1/3.3.4-1] [MQTT-3.1.1/2.3.1-6]
#[test]
fn qos_1_is_answered_by_puback() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(publish_1(version, 7, "a/b", "x")).receives([puback(7)]);
        client.asks([published("a/b", "x", QoS::AtLeastOnce)]);
    }
}

/// [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-3.1.1/4.3.3-2] [MQTT-3.1.1/3.3.4-1]
/// [MQTT-3.1.1/2.3.1-6]: published once, at its first arrival.
#[test]
fn qos_2_is_published_at_its_first_arrival() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(publish_2(version, 7, "a/b", "x")).receives([pubrec(7)]);
        client.asks([published("a/b", "x", QoS::ExactlyOnce)]);
        client.sends(pubrel(7)).receives([pubcomp(7)]).asks([]);
    }
}

/// [MQTT-4.3.3-10] [MQTT-3.1.1/4.3.3-2] [MQTT-3.1.1/2.3.1-2]
#[test]
fn repeated_qos_2_is_answered_and_not_published_again() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(publish_2(version, 7, "a", "x")).receives([pubrec(7)]);
        client.harness.take_requests();
        let again = publish_packet(version, "a", "x", |publish| {
            (publish.qos, publish.packet_id, publish.dup) = (QoS::ExactlyOnce, Some(id(7)), true);
        });
        client.sends(&again).receives([pubrec(7)]).asks([]);
        client.sends(pubrel(7)).receives([pubcomp(7)]);
    }
}

/// [MQTT-4.3.3-12] [MQTT-3.1.1/4.3.3-2]
#[test]
fn released_identifier_is_a_new_message() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends([publish_2(version, 7, "a", "x"), pubrel(7), publish_2(version, 7, "a", "y")].concat());
        client.receives([pubrec(7), pubcomp(7), pubrec(7)]);
        client.asks([published("a", "x", QoS::ExactlyOnce), published("a", "y", QoS::ExactlyOnce)]);
    }
}

/// [MQTT-4.3.3-11] [MQTT-3.7.2-1] [MQTT-3.1.1/4.3.3-2] and section 3.7.2.1
#[test]
fn unknown_pubrel_is_answered() {
    let mut client = Client::connected(V5);
    let words = "no message with this packet identifier waits for its release";
    let expected = ack_because(PacketType::PubComp, 9, ReasonCode::PacketIdentifierNotFound, words);
    client.sends(pubrel(9)).receives([expected]);
    let mut client = Client::connected(V3);
    client.sends(pubrel(9)).receives([pubcomp(9)]);
}

/// Section 3.4.2.1: a server that knows that nobody subscribes says so.
#[test]
fn publisher_is_told_that_nobody_subscribes() {
    let reason = ReasonCode::NoMatchingSubscribers;
    let nobody = || Ok(Published { matched: false, answer: Answer::Now });
    let mut client = Client::connected(V5);
    client.harness.broker.published.extend([nobody(), nobody(), nobody()]);
    client.sends(publish(V5, "a", "x")).receives_nothing();
    client.sends(publish_1(V5, 1, "a", "x")).receives([ack_because(PacketType::PubAck, 1, reason, "")]);
    client.sends(publish_2(V5, 2, "a", "x")).receives([ack_because(PacketType::PubRec, 2, reason, "")]);
    client.sends(pubrel(2)).receives([pubcomp(2)]);
    let mut client = Client::connected(V3);
    client.harness.broker.published.push_back(nobody());
    client.sends(publish_1(V3, 1, "a", "x")).receives([puback(1)]);
}

/// Section 3.4.2.1, [MQTT-3.4.2-2]: a refusal names its reason, in words as well.
#[test]
fn refused_message_of_version_5_is_answered_by_its_reason() {
    let mut client = Client::connected(V5);
    refuses(&mut client, Refusal::QueueFull);
    let words = Refusal::QueueFull.to_string();
    let expected = ack_because(PacketType::PubAck, 1, ReasonCode::QuotaExceeded, &words);
    client.sends(publish_1(V5, 1, "a", "x")).receives([expected]);
    let refusal = Refusal::TooManyLevels { levels: 200, limit: 100 };
    refuses(&mut client, refusal);
    let expected = ack_because(PacketType::PubRec, 2, ReasonCode::TopicNameInvalid, &refusal.to_string());
    client.sends(publish_2(V5, 2, "a", "x")).receives([expected]);
    assert_eq!(client.harness.closed(), None);
}

/// [MQTT-3.1.2-29]
#[test]
fn reason_is_not_put_in_words_where_the_client_does_not_want_it() {
    let mut client = Client::connected_by(connect(V5).with(Property::RequestProblemInformation(false)));
    refuses(&mut client, Refusal::QueueFull);
    let expected = ack_because(PacketType::PubAck, 1, ReasonCode::QuotaExceeded, "");
    client.sends(publish_1(V5, 1, "a", "x")).receives([expected]);
}

/// [MQTT-3.4.2-2]
#[test]
fn reason_is_not_put_in_words_where_they_do_not_fit() {
    let mut client = Client::connected_by(connect(V5).packet_bytes_max(30));
    refuses(&mut client, Refusal::QueueFull);
    let expected = ack_because(PacketType::PubAck, 1, ReasonCode::QuotaExceeded, "");
    client.sends(publish_1(V5, 1, "a", "x")).receives([expected]);
}

/// [MQTT-4.3.3-9]: a refused QoS 2 message leaves its identifier free.
#[test]
fn refused_qos_2_leaves_its_identifier_free() {
    let mut client = Client::connected(V5);
    refuses(&mut client, Refusal::RetainedFull);
    client.sends(publish_2(V5, 3, "a", "x"));
    client.harness.take_output();
    client.harness.take_requests();
    client.sends(publish_2(V5, 3, "a", "y")).receives([pubrec(3)]);
    client.asks([published("a", "y", QoS::ExactlyOnce)]);
}

/// [MQTT-3.1.1/3.3.5-2] leaves acknowledgement or close; an acknowledgement would be a false yes. Without room the client
/// is left to wait, and let go half a minute later ([MQTT-3.1.1/4.8.0-2]) so that it sends again.
#[test]
fn refused_message_of_version_3_is_not_acknowledged() {
    for message in [publish_1(V3, 1, "a", "x"), publish_2(V3, 1, "a", "x")] {
        let mut client = Client::connected(V3);
        refuses(&mut client, Refusal::QueueFull);
        client.sends(message).receives_nothing();
        client.harness.advance(Duration::from_secs(29));
        client.sends(publish_1(V3, 2, "a", "y")).receives([puback(2)]);
        refuses(&mut client, Refusal::RetainedFull);
        client.sends(publish_1(V3, 3, "a", "z")).receives_nothing();
        client.harness.advance(Duration::from_secs(1));
        client.is_disconnected(ReasonCode::QuotaExceeded);
    }
}

/// [MQTT-3.1.1/3.3.5-2]: what would be refused each time ends the connection.
#[test]
fn lastingly_refused_message_of_version_3_closes() {
    let mut client = Client::connected(V3);
    refuses(&mut client, Refusal::TooManyLevels { levels: 200, limit: 100 });
    client.sends(publish_1(V3, 1, "a", "x")).is_disconnected(ReasonCode::TopicNameInvalid);
}

/// [MQTT-3.1.1/3.3.5-2]: a client of 3.1.1 that may not publish is let go, or acknowledged where the listener says so; one of 5.0 is
/// told.
#[test]
fn publish_that_is_not_allowed_is_answered_as_the_listener_says() {
    let acknowledging =
        || MqttOptions { denied_publish: DeniedPublish::Acknowledge, ..MqttOptions::default() };
    for (message, answer) in
        [(publish_1(V3, 1, "a", "x"), puback(1)), (publish_2(V3, 1, "a", "x"), pubrec(1))]
    {
        let mut client = Client::connected(V3);
        refuses(&mut client, Refusal::NotAuthorized);
        client.sends(message.clone()).is_disconnected(ReasonCode::NotAuthorized);
        let mut client = Client::connected_with(connect(V3), acknowledging());
        refuses(&mut client, Refusal::NotAuthorized);
        client.sends(message).receives([answer]);
        assert_eq!(client.harness.closed(), None);
    }
    for options in [MqttOptions::default(), acknowledging()] {
        let mut client = Client::connected_with(connect(V5), options);
        let words = Refusal::NotAuthorized.to_string();
        refuses(&mut client, Refusal::NotAuthorized);
        let expected = ack_because(PacketType::PubAck, 1, ReasonCode::NotAuthorized, &words);
        client.sends(publish_1(V5, 1, "a", "x")).receives([expected]);
        refuses(&mut client, Refusal::NotAuthorized);
        let expected = ack_because(PacketType::PubRec, 2, ReasonCode::NotAuthorized, &words);
        client.sends(publish_2(V5, 2, "a", "x")).receives([expected]);
        assert_eq!(client.harness.closed(), None);
    }
}

/// [MQTT-3.1.1/3.3.5-2]: what other brokers' bridges say about themselves below `$SYS` ends no connection.
#[test]
fn publish_to_a_reserved_topic_is_acknowledged_in_3_and_refused_in_5() {
    let mut client = Client::connected(V3);
    refuses(&mut client, Refusal::ReservedTopic);
    client.sends(publish_1(V3, 1, "$SYS/broker/connection/b/state", "1")).receives([puback(1)]);
    let mut client = Client::connected(V5);
    refuses(&mut client, Refusal::ReservedTopic);
    let words = Refusal::ReservedTopic.to_string();
    let expected = ack_because(PacketType::PubAck, 1, ReasonCode::NotAuthorized, &words);
    client.sends(publish_1(V5, 1, "$SYS/broker/connection/b/state", "1")).receives([expected]);
}

/// Section 4.3.1: QoS 0 has no answer, so a refused one is dropped and nothing ends.
#[test]
fn refused_qos_0_is_dropped() {
    for version in VERSIONS {
        for refusal in [
            Refusal::QueueFull,
            Refusal::TooManyLevels { levels: 200, limit: 100 },
            Refusal::NotAuthorized,
            Refusal::ReservedTopic,
        ] {
            let mut client = Client::connected(version);
            refuses(&mut client, refusal);
            client.sends(publish(version, "a", "x")).receives_nothing();
            assert_eq!(client.harness.connection().next_timeout(), None);
        }
    }
}

/// [MQTT-3.3.2-2] [MQTT-3.3.2-1] [MQTT-4.7.0-1] [MQTT-4.7.3-2] [MQTT-3.1.1/3.3.2-2] [MQTT-3.1.1/3.3.2-1]
/// [MQTT-3.1.1/4.7.1-1] [MQTT-3.1.1/4.7.3-2]
#[test]
fn topic_that_is_none_closes() {
    for (error, reason) in [
        (TopicError::Wildcard('#'), ReasonCode::TopicNameInvalid),
        (TopicError::NotUtf8, ReasonCode::MalformedPacket),
        (TopicError::Null, ReasonCode::MalformedPacket),
    ] {
        for version in VERSIONS {
            let mut client = Client::connected(version);
            refuses(&mut client, Refusal::InvalidTopic(error));
            client.sends(publish(version, "a/#", "x")).is_disconnected(reason);
        }
    }
}

/// [MQTT-4.7.3-1] [MQTT-3.1.1/4.7.3-1]: an empty topic without an alias.
#[test]
fn empty_topic_is_a_protocol_error() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let bytes: &[u8] =
            if version == Version::V5 { b"\x30\x04\x00\x00\x00x" } else { b"\x30\x03\x00\x00x" };
        client.sends(bytes).is_disconnected(ReasonCode::ProtocolError);
    }
}

/// [MQTT-3.3.2-14]
#[test]
fn response_topic_with_a_wildcard_is_a_protocol_error() {
    let mut client = Client::connected(V5);
    client.sends(b"\x30\x08\x00\x01a\x04\x08\x00\x01#").is_disconnected(ReasonCode::ProtocolError);
}

/// Section 3.3.2.3: every property of the message crosses.
#[test]
fn properties_cross_to_the_broker() {
    let mut client = Client::connected(V5);
    let with = [
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(30),
        Property::ContentType("text/plain"),
        Property::ResponseTopic("answers"),
        Property::CorrelationData(&[0, 255]),
        Property::UserProperty(("k", "1")),
        Property::UserProperty(("k", "2")),
    ];
    client.sends(publish_with("a", "x", &with)).asks([Request::Publish {
        topic: b"a".to_vec(),
        payload: b"x".to_vec(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Some(Properties {
            content_type: Some("text/plain".into()),
            reply_to: Some("answers".into()),
            correlation: Some([0, 255].as_slice().into()),
            payload_is_text: Some(true),
            user: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
        }),
        expiry: Some(Duration::from_secs(30)),
    }]);
}

/// [MQTT-2.2.1-3]: one identifier is not used for two things; section 2.4: there is a code for it.
#[test]
fn identifier_of_an_unreleased_message_cannot_be_used_for_another() {
    let mut client = Client::connected(V5);
    client.sends(publish_2(V5, 7, "a", "x")).harness.take_output();
    client.harness.take_requests();
    let in_use = ReasonCode::PacketIdentifierInUse;
    let words = "a message with this packet identifier has not been released";
    client.sends(publish_1(V5, 7, "a", "y")).receives([ack_because(PacketType::PubAck, 7, in_use, words)]);
    let filters = [("a", QoS::AtMostOnce), ("b", QoS::AtMostOnce)];
    client.sends(subscribe(V5, 7, &filters)).receives([suback_because(V5, 7, &[in_use, in_use], words)]);
    client.sends(unsubscribe(V5, 7, &["a", "b"])).receives([unsuback_because(
        V5,
        7,
        &[in_use, in_use],
        words,
    )]);
    client.asks([Request::NoteDropped("packet_identifier_in_use")]);
    client.sends([pubrel(7), publish_1(V5, 7, "a", "y")].concat()).receives([pubcomp(7), puback(7)]);
    // Older versions have no word for it.
    for version in [V31, V3] {
        let mut client = Client::connected(version);
        client.sends([publish_2(version, 7, "a", "x"), publish_1(version, 7, "a", "y")].concat());
        client.receives([pubrec(7), puback(7)]);
    }
}

/// [MQTT-3.3.1-5] [MQTT-3.1.1/3.3.1-5]
#[test]
fn retain_crosses_to_the_broker() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.sends(publish_packet(version, "a", "x", |publish| publish.retain = true));
        match client.harness.take_requests().as_slice() {
            [Request::Publish { retain: true, .. }] => {}
            other => panic!("{other:?}"),
        }
    }
}

/// [MQTT-3.3.4-6]
#[test]
fn subscription_identifier_from_the_client_is_a_protocol_error() {
    let mut client = Client::connected(V5);
    client.sends(publish_with("a", "x", &[Property::SubscriptionIdentifier(1)]));
    client.is_disconnected(ReasonCode::ProtocolError).harness.take_requests();
}

/// Section 3.3.2.3.4
#[test]
fn topic_alias_stands_for_its_topic() {
    let mut client = Client::connected(V5);
    let alias = |number| [Property::TopicAlias(id(number))];
    client.sends(publish_with("a/b", "1", &alias(16)));
    client.sends(publish_with("", "2", &alias(16)));
    client.sends(publish_with("c", "3", &alias(16)));
    client.sends(publish_with("", "4", &alias(16)));
    client.asks([
        published("a/b", "1", QoS::AtMostOnce),
        published("a/b", "2", QoS::AtMostOnce),
        published("c", "3", QoS::AtMostOnce),
        published("c", "4", QoS::AtMostOnce),
    ]);
}

/// [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
#[test]
fn topic_alias_out_of_range_closes() {
    let mut client = Client::connected(V5);
    client.sends(b"\x30\x08\x00\x01a\x03\x23\x00\x00x").is_disconnected(ReasonCode::TopicAliasInvalid);
    let mut client = Client::connected(V5);
    client.sends(publish_with("a", "x", &[Property::TopicAlias(id(17))]));
    client.is_disconnected(ReasonCode::TopicAliasInvalid);
    let options = MqttOptions { topic_alias_max: 0, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options);
    client.sends(publish_with("a", "x", &[Property::TopicAlias(id(1))]));
    client.is_disconnected(ReasonCode::TopicAliasInvalid);
}

/// Section 3.3.4: an alias that was never set.
#[test]
fn unknown_topic_alias_is_a_protocol_error() {
    for number in [1, 3] {
        let mut client = Client::connected(V5);
        client.sends(publish_with("a", "x", &[Property::TopicAlias(id(2))]));
        client.sends(publish_with("", "x", &[Property::TopicAlias(id(number))]));
        client.is_disconnected(ReasonCode::ProtocolError);
    }
}

/// [MQTT-4.3.3-10]: a repeated message that sets an alias still sets it.
#[test]
fn repeated_message_sets_its_topic_alias() {
    let mut client = Client::connected(V5);
    let with = crate::packets::properties(&[Property::TopicAlias(id(1))]);
    let message = || {
        publish_packet(V5, "a", "x", |publish| {
            (publish.qos, publish.packet_id, publish.properties) =
                (QoS::ExactlyOnce, Some(id(5)), with.as_ref());
        })
    };
    client.sends(publish_2(V5, 5, "a", "x"));
    client.harness.take_requests();
    client.sends(message()).sends(publish_with("", "y", &[Property::TopicAlias(id(1))]));
    client.asks([published("a", "y", QoS::AtMostOnce)]);
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-3.1.1/4.6.0-2] [MQTT-3.1.1/4.6.0-3]: answers leave in the order of the messages.
#[test]
fn acknowledgements_keep_the_order_of_the_messages() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let messages = [
            publish_1(version, 3, "a", "x"),
            publish_2(version, 1, "a", "y"),
            publish_1(version, 2, "a", "z"),
        ];
        client.sends(messages.concat()).receives([puback(3), pubrec(1), puback(2)]);
    }
}
