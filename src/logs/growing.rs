//! Growing files: one for each account that has lines not sealed yet. Thousands of accounts share a bounded number of
//! open files.
//!
//! A file is appended to by whole extents: one that fails is cut off again, so that its length is always known. The
//! state at the last good sync is remembered, and a file whose sync failed goes back to it.

use super::StoreError;
use super::checkpoint::Mark;
use super::load::Loaded;
use super::names::{self, CURRENT};
use crate::domain::account::AccountId;
use crate::journal::Extent;
use crate::journal::disk::{self, Disk, DiskFile, Mode, write_all};
use crate::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Up to here, files are synced one by one: beyond it, syncing the whole volume is cheaper.
const SYNC_EACH_MAX: usize = 32;

/// Each time a file has grown by so much, it is synced though nothing is said of that: a checkpoint that had all of it to
/// write would hold up the journal's syncs on the same disk.
const WRITE_BACK_BYTES: u64 = if cfg!(test) { 256 } else { 4 << 20 };

/// An account's log, as far as it is not sealed. Small: it stays in memory while the file is closed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Log {
    pub now: Mark,
    /// As `now` was when the file was last synced.
    pub durable: Mark,
    /// When the newest line of a sealed file was received: the file's first sequence number, and that time. One is
    /// enough: of the files before it, the next one's name says as much.
    pub sealed: Option<(u64, u64)>,
}

pub(super) struct Growing {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    metrics: Arc<Metrics>,
    logs: BTreeMap<AccountId, Log>,
    open: OpenFiles,
    /// Written to since they were last synced.
    dirty: BTreeSet<AccountId>,
    /// In whose directories files were created or renamed since they were last synced.
    names_unsynced: BTreeSet<AccountId>,
    /// Directories of accounts were made since they were last synced.
    dirs_unsynced: bool,
    /// Their sync failed, or somebody else has changed them: to be cut back.
    suspect: BTreeSet<AccountId>,
}

impl Growing {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        metrics: Arc<Metrics>,
        open_files_max: usize,
        loaded: Loaded,
    ) -> Self {
        Self {
            disk,
            dir,
            metrics,
            logs: loaded.logs,
            open: OpenFiles::new(open_files_max),
            dirty: loaded.dirty,
            names_unsynced: loaded.names_unsynced,
            dirs_unsynced: true,
            suspect: BTreeSet::new(),
        }
    }

    pub(super) fn log(&mut self, account: AccountId) -> &mut Log {
        self.logs.entry(account).or_default()
    }

    /// An account's growing file as it is, if it has lines.
    pub(super) fn mark(&self, account: AccountId) -> Option<Mark> {
        self.logs.get(&account).map(|log| log.now).filter(|mark| mark.bytes > 0)
    }

    /// The growing files that have lines, as they are.
    pub(super) fn marks(&self) -> impl Iterator<Item = (AccountId, Mark)> {
        let full = self.logs.iter().filter(|(_, log)| log.now.bytes > 0);
        full.map(|(account, log)| (*account, log.now))
    }

    /// Appends those of an account's `extents` that its log does not have yet. All or nothing.
    pub(super) fn append(&mut self, account: AccountId, extents: &[Extent]) -> Result<(), StoreError> {
        let log = self.logs.entry(account).or_default();
        let last_seq = log.now.last_seq;
        let missing = || extents.iter().filter(|extent| extent.first_seq > last_seq);
        let mut parts: Vec<_> = missing().map(|extent| IoSlice::new(&extent.bytes)).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let path = names::account_dir(&self.dir, account).join(CURRENT);
        let now = log.now;
        if let Err(error) = self.file(account) {
            self.make_usable(account, error).map_err(StoreError::at(&path))?;
        }
        let file = self.file(account).map_err(StoreError::at(&path))?;
        if let Err(source) = write_all(file, &mut parts) {
            // If this fails as well, the length is put right when the file is opened again.
            if file.truncate(now.bytes).is_err() {
                self.open.close(account);
            }
            return Err(StoreError::Io { path, source });
        }
        let after = missing().fold(now, Mark::after);
        self.log(account).now = after;
        self.dirty.insert(account);
        self.metrics.logs.appended_bytes.inc_by(after.bytes - now.bytes);
        self.metrics.logs.disk_bytes.add((after.bytes - now.bytes) as i64);
        if now.bytes / WRITE_BACK_BYTES != after.bytes / WRITE_BACK_BYTES {
            self.sync_file(account)?;
        }
        Ok(())
    }

    /// Syncs one growing file. If that fails, it becomes suspect.
    fn sync_file(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.file(account).and_then(|file| file.sync()).map_err(|error| {
            self.suspect.insert(account);
            StoreError::at(&names::account_dir(&self.dir, account).join(CURRENT))(error)
        })
    }

    /// The open growing file of an account, made if there is none.
    fn file(&mut self, account: AccountId) -> io::Result<&mut dyn DiskFile> {
        if !self.open.has(account) {
            let file = self.open_file(account)?;
            self.open.insert(account, file);
            self.metrics.logs.open_files.set(self.open.len() as i64);
        }
        self.open.get(account).ok_or(io::ErrorKind::NotFound.into())
    }

    fn open_file(&mut self, account: AccountId) -> io::Result<Box<dyn DiskFile>> {
        let dir = names::account_dir(&self.dir, account);
        let log = self.logs.entry(account).or_default();
        if log.now.bytes == 0 {
            if !self.disk.exists(&dir)? {
                if !self.disk.exists(&self.dir)? {
                    disk::create_dirs(&*self.disk, &self.dir)?;
                }
                self.disk.create_dir(&dir)?;
                self.dirs_unsynced = true;
            } else if self.names_unsynced.contains(&account) {
                // The file before this one must have lost this name for good.
                self.disk.sync_dir(&dir)?;
            }
            self.names_unsynced.insert(account);
            return self.disk.open(&dir.join(CURRENT), Mode::Create);
        }
        let mut file = match self.disk.open(&dir.join(CURRENT), Mode::Append) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let bytes = file.as_ref().map_or(Ok(0), |file| file.bytes())?;
        match &mut file {
            Some(file) if bytes > log.now.bytes => file.truncate(log.now.bytes)?,
            Some(_) if bytes == log.now.bytes => {}
            _ => {
                self.suspect.insert(account);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file is shorter than what was written to it",
                ));
            }
        }
        file.ok_or(io::ErrorKind::NotFound.into())
    }

    /// Looks whether the files that are to be synced are still there, or all of them if their common directory is not:
    /// appending to a file whose name is gone would succeed. Those missing become suspect.
    pub(super) fn look(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::at(&self.dir);
        let all = !self.disk.exists(&self.dir).map_err(&failed)?;
        if all {
            tracing::error!(dir = %self.dir.display(), "the directory of the accounts' logs is gone: making another");
            disk::create_dirs(&*self.disk, &self.dir).map_err(failed)?;
        }
        let written: Vec<_> = match all {
            true => self.marks().map(|(account, _)| account).collect(),
            false => self.dirty.union(&self.names_unsynced).copied().collect(),
        };
        for account in written {
            let path = names::account_dir(&self.dir, account).join(CURRENT);
            if self.mark(account).is_some() && !self.disk.exists(&path).unwrap_or(false) {
                self.suspect.insert(account);
            }
        }
        Ok(())
    }

    /// Whether there is anything to sync.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Makes everything appended so far durable. Files whose sync fails become suspect.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        // A closed file cannot report what went wrong while it was written back: the volume can.
        let few = self.dirty.len().max(self.names_unsynced.len()) <= SYNC_EACH_MAX;
        if few && self.dirty.iter().all(|account| self.open.has(*account)) {
            self.sync_each()
        } else {
            self.sync_all()
        }
    }

    fn sync_each(&mut self) -> Result<(), StoreError> {
        while let Some(&account) = self.dirty.first() {
            let synced = self.sync_file(account);
            self.dirty.remove(&account);
            synced?;
            let log = self.log(account);
            log.durable = log.now;
        }
        while let Some(&account) = self.names_unsynced.first() {
            let dir = names::account_dir(&self.dir, account);
            match self.disk.sync_dir(&dir) {
                // Somebody else has removed all that was there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.mark(account).is_none() => {}
                synced => synced.map_err(StoreError::at(&dir))?,
            }
            self.names_unsynced.remove(&account);
        }
        if self.dirs_unsynced {
            self.disk.sync_dir(&self.dir).map_err(StoreError::at(&self.dir))?;
            self.dirs_unsynced = false;
        }
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), StoreError> {
        let synced = self.disk.sync_tree(&self.dir);
        let dirty = std::mem::take(&mut self.dirty);
        if let Err(error) = synced {
            self.suspect.extend(dirty);
            return Err(StoreError::at(&self.dir)(error));
        }
        for account in dirty {
            let log = self.log(account);
            log.durable = log.now;
        }
        self.names_unsynced.clear();
        self.dirs_unsynced = false;
        Ok(())
    }

    /// Cuts suspect files back to what is known to be on the disk. Returns whether there were any: what they have lost
    /// must be appended again.
    pub(super) fn cut_back(&mut self) -> Result<bool, StoreError> {
        let mut cut = false;
        while let Some(&account) = self.suspect.first() {
            if let Err(error) = self.cut_back_one(account) {
                let StoreError::Io { path, source } = error else { return Err(error) };
                self.make_usable(account, source).map_err(StoreError::at(&path))?;
                self.cut_back_one(account)?;
            }
            self.suspect.remove(&account);
            cut = true;
        }
        Ok(cut)
    }

    /// After an error at an account's directory: if the cause is what is there and not the disk, puts it aside, so that
    /// a new directory can be made. Other errors are returned.
    fn make_usable(&mut self, account: AccountId, error: io::Error) -> io::Result<()> {
        if !is_unusable(&error) {
            return Err(error);
        }
        self.open.close(account);
        set_aside(&*self.disk, &self.dir, account, &error)?;
        self.metrics.logs.damaged_files.inc();
        self.dirs_unsynced = true;
        Ok(())
    }

    fn cut_back_one(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.open.close(account);
        let path = names::account_dir(&self.dir, account).join(CURRENT);
        let log = self.logs.entry(account).or_default();
        let failed = StoreError::at(&path);
        if log.durable.bytes == 0 {
            disk::remove(&*self.disk, &path).map_err(failed)?;
            self.names_unsynced.insert(account);
            self.dirty.remove(&account);
        } else {
            let bytes = match self.disk.open(&path, Mode::Append) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(failed(error)),
                Ok(mut file) => {
                    let bytes = file.bytes().map_err(&failed)?;
                    file.truncate(log.durable.bytes.min(bytes)).map_err(&failed)?;
                    bytes
                }
            };
            self.dirty.insert(account);
            if bytes < log.durable.bytes {
                self.abandon(account)?;
            }
        }
        let log = self.log(account);
        log.now = log.durable;
        Ok(())
    }

    /// Somebody else has removed or shortened a growing file: what is left of it is kept aside and a new one begun.
    fn abandon(&mut self, account: AccountId) -> Result<(), StoreError> {
        let dir = names::account_dir(&self.dir, account);
        let log = self.logs.entry(account).or_default();
        let damaged = dir.join(names::damaged(&log.durable));
        match self.disk.rename(&dir.join(CURRENT), &damaged) {
            Ok(()) => {
                tracing::error!(path = %damaged.display(), "a growing log file was cut short: what is left is kept here");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = log.durable.bytes;
                tracing::error!(dir = %dir.display(), bytes, "a growing log file is gone: beginning another");
            }
            Err(error) => return Err(StoreError::at(&damaged)(error)),
        }
        self.metrics.logs.damaged_files.inc();
        log.durable = log.durable.sealed();
        self.names_unsynced.insert(account);
        self.dirty.remove(&account);
        Ok(())
    }

    /// Gives a synced growing file its final name, which the next [`Self::sync`] makes durable.
    /// Returns that name, if there was anything to seal.
    pub(super) fn seal(&mut self, account: AccountId) -> Result<Option<String>, StoreError> {
        let dir = names::account_dir(&self.dir, account);
        let log = self.logs.entry(account).or_default();
        if log.now != log.durable || log.now.bytes == 0 {
            return Ok(None);
        }
        let name = names::sealed(&log.now);
        let sealed = dir.join(&name);
        if let Err(error) = self.disk.rename(&dir.join(CURRENT), &sealed) {
            if error.kind() == io::ErrorKind::NotFound || is_unusable(&error) {
                self.suspect.insert(account);
            }
            return Err(StoreError::at(&sealed)(error));
        }

        log.sealed = Some((log.now.first_seq, log.now.last_received_ms));
        log.now = log.now.sealed();
        log.durable = log.now;
        self.names_unsynced.insert(account);
        self.open.close(account);
        self.metrics.logs.open_files.set(self.open.len() as i64);
        self.metrics.logs.sealed_files.inc();
        Ok(Some(name))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }
}

/// Whether an error says that something that is not ours stands where an account's directory should, rather than that
/// the disk is full or broken.
pub(super) fn is_unusable(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, PermissionDenied};
    matches!(error.kind(), IsADirectory | NotADirectory | PermissionDenied)
}

/// Gives what stands where an account's directory should another name.
pub(super) fn set_aside(
    disk: &dyn Disk,
    dir: &Path,
    account: AccountId,
    cause: &io::Error,
) -> io::Result<()> {
    let path = names::account_dir(dir, account);
    let mut number = 1;
    let aside = loop {
        let aside = dir.join(names::unusable(account, number));
        if !disk.exists(&aside)? {
            break aside;
        }
        number += 1;
    };
    disk.rename(&path, &aside)?;
    tracing::error!(path = %path.display(), aside = %aside.display(), %cause,
        "this cannot be used as an account's directory: renamed it, and going on without it");
    disk.sync_dir(dir)
}

/// The files held open: the least recently used one is closed for another.
struct OpenFiles {
    files_max: usize,
    files: HashMap<AccountId, (u64, Box<dyn DiskFile>)>,
    by_use: BTreeMap<u64, AccountId>,
    uses: u64,
}

impl OpenFiles {
    fn new(files_max: usize) -> Self {
        Self { files_max: files_max.max(1), files: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn has(&self, account: AccountId) -> bool {
        self.files.contains_key(&account)
    }

    fn insert(&mut self, account: AccountId, file: Box<dyn DiskFile>) {
        while self.files.len() >= self.files_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.files.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, account);
        self.files.insert(account, (self.uses, file));
    }

    fn get(&mut self, account: AccountId) -> Option<&mut dyn DiskFile> {
        let (used, file) = self.files.get_mut(&account)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, account);
        Some(&mut **file)
    }

    fn close(&mut self, account: AccountId) {
        if let Some((used, _)) = self.files.remove(&account) {
            self.by_use.remove(&used);
        }
    }
}
