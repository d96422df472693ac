//! Who signed in to make a request, for its line in the log; and those who failed to, counted, with a line a second at most.

use crate::clock::monotonic;
use crate::domain::account::AccountId;
use crate::metrics::Metrics;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Whom a request's credentials named. Empty until they were looked at, and when they named nobody.
#[derive(Debug, Clone, Default)]
pub(super) struct SignedIn(Arc<OnceLock<(AccountId, String)>>);

impl SignedIn {
    pub(super) fn set(&self, account: AccountId, actor: &str) {
        self.0.get_or_init(|| (account, actor.to_owned()));
    }

    pub(super) fn account(&self) -> Option<u32> {
        self.0.get().map(|(account, _)| account.0)
    }

    pub(super) fn actor(&self) -> Option<&str> {
        self.0.get().map(|(_, actor)| actor.as_str())
    }
}

/// Requests without valid credentials.
#[derive(Debug)]
pub(super) struct FailedSignIns {
    epoch: Instant,
    spoke_in: AtomicU64,
    left_out: AtomicU64,
}

impl FailedSignIns {
    pub(super) fn new() -> Self {
        Self { epoch: monotonic(), spoke_in: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Counts one. What was sent is not shown: it may be a secret with a typing error.
    pub(super) fn add(&self, source: Option<IpAddr>, route: &str, metrics: &Metrics) {
        metrics.control.auth_failures.inc();
        let second = monotonic().duration_since(self.epoch).as_secs() + 1;
        if let Some(left_out) = self.may_speak(second) {
            let source = source.map(tracing::field::display);
            tracing::info!(source, route, left_out, "refused an API request without valid credentials");
        }
    }

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
    use super::FailedSignIns;

    #[test]
    fn speaks_once_a_second_and_counts_the_rest() {
        let failed = FailedSignIns::new();
        let spoken: Vec<_> = [1, 1, 1, 2, 5, 5].map(|second| failed.may_speak(second)).into();
        assert_eq!(spoken, [Some(0), None, None, Some(2), Some(0), None]);
    }
}
