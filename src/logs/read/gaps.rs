//! Whether what was dropped in the midst of a question leaves a gap in its answer.
//!
//! Retention drops an account's files whole and oldest first. What goes before anything older was read is over, and the answer is whole
//! without it. What goes behind something that was read leaves a hole in the midst of the answer, which must not be called whole.

use super::files::Part;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What one question has met so far, by gateway: each drops its own.
#[derive(Default)]
pub(super) struct Gaps(Mutex<HashMap<u32, Met>>);

#[derive(Default)]
struct Met {
    oldest_read: Option<Spot>,
    newest_gone: Option<Spot>,
}

/// Where a part is in a gateway's log: what its file begins with, and where in that it is.
type Spot = ((u64, u64), u64);

impl Gaps {
    /// A part was read. Whether a gap is known now.
    pub(super) fn read(&self, part: &Part) -> bool {
        let spot = (part.file.begins, part.from);
        self.meet(part.file.origin, |met| {
            met.oldest_read = Some(met.oldest_read.map_or(spot, |oldest| oldest.min(spot)));
        })
    }

    /// A part was gone before it was read. Whether a gap is known now.
    pub(super) fn gone(&self, part: &Part) -> bool {
        let spot = (part.file.begins, part.from);
        self.meet(part.file.origin, |met| met.newest_gone = met.newest_gone.max(Some(spot)))
    }

    fn meet(&self, origin: u32, note: impl FnOnce(&mut Met)) -> bool {
        let mut by_origin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let met = by_origin.entry(origin).or_default();
        note(met);
        met.oldest_read.is_some_and(|oldest| met.newest_gone > Some(oldest))
    }
}
