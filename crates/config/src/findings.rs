//! Everything found so far, and where every setting was set.
//!
//! The `config` crate merges values but forgets where they came from, so each layer records the origin of what it sets here
//! under the setting's path (`listener[1].tls.cert`). A later check names a path; this file turns it into a place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Excerpt, Place, Report, Severity};
use crate::secrets::masked;

/// More findings than this help nobody; the rest is counted.
const DIAGNOSTICS_MAX: usize = 100;

/// The text of the configuration file with its name.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) name: PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    /// The place of a byte range: line and column of its start; the marker ends with the line.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = self.text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
        let start = before.get(line_start..).unwrap_or("").chars().count();
        let length = self.text.get(span.clone()).and_then(|marked| marked.lines().next()).unwrap_or("");
        Place::Line {
            file: self.name.clone(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: start + 1,
            excerpt: Excerpt::new(&masked(line_text), start, length.chars().count()),
        }
    }
}

/// Who set a value last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Byte ranges of the key and of the value in the file.
    File { key: Range<usize>, value: Range<usize> },
    /// The built-in configuration.
    Embedded,
    /// An environment variable.
    Variable(String),
    /// A flag, as the user knows it.
    Flag(String),
}

/// Which half of `key = value` a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// The collection that every step of loading writes to.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    source: Option<&'a SourceFile>,
    origins: BTreeMap<String, Origin>,
    reported: BTreeSet<String>,
    diagnostics: Vec<(usize, Diagnostic)>,
    errors: usize,
    more: usize,
}

impl<'a> Findings<'a> {
    /// `source` is the file, where there is one.
    pub(crate) fn new(source: Option<&'a SourceFile>) -> Self {
        let (origins, reported) = (BTreeMap::new(), BTreeSet::new());
        Self { source, origins, reported, diagnostics: Vec::new(), errors: 0, more: 0 }
    }

    /// Notes who sets `path`. Items of a list that a higher layer replaces lose their old origin.
    pub(crate) fn set_origin(&mut self, path: &str, origin: Origin) {
        let items = format!("{path}[");
        let stale: Vec<String> = self
            .origins
            .range(items.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&items))
            .cloned()
            .collect();
        for key in stale {
            self.origins.remove(&key);
        }
        self.origins.insert(path.to_owned(), origin);
    }

    /// Whether some layer sets `path` or something below it.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.origins.contains_key(path) || self.below(path).is_some()
    }

    /// Whether an error was reported for this path or a table around it: its value is then a stand-in that no check should
    /// look at.
    pub(crate) fn is_reported(&self, path: &str) -> bool {
        parents(path).any(|path| self.reported.contains(path))
    }

    /// Keeps later checks silent about `path`, because what is wrong with it was said elsewhere.
    pub(crate) fn silence(&mut self, path: &str) {
        self.reported.insert(path.to_owned());
    }

    /// Reports an error; the first one for a path or a table around it wins, since the others follow from it.
    pub(crate) fn error(
        &mut self,
        path: &str,
        part: Part,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        if !self.is_reported(path) {
            self.reported.insert(path.to_owned());
            self.errors += 1;
            self.add(Severity::Error, path, part, message.into(), suggestion);
        }
    }

    /// Reports a warning.
    pub(crate) fn warning(&mut self, path: &str, message: impl Into<String>, suggestion: Option<String>) {
        self.add(Severity::Warning, path, Part::Value, message.into(), suggestion);
    }

    /// An error about a name that leads to no setting: an unknown variable or flag.
    pub(crate) fn error_about(
        &mut self,
        origin: Origin,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.errors += 1;
        if self.has_room(Severity::Error) {
            let (order, place) = self.place_of(&origin, Part::Key);
            let (severity, message, key) = (Severity::Error, message.into(), String::new());
            self.diagnostics.push((order, Diagnostic { severity, message, key, place, suggestion }));
        }
    }

    /// The line of the file in which `path` was set, as an addition to a message: " (line 12)", or empty.
    pub(crate) fn line_note(&self, path: &str) -> String {
        match self.place(path, Part::Value).1 {
            Place::Line { line, .. } => format!(" (line {line})"),
            _ => String::new(),
        }
    }

    /// Ends the collection: the warnings if nothing was wrong, otherwise the report.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, Report> {
        self.diagnostics.sort_by_key(|(order, _)| *order);
        let diagnostics = self.diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect();
        if self.errors == 0 { Ok(diagnostics) } else { Err(Report::new(diagnostics, self.more)) }
    }

    /// Ends the collection with an error about no setting in particular, whatever was found before.
    pub(crate) fn fail(mut self, message: String) -> Report {
        let (severity, place) = (Severity::Error, Place::Nowhere);
        self.diagnostics.sort_by_key(|(order, _)| *order);
        let mut diagnostics: Vec<Diagnostic> = self.diagnostics.into_iter().map(|(_, found)| found).collect();
        diagnostics.push(Diagnostic { severity, message, key: String::new(), place, suggestion: None });
        Report::new(diagnostics, self.more)
    }

    fn add(
        &mut self,
        severity: Severity,
        path: &str,
        part: Part,
        message: String,
        suggestion: Option<String>,
    ) {
        if self.has_room(severity) {
            let (order, place) = self.place(path, part);
            let key = path.to_owned();
            self.diagnostics.push((order, Diagnostic { severity, message, key, place, suggestion }));
        }
    }

    /// Asked before the place is computed, because that reads the file up to the place. Warnings may take only half of the
    /// room, so that a report always shows an error.
    fn has_room(&mut self, severity: Severity) -> bool {
        let allowed = if severity == Severity::Error { DIAGNOSTICS_MAX } else { DIAGNOSTICS_MAX / 2 };
        let has_room = self.diagnostics.len() < allowed;
        self.more += usize::from(!has_room);
        has_room
    }

    /// The place of a path: where it was set, else its nearest parent, else something below it, else the file.
    fn place(&self, path: &str, part: Part) -> (usize, Place) {
        if let Some(origin) = self.origins.get(path) {
            return self.place_of(origin, part);
        }
        if let Some(origin) = parents(path).find_map(|parent| self.origins.get(parent)) {
            return self.place_of(origin, Part::Key);
        }
        if let Some(origin) = self.below(path) {
            return self.place_of(origin, Part::Key);
        }
        match self.source {
            Some(source) => (0, Place::File(source.name.clone())),
            None => (0, Place::Nowhere),
        }
    }

    /// Positions sort by file offset; what stands outside of the file follows.
    fn place_of(&self, origin: &Origin, part: Part) -> (usize, Place) {
        match (origin, self.source) {
            (Origin::File { key, value }, Some(source)) => {
                let span = if part == Part::Key { key } else { value };
                (span.start, source.place(span))
            }
            (Origin::File { .. } | Origin::Embedded, _) => (0, Place::Embedded),
            (Origin::Variable(name), _) => (usize::MAX - 1, Place::Variable(name.clone())),
            (Origin::Flag(flag), _) => (usize::MAX, Place::Flag(flag.clone())),
        }
    }

    fn below(&self, path: &str) -> Option<&Origin> {
        ['.', '['].iter().find_map(|separator| {
            let prefix = format!("{path}{separator}");
            let (key, origin) = self.origins.range(prefix.clone()..).next()?;
            key.starts_with(&prefix).then_some(origin)
        })
    }
}

/// The path itself, then the tables and lists around it, from the inside out.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.get(..path.rfind(['.', '['])?))
}

/// The path of a key that a user wrote. Whatever cannot stand in a bare key becomes `?`, so that no quoted key
/// (`"log.level"`) passes for the path of another setting.
pub(crate) fn join_written(parent: &str, key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let bare: String = key.chars().map(|c| if is_bare(c) { c } else { '?' }).collect();
    join(parent, if bare.is_empty() { "?" } else { &bare })
}

/// `parent.key`, or `key` at the top.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// `parent[index]`.
pub(crate) fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}
