//! The handshake against the specification's example, browsers' and libraries' requests, and wrong ones.

use super::*;

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: mqttv3.1, v12.stomp, mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn options() -> HandshakeOptions {
    let subprotocols = vec!["mqtt".to_owned(), "v12.stomp".to_owned()];
    HandshakeOptions { subprotocols, ..HandshakeOptions::default() }
}

fn handshake(options: HandshakeOptions, request: &str) -> Result<Option<Accepted>, HandshakeError> {
    Handshake::new(Arc::new(options)).handle_bytes(request.as_bytes())
}

fn accepted(options: HandshakeOptions, request: &str) -> Accepted {
    handshake(options, request).unwrap().unwrap()
}

/// The refusal, its label and the answer's text.
fn refused(options: HandshakeOptions, request: &str) -> (Refusal, String) {
    let error = handshake(options, request).unwrap_err();
    let response = String::from_utf8(error.response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 ") && head.contains(&format!("Content-Length: {}", body.len())));
    assert!(head.contains("close") && error.refusal.label().starts_with("websocket_"));
    (error.refusal, response)
}

fn without(field: &str) -> String {
    let lines = REQUEST.split_inclusive("\r\n");
    lines.filter(|line| !line.to_ascii_lowercase().starts_with(field)).collect()
}

/// RFC 6455 section 1.3: the example's key and its answer; section 4.2.2: the client's first choice that is served.
#[test]
fn example_of_the_specification_is_accepted() {
    let accepted = accepted(options(), REQUEST);
    assert_eq!(accepted.consumed, REQUEST.len());
    assert_eq!(accepted.subprotocol.as_deref(), Some("v12.stomp"));
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n";
    assert_eq!(String::from_utf8(accepted.response).unwrap(), response);
}

/// RFC 6455 section 4.1: names and the values of Upgrade and Connection do not distinguish case; Connection is a list.
/// [MQTT-6.0.0-4] [MQTT-3.1.1/6.0.0-4]: "mqtt" is selected.
#[test]
fn spelling_of_other_clients_is_accepted() {
    let request = REQUEST
        .replace("Upgrade: websocket", "UPGRADE:WebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive, Upgrade")
        .replace("Sec-WebSocket-Key", "sec-websocket-key");
    assert_eq!(accepted(options(), &request).subprotocol.as_deref(), Some("v12.stomp"));
    let lines = REQUEST.replace(
        "Sec-WebSocket-Protocol: mqttv3.1, v12.stomp, mqtt",
        "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: mqtt,v12.stomp",
    );
    assert_eq!(accepted(options(), &lines).subprotocol.as_deref(), Some("mqtt"));
}

/// RFC 6455 section 9.1: an extension that is not accepted is not mentioned.
#[test]
fn compression_is_declined_by_silence() {
    let request = REQUEST.replace("Origin:", "Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin:");
    let response = accepted(options(), &request).response;
    assert!(!String::from_utf8(response).unwrap().contains("Extensions"));
}

/// RFC 6455 section 4.2.1: the request may come in any pieces, and the first frame in the same read.
#[test]
fn every_split_gives_the_same_answer() {
    let stream = format!("{REQUEST}frames");
    let expected = accepted(options(), REQUEST);
    for cut in 0..REQUEST.len() {
        let (front, back) = stream.as_bytes().split_at(cut);
        let mut handshake = Handshake::new(Arc::new(options()));
        assert_eq!(handshake.handle_bytes(front), Ok(None), "{cut}");
        let accepted = handshake.handle_bytes(back).unwrap().unwrap();
        assert_eq!(&back[accepted.consumed..], b"frames", "{cut}");
        assert_eq!(accepted.response, expected.response);
    }
}

/// RFC 6455 section 4.2.1: a request that comes byte by byte.
#[test]
fn byte_by_byte_is_accepted_at_the_last_byte() {
    let mut handshake = Handshake::new(Arc::new(options()));
    let (last, front) = REQUEST.as_bytes().split_last().unwrap();
    for byte in front {
        assert_eq!(handshake.handle_bytes(&[*byte]), Ok(None));
    }
    assert_eq!(handshake.handle_bytes(&[*last]).unwrap().unwrap().consumed, 1);
}

/// RFC 6455 section 4.2.1: each thing that must be there, and the answer when it is not.
#[test]
fn wrong_request_gets_its_answer() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let vectors: Vec<(String, Refusal, &str)> = vec![
        (REQUEST.replace("GET", "POST"), Refusal::Method, "405"),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), Refusal::HttpVersion, "505"),
        (REQUEST.replace("HTTP/1.1", "HTTP/2.0"), Refusal::HttpVersion, "505"),
        (REQUEST.replace("Host:", "Ho st:"), Refusal::Malformed, "400"),
        (without("host"), Refusal::Malformed, "400"),
        (without("upgrade"), Refusal::NotUpgrade, "426"),
        (without("connection"), Refusal::NotUpgrade, "426"),
        (REQUEST.replace("websocket\r", "h2c\r"), Refusal::NotUpgrade, "426"),
        (without("sec-websocket-version"), Refusal::WebSocketVersion, "426"),
        (REQUEST.replace("Version: 13", "Version: 8"), Refusal::WebSocketVersion, "426"),
        (without("sec-websocket-key"), Refusal::Key, "400"),
        (REQUEST.replace(key, "dGhlIHNhbXBsZSBub25jZQ"), Refusal::Key, "400"),
        (REQUEST.replace(key, "dGhlIHNhbXBsZSBub25jZTEy"), Refusal::Key, "400"),
        (REQUEST.replace(key, &format!("{key}\r\nSec-WebSocket-Key: {key}")), Refusal::Key, "400"),
        (REQUEST.replace("v12.stomp, mqtt", "MQTT, v10.stomp"), Refusal::Subprotocol, "400"),
    ];
    for (request, refusal, status) in vectors {
        let (found, response) = refused(options(), &request);
        assert_eq!(found, refusal, "{request}");
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    }
}

/// RFC 6455 section 4.4: the answer to another version names the one that is spoken.
#[test]
fn other_version_is_told_the_right_one() {
    let (_, response) = refused(options(), &REQUEST.replace("Version: 13", "Version: 7"));
    assert!(response.contains("Sec-WebSocket-Version: 13\r\n"));
}

/// RFC 9110 section 15.5.22: someone who opens the port in a browser is told what it is for.
#[test]
fn plain_get_is_told_what_the_port_is_for() {
    let (refusal, response) = refused(options(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(refusal, Refusal::NotUpgrade);
    assert!(response.contains("Upgrade: websocket\r\n") && response.contains("ws://"));
    assert!(response.contains("mqtt, v12.stomp"));
}

/// RFC 6455 section 4.2.2 (`/subprotocol/`), [MQTT-6.0.0-3] and [MQTT-3.1.1/6.0.0-3]: without an offer the answer names
/// none; what is spoken is the default, or has to be seen.
#[test]
fn client_without_offer_gets_the_default_or_is_to_be_recognised() {
    let request = without("sec-websocket-protocol");
    let open = accepted(options(), &request);
    assert_eq!(open.subprotocol, None);
    assert!(!String::from_utf8(open.response).unwrap().contains("Protocol:"));
    let with_default = HandshakeOptions { default_subprotocol: Some("mqtt".to_owned()), ..options() };
    let accepted = accepted(with_default.clone(), &request);
    assert_eq!(accepted.subprotocol.as_deref(), Some("mqtt"));
    assert!(!String::from_utf8(accepted.response).unwrap().contains("Protocol:"));
    // An offer that does not fit is not covered by the default.
    let other = REQUEST.replace("v12.stomp, mqtt", "other");
    let (refusal, response) = refused(with_default, &other);
    assert_eq!(refusal, Refusal::Subprotocol);
    assert!(response.ends_with("Sub-protocols offered here: mqtt, v12.stomp\n"));
}

/// RFC 6455 section 10.2: an allowed list keeps foreign pages out, and lets programs in, which send no origin.
#[test]
fn foreign_page_is_refused() {
    let allowing = |origin: &str| HandshakeOptions { origins: vec![origin.to_owned()], ..options() };
    assert_eq!(refused(allowing("https://good.example"), REQUEST).0, Refusal::Origin);
    accepted(allowing("http://EXAMPLE.com"), REQUEST);
    accepted(allowing("https://good.example"), &without("origin"));
    assert_eq!(refused(allowing("http://example.co"), REQUEST).0, Refusal::Origin);
}

/// RFC 6455 section 4.2.1, item 1: one path, whatever the query; a whole URI is taken as well.
#[test]
fn other_path_is_not_found() {
    let on_path = |path: &str| HandshakeOptions { path: Some(path.to_owned()), ..options() };
    let target = |target: &str| REQUEST.replacen("/chat", target, 1);
    accepted(on_path("/chat"), REQUEST);
    accepted(on_path("/chat"), &target("/chat?token=1"));
    accepted(on_path("/chat"), &target("http://server.example.com/chat"));
    accepted(on_path("/"), &target("http://server.example.com"));
    for other in ["/", "/chat/", "/chatter", "/CHAT", "*"] {
        assert_eq!(refused(on_path("/chat"), &target(other)).0, Refusal::Path, "{other}");
    }
}

/// RFC 6455 section 4.2.1: what is no HTTP is told apart by its first bytes, without waiting for an empty line.
#[test]
fn other_protocols_are_refused_at_their_first_bytes() {
    for start in
        ["\x10\x0c\0\x04MQTT", "\x16\x03\x01", "CONNECT\n", "STOMP\r\n", "AMQP\0", "get / HTTP/1.1", " GET"]
    {
        assert_eq!(refused(options(), start).0, Refusal::NotHttp, "{start:?}");
    }
    assert_eq!(refused(options(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ").0, Refusal::NotHttp);
}

/// RFC 6455 section 10.4: a request has a limit, in bytes and in header fields, however it comes.
#[test]
fn endless_request_is_refused_at_the_limit() {
    let mut handshake = Handshake::new(Arc::new(options()));
    assert_eq!(handshake.handle_bytes(b"GET / HTTP/1.1\r\n"), Ok(None));
    let mut sent = 16;
    let error = loop {
        match handshake.handle_bytes(b"a: b\r\n") {
            Ok(answer) => assert_eq!(answer, None),
            Err(error) => break error,
        }
        sent += 6;
        assert!(sent < REQUEST_BYTES_MAX);
    };
    assert_eq!(error.refusal, Refusal::TooLarge);
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(REQUEST_BYTES_MAX));
    assert_eq!(refused(options(), &huge).0, Refusal::TooLarge);
    let fields = REQUEST.replace("Origin:", &format!("{}Origin:", "a: b\r\n".repeat(HEADERS_MAX)));
    assert_eq!(refused(options(), &fields).0, Refusal::TooLarge);
}

/// RFC 6455 section 10: no byte of the client comes back, which could otherwise smuggle headers into the answer.
#[test]
fn answers_never_echo_the_client() {
    let request = REQUEST.replace("mqttv3.1, v12.stomp, mqtt", "marker").replace("/chat", "/marker");
    let (_, response) = refused(options(), &request);
    assert!(!response.contains("marker"));
}

/// Bytes from hell: requests with wrong bytes in any pieces are accepted or refused, never more than that.
#[test]
fn random_requests_are_survived() {
    const SEED: u64 = 0x7469_6465_6761_7465;
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % limit
    };
    let options = Arc::new(options());
    for round in 0..50_000 {
        let mut request = REQUEST.as_bytes().to_vec();
        for _ in 0..below(4) {
            let position = below(request.len());
            request[position] = below(256) as u8;
        }
        if below(4) == 0 {
            request.truncate(below(request.len()));
        }
        let mut handshake = Handshake::new(Arc::clone(&options));
        let whole = handshake.handle_bytes(&request);
        let cut = below(request.len() + 1);
        let mut handshake = Handshake::new(Arc::clone(&options));
        let in_two = match handshake.handle_bytes(&request[..cut]) {
            Ok(None) => handshake.handle_bytes(&request[cut..]),
            ended => ended,
        };
        let response = |answer: Result<Option<Accepted>, HandshakeError>| match answer {
            Ok(accepted) => accepted.map(|accepted| accepted.response),
            Err(error) => Some(error.response),
        };
        assert_eq!(response(whole), response(in_two), "round {round}, cut {cut}");
    }
}
