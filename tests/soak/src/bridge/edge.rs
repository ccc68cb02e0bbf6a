//! What stands between devices and the bad link: the gateway with its bridge.

use super::scene::Doors;
use crate::gateway::GatewayError;
use crate::life::{LISTENERS, Life};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

    /// Whether what it forwards has ids.
    fn gives_ids(&self) -> bool;
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

    fn gives_ids(&self) -> bool {
        true
    }
}
