//! Any bytes as packets of all versions: no panic, and what is a packet is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_mqtt::codec::{
    PACKET_BYTES_MAX, Packet, Version, decode, encode, frame_length, message_properties,
};

fuzz_target!(|input: &[u8]| {
    for version in [Version::V31, Version::V3, Version::V5] {
        let mut rest = input;
        while let Ok(Some((packet, consumed))) = decode(rest, version, PACKET_BYTES_MAX) {
            assert!(consumed > 0 && frame_length(rest) == Ok(Some(consumed)));
            assert_eq!(decode(&rest[..consumed - 1], version, PACKET_BYTES_MAX), Ok(None));
            written_and_read_again(&packet, version);
            rest = &rest[consumed..];
        }
    }
});

fn written_and_read_again(packet: &Packet<'_>, version: Version) {
    let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
    let mut output = Vec::new();
    encode(&mut output, version, packet, PACKET_BYTES_MAX).expect("a packet that was read can be written");
    assert_eq!(decode(&output, version, PACKET_BYTES_MAX), Ok(Some((*packet, output.len()))));
    if let Packet::Publish(publish) = packet {
        // What a PUBLISH may carry the shared vocabulary can hold.
        let _ = message_properties(&publish.properties);
    }
}
