//! The STOMP machine on any conversation: bytes in pieces, deliveries and time; what comes out has to be frames.
//!
//! The last byte chooses the version that the client has opened with, or that it has not opened yet. Before it is a list of steps: a byte
//! that says what happens, a byte for its size, and the bytes that arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tidegate_stomp::codec::{Decoder, FrameLimits, Version};
use tidegate_stomp::{Stomp, StompOptions};
use tidegate_testkit::script::{Harness, parcel};

/// One CONNECT for each version, the oldest first.
const CONNECTS: [&[u8]; 3] = [
    b"CONNECT\nlogin: a\nclient-id: c\n\n\0",
    b"CONNECT\naccept-version:1.1\nclient-id:c\nheart-beat:200,200\n\n\0",
    b"CONNECT\naccept-version:1.2\nclient-id:c\nheart-beat:200,200\n\n\0",
];

fuzz_target!(|data: &[u8]| {
    let max_body_size = "512B".parse().unwrap();
    let options = StompOptions { max_body_size, max_subscriptions: 4, ..StompOptions::default() };
    let mut harness = Harness::open(&Stomp::new(options));
    let Some((&chosen, mut rest)) = data.split_last() else { return };
    let connect = CONNECTS[usize::from(chosen % 3)];
    let opened_as = (chosen % 4 < 3).then(|| Version::ALL[usize::from(chosen % 3)]);
    if opened_as.is_some() {
        harness.feed(connect);
    }
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
    let output = harness.take_frames().concat();
    match opened_as {
        Some(version) => assert!(is_made_of_frames(version, &output)),
        // The input may have opened with any version.
        None => assert!(Version::ALL.into_iter().any(|version| is_made_of_frames(version, &output))),
    }
});

/// Whether everything that was written is frames and heart-beats.
fn is_made_of_frames(version: Version, output: &[u8]) -> bool {
    let limits =
        FrameLimits { head_bytes: 1 << 20, header_line_bytes: 1 << 20, headers: 200, body_bytes: 1 << 20 };
    let (mut decoder, mut rest) = (Decoder::new(version, limits), output);
    loop {
        let Ok(decoded) = decoder.decode(rest) else { return false };
        rest = &rest[decoded.consumed..];
        if decoded.frame.is_none() {
            return rest.is_empty();
        }
    }
}
