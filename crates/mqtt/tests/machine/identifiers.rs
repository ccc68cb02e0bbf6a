//! Client identifiers, and what a refused CONNECT stops: sections 3.1.3.1 and 3.1.4.

use crate::client::Client;
use crate::packets::{PINGREQ, V3, V5, V31, VERSIONS, connect, publish, subscribe, will};
use tidegate_message::QoS;
use tidegate_mqtt::codec::{ReasonCode, Will};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::{Attachment, Refusal};
use tidegate_testkit::script::{Harness, Request};

/// [MQTT-3.1.3-5] [MQTT-3.1.1/3.1.3-5]: 1 to 23 of these characters; [MQTT-3.1.3-2] [MQTT-3.1.1/3.1.3-2]: asked for by
/// the whole of it.
#[test]
fn every_identifier_of_23_letters_and_digits_is_accepted() {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in VERSIONS {
        for (start, length) in (0..62).flat_map(|start| [1, 2, 22, 23].map(|length| (start, length))) {
            let mut client = Client::silent(version);
            let name = &*letters.chars().cycle().skip(start).take(length).collect::<String>();
            client.sends(connect(version).client_id(name).bytes()).is_accepted();
            match client.harness.take_requests().as_slice() {
                [Request::Attach { client_id, .. }] => assert_eq!(&**client_id, name),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// [MQTT-3.1.1/3.1.3-6]: each nameless client has a session of its own.
#[test]
fn nameless_clients_of_version_3_are_told_apart() {
    let mqtt = Mqtt::new(MqttOptions::default());
    let names = [1, 2].map(|connection| {
        let harness = Harness::open_for(&mqtt, |peer| peer.connection = connection);
        let mut client = Client { harness, version: V3 };
        client.sends(connect(V3).client_id("").bytes()).is_accepted();
        client.harness.connection().client_id().unwrap().to_owned()
    });
    assert!(!names[0].is_empty() && names[0] != names[1], "{names:?}");
}

/// [MQTT-3.1.4-6] [MQTT-3.1.1/3.1.4-5]: what stands behind a CONNECT that is refused.
#[test]
fn nothing_is_handled_behind_a_refused_connect() {
    for version in VERSIONS {
        let mut client = Client::silent(version);
        let refused = Attachment::Refused(Refusal::TooManySessions { limit: 1 });
        client.harness.broker.attachments.push_back(refused);
        let behind = [publish(version, "a", "x"), subscribe(version, 1, &[("a", QoS::AtMostOnce)])].concat();
        client.sends([connect(version).bytes(), behind.clone(), PINGREQ.to_vec()].concat());
        client.is_refused(match version {
            V31 | V3 => ReasonCode::ServerUnavailable,
            V5 => ReasonCode::QuotaExceeded,
        });
        match client.sends(behind).harness.take_requests().as_slice() {
            [Request::Attach { .. }] => {}
            other => panic!("{other:?}"),
        }
        client.receives_nothing();
    }
}

/// [MQTT-3.1.1/3.1.2-9]: a will of 3.1.1 is handed over with its QoS and its retain flag; section 3.1.2.6 of both.
#[test]
fn level_and_flag_of_a_will_are_handed_over() {
    for version in VERSIONS {
        for (qos, retain) in QoS::ALL.into_iter().flat_map(|qos| [(qos, false), (qos, true)]) {
            let mut client = Client::silent(version);
            client.sends(connect(version).will(Will { qos, retain, ..will("state") }).bytes());
            match client.harness.take_requests().as_slice() {
                [Request::Attach { will: Some(will), .. }] => {
                    assert_eq!((will.qos, will.retain, will.topic.as_str()), (qos, retain, "state"));
                    assert_eq!(&*will.payload, b"gone");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
