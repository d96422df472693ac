//! Who signed in to make a request, for its line in the log; and those who failed to, counted, with a line a second at most.

use crate::clock::monotonic;
use crate::domain::account::AccountId;
use crate::metrics::Metrics;
use crate::telemetry::Throttle;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

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
    lines: Throttle,
}

impl FailedSignIns {
    pub(super) fn new() -> Self {
        Self { lines: Throttle::new(monotonic()) }
    }

    /// Counts one. What was sent is not shown: it may be a secret with a typing error.
    pub(super) fn add(&self, source: Option<IpAddr>, route: &str, metrics: &Metrics) {
        metrics.control.auth_failures.inc();
        if let Some(left_out) = self.lines.may_speak(monotonic()) {
            let source = source.map(tracing::field::display);
            tracing::info!(source, route, left_out, "refused an API request without valid credentials");
        }
    }
}
