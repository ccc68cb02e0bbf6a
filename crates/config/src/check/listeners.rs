//! Each listener by itself and its name among the others: names, protocols, WebSocket, the options of protocols.

use std::collections::HashMap;

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::registry::Registry;
use crate::schema::{Config, Listener, Transport};
use crate::suggest::did_you_mean;

pub(super) fn check(config: &Config, registry: &Registry, findings: &mut Findings<'_>) {
    if config.listeners.is_empty() {
        let suggestion = "add a `[[listener]]` with `name`, `bind` and `protocols`".to_owned();
        findings.error("listener", Part::Key, "no listener: no client could connect", Some(suggestion));
    }
    check_names(config, findings);
    for (index, listener) in config.listeners.iter().enumerate() {
        let path = item("listener", index);
        check_protocols(listener, &path, registry, findings);
        check_websocket(listener, &path, registry, findings);
        check_options(listener, &path, registry, findings);
    }
}

fn check_names(config: &Config, findings: &mut Findings<'_>) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, listener) in
        config.listeners.iter().enumerate().filter(|(_, listener)| !listener.name.is_empty())
    {
        let Some(other) = first.get(listener.name.as_str()) else {
            first.insert(&listener.name, index);
            continue;
        };
        let note = findings.line_note(&join(&item("listener", *other), "name"));
        let message = format!("a listener named {} exists already{note}", quoted(&listener.name));
        findings.error(&join(&item("listener", index), "name"), Part::Value, message, None);
    }
}

fn check_protocols(listener: &Listener, path: &str, registry: &Registry, findings: &mut Findings<'_>) {
    let list = join(path, "protocols");
    let known = || registry.names().collect::<Vec<_>>().join(", ");
    if listener.protocols.is_empty() {
        let suggestion = format!("the protocols are: {}", known());
        findings.error(
            &list,
            Part::Value,
            "`protocols` is empty: no client could speak to this listener",
            Some(suggestion),
        );
    }
    for (index, protocol) in listener.protocols.iter().enumerate() {
        let path = item(&list, index);
        if registry.protocol(protocol).is_none() {
            let suggestion = did_you_mean(protocol, registry.names())
                .unwrap_or_else(|| format!("the protocols are: {}", known()));
            findings.error(
                &path,
                Part::Value,
                format!("unknown protocol {}", quoted(protocol)),
                Some(suggestion),
            );
        } else if listener.protocols.iter().take(index).any(|earlier| earlier == protocol) {
            findings.error(&path, Part::Value, format!("protocol {} is named twice", quoted(protocol)), None);
        }
    }
}

fn check_websocket(listener: &Listener, path: &str, registry: &Registry, findings: &mut Findings<'_>) {
    let transport = join(path, "transport");
    match listener.transport {
        Transport::Tcp if listener.websocket.is_some() && !findings.is_reported(&transport) => {
            let message = "`websocket` has no effect on a listener with `transport = \"tcp\"`";
            let suggestion =
                "write `transport = \"websocket\"` or `\"any\"`, or remove `websocket`".to_owned();
            findings.error(&join(path, "websocket"), Part::Key, message, Some(suggestion));
        }
        Transport::Tcp => {}
        Transport::WebSocket | Transport::Any => {
            for (index, protocol) in listener.protocols.iter().enumerate() {
                if registry.protocol(protocol).is_some_and(|entry| !entry.websocket) {
                    let message = format!("protocol {} cannot be spoken over WebSocket", quoted(protocol));
                    findings.error(&item(&join(path, "protocols"), index), Part::Value, message, None);
                }
            }
        }
    }
}

fn check_options(listener: &Listener, path: &str, registry: &Registry, findings: &mut Findings<'_>) {
    let list = join(path, "protocols");
    // A misspelt name in the list may be the one that is missing there.
    let is_unclear = findings.is_reported(&list)
        || (0..listener.protocols.len()).any(|index| findings.is_reported(&item(&list, index)));
    for (protocol, options) in &listener.options {
        let table = join(path, protocol);
        if !listener.protocols.contains(protocol) && !is_unclear {
            let message = format!("options of {}, which this listener does not speak", quoted(protocol));
            let suggestion = format!("add \"{protocol}\" to `protocols` or remove `{protocol}`");
            findings.error(&table, Part::Key, message, Some(suggestion));
        }
        let Some(entry) = registry.protocol(protocol) else { continue };
        for error in (entry.check)(options).err().unwrap_or_default() {
            let message = format!("{} of `{protocol}`: {}", quoted(&error.key), error.message);
            findings.error(&join(&table, &error.key), Part::Value, message, None);
        }
    }
}
