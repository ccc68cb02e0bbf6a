//! The command line of `tidegate demo`.

use clap::{Args, value_parser};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A port whose number is 0 is chosen by the system.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Simulated machines, each a client over MQTT 5.
    #[arg(long, value_name = "COUNT", default_value_t = 300, value_parser = value_parser!(u32).range(1..=5000))]
    pub(crate) devices: u32,
    /// Messages per second, all machines together.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 600, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// How many machines a minute lose their connection, and come back after a while.
    #[arg(long, value_name = "PER_MINUTE", default_value_t = 6, value_parser = value_parser!(u32).range(0..=6000))]
    pub(crate) losses: u32,
    /// The address that everything listens on. Every client that reaches it is let in.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The port of the page.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// The port of STOMP and MQTT over WebSocket.
    #[arg(long, value_name = "PORT", default_value_t = 8083)]
    websocket_port: u16,
    /// The port of MQTT over TCP.
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    mqtt_port: u16,
    /// The port of STOMP over TCP.
    #[arg(long, value_name = "PORT", default_value_t = 61613)]
    stomp_port: u16,
}

impl DemoArgs {
    /// What the flags change in the demo's configuration, as `--set` would take it.
    pub(crate) fn settings(&self) -> [String; 5] {
        let bind = |key: &str, port: u16| format!("{key}.bind={}", SocketAddr::new(self.bind, port));
        [
            bind("listener.mqtt", self.mqtt_port),
            bind("listener.stomp", self.stomp_port),
            bind("listener.web", self.websocket_port),
            bind("http", self.http_port),
            // Machines that come and go are on the page; in the log they would bury the page's address.
            "log.level=warn".to_owned(),
        ]
    }
}

/// The flag that moves the listener of this name.
pub(crate) fn port_flag(listener: &str) -> &'static str {
    match listener {
        "mqtt" => "--mqtt-port",
        "stomp" => "--stomp-port",
        "web" => "--websocket-port",
        _ => "--http-port",
    }
}
