//! The topics under `$SYS`, declared once: what is published and the reference page both come from here.
//!
//! The names are Mosquitto's, which dashboards and exporters know. What this gateway does not count has no topic.

use super::load::{LOADS, PerMinute, WINDOWS};
use super::reading::Reading;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tidegate_message::{Message, Origin, QoS, Topic};

/// The first level, which a filter has to name.
pub(crate) const ROOT: &str = "$SYS";
/// What stands before every name in the tables.
pub(crate) const PREFIX: &str = "$SYS/broker/";

/// What the topics tell at one moment.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) uptime: Duration,
    pub(crate) connected_max: u64,
    pub(crate) loads: PerMinute,
    pub(crate) reading: Reading,
}

/// A topic whose value is a text of its own.
pub(crate) struct SystemTopic {
    /// The name below [`PREFIX`].
    pub(crate) name: &'static str,
    /// A sentence for the reference page.
    #[cfg(test)]
    pub(crate) help: &'static str,
    value: fn(&Values) -> String,
}

macro_rules! topics {
    ($($name:literal, $help:literal, |$values:ident| $value:expr;)*) => {
        /// Every topic but the load averages.
        pub(crate) const TOPICS: &[SystemTopic] = &[$(
            SystemTopic { name: $name, #[cfg(test)] help: $help, value: |$values: &Values| $value.to_string() },
        )*];
    };
}

topics! {
    "version", "The gateway's name and version.", |_values| concat!("tidegate version ", env!("CARGO_PKG_VERSION"));
    "uptime", "How long it has been running: `… seconds`.", |values| format!("{} seconds", values.uptime.as_secs());
    "clients/connected", "Connections that are open.", |values| values.reading.connected;
    "clients/disconnected", "Sessions without a connection.", |values| values.reading.disconnected();
    "clients/total", "Both together.", |values| values.reading.connected + values.reading.disconnected();
    "clients/maximum", "The most open connections that were seen at an interval.", |values| values.connected_max;
    "clients/expired", "Sessions that ended because nobody came back in time.", |values| values.reading.expired;
    "messages/received", "Messages published by clients.", |values| values.reading.received;
    "messages/sent", "Messages delivered to clients.", |values| values.reading.sent;
    "messages/stored", "Messages that are kept: retained ones, and deliveries that wait.", |values| values.reading.stored();
    "publish/messages/received", "The same as `messages/received`.", |values| values.reading.received;
    "publish/messages/sent", "The same as `messages/sent`.", |values| values.reading.sent;
    "publish/messages/dropped", "Deliveries that did not happen, for whatever reason.", |values| values.reading.dropped;
    "publish/bytes/received", "Bytes of payload published by clients.", |values| values.reading.received_bytes;
    "publish/bytes/sent", "Bytes of payload delivered to clients.", |values| values.reading.sent_bytes;
    "bytes/received", "Bytes read from clients, without TLS and WebSocket framing.", |values| values.reading.wire_in_bytes;
    "bytes/sent", "Bytes written to clients, without TLS and WebSocket framing.", |values| values.reading.wire_out_bytes;
    "subscriptions/count", "Subscriptions of all sessions together.", |values| values.reading.gauges.subscriptions;
    "retained messages/count", "Topics that have a retained message.", |values| values.reading.gauges.retained_messages;
    "store/messages/count", "The same as `messages/stored`.", |values| values.reading.stored();
    "store/messages/bytes", "Bytes of these messages, and of what waits to be acknowledged.", |values| values.reading.stored_bytes();
}

impl Reading {
    fn disconnected(&self) -> u64 {
        self.gauges.sessions.saturating_sub(self.gauges.sessions_attached) as u64
    }

    fn stored(&self) -> usize {
        self.gauges.retained_messages + self.gauges.queued_messages
    }

    fn stored_bytes(&self) -> usize {
        self.gauges.retained_bytes + self.gauges.queued_bytes
    }
}

impl Values {
    /// A message for each topic that is wanted.
    pub(crate) fn messages(&self, is_wanted: impl Fn(&Topic) -> bool) -> Vec<Arc<Message>> {
        let texts = TOPICS.iter().map(|topic| (topic.name.to_owned(), (topic.value)(self)));
        let loads = LOADS.iter().zip(&self.loads).flat_map(|(load, averages)| {
            let windows = WINDOWS.iter().zip(averages);
            windows.map(|((window, _), average)| (load_name(load.name, window), format!("{average:.2}")))
        });
        let named = texts.chain(loads).filter_map(|(name, value)| {
            let topic = Topic::parse(format!("{PREFIX}{name}").as_bytes()).ok()?;
            is_wanted(&topic).then(|| message(topic, value))
        });
        named.collect()
    }
}

/// The name of a load average below [`PREFIX`].
pub(crate) fn load_name(load: &str, window: &str) -> String {
    format!("load/{load}/{window}")
}

/// Level 0: the next value comes with the next interval, and what nobody reads must not wait.
pub(crate) fn message(topic: Topic, value: String) -> Arc<Message> {
    Arc::new(Message {
        topic,
        payload: Bytes::from(value),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: None,
        expires_at: None,
        origin: Origin(0),
        publisher: None,
    })
}
