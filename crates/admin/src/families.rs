//! The metric families, declared once: what is exposed and the reference page both come from here.
//!
//! Names follow OpenMetrics: base units, and a counter's family has no `_total`, which its samples get. Label values are
//! names of protocols and of the configuration, and fixed words, never text from a peer, so the number of series is bounded.

use prometheus_client::metrics::MetricType;

/// A metric family.
pub(crate) struct Family {
    /// The family's name, without the suffix that its samples carry.
    pub(crate) name: &'static str,
    pub(crate) kind: MetricType,
    /// The names of the labels, in the order in which they are written.
    pub(crate) labels: &'static [&'static str],
    /// A sentence without line breaks and backslashes, which would need escapes.
    pub(crate) help: &'static str,
}

impl Family {
    const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: MetricType::Counter, labels, help }
    }

    const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
        Family { name, kind: MetricType::Gauge, labels, help }
    }
}

const PROTOCOL: &[&str] = &["protocol"];
const PROTOCOL_QOS: &[&str] = &["protocol", "qos"];

pub(crate) const CONNECTIONS_OPENED: Family = Family::counter(
    "tidegate_connections_opened",
    PROTOCOL,
    "Client connections whose protocol was recognised; under protocol unrecognised those that ended before.",
);
pub(crate) const CONNECTIONS_CLOSED: Family = Family::counter(
    "tidegate_connections_closed",
    &["protocol", "reason"],
    "Client connections that ended, by the reason why.",
);
pub(crate) const CONNECTIONS_OPEN: Family =
    Family::gauge("tidegate_connections_open", PROTOCOL, "Client connections that are open now.");
pub(crate) const LOGINS_REFUSED: Family = Family::counter(
    "tidegate_logins_refused",
    &["protocol", "reason"],
    "Clients that were not let in because of what they showed, by the reason why.",
);
pub(crate) const MESSAGES_RECEIVED: Family = Family::counter(
    "tidegate_messages_received",
    PROTOCOL_QOS,
    "Messages published by clients, by the quality of service that the publisher chose.",
);
pub(crate) const MESSAGES_SENT: Family = Family::counter(
    "tidegate_messages_sent",
    PROTOCOL_QOS,
    "Messages delivered to clients, by the quality of service of the delivery.",
);
pub(crate) const MESSAGE_BYTES_RECEIVED: Family = Family::counter(
    "tidegate_message_bytes_received",
    PROTOCOL_QOS,
    "Payload bytes of the messages published by clients.",
);
pub(crate) const MESSAGE_BYTES_SENT: Family = Family::counter(
    "tidegate_message_bytes_sent",
    PROTOCOL_QOS,
    "Payload bytes of the messages delivered to clients.",
);
pub(crate) const BYTES_RECEIVED: Family = Family::counter(
    "tidegate_bytes_received",
    PROTOCOL,
    "Bytes of the protocol read from clients, without TLS and WebSocket framing.",
);
pub(crate) const BYTES_SENT: Family = Family::counter(
    "tidegate_bytes_sent",
    PROTOCOL,
    "Bytes of the protocol written to clients, without TLS and WebSocket framing.",
);
pub(crate) const PUBLISH_THROTTLED: Family = Family::counter(
    "tidegate_publish_throttled",
    PROTOCOL,
    "Times that a client was not read from for a while because it published faster than its listener allows.",
);
pub(crate) const PUBLISH_THROTTLED_SECONDS: Family = Family::counter(
    "tidegate_publish_throttled_seconds",
    PROTOCOL,
    "Seconds for which clients were not read from because they published faster than their listeners allow.",
);
pub(crate) const MESSAGES_DROPPED: Family = Family::counter(
    "tidegate_messages_dropped",
    &["reason"],
    "Deliveries that will not happen, by the reason why; one message may be dropped for several receivers.",
);
pub(crate) const ACCESS_DENIED: Family = Family::counter(
    "tidegate_access_denied",
    &["action"],
    "What clients asked for and may not: publish, will, subscribe; receive is a delivery that waited until its receiver might not have it any more.",
);
pub(crate) const QUEUE_MESSAGES: Family = Family::gauge(
    "tidegate_queue_messages",
    &[],
    "Deliveries that wait in queues; a message that waits for several receivers counts for each.",
);
pub(crate) const QUEUE_BYTES: Family = Family::gauge(
    "tidegate_queue_bytes",
    &[],
    "Bytes in memory of the deliveries that wait in queues or to be acknowledged, and of wills, headers included.",
);
pub(crate) const QUEUE_MESSAGES_ON_DISK: Family = Family::gauge(
    "tidegate_queue_messages_on_disk",
    &[],
    "Deliveries of those that wait in queues that are in the store and not in memory.",
);
pub(crate) const NAMED_QUEUES: Family =
    Family::gauge("tidegate_named_queues", &[], "Named queues, consumed or not.");
pub(crate) const NAMED_QUEUE_MESSAGES: Family = Family::gauge(
    "tidegate_named_queue_messages",
    &[],
    "Messages that wait in named queues, without those that a consumer has and has not settled.",
);
pub(crate) const REDELIVERIES: Family = Family::counter(
    "tidegate_redeliveries",
    &[],
    "Deliveries of messages that a consumer had before and left unsettled or gave back.",
);
pub(crate) const DEAD_LETTERS: Family = Family::counter(
    "tidegate_dead_letters",
    &["reason"],
    "Messages that died in a named queue and were published to its dead letter address, by the reason why.",
);
pub(crate) const RETAINED_MESSAGES: Family =
    Family::gauge("tidegate_retained_messages", &[], "Topics that have a retained message.");
pub(crate) const RETAINED_BYTES: Family =
    Family::gauge("tidegate_retained_bytes", &[], "Bytes of the retained messages, headers included.");
pub(crate) const SESSIONS: Family =
    Family::gauge("tidegate_sessions", &[], "Sessions, with or without a connection.");
pub(crate) const SUBSCRIPTIONS: Family =
    Family::gauge("tidegate_subscriptions", &[], "Subscriptions of all sessions together.");
pub(crate) const SESSIONS_EXPIRED: Family = Family::counter(
    "tidegate_sessions_expired",
    &[],
    "Sessions that ended because their client did not come back in time.",
);
pub(crate) const REPLAY_MESSAGES: Family =
    Family::gauge("tidegate_replay_messages", &[], "Messages that the replay rings hold.");
pub(crate) const REPLAY_BYTES: Family =
    Family::gauge("tidegate_replay_bytes", &[], "Bytes that the replay rings hold, headers included.");
pub(crate) const REPLAY_STARTS: Family = Family::counter(
    "tidegate_replay_starts",
    &["start"],
    "Subscriptions that began to follow a replay ring, by where they began.",
);
pub(crate) const REPLAY_OVERRUNS: Family = Family::counter(
    "tidegate_replay_overruns",
    &[],
    "Times that a subscription was overtaken by the replay ring that it follows: messages were gone before its client took them.",
);
pub(crate) const STORE_BYTES: Family = Family::gauge(
    "tidegate_store_bytes",
    &[],
    "Bytes of the store on the disk, with what is dead and not given back yet.",
);
pub(crate) const STORE_LIMIT_BYTES: Family =
    Family::gauge("tidegate_store_limit_bytes", &[], "The most bytes that the store may have on the disk.");
pub(crate) const STORE_LIVE_BYTES: Family =
    Family::gauge("tidegate_store_live_bytes", &[], "Bytes of what is alive in the store.");
pub(crate) const STORE_INDEX_BYTES: Family =
    Family::gauge("tidegate_store_index_bytes", &[], "Bytes of memory for finding what is in the store.");
pub(crate) const STORE_FULL: Family = Family::gauge(
    "tidegate_store_full",
    &["reason"],
    "1 where messages were refused for this within the last half minute, else 0.",
);
pub(crate) const STORE_FAILING: Family = Family::gauge(
    "tidegate_store_failing",
    &[],
    "1 while the disk answers with errors and nothing can be kept, else 0.",
);
pub(crate) const STORE_DAMAGED: Family = Family::gauge(
    "tidegate_store_damaged",
    &[],
    "Places and entries of the store that were damaged when the gateway started, and are left out.",
);
pub(crate) const STORE_APPENDED_BYTES: Family =
    Family::counter("tidegate_store_appended_bytes", &[], "Bytes that were given to the store to keep.");
pub(crate) const STORE_WRITTEN_BYTES: Family = Family::counter(
    "tidegate_store_written_bytes",
    &[],
    "Bytes that the store wrote, with what it moved to make room; by those that were given to it, how often each byte is written.",
);
pub(crate) const STORE_SYNCS: Family =
    Family::counter("tidegate_store_syncs", &[], "Times that the disk was made to keep what was written.");
pub(crate) const STORE_ERRORS: Family =
    Family::counter("tidegate_store_errors", &[], "Errors with which the disk has answered the store.");
const BRIDGE: &[&str] = &["bridge"];
const FORWARD: &[&str] = &["bridge", "forward"];
const RECEIVE: &[&str] = &["bridge", "receive"];

pub(crate) const BRIDGE_STATE: Family = Family::gauge(
    "tidegate_bridge_state",
    &["bridge", "kind", "state"],
    "1 for the state that the bridge is in, 0 for the others.",
);
pub(crate) const BRIDGE_ADDRESS: Family = Family::gauge(
    "tidegate_bridge_address",
    BRIDGE,
    "To which of the configured addresses the connection stands, or is tried; the first is 0.",
);
pub(crate) const BRIDGE_ANSWER_AGE: Family = Family::gauge(
    "tidegate_bridge_answer_age_seconds",
    BRIDGE,
    "How long ago the upstream has answered last; no series before it did.",
);
pub(crate) const BRIDGE_FAILURES: Family = Family::counter(
    "tidegate_bridge_connection_failures",
    BRIDGE,
    "Times that the connection to the upstream was lost or could not be had.",
);
pub(crate) const BRIDGE_BACKLOG_MESSAGES: Family = Family::gauge(
    "tidegate_bridge_backlog_messages",
    FORWARD,
    "Messages that the upstream has not confirmed: waiting in memory or on the disk, or on their way.",
);
pub(crate) const BRIDGE_BACKLOG_BYTES: Family =
    Family::gauge("tidegate_bridge_backlog_bytes", FORWARD, "Bytes of these messages, headers included.");
pub(crate) const BRIDGE_BACKLOG_OLDEST: Family = Family::gauge(
    "tidegate_bridge_backlog_oldest_seconds",
    FORWARD,
    "How long ago the oldest of these messages was published; no series where none waits.",
);
pub(crate) const BRIDGE_BACKLOG_DRAINED: Family = Family::gauge(
    "tidegate_bridge_backlog_drained_seconds",
    FORWARD,
    "In how long nothing will wait any more, as it goes now; no series where it does not become less.",
);
pub(crate) const BRIDGE_IN_FLIGHT: Family = Family::gauge(
    "tidegate_bridge_in_flight_messages",
    FORWARD,
    "Messages of the backlog that the bridge has in its memory.",
);
pub(crate) const BRIDGE_WAITING: Family = Family::gauge(
    "tidegate_bridge_waiting_seconds",
    FORWARD,
    "For how long nothing has come of what is on its way, while a connection stood; no series where nothing is.",
);
pub(crate) const BRIDGE_CONFIRMED: Family =
    Family::counter("tidegate_bridge_confirmed", FORWARD, "Messages that the upstream has confirmed.");
pub(crate) const BRIDGE_CONFIRMED_RATE: Family = Family::gauge(
    "tidegate_bridge_confirmed_rate",
    FORWARD,
    "Messages a second that the upstream confirms, over about the last ten seconds.",
);
pub(crate) const BRIDGE_RETRIED: Family = Family::counter(
    "tidegate_bridge_retried",
    FORWARD,
    "Messages that were sent again, because a connection was lost or the upstream did not take them.",
);
pub(crate) const BRIDGE_TURNED_AWAY: Family = Family::counter(
    "tidegate_bridge_turned_away",
    FORWARD,
    "Times that the upstream did not take a message for the moment.",
);
pub(crate) const BRIDGE_REFUSED: Family = Family::counter(
    "tidegate_bridge_refused",
    &["bridge", "forward", "reason"],
    "Messages that the upstream refused for good, or that cannot be said there.",
);
pub(crate) const BRIDGE_FORWARD_DROPPED: Family = Family::counter(
    "tidegate_bridge_forward_dropped",
    &["bridge", "forward", "reason"],
    "Messages that were not forwarded and are no dead letters either.",
);
pub(crate) const BRIDGE_DEAD_LETTERS: Family = Family::counter(
    "tidegate_bridge_dead_letters",
    FORWARD,
    "Refused messages that were published as dead letters.",
);
pub(crate) const BRIDGE_RECEIVED: Family = Family::counter(
    "tidegate_bridge_received",
    RECEIVE,
    "Messages that came from the upstream, those that came again among them.",
);
pub(crate) const BRIDGE_RECEIVED_RATE: Family = Family::gauge(
    "tidegate_bridge_received_rate",
    RECEIVE,
    "Messages a second that come from the upstream, over about the last ten seconds.",
);
pub(crate) const BRIDGE_PUBLISHED: Family = Family::counter(
    "tidegate_bridge_published",
    RECEIVE,
    "Messages from the upstream that were published here.",
);
pub(crate) const BRIDGE_DUPLICATES: Family = Family::counter(
    "tidegate_bridge_duplicates",
    RECEIVE,
    "Messages that came again and were recognised by their id, and so not published again.",
);
pub(crate) const BRIDGE_RECEIVE_DROPPED: Family = Family::counter(
    "tidegate_bridge_receive_dropped",
    &["bridge", "receive", "reason"],
    "Messages from the upstream that were not published here; what would go in circles is among them.",
);
pub(crate) const ROUTE_CACHE_HITS: Family = Family::counter(
    "tidegate_route_cache_hits",
    &[],
    "Topics whose receivers were known from a message before; a run of messages on one topic may be looked up once.",
);
pub(crate) const ROUTE_CACHE_MISSES: Family = Family::counter(
    "tidegate_route_cache_misses",
    &[],
    "Topics whose receivers had to be searched among the subscriptions.",
);
pub(crate) const DELIVERY_LATENCY: Family = Family {
    name: "tidegate_delivery_latency_seconds",
    kind: MetricType::Histogram,
    labels: &[],
    help: "Time from reading a message to handing its last byte to the receiver's socket, \
           for deliveries that did not wait in a queue.",
};
pub(crate) const BUILD: Family = Family {
    name: "tidegate_build",
    kind: MetricType::Info,
    labels: &["version"],
    help: "The version that runs; the value is always 1.",
};
pub(crate) const START_TIME: Family = Family::gauge(
    "process_start_time_seconds",
    &[],
    "When the gateway started, in seconds since 1970-01-01 00:00 UTC.",
);
pub(crate) const RESIDENT_MEMORY: Family = Family::gauge(
    "process_resident_memory_bytes",
    &[],
    "Physical memory that the process holds; on Linux only.",
);
pub(crate) const OPEN_FILES: Family =
    Family::gauge("process_open_fds", &[], "File descriptors that the process has open; on Linux only.");

/// Every family, in the order in which it is exposed.
#[cfg(test)]
pub(crate) const ALL: [&Family; 70] = [
    &CONNECTIONS_OPENED,
    &CONNECTIONS_CLOSED,
    &CONNECTIONS_OPEN,
    &LOGINS_REFUSED,
    &MESSAGES_RECEIVED,
    &MESSAGES_SENT,
    &MESSAGE_BYTES_RECEIVED,
    &MESSAGE_BYTES_SENT,
    &BYTES_RECEIVED,
    &BYTES_SENT,
    &PUBLISH_THROTTLED,
    &PUBLISH_THROTTLED_SECONDS,
    &MESSAGES_DROPPED,
    &ACCESS_DENIED,
    &QUEUE_MESSAGES,
    &QUEUE_BYTES,
    &QUEUE_MESSAGES_ON_DISK,
    &NAMED_QUEUES,
    &NAMED_QUEUE_MESSAGES,
    &RETAINED_MESSAGES,
    &RETAINED_BYTES,
    &SESSIONS,
    &SUBSCRIPTIONS,
    &SESSIONS_EXPIRED,
    &REDELIVERIES,
    &DEAD_LETTERS,
    &REPLAY_MESSAGES,
    &REPLAY_BYTES,
    &REPLAY_STARTS,
    &REPLAY_OVERRUNS,
    &STORE_BYTES,
    &STORE_LIMIT_BYTES,
    &STORE_LIVE_BYTES,
    &STORE_INDEX_BYTES,
    &STORE_FULL,
    &STORE_FAILING,
    &STORE_DAMAGED,
    &STORE_APPENDED_BYTES,
    &STORE_WRITTEN_BYTES,
    &STORE_SYNCS,
    &STORE_ERRORS,
    &BRIDGE_STATE,
    &BRIDGE_ADDRESS,
    &BRIDGE_ANSWER_AGE,
    &BRIDGE_FAILURES,
    &BRIDGE_BACKLOG_MESSAGES,
    &BRIDGE_BACKLOG_BYTES,
    &BRIDGE_IN_FLIGHT,
    &BRIDGE_BACKLOG_OLDEST,
    &BRIDGE_BACKLOG_DRAINED,
    &BRIDGE_WAITING,
    &BRIDGE_CONFIRMED,
    &BRIDGE_RETRIED,
    &BRIDGE_TURNED_AWAY,
    &BRIDGE_DEAD_LETTERS,
    &BRIDGE_CONFIRMED_RATE,
    &BRIDGE_REFUSED,
    &BRIDGE_FORWARD_DROPPED,
    &BRIDGE_RECEIVED,
    &BRIDGE_PUBLISHED,
    &BRIDGE_DUPLICATES,
    &BRIDGE_RECEIVED_RATE,
    &BRIDGE_RECEIVE_DROPPED,
    &ROUTE_CACHE_HITS,
    &ROUTE_CACHE_MISSES,
    &DELIVERY_LATENCY,
    &BUILD,
    &START_TIME,
    &RESIDENT_MEMORY,
    &OPEN_FILES,
];
