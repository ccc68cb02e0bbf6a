//! Reads a template.
//!
//! ```text
//! template = *( text | "{{" | "}}" | "{" variable [ "|" default ] "}" )
//! variable = word [ detail ]
//! detail   = "[" level "]" | "[" [ level ] ".." [ level ] "]"  and ".dotted" or ".slashed"    of a topic or routing key
//!          | "." name                                                                         of properties and headers
//!          | 1*( "." key | "[" number "]" )                                                   of the payload
//!          | ".iso"                                                                           of the timestamp
//! ```

use super::form::Form;
use super::json::Step;
use super::value::{Detail, Levels, Separator, Variable};
use super::vocabulary::{Shape, Vocabulary, Word};
use super::{Piece, Pieces, Placeholder, Template};
use tidegate_message::{Topic, TopicError};

/// The longest template in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 4_096;

/// The most variables in a template, and the most steps of a path.
const PARTS_MAX: usize = 64;

/// Why a text is not a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {kind}")]
pub struct TemplateError {
    /// The first character that is wrong, counted from 1.
    pub at: usize,
    /// What is wrong.
    pub kind: TemplateErrorKind,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateErrorKind {
    /// Longer than any template.
    #[error("a template has at most {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// More variables than are ever rendered.
    #[error("a template has at most {PARTS_MAX} variables")]
    TooManyVariables,
    /// A variable has no end.
    #[error("`{{` has no `}}`; a brace itself is written `{{{{`")]
    Unclosed,
    /// An end without a variable.
    #[error("`}}` has no `{{`; a brace itself is written `}}}}`")]
    Unopened,
    /// There is no such variable.
    #[error("there is no variable `{name}`{}", did_you_mean(.suggestion))]
    Unknown {
        /// What was written.
        name: Box<str>,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// It is known of other messages.
    #[error("`{name}` is not known of {place}{}", did_you_mean(.suggestion))]
    Elsewhere {
        /// What was written.
        name: Box<str>,
        /// Of which messages it is not known.
        place: &'static str,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// What stands behind the variable's name means nothing there.
    #[error("`{name}` is written {expected}")]
    Detail {
        /// The variable.
        name: &'static str,
        /// How it is written.
        expected: &'static str,
    },
    /// The text around the variables can never be part of the result.
    #[error("`{}` cannot stand in a topic that is published to", .0.escape_debug())]
    Forbidden(char),
    /// What stands behind a `$` in the first level chooses whose topics are meant, and that is not for a message to choose.
    #[error(
        "a first level that begins with `$` cannot hold a variable; a variable is written `{{topic}}`, without `$`"
    )]
    ReservedLevel,
    /// It is constant and no topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// It is constant and too long.
    #[error("the result would be longer than {bytes_max} bytes")]
    ResultTooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

type Outcome<T> = Result<T, TemplateErrorKind>;

pub(super) fn parse(text: &str, vocabulary: &Vocabulary, form: Form) -> Result<Template, TemplateError> {
    let mut parser = Parser { vocabulary, form, rest: text, literal: String::new(), pieces: Vec::new() };
    match parser.run(text.len()) {
        Ok(pieces) => Ok(Template { text: text.into(), form, pieces }),
        Err(kind) => {
            let offset = text.len() - parser.rest.len();
            Err(TemplateError { at: text.get(..offset).map_or(0, |read| read.chars().count()) + 1, kind })
        }
    }
}

/// On an error `rest` begins with what is wrong.
struct Parser<'t> {
    vocabulary: &'t Vocabulary,
    form: Form,
    rest: &'t str,
    literal: String,
    pieces: Vec<Piece>,
}

impl Parser<'_> {
    fn run(&mut self, bytes: usize) -> Outcome<Pieces> {
        if bytes > TEMPLATE_BYTES_MAX {
            return Err(TemplateErrorKind::TooLong);
        }
        let mut variables = 0;
        while !self.rest.is_empty() {
            self.take_literal()?;
            if self.rest.is_empty() {
                break;
            }
            variables += 1;
            if variables > PARTS_MAX {
                return Err(TemplateErrorKind::TooManyVariables);
            }
            self.flush();
            self.check_reserved()?;
            let placeholder = self.take_placeholder()?;
            self.pieces.push(Piece::Variable(placeholder));
        }
        match variables {
            0 => self.constant(),
            _ => {
                self.flush();
                Ok(Pieces::Mixed(std::mem::take(&mut self.pieces).into()))
            }
        }
    }

    fn constant(&mut self) -> Outcome<Pieces> {
        let bytes_max = self.form.bytes_max();
        if self.literal.len() > bytes_max {
            return Err(TemplateErrorKind::ResultTooLong { bytes_max });
        }
        if self.form == Form::Topic {
            Topic::parse(self.literal.as_bytes())?;
        }
        Ok(Pieces::Constant(std::mem::take(&mut self.literal).into()))
    }

    /// Takes the text in front of the next variable.
    fn take_literal(&mut self) -> Outcome<()> {
        while let Some(character) = self.rest.chars().next() {
            let is_double = self.rest.starts_with("{{") || self.rest.starts_with("}}");
            match character {
                '{' if !is_double => return Ok(()),
                '}' if !is_double => return Err(TemplateErrorKind::Unopened),
                _ => {}
            }
            if let Some(forbidden) = self.form.forbidden_literal(character.encode_utf8(&mut [0; 4])) {
                return Err(TemplateErrorKind::Forbidden(forbidden));
            }
            self.literal.push(character);
            self.skip(if is_double { 2 } else { character.len_utf8() });
        }
        Ok(())
    }

    /// Before each variable, so that the text in front of the first one is looked at.
    fn check_reserved(&self) -> Outcome<()> {
        match self.pieces.as_slice() {
            [Piece::Text(text)]
                if self.form == Form::Topic && text.starts_with('$') && !text.contains('/') =>
            {
                Err(TemplateErrorKind::ReservedLevel)
            }
            _ => Ok(()),
        }
    }

    fn take_placeholder(&mut self) -> Outcome<Placeholder> {
        let inside = self.rest.strip_prefix('{').unwrap_or_default();
        let end = inside.find(['{', '}']).ok_or(TemplateErrorKind::Unclosed)?;
        let (inside, behind) = inside.split_at_checked(end).unwrap_or_default();
        if behind.starts_with('{') {
            return Err(TemplateErrorKind::Unclosed);
        }
        self.skip(1);
        let (written, default) =
            inside.split_once('|').map_or((inside, None), |(written, default)| (written, Some(default)));
        let variable = self.variable(written)?;
        if let Some(forbidden) = default.and_then(|default| self.form.forbidden_literal(default)) {
            self.skip(written.len() + 1);
            return Err(TemplateErrorKind::Forbidden(forbidden));
        }
        self.skip(inside.len() + 1);
        Ok(Placeholder { written: written.into(), variable, default: default.map(Into::into) })
    }

    fn variable(&mut self, written: &str) -> Outcome<Variable> {
        let end = written.find(['.', '[']).unwrap_or(written.len());
        let (name, detail) = written.split_at_checked(end).unwrap_or_default();
        let word = self.vocabulary.find(name).ok_or_else(|| self.unknown(name))?;
        match read_detail(word.shape(), detail) {
            Some(detail) => Ok(Variable { word, detail }),
            None => {
                self.skip(name.len());
                Err(TemplateErrorKind::Detail { name: word.name(), expected: expected(word) })
            }
        }
    }

    fn unknown(&self, name: &str) -> TemplateErrorKind {
        let place = self.vocabulary.place;
        let name: Box<str> = name.into();
        match Vocabulary::exists_elsewhere(&name) {
            true => {
                TemplateErrorKind::Elsewhere { suggestion: self.vocabulary.counterpart(&name), name, place }
            }
            false => TemplateErrorKind::Unknown { suggestion: self.vocabulary.nearest(&name), name },
        }
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.literal).into()));
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

/// How a word is written, for whoever has written it otherwise.
fn expected(word: Word) -> &'static str {
    match word.shape() {
        Shape::Plain => "without anything behind it",
        Shape::Levels('.') => {
            "alone, with levels (`[0]`, `[-1]`, `[1..]`, `[..2]`), or with `.slashed` or `.dotted`"
        }
        Shape::Levels(_) => {
            "alone, with levels (`[0]`, `[-1]`, `[1..]`, `[..2]`), or with `.dotted` or `.slashed`"
        }
        Shape::Named => "with a name behind it: `.site`",
        Shape::Path => "with a path behind it: `.device.id`, `.list[0]`",
        Shape::Moment => "alone or with `.iso`",
    }
}

fn read_detail(shape: Shape, text: &str) -> Option<Detail> {
    match shape {
        Shape::Plain => text.is_empty().then_some(Detail::None),
        Shape::Levels(_) => read_levels(text),
        Shape::Named => match text.strip_prefix('.')? {
            "" => None,
            name => Some(Detail::Name(name.into())),
        },
        Shape::Path => read_path(text).map(|steps| Detail::Path(steps.into())),
        Shape::Moment => match text {
            "" => Some(Detail::None),
            ".iso" => Some(Detail::Iso),
            _ => None,
        },
    }
}

fn read_levels(text: &str) -> Option<Detail> {
    let (levels, rest) = match text.strip_prefix('[') {
        Some(inside) => {
            let (inside, rest) = inside.split_once(']')?;
            (read_range(inside)?, rest)
        }
        None => (Levels::All, text),
    };
    let separator = match rest {
        "" => Separator::OfForm,
        ".slashed" => Separator::Slash,
        ".dotted" => Separator::Dot,
        _ => return None,
    };
    Some(Detail::Levels(levels, separator))
}

fn read_range(text: &str) -> Option<Levels> {
    let bound = |text: &str| match text {
        "" => Some(None),
        text => read_level(text).map(Some),
    };
    match text.split_once("..") {
        Some((start, end)) => Some(Levels::Range(bound(start)?, bound(end)?)),
        None => read_level(text).map(Levels::One),
    }
}

/// A level from the front, or with a minus sign from the end. No topic has more of them than five digits can count.
fn read_level(text: &str) -> Option<i32> {
    let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |digits| (digits, -1));
    let number = i32::try_from(read_number(digits)?).ok()?;
    (sign == 1 || number > 0).then_some(sign * number)
}

fn read_number(text: &str) -> Option<usize> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn read_path(mut text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !text.is_empty() && steps.len() < PARTS_MAX {
        if let Some(inside) = text.strip_prefix('[') {
            let (number, rest) = inside.split_once(']')?;
            steps.push(Step::Element(read_number(number)?));
            text = rest;
        } else {
            let key = text.strip_prefix('.')?;
            let (key, rest) = key.split_at_checked(key.find(['.', '[']).unwrap_or(key.len()))?;
            steps.push(Step::Key((!key.is_empty()).then(|| key.into())?));
            text = rest;
        }
    }
    (text.is_empty() && !steps.is_empty()).then_some(steps)
}
