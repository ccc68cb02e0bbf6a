//! The names that travel with a message: of nodes, of streams, of bridges.
//!
//! They have the form that the configuration demands of a node's name, so that no separator of a longer text can stand in one. It is
//! checked here once more, because a name that comes from an upstream has been through nobody's configuration.

/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than [`NAME_BYTES_MAX`].
    #[error("a name has 1 to {NAME_BYTES_MAX} characters, not {bytes}")]
    Length {
        /// What was offered, in bytes.
        bytes: usize,
    },
    /// Something else than letters of ASCII, digits, `.`, `_` and `-`.
    #[error("`{}` is not allowed in a name: use letters, digits, `.`, `_` and `-`", .0.escape_debug())]
    Character(char),
}

/// Checks a name.
pub(crate) fn check(name: &str) -> Result<&str, NameError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(NameError::Length { bytes: name.len() });
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(character) => Err(NameError::Character(character)),
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_no_separator() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in ["edge-1", "a", "Plant_7.line.2", &longest] {
            assert_eq!(check(name), Ok(name));
        }
        assert_eq!(check(""), Err(NameError::Length { bytes: 0 }));
        assert_eq!(check(&"a".repeat(65)), Err(NameError::Length { bytes: 65 }));
        for character in ['/', ',', ';', '=', ' ', '\n', '\0', 'é'] {
            assert_eq!(check(&format!("a{character}b")), Err(NameError::Character(character)));
        }
    }

    #[test]
    fn a_character_that_would_break_a_line_of_the_log_is_told_in_escapes() {
        assert_eq!(
            NameError::Character('\n').to_string(),
            r"`\n` is not allowed in a name: use letters, digits, `.`, `_` and `-`"
        );
    }
}
