//! A pattern of an access rule: a topic filter in which the client's own names may stand (`plant/%u/#`).
//!
//! `%u` is the user, `%c` the client id, `%%` a percent sign; they may be a whole level or a part of one. A name never makes
//! a pattern wider: one that is missing, empty, or holds `/`, `+` or `#`, and one that would put a `$` at the front of the
//! topic, is not put in at all. What the pattern is worth then is said by [`Unnamed`].
//!
//! Which rule is asked when, and for whom, is not decided here.

pub(crate) mod compare;

use crate::filter::{FilterError, TopicFilter};
use crate::queue_name::queue_name;
use crate::topic::Topic;
use compare::Shape;
use std::fmt;

/// A validated pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: Box<str>,
    levels: Box<[Level]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Name(Box<[Piece]>),
    One,
    Many,
}

/// A part of a level's name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    User,
    Client,
}

/// The names that stand for `%u` and `%c`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// The user; an anonymous client has none.
    pub user: Option<&'a str>,
    /// The client id, where the protocol has one.
    pub client_id: Option<&'a str>,
}

/// What a level stands for whose placeholder has no usable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// Nothing, so the pattern selects nothing: for what is allowed.
    Nothing,
    /// Any name, so the pattern selects what it selects for all clients together: for what is denied.
    AnyName,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no filter, whatever the names are.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `%` and a character that stands for nothing.
    #[error("`%{0}` stands for nothing")]
    UnknownPlaceholder(char),
    /// `%` at the end of a level.
    #[error("a `%` stands alone")]
    LonelyPercent,
    /// A name behind a `$` in the first level would choose which of the server's own topics are meant.
    #[error("a first level that begins with `$` cannot hold `%u` or `%c`")]
    NameInReservedLevel,
}

impl TopicPattern {
    /// Checks and compiles a pattern; wildcards follow MQTT's rules (MQTT 5.0 section 4.7.1).
    pub fn parse(text: &str) -> Result<TopicPattern, PatternError> {
        TopicFilter::parse_mqtt(text.as_bytes())?;
        let levels = text.split('/').map(Level::parse).collect::<Result<Box<[Level]>, _>>()?;
        let pattern = TopicPattern { text: text.into(), levels };
        match pattern.is_reserved() && pattern.levels.first().is_some_and(Level::has_placeholder) {
            true => Err(PatternError::NameInReservedLevel),
            false => Ok(pattern),
        }
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the user's name stands in it.
    pub fn has_user(&self) -> bool {
        self.pieces().any(|piece| *piece == Piece::User)
    }

    /// Whether the client id stands in it.
    pub fn has_client_id(&self) -> bool {
        self.pieces().any(|piece| *piece == Piece::Client)
    }

    /// Whether two names stand in one level, where the border between them cannot be told: `%u-%c` is the same text for `a`
    /// with `b-c` and for `a-b` with `c`.
    pub fn mixes_names(&self) -> bool {
        let placeholders = |pieces: &[Piece]| pieces.iter().filter(|piece| piece.is_placeholder()).count();
        self.levels.iter().any(|level| matches!(level, Level::Name(pieces) if placeholders(pieces) > 1))
    }

    /// Whether it selects topics that begin with `$`, which are the server's own ([MQTT-4.7.2-1]).
    pub fn is_reserved(&self) -> bool {
        self.text.starts_with('$')
    }

    /// Whether all topics that it selects are the gateway's own, and none leads to a queue.
    pub fn is_closed_to_publishers(&self) -> bool {
        self.is_reserved() && queue_name(&self.text).is_none_or(str::is_empty)
    }

    /// Whether it selects the topic for the client with these names.
    pub fn matches(&self, topic: &Topic, names: Names<'_>, unnamed: Unnamed) -> bool {
        let mut levels = topic.levels();
        for (at, level) in self.levels.iter().enumerate() {
            let is_hidden = at == 0 && topic.is_reserved();
            match (level.shape(at, names, unnamed), levels.next()) {
                (None, _) => return false,
                (Some(Shape::Many), _) => return !is_hidden,
                (Some(Shape::One), Some(_)) if !is_hidden => {}
                (Some(Shape::Name(pieces)), Some(text)) if is_same(pieces, text, names) => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether it selects every topic that the filter selects.
    pub fn covers(&self, filter: &TopicFilter, names: Names<'_>, unnamed: Unnamed) -> bool {
        let Some(shapes) = self.shapes(names, unnamed) else { return false };
        let same = |pieces: &&[Piece], text: &&str| is_same(pieces, text, names);
        compare::covers(&shapes, &filter.shapes(), same, |text| text.starts_with('$'))
    }

    /// Whether some topic is selected by both. With `#` before the filter's end the answer may be yes where it is no.
    pub fn overlaps(&self, filter: &TopicFilter, names: Names<'_>, unnamed: Unnamed) -> bool {
        let Some(shapes) = self.shapes(names, unnamed) else { return false };
        let same = |pieces: &&[Piece], text: &&str| is_same(pieces, text, names);
        let reserved = (self.is_reserved(), filter.as_str().starts_with('$'));
        compare::overlaps(&shapes, &filter.shapes(), same, reserved)
    }

    /// Whether it selects every topic that the other selects, whatever the names are, where they are usable.
    pub fn covers_pattern(&self, other: &TopicPattern) -> bool {
        let (ours, theirs) = (self.written_shapes(), other.written_shapes());
        compare::covers(&ours, &theirs, |one, another| one == another, |_| other.is_reserved())
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.levels.iter().flat_map(Level::pieces)
    }

    fn shapes(&self, names: Names<'_>, unnamed: Unnamed) -> Option<Vec<Shape<&[Piece]>>> {
        self.levels.iter().enumerate().map(|(at, level)| level.shape(at, names, unnamed)).collect()
    }

    fn written_shapes(&self) -> Vec<Shape<&[Piece]>> {
        self.levels.iter().map(Level::written_shape).collect()
    }
}

impl Level {
    fn parse(text: &str) -> Result<Level, PatternError> {
        match text {
            "+" => Ok(Level::One),
            "#" => Ok(Level::Many),
            name => parse_pieces(name).map(Level::Name),
        }
    }

    fn pieces(&self) -> &[Piece] {
        match self {
            Level::Name(pieces) => pieces,
            Level::One | Level::Many => &[],
        }
    }

    fn has_placeholder(&self) -> bool {
        self.pieces().iter().any(Piece::is_placeholder)
    }

    fn written_shape(&self) -> Shape<&[Piece]> {
        match self {
            Level::One => Shape::One,
            Level::Many => Shape::Many,
            Level::Name(pieces) => Shape::Name(pieces),
        }
    }

    /// What the level at this position means for a client; nothing where a name is missing that it needs.
    fn shape(&self, at: usize, names: Names<'_>, unnamed: Unnamed) -> Option<Shape<&[Piece]>> {
        let is_usable = |(position, piece): (usize, &Piece)| piece.is_usable(names, at == 0 && position == 0);
        match (self.pieces().iter().enumerate().all(is_usable), unnamed) {
            (true, _) => Some(self.written_shape()),
            (false, Unnamed::Nothing) => None,
            (false, Unnamed::AnyName) => Some(Shape::One),
        }
    }
}

impl Piece {
    fn is_placeholder(&self) -> bool {
        !matches!(self, Piece::Text(_))
    }

    fn value<'a>(&'a self, names: Names<'a>) -> Option<&'a str> {
        match self {
            Piece::Text(text) => Some(text),
            Piece::User => names.user,
            Piece::Client => names.client_id,
        }
    }

    /// Whether a placeholder's name is one that cannot change what the pattern means around it.
    fn is_usable(&self, names: Names<'_>, is_front: bool) -> bool {
        if !self.is_placeholder() {
            return true;
        }
        let is_hostile = |name: &str| {
            name.is_empty() || name.contains(['/', '+', '#']) || (is_front && name.starts_with('$'))
        };
        self.value(names).is_some_and(|name| !is_hostile(name))
    }
}

fn parse_pieces(name: &str) -> Result<Box<[Piece]>, PatternError> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        let placeholder = match character {
            '%' => match characters.next() {
                Some('u') => Piece::User,
                Some('c') => Piece::Client,
                Some('%') => {
                    text.push('%');
                    continue;
                }
                Some(other) => return Err(PatternError::UnknownPlaceholder(other)),
                None => return Err(PatternError::LonelyPercent),
            },
            plain => {
                text.push(plain);
                continue;
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        }
        pieces.push(placeholder);
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(pieces.into())
}

/// Whether the pieces, with the names put in, are this text.
fn is_same(pieces: &[Piece], text: &str, names: Names<'_>) -> bool {
    let rest = pieces.iter().try_fold(text, |rest, piece| rest.strip_prefix(piece.value(names)?));
    rest.is_some_and(str::is_empty)
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

#[cfg(test)]
mod tests;
