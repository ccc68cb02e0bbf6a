//! Who a client is: user name and password, certificates, and enhanced authentication (MQTT 5.0 section 4.12).

use crate::client::Client;
use crate::packets::{V3, V5, VERSIONS, connect, properties, publish};
use std::sync::Arc;
use std::time::Duration;
use tidegate_mqtt::codec::{Auth, PACKET_BYTES_MAX, Packet, Password, Property, ReasonCode, decode, encode};
use tidegate_protocol::{Authenticated, Authentication, CloseReason, Denial, Identity, Proof};
use tidegate_testkit::script::Evidence;

const METHOD: Property<'_> = Property::AuthenticationMethod("SCRAM-SHA-256");

fn ann() -> Arc<Identity> {
    Arc::new(Identity {
        user: Some("ann".into()),
        client_id: Some("device".into()),
        listener: Arc::default(),
        proof: Proof::Certificate,
    })
}

fn accepted(data: &[u8]) -> Authenticated {
    Authenticated::Accepted { identity: ann(), data: data.to_vec() }
}

fn challenge(data: &[u8]) -> Authentication {
    Authentication::Now(Authenticated::Challenge(data.to_vec()))
}

/// AUTH as a client or a server writes it.
fn auth(reason: ReasonCode, with: &[Property<'_>]) -> Vec<u8> {
    let (with, mut bytes) = (properties(with), Vec::new());
    let packet = Packet::Auth(Auth { reason, properties: with.as_ref() });
    encode(&mut bytes, V5, &packet, PACKET_BYTES_MAX).unwrap();
    bytes
}

fn proceeding(data: &[u8]) -> Vec<u8> {
    auth(ReasonCode::ContinueAuthentication, &[METHOD, Property::AuthenticationData(data)])
}

/// A client in the middle of its method, asked for its second step.
fn challenged() -> Client {
    let mut client = Client::silent(V5);
    client.harness.broker.authentications.push_back(challenge(b"salt"));
    let script = connect(V5).with(METHOD).with(Property::AuthenticationData(b"hello"));
    client.sends(script.bytes()).receives([proceeding(b"salt")]).asks([]);
    client
}

/// [MQTT-3.1.4-2]: what the CONNECT shows is handed on as it is.
#[test]
fn evidence_is_what_the_connect_shows() {
    let password = |user: Option<&str>, password: Option<&[u8]>| Evidence::Password {
        user: user.map(str::to_owned),
        password: password.map(<[u8]>::to_vec),
    };
    for version in VERSIONS {
        let mut client = Client::silent(version);
        client.sends(connect(version).bytes()).is_accepted();
        assert_eq!(client.harness.broker.evidence, [password(None, None)]);
        let client = Client::connected_by(connect(version).credentials());
        assert_eq!(client.harness.broker.evidence, [password(Some("user"), Some(b"secret"))]);
    }
    let mut script = connect(V5);
    script.packet.password = Some(Password(b"alone"));
    assert_eq!(Client::connected_by(script).harness.broker.evidence, [password(None, Some(b"alone"))]);
}

/// Sections 3.2.2.3 of 3.1.1 and 3.2.2.2 of 5.0: every reason has its code, and nothing was asked for but who it is.
#[test]
fn refusals_have_their_codes() {
    for (denial, in_version_3, in_version_5) in [
        (Denial::BadCredentials, ReasonCode::BadUserNameOrPassword, ReasonCode::BadUserNameOrPassword),
        (Denial::AnonymousNotAllowed, ReasonCode::NotAuthorized, ReasonCode::NotAuthorized),
        (Denial::Busy, ReasonCode::ServerUnavailable, ReasonCode::ServerBusy),
        (Denial::UnknownMethod, ReasonCode::NotAuthorized, ReasonCode::BadAuthenticationMethod),
        (Denial::MalformedExchange, ReasonCode::NotAuthorized, ReasonCode::NotAuthorized),
    ] {
        for (version, expected) in [(V3, in_version_3), (V5, in_version_5)] {
            if version == V3 && denial == Denial::UnknownMethod {
                continue;
            }
            let mut client = Client::silent(version);
            client.harness.broker.authentications.push_back(Authentication::Refused(denial));
            client.sends(connect(version).credentials().bytes()).is_refused(expected);
            client.asks([]);
        }
    }
}

/// A CONNECT whose password is being checked.
fn checked(version: tidegate_mqtt::codec::Version) -> Client {
    let mut client = Client::silent(version);
    client.harness.broker.authentications.push_back(Authentication::Later);
    let packets = [connect(version).credentials().keep_alive(1).bytes(), publish(version, "a", "b")];
    client.sends(packets.concat()).receives_nothing().asks([]);
    assert_eq!(client.harness.connection().client_id(), Some("device"));
    client
}

/// [MQTT-3.1.4-6] [MQTT-3.1.1/3.1.4-5]: packets behind the CONNECT wait until it is known whose they are, and are nobody's
/// where it is refused.
#[test]
fn packets_wait_for_a_password_that_takes_long() {
    for version in VERSIONS {
        let mut client = checked(version);
        client.harness.reply_authenticated(Ok(accepted(b"")));
        client.is_accepted();
        assert_eq!(client.harness.take_requests()[1].published_topic(), Some("a"));
        let mut client = checked(version);
        client.harness.reply_authenticated(Err(Denial::BadCredentials));
        client.is_refused(ReasonCode::BadUserNameOrPassword);
        client.asks([]);
    }
}

/// The connect deadline covers the check, and a keep alive is not in force before CONNACK.
#[test]
fn a_check_that_takes_too_long_ends_with_the_deadline() {
    let mut client = checked(V5);
    client.harness.advance(Duration::from_secs(9)).handle_timeout();
    assert_eq!(client.harness.closed(), None);
    client.harness.advance(Duration::from_secs(1));
    assert_eq!(client.harness.close_label(), Some("connect_timeout"));
    client.asks([]);
}

/// A client that leaves while it is being checked leaves nothing behind.
#[test]
fn a_close_while_being_checked_asks_for_nothing() {
    let mut client = checked(V5);
    client.harness.close(CloseReason::ServerShutdown);
    client.is_refused(ReasonCode::ServerUnavailable);
    client.asks([]);
    let mut client = checked(V3);
    client.harness.close(CloseReason::PeerClosed);
    client.receives_nothing().asks([]);
}

/// [MQTT-4.12.0-1]
#[test]
fn an_unknown_method_is_refused() {
    let mut client = Client::silent(V5);
    client.harness.broker.authentications.push_back(Authentication::Refused(Denial::UnknownMethod));
    client.sends(connect(V5).with(Property::AuthenticationMethod("GS2-KRB5")).bytes());
    client.is_refused(ReasonCode::BadAuthenticationMethod);
    let begin = Evidence::Begin { method: "GS2-KRB5".to_owned(), data: Vec::new() };
    assert_eq!(client.harness.broker.evidence, [begin]);
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-4.12.0-6] [MQTT-3.15.1-1] [MQTT-3.15.2-1] to
/// [MQTT-3.15.2-3]: every packet of the exchange names the method and carries nothing else, and the last words come with the
/// CONNACK.
#[test]
fn an_exchange_ends_with_connack() {
    let mut client = challenged();
    client.harness.broker.authentications.push_back(Authentication::Now(accepted(b"v=1")));
    client.sends(proceeding(b"proof"));
    let bytes = client.is_accepted();
    let Some((Packet::ConnAck(connack), _)) = decode(&bytes, V5, usize::MAX).unwrap() else { panic!() };
    assert_eq!(connack.properties.authentication_method(), Some("SCRAM-SHA-256"));
    assert_eq!(connack.properties.authentication_data(), Some(&b"v=1"[..]));
    let steps = [
        Evidence::Begin { method: "SCRAM-SHA-256".to_owned(), data: b"hello".to_vec() },
        Evidence::Continue { data: b"proof".to_vec() },
    ];
    assert_eq!(client.harness.broker.evidence, steps);
}

/// [MQTT-4.12.0-4]
#[test]
fn a_failed_exchange_is_refused() {
    let mut client = challenged();
    client.harness.broker.authentications.push_back(Authentication::Refused(Denial::BadCredentials));
    client.sends(proceeding(b"proof")).is_refused(ReasonCode::BadUserNameOrPassword);
    client.asks([]);
}

/// [MQTT-3.1.2-30] [MQTT-4.12.0-3] [MQTT-4.12.0-5]: only the next step, of the same method, may come.
#[test]
fn packets_out_of_order_are_protocol_errors() {
    let other = Property::AuthenticationMethod("PLAIN");
    for (what, bytes) in [
        ("another packet", publish(V5, "a", "b")),
        ("another CONNECT", connect(V5).bytes()),
        ("a ping", vec![0xC0, 0]),
        ("re-authentication", auth(ReasonCode::ReAuthenticate, &[METHOD])),
        ("another method", auth(ReasonCode::ContinueAuthentication, &[other])),
        ("success", auth(ReasonCode::Success, &[METHOD])),
        ("no method", vec![0xF0, 0]),
        ("no method, but a reason", vec![0xF0, 2, 0x18, 0]),
    ] {
        let mut client = challenged();
        client.sends(bytes);
        assert_eq!(client.harness.close_label(), Some("protocol_error"), "{what}");
        client.is_refused(ReasonCode::ProtocolError);
        client.asks([]);
    }
}

/// Section 4.12: the client may leave at any point, and says so or not.
#[test]
fn a_client_may_leave_in_the_middle() {
    let mut client = challenged();
    client.sends([0xE0, 0]).receives_nothing().asks([]);
    assert_eq!(client.harness.closed().unwrap().reason, CloseReason::Disconnected);
}

/// The connect deadline covers the exchange.
#[test]
fn an_exchange_must_end_in_time() {
    let mut client = challenged();
    client.sends(&proceeding(b"proof")[..5]).harness.advance(Duration::from_secs(10));
    assert_eq!(client.harness.close_label(), Some("connect_timeout"));
    client.asks([]);
}

/// [MQTT-4.12.0-7]
#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let mut client = Client::connected(V5);
    client.sends([0xF0, 0]).is_disconnected(ReasonCode::ProtocolError);
    let mut client = Client::connected(V5);
    client.sends(auth(ReasonCode::ReAuthenticate, &[METHOD])).is_disconnected(ReasonCode::ProtocolError);
}

/// A client that was let in by its method.
fn proven() -> Client {
    let mut client = challenged();
    client.harness.broker.authentications.push_back(Authentication::Now(accepted(b"v=1")));
    client.sends(proceeding(b"proof")).is_accepted();
    client.harness.take_requests();
    client.harness.broker.evidence.clear();
    client
}

fn anew(data: &[u8]) -> Vec<u8> {
    auth(ReasonCode::ReAuthenticate, &[METHOD, Property::AuthenticationData(data)])
}

/// [MQTT-4.12.1-1] [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1]: step by step like the first time, with AUTH 0x00 at its
/// end, and everything else goes on between the steps. As often as the client likes.
#[test]
fn a_known_client_proves_itself_anew() {
    let mut client = proven();
    for _ in 0..2 {
        client
            .harness
            .broker
            .authentications
            .extend([challenge(b"salt"), Authentication::Now(accepted(b"v=2"))]);
        client.sends(anew(b"hello")).receives([proceeding(b"salt")]);
        client.sends([0xC0, 0]).receives([vec![0xD0, 0]]);
        let success = auth(ReasonCode::Success, &[METHOD, Property::AuthenticationData(b"v=2")]);
        client.sends(proceeding(b"proof")).receives([success]);
        let steps = [
            Evidence::Begin { method: "SCRAM-SHA-256".to_owned(), data: b"hello".to_vec() },
            Evidence::Continue { data: b"proof".to_vec() },
        ];
        assert_eq!(std::mem::take(&mut client.harness.broker.evidence), steps);
    }
    assert_eq!(client.harness.closed(), None);
}

/// [MQTT-4.12.1-2]: the connection ends with a code that a DISCONNECT can carry, whether the answer comes at once or later.
#[test]
fn a_client_that_fails_to_prove_itself_anew_is_disconnected() {
    for (denial, expected) in [
        (Denial::BadCredentials, ReasonCode::NotAuthorized),
        (Denial::AnotherUser, ReasonCode::NotAuthorized),
        (Denial::MalformedExchange, ReasonCode::NotAuthorized),
        (Denial::Busy, ReasonCode::ServerBusy),
    ] {
        let mut client = proven();
        client.harness.broker.authentications.push_back(Authentication::Refused(denial));
        client.sends(anew(b"hello")).is_disconnected(expected);
        let mut client = proven();
        client.harness.broker.authentications.push_back(Authentication::Later);
        client.sends(anew(b"hello")).receives_nothing();
        client.harness.reply_authenticated(Err(denial));
        client.is_disconnected(expected);
    }
}

/// Section 4.12.1: packets behind an AUTH whose answer takes long are handled when it is there.
#[test]
fn packets_wait_for_a_proof_that_takes_long() {
    let mut client = proven();
    client.harness.broker.authentications.push_back(Authentication::Later);
    client.sends([anew(b"hello"), vec![0xC0, 0]].concat()).receives_nothing();
    client.harness.reply_authenticated(Ok(Authenticated::Challenge(b"salt".to_vec())));
    client.receives([proceeding(b"salt"), vec![0xD0, 0]]);
}

/// [MQTT-4.12.1-1] [MQTT-4.12.0-3]: with another method, or out of its order.
#[test]
fn auth_out_of_its_order_ends_the_connection() {
    let other = Property::AuthenticationMethod("PLAIN");
    for bytes in [
        auth(ReasonCode::ReAuthenticate, &[other]),
        auth(ReasonCode::Success, &[METHOD]),
        proceeding(b"proof"),
        vec![0xF0, 0],
    ] {
        proven().sends(bytes).is_disconnected(ReasonCode::ProtocolError);
    }
    let mut client = proven();
    client.harness.broker.authentications.push_back(challenge(b"salt"));
    client.sends(anew(b"hello")).receives([proceeding(b"salt")]);
    client.sends(anew(b"hello")).is_disconnected(ReasonCode::ProtocolError);
}
