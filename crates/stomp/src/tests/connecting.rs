//! CONNECT and CONNECTED, and who is not let in.

use super::{CONNECT, expect_error, frames, opening};
use std::sync::Arc;
use std::time::Duration;
use tidegate_protocol::{Authenticated, Authentication, CloseReason, Denial, Identity, Proof};
use tidegate_testkit::script::{Evidence, Harness, same_at_every_split};

const CONNECTED: &str = concat!(
    "CONNECTED\nversion:1.2\nsession:tidegate-7\nserver:tidegate/",
    env!("CARGO_PKG_VERSION"),
    "\nheart-beat:1000,10000\n\n^@"
);

/// [STOMP-1.2/Connecting] [STOMP-1.2/CONNECTED Frame]
#[test]
fn connect_is_answered_with_connected_at_every_split() {
    let transcript = same_at_every_split(CONNECT, opening);
    assert_eq!(transcript.output, CONNECTED.replace("^@", "\0").into_bytes());
    assert_eq!((transcript.requests.len(), transcript.closed), (0, None));
}

/// [STOMP-1.2/CONNECT or STOMP Frame]: STOMP is handled like CONNECT, and its headers have no escapes either.
#[test]
fn stomp_opens_like_connect() {
    let mut harness = opening();
    harness.feed("\r\n\nSTOMP\r\naccept-version:1.0,1.1,1.2\r\nhost:a\\b\r\n\r\n\0\n");
    assert_eq!(frames(&mut harness), [CONNECTED]);
}

/// [STOMP-1.2/CONNECT or STOMP Frame]: any host will do, also none.
#[test]
fn a_client_without_host_is_let_in() {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-version:1.2\n\n\0");
    assert_eq!(frames(&mut harness), [CONNECTED]);
}

/// [STOMP-1.2/Protocol Negotiation]
#[test]
fn other_versions_are_told_which_ones_are_spoken() {
    for versions in ["accept-version:2.0,1.3\n", "accept-version:1.20\n", "accept-version:\n"] {
        let mut harness = opening();
        harness.feed(format!("CONNECT\n{versions}host:example\n\n\0"));
        let frame =
            expect_error(&mut harness, "unsupported_version", "Supported protocol versions are 1.0 1.1 1.2");
        assert!(
            frame.contains("\nversion:1.0,1.1,1.2\n") && frame.contains("\ncontent-type:text/plain\n"),
            "{frame}"
        );
    }
}

/// [STOMP-1.2/Connecting]
#[test]
fn no_other_frame_comes_first() {
    for command in ["SEND", "SUBSCRIBE", "DISCONNECT", "MESSAGE"] {
        let mut harness = opening();
        harness.feed(format!("{command}\nreceipt:r\n\n\0"));
        let text = format!("the first frame has to be CONNECT or STOMP, not {command}");
        let frame = expect_error(&mut harness, "unexpected_frame", &text);
        assert!(frame.contains("\nreceipt-id:r\n"), "{frame}");
    }
}

/// [STOMP-1.2/Client Frames]
#[test]
fn a_second_connect_is_refused() {
    let mut harness = super::connected();
    harness.feed(CONNECT);
    expect_error(&mut harness, "unexpected_frame", "the connection is open already");
}

/// [STOMP-1.2/CONNECT or STOMP Frame]: login and passcode are handed on; a refusal says why.
#[test]
fn a_client_that_is_not_let_in_is_told_why() {
    let connect = "CONNECT\naccept-version:1.2\nhost:example\nlogin:admin\npasscode:secret\n\n\0";
    for (denial, label, text) in [
        (Denial::BadCredentials, "not_authenticated", "the user name or the password is not right"),
        (Denial::AnonymousNotAllowed, "not_authenticated", "the listener does not accept anonymous clients"),
        (Denial::Busy, "server_busy", "too many clients are waiting to be checked"),
    ] {
        let mut harness = opening();
        harness.broker.authentications.push_back(Authentication::Refused(denial));
        harness.feed(connect);
        let shown = Evidence::Password { user: Some("admin".to_owned()), password: Some(b"secret".to_vec()) };
        assert_eq!(harness.broker.evidence, [shown]);
        expect_error(&mut harness, label, text);
    }
}

/// The name of the certificate is the client's where it calls itself nothing.
#[test]
fn a_client_is_named_by_its_certificate() {
    let mut harness = opening();
    harness.broker.authentications.push_back(Authentication::Now(known_as("device-7")));
    harness.feed("CONNECT\naccept-version:1.2\nhost:example\n\n\0");
    assert_eq!(frames(&mut harness), [CONNECTED]);
    assert_eq!(harness.connection().client_id(), Some("device-7"));
}

fn known_as(user: &str) -> Authenticated {
    let identity = Identity {
        user: Some(user.into()),
        client_id: None,
        listener: Arc::default(),
        proof: Proof::Certificate,
    };
    Authenticated::Accepted { identity: identity.into(), data: Vec::new() }
}

/// A client whose passcode is being checked, and that has sent more meanwhile.
fn checked() -> Harness {
    let mut harness = opening();
    harness.broker.authentications.push_back(Authentication::Later);
    harness.feed("CONNECT\naccept-version:1.2\nlogin:ann\n\n\0SEND\ndestination:/topic/a\n\nb\0");
    assert!(frames(&mut harness).is_empty() && harness.take_requests().is_empty());
    assert_eq!(harness.connection().client_id(), Some("ann"));
    harness
}

/// [STOMP-1.2/Connecting]: nothing behind CONNECT is handled before it is answered.
#[test]
fn frames_wait_for_a_passcode_that_takes_long() {
    let mut harness = checked();
    harness.reply_authenticated(Ok(known_as("ann")));
    assert_eq!(frames(&mut harness), [CONNECTED]);
    assert_eq!(harness.take_requests()[0].published_topic(), Some("a"));
    let mut harness = checked();
    harness.reply_authenticated(Err(Denial::BadCredentials));
    expect_error(&mut harness, "not_authenticated", "the user name or the password is not right");
    assert!(harness.take_requests().is_empty());
}

/// The deadline of the listener covers the check.
#[test]
fn a_check_that_takes_too_long_ends_with_the_deadline() {
    let mut harness = checked();
    harness.advance(Duration::from_secs(10));
    expect_error(&mut harness, "connect_timeout", "no CONNECT frame arrived in time");
}

/// [STOMP-1.2/ERROR]
#[test]
fn a_client_whose_rights_are_gone_is_told() {
    let mut harness = super::connected();
    harness.close(CloseReason::NotAuthorized);
    expect_error(&mut harness, "not_authorized", "the client is no longer authorized");
}

/// The name in the logs is what the client calls itself.
#[test]
fn the_client_is_named_by_client_id_or_login() {
    for (headers, name) in
        [("client-id:dash\nlogin:ann\n", Some("dash")), ("login:ann\n", Some("ann")), ("", None)]
    {
        let mut harness = opening();
        harness.feed(format!("CONNECT\naccept-version:1.2\nhost:example\n{headers}\n\0"));
        assert_eq!(harness.connection().client_id(), name);
    }
}

/// The opening has to be complete by the deadline of the listener.
#[test]
fn a_client_that_never_connects_is_closed() {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-ver").advance(Duration::from_secs(10));
    expect_error(&mut harness, "connect_timeout", "no CONNECT frame arrived in time");
}

/// [STOMP-1.2/Heart-beating]
#[test]
fn a_heart_beat_that_is_none_is_refused() {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-version:1.2\nheart-beat:often\n\n\0");
    let text = "the header `heart-beat` must be two numbers of milliseconds with a comma";
    expect_error(&mut harness, "invalid_header", text);
}

/// [STOMP-1.2/Body]
#[test]
fn only_send_has_a_body() {
    let mut harness = opening();
    harness.feed("CONNECT\naccept-version:1.2\n\nbody\0");
    expect_error(&mut harness, "unexpected_frame", "CONNECT must not have a body");
}
