//! The accounts' logs with their threads, on the machine's own disk.

use super::names::CURRENT;
use super::*;
use crate::domain::account::Durability;
use crate::journal::AppendError;
use crate::journal::disk::OsDisk;
use crate::journal::tests as journal_tests;
use journal_tests::{batch, eventually, inflate};

const START_MS: u64 = 1_700_000_000_000;

pub(super) fn config(dir: &Path) -> Config {
    Config {
        dir: dir.join("logs"),
        file_bytes_max: 64 << 20,
        file_age_ms_max: 3_600_000,
        open_files_max: 64,
        checkpoint_interval_ms: 60_000,
        checkpoint_bytes: 64 << 20,
        retention_interval_ms: 60_000,
        backlog_bytes_max: 64 << 20,
    }
}

fn open(dir: &Path) -> (Journal, Logs) {
    let journal = journal_tests::config(dir);
    let metrics = Arc::new(Metrics::new());
    let clock = Clock::manual(START_MS);
    Logs::open(config(dir), journal, Arc::new(OsDisk), Arc::new(|_| None), Tails::default(), metrics, clock)
        .unwrap()
}

/// All lines of an account, from its sealed files and its growing one.
fn lines(dir: &Path, account: u32) -> String {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("logs").join(account.to_string()))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (names::parse_sealed(entry.file_name().to_str().unwrap()), entry.path()))
        .map(|(sealed, path)| (sealed.map_or(u64::MAX, |(seq, _)| seq), path))
        .collect();
    files.sort();
    files.iter().map(|(_, path)| inflate(&std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_log_holds_what_was_receipted() {
    let dir = tempfile::tempdir().unwrap();
    let mut expect = String::new();
    for start in 0..3 {
        let (journal, logs) = open(dir.path());
        for n in 0..50 {
            let line = format!("{{\"n\":1{start}{n:02},\"@timestamp\":0,\"type\":1}}\n");
            journal.append(batch(7, Durability::Synced, n, &line)).await.unwrap();
            expect += &line;
        }
        journal.close();
        logs.close().unwrap();
        assert!(lines(dir.path(), 7) == expect);
    }
}

#[tokio::test]
async fn the_growing_file_is_readable_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, logs) = open(dir.path());
    let path = dir.path().join("logs/7").join(CURRENT);
    let line = "{\"a\":1,\"@timestamp\":0,\"type\":1}\n";
    for n in 1..20 {
        journal.append(batch(7, Durability::Synced, START_MS, line)).await.unwrap();
        // A reader may see a write that is under way; the next look sees it done.
        let read = || zstd::stream::decode_all(&*std::fs::read(&path)?);
        let grown = || read().is_ok_and(|lines| lines == line.repeat(n).as_bytes());
        eventually(grown).await;
    }
    journal.close();
    logs.close().unwrap();
}

#[tokio::test]
async fn a_full_file_is_sealed_without_waiting_for_the_time_of_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { file_bytes_max: 10_000, checkpoint_interval_ms: 3_600_000, ..config(dir.path()) };
    let metrics = Arc::new(Metrics::new());
    let (disk, clock) = (Arc::new(OsDisk), Clock::manual(START_MS));
    let journal = journal_tests::config(dir.path());
    let (journal, logs) =
        Logs::open(config, journal, disk, Arc::new(|_| None), Tails::default(), metrics.clone(), clock)
            .unwrap();
    let shipping = async {
        while metrics.logs.sealed_files.get() < 3 {
            journal.append(batch(7, Durability::Synced, START_MS, "{\"a\":1}")).await.unwrap();
        }
    };
    let shipped = tokio::time::timeout(Duration::from_secs(60), shipping).await;
    assert!(shipped.is_ok(), "they grow and are not sealed");
    journal.close();
    logs.close().unwrap();
}

#[tokio::test]
async fn a_panic_in_the_thread_of_the_logs_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal_tests::config(dir.path());
    let retention: RetentionOf = Arc::new(|_| panic!("as a defect would"));
    let (metrics, clock) = (Arc::new(Metrics::new()), Clock::manual(START_MS));
    let (journal, logs) = Logs::open(
        config(dir.path()),
        journal,
        Arc::new(OsDisk),
        retention,
        Tails::default(),
        metrics,
        clock,
    )
    .unwrap();
    let health = logs.health();
    assert!(health.is_alive());
    journal.append(batch(7, Durability::Synced, START_MS, "{}")).await.unwrap();
    eventually(|| !health.is_alive()).await;
    journal.close();
    assert!(matches!(logs.close(), Err(StoreError::Panicked)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_accounts_share_a_few_open_files() {
    const ACCOUNTS: u32 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let (journal, logs) = open(dir.path());
    for round in 0..2 {
        let mut waiting = tokio::task::JoinSet::new();
        for account in 0..ACCOUNTS {
            let body = format!("{{\"round\":{round},\"account\":{account},\"@timestamp\":0,\"type\":1}}\n");
            let journal = journal.clone();
            // On a slow disk so many at once are more than may wait: they are sent again.
            waiting.spawn(async move {
                loop {
                    match journal.append(batch(account, Durability::Synced, START_MS, &body)).await {
                        Err(AppendError::Busy) => tokio::task::yield_now().await,
                        answer => return answer,
                    }
                }
            });
        }
        for answer in waiting.join_all().await {
            answer.unwrap();
        }
    }
    journal.close();
    logs.close().unwrap();
    for account in 0..ACCOUNTS {
        let line =
            |round| format!("{{\"round\":{round},\"account\":{account},\"@timestamp\":0,\"type\":1}}\n");
        assert_eq!(lines(dir.path(), account), line(0) + &line(1));
    }
}

#[tokio::test]
async fn an_end_without_a_close_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, logs) = open(dir.path());
    journal.append(batch(7, Durability::Synced, START_MS, "{}")).await.unwrap();
    drop(journal);
    logs.close().unwrap();
    assert_eq!(lines(dir.path(), 7).lines().count(), 1);
}

mod indexes;
mod keeping;
mod lost;
mod model;
