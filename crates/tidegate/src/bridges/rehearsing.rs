//! `tidegate bridge dry-run`: what the forwards of a bridge would send for a message. Reads the configuration and the files that it names;
//! nothing is connected to, and no store is looked into.

use super::running::bridge_options;
use super::upstream;
use crate::cli::{Configuration, say};
use crate::gateway;
use crate::table::printable;
use bytes::Bytes;
use clap::{Args, Subcommand};
use data_encoding::BASE64;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_bridge::{Delivered, NameError, Rehearsal, Rendered, rehearse};
use tidegate_config::{Bridge, BridgeError, Forward};
use tidegate_message::{Properties, Publisher, QoS, Topic, TopicError};
use tidegate_protocol::DeliveryTag;

/// What can be done with a bridge.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// Print what would be sent for a message, by each forward that takes it. Exit code 0: each of them would send it; 1: one would not, or none
    /// takes it; 2: the configuration or the message is wrong.
    DryRun(DryRun),
}

/// A bridge, and a message as a client would publish it.
#[derive(Debug, Args)]
pub(crate) struct DryRun {
    /// The name of the bridge.
    name: String,
    #[command(flatten)]
    configuration: Configuration,
    /// Where it is published; a named queue is `$queue/<name>`.
    #[arg(long)]
    topic: String,
    /// Its payload.
    #[arg(long, default_value = "")]
    payload: String,
    /// What its publisher calls itself.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// As whom its publisher was let in.
    #[arg(long)]
    user: Option<String>,
    /// A user property; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    property: Vec<(String, String)>,
    /// Its content type.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// At which level it is published.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Published to be retained.
    #[arg(long)]
    retain: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum DryRunError {
    #[error("{0}")]
    Configuration(String),
    #[error("no bridge is called `{name}`; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("{key}: {message}")]
    Bridge { key: String, message: String },
    #[error("{0}")]
    Options(String),
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("--topic: {0}")]
    Topic(#[from] TopicError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Does it; options in front of the command count where there are none behind it.
pub(crate) fn run(command: BridgeCommand, before: Configuration) -> ExitCode {
    let BridgeCommand::DryRun(arguments) = command;
    match dry_run(&arguments, before) {
        Ok(told) if !told.is_empty() && told.iter().all(|told| told.refused.is_none()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => gateway::refuse(&format!("bridge: {error}")),
    }
}

fn dry_run(arguments: &DryRun, before: Configuration) -> Result<Vec<Told>, DryRunError> {
    let configuration = arguments.configuration.clone().or(before);
    let config = gateway::read(&configuration).map_err(DryRunError::Configuration)?.config;
    let Some(bridge) = config.bridges.iter().find(|bridge| bridge.name == arguments.name) else {
        let known: Vec<&str> = config.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(DryRunError::Unknown { name: arguments.name.clone(), known });
    };
    let parts = upstream(bridge, &config.node).map_err(first)?;
    let options =
        bridge_options(bridge, &config.node, 0, false, parts.destinations).map_err(DryRunError::Options)?;
    let rehearsed = rehearse(&options, &*parts.upstream, &message(arguments)?)?;
    let told: Vec<Told> = rehearsed.iter().map(|rehearsal| Told::of(bridge, rehearsal)).collect();
    match arguments.json {
        true => say(&serde_json::to_string(&told)?),
        false if told.is_empty() => say("no forward of this bridge takes messages from this topic"),
        false => say(told.iter().map(Told::text).collect::<Vec<_>>().join("\n").trim_end()),
    }
    Ok(told)
}

fn first(errors: Vec<BridgeError>) -> DryRunError {
    let first = errors.into_iter().next();
    let (key, message) = first.map_or_else(Default::default, |error| (error.key, error.message));
    DryRunError::Bridge { key, message }
}

/// The message as the bridge's session would deliver it. Its number is the first one.
fn message(arguments: &DryRun) -> Result<Delivered, TopicError> {
    let property = |(key, value): &(String, String)| (key.as_str().into(), value.as_str().into());
    let properties = Properties {
        content_type: arguments.content_type.as_deref().map(Into::into),
        user: arguments.property.iter().map(property).collect(),
        ..Properties::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let publisher = Publisher {
        client_id: arguments.client_id.as_deref().map(Into::into),
        user: arguments.user.as_deref().map(Into::into),
        published_at_millis: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        taken_at_millis: 0,
    };
    Ok(Delivered {
        tag: DeliveryTag(1),
        topic: Topic::parse(arguments.topic.as_bytes())?,
        payload: Bytes::copy_from_slice(arguments.payload.as_bytes()),
        properties: (!properties.is_empty()).then(|| Box::new(properties)),
        qos: match arguments.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain: arguments.retain,
        redelivered: false,
        attempt: 1,
        expires_at: None,
        publisher: Some(Box::new(publisher)),
        is_backlog: false,
    })
}

/// What is told of one forward.
#[derive(Debug, Serialize)]
struct Told {
    forward: String,
    /// The form of the id: the epoch of the store and the position are given when a message is kept.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sends: Option<Sends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct Sends {
    fields: Vec<(&'static str, String)>,
    headers: Vec<(String, String)>,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// In place of `payload` where that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    label: &'static str,
    reason: String,
    /// Where it would go instead; nothing where it is dropped and counted.
    dead_letter: Option<String>,
}

impl Told {
    fn of(bridge: &Bridge, rehearsal: &Rehearsal) -> Told {
        let forward = bridge.forwards.get(rehearsal.lane);
        let name = forward.and_then(|forward: &Forward| forward.name.clone());
        let (sends, refused) = match &rehearsal.sent {
            Ok(rendered) => (Some(Sends::of(rendered)), None),
            Err(unsent) => {
                let dead_letter = forward.and_then(|forward| forward.dead_letter.clone());
                let dead_letter = dead_letter.filter(|_| unsent.is_refused);
                let reason = unsent.reason.clone();
                (None, Some(Refused { label: unsent.label, reason, dead_letter }))
            }
        };
        let forward = name.unwrap_or_else(|| rehearsal.lane.to_string());
        Told { forward, id: rehearsal.id.clone(), sends, refused }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("forward {}", self.forward)];
        if let Some(refused) = &self.refused {
            lines.push(format!("  not sent ({}): {}", refused.label, printable(refused.reason.clone())));
            lines.push(match &refused.dead_letter {
                Some(topic) => format!("  published to {topic} instead"),
                None => "  dropped and counted".to_owned(),
            });
        }
        if let Some(sends) = &self.sends {
            lines.push(format!("  {:16}  {}", "id", self.id));
            lines.extend(
                sends.fields.iter().map(|(name, value)| format!("  {name:16}  {}", printable(value.clone()))),
            );
            let header = |(name, value): &(String, String)| {
                format!("  {:16}  {}: {}", "header", printable(name.clone()), printable(value.clone()))
            };
            lines.extend(sends.headers.iter().map(header));
            lines.push(sends.payload_line());
        }
        lines.join("\n") + "\n"
    }
}

impl Sends {
    fn of(rendered: &Rendered) -> Sends {
        let text = std::str::from_utf8(&rendered.payload).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| BASE64.encode(&rendered.payload));
        Sends {
            fields: rendered.fields.clone(),
            headers: rendered.headers.clone(),
            payload_bytes: rendered.payload.len(),
            payload: text,
            payload_base64: base64,
        }
    }

    fn payload_line(&self) -> String {
        let name = format!("payload ({})", self.payload_bytes);
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => format!("  {name:16}  {}", printable(text.clone())),
            (None, base64) => format!("  {name:16}  base64 {}", base64.as_deref().unwrap_or_default()),
        }
    }
}
