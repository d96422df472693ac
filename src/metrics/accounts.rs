//! Counters of single accounts, as many as can be told apart.

use super::maker::Maker;
use crate::domain::account::AccountId;
use dashmap::DashMap;
use prometheus::{IntCounter, IntCounterVec};

/// How many accounts get series of their own.
pub const ACCOUNTS_MAX: usize = 1_000;

/// Counters of one account, held by whoever counts often.
#[derive(Clone)]
pub struct AccountCounters {
    pub received_lines: IntCounter,
    pub received_bytes: IntCounter,
    pub accepted_lines: IntCounter,
    pub accepted_bytes: IntCounter,
}

/// Per-account counters, capped.
pub(super) struct Accounts {
    received_lines: IntCounterVec,
    received_bytes: IntCounterVec,
    accepted_lines: IntCounterVec,
    accepted_bytes: IntCounterVec,
    pub(super) known: DashMap<AccountId, AccountCounters>,
    pub(super) other: AccountCounters,
}

impl Accounts {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let vec = |name, help| make.counters(name, help, &["account"]);
        let received_lines = vec("shipgate_gateway_received_lines_total", "Lines received, accepted or not.");
        let received_bytes = vec("shipgate_gateway_received_bytes_total", "Bytes received, inflated.");
        let accepted_lines = vec("shipgate_gateway_accepted_lines_total", "Lines acknowledged.");
        let accepted_bytes =
            vec("shipgate_gateway_accepted_bytes_total", "Bytes of acknowledged lines, as stored.");
        let other = AccountCounters {
            received_lines: received_lines.with_label_values(&["other"]),
            received_bytes: received_bytes.with_label_values(&["other"]),
            accepted_lines: accepted_lines.with_label_values(&["other"]),
            accepted_bytes: accepted_bytes.with_label_values(&["other"]),
        };
        Self { received_lines, received_bytes, accepted_lines, accepted_bytes, known: DashMap::new(), other }
    }

    pub(super) fn get(&self, account: AccountId) -> AccountCounters {
        if let Some(counters) = self.known.get(&account) {
            return counters.clone();
        }
        if self.known.len() >= ACCOUNTS_MAX {
            return self.other.clone();
        }
        let label = account.to_string();
        let label = &[label.as_str()];
        let counters = AccountCounters {
            received_lines: self.received_lines.with_label_values(label),
            received_bytes: self.received_bytes.with_label_values(label),
            accepted_lines: self.accepted_lines.with_label_values(label),
            accepted_bytes: self.accepted_bytes.with_label_values(label),
        };
        self.known.insert(account, counters.clone());
        counters
    }
}
