//! The one place that asks what time it is.

#![expect(clippy::disallowed_methods, reason = "this is their owner")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time, handed to whoever needs it; tests hand over one that they move themselves.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Self::advance`].
    pub fn manual(unix_ms: u64) -> Self {
        Self { manual: Some(Arc::new(AtomicU64::new(unix_ms))) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        match &self.manual {
            Some(ms) => ms.load(Ordering::Relaxed),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Moves a manual clock; the machine's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(ms) = &self.manual {
            ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }
}

/// A monotonic instant, for measuring how long things take.
pub fn monotonic() -> Instant {
    Instant::now()
}
