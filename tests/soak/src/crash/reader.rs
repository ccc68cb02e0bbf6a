//! Who looks at retained messages in a crash audit: each visit is a new subscription, and judges what it is given.

use super::ledger::Bounds;
use super::mqtt::Identity;
use super::scene::{Event, PATIENCE, Phase, Scene};
use crate::auditor::StreamId;
use crate::stamp::Stamp;
use crate::violations::Kind;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;
use tidegate_message::QoS;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, Packet, PropertiesRef, SubscribeFilter, SubscriptionOptions, Version, encode_pingreq,
    encode_subscribe,
};
use tidegate_testkit::random::Random;
use tokio::time::{sleep, timeout};

const PAUSE: Duration = Duration::from_millis(50);

/// Pauses that a reader waits for what is on its way to it.
const PAUSES_MAX: u32 = (PATIENCE.as_millis() / PAUSE.as_millis()) as u32;

/// Looks again and again until the audit is over.
pub(crate) async fn look_now_and_then(scene: &Scene, random: &mut Random, states: &[StreamId]) {
    while scene.phase.get() != Phase::Over {
        if scene.phase.get() == Phase::Load {
            visit(scene, random, states, "reader").await;
        }
        sleep(PAUSE).await;
    }
}

/// Looks once when nobody publishes; everything that must be there has to come.
pub(crate) async fn look_for_all(scene: &Scene, random: &mut Random, states: &[StreamId]) {
    let looked = timeout(PATIENCE, async {
        while visit(scene, random, states, "last-reader").await.is_none() {
            sleep(PAUSE).await;
        }
    });
    if looked.await.is_err() {
        scene.accuse(Kind::Silence, || "the retained messages could not be read".to_owned());
    }
}

/// One visit; nothing where it was cut off.
///
/// What is retained comes before the answer to a PINGREQ that is sent behind SUBACK, but for a message that was replaced while the reader
/// subscribed: what replaced it comes live, and from another worker perhaps behind that answer.
async fn visit(scene: &Scene, random: &mut Random, states: &[StreamId], name: &str) -> Option<()> {
    let identity = Identity { survives: false, ..Identity::new(name.to_owned(), Version::V5) };
    let (mut link, _) = identity.connect(scene, random).await?;
    let bounds_now = |stream: &StreamId| {
        let ledger = scene.ledger.borrow();
        (*stream, Bounds { floor: ledger.floor(*stream), sent: ledger.sent(*stream) })
    };
    let mut bounds: Vec<(StreamId, Bounds)> = states.iter().map(bounds_now).collect();
    write_subscribe(&mut link.wire.output);
    let (mut first, mut is_over, mut pauses) = (HashMap::<StreamId, u32>::new(), false, 0);
    while !is_over {
        let is_right = identity.read(scene, &mut link, |output, packet| {
            match packet {
                Packet::SubAck(_) => {
                    let ledger = scene.ledger.borrow();
                    bounds.iter_mut().for_each(|(stream, bounds)| bounds.sent = ledger.sent(*stream));
                    encode_pingreq(output);
                }
                Packet::PingResp => is_over = true,
                // A clear that is published while it subscribes.
                Packet::Publish(publish) if publish.payload.is_empty() && !publish.retain => {}
                Packet::Publish(publish) => {
                    let stamp = Stamp::read(publish.payload);
                    let stamp = stamp.ok_or((Kind::Phantom, "retained bytes that nobody sent".to_owned()))?;
                    first.entry(stamp.stream).or_insert(stamp.sequence);
                }
                other => return Err((Kind::Protocol, format!("an unexpected {other:?}"))),
            }
            Ok(())
        });
        let is_on_its_way = |(stream, bounds): &(StreamId, Bounds)| {
            let first = first.get(stream).copied();
            let is_right = scene.ledger.borrow().is_retained_right(*stream, *bounds, first);
            first.is_none() && !is_right && bounds.sent > bounds.floor
        };
        if is_right && is_over && pauses < PAUSES_MAX && bounds.iter().any(is_on_its_way) {
            (pauses, is_over) = (pauses + 1, false);
            sleep(PAUSE).await;
            encode_pingreq(&mut link.wire.output);
        }
        if !is_right || (!is_over && link.next(scene, random, name).await == Event::End) {
            return None;
        }
    }
    for (stream, bounds) in bounds {
        scene.ledger.borrow_mut().judge_retained(stream, bounds, first.get(&stream).copied());
    }
    Some(())
}

fn write_subscribe(output: &mut Vec<u8>) {
    let options = SubscriptionOptions::at_most(QoS::AtMostOnce);
    let filters = std::iter::once(SubscribeFilter { filter: "state/#", options });
    let properties = PropertiesRef::EMPTY;
    encode_subscribe(output, Version::V5, NonZeroU16::MIN, &properties, filters, PACKET_BYTES_MAX)
        .expect("the SUBSCRIBE is valid");
}
