//! The node's numbers as metrics.
//!
//! The workers count for themselves; a scrape sums over them and stops nobody. Numbers are read one after the other, so two of
//! them may differ by what happened in between.

mod bridging;

use crate::bridges::BridgeSource;
use crate::families::{self, Family};
use crate::process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_broker::{ByQoS, Counter, LATENCY_BUCKETS_MICROSECONDS, Node, ProtocolMetrics, WorkerMetrics};
use tidegate_message::QoS;
use tidegate_storage::{Shortage, Usage};

const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// Reads a node and its process at each scrape.
#[derive(Debug)]
pub(crate) struct NodeCollector {
    pub(crate) node: Arc<Node>,
    pub(crate) started: SystemTime,
    pub(crate) bridges: BridgeSource,
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(encoder);
        self.encode_connections(&mut exposition)?;
        self.encode_traffic(&mut exposition)?;
        self.encode_gauges(&mut exposition)?;
        self.encode_replay(&mut exposition)?;
        self.encode_store(&mut exposition)?;
        bridging::encode(&self.bridges.reports(&self.node).bridges, &mut exposition)?;
        self.encode_routing(&mut exposition)?;
        self.encode_process(&mut exposition)
    }
}

impl NodeCollector {
    fn encode_connections(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let opened = self.by_protocol(|metrics| &metrics.opened);
        exposition.counters(&families::CONNECTIONS_OPENED, opened)?;
        exposition.counters(&families::CONNECTIONS_CLOSED, self.by_reason(ProtocolMetrics::closed))?;
        let open = self.by_protocol(|metrics| &metrics.open);
        exposition.gauges(&families::CONNECTIONS_OPEN, open)?;
        exposition.counters(&families::LOGINS_REFUSED, self.by_reason(ProtocolMetrics::logins_refused))
    }

    fn encode_traffic(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        exposition.counters(&families::MESSAGES_RECEIVED, self.by_qos(|metrics| &metrics.received))?;
        exposition.counters(&families::MESSAGES_SENT, self.by_qos(|metrics| &metrics.sent))?;
        let received = self.by_qos(|metrics| &metrics.received_bytes);
        exposition.counters(&families::MESSAGE_BYTES_RECEIVED, received)?;
        let sent = self.by_qos(|metrics| &metrics.sent_bytes);
        exposition.counters(&families::MESSAGE_BYTES_SENT, sent)?;
        let received = self.by_protocol(|metrics| &metrics.wire_in_bytes);
        exposition.counters(&families::BYTES_RECEIVED, received)?;
        let sent = self.by_protocol(|metrics| &metrics.wire_out_bytes);
        exposition.counters(&families::BYTES_SENT, sent)?;
        let throttled = self.by_protocol(|metrics| &metrics.throttled);
        exposition.counters(&families::PUBLISH_THROTTLED, throttled)?;
        let throttled = self.by_protocol(|metrics| &metrics.throttled_microseconds);
        let seconds = throttled.map(|(labels, time)| (labels, time as f64 / MICROSECONDS_PER_SECOND));
        exposition.counters(&families::PUBLISH_THROTTLED_SECONDS, seconds)?;
        let dropped = self.dropped().into_iter().map(|(reason, count)| ([reason], count));
        exposition.counters(&families::MESSAGES_DROPPED, dropped)?;
        exposition.counters(&families::ACCESS_DENIED, self.denied())
    }

    fn encode_gauges(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let gauges = self.node.gauges();
        let values = [
            (&families::QUEUE_MESSAGES, gauges.queued_messages),
            (&families::QUEUE_BYTES, gauges.queued_bytes),
            (&families::QUEUE_MESSAGES_ON_DISK, gauges.queued_messages_on_disk),
            (&families::NAMED_QUEUES, gauges.named_queues),
            (&families::NAMED_QUEUE_MESSAGES, gauges.named_queue_messages),
            (&families::RETAINED_MESSAGES, gauges.retained_messages),
            (&families::RETAINED_BYTES, gauges.retained_bytes),
            (&families::SESSIONS, gauges.sessions),
            (&families::SUBSCRIPTIONS, gauges.subscriptions),
        ];
        values.into_iter().try_for_each(|(family, value)| exposition.gauge(family, value as u64))?;
        let expired = self.total(|worker| &worker.sessions_expired);
        exposition.counters(&families::SESSIONS_EXPIRED, [([], expired)])?;
        let redeliveries = self.total(|worker| &worker.redeliveries);
        exposition.counters(&families::REDELIVERIES, [([], redeliveries)])?;
        let dead = sum_by_reason(self.node.metrics().iter().map(|worker| worker.dead_letters()));
        let dead = dead.into_iter().map(|(reason, count)| ([reason], count));
        exposition.counters(&families::DEAD_LETTERS, dead)
    }

    fn encode_replay(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let gauges = self.node.gauges();
        exposition.gauge(&families::REPLAY_MESSAGES, gauges.replay_messages as u64)?;
        exposition.gauge(&families::REPLAY_BYTES, gauges.replay_bytes as u64)?;
        let starts = [
            (["began"], self.total(|worker| &worker.resumes.began)),
            (["continued"], self.total(|worker| &worker.resumes.continued)),
            (["gap"], self.total(|worker| &worker.resumes.gap)),
        ];
        exposition.counters(&families::REPLAY_STARTS, starts)?;
        let overruns = self.total(|worker| &worker.replay_overruns);
        exposition.counters(&families::REPLAY_OVERRUNS, [([], overruns)])
    }

    /// Without a store the families have no series.
    fn encode_store(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let storage = self.node.storage();
        let usage = storage.map(|storage| storage.usage());
        let failing = storage.map(|storage| u64::from(storage.is_failing()));
        let series = |read: fn(&Usage) -> u64| usage.as_ref().map(|usage| ([], read(usage)));
        exposition.gauges(&families::STORE_BYTES, series(|usage| usage.disk_bytes))?;
        exposition.gauges(&families::STORE_LIMIT_BYTES, series(|usage| usage.disk_bytes_max))?;
        exposition.gauges(&families::STORE_LIVE_BYTES, series(|usage| usage.live_bytes))?;
        exposition.gauges(&families::STORE_INDEX_BYTES, series(|usage| usage.index_bytes as u64))?;
        let short_of = usage.as_ref().map(|usage| usage.short_of);
        let full = short_of.into_iter().flat_map(|short_of| {
            let reasons = [
                ("limit", Shortage::Limit),
                ("file_system", Shortage::FileSystem),
                ("memory", Shortage::Memory),
            ];
            reasons.map(|(reason, shortage)| ([reason], u64::from(short_of == Some(shortage))))
        });
        exposition.gauges(&families::STORE_FULL, full)?;
        exposition.gauges(&families::STORE_FAILING, failing.map(|failing| ([], failing)))?;
        let entries = self.node.recovered().damaged as u64;
        let damaged = usage.as_ref().map(|usage| ([], usage.damaged_places + entries));
        exposition.gauges(&families::STORE_DAMAGED, damaged)?;
        exposition.counters(&families::STORE_APPENDED_BYTES, series(|usage| usage.appended_bytes))?;
        exposition.counters(&families::STORE_WRITTEN_BYTES, series(|usage| usage.written_bytes))?;
        exposition.counters(&families::STORE_SYNCS, series(|usage| usage.syncs))?;
        exposition.counters(&families::STORE_ERRORS, series(|usage| usage.errors))
    }

    fn encode_routing(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        let hits = self.total(|worker| &worker.route_cache_hits);
        exposition.counters(&families::ROUTE_CACHE_HITS, [([], hits)])?;
        let misses = self.total(|worker| &worker.route_cache_misses);
        exposition.counters(&families::ROUTE_CACHE_MISSES, [([], misses)])?;
        let (buckets, sum_seconds) = self.latency();
        exposition.histogram(&families::DELIVERY_LATENCY, &buckets, sum_seconds)
    }

    fn encode_process(&self, exposition: &mut Exposition<'_>) -> fmt::Result {
        exposition.info(&families::BUILD, [env!("CARGO_PKG_VERSION")])?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        exposition.gauge(&families::START_TIME, started.as_secs_f64())?;
        if let Some(bytes) = process::resident_memory_bytes() {
            exposition.gauge(&families::RESIDENT_MEMORY, bytes)?;
        }
        if let Some(files) = process::open_files() {
            exposition.gauge(&families::OPEN_FILES, files)?;
        }
        Ok(())
    }

    fn total(&self, read: fn(&WorkerMetrics) -> &Counter) -> u64 {
        sum(self.node.metrics().iter().map(|worker| read(worker).get()))
    }

    /// The protocols, each with what every worker counts for it.
    fn protocols(
        &self,
    ) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &ProtocolMetrics> + Clone)> {
        self.node.protocols().iter().enumerate().map(|(index, protocol)| {
            (*protocol, self.node.metrics().iter().filter_map(move |worker| worker.protocols.get(index)))
        })
    }

    fn by_protocol(
        &self,
        read: fn(&ProtocolMetrics) -> &Counter,
    ) -> impl Iterator<Item = ([&'static str; 1], u64)> {
        self.protocols()
            .map(move |(protocol, workers)| ([protocol], sum(workers.map(|metrics| read(metrics).get()))))
    }

    fn by_qos(&self, read: fn(&ProtocolMetrics) -> &ByQoS) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        self.protocols().flat_map(move |(protocol, workers)| {
            QoS::ALL.into_iter().zip(["0", "1", "2"]).map(move |(qos, label)| {
                ([protocol, label], sum(workers.clone().map(|metrics| read(metrics).at(qos).get())))
            })
        })
    }

    fn by_reason(
        &self,
        counted: fn(&ProtocolMetrics) -> BTreeMap<&'static str, u64>,
    ) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        self.protocols().flat_map(move |(protocol, workers)| {
            let reasons = sum_by_reason(workers.map(counted));
            reasons.into_iter().map(move |(reason, count)| ([protocol, reason], count))
        })
    }

    fn dropped(&self) -> BTreeMap<&'static str, u64> {
        sum_by_reason(self.node.metrics().iter().map(|worker| worker.dropped()))
    }

    fn denied(&self) -> [([&'static str; 1], u64); 4] {
        [
            (["publish"], self.total(|worker| &worker.denied.publish)),
            (["will"], self.total(|worker| &worker.denied.will)),
            (["subscribe"], self.total(|worker| &worker.denied.subscribe)),
            (["receive"], self.total(|worker| &worker.denied.receive)),
        ]
    }

    /// Observations by the upper bound of their bucket in seconds, and the sum of all observations in seconds.
    fn latency(&self) -> (Vec<(f64, u64)>, f64) {
        let bounds = LATENCY_BUCKETS_MICROSECONDS.iter().map(|bound| *bound as f64 / MICROSECONDS_PER_SECOND);
        let mut buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        for worker in self.node.metrics() {
            for ((_, total), count) in buckets.iter_mut().zip(worker.latency.buckets()) {
                *total = total.wrapping_add(count);
            }
        }
        let microseconds = sum(self.node.metrics().iter().map(|worker| worker.latency.sum_microseconds()));
        (buckets, microseconds as f64 / MICROSECONDS_PER_SECOND)
    }
}

/// Counters wrap around, and so does their sum: a scraper takes that for a restart.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::wrapping_add)
}

fn sum_by_reason(workers: impl Iterator<Item = BTreeMap<&'static str, u64>>) -> BTreeMap<&'static str, u64> {
    workers.flatten().fold(BTreeMap::new(), |mut sums, (reason, count)| {
        let total = sums.entry(reason).or_insert(0_u64);
        *total = total.wrapping_add(count);
        sums
    })
}

/// Writes families. Each is there from the start, even while it has no series.
struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    fn family(&mut self, family: &'static Family) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(family.name, family.help, None, family.kind)
    }

    fn counters<'v, const LABELS: usize>(
        &mut self,
        family: &'static Family,
        series: impl IntoIterator<Item = ([&'v str; LABELS], impl EncodeCounterValue)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (values, count) in series {
            in_series(&mut encoder, family, &values, |encoder| {
                encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
            })?;
        }
        Ok(())
    }

    fn gauges<'v, const LABELS: usize>(
        &mut self,
        family: &'static Family,
        series: impl IntoIterator<Item = ([&'v str; LABELS], impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut encoder = self.family(family)?;
        for (values, value) in series {
            in_series(&mut encoder, family, &values, |encoder| encoder.encode_gauge(&value))?;
        }
        Ok(())
    }

    fn gauge(&mut self, family: &'static Family, value: impl EncodeGaugeValue) -> fmt::Result {
        self.family(family)?.encode_gauge(&value)
    }

    fn histogram(
        &mut self,
        family: &'static Family,
        buckets: &[(f64, u64)],
        sum_seconds: f64,
    ) -> fmt::Result {
        let count = sum(buckets.iter().map(|(_, count)| *count));
        self.family(family)?.encode_histogram::<NoLabelSet>(sum_seconds, count, buckets, None)
    }

    fn info<const LABELS: usize>(
        &mut self,
        family: &'static Family,
        values: [&'static str; LABELS],
    ) -> fmt::Result {
        let labels = labels(family, &values);
        self.family(family)?.encode_info(&labels)
    }
}

fn labels<'v>(family: &Family, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
    family.labels.iter().copied().zip(values.iter().copied()).collect()
}

/// Encodes one series; one without labels is written without empty braces.
fn in_series(
    encoder: &mut MetricEncoder<'_>,
    family: &Family,
    values: &[&str],
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if values.is_empty() {
        return encode(encoder);
    }
    encode(&mut encoder.encode_family(&labels(family, values))?)
}

#[cfg(test)]
pub(crate) mod tests;
