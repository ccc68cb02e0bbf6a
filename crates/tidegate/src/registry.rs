//! The protocols that this gateway speaks: one line each.
//!
//! A new protocol is a crate and a line in [`PROTOCOLS`]. Its options are parsed by the protocol's own crate; here they are only
//! handed over.

use std::sync::Arc;
use tidegate_config::{OptionError, ProtocolEntry, Registry};
use tidegate_mqtt::{Mqtt, MqttOptions};
use tidegate_protocol::Protocol;
use tidegate_stomp::{Stomp, StompOptions};

/// One protocol.
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    option_names: &'static [&'static str],
    check: fn(&toml::Table) -> Result<(), Vec<OptionError>>,
    open: fn(&toml::Table) -> Opened,
}

/// A protocol with the options of one listener, or everything that is wrong with them.
type Opened = Result<Arc<dyn Protocol>, Vec<OptionError>>;

/// The position of the links of bridges among the protocols of the gateway: behind those that listeners can have.
pub(crate) const LINK: usize = PROTOCOLS.len();

/// The names of everything that has connections, for counting.
pub(crate) fn protocol_names() -> Vec<&'static str> {
    PROTOCOLS.iter().map(|known| known.name).chain([tidegate_bridge::PROTOCOL]).collect()
}

/// Every protocol, in the order in which first bytes are offered to them.
pub(crate) const PROTOCOLS: &[Registered] = &[
    Registered {
        name: "mqtt",
        option_names: tidegate_mqtt::OPTION_NAMES,
        check: |table| mqtt(table).map(drop),
        open: mqtt,
    },
    Registered {
        name: "stomp",
        option_names: StompOptions::OPTION_NAMES,
        check: |table| stomp(table).map(drop),
        open: stomp,
    },
];

fn mqtt(table: &toml::Table) -> Opened {
    let options: MqttOptions = parse(table)?;
    reject(options.validate())?;
    Ok(Arc::new(Mqtt::new(options)))
}

fn stomp(table: &toml::Table) -> Opened {
    let options: StompOptions = parse(table)?;
    reject(options.validate())?;
    Ok(Arc::new(Stomp::new(options)))
}

/// Parses a protocol's table. Serde stops at the first mistake, so each option is tried alone: every wrong one is named.
fn parse<T: serde::de::DeserializeOwned>(table: &toml::Table) -> Result<T, Vec<OptionError>> {
    let whole = toml::Value::Table(table.clone()).try_into::<T>();
    whole.map_err(|error| {
        let alone = |(key, value): (&String, &toml::Value)| {
            let one = toml::Table::from_iter([(key.clone(), value.clone())]);
            let error = toml::Value::Table(one).try_into::<T>().err()?;
            Some(OptionError { key: key.clone(), message: error.message().to_owned() })
        };
        let errors: Vec<OptionError> = table.iter().filter_map(alone).collect();
        match errors.is_empty() {
            true => vec![OptionError { key: String::new(), message: error.message().to_owned() }],
            false => errors,
        }
    })
}

fn reject(findings: Vec<(&'static str, String)>) -> Result<(), Vec<OptionError>> {
    let error = |(key, message): (&str, String)| OptionError { key: key.to_owned(), message };
    match findings.is_empty() {
        true => Ok(()),
        false => Err(findings.into_iter().map(error).collect()),
    }
}

/// The protocols as the configuration sees them.
pub(crate) fn for_configuration() -> Registry {
    let entry = |known: &Registered| ProtocolEntry {
        name: known.name,
        websocket: true,
        option_names: known.option_names,
        check: known.check,
    };
    Registry { protocols: PROTOCOLS.iter().map(entry).collect(), bridges: crate::bridges::check_entries() }
}

/// Makes a protocol with the options of one listener, and tells its position in [`PROTOCOLS`].
pub(crate) fn open(
    name: &str,
    options: &toml::Table,
) -> Result<(usize, Arc<dyn Protocol>), Vec<OptionError>> {
    let found = PROTOCOLS.iter().enumerate().find(|(_, known)| known.name == name);
    let unknown =
        || vec![OptionError { key: String::new(), message: format!("no protocol is called `{name}`") }];
    let (index, known) = found.ok_or_else(unknown)?;
    Ok((index, (known.open)(options)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_option_is_named() {
        let table: toml::Table =
            toml::from_str("max_packet_size = 'much'\nmax_inflight = 'x'\nreceive_maximum = 1").unwrap();
        let errors = open("mqtt", &table).err().unwrap();
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["max_inflight", "max_packet_size"]);
    }

    #[test]
    fn every_protocol_has_a_page_with_its_options() {
        for known in PROTOCOLS {
            let page = format!("{}/../../docs/reference/{}.md", env!("CARGO_MANIFEST_DIR"), known.name);
            let text = std::fs::read_to_string(&page).unwrap();
            for option in known.option_names {
                assert!(text.contains(&format!("\n| `{option}` |")), "{option} is missing in {page}");
            }
        }
    }

    /// The options that the example shows as comments are the real ones with their real defaults.
    #[test]
    fn the_example_shows_every_protocol_option_with_its_default() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/tidegate.toml"))
                .unwrap();
        for known in PROTOCOLS {
            for option in known.option_names {
                let line = text.lines().map(|line| line.trim_start_matches(['#', ' '])).find(|line| {
                    line.strip_prefix(option).is_some_and(|rest| rest.trim_start().starts_with('='))
                });
                let line = line.unwrap_or_else(|| panic!("{} option {option} is missing", known.name));
                let table: toml::Table = toml::from_str(line).unwrap();
                (known.check)(&table).unwrap_or_else(|errors| panic!("{line}: {}", errors[0].message));
            }
        }
        let default: StompOptions = parse(&toml::Table::new()).unwrap();
        assert_eq!(default, StompOptions::default());
    }
}
