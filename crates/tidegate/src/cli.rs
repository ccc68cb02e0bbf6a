//! The command line.

use crate::bench::BenchArgs;
use crate::bridges::{BridgeCommand, Show};
use crate::demo::DemoArgs;
use crate::passwd::Passwd;
use crate::store::Store;
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use tidegate_config::{Override, OverrideError};

/// A multi-protocol IoT gateway broker. Without a command it serves; without a file it listens on 127.0.0.1 on the standard
/// ports and accepts anonymous clients.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) configuration: Configuration,
}

/// What else the binary can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with a configuration, without starting.
    Check(Configuration),
    /// Manage the users of a password file.
    #[command(subcommand)]
    Passwd(Passwd),
    /// Try a bridge out without sending anything.
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Say how the bridges of a gateway that runs fare.
    Bridges(Show),
    /// Look into a store, check it, take it elsewhere, empty queues.
    #[command(subcommand)]
    Store(Store),
    /// Put a broker under load and measure it.
    Bench(BenchArgs),
    /// Serve a simulated plant: a gateway, machines that publish, and a web page that shows them live.
    Demo(DemoArgs),
}

/// Where the configuration comes from: flags, then TIDEGATE_… variables, then the file, then defaults.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Configuration {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What takes the file's place where there is none; `None` is the built-in configuration.
    #[arg(skip)]
    pub(crate) embedded: Option<&'static str>,
    /// Override one setting; may be given several times. A listener's setting is `listener.<name>.<setting>`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Override the gateway's name.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Override the folder for what is kept over a restart.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<String>,
}

impl Configuration {
    /// The options given behind a command, or those in front of it where there are none.
    pub(crate) fn or(self, other: Configuration) -> Configuration {
        Configuration {
            config: self.config.or(other.config),
            embedded: self.embedded.or(other.embedded),
            set: if self.set.is_empty() { other.set } else { self.set },
            node: self.node.or(other.node),
            data_dir: self.data_dir.or(other.data_dir),
        }
    }

    /// Another built-in configuration with these settings, which a user's own ones may override.
    pub(crate) fn with_embedded(
        self,
        embedded: &'static str,
        settings: impl IntoIterator<Item = String>,
    ) -> Configuration {
        let set = settings.into_iter().chain(self.set).collect();
        Configuration { set, embedded: Some(embedded), ..self }
    }

    /// The flags that override settings.
    pub(crate) fn overrides(&self) -> Result<Vec<Override>, OverrideError> {
        let mut overrides =
            self.set.iter().map(|argument| Override::set(argument)).collect::<Result<Vec<_>, _>>()?;
        overrides.extend(self.node.iter().map(|name| Override::new("--node", "node", name)));
        overrides.extend(self.data_dir.iter().map(|folder| Override::new("--data-dir", "data_dir", folder)));
        Ok(overrides)
    }
}

/// Writes a line to standard error, where nobody may be listening.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a line to standard output, where nobody may be listening.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
