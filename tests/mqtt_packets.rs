//! MQTT byte by byte against the real binary: what a broken or hostile client sends, and what it gets until the socket ends.
//!
//! The state machine's tests prove each rule; these prove that socket, driver and machine keep them together: the right last
//! words, nothing behind them, and a connection that is really closed.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{DEADLINE, Gateway};

const CONNECT_V3: &[u8] = b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02id";
const CONNECT_V5: &[u8] = b"\x10\x0f\0\x04MQTT\x05\x02\0\0\0\0\x02id";
const CONNACK_V3: &[u8] = b"\x20\x02\0\0";
const DISCONNECT: u8 = 0xE0;

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", gateway.port("mqtt"))).expect("the gateway listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is set");
    stream
}

/// Sends all of it and reads until the gateway closes.
fn until_the_end(gateway: &Gateway, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(gateway);
    // What the gateway no longer reads may come back as a reset; what it said before counts.
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return received,
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return received,
            Err(error) => panic!("the connection stays open: {error}, got {received:x?}"),
        }
    }
}

/// Splits what a client received into packets of less than 128 bytes.
fn packets(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let [_, length, ..] = bytes {
        let (packet, rest) = bytes.split_at(usize::from(*length) + 2);
        packets.push(packet);
        bytes = rest;
    }
    packets
}

/// Faults behind CONNECT that read the same in both versions, with the reason code of 5.0.
const FAULTS: &[(&[u8], u8, &str)] = &[
    (b"\x00\x00", 0x81, "packet type 0"),
    (b"\x36\x05\0\x01a\0\x01", 0x81, "QoS 3"),
    (b"\x38\x04\0\x01a\0", 0x81, "DUP with QoS 0"),
    (b"\x61\x02\0\x01", 0x81, "flags of PUBREL"),
    (b"\x80\x06\0\x01\0\x01a\0", 0x81, "flags of SUBSCRIBE"),
    (b"\xa0\x05\0\x01\0\x01a", 0x81, "flags of UNSUBSCRIBE"),
    (b"\xc1\x00", 0x81, "flags of PINGREQ"),
    (b"\xe1\x00", 0x81, "flags of DISCONNECT"),
    (b"\xc0\xff\xff\xff\xff\x01", 0x81, "a remaining length of five bytes"),
    (b"\xc0\x01\0", 0x81, "bytes behind the last field"),
    (b"\x40\x02\0\0", 0x82, "packet identifier 0"),
    (b"\xd0\x00", 0x82, "a packet of servers"),
    (b"\x30\x80\x80\x80\x01", 0x95, "a packet above the announced limit"),
];

/// [MQTT-2.1.3-1] [MQTT-3.3.1-4] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.2.2-15]
/// [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1], [MQTT-3.1.1/2.2.2-2] [MQTT-3.1.1/3.3.1-4]
/// [MQTT-3.1.1/3.6.1-1] [MQTT-3.1.1/3.8.1-1] [MQTT-3.1.1/3.10.1-1] [MQTT-3.1.1/3.14.1-1] [MQTT-3.1.1/4.8.0-1]
#[test]
fn faults_end_the_connection_with_their_reason() {
    let gateway = Gateway::standard();
    for (fault, reason, name) in FAULTS {
        // The PINGREQ behind the fault is not answered.
        let received = until_the_end(&gateway, &[CONNECT_V5, fault, b"\xc0\0"].concat());
        match packets(&received)[..] {
            [[0x20, ..], [DISCONNECT, _, told, ..]] => assert_eq!(told, reason, "{name}"),
            ref other => panic!("{name}: {other:x?}"),
        }
        let received = until_the_end(&gateway, &[CONNECT_V3, fault, b"\xc0\0"].concat());
        assert_eq!(received, CONNACK_V3, "{name}");
    }
}

/// Faults that only MQTT 5.0 has, or that it writes in its own way.
const FAULTS_V5: &[(&[u8], u8, &str)] = &[
    (b"\xf0\x02\x19\0", 0x82, "AUTH without an authentication method"),
    (b"\x30\x06\0\x03a/#\0", 0x90, "a topic with a wildcard"),
    (b"\x30\x04\0\x01\xff\0", 0x81, "a topic that is no text"),
    (b"\x30\x03\0\0\0", 0x82, "no topic and no alias"),
    (b"\x30\x07\0\x01a\x03\x23\0\0", 0x94, "topic alias 0"),
    (b"\x30\x07\0\x01a\x03\x23\xff\xff", 0x94, "a topic alias above the maximum"),
    (b"\x30\x06\0\0\x03\x23\0\x01", 0x82, "an alias that was never set"),
    (b"\x30\x06\0\x01a\x02\x0b\x01", 0x82, "a subscription identifier in PUBLISH"),
    (b"\x30\x07\0\x01a\x03\x11\0\0", 0x81, "a property of another packet"),
    (b"\x30\x08\0\x01a\x04\x01\0\x01\0", 0x82, "a property twice"),
    (b"\x82\x03\0\x01\0", 0x82, "SUBSCRIBE without a filter"),
    (b"\xa2\x03\0\x01\0", 0x82, "UNSUBSCRIBE without a filter"),
    (b"\x82\x07\0\x01\0\0\x01a\x40", 0x81, "reserved subscription options"),
    (b"\x82\x07\0\x01\0\0\x01a\x03", 0x82, "a subscription with QoS 3"),
    (b"\xe0\x07\0\x05\x11\0\0\0\x01", 0x82, "a session that is kept although it was to end"),
];

/// [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.3.4-6] [MQTT-3.8.3-2] [MQTT-3.8.3-5] [MQTT-3.10.3-2]
/// [MQTT-4.12.0-7] [MQTT-4.13.1-1]
#[test]
fn faults_of_version_5_are_told_apart() {
    let gateway = Gateway::standard();
    for (fault, reason, name) in FAULTS_V5 {
        let received = until_the_end(&gateway, &[CONNECT_V5, fault].concat());
        match packets(&received)[..] {
            [[0x20, ..], [DISCONNECT, _, told, ..]] => assert_eq!(told, reason, "{name}"),
            ref other => panic!("{name}: {other:x?}"),
        }
    }
    let second = until_the_end(&gateway, &[CONNECT_V5, CONNECT_V5].concat());
    assert!(matches!(packets(&second)[..], [[0x20, ..], [DISCONNECT, _, 0x82, ..]]), "{second:x?}");
}

/// [MQTT-3.1.0-1] [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.1.4-6], [MQTT-3.1.1/3.1.0-1]
/// [MQTT-3.1.1/3.1.2-1] to [MQTT-3.1.1/3.1.2-3], [MQTT-3.1.1/3.1.3-8] [MQTT-3.1.1/3.1.4-1] [MQTT-3.1.1/3.1.4-5]: refused
/// openings, each with a PINGREQ behind it that is not answered.
#[test]
fn refused_openings_are_answered_as_their_version_can() {
    let gateway = Gateway::standard();
    let cases: &[(&[u8], &[u8], &str)] = &[
        (b"\xc0\0", b"", "another first packet"),
        (b"GET / HTTP/1.1\r\n\r\n", b"", "another protocol"),
        (b"\x10\x0e\0\x04mqtt\x04\x02\0\0\0\x02id", b"", "another protocol name"),
        (b"\x10\x0e\0\x04MQTT\x04\x03\0\0\0\x02id", b"", "the reserved flag in 3.1.1"),
        (b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02\xff\xff", b"", "a name that is no text in 3.1.1"),
        (b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0", b"\x20\x02\0\x02", "no name and no clean session"),
        (b"\x10\x0f\0\x04MQTT\x06\x02\0\0\0\0\x02id", b"\x20\x03\0\x84", "level 6"),
        (b"\x10\x0f\0\x04MQTT\x05\x03\0\0\0\0\x02id", b"\x20\x03\0\x81", "the reserved flag in 5.0"),
    ];
    for (bytes, expected, name) in cases {
        let received = until_the_end(&gateway, &[bytes, &b"\xc0\0"[..]].concat());
        let length_is_free = |bytes: &[u8]| match bytes {
            [0x20, _, rest @ ..] => rest.get(..2).map(<[u8]>::to_vec),
            other => Some(other.to_vec()),
        };
        assert_eq!(length_is_free(&received), length_is_free(expected), "{name}: {received:x?}");
    }
}

/// [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-3.8.4-1] [MQTT-3.10.4-4] [MQTT-3.12.4-1], [MQTT-3.1.1/4.3.2-2]
/// [MQTT-3.1.1/4.3.3-2] [MQTT-3.1.1/3.8.4-1] [MQTT-3.1.1/3.10.4-4] [MQTT-3.1.1/3.12.4-1]: a whole life in one write, and the
/// same byte by byte.
#[test]
fn conversation_is_answered_in_one_piece_and_in_many() {
    let gateway = Gateway::standard();
    let life: &[&[u8]] = &[
        CONNECT_V3,
        b"\x82\x06\0\x01\0\x01s\x01",
        b"\x32\x06\0\x01a\0\x02x",
        b"\x34\x06\0\x01b\0\x03y",
        b"\x62\x02\0\x03",
        b"\xa2\x05\0\x04\0\x01s",
        b"\xc0\0",
        b"\xe0\0",
    ];
    let answers: &[&[u8]] = &[
        CONNACK_V3,
        b"\x90\x03\0\x01\x01",
        b"\x40\x02\0\x02",
        b"\x50\x02\0\x03",
        b"\x70\x02\0\x03",
        b"\xb0\x02\0\x04",
        b"\xd0\0",
    ];
    let mut stream = connect(&gateway);
    for byte in life.concat() {
        stream.write_all(&[byte]).expect("the connection is open");
    }
    let mut slowly = Vec::new();
    stream.read_to_end(&mut slowly).expect("the gateway closes");
    for received in [until_the_end(&gateway, &life.concat()), slowly] {
        assert_eq!(packets(&received), answers);
    }
}

/// One packet of less than 128 bytes.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes).expect("a packet in time");
    bytes.resize(2 + usize::from(bytes[1]), 0);
    stream.read_exact(&mut bytes[2..]).expect("the whole packet");
    bytes
}

/// The listener option `receive_maximum_policy`: a client beyond its receive maximum is read from more slowly, and is served all the same.
#[test]
fn lenient_listener_serves_a_client_beyond_its_receive_maximum() {
    let gateway = Gateway::start(
        r#"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"
protocols = ["mqtt"]
allow_anonymous = true
mqtt = { receive_maximum = 1, receive_maximum_policy = "lenient" }
"#,
    );
    let mut stream = connect(&gateway);
    stream.write_all(CONNECT_V5).expect("the gateway reads");
    assert_eq!(packet(&mut stream)[0], 0x20);
    for id in 1..5 {
        stream.write_all(&[0x34, 7, 0, 1, b'a', 0, id, 0, b'x']).expect("the gateway reads");
        // Nobody subscribes.
        assert_eq!(packet(&mut stream), [0x50, 3, 0, id, 0x10]);
    }
    for id in 1..5 {
        stream.write_all(&[0x62, 2, 0, id]).expect("the gateway reads");
        assert_eq!(packet(&mut stream), [0x70, 2, 0, id]);
    }
}
