//! The journal: makes batches durable, in groups, and then says so.
//!
//! It stands between the gateway and the accounts' logs: [`Journal::append`] takes a [`Batch`] and gives a [`Receipt`];
//! a [`Feed`] hands everything committed on, in order, and reads it back when it is needed again. It never knows HTTP,
//! never changes a line, and never calls what it does not know to be on the disk durable.
//!
//! # Constraints
//!
//! 1. A batch answered `Synced` survives `kill -9` and power loss; one answered `Written` survives `kill -9`.
//! 2. A refused batch leaves no trace, unless the disk fails in undoing it and the machine then stops.
//! 3. An account's batches keep their order, and each is handed on once.
//! 4. A failed sync is never taken back by a later one that succeeds: the segment is given up.
//! 5. Damage to what had been acknowledged is told from a torn tail, and is reported, never skipped in silence.
//! 6. Nothing grows without bound: the queue, the backlog and the segments each have one, and refuse beyond it. The
//!    queue's is one of time as well: no more waits than was committed in the last second, or a group.
//!
//! # On the disk
//!
//! `<dir>/<first seq, 20 digits>.wal`: segments, each a sequence of blocks (see `block`) with consecutive numbers, and
//! so an ordinary `.ndjson.zst` file. A segment is written under a temporary name until its beginning is durable.
//! Segment `n` exists only when everything before `n` is durable, and makes void what earlier segments hold from `n` on.
//! Segments are void once the accounts' logs hold all of their blocks durably. `*.wal.corrupt` are copies of damaged
//! segments, never read. `lock` is held by the one process that writes.
//!
//! # Files that are written over
//!
//! A void segment is renamed to `<its name>.tmp`, and the next segments are written over a few such files; the others are
//! removed. Removing a long file holds up every sync of its file system where freed blocks are discarded, 64 MiB for a
//! tenth of a second; and where blocks are on the disk already, a sync waits for the bytes only. What keeps old blocks from
//! counting again:
//!
//! 1. Numbers only ever rise, so that all that is in such a file has a lower number than the segment's name. A segment that
//!    was given up may hold blocks whose numbers were given out again: its file is removed. So are those of other processes:
//!    at a start, nothing temporary is kept.
//! 2. The old name is gone from the disk, for good, before the first byte is overwritten.
//! 3. Until it is full, a segment may go on, behind its own blocks, with those of the one before. When it is closed they are
//!    cut off.
//!
//! # Threads
//!
//! One thread commits: it takes all that waits, writes it at once and syncs, while the next group gathers. There is no
//! artificial delay: alone, a batch waits for one sync; under load, groups grow by themselves.

mod block;
mod committer;
pub mod disk;
mod group;
mod queue;
mod reader;
mod receipt;
mod recovery;
mod shelf;
mod writer;

pub use block::{Extent, Flaw, HEADER_BYTES, Header, MAGIC};
pub use reader::{Reader, Step};
pub use receipt::Receipt;
pub use shelf::ReplayError;

use crate::clock;
use crate::domain::account::Durability;
use crate::domain::batch::Batch;
use crate::metrics::Metrics;
use committer::{Committer, Trouble};
use disk::Disk;
use group::{Payload, Press, Presses, Request};
use queue::{Backlog, Queue};
use shelf::Shelf;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use writer::Writer;

/// Most bytes of lines in one batch.
const BATCH_BYTES_MAX: usize = 1 << 30;
/// Larger batches are compressed on a thread where nobody else waits.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// What to do when acknowledged data is found damaged at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCorruption {
    /// Do not start.
    #[default]
    Fail,
    /// Keep a copy of the damaged segment and go on with all that is readable.
    Skip,
}

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the segments are.
    pub dir: PathBuf,
    /// For accounts that do not say.
    pub durability: Durability,
    /// Length at which a segment is followed by the next.
    pub segment_bytes: u64,
    /// Most bytes of all segments: beyond it, batches are refused.
    pub bytes_max: u64,
    /// Batches are refused while the disk has less free space.
    pub disk_free_bytes_min: u64,
    /// Most bytes that are committed together.
    pub group_bytes_max: usize,
    /// Most bytes of batches that wait: beyond it, batches are refused.
    pub queue_bytes_max: usize,
    /// Batches up to this length share a block with others of their account.
    pub coalesce_bytes_max: usize,
    /// zstd's level; negative ones are faster.
    pub compression_level: i32,
    pub on_corruption: OnCorruption,
}

/// Why a batch was not taken. Nothing of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("too much is waiting to be stored")]
    Busy,
    #[error("the disk is full")]
    Full,
    /// [`Config::bytes_max`] is reached: the accounts' logs are behind.
    #[error("the journal is full: the accounts' logs are behind")]
    JournalFull,
    #[error("the disk failed to write")]
    Io,
    #[error("the disk failed to sync")]
    Sync,
    #[error("the batch is too large")]
    TooLarge,
    #[error("the journal is closed")]
    Closed,
}

impl AppendError {
    /// A stable name, for metrics and for answers.
    pub fn code(self) -> &'static str {
        match self {
            Self::Busy => "journal_busy",
            Self::Full => "disk_full",
            Self::JournalFull => "journal_full",
            Self::Io => "disk_io",
            Self::Sync => "disk_sync",
            Self::TooLarge => "batch_too_large",
            Self::Closed => "closed",
        }
    }
}

/// Why the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{dir} is in use by another process")]
    Locked { dir: PathBuf },
    #[error(
        "{path} is damaged at byte {offset}: block {seq} had been acknowledged. Restore the file, or set \
         `journal.on_corruption` to \"skip\" to keep a copy of it and start with all that is readable"
    )]
    Corrupt { path: PathBuf, offset: u64, seq: u64, source: Flaw },
    #[error("{path} was written by a newer version of this program (format {version})")]
    Newer { path: PathBuf, version: u8 },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot prepare compression")]
    Compression(#[source] io::Error),
}

impl OpenError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

/// The way in. Cheap to clone; when the last one is dropped, the journal closes by itself.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    trouble: Trouble,
    presses: Presses,
    durability: Durability,
    coalesce_bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Recovers what is in `config.dir` and starts to take batches. Blocks up to `floor` are held durably elsewhere;
    /// at most `backlog_bytes_max` wait to be taken from the feed.
    pub fn open(
        config: Config,
        disk: Arc<dyn Disk>,
        metrics: Arc<Metrics>,
        floor: u64,
        backlog_bytes_max: usize,
    ) -> Result<(Self, Feed), OpenError> {
        let (mut committer, feed) = open_parts(&config, disk, metrics.clone(), floor, backlog_bytes_max)?;
        let queue = Arc::new(Queue::new(
            config.queue_bytes_max,
            config.group_bytes_max,
            metrics.journal.queue_bytes.clone(),
        ));
        let (waiting, trouble) = (queue.clone(), committer.trouble());
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || committer.run(&waiting))
            .map_err(OpenError::Thread)?;
        let inner = Inner {
            queue,
            trouble,
            presses: Presses::new(config.compression_level),
            durability: config.durability,
            coalesce_bytes_max: config.coalesce_bytes_max,
            thread: Mutex::new(Some(thread)),
        };
        Ok((Self { inner: Arc::new(inner) }, feed))
    }

    /// Stores a batch as durably as its account wants. Once it waits in the queue it is committed even if the future is
    /// dropped. Refuses at once, rather than wait, when too much is waiting already.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        let inner = &self.inner;
        let grant = batch.permit().grant();
        let (account, durability) = (grant.account, grant.durability.unwrap_or(inner.durability));
        let received_ms = batch.received_ms();
        let bytes = batch.lines().len();
        if bytes == 0 {
            return Ok(Receipt::new(batch.into_tally(), durability));
        }
        let payload = match bytes {
            _ if bytes <= inner.coalesce_bytes_max => Payload::Lines(batch),
            _ if bytes <= INLINE_BYTES_MAX => inner.presses.frame(batch).map_err(|_| AppendError::Io)?,
            _ if bytes <= BATCH_BYTES_MAX => {
                let inner = self.inner.clone();
                tokio::task::spawn_blocking(move || inner.presses.frame(batch))
                    .await
                    .map_err(|_| AppendError::Closed)?
                    .map_err(|_| AppendError::Io)?
            }
            _ => return Err(AppendError::TooLarge),
        };
        let (answer, answered) = oneshot::channel();
        let request = Request { account, durability, received_ms, payload, answer };
        inner.queue.push(request, clock::monotonic())?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Whether batches are taken, and if not, why. Follows the last group; while none comes, the journal looks by itself
    /// every second, so that trouble is known, and known to be over, without traffic.
    pub fn health(&self) -> Result<(), AppendError> {
        if self.inner.queue.is_closed() {
            return Err(AppendError::Closed);
        }
        locked(&self.inner.trouble).map_or(Ok(()), Err)
    }

    /// Refuses every batch from now on, commits those that wait, and ends. Blocks until that is done.
    pub fn close(&self) {
        self.inner.queue.close();
        let thread = locked(&self.inner.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread had panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The way out: everything committed, in order, for the one who keeps it for good.
pub struct Feed {
    backlog: Arc<Backlog>,
    shelf: Arc<Shelf>,
    recovered_seq: u64,
    complete: bool,
}

impl Feed {
    /// Whether what was recovered is all that had been committed after the floor, if blocks elsewhere say that
    /// everything up to `durable_seq` had been on the disk.
    pub fn is_complete(&self, durable_seq: u64) -> bool {
        self.complete && durable_seq <= self.recovered_seq
    }

    /// Where the segments are.
    pub fn dir(&self) -> &Path {
        &self.shelf.dir
    }

    pub fn on_corruption(&self) -> OnCorruption {
        self.shelf.on_corruption
    }

    /// The last block that was in the journal when it was opened. Everything after it comes through [`Self::next`].
    pub fn recovered_seq(&self) -> u64 {
        self.recovered_seq
    }

    /// Waits for newly committed blocks and takes all there are: none when the time is up, `None` once the journal is
    /// closed and everything was taken. What was taken counts as backlog until [`Self::done`].
    pub fn next(&self, at_most: Duration) -> Option<Vec<Extent>> {
        self.backlog.take(at_most)
    }

    /// So many bytes that were taken are kept elsewhere and need no memory any more.
    pub fn done(&self, bytes: usize) {
        self.backlog.done(bytes);
    }

    /// Bytes committed and not done.
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Waits until the journal is closed, not longer than `at_most`; whether it is.
    pub fn wait_for_close(&self, at_most: Duration) -> bool {
        self.backlog.wait_for_close(at_most)
    }

    /// Reads committed blocks back: those after `after` and up to `upto`, in order. Stops at the first error of `take`.
    pub fn replay(
        &self,
        after: u64,
        upto: u64,
        take: &mut dyn FnMut(Extent) -> io::Result<()>,
    ) -> Result<(), ReplayError> {
        self.shelf.replay(after, upto, take)
    }

    /// Everything up to `seq` is durable elsewhere: removes the segments that hold nothing else.
    pub fn trim(&self, seq: u64) -> io::Result<()> {
        self.shelf.trim(seq)
    }
}

/// The journal without its thread.
fn open_parts(
    config: &Config,
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
    floor: u64,
    backlog_bytes_max: usize,
) -> Result<(Committer, Feed), OpenError> {
    let dir = &config.dir;
    disk::create_dirs(&*disk, dir).map_err(OpenError::io(dir))?;
    let lock = disk.lock(dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.clone() },
        _ => OpenError::io(dir)(error),
    })?;
    let found = recovery::recover(&*disk, dir, floor, config.on_corruption, &metrics)?;
    let shelf = Arc::new(Shelf::new(disk, dir.clone(), metrics, config.on_corruption, lock));
    shelf.fill(found.segments, found.unsynced);
    let writer = Writer::new(config, shelf.clone(), found.durable_seq, found.next_seq);
    let press = Press::new(config.compression_level).map_err(OpenError::Compression)?;
    let backlog = Arc::new(Backlog::new(backlog_bytes_max));
    let committer = Committer::new(writer, press, backlog.clone(), shelf.metrics.clone());
    let feed = Feed { backlog, shelf, recovered_seq: found.next_seq - 1, complete: found.complete };
    Ok((committer, feed))
}

/// A mutex's value, also after a panic elsewhere: every critical section here leaves its value whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
