//! What a SEND costs to decode and a MESSAGE to encode, in nanoseconds per frame. Run with `cargo bench -p tidegate-stomp`.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop"
)]

use std::hint::black_box;
use std::time::Instant;
use tidegate_protocol::{Encoded, Output};
use tidegate_stomp::codec::{Decoder, FrameLimits, Version, encode};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_testkit::script::{RecordingBroker, parcel, peer};

const ROUNDS: u32 = 1_000_000;
const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 65_536, header_line_bytes: 16_384, headers: 100, body_bytes: 1 << 20 };

fn main() {
    let body = [b'x'; 64];
    let short = [("destination", "/topic/plant/7/state")];
    let long = [
        ("destination", "/topic/plant/7/state"),
        ("content-type", "application/json"),
        ("correlation-id", "4711"),
        ("reply-to", "/topic/answers/7"),
        ("device", "sensor\\7"),
        ("site", "north"),
        ("unit", "degree:celsius"),
    ];
    decode("SEND decode, 2 headers, 64 B", &send(&short, &body));
    decode("SEND decode, 8 headers with escapes, 64 B", &send(&long, &body));
    decode("SEND decode, 2 headers, 4 KiB", &send(&short, &[b'x'; 4_096]));
    deliver("MESSAGE encode, 64 B, one receiver", false);
    deliver("MESSAGE encode, 64 B, in a fan-out", true);
}

fn send(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Version::V1_2, tidegate_stomp::codec::Command::Send, headers.iter().copied(), body)
        .expect("a valid frame");
    bytes
}

fn decode(name: &str, frame: &[u8]) {
    let mut decoder = Decoder::new(Version::V1_2, LIMITS);
    measure(name, || {
        let decoded = decoder.decode(black_box(frame)).expect("a valid frame");
        assert!(black_box(decoded.frame).is_some());
    });
}

/// Through the machine, as the broker does it.
fn deliver(name: &str, shared: bool) {
    use tidegate_protocol::{Context, Protocol};
    let (now, mut broker) = (Instant::now(), RecordingBroker::default());
    let mut output = Output::stream();
    let mut machine = Stomp::new(StompOptions::default()).open(&peer(now), now);
    let opening = b"CONNECT\naccept-version:1.2\n\n\0SUBSCRIBE\nid:1\ndestination:/topic/#\n\n\0";
    let mut context = Context { now, output: &mut output, broker: &mut broker };
    machine.handle_bytes(opening, &mut context).expect("a subscription");
    let parcel = parcel("plant/7/state", [b'x'; 64]);
    let mut encoded = Encoded::default();
    encoded.start(shared);
    measure(name, || {
        if output.len() > 64 << 10 {
            output.buffer().clear();
        }
        machine.handle_delivery(&parcel.delivery(now), &mut encoded, &mut output).expect("a MESSAGE");
    });
}

fn measure(name: &str, mut work: impl FnMut()) {
    (0..ROUNDS / 10).for_each(|_| work());
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    println!("{name}: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
}
