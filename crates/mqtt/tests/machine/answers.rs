//! What the gateway's own packets of MQTT 5.0 never carry: more bytes than the client takes, and user properties.

use crate::client::Client;
use crate::packets::{
    V5, connect, disconnect, publish_1, publish_2, publish_with, pubrec, pubrel, subscribe_with, unsubscribe,
};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    Packet, PropertiesRef, Property, ReasonCode, SubscribeFilter, SubscriptionOptions, decode,
};
use tidegate_protocol::{Attachment, Refusal};
use tidegate_testkit::script::parcel;

/// A packet of the client that is answered by a reason, with what the broker says to it.
struct Provocation {
    packet: Vec<u8>,
    refused_as: Option<Refusal>,
}

/// One for each packet with which the gateway answers: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT.
fn provocations() -> Vec<Provocation> {
    let full = Some(Refusal::QueueFull);
    let filter = SubscribeFilter { filter: "a", options: SubscriptionOptions::at_most(QoS::AtMostOnce) };
    let own = [Property::UserProperty(("of", "the client"))];
    let subscribe = subscribe_with(V5, 4, &[filter], &own);
    let identified = publish_with("a", "x", &[Property::SubscriptionIdentifier(1)]);
    let provocation = |packet, refused_as| Provocation { packet, refused_as };
    vec![
        provocation(publish_1(V5, 1, "a", "x"), full),
        provocation(publish_2(V5, 2, "a", "x"), full),
        provocation(pubrec(3), None),
        provocation(pubrel(3), None),
        provocation(subscribe, full),
        provocation(unsubscribe(V5, 5, &["#/a"]), None),
        provocation(identified, None),
    ]
}

/// What a client gets for it that takes packets of so many bytes.
fn answer_to(provocation: &Provocation, packet_bytes_max: u32) -> Vec<u8> {
    let script = connect(V5).with(Property::UserProperty(("of", "the client")));
    let mut client = Client::connected_by(script.packet_bytes_max(packet_bytes_max));
    client.harness.broker.published.extend(provocation.refused_as.map(Err));
    client.harness.broker.subscribed.extend(provocation.refused_as.map(Err));
    client.sends(&provocation.packet);
    client.harness.take_output()
}

/// What a client gets whose CONNECT the broker refuses.
fn refusal_of_connect(packet_bytes_max: u32) -> Vec<u8> {
    let mut client = Client::silent(V5);
    let refused = Attachment::Refused(Refusal::TooManySessions { limit: 1 });
    client.harness.broker.attachments.push_back(refused);
    client.sends(connect(V5).packet_bytes_max(packet_bytes_max).bytes());
    client.harness.take_output()
}

/// [MQTT-3.2.2-19] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1]
/// [MQTT-3.14.2-3]: the words are left out where they do not fit, and said where they do.
#[test]
fn no_answer_is_larger_than_the_client_takes() {
    let greeting = Client::silent(V5).sends(connect(V5).packet_bytes_max(1000).bytes()).is_accepted().len();
    for provocation in provocations() {
        let whole = answer_to(&provocation, 1000);
        for limit in greeting..=greeting.max(whole.len()) {
            let answer = answer_to(&provocation, limit as u32);
            assert!(!answer.is_empty() && answer.len() <= limit, "{answer:x?}");
            assert_eq!(answer == whole, whole.len() <= limit, "{answer:x?}");
        }
    }
    let whole = refusal_of_connect(1000);
    for limit in 5..=whole.len() {
        let answer = refusal_of_connect(limit as u32);
        assert!(!answer.is_empty() && answer.len() <= limit, "{answer:x?}");
        assert_eq!(answer == whole, whole.len() <= limit, "{answer:x?}");
    }
    for limit in 1..5 {
        assert!(refusal_of_connect(limit).is_empty());
    }
}

fn properties_of<'a>(packet: &Packet<'a>) -> PropertiesRef<'a> {
    match packet {
        Packet::ConnAck(packet) => packet.properties,
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.properties
        }
        Packet::SubAck(packet) => packet.properties,
        Packet::UnsubAck(packet) => packet.properties,
        Packet::Disconnect(packet) => packet.properties,
        other => panic!("{other:?} is no answer"),
    }
}

/// [MQTT-3.2.2-20] [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3] [MQTT-3.7.2-3] [MQTT-3.9.2-2] [MQTT-3.11.2-2]
/// [MQTT-3.14.2-4]: there are none, so they never make a packet too large.
#[test]
fn no_answer_has_user_properties() {
    let mut answers: Vec<_> = provocations().iter().map(|provocation| answer_to(provocation, 1000)).collect();
    answers.push(refusal_of_connect(1000));
    answers.push(Client::silent(V5).sends(connect(V5).bytes()).is_accepted());
    for bytes in answers {
        let (packet, length) = decode(&bytes, V5, usize::MAX).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(properties_of(&packet).user_properties().count(), 0, "{packet:?}");
    }
}

/// [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]: one DISCONNECT without a session expiry, and the end.
#[test]
fn goodbye_is_the_last_word() {
    let mut client = Client::connected_by(connect(V5).with(Property::SessionExpiryInterval(60)));
    client.delivers(parcel("a", "before").at_least_once(1)).harness.take_output();
    let packets = [connect(V5).bytes(), pubrel(1), publish_1(V5, 1, "a", "x"), vec![0xC0, 0]];
    client.sends(packets.concat());
    let output = client.harness.take_output();
    let Some((Packet::Disconnect(goodbye), length)) = decode(&output, V5, usize::MAX).unwrap() else {
        panic!("{output:x?}")
    };
    assert_eq!((goodbye.reason, length), (ReasonCode::ProtocolError, output.len()));
    assert_eq!(goodbye.properties.session_expiry_interval(), None);
    assert!(client.harness.closed().is_some());
    client.sends(disconnect(V5, ReasonCode::Success, &[])).receives_nothing();
}

/// [MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.1.2-27]: whatever is delivered, and however often.
#[test]
fn topic_aliases_stay_within_what_the_client_takes() {
    for maximum in [None, Some(0), Some(3)] {
        let mut script = connect(V5);
        script.properties.extend(maximum.map(Property::TopicAliasMaximum));
        let mut client = Client::connected_by(script);
        for number in 0..40 {
            client.delivers(parcel(&format!("some/longer/topic/{}", number % 5), "x"));
            let output = client.harness.take_output();
            let Some((Packet::Publish(publish), _)) = decode(&output, V5, usize::MAX).unwrap() else {
                panic!("{output:x?}")
            };
            let alias = publish.properties.topic_alias().map_or(0, |alias| alias.get());
            assert!(alias <= maximum.unwrap_or(0), "{alias} of {maximum:?}");
        }
    }
}

/// [MQTT-3.1.2-29]: with request problem information 0 no acknowledgement says anything in words.
#[test]
fn acknowledgements_are_wordless_where_the_client_wants_it_so() {
    for provocation in provocations() {
        let mut client = Client::connected_by(connect(V5).with(Property::RequestProblemInformation(false)));
        client.harness.broker.published.extend(provocation.refused_as.map(Err));
        client.harness.broker.subscribed.extend(provocation.refused_as.map(Err));
        client.sends(&provocation.packet);
        let output = client.harness.take_output();
        let (packet, _) = decode(&output, V5, usize::MAX).unwrap().unwrap();
        let is_goodbye = matches!(packet, Packet::Disconnect(_));
        assert_eq!(properties_of(&packet).reason_string().is_some(), is_goodbye, "{packet:?}");
    }
}
