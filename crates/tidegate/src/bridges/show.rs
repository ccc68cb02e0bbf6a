//! `tidegate bridges`: how the bridges of a gateway that runs fare, asked at its HTTP listener.

use crate::cli::{Configuration, complain, say};
use crate::gateway;
use crate::remote::{Gateway, LiveError};
use crate::table::table;
use clap::Args;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use tidegate_bridge::{BridgeReport, BridgeReports, Said};
use tidegate_message::ByteSize;

/// Exit code 0: all of them are live or draining; 1: at least one is not; 2: nobody could be asked.
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    configuration: Configuration,
    /// The HTTP listener of the gateway, http://127.0.0.1:8080; where none is named, that of the configuration.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
enum ShowError {
    #[error("{0}")]
    Configuration(String),
    #[error("nobody can be asked: give --url, or a configuration with `[http]` and a port")]
    NoListener,
    #[error("{0}")]
    Live(#[from] LiveError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// Shows them; options in front of the command count where there are none behind it.
pub(crate) fn show(arguments: &Show, before: Configuration) -> ExitCode {
    match shown(arguments, before) {
        Ok(reports) if reports.bridges.iter().all(|bridge| bridge.state.is_moving()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => gateway::refuse(&format!("bridges: {error}")),
    }
}

fn shown(arguments: &Show, before: Configuration) -> Result<BridgeReports, ShowError> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => configured(&arguments.configuration.clone().or(before))?,
    };
    let reports: BridgeReports = Gateway::at(&url)?.ask("/bridges")?;
    match arguments.json {
        true => say(&serde_json::to_string(&reports)?),
        false if reports.bridges.is_empty() => complain("there are no bridges"),
        false => say(tables(&reports.bridges).trim_end()),
    }
    Ok(reports)
}

fn configured(configuration: &Configuration) -> Result<String, ShowError> {
    let config = gateway::read(configuration).map_err(ShowError::Configuration)?.config;
    let bind = config.http.map(|http| http.bind).filter(|bind| bind.port() != 0);
    bind.map(|bind| format!("http://{}", reachable(bind))).ok_or(ShowError::NoListener)
}

/// Who listens on every address of a machine is asked at its own.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

fn tables(bridges: &[BridgeReport]) -> String {
    let mut text = connections(bridges);
    if bridges.iter().any(|bridge| !bridge.forwards.is_empty()) {
        text += &format!("\n{}", forwards(bridges));
    }
    if bridges.iter().any(|bridge| !bridge.receives.is_empty()) {
        text += &format!("\n{}", receives(bridges));
    }
    let problems = problems(bridges);
    if !problems.is_empty() {
        let head = ["what went wrong last", "ago", "what"].map(str::to_owned);
        text += &format!("\n{}", table(head, problems.into_iter()));
    }
    text
}

fn connections(bridges: &[BridgeReport]) -> String {
    let head = ["bridge", "kind", "state", "answered", "connected", "address"].map(str::to_owned);
    let rows = bridges.iter().map(|bridge| {
        [
            bridge.name.clone(),
            bridge.kind.clone(),
            bridge.state.label().to_owned(),
            bridge.answered_seconds_ago.map_or("never".to_owned(), |ago| format!("{} ago", span(ago))),
            bridge.connected_seconds.map_or("no".to_owned(), |time| format!("for {}", span(time))),
            bridge.address.clone(),
        ]
    });
    table(head, rows)
}

fn forwards(bridges: &[BridgeReport]) -> String {
    let head = [
        "forward",
        "backlog",
        "bytes",
        "oldest",
        "drained in",
        "in flight",
        "per second",
        "confirmed",
        "retried",
        "refused",
        "dead letters",
        "dropped",
    ];
    let rows = bridges.iter().flat_map(|bridge| {
        bridge.forwards.iter().map(|forward| {
            [
                format!("{}.{}", bridge.name, forward.name),
                forward.backlog_messages.to_string(),
                ByteSize::from_bytes(forward.backlog_bytes).to_string(),
                forward.oldest_seconds.map_or("-".to_owned(), span),
                forward.drained_in_seconds.map_or("unknown".to_owned(), span),
                forward.in_flight.to_string(),
                format!("{:.1}", forward.confirmed_per_second),
                forward.confirmed.to_string(),
                forward.retried.to_string(),
                counts(&forward.refused),
                forward.dead_letters.to_string(),
                counts(&forward.dropped),
            ]
        })
    });
    table(head.map(str::to_owned), rows)
}

fn receives(bridges: &[BridgeReport]) -> String {
    let head = ["receive", "received", "per second", "published", "duplicates", "dropped"].map(str::to_owned);
    let rows = bridges.iter().flat_map(|bridge| {
        bridge.receives.iter().map(|receive| {
            [
                format!("{}.{}", bridge.name, receive.name),
                receive.received.to_string(),
                format!("{:.1}", receive.received_per_second),
                receive.published.to_string(),
                receive.duplicates.to_string(),
                counts(&receive.dropped),
            ]
        })
    });
    table(head, rows)
}

/// What went wrong last, of connections and of messages.
fn problems(bridges: &[BridgeReport]) -> Vec<[String; 3]> {
    let row = |name: String, said: &Said| [name, span(said.seconds_ago), said.text.clone()];
    let mut rows = Vec::new();
    for bridge in bridges {
        rows.extend(bridge.last_error.as_ref().map(|said| row(bridge.name.clone(), said)));
        let forwards = bridge.forwards.iter().map(|forward| (&forward.name, &forward.last_error));
        let receives = bridge.receives.iter().map(|receive| (&receive.name, &receive.last_error));
        let said = forwards.chain(receives).filter_map(|(name, said)| Some((name, said.as_ref()?)));
        rows.extend(said.map(|(name, said)| row(format!("{}.{name}", bridge.name), said)));
    }
    rows
}

/// "3 unroutable, 1 too_large".
fn counts(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
}

/// A time as people say it, with the precision that matters.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1}s"),
        seconds if seconds < 120.0 => format!("{seconds:.0}s"),
        seconds if seconds < 7200.0 => format!("{:.0}m", seconds / 60.0),
        seconds if seconds < 48.0 * 3600.0 => format!("{:.0}h", seconds / 3600.0),
        seconds => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_far_as_they_matter() {
        let spans = [0.04, 9.9, 119.0, 121.0, 7201.0, 200_000.0].map(span);
        assert_eq!(spans, ["0.0s", "9.9s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (bind, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(bind.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn reasons_stand_beside_their_counts() {
        let refused = BTreeMap::from([("unroutable".to_owned(), 3), ("too_large".to_owned(), 1)]);
        assert_eq!(counts(&refused), "1 too_large, 3 unroutable");
        assert_eq!(counts(&BTreeMap::new()), "0");
    }
}
