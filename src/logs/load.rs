//! Loading: what the accounts' logs were when the process, the machine or the disk went away.
//!
//! The checkpoint says how long every growing file was when it was last known to be on the disk. What is behind that is
//! cut: the journal still has it, and it is appended again. A file that is shorter, or whose last durable block is not
//! whole, is damaged: it is kept aside, and all of its blocks that are whole become a sealed file.
//!
//! If the journal lost something (its directory is empty, it begins too late, it is damaged, or it ends before what
//! blocks in the files say was on the disk), nothing whole is cut. By default that is an error, and nothing is changed; if
//! the journal is configured to skip what is lost, files that go on behind their marks are treated like damaged ones, and
//! all of their blocks are kept.
//!
//! Without a usable checkpoint the files speak for themselves: every whole block in them counts.

use super::StoreError;
use super::checkpoint::{Checkpoint, Mark};
use super::growing::{Log, is_unusable, set_aside};
use super::names::{self, CURRENT};
use crate::domain::account::AccountId;
use crate::journal::disk::{self, Disk, Mode, TEMPORARY, write_all};
use crate::journal::{Extent, Feed, OnCorruption, Reader, Step};
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

/// What is there, before the journal is looked at and any file is changed.
pub(super) struct Found {
    accounts: Vec<AccountId>,
    checkpoint: Option<Checkpoint>,
}

/// Looks for logs in `dir`. What has an account's name there and cannot be used is put aside: it stops nobody else.
pub(super) fn find(disk: &dyn Disk, dir: &Path, metrics: &Metrics) -> Result<Found, StoreError> {
    disk::create_dirs(disk, dir).map_err(StoreError::at(dir))?;
    let mut accounts: Vec<_> = disk
        .list(dir)
        .map_err(StoreError::at(dir))?
        .iter()
        .filter_map(|entry| names::parse_account(&entry.name))
        .collect();
    let mut failure = Ok(());
    accounts.retain(|account| {
        let path = names::account_dir(dir, *account).join(CURRENT);
        let Err(error) = probe(disk, &path) else { return true };
        let aside = if is_unusable(&error) { set_aside(disk, dir, *account, &error) } else { Err(error) };
        metrics.logs.damaged_files.inc();
        if let Err(error) = aside {
            failure = Err(StoreError::at(&path)(error));
        }
        false
    });
    failure?;
    // A process that was killed may have left a checkpoint that only the page cache has.
    disk.sync_dir(dir).map_err(StoreError::at(dir))?;
    let checkpoint = Checkpoint::load(disk, dir).map_err(StoreError::at(dir))?;
    Ok(Found { accounts, checkpoint })
}

/// Whether a growing file could be gone on with, or begun.
fn probe(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path)? { disk.open(path, Mode::Append).map(drop) } else { Ok(()) }
}

impl Found {
    /// Every block up to here is durable in its account's log.
    pub(super) fn seq(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq)
    }

    /// Takes up the logs. `journal` was opened with [`Self::seq`] as its floor.
    pub(super) fn load(
        self,
        disk: &dyn Disk,
        dir: &Path,
        journal: &Feed,
        metrics: &Metrics,
    ) -> Result<Loaded, StoreError> {
        let seq = self.checkpoint.as_ref().map_or(u64::MAX, |checkpoint| checkpoint.seq);
        let mut load = Load { disk, metrics, dir, journal, seq, lost: false, loaded: Loaded::default() };
        match &self.checkpoint {
            Some(checkpoint) => load.resume(checkpoint, &self.accounts)?,
            None => load.adopt(&self.accounts)?,
        }
        Ok(load.loaded)
    }
}

struct Load<'a> {
    disk: &'a dyn Disk,
    metrics: &'a Metrics,
    dir: &'a Path,
    journal: &'a Feed,
    /// Blocks after this one are in the journal.
    seq: u64,
    /// The journal lacks blocks that some file holds.
    lost: bool,
    loaded: Loaded,
}

impl Load<'_> {
    fn resume(&mut self, checkpoint: &Checkpoint, accounts: &[AccountId]) -> Result<(), StoreError> {
        self.loaded.seq = checkpoint.seq;
        let marked: HashMap<_, _> = checkpoint.marks.iter().copied().collect();
        self.compare_with_journal(&marked, accounts)?;
        // A file that is kept has blocks which the checkpoint does not know of.
        self.loaded.recorded = !self.lost;
        for &account in accounts {
            let path = self.current(account);
            let mark = marked.get(&account).copied().unwrap_or_default();
            self.resume_one(account, mark, &path).map_err(StoreError::at(&path))?;
        }
        Ok(())
    }

    /// Finds out whether the journal has lost blocks. If it has, none is in the journal only.
    fn compare_with_journal(
        &mut self,
        marked: &HashMap<AccountId, Mark>,
        accounts: &[AccountId],
    ) -> Result<(), StoreError> {
        let mut lost = None;
        for &account in accounts {
            let path = self.current(account);
            let mark = marked.get(&account).copied().unwrap_or_default();
            let tail = self.tail(account, &mark, &path).map_err(StoreError::at(&path))?;
            if tail.is_some_and(|durable_seq| !self.journal.is_complete(durable_seq)) {
                lost = Some(path);
                break;
            }
        }
        let Some(path) = lost else { return Ok(()) };
        self.metrics.journal.corrupt_entries.inc();
        tracing::error!(path = %path.display(), journal = %self.journal.dir().display(),
            "the journal lacks blocks that had been acknowledged and that this file holds");
        if self.journal.on_corruption() == OnCorruption::Fail {
            return Err(StoreError::JournalGone { path, journal: self.journal.dir().to_owned() });
        }
        self.lost = true;
        self.seq = u64::MAX;
        Ok(())
    }

    /// Whether a growing file holds blocks that came after the checkpoint: the highest number that these say was durable.
    fn tail(&self, account: AccountId, mark: &Mark, path: &Path) -> io::Result<Option<u64>> {
        if !self.disk.exists(path)? {
            return Ok(None);
        }
        let from = if self.is_new(mark, path)? { 0 } else { mark.bytes };
        let mut reader = Reader::open(self.disk, path, from, u64::MAX)?;
        let mut durable_seq = None;
        while let Step::Block(header, _) = reader.step()? {
            if header.account == account && header.seq > self.seq {
                durable_seq = durable_seq.max(Some(header.durable_seq));
            }
        }
        Ok(durable_seq)
    }

    /// Whether a growing file was begun after the checkpoint.
    fn is_new(&self, mark: &Mark, path: &Path) -> io::Result<bool> {
        Ok(mark.bytes == 0 || self.disk.exists(&path.with_file_name(names::sealed(mark)))?)
    }

    fn resume_one(&mut self, account: AccountId, mark: Mark, path: &Path) -> io::Result<()> {
        let mut log = Log::default();
        if !self.disk.exists(path)? {
            log.now = mark.sealed();
            if mark.bytes > 0 {
                self.loaded.names_unsynced.insert(account);
            }
        } else if self.is_new(&mark, path)? {
            // All of it is in the journal.
            log.now = self.discard(account, path)?.map_or(mark, |rescued| self.known(mark, rescued)).sealed();
            self.loaded.names_unsynced.insert(account);
        } else {
            let mut file = self.disk.open(path, Mode::Append)?;
            let bytes = file.bytes()?;
            log.now = mark;
            if bytes < mark.bytes || (bytes > mark.bytes && (self.lost || !self.ends_whole(path, &mark)?)) {
                let rescued = self.rescue(account, path)?;
                log.now = self.known(mark, rescued).sealed();
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

    /// The last of an account's blocks that need not come from the journal, after `rescued` was made from a file with this
    /// `mark`. Numbers that the journal has lost are given out again.
    fn known(&self, mark: Mark, rescued: Mark) -> Mark {
        let rescued_seq = if self.lost { rescued.last_seq.min(self.journal.recovered_seq()) } else { 0 };
        Mark { last_seq: mark.last_seq.max(rescued_seq), ..mark }
    }

    /// Removes a growing file whose blocks are all in the journal, after a look whether that is so: if not, returns what
    /// was rescued.
    fn discard(&self, account: AccountId, path: &Path) -> io::Result<Option<Mark>> {
        let first = Reader::open(self.disk, path, 0, u64::MAX)?.step()?;
        match first {
            Step::Block(header, _) if header.seq <= self.seq => self.rescue(account, path).map(Some),
            _ => disk::remove(self.disk, path).map(|()| None),
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
        let let_go = let_go_seq(self.disk, &dir)?;
        let entries = self.disk.list(&dir)?;
        let newest =
            entries.iter().filter_map(|entry| Some((names::parse_sealed(&entry.name)?, &entry.name))).max();
        match newest {
            Some((_, name)) => {
                Ok(last_header(self.disk, &dir.join(name))?.map_or(0, |header| header.seq).max(let_go))
            }
            None => Ok(let_go),
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

/// The last block of the files in `dir` that were let go from there.
pub(super) fn let_go_seq(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    let path = dir.join(names::LET_GO);
    if !disk.exists(&path)? {
        return Ok(0);
    }
    let text = disk::read(disk, &path)?;
    Ok(std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
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
