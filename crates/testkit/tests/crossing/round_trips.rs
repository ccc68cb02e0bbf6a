//! Whatever one protocol can say about a message comes back from the other one as it was.

use crate::sides::{MqttMessage, Sides, StompMessage};
use proptest::prelude::*;
use tidegate_message::{Properties, QoS};
use tidegate_mqtt::codec::Version as Mqtt;
use tidegate_stomp::codec::Version as Stomp;
use tidegate_stomp::{StompOptions, TopicSeparator, VirtualHost};

/// Any text that both protocols can carry: the odd characters more often than not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z:\\\\\r\n\t .*é-]{0,8}",
        "[^\\x00]{0,12}",
        "(user-){0,3}(qos|ack|receipt|reply-to|content-length|)"
    ]
}

fn topic() -> impl Strategy<Value = String> {
    "[a-c:\\\\\r\n.*é /]{1,10}"
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        topic(),
        topic().prop_map(|name| format!("$queue/{name}")),
        topic().prop_map(|name| format!("$reply/5b1f/{name}"))
    ]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn properties(root: &'static str) -> impl Strategy<Value = Properties> {
    let optional = |strategy: BoxedStrategy<String>| prop::option::of(strategy.prop_map(Into::into));
    let reply_to = address().prop_map(move |address| match address.strip_prefix("$queue/") {
        Some(name) => format!("$queue/{root}{name}"),
        None if address.starts_with('$') => address,
        None => format!("{root}{address}"),
    });
    let user = prop::collection::vec((text().prop_map(Into::into), text().prop_map(Into::into)), 0..5);
    let correlation = prop::option::of(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9),
        text().prop_map(String::into_bytes)
    ]);
    (optional(text().boxed()), optional(reply_to.boxed()), correlation, any::<Option<bool>>(), user).prop_map(
        |(content_type, reply_to, correlation, payload_is_text, user)| {
            let correlation = correlation.map(Into::into);
            Properties { content_type, reply_to, correlation, payload_is_text, user }
        },
    )
}

fn message(root: &'static str) -> impl Strategy<Value = MqttMessage> {
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    (topic(), payload, qos(), prop::option::of(1_u32..), properties(root)).prop_map(
        move |(topic, payload, qos, expiry_seconds, mut properties)| {
            // What is called text has to be some.
            if properties.payload_is_text == Some(true) && std::str::from_utf8(&payload).is_err() {
                properties.payload_is_text = Some(false);
            }
            let topic = format!("{root}in/{topic}");
            MqttMessage { topic, payload, qos, retain: false, expiry_seconds, properties }
        },
    )
}

/// A listener of each kind: both forms, with and without virtual host; and the root of its clients.
fn listeners() -> [(StompOptions, &'static str); 3] {
    let virtual_hosts = vec![VirtualHost { host: "one".to_owned(), root: "plant/1".to_owned() }];
    let dots = StompOptions { topic_separator: TopicSeparator::Dot, ..StompOptions::default() };
    [(StompOptions::default(), ""), (dots.clone(), ""), (StompOptions { virtual_hosts, ..dots }, "plant/1/")]
}

/// MQTT bytes -> machine -> broker -> MESSAGE -> the same as SEND -> broker -> MQTT bytes.
fn through_stomp(listener: usize, message: &MqttMessage) {
    let (options, root) = listeners()[listener].clone();
    let dots = options.topic_separator == TopicSeparator::Dot;
    let mut sides = Sides::new();
    let mut sender = sides.mqtt(Mqtt::V5, &[]);
    let receiver = sides.mqtt(Mqtt::V5, &[&format!("{root}out")]);
    let stomp = sides.stomp_with(options, Stomp::V1_2, &[if dots { "/topic/in.#" } else { "/topic/in/#" }]);
    sides.publish(&mut sender, message);
    let crossed = stomp.received();
    assert_eq!(crossed.len(), 1, "{message:?}");
    sides.send_frame(&stomp, &crossed[0].passed_on("/topic/out"));
    assert_eq!(receiver.received(), [MqttMessage { topic: format!("{root}out"), ..message.clone() }]);
}

/// A header that a client may send: a name that means something only as a user property, and any value.
fn user_header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof!["[a-z:\\\\\r\n é-]{1,8}", "(user-){1,3}(qos|ack|receipt|x|)"];
    (name, text()).prop_filter("a standard header is no user property", |(name, _)| {
        !["destination", "qos", "retain", "ack", "receipt"].contains(&&**name)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mqtt_through_stomp_is_the_same_message(message in message("")) {
        through_stomp(0, &message);
        through_stomp(1, &message);
    }

    #[test]
    fn mqtt_through_a_virtual_host_is_the_same_message(message in message("plant/1/")) {
        through_stomp(2, &message);
    }

    /// SEND -> broker -> MQTT bytes -> the same as PUBLISH -> broker -> MESSAGE.
    #[test]
    fn stomp_through_mqtt_is_the_same_message(
        body in prop::collection::vec(any::<u8>(), 0..20),
        content_type in prop::option::of(text()),
        correlation in prop::option::of(text()),
        qos in 0_u8..3,
        seconds in prop::option::of(1_u32..),
        user in prop::collection::vec(user_header(), 0..5),
    ) {
        let mut headers = vec![("qos".to_owned(), qos.to_string())];
        headers.extend(seconds.map(|seconds| ("expiration".to_owned(), (u64::from(seconds) * 1_000).to_string())));
        headers.extend(content_type.map(|text| ("content-type".to_owned(), text)));
        headers.push(("reply-to".to_owned(), "/queue/answers".to_owned()));
        headers.extend(correlation.map(|text| ("correlation-id".to_owned(), text)));
        headers.extend(user);
        let sent = StompMessage { headers, body };
        let mut sides = Sides::new();
        let mut mqtt = sides.mqtt(Mqtt::V5, &["in"]);
        let stomp = sides.stomp(Stomp::V1_2, &["/topic/out"]);
        sides.send_frame(&stomp, &sent.passed_on("/topic/in"));
        let crossed = mqtt.received();
        prop_assert_eq!(crossed.len(), 1);
        sides.publish(&mut mqtt, &MqttMessage { topic: "out".to_owned(), ..crossed[0].clone() });
        let back = stomp.received();
        prop_assert_eq!(back.len(), 1);
        prop_assert_eq!((back[0].lines(), &back[0].body), (sent.lines(), &sent.body));
    }
}
