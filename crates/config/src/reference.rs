//! The reference page, written from the declarations of the settings.

use tidegate_message::{ByteSize, TimeSpan};

use crate::schema::Config;
use crate::setting::{Kind, Presence, Section, Setting};

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from the declarations in crates/config/src/schema.rs by `UPDATE=1 cargo test -p tidegate-config`. -->

The file is TOML. `tidegate --config FILE` reads it, `tidegate check --config FILE` says what is wrong with it and starts nothing.
Without a file the gateway serves this machine only and lets in every client on it; `crates/config/src/embedded.toml` is what it
then reads.

## Where a setting comes from

Flags win over the environment, the environment over the file, the file over the default. A list is replaced as a whole.

| | form | example |
|---|---|---|
| flag | `--set KEY=VALUE`, the key as in the tables below | `--set http.bind=127.0.0.1:0` |
| environment | `TIDEGATE_` and the key in upper case, `__` for `.` | `TIDEGATE_LIMITS__CONNECTIONS=5000` |
| a field of a listener, as a flag | `listener.NAME.KEY` | `--set listener.devices.bind=0.0.0.0:1883` |
| a field of a listener, in the environment | the name in upper case, `_` for `.` and `-` | `TIDEGATE_LISTENER__DEVICES__TLS__CERT=/run/cert.pem` |

Values are written without quotes; items of a list are separated by commas (`stomp,mqtt`). Listeners, access rules, replay rings and policies
for topics and queues are added in the file only, and so are the entries of `tls.sni`. Two listeners whose names differ only in `.`, `-`, `_` or case share their variables, which is
an error as soon as one is set. `TIDEGATE_CONFIG` names the file. Any other variable that begins with `TIDEGATE_` and is no setting
is an error, except those that container platforms make up for a service called `tidegate` (`TIDEGATE_SERVICE_HOST`,
`TIDEGATE_PORT_1883_TCP_ADDR` and the like).

## How values are written

This holds for the options of protocols as well. A duration or a size is never written without its unit.

- Durations: a whole number and one of `ms`, `s`, `m`, `h`, `d`, for example `\"1500ms\"` or `\"30s\"`.
- Sizes: a whole number and one of `B`, `kB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`, `GiB` (powers of 1024), for example `\"64MiB\"`.
- Addresses: an IP address and a port, `\"127.0.0.1:1883\"` or `\"[::1]:1883\"`. Host names are not looked up.
- Paths: a relative path in the file is relative to the folder of the file; in the environment and in flags it is relative to the
  folder in which the gateway was started.
- Names: 1 to 64 letters, digits, `.`, `_` and `-`.

## What is refused

The file is checked as a whole before anything starts, and every mistake is reported with its line: keys that do not exist, values
of the wrong kind or out of range, two listeners (or `[http]`) on one port of overlapping addresses, names or protocols used twice,
certificates and keys that cannot be read or do not belong together, access rules for listeners that do not exist. A listener that nobody could log in to is refused as well, and
so is one that is open to the network without client certificates or passwords, unless it says `allow_anonymous = true`. A `data_dir`
that cannot be a folder of this user is refused, and so is a `limits.memory` below its parts. An expired certificate
is a warning, and so are an access rule that never decides anything, a policy that is never asked and a replay ring that never gets anything.

## What takes effect without a restart

On SIGHUP the file, the environment and the flags are read again and everything takes effect but `node`, `data_dir`, `[store]`, `workers`,
`shutdown_timeout`, `[http]` and `log.format`, which the log then names. See `docs/guides/reload.md`.
";

/// Whether a table stands at the top of the file or in another one; they are titled differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    File,
    /// In one table of a list of this name.
    Within(&'static str),
}

/// The page `docs/reference/configuration.md`: Markdown, ends with a newline.
pub fn reference_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    add_section(&mut page, &Config::SECTION, "Top of the file", "", Scope::File);
    page
}

/// One heading with its table of keys, then the tables within it.
fn add_section(page: &mut String, section: &Section, title: &str, prefix: &str, scope: Scope) {
    let about = joined(section.about);
    page.push_str(&format!("\n## {title}\n\n{about}\n\n| key | value | default | |\n|---|---|---|---|\n"));
    for setting in section.settings {
        let key = match (setting.kind, scope) {
            (Kind::Tables(_), Scope::File) => format!("[[{prefix}{}]]", setting.key),
            _ => format!("{prefix}{}", setting.key),
        };
        let (kind, default, doc) = (describe(&setting.kind), default(setting), joined(setting.doc));
        page.push_str(&format!("| `{key}` | {kind} | {default} | {doc} |\n"));
    }
    for setting in section.settings {
        let name = format!("{prefix}{}", setting.key);
        match (setting.kind, scope) {
            (Kind::Table(nested), Scope::File) => {
                add_section(page, nested, &format!("`[{name}]`"), &format!("{name}."), scope);
            }
            (Kind::Tables(nested), Scope::File) => {
                add_section(page, nested, &format!("`[[{name}]]`"), "", Scope::Within(setting.key));
            }
            (Kind::Table(nested), Scope::Within(parent)) => {
                add_section(page, nested, &format!("`{name}` of a {parent}"), &format!("{name}."), scope);
            }
            (Kind::Tables(nested), Scope::Within(parent)) => {
                add_section(page, nested, &format!("`{name}` of a {parent}"), &format!("{name}[]."), scope);
            }
            _ => {}
        }
    }
}

/// Doc comments come line by line.
fn joined(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Name => "name".to_owned(),
        Kind::Count { min, max } => format!("number, {min} to {max}"),
        Kind::Time { min, max } => format!("duration, {min} to {max}"),
        Kind::Size { min, max } => format!("size, {min} to {max}"),
        Kind::Switch => "`true`, `false`".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Address => "address".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Text(form) => form.name.to_owned(),
        Kind::List(form) => format!("list; each item is {}", form.name),
        Kind::OneOrMore(form) => format!("{}, or a list of them", form.name),
        Kind::Paths => "list of paths".to_owned(),
        Kind::Texts(form) => format!("table; each value is {}", form.name),
        Kind::Values => "table of texts, numbers and switches".to_owned(),
        Kind::Table(_) | Kind::Protocols => "table".to_owned(),
        Kind::Tables(_) => "list of tables".to_owned(),
    }
}

fn default(setting: &Setting) -> String {
    match (setting.presence, setting.kind) {
        (Presence::Required, _) => "required".to_owned(),
        (Presence::Optional(meaning), _) => meaning.to_owned(),
        (Presence::Default(""), Kind::List(_)) => "empty: all".to_owned(),
        (Presence::Default(meaning), Kind::List(_)) => format!("empty: {meaning}"),
        (Presence::Default(_), Kind::Paths | Kind::Texts(_) | Kind::Values) => "empty".to_owned(),
        (Presence::Default(_), Kind::Table(_) | Kind::Tables(_) | Kind::Protocols) => String::new(),
        (Presence::Default(text), Kind::Time { .. }) => quoted_default(text.parse::<TimeSpan>().ok(), text),
        (Presence::Default(text), Kind::Size { .. }) => quoted_default(text.parse::<ByteSize>().ok(), text),
        (Presence::Default(text), Kind::Word(_)) => format!("`\"{text}\"`"),
        (Presence::Default(text), _) => format!("`{text}`"),
    }
}

fn quoted_default(value: Option<impl std::fmt::Display>, text: &str) -> String {
    value.map_or_else(|| format!("`\"{text}\"`"), |value| format!("`\"{value}\"`"))
}
