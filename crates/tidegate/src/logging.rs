//! The log: to standard error, as text or as one JSON object a line. Its level can change while the gateway runs.

use tidegate_config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// The level of the log that runs.
pub(crate) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// Writes entries of this importance and above from now on.
    pub(crate) fn set(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "the log's level stays as it is");
        }
    }
}

/// Starts logging. Called once, before anything else says something.
pub(crate) fn start(log: &Log) -> Level {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(level);
    let started = match log.format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(layer.with_ansi(is_terminal)).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    if let Err(error) = started {
        crate::cli::complain(&format!("the log cannot be started: {error}"));
    }
    Level(handle)
}

fn filter(level: LogLevel) -> LevelFilter {
    level.as_str().parse().unwrap_or(LevelFilter::INFO)
}
