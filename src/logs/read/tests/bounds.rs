//! What has an end, and what others do to files meanwhile.

use super::*;
use crate::logs::names::CURRENT;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

/// The account's files whose names end so.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("logs/7")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

async fn shipped(batches: u32, file_bytes_max: u64) -> (tempfile::TempDir, Reader) {
    let mut dir = tempfile::tempdir().unwrap();
    // Each end seals what is full, so that there are several files, however fast the machine.
    for round in 0..4 {
        let running = Running::start_in(dir, file_bytes_max);
        for n in batches * round / 4..batches * (round + 1) / 4 {
            let lines: String = (0..20).map(|k| line(START_MS + u64::from(n * 20 + k), n * 20 + k)).collect();
            running.ship(7, &lines).await;
        }
        (dir, _) = running.close();
    }
    let reader = open(&dir.path().join("logs"), config(), None);
    (dir, reader)
}

fn asking(text: &str) -> Question {
    Question { query: Query::parse(text, 0).unwrap(), ..all(7) }
}

async fn pages(reader: &Reader, limit: usize) -> Vec<Bytes> {
    let (mut lines, mut cursor) = (vec![], None);
    loop {
        let found = reader.search(all(7), limit, cursor).await.unwrap();
        lines.extend(found.logs.into_iter().map(|log| log.line));
        cursor = found.cursor;
        if cursor.is_none() {
            return lines;
        }
    }
}

#[tokio::test]
async fn nothing_is_repeated_or_lost_while_the_log_grows_and_is_sealed() {
    let running = Running::start(2_000);
    let journal = running.journal.clone();
    let shipping = async {
        for n in 0..300_u32 {
            let lines: String = (0..5).map(|k| line(START_MS + u64::from(n * 37 % 500), n * 5 + k)).collect();
            journal.append(batch(7, Durability::Synced, START_MS, &lines)).await.unwrap();
        }
    };
    let reading = async {
        let mut before = HashSet::new();
        while before.len() < 1_000 {
            let lines = pages(&running.reader, 170).await;
            let now: HashSet<_> = lines.iter().cloned().collect();
            assert_eq!(now.len(), lines.len(), "a log is shown twice");
            assert!(before.is_subset(&now), "a log is lost");
            before = now;
        }
    };
    tokio::join!(shipping, reading);
    running.close();
}

#[tokio::test]
async fn what_retention_drops_is_gone_and_no_error() {
    let (dir, reader) = shipped(200, 2_000).await;
    let sealed = files(dir.path(), "Z-00000000000000000001.ndjson.zst");
    let all_of_it = reader.histogram(all(7), 1_000_000).await.unwrap().total;
    let mut export = reader.export(all(7)).await.unwrap();
    fs::remove_file(&sealed[0]).unwrap();
    while let Some(chunk) = export.next().await {
        chunk.unwrap();
    }
    assert_eq!((sealed.len(), all_of_it), (1, 4_000));
    let left = reader.histogram(all(7), 1_000_000).await.unwrap();
    assert!(left.total < all_of_it && left.total > 0);
}

#[tokio::test]
async fn an_export_that_retention_overtakes_does_not_end_as_if_it_were_whole() {
    let (dir, reader) = shipped(200, 2_000).await;
    let mut sealed = files(dir.path(), "ndjson.zst");
    sealed.retain(|path| !path.ends_with(CURRENT));
    sealed.sort();
    let mut export = reader.export(all(7)).await.unwrap();
    let first = export.next().await.unwrap().unwrap();
    // As retention does: all of these were older than what is left.
    let dropped = sealed.len() / 2;
    sealed[..dropped].iter().for_each(|path| fs::remove_file(path).unwrap());
    let (mut lines, mut end) = (first.iter().filter(|byte| **byte == b'\n').count(), None);
    while let Some(chunk) = export.next().await {
        assert!(end.is_none(), "nothing follows an error");
        match chunk {
            Ok(chunk) => lines += chunk.iter().filter(|byte| **byte == b'\n').count(),
            Err(error) => end = Some(error),
        }
    }
    assert!(dropped > 1 && lines > 1_000 && lines < 4_000, "{dropped} {lines}");
    assert!(matches!(end, Some(ReadError::Damaged)));
    // Whoever comes later finds what is left, and it is whole.
    let left = reader.histogram(all(7), 1_000_000).await.unwrap();
    assert!(!left.partial && left.total > 0);
}

#[tokio::test]
async fn damage_costs_its_place_only_and_is_told() {
    let (dir, reader) = shipped(100, 1 << 20).await;
    let path = files(dir.path(), "current.ndjson.zst").remove(0);
    let whole = reader.search(all(7), 5_000, None).await.unwrap();
    assert_eq!((whole.logs.len(), whole.partial), (2_000, false));
    let half = fs::metadata(&path).unwrap().len() as usize / 2;
    flip(&path, half);
    let sealed = path.with_file_name("20231114T221320.000Z-00000000000000000001.ndjson.zst");
    fs::rename(&path, &sealed).unwrap();
    let found = reader.search(all(7), 5_000, None).await.unwrap();
    assert!(found.partial && found.logs.len() >= 1_960, "{}", found.logs.len());
    assert!(reader.histogram(all(7), 1_000).await.unwrap().partial);
    // Kept aside: all that is whole in it was made a file of its own.
    fs::rename(&sealed, sealed.with_extension("zst.damaged")).unwrap();
    assert_eq!(reader.histogram(all(7), 1_000).await.unwrap().total, 0);
}

#[tokio::test]
async fn an_export_of_a_damaged_log_does_not_end_as_if_it_were_whole() {
    let (dir, reader) = shipped(100, 1 << 20).await;
    let path = files(dir.path(), "current.ndjson.zst").remove(0);
    flip(&path, fs::metadata(&path).unwrap().len() as usize / 2);
    let (mut export, mut lines, mut end) = (reader.export(all(7)).await.unwrap(), 0, None);
    while let Some(chunk) = export.next().await {
        assert!(end.is_none(), "nothing follows an error");
        match chunk {
            Ok(chunk) => lines += chunk.iter().filter(|byte| **byte == b'\n').count(),
            Err(error) => end = Some(error),
        }
    }
    assert!((1_960..2_000).contains(&lines), "what can be read is given: {lines}");
    assert!(end.is_some());
}

#[tokio::test]
async fn a_broken_header_within_an_indexed_group_costs_its_block_only() {
    let mut dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let running = Running::start_in(dir, 2_000);
        for n in 0..30 * (1 - round) {
            running.ship(7, &(line(START_MS, 2 * n) + &line(START_MS, 2 * n + 1))).await;
        }
        running.settled().await;
        model::indexed(running.dir.path()).await;
        (dir, _) = running.close();
    }
    let reader = open(&dir.path().join("logs"), config(), None);
    let path = files(dir.path(), "Z-00000000000000000001.ndjson.zst").remove(0);
    assert!(path.with_added_extension("index").exists());
    for at in [20, 12, 0] {
        assert_eq!(reader.histogram(all(7), 1).await.unwrap().total, 60);
        flip(&path, at);
        let found = reader.search(all(7), 5_000, None).await.unwrap();
        assert_eq!((found.logs.len(), found.partial), (58, true), "{at}");
        flip(&path, at);
    }
}

#[tokio::test]
async fn a_log_from_the_end_of_time_does_not_hide_others_of_its_time() {
    let running = Running::start(1 << 20);
    let lines: String = (0..5).map(|n| format!("{{\"@timestamp\":1e300,\"n\":{n}}}\n")).collect();
    running.ship(7, &lines).await;
    running.settled().await;
    assert_eq!(pages(&running.reader, 2).await.len(), 5);
    running.close();
}

#[tokio::test]
async fn an_end_that_is_being_written_is_not_damage() {
    let (dir, reader) = shipped(10, 1 << 20).await;
    let path = files(dir.path(), "current.ndjson.zst").remove(0);
    let bytes = fs::read(&path).unwrap();
    for cut in [1, 20, 60, 100] {
        fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        let found = reader.search(all(7), 1_000, None).await.unwrap();
        assert_eq!((found.logs.len(), found.partial), (180, false), "{cut}");
    }
    fs::write(&path, &bytes[..30]).unwrap();
    assert_eq!(reader.search(all(7), 1_000, None).await.unwrap().logs, []);
}

#[tokio::test]
async fn an_index_that_is_damaged_or_gone_changes_no_answer() {
    let (dir, _) = shipped(200, 2_000).await;
    let running = Running::start_in(dir, 2_000);
    model::indexed(running.dir.path()).await;
    let (dir, reader) = running.close();
    let indexes = files(dir.path(), ".index");
    let rare = || reader.search(asking("n:77"), 100, None);
    let expect = rare().await.unwrap();
    assert_eq!(expect.logs.len(), 1);
    let scanned = reader.search(asking("n:77"), 100, None).await.unwrap().scanned_bytes;
    let all_bytes = reader.search(all(7), 5_000, None).await.unwrap().scanned_bytes;
    assert!(indexes.len() > 1 && scanned < all_bytes / 2, "{scanned} of {all_bytes}");
    for index in &indexes {
        assert_eq!(zstd::stream::decode_all(&*fs::read(index).unwrap()).unwrap(), b"", "zstdcat skips it");
        let whole = fs::read(index).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 23 + 1) {
            flip(index, at);
            assert_eq!(rare().await.unwrap().logs, expect.logs, "{at}");
            fs::write(index, &whole[..at]).unwrap();
            assert_eq!(rare().await.unwrap().logs, expect.logs, "{at}");
            fs::write(index, &whole).unwrap();
        }
        fs::remove_file(index).unwrap();
    }
    assert_eq!(rare().await.unwrap().logs, expect.logs);
}

#[tokio::test]
async fn long_and_deep_lines_are_found() {
    let running = Running::start(1 << 30);
    let long = format!("{{\"@timestamp\":1,\"type\":\"t\",\"long\":\"{} needle\"}}\n", "x ".repeat(249_950));
    let deep = format!(
        "{{\"@timestamp\":2,\"type\":\"t\",\"deep\":{}\"needle\"{}}}\n",
        "[".repeat(100),
        "]".repeat(100)
    );
    let nested = format!(
        "{{\"@timestamp\":3,\"type\":\"t\",\"deep\":{}\"needle\"{}}}\n",
        "{\"a\":".repeat(60),
        "}".repeat(60)
    );
    running.ship(7, &(long.clone() + &deep + &nested)).await;
    running.settled().await;
    let found = running.reader.search(asking("needle"), 10, None).await.unwrap();
    // What is deeper than any log is looked into is shown, and not found.
    assert_eq!(found.logs.iter().map(|log| log.time_ms).collect::<Vec<_>>(), [3_000, 1_000]);
    assert_eq!(running.reader.search(all(7), 10, None).await.unwrap().logs.len(), 3);
    assert_eq!(found.logs[1].line.len() + 1, long.len());
    running.close();
}

#[tokio::test]
async fn the_oldest_logs_are_found_without_reading_the_rest() {
    let (dir, _) = shipped(200, 2_000).await;
    let running = Running::start_in(dir, 2_000);
    model::indexed(running.dir.path()).await;
    // Older than all that came before.
    running.ship(7, &line(START_MS - 1, 0)).await;
    running.settled().await;
    let found = running.reader.search_by(Order::OldestFirst, all(7), 3, None).await.unwrap();
    let times: Vec<_> = found.logs.iter().map(|log| log.time_ms - (START_MS - 1)).collect();
    assert_eq!(times, [0, 1, 2]);
    let all_bytes = running.reader.search(all(7), 5_000, None).await.unwrap().scanned_bytes;
    assert!(found.scanned_bytes < all_bytes / 2, "{} of {all_bytes}", found.scanned_bytes);
    running.close();
}

#[tokio::test]
async fn an_answer_has_so_many_bytes_and_goes_on() {
    let (dir, _) = shipped(20, 1 << 20).await;
    let config = Config { found_bytes_max: 500, ..config() };
    let reader = open(&dir.path().join("logs"), config, None);
    let found = reader.search(all(7), 1_000, None).await.unwrap();
    assert!(found.logs.len() < 20 && found.cursor.is_some() && !found.partial);
    assert_eq!(pages(&reader, 1_000).await.len(), 400);
}

#[tokio::test]
async fn a_question_without_time_is_answered_in_part() {
    let (dir, _) = shipped(20, 1 << 20).await;
    let reader = open(&dir.path().join("logs"), Config { time_max: Duration::ZERO, ..config() }, None);
    let found = reader.search(all(7), 10, None).await.unwrap();
    assert!(found.partial && found.logs.is_empty());
    assert!(reader.histogram(all(7), 1_000).await.unwrap().partial);
}

#[tokio::test]
async fn too_many_questions_and_intervals_are_refused() {
    let (dir, _) = shipped(20, 1 << 20).await;
    let reader = open(&dir.path().join("logs"), Config { questions_max: 1, ..config() }, None);
    let export = reader.export(all(7)).await.unwrap();
    assert!(matches!(reader.search(all(7), 10, None).await, Err(ReadError::TooMany)));
    drop(export);
    assert_eq!(reader.search(all(7), 10, None).await.unwrap().logs.len(), 10);
    assert!(matches!(reader.tail(AccountId(7)), Err(ReadError::NoTails)));
    let (dir, reader) = {
        let running = Running::start(1 << 20);
        let lines: String = (0..10_001).map(|n| line(START_MS + n * 10, 1)).collect();
        running.ship(7, &lines).await;
        running.settled().await;
        running.close()
    };
    assert!(matches!(reader.histogram(all(7), 1).await, Err(ReadError::TooManyBuckets { .. })));
    assert_eq!(reader.histogram(all(7), 100_000).await.unwrap().total, 10_001);
    drop(dir);
}

#[tokio::test]
async fn a_tail_that_falls_behind_is_told_and_holds_up_nobody() {
    let running = Running::start(1 << 20);
    let (mut slow, mut other) =
        (running.reader.tail(AccountId(7)).unwrap(), running.reader.tail(AccountId(8)).unwrap());
    // Digits that do not compress well.
    let mut random = 1_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", random ^ (random >> 29))
    };
    for _ in 0..6 {
        let text: String = (0..50_000).map(|_| noise()).collect();
        running.ship(7, &format!("{{\"noise\":\"{text}\"}}\n")).await;
    }
    running.settled().await;
    assert_eq!(slow.next().await.unwrap_err(), TailEnd::Behind);
    running.ship(8, "{}\n").await;
    other.next().await.unwrap();
    assert_eq!(running.reader.histogram(all(7), 1).await.unwrap().total, 6);
    running.close();
}
