//! WebSocket as browsers need it, on the wire: sub-protocols, messages and their borders, and ends that tell their reason.

use crate::harness::{Frame, Gateway, Program, WebSocket, frame, node, received};

const CONNECT: &str = "CONNECT\naccept-version:1.2\nhost:x\n\n\0";
const CONNECT_V5: &[u8] = b"\x10\x0f\0\x04MQTT\x05\x02\0\0\0\0\x02id";

/// A STOMP client that is connected.
fn stomp(gateway: &Gateway) -> WebSocket {
    let mut client = WebSocket::connect(gateway.port("websocket"), &["v12.stomp"]);
    client.send_text(CONNECT);
    assert!(client.next_text().starts_with("CONNECTED\n"));
    client
}

/// An MQTT 5.0 client that is connected.
fn mqtt(gateway: &Gateway) -> WebSocket {
    let mut client = WebSocket::connect(gateway.port("websocket"), &["mqtt"]);
    client.send_binary(CONNECT_V5);
    assert!(matches!(client.next(), Frame::Binary(packet) if packet[0] == 0x20));
    client
}

/// RFC 6455 section 4.2.2: the first name in the client's list that is served; an unknown one does not hurt.
#[test]
fn the_first_served_subprotocol_of_the_client_is_chosen() {
    let gateway = Gateway::standard();
    for (offer, chosen) in [
        (&["mqtt"][..], "mqtt"),
        (&["mqttv3.1"], "mqttv3.1"),
        (&["v12.stomp"], "v12.stomp"),
        (&["v11.stomp", "v10.stomp"], "v11.stomp"),
        (&["v10.stomp"], "v10.stomp"),
        (&["other", "mqtt", "v12.stomp"], "mqtt"),
        (&["v12.stomp", "mqtt"], "v12.stomp"),
    ] {
        let client = WebSocket::connect(gateway.port("websocket"), offer);
        assert_eq!(client.subprotocol.as_deref(), Some(chosen), "{offer:?}");
    }
}

/// Without a sub-protocol the messages tell, however they are cut; a ping in between is answered.
#[test]
fn a_client_without_subprotocol_is_recognised_by_its_messages() {
    let gateway = Gateway::standard();
    let connect = || WebSocket::connect(gateway.port("websocket"), &[]);
    let mut stomp = connect();
    assert_eq!(stomp.subprotocol, None);
    stomp.send_raw(&frame(0x01, b"CONN"));
    stomp.send_raw(&frame(0x89, b"there?"));
    assert_eq!(stomp.next(), Frame::Pong(b"there?".to_vec()));
    stomp.send_raw(&frame(0x80, &CONNECT.as_bytes()[4..]));
    assert!(stomp.next_text().starts_with("CONNECTED\n"));

    let mut mqtt = connect();
    for byte in frame(0x82, CONNECT_V5) {
        mqtt.send_raw(&[byte]);
    }
    assert!(matches!(mqtt.next(), Frame::Binary(packet) if packet[0] == 0x20));

    // [MQTT-6.0.0-1]
    let mut text = connect();
    text.send_text(CONNECT_V5);
    assert_eq!(text.expect_close().0, 1003);

    let mut stranger = connect();
    stranger.send_text("HELO\n");
    let (code, reason) = stranger.expect_close();
    assert!(code == 1003 && reason.starts_with("protocol_unrecognised: "), "{code} {reason}");
}

/// Borders of messages mean nothing to STOMP: several frames in one, one frame in several, fragments with a ping in between.
#[test]
fn stomp_frames_and_messages_need_not_fit() {
    let gateway = Gateway::standard();
    let mut client = stomp(&gateway);
    let subscribe = "SUBSCRIBE\nid:1\ndestination:/topic/fit\n\n\0";
    let send = "SEND\ndestination:/topic/fit\nreceipt:r1\n\none\0";
    client.send_text(format!("{subscribe}\n{send}\n\n"));
    let mut texts = [client.next_text(), client.next_text()];
    texts.sort();
    assert!(texts[0].starts_with("MESSAGE\n") && texts[0].ends_with("\n\none\0"), "{texts:?}");
    assert!(texts[1].starts_with("RECEIPT\nreceipt-id:r1\n"), "{texts:?}");

    for piece in ["SEND\ndestination:/to", "pic/fit\ncontent-le", "ngth:4\n\nt\0", "wo\0"] {
        client.send_text(piece);
    }
    assert!(client.next_text().ends_with("\n\nt\0wo\0"));

    client.send_raw(&frame(0x01, b"SEND\ndestination:/topic/fit\n\nth"));
    client.send_raw(&frame(0x89, b""));
    client.send_raw(&frame(0x00, b"re"));
    client.send_raw(&frame(0x8A, b"unasked"));
    client.send_raw(&frame(0x80, b"e\0"));
    assert_eq!(client.next(), Frame::Pong(Vec::new()));
    assert!(client.next_text().ends_with("\n\nthree\0"));
}

/// @stomp/stompjs cuts a large frame into several messages where it is told to.
#[test]
fn stompjs_may_split_large_frames() {
    let gateway = Gateway::standard();
    let url = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    let body = "c3a4".repeat(5_000);
    let mut listener = Program::start(node("stomp_client.js").args(["listen", &url, "/topic/split", "1"]));
    listener.wait_for_line("its subscription", |line| line == "subscribed");
    let send = ["send", &url, "/topic/split", &body, "split"];
    Program::start(node("stomp_client.js").args(send)).succeed();
    assert_eq!(received(&mut listener), format!("/topic/split {body}"));
}

/// [STOMP-1.2/Body]: what is no UTF-8 goes in binary, so that no browser closes the socket; heart-beats are text.
#[test]
fn only_what_is_utf_8_is_sent_as_text() {
    let gateway = Gateway::standard();
    let mut client = WebSocket::connect(gateway.port("websocket"), &["v12.stomp"]);
    client.send_text("CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,1000\n\n\0");
    assert!(client.next_text().contains("heart-beat:1000,"));
    assert_eq!(client.next_text(), "\n");
    client.send_text("SUBSCRIBE\nid:1\ndestination:/topic/utf8\n\n\0");
    client.send_binary(b"SEND\ndestination:/topic/utf8\ncontent-length:2\n\n\xFF\xFE\0");
    loop {
        match client.next() {
            Frame::Text(beat) if beat == "\n" => {}
            Frame::Binary(message) => {
                assert!(message.ends_with(b"\n\n\xFF\xFE\0"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// RFC 6455 sections 5.1, 8.1, 10.4 and [MQTT-6.0.0-1]: each fault has its code, and its label as reason.
#[test]
fn faults_in_the_framing_are_told() {
    let gateway = Gateway::standard();
    let too_big = [0x82, 0xFF, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
    for (bytes, code, label) in [
        (frame(0x81, b"\xFF"), 1007, "websocket_text_not_utf8"),
        (frame(0x81, b"a\xE4"), 1007, "websocket_text_not_utf8"),
        (vec![0x81, 0x01, b'\n'], 1002, "websocket_not_masked"),
        (too_big.to_vec(), 1009, "websocket_message_too_big"),
        (frame(0xC1, b"\n"), 1002, "websocket_reserved_bits"),
    ] {
        let mut client = stomp(&gateway);
        client.send_raw(&bytes);
        let (seen, reason) = client.expect_close();
        assert!(seen == code && reason.starts_with(&format!("{label}: ")), "{label}: {seen} {reason}");
    }
    let mut client = mqtt(&gateway);
    client.send_text(b"\xC0\0");
    let (code, reason) = client.expect_close();
    assert!(code == 1003 && reason.starts_with("websocket_text_refused: "), "{code} {reason}");
}

/// The last words of the protocol come first, then the close frame with what happened.
#[test]
fn the_close_frame_tells_the_reason() {
    let gateway = Gateway::standard();
    let mut client = stomp(&gateway);
    client.send_text("DISCONNECT\nreceipt:bye\n\n\0");
    assert!(client.next_text().starts_with("RECEIPT\nreceipt-id:bye\n"));
    assert_eq!(client.expect_close(), (1000, "disconnected".to_owned()));

    let mut client = stomp(&gateway);
    client.send_text("SEND\ndestination:/topic/a\ncontent-length:99999999\n\n");
    assert!(client.next_text().starts_with("ERROR\n"));
    let (code, reason) = client.expect_close();
    assert!(code == 1009 && reason.starts_with("frame_too_large: "), "{code} {reason}");

    let mut client = stomp(&gateway);
    client.send_text("NONSENSE\n\n\0");
    assert!(client.next_text().starts_with("ERROR\n"));
    let (code, reason) = client.expect_close();
    assert!(code == 1002 && reason.starts_with("malformed_frame: "), "{code} {reason}");

    let mut first = mqtt(&gateway);
    let _second = mqtt(&gateway);
    assert!(matches!(first.next(), Frame::Binary(packet) if packet[0] == 0xE0));
    assert_eq!(first.expect_close(), (1008, "session_taken_over".to_owned()));
}

/// A gateway that stops says so, and waits for the answers.
#[test]
fn shutdown_is_told_to_browsers() {
    let gateway = Gateway::standard();
    let (mut stomp, mut mqtt) = (stomp(&gateway), mqtt(&gateway));
    gateway.terminate();
    assert!(stomp.next_text().starts_with("ERROR\n"));
    assert_eq!(stomp.expect_close(), (1001, "server_shutdown".to_owned()));
    assert!(matches!(mqtt.next(), Frame::Binary(packet) if packet[0] == 0xE0));
    assert_eq!(mqtt.expect_close(), (1001, "server_shutdown".to_owned()));
    assert_eq!(gateway.wait().code, Some(0));
}

/// RFC 6455 section 7.1.2: what is still on its way when the gateway closes does not spoil the closing handshake.
#[test]
fn the_answer_to_the_close_frame_is_waited_for() {
    let gateway = Gateway::standard();
    let mut client = stomp(&gateway);
    client.send_text("DISCONNECT\n\n\0");
    assert!(matches!(client.next(), Frame::Close(1000, _)));
    for _ in 0..100 {
        client.send_text("SEND\ndestination:/topic/late\n\nnobody reads this\0");
    }
    client.send_raw(&frame(0x88, &1000_u16.to_be_bytes()));
    // A reset would be no clean end.
    assert_eq!(client.next(), Frame::End);
}

/// Another program's WebSocket sees code, reason and a clean end, as a page does.
#[test]
fn a_close_event_is_clean() {
    let gateway = Gateway::standard();
    let url = format!("ws://127.0.0.1:{}/", gateway.port("websocket"));
    for (message, end) in [
        ("SEND\n\n\0", "closed true 1002 unexpected_frame: "),
        ("CONNECT\naccept-version:1.2\n\n\0DISCONNECT\n\n\0", "closed true 1000 disconnected"),
    ] {
        let hex: String = message.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut program = Program::start(node("close_event.js").args([&url, "v12.stomp", &hex]));
        let line = program.wait_for_line("the close event", |line| line.starts_with("closed "));
        assert!(line.starts_with(end), "{line}");
    }
}
