//! The shelf: which segments of the journal there are, and what of them may be read.
//!
//! Shared by the thread that writes the journal and the one that reads it back and trims it. A block's sequence number
//! counts only within its segment's reach: the name of a segment is the first number that belongs to it, so whatever an
//! earlier segment still holds from that number on is void.

use super::block::Extent;
use super::disk::{self, Disk, Lock, TEMPORARY};
use super::reader::{Reader, Step};
use super::{OnCorruption, locked};
use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How many files are kept to be written again: as many as are begun between two checkpoints, and one more.
const SPARES_MAX: usize = 4;

/// A file of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its name: the first sequence number that belongs to it.
    pub first_seq: u64,
    /// How much of it is good. What follows, if anything does, is not to be read.
    pub bytes: u64,
    /// Whether its file may become another segment: every block that is in it is good and has a number below all that
    /// will ever be given out again.
    pub reusable: bool,
}

impl Segment {
    pub(super) fn name(first_seq: u64) -> String {
        format!("{first_seq:020}.wal")
    }

    /// The first sequence number of the segment with this file name; `None` if it is not a segment.
    pub(super) fn parse_name(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".wal")?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    }
}

/// Why committed blocks could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the journal's segment {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the journal lacks block {seq}, which had been committed")]
    Missing { seq: u64 },
    #[error("cannot store what the journal holds")]
    Store(#[source] io::Error),
}

pub(super) struct Shelf {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub metrics: Arc<Metrics>,
    pub on_corruption: OnCorruption,
    state: Mutex<State>,
    /// No other process writes here while this lives.
    _lock: Lock,
}

#[derive(Default)]
struct State {
    /// Oldest first; the last one may still grow.
    segments: VecDeque<Segment>,
    /// Blocks that must not be lost though they are not known to be on the disk: see the writer.
    unsynced: Vec<Extent>,
    /// Files of trimmed segments that wait to be written again.
    spares: Vec<PathBuf>,
}

impl Shelf {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        metrics: Arc<Metrics>,
        on_corruption: OnCorruption,
        lock: Lock,
    ) -> Self {
        Self { disk, dir, metrics, on_corruption, state: Mutex::default(), _lock: lock }
    }

    pub(super) fn path(&self, first_seq: u64) -> PathBuf {
        self.dir.join(Segment::name(first_seq))
    }

    /// What recovery found.
    pub(super) fn fill(&self, segments: VecDeque<Segment>, unsynced: Vec<Extent>) {
        *locked(&self.state) = State { segments, unsynced, spares: Vec::new() };
        self.measure();
    }

    /// A new segment; it holds what was not synced before.
    pub(super) fn begin(&self, segment: Segment) {
        let mut state = locked(&self.state);
        state.unsynced.clear();
        state.segments.push_back(segment);
        drop(state);
        self.measure();
    }

    /// The last segment has grown by `extents`, of which those in `at_risk` have been promised to survive.
    pub(super) fn grow(&self, bytes: u64, at_risk: &[Extent]) {
        let mut state = locked(&self.state);
        if let Some(last) = state.segments.back_mut() {
            last.bytes = bytes;
        }
        state.unsynced.extend_from_slice(at_risk);
        drop(state);
        self.measure();
    }

    /// All of the last segment is on the disk, and it will not be written again.
    pub(super) fn finish(&self) {
        if let Some(last) = locked(&self.state).segments.back_mut() {
            last.reusable = true;
        }
    }

    /// All of the last segment is on the disk.
    pub(super) fn synced(&self) {
        locked(&self.state).unsynced.clear();
    }

    /// Only `bytes` of the last segment can be trusted: it will not be written again.
    pub(super) fn cut(&self, bytes: u64) {
        let mut state = locked(&self.state);
        if bytes == 0 {
            state.segments.pop_back();
        } else if let Some(last) = state.segments.back_mut() {
            last.bytes = bytes;
        }
        drop(state);
        self.measure();
    }

    /// Blocks that must be written again when the last segment has been given up.
    pub(super) fn unsynced(&self) -> Vec<Extent> {
        locked(&self.state).unsynced.clone()
    }

    /// Length of all segments.
    pub(super) fn bytes(&self) -> u64 {
        locked(&self.state).segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Removes segments that hold nothing after `seq`, but keeps the files of some for segments to come.
    pub(super) fn trim(&self, seq: u64) -> io::Result<()> {
        let mut void = Vec::new();
        while let Some(old) = self.oldest_before(seq) {
            let path = self.path(old.first_seq);
            let spare = self.dir.join(format!("{}{TEMPORARY}", Segment::name(old.first_seq)));
            match self.disk.rename(&path, &spare) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
                Ok(()) => void.push((spare, old.reusable)),
            }
            locked(&self.state).segments.pop_front();
            self.measure();
        }
        if void.is_empty() {
            return Ok(());
        }
        // No crash brings a segment's name back once its file holds something else.
        self.disk.sync_dir(&self.dir)?;
        for (spare, reusable) in void {
            let mut state = locked(&self.state);
            if reusable && state.spares.len() < SPARES_MAX {
                state.spares.push(spare);
            } else {
                drop(state);
                disk::remove_slowly(&*self.disk, &spare)?;
            }
        }
        Ok(())
    }

    /// A file to be written over, if there is one. It is its taker's from now on.
    pub(super) fn spare(&self) -> Option<PathBuf> {
        locked(&self.state).spares.pop()
    }

    /// The oldest segment, if the one behind it begins at or before what follows `seq`.
    fn oldest_before(&self, seq: u64) -> Option<Segment> {
        let state = locked(&self.state);
        let next = state.segments.get(1)?;
        (next.first_seq <= seq + 1).then(|| state.segments.front().copied())?
    }

    /// Gives out every committed block after `after` and up to `upto`, in order.
    pub(super) fn replay(
        &self,
        after: u64,
        upto: u64,
        take: &mut dyn FnMut(Extent) -> io::Result<()>,
    ) -> Result<(), ReplayError> {
        let (segments, unsynced) = {
            let state = locked(&self.state);
            (Vec::from_iter(state.segments.iter().copied()), state.unsynced.clone())
        };
        let mut replay = Replay {
            shelf: self,
            last_seq: after.max(segments.first().map_or(0, |oldest| oldest.first_seq - 1)),
            upto,
            take,
        };
        for (i, segment) in segments.iter().enumerate() {
            let limit = segments.get(i + 1).map_or(u64::MAX, |next| next.first_seq);
            if limit > after + 1 {
                replay.segment(*segment, limit)?;
            }
        }
        for extent in unsynced {
            replay.give(extent)?;
        }
        replay.end()
    }

    fn measure(&self) {
        let state = locked(&self.state);
        let bytes: u64 = state.segments.iter().map(|segment| segment.bytes).sum();
        self.metrics.journal.segments.set(state.segments.len() as i64);
        self.metrics.journal.disk_bytes.set(bytes as i64);
    }
}

/// Blocks on their way out, without holes.
struct Replay<'a> {
    shelf: &'a Shelf,
    last_seq: u64,
    upto: u64,
    take: &'a mut dyn FnMut(Extent) -> io::Result<()>,
}

impl Replay<'_> {
    /// Gives out the blocks of one segment, those before `limit`.
    fn segment(&mut self, segment: Segment, limit: u64) -> Result<(), ReplayError> {
        let path = self.shelf.path(segment.first_seq);
        let broken = |source| ReplayError::Read { path: path.clone(), source };
        let mut reader = Reader::open(&*self.shelf.disk, &path, 0, segment.bytes).map_err(broken)?;
        loop {
            match reader.step().map_err(broken)? {
                Step::Block(header, _) if header.seq >= limit.min(self.upto.saturating_add(1)) => {
                    return Ok(());
                }
                Step::Block(header, block) => self.give(Extent::of(&header, block))?,
                Step::End => return Ok(()),
                Step::Flawed(flaw) => {
                    // Whether this matters is seen by what is missing.
                    tracing::warn!(path = %path.display(), offset = reader.at(), %flaw, "a flaw in the journal");
                    if !reader.resync().map_err(broken)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn give(&mut self, extent: Extent) -> Result<(), ReplayError> {
        if extent.first_seq <= self.last_seq || extent.last_seq > self.upto {
            return Ok(());
        }
        self.nothing_missing_before(extent.first_seq)?;
        self.last_seq = extent.last_seq;
        (self.take)(extent).map_err(ReplayError::Store)
    }

    fn end(&self) -> Result<(), ReplayError> {
        self.nothing_missing_before(self.upto.saturating_add(1))
    }

    fn nothing_missing_before(&self, next_seq: u64) -> Result<(), ReplayError> {
        let seq = self.last_seq + 1;
        if seq >= next_seq || self.shelf.on_corruption == OnCorruption::Skip {
            return Ok(());
        }
        self.shelf.metrics.journal.corrupt_entries.inc();
        Err(ReplayError::Missing { seq })
    }
}
