//! Those who are no devices: what follows at the upstream and behind the edge, and who publishes at the upstream.

use super::client::{Client, Heard, Session};
use super::ledger::Excuse;
use super::scene::{Doors, Phase, Scene};
use super::upstream::{Letter, Outbox, Upstream};
use crate::auditor::StreamId;
use crate::stamp::{STAMP_BYTES, Stamp};
use std::collections::HashSet;
use std::io;
use std::time::Duration;
use tidegate_mqtt::codec::Version;
use tidegate_testkit::random::Random;

/// How long somebody listens before looking whether the audit is over.
const LISTEN: Duration = Duration::from_millis(50);
const BURST_MAX: usize = 12;

/// Follows what the bridge forwards, until the audit is over.
pub(crate) fn follow_upstream(scene: &Scene, upstream: &dyn Upstream) {
    let mut inbox = upstream.inbox();
    while scene.phase() != Phase::Over {
        if let Some(arrival) = inbox.next(LISTEN) {
            let excuse = if arrival.is_redelivered { Excuse::Redelivered } else { Excuse::None };
            scene.with(|state| state.ledger.arrived(&arrival.payload, arrival.id.as_deref(), excuse));
        }
    }
}

/// Behind the edge somebody with a session takes what the bridge receives, until the audit is over.
pub(crate) fn follow_edge(scene: &Scene) {
    while let Some(doors) = scene.await_doors() {
        // However it ends: the edge is killed, and it is there again soon.
        if take_commands(scene, doors).is_err() {
            scene.rest();
        }
    }
}

fn take_commands(scene: &Scene, doors: Doors) -> io::Result<()> {
    let mut client = Client::connect(doors.mqtt, Version::V5, "panel", Session::Kept)?;
    client.subscribe("commands/#")?;
    let mut here = HashSet::new();
    while scene.phase() != Phase::Over {
        if let Some(Heard::Message(message)) = client.next(LISTEN)? {
            let is_first_here = here.insert(Stamp::read(&message.payload));
            let excuse = match (is_first_here, message.is_again) {
                (false, _) => Excuse::None,
                (true, false) => Excuse::Reconnected,
                (true, true) => Excuse::Redelivered,
            };
            scene.with(|state| state.ledger.arrived(&message.payload, None, excuse));
            if let Some(packet_id) = message.packet_id {
                client.acknowledge(packet_id)?;
            }
        }
    }
    Ok(())
}

/// Who publishes at the upstream.
#[derive(Debug)]
pub(crate) struct Commander {
    pub(crate) random: Random,
    /// Its topics, and whether what it publishes there has ids as if it came from a gateway.
    pub(crate) streams: Vec<(String, StreamId, bool)>,
}

/// A message that is about to be published.
struct Written {
    topic: String,
    stamp: Stamp,
    payload: Vec<u8>,
    id: Option<String>,
}

impl Commander {
    /// Publishes until the audit is over.
    pub(crate) fn live(mut self, scene: &Scene, upstream: &dyn Upstream) {
        let mut outbox = upstream.outbox();
        while scene.phase() != Phase::Over {
            if scene.may_publish() && !self.publish_burst(scene, outbox.as_mut()) {
                scene.rest();
            }
        }
    }

    /// Whether all of it was confirmed.
    fn publish_burst(&mut self, scene: &Scene, outbox: &mut dyn Outbox) -> bool {
        let count = 1 + self.random.below(BURST_MAX);
        let burst: Vec<_> = (0..count).map(|_| self.write(scene)).collect();
        let letters: Vec<_> = burst.iter().map(Written::letter).collect();
        let confirmed = outbox.publish_all(&letters);
        scene.with(|state| {
            state.under_way -= count;
            let taken = burst.iter().zip(&confirmed).filter(|(_, is_confirmed)| **is_confirmed);
            taken.for_each(|(written, _)| state.ledger.acknowledged(written.stamp));
        });
        !confirmed.contains(&false)
    }

    fn write(&mut self, scene: &Scene) -> Written {
        let (topic, stream, has_id) = self.streams[self.random.below(self.streams.len())].clone();
        let stamp = scene.with(|state| {
            state.under_way += 1;
            state.ledger.publishing(stream)
        });
        let payload = stamp.payload(STAMP_BYTES + self.random.below(200));
        let id = has_id.then(|| format!("cloud/7/stream-{}/{}", stream.0, stamp.sequence));
        Written { topic, stamp, payload, id }
    }
}

impl Written {
    fn letter(&self) -> Letter<'_> {
        Letter { topic: &self.topic, payload: &self.payload, id: self.id.as_deref() }
    }
}
