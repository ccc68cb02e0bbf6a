//! A device in Rust: publishes telemetry with QoS 1 and obeys commands, with rumqttc.
//!
//! ```text
//! cargo run --example device -- 127.0.0.1 1883 boiler-8
//! mosquitto_sub -t 'telemetry/#' -v
//! mosquitto_pub -t commands/boiler-8 -m stop
//! ```

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use rumqttc::{Client, Event, LastWill, MqttOptions, Outgoing, Packet, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = arguments.next().map_or(Ok(1883), |port| port.parse())?;
    let device = arguments.next().unwrap_or_else(|| "boiler-8".to_owned());

    let mut options = MqttOptions::new(&device, host, port);
    options.set_keep_alive(Duration::from_secs(30));
    options.set_last_will(LastWill::new(format!("status/{device}"), "offline", QoS::AtLeastOnce, true));
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe(format!("commands/{device}"), QoS::AtLeastOnce)?;
    let publisher = client.clone();
    let telemetry = format!("telemetry/{device}");
    std::thread::spawn(move || publish_readings(&publisher, &telemetry));

    let mut output = std::io::stdout();
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::PubAck(_)) => writeln!(output, "reading acknowledged")?,
            Event::Incoming(Packet::Publish(command)) => {
                writeln!(output, "command {:?}", command.payload)?;
                if command.payload.as_ref() == b"stop" {
                    client.disconnect()?;
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    Ok(())
}

/// One reading a second until the connection is gone. When the link is slow, `publish` waits: the request channel is short.
fn publish_readings(client: &Client, topic: &str) {
    for number in 0_u64.. {
        let reading = format!("{{\"number\":{number}}}");
        if client.publish(topic, QoS::AtLeastOnce, false, reading).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
