//! Where MQTT 3.1 differs from 3.1.1; what they have in common is tested with all versions.

use crate::client::Client;
use crate::packets::{V31, connect, pubcomp, publish, publish_2, pubrec, pubrel, suback, subscribe};
use crate::publishing::published;
use crate::subscribing::subscribed;
use tidegate_message::QoS;
use tidegate_mqtt::codec::ReasonCode;
use tidegate_protocol::Refusal;

/// MQTT 3.1 section 3.1: its name belongs to its level.
#[test]
fn other_levels_under_the_name_of_version_3_1_are_refused() {
    for level in [2, 4, 5, 6, 0x83] {
        let mut bytes = connect(V31).bytes();
        bytes[10] = level;
        let mut client = Client::silent(V31);
        client.sends(bytes).is_refused(ReasonCode::UnsupportedProtocolVersion);
        client.asks([]);
    }
}

/// MQTT 3.1 section 3.1: no empty identifier; more than 23 characters are welcome here.
#[test]
fn client_identifier_of_version_3_1() {
    for script in [connect(V31).client_id(""), connect(V31).client_id("").continued()] {
        let mut client = Client::silent(V31);
        client.sends(script.bytes()).receives([vec![0x20, 2, 0, 2]]).asks([]);
        assert_eq!(client.harness.close_label(), Some("client_identifier_not_valid"));
    }
    let mut client = Client::silent(V31);
    client.sends(connect(V31).client_id("a-client-with-a-name-of-31-bytes").bytes());
    client.receives([vec![0x20, 2, 0, 0]]);
}

/// MQTT 3.1 section 3.1: flags may promise a user name and a password that are not there.
#[test]
fn credentials_of_version_3_1_may_be_missing() {
    for flags in [0x80, 0xC0] {
        let mut bytes = connect(V31).bytes();
        bytes[11] |= flags;
        let mut client = Client::silent(V31);
        client.sends(bytes).receives([vec![0x20, 2, 0, 0]]);
    }
}

/// MQTT 3.1 section 3.2: the byte of Session Present is reserved.
#[test]
fn session_of_version_3_1_is_continued_silently() {
    let mut client = Client::continues(V31, Vec::new());
    client.receives([vec![0x20, 2, 0, 0]]);
}

/// MQTT 3.1 section 2.1: flags that are not used may be set; what is sent again has DUP.
#[test]
fn unused_flags_of_version_3_1_mean_nothing() {
    let mut client = Client::connected(V31);
    let mut packets = [publish(V31, "a", "x"), publish_2(V31, 7, "a", "y"), pubrel(7), vec![0xC0, 0]];
    packets.iter_mut().for_each(|packet| packet[0] |= 0b1000);
    client.sends(packets.concat()).receives([pubrec(7), pubcomp(7), vec![0xD0, 0]]);
    client.asks([published("a", "x", QoS::AtMostOnce), published("a", "y", QoS::ExactlyOnce)]);
}

/// MQTT 3.1 sections 3.8 and 3.9: no word for a refusal, so the client is answered as if all were well.
#[test]
fn refused_subscription_of_version_3_1_looks_granted() {
    let mut client = Client::connected(V31);
    client.harness.broker.subscribed.push_back(Err(Refusal::TooManySubscriptions { limit: 1 }));
    let filters = [("a", QoS::ExactlyOnce), ("a/#/b", QoS::AtLeastOnce), ("c", QoS::AtMostOnce)];
    client.sends(subscribe(V31, 5, &filters));
    let reasons = [ReasonCode::GrantedQoS2, ReasonCode::GrantedQoS1, ReasonCode::Success];
    client.receives([suback(V31, 5, &reasons)]);
    client.asks([subscribed("a", QoS::ExactlyOnce), subscribed("c", QoS::AtMostOnce)]);
}
