//! The two queues of the journal, both bounded in bytes: batches that wait to be committed, and committed blocks that
//! wait to be appended to their accounts' logs.

use super::block::Extent;
use super::group::Request;
use super::{AppendError, locked};
use crate::clock;
use prometheus::IntGauge;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a waiting batch occupies beside its bytes.
const REQUEST_BYTES: usize = 512;

/// About how long a batch waits at most: as much waits as was committed in so much time.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// For how long committed blocks are gathered: with one shipper, each would cost a wake-up and a write of its own.
const GATHER: Duration = Duration::from_millis(5);

/// Batches that wait to be committed. Never makes anybody wait: what does not fit is refused.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    arrived: Condvar,
    bytes_max: usize,
    group_bytes_max: usize,
    gauge: IntGauge,
}

struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
    /// Of the group that was taken last.
    taken_bytes: usize,
    pace: Pace,
}

/// How much was committed lately.
struct Pace {
    since: Instant,
    /// Committed since then.
    bytes: usize,
    /// Committed in the time before, which was [`WAIT_MAX`] long.
    bytes_before: usize,
}

impl Pace {
    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WAIT_MAX {
            let adjoining = passed < 2 * WAIT_MAX;
            self.bytes_before = if adjoining { self.bytes } else { 0 };
            self.since = if adjoining { self.since + WAIT_MAX } else { now };
            self.bytes = 0;
        }
    }

    /// About what was committed in the last [`WAIT_MAX`].
    fn recent_bytes(&mut self, now: Instant) -> usize {
        self.roll(now);
        let passed = now.saturating_duration_since(self.since).as_secs_f64() / WAIT_MAX.as_secs_f64();
        self.bytes + (self.bytes_before as f64 * (1.0 - passed)) as usize
    }
}

impl Queue {
    /// At most `bytes_max` wait, and `group_bytes_max` are taken at once.
    pub(super) fn new(bytes_max: usize, group_bytes_max: usize, gauge: IntGauge) -> Self {
        let pace = Pace { since: clock::monotonic(), bytes: 0, bytes_before: 0 };
        let state = Waiting { requests: VecDeque::new(), bytes: 0, closed: false, taken_bytes: 0, pace };
        Self { state: Mutex::new(state), arrived: Condvar::new(), bytes_max, group_bytes_max, gauge }
    }

    /// Takes a batch that came at `now`. Refuses when so much is waiting that it would wait for longer than [`WAIT_MAX`],
    /// if the disk goes on as it did: bounded by memory alone, a slow disk would keep everybody waiting until their patience
    /// is over, and for nothing. There is always room for a group.
    pub(super) fn push(&self, request: Request, now: Instant) -> Result<(), AppendError> {
        let bytes = request.payload.bytes() + REQUEST_BYTES;
        let mut state = locked(&self.state);
        if state.closed {
            return Err(AppendError::Closed);
        }
        // An empty queue takes anything: a batch larger than the whole queue could never be stored otherwise.
        let bytes_max = state.pace.recent_bytes(now).max(self.group_bytes_max).min(self.bytes_max);
        if state.bytes + bytes > bytes_max && state.bytes > 0 {
            return Err(AppendError::Busy);
        }
        state.bytes += bytes;
        self.gauge.set(state.bytes as i64);
        let idle = state.requests.is_empty();
        state.requests.push_back(request);
        drop(state);
        if idle {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for batches and takes a group of them, in their order of arrival and at least one: none when the time is up,
    /// `None` once the queue is closed and empty.
    pub(super) fn take(&self, at_most: Duration) -> Option<Vec<Request>> {
        let nothing = |state: &mut Waiting| state.requests.is_empty() && !state.closed;
        let state = locked(&self.state);
        let (mut state, _) =
            self.arrived.wait_timeout_while(state, at_most, nothing).unwrap_or_else(PoisonError::into_inner);
        if state.requests.is_empty() && state.closed {
            return None;
        }
        let mut bytes = 0;
        let mut count = 0;
        for request in &state.requests {
            let more = request.payload.bytes() + REQUEST_BYTES;
            if count > 0 && bytes + more > self.group_bytes_max {
                break;
            }
            bytes += more;
            count += 1;
        }
        state.bytes -= bytes;
        state.taken_bytes = bytes;
        self.gauge.set(state.bytes as i64);
        Some(state.requests.drain(..count).collect())
    }

    /// What was taken last has been committed at `now`.
    pub(super) fn committed(&self, now: Instant) {
        let mut state = locked(&self.state);
        state.pace.roll(now);
        state.pace.bytes += std::mem::take(&mut state.taken_bytes);
    }

    /// Refuses every batch from now on; those that wait are still committed.
    pub(super) fn close(&self) {
        locked(&self.state).closed = true;
        self.arrived.notify_all();
    }

    /// Closes the queue and drops what waits: nobody will come for it.
    pub(super) fn abandon(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        state.requests.clear();
    }

    pub(super) fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }
}

/// Committed blocks that are not in their accounts' logs yet.
pub(super) struct Backlog {
    state: Mutex<Committed>,
    more: Condvar,
    room: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Committed {
    extents: Vec<Extent>,
    /// Of those that wait and of those taken but not done.
    bytes: usize,
    closed: bool,
}

impl Backlog {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), more: Condvar::new(), room: Condvar::new(), bytes_max }
    }

    /// Waits, not for ever, until there is room for more. The group that comes then may exceed the bound.
    pub(super) fn wait_for_room(&self, at_most: Duration) -> bool {
        let full = |state: &mut Committed| state.bytes >= self.bytes_max;
        let state = locked(&self.state);
        let (_state, waited) =
            self.room.wait_timeout_while(state, at_most, full).unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    pub(super) fn push(&self, extents: Vec<Extent>) {
        let mut state = locked(&self.state);
        let idle = state.extents.is_empty();
        state.bytes += extents.iter().map(|extent| extent.bytes.len()).sum::<usize>();
        state.extents.extend(extents);
        let wakes = idle || self.is_half_full(&state);
        drop(state);
        if wakes {
            self.more.notify_one();
        }
    }

    fn is_half_full(&self, state: &Committed) -> bool {
        state.bytes >= self.bytes_max / 2
    }

    /// Waits for blocks, gathers those that follow shortly, and takes all there are: none when the time is up, `None`
    /// once there will never be any.
    pub(super) fn take(&self, at_most: Duration) -> Option<Vec<Extent>> {
        let nothing = |state: &mut Committed| state.extents.is_empty() && !state.closed;
        let state = locked(&self.state);
        let (mut state, _) =
            self.more.wait_timeout_while(state, at_most, nothing).unwrap_or_else(PoisonError::into_inner);
        if !state.extents.is_empty() {
            let gathering = |state: &mut Committed| !state.closed && !self.is_half_full(state);
            (state, _) = self
                .more
                .wait_timeout_while(state, GATHER.min(at_most), gathering)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.extents.is_empty() && state.closed {
            return None;
        }
        Some(std::mem::take(&mut state.extents))
    }

    /// Frees the room of blocks that were taken.
    pub(super) fn done(&self, bytes: usize) {
        let mut state = locked(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.room.notify_one();
    }

    pub(super) fn bytes(&self) -> usize {
        locked(&self.state).bytes
    }

    /// States that no more will come.
    pub(super) fn close(&self) {
        locked(&self.state).closed = true;
        self.more.notify_all();
    }

    /// Waits until nothing more will come, not longer than `at_most`; whether that is so.
    pub(super) fn wait_for_close(&self, at_most: Duration) -> bool {
        let state = locked(&self.state);
        let (state, _) = self
            .more
            .wait_timeout_while(state, at_most, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.closed
    }
}
