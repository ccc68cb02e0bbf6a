//! The log: to standard error, as text or as one JSON object a line.

use tidegate_config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;

/// Starts logging. Called once, before anything else says something.
pub(crate) fn start(log: &Log) {
    let level: LevelFilter = log.level.as_str().parse().unwrap_or(LevelFilter::INFO);
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(is_terminal).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = started {
        crate::cli::complain(&format!("the log cannot be started: {error}"));
    }
}
