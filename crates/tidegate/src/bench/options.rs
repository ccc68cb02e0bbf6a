//! The command line of `tidegate bench`, before anything has been checked.

use super::layout::Layout;
use super::side::{Protocol, Transport};
use tidegate_config::TimeSpan;

/// Below the options of `--help`.
const NOTES: &str = "\
Works with any MQTT broker, and with the STOMP topics of this gateway, over plain TCP or WebSocket. TLS is not supported.

Publishers and subscribers may speak different protocols, as devices and browsers do:
  tidegate bench --subscribe-protocol stomp --subscribe-transport websocket

Without --rate the loop is closed: each publisher has at most --window messages under way, counted at the subscribers, so the \
figures show the highest throughput without loss. With --rate the loop is open: messages are due at fixed times whether or not \
the broker keeps up, and latency counts from the time at which a message was due.

Ctrl-C ends the run early and prints what there is. Exit code 0, or 1 if the broker could not be reached, if connections \
broke, or if messages of QoS 1 or 2 were lost.";

/// What to do to which broker.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct BenchArgs {
    /// Where the broker listens [default: 127.0.0.1:1883, for STOMP 127.0.0.1:61613, for WebSocket 127.0.0.1:8083].
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) target: Option<String>,
    /// What to speak: MQTT 3.1.1, MQTT 5.0 or STOMP 1.2.
    #[arg(long, value_enum, default_value_t = Protocol::Mqtt)]
    pub(super) protocol: Protocol,
    /// What carries it.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(super) transport: Transport,
    /// Where publishers connect, where that is another address.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) publish_target: Option<String>,
    /// What publishers speak, where that is another protocol.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub(super) publish_protocol: Option<Protocol>,
    /// What carries it for publishers.
    #[arg(long, value_enum, value_name = "TRANSPORT")]
    pub(super) publish_transport: Option<Transport>,
    /// Where subscribers connect, where that is another address.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) subscribe_target: Option<String>,
    /// What subscribers speak, where that is another protocol.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub(super) subscribe_protocol: Option<Protocol>,
    /// What carries it for subscribers.
    #[arg(long, value_enum, value_name = "TRANSPORT")]
    pub(super) subscribe_transport: Option<Transport>,
    /// Who publishes to whom.
    #[arg(long, value_enum, default_value_t = Layout::Pairs)]
    pub(super) layout: Layout,
    /// Connections that publish.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) publishers: u32,
    /// Connections that subscribe [default: as many as publishers in pairs, otherwise 1].
    #[arg(long, value_name = "N")]
    pub(super) subscribers: Option<u32>,
    /// Topics that each publisher uses in turn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) topics: u32,
    /// Quality of service of publications and subscriptions. For STOMP 0 or 1: 1 asks for a receipt and acknowledges each message.
    #[arg(long, value_name = "0|1|2", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(super) qos: u8,
    /// Payload of each message, in bytes; the first 16 are the load generator's own.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub(super) size: usize,
    /// Messages per second of all publishers together; 0 is as fast as the broker delivers.
    #[arg(long, value_name = "MESSAGES", default_value_t = 0)]
    pub(super) rate: u64,
    /// Messages under way per publisher; with --rate (QoS 1 and 2 only) messages that wait for their acknowledgement
    /// [default: 100].
    #[arg(long, value_name = "N")]
    pub(super) window: Option<u32>,
    /// How long to measure, as in 500ms, 10s, 5m.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) duration: TimeSpan,
    /// How long to run before that.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) warmup: TimeSpan,
    /// Publish every message as retained, and clear the topics at the end.
    #[arg(long)]
    pub(super) retain: bool,
    /// Subscribers whose subscriptions outlive their connections, so that a broker with a store keeps what they are to get; they are ended
    /// when the run ends.
    #[arg(long)]
    pub(super) durable: bool,
    /// User name (STOMP: login).
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// Password (STOMP: passcode). Other users of this machine can see it in the list of processes.
    #[arg(long, value_name = "PASSWORD", requires = "username")]
    pub(super) password: Option<String>,
    /// Threads that the connections are dealt out to.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) threads: u32,
    /// Measure the CPU time of this process too, such as the broker's (Linux).
    #[arg(long, value_name = "PID")]
    pub(super) cpu_of: Option<u32>,
    /// Write options and figures as JSON; `-` is the standard output, and the table then goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<String>,
    /// Print no line per second.
    #[arg(long)]
    pub(super) quiet: bool,
}
