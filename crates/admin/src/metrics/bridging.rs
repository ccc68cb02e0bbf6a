//! What bridges tell, as metrics. Labels are names of the configuration and fixed words, so the number of series is bounded.

use super::Exposition;
use crate::families::{self, Family};
use prometheus_client::encoding::{EncodeCounterValue, EncodeGaugeValue};
use std::collections::BTreeMap;
use std::fmt;
use tidegate_bridge::{BridgeReport, BridgeState, ForwardReport, ReceiveReport};

/// A family, and where its values stand in a report.
type Told<R, V> = (&'static Family, fn(&R) -> V);

pub(super) fn encode(bridges: &[BridgeReport], exposition: &mut Exposition<'_>) -> fmt::Result {
    encode_connections(bridges, exposition)?;
    encode_backlogs(bridges, exposition)?;
    encode_forwards(bridges, exposition)?;
    encode_receives(bridges, exposition)
}

fn encode_connections(bridges: &[BridgeReport], exposition: &mut Exposition<'_>) -> fmt::Result {
    let states = bridges.iter().flat_map(|bridge| {
        BridgeState::ALL.map(|state| {
            ([bridge.name.as_str(), &bridge.kind, state.label()], u64::from(bridge.state == state))
        })
    });
    exposition.gauges(&families::BRIDGE_STATE, states)?;
    let numbers = bridges.iter().map(|bridge| ([bridge.name.as_str()], bridge.address_number as u64));
    exposition.gauges(&families::BRIDGE_ADDRESS, numbers)?;
    let ages =
        bridges.iter().filter_map(|bridge| Some(([bridge.name.as_str()], bridge.answered_seconds_ago?)));
    exposition.gauges(&families::BRIDGE_ANSWER_AGE, ages)?;
    let failures = bridges.iter().map(|bridge| ([bridge.name.as_str()], bridge.failures));
    exposition.counters(&families::BRIDGE_FAILURES, failures)
}

fn encode_backlogs(bridges: &[BridgeReport], exposition: &mut Exposition<'_>) -> fmt::Result {
    let counts: [Told<ForwardReport, u64>; 3] = [
        (&families::BRIDGE_BACKLOG_MESSAGES, |forward| forward.backlog_messages),
        (&families::BRIDGE_BACKLOG_BYTES, |forward| forward.backlog_bytes),
        (&families::BRIDGE_IN_FLIGHT, |forward| forward.in_flight),
    ];
    for (family, read) in counts {
        gauges(exposition, family, forwards(bridges).map(|(labels, forward)| (labels, Some(read(forward)))))?;
    }
    let times: [Told<ForwardReport, Option<f64>>; 3] = [
        (&families::BRIDGE_BACKLOG_OLDEST, |forward| forward.oldest_seconds),
        (&families::BRIDGE_BACKLOG_DRAINED, |forward| forward.drained_in_seconds),
        (&families::BRIDGE_WAITING, |forward| forward.waiting_seconds),
    ];
    for (family, read) in times {
        gauges(exposition, family, forwards(bridges).map(|(labels, forward)| (labels, read(forward))))?;
    }
    Ok(())
}

fn encode_forwards(bridges: &[BridgeReport], exposition: &mut Exposition<'_>) -> fmt::Result {
    let counts: [Told<ForwardReport, u64>; 4] = [
        (&families::BRIDGE_CONFIRMED, |forward| forward.confirmed),
        (&families::BRIDGE_RETRIED, |forward| forward.retried),
        (&families::BRIDGE_TURNED_AWAY, |forward| forward.turned_away),
        (&families::BRIDGE_DEAD_LETTERS, |forward| forward.dead_letters),
    ];
    for (family, read) in counts {
        counters(exposition, family, forwards(bridges).map(|(labels, forward)| (labels, read(forward))))?;
    }
    let rates = forwards(bridges).map(|(labels, forward)| (labels, Some(forward.confirmed_per_second)));
    gauges(exposition, &families::BRIDGE_CONFIRMED_RATE, rates)?;
    let refused = forwards(bridges).flat_map(|(labels, forward)| by_reason(labels, &forward.refused));
    exposition.counters(&families::BRIDGE_REFUSED, refused)?;
    let dropped = forwards(bridges).flat_map(|(labels, forward)| by_reason(labels, &forward.dropped));
    exposition.counters(&families::BRIDGE_FORWARD_DROPPED, dropped)
}

fn encode_receives(bridges: &[BridgeReport], exposition: &mut Exposition<'_>) -> fmt::Result {
    let counts: [Told<ReceiveReport, u64>; 3] = [
        (&families::BRIDGE_RECEIVED, |receive| receive.received),
        (&families::BRIDGE_PUBLISHED, |receive| receive.published),
        (&families::BRIDGE_DUPLICATES, |receive| receive.duplicates),
    ];
    for (family, read) in counts {
        counters(exposition, family, receives(bridges).map(|(labels, receive)| (labels, read(receive))))?;
    }
    let rates = receives(bridges).map(|(labels, receive)| (labels, Some(receive.received_per_second)));
    gauges(exposition, &families::BRIDGE_RECEIVED_RATE, rates)?;
    let dropped = receives(bridges).flat_map(|(labels, receive)| by_reason(labels, &receive.dropped));
    exposition.counters(&families::BRIDGE_RECEIVE_DROPPED, dropped)
}

type Labels<'a> = [&'a str; 2];

fn forwards(bridges: &[BridgeReport]) -> impl Iterator<Item = (Labels<'_>, &ForwardReport)> {
    bridges.iter().flat_map(|bridge| {
        bridge.forwards.iter().map(|forward| ([bridge.name.as_str(), forward.name.as_str()], forward))
    })
}

fn receives(bridges: &[BridgeReport]) -> impl Iterator<Item = (Labels<'_>, &ReceiveReport)> {
    bridges.iter().flat_map(|bridge| {
        bridge.receives.iter().map(|receive| ([bridge.name.as_str(), receive.name.as_str()], receive))
    })
}

/// What is not known has no series.
fn gauges<'a>(
    exposition: &mut Exposition<'_>,
    family: &'static Family,
    series: impl Iterator<Item = (Labels<'a>, Option<impl EncodeGaugeValue>)>,
) -> fmt::Result {
    exposition.gauges(family, series.filter_map(|(labels, value)| Some((labels, value?))))
}

fn counters<'a>(
    exposition: &mut Exposition<'_>,
    family: &'static Family,
    series: impl Iterator<Item = (Labels<'a>, impl EncodeCounterValue)>,
) -> fmt::Result {
    exposition.counters(family, series)
}

fn by_reason<'a>(
    [bridge, lane]: Labels<'a>,
    counts: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = ([&'a str; 3], u64)> {
    counts.iter().map(move |(reason, count)| ([bridge, lane, reason.as_str()], *count))
}
