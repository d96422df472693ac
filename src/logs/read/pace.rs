//! The pace of the threads that read logs: full speed on an idle machine, a small share of a core where others want the cores.
//!
//! A low priority is not enough. Such a thread fills every gap that ingest leaves while it waits for the disk or for a shipper, is in the
//! way when that gap ends, and has had the caches to itself by then. So each thread looks from time to time at how long it had to wait for a
//! processor: whoever had to wait is not alone, and rests in proportion. It never rests for ever: a machine that is busy for
//! hours is still read, slowly.

use crate::clock;
use std::time::{Duration, Instant};

/// How nice the threads are to others.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;
/// How often a thread looks: not at each of its steps, which may take microseconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How many times as long as it waited it rests, unless that is too long for its work.
const RESTS_PER_WAIT: u32 = 40;
/// How much rest it may owe: what a question takes that comes after a quiet time, up to a quarter of a second, is rested for afterwards.
const OWED_MAX: Duration = Duration::from_secs(5);
/// Shorter rests wait until more is owed.
const REST_MIN: Duration = Duration::from_millis(4);

/// What a thread had of the processors since it began.
#[derive(Debug, Clone, Copy, Default)]
struct Had {
    worked: Duration,
    /// Ready to work, while others did. Neither waiting for disks nor what a hypervisor takes is in it.
    waited: Duration,
}

/// The pace of one thread, which holds it. Where the system does not tell how long it waits, it never rests.
pub(super) struct Pace {
    rests_per_work_max: u32,
    meter: Option<Meter>,
    looked: Instant,
    had: Had,
    owed: Duration,
}

impl Pace {
    /// Lowers the priority of the calling thread, whose pace it is, and which rests so many times as long as it works at the most. What
    /// cannot be had is done without.
    pub(super) fn begin(rests_per_work_max: u32) -> Self {
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICENESS);
        // No test is to depend on how busy its machine is.
        let meter = if cfg!(test) { None } else { Meter::of_this_thread() };
        let had = meter.as_ref().and_then(Meter::read).unwrap_or_default();
        Self { rests_per_work_max, meter, looked: clock::monotonic(), had, owed: Duration::ZERO }
    }

    /// How long the thread should rest now. To be asked between steps of work, while no lock is held.
    pub(super) fn rest(&mut self) -> Duration {
        let now = clock::monotonic();
        if now.saturating_duration_since(self.looked) < LOOK_INTERVAL {
            return Duration::ZERO;
        }
        match self.meter.as_ref().and_then(Meter::read) {
            Some(had) => self.rest_after(now, had),
            None => Duration::ZERO,
        }
    }

    fn rest_after(&mut self, now: Instant, had: Had) -> Duration {
        let worked = had.worked.saturating_sub(self.had.worked);
        let waited = had.waited.saturating_sub(self.had.waited);
        let rested = now.saturating_duration_since(self.looked).saturating_sub(worked + waited);
        let owes = (waited * RESTS_PER_WAIT).min(worked * self.rests_per_work_max);
        self.owed = self.owed.saturating_sub(rested) + owes;
        (self.looked, self.had) = (now, had);
        Some(self.owed.saturating_sub(OWED_MAX)).filter(|rest| *rest >= REST_MIN).unwrap_or_default()
    }
}

/// Tells what the thread that made it has had.
struct Meter {
    #[cfg(target_os = "linux")]
    file: std::fs::File,
}

impl Meter {
    #[cfg(target_os = "linux")]
    fn of_this_thread() -> Option<Self> {
        let file = std::fs::File::open("/proc/thread-self/schedstat").ok()?;
        Some(Self { file })
    }

    /// "Worked" and "waited" in nanoseconds, and how many times it was let work.
    #[cfg(target_os = "linux")]
    fn read(&self) -> Option<Had> {
        let mut text = [0; 80];
        let len = std::os::unix::fs::FileExt::read_at(&self.file, &mut text, 0).ok()?;
        let mut numbers = std::str::from_utf8(&text[..len]).ok()?.split_ascii_whitespace().map(str::parse);
        let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
        Some(Had { worked: next()?, waited: next()? })
    }

    #[cfg(not(target_os = "linux"))]
    fn of_this_thread() -> Option<Self> {
        None
    }

    #[cfg(not(target_os = "linux"))]
    fn read(&self) -> Option<Had> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const STEPS: u32 = 10_000;

    /// A thread whose time goes by step by step.
    struct Steps {
        pace: Pace,
        now: Instant,
        had: Had,
    }

    impl Steps {
        fn new() -> Self {
            let now = clock::monotonic();
            let pace = Pace {
                rests_per_work_max: 19,
                meter: None,
                looked: now,
                had: Had::default(),
                owed: Duration::ZERO,
            };
            Self { pace, now, had: Had::default() }
        }

        /// Works and waits, and rests as it is told.
        fn step(&mut self, worked: Duration, waited: Duration) -> Duration {
            self.now += worked + waited;
            self.had = Had { worked: self.had.worked + worked, waited: self.had.waited + waited };
            let rest = self.pace.rest_after(self.now, self.had);
            self.now += rest;
            rest
        }

        /// Its share of a core over many steps, as soon as it owes all that it may.
        fn share(&mut self, worked: Duration, waited: Duration) -> f64 {
            for _ in 0..STEPS {
                self.step(worked, waited);
            }
            let begun = self.now;
            for _ in 0..STEPS {
                self.step(worked, waited);
            }
            f64::from(STEPS) * worked.as_secs_f64() / (self.now - begun).as_secs_f64()
        }
    }

    #[test]
    fn whoever_waits_for_nobody_never_rests() {
        assert!(Steps::new().share(5 * MS, Duration::ZERO) > 0.999);
    }

    #[test]
    fn the_longer_it_waits_the_more_it_rests_down_to_a_twentieth_of_a_core() {
        let shares = [MS / 50, MS / 5, MS, 5 * MS, 50 * MS].map(|waited| Steps::new().share(5 * MS, waited));
        assert!(shares.is_sorted_by(|more, less| more > less), "{shares:?}");
        assert!(shares[0] > 0.8, "{shares:?}");
        assert!(shares[3] < 0.051, "{shares:?}");
    }

    #[test]
    fn a_short_question_after_a_quiet_time_is_not_held_up() {
        let mut steps = Steps::new();
        steps.share(5 * MS, 5 * MS);
        assert!(steps.step(5 * MS, 5 * MS) > 50 * MS);
        steps.now += 2 * OWED_MAX;
        (0..10).for_each(|_| assert_eq!(steps.step(5 * MS, 5 * MS), Duration::ZERO));
    }

    #[test]
    fn many_tiny_steps_rest_as_long_as_a_few_large_ones() {
        let (tiny, large) = (Steps::new().share(MS / 10, MS / 10), Steps::new().share(100 * MS, 100 * MS));
        assert!((tiny - large).abs() < 0.005, "{tiny} {large}");
    }

    #[test]
    fn a_meter_that_is_set_back_is_no_harm() {
        let mut steps = Steps::new();
        steps.step(5 * MS, 5 * MS);
        steps.had = Had::default();
        assert_eq!(steps.step(Duration::ZERO, Duration::ZERO), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_what_a_thread_has_had() {
        let meter = Meter::of_this_thread().unwrap();
        let before = meter.read().unwrap();
        let mut sum = 0_u64;
        while meter.read().unwrap().worked == before.worked {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(meter.read().unwrap().waited >= before.waited);
    }
}
