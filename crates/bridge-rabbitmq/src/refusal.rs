//! What RabbitMQ says no with, and what it means for a message or for the connection.
//!
//! The codes are those of AMQP 0-9-1 section 1.2. An operator's mistake is not a message's: an exchange that is missing, or that the
//! gateway may not write to, is one for all messages of a forward, and may be there in an hour. So a forward with one exchange
//! waits for it, and only where a message chose the exchange or the key by what it holds is it the message that is refused.

use crate::options::ForwardTarget;
use lapin::protocol::AMQPErrorKind;
use lapin::{Error, ErrorKind};
use tidegate_bridge::{Lost, Verdict};

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
/// No connection with these comes to stand before somebody has done something: invalid path, refused, not found, locked, precondition
/// failed, not allowed.
const REFUSALS: [u16; 6] = [402, ACCESS_REFUSED, NOT_FOUND, 405, PRECONDITION_FAILED, 530];

/// What the end of a connection, or of a channel that it cannot do without, means.
pub(crate) fn lost(error: &Error) -> Lost {
    match code(error) {
        Some(code) if REFUSALS.contains(&code) => Lost::Refused(words(error)),
        None if is_alert(error) => Lost::Refused(words(error)),
        _ => Lost::Broken(words(error)),
    }
}

/// Whether the other side has ended TLS with a reason: with TLS 1.3 it refuses a certificate only behind the handshake.
fn is_alert(error: &Error) -> bool {
    let ErrorKind::IOError(error) = error.kind() else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

/// Whether it is the channel that has ended, by what RabbitMQ said, and not the connection.
pub(crate) fn is_of_channel(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(error.kind(), AMQPErrorKind::Soft(_)))
}

/// What the end of a channel means for the message that caused it.
pub(crate) fn verdict(error: &Error, target: &ForwardTarget) -> Verdict {
    let reason = words(error);
    let never = |label| Verdict::Never { label, reason: reason.clone() };
    let is_one_exchange = target.exchange.constant().is_some();
    match code(error) {
        Some(NOT_FOUND) if !is_one_exchange => never("unroutable"),
        // The right to write to the exchange is looked at first; a topic is named only where the routing key is what may not be.
        Some(ACCESS_REFUSED) if !is_one_exchange || reason.contains("to topic") => never("not_authorised"),
        Some(PRECONDITION_FAILED) if reason.contains("larger than") => never("too_large"),
        Some(PRECONDITION_FAILED) => never("refused"),
        _ => Verdict::NotNow(reason),
    }
}

fn code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// What is shown of an error: RabbitMQ's own words, on one line.
pub(crate) fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => quote(error.get_id(), error.get_message().as_str()),
        _ => one_line(&error.to_string()),
    }
}

/// A code and its text.
pub(crate) fn quote(code: u16, text: &str) -> String {
    format!("RabbitMQ says {code}: {}", one_line(text))
}

/// What another program says, without what would look like something else in a log.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::target;
    use lapin::protocol::AMQPError;

    fn error(code: u16, text: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into()
    }

    fn label(code: u16, text: &str, exchange: &str) -> &'static str {
        match verdict(&error(code, text), &target(exchange, "k")) {
            Verdict::Never { label, .. } => label,
            Verdict::NotNow(_) => "not now",
            Verdict::Confirmed => "confirmed",
            Verdict::Expired => "expired",
        }
    }

    /// Somebody may make the exchange, or give the right; a backlog is not thrown away for want of it.
    #[test]
    fn what_is_wrong_with_the_only_exchange_is_waited_for() {
        assert_eq!(label(404, "NOT_FOUND - no exchange 'e' in vhost '/'", "e"), "not now");
        assert_eq!(
            label(403, "ACCESS_REFUSED - access to exchange 'e' in vhost '/' refused", "e"),
            "not now"
        );
        assert_eq!(label(541, "INTERNAL_ERROR", "e"), "not now");
    }

    #[test]
    fn what_a_message_has_chosen_is_its_own_fault() {
        assert_eq!(label(404, "NOT_FOUND - no exchange 'a'", "{topic[0]}"), "unroutable");
        assert_eq!(
            label(403, "ACCESS_REFUSED - access to exchange 'a' refused", "{topic[0]}"),
            "not_authorised"
        );
        let text = "ACCESS_REFUSED - write access to topic 'a.b' in exchange 'e' refused";
        assert_eq!(label(403, text, "e"), "not_authorised");
        let text = "PRECONDITION_FAILED - message size 9 is larger than configured max size 8";
        assert_eq!(label(406, text, "e"), "too_large");
        assert_eq!(label(406, "PRECONDITION_FAILED - invalid expiration", "e"), "refused");
    }

    #[test]
    fn a_refusal_of_the_connection_is_told_from_a_break() {
        assert!(matches!(lost(&error(403, "ACCESS_REFUSED - login")), Lost::Refused(_)));
        assert!(matches!(lost(&error(530, "NOT_ALLOWED - vhost v not found")), Lost::Refused(_)));
        assert!(matches!(lost(&error(320, "CONNECTION_FORCED - broker shutdown")), Lost::Broken(_)));
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        assert!(matches!(lost(&std::io::Error::other(alert).into()), Lost::Refused(_)));
        assert_eq!(lost(&error(320, "a\nb")), Lost::Broken("RabbitMQ says 320: a b".to_owned()));
    }
}
