//! The newest logs that match: workers keep the best of what they found together, and let go what is older than all of it.

use super::files::Part;
use super::place::{Cursor, Place};
use super::scan::{Lookup, Visit};
use super::{Asked, ReadError, Reader};
use crate::domain::log::Log;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Logs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub logs: Vec<FoundLog>,
    /// Where to go on; `None` when there is nothing more.
    pub cursor: Option<Cursor>,
    /// Not all logs were looked at: there was no time for some, or they cannot be read.
    pub partial: bool,
    /// Bytes of lines that were looked through.
    pub scanned_bytes: u64,
}

/// A log that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLog {
    /// Its own time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The line as it is stored, without its end.
    pub line: Bytes,
}

/// The newest logs found so far, by all workers.
struct Top {
    limit: usize,
    bytes_max: usize,
    logs: BTreeMap<Place, Bytes>,
    bytes: usize,
    /// The newest place that was let go: only what is newer is taken.
    cut: Option<Place>,
}

impl Top {
    fn put(&mut self, place: Place, line: Bytes) {
        if self.cut.is_some_and(|cut| place <= cut) {
            return;
        }
        self.bytes += line.len();
        if let Some(again) = self.logs.insert(place, line) {
            self.bytes -= again.len();
        }
        while self.logs.len() > self.limit || (self.bytes > self.bytes_max && self.logs.len() > 1) {
            let Some((place, line)) = self.logs.pop_first() else { break };
            self.bytes -= line.len();
            self.cut = self.cut.max(Some(place));
        }
    }
}

/// A worker's way to the newest logs of all.
struct Best {
    top: Arc<Mutex<Top>>,
    before: Option<Cursor>,
    floor_ms: Arc<AtomicU64>,
}

impl Visit for Best {
    fn log(&mut self, place: Place, log: &Log) {
        if self.before.is_none_or(|Cursor(before)| place < before) {
            let mut top = self.top.lock().unwrap_or_else(PoisonError::into_inner);
            top.put(place, Bytes::copy_from_slice(log.line()));
            self.floor_ms.store(top.cut.map_or(0, |cut| cut.time_ms), Ordering::Relaxed);
        }
    }
}

pub(super) async fn search(
    reader: &Reader,
    mut asked: Asked,
    limit: usize,
    before: Option<Cursor>,
) -> Result<Found, ReadError> {
    if let Some(Cursor(before)) = before {
        let end_ms = before.time_ms.saturating_add(1);
        let mut sieve = asked.lookup.sieve.clone();
        sieve.to_ms = Some(sieve.to_ms.map_or(end_ms, |to_ms| to_ms.min(end_ms)));
        asked.lookup = Arc::new(Lookup::new(sieve));
    }
    let mut contents = reader.contents(&asked).await?;
    contents.parts.reverse();
    // Stable: of parts of the same time, or of none that is known, the one appended last comes first.
    contents
        .parts
        .sort_by_key(|part: &Part| std::cmp::Reverse(part.times_ms.map_or(u64::MAX, |(_, newest)| newest)));
    let bytes_max = reader.0.config.found_bytes_max;
    let top = Top { limit: limit.max(1), bytes_max, logs: BTreeMap::new(), bytes: 0, cut: None };
    let (top, floor_ms) = (Arc::new(Mutex::new(top)), Arc::new(AtomicU64::new(0)));
    let empty = || Best { top: top.clone(), before, floor_ms: floor_ms.clone() };
    let workers = reader.scan(asked, contents, empty, floor_ms.clone()).await?;
    let top = std::mem::replace(
        &mut *top.lock().unwrap_or_else(PoisonError::into_inner),
        Top { limit: 0, bytes_max, logs: BTreeMap::new(), bytes: 0, cut: None },
    );
    let left_ms = workers.iter().filter_map(|worker| worker.left_ms).max();
    let (logs, cursor) = page(top, before, left_ms);
    let line = |(place, line): (Place, Bytes)| FoundLog { time_ms: place.time_ms, line };
    Ok(Found {
        logs: logs.into_iter().rev().map(line).collect(),
        cursor,
        partial: workers.iter().any(super::Worker::is_partial),
        scanned_bytes: workers.iter().map(|worker| worker.scanner.scanned_bytes).sum(),
    })
}

/// What of the logs found is to be shown, and where to go on. `left_ms`: the newest time that logs in unread parts can have.
fn page(top: Top, before: Option<Cursor>, left_ms: Option<u64>) -> (BTreeMap<Place, Bytes>, Option<Cursor>) {
    let Top { mut logs, cut, .. } = top;
    let oldest = logs.keys().next().copied();
    let Some(left_ms) = left_ms else {
        return (logs, cut.and(oldest).map(Cursor));
    };
    let next = Cursor::upto(left_ms);
    let gets_on = left_ms < u64::MAX && before.is_none_or(|before| next.0 < before.0);
    if cut.is_some_and(|cut| cut.time_ms > left_ms) || !gets_on {
        // Either nothing that was not read comes before these; or these are all that can be told.
        return (logs, oldest.map(Cursor));
    }
    logs = logs.split_off(&next.0);
    (logs, Some(next))
}
