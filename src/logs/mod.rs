//! The accounts' logs: every account's lines, in ordinary compressed files of its own.
//!
//! They stand behind the journal. What it has committed is appended here, to one growing file for each account; growing
//! files are sealed by size and age, and sealed ones are dropped when their account's retention says so. Nothing here
//! answers a shipper, and nothing changes a byte: the blocks in a log are the ones in the journal.
//!
//! # Constraints
//!
//! 1. Every committed block is in its account's log exactly once and in order, whatever crashed or failed in between.
//! 2. An operation that failed is tried again, for ever and with growing pauses; meanwhile the journal holds the blocks
//!    and refuses what it cannot hold.
//! 3. After a failed sync, a file goes back to its last good sync and gets what followed from the journal's disk again.
//! 4. A damaged file is kept aside with all its bytes, and its whole blocks are kept readable. Nothing is skipped in
//!    silence.
//! 5. Open files and memory are bounded; an account that has been active costs about two hundred bytes.
//!
//! # On the disk
//!
//! ```text
//! <dir>/checkpoint                                    how long each growing file was when last synced: see `checkpoint`
//! <dir>/<account>/current.ndjson.zst                  the growing file
//! <dir>/<account>/20261121T192156.123Z-<seq>.ndjson.zst
//!                                                     a sealed file: when its first line was received, and the sequence
//!                                                     number of its first block (20 digits)
//! <dir>/<account>/….ndjson.zst.index                  what is in a sealed file: see `read::index`. It may be missing
//! <dir>/<account>/let_go                              the last block of files that only the object store has: see `objects`
//! <dir>/<account>/dropped                             the newest file that retention has dropped here, if there is an object store
//! <dir>/<account>/….ndjson.zst.damaged                a damaged file as it was found
//! <dir>/<account>.unusable-<n>                        what stood in the place of an account's directory
//! ```
//!
//! All but the first and the indexes are sequences of blocks (see the journal's `block`) and so ordinary `.ndjson.zst` files.
//!
//! # How each block comes to be there exactly once
//!
//! A checkpoint first syncs all growing files, then durably records their lengths and the number of the last block, then
//! lets the journal remove what it holds up to there, then seals files that are due. A restart cuts every growing file
//! back to its recorded length, and appends from the journal all that follows the recorded number. Between checkpoints,
//! and for a file whose sync has failed, the last number appended to each account's log says what it lacks.
//!
//! A restart cuts nothing that the journal, as it is found, cannot give back: see `load`.
//!
//! # What others remove or put in the way
//!
//! A growing file or a directory that is gone is reported, counted as damaged and begun anew, with the blocks since the
//! last checkpoint, which the journal still has. A file where a directory should be, or a directory that may not be used,
//! is renamed and reported. Neither stops a start, a checkpoint or another account.
//!
//! # One account whose file cannot be written
//!
//! Others are appended to as long as there is room in the backlog; then the journal refuses all batches with `Busy`, and
//! `Journal::health` says so, until the file can be written or the machine's operator moves it away. It is logged with its
//! path and cause, again and again. Refusing only that account's batches would not be enough: the blocks it had been
//! promised are in the journal, among all others, so that nothing behind the first of them could be trimmed, and the
//! journal would be full for everybody soon after. They would have to be kept elsewhere first, durably, and be found there
//! by a restart; until something does that, to stop is what keeps the promise.

mod checkpoint;
mod growing;
mod keeper;
mod load;
mod names;
pub mod objects;
pub mod read;
mod retain;

use crate::clock::{self, Clock};
use crate::domain::account::{AccountId, Retention};
use crate::journal::disk::Disk;
use crate::journal::{self, Extent, Journal, ReplayError};
use crate::metrics::Metrics;
use crate::telemetry::chain;
use keeper::Keeper;
use objects::upload::Uploads;
use read::Tails;
use read::indexer::Indexer;
use retain::{DAY_MS, Sweep};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pauses between attempts of an operation that fails.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the thread waits at most before it looks whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// The pause before a checkpoint that is made early because a file is full: at least this, and so many times what the
/// last checkpoint took. However many accounts fill their files, these checkpoints take a tenth of the time.
const SEAL_PAUSE_MIN: Duration = Duration::from_millis(100);
const SEAL_PAUSE_FACTOR: u32 = 9;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the accounts' directories are.
    pub dir: PathBuf,
    /// Length at which a growing file is sealed, or an eighth of the bytes its account may keep if that is less.
    pub file_bytes_max: u64,
    /// Age of its first line at which a growing file is sealed.
    pub file_age_ms_max: u64,
    /// Growing files held open at once.
    pub open_files_max: usize,
    /// Longest time between two checkpoints.
    pub checkpoint_interval_ms: u64,
    /// Most bytes appended between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Time between two sweeps for files to drop.
    pub retention_interval_ms: u64,
    /// Most committed bytes in memory that wait to be appended: beyond it, the journal refuses batches.
    pub backlog_bytes_max: usize,
}

/// How long an account's sealed files are kept; `None`: for ever.
pub type RetentionOf = Arc<dyn Fn(AccountId) -> Option<Retention> + Send + Sync>;

/// Why the logs could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the journal")]
    Journal(#[from] journal::OpenError),
    #[error("cannot take up the accounts' logs")]
    Logs(#[from] StoreError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why blocks could not be stored, or not be called durable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot append from the journal")]
    Replay(#[from] ReplayError),
    #[error(
        "{path} holds lines that had been acknowledged and are missing in the journal in {journal}. Put the journal back \
         (is its volume mounted?), or set `journal.on_corruption` to \"skip\" to keep all that the accounts' logs hold \
         and go on with the journal as it is"
    )]
    JournalGone { path: PathBuf, journal: PathBuf },
    #[error("the thread of the logs has panicked")]
    Panicked,
}

impl StoreError {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

/// The thread that keeps the logs. Its end follows the journal's: dropping this only stops waiting for it.
pub struct Logs {
    thread: JoinHandle<Result<(), StoreError>>,
    health: LogsHealth,
}

/// Tells how the thread that keeps the logs is. Cheap to clone; keeps nothing alive.
#[derive(Debug, Clone)]
pub struct LogsHealth {
    /// The thread holds the other end.
    thread: Weak<()>,
}

impl LogsHealth {
    /// Whether the thread is at work. If not, it has panicked or the journal is closed: nothing more can be stored.
    pub fn is_alive(&self) -> bool {
        self.thread.strong_count() > 0
    }
}

/// Who else is told of what comes into the logs.
#[derive(Default)]
pub struct Outlets {
    /// Lines, as they are committed.
    pub tails: Tails,
    /// Files, as they are whole.
    pub uploads: Option<Uploads>,
}

impl From<Tails> for Outlets {
    fn from(tails: Tails) -> Self {
        Self { tails, uploads: None }
    }
}

impl Logs {
    /// Takes up the logs and the journal before them, and starts both. What comes from then on is handed to the outlets, too.
    pub fn open(
        config: Config,
        journal: journal::Config,
        disk: Arc<dyn Disk>,
        retention: RetentionOf,
        outlets: impl Into<Outlets>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Journal, Self), OpenError> {
        let found = load::find(&*disk, &config.dir, &metrics)?;
        let (journal, feed) =
            Journal::open(journal, disk.clone(), metrics.clone(), found.seq(), config.backlog_bytes_max)?;
        let loaded = found.load(&*disk, &config.dir, &feed, &metrics)?;
        let outlets = outlets.into();
        let indexer = Indexer::start(disk.clone(), config.dir.clone(), outlets.uploads.clone())
            .map_err(OpenError::Thread)?;
        let keeper = Keeper::open(config, feed, loaded, disk, retention, clock, metrics)?;
        let alive = Arc::new(());
        let health = LogsHealth { thread: Arc::downgrade(&alive) };
        let work = move || {
            let _alive = alive;
            Thread::new(keeper, outlets, indexer).run()
        };
        let thread = std::thread::Builder::new().name("logs".to_owned()).spawn(work);
        Ok((journal, Self { thread: thread.map_err(OpenError::Thread)?, health }))
    }

    /// For whoever needs to know, also after [`Self::close`], whether lines still reach the logs.
    pub fn health(&self) -> LogsHealth {
        self.health.clone()
    }

    /// Waits until everything the journal has committed is in the accounts' logs and durable. To be called after
    /// [`Journal::close`]; blocks. On an error nothing is lost: the journal has it, and the next start appends it.
    pub fn close(self) -> Result<(), StoreError> {
        self.thread.join().unwrap_or(Err(StoreError::Panicked))
    }
}

/// Drives the keeper.
struct Thread {
    keeper: Keeper,
    outlets: Outlets,
    indexer: Indexer,
    sweep: Sweep,
    checkpoint_at: Instant,
    /// From when on a full file is reason enough for a checkpoint.
    seal_at: Instant,
    sweep_at: Instant,
    /// The pause after the next checkpoint that fails.
    pause: Duration,
}

impl Thread {
    fn new(keeper: Keeper, outlets: Outlets, indexer: Indexer) -> Self {
        let now = clock::monotonic();
        Self {
            checkpoint_at: now,
            seal_at: now,
            sweep_at: now,
            sweep: Sweep::default(),
            pause: RETRY_MIN,
            keeper,
            outlets,
            indexer,
        }
    }

    fn run(mut self) -> Result<(), StoreError> {
        self.append(Vec::new())?;
        self.outlets.tails.have_caught_up();
        while let Some(extents) = self.keeper.feed.next(self.wait()) {
            if !extents.is_empty() {
                // First, as it has been acknowledged: appending may have to wait for the disk.
                self.outlets.tails.hand_on(&extents);
                self.append(extents)?;
            }
            self.checkpoint();
            self.retain();
        }
        self.keeper.checkpoint()
    }

    fn wait(&self) -> Duration {
        if self.sweep.is_under_way() { Duration::ZERO } else { TICK }
    }

    /// Appends, however often that fails. An error means that the journal is closed and it is time to give up.
    fn append(&mut self, mut extents: Vec<Extent>) -> Result<(), StoreError> {
        let logs = &self.keeper.metrics.logs;
        logs.backlog_bytes.set(self.keeper.feed.backlog_bytes() as i64);
        let mut pause = RETRY_MIN;
        while let Err(error) = self.keeper.append(&mut extents) {
            self.failed("append", &error);
            if self.keeper.feed.wait_for_close(pause) {
                return Err(error);
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        self.keeper.feed.done(extents.iter().map(|extent| extent.bytes.len()).sum());
        let backlog_bytes = self.keeper.feed.backlog_bytes();
        self.keeper.metrics.logs.backlog_bytes.set(backlog_bytes as i64);
        Ok(())
    }

    /// Makes a checkpoint when one is due. One that fails is tried again after a pause.
    fn checkpoint(&mut self) {
        let now = clock::monotonic();
        let full = now >= self.seal_at && self.keeper.wants_to_seal();
        let early = self.pause == RETRY_MIN && (full || self.keeper.wants_checkpoint_now());
        if now < self.checkpoint_at && !early {
            return;
        }
        let mut pause = Duration::from_millis(self.keeper.config.checkpoint_interval_ms);
        if self.keeper.wants_checkpoint() {
            match self.keeper.checkpoint() {
                Ok(()) => self.pause = RETRY_MIN,
                Err(error) => {
                    self.failed("checkpoint", &error);
                    pause = self.pause;
                    self.pause = (self.pause * 2).min(RETRY_MAX);
                }
            }
        }
        for (account, name) in self.keeper.sealed.drain(..) {
            self.indexer.sealed(account, name);
        }
        let done = clock::monotonic();
        self.checkpoint_at = done + pause;
        self.seal_at = done + SEAL_PAUSE_MIN.max((done - now) * SEAL_PAUSE_FACTOR);
    }

    fn retain(&mut self) {
        if let Some(uploads) = &self.outlets.uploads
            && let Err(error) = self.keeper.let_go(uploads)
        {
            self.failed("let_go", &error);
        }
        let now = clock::monotonic();
        if now < self.sweep_at && !self.sweep.is_under_way() {
            return;
        }
        let also_stored = self.outlets.uploads.is_some();
        if let Err(error) = self.keeper.sweep(&mut self.sweep, also_stored) {
            self.failed("retain", &error);
        }
        self.sweep_at = now + Duration::from_millis(self.keeper.config.retention_interval_ms);
    }

    fn failed(&self, operation: &str, error: &StoreError) {
        let error = chain(error);
        tracing::error!(operation, error, "the accounts' logs could not be kept: trying again");
        self.keeper.metrics.logs.failures.with_label_values(&[operation]).inc();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.outlets.tails.close();
    }
}

#[cfg(test)]
pub(crate) mod tests;
