//! Settings from the environment and from flags, as layers over the file.
//!
//! Every setting has exactly one name in each notation: `TIDEGATE_HTTP__BIND` and `http.bind`. A field of a listener goes by the
//! listener's name: `TIDEGATE_LISTENER__DEVICES__BIND` and `listener.devices.bind`; in a variable the name is written in upper
//! case with `_` for `.` and `-`. Listeners themselves, and lists of tables in them, exist in the file only.
//!
//! Names are never guessed from the text of a variable: all names that exist are listed first, then looked up.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use config::Value;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::quoted;
use crate::document::free_scalar;
use crate::findings::{Findings, Origin, Part, item, join};
use crate::layer::{Layer, index_key};
use crate::registry::Registry;
use crate::schema::Config;
use crate::setting::{Kind, Section};
use crate::suggest::nearest;
use crate::value::{Input, item_kind, plain, read, stand_in};

/// Every variable of ours begins with this.
const PREFIX: &str = "TIDEGATE_";

/// Names the configuration file; read by the binary before anything is loaded.
const RESERVED: &str = "TIDEGATE_CONFIG";

/// The only tables that have names; others exist in the file only.
const LISTENERS: &str = "listener";

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    flag: String,
    key: String,
    value: String,
}

/// Why the argument of `--set` could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected KEY=VALUE, for example http.bind=127.0.0.1:8080")]
pub struct OverrideError;

impl Override {
    /// `flag` is how the user knows it (`--node`), `key` the dotted path of the setting, `value` is written as in a variable.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { flag: flag.into(), key: key.into(), value: value.into() }
    }

    /// The argument of `--set`: `key=value`, split at the first `=`.
    pub fn set(argument: &str) -> Result<Self, OverrideError> {
        let (key, value) = argument.split_once('=').ok_or(OverrideError)?;
        let key = key.trim();
        if key.is_empty() { Err(OverrideError) } else { Ok(Self::new(format!("--set {key}"), key, value)) }
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
struct Target {
    /// `listener[1].tls.cert`
    path: String,
    /// The same for the layer.
    route: Vec<String>,
    /// The type; `None` for the options of a protocol, whose types only the protocol knows.
    kind: Option<Kind>,
}

/// Upper case with `__` between the parts, or dotted as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    Variable,
    Dotted,
}

impl Notation {
    fn join(self, parent: &str, part: &str) -> String {
        match self {
            Self::Variable if parent.is_empty() => format!("{PREFIX}{}", upper(part)),
            Self::Variable => format!("{parent}__{}", upper(part)),
            Self::Dotted => join(parent, part),
        }
    }
}

fn upper(part: &str) -> String {
    part.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// All names of one notation, each with what it stands for. Two listeners can come to the same variable.
struct Names<'n> {
    notation: Notation,
    listeners: &'n [String],
    registry: &'n Registry,
    targets: BTreeMap<String, Vec<Target>>,
}

impl<'n> Names<'n> {
    fn new(notation: Notation, listeners: &'n [String], registry: &'n Registry) -> Self {
        let mut names = Self { notation, listeners, registry, targets: BTreeMap::new() };
        let root = Target { path: String::new(), route: Vec::new(), kind: None };
        names.add_section(&Config::SECTION, "", &root);
        names
    }

    fn add_section(&mut self, section: &'static Section, name: &str, parent: &Target) {
        for setting in section.settings {
            let child = self.notation.join(name, setting.key);
            let target = parent.child(setting.key, Some(setting.kind));
            match setting.kind {
                Kind::Table(nested) => self.add_section(nested, &child, &target),
                Kind::Tables(nested) if target.path == LISTENERS => {
                    self.add_listeners(nested, &child, &target)
                }
                Kind::Tables(_) => {}
                Kind::Protocols => self.add_options(setting.key, name, parent),
                _ => self.targets.entry(child).or_default().push(target),
            }
        }
    }

    fn add_listeners(&mut self, section: &'static Section, name: &str, parent: &Target) {
        for (index, listener) in
            self.listeners.iter().enumerate().filter(|(_, listener)| !listener.is_empty())
        {
            let name = self.notation.join(name, listener);
            let mut target = parent.clone();
            target.path = item(&parent.path, index);
            target.route.push(index_key(index));
            self.add_section(section, &name, &target);
            // The name is what the other fields are found by.
            if let Some(found) = self.targets.get_mut(&self.notation.join(&name, "name")) {
                found.retain(|other| !other.path.starts_with(&target.path));
            }
        }
        self.targets.retain(|_, found| !found.is_empty());
    }

    fn add_options(&mut self, key: &str, name: &str, parent: &Target) {
        for entry in &self.registry.protocols {
            let table = self.notation.join(name, entry.name);
            for option in entry.option_names {
                let path = join(&join(&parent.path, entry.name), option);
                let mut route = parent.route.clone();
                route.extend([key, entry.name, option].map(str::to_owned));
                let target = Target { path, route, kind: None };
                self.targets.entry(self.notation.join(&table, option)).or_default().push(target);
            }
        }
    }

    /// The nearest name, or one that continues what was written; the listeners, if the name is one of a listener.
    fn suggestion(&self, name: &str) -> Option<String> {
        let continued =
            self.targets.keys().find(|known| known.starts_with(name) && name.len() > PREFIX.len());
        let meant = nearest(name, self.targets.keys().map(String::as_str)).or(continued.map(String::as_str));
        let meant = meant.map(|meant| format!("did you mean `{meant}`?"));
        let listeners = self.notation.join("", "listener");
        let is_known = |listener: &String| name.starts_with(&self.notation.join(&listeners, listener));
        if !name.starts_with(&listeners) || self.listeners.iter().any(is_known) {
            return meant;
        }
        let listeners: Vec<&str> =
            self.listeners.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let known = (!listeners.is_empty()).then(|| format!("the listeners are: {}", listeners.join(", ")));
        let parts: Vec<String> = meant.into_iter().chain(known).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Target {
    fn child(&self, key: &str, kind: Option<Kind>) -> Self {
        let mut route = self.route.clone();
        route.push(key.to_owned());
        Self { path: join(&self.path, key), route, kind }
    }
}

/// The names of the listeners in the file, by index; empty where there is no usable name.
pub(crate) fn listener_names(document: &DeTable<'_>) -> Vec<String> {
    let Some(DeValue::Array(listeners)) = document.get("listener").map(|value| value.get_ref()) else {
        return Vec::new();
    };
    let name = |listener: &DeValue<'_>| {
        let name = listener.as_table()?.get("name")?.get_ref().as_str()?.to_owned();
        crate::forms::check_name(&name).is_ok().then_some(name)
    };
    listeners.iter().map(|listener| name(listener.get_ref()).unwrap_or_default()).collect()
}

/// The layer of the environment. Variables of others are not looked at.
pub(crate) fn from_environment(
    environment: &[(OsString, OsString)],
    listeners: &[String],
    registry: &Registry,
    findings: &mut Findings<'_>,
) -> Layer {
    let mut layer = Layer::default();
    let mut ours: Vec<(String, &OsStr)> = environment
        .iter()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && name != RESERVED)
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_os_str()))
        .collect();
    ours.retain(|(name, value)| !is_service_link(name, value));
    if ours.is_empty() {
        return layer;
    }
    ours.sort();
    let names = Names::new(Notation::Variable, listeners, registry);
    for (name, value) in ours {
        let origin = Origin::Variable(name.clone());
        match (names.targets.get(&name).map(Vec::as_slice), value.to_str()) {
            (None, _) => {
                findings.error_about(origin, "there is no setting of this name", names.suggestion(&name));
            }
            (Some(_), None) => findings.error_about(origin, "the value is not UTF-8 text", None),
            (Some([target]), Some(value)) => apply(target, value, origin, &mut layer, findings),
            (Some(targets), Some(_)) => {
                let paths: Vec<&str> = targets.iter().map(|target| target.path.as_str()).collect();
                let message = format!("the name stands for several settings: {}", paths.join(", "));
                let suggestion = "rename one of the listeners, or use `--set` with the exact name".to_owned();
                findings.error_about(origin, message, Some(suggestion));
            }
        }
    }
    layer
}

/// The layer of the flags; a later flag wins over an earlier one.
pub(crate) fn from_flags(
    overrides: &[Override],
    listeners: &[String],
    registry: &Registry,
    findings: &mut Findings<'_>,
) -> Layer {
    let mut layer = Layer::default();
    if overrides.is_empty() {
        return layer;
    }
    let names = Names::new(Notation::Dotted, listeners, registry);
    for entry in overrides {
        let origin = Origin::Flag(entry.flag.clone());
        match names.targets.get(&entry.key).and_then(|targets| targets.first()) {
            Some(target) => apply(target, &entry.value, origin, &mut layer, findings),
            None => {
                let message = format!("there is no setting {}", quoted(&entry.key));
                findings.error_about(origin, message, names.suggestion(&entry.key));
            }
        }
    }
    layer
}

fn apply(target: &Target, text: &str, origin: Origin, layer: &mut Layer, findings: &mut Findings<'_>) {
    findings.set_origin(&target.path, origin);
    // Relative paths of the environment and of flags are relative to the folder the process was started in.
    let folder = Path::new("");
    let read = match &target.kind {
        None => Ok(free_text(text)),
        Some(kind) if let Some(each) = item_kind(kind) => {
            let items = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
            items
                .map(|item| read(&each, Input::Text(item), folder))
                .collect::<Result<Vec<Value>, _>>()
                .map(plain)
        }
        Some(kind) => read(kind, Input::Text(text), folder),
    };
    let value = read.unwrap_or_else(|problem| {
        findings.error(&target.path, Part::Value, problem.message, problem.suggestion);
        target.kind.as_ref().map_or_else(|| plain(""), stand_in)
    });
    layer.set(&target.route, value);
}

/// The option of a protocol: what reads as a TOML number, switch or list is one, everything else is text.
fn free_text(text: &str) -> Value {
    let (value, errors) = DeValue::parse_recoverable(text);
    let read = match value.get_ref() {
        _ if !errors.is_empty() => None,
        DeValue::Array(items) => {
            items.iter().map(|item| free_scalar(item.get_ref())).collect::<Option<Vec<Value>>>().map(plain)
        }
        DeValue::Datetime(_) => None,
        scalar => free_scalar(scalar),
    };
    read.unwrap_or_else(|| plain(text))
}

/// Container platforms describe the service `tidegate` to every container with variables such as `TIDEGATE_SERVICE_HOST` and
/// `TIDEGATE_PORT_1883_TCP_ADDR`. They are nobody's mistake.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_link = value
        .to_str()
        .is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)));
    let Some((_, port)) = name.split_once("_PORT_") else {
        return name.ends_with("_SERVICE_HOST")
            || name.ends_with("_SERVICE_PORT")
            || (is_link && name.ends_with("_PORT"));
    };
    let mut parts = port.splitn(3, '_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"));
    let detail = parts.next().is_none_or(|detail| matches!(detail, "PROTO" | "PORT" | "ADDR"));
    name.contains("_SERVICE_PORT_") || (number && protocol && detail)
}
