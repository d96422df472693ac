//! What others have taken away or put in the way: the journal, folders and files.

use super::super::*;
use super::keeping::{Storage, grown};
use crate::domain::account::Durability;
use crate::journal::OnCorruption;
use crate::journal::disk::{self, Disk, OsDisk};
use crate::journal::tests::{self as journal_tests, batch, eventually};

/// Removes what is in the journal, as if its volume were not mounted.
fn lose_journal(storage: &Storage) {
    let dir = Path::new("/data/journal");
    for entry in storage.disk.list(dir).unwrap() {
        storage.disk.remove(&dir.join(entry.name)).unwrap();
    }
}

#[test]
fn a_start_without_the_journal_is_refused_and_cuts_no_acknowledged_line() {
    let (mut storage, _) = grown();
    let path = Path::new("/data/journal/00000000000000000001.wal");
    let kept = disk::read(&storage.disk, path).unwrap();
    lose_journal(&storage);
    for _ in 0..2 {
        let refused = chain(&storage.open().unwrap_err());
        let told = "/data/logs/1/current.ndjson.zst holds lines that had been acknowledged and are missing in the \
                    journal in /data/journal. Put the journal back";
        assert!(
            refused.contains(told) && refused.contains("`journal.on_corruption` to \"skip\""),
            "{refused}"
        );
        assert_eq!(storage.numbers(), [0, 1, 2, 3]);
    }
    // Mounted again.
    let mut file = storage.disk.open(path, disk::Mode::Create).unwrap();
    disk::write_all(&mut *file, &mut [io::IoSlice::new(&kept)]).unwrap();
    storage.open().unwrap();
    storage.store();
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [0, 1, 2, 3, 4]);
}

#[test]
fn without_the_journal_the_logs_can_be_gone_on_with_as_they_are() {
    let (grown, fresh) = (grown().0, {
        let mut storage = Storage::new();
        storage.store();
        storage.store();
        storage
    });
    for mut storage in [grown, fresh] {
        let mut expect = storage.numbers();
        lose_journal(&storage);
        storage.on_corruption = OnCorruption::Skip;
        for _ in 0..2 {
            storage.clock.advance(Duration::from_secs(1));
            storage.open().unwrap();
            assert_eq!(storage.numbers(), expect);
            expect.push(storage.stored);
            storage.store();
            assert_eq!(storage.numbers(), expect);
        }
        storage.on_corruption = OnCorruption::Fail;
        storage.open().unwrap();
        storage.keeper().checkpoint().unwrap();
        storage.open().unwrap();
        assert_eq!(storage.numbers(), expect);
    }
}

#[test]
fn a_journal_without_its_last_segment_cuts_no_acknowledged_line() {
    let mut storage = Storage::new();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    // A restart begins another segment.
    storage.open().unwrap();
    for _ in 0..3 {
        storage.store();
    }
    storage.running = None;
    storage.disk.remove(Path::new("/data/journal/00000000000000000002.wal")).unwrap();
    let refused = storage.open();
    assert!(matches!(refused, Err(OpenError::Logs(StoreError::JournalGone { .. }))));
    assert_eq!(storage.numbers(), [0, 1, 2, 3]);
    storage.on_corruption = OnCorruption::Skip;
    storage.open().unwrap();
    storage.store();
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [0, 1, 2, 3, 4]);
}

#[test]
fn lines_that_a_damaged_journal_lacks_and_their_file_holds_are_kept() {
    let (mut storage, _) = grown();
    storage.open().unwrap();
    storage.store();
    storage.store();
    storage.running = None;
    // After a restart, what may have been in the page cache only begins the next segment.
    storage.disk.damage(Path::new("/data/journal/00000000000000000004.wal"), 100);
    assert!(matches!(storage.open(), Err(OpenError::Journal(_))));
    assert_eq!(storage.numbers(), [0, 1, 2, 3, 4, 5], "a start that is refused cuts nothing");
    storage.on_corruption = OnCorruption::Skip;
    storage.open().unwrap();
    assert_eq!(storage.numbers(), [0, 1, 2, 3, 4, 5]);
}

/// Storage on the machine's own disk: account 1 has a line in its log, and then something happens to it. Account 2 goes
/// on, and so does account 1.
async fn goes_on_after(happens: impl Fn(&Path), restarts: bool) {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let open = || {
        let config = Config { checkpoint_interval_ms: 1, ..super::config(dir.path()) };
        let journal = journal::Config {
            segment_bytes: 1 << 16,
            bytes_max: 1 << 20,
            ..journal_tests::config(dir.path())
        };
        let clock = Clock::manual(super::START_MS);
        Logs::open(
            config,
            journal,
            Arc::new(OsDisk),
            Arc::new(|_| None),
            Tails::default(),
            metrics.clone(),
            clock,
        )
        .unwrap()
    };
    let line = |account: u32| batch(account, Durability::Synced, super::START_MS, "{\"a\":1}");
    let (mut journal, mut logs) = open();
    journal.append(line(1)).await.unwrap();
    let durable = || std::fs::read(dir.path().join("logs/checkpoint")).is_ok_and(|bytes| bytes[8] == 1);
    eventually(durable).await;
    if restarts {
        journal.close();
        logs.close().unwrap();
        happens(&dir.path().join("logs"));
        (journal, logs) = open();
    } else {
        happens(&dir.path().join("logs"));
    }
    let written = metrics.journal.written_bytes.get();
    while metrics.journal.written_bytes.get() < written + (3 << 20) {
        let body =
            format!("{{\"a\":\"{}\"}}", (0..2_000).map(|n| format!("{:x}", n * n)).collect::<String>());
        let shipped = journal.append(batch(2, Durability::Synced, super::START_MS, &body)).await;
        assert!(matches!(shipped, Ok(_) | Err(journal::AppendError::JournalFull)), "{shipped:?}");
    }
    journal.append(line(1)).await.unwrap();
    journal.close();
    logs.close().unwrap();
    assert_eq!(super::lines(dir.path(), 1).lines().count(), 1);
    assert!(metrics.logs.damaged_files.get() > 0);
}

#[tokio::test]
async fn an_account_s_folder_that_is_removed_stops_nobody() {
    let removed = |logs: &Path| std::fs::remove_dir_all(logs.join("1")).unwrap();
    goes_on_after(removed, false).await;
}

#[tokio::test]
async fn all_folders_of_logs_removed_stop_nobody() {
    goes_on_after(|logs| std::fs::remove_dir_all(logs).unwrap(), false).await;
}

#[tokio::test]
async fn a_file_in_place_of_a_folder_stops_nobody() {
    let replaced = |logs: &Path| {
        std::fs::remove_dir_all(logs.join("1")).unwrap();
        std::fs::write(logs.join("1"), "not ours").unwrap();
    };
    for restarts in [false, true] {
        goes_on_after(replaced, restarts).await;
    }
}

#[tokio::test]
async fn a_stray_file_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    std::fs::write(dir.path().join("logs/7"), "not ours").unwrap();
    let (journal, logs) = super::open(dir.path());
    journal.append(batch(7, Durability::Synced, super::START_MS, "{}")).await.unwrap();
    journal.close();
    logs.close().unwrap();
    assert_eq!(super::lines(dir.path(), 7).lines().count(), 1);
    assert_eq!(std::fs::read(dir.path().join("logs/7.unusable-1")).unwrap(), b"not ours");
}

#[test]
fn blocks_of_a_removed_file_that_came_after_the_checkpoint_are_appended_again() {
    let mut storage = Storage::new();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    storage.store();
    storage.disk.remove(Path::new("/data/logs/1/current.ndjson.zst")).unwrap();
    storage.store();
    storage.keeper().checkpoint().unwrap();
    assert_eq!(storage.numbers(), [1, 2]);
    assert_eq!(storage.metrics.logs.damaged_files.get(), 1);
}
