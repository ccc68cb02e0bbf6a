//! The versions of the protocol, and what differs between them on the wire. One codec speaks all of them.
//!
//! | | 1.0 | 1.1 | 1.2 |
//! |---|---|---|---|
//! | escapes in headers | none | `\n` `\c` `\\` | `\r` `\n` `\c` `\\` |
//! | spaces around names and values | taken off | kept | kept |
//! | a body where none belongs | taken, without meaning | refused | refused |
//!
//! A line ends with LF or CR LF in all of them: 1.2 allows both, and before it a CR in front of the LF is what a careless client writes,
//! not a part of its value. A CR anywhere else is refused in all of them, because older versions could not pass it on.

use memchr::{memchr, memchr2, memchr3};
use std::fmt;

/// A version of STOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// STOMP 1.0, which knows no negotiation, no escapes, no heart-beats and no NACK.
    V1_0,
    /// STOMP 1.1.
    V1_1,
    /// STOMP 1.2.
    V1_2,
}

impl Version {
    /// All versions, the oldest first.
    pub const ALL: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

    /// The number in `accept-version` and `version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The highest version in an `accept-version` header, the numbers of which stand in any order, with or without spaces
    /// ([STOMP-1.2/Protocol Negotiation]).
    pub fn highest_of(accept_version: &str) -> Option<Version> {
        let offered = |version: &Version| {
            accept_version.split(',').any(|number| number.trim_matches([' ', '\t']) == version.as_str())
        };
        Version::ALL.into_iter().rev().find(offered)
    }

    /// Whether headers have escapes ([STOMP-1.1/Value Encoding]).
    pub(super) fn has_escapes(self) -> bool {
        self > Version::V1_0
    }

    /// Whether spaces around names and values are padding (1.0), and not a part of them ([STOMP-1.1/Value Encoding]).
    pub(crate) fn pads_headers(self) -> bool {
        self == Version::V1_0
    }

    /// The escapes in words, for an ERROR.
    pub(super) fn escapes_in_words(self) -> &'static str {
        match self {
            Version::V1_0 => "none",
            Version::V1_1 => r"\n, \c and \\",
            Version::V1_2 => r"\r, \n, \c and \\",
        }
    }

    /// Whether a text can be a header's value: a NUL never can, and a line end only where there is an escape for it.
    pub(crate) fn can_express(self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let found = match self {
            Version::V1_0 => memchr3(0, b'\r', b'\n', bytes),
            Version::V1_1 => memchr2(0, b'\r', bytes),
            Version::V1_2 => memchr(0, bytes),
        };
        found.is_none()
    }

    /// Whether a text can be a header's name; without escapes it has no colon either.
    pub(crate) fn can_express_name(self, name: &str) -> bool {
        self.can_express(name) && (self.has_escapes() || memchr(b':', name.as_bytes()).is_none())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [STOMP-1.2/Protocol Negotiation] [STOMP-1.1/Protocol Negotiation]
    #[test]
    fn the_highest_common_version_is_found() {
        for (offered, expected) in [
            ("1.2", Some(Version::V1_2)),
            ("1.0,1.1,2.0", Some(Version::V1_1)),
            ("1.2, 1.1 ,1.0", Some(Version::V1_2)),
            ("1.0", Some(Version::V1_0)),
            ("2.0,1.3", None),
            ("1.20", None),
            ("1.2.0", None),
            ("", None),
            (",", None),
        ] {
            assert_eq!(Version::highest_of(offered), expected, "{offered:?}");
        }
    }

    /// [STOMP-1.2/Value Encoding] [STOMP-1.1/Value Encoding]
    #[test]
    fn what_has_no_escape_cannot_be_expressed() {
        for (text, versions) in
            [("a\\ b", 3), ("a:b", 3), ("a\nb", 2), ("a\rb", 1), ("a\0b", 0), ("", 3), ("é", 3)]
        {
            let able = Version::ALL.into_iter().rev().take_while(|version| version.can_express(text));
            assert_eq!(able.count(), versions, "{text:?}");
        }
        let named = Version::ALL.map(|version| version.can_express_name("a:b"));
        assert_eq!(named, [false, true, true]);
    }
}
