//! Those who are no devices: what follows at the upstream and behind the edge, and who publishes at the upstream.

use super::client::{Client, Heard, Session};
use super::scene::{Doors, Phase, Scene};
use super::upstream::{Letter, Upstream};
use crate::auditor::StreamId;
use crate::stamp::STAMP_BYTES;
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
            let (id, is_redelivered) = (arrival.id.as_deref(), arrival.is_redelivered);
            scene.with(|state| state.ledger.arrived(&arrival.payload, id, is_redelivered));
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
    while scene.phase() != Phase::Over {
        if let Some(Heard::Message(message)) = client.next(LISTEN)? {
            let (payload, is_again) = (&message.payload, message.is_again);
            scene.with(|state| state.ledger.arrived(payload, None, is_again));
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

impl Commander {
    /// Publishes until the audit is over.
    pub(crate) fn live(mut self, scene: &Scene, upstream: &dyn Upstream) {
        let mut outbox = upstream.outbox();
        while scene.phase() != Phase::Over {
            if !scene.may_publish() {
                continue;
            }
            for _ in 0..1 + self.random.below(BURST_MAX) {
                let (topic, stream, has_id) = &self.streams[self.random.below(self.streams.len())];
                let stamp = scene.with(|state| {
                    state.under_way += 1;
                    state.ledger.publishing(*stream)
                });
                let payload = stamp.payload(STAMP_BYTES + self.random.below(200));
                let id = has_id.then(|| format!("cloud/7/stream-{}/{}", stream.0, stamp.sequence));
                let letter = Letter { topic, payload: &payload, id: id.as_deref() };
                let is_confirmed = outbox.publish(&letter);
                scene.with(|state| {
                    state.under_way -= 1;
                    if is_confirmed {
                        state.ledger.acknowledged(stamp);
                    }
                });
                if !is_confirmed {
                    scene.rest();
                }
            }
        }
    }
}
