//! SUBSCRIBE and UNSUBSCRIBE, sections 3.8 to 3.11.

use crate::client::Client;
use crate::packets::{
    V3, V5, VERSIONS, connect, suback, suback_because, subscribe, subscribe_with, unsuback_because,
    unsubscribe,
};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{Property, ReasonCode, RetainHandling, SubscribeFilter, SubscriptionOptions};
use tidegate_protocol::{ConsumerId, Refusal, RetainedDelivery};
use tidegate_testkit::script::Request;

pub(crate) fn subscribed(filter: &str, qos_max: QoS) -> Request {
    Request::Subscribe {
        consumer: ConsumerId(0),
        share: None,
        filter: filter.into(),
        qos_max,
        no_local: false,
        retain_as_published: false,
        subscription_id: None,
        retained: RetainedDelivery::Always,
    }
}

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-2.2.1-6]
/// [MQTT-3.1.1/3.8.4-1] [MQTT-3.1.1/3.8.4-2] [MQTT-3.1.1/3.8.4-4] [MQTT-3.1.1/3.8.4-5] [MQTT-3.1.1/3.9.3-1]
/// [MQTT-3.1.1/2.3.1-7]
#[test]
fn each_filter_is_granted_in_its_place() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let filters = [("a/+", QoS::AtMostOnce), ("b/#", QoS::AtLeastOnce), ("c", QoS::ExactlyOnce)];
        client.sends(subscribe(version, 5, &filters));
        client.receives([suback(
            version,
            5,
            &[ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2],
        )]);
        client.asks(filters.map(|(filter, qos)| subscribed(filter, qos)));
    }
}

/// Section 3.8.3.1 and 3.8.2.1.2: all options of MQTT 5.0.
#[test]
fn options_cross_to_the_broker() {
    for (handling, retained) in [
        (RetainHandling::Send, RetainedDelivery::Always),
        (RetainHandling::SendIfNew, RetainedDelivery::WhenNew),
        (RetainHandling::DoNotSend, RetainedDelivery::Never),
    ] {
        let options = SubscriptionOptions {
            qos_max: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: handling,
        };
        let mut client = Client::connected(V5);
        let filters = [SubscribeFilter { filter: "a", options }];
        client.sends(subscribe_with(V5, 1, &filters, &[Property::SubscriptionIdentifier(9)]));
        client.asks([Request::Subscribe {
            consumer: ConsumerId(0),
            share: None,
            filter: "a".into(),
            qos_max: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            subscription_id: Some(9),
            retained,
        }]);
    }
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-3.9.3-2] [MQTT-3.1.1/4.7.1-2] [MQTT-3.1.1/4.7.1-3]
/// [MQTT-3.1.1/4.7.3-1] [MQTT-3.1.1/3.9.3-2]: what is no filter fails in its place, the others are good.
#[test]
fn filter_that_is_none_fails_alone() {
    for version in [V3, V5] {
        let mut client = Client::connected(version);
        let filters = ["a/#/b", "a", "b+", ""].map(|filter| (filter, QoS::AtMostOnce));
        client.sends(subscribe(version, 5, &filters));
        let failed = ReasonCode::TopicFilterInvalid;
        let words = if version == V5 { "filter 1: `#` must be the last level of the filter" } else { "" };
        client.receives([suback_because(version, 5, &[failed, ReasonCode::Success, failed, failed], words)]);
        client.asks([subscribed("a", QoS::AtMostOnce)]);
    }
}

/// [MQTT-3.8.4-6], section 3.9.3: a filter that is not allowed is answered in its place, in 3.1.1 by the one word that it has.
#[test]
fn subscriptions_that_are_not_allowed_are_answered() {
    for (version, words) in [(V3, ""), (V5, "filter 1: not authorized")] {
        let mut client = Client::connected(version);
        client.harness.broker.subscribed.push_back(Err(Refusal::NotAuthorized));
        client.sends(subscribe(version, 5, &["a", "b"].map(|filter| (filter, QoS::AtMostOnce))));
        let reasons = [ReasonCode::NotAuthorized, ReasonCode::Success];
        client.receives([suback_because(version, 5, &reasons, words)]);
    }
}

/// [MQTT-3.9.3-2] [MQTT-3.8.4-7]: why the broker refuses.
#[test]
fn refused_subscriptions_are_answered() {
    let mut client = Client::connected(V5);
    client.harness.broker.subscribed.extend([
        Err(Refusal::TooManySubscriptions { limit: 1 }),
        Err(Refusal::TooManyLevels { levels: 9, limit: 1 }),
        Err(Refusal::QueueFull),
    ]);
    client.sends(subscribe(V5, 5, &["a", "b", "c"].map(|filter| (filter, QoS::AtMostOnce))));
    let words = "filter 1: the session has 1 subscriptions, which is the limit";
    client.receives([suback_because(
        V5,
        5,
        &[ReasonCode::QuotaExceeded, ReasonCode::TopicFilterInvalid, ReasonCode::QuotaExceeded],
        words,
    )]);
}

/// [MQTT-3.1.2-29] [MQTT-3.9.2-1] [MQTT-3.11.2-1]: not in words where the client does not want them or they do not fit.
#[test]
fn refusals_are_put_in_words_only_where_they_are_welcome_and_fit() {
    let failed = [ReasonCode::Success, ReasonCode::TopicFilterInvalid];
    for script in
        [connect(V5).with(Property::RequestProblemInformation(false)), connect(V5).packet_bytes_max(50)]
    {
        let mut client = Client::connected_by(script);
        client.sends(subscribe(V5, 5, &["a", "#/b"].map(|filter| (filter, QoS::AtMostOnce))));
        client.receives([suback(V5, 5, &failed)]);
        client.sends(unsubscribe(V5, 6, &["a", "#/b"])).receives([unsuback_because(V5, 6, &failed, "")]);
    }
}

/// Section 4.8.2: the group's name and the filter are told apart; clients of 3.1.1 may share as well. Section 3.8.3.1: no retained
/// messages, whatever is asked.
#[test]
fn shared_subscriptions_name_their_group() {
    for version in VERSIONS {
        let mut client = Client::connected(version);
        let filters = ["$share/group/a/+", "$share/$x//b/#", "$share"].map(|text| (text, QoS::AtLeastOnce));
        client.sends(subscribe(version, 5, &filters));
        client.receives([suback(version, 5, &[ReasonCode::GrantedQoS1; 3])]);
        let asked = [(Some("group"), "a/+"), (Some("$x"), "/b/#"), (None, "$share")];
        client.asks(asked.map(|(share, filter)| Request::Subscribe {
            consumer: ConsumerId(0),
            share: share.map(str::to_owned),
            filter: filter.into(),
            qos_max: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            subscription_id: None,
            retained: match share {
                Some(_) => RetainedDelivery::Never,
                None => RetainedDelivery::Always,
            },
        }));
        client.sends(unsubscribe(version, 6, &["$share/group/a/+"]));
        client.receives([unsuback_because(version, 6, &[ReasonCode::Success], "")]);
        client.asks([Request::Unsubscribe {
            consumer: ConsumerId(0),
            share: Some("group".into()),
            filter: "a/+".into(),
        }]);
    }
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]: what names no group, or no filter behind it, fails alone.
#[test]
fn shared_subscriptions_without_a_name_or_a_filter_fail() {
    let no_share = "a shared subscription is `$share/`, a name without wildcards, `/` and a filter";
    let texts =
        ["$share/", "$share/g", "$share//a", "$share/+/a", "$share/g#/a"].map(|text| (text, no_share));
    let filters =
        [("$share/g/", "the topic is empty"), ("$share/g/a#", "a wildcard must stand alone in its level")];
    for (text, why) in [&texts[..], &filters].concat() {
        for version in [V3, V5] {
            let words = if version == V5 { format!("filter 1: {why}") } else { String::new() };
            let mut client = Client::connected(version);
            client.sends(subscribe(version, 5, &[(text, QoS::AtMostOnce), ("a", QoS::AtMostOnce)]));
            let reasons = [ReasonCode::TopicFilterInvalid, ReasonCode::Success];
            client.receives([suback_because(version, 5, &reasons, &words)]);
            client.asks([subscribed("a", QoS::AtMostOnce)]);
            client.sends(unsubscribe(version, 6, &[text]));
            let reasons = [ReasonCode::TopicFilterInvalid];
            client.receives([unsuback_because(version, 6, &reasons, &words)]).asks([]);
        }
    }
}

/// [MQTT-3.8.3-4]
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut client = Client::connected(V5);
    let packet = b"\x82\x0e\x00\x05\x00\x00\x08$share/a\x04";
    assert_eq!(usize::from(packet[1]) + 2, packet.len());
    client.sends(packet).is_disconnected(ReasonCode::ProtocolError);
}

/// [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT-3.1.1/3.8.3-3] [MQTT-3.1.1/3.10.3-2]
#[test]
fn packets_without_a_filter_are_protocol_errors() {
    for packet in [b"\x82\x03\x00\x05\x00", b"\xa2\x03\x00\x05\x00"] {
        let mut client = Client::connected(V5);
        client.sends(packet).is_disconnected(ReasonCode::ProtocolError);
    }
    for packet in [b"\x82\x02\x00\x05", b"\xa2\x02\x00\x05"] {
        let mut client = Client::connected(V3);
        client.sends(packet).is_disconnected(ReasonCode::ProtocolError);
    }
}

/// [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6] [MQTT-3.1.1/3.10.4-4]
/// [MQTT-3.1.1/3.10.4-5] [MQTT-3.1.1/3.10.4-6] [MQTT-3.1.1/2.3.1-7]; in 3.1.1 it always succeeds.
#[test]
fn each_unsubscription_is_answered_in_its_place() {
    let reasons = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted, ReasonCode::TopicFilterInvalid];
    for version in VERSIONS {
        let mut client = Client::connected(version);
        client.harness.broker.unsubscribed.extend([true, false]);
        let words = if version == V5 { "filter 3: `#` must be the last level of the filter" } else { "" };
        client
            .sends(unsubscribe(version, 6, &["a", "b/#", "#/b"]))
            .receives([unsuback_because(version, 6, &reasons, words)]);
        client.asks(["a", "b/#"].map(|filter| Request::Unsubscribe {
            consumer: ConsumerId(0),
            share: None,
            filter: filter.into(),
        }));
    }
}

/// [MQTT-3.1.2-24]: an answer that the client does not take cannot be left out.
#[test]
fn answer_too_large_for_the_client_closes() {
    let mut client = Client::connected_by(connect(V5).packet_bytes_max(30));
    let filters = ["a"; 40].map(|filter| (filter, QoS::AtMostOnce));
    client.sends(subscribe(V5, 5, &filters)).is_disconnected(ReasonCode::PacketTooLarge);
    let mut client = Client::connected(V3);
    client.sends(subscribe(V3, 5, &filters)).receives([suback(V3, 5, &[ReasonCode::Success; 40])]);
}
