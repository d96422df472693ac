//! Shipgate's own log: lines on standard error, as text or as JSON; and what those who write them share.

use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Unfailing(io::stderr()));
    let _ = match config.format {
        Format::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            builder.with_ansi(colours).try_init()
        }
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Lets go of what cannot be written: a full disk or a closed pipe costs lines of the log. The subscriber would complain of it on standard
/// error, and panic when that fails, too.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Lets one line a second through, for what may happen a thousand times in it.
#[derive(Debug)]
pub struct Throttle {
    epoch: Instant,
    /// The second of the last line, counted from 1.
    spoke_in: AtomicU64,
    left_out: AtomicU64,
}

impl Throttle {
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, spoke_in: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// How many were left out since the last line, if it is time for another.
    pub fn may_speak(&self, now: Instant) -> Option<u64> {
        let second = now.duration_since(self.epoch).as_secs() + 1;
        if self.spoke_in.swap(second, Ordering::Relaxed) == second {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Format, Throttle};
    use crate::clock::monotonic;
    use std::time::Duration;

    #[test]
    fn speaks_once_a_second_and_counts_the_rest() {
        let begun = monotonic();
        let throttle = Throttle::new(begun);
        let at = |second| throttle.may_speak(begun + Duration::from_secs(second));
        assert_eq!([1, 1, 1, 2, 5, 5].map(at), [Some(0), None, None, Some(2), Some(0), None]);
    }

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
