//! What the operator reads of refusals: all of the client's for debugging, and of ours at most one line a second of a kind.

use super::refusal::{Class, Refusal};
use crate::clock::monotonic;
use crate::telemetry::{Throttle, chain};

/// Decides which refusals are worth a line. Metrics count them all.
pub struct Reports {
    capacity: Throttle,
    fault: Throttle,
}

impl Default for Reports {
    fn default() -> Self {
        let now = monotonic();
        Self { capacity: Throttle::new(now), fault: Throttle::new(now) }
    }
}

impl Reports {
    pub fn refused(&self, refusal: &Refusal) {
        let code = refusal.code();
        match refusal.class() {
            Class::Client => tracing::debug!(code, "refused: {refusal}"),
            Class::Capacity => {
                if let Some(left_out) = self.capacity.may_speak(monotonic()) {
                    tracing::warn!(code, left_out, "refused: {}", chain(refusal));
                }
            }
            Class::Fault => {
                if let Some(left_out) = self.fault.may_speak(monotonic()) {
                    tracing::error!(code, left_out, "refused: {}", chain(refusal));
                }
            }
        }
    }
}
