//! How often one source tries to sign in: after a few failures each further attempt waits, twice as long every time.
//!
//! An attempt counts when it begins, so that many at once are many; a success takes it back. The table is bounded: a flood of
//! sources pushes out those that were quiet for the longest.

use crate::domain::token::TokenDigest;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one source for one e-mail address that cost nothing.
const FREE: u32 = 5;
/// Failures of one source for whatever addresses; many people may share one.
const FREE_OF_SOURCE: u32 = 30;
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// After which a failure is forgotten, if no other came.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: Option<IpAddr>,
    /// Of the address; none for the source as a whole.
    email: Option<TokenDigest>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn wait(self, free: u32) -> Duration {
        match self.count.checked_sub(free) {
            None => Duration::ZERO,
            Some(over) => Duration::from_secs(1_u64 << over.min(10)).min(WAIT_MAX),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: Mutex<HashMap<Key, Failures>>,
}

impl Attempts {
    /// Begins an attempt, or says how long to wait, in seconds. It counts as failed until [`Self::succeeded`].
    pub(super) fn begin(&self, source: Option<IpAddr>, email: &str, now: Instant) -> Result<(), u64> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(source, email);
        let left = keys.iter().filter_map(|(key, free)| {
            let known = failures.get(key).filter(|known| !is_forgotten(known, now))?;
            (known.last + known.wait(*free)).checked_duration_since(now).filter(|left| !left.is_zero())
        });
        if let Some(left) = left.max() {
            return Err(left.as_millis().div_ceil(1_000) as u64);
        }
        for (key, _) in keys {
            if failures.len() >= ENTRIES_MAX && !failures.contains_key(&key) {
                make_room(&mut failures, now);
            }
            let entry = failures.entry(key).or_insert(Failures { count: 0, last: now });
            let before = if is_forgotten(entry, now) { 0 } else { entry.count };
            *entry = Failures { count: before.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// It was the right password: what this source failed before for this address is forgiven.
    pub(super) fn succeeded(&self, source: Option<IpAddr>, email: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let [(pair, _), (whole, _)] = keys(source, email);
        failures.remove(&pair);
        if let Some(known) = failures.get_mut(&whole) {
            known.count = known.count.saturating_sub(1);
        }
    }
}

fn is_forgotten(failures: &Failures, now: Instant) -> bool {
    now.saturating_duration_since(failures.last) > FORGOTTEN_AFTER
}

fn keys(source: Option<IpAddr>, email: &str) -> [(Key, u32); 2] {
    let source = source.map(network);
    let email = TokenDigest::of(&email.trim().to_lowercase());
    [(Key { source, email: Some(email) }, FREE), (Key { source, email: None }, FREE_OF_SOURCE)]
}

/// Who has one IPv6 address has 2^64 of them.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

fn make_room(failures: &mut HashMap<Key, Failures>, now: Instant) {
    failures.retain(|_, known| !is_forgotten(known, now));
    if failures.len() < ENTRIES_MAX {
        return;
    }
    let oldest = failures.iter().min_by_key(|(_, known)| known.last).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        failures.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const HERE: Option<IpAddr> = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn each_attempt_past_the_free_ones_waits_twice_as_long() {
        let (attempts, mut now) = (Attempts::default(), monotonic());
        for _ in 0..FREE {
            assert_eq!(attempts.begin(HERE, "a@b", now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(attempts.begin(HERE, " A@B", now), Err(wait));
            assert_eq!(attempts.begin(HERE, "a@b", after(now, wait - 1)), Err(1));
            now = after(now, wait);
            assert_eq!(attempts.begin(HERE, "a@b", now), Ok(()));
        }
        assert_eq!(attempts.begin(HERE, "other@b", now), Ok(()), "another address");
        let elsewhere = Some("192.0.2.1".parse().unwrap());
        assert_eq!(attempts.begin(elsewhere, "a@b", now), Ok(()), "another source");
        assert_eq!(attempts.begin(HERE, "a@b", after(now, 3_601)), Ok(()), "forgotten");
        assert_eq!(attempts.begin(HERE, "a@b", after(now, 3_601)), Ok(()));
    }

    #[test]
    fn a_success_forgives() {
        let (attempts, now) = (Attempts::default(), monotonic());
        for _ in 0..100 {
            assert_eq!(attempts.begin(HERE, "a@b", now), Ok(()));
            attempts.succeeded(HERE, "a@b");
        }
    }

    #[test]
    fn a_source_that_tries_many_addresses_is_slowed_and_so_is_its_network() {
        let (attempts, now) = (Attempts::default(), monotonic());
        for n in 0..FREE_OF_SOURCE {
            let source = Some(format!("2001:db8::{n:x}").parse().unwrap());
            assert_eq!(attempts.begin(source, &format!("{n}@b"), now), Ok(()));
        }
        assert_eq!(attempts.begin(Some("2001:db8::ffff".parse().unwrap()), "new@b", now), Err(1));
        assert_eq!(attempts.begin(Some("2001:db8:0:1::".parse().unwrap()), "new@b", now), Ok(()));
    }

    #[test]
    fn a_flood_of_sources_takes_no_more_memory() {
        let (attempts, now) = (Attempts::default(), monotonic());
        for n in 0..ENTRIES_MAX as u32 {
            let source = Some(IpAddr::V4(n.into()));
            let _ = attempts.begin(source, "a@b", now + Duration::from_millis(n.into()));
        }
        assert!(attempts.failures.lock().unwrap().len() <= ENTRIES_MAX);
    }
}
