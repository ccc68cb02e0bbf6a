//! The log: to standard error, as text or as one JSON object a line. Its level can change while the gateway runs.

use tidegate_config::{Log, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// The level of the log that runs.
pub(crate) struct Level(reload::Handle<Targets, Registry>);

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

/// What is written. The client library of RabbitMQ writes the payloads of messages to its log, which are nobody's business; what it says of
/// connections the bridge says itself.
fn filter(level: LogLevel) -> Targets {
    let level = level.as_str().parse().unwrap_or(LevelFilter::INFO);
    Targets::new().with_default(level).with_target(tidegate_bridge_rabbitmq::LOG_TARGET, LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The library says what a message held that no queue took, as a warning and from modules of its own.
    #[test]
    fn what_a_client_library_says_of_payloads_is_not_written_at_any_level() {
        let written = Written::default();
        let (level, handle) = reload::Layer::new(filter(LogLevel::Info));
        let level = (tracing_subscriber::registry().with(level), Level(handle));
        let writer = written.clone();
        let layer = fmt::layer().with_writer(move || writer.clone());
        tracing::subscriber::with_default(level.0.with(layer), || {
            for chosen in [LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
                level.1.set(chosen);
                tracing::warn!(target: "lapin::channel", payload = "Kennwort", "Server returned us a message");
                tracing::error!(target: "lapin", "Kennwort");
                tracing::info!(level = chosen.as_str(), "ours");
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("Kennwort"), "{text}");
        assert_eq!(text.matches("ours").count(), 3, "{text}");
    }
}
