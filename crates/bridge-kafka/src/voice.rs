//! What the client library says beside its answers: log lines go to our log, errors are kept for words about a lost connection.
//!
//! The library reports each failed attempt to connect as an error. It tries again by itself, so only a few of them end anything: see [`Voice::grave`].

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::Arc;
use tidegate_bridge::Lost;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// What one connection's clients have said.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    said: Mutex<Said>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Said {
    /// The last thing, in words.
    last: Option<String>,
    /// The cluster does not let us in; it may have changed its mind when asked again.
    refused: Option<String>,
    /// The client cannot go on.
    fatal: Option<String>,
}

impl Voice {
    /// The last error, behind a sentence that it explains.
    pub(crate) fn explain(&self, sentence: &str) -> String {
        match &self.said.lock().last {
            Some(last) => format!("{sentence}; the client says: {last}"),
            None => sentence.to_owned(),
        }
    }

    /// Whether the cluster has turned us away.
    pub(crate) fn refused(&self) -> Option<Lost> {
        self.said.lock().refused.clone().map(Lost::Refused)
    }

    /// Ends when a client cannot go on.
    pub(crate) async fn grave(&self) -> Lost {
        loop {
            let changed = self.changed.notified();
            if let Some(fatal) = self.said.lock().fatal.clone() {
                return Lost::Broken(fatal);
            }
            changed.await;
        }
    }

    fn note(&self, code: Option<Code>, reason: &str) {
        debug!(?code, reason, "the client of a bridge to Kafka reports an error");
        let mut said = self.said.lock();
        said.last = Some(reason.to_owned());
        match code {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => {
                said.refused = Some(reason.to_owned());
            }
            Some(Code::Fatal) => said.fatal = Some(reason.to_owned()),
            _ => return,
        }
        drop(said);
        self.changed.notify_one();
    }
}

/// The context of a client: hands everything to the voice.
#[derive(Debug, Clone)]
pub(crate) struct Listening(pub(crate) Arc<Voice>);

impl ClientContext for Listening {
    fn log(&self, level: Level, facility: &str, message: &str) {
        // It says at "error" that a server is away, which for a bridge is a state and no loss.
        match level {
            Level::Emerg | Level::Alert | Level::Critical => warn!(facility, "librdkafka: {message}"),
            _ => debug!(facility, "librdkafka: {message}"),
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(error.rdkafka_error_code(), reason);
    }
}
