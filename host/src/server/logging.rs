//! Log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Writes log lines to standard error from now on. Does nothing if the process logs already.
pub fn start_logging(config: &LogConfig) {
    let filter = EnvFilter::new(filter(config.level));
    // Colours are for people: in a file they are bytes that a terminal obeys.
    let is_seen = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_seen);
    // A second call finds the first one's lines: they serve as well.
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// The level for what we say ourselves. Below `info` the libraries under us stay quiet: the compiler of policies alone would say millions
/// of lines.
fn filter(level: LogLevel) -> String {
    match level {
        LogLevel::Debug | LogLevel::Trace => format!("info,tollgate={}", level.name()),
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => level.name().to_owned(),
    }
}
