//! The newest logs that match, or the oldest: workers keep the best of what they found together, and let go what comes after all of it.
//!
//! All is thought of newest first. For the other order it looks for the greatest keys just so, and keys are turned round (`place`).

use super::files::Part;
use super::place::{Cursor, Floor, Order, Place};
use super::scan::{Lookup, Visit};
use super::sieve::Sieve;
use super::{Asked, ReadError, Reader};
use crate::domain::log::Log;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Logs in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub logs: Vec<FoundLog>,
    /// Where to go on; `None` when nothing more can be had by that.
    pub cursor: Option<Cursor>,
    /// Not all logs were looked at: there was no time for some, or they cannot be read. With a cursor the pages that follow bring
    /// those for which there was no time; without one they cannot, and what is here may have gaps.
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
    /// Goes on behind it, newest first; [`Cursor::turned`] makes one for the other order.
    pub behind: Cursor,
}

/// The first logs found so far, by all workers, by the keys of their places.
struct Top {
    limit: usize,
    bytes_max: usize,
    logs: BTreeMap<Place, Bytes>,
    bytes: usize,
    /// The greatest key that was let go: only greater ones are taken.
    cut: Option<Place>,
}

impl Top {
    fn put(&mut self, key: Place, line: Bytes) {
        if self.cut.is_some_and(|cut| key <= cut) {
            return;
        }
        self.bytes += line.len();
        if let Some(again) = self.logs.insert(key, line) {
            self.bytes -= again.len();
        }
        while self.logs.len() > self.limit || (self.bytes > self.bytes_max && self.logs.len() > 1) {
            let Some((key, line)) = self.logs.pop_first() else { break };
            self.bytes -= line.len();
            self.cut = self.cut.max(Some(key));
        }
    }
}

/// A worker's way to the first logs of all.
struct Best {
    top: Arc<Mutex<Top>>,
    after: Option<Cursor>,
    floor: Arc<Floor>,
}

impl Visit for Best {
    fn log(&mut self, place: Place, log: &Log) {
        let key = self.floor.order.key(place);
        if self.after.is_none_or(|Cursor(after)| key < after) {
            let mut top = self.top.lock().unwrap_or_else(PoisonError::into_inner);
            top.put(key, Bytes::copy_from_slice(log.line()));
            self.floor.raise(top.cut.map_or(0, |cut| cut.time_ms));
        }
    }
}

pub(super) async fn search(
    reader: &Reader,
    order: Order,
    mut asked: Asked,
    limit: usize,
    after: Option<Cursor>,
) -> Result<Found, ReadError> {
    if let Some(Cursor(after)) = after {
        asked.lookup = Arc::new(Lookup::new(narrowed(&asked.lookup.sieve, order, after)));
    }
    let mut contents = reader.contents(&asked).await?;
    if order == Order::NewestFirst {
        contents.parts.reverse();
    }
    // Stable: parts of the same time, or of none that is known, stay in the order in which they were appended, or its reverse.
    contents.parts.sort_by_key(|part: &Part| std::cmp::Reverse(order.first_ms(part.times_ms)));
    let bytes_max = reader.0.config.found_bytes_max;
    let top = Top { limit: limit.max(1), bytes_max, logs: BTreeMap::new(), bytes: 0, cut: None };
    let (top, floor) = (Arc::new(Mutex::new(top)), Arc::new(Floor::new(order)));
    let empty = || Best { top: top.clone(), after, floor: floor.clone() };
    let workers = reader.scan(asked, contents, empty, floor.clone()).await?;
    let top = std::mem::replace(
        &mut *top.lock().unwrap_or_else(PoisonError::into_inner),
        Top { limit: 0, bytes_max, logs: BTreeMap::new(), bytes: 0, cut: None },
    );
    let left_ms = workers.iter().filter_map(|worker| worker.left_ms).max();
    let (logs, cursor) = page(top, after, left_ms);
    let line = |(key, line): (Place, Bytes)| {
        let place = order.key(key);
        FoundLog { time_ms: place.time_ms, line, behind: Cursor(place) }
    };
    Ok(Found {
        logs: logs.into_iter().rev().map(line).collect(),
        cursor,
        partial: workers.iter().any(super::Worker::is_partial),
        scanned_bytes: workers.iter().map(|worker| worker.scanner.scanned_bytes).sum(),
    })
}

/// What is left to look through behind a cursor.
fn narrowed(sieve: &Sieve, order: Order, after: Place) -> Sieve {
    let (mut sieve, time_ms) = (sieve.clone(), order.key_ms(after.time_ms));
    match order {
        Order::NewestFirst => {
            let end_ms = time_ms.saturating_add(1);
            sieve.to_ms = Some(sieve.to_ms.map_or(end_ms, |to_ms| to_ms.min(end_ms)));
        }
        Order::OldestFirst => sieve.from_ms = sieve.from_ms.max(Some(time_ms)),
    }
    sieve
}

/// What of the logs found is to be shown, and where to go on. `left_ms`: the first key that logs in unread parts can have.
fn page(top: Top, after: Option<Cursor>, left_ms: Option<u64>) -> (BTreeMap<Place, Bytes>, Option<Cursor>) {
    let Top { mut logs, cut, .. } = top;
    let last = logs.keys().next().copied().map(Cursor);
    let Some(left_ms) = left_ms else {
        return (logs, cut.and(last));
    };
    if cut.is_some_and(|cut| cut.time_ms > left_ms) {
        // Nothing that was not read comes before any of these.
        return (logs, last);
    }
    let next = Cursor::upto(left_ms);
    if left_ms == u64::MAX || after.is_some_and(|after| next.0 >= after.0) {
        // What was not read may come before all of these: whoever went on behind them would never see it.
        return (logs, None);
    }
    logs = logs.split_off(&next.0);
    (logs, Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(time_ms: u64) -> Place {
        Place { time_ms, seq: 1, at: 0, origin: 0 }
    }

    /// Times shown, and from where it goes on.
    fn paged(
        found: &[u64],
        limit: usize,
        after: Option<u64>,
        left_ms: Option<u64>,
    ) -> (Vec<u64>, Option<Place>) {
        let mut top = Top { limit, bytes_max: usize::MAX, logs: BTreeMap::new(), bytes: 0, cut: None };
        found.iter().for_each(|time_ms| top.put(place(*time_ms), Bytes::new()));
        let (logs, cursor) = page(top, after.map(|time_ms| Cursor(place(time_ms))), left_ms);
        (logs.keys().rev().map(|place| place.time_ms).collect(), cursor.map(|cursor| cursor.0))
    }

    #[test]
    fn who_goes_on_behind_a_partial_page_misses_nothing() {
        let upto = |left_ms| Some(Cursor::upto(left_ms).0);
        for (found, limit, after, left_ms, expect) in [
            // Whole: as much as is wanted, or all.
            (&[9, 8, 7][..], 2, None, None, (vec![9, 8], Some(place(8)))),
            (&[9, 8], 2, None, None, (vec![9, 8], None)),
            // What was not read is older than what is shown.
            (&[9, 8, 7], 2, None, Some(6), (vec![9, 8], Some(place(8)))),
            // It may be among it: what is certain is shown, and the rest comes again.
            (&[9, 8, 7], 3, None, Some(8), (vec![9], upto(8))),
            (&[9, 8, 7], 2, None, Some(7), (vec![9, 8], upto(7))),
            (&[], 2, None, Some(8), (vec![], upto(8))),
            (&[7], 2, Some(9), Some(8), (vec![], upto(8))),
            // Nothing is certain, and going on would not change that.
            (&[7], 2, Some(8), Some(8), (vec![7], None)),
            (&[9, 8, 7], 2, None, Some(u64::MAX), (vec![9, 8], None)),
            (&[], 2, None, Some(u64::MAX), (vec![], None)),
        ] {
            assert_eq!(
                paged(found, limit, after, left_ms),
                expect,
                "{found:?} {limit} {after:?} {left_ms:?}"
            );
        }
    }
}
