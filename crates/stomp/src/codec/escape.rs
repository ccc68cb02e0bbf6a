//! The escapes of header texts: `\r`, `\n`, `\c` for a colon, `\\` ([STOMP-1.2/Value Encoding]).

use std::borrow::Cow;

/// The text behind an escaped one, copied only where it has an escape. Nothing for an escape that the specification does not define:
/// it must be treated as a fatal protocol error.
pub(super) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    let Some((plain, mut rest)) = text.split_once('\\') else { return Some(Cow::Borrowed(text)) };
    let mut unescaped = String::with_capacity(text.len());
    unescaped.push_str(plain);
    loop {
        let mut characters = rest.chars();
        unescaped.push(match characters.next()? {
            'r' => '\r',
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

/// Appends a text with everything escaped that would end a name, a value or a line.
pub(crate) fn push_escaped(buffer: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b':' | b'\\')) {
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

    fn escaped(text: &str) -> String {
        let mut buffer = Vec::new();
        push_escaped(&mut buffer, text);
        String::from_utf8(buffer).unwrap()
    }

    /// [STOMP-1.2/Value Encoding]
    #[test]
    fn the_four_escapes_stand_for_what_they_say() {
        assert_eq!(unescape(r"a\r\n\c\\b").as_deref(), Some("a\r\n:\\b"));
        assert_eq!(escaped("a\r\n:\\b"), r"a\r\n\c\\b");
        assert_eq!(unescape(r"\\n").as_deref(), Some(r"\n"));
    }

    /// [STOMP-1.2/Value Encoding]: undefined escape sequences are fatal.
    #[test]
    fn undefined_escapes_are_refused() {
        for text in [r"\t", r"a\", r"\", r"\\\", r"a\é", "\\\n"] {
            assert_eq!(unescape(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        assert!(matches!(unescape("plain: text"), Some(Cow::Borrowed("plain: text"))));
    }

    proptest! {
        /// [STOMP-1.2/Value Encoding]
        #[test]
        fn escaping_is_undone_by_unescaping(text in "[\\r\\n:\\\\a-c\\PC]*") {
            let wire = escaped(&text);
            prop_assert!(!wire.contains(['\r', '\n', ':']));
            let back = unescape(&wire);
            prop_assert_eq!(back.as_deref(), Some(&*text));
        }
    }
}
