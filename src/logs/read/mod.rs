//! Reading the accounts' logs: what matches a question, newest first, and counts of it; lines as they come; all of it as a stream.
//!
//! It stands beside the writing of logs, sees only files and what is handed on, and changes nothing. It may be in another process. In that of
//! the gateway, questions wait until a start has brought the files up to what was acknowledged before it.
//!
//! # Constraints
//!
//! 1. A line is seen by nobody unless it passes what the asker may read. That is decided where a line becomes a log, in `sieve`, below all
//!    questions: counts and lists of fields are made of passing logs only.
//! 2. Pages neither repeat a log nor leave one out, whatever is appended, sealed or cut back meanwhile. What retention drops is gone;
//!    an answer that it leaves a hole in says that it is not whole.
//! 3. Everything has a bound: questions at once, threads, time, memory, results. An answer that is not whole says so.
//! 4. Shippers come first: the threads are few and of low priority, rest while others want the cores, and nothing that is written waits for a reader.
//! 5. Damaged places are passed over and make an answer `partial`. Files kept aside as damaged are not read: what was whole in them is in
//!    a sealed file.
//!
//! # A question's way
//!
//! The account's files are listed (`files`) and divided into parts, adjacent blocks of about a hundred kilobytes. Workers (`pool`) take part
//! after part, inflate it (`scan`) and show each line to the `sieve`. What cannot match is left out before, by the `index` of a sealed
//! file and by what a log `needs` to hold: they only ever leave out, and never say what there is.

mod count;
mod export;
mod files;
mod gaps;
mod hunt;
mod index;
pub(in crate::logs) mod indexer;
mod needs;
mod pace;
mod place;
mod pool;
mod scan;
mod search;
mod sieve;
mod stored;
mod tail;

pub use count::{Bucket, Field, Fields, Histogram, Value};
pub use export::Export;
pub use place::{Cursor, CursorMalformed, Order};
pub use search::{Found, FoundLog};
pub use sieve::{Sieve, time_ms};
pub use tail::{Block, Tail, TailEnd, Tails};

use crate::clock;
use crate::domain::account::AccountId;
use crate::domain::filter::Access;
use crate::domain::log::Log;
use crate::domain::query::Query;
use crate::journal::disk::Disk;
use crate::logs::objects::Objects;
use crate::metrics::Metrics;
use files::{Contents, LogFile, OnDisk, Part};
use futures_util::StreamExt;
use futures_util::stream;
use gaps::Gaps;
use place::{Floor, Place};
use pool::{GivenUp, Next, Pool};
use scan::{Lookup, Scanner, Visit};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stored::{Indexes, Windows};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that look through logs; 0: half as many as the machine has cores.
    pub workers_max: usize,
    /// Questions and exports under way at the same time; more are refused.
    pub questions_max: usize,
    /// How long a question may take. Then it is answered with what was found so far.
    pub time_max: Duration,
    /// Bytes of lines in one answer.
    pub found_bytes_max: usize,
}

/// What somebody wants to know of an account's log.
#[derive(Debug, Clone)]
pub struct Question {
    pub account: AccountId,
    /// What of it they may read.
    pub access: Access,
    pub query: Query,
    /// Logs of this time and later ones, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Logs before this time.
    pub to_ms: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("too many questions are under way")]
    TooMany,
    #[error("the account's log cannot be read")]
    Io(#[from] io::Error),
    #[error("a damaged place was passed over")]
    Damaged,
    #[error("a search has failed by a defect of the program")]
    Defect,
    #[error("there are more than {max} intervals: ask for longer ones, or for less time")]
    TooManyBuckets { max: usize },
    #[error("this control plane does not learn of lines as they come")]
    NoTails,
}

impl From<GivenUp> for ReadError {
    fn from(_: GivenUp) -> Self {
        Self::Defect
    }
}

/// What is made of the logs that pass, by several workers at once. Its memory is its own duty to bound.
pub trait Gather: Send + 'static {
    fn visit(&mut self, time_ms: u64, log: &Log);
    /// Takes in a log of which only the time has been read, if that is enough; false: it is to be visited.
    fn visit_time(&mut self, _time_ms: u64) -> bool {
        false
    }
    /// Takes in what another worker has gathered.
    fn merge(&mut self, other: Self);
}

/// What was gathered.
#[derive(Debug)]
pub struct Gathered<G> {
    pub value: G,
    /// Not all logs were looked at.
    pub partial: bool,
    /// Bytes of lines that were looked through.
    pub scanned_bytes: u64,
}

/// Reads the accounts' logs. Cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Inner>);

struct Inner {
    sources: Sources,
    indexes: Indexes,
    config: Config,
    disk: Arc<dyn Disk>,
    metrics: Arc<Metrics>,
    pool: Pool,
    room: Arc<Semaphore>,
    tails: Option<Tails>,
}

/// Where logs are read from.
#[derive(Clone)]
pub struct Sources {
    /// The folder of a gateway's logs; `None`: there is none on this machine.
    pub dir: Option<PathBuf>,
    /// Where sealed files of all gateways are.
    pub objects: Option<Objects>,
}

impl From<PathBuf> for Sources {
    fn from(dir: PathBuf) -> Self {
        Self { dir: Some(dir), objects: None }
    }
}

/// Stored files whose indexes are read at the same time, for one question.
const INDEXES_AT_ONCE: usize = 8;

/// A question under way.
struct Asked {
    account: AccountId,
    lookup: Arc<Lookup>,
    gaps: Arc<Gaps>,
    begun: Instant,
    _room: OwnedSemaphorePermit,
}

/// What a worker has made of its parts.
struct Worker<G> {
    scanner: Scanner,
    gathered: G,
    /// The key of the time that comes first of what may be in parts for which there was no time.
    left_ms: Option<u64>,
    failure: Option<io::Error>,
}

impl Reader {
    /// Reads the logs there. `tails`: where whoever appends to them hands lines on; `None` where that is another process.
    pub fn open(
        sources: impl Into<Sources>,
        config: Config,
        disk: Arc<dyn Disk>,
        tails: Option<Tails>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if config.workers_max == 0 { cores / 2 } else { config.workers_max };
        let (pool, room) = (Pool::start(workers)?, Arc::new(Semaphore::new(config.questions_max)));
        let (sources, indexes) = (sources.into(), Indexes::default());
        Ok(Self(Arc::new(Inner { sources, indexes, config, disk, metrics, pool, room, tails })))
    }

    /// The newest logs that match, at most `limit`; with a cursor, those that follow the ones it came with.
    pub async fn search(
        &self,
        question: Question,
        limit: usize,
        before: Option<Cursor>,
    ) -> Result<Found, ReadError> {
        self.search_by(Order::NewestFirst, question, limit, before).await
    }

    /// The same in either order. A cursor is good for the order that it was given out in.
    pub async fn search_by(
        &self,
        order: Order,
        question: Question,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Found, ReadError> {
        let asked = self.ask(&question)?;
        let begun = asked.begun;
        self.answered(begun, search::search(self, order, asked, limit, after).await, |found| found.partial)
    }

    /// How many logs match, interval by interval. Intervals begin at multiples of their length; those without logs are left out.
    pub async fn histogram(&self, question: Question, interval_ms: u64) -> Result<Histogram, ReadError> {
        let interval_ms = interval_ms.max(1);
        let gathered = self.aggregate(question, move || count::Buckets::new(interval_ms)).await?;
        count::histogram(interval_ms, gathered)
    }

    /// Which fields the matching logs have, and of each the `values_max` most frequent values.
    pub async fn fields(&self, question: Question, values_max: usize) -> Result<Fields, ReadError> {
        let gathered = self.aggregate(question, count::Names::default).await?;
        Ok(count::fields(gathered, values_max))
    }

    /// Shows every matching log to one of several gatherers, and merges those.
    pub async fn aggregate<G: Gather>(
        &self,
        question: Question,
        empty: impl Fn() -> G,
    ) -> Result<Gathered<G>, ReadError> {
        let asked = self.ask(&question)?;
        let begun = asked.begun;
        let gathering = async {
            let contents = self.contents(&asked).await?;
            let mut workers = self
                .scan(asked, contents, || Each(empty()), Arc::new(Floor::new(Order::NewestFirst)))
                .await?;
            let first = workers.pop().ok_or(ReadError::Defect)?;
            Ok(workers.into_iter().fold(first, Worker::merge))
        };
        let gathered = gathering.await.map(|worker: Worker<Each<G>>| Gathered {
            partial: worker.is_partial(),
            scanned_bytes: worker.scanner.scanned_bytes,
            value: worker.gathered.0,
        });
        self.answered(begun, gathered, |gathered| gathered.partial)
    }

    /// The account's log from now on.
    pub fn tail(&self, account: AccountId) -> Result<Tail, ReadError> {
        let tails = self.0.tails.as_ref().ok_or(ReadError::NoTails)?;
        tails.open(account, &self.0.metrics.search.tails).ok_or(ReadError::TooMany)
    }

    /// Lines of a block that pass, each with its end, and the rest of the block if there is more. It is done by the threads
    /// that search: shippers come first.
    pub async fn sift(&self, block: Block, sieve: Sieve) -> Result<(Vec<u8>, Option<Block>), ReadError> {
        Ok(self.0.pool.run(move || block.sift(&sieve)).await??)
    }

    /// All matching logs as they are stored, in the order in which they came.
    pub async fn export(&self, question: Question) -> Result<Export, ReadError> {
        let asked = self.ask(&question)?;
        let contents = self.contents(&asked).await?;
        Ok(Export::new(self.clone(), asked, contents))
    }

    fn ask(&self, question: &Question) -> Result<Asked, ReadError> {
        let room = self.0.room.clone().try_acquire_owned().map_err(|_| {
            self.count("refused");
            ReadError::TooMany
        })?;
        let lookup = Arc::new(Lookup::new(Sieve::of(question)));
        let (gaps, begun) = (Arc::default(), clock::monotonic());
        Ok(Asked { account: question.account, lookup, gaps, begun, _room: room })
    }

    fn answered<T>(
        &self,
        begun: Instant,
        answer: Result<T, ReadError>,
        is_partial: impl Fn(&T) -> bool,
    ) -> Result<T, ReadError> {
        self.0.metrics.search.seconds.observe(begun.elapsed().as_secs_f64());
        self.count(match &answer {
            Ok(answer) if is_partial(answer) => "partial",
            Ok(_) => "whole",
            Err(_) => "failed",
        });
        answer
    }

    fn count(&self, outcome: &str) {
        self.0.metrics.search.questions.with_label_values(&[outcome]).inc();
    }

    /// The parts of the account's log that may hold what is asked for, oldest first.
    async fn contents(&self, asked: &Asked) -> Result<Contents, ReadError> {
        // Half of the time, at most: the rest is for what is there.
        let deadline = (clock::monotonic() + self.0.config.time_max / 2).into();
        let caught_up = match &self.0.tails {
            Some(tails) => tokio::time::timeout_at(deadline, tails.caught_up()).await.is_ok(),
            // Another process knows.
            None => true,
        };
        let (mut contents, mut whole) = self.walked(asked).await?;
        if contents.iter().any(|contents| contents.outdated) {
            (contents, whole) = self.walked(asked).await?;
        }
        let mut all = Contents { damaged: !(whole && caught_up), ..Contents::default() };
        let contents = stream::iter(contents).map(|contents| async {
            let stored = self.and_stored(contents, &asked.lookup);
            let late = |_| Contents { damaged: true, ..Contents::default() };
            tokio::time::timeout_at(deadline, stored).await.unwrap_or_else(late)
        });
        let mut contents = contents.buffered(INDEXES_AT_ONCE);
        while let Some(mut contents) = contents.next().await {
            // Twice in a row: the answer says that it is not whole.
            all.damaged |= contents.damaged || contents.outdated;
            all.skipped_bytes += contents.skipped_bytes;
            all.parts.append(&mut contents.parts);
        }
        Ok(all)
    }

    /// What is in an account's files, oldest first, as far as the disk tells; and whether these are all files.
    async fn walked(&self, asked: &Asked) -> Result<(Vec<Contents>, bool), ReadError> {
        let (files, whole) = self.files(asked.account).await?;
        let (inner, lookup) = (self.0.clone(), asked.lookup.clone());
        let walk = move |walked: &mut Vec<_>, (n, file)| {
            let contents = files::contents(&*inner.disk, &file, &lookup);
            if let Ok(contents) = &contents {
                inner.metrics.search.skipped_bytes.inc_by(contents.skipped_bytes);
            }
            walked.push((n, contents));
            Next::GoOn
        };
        let files: Vec<(usize, _)> = files.into_iter().enumerate().collect();
        let mut walked: Vec<_> =
            self.0.pool.fold(files, Vec::new, walk).await?.into_iter().flatten().collect();
        walked.sort_by_key(|(n, _)| *n);
        let contents = walked.into_iter().map(|(_, walked)| walked).collect::<io::Result<Vec<_>>>()?;
        Ok((contents, whole))
    }

    /// An account's files, oldest first, and whether these are all: the object store may not answer.
    async fn files(&self, account: AccountId) -> Result<(Vec<Arc<LogFile>>, bool), ReadError> {
        let inner = self.0.clone();
        let list = move || match &inner.sources {
            Sources { dir: Some(dir), objects } => files::list(&*inner.disk, dir, account, objects.as_ref()),
            Sources { dir: None, .. } => Ok(OnDisk::default()),
        };
        let on_disk = self.0.pool.run(list).await??;
        let Some(objects) = &self.0.sources.objects else { return Ok((on_disk.alone(), true)) };
        let (stored, whole) = objects.of_account(account).await;
        Ok((on_disk.and_stored(objects, stored), whole))
    }

    /// What there is in a file, if it is in the object store and not known yet.
    async fn and_stored(&self, contents: Contents, lookup: &Lookup) -> Contents {
        let Some(file) = &contents.moved else { return contents };
        let contents = self.0.indexes.contents(file, lookup).await;
        self.0.metrics.search.skipped_bytes.inc_by(contents.skipped_bytes);
        contents
    }

    /// Looks through parts, in their order. Logs that `floor` does not want need not be visited.
    async fn scan<G: Visit + Send + 'static>(
        &self,
        asked: Asked,
        contents: Contents,
        empty: impl Fn() -> G,
        floor: Arc<Floor>,
    ) -> Result<Vec<Worker<G>>, ReadError> {
        let inner = self.0.clone();
        let deadline = asked.begun + inner.config.time_max;
        let (rising, gaps) = (floor.clone(), asked.gaps.clone());
        let step = move |worker: &mut Worker<G>, part: Part| {
            let first_ms = floor.order.first_ms(part.times_ms);
            if !floor.wants(first_ms) {
                return Next::Skipped;
            }
            if clock::monotonic() >= deadline {
                worker.left_ms = worker.left_ms.max(Some(first_ms));
                return Next::Skipped;
            }
            let before = worker.scanner.scanned_bytes;
            let scanned = worker.scanner.scan(
                &*inner.disk,
                asked.account,
                &part,
                &asked.lookup,
                &floor,
                &mut worker.gathered,
            );
            inner.metrics.search.scanned_bytes.inc_by(worker.scanner.scanned_bytes - before);
            if worker.scanner.was_stopped {
                worker.left_ms = worker.left_ms.max(Some(first_ms));
            }
            worker.failure = worker.failure.take().or(scanned.err());
            if worker.failure.is_some() { Next::Enough } else { Next::GoOn }
        };
        let damaged = contents.damaged;
        let new = |_| Worker {
            scanner: Scanner::new(damaged, Some(deadline), gaps.clone()),
            gathered: empty(),
            left_ms: None,
            failure: None,
        };
        // They are at rest between two windows.
        let workers: Vec<Worker<G>> = (0..self.0.pool.workers()).map(new).collect();
        let workers = Arc::new(Mutex::new(workers));
        let is_wanted = |part: &Part| rising.wants(rising.order.first_ms(part.times_ms));
        let mut windows = Windows::of(contents.parts);
        let mut window = windows.next_until(deadline, is_wanted).await;
        loop {
            let is_last = windows.is_over();
            let resting = workers.clone();
            let resumed = move || locked(&resting).pop().expect("there is one for each thread");
            let (folded, next) = tokio::join!(
                self.0.pool.fold(window, resumed, step.clone()),
                windows.next_until(deadline, is_wanted)
            );
            locked(&workers).append(&mut folded?);
            if let Some(failure) = locked(&workers).iter_mut().find_map(|worker| worker.failure.take()) {
                return Err(failure.into());
            }
            if is_last {
                return Ok(std::mem::take(&mut *locked(&workers)));
            }
            window = next;
        }
    }
}

impl<G> Worker<G> {
    fn is_partial(&self) -> bool {
        self.left_ms.is_some() || self.scanner.damaged
    }
}

/// Shows a gatherer every log.
struct Each<G>(G);

impl<G: Gather> Visit for Each<G> {
    fn log(&mut self, place: Place, log: &Log) {
        self.0.visit(place.time_ms, log);
    }

    fn time(&mut self, time_ms: u64) -> bool {
        self.0.visit_time(time_ms)
    }
}

impl<G: Gather> Worker<Each<G>> {
    fn merge(mut self, other: Self) -> Self {
        self.gathered.0.merge(other.gathered.0);
        self.left_ms = self.left_ms.max(other.left_ms);
        self.scanner.scanned_bytes += other.scanner.scanned_bytes;
        self.scanner.damaged |= other.scanner.damaged;
        self
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
