//! `tidegate demo`: a whole gateway with a simulated plant and a web page that shows it live.
//!
//! The gateway is the same as without the word `demo`, with a configuration of its own (`gateway.toml`). The devices are clients like all
//! others: MQTT 5 over TCP with rumqttc. The page is served by the HTTP listener and speaks STOMP over WebSocket, like any other page
//! could. None of the three knows the others but by their ports; what one machine is like is in `kind` and `machine`.

mod command;
mod device;
mod fleet;
mod kind;
mod machine;
mod options;
mod pages;
mod random;

pub(crate) use options::DemoArgs;

use crate::cli::{Configuration, complain, say};
use crate::durable::NotKept;
use crate::gateway::{self, Gateway, Refused, refuse};
use crate::logging;
use fleet::{Fleet, FleetPlan};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

/// The gateway of the demo, but for what the flags say.
const CONFIGURATION: &str = include_str!("gateway.toml");

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{0}")]
    Gateway(#[from] Refused),
    #[error("the settings leave the demo without its listener `{0}`")]
    Missing(&'static str),
    #[error("cannot start the simulated devices: {0}")]
    Devices(#[source] std::io::Error),
}

/// Serves the demo until Ctrl-C.
pub(crate) fn run(args: &DemoArgs, configuration: Configuration) -> ExitCode {
    if configuration.config.is_some() {
        return refuse(
            "demo: it has a configuration of its own, so --config and TIDEGATE_CONFIG have no place here; single settings can be \
             changed: tidegate --set KEY=VALUE demo",
        );
    }
    let configuration = configuration.with_embedded(CONFIGURATION, args.settings());
    let loaded = match gateway::read(&configuration) {
        Ok(loaded) => loaded,
        Err(report) => return refuse(&report),
    };
    loaded.warnings.iter().for_each(|warning| complain(&warning.to_string()));
    let level = logging::start(&loaded.config.log);
    let opened = Gateway::open(&configuration, loaded.config, level).map_err(DemoError::from);
    match opened.and_then(|gateway| serve(gateway, args)) {
        Ok(stopped) => gateway::exit_code(&stopped),
        Err(error) => refuse(&format!("demo: {}", explain(&error))),
    }
}

fn serve(mut gateway: Gateway, args: &DemoArgs) -> Result<Result<(), NotKept>, DemoError> {
    let address = |name: &'static str| gateway.address(name).ok_or(DemoError::Missing(name));
    let (page, mqtt, stomp, web) = (address("http")?, address("mqtt")?, address("stomp")?, address("web")?);
    say(&format!("Tidegate demo: http://{}{}", reachable(page), pages::PATH));
    let DemoArgs { devices, rate, losses, .. } = *args;
    say(&format!(
        "{devices} machines publish {rate} messages a second. MQTT: {mqtt}, STOMP: {stomp}, both over WebSocket: {web}. Ctrl-C ends it."
    ));
    if !page.ip().is_loopback() {
        say("The network can reach it, and everybody is let in.");
    }
    gateway.serve(pages::pages(web.port()))?;
    let plan = FleetPlan { devices, rate, losses, gateway: reachable(mqtt) };
    let fleet = Fleet::start(plan).map_err(DemoError::Devices)?;
    let signal = gateway.wait();
    fleet.stop();
    Ok(gateway.stop(signal))
}

/// The address by which this machine reaches a listener, which may listen on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The error, and what to do about a port that is taken.
fn explain(error: &DemoError) -> String {
    let (listener, kind) = match error {
        DemoError::Gateway(Refused::Bind(error)) => (&*error.listener, error.error.kind()),
        DemoError::Gateway(Refused::Http(error)) => ("http", error.source.kind()),
        _ => return error.to_string(),
    };
    match kind {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => {
            let flag = options::port_flag(listener);
            format!("{error}; choose another port with {flag} PORT, where 0 means any that is free")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that listens everywhere is opened by the address that a browser on this machine can use.
    #[test]
    fn unspecified_addresses_become_reachable_ones() {
        for (bound, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.7:8080", "192.0.2.7:8080"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), expected);
        }
    }
}
