//! What the operator reads of refusals: all of the client's for debugging, and of ours at most one line a second of a kind.

use super::refusal::{Class, Refusal};
use crate::clock;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Decides which refusals are worth a line. Metrics count them all.
pub struct Reports {
    epoch: Instant,
    capacity: Throttle,
    fault: Throttle,
}

impl Default for Reports {
    fn default() -> Self {
        Self { epoch: clock::monotonic(), capacity: Throttle::default(), fault: Throttle::default() }
    }
}

impl Reports {
    pub fn refused(&self, refusal: &Refusal) {
        let second = clock::monotonic().duration_since(self.epoch).as_secs() + 1;
        let code = refusal.code();
        match refusal.class() {
            Class::Client => tracing::debug!(code, "refused: {refusal}"),
            Class::Capacity => {
                if let Some(left_out) = self.capacity.may_speak(second) {
                    tracing::warn!(code, left_out, "refused: {refusal}");
                }
            }
            Class::Fault => {
                if let Some(left_out) = self.fault.may_speak(second) {
                    tracing::error!(code, left_out, cause = refusal.source(), "refused: {refusal}");
                }
            }
        }
    }
}

/// One line a second.
#[derive(Default)]
struct Throttle {
    spoke_in: AtomicU64,
    left_out: AtomicU64,
}

impl Throttle {
    /// How many were left out since the last line, if it is time for another.
    fn may_speak(&self, second: u64) -> Option<u64> {
        if self.spoke_in.swap(second, Ordering::Relaxed) == second {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Throttle;

    #[test]
    fn speaks_once_a_second_and_counts_the_rest() {
        let throttle = Throttle::default();
        let spoken: Vec<_> = [1, 1, 1, 2, 5, 5].map(|second| throttle.may_speak(second)).into();
        assert_eq!(spoken, [Some(0), None, None, Some(2), Some(0), None]);
    }
}
