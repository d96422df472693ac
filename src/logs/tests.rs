use super::*;
use crate::domain::account::Durability;
use crate::journal::disk::OsDisk;
use crate::journal::tests as journal_tests;
use journal_tests::{batch, inflate};

fn config(dir: &Path) -> Config {
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
    let clock = Clock::manual(1_700_000_000_000);
    Logs::open(config(dir), journal, Arc::new(OsDisk), Arc::new(|_| None), metrics, clock).unwrap()
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

mod model;
