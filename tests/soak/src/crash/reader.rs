//! Who looks at retained messages in a crash audit: each visit is a new subscription, and judges what it is given.

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

/// Pauses that a reader waits for what has not come: nothing says that retained messages come before the answer to a PINGREQ.
const PAUSES_MAX: usize = 40;

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
async fn visit(scene: &Scene, random: &mut Random, states: &[StreamId], name: &str) -> Option<()> {
    let identity = Identity { survives: false, ..Identity::new(name.to_owned(), Version::V5) };
    let (mut link, _) = identity.connect(scene, random).await?;
    let floors: Vec<u32> = states.iter().map(|stream| scene.ledger.borrow().floor(*stream)).collect();
    let options = SubscriptionOptions::at_most(QoS::AtMostOnce);
    let filters = std::iter::once(SubscribeFilter { filter: "state/#", options });
    let properties = PropertiesRef::EMPTY;
    encode_subscribe(
        &mut link.wire.output,
        Version::V5,
        NonZeroU16::MIN,
        &properties,
        filters,
        PACKET_BYTES_MAX,
    )
    .expect("the SUBSCRIBE is valid");
    let (mut given, mut is_over, mut pauses) = (HashMap::<StreamId, u32>::new(), false, 0);
    while !is_over {
        let is_right = identity.read(scene, &mut link, |output, packet| {
            match packet {
                Packet::SubAck(_) => encode_pingreq(output),
                Packet::PingResp => is_over = true,
                // What is published while it subscribes may come in place of what it replaces, and as itself. Empty is what clears.
                Packet::Publish(publish) if publish.payload.is_empty() && !publish.retain => {}
                Packet::Publish(publish) => {
                    let stamp = Stamp::read(publish.payload);
                    let stamp = stamp.ok_or((Kind::Phantom, "retained bytes that nobody sent".to_owned()))?;
                    let newest = given.entry(stamp.stream).or_default();
                    *newest = stamp.sequence.max(*newest);
                }
                other => return Err((Kind::Protocol, format!("an unexpected {other:?}"))),
            }
            Ok(())
        });
        let is_missing = |(stream, floor): (&StreamId, &u32)| {
            !scene.ledger.borrow().is_retained_right(*stream, *floor, given.get(stream).copied())
        };
        if is_right && is_over && pauses < PAUSES_MAX && states.iter().zip(&floors).any(is_missing) {
            (pauses, is_over) = (pauses + 1, false);
            sleep(PAUSE).await;
            encode_pingreq(&mut link.wire.output);
        }
        if !is_right || (!is_over && link.next(scene, random, name).await == Event::End) {
            return None;
        }
    }
    for (stream, floor) in states.iter().zip(floors) {
        scene.ledger.borrow_mut().judge_retained(*stream, floor, given.get(stream).copied());
    }
    Some(())
}
