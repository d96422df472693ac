//! What was measured: volumes by fate, and latencies.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

/// Latencies are kept in microseconds, to three digits, up to an hour.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;
const LATENCY_DIGITS: u8 = 3;

/// An amount of load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Volume {
    pub batches: u64,
    pub lines: u64,
    /// Without compression.
    pub bytes: u64,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// What happened within some time.
#[derive(Debug, Clone)]
pub(super) struct Interval {
    /// Batches whose good lines were all taken, and how many those are.
    pub accepted: Volume,
    /// All that was sent and answered, by status.
    pub by_status: BTreeMap<u16, Volume>,
    /// Sent, but not answered: the connection was lost, or the time was up.
    pub unanswered: Volume,
    /// Connections that could not be opened.
    pub connects_failed: u64,
    /// Of accepted batches.
    pub accepted_latency: Histogram<u64>,
    /// Of batches that were answered otherwise.
    pub refused_latency: Histogram<u64>,
}

impl Interval {
    pub(super) fn new() -> Self {
        Self {
            accepted: Volume::default(),
            by_status: BTreeMap::new(),
            unanswered: Volume::default(),
            connects_failed: 0,
            accepted_latency: histogram(),
            refused_latency: histogram(),
        }
    }

    /// Notes a batch that was answered with `status`, and how many of its lines were taken: `None` if it was refused.
    pub(super) fn answered(&mut self, status: u16, sent: Volume, taken: Option<u64>, latency: Duration) {
        *self.by_status.entry(status).or_default() += sent;
        let latencies = match taken {
            Some(lines) => {
                self.accepted += Volume { lines, ..sent };
                &mut self.accepted_latency
            }
            None => &mut self.refused_latency,
        };
        latencies.saturating_record(micros(latency));
    }

    /// Notes that a batch due some time ago was never begun: its latency is at least that.
    pub(super) fn missed(&mut self, latency: Duration) {
        self.accepted_latency.saturating_record(micros(latency));
    }

    /// Batches that were not accepted, or could not even be sent.
    pub(super) fn failed_batches(&self) -> u64 {
        self.offered().batches - self.accepted.batches + self.connects_failed
    }

    /// Everything that was sent.
    pub(super) fn offered(&self) -> Volume {
        let mut offered = self.unanswered;
        self.by_status.values().for_each(|volume| offered += *volume);
        offered
    }

    /// Adds the latencies of what ended too late to count.
    pub(super) fn add_latencies(&mut self, other: &Self) {
        // The same bounds everywhere: every value of one fits the other.
        let _ = self.accepted_latency.add(&other.accepted_latency);
        let _ = self.refused_latency.add(&other.refused_latency);
    }
}

impl AddAssign<&Interval> for Interval {
    fn add_assign(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.connects_failed += other.connects_failed;
        for (status, volume) in &other.by_status {
            *self.by_status.entry(*status).or_default() += *volume;
        }
        self.add_latencies(other);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, LATENCY_DIGITS).expect("the bounds are valid")
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

/// The latency that this share of batches, between 0 and 1, did not exceed, in milliseconds.
pub(super) fn quantile_ms(latencies: &Histogram<u64>, share: f64) -> f64 {
    latencies.value_at_quantile(share) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Volume = Volume { batches: 1, lines: 10, bytes: 1_000 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn everything_sent_is_counted_once() {
        let mut interval = Interval::new();
        interval.answered(200, VOLUME, Some(10), ms(1));
        interval.answered(401, VOLUME, None, ms(2));
        interval.answered(503, VOLUME, None, ms(2));
        interval.unanswered += VOLUME;
        assert_eq!(interval.offered(), Volume { batches: 4, lines: 40, bytes: 4_000 });
        assert_eq!((interval.accepted, interval.failed_batches()), (VOLUME, 3));
        let mut total = Interval::new();
        total += &interval;
        total += &interval;
        assert_eq!((total.offered().batches, total.by_status[&401].lines), (8, 20));
        assert_eq!((total.accepted_latency.len(), total.refused_latency.len()), (2, 4));
    }

    #[test]
    fn latencies_keep_three_digits() {
        let mut interval = Interval::new();
        for n in 1..=1_000 {
            interval.answered(200, VOLUME, Some(10), ms(n));
        }
        for (share, expect) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = quantile_ms(&interval.accepted_latency, share);
            assert!((found - expect).abs() <= expect / 1_000.0, "{share}: {found}");
        }
    }

    #[test]
    fn a_stall_is_charged_to_every_batch_that_was_due_in_it() {
        // A hundred batches a second for ten seconds; the last second none is begun.
        let mut interval = Interval::new();
        (0..900).for_each(|_| interval.answered(200, VOLUME, Some(10), ms(1)));
        (0..100).for_each(|n| interval.missed(ms(1_000 - n * 10)));
        assert!(quantile_ms(&interval.accepted_latency, 0.99) > 890.0);
    }
}
