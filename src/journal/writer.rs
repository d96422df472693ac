//! The writer: the journal's state machine. It knows no threads and no requests, so tests drive it step by step.
//!
//! What has been promised to survive but is not known to be on the disk (batches answered once written, and what
//! recovery found behind the last known durable block) is kept in memory on the shelf until a sync succeeds. When a
//! segment must be given up, these blocks are the beginning of the next one. A new segment is made complete under a
//! temporary name and then takes its own: at no moment is there a half of one.

use super::block::Extent;
use super::disk::{self, DiskFile, Mode, TEMPORARY, is_full, write_all};
use super::group::Group;
use super::shelf::{Segment, Shelf};
use super::{AppendError, Config};
use crate::clock;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// How much is written at most without a sync when nobody waits for one.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// Length of the file that is stored to see whether the disk works again.
const PROBE_BYTES: usize = 4 << 10;

/// The segment being written.
struct Open {
    file: Box<dyn DiskFile>,
    bytes: u64,
    /// How much of it is known to be on the disk.
    durable_bytes: u64,
}

/// See the module's header.
pub(super) struct Writer {
    shelf: Arc<Shelf>,
    segment_bytes: u64,
    bytes_max: u64,
    disk_free_bytes_min: u64,
    segment: Option<Open>,
    next_seq: u64,
    durable_seq: u64,
}

/// Why a group cannot be made durable: what its batches are told, and what an operator wants to know.
#[derive(Debug)]
pub(super) struct Refusal {
    pub error: AppendError,
    /// `None`: refused before anything was tried.
    pub source: Option<io::Error>,
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self { error, source: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { error: if is_full(&error) { AppendError::Full } else { AppendError::Io }, source: Some(error) }
    }
}

impl Writer {
    /// Goes on after `next_seq - 1`, of which everything up to `durable_seq` is known to be on the disk. What is between
    /// the two is on the shelf.
    pub(super) fn new(config: &Config, shelf: Arc<Shelf>, durable_seq: u64, next_seq: u64) -> Self {
        Self {
            shelf,
            // Room for several segments: the one being written is never trimmed.
            segment_bytes: config.segment_bytes.min(config.bytes_max / 4),
            bytes_max: config.bytes_max,
            disk_free_bytes_min: config.disk_free_bytes_min,
            segment: None,
            next_seq,
            durable_seq,
        }
    }

    /// The number of the next block.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Writes a group whose first block has the number [`Self::next_seq`]. Refused, it leaves no trace. `owed_bytes`: see
    /// [`Self::look_for_room`].
    pub(super) fn write(&mut self, group: &Group, owed_bytes: u64) -> Result<(), Refusal> {
        let bytes = group.bytes.len() as u64;
        self.look_for_room(bytes, owed_bytes)?;
        if self.segment.as_ref().is_some_and(|open| open.bytes >= self.segment_bytes) {
            self.finish()?;
        }
        let open = match &mut self.segment {
            Some(open) => open,
            none => none.insert(begin(&self.shelf, &mut self.durable_seq)?),
        };
        if let Err(error) = write_all(&mut *open.file, &mut [IoSlice::new(&group.bytes)]) {
            self.take_back();
            return Err(error.into());
        }
        open.bytes += bytes;
        self.next_seq = group.last_seq + 1;
        self.shelf.grow(open.bytes, &group.written.extents);
        Ok(())
    }

    /// Whether so much has been written without a sync that one is due though nobody waits for it.
    pub(super) fn wants_sync(&self) -> bool {
        let unsynced = |open: &Open| open.bytes - open.durable_bytes >= UNSYNCED_BYTES_MAX;
        self.segment.as_ref().is_some_and(unsynced)
    }

    /// Makes all that was written durable. On failure the segment is given up: what had been answered already is kept
    /// for the next one, and all else since the last good sync is void.
    pub(super) fn sync(&mut self) -> Result<(), Refusal> {
        let Some(open) = &mut self.segment else {
            return Ok(());
        };
        if open.bytes == open.durable_bytes {
            return Ok(());
        }
        let started = clock::monotonic();
        let synced = open.file.sync();
        let took = started.elapsed().as_secs_f64();
        self.shelf.metrics.journal.fsync_seconds.observe(took);
        match synced {
            Ok(()) => {
                self.mark_durable();
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(Refusal { error: AppendError::Sync, source: Some(error) })
            }
        }
    }

    /// Makes all that was written durable and lets the segment be. If its file held more before, that goes.
    pub(super) fn finish(&mut self) -> Result<(), Refusal> {
        self.sync()?;
        if let Some(mut open) = self.segment.take() {
            self.shelf.finish();
            // Only for whoever looks into it: nobody reads further than the next segment's name allows.
            if open.file.bytes().is_ok_and(|bytes| bytes > open.bytes) {
                let _ = open.file.truncate(open.bytes);
            }
        }
        Ok(())
    }

    fn mark_durable(&mut self) {
        if let Some(open) = &mut self.segment {
            let added = open.bytes - open.durable_bytes;
            self.shelf.metrics.journal.written_bytes.inc_by(added);
            open.durable_bytes = open.bytes;
        }
        self.durable_seq = self.next_seq - 1;
        self.shelf.synced();
    }

    /// After a failed write: cuts off what part of the group was written, and goes on with the segment if the disk
    /// confirms that.
    fn take_back(&mut self) {
        let Some(open) = &mut self.segment else { return };
        let undone = open.file.truncate(open.bytes).and_then(|()| open.file.sync());
        match undone {
            Ok(()) => self.mark_durable(),
            Err(error) => {
                tracing::warn!(%error, "a partly written group could not be cut off: the segment is given up");
                self.give_up();
            }
        }
    }

    /// Trusts the current segment only as far as its last good sync.
    fn give_up(&mut self) {
        let Some(mut open) = self.segment.take() else {
            return;
        };
        self.shelf.cut(open.durable_bytes);
        let at_risk = self.shelf.unsynced();
        self.next_seq = at_risk.last().map_or(self.durable_seq, |extent| extent.last_seq) + 1;
        if !at_risk.is_empty() {
            match begin(&self.shelf, &mut self.durable_seq) {
                Ok(next) => self.segment = Some(next),
                Err(error) => {
                    // The old one keeps them in the page cache: should the process be killed now, they are found there.
                    tracing::warn!(%error, "the journal could not begin another segment");
                    return;
                }
            }
        }
        // The next segment's name makes the rest void. Until there is one, this keeps a crash from bringing it back; if
        // it fails as well, what was refused may yet be found, as after any crash between a write and its answer.
        let _ = open.file.truncate(open.durable_bytes).and_then(|()| open.file.sync());
    }

    /// Whether a group of so many bytes could be made durable, as far as that can be told without one: the disk has room
    /// and stores a small file.
    pub(super) fn probe(&self, bytes: u64, owed_bytes: u64) -> Result<(), Refusal> {
        self.look_for_room(bytes, owed_bytes)?;
        let disk = &*self.shelf.disk;
        let path = self.shelf.dir.join(format!("probe{TEMPORARY}"));
        let mut file = disk.open(&path, Mode::Create)?;
        let stored = write_all(&mut *file, &mut [IoSlice::new(&[0; PROBE_BYTES])]).and_then(|()| file.sync());
        disk::remove(disk, &path)?;
        Ok(stored?)
    }

    /// Refuses before anything is written when the journal or the disk is too full. Every byte is written twice, the
    /// second time to its account's log; `owed_bytes` have been so once. What is committed must fit both times: the logs
    /// do not use up the reserve.
    pub(super) fn look_for_room(&self, bytes: u64, owed_bytes: u64) -> Result<(), Refusal> {
        if self.shelf.bytes() + bytes > self.bytes_max {
            return Err(AppendError::JournalFull.into());
        }
        let needed = self.disk_free_bytes_min.saturating_add(2 * bytes + owed_bytes);
        loop {
            let free = self.shelf.disk.free_bytes(&self.shelf.dir)?;
            self.shelf.metrics.logs.disk_free_bytes.set(free as i64);
            if free >= needed {
                return Ok(());
            }
            // The journal can do without these.
            let Some(spare) = self.shelf.spare() else {
                return Err(AppendError::Full.into());
            };
            disk::remove(&*self.shelf.disk, &spare)?;
        }
    }
}

/// Makes the next segment, which begins with what was not synced before, and makes it durable. Where there is a spare
/// file, it is written over: its blocks are on the disk already, so that a sync has nothing to wait for but the bytes.
fn begin(shelf: &Shelf, durable_seq: &mut u64) -> io::Result<Open> {
    let first_seq = *durable_seq + 1;
    let path = shelf.path(first_seq);
    let (temporary, mode) = match shelf.spare() {
        Some(spare) => (spare, Mode::Overwrite),
        None => (shelf.dir.join(format!("segment{TEMPORARY}")), Mode::Create),
    };
    let kept: Vec<Extent> = shelf.unsynced();
    let mut file = shelf.disk.open(&temporary, mode)?;
    let mut parts: Vec<_> = kept.iter().map(|extent| IoSlice::new(&extent.bytes)).collect();
    write_all(&mut *file, &mut parts)?;
    file.sync()?;
    shelf.disk.rename(&temporary, &path)?;
    shelf.disk.sync_dir(&shelf.dir)?;
    let bytes = kept.iter().map(|extent| extent.bytes.len() as u64).sum();
    if let Some(last) = kept.last() {
        *durable_seq = last.last_seq;
    }
    shelf.begin(Segment { first_seq, bytes, reusable: false });
    Ok(Open { file, bytes, durable_bytes: bytes })
}
