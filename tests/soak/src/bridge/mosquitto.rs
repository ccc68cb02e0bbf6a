//! Mosquitto as the upstream of a bridge.

use super::client::{Client, Heard, Session};
use super::scene::PATIENCE;
use super::upstream::{Arrival, Inbox, Letter, Outbox, Upstream};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_mqtt::codec::Version;
use tidegate_testkit::servers;

/// How long somebody waits before connecting again.
const A_MOMENT: Duration = Duration::from_millis(20);

/// Mosquitto as other people run it, with its persistence.
#[derive(Debug)]
pub struct Mosquitto {
    server: Mutex<servers::Mosquitto>,
    address: SocketAddr,
    publishers: AtomicUsize,
}

impl Mosquitto {
    /// Starts one.
    pub fn start() -> Mosquitto {
        let server = servers::Mosquitto::start();
        Mosquitto { address: server.address(), server: Mutex::new(server), publishers: AtomicUsize::new(0) }
    }
}

impl Upstream for Mosquitto {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn bridge(&self, at: SocketAddr) -> String {
        format!(
            r#"
[[bridge]]
name = "central"
kind = "mqtt"
url = "mqtt://{at}"
retry_first = "20ms"
retry_longest = "200ms"
probe_after = "300ms"
stalled_after = "700ms"

[[bridge.forward]]
name = "telemetry"
from = "telemetry/#"
topic = "plant/{{topic}}"

[[bridge.receive]]
name = "commands"
filter = "commands/#"
to = "{{topic}}"
"#
        )
    }

    /// It writes what it has when it is asked to end; whatever it loses when it is killed, is its own loss.
    fn restart(&self) {
        self.server.lock().expect("nobody panics with the server").stop_and_restart();
    }

    fn inbox(&self) -> Box<dyn Inbox> {
        let mut inbox = Subscriber { address: self.address, client: None };
        inbox.connect().expect("mosquitto lets the audit in");
        Box::new(inbox)
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        let number = self.publishers.fetch_add(1, Ordering::Relaxed);
        Box::new(Publisher { address: self.address, client_id: format!("cloud-{number}"), client: None })
    }
}

struct Subscriber {
    address: SocketAddr,
    client: Option<Client>,
}

impl Subscriber {
    fn connect(&mut self) -> io::Result<()> {
        let mut client = Client::connect(self.address, Version::V5, "auditor", Session::Kept)?;
        client.subscribe("plant/#")?;
        self.client = Some(client);
        Ok(())
    }

    fn take(&mut self, patience: Duration) -> io::Result<Option<Arrival>> {
        let Some(client) = &mut self.client else {
            self.connect()?;
            return Ok(None);
        };
        let Some(Heard::Message(message)) = client.next(patience)? else { return Ok(None) };
        if let Some(packet_id) = message.packet_id {
            // It has arrived, whether or not this gets through.
            let _ = client.acknowledge(packet_id);
        }
        Ok(Some(Arrival { payload: message.payload, id: message.id, is_redelivered: message.is_again }))
    }
}

impl Inbox for Subscriber {
    fn next(&mut self, patience: Duration) -> Option<Arrival> {
        self.take(patience).unwrap_or_else(|_| {
            self.client = None;
            std::thread::sleep(A_MOMENT);
            None
        })
    }
}

struct Publisher {
    address: SocketAddr,
    client_id: String,
    client: Option<Client>,
}

impl Publisher {
    fn send(&mut self, letter: &Letter<'_>) -> io::Result<bool> {
        if self.client.is_none() {
            self.client =
                Some(Client::connect(self.address, Version::V5, &self.client_id, Session::Dropped)?);
        }
        let Some(client) = &mut self.client else { return Ok(false) };
        let packet_id = client.publish(letter.topic, letter.payload, letter.id)?;
        loop {
            match client.next(PATIENCE)? {
                Some(Heard::Acknowledged(id, is_taken)) if id == packet_id => return Ok(is_taken),
                Some(_) => {}
                None => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

impl Outbox for Publisher {
    fn publish(&mut self, letter: &Letter<'_>) -> bool {
        self.send(letter).unwrap_or_else(|_| {
            self.client = None;
            false
        })
    }
}
