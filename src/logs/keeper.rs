//! The keeper: carries blocks from the journal into the accounts' logs, each exactly once. It knows no threads, so tests
//! drive it step by step.

use super::checkpoint::{Checkpoint, Mark};
use super::growing::Growing;
use super::load::Loaded;
use super::{Config, RetentionOf, StoreError};
use crate::clock::{self, Clock};
use crate::domain::account::AccountId;
use crate::journal::disk::Disk;
use crate::journal::{Extent, Feed};
use crate::metrics::Metrics;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// In how many files at least lies what an account may keep.
const FILES_KEPT_MIN: u64 = 8;

pub(super) struct Keeper {
    pub(super) config: Config,
    pub(super) feed: Feed,
    pub(super) growing: Growing,
    pub(super) retention: RetentionOf,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// Every block up to here is in its account's log, unless `behind`.
    appended_seq: u64,
    /// Every block up to here is there durably.
    durable_seq: u64,
    /// Some files lack blocks between the two: they are read back from the journal before anything else is done.
    behind: bool,
    /// The checkpoint on the disk names files that have been sealed since. Until it is written again, none of those may
    /// be removed: a restart tells by them what the growing file of the same account is.
    pub(super) unrecorded: bool,
    /// The checkpoint on the disk is this process's own. One that was found may name files that were sealed right before a crash.
    pub(super) recorded: bool,
    /// Files sealed since somebody took note of them.
    pub(super) sealed: Vec<(AccountId, String)>,
    /// Bytes appended since the last checkpoint.
    appended_bytes: u64,
    /// A growing file has become full since the last checkpoint.
    full: bool,
}

impl Keeper {
    /// Takes up what was loaded, before anything is taken from `feed`.
    pub(super) fn open(
        config: Config,
        feed: Feed,
        mut loaded: Loaded,
        disk: Arc<dyn Disk>,
        retention: RetentionOf,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let appended_seq = feed.recovered_seq();
        for log in loaded.logs.values_mut() {
            // Numbers that this journal has not given out are another journal's, which is gone: they mean nothing.
            if log.now.last_seq > appended_seq {
                log.now.last_seq = 0;
                log.durable.last_seq = 0;
            }
        }
        let (durable_seq, recorded) = (loaded.seq, loaded.recorded);
        let mut keeper = Self {
            growing: Growing::new(disk, config.dir.clone(), metrics.clone(), config.open_files_max, loaded),
            config,
            feed,
            appended_seq,
            durable_seq,
            behind: true,
            unrecorded: false,
            recorded: false,
            sealed: Vec::new(),
            appended_bytes: 0,
            full: false,
            retention,
            clock,
            metrics,
        };
        if !recorded {
            // From now on there is always a checkpoint: without one, a start has to read every file.
            keeper.checkpoint()?;
        }
        Ok(keeper)
    }

    /// Appends newly committed blocks. After an error it is called again with the same ones: none is appended twice.
    pub(super) fn append(&mut self, extents: &mut [Extent]) -> Result<(), StoreError> {
        self.catch_up()?;
        extents.sort_by_key(|extent| extent.account);
        let mut failure = Ok(());
        for account in extents.chunk_by(|a, b| a.account == b.account) {
            // One account's trouble is not its neighbours'.
            if let Err(error) = self.growing.append(account[0].account, account) {
                failure = Err(error);
            }
        }
        failure?;
        self.full = self.full || extents.iter().any(|extent| self.has_full_file(extent.account));
        let last_seq = extents.iter().map(|extent| extent.last_seq).max();
        self.appended_seq = self.appended_seq.max(last_seq.unwrap_or(0));
        self.appended_bytes += extents.iter().map(|extent| extent.bytes.len() as u64).sum::<u64>();
        Ok(())
    }

    /// Cuts back files that cannot be trusted, and appends what they lack.
    pub(super) fn catch_up(&mut self) -> Result<(), StoreError> {
        self.behind |= self.growing.cut_back()?;
        if self.behind {
            let growing = &mut self.growing;
            let (mut blocks, mut bytes, mut accounts) = (0_u64, 0, BTreeSet::new());
            let mut append = |extent: Extent| {
                let account = extent.account;
                if extent.first_seq > growing.log(account).now.last_seq {
                    blocks += 1;
                    bytes += extent.bytes.len();
                    accounts.insert(account);
                }
                growing.append(account, std::slice::from_ref(&extent)).map_err(io::Error::other)
            };
            self.feed.replay(self.durable_seq, self.appended_seq, &mut append)?;
            self.behind = false;
            if blocks > 0 {
                let accounts = accounts.len();
                tracing::info!(
                    blocks,
                    bytes,
                    accounts,
                    "appended from the journal what the accounts' logs lacked"
                );
            }
        }
        Ok(())
    }

    /// Whether a checkpoint has anything to do.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.behind
            || self.unrecorded
            || self.growing.is_dirty()
            || self.appended_seq > self.durable_seq
            || self.due().next().is_some()
    }

    /// Whether so much has been appended that a checkpoint should not wait for its time.
    pub(super) fn wants_checkpoint_now(&self) -> bool {
        self.appended_bytes >= self.config.checkpoint_bytes
    }

    /// Whether a file waits for a checkpoint to be sealed at its length.
    pub(super) fn wants_to_seal(&self) -> bool {
        self.full
    }

    /// Makes everything appended durable, remembers how far that is, trims the journal, and seals the files that are
    /// large or old enough.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.growing.look()?;
        self.catch_up()?;
        let started = clock::monotonic();
        self.growing.sync()?;
        // From here on files are only ever cut back to this state, whether or not it can be recorded: a restart from an
        // older checkpoint finds them at least that long.
        self.durable_seq = self.appended_seq;
        self.record()?;
        self.feed.trim(self.durable_seq).map_err(StoreError::at(self.growing.dir()))?;
        self.appended_bytes = 0;
        let took = started.elapsed().as_secs_f64();
        self.metrics.logs.checkpoint_seconds.observe(took);
        self.seal()?;
        if self.unrecorded { self.record() } else { Ok(()) }
    }

    /// Seals what is due. Only right after a checkpoint: then a sealed file holds nothing that a restart would append
    /// again.
    fn seal(&mut self) -> Result<(), StoreError> {
        let mut failure = Ok(());
        self.full = false;
        for account in self.due().collect::<Vec<_>>() {
            self.unrecorded = true;
            match self.growing.seal(account) {
                Ok(name) => self.sealed.extend(name.map(|name| (account, name))),
                Err(error) => {
                    self.metrics.logs.failures.with_label_values(&["seal"]).inc();
                    failure = Err(error);
                }
            }
        }
        self.growing.sync()?;
        failure
    }

    fn due(&self) -> impl Iterator<Item = AccountId> {
        let (now_ms, age_ms_max) = (self.clock.unix_ms(), self.config.file_age_ms_max);
        self.growing
            .marks()
            .filter(move |(account, mark)| {
                now_ms.saturating_sub(mark.first_received_ms) >= age_ms_max || self.is_full(*account, mark)
            })
            .map(|(account, _)| account)
    }

    fn has_full_file(&self, account: AccountId) -> bool {
        self.growing.mark(account).is_some_and(|mark| self.is_full(account, &mark))
    }

    /// Whether a growing file is as long as it should get. Retention drops whole files: of an account that may keep few
    /// bytes, files are small enough that dropping one leaves most of them.
    fn is_full(&self, account: AccountId, mark: &Mark) -> bool {
        let kept_bytes_max = (self.retention)(account).and_then(|retention| retention.bytes_max);
        let share = kept_bytes_max.map_or(u64::MAX, |bytes_max| bytes_max / FILES_KEPT_MIN);
        mark.bytes >= self.config.file_bytes_max.min(share)
    }

    /// Writes the checkpoint. To be called only while every growing file, and every name, is as it was last synced.
    fn record(&mut self) -> Result<(), StoreError> {
        let checkpoint = Checkpoint { seq: self.durable_seq, marks: self.growing.marks().collect() };
        checkpoint
            .store(self.growing.disk(), self.growing.dir())
            .map_err(StoreError::at(self.growing.dir()))?;

        self.unrecorded = false;
        self.recorded = true;
        Ok(())
    }
}
