//! Mosquitto, Debian's package `mosquitto`: somebody else's MQTT broker.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use super::{Launch, Server, write};

/// Mosquitto with one listener. What it keeps is on the disk when it is stopped, not when it is killed.
#[derive(Debug)]
pub struct Mosquitto(Server);

#[derive(Debug)]
struct Options {
    extra: String,
}

impl Mosquitto {
    /// Everybody may do everything.
    pub fn start() -> Mosquitto {
        Mosquitto::start_with("allow_anonymous true")
    }

    /// With these lines of mosquitto.conf behind its listener, such as its certificates or a bridge.
    pub fn start_with(extra: &str) -> Mosquitto {
        Mosquitto(Server::start(Options { extra: extra.to_owned() }))
    }
}

impl Launch for Options {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn command(&self, folder: &Path, ports: &[u16]) -> Command {
        let (port, extra) = (ports[0], &self.extra);
        // Started by root it would become a user who may not write in the folder; started by others it ignores the line.
        let config = format!(
            "user root\npersistence true\npersistence_location {}/\nlog_dest stderr\nlog_type all\n\
             max_queued_messages 0\nlistener {port} 127.0.0.1\n{extra}\n",
            folder.display()
        );
        // Debian puts it where only root looks.
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(write(folder, "mosquitto.conf", &config));
        command
    }

    fn is_ready(&self, line: &str) -> bool {
        line.contains("mosquitto version") && line.contains("running")
    }
}

impl Deref for Mosquitto {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Mosquitto {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
