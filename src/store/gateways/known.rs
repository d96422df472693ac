//! What is known of one gateway, and how its next report changes that.

use super::{GATEWAYS_MAX, Gateway, ReportError, SILENT_MS_MAX, UNHEARD_MS_MAX};
use crate::clock::monotonic;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A gateway, and what follows from when it reported.
pub(super) struct Known {
    pub gateway: Gateway,
    /// When it first said to be where it is.
    pub since: Instant,
    /// Since when its reports have come without a gap.
    pub steady_since: Instant,
    /// When an older process than the last one reported under the same id: two that serve, of which each can only
    /// speak for itself.
    pub disputed: Option<Instant>,
    pub unsaved: bool,
}

impl Known {
    /// Whether two gateways go by this name. It takes a day without the older one to be forgotten, or an admin.
    pub fn is_disputed(&self) -> bool {
        self.disputed.is_some_and(|since| since.elapsed() < Duration::from_millis(SILENT_MS_MAX))
    }

    pub fn follow(&mut self, mut gateway: Gateway, unsaved: bool) -> bool {
        let before = &self.gateway;
        let same = before.instance == gateway.instance;
        if same && gateway.number <= before.number {
            return false;
        }
        if !same && gateway.left_ms.is_some() {
            // The farewell of a process that another one has followed, or stands beside.
            return false;
        }
        if !same && !gateway.instance.is_empty() && gateway.started_ms < before.started_ms {
            if !self.is_disputed() {
                tracing::error!(
                    gateway = gateway.id,
                    one = before.address,
                    other = gateway.address,
                    "two gateways have the same name, and none of their confirmations counts: give each a gateway.id \
                     of its own, then forget this one"
                );
            }
            self.disputed = Some(monotonic());
        }
        if gateway.seen_ms.saturating_sub(before.seen_ms) > UNHEARD_MS_MAX {
            self.steady_since = monotonic();
        }
        let news = !same || before.left_ms.is_some() != gateway.left_ms.is_some();
        if (&before.store, before.revision) != (&gateway.store, gateway.revision) {
            self.since = monotonic();
        }
        gateway.first_seen_ms = before.first_seen_ms;
        self.gateway = gateway;
        self.unsaved = unsaved;
        news
    }
}

/// Forgets the one that matters least, if there is one that does not.
pub(super) fn make_room(known: &mut HashMap<String, Known>, now_ms: u64) -> Result<(), ReportError> {
    if known.len() < GATEWAYS_MAX {
        return Ok(());
    }
    let idle = known.values().filter(|known| !known.gateway.must_confirm(now_ms));
    let oldest = idle.min_by_key(|known| known.gateway.seen_ms).map(|known| known.gateway.id.clone());
    known.remove(&oldest.ok_or(ReportError::TooManyGateways)?);
    Ok(())
}
