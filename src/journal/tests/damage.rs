//! What recovery makes of a journal that is not whole.

use super::super::disk::fake::{Crash, FakeDisk, Fault};
use super::*;

const SEGMENT: &str = "/data/journal/00000000000000000001.wal";

fn reopen(disk: &FakeDisk, on_corruption: OnCorruption) -> (Result<(Direct, Feed), OpenError>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let config = Config { on_corruption, ..config(Path::new("/data")) };
    let opened = Direct::open(&config, Arc::new(disk.clone()), metrics.clone(), 0);
    (opened, metrics)
}

/// A journal of three blocks, each synced before the next, and the length of each.
fn three_blocks() -> (FakeDisk, usize) {
    let disk = FakeDisk::new(1);
    let (mut journal, _feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    for n in 0..3 {
        journal.store(1, Durability::Synced, n).unwrap();
    }
    disk.reboot(Crash::Kill);
    let bytes = disk.list(Path::new("/data/journal")).unwrap()[0].bytes as usize;
    (disk, bytes / 3)
}

fn numbers(feed: &Feed) -> Vec<String> {
    let number = |(_, lines): (u32, String)| {
        lines.split(['{', '}']).nth(1).unwrap().split_once("\"n\":").unwrap().1.to_owned()
    };
    replayed(feed).into_iter().map(number).collect()
}

#[test]
fn damage_before_the_last_group_is_reported_and_nothing_starts() {
    let (disk, block) = three_blocks();
    disk.damage(Path::new(SEGMENT), block + 80);
    let (opened, metrics) = reopen(&disk, OnCorruption::Fail);
    let Err(OpenError::Corrupt { offset, seq, source, .. }) = opened else {
        panic!("it starts");
    };
    assert_eq!((offset, seq, source), (block as u64, 2, Flaw::FrameChecksum));
    assert_eq!(metrics.journal.corrupt_entries.get(), 1);
}

#[test]
fn damage_can_be_set_aside_and_the_rest_is_kept() {
    let (disk, block) = three_blocks();
    disk.damage(Path::new(SEGMENT), block + 3);
    let before = disk::read(&disk, Path::new(SEGMENT)).unwrap();
    let (opened, metrics) = reopen(&disk, OnCorruption::Skip);
    let (mut journal, feed) = opened.unwrap();
    assert_eq!(numbers(&feed), ["0", "2"]);
    assert_eq!(metrics.journal.corrupt_entries.get(), 1);
    let aside = disk::read(&disk, Path::new(&format!("{SEGMENT}.corrupt"))).unwrap();
    assert!(aside == before);
    journal.store(1, Durability::Synced, 3).unwrap();
    drop(feed);
    let (_, feed) = reopen(&disk, OnCorruption::Skip).0.unwrap();
    assert_eq!(numbers(&feed), ["0", "2", "3"]);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let (_, block) = three_blocks();
    for cut in 2 * block + 1..3 * block {
        let (disk, _) = three_blocks();
        disk.shorten(Path::new(SEGMENT), cut);
        let (opened, metrics) = reopen(&disk, OnCorruption::Fail);
        let (mut journal, feed) = opened.unwrap();
        assert_eq!(numbers(&feed), ["0", "1"], "{cut}");
        assert_eq!(metrics.journal.torn_bytes.get(), (cut - 2 * block) as u64);
        journal.store(1, Durability::Synced, 7).unwrap();
        let (_, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
        assert_eq!(numbers(&feed), ["0", "1", "7"], "{cut}");
    }
}

#[test]
fn a_segment_that_lost_its_end_is_damaged_and_not_torn() {
    let (disk, block) = three_blocks();
    let (mut journal, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    journal.store(1, Durability::Synced, 3).unwrap();
    drop((journal, feed));
    disk.shorten(Path::new(SEGMENT), block);
    let (opened, _) = reopen(&disk, OnCorruption::Fail);
    assert!(matches!(opened, Err(OpenError::Corrupt { seq: 2, source: Flaw::Short, .. })));
}

#[test]
fn a_missing_segment_is_damage() {
    let (disk, _) = three_blocks();
    let (mut journal, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    journal.store(1, Durability::Synced, 3).unwrap();
    drop((journal, feed));
    disk.remove(Path::new(SEGMENT)).unwrap();
    let metrics = Arc::new(Metrics::new());
    let config = config(Path::new("/data"));
    let floor = 1;
    let opened = Direct::open(&config, Arc::new(disk), metrics, floor);
    assert!(matches!(opened, Err(OpenError::Corrupt { seq: 2, .. })));
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let (disk, block) = three_blocks();
    for n in 0..3 {
        // 1 becomes 254.
        disk.damage(Path::new(SEGMENT), n * block + 11);
    }
    let (opened, _) = reopen(&disk, OnCorruption::Skip);
    assert!(matches!(opened, Err(OpenError::Newer { version: 254, .. })));
    assert_eq!(disk::read(&disk, Path::new(SEGMENT)).unwrap().len(), 3 * block);
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let disk = FakeDisk::new(1);
    let metrics = Arc::new(Metrics::new());
    let config = Config { disk_free_bytes_min: 1_000_000, ..config(Path::new("/data")) };
    let (mut journal, feed) = Direct::open(&config, Arc::new(disk.clone()), metrics.clone(), 0).unwrap();
    disk.set_free_bytes(1_000_000);
    assert_eq!(journal.store(1, Durability::Synced, 0), Err(AppendError::Full));
    disk.set_free_bytes(2_000_000);
    assert_eq!(journal.store(1, Durability::Synced, 1), Ok(()));
    let steps = disk.steps();
    disk.fail(steps + 1..u64::MAX, Fault::Full);
    assert_eq!(journal.store(1, Durability::Synced, 2), Err(AppendError::Full));
    assert_eq!(journal.store(1, Durability::Synced, 3), Err(AppendError::Full));
    disk.heal();
    assert_eq!(journal.store(1, Durability::Synced, 4), Ok(()));
    assert_eq!(metrics.journal.failures.with_label_values(&["full"]).get(), 3);
    drop(feed);
    let (_, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    assert_eq!(numbers(&feed), ["1", "4"]);
}

#[test]
fn recovery_says_what_it_did() {
    let (disk, block) = three_blocks();
    let start = |on_corruption| logged(|| drop(reopen(&disk, on_corruption).0));
    disk.shorten(Path::new(SEGMENT), 3 * block - 5);
    let torn = start(OnCorruption::Fail);
    let expect = format!("recovered the journal segments=1 blocks=2 not_in_logs=2 torn_bytes={}", block - 5);
    assert!(torn.contains(" INFO ") && torn.contains(&expect), "{torn}");
    disk.damage(Path::new(SEGMENT), 3);
    let damaged = start(OnCorruption::Skip);
    assert!(damaged.contains(" WARN recovered a damaged journal"), "{damaged}");
    disk.remove(Path::new(SEGMENT)).unwrap();
    assert_eq!(start(OnCorruption::Skip), "", "a new journal");
}

#[test]
fn the_accounts_logs_do_not_use_up_the_reserve() {
    let disk = FakeDisk::new(1);
    let metrics = Arc::new(Metrics::new());
    let config = Config { disk_free_bytes_min: 1_000_000, ..config(Path::new("/data")) };
    let (mut journal, feed) = Direct::open(&config, Arc::new(disk.clone()), metrics.clone(), 0).unwrap();
    journal.store(1, Durability::Synced, 0).unwrap();
    let extents = feed.next(Duration::ZERO).unwrap();
    let block = extents[0].bytes.len();
    // Room for the next block in the journal and in its log, but not for the first one in its log as well.
    disk.set_free_bytes(1_000_000 + 3 * block as u64 - 1);
    assert_eq!(journal.store(1, Durability::Synced, 1), Err(AppendError::Full));
    assert_eq!(metrics.logs.disk_free_bytes.get(), 1_000_000 + 3 * block as i64 - 1);
    feed.done(block);
    assert_eq!(journal.store(1, Durability::Synced, 2), Ok(()));
}

#[test]
fn refusals_are_known_until_the_disk_works_again() {
    for fault in [Fault::Full, Fault::Io] {
        let disk = FakeDisk::new(1);
        let (mut journal, _feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
        assert_eq!(journal.look(), None);
        disk.fail(disk.steps() + 1..u64::MAX, fault);
        let error = journal.store(1, Durability::Synced, 0).unwrap_err();
        assert_eq!(journal.health(), Some(error));
        assert!(journal.look().is_some(), "nothing has changed");
        disk.heal();
        assert_eq!(journal.look(), None);
        assert_eq!(journal.store(1, Durability::Synced, 1), Ok(()));
        disk.fail(disk.steps() + 1..disk.steps() + 2, fault);
        journal.store(1, Durability::Synced, 2).unwrap_err();
        assert_eq!(journal.store(1, Durability::Synced, 3), Ok(()));
        assert_eq!(journal.health(), None, "the next success ends it");
    }
}

#[test]
fn a_failed_sync_is_not_taken_back_by_one_that_succeeds() {
    let disk = FakeDisk::new(1);
    let (mut journal, _feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    journal.store(1, Durability::Synced, 0).unwrap();
    let steps = disk.steps();
    disk.fail(steps + 2..steps + 3, Fault::Io);
    assert_eq!(journal.store(1, Durability::Synced, 1), Err(AppendError::Sync));
    journal.store(1, Durability::Synced, 2).unwrap();
    disk.reboot(Crash::PowerLoss);
    let (_, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    assert_eq!(numbers(&feed), ["0", "2"]);
}

#[test]
fn a_journal_over_its_bound_says_so_and_refuses_until_it_is_trimmed() {
    let disk = FakeDisk::new(1);
    let config = Config { bytes_max: 2_000, ..config(Path::new("/data")) };
    let metrics = Arc::new(Metrics::new());
    let (mut journal, feed) = Direct::open(&config, Arc::new(disk), metrics.clone(), 0).unwrap();
    let stored = (0..).take_while(|n| journal.store(1, Durability::Synced, *n).is_ok()).count() as u64;
    assert!(stored > 5, "{stored}");
    let refused = journal.store(1, Durability::Synced, 0).unwrap_err();
    assert_eq!(refused, AppendError::JournalFull);
    assert_eq!(refused.to_string(), "the journal is full: the accounts' logs are behind");
    assert_eq!(metrics.journal.failures.with_label_values(&["journal_full"]).get(), 2);
    feed.trim(stored).unwrap();
    assert_eq!(journal.store(1, Durability::Synced, 0), Ok(()));
}

#[test]
fn small_batches_of_an_account_share_a_block_and_large_ones_keep_their_place() {
    let disk = FakeDisk::new(1);
    let (mut journal, feed) = reopen(&disk, OnCorruption::Fail).0.unwrap();
    let line = |n: u64, len: usize| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(len));
    let bodies = [line(0, 10), line(1, 10), line(2, 20_000), line(3, 10), line(4, 10)];
    let mut group = vec![];
    for body in &bodies {
        group.push(batch(1, Durability::Synced, 5, body));
        group.push(batch(2, Durability::Written, 5, body));
    }
    assert!(journal.commit(group).into_iter().all(|answer| answer.is_ok()));
    let extents = feed.next(Duration::ZERO).unwrap();
    assert_eq!(
        extents.iter().map(|e| e.account.0).collect::<Vec<_>>(),
        [2, 1],
        "the written ones come first"
    );
    for extent in extents {
        assert_eq!(extent.last_seq - extent.first_seq, 2, "three blocks");
        let last = Header::parse(&extent.bytes[extent.last_block_at..]).unwrap();
        assert_eq!((last.seq, last.lines), (extent.last_seq, 2));
        let lines = inflate(&extent.bytes);
        let numbers: Vec<_> =
            lines.lines().map(|line| line.split("\"n\":").nth(1).unwrap()[..1].to_owned()).collect();
        assert_eq!(numbers, ["0", "1", "2", "3", "4"]);
    }
}

#[test]
fn a_block_cut_at_every_byte_is_no_block() {
    let (disk, block) = three_blocks();
    let whole = disk::read(&disk, Path::new(SEGMENT)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    for cut in 0..=block {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut reader = Reader::open(&OsDisk, &path, 0, u64::MAX).unwrap();
        match reader.step().unwrap() {
            Step::End => assert_eq!(cut, 0),
            Step::Flawed(flaw) => assert_eq!(flaw, Flaw::Short, "{cut}"),
            Step::Block(..) => assert_eq!(cut, block),
        }
    }
}
