//! The one place where a stored line becomes a [`Log`] that somebody may see: past the time asked for, what the asker may read, and what
//! is looked for. Nothing above ever has a line that did not pass.

use super::Question;
use crate::domain::filter::Access;
use crate::domain::log::{Log, Scalar};
use crate::domain::moment::MILLISECONDS_FROM;
use crate::domain::query::Query;
use crate::domain::timestamp::{LAST_MS, instant_ms};
use std::ops::RangeInclusive;

/// Lets logs pass.
#[derive(Debug, Clone)]
pub struct Sieve {
    /// What may be read. Where a question lives long, this is set anew before each line.
    pub access: Access,
    pub query: Query,
    /// Logs of this time and later ones, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Logs before this time.
    pub to_ms: Option<u64>,
}

impl Sieve {
    pub(super) fn of(question: &Question) -> Self {
        Self {
            access: question.access.clone(),
            query: question.query.clone(),
            from_ms: question.from_ms,
            to_ms: question.to_ms,
        }
    }

    /// A line, without its end, as a log with its time, if it passes.
    pub fn pass<'a>(&self, line: &'a [u8], received_ms: u64) -> Option<(u64, Log<'a>)> {
        self.pass_within(line, received_ms, &(0..=u64::MAX))
    }

    /// The same of logs of these times.
    pub(super) fn pass_within<'a>(
        &self,
        line: &'a [u8],
        received_ms: u64,
        times_ms: &RangeInclusive<u64>,
    ) -> Option<(u64, Log<'a>)> {
        let is_in_time = |time_ms| times_ms.contains(&time_ms) && self.is_in_time(time_ms);
        let early = quick_time_ms(line);
        if early.is_some_and(|time_ms| !is_in_time(time_ms)) {
            return None;
        }
        let log = Log::parse(line)?;
        let time_ms = early.unwrap_or_else(|| time_ms(&log, received_ms));
        let passes = is_in_time(time_ms) && self.access.passes(&log) && self.query.matches(&log);
        passes.then_some((time_ms, log))
    }

    /// The time of a line that tells it by its beginning, if it is one of those asked for.
    pub(super) fn early_time_ms(&self, line: &[u8]) -> Option<u64> {
        quick_time_ms(line).filter(|time_ms| self.is_in_time(*time_ms))
    }

    /// Whether anything between two times, both included, may pass.
    pub(super) fn may_be_in_time(&self, first_ms: u64, last_ms: u64) -> bool {
        self.from_ms.is_none_or(|from_ms| last_ms >= from_ms)
            && self.to_ms.is_none_or(|to_ms| first_ms < to_ms)
    }

    fn is_in_time(&self, time_ms: u64) -> bool {
        self.from_ms.is_none_or(|from_ms| time_ms >= from_ms)
            && self.to_ms.is_none_or(|to_ms| time_ms < to_ms)
    }
}

/// When a log is from: its `@timestamp`, RFC 3339 or seconds or milliseconds since the Unix epoch, up to the year 9999; else when it was
/// received.
pub fn time_ms(log: &Log, received_ms: u64) -> u64 {
    let mut own = None;
    log.any("@timestamp", |scalar| {
        own = match scalar {
            Scalar::Text(text) => instant_ms(text).or_else(|| epoch_ms(text)),
            Scalar::Number(text) => epoch_ms(text),
            Scalar::Bool(_) | Scalar::Null => None,
        };
        true
    });
    own.unwrap_or(received_ms)
}

/// The same of lines that begin with an instant, as most do, without reading the rest of them.
fn quick_time_ms(line: &[u8]) -> Option<u64> {
    let text = line.strip_prefix(b"{\"@timestamp\":\"")?;
    let end = memchr::memchr2(b'"', b'\\', &text[..text.len().min(40)])?;
    // What goes on behind an escape is not known yet.
    if text[end] == b'"' { instant_ms(std::str::from_utf8(&text[..end]).ok()?) } else { None }
}

fn epoch_ms(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let ms = if number < MILLISECONDS_FROM { number * 1_000.0 } else { number };
    // What lies further away counts something else: microseconds, or nanoseconds.
    Some(ms.round() as u64).filter(|ms| *ms <= LAST_MS)
}
