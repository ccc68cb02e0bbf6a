//! The form that a rendered text is to have, and how values are kept from meaning more there than they should.
//!
//! A topic is made of levels, and what comes from outside must not add any: a client id `x/y` in `devices/{client_id}` would be two levels,
//! and a `#` no topic at all. So in a topic a value is one level, unless it is a topic itself. What does not fit is an error and never
//! changed silently, because two different values would become one.

use tidegate_message::TOPIC_BYTES_MAX;

/// The longest rendered text in bytes where the form knows no smaller one.
const TEXT_BYTES_MAX: usize = 65_535;

/// The longest short string of AMQP 0-9-1 in bytes.
const SHORT_TEXT_BYTES_MAX: usize = 255;

/// What a template is rendered into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text of up to 65,535 bytes: a header, a key.
    Text,
    /// Any text of up to 255 bytes: the name of an exchange or queue.
    ShortText,
    /// A topic without wildcards: levels with `/` between them.
    Topic,
    /// A routing key of up to 255 bytes: levels with `.` between them. Topics are put in with `.` and `/` exchanged, which is
    /// reversible: `7.5/state` is `7/5.state`.
    RoutingKey,
}

/// Why a value cannot stand where it would stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    Empty,
    Character(char),
    Reserved,
}

impl Form {
    /// The longest result in bytes.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Form::Text => TEXT_BYTES_MAX,
            Form::Topic => TOPIC_BYTES_MAX,
            Form::ShortText | Form::RoutingKey => SHORT_TEXT_BYTES_MAX,
        }
    }

    /// What stands between the levels of a value with this separator once it is here.
    pub(super) fn separator(self, own: char) -> char {
        match self {
            Form::Text | Form::ShortText => own,
            Form::Topic => '/',
            Form::RoutingKey => '.',
        }
    }

    /// What an operator wrote into the template and what can never be there.
    pub(super) fn forbidden_literal(self, text: &str) -> Option<char> {
        text.chars().find(|character| self == Form::Topic && matches!(character, '+' | '#' | '\0'))
    }

    /// Checks a value that is put in.
    pub(super) fn check(self, value: &str, extent: Extent, place: Position) -> Result<(), Misfit> {
        if self != Form::Topic {
            return Ok(());
        }
        let is_forbidden = |c: &char| matches!(c, '+' | '#' | '\0') || (extent == Extent::Level && *c == '/');
        match value.chars().find(is_forbidden) {
            Some(character) => Err(Misfit::Character(character)),
            // A topic may have empty levels; anything else that is empty is a mistake of whoever sent it.
            None if value.is_empty() && extent == Extent::Level => Err(Misfit::Empty),
            // Topics that begin with `$` are not for everybody: who may write to them is the operator's choice, not the message's.
            None if place == Position::Front && value.starts_with('$') => Err(Misfit::Reserved),
            None => Ok(()),
        }
    }
}

/// How much of a topic a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One level, or a part of it.
    Level,
    /// Some levels.
    Levels,
}

/// Where a value is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// In front of everything.
    Front,
    /// Behind something.
    Behind,
}

/// Appends levels with another separator between them. The two characters change places, so that no two texts become one.
pub(super) fn exchange(levels: &str, one: char, other: char, out: &mut String) {
    if one == other {
        return out.push_str(levels);
    }
    out.extend(levels.chars().map(|character| match character {
        character if character == one => other,
        character if character == other => one,
        character => character,
    }));
}
