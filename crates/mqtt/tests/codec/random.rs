//! A million inputs of random bytes and of valid packets with a few bytes changed: no panic, and no packet that takes no bytes.

use crate::samples::any_sample;
use crate::{ALL_VERSIONS, SEED, check, decode_all};
use std::cell::RefCell;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, Packet, ReasonCode, SHORT_ACK_BYTES, Version, decode_message, decode_short_ack, encode,
    frame_length,
};
use tidegate_testkit::random::Random;

/// Decodes; what is a packet must be written and read again as the same. Returns whether it was one.
fn survives(input: &[u8], version: Version) -> bool {
    agrees_with_shorter_ways(input, version);
    let Ok(Some((packet, consumed))) = decode_all(input, version) else { return false };
    assert!(consumed > 0 && consumed <= input.len());
    assert_eq!(frame_length(input), Ok(Some(consumed)));
    // The encoder writes no text that it cannot vouch for, but the topic of a PUBLISH is handed on as it is.
    let mut again = Vec::new();
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    encode(&mut again, version, &packet, PACKET_BYTES_MAX).unwrap();
    assert_eq!(decode_all(&again, version), Ok(Some((packet, again.len()))), "{input:x?}");
    true
}

/// What the frequent packets are decoded by says the same as what decodes all of them.
fn agrees_with_shorter_ways(input: &[u8], version: Version) {
    let whole = decode_all(input, version);
    if let Some((packet_type, id)) = decode_short_ack(input) {
        let Ok(Some((packet, SHORT_ACK_BYTES))) = whole else { panic!("{input:x?} is {whole:?}") };
        let (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack)) = packet
        else {
            panic!("{input:x?} is {packet:?}")
        };
        assert_eq!((packet.packet_type(), ack.packet_id, ack.reason), (packet_type, id, ReasonCode::Success));
    }
    let message = decode_message(input, version, PACKET_BYTES_MAX);
    match whole {
        Ok(Some((Packet::Publish(publish), length))) => assert_eq!(message, Ok(Some((publish, length)))),
        Err(error) if input[0] >> 4 == 3 => assert_eq!(message, Err(error)),
        _ => assert_eq!(message, Ok(None)),
    }
}

/// [MQTT-4.13.1-1]: whatever bytes come, the answer is a packet, a wait or a named error.
#[test]
fn random_bytes_never_panic() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let mut packets = 0;
    for round in 0..1_000_000 {
        let mut input: Vec<u8> = (0..2 + random.below(14)).map(|_| random.byte()).collect();
        // A length that fits, or nearly all inputs would end at the fixed header.
        if round % 4 > 0 {
            input[1] = (input.len() - 2) as u8;
        }
        packets += usize::from(survives(&input, ALL_VERSIONS[round % 3]));
    }
    assert!(packets > 1_000, "only {packets} inputs were packets");
}

/// [MQTT-4.13.1-1]: the same for inputs that are nearly right.
#[test]
fn damaged_packets_never_panic() {
    let samples = RefCell::new(Vec::new());
    check(2_000, &any_sample(), |sample| {
        samples.borrow_mut().push(sample);
        Ok(())
    });
    let (samples, mut random, mut packets) = (samples.into_inner(), Random::new(SEED), 0);
    for round in 0..500_000 {
        let sample = &samples[round % samples.len()];
        let mut input = sample.bytes.clone();
        for _ in 0..1 + random.below(3) {
            random.mutate(&mut input);
        }
        packets += usize::from(survives(&input, sample.version));
    }
    assert!(packets > 10_000, "only {packets} inputs were packets");
}
