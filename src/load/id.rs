//! What every line says of itself: which run sent it, on which lane, and as which line of that lane.
//!
//! ```text
//! "load_id":"1f0c9a3e-000042-000000001234"
//!            run      lane   sequence
//! ```
//!
//! All parts have fixed widths, so that the digits of a body made beforehand can be overwritten in place. A lane is a
//! row of lines that are sent one after another: every connection has one for its good lines and one for bad ones.

use memchr::memmem;
use std::fmt;
use std::ops::RangeInclusive;

/// What stands before an id in a line.
pub(super) const KEY: &str = "\"load_id\":\"";
const RUN_WIDTH: usize = 8;
const LANE_WIDTH: usize = 6;
pub(super) const SEQUENCE_WIDTH: usize = 12;
/// Where the sequence begins within an id.
pub(super) const SEQUENCE_AT: usize = RUN_WIDTH + 1 + LANE_WIDTH + 1;
#[cfg(test)]
pub(super) const WIDTH: usize = SEQUENCE_AT + SEQUENCE_WIDTH;

/// A run of the harness. No two have the same, so that several may ship to the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(pub u32);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl RunId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lower_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let fits = text.len() == RUN_WIDTH && text.bytes().all(lower_hex);
        fits.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// The id of a lane's first line. What follows differs in its last [`SEQUENCE_WIDTH`] digits only.
pub(super) fn first(run: RunId, lane: u32) -> String {
    format!("{run}-{lane:06}-{:012}", 0)
}

/// Finds the ids of one run's lines.
pub(super) struct Finder(memmem::Finder<'static>);

impl Finder {
    pub(super) fn of(run: RunId) -> Self {
        Self(memmem::Finder::new(&format!("{KEY}{run}-")).into_owned())
    }

    /// The lane and sequence of a line that the run sent.
    pub(super) fn find(&self, line: &[u8]) -> Option<(u32, u64)> {
        let rest = &line[self.0.find(line)? + self.0.needle().len()..];
        let lane = number(rest.get(..LANE_WIDTH)?)?;
        let sequence = number(rest.get(LANE_WIDTH + 1..LANE_WIDTH + 1 + SEQUENCE_WIDTH)?)?;
        Some((u32::try_from(lane).ok()?, sequence))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// The sequence numbers of a lane, as digits: counting them up costs less than rendering each.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    digits: [u8; SEQUENCE_WIDTH],
    next: u64,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self { digits: [b'0'; SEQUENCE_WIDTH], next: 0 }
    }

    /// The next number's digits.
    #[inline]
    pub(super) fn take(&mut self) -> [u8; SEQUENCE_WIDTH] {
        let taken = self.digits;
        self.next += 1;
        for digit in self.digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
        taken
    }

    /// The numbers taken since the counter stood at `from`; `None` if none were.
    pub(super) fn taken_since(&self, from: u64) -> Option<RangeInclusive<u64>> {
        (from < self.next).then(|| from..=self.next - 1)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_digits() {
        let mut counter = Counter::new();
        for expect in 0..12_345_u64 {
            assert_eq!(counter.take(), format!("{expect:012}").as_bytes(), "{expect}");
        }
        assert_eq!(counter.taken_since(12_000), Some(12_000..=12_344));
        assert_eq!(counter.taken_since(12_345), None);
    }

    #[test]
    fn finds_its_own_ids_only() {
        let run = RunId(0x1f0c_9a3e);
        let id = first(run, 42);
        assert_eq!((id.len(), id.as_str()), (WIDTH, "1f0c9a3e-000042-000000000000"));
        for (line, expect) in [
            (r#"{"load_id":"1f0c9a3e-000042-000000001234","a":1}"#, Some((42, 1_234))),
            (r#"{"@timestamp":"x","load_id":"1f0c9a3e-000000-000000000000"}"#, Some((0, 0))),
            (r#"{"load_id":"1f0c9a3f-000042-000000001234"}"#, None),
            (r#"{"load_id":"1f0c9a3e-000042-00000000123"#, None),
            (r#"{"load_id":"1f0c9a3e-00004x-000000001234"}"#, None),
            (r#"{"message":"none"}"#, None),
        ] {
            assert_eq!(Finder::of(run).find(line.as_bytes()), expect, "{line}");
        }
    }

    #[test]
    fn reads_a_run_as_it_was_shown() {
        for run in [RunId(0), RunId(7), RunId(u32::MAX)] {
            assert_eq!(RunId::parse(&run.to_string()), Some(run));
        }
        for broken in ["", "1234567", "123456789", "1234567G", "+1234567", "1234567A"] {
            assert_eq!(RunId::parse(broken), None, "{broken}");
        }
    }
}
