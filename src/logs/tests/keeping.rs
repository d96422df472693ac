//! Sealing, retention and damage, step by step on a disk in memory.

use super::super::names::CURRENT;
use super::super::*;
use super::START_MS;
use crate::domain::account::Durability;
use crate::journal::OnCorruption;
use crate::journal::disk::fake::{Crash, FakeDisk, Fault};
use crate::journal::disk::{self, Disk};
use crate::journal::tests::{self as journal_tests, Direct, batch, inflate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT: &str = "/data/logs/1";

/// The storage of one account, without threads.
pub(super) struct Storage {
    pub(super) disk: FakeDisk,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retention: Option<Retention>,
    pub(super) on_corruption: OnCorruption,
    pub(super) running: Option<(Direct, Keeper)>,
    pub(super) stored: u64,
}

impl Storage {
    pub(super) fn new() -> Self {
        let mut storage = Self {
            disk: FakeDisk::new(1),
            clock: Clock::manual(START_MS),
            metrics: Arc::new(Metrics::new()),
            retention: None,
            on_corruption: OnCorruption::Fail,
            running: None,
            stored: 0,
        };
        storage.open().unwrap();
        storage
    }

    pub(super) fn open(&mut self) -> Result<(), OpenError> {
        self.running = None;
        let root = Path::new("/data");
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let config = Config { file_bytes_max: 10_000, ..super::config(root) };
        let found = load::find(&*disk, &config.dir, &self.metrics)?;
        let journal = journal::Config { on_corruption: self.on_corruption, ..journal_tests::config(root) };
        let (direct, feed) = Direct::open(&journal, disk.clone(), self.metrics.clone(), found.seq())?;
        let loaded = found.load(&*disk, &config.dir, &feed, &self.metrics)?;
        let retention = self.retention;
        let retention: RetentionOf = Arc::new(move |_| retention);
        let keeper =
            Keeper::open(config, feed, loaded, disk, retention, self.clock.clone(), self.metrics.clone())?;
        self.running = Some((direct, keeper));
        self.keeper().catch_up()?;
        Ok(())
    }

    pub(super) fn keeper(&mut self) -> &mut Keeper {
        &mut self.running.as_mut().unwrap().1
    }

    /// Stores one log, in the journal and in the account's log.
    pub(super) fn store(&mut self) {
        let (direct, keeper) = self.running.as_mut().unwrap();
        let body = format!("{{\"n\":{}}}", self.stored);
        let batch = batch(1, Durability::Synced, self.clock.unix_ms(), &body);
        direct.commit(vec![batch]).pop().unwrap().unwrap();
        keeper.append(&mut keeper.feed.next(Duration::ZERO).unwrap()).unwrap();
        self.stored += 1;
    }

    /// Stores a log and seals it, alone in its file.
    pub(super) fn store_and_seal(&mut self) {
        self.store();
        self.clock.advance(Duration::from_secs(3_600));
        self.keeper().checkpoint().unwrap();
    }

    pub(super) fn sweep(&mut self) {
        let mut sweep = Sweep::default();
        self.keeper().sweep(&mut sweep, false).unwrap();
        assert!(!sweep.is_under_way());
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new(ROOT)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// The numbers of the logs that are readable, in order.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let mut files = self.names();
        files.retain(|name| name.ends_with(".ndjson.zst"));
        files.sort();
        let read = |name: &String| inflate(&disk::read(&self.disk, &Path::new(ROOT).join(name)).unwrap());
        let text: String = files.iter().map(read).collect();
        let number =
            |line: &str| line.trim_end_matches('}').rsplit_once("\"n\":").unwrap().1.parse().unwrap();
        text.lines().map(number).collect()
    }
}

#[test]
fn a_file_is_sealed_by_the_age_of_its_first_line() {
    let mut storage = Storage::new();
    storage.store();
    storage.clock.advance(Duration::from_secs(3_599));
    storage.store();
    storage.keeper().checkpoint().unwrap();
    assert_eq!(storage.names(), [CURRENT]);
    storage.clock.advance(Duration::from_secs(1));
    assert!(storage.keeper().wants_checkpoint(), "an idle account's file is sealed too");
    storage.keeper().checkpoint().unwrap();
    assert_eq!(storage.names(), ["20231114T221320.000Z-00000000000000000001.ndjson.zst"]);
    assert!(!storage.keeper().wants_checkpoint());
    storage.store();
    assert_eq!(storage.numbers(), [0, 1, 2]);
    assert_eq!(storage.metrics.logs.sealed_files.get(), 1);
}

#[test]
fn a_file_is_sealed_by_its_size() {
    let mut storage = Storage::new();
    while storage.metrics.logs.sealed_files.get() < 2 {
        storage.store();
        storage.keeper().checkpoint().unwrap();
    }
    let entries = storage.disk.list(Path::new(ROOT)).unwrap();
    let sealed = entries.iter().filter(|entry| entry.name != CURRENT);
    assert!(sealed.clone().count() >= 2 && sealed.clone().all(|entry| entry.bytes >= 10_000));
    assert_eq!(storage.numbers(), Vec::from_iter(0..storage.stored));
}

#[test]
fn checkpoints_let_the_journal_go() {
    let mut storage = Storage::new();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    storage.disk.reboot(Crash::PowerLoss);
    storage.open().unwrap();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    assert_eq!(storage.metrics.journal.segments.get(), 1);
    assert_eq!(storage.numbers(), [0, 1]);
}

#[test]
fn files_are_dropped_when_their_newest_line_is_too_old() {
    let mut storage = Storage::new();
    storage.retention = Some(Retention { days: 3, bytes_max: None });
    storage.open().unwrap();
    for _ in 0..4 {
        storage.store_and_seal();
        storage.clock.advance(DAY);
    }
    let text = journal_tests::logged(|| storage.sweep());
    assert!(text.contains("dropped a log file account=1 file=\"20231114T221320.000Z-"), "{text}");
    assert!(text.contains("reason=\"age\""), "{text}");
    assert_eq!(storage.numbers(), [2, 3]);
    storage.clock.advance(DAY * 4);
    // The newest sealed file's last line is not in any name: after a restart it is read.
    storage.open().unwrap();
    storage.sweep();
    assert_eq!(storage.numbers(), Vec::<u64>::new());
    assert_eq!(storage.metrics.logs.expired_files.get(), 4);
}

#[test]
fn a_sweep_stopped_anywhere_leaves_whole_files_and_is_finished_by_the_next() {
    for (step, crash) in (1..).flat_map(|step| [(step, Crash::Kill), (step, Crash::PowerLoss)]) {
        let mut storage = Storage::new();
        storage.retention = Some(Retention { days: 3, bytes_max: None });
        storage.open().unwrap();
        for _ in 0..4 {
            storage.store_and_seal();
            storage.clock.advance(DAY);
        }
        let at = storage.disk.steps() + step;
        storage.disk.fail(at..at + 1, Fault::Crash);
        let swept = storage.keeper().sweep(&mut Sweep::default(), false);
        if swept.is_ok() {
            assert!(step > 6, "a file goes in several steps");
            return;
        }
        storage.disk.reboot(crash);
        storage.open().unwrap();
        assert!(storage.numbers().ends_with(&[2, 3]));
        storage.sweep();
        assert_eq!(storage.numbers(), [2, 3]);
        assert!(!storage.names().iter().any(|name| name.ends_with(".tmp")));
    }
}

#[test]
fn the_oldest_files_are_dropped_when_an_account_has_too_many_bytes() {
    let mut storage = Storage::new();
    storage.store_and_seal();
    let one = storage.disk.list(Path::new(ROOT)).unwrap()[0].bytes;
    storage.retention = Some(Retention { days: 1000, bytes_max: Some(2 * one + 10) });
    storage.open().unwrap();
    for _ in 0..3 {
        storage.store_and_seal();
    }
    storage.sweep();
    assert_eq!(storage.numbers(), [2, 3]);
}

#[test]
fn a_bound_below_one_file_s_length_drops_the_oldest_eighth_and_not_everything() {
    let mut storage = Storage::new();
    // Files are sealed at 10 000 bytes: without regard to the bound, the first would be dropped with all that is in it.
    storage.retention = Some(Retention { days: 1000, bytes_max: Some(8_000) });
    storage.open().unwrap();
    while storage.metrics.logs.expired_files.get() < 3 {
        storage.store();
        storage.keeper().checkpoint().unwrap();
        storage.sweep();
        let numbers = storage.numbers();
        assert_eq!(numbers.last(), Some(&(storage.stored - 1)));
        let bytes: u64 = storage.disk.list(Path::new(ROOT)).unwrap().iter().map(|entry| entry.bytes).sum();
        let full = storage.metrics.logs.expired_files.get() > 0;
        assert!(bytes <= 8_000 && (bytes > 6_000 || !full), "{bytes}");
    }
}

#[test]
fn a_file_longer_than_the_bound_stays_until_half_the_bound_is_behind_it() {
    let mut storage = Storage::new();
    while storage.numbers().len() < 20 {
        storage.store();
    }
    let long = storage.disk.list(Path::new(ROOT)).unwrap()[0].bytes;
    storage.clock.advance(Duration::from_secs(3_600));
    storage.keeper().checkpoint().unwrap();
    storage.retention = Some(Retention { days: 1000, bytes_max: Some(long / 2) });
    storage.open().unwrap();
    storage.sweep();
    assert_eq!(storage.numbers().len(), 20, "nothing is behind it yet");
    while storage.numbers()[0] == 0 {
        storage.store();
        storage.sweep();
    }
    assert_eq!(storage.numbers(), [20, 21, 22, 23, 24]);
}

#[test]
fn the_growing_file_is_never_dropped() {
    let mut storage = Storage::new();
    storage.retention = Some(Retention { days: 0, bytes_max: Some(0) });
    storage.open().unwrap();
    storage.store();
    storage.clock.advance(DAY * 100);
    storage.sweep();
    assert_eq!(storage.numbers(), [0]);
}

#[test]
fn a_file_without_an_account_s_retention_is_kept() {
    let mut storage = Storage::new();
    storage.store_and_seal();
    storage.clock.advance(DAY * 10_000);
    storage.sweep();
    assert_eq!(storage.numbers(), [0]);
}

/// Three durable logs in a growing file, and one behind them that only the journal is known to have.
pub(super) fn grown() -> (Storage, usize) {
    let mut storage = Storage::new();
    for _ in 0..3 {
        storage.store();
    }
    storage.keeper().checkpoint().unwrap();
    let bytes = storage.disk.list(Path::new(ROOT)).unwrap()[0].bytes as usize;
    storage.store();
    storage.running = None;
    storage.disk.reboot(Crash::Kill);
    (storage, bytes / 3)
}

#[test]
fn a_log_made_up_from_the_journal_is_said_to_be() {
    let (mut storage, block) = grown();
    let text = journal_tests::logged(|| storage.open().unwrap());
    let expect = format!("what the accounts' logs lacked blocks=1 bytes={block} accounts=1");
    assert!(text.contains(&expect), "{text}");
    let (mut storage, _) = grown();
    storage.open().unwrap();
    storage.keeper().checkpoint().unwrap();
    let text = journal_tests::logged(|| storage.open().unwrap());
    assert!(!text.contains("lacked"), "{text}");
}

#[test]
fn what_was_not_durable_is_appended_again() {
    let (mut storage, _) = grown();
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [0, 1, 2, 3]);
    assert_eq!(storage.metrics.logs.damaged_files.get(), 0);
}

#[test]
fn a_damaged_file_is_kept_aside_and_its_whole_blocks_stay_readable() {
    let (mut storage, block) = grown();
    let current = Path::new(ROOT).join(CURRENT);
    storage.disk.damage(&current, 2 * block + 80);
    storage.disk.damage(&current, 100);
    let before = disk::read(&storage.disk, &current).unwrap();
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [1, 3]);
    assert_eq!(storage.metrics.logs.damaged_files.get(), 1);
    let damaged = storage.names().into_iter().find(|name| name.ends_with(".damaged")).unwrap();
    assert!(disk::read(&storage.disk, &Path::new(ROOT).join(damaged)).unwrap() == before);
}

#[test]
fn a_file_cut_short_is_kept_aside_and_the_log_goes_on() {
    for keep in [0, 1, 100, 200] {
        let (mut storage, block) = grown();
        storage.disk.shorten(&Path::new(ROOT).join(CURRENT), keep);
        storage.open().unwrap();
        let whole: Vec<_> = (0..(keep / block) as u64).chain([3]).collect();
        assert_eq!(storage.numbers(), whole, "{keep}");
        assert_eq!(storage.metrics.logs.damaged_files.get(), 1);
    }
}

#[test]
fn a_file_removed_while_it_grows_does_not_stop_the_others() {
    let mut storage = Storage::new();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    storage.disk.remove(&Path::new(ROOT).join(CURRENT)).unwrap();
    storage.clock.advance(Duration::from_secs(3_600));
    assert!(storage.keeper().checkpoint().is_err(), "it cannot be sealed");
    storage.keeper().checkpoint().unwrap();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    assert_eq!(storage.numbers(), [1]);
}

#[test]
fn a_lost_checkpoint_is_made_up_from_the_files() {
    let mut storage = Storage::new();
    storage.store_and_seal();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    storage.store();
    for damage in [true, false] {
        let checkpoint = Path::new("/data/logs/checkpoint");
        if damage {
            storage.disk.damage(checkpoint, 9);
        } else {
            storage.disk.remove(checkpoint).unwrap();
        }
        storage.open().unwrap();
        assert_eq!(storage.numbers(), [0, 1, 2]);
    }
    storage.store();
    assert_eq!(storage.numbers(), [0, 1, 2, 3]);
}

#[test]
fn a_new_journal_behind_old_logs_loses_nothing() {
    let mut storage = Storage::new();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    storage.running = None;
    for entry in storage.disk.list(Path::new("/data/journal")).unwrap() {
        storage.disk.remove(&Path::new("/data/journal").join(entry.name)).unwrap();
    }
    storage.open().unwrap();
    storage.store();
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [0, 1]);
}

#[test]
fn a_start_on_a_full_disk_says_which_file_and_why() {
    let failure = (1..100).find_map(|step| {
        let (mut storage, _) = grown();
        storage.disk.fail(storage.disk.steps() + step..u64::MAX, Fault::Full);
        match storage.open() {
            Err(OpenError::Logs(error @ StoreError::Replay(_))) => Some(chain(&error)),
            _ => None,
        }
    });
    let expect = "cannot append from the journal: cannot store what the journal holds: \
                  cannot use /data/logs/1/current.ndjson.zst: no storage space";
    assert_eq!(failure.unwrap(), expect);
}

#[test]
fn a_log_that_cannot_be_written_gives_up_when_the_journal_is_closed() {
    let disk = FakeDisk::new(1);
    let root = Path::new("/data");
    let open = || {
        Logs::open(
            super::config(root),
            journal_tests::config(root),
            Arc::new(disk.clone()),
            Arc::new(|_| None),
            Tails::default(),
            Arc::new(Metrics::new()),
            Clock::manual(START_MS),
        )
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (journal, logs) = open().unwrap();
    let stored = runtime.block_on(journal.append(batch(1, Durability::Synced, START_MS, "{\"n\":0}")));
    stored.unwrap();
    disk.fail(disk.steps()..u64::MAX, Fault::Full);
    let refused = runtime.block_on(journal.append(batch(1, Durability::Synced, START_MS, "{\"n\":1}")));
    assert!(refused.is_err());
    journal.close();
    assert!(logs.close().is_err());
    disk.heal();
    let (journal, logs) = open().unwrap();
    journal.close();
    logs.close().unwrap();
    let current = disk::read(&disk, &Path::new(ROOT).join(CURRENT)).unwrap();
    assert_eq!(inflate(&current).lines().count(), 1);
}
