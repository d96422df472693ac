//! Room for a request: a budget of memory for the whole node, and a rate for each account that has one.
//!
//! Room is reserved as bytes arrive and given back when the request's [`Slot`] is dropped, however it ends.
//! There is no queue: who finds no room is told so at once.

use super::refusal::Refusal;
use crate::clock;
use crate::domain::account::{AccountGrant, AccountId};
use crate::metrics::Metrics;
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The node's budget and the accounts' rates.
pub struct Admission {
    in_flight: Arc<InFlight>,
    rates: DashMap<AccountId, Rate>,
    epoch: Instant,
}

struct InFlight {
    bytes: AtomicUsize,
    bytes_max: usize,
    metrics: Arc<Metrics>,
}

impl Admission {
    pub fn new(in_flight_bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        let in_flight = InFlight { bytes: AtomicUsize::new(0), bytes_max: in_flight_bytes_max, metrics };
        Self { in_flight: Arc::new(in_flight), rates: DashMap::new(), epoch: clock::monotonic() }
    }

    /// A place for a request, unless its account is over its rate. It grows with what arrives: who only declares a large
    /// body takes no room from others.
    pub fn reserve(&self, grant: &AccountGrant) -> Result<Slot, Refusal> {
        if let Some(bytes_per_second) = grant.rate_bytes_max {
            let rate = self.rates.entry(grant.account).or_default();
            rate.follow(bytes_per_second);
            rate.check(self.now_us()).map_err(|retry_after| Refusal::OverRate { retry_after })?;
        }
        Ok(Slot { in_flight: Arc::clone(&self.in_flight), bytes: 0 })
    }

    /// Counts `bytes` of plain log against the account's rate.
    pub fn debit(&self, grant: &AccountGrant, bytes: usize) {
        if let Some(bytes_per_second) = grant.rate_bytes_max {
            self.rates.entry(grant.account).or_default().debit(self.now_us(), bytes, bytes_per_second);
        }
    }

    fn now_us(&self) -> u64 {
        clock::monotonic().duration_since(self.epoch).as_micros() as u64
    }
}

/// Memory reserved for one request.
#[must_use]
pub struct Slot {
    in_flight: Arc<InFlight>,
    bytes: usize,
}

impl Slot {
    /// Reserves more. A request that is alone always gets it: what fits every limit of its own is not refused for ever.
    pub fn grow(&mut self, more: usize) -> Result<(), Refusal> {
        let InFlight { bytes, bytes_max, metrics } = &*self.in_flight;
        let reserved = bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            let alone = before == self.bytes;
            (alone || before + more <= *bytes_max).then_some(before + more)
        });
        reserved.map_err(|_| Refusal::Busy)?;
        self.bytes += more;
        metrics.gateway.in_flight_bytes.add(more as i64);
        Ok(())
    }

    /// Makes sure that at least `bytes` are reserved in all.
    pub fn cover(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.grow(bytes.saturating_sub(self.bytes))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.in_flight.metrics.gateway.in_flight_bytes.sub(self.bytes as i64);
    }
}

/// The generic cell rate algorithm with debt: the instant, in microseconds, at which the bytes taken so far are paid off.
/// A request is let in while that lies at most a second ahead, and counted in full once its size is known.
#[derive(Default)]
struct Rate {
    paid_off_us: AtomicU64,
    bytes_per_second: AtomicU64,
}

const BURST_US: u64 = 1_000_000;

impl Rate {
    /// A new rate forgives what was owed under the old one.
    fn follow(&self, bytes_per_second: u64) {
        if self.bytes_per_second.swap(bytes_per_second, Ordering::Relaxed) != bytes_per_second {
            self.paid_off_us.store(0, Ordering::Relaxed);
        }
    }

    fn check(&self, now_us: u64) -> Result<(), Duration> {
        let ahead_us = self.paid_off_us.load(Ordering::Relaxed).saturating_sub(now_us);
        match ahead_us.checked_sub(BURST_US) {
            Some(over_us) if over_us > 0 => Err(Duration::from_micros(over_us)),
            _ => Ok(()),
        }
    }

    fn debit(&self, now_us: u64, bytes: usize, bytes_per_second: u64) {
        let cost_us = (bytes as u64).saturating_mul(1_000_000) / bytes_per_second.max(1);
        let _ = self.paid_off_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_off_us| {
            Some(paid_off_us.max(now_us).saturating_add(cost_us))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Retention;

    fn grant() -> AccountGrant {
        AccountGrant {
            account: AccountId(1),
            durability: None,
            rate_bytes_max: None,
            retention: Retention { days: 1, bytes_max: None },
        }
    }

    /// A slot of so many bytes.
    fn slot(admission: &Admission, bytes: usize) -> Result<Slot, Refusal> {
        let mut slot = admission.reserve(&grant())?;
        slot.grow(bytes)?;
        Ok(slot)
    }

    #[test]
    fn gives_back_what_it_reserved() {
        let admission = Admission::new(100, Arc::new(Metrics::new()));
        let mut first = slot(&admission, 60).ok().unwrap();
        assert!(slot(&admission, 41).is_err(), "no room");
        let second = slot(&admission, 40).ok().unwrap();
        assert!(first.grow(1).is_err(), "full");
        drop(second);
        assert!(first.cover(100).is_ok());
        drop(first);
        assert_eq!(admission.in_flight.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(admission.in_flight.metrics.gateway.in_flight_bytes.get(), 0);
    }

    #[test]
    fn a_request_that_is_alone_may_pass_the_budget() {
        let admission = Admission::new(100, Arc::new(Metrics::new()));
        let mut alone = slot(&admission, 10).ok().unwrap();
        assert!(alone.cover(1_000).is_ok());
        assert!(slot(&admission, 1).is_err());
    }

    #[test]
    fn debt_does_not_survive_a_new_rate() {
        let rate = Rate::default();
        rate.follow(1);
        rate.debit(0, 400_000, 1);
        rate.follow(1);
        assert!(rate.check(0).is_err());
        rate.follow(1_000_000);
        assert_eq!(rate.check(0), Ok(()));
    }

    #[test]
    fn a_rate_lets_a_second_of_burst_pass_and_then_says_how_long_to_wait() {
        let rate = Rate::default();
        assert_eq!(rate.check(5), Ok(()));
        rate.debit(0, 1_000, 1_000);
        assert_eq!(rate.check(0), Ok(()), "one second's worth");
        rate.debit(0, 2_000, 1_000);
        assert_eq!(rate.check(0), Err(Duration::from_secs(2)));
        assert_eq!(rate.check(1_500_000), Err(Duration::from_millis(500)));
        assert_eq!(rate.check(2_000_000), Ok(()), "the debt is paid off but for the burst");
    }
}
