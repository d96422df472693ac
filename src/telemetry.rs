//! Shipgate's own log: lines on standard error, as text or as JSON.

use tracing_subscriber::EnvFilter;

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,shipgate::sync=debug`.
    pub level: String,
    pub format: Format,
}

impl Config {
    /// Whether `level` can be used.
    pub fn is_valid(&self) -> bool {
        EnvFilter::try_new(&self.level).is_ok()
    }
}

/// Begins logging. A second call changes nothing.
pub fn start(config: &Config) {
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match config.format {
        Format::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colours).try_init()
        }
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
