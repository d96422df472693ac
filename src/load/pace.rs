//! When batches begin.
//!
//! In a closed loop each connection sends as soon as it has its last answer. In an open loop batches are due at fixed
//! times, whatever the server does, and latency counts from when a batch was *due*: a server that stalls for a second is
//! charged for every batch that should have begun meanwhile.

use crate::clock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Batches that are due within one such time are released together.
const STEP: Duration = Duration::from_micros(100);

/// Starts of batches, shared by the connections of a group.
pub(super) struct Pace {
    stopped: AtomicBool,
    open: Option<Open>,
}

struct Open {
    schedule: Schedule,
    due: Semaphore,
    taken: AtomicU64,
}

/// Evenly spaced starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    per_second: f64,
}

impl Schedule {
    /// When batch `number`, counted from 0, is due.
    pub(super) fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// How many batches are due until then.
    pub(super) fn count_until(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.start) {
            None => 0,
            Some(elapsed) => (elapsed.as_secs_f64() * self.per_second).floor() as u64 + 1,
        }
    }
}

impl Pace {
    /// A closed loop, or an open one with this many batches a second, a positive number, from `start` on.
    pub(super) fn new(per_second: Option<f64>, start: Instant) -> Self {
        let open = per_second.map(|per_second| Open {
            schedule: Schedule { start, per_second },
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        });
        Self { stopped: AtomicBool::new(false), open }
    }

    /// Waits for the next start and says when it was due; `None` once stopped.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(open) = &self.open else {
            return (!self.is_stopped()).then(clock::monotonic);
        };
        open.due.acquire().await.ok()?.forget();
        Some(open.schedule.due(open.taken.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether batches are due at times of their own.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// No batch begins from now on.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(open) = &self.open {
            open.due.close();
        }
    }

    /// The starts that were due until `now` and never came, because all connections were busy.
    pub(super) fn missed(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let open = self.open.as_ref();
        let range =
            open.map_or(0..0, |open| open.taken.load(Ordering::Relaxed)..open.schedule.count_until(now));
        range.filter_map(move |number| Some(open?.schedule.due(number)))
    }

    /// Releases starts of an open loop as they become due, until stopped. Blocks: it needs a thread of its own, because
    /// the runtime's timers are too coarse.
    pub(super) fn drive(&self) {
        let Some(open) = &self.open else {
            return;
        };
        let mut released = 0;
        while !self.is_stopped() {
            let now = clock::monotonic();
            let due = open.schedule.count_until(now);
            if due > released {
                open.due.add_permits((due - released) as usize);
                released = due;
            }
            let next = open.schedule.due(released).saturating_duration_since(now);
            std::thread::sleep(next.clamp(STEP, Duration::from_millis(50)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_evenly_spaced() {
        let start = clock::monotonic();
        let schedule = Schedule { start, per_second: 200.0 };
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(200), start + Duration::from_secs(1));
        for (after_ms, expect) in [(0, 1), (4, 1), (6, 2), (999, 200), (1_001, 201)] {
            let count = schedule.count_until(start + Duration::from_millis(after_ms));
            assert_eq!(count, expect, "after {after_ms} ms");
        }
        assert_eq!(schedule.count_until(start - Duration::from_millis(1)), 0);
    }

    #[test]
    fn a_start_that_waits_for_a_connection_is_still_due_when_it_was() {
        let start = clock::monotonic() - Duration::from_secs(10);
        let pace = Pace::new(Some(2.0), start);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let starts = std::thread::scope(|scope| {
            scope.spawn(|| pace.drive());
            let starts = runtime.block_on(async { [pace.next().await, pace.next().await] });
            pace.stop();
            starts
        });
        assert_eq!(starts, [Some(start), Some(start + Duration::from_millis(500))]);
        let missed: Vec<_> = pace.missed(start + Duration::from_secs(2)).collect();
        assert_eq!(missed, [1_000, 1_500, 2_000].map(|ms| start + Duration::from_millis(ms)));
    }

    #[tokio::test]
    async fn nothing_begins_after_the_stop() {
        for per_second in [None, Some(1e-3)] {
            let pace = Pace::new(per_second, clock::monotonic());
            pace.stop();
            assert_eq!(pace.next().await, None);
            assert!(pace.missed(clock::monotonic()).count() <= 1);
        }
    }
}
