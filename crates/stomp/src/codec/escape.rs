//! The escapes of header texts: `\r` (1.2 only), `\n`, `\c` for a colon, `\\` ([STOMP-1.2/Value Encoding]).

use super::Version;
use super::search::find_any;
use std::borrow::Cow;

/// The text behind an escaped one, copied only where it has an escape. Nothing for an escape that the specification does not define:
/// it must be treated as a fatal protocol error.
pub(super) fn unescape(version: Version, text: &str) -> Option<Cow<'_, str>> {
    if !version.has_escapes() {
        return Some(Cow::Borrowed(text));
    }
    let Some((plain, mut rest)) = text.split_once('\\') else { return Some(Cow::Borrowed(text)) };
    let mut unescaped = String::with_capacity(text.len());
    unescaped.push_str(plain);
    loop {
        let mut characters = rest.chars();
        unescaped.push(match characters.next()? {
            'r' if version == Version::V1_2 => '\r',
            'n' => '\n',
            'c' => ':',
            '\\' => '\\',
            _ => return None,
        });
        let Some((plain, behind)) = characters.as_str().split_once('\\') else {
            unescaped.push_str(characters.as_str());
            return Some(Cow::Owned(unescaped));
        };
        unescaped.push_str(plain);
        rest = behind;
    }
}

/// Appends a text with everything escaped that would end a name, a value or a line. The version must be able to express it.
pub(crate) fn push_escaped(buffer: &mut Vec<u8>, version: Version, text: &str) {
    let mut rest = text.as_bytes();
    if !version.has_escapes() {
        return buffer.extend_from_slice(rest);
    }
    while let Some(at) = find_any([b'\r', b'\n', b':', b'\\'], rest) {
        let (plain, special) = rest.split_at(at);
        buffer.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { return };
        buffer.extend_from_slice(match byte {
            b'\r' => b"\\r",
            b'\n' => b"\\n",
            b':' => b"\\c",
            _ => b"\\\\",
        });
        rest = behind;
    }
    buffer.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(version: Version, text: &str) -> String {
        let mut buffer = Vec::new();
        push_escaped(&mut buffer, version, text);
        String::from_utf8(buffer).unwrap()
    }

    /// [STOMP-1.2/Value Encoding]
    #[test]
    fn the_four_escapes_stand_for_what_they_say() {
        let version = Version::V1_2;
        assert_eq!(unescape(version, r"a\r\n\c\\b").as_deref(), Some("a\r\n:\\b"));
        assert_eq!(escaped(version, "a\r\n:\\b"), r"a\r\n\c\\b");
        assert_eq!(unescape(version, r"\\n").as_deref(), Some(r"\n"));
    }

    /// [STOMP-1.1/Value Encoding]: three escapes; `\r` is not one of them.
    #[test]
    fn the_three_escapes_of_1_1_stand_for_what_they_say() {
        let version = Version::V1_1;
        assert_eq!(unescape(version, r"a\n\c\\b").as_deref(), Some("a\n:\\b"));
        assert_eq!(escaped(version, "a\n:\\b"), r"a\n\c\\b");
        assert_eq!(unescape(version, r"\\r").as_deref(), Some(r"\r"));
    }

    /// [STOMP-1.0/Augmented BNF]: a backslash is a character like any other.
    #[test]
    fn there_are_no_escapes_in_1_0() {
        let text = r"a\n\c\t:\";
        assert_eq!(unescape(Version::V1_0, text).as_deref(), Some(text));
        assert_eq!(escaped(Version::V1_0, text), text);
    }

    /// [STOMP-1.2/Value Encoding]: undefined escape sequences are fatal.
    #[test]
    fn undefined_escapes_are_refused() {
        for text in [r"\t", r"a\", r"\", r"\\\", r"a\é", "\\\n"] {
            assert_eq!(unescape(Version::V1_2, text), None, "{text:?}");
            assert_eq!(unescape(Version::V1_1, text), None, "{text:?}");
        }
        assert_eq!(unescape(Version::V1_1, r"\r"), None);
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        for version in Version::ALL {
            assert!(matches!(unescape(version, "plain: text"), Some(Cow::Borrowed("plain: text"))));
        }
    }

    proptest! {
        /// [STOMP-1.2/Value Encoding] [STOMP-1.1/Value Encoding]
        #[test]
        fn escaping_is_undone_by_unescaping(
            version in prop::sample::select(Version::ALL.to_vec()),
            text in "[\\r\\n:\\\\a-c\\PC]*",
        ) {
            prop_assume!(version.can_express(&text));
            let wire = escaped(version, &text);
            prop_assert!(!wire.contains(['\r', '\n']));
            let back = unescape(version, &wire);
            prop_assert_eq!(back.as_deref(), Some(&*text));
        }
    }
}
