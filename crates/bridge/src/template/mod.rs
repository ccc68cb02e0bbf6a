//! Templates: the text of a target field, in which variables stand for what is known of a message.
//!
//! ```text
//! plant/{topic[1]}/{payload.device|unknown}/{{raw}}
//!       variable    variable with a default  literal braces
//! ```
//!
//! `vocabulary` is which variables there are and where, `parse` reads a template, `value` finds what a variable stands for, `form` keeps
//! what was put in from meaning more than it should. docs/reference/templates.md is the page for users.
//!
//! A template is checked when it is read: an unknown variable, or one that is never known where the template is used, is an error with a
//! place and, if there is one, a suggestion. What a message does not have is known only when it comes: the variable's default stands in,
//! or rendering fails and says which variable it was. Nothing is ever put in as an empty text that stands for "missing".

mod form;
mod json;
mod parse;
mod render;
#[cfg(test)]
mod tests;
mod value;
mod vocabulary;

pub use form::Form;
pub use parse::{TEMPLATE_BYTES_MAX, TemplateError, TemplateErrorKind};
pub use render::RenderError;
pub use value::Absence;
pub use vocabulary::{Vocabulary, Word};

use value::Variable;

/// A template that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    form: Form,
    pieces: Pieces,
}

/// Constants need no work for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pieces {
    Constant(Box<str>),
    Mixed(Box<[Piece]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Variable(Placeholder),
}

/// A variable where it stands in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placeholder {
    /// As it was written, without braces and default.
    written: Box<str>,
    variable: Variable,
    default: Option<Box<str>>,
}

impl Template {
    /// Reads a template in which the words of this vocabulary may stand and whose result is to have this form.
    pub fn parse(text: &str, vocabulary: &Vocabulary, form: Form) -> Result<Template, TemplateError> {
        parse::parse(text, vocabulary, form)
    }

    /// The text that was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The result for every message, where no variable stands in the template.
    pub fn constant(&self) -> Option<&str> {
        match &self.pieces {
            Pieces::Constant(text) => Some(text),
            Pieces::Mixed(_) => None,
        }
    }

    fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let pieces = match &self.pieces {
            Pieces::Constant(_) => &[][..],
            Pieces::Mixed(pieces) => pieces,
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }

    /// Whether any of its variables is this word.
    pub fn asks_for(&self, word: Word) -> bool {
        self.placeholders().any(|placeholder| placeholder.variable.word == word)
    }
}
