//! Retention: ends the life of sealed files, by age and by the bytes an account may occupy.
//!
//! A sweep visits all accounts, a few at a time, so that appending never waits long for it. Files are dropped whole. One
//! is never dropped for bytes when less than half of what the account may keep would be left: a file that grew too long
//! before it could be sealed stays until there is something behind it.
//!
//! Older files of an account may be in the object store, out of reach for now. What is the newest one dropped is noted first, so that
//! those are over as well, and nobody finds them without what came behind.
//!
//! A dropped file is renamed to `<its name>.tmp` first, then freed a piece at a time: see `disk::remove_slowly`. What a
//! crash leaves of it goes with the next sweep.

use super::StoreError;
use super::keeper::Keeper;
use super::load::{last_header, let_go_seq};
use super::names;
use super::objects::upload::Uploads;
use crate::domain::account::{AccountId, Retention};
use crate::journal::disk::{self, Disk, TEMPORARY};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// How many accounts are visited at a time.
const ACCOUNTS_AT_ONCE: usize = 64;
/// How many files at a time are let go because the object store has them.
const FILES_LET_GO_AT_ONCE: usize = 8;
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A walk through all accounts.
#[derive(Default)]
pub(super) struct Sweep {
    accounts: Vec<AccountId>,
    /// Bytes of all files of the accounts visited so far.
    bytes: u64,
    begun: bool,
}

impl Sweep {
    /// Whether there are accounts left to visit.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun
    }
}

/// A sealed file.
struct Sealed {
    name: String,
    /// With its index.
    bytes: u64,
    first_seq: u64,
    first_received_ms: u64,
}

/// The sealed file that an index, finished or not, is of.
fn index_of(name: &str) -> Option<&str> {
    names::parse_index(name.strip_suffix(TEMPORARY).unwrap_or(name))
}

/// What the newest file began with, number and time, that was dropped from an account's folder: those that began before are over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dropped(Option<(u64, u64)>);

impl Dropped {
    /// As it is noted in the folder.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        match disk::read(disk, &dir.join(names::DROPPED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            name => Ok(Self(std::str::from_utf8(&name?).ok().and_then(names::parse_sealed))),
        }
    }

    /// Whether a file is over. Numbers that are given out again, after a journal was lost, come with later times.
    pub(super) fn includes(self, first_seq: u64, first_received_ms: u64) -> bool {
        self.0.is_some_and(|(seq, received_ms)| first_seq <= seq && first_received_ms <= received_ms)
    }
}

impl Keeper {
    /// Visits some accounts: those of a new sweep, or the next ones of the sweep that is under way. `also_stored`: their files may be
    /// in the object store as well.
    pub(super) fn sweep(&mut self, sweep: &mut Sweep, also_stored: bool) -> Result<(), StoreError> {
        if !sweep.begun {
            let entries = self.growing.disk().list(self.growing.dir());
            let entries = entries.map_err(StoreError::at(self.growing.dir()))?;
            sweep.accounts = entries.iter().filter_map(|entry| names::parse_account(&entry.name)).collect();
            sweep.begun = true;
            sweep.bytes = 0;
        }
        let left = sweep.accounts.len().saturating_sub(ACCOUNTS_AT_ONCE);
        let mut failure = Ok(());
        for account in sweep.accounts.split_off(left) {
            match self.retain(account, also_stored) {
                Ok(bytes) => sweep.bytes += bytes,
                Err(error) => failure = Err(error),
            }
        }
        if sweep.accounts.is_empty() {
            sweep.begun = false;
            self.metrics.logs.disk_bytes.set(sweep.bytes as i64);
        }
        failure
    }

    /// Drops what an account need not keep, oldest first. Returns the bytes of what is left.
    fn retain(&mut self, account: AccountId, also_stored: bool) -> Result<u64, StoreError> {
        let dir = names::account_dir(self.growing.dir(), account);
        let mut other_bytes = 0;
        let mut files = Vec::new();
        let mut void = Vec::new();
        let mut indexes = BTreeMap::new();
        for entry in self.growing.disk().list(&dir).map_err(StoreError::at(&dir))? {
            match names::parse_sealed(&entry.name) {
                Some((first_seq, first_received_ms)) => {
                    files.push(Sealed { name: entry.name, bytes: entry.bytes, first_seq, first_received_ms });
                }
                None if index_of(&entry.name).is_some() => {
                    indexes.insert(entry.name, entry.bytes);
                }
                // A start or a sweep that was stopped in the midst of it left this.
                None if entry.name.ends_with(TEMPORARY) => void.push(dir.join(entry.name)),
                None => other_bytes += entry.bytes,
            }
        }
        files.sort_by_key(|file| (file.first_seq, file.first_received_ms));
        for file in &mut files {
            file.bytes += indexes.remove(&names::index(&file.name)).unwrap_or(0);
        }
        for (name, bytes) in indexes {
            // The list may lack a file that was sealed while it was made, and the indexer may be writing.
            let sealed = index_of(&name).map(|sealed| dir.join(sealed));
            if sealed.is_some_and(|sealed| self.growing.disk().exists(&sealed).unwrap_or(true)) {
                other_bytes += bytes;
            } else {
                void.push(dir.join(name));
            }
        }
        let mut bytes = other_bytes + files.iter().map(|file| file.bytes).sum::<u64>();
        let retention = (self.retention)(account);
        for (i, file) in files.iter().enumerate() {
            let Some(retention) = retention else { break };
            let reason = match retention.bytes_max {
                _ if self.unrecorded => break,
                Some(max) if bytes > max && bytes - file.bytes >= max / 2 => "bytes",
                _ if self.is_expired(account, &dir, &files[i..], retention)? => "age",
                _ => break,
            };
            if also_stored {
                let noted = disk::replace(self.growing.disk(), &dir, names::DROPPED, file.name.as_bytes());
                noted.map_err(StoreError::at(&dir))?;
            }
            self.make_void(&dir, &file.name, &mut void)?;
            tracing::info!(
                account = account.0,
                file = file.name,
                bytes = file.bytes,
                reason,
                "dropped a log file"
            );
            self.metrics.logs.expired_files.inc();
            bytes -= file.bytes;
        }
        self.free(&dir, &void).map_err(StoreError::at(&dir))?;
        Ok(bytes)
    }

    /// Lets files go from the disk that the object store has. What is not there any more is fine.
    pub(super) fn let_go(&mut self, uploads: &Uploads) -> Result<(), StoreError> {
        if !uploads.has_let_go() {
            return Ok(());
        }
        if self.unrecorded || !self.recorded {
            self.checkpoint()?;
        }
        for (account, name) in uploads.take_let_go(FILES_LET_GO_AT_ONCE) {
            let dir = names::account_dir(self.growing.dir(), account);
            let mut void = Vec::new();
            match self.note_let_go(&dir, &name).and_then(|()| self.make_void(&dir, &name, &mut void)) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                made_void => made_void?,
            }
            self.free(&dir, &void).map_err(StoreError::at(&dir))?;
            self.metrics.objects.let_go_files.inc();
        }
        Ok(())
    }

    /// Keeps in mind which block comes last in a file that is let go: without a checkpoint, a restart would append it from the
    /// journal again.
    fn note_let_go(&self, dir: &Path, name: &str) -> Result<(), StoreError> {
        let (disk, path) = (self.growing.disk(), dir.join(name));
        let failed = StoreError::at(&path);
        let last_seq = last_header(disk, &path).map_err(&failed)?.map_or(0, |header| header.seq);
        if last_seq > let_go_seq(disk, dir).map_err(&failed)? {
            disk::replace(disk, dir, names::LET_GO, last_seq.to_string().as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes its name away from a sealed file, and from its index. Under the names they get nobody reads half of them.
    fn make_void(&self, dir: &Path, name: &str, void: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        let disk = self.growing.disk();
        let (path, void_path) = (dir.join(name), dir.join(format!("{name}{TEMPORARY}")));
        disk.rename(&path, &void_path).map_err(StoreError::at(&path))?;
        void.push(void_path);
        let index = dir.join(names::index(name));
        let void_index = dir.join(names::index(name) + TEMPORARY);
        match disk.rename(&index, &void_index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::at(&index)(error)),
            _ => {
                void.push(void_index);
                Ok(())
            }
        }
    }

    /// Removes files of `dir` whose names say that they mean nothing.
    fn free(&self, dir: &Path, void: &[PathBuf]) -> io::Result<()> {
        let disk = self.growing.disk();
        if !void.is_empty() {
            // No crash gives a file its name back once it has lost its end.
            disk.sync_dir(dir)?;
        }
        void.iter().try_for_each(|path| disk::remove_slowly(disk, path))
    }

    /// Whether the newest line of the first of `files` is too old.
    fn is_expired(
        &mut self,
        account: AccountId,
        dir: &Path,
        files: &[Sealed],
        retention: Retention,
    ) -> Result<bool, StoreError> {
        let oldest_ms = self.clock.unix_ms().saturating_sub(u64::from(retention.days) * DAY_MS);
        let oldest = &files[0];
        if oldest.first_received_ms >= oldest_ms {
            return Ok(false);
        }
        // Mostly the names tell: the next file's first line was received after this one's last.
        if files.get(1).is_some_and(|next| next.first_received_ms < oldest_ms) {
            return Ok(true);
        }
        if let Some((first_seq, newest_ms)) = self.growing.log(account).sealed
            && first_seq == oldest.first_seq
        {
            return Ok(newest_ms < oldest_ms);
        }
        let path = dir.join(&oldest.name);
        let last = last_header(self.growing.disk(), &path).map_err(StoreError::at(&path))?;
        let newest_ms = last.map_or(oldest.first_received_ms, |header| header.last_received_ms);
        self.growing.log(account).sealed = Some((oldest.first_seq, newest_ms));
        Ok(newest_ms < oldest_ms)
    }
}
