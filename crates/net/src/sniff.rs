//! What the first bytes of a connection say about its transport.
//!
//! A TLS client on a plain port, a plain client on a TLS port and a browser on a port without WebSocket all look like
//! broken protocols from above; here they are told apart, so that the log can name the mistake. Which of several
//! protocols speaks is not decided here.

/// The transport that the first bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// So far they could be the start of more than one of the others.
    NeedMore,
    /// A TLS handshake record (RFC 8446 section 5.1).
    Tls,
    /// An HTTP GET request, with which a WebSocket begins.
    Http,
    /// Neither: a protocol directly on the transport.
    Protocol,
}

/// Content type `handshake` and the major version of every TLS record.
const TLS_START: &[u8] = &[0x16, 0x03];

const HTTP_START: &[u8] = b"GET ";

/// Looks at what has come so far; four bytes always suffice. No protocol of the gateway begins like TLS or like GET.
pub fn sniff(first: &[u8]) -> FirstBytes {
    if first.starts_with(TLS_START) {
        FirstBytes::Tls
    } else if first.starts_with(HTTP_START) {
        FirstBytes::Http
    } else if TLS_START.starts_with(first) || HTTP_START.starts_with(first) {
        FirstBytes::NeedMore
    } else {
        FirstBytes::Protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8446 section 5.1, RFC 9112 section 3: transports by their first bytes, however few have come.
    #[test]
    fn transports_are_told_apart() {
        let vectors: [(&[u8], FirstBytes); 13] = [
            (b"", FirstBytes::NeedMore),
            (b"\x16", FirstBytes::NeedMore),
            (b"\x16\x03", FirstBytes::Tls),
            (b"\x16\x03\x01\x02\x00", FirstBytes::Tls),
            (b"\x16\x04", FirstBytes::Protocol),
            (b"G", FirstBytes::NeedMore),
            (b"GET", FirstBytes::NeedMore),
            (b"GET ", FirstBytes::Http),
            (b"GET / HTTP/1.1", FirstBytes::Http),
            (b"GETX", FirstBytes::Protocol),
            (b"\x10\x0c\x00\x04MQTT", FirstBytes::Protocol),
            (b"CONNECT\n", FirstBytes::Protocol),
            (b"AMQP\x00\x00\x09\x01", FirstBytes::Protocol),
        ];
        for (first, expected) in vectors {
            assert_eq!(sniff(first), expected, "{first:?}");
        }
    }
}
