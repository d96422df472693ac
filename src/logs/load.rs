//! Loading: what the accounts' logs were when the process, the machine or the disk went away.
//!
//! The checkpoint says how long every growing file was when it was last known to be on the disk. What is behind that is
//! cut: the journal still has it, and it is appended again. A file that is shorter, or whose last durable block is not
//! whole, is damaged: it is kept aside, and all of its blocks that are whole become a sealed file.
//!
//! Without a usable checkpoint the files speak for themselves: every whole block in them counts.

use super::checkpoint::{Checkpoint, Mark};
use super::growing::Log;
use super::names::{self, CURRENT};
use super::{OpenError, StoreError};
use crate::domain::account::AccountId;
use crate::journal::disk::{self, Disk, Mode, TEMPORARY, write_all};
use crate::journal::{Extent, Reader, Step};
use crate::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// The state that logs are taken up from.
#[derive(Default)]
pub(super) struct Loaded {
    /// Every block up to here is durable in its account's log; of later ones, those that an account's mark names.
    pub seq: u64,
    pub logs: BTreeMap<AccountId, Log>,
    /// Files that were cut and not synced since.
    pub dirty: BTreeSet<AccountId>,
    /// Accounts in whose directories names are not as the checkpoint has them, and perhaps not on the disk.
    pub names_unsynced: BTreeSet<AccountId>,
    /// Whether there is a checkpoint to go on from.
    pub recorded: bool,
}

/// Takes up the logs in `dir`.
pub(super) fn load(disk: &dyn Disk, dir: &Path, metrics: &Metrics) -> Result<Loaded, OpenError> {
    disk::create_dirs(disk, dir).map_err(StoreError::at(dir))?;
    let accounts: Vec<_> = disk
        .list(dir)
        .map_err(StoreError::at(dir))?
        .iter()
        .filter_map(|entry| names::parse_account(&entry.name))
        .collect();
    // A process that was killed may have left a checkpoint that only the page cache has.
    disk.sync_dir(dir).map_err(StoreError::at(dir))?;
    let checkpoint = Checkpoint::load(disk, dir).map_err(StoreError::at(dir))?;
    let mut load = Load {
        disk,
        metrics,
        dir,
        seq: checkpoint.as_ref().map_or(u64::MAX, |checkpoint| checkpoint.seq),
        loaded: Loaded::default(),
    };
    match &checkpoint {
        Some(checkpoint) => load.resume(checkpoint, &accounts)?,
        None => load.adopt(&accounts)?,
    }
    Ok(load.loaded)
}

struct Load<'a> {
    disk: &'a dyn Disk,
    metrics: &'a Metrics,
    dir: &'a Path,
    /// Blocks after this one are in the journal.
    seq: u64,
    loaded: Loaded,
}

impl Load<'_> {
    fn resume(&mut self, checkpoint: &Checkpoint, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.loaded.seq = checkpoint.seq;
        self.loaded.recorded = true;
        let marked: HashMap<_, _> = checkpoint.marks.iter().copied().collect();
        for &account in accounts {
            let path = self.current(account);
            let mark = marked.get(&account).copied().unwrap_or_default();
            self.resume_one(account, mark, &path).map_err(StoreError::at(&path))?;
        }
        Ok(())
    }

    fn resume_one(&mut self, account: AccountId, mark: Mark, path: &Path) -> io::Result<()> {
        let mut log = Log::default();
        if !self.disk.exists(path)? {
            log.now = mark.sealed();
            if mark.bytes > 0 {
                self.loaded.names_unsynced.insert(account);
            }
        } else if mark.bytes == 0 || self.disk.exists(&path.with_file_name(names::sealed(&mark)))? {
            // It was begun after the checkpoint: all of it is in the journal.
            log.now = mark.sealed();
            self.discard(account, path)?;
            self.loaded.names_unsynced.insert(account);
        } else {
            let mut file = self.disk.open(path, Mode::Append)?;
            let bytes = file.bytes()?;
            log.now = mark;
            if bytes < mark.bytes || (bytes > mark.bytes && !self.ends_whole(path, &mark)?) {
                self.rescue(account, path)?;
                log.now = mark.sealed();
            } else if bytes > mark.bytes {
                file.truncate(mark.bytes)?;
                self.loaded.dirty.insert(account);
            }
        }
        log.durable = log.now;
        if log.now != Mark::default() {
            self.loaded.logs.insert(account, log);
        }
        Ok(())
    }

    /// Removes a growing file whose blocks are all in the journal, after a look whether that is so.
    fn discard(&self, account: AccountId, path: &Path) -> io::Result<()> {
        let first = Reader::open(self.disk, path, 0, u64::MAX)?.step()?;
        match first {
            Step::Block(header, _) if header.seq <= self.seq => self.rescue(account, path).map(drop),
            _ => disk::remove(self.disk, path),
        }
    }

    /// Whether the last block that was durable is there and whole.
    fn ends_whole(&self, path: &Path, mark: &Mark) -> io::Result<bool> {
        let mut reader = Reader::open(self.disk, path, mark.last_block_at, mark.bytes)?;
        let last = reader.step()?;
        Ok(matches!(last, Step::Block(header, _) if header.seq == mark.last_seq) && reader.at() == mark.bytes)
    }

    /// Without a checkpoint: every whole block in a growing file counts, and what is not is cut or kept aside.
    fn adopt(&mut self, accounts: &[AccountId]) -> Result<(), StoreError> {
        for &account in accounts {
            let path = self.current(account);
            self.adopt_one(account, &path).map_err(StoreError::at(&path))?;
        }
        Ok(())
    }

    fn adopt_one(&mut self, account: AccountId, path: &Path) -> io::Result<()> {
        let mut log = Log::default();
        if self.disk.exists(path)? {
            let mut reader = Reader::open(self.disk, path, 0, u64::MAX)?;
            while let Step::Block(header, block) = reader.step()? {
                log.now = log.now.after(&Extent::of(&header, block));
            }
            if reader.at() < reader.end() {
                if reader.resync()? {
                    log.now = self.rescue(account, path)?.sealed();
                } else {
                    self.disk.open(path, Mode::Append)?.truncate(log.now.bytes)?;
                }
            }
            self.loaded.dirty.insert(account);
        }
        if log.now.bytes == 0 {
            let last_seq = self.last_sealed_seq(account)?;
            log.now.last_seq = log.now.last_seq.max(last_seq);
            self.loaded.dirty.remove(&account);
        }
        log.durable = log.now;
        self.loaded.logs.insert(account, log);
        Ok(())
    }

    fn last_sealed_seq(&self, account: AccountId) -> io::Result<u64> {
        let dir = names::account_dir(self.dir, account);
        let entries = self.disk.list(&dir)?;
        let newest =
            entries.iter().filter_map(|entry| Some((names::parse_sealed(&entry.name)?, &entry.name))).max();
        match newest {
            Some((_, name)) => Ok(last_header(self.disk, &dir.join(name))?.map_or(0, |header| header.seq)),
            None => Ok(0),
        }
    }

    /// Keeps a damaged file aside and makes its whole blocks, as far as the journal does not have them, a sealed file.
    /// Returns what that file holds.
    fn rescue(&self, account: AccountId, path: &Path) -> io::Result<Mark> {
        let dir = names::account_dir(self.dir, account);
        let temporary = dir.join(format!("rescued{TEMPORARY}"));
        let mut rescued = Mark::default();
        let mut file = self.disk.open(&temporary, Mode::Create)?;
        let mut reader = Reader::open(self.disk, path, 0, u64::MAX)?;
        loop {
            match reader.step()? {
                Step::Block(header, block) if header.account == account && header.seq <= self.seq => {
                    write_all(&mut *file, &mut [IoSlice::new(&block)])?;
                    rescued = rescued.after(&Extent::of(&header, block));
                }
                Step::Block(..) => {}
                Step::Flawed(flaw) => {
                    tracing::error!(path = %path.display(), offset = reader.at(), %flaw, "a log file is damaged");
                    if !reader.resync()? {
                        break;
                    }
                }
                Step::End => break,
            }
        }
        file.sync()?;
        let aside = dir.join(names::damaged(&rescued));
        tracing::error!(aside = %aside.display(), rescued_bytes = rescued.bytes, "kept a damaged log file aside");
        self.metrics.logs.damaged_files.inc();
        self.disk.rename(path, &aside)?;
        if rescued.bytes > 0 {
            self.disk.rename(&temporary, &dir.join(names::sealed(&rescued)))?;
        } else {
            self.disk.remove(&temporary)?;
        }
        self.disk.sync_dir(&dir)?;
        Ok(rescued)
    }

    fn current(&self, account: AccountId) -> PathBuf {
        names::account_dir(self.dir, account).join(CURRENT)
    }
}

/// The header of a file's last block, found by walking from header to header.
pub(super) fn last_header(disk: &dyn Disk, path: &Path) -> io::Result<Option<crate::journal::Header>> {
    let mut reader = Reader::open(disk, path, 0, u64::MAX)?;
    let mut last = None;
    while let Some(header) = reader.skim()? {
        last = Some(header);
    }
    Ok(last)
}
