//! rumqttc (Rust): a round trip at each quality of service, with its 3.1.1 and its 5.0 client.
//!
//! The two clients are separate types of the same shape, so one macro writes the check for both.

use crate::harness::{DEADLINE, Gateway};

/// Subscribes, publishes ten messages and expects them back once and in order.
macro_rules! round_trip {
    ($client:path, $options:path, $publish:pat => $payload:expr, $suback:pat, $qos:expr) => {{
        let gateway = Gateway::standard();
        let options = <$options>::new("rumqttc", "127.0.0.1", gateway.port("mqtt"));
        let (client, mut connection) = <$client>::new(options, 64);
        client.subscribe("rust/+", $qos).expect("the request channel has room");
        let mut received = Vec::new();
        while received.len() < 10 {
            match connection
                .recv_timeout(DEADLINE)
                .expect("an event before the deadline")
                .expect("a good connection")
            {
                $suback => {
                    for number in 0..10_u8 {
                        client
                            .publish("rust/x", $qos, false, vec![number])
                            .expect("the request channel has room");
                    }
                }
                $publish => received.push($payload),
                _ => {}
            }
        }
        let expected: Vec<_> = (0..10_u8).map(|number| ($qos, vec![number])).collect();
        assert_eq!(received, expected);
    }};
}

fn version_3_1_1(qos: rumqttc::QoS) {
    use rumqttc::{Client, Event, MqttOptions, Packet};
    round_trip!(
        Client,
        MqttOptions,
        Event::Incoming(Packet::Publish(publish)) => (publish.qos, publish.payload.to_vec()),
        Event::Incoming(Packet::SubAck(_)),
        qos
    );
}

fn version_5(qos: rumqttc::v5::mqttbytes::QoS) {
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{Client, Event, MqttOptions};
    round_trip!(
        Client,
        MqttOptions,
        Event::Incoming(Packet::Publish(publish)) => (publish.qos, publish.payload.to_vec()),
        Event::Incoming(Packet::SubAck(_)),
        qos
    );
}

/// [MQTT-4.3.1-1] [MQTT-4.2-1] [MQTT-3.1.1/4.3.1-1] [MQTT-3.1.1/7.1.1-1]: QoS 0.
#[test]
fn qos0_round_trip() {
    version_3_1_1(rumqttc::QoS::AtMostOnce);
    version_5(rumqttc::v5::mqttbytes::QoS::AtMostOnce);
}

/// [MQTT-4.3.2-1] [MQTT-3.1.1/4.3.2-1]: QoS 1.
#[test]
fn qos1_round_trip() {
    version_3_1_1(rumqttc::QoS::AtLeastOnce);
    version_5(rumqttc::v5::mqttbytes::QoS::AtLeastOnce);
}

/// [MQTT-4.3.3-1] [MQTT-3.1.1/4.3.3-1]: QoS 2.
#[test]
fn qos2_round_trip() {
    version_3_1_1(rumqttc::QoS::ExactlyOnce);
    version_5(rumqttc::v5::mqttbytes::QoS::ExactlyOnce);
}
