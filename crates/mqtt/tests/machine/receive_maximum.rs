//! How many messages a client may have unacknowledged: section 4.9 in the direction to the gateway.

use crate::client::Client;
use crate::packets::{V3, V5, connect, puback, pubcomp, publish, publish_1, publish_2, pubrec, pubrel};
use std::time::Duration;
use tidegate_mqtt::codec::ReasonCode;
use tidegate_mqtt::{MqttOptions, ReceiveMaximumPolicy};
use tidegate_protocol::{Attached, Attachment, Refusal};
use tidegate_testkit::script::Request;

/// [MQTT-3.3.4-7]
#[test]
fn messages_beyond_the_receive_maximum_close() {
    let options = || MqttOptions { receive_maximum: 2, ..MqttOptions::default() };
    for third in [publish_1(V5, 3, "a", "x"), publish_2(V5, 3, "a", "x")] {
        let mut client = Client::connected_with(connect(V5), options());
        client.sends([publish_2(V5, 1, "a", "x"), publish_2(V5, 2, "a", "x")].concat());
        client.sends(publish(V5, "a", "x")).receives([pubrec(1), pubrec(2)]);
        client.sends(publish_2(V5, 2, "a", "x")).receives([pubrec(2)]);
        client.sends(third).is_disconnected(ReasonCode::ReceiveMaximumExceeded);
    }
    let mut client = Client::connected_with(connect(V5), options());
    for number in 1..100 {
        client.sends(
            [publish_2(V5, number, "a", "x"), pubrel(number), publish_1(V5, number, "a", "x")].concat(),
        );
        client.receives([pubrec(number), pubcomp(number), puback(number)]);
    }
}

/// The listener option `receive_maximum_policy`: a lenient listener takes what is too much, with all that belongs to it, and slows down.
#[test]
fn lenient_listener_takes_messages_beyond_the_receive_maximum() {
    let receive_maximum_policy = ReceiveMaximumPolicy::Lenient;
    let options = MqttOptions { receive_maximum: 2, receive_maximum_policy, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options);
    for number in 1..10 {
        client.sends(publish_2(V5, number, "a", "x")).receives([pubrec(number)]);
        let slowed =
            client.harness.take_requests().iter().any(|request| matches!(request, Request::SlowDown(_)));
        assert_eq!(slowed, number > 2);
    }
    client.sends(publish_2(V5, 9, "a", "x")).receives([pubrec(9)]).asks([]);
    client.sends(publish_1(V5, 10, "a", "x")).receives([puback(10)]);
    assert!(matches!(client.harness.take_requests()[..], [Request::SlowDown(_), Request::Publish { .. }]));
    for number in 1..10 {
        client.sends(pubrel(number)).receives([pubcomp(number)]);
    }
}

/// [MQTT-3.3.4-7] and section 4.9: what counts is PUBLISH until PUBACK, PUBCOMP, or a PUBREC that refuses. Not PUBREC, not PUBREL
/// of an earlier connection.
#[test]
fn what_counts_against_the_receive_maximum() {
    let options = || MqttOptions { receive_maximum: 2, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V5), options());
    for number in 1..10 {
        client.harness.broker.published.push_back(Err(Refusal::QueueFull));
        client.sends(publish_2(V5, number, "a", "x"));
    }
    client.harness.take_output();
    client.sends([publish_2(V5, 1, "a", "x"), publish_2(V5, 2, "a", "x")].concat());
    client.receives([pubrec(1), pubrec(2)]);
    let (saved, _) = client.is_lost();

    let mut client = Client::silent_with(V5, options());
    let attached = Attached { present: true, saved: vec![saved], expiry: Duration::MAX, is_durable: false };
    client.harness.broker.attachments.push_back(Attachment::Now(attached));
    client.sends(connect(V5).continued().bytes()).is_accepted();
    // Released from here, they are not counted; sent again, they are.
    client.sends([publish_2(V5, 3, "a", "x"), publish_2(V5, 4, "a", "x"), pubrel(1)].concat());
    client.receives([pubrec(3), pubrec(4), pubcomp(1)]);
    client.sends(publish_2(V5, 2, "a", "x")).is_disconnected(ReasonCode::ReceiveMaximumExceeded);
}

/// Section 4.9: MQTT 3.1.1 has no receive maximum.
#[test]
fn version_3_has_no_receive_maximum() {
    let options = MqttOptions { receive_maximum: 2, ..MqttOptions::default() };
    let mut client = Client::connected_with(connect(V3), options);
    for number in 1..10 {
        client.sends(publish_2(V3, number, "a", "x")).receives([pubrec(number)]);
    }
}
