//! What stands between devices and the bad link: the gateway with its bridge, or Mosquitto with its own.

use super::scene::Doors;
use crate::gateway::GatewayError;
use crate::life::{LISTENERS, Life};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidegate_testkit::servers;

/// Small files, so that space is given back while it runs.
const CONFIG: &str = r#"
node = "edge-1"
data_dir = "data"
workers = 2

[store]
segment_bytes = "1MiB"
"#;

/// A broker with a bridge that is killed and comes back.
pub(crate) trait Edge {
    /// Starts it and waits until it is there.
    fn begin(&mut self) -> Result<Doors, GatewayError>;

    /// Starts it, and kills it this long after, whether or not it is there by then.
    fn begin_in_vain(&mut self, after: Duration) -> Result<(), GatewayError>;

    /// SIGKILL; what it had to complain of.
    fn kill(&mut self) -> Vec<String>;

    /// Whether it forwards with ids, and recognises by them what it receives.
    fn has_ids(&self) -> bool;
}

/// The gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    program: PathBuf,
    config: PathBuf,
    life: Option<Life>,
}

impl Gateway {
    /// A gateway that keeps its things in this folder and has this bridge.
    pub(crate) fn new(program: &Path, folder: &Path, bridge: &str) -> Result<Gateway, GatewayError> {
        let start = |error| GatewayError::Start { program: program.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(start)?;
        let config = folder.join("tidegate.toml");
        std::fs::write(&config, format!("{CONFIG}{LISTENERS}{bridge}")).map_err(start)?;
        Ok(Gateway { program: program.to_owned(), config, life: None })
    }
}

impl Edge for Gateway {
    fn begin(&mut self) -> Result<Doors, GatewayError> {
        let mut life = Life::begin(&self.program, &self.config, &[])?;
        life.await_ready()?;
        let doors = Doors { mqtt: life.address("mqtt")?, stomp: Some(life.address("stomp")?) };
        self.life = Some(life);
        Ok(doors)
    }

    fn begin_in_vain(&mut self, after: Duration) -> Result<(), GatewayError> {
        let life = Life::begin(&self.program, &self.config, &[])?;
        std::thread::sleep(after);
        life.kill();
        Ok(())
    }

    fn kill(&mut self) -> Vec<String> {
        self.life.take().map_or_else(Vec::new, Life::kill)
    }

    fn has_ids(&self) -> bool {
        true
    }
}

/// Mosquitto with a bridge of its own.
#[derive(Debug)]
pub(crate) struct MosquittoEdge {
    config: String,
    server: Option<servers::Mosquitto>,
}

impl MosquittoEdge {
    /// A bridge to this address that forwards and receives what the gateway's does, as safely as its manual allows: sessions on both sides, no limit of
    /// what waits, and the disk written at every change. Its MQTT 5.0 would be less safe, because it asks for no session expiry there, and
    /// so has no session.
    pub(crate) fn new(central: SocketAddr) -> MosquittoEdge {
        let config = format!(
            "allow_anonymous true\nautosave_on_changes true\nautosave_interval 1\nmax_queued_bytes 0\nset_tcp_nodelay true\n\
             connection central\naddress {central}\nremote_clientid edge-1-central\nlocal_clientid local.central\n\
             bridge_protocol_version mqttv311\ncleansession false\nlocal_cleansession false\nnotifications false\n\
             restart_timeout 1\nkeepalive_interval 5\n\
             topic telemetry/# out 1 \"\" plant/\ntopic commands/# in 1"
        );
        MosquittoEdge { config, server: None }
    }
}

impl Edge for MosquittoEdge {
    fn begin(&mut self) -> Result<Doors, GatewayError> {
        let server = match &mut self.server {
            Some(server) => {
                server.start_again();
                server
            }
            nothing => nothing.insert(servers::Mosquitto::start_with(&self.config)),
        };
        Ok(Doors { mqtt: server.address(), stomp: None })
    }

    fn begin_in_vain(&mut self, after: Duration) -> Result<(), GatewayError> {
        self.begin()?;
        std::thread::sleep(after);
        self.kill();
        Ok(())
    }

    /// What it says is not judged.
    fn kill(&mut self) -> Vec<String> {
        if let Some(server) = &mut self.server {
            server.kill();
        }
        Vec::new()
    }

    fn has_ids(&self) -> bool {
        false
    }
}
