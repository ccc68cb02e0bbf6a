//! The STOMP machine on any conversation: bytes in pieces, deliveries and time; what comes out has to be frames.
//!
//! The last byte chooses the version that the client speaks. Before it is a list of steps: a byte that says what happens, a byte for its size, and the bytes that arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tidegate_stomp::codec::{Decoder, FrameLimits, Version};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_testkit::script::{Harness, parcel};

/// One CONNECT for each version, the oldest first.
const CONNECTS: [&[u8]; 3] = [
    b"CONNECT\nlogin: a\n\n\0",
    b"CONNECT\naccept-version:1.1\nheart-beat:200,200\n\n\0",
    b"CONNECT\naccept-version:1.2\nheart-beat:200,200\n\n\0",
];

fuzz_target!(|data: &[u8]| {
    let max_body_size = "512B".parse().unwrap();
    let options = StompOptions { max_body_size, max_subscriptions: 4, ..StompOptions::default() };
    let mut harness = Harness::open(&Stomp::new(options));
    let Some((&chosen, mut rest)) = data.split_last() else { return };
    let version = Version::ALL[usize::from(chosen % 3)];
    let connect = CONNECTS[usize::from(chosen % 3)];
    let mut tag = 0;
    while let [action, size, behind @ ..] = rest {
        let (bytes, next) = behind.split_at(usize::from(*size).min(behind.len()));
        rest = next;
        match action % 8 {
            0 => drop(harness.feed(connect)),
            1 if harness.closed().is_none() => {
                tag += 1;
                let message = parcel("a/b", bytes).consumer(u32::from(*size % 4));
                let _ = harness.deliver(&if action & 8 == 0 { message } else { message.at_least_once(tag) });
                rest = behind;
            }
            2 => {
                harness.advance(Duration::from_millis(u64::from(*size) * 20));
                rest = behind;
            }
            _ => drop(harness.feed(bytes)),
        }
    }
    check(version, &harness.take_frames().concat());
});

/// Everything that was written is frames and heart-beats.
fn check(version: Version, output: &[u8]) {
    let limits =
        FrameLimits { head_bytes: 1 << 20, header_line_bytes: 1 << 20, headers: 200, body_bytes: 1 << 20 };
    let (mut decoder, mut rest) = (Decoder::new(version, limits), output);
    loop {
        let decoded = decoder.decode(rest).expect("only valid frames are written");
        rest = &rest[decoded.consumed..];
        if decoded.frame.is_none() {
            return assert!(rest.is_empty(), "a piece of a frame");
        }
    }
}
