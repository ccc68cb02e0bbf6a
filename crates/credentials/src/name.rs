//! What may be the name of a user: a line of the password file has to hold it, and so has a line of a log.

use thiserror::Error;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Why a name cannot be a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing.
    #[error("the user name is empty")]
    Empty,
    /// It is longer than the limit.
    #[error("the user name has {bytes} bytes; the limit is {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a character that would end its field or its line, that a terminal would obey, or that nobody would see.
    #[error("the user name has the character {0:?}, which is not allowed")]
    Character(char),
    /// It would be taken for a comment.
    #[error("the user name begins with `#`, which begins a comment")]
    Comment,
    /// A space at one of its ends would be overlooked.
    #[error("the user name begins or ends with a space")]
    Space,
}

/// Checks a name.
pub(crate) fn check(name: &str) -> Result<(), NameError> {
    let is_forbidden =
        |character: &char| *character == ':' || character.is_control() || is_invisible(*character);
    match name.chars().find(is_forbidden) {
        _ if name.is_empty() => Err(NameError::Empty),
        _ if name.len() > NAME_BYTES_MAX => Err(NameError::TooLong { bytes: name.len() }),
        Some(character) => Err(NameError::Character(character)),
        None if name.starts_with('#') => Err(NameError::Comment),
        None if name.trim() != name => Err(NameError::Space),
        None => Ok(()),
    }
}

/// Characters without a picture, which make two names look like one or turn a line round: zero width, directions, and the
/// byte order mark, which some editors put in front of a file.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for (name, expected) in [
            ("", NameError::Empty),
            ("a:b", NameError::Character(':')),
            ("a\nb", NameError::Character('\n')),
            ("a\u{1b}[2J", NameError::Character('\u{1b}')),
            ("a\0", NameError::Character('\0')),
            ("\u{feff}a", NameError::Character('\u{feff}')),
            ("a\u{202e}b", NameError::Character('\u{202e}')),
            ("a\u{200b}", NameError::Character('\u{200b}')),
            ("#a", NameError::Comment),
            (" a", NameError::Space),
            ("a\u{3000}", NameError::Space),
            (&"n".repeat(257), NameError::TooLong { bytes: 257 }),
        ] {
            assert_eq!(check(name), Err(expected), "{name:?}");
        }
        for name in ["a", "sensor-7", "plant/line 3", "Zoë", "+", "a#b", &"n".repeat(256)] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
    }
}
