//! What is wrong, where, and what to do about it, printed like a compiler prints it.
//!
//! Text from files, variables and flags is made printable before it gets here into a message or an excerpt: control characters
//! never reach a terminal, and long lines are cut around the place that matters.

use std::fmt;
use std::path::PathBuf;

/// Longest piece of a source line that is shown.
const EXCERPT_CHARS_MAX: usize = 100;

/// Longest value that is quoted in a message.
const QUOTE_CHARS_MAX: usize = 60;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The gateway does not start with it.
    Error,
    /// The gateway starts; somebody should look.
    Warning,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A position in the configuration file.
    Line {
        /// The file as it was named by the user.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The line itself and the part of it that is meant.
        excerpt: Excerpt,
    },
    /// The configuration file as a whole.
    File(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
    /// A command line flag, as the user would recognise it.
    Flag(String),
    /// The configuration that is built in for starts without a file.
    Embedded,
    /// Nowhere in particular, for example a default.
    Nowhere,
}

/// One source line with a marked part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    text: String,
    marker_start: usize,
    marker_chars: usize,
}

impl Excerpt {
    /// `start` and `length` count characters of `line`. Only a window around the marked part is kept.
    pub(crate) fn new(line: &str, start: usize, length: usize) -> Self {
        let skipped = if start > EXCERPT_CHARS_MAX * 2 / 3 { start - EXCERPT_CHARS_MAX / 3 } else { 0 };
        let text: String = line.chars().skip(skipped).take(EXCERPT_CHARS_MAX).map(printable_char).collect();
        let shown = text.chars().count();
        let marker_start = (start - skipped).min(shown);
        let marker_chars = length.min(shown - marker_start).max(1);
        Self { text, marker_start, marker_chars }
    }
}

/// One finding about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// Path of the setting that is meant, for example `listener[1].tls.cert`; empty for the file as a whole.
    pub key: String,
    /// Where it was set.
    pub place: Place,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// Line in the file, from 1, where there is one.
    pub fn line(&self) -> Option<usize> {
        match &self.place {
            Place::Line { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// Column in the file in characters, from 1, where there is one.
    pub fn column(&self) -> Option<usize> {
        match &self.place {
            Place::Line { column, .. } => Some(*column),
            _ => None,
        }
    }

    /// Whether this keeps the gateway from starting.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column, .. } => {
                write!(formatter, "{}:{line}:{column}", printable(&file.to_string_lossy()))
            }
            Self::File(file) => formatter.write_str(&printable(&file.to_string_lossy())),
            Self::Variable(name) => formatter.write_str(&printable(name)),
            Self::Flag(flag) => formatter.write_str(&printable(flag)),
            Self::Embedded => formatter.write_str("built-in configuration"),
            Self::Nowhere => formatter.write_str("configuration"),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.severity, self.message)?;
        let mut gutter = 2;
        if let Place::Line { line, excerpt, .. } = &self.place {
            gutter = line.to_string().len() + 1;
            write!(formatter, "\n{:gutter$}|\n{line} | {}\n{:gutter$}| ", "", excerpt.text, "")?;
            write!(formatter, "{:1$}", "", excerpt.marker_start)?;
            write!(formatter, "{:^<1$}", "", excerpt.marker_chars)?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(formatter, "\n{:gutter$}= help: {suggestion}", "")?;
        }
        Ok(())
    }
}

/// Why a configuration was refused: every error that was found, with the warnings beside them. Holds at least one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    more: usize,
}

impl Report {
    /// `more` counts findings that were left out because there were too many.
    pub(crate) fn new(diagnostics: Vec<Diagnostic>, more: usize) -> Self {
        Self { diagnostics, more }
    }

    /// A report of one error about a whole file.
    pub(crate) fn about_file(file: PathBuf, message: String, suggestion: Option<String>) -> Self {
        let place = Place::File(file);
        let severity = Severity::Error;
        Self::new(vec![Diagnostic { severity, message, key: String::new(), place, suggestion }], 0)
    }

    /// The findings, in the order of the file, then environment, then flags.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(formatter, "{diagnostic}\n")?;
        }
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        let plural = if errors == 1 { "" } else { "s" };
        write!(formatter, "{errors} error{plural}")?;
        let warnings = self.diagnostics.len() - errors;
        if warnings > 0 {
            let plural = if warnings == 1 { "" } else { "s" };
            write!(formatter, ", {warnings} warning{plural}")?;
        }
        if self.more > 0 {
            write!(formatter, ", and {} more that are not shown", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// The text without control characters, cut to a length that fits in a message.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(4096).map(printable_char).collect()
}

/// A value in quotes for a message: control characters replaced, long values cut.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTE_CHARS_MAX).map(printable_char).collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() { format!("`{shown}…`") } else { format!("`{shown}`") }
}

/// Direction marks are replaced as well: they can make a printed line read differently from what it says.
fn printable_char(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{2028}'
        | '\u{2029}' => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The printed form is what editors and people know from compilers: file, line, column, the line, a marker, help.
    #[test]
    fn prints_like_a_compiler() {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            message: "unknown key `protocol`".into(),
            key: "listener[0].protocol".into(),
            place: Place::Line {
                file: "gate.toml".into(),
                line: 12,
                column: 1,
                excerpt: Excerpt::new("protocol = [\"mqtt\"]", 0, 8),
            },
            suggestion: Some("did you mean `protocols`?".into()),
        };
        let expected = "gate.toml:12:1: error: unknown key `protocol`\n   |\n12 | protocol = [\"mqtt\"]\n   | ^^^^^^^^\n   \
                        = help: did you mean `protocols`?";
        assert_eq!(diagnostic.to_string(), expected);
    }

    /// A line of a megabyte is shown around the marked place only, and no control character survives.
    #[test]
    fn cuts_and_cleans_lines() {
        let line = format!("{}\u{1b}[31mHERE{}", "x".repeat(500_000), "y".repeat(500_000));
        let excerpt = Excerpt::new(&line, 500_005, 4);
        assert!(excerpt.text.contains("HERE") && excerpt.text.chars().count() <= EXCERPT_CHARS_MAX);
        assert!(!excerpt.text.contains('\u{1b}'));
        let marked: String =
            excerpt.text.chars().skip(excerpt.marker_start).take(excerpt.marker_chars).collect();
        assert_eq!(marked, "HERE");
    }
}
