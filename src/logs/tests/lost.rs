//! What others have taken away or put in the way: the journal, folders and files.

use super::super::*;
use super::keeping::{Storage, grown};
use crate::journal::OnCorruption;
use crate::journal::disk::{self, Disk};

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
