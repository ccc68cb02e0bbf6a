//! How connections end: goodbye, heart-beats, malformed frames, shutdown.

use super::{connected, connected_with, expect_error, frames, opening, subscribed};
use crate::StompOptions;
use std::time::Duration;
use tidegate_message::{ByteSize, TimeSpan};
use tidegate_protocol::CloseReason;
use tidegate_testkit::script::{Harness, parcel, same_at_every_split};

/// A machine that agreed on heart-beats: from the server every 2 s, from the client every 10 s.
fn with_heart_beats() -> Harness {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-version:1.2\nheart-beat:5000,2000\n\n\0");
    harness.take_output();
    harness
}

/// [STOMP-1.2/DISCONNECT]
#[test]
fn disconnect_is_answered_and_ends_the_connection_at_every_split() {
    let transcript = same_at_every_split(b"DISCONNECT\nreceipt:77\n\n\0SEND\n\n\0", connected);
    assert_eq!(transcript.output, b"RECEIPT\nreceipt-id:77\n\n\0");
    assert_eq!(transcript.closed, Some(CloseReason::Disconnected.into()));
    let mut silent = connected();
    silent.feed("DISCONNECT\n\n\0");
    assert_eq!((silent.close_label(), silent.take_output()), (Some("disconnected"), vec![]));
}

/// [STOMP-1.2/Heart-beating]: a newline where nothing else was sent; every frame counts.
#[test]
fn heart_beats_are_sent_when_nothing_else_is() {
    let mut harness = with_heart_beats();
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/a\n\n\0").advance(Duration::from_secs(2));
    assert_eq!(frames(&mut harness), ["\n"]);
    harness.deliver(&parcel("a", "x")).unwrap();
    harness.take_output();
    harness.advance(Duration::from_millis(1_500));
    assert_eq!(frames(&mut harness), [""; 0]);
    harness.advance(Duration::from_millis(500));
    assert_eq!(frames(&mut harness), ["\n"]);
    harness.handle_timeout();
    assert_eq!(frames(&mut harness), [""; 0], "an early timeout does nothing");
}

/// [STOMP-1.2/Heart-beating]: the receiver is tolerant; any byte is a sign of life.
#[test]
fn a_silent_client_is_closed_after_twice_its_interval() {
    let mut harness = with_heart_beats();
    harness.advance(Duration::from_secs(19)).feed("\n").advance(Duration::from_secs(19)).feed("SEN");
    harness.advance(Duration::from_millis(19_999));
    assert_eq!(harness.close_label(), None);
    harness.take_output();
    harness.advance(Duration::from_millis(1));
    assert_eq!(harness.close_label(), Some("keep_alive_timeout"));
    let text = "nothing arrived for twice the agreed heart-beat interval of 10000 ms^@";
    assert!(frames(&mut harness).pop().is_some_and(|frame| frame.ends_with(text)));
}

/// [STOMP-1.2/Heart-beating]: what has arrived and was not read yet is a sign of life.
#[test]
fn unread_bytes_are_signs_of_life() {
    let mut harness = with_heart_beats();
    for _ in 0..3 {
        harness.advance(Duration::from_millis(19_999)).has_unread_bytes();
    }
    assert_eq!(harness.close_label(), None);
    harness.advance(Duration::from_secs(20));
    assert_eq!(harness.close_label(), Some("keep_alive_timeout"));
}

/// [STOMP-1.2/Heart-beating]: a large body on its way is a sign of life, so its pieces have to be seen.
#[test]
fn pieces_of_a_large_body_are_signs_of_life() {
    let mut harness = with_heart_beats();
    harness.feed("SEND\ndestination:/topic/a\ncontent-length:100\n\n");
    for _ in 0..10 {
        harness.advance(Duration::from_secs(15)).feed("x");
    }
    assert_eq!((harness.close_label(), harness.connection().bytes_wanted()), (None, 1));
    let mut without = connected();
    without.feed("SEND\ncontent-length:100\n\n");
    assert_eq!(without.connection().bytes_wanted(), 25 + 101);
}

/// [STOMP-1.2/Heart-beating]: without an agreement nothing is due.
#[test]
fn without_heart_beats_nothing_times_out() {
    let harness = connected();
    assert_eq!(harness.connection().next_timeout(), None);
    let options = StompOptions {
        heart_beat_outgoing: TimeSpan::from_milliseconds(0),
        heart_beat_incoming: TimeSpan::from_milliseconds(0),
        ..StompOptions::default()
    };
    let mut harness = Harness::open(&crate::Stomp::new(options));
    harness.feed("CONNECT\naccept-version:1.2\nheart-beat:5000,2000\n\n\0");
    assert!(frames(&mut harness)[0].contains("\nheart-beat:0,0\n"));
    assert_eq!(harness.connection().next_timeout(), None);
}

/// [STOMP-1.2/Augmented BNF] [STOMP-1.2/Size Limits]
#[test]
fn what_is_no_frame_is_told_and_closed() {
    let options = StompOptions { max_body_size: ByteSize::from_bytes(10), ..StompOptions::default() };
    let cases = [
        ("GARBAGE\n\n\0", "malformed_frame", "the frame's command is not one of STOMP"),
        ("SEND\na\n\n\0", "malformed_frame", "a header line is not a name, a colon and a value"),
        ("SEND\na:\\t\n\n\0", "malformed_frame", "a header has an escape other than \\r, \\n, \\c and \\\\"),
        (
            "SEND\ncontent-length:11\n\n",
            "frame_too_large",
            "the body has more than 10 bytes, which is the limit",
        ),
        ("SEND\n\n01234567890", "frame_too_large", "the body has more than 10 bytes, which is the limit"),
    ];
    for (bytes, label, text) in cases {
        let mut harness = connected_with(options.clone());
        harness.feed(bytes);
        expect_error(&mut harness, label, text);
    }
}

/// [STOMP-1.2/Server Frames] [STOMP-1.2/Body]
#[test]
fn frames_that_a_client_may_not_send_are_refused() {
    for (bytes, text) in [
        ("MESSAGE\n\nx\0", "MESSAGE is a frame of servers"),
        ("CONNECTED\n\n\0", "CONNECTED is a frame of servers"),
        ("SUBSCRIBE\nid:1\ndestination:/topic/a\n\nbody\0", "SUBSCRIBE must not have a body"),
    ] {
        let mut harness = connected();
        harness.feed(bytes);
        expect_error(&mut harness, "unexpected_frame", text);
    }
}

/// [STOMP-1.2/ERROR]: a short description, the receipt, a type and a length for the text.
#[test]
fn an_error_frame_is_complete() {
    let mut harness = connected();
    harness.feed("UNSUBSCRIBE\nid:9\nreceipt:r\n\n\0");
    assert_eq!(
        frames(&mut harness),
        [concat!(
            "ERROR\nreceipt-id:r\nmessage:unknown subscription id\ncontent-type:text/plain\ncontent-length:47\n\n",
            "the connection has no subscription with this id^@"
        )]
    );
}

/// [STOMP-1.2/ERROR]: clients are told when the gateway stops, and only when there is someone to tell.
#[test]
fn shutdown_is_told_and_a_lost_socket_is_not() {
    for mut harness in [opening(), subscribed("auto")] {
        harness.close(CloseReason::ServerShutdown);
        expect_error(&mut harness, "server_shutdown", "the server is shutting down");
        assert_eq!(harness.take_requests(), []);
    }
    let mut lost = subscribed("client");
    lost.close(CloseReason::PeerClosed);
    assert_eq!(lost.take_output(), b"");
    assert_eq!(lost.connection().next_timeout(), None);
}
