//! The file as a layer: parsed with positions, every key and value checked against the declared settings.
//!
//! The tree is walked by hand instead of by serde, because serde stops at the first mistake and forgets positions inside of
//! lists and tagged enums. Nothing here judges how settings fit together.

use std::ops::Range;
use std::path::Path;

use config::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Report, Severity, printable, quoted};
use crate::findings::{Findings, Origin, Part, SourceFile, item, join, join_written};
use crate::layer::{Layer, index_key};
use crate::registry::{ProtocolEntry, Registry};
use crate::schema::Config;
use crate::setting::{Kind, Problem, Section, Setting};
use crate::suggest::{did_you_mean, nearest};
use crate::value::{Input, expected, plain, read, read_named, stand_in, type_name, wrong_type};

/// Most tables of one list (listeners, server names).
const TABLES_MAX: usize = 1000;

/// Syntax mistakes that are shown; later ones are mostly consequences of earlier ones.
const SYNTAX_ERRORS_MAX: usize = 5;

/// Parses TOML. Only well-formed text goes on to be looked at key by key.
pub(crate) fn parse(source: &SourceFile) -> Result<DeTable<'_>, Report> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    // The lines of a key file must not be printed.
    if source.text.lines().any(|line| line.starts_with("-----BEGIN ")) {
        let message = "this is a PEM file (a certificate or a key), not a configuration".to_owned();
        return Err(Report::about_file(source.name.clone(), message, None));
    }
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for error in &errors {
        let place = source.place(&error.span().unwrap_or(0..0));
        let (severity, message) =
            (Severity::Error, printable(error.message()).trim_end().replace('\n', ", "));
        let diagnostic = Diagnostic { severity, message, key: String::new(), place, suggestion: None };
        if diagnostics.last().is_none_or(|last| last.line() != diagnostic.line()) {
            diagnostics.push(diagnostic);
        }
        if diagnostics.len() == SYNTAX_ERRORS_MAX {
            break;
        }
    }
    Err(Report::new(diagnostics, 0))
}

/// Walks a parsed file.
pub(crate) struct Walk<'w, 'f> {
    pub(crate) findings: &'w mut Findings<'f>,
    pub(crate) registry: &'w Registry,
    /// What relative paths of this file are relative to.
    pub(crate) folder: &'w Path,
    /// The text is the built-in configuration: there are no positions to show.
    pub(crate) embedded: bool,
}

impl Walk<'_, '_> {
    /// The layer that the file stands for.
    pub(crate) fn layer(&mut self, table: &DeTable<'_>) -> Layer {
        Layer { root: self.table(&Config::SECTION, "", table) }
    }

    fn table(&mut self, section: &'static Section, path: &str, table: &DeTable<'_>) -> Map<String, Value> {
        let mut map = Map::new();
        let mut protocols = Map::new();
        for (key, value) in table {
            let child = join_written(path, key.get_ref());
            self.note(&child, key.span(), value.span());
            if let Some(setting) = section.setting(key.get_ref()) {
                let value = self.value(setting, &child, value.get_ref());
                map.insert(setting.key.to_owned(), value);
            } else if let Some(entry) =
                self.registry.protocol(key.get_ref()).filter(|_| section.has_protocols())
            {
                protocols.insert(entry.name.to_owned(), self.protocol(entry, &child, value.get_ref()));
            } else {
                self.unknown_key(section, path, key.get_ref(), table);
            }
        }
        for setting in section.settings.iter().filter(|setting| matches!(setting.kind, Kind::Protocols)) {
            map.insert(setting.key.to_owned(), plain(std::mem::take(&mut protocols)));
        }
        map
    }

    fn value(&mut self, setting: &'static Setting, path: &str, value: &DeValue<'_>) -> Value {
        match (setting.kind, value) {
            (Kind::Table(section), DeValue::Table(table)) => plain(self.table(section, path, table)),
            (Kind::Tables(section), DeValue::Array(items)) => self.tables(section, path, items.iter()),
            (Kind::OneOrMore(form), DeValue::String(_)) => {
                match read(&Kind::Text(form), Input::Toml(value), self.folder) {
                    Ok(text) => plain(vec![text]),
                    Err(problem) => self.problem(setting, path, problem),
                }
            }
            (Kind::List(form) | Kind::OneOrMore(form), DeValue::Array(items)) => {
                self.list(Kind::Text(form), path, items.iter())
            }
            (Kind::Paths, DeValue::Array(items)) => self.list(Kind::Path, path, items.iter()),
            (Kind::Texts(_) | Kind::Values, DeValue::Table(table)) => self.named(&setting.kind, path, table),
            (Kind::Tables(_), DeValue::Table(_)) => {
                let message = format!("expected {}, found a table", expected(&setting.kind));
                self.problem(
                    setting,
                    path,
                    Problem::with_suggestion(message, format!("write `[[{}]]`", setting.key)),
                )
            }
            (
                Kind::Table(_)
                | Kind::Tables(_)
                | Kind::List(_)
                | Kind::OneOrMore(_)
                | Kind::Paths
                | Kind::Texts(_)
                | Kind::Values,
                other,
            ) => self.problem(setting, path, wrong_type(&setting.kind, other)),
            (kind, scalar) => match read(&kind, Input::Toml(scalar), self.folder) {
                Ok(value) => value,
                Err(problem) => self.problem(setting, path, problem),
            },
        }
    }

    fn problem(&mut self, setting: &Setting, path: &str, problem: Problem) -> Value {
        let message = format!("`{}`: {}", setting.key, problem.message);
        self.findings.error(path, Part::Value, message, problem.suggestion);
        stand_in(&setting.kind)
    }

    fn tables<'i>(
        &mut self,
        section: &'static Section,
        path: &str,
        items: impl ExactSizeIterator<Item = &'i Spanned<DeValue<'i>>>,
    ) -> Value {
        if items.len() > TABLES_MAX {
            let message = format!("{} tables; at most {TABLES_MAX} are allowed", items.len());
            self.findings.error(path, Part::Value, message, None);
        }
        let mut map = Map::new();
        for (index, value) in items.take(TABLES_MAX).enumerate() {
            let child = item(path, index);
            self.note(&child, value.span(), value.span());
            if let DeValue::Table(table) = value.get_ref() {
                map.insert(index_key(index), plain(self.table(section, &child, table)));
            } else {
                let message = format!("expected a table, found {}", type_name(value.get_ref()));
                self.findings.error(&child, Part::Value, message, None);
            }
        }
        plain(map)
    }

    fn list<'i>(
        &mut self,
        kind: Kind,
        path: &str,
        items: impl Iterator<Item = &'i Spanned<DeValue<'i>>>,
    ) -> Value {
        let mut list: Vec<Value> = Vec::new();
        for (index, value) in items.enumerate() {
            let child = item(path, index);
            self.note(&child, value.span(), value.span());
            match read(&kind, Input::Toml(value.get_ref()), self.folder) {
                Ok(value) => list.push(value),
                Err(problem) => {
                    self.findings.error(&child, Part::Value, problem.message, problem.suggestion);
                    // Keeps the numbers of the items in step with their positions.
                    list.push(plain(""));
                }
            }
        }
        plain(list)
    }

    /// Values under names that the user chooses.
    fn named(&mut self, kind: &Kind, path: &str, table: &DeTable<'_>) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let child = join_written(path, key.get_ref());
            self.note(&child, key.span(), value.span());
            match read_named(kind, value.get_ref()) {
                Ok(value) => drop(map.insert(key.get_ref().to_string(), value)),
                Err(problem) => self.findings.error(&child, Part::Value, problem.message, problem.suggestion),
            }
        }
        plain(map)
    }

    fn protocol(&mut self, entry: &ProtocolEntry, path: &str, value: &DeValue<'_>) -> Value {
        let DeValue::Table(table) = value else {
            let message = format!("`{}`: expected a table, found {}", entry.name, type_name(value));
            self.findings.error(path, Part::Value, message, None);
            return stand_in(&Kind::Protocols);
        };
        for (key, _) in table {
            if !entry.option_names.contains(&key.get_ref().as_ref()) {
                let child = join_written(path, key.get_ref());
                self.note(&child, key.span(), key.span());
                let suggestion = match did_you_mean(key.get_ref(), entry.option_names.iter().copied()) {
                    None if entry.option_names.is_empty() => Some(format!("`{}` has no options", entry.name)),
                    None => Some(format!(
                        "the options of `{}` are: {}",
                        entry.name,
                        entry.option_names.join(", ")
                    )),
                    found => found,
                };
                let message = format!("unknown option {} of `{}`", quoted(key.get_ref()), entry.name);
                self.findings.error(&child, Part::Key, message, suggestion);
            }
        }
        self.free_table(path, table)
    }

    /// A table that this crate does not understand: taken over as it is, with the positions of its keys.
    fn free_table(&mut self, path: &str, table: &DeTable<'_>) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let child = join_written(path, key.get_ref());
            self.note(&child, key.span(), value.span());
            map.insert(key.get_ref().to_string(), self.free_value(&child, value.get_ref()));
        }
        plain(map)
    }

    fn free_value(&mut self, path: &str, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::Table(table) => self.free_table(path, table),
            DeValue::Array(items) => plain(
                items.iter().map(|value| self.free_value(path, value.get_ref())).collect::<Vec<Value>>(),
            ),
            scalar => free_scalar(scalar).unwrap_or_else(|| {
                self.findings.error(path, Part::Value, "the number is too large", None);
                plain(0)
            }),
        }
    }

    fn unknown_key(&mut self, section: &'static Section, path: &str, key: &str, table: &DeTable<'_>) {
        let names =
            || section.settings.iter().map(|setting| setting.key).filter(|name| !name.starts_with('<'));
        let protocols = self.registry.names().filter(|_| section.has_protocols());
        let meant = nearest(key, names().chain(protocols));
        let suggestion = match meant {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => elsewhere(section, key),
        };
        if let Some(meant) = meant
            && !table.keys().any(|present| present.get_ref() == meant)
        {
            // What is missing because its name is misspelt need not be reported a second time.
            self.findings.silence(&join(path, meant));
        }
        let within = if path.is_empty() { String::new() } else { format!(" in `{}`", printable(path)) };
        self.findings.error(
            &join_written(path, key),
            Part::Key,
            format!("unknown key {}{within}", quoted(key)),
            suggestion,
        );
    }

    fn note(&mut self, path: &str, key: Range<usize>, value: Range<usize>) {
        let origin = if self.embedded { Origin::Embedded } else { Origin::File { key, value } };
        self.findings.set_origin(path, origin);
    }
}

/// A plain value of a protocol's table; `None` for numbers that no 64 bits hold. Dates are handed over as text.
pub(crate) fn free_scalar(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => plain(text.as_ref()),
        DeValue::Integer(number) => plain(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Float(number) => plain(number.as_str().parse::<f64>().ok()?),
        DeValue::Boolean(value) => plain(*value),
        DeValue::Datetime(date) => plain(date.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}

/// A key that exists, but in another table, is a common slip: TOML puts every key into the last `[table]` before it.
fn elsewhere(section: &'static Section, key: &str) -> Option<String> {
    let root = &Config::SECTION;
    if section.about != root.about && root.setting(key).is_some_and(|setting| !is_table(setting)) {
        return Some(format!("`{key}` belongs at the top of the file, before the first `[table]`"));
    }
    root.settings.iter().find_map(|setting| {
        let (nested, header) = match setting.kind {
            Kind::Table(nested) => (nested, format!("[{}]", setting.key)),
            Kind::Tables(nested) => (nested, format!("[[{}]]", setting.key)),
            _ => return None,
        };
        (nested.about != section.about && nested.setting(key).is_some())
            .then(|| format!("`{key}` belongs in `{header}`"))
    })
}

fn is_table(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::Table(_) | Kind::Tables(_))
}
