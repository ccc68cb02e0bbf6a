//! Where a server is, as it is written in the addresses of every kind of upstream, and texts in them that are written with `%`.
//!
//! Read here once, because what one kind took another one would refuse, and what none refuses fails at run time, again and again. Users,
//! paths and schemes are each kind's own.

use std::net::Ipv6Addr;

/// A host, without brackets, and the port where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A name or an IP address.
    pub host: String,
    /// From 1 on.
    pub port: Option<u16>,
}

/// Why a text is no place. Says nothing of what stands in it: it may be a password at the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// There is no host, or it has characters that no host has.
    #[error("the host is missing or malformed")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
}

impl Place {
    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
    pub fn parse(text: &str) -> Result<Place, PlaceError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or(PlaceError::Host)?;
                let _: Ipv6Addr = host.parse().map_err(|_| PlaceError::Host)?;
                match behind {
                    "" => (host, None),
                    behind => (host, Some(behind.strip_prefix(':').ok_or(PlaceError::Host)?)),
                }
            }
            None => {
                let (host, port) =
                    text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
                if host.is_empty() || !host.bytes().all(is_allowed) {
                    return Err(PlaceError::Host);
                }
                (host, port)
            }
        };
        let number = |port: &str| port.parse().ok().filter(|port| *port > 0).ok_or(PlaceError::Port);
        Ok(Place { host: host.to_owned(), port: port.map(number).transpose()? })
    }
}

/// What stands for a text in which `%` and two hexadecimal digits stand for a byte (RFC 3986 section 2.1); nothing where a `%` is alone, or the bytes are no
/// UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("broker.example:8883", "broker.example", Some(8883)),
            ("plant_7-a", "plant_7-a", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "::1", None),
            ("[fe80::1]:9092", "fe80::1", Some(9092)),
        ] {
            assert_eq!(Place::parse(text), Ok(Place { host: host.to_owned(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", ":1", "a b", "a\n", "bé", "a!", "::1", "[::1", "[x]", "[::1]x", "[a b]", "[]:1"] {
            assert_eq!(Place::parse(text), Err(PlaceError::Host), "{text:?}");
        }
        for text in ["a:", "a:0", "a:65536", "a:b", "a:1:2", "[::1]:"] {
            assert_eq!(Place::parse(text), Err(PlaceError::Port), "{text:?}");
        }
    }

    #[test]
    fn a_percent_sign_stands_for_a_byte() {
        assert_eq!(percent_decoded("s%3A%2Fcret%c3%A9").as_deref(), Some("s:/creté"));
        for text in ["%", "%4", "%zz", "%ff", "%4é"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[a-z:%\\[\\]0-9é]{0,20}") {
            let _ = (Place::parse(&text), percent_decoded(&text));
        }
    }
}
