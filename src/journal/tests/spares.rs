//! Segments that are written over trimmed ones: nothing of what the file held before ever counts again.

use super::super::disk::fake::{Crash, FakeDisk, Fault};
use super::*;

const SEGMENT_BYTES: u64 = 600;

fn small() -> Config {
    Config { segment_bytes: SEGMENT_BYTES, bytes_max: 100_000, ..config(Path::new("/data")) }
}

fn open(disk: &FakeDisk, floor: u64) -> (Direct, Feed, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let (direct, feed) = Direct::open(&small(), Arc::new(disk.clone()), metrics.clone(), floor).unwrap();
    (direct, feed, metrics)
}

/// Names of the journal's files, and their lengths.
fn files(disk: &FakeDisk) -> Vec<(String, u64)> {
    let entries = disk.list(Path::new("/data/journal")).unwrap();
    entries.into_iter().map(|entry| (entry.name, entry.bytes)).collect()
}

fn spares(disk: &FakeDisk) -> Vec<(String, u64)> {
    let mut files = files(disk);
    files.retain(|(name, _)| name.ends_with(disk::TEMPORARY));
    files
}

/// A journal that has filled three segments, of which two have been trimmed and wait to be written over; and its last
/// number.
fn with_spares(disk: &FakeDisk) -> (Direct, Feed, u64) {
    let (mut journal, feed, _) = open(disk, 0);
    let mut seq = 0;
    while files(disk).len() < 3 {
        journal.store(1, Durability::Synced, seq).unwrap();
        seq += 1;
    }
    feed.trim(seq).unwrap();
    assert_eq!(spares(disk).len(), 2);
    (journal, feed, seq)
}

/// Stores until the next segment has begun.
fn into_the_next_segment(disk: &FakeDisk, journal: &mut Direct, seq: &mut u64) {
    let before = spares(disk).len();
    while spares(disk).len() == before {
        journal.store(1, Durability::Synced, *seq).unwrap();
        *seq += 1;
    }
}

/// The numbers that a start from `floor` finds, as tests store them: the block `n + 1` holds `n`.
fn found(disk: &FakeDisk, floor: u64) -> (Vec<u64>, Arc<Metrics>) {
    let (_, feed, metrics) = open(disk, floor);
    let mut numbers = vec![];
    let mut take = |extent: Extent| {
        let line: serde_json::Value = serde_json::from_str(&inflate(&extent.bytes)).unwrap();
        assert_eq!(line["n"].as_u64().unwrap() + 1, extent.first_seq);
        numbers.push(line["n"].as_u64().unwrap());
        Ok(())
    };
    feed.replay(floor, feed.recovered_seq(), &mut take).unwrap();
    (numbers, metrics)
}

#[test]
fn a_trimmed_segment_is_written_over_and_not_removed() {
    let disk = FakeDisk::new(1);
    let (mut journal, _feed, mut seq) = with_spares(&disk);
    into_the_next_segment(&disk, &mut journal, &mut seq);
    let (_, bytes) = files(&disk).into_iter().rfind(|(name, _)| name.ends_with(".wal")).unwrap();
    assert!(bytes >= SEGMENT_BYTES, "it has its length from the beginning: {bytes}");
    assert_eq!(files(&disk).len(), 3);
}

#[test]
fn old_blocks_of_a_file_never_count_again() {
    for (seed, more) in (0..40).flat_map(|seed| (0..8).map(move |more| (seed, more))) {
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let disk = FakeDisk::new(seed);
            let (mut journal, feed, mut seq) = with_spares(&disk);
            let floor = seq;
            into_the_next_segment(&disk, &mut journal, &mut seq);
            for _ in 0..more {
                journal.store(1, Durability::Synced, seq).unwrap();
                seq += 1;
            }
            // One group whose sync does not succeed before the end: page by page it is there or not.
            disk.fail(disk.steps() + 2..u64::MAX, Fault::Crash);
            journal.store(1, Durability::Synced, seq).unwrap_err();
            drop((journal, feed));
            disk.heal();
            disk.reboot(crash);
            let (numbers, metrics) = found(&disk, floor);
            let acknowledged: Vec<_> = (floor..seq).collect();
            assert!(numbers.starts_with(&acknowledged) && numbers.len() <= acknowledged.len() + 1);
            assert_eq!(metrics.journal.corrupt_entries.get(), 0);
            assert_eq!(spares(&disk).len(), 0, "no spare outlives the process");
        }
    }
}

#[test]
fn what_a_file_held_before_is_not_reported_as_torn() {
    let disk = FakeDisk::new(1);
    let (mut journal, feed, mut seq) = with_spares(&disk);
    let floor = seq;
    into_the_next_segment(&disk, &mut journal, &mut seq);
    drop((journal, feed));
    disk.reboot(Crash::Kill);
    let (numbers, metrics) = found(&disk, floor);
    assert_eq!(numbers, (floor..seq).collect::<Vec<_>>());
    let block = 150;
    assert!(metrics.journal.torn_bytes.get() < block, "{}", metrics.journal.torn_bytes.get());
}

#[test]
fn a_segment_written_over_another_ends_like_any_other_once_it_is_closed() {
    let disk = FakeDisk::new(1);
    let (mut journal, feed, mut seq) = with_spares(&disk);
    let floor = seq;
    into_the_next_segment(&disk, &mut journal, &mut seq);
    let last = files(&disk).into_iter().rfind(|(name, _)| name.ends_with(".wal")).unwrap().0;
    into_the_next_segment(&disk, &mut journal, &mut seq);
    let bytes = disk::read(&disk, &Path::new("/data/journal").join(last)).unwrap();
    assert!(inflate(&bytes).lines().count() > 1);
    let mut replayed = vec![];
    let mut take = |extent: Extent| {
        replayed.push(extent.first_seq - 1);
        Ok(())
    };
    feed.replay(floor, seq, &mut take).unwrap();
    assert_eq!(replayed, (floor..seq).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_was_given_up_is_not_written_over() {
    let disk = FakeDisk::new(1);
    let (mut journal, feed, _) = open(&disk, 0);
    journal.store(1, Durability::Synced, 0).unwrap();
    // The sync fails, and what the segment holds behind its last good sync cannot be cut off either.
    let steps = disk.steps();
    disk.fail(steps + 2..steps + 4, Fault::Io);
    journal.store(1, Durability::Synced, 1).unwrap_err();
    let mut seq = 1;
    while files(&disk).len() < 3 {
        journal.store(1, Durability::Synced, seq).unwrap();
        seq += 1;
    }
    feed.trim(seq).unwrap();
    assert_eq!(spares(&disk).len(), 1, "only the one that was filled");
}

#[test]
fn few_spares_are_kept_and_none_on_a_full_disk() {
    let disk = FakeDisk::new(1);
    let metrics = Arc::new(Metrics::new());
    let config = Config { disk_free_bytes_min: 1_000, ..small() };
    let (mut journal, feed) = Direct::open(&config, Arc::new(disk.clone()), metrics, 0).unwrap();
    let mut seq = 0;
    while files(&disk).len() < 12 {
        journal.store(1, Durability::Synced, seq).unwrap();
        seq += 1;
    }
    feed.trim(seq).unwrap();
    assert_eq!(spares(&disk).len(), 4);
    disk.set_free_bytes(999);
    assert_eq!(journal.store(1, Durability::Synced, seq), Err(AppendError::Full));
    assert_eq!(spares(&disk).len(), 0);
}
