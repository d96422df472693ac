//! The indexer: gives sealed files their indexes, on a thread of its own and of low priority, so that nothing that is written waits for it.
//!
//! It is told of each file as it is sealed. At its start, and after something went wrong, it looks for files without an index by itself.

use super::index::Builder;
use super::pace::Pace;
use super::scan;
use super::sieve::time_ms;
use crate::clock;
use crate::domain::account::AccountId;
use crate::domain::log::Log;
use crate::journal::disk::{self, Disk, Mode};
use crate::journal::{Reader, Step};
use crate::logs::names;
use crate::logs::objects::upload::Uploads;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Files that wait; of more it is only known that there are some.
const WAITING_MAX: usize = 1_024;
/// How soon it looks by itself for files without an index, after one could not be made.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// A fortieth of a core, while others want it: nobody waits for an index.
const RESTS_PER_WORK_MAX: u32 = 39;

/// Handle of the thread, which ends with it.
pub(in crate::logs) struct Indexer {
    sealed: Option<SyncSender<(AccountId, String)>>,
    /// Some files have no index and are not on their way to one.
    missed: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// `uploads`: who is told of files that have got their index.
    pub(in crate::logs) fn start(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        uploads: Option<Uploads>,
    ) -> io::Result<Self> {
        let (sealed, waiting) = sync_channel(WAITING_MAX);
        let (missed, stop) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let work = Work { disk, dir, uploads, missed: missed.clone(), stop: stop.clone() };
        let thread =
            std::thread::Builder::new().name("indexer".to_owned()).spawn(move || work.run(&waiting))?;
        Ok(Self { sealed: Some(sealed), missed, stop, thread: Some(thread) })
    }

    /// Tells of a file that was sealed.
    pub(in crate::logs) fn sealed(&self, account: AccountId, name: String) {
        if let Some(sealed) = &self.sealed
            && sealed.try_send((account, name)).is_err()
        {
            self.missed.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sealed = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Work {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    uploads: Option<Uploads>,
    missed: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, sealed: &Receiver<(AccountId, String)>) {
        let mut pace = Pace::begin(RESTS_PER_WORK_MAX);
        while !self.stop.load(Ordering::Relaxed) {
            if self.missed.swap(false, Ordering::Relaxed)
                && let Err(error) = self.look(&mut pace)
            {
                self.failed(&self.dir, &error);
            }
            match sealed.recv_timeout(LOOK_INTERVAL) {
                Ok((account, name)) => self.give(account, &name, &mut pace),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Gives all sealed files their index that have none.
    fn look(&self, pace: &mut Pace) -> io::Result<()> {
        for entry in self.disk.list(&self.dir)? {
            let Some(account) = names::parse_account(&entry.name) else { continue };
            for file in self.disk.list(&names::account_dir(&self.dir, account))? {
                if names::parse_sealed(&file.name).is_some() {
                    self.give(account, &file.name, pace);
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn give(&self, account: AccountId, name: &str, pace: &mut Pace) {
        let dir = names::account_dir(&self.dir, account);
        if self.disk.exists(&dir.join(names::index(name))).unwrap_or(false) {
            return;
        }
        match write(&*self.disk, &dir, name, account, &mut || self.goes_on(pace)) {
            // The file was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed(&dir.join(name), &error),
            Ok(()) => {
                let bytes = self.disk.open(&dir.join(name), Mode::Read).and_then(|file| file.bytes());
                if let (Some(uploads), Ok(bytes)) = (&self.uploads, bytes) {
                    uploads.indexed(account, bytes);
                }
            }
        }
    }

    /// Rests as the pace asks; false: it is time to stop.
    fn goes_on(&self, pace: &mut Pace) -> bool {
        let rest = pace.rest();
        let begun = clock::monotonic();
        loop {
            let rested = begun.elapsed();
            if rested >= rest || self.stop.load(Ordering::Relaxed) {
                return !self.stop.load(Ordering::Relaxed);
            }
            std::thread::park_timeout(rest - rested);
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) {
        tracing::warn!(path = %path.display(), %error, "a log file got no index: searching it takes longer");
        self.missed.store(true, Ordering::Relaxed);
    }
}

/// Writes the index of a sealed file, unless it is told in the midst of it not to go on. A file that is damaged gets none: all of it is
/// looked through, and what is missing is told.
pub(in crate::logs) fn write(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    account: AccountId,
    goes_on: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    let mut reader = Reader::open(disk, &dir.join(name), 0, u64::MAX)?;
    let mut builder = Builder::default();
    let mut inflater = zstd::bulk::Decompressor::new()?;
    let mut lines = Vec::new();
    while goes_on() {
        let from = reader.at();
        let (header, block) = match reader.step()? {
            Step::Block(header, block) if header.account == account => (header, block),
            Step::Block(..) | Step::Flawed(_) => return Ok(()),
            Step::End => {
                let index = builder.finish(reader.end());
                return disk::replace(disk, dir, &names::index(name), &index).inspect_err(|_| {
                    let _ = disk::remove(disk, &dir.join(names::index(name) + disk::TEMPORARY));
                });
            }
        };
        if scan::inflate(&mut inflater, &header, &block, &mut lines).is_err() {
            return Ok(());
        }
        builder.block(from, reader.at(), &lines);
        let mut from = 0;
        for to in memchr::memchr_iter(b'\n', &lines).chain([lines.len()]) {
            if let Some(log) = Log::parse(&lines[from..to]) {
                builder.log(time_ms(&log, header.first_received_ms), &log);
            }
            from = to + 1;
        }
    }
    Ok(())
}
