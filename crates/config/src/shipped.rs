//! Tests of what users read: the files they start from and the reference page hold every setting, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

use crate::reference::reference_page;
use crate::schema::Config;
use crate::setting::{Kind, Presence, Section};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Every key of the schema with its default; lists of tables are written `listener[]`.
fn declared(section: &'static Section, prefix: &str, keys: &mut BTreeMap<String, Option<&'static str>>) {
    for setting in section.settings {
        let path = format!("{prefix}{}", setting.key);
        match setting.kind {
            Kind::Table(nested) => declared(nested, &format!("{path}."), keys),
            Kind::Tables(nested) => declared(nested, &format!("{path}[]."), keys),
            Kind::Protocols => {}
            _ => {
                let default = match setting.presence {
                    Presence::Default(text) if !is_several(&setting.kind) => Some(text),
                    _ => None,
                };
                keys.insert(path, default);
            }
        }
    }
}

/// Whether the default is none of them.
fn is_several(kind: &Kind) -> bool {
    matches!(kind, Kind::List(_) | Kind::Paths | Kind::Texts(_) | Kind::Values)
}

/// Every key of a file with the first value it has there.
fn written(value: &Value, path: &str, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let separator = if path.is_empty() { "" } else { "." };
                written(value, &format!("{path}{separator}{key}"), keys);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for item in items {
                written(item, &format!("{path}[]"), keys);
            }
        }
        Value::String(text) => drop(keys.entry(path.to_owned()).or_insert_with(|| text.clone())),
        other => drop(keys.entry(path.to_owned()).or_insert_with(|| other.to_string())),
    }
}

/// Names that the user chooses are none of ours: the table in which they stand is.
fn without_names(expected: &BTreeMap<String, Option<&'static str>>, found: &mut BTreeMap<String, String>) {
    let table =
        |key: &String| Some(key.rsplit_once('.')?.0.to_owned()).filter(|it| expected.contains_key(it));
    let tables: Vec<_> = found.keys().filter_map(table).collect();
    found.retain(|key, _| table(key).is_none());
    found.extend(tables.into_iter().map(|table| (table, String::new())));
}

/// `#setting = …` and `#[table]` are settings that are switched off; `# text` is a comment.
fn switched_on(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            format!("{setting}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The example file names every setting, shows its default, and invents none.
#[test]
fn example_file_is_complete() {
    let text = fs::read_to_string(project("config/tidegate.toml")).unwrap();
    let table: toml::Table = switched_on(&text).parse().unwrap();
    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    declared(&Config::SECTION, "", &mut expected);
    written(&Value::Table(table), "", &mut found);
    without_names(&expected, &mut found);
    for (key, default) in &expected {
        let shown = found.get(key).unwrap_or_else(|| panic!("config/tidegate.toml lacks `{key}`"));
        if let Some(default) = default.filter(|_| key != "listener[].allow_anonymous") {
            assert_eq!(shown, default, "config/tidegate.toml shows another default for `{key}`");
        }
    }
    // What a protocol understands is known where the protocols are.
    let is_option = |key: &str| key.starts_with("listener[].mqtt.") || key.starts_with("listener[].stomp.");
    for key in found.keys().filter(|key| !is_option(key)) {
        assert!(expected.contains_key(key), "config/tidegate.toml has `{key}`, which is no setting");
    }
}

/// The reference page is what the declarations say. `UPDATE=1` writes it.
#[test]
fn reference_page_is_current() {
    let path = project("docs/reference/configuration.md");
    let page = reference_page();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == page,
        "docs/reference/configuration.md is out of date: run UPDATE=1 cargo test -p tidegate-config"
    );
}

/// Every default is inside of its own range, and every word of a setting is known to its type.
#[test]
fn declarations_agree_with_their_types() {
    fn visit(section: &'static Section, prefix: &str) {
        for setting in section.settings {
            let path = format!("{prefix}{}", setting.key);
            match (setting.kind, setting.presence) {
                (Kind::Table(nested) | Kind::Tables(nested), _) => visit(nested, &format!("{path}.")),
                (Kind::Protocols | Kind::OneOrMore(_), _) => {}
                (kind, _) if is_several(&kind) => {}
                (kind, Presence::Default(text)) => {
                    let read = crate::value::read(&kind, crate::value::Input::Text(text), Path::new(""));
                    assert!(read.is_ok(), "{path}: default {text} is refused: {read:?}");
                }
                _ => {}
            }
            assert!(!setting.doc.trim().is_empty(), "{path} is not described");
        }
    }
    visit(&Config::SECTION, "");
}
