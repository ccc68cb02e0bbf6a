//! Very many inputs that nobody wrote, to the machine: no panic, a named reason at the end, and only valid frames come out.

use super::connect;
use crate::codec::{Decoder, FrameLimits, Version};
use crate::{Stomp, StompOptions};
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_message::ByteSize;
use tidegate_protocol::{Answer, Attached, Attachment, Published, Refusal};
use tidegate_testkit::random::Random;
use tidegate_testkit::script::{Harness, parcel};

const SEED: u64 = 0x5354_4f4d_505f_4d31;
const INPUTS: usize = 300_000;

/// Pieces of conversations, mutated now and then.
const PIECES: &[&[u8]] = &[
    b"SEND\ndestination:/topic/a/b\nreceipt:r\nx:y\n\nbody\0",
    b"SEND\ndestination:/topic/a\nretain:true\nexpiration:5\ncontent-length:3\n\na\0b\0",
    b"SUBSCRIBE\nid:1\ndestination:/topic/#\nack:client\n\n\0",
    b"SUBSCRIBE\nid:2\ndestination:/topic/+/b\nack:client-individual\nprefetch-count:3\n\n\0",
    b"SUBSCRIBE\nid:3\ndestination:/topic/a\nretained:false\n\n\0",
    b"UNSUBSCRIBE\nid:1\n\n\0",
    b"UNSUBSCRIBE\nid:2\n\n\0",
    b"ACK\nid:0-1\n\n\0",
    b"NACK\nid:1-2\n\n\0",
    b"ACK\nmessage-id:0-1\nsubscription:1\n\n\0",
    b"NACK\nmessage-id:1-2\nsubscription:2\nrequeue:true\n\n\0",
    b"SUBSCRIBE\ndestination:/topic/b\nack:client\n\n\0",
    b"UNSUBSCRIBE\ndestination:/topic/b\n\n\0",
    b"BEGIN\ntransaction:t\n\n\0",
    b"BEGIN\ntransaction:u\n\n\0",
    b"COMMIT\ntransaction:t\n\n\0",
    b"ABORT\ntransaction:u\n\n\0",
    b"SEND\ndestination:/topic/a\ntransaction:t\n\nx\0",
    b"ACK\nid:0-1\ntransaction:u\n\n\0",
    b"SUBSCRIBE\nid:4\ndestination:/topic/d\ndurable:true\nack:client\nreceipt:d\n\n\0",
    b"UNSUBSCRIBE\nid:4\n\n\0",
    b"UNSUBSCRIBE\nid:4\ndurable:true\nreceipt:u\n\n\0",
    b"DISCONNECT\nreceipt:bye\n\n\0",
    b"CONNECT\naccept-version:1.2\nheart-beat:100,100\n\n\0",
    b"MESSAGE\n\n\0",
    b"SEND\ndestination:/queue/a\n\n\0",
    b"\n",
    b"\r\n",
    b"\0",
    b"a:b\n",
    b"SEND\n",
    b"content-length:999999999999\n\n",
];

/// [STOMP-1.2/STOMP Frames] [STOMP-1.2/ERROR]
#[test]
fn random_inputs_are_answered_or_closed_with_a_reason() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let stomp = Stomp::new(StompOptions {
        max_body_size: ByteSize::from_bytes(200),
        max_subscriptions: 3,
        ..StompOptions::default()
    });
    let (mut inputs, mut reasons) = (0, BTreeMap::<&str, usize>::new());
    while inputs < INPUTS {
        let (mut harness, version) = (Harness::open(&stomp), *random.pick(&Version::ALL));
        if !random.one_in(8) {
            harness.feed(connect(version).replacen('\n', "\nclient-id:c\n", 1));
        }
        for _ in 0..64 {
            inputs += 1;
            step(&mut harness, &mut random, inputs as u64);
            if let Some(label) = harness.close_label() {
                *reasons.entry(label).or_default() += 1;
                break;
            }
        }
        check_output(version, &harness.take_output());
    }
    println!("{reasons:?}");
    assert!(reasons.len() >= 9, "{reasons:?}");
}

/// One input: bytes, a delivery, time, or a late answer.
fn step(harness: &mut Harness, random: &mut Random, tag: u64) {
    if harness.broker.owes_attachment() && random.one_in(2) {
        let (present, saved) = (random.one_in(2), random.pick(&[b"d".as_slice(), b"e/#", b""]).to_vec());
        let attached =
            Attached { present, saved: vec![saved], expiry: Duration::from_secs(60), is_durable: false };
        harness.reply(if random.one_in(8) { Err(Refusal::NotAuthorized) } else { Ok(attached) });
        return;
    }
    if random.one_in(3) {
        harness.broker.attachments = [Attachment::Later].into();
    }
    if harness.broker.unanswered() > 0 && random.one_in(2) {
        harness.answer(if random.one_in(8) { Err(Refusal::StoreFailing) } else { Ok(()) });
        return;
    }
    if random.one_in(3) {
        let answer = Answer::Later;
        harness.broker.published.push_back(Ok(Published { matched: true, answer }));
        harness.broker.published_all.push_back(Ok(answer));
    }
    match random.below(8) {
        0 => {
            let consumer = random.below(4) as u32;
            let _ = harness.deliver(&parcel("a/b", b"x\0y").consumer(consumer).tagged(tag));
        }
        1 => drop(harness.advance(Duration::from_millis(random.below(3_000) as u64))),
        _ => {
            let often_fatal = random.one_in(3);
            let pieces = if often_fatal { PIECES } else { &PIECES[..2] };
            let mut bytes = random.pick(pieces).to_vec();
            if often_fatal && random.one_in(4) {
                random.mutate(&mut bytes);
            }
            harness.feed(&bytes);
        }
    }
}

/// Everything that was written is frames that our own decoder takes.
fn check_output(version: Version, output: &[u8]) {
    let limits = FrameLimits { head_bytes: 9_999, header_line_bytes: 9_999, headers: 99, body_bytes: 9_999 };
    let (mut decoder, mut rest) = (Decoder::new(version, limits), output);
    loop {
        let decoded = decoder.decode(rest).unwrap();
        rest = &rest[decoded.consumed..];
        if decoded.frame.is_none() {
            return assert_eq!(rest, b"", "a piece of a frame");
        }
    }
}
