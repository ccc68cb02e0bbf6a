//! A template and a message make a text.

use super::form::{Form, Misfit, Position};
use super::value::Absence;
use super::{Piece, Pieces, Placeholder, Template};
use crate::facts::Facts;
use tidegate_message::{Topic, TopicError};

/// Why a message cannot be put into a template. The message is refused with this reason; another one may fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A variable has no value, and no default.
    #[error("`{{{variable}}}` has no value: {absence}")]
    Absent {
        /// As it is written in the template.
        variable: Box<str>,
        /// Why.
        absence: Absence,
    },
    /// A value would be more than a level of a topic, or a wildcard.
    #[error("`{{{variable}}}` holds `{}`, which it may not in a topic", .character.escape_debug())]
    Character {
        /// As it is written in the template.
        variable: Box<str>,
        /// What it holds.
        character: char,
    },
    /// A value is empty where a level is wanted.
    #[error("`{{{variable}}}` is empty, which it may not be in a topic")]
    Empty {
        /// As it is written in the template.
        variable: Box<str>,
    },
    /// A value would make the topic one of the gateway's own.
    #[error("`{{{variable}}}` begins with `$` and stands in front of a topic")]
    Reserved {
        /// As it is written in the template.
        variable: Box<str>,
    },
    /// The result is longer than its form allows.
    #[error("the result would be longer than {bytes_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The result is no topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl Template {
    /// Appends the result; appends nothing where there is none.
    pub fn render(&self, facts: &Facts<'_>, out: &mut String) -> Result<(), RenderError> {
        let start = out.len();
        let result = match &self.pieces {
            Pieces::Constant(text) => {
                out.push_str(text);
                Ok(())
            }
            Pieces::Mixed(pieces) => render_pieces(pieces, self.form, facts, out),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// The result; in `scratch`, in place of what it holds, unless the template is constant.
    pub fn rendered<'t>(
        &'t self,
        facts: &Facts<'_>,
        scratch: &'t mut String,
    ) -> Result<&'t str, RenderError> {
        if let Some(text) = self.constant() {
            return Ok(text);
        }
        scratch.clear();
        self.render(facts, scratch)?;
        Ok(scratch)
    }

    /// The result as a topic.
    pub fn render_topic(&self, facts: &Facts<'_>, scratch: &mut String) -> Result<Topic, RenderError> {
        scratch.clear();
        self.render(facts, scratch)?;
        Ok(Topic::parse(scratch.as_bytes())?)
    }
}

fn render_pieces(
    pieces: &[Piece],
    form: Form,
    facts: &Facts<'_>,
    out: &mut String,
) -> Result<(), RenderError> {
    let (start, bytes_max) = (out.len(), form.bytes_max());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(placeholder) => placeholder.render(form, start, facts, out)?,
        }
        if out.len() - start > bytes_max {
            return Err(RenderError::TooLong { bytes_max });
        }
    }
    match form == Form::Topic && out.len() == start {
        true => Err(TopicError::Empty.into()),
        false => Ok(()),
    }
}

impl Placeholder {
    fn render(
        &self,
        form: Form,
        start: usize,
        facts: &Facts<'_>,
        out: &mut String,
    ) -> Result<(), RenderError> {
        let here = out.len();
        let position = if here == start { Position::Front } else { Position::Behind };
        match (self.variable.put(facts, form, out), &self.default) {
            (Ok(()), _) => {
                let value = out.get(here..).unwrap_or_default();
                form.check(value, self.variable.extent(), position).map_err(|misfit| self.refuse(misfit))
            }
            (Err(_), Some(default)) => {
                out.truncate(here);
                out.push_str(default);
                Ok(())
            }
            (Err(absence), None) => Err(RenderError::Absent { variable: self.written.clone(), absence }),
        }
    }

    fn refuse(&self, misfit: Misfit) -> RenderError {
        let variable = self.written.clone();
        match misfit {
            Misfit::Empty => RenderError::Empty { variable },
            Misfit::Character(character) => RenderError::Character { variable, character },
            Misfit::Reserved => RenderError::Reserved { variable },
        }
    }
}
