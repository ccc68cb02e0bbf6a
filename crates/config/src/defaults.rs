//! The lowest layer: the default of everything that no other layer sets, and the complaint about what has none.

use std::path::Path;

use config::{Map, Value};

use crate::findings::{Findings, Part, item, join};
use crate::layer::{Layer, index_key};
use crate::schema::Config;
use crate::setting::{Kind, Presence, Section, Setting};
use crate::value::{Input, expected, plain, read, stand_in};

/// Built last, because only then it is known which listeners and optional tables exist.
pub(crate) fn layer(findings: &mut Findings<'_>) -> Layer {
    Layer { root: table(&Config::SECTION, "", findings) }
}

fn table(section: &'static Section, path: &str, findings: &mut Findings<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    for setting in section.settings {
        let child = join(path, setting.key);
        let value = match setting.kind {
            Kind::Table(nested) => {
                let is_wanted = matches!(setting.presence, Presence::Default(_)) || findings.is_set(&child);
                is_wanted.then(|| plain(table(nested, &child, findings)))
            }
            Kind::Tables(nested) => Some(tables(nested, &child, findings)),
            Kind::Protocols => Some(stand_in(&Kind::Protocols)),
            _ if findings.is_set(&child) => None,
            _ => missing(setting, path, &child, findings),
        };
        if let Some(value) = value {
            map.insert(setting.key.to_owned(), value);
        }
    }
    map
}

fn tables(section: &'static Section, path: &str, findings: &mut Findings<'_>) -> Value {
    let mut map = Map::new();
    for index in 0.. {
        let child = item(path, index);
        if !findings.is_set(&child) {
            break;
        }
        map.insert(index_key(index), plain(table(section, &child, findings)));
    }
    plain(map)
}

fn missing(setting: &Setting, parent: &str, path: &str, findings: &mut Findings<'_>) -> Option<Value> {
    match setting.presence {
        Presence::Optional(_) => None,
        Presence::Default(text) => Some(default_value(&setting.kind, text)),
        Presence::Required => {
            let suggestion = format!("add `{} = …`: {}", setting.key, expected(&setting.kind));
            findings.error(
                path,
                Part::Key,
                format!("`{}` is missing in `{parent}`", setting.key),
                Some(suggestion),
            );
            Some(stand_in(&setting.kind))
        }
    }
}

/// Lists default to empty; every other default is read like a variable.
fn default_value(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::List(_) | Kind::Paths | Kind::Texts(_) | Kind::Values => stand_in(kind),
        _ => read(kind, Input::Text(text), Path::new("")).unwrap_or_else(|_| stand_in(kind)),
    }
}
