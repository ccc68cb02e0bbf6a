//! What cannot cross is counted, and nobody else misses it.

use crate::sides::{MqttMessage, Sides, StompMessage};
use std::time::Duration;
use tidegate_message::{ByteSize, Properties};
use tidegate_mqtt::codec::Version as Mqtt;
use tidegate_stomp::codec::Version as Stomp;
use tidegate_stomp::{StompOptions, VirtualHost};

/// Publishes to a client of each STOMP version, and to one below a virtual host; returns who received it, and how often it was counted.
fn receivers(message: &MqttMessage) -> ([bool; 4], u64) {
    let mut sides = Sides::new();
    let mut sender = sides.mqtt(Mqtt::V5, &[]);
    let witness = sides.mqtt(Mqtt::V5, &["plant/#"]);
    let clients = Stomp::ALL.map(|version| sides.stomp(version, &["/topic/plant/#"]));
    let virtual_hosts = vec![VirtualHost { host: "one".to_owned(), root: "plant".to_owned() }];
    let options = StompOptions { virtual_hosts, ..StompOptions::default() };
    let hosted = sides.stomp_with(options, Stomp::V1_2, &["/topic/#"]);
    sides.publish(&mut sender, message);
    assert_eq!(witness.received(), std::slice::from_ref(message), "others receive it");
    let [old, older, newest] = clients.map(|client| client.received().len() == 1);
    ([old, older, newest, hosted.received().len() == 1], sides.world.dropped("not_expressible"))
}

fn message(properties: Properties) -> MqttMessage {
    MqttMessage { properties, ..MqttMessage::plain("plant/a", b"x") }
}

#[test]
fn what_a_version_cannot_escape_is_not_told_and_counted() {
    let user = |name: &str, value: &str| Properties {
        user: vec![(name.into(), value.into())],
        ..Properties::default()
    };
    let content_type = |text: &str| Properties { content_type: Some(text.into()), ..Properties::default() };
    let reply_to = |text: &str| Properties { reply_to: Some(text.into()), ..Properties::default() };
    let cases = [
        (message(Properties::default()), [true, true, true, true]),
        (message(user("a", "b:c\\")), [true, true, true, true]),
        (message(user("a:", "b")), [false, true, true, true]),
        (message(user("a", "\n")), [false, true, true, true]),
        (message(user("a", "\r")), [false, false, true, true]),
        (message(content_type("\n")), [false, true, true, true]),
        (message(reply_to("plant/\r")), [false, false, true, true]),
        (MqttMessage::plain("plant/\n", b"x"), [false, true, true, true]),
        (message(reply_to("plant/answers")), [true, true, true, true]),
        (message(reply_to("elsewhere")), [true, true, true, false]),
        (message(reply_to("$share/g/a")), [false; 4]),
        (message(reply_to("$reply/t")), [false; 4]),
        (message(reply_to("$queue/")), [false; 4]),
    ];
    for (message, expected) in cases {
        let left_out = expected.iter().filter(|receives| !**receives).count() as u64;
        assert_eq!(receivers(&message), (expected, left_out), "{message:?}");
    }
}

/// MQTT writes lengths in 16 bits.
#[test]
fn what_is_too_long_for_a_property_is_not_told_and_counted() {
    let mut sides = Sides::new();
    let long = ByteSize::from_bytes(1 << 20);
    let options = StompOptions { max_head_size: long, max_header_line_size: long, ..StompOptions::default() };
    let sender = sides.stomp_with(options, Stomp::V1_2, &[]);
    let [new, old] = [Mqtt::V5, Mqtt::V3].map(|version| sides.mqtt(version, &["a"]));
    for (bytes, received) in [(65_535, 1), (65_536, 0)] {
        let headers =
            vec![("destination".to_owned(), "/topic/a".to_owned()), ("x".to_owned(), "y".repeat(bytes))];
        sides.send_frame(&sender, &StompMessage { headers, body: b"z".to_vec() });
        assert_eq!((new.received().len(), old.received().len()), (received, 1), "{bytes}");
    }
    assert_eq!(sides.world.dropped("not_expressible"), 1);
}

/// Both protocols tell what remains of a message's time, and neither delivers it after.
#[test]
fn the_remaining_time_is_told() {
    let mut sides = Sides::new();
    let mut device = sides.mqtt(Mqtt::V5, &[]);
    let kept = MqttMessage { retain: true, expiry_seconds: Some(10), ..MqttMessage::plain("a", b"x") };
    sides.publish(&mut device, &kept);
    sides.advance(Duration::from_millis(3_400));
    let service = sides.stomp_keeping(Stomp::V1_2, &["/topic/a"]);
    assert_eq!(service.received()[0].header("expiration"), Some("6600"));
    assert_eq!(sides.mqtt_keeping(Mqtt::V5, &["a"]).received()[0].expiry_seconds, Some(7));
    sides.advance(Duration::from_millis(6_600));
    assert_eq!(sides.stomp_keeping(Stomp::V1_2, &["/topic/a"]).received(), []);
    assert_eq!(sides.mqtt_keeping(Mqtt::V3, &["a"]).received(), []);
}
