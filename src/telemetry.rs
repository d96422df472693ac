//! Shipgate's own log: lines on standard error, as text or as JSON.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

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
        // A bare word that is no level would be taken for the name of a module, and all others fall silent.
        let is_level = |word: &str| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str());
        let levels_known =
            self.level.split(',').all(|part| is_level(part.rsplit('=').next().unwrap_or(part)));
        levels_known && EnvFilter::try_new(&self.level).is_ok()
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

#[cfg(test)]
mod tests {
    use super::{Config, Format};

    #[test]
    fn a_misspelt_level_is_not_a_module() {
        for (level, valid) in [
            ("info", true),
            ("WARN", true),
            ("info,shipgate::sync=debug", true),
            ("shipgate::sync=debug", true),
            ("inof", false),
            ("loud", false),
            ("info,shipgate::sync", false),
            ("shipgate=loud", false),
            ("", false),
        ] {
            let config = Config { level: level.to_owned(), format: Format::Text };
            assert_eq!(config.is_valid(), valid, "{level:?}");
        }
    }
}
