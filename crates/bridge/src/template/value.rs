//! What a variable stands for in one message.

use super::form::{Extent, Form, exchange};
use super::json::{self, Step};
use super::vocabulary::Word;
use crate::facts::Facts;
use crate::moment::Moment;
use std::fmt::Write;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// The message does not have it.
    #[error("the message does not have it")]
    Missing,
    /// The payload is not JSON.
    #[error("the payload is not JSON")]
    NotJson,
    /// The payload is too long to be looked into.
    #[error("the payload is too long to be looked into")]
    PayloadTooLong,
    /// It is an object or an array.
    #[error("it is an object or an array")]
    NotScalar,
}

/// A variable with what is written behind its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) word: Word,
    pub(super) detail: Detail,
}

/// What is written behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Detail {
    None,
    Levels(Levels, Separator),
    Name(Box<str>),
    Path(Box<[Step]>),
    Iso,
}

/// Which levels of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Levels {
    All,
    /// One, counted from 0, or from -1 at the end.
    One(i32),
    /// From one up to but without the other.
    Range(Option<i32>, Option<i32>),
}

/// What stands between levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    /// What the form has.
    OfForm,
    Slash,
    Dot,
}

impl Variable {
    /// Whether the value may be levels of a topic, with `/` between them, or can only be a part of one.
    pub(super) fn extent(&self) -> Extent {
        match &self.detail {
            Detail::Levels(_, Separator::OfForm | Separator::Slash) => Extent::Levels,
            _ => Extent::Level,
        }
    }

    /// Appends the value.
    pub(super) fn put(&self, facts: &Facts<'_>, form: Form, out: &mut String) -> Result<(), Absence> {
        match &self.detail {
            Detail::Levels(levels, separator) => self.put_levels(facts, *levels, *separator, form, out),
            Detail::Name(name) => put_text(facts.property(name), out),
            Detail::Path(path) => json::find(facts.payload, path, out),
            Detail::Iso => print(facts.timestamp_millis.map(Moment), out),
            Detail::None => self.put_plain(facts, out),
        }
    }

    fn put_plain(&self, facts: &Facts<'_>, out: &mut String) -> Result<(), Absence> {
        match self.word {
            Word::ClientId => put_text(facts.client_id, out),
            Word::User => put_text(facts.user, out),
            Word::Timestamp => print(facts.timestamp_millis, out),
            Word::Qos => print(Some(facts.qos), out),
            Word::Retain => print(Some(facts.retain), out),
            Word::Node => put_text(facts.node, out),
            Word::Id => put_text(facts.id, out),
            Word::ContentType => put_text(facts.content_type(), out),
            Word::TopicName => put_text((!facts.topic.is_empty()).then_some(facts.topic), out),
            Word::Exchange | Word::Queue | Word::Key | Word::Partition | Word::Offset => {
                put_text(facts.place(self.word.name()), out)
            }
            // These have something behind their name, or levels.
            Word::Property | Word::Header | Word::Payload | Word::Topic | Word::RoutingKey => {
                Err(Absence::Missing)
            }
        }
    }

    fn put_levels(
        &self,
        facts: &Facts<'_>,
        levels: Levels,
        separator: Separator,
        form: Form,
        out: &mut String,
    ) -> Result<(), Absence> {
        let (text, own) = match self.word {
            Word::RoutingKey => (facts.place(self.word.name()).ok_or(Absence::Missing)?, '.'),
            _ => (facts.topic, '/'),
        };
        // A topic has at least one character; an empty routing key says that there is none.
        if text.is_empty() {
            return Err(Absence::Missing);
        }
        let wanted = separator.character(form, own);
        let other = if own == '/' { '.' } else { '/' };
        let mut put = |levels: &str| match wanted == own {
            true => out.push_str(levels),
            false => exchange(levels, own, other, out),
        };
        match levels {
            Levels::All => put(text),
            _ => put_some(text, own, levels.resolve(text.split(own).count())?, &mut put),
        }
        Ok(())
    }
}

impl Separator {
    fn character(self, form: Form, own: char) -> char {
        match self {
            Separator::OfForm => form.separator(own),
            Separator::Slash => '/',
            Separator::Dot => '.',
        }
    }
}

impl Levels {
    /// The positions, of so many levels.
    fn resolve(self, count: usize) -> Result<std::ops::Range<usize>, Absence> {
        let position = |at: i32| {
            let from = if at < 0 { count as i64 } else { 0 };
            usize::try_from(from + i64::from(at)).ok()
        };
        let (start, end) = match self {
            Levels::All => (Some(0), Some(count)),
            Levels::One(at) => (position(at), position(at).map(|at| at + 1)),
            Levels::Range(start, end) => (start.map_or(Some(0), position), end.map_or(Some(count), position)),
        };
        match (start, end) {
            (Some(start), Some(end)) if start < end && end <= count => Ok(start..end),
            _ => Err(Absence::Missing),
        }
    }
}

fn put_some(text: &str, separator: char, which: std::ops::Range<usize>, put: &mut impl FnMut(&str)) {
    let mut buffer = [0; 4];
    let separator_text: &str = separator.encode_utf8(&mut buffer);
    for (at, level) in text.split(separator).take(which.end).enumerate().skip(which.start) {
        if at > which.start {
            put(separator_text);
        }
        put(level);
    }
}

fn put_text(text: Option<&str>, out: &mut String) -> Result<(), Absence> {
    out.push_str(text.ok_or(Absence::Missing)?);
    Ok(())
}

fn print(value: Option<impl std::fmt::Display>, out: &mut String) -> Result<(), Absence> {
    let value = value.ok_or(Absence::Missing)?;
    // A string takes everything that is written to it.
    write!(out, "{value}").map_err(|_| Absence::Missing)
}
