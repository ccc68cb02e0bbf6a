//! Bridges to Kafka, through librdkafka.
//!
//! ```text
//! options    how a bridge works, and what is wrong with it
//! address    `kafka://host:port,…`
//! settings   the client library's settings, and why
//! serve      one connection: from the first question to its end
//! sender     forwarding: an idempotent producer, and what it has not answered for
//! record     a message as a record: topic, key, partition, headers
//! fate       what an answer means for a message and for the connection
//! receiver   receiving: a member of a consumer group
//! offsets    how far it has come: commits wait for what is not settled
//! incoming   a record as a message
//! voice      what the client library says beside its answers
//! ```
//!
//! A record that a gateway has forwarded carries its stable id and its path as headers, `tidegate-id` and `tidegate-path`. Retrying, failing over, pacing
//! and dead letters are the business of [`tidegate_bridge::Bridge`].

mod address;
mod fate;
mod incoming;
mod offsets;
mod options;
mod receiver;
mod record;
mod sender;
mod serve;
mod settings;
mod voice;

pub use address::{AddressError, Bootstrap};
pub use options::{
    Compression, Finding, ForwardTarget, KafkaOptions, Mechanism, ReceiveSource, Sasl, Start, Timeouts, Tls,
};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_bridge::{Line, Lost, Outgoing, Rendered, Upstream, Verdict};

/// By how much batches become smaller and larger.
const BATCH_STEP: usize = 8;

/// Kafka as an upstream.
#[derive(Debug)]
pub struct Kafka {
    options: KafkaOptions,
    /// How large batches are, in bytes: smaller than wanted while a server has refused some.
    batch_bytes: AtomicUsize,
}

impl Kafka {
    /// Kafka with options in which there are no findings.
    pub fn new(options: KafkaOptions) -> Kafka {
        Kafka { options, batch_bytes: AtomicUsize::new(settings::BATCH_BYTES_MAX) }
    }

    fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    fn shrink_batches(&self) {
        self.batch_bytes.store((self.batch_bytes() / BATCH_STEP).max(1), Ordering::Relaxed);
    }

    fn grow_batches(&self) {
        let grown = self.batch_bytes().saturating_mul(BATCH_STEP).min(settings::BATCH_BYTES_MAX);
        self.batch_bytes.store(grown, Ordering::Relaxed);
    }
}

impl Upstream for Kafka {
    fn addresses(&self) -> usize {
        self.options.addresses.len()
    }

    fn address(&self, number: usize) -> String {
        self.options.addresses.get(number).map(Bootstrap::to_string).unwrap_or_default()
    }

    fn render(&self, outgoing: &Outgoing) -> Result<Rendered, Verdict> {
        let missing = || Verdict::Never {
            label: "not_expressible",
            reason: "the bridge has no such forward".to_owned(),
        };
        record::rendered_message(self.options.forwards.get(outgoing.lane).ok_or_else(missing)?, outgoing)
    }

    fn serve(self: Arc<Self>, address: usize, line: Line) -> Pin<Box<dyn Future<Output = Lost> + Send>> {
        Box::pin(serve::serve(self, address, line))
    }
}
