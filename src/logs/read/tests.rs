//! Questions against what the same questions give when every line is looked at one by one.

use super::*;
use crate::clock::Clock;
use crate::domain::account::Durability;
use crate::domain::timestamp::rfc3339_millis;
use crate::journal::Journal;
use crate::journal::disk::OsDisk;
use crate::journal::tests as journal_tests;
use crate::logs::{self, Logs};
use bytes::Bytes;
use journal_tests::{batch, eventually};
use std::path::Path;

const START_MS: u64 = 1_700_000_000_000;

fn config() -> Config {
    Config { workers_max: 2, questions_max: 4, time_max: Duration::from_secs(60), found_bytes_max: 1 << 20 }
}

struct Running {
    dir: tempfile::TempDir,
    journal: Journal,
    logs: Logs,
    reader: Reader,
}

impl Running {
    fn start(file_bytes_max: u64) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), file_bytes_max)
    }

    fn start_in(dir: tempfile::TempDir, file_bytes_max: u64) -> Self {
        let logs = logs::Config { file_bytes_max, ..logs::tests::config(dir.path()) };
        let (tails, metrics) = (Tails::default(), Arc::new(Metrics::new()));
        let reader = open(&logs.dir, config(), Some(tails.clone()));
        let journal = journal_tests::config(dir.path());
        let clock = Clock::manual(START_MS);
        let opened =
            Logs::open(logs, journal, Arc::new(OsDisk), Arc::new(|_| None), tails, metrics, clock).unwrap();
        Self { dir, journal: opened.0, logs: opened.1, reader }
    }

    async fn ship(&self, account: u32, lines: &str) {
        self.journal.append(batch(account, Durability::Synced, START_MS, lines)).await.unwrap();
    }

    /// Waits until what was shipped is in files. Of all that is committed together, the last account's lines are appended last.
    async fn settled(&self) {
        let last = u32::MAX;
        let count = async || self.reader.histogram(all(last), 1).await.unwrap().total;
        let before = count().await;
        self.ship(last, "{}\n").await;
        let seen = async {
            while count().await == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
    }

    /// Waits until what was shipped is in files, and ends.
    fn close(self) -> (tempfile::TempDir, Reader) {
        self.journal.close();
        self.logs.close().unwrap();
        (self.dir, self.reader)
    }
}

fn open(dir: &Path, config: Config, tails: Option<Tails>) -> Reader {
    Reader::open(dir.to_owned(), config, Arc::new(OsDisk), tails, Arc::new(Metrics::new())).unwrap()
}

fn all(account: u32) -> Question {
    Question {
        account: AccountId(account),
        access: Access::Everything,
        query: Query::All,
        from_ms: None,
        to_ms: None,
    }
}

fn line(time_ms: u64, n: u32) -> String {
    format!("{{\"@timestamp\":{time_ms},\"type\":\"t\",\"n\":{n}}}\n")
}

#[tokio::test]
async fn pages_show_every_log_once_newest_first() {
    let running = Running::start(10_000);
    for round in 0..20_u32 {
        let lines: String = (0..50)
            .map(|n| line(START_MS + u64::from((round * 50 + n) * 7 % 1000), round * 50 + n))
            .collect();
        running.ship(7, &lines).await;
        running.ship(8, &line(START_MS, 1)).await;
    }
    let (_dir, reader) = running.close();
    let (mut seen, mut cursor) = (vec![], None);
    loop {
        let found = reader.search(all(7), 33, cursor).await.unwrap();
        assert!(!found.partial && found.logs.len() <= 33);
        seen.extend(found.logs);
        cursor = found.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(seen.is_sorted_by_key(|log| std::cmp::Reverse(log.time_ms)));
    let mut lines: Vec<_> = seen.iter().map(|log| log.line.clone()).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 1000);
    let histogram = reader.histogram(all(7), 100).await.unwrap();
    assert_eq!((histogram.total, histogram.buckets.len()), (1000, 10));
    assert!(histogram.buckets.iter().all(|bucket| bucket.count == 100));
    let mut export = reader.export(all(7)).await.unwrap();
    let mut exported = vec![];
    while let Some(chunk) = export.next().await {
        exported.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(exported.iter().filter(|byte| **byte == b'\n').count(), 1000);
    let fields = reader.fields(all(8), 10).await.unwrap();
    assert_eq!(fields.total, 20);
    let names: Vec<_> = fields.fields.iter().map(|field| (field.name.as_str(), field.count)).collect();
    assert_eq!(names, [("@timestamp", 20), ("n", 20), ("type", 20)]);
    assert_eq!(reader.search(all(9), 10, None).await.unwrap().logs, []);
}

#[tokio::test]
async fn a_start_that_has_not_caught_up_is_not_taken_for_the_whole_log() {
    let running = Running::start(1 << 20);
    running.ship(7, &line(START_MS, 1)).await;
    running.settled().await;
    // As a start in the midst of its work leaves it, after a kill: what followed the last checkpoint is in the journal only.
    let killed = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(killed.path().join("logs")).unwrap();
    let of_journal = journal_tests::config(killed.path());
    std::fs::create_dir_all(&of_journal.dir).unwrap();
    for entry in std::fs::read_dir(journal_tests::config(running.dir.path()).dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, of_journal.dir.join(path.file_name().unwrap())).unwrap();
    }
    running.close();
    let (logs, tails) = (logs::tests::config(killed.path()), Tails::default());
    let impatient = Config { time_max: Duration::ZERO, ..config() };
    assert!(open(&logs.dir, impatient, Some(tails.clone())).search(all(7), 9, None).await.unwrap().partial);

    let reader = open(&logs.dir, config(), Some(tails.clone()));
    let asking = tokio::spawn(async move { reader.search(all(7), 9, None).await.unwrap() });
    tokio::task::yield_now().await;
    let (metrics, clock) = (Arc::new(Metrics::new()), Clock::manual(START_MS));
    let (journal, logs) =
        Logs::open(logs, of_journal, Arc::new(OsDisk), Arc::new(|_| None), tails, metrics, clock).unwrap();
    let found = asking.await.unwrap();
    assert_eq!((found.logs.len(), found.partial), (1, false));
    journal.close();
    logs.close().unwrap();
}

#[tokio::test]
async fn a_tail_is_handed_what_is_acknowledged() {
    let running = Running::start(1 << 20);
    let mut tail = running.reader.tail(AccountId(7)).unwrap();
    running.ship(8, &line(START_MS, 1)).await;
    running.ship(7, &(line(START_MS, 2) + &line(START_MS, 3))).await;
    let block = tail.next().await.unwrap();
    assert_eq!(block.received_ms, START_MS);
    let (lines, more) = running.reader.sift(block, Sieve::of(&all(7))).await.unwrap();
    assert_eq!(String::from_utf8(lines).unwrap(), line(START_MS, 2) + &line(START_MS, 3));
    assert!(more.is_none());
    running.close();
    assert_eq!(tail.next().await.unwrap_err(), TailEnd::Closed);
}

#[tokio::test]
async fn a_large_block_is_sifted_a_part_at_a_time() {
    let running = Running::start(1 << 20);
    let mut tail = running.reader.tail(AccountId(7)).unwrap();
    let long = format!("{{\"@timestamp\":1,\"type\":\"t\",\"a\":\"{}\"}}\n", "x".repeat(200_000));
    running.ship(7, &long.repeat(14)).await;
    let (mut sifted, mut rest, mut parts) = (vec![], Some(tail.next().await.unwrap()), 0);
    while let Some(block) = rest {
        let (lines, more) = running.reader.sift(block, Sieve::of(&all(7))).await.unwrap();
        assert!(lines.len() <= (1 << 20) + long.len());
        sifted.extend(lines);
        (rest, parts) = (more, parts + 1);
    }
    assert!(sifted == long.repeat(14).as_bytes() && parts == 3, "{parts}");
    running.close();
}

mod bounds;
mod model;
