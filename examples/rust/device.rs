//! A device in Rust, with rumqttc: a pump that publishes its pressure over MQTT 5, answers commands, and is missed when it dies.
//!
//! ```text
//! cargo run --example device -- 127.0.0.1 1883 pump-8
//! mosquitto_sub -t 'plant/#' -v
//! mosquitto_rr -V mqttv5 -t plant/lab/pump-8/command -e answers/me -m report
//! ```
//!
//! Its topics are `plant/lab/<device>/…`, so that the page in ../browser and that of `tidegate demo` show it: `pressure` and `status` are
//! retained, and the will sets `status` to `offline` when the connection breaks. A command is answered where its Response Topic says,
//! with its Correlation Data. The channel to the connection is short: when the link is slow, `publish` waits, and readings
//! are made no faster than they leave.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, SystemTime};

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, Publish, PublishProperties};
use rumqttc::v5::{Client, Event, MqttOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = arguments.next().map_or(Ok(1883), |port| port.parse())?;
    let device = arguments.next().unwrap_or_else(|| "pump-8".to_owned());
    let topic = format!("plant/lab/{device}");
    let status = format!("{topic}/status");

    let mut options = MqttOptions::new(&device, host, port);
    options.set_keep_alive(Duration::from_secs(30));
    options.set_last_will(LastWill::new(&status, "offline", QoS::AtLeastOnce, true, None));
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe(format!("{topic}/command"), QoS::AtLeastOnce)?;
    client.publish(&status, QoS::AtLeastOnce, true, "online")?;
    let publisher = client.clone();
    std::thread::spawn(move || publish_readings(&publisher, &format!("{topic}/pressure")));

    let mut output = std::io::stdout();
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::Publish(command)) => {
                writeln!(output, "command {:?}", command.payload)?;
                answer(&client, &command)?;
                if is(&command, "stop") {
                    client.publish(&status, QoS::AtLeastOnce, true, "offline")?;
                    client.disconnect()?;
                }
            }
            Event::Incoming(Packet::PubAck(_)) => writeln!(output, "acknowledged")?,
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a command is this word, alone or as JSON, which is how pages write it.
fn is(command: &Publish, word: &str) -> bool {
    let json = format!("{{\"command\":\"{word}\"}}");
    command.payload == word.as_bytes() || command.payload == json.as_bytes()
}

/// Answers where the command asks for an answer (MQTT 5.0 section 4.10).
fn answer(client: &Client, command: &Publish) -> Result<(), Box<dyn Error>> {
    let Some(asked) = &command.properties else { return Ok(()) };
    let Some(response_topic) = asked.response_topic.clone() else { return Ok(()) };
    let answer = match (is(command, "report"), is(command, "stop")) {
        (true, _) => r#"{"strokes_per_minute":42}"#,
        (_, true) => r#"{"stopping":true}"#,
        _ => r#"{"error":"unknown command","commands":["report","stop"]}"#,
    };
    let properties = PublishProperties {
        content_type: Some("application/json".to_owned()),
        correlation_data: asked.correlation_data.clone(),
        ..PublishProperties::default()
    };
    client.publish_with_properties(response_topic, QoS::AtLeastOnce, false, answer, properties)?;
    Ok(())
}

/// One reading a second until the connection is gone.
fn publish_readings(client: &Client, topic: &str) {
    for number in 0_u32.. {
        let bar = 4.0 + (f64::from(number) / 10.0).sin();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let reading = format!("{{\"value\":{bar:.2},\"unit\":\"bar\",\"at\":{at}}}");
        if client.publish(topic, QoS::AtLeastOnce, true, reading).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
