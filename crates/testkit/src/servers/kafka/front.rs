//! A second address for a server that tells its clients its own only: tansu's proxy, which passes requests on and puts another address
//! into the answers that name one.
//!
//! It keeps its connections to the server for good, those that the server has ended among them: whoever restarts the server, restarts it too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::TANSU;
use crate::servers::{Launch, installed};

/// Where requests go, and where clients are told to come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    pub(super) origin: SocketAddr,
    pub(super) advertised: SocketAddr,
}

impl Launch for Front {
    fn name(&self) -> &'static str {
        "tansu's proxy"
    }

    fn command(&self, _: &Path, ports: &[u16]) -> Command {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let Front { origin, advertised } = self;
        let mut command = Command::new(installed(TANSU));
        command.args(["proxy", "--listener-url", &format!("tcp://{own}")]);
        command.args(["--advertised-listener-url", &format!("tcp://{advertised}")]);
        command.args(["--origin-url", &format!("tcp://{origin}")]);
        // It says nothing by itself, not even that it is ready; and of every request too much.
        command.env("RUST_LOG", "tansu_proxy=debug,tansu_proxy::produce=warn,tansu_proxy::topic=warn");
        command
    }

    /// It listens, and the server has answered it.
    fn is_ready(&self, line: &str) -> bool {
        line.contains("ConnectionManager")
    }
}
