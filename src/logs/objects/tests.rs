//! A gateway's files on their way into the object store, and questions asked meanwhile: the answers are those of the local disk.

use super::upload::{self, Uploads};
use super::*;
use crate::clock::Clock;
use crate::domain::account::{Durability, Retention};
use crate::domain::filter::Access;
use crate::domain::query::Query;
use crate::journal::Journal;
use crate::journal::disk::OsDisk;
use crate::journal::tests::{self as journal_tests, batch, eventually};
use crate::logs::read::{self, Export, Question, ReadError, Reader, Sources, Tails};
use crate::logs::{self, Logs, Outlets, RetentionOf};
use crate::shutdown::Shutdown;
use std::path::{Path, PathBuf};

mod moving;

use moving::is_gapless;

const START_MS: u64 = 1_700_000_000_000;
const ACCOUNT: AccountId = AccountId(7);

/// A gateway with its object store in a folder beside it.
struct Node {
    dir: PathBuf,
    journal: Journal,
    logs: Logs,
    reader: Reader,
    objects: Objects,
    uploads: Shutdown,
    metrics: Arc<Metrics>,
}

fn config(dir: &Path, local_bytes_max: u64) -> Config {
    Config {
        location: Location::Folder(dir.join("objects")),
        endpoint: None,
        region: String::new(),
        ca_file: None,
        credentials: Credentials::default(),
        local_bytes_max,
    }
}

fn reading() -> read::Config {
    read::Config {
        workers_max: 2,
        questions_max: 8,
        time_max: Duration::from_secs(60),
        found_bytes_max: 1 << 20,
    }
}

fn keep_all() -> RetentionOf {
    Arc::new(|_| None)
}

impl Node {
    fn start(dir: &Path, gateway: &str, local_bytes_max: u64) -> Self {
        Self::start_with(dir, gateway, &config(dir, local_bytes_max), keep_all(), Clock::manual(START_MS))
    }

    fn start_with(dir: &Path, gateway: &str, store: &Config, retention: RetentionOf, clock: Clock) -> Self {
        Self::start_sweeping(60_000, dir, gateway, store, retention, clock)
    }

    /// The same with a sweep for what may be dropped every so many milliseconds.
    fn start_sweeping(
        retention_interval_ms: u64,
        dir: &Path,
        gateway: &str,
        store: &Config,
        retention: RetentionOf,
        clock: Clock,
    ) -> Self {
        let dir = dir.join(gateway);
        std::fs::create_dir_all(&dir).unwrap();
        let metrics = Arc::new(Metrics::new());
        let objects = Objects::open(store, Some(gateway), metrics.clone()).unwrap();
        let logs = logs::Config {
            file_bytes_max: 1_000,
            checkpoint_interval_ms: 10,
            retention_interval_ms,
            ..logs::tests::config(&dir)
        };
        let (tails, uploads) = (Tails::default(), Shutdown::new());
        let sources = Sources { dir: Some(logs.dir.clone()), objects: Some(objects.clone()) };
        let reader =
            Reader::open(sources, reading(), Arc::new(OsDisk), Some(tails.clone()), metrics.clone()).unwrap();
        let tasks = uploads.tasks();
        let to_store: Uploads = upload::start(
            objects.clone(),
            logs.dir.clone(),
            Arc::new(OsDisk),
            retention.clone(),
            clock.clone(),
            &tasks,
        );
        let outlets = Outlets { tails, uploads: Some(to_store) };
        let journal = journal_tests::config(&dir);
        let (journal, logs) =
            Logs::open(logs, journal, Arc::new(OsDisk), retention, outlets, metrics.clone(), clock).unwrap();
        Self { dir, journal, logs, reader, objects, uploads, metrics }
    }

    async fn ship(&self, from: u32, count: u32) {
        for n in from..from + count {
            let line = format!(
                "{{\"@timestamp\":{},\"type\":\"t\",\"n\":{n},\"who\":\"user-{}\"}}\n",
                START_MS + u64::from(n * 7 % 1000),
                n % 13
            );
            self.journal.append(batch(ACCOUNT.0, Durability::Synced, START_MS, &line)).await.unwrap();
        }
    }

    /// Ships until so many files are stored. Returns how many lines there are then.
    async fn ship_files(&self, count: u64) -> u32 {
        let mut shipped = 0;
        let shipping = async {
            while self.metrics.objects.stored_files.get() < count {
                self.ship(shipped, 10).await;
                shipped += 10;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shipping).await.unwrap();
        shipped
    }

    fn local(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.join("logs").join(ACCOUNT.to_string()));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.filter(|name| names::parse_sealed(name.to_str().unwrap()).is_some()).count()
    }

    async fn close(self) -> Arc<Metrics> {
        self.uploads.drain(Duration::from_secs(30)).await.unwrap();
        let (journal, logs) = (self.journal, self.logs);
        tokio::task::spawn_blocking(move || {
            journal.close();
            logs.close().unwrap();
        })
        .await
        .unwrap();
        self.metrics
    }
}

fn all() -> Question {
    Question { account: ACCOUNT, access: Access::Everything, query: Query::All, from_ms: None, to_ms: None }
}

fn of(query: &str) -> Question {
    Question { query: Query::parse(query, START_MS).unwrap(), ..all() }
}

/// Numbers of all lines, page by page, newest first; and whether that is all.
async fn numbers(reader: &Reader, question: &Question) -> (Vec<u64>, bool) {
    let (mut numbers, mut cursor, mut whole) = (vec![], None, true);
    loop {
        let found = reader.search(question.clone(), 17, cursor).await.unwrap();
        whole &= !found.partial;
        for log in found.logs {
            let line: serde_json::Value = serde_json::from_slice(&log.line).unwrap();
            numbers.push(line["n"].as_u64().unwrap());
        }
        cursor = found.cursor;
        if cursor.is_none() {
            return (numbers, whole);
        }
    }
}

/// All that can be had, and whether that is all.
async fn export(reader: &Reader, question: Question) -> (Vec<u8>, bool) {
    rest(reader.export(question).await.unwrap()).await
}

async fn rest(mut export: Export) -> (Vec<u8>, bool) {
    let mut bytes = vec![];
    while let Some(chunk) = export.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(ReadError::Damaged) => return (bytes, false),
            Err(error) => panic!("{error}"),
        }
    }
    (bytes, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_when_files_are_in_the_store_only() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", u64::MAX);
    let (count, folder) = (node.ship_files(6).await as usize, node.dir.join("logs"));
    node.close().await;
    let local = Reader::open(folder, reading(), Arc::new(OsDisk), None, Arc::new(Metrics::new())).unwrap();
    let questions = ["*", "who:user-3", "n:[10 TO 30]", "n:29", "nothing", "NOT who:\"user-4\""];
    let mut expected = vec![];
    for query in questions {
        let (numbers, whole) = numbers(&local, &of(query)).await;
        assert!(whole);
        expected.push((numbers, local.histogram(of(query), 100).await.unwrap().buckets));
    }
    let exported = export(&local, all()).await;
    assert_eq!(
        (expected[0].0.len(), exported.0.iter().filter(|byte| **byte == b'\n').count()),
        (count, count)
    );

    let node = Node::start(dir.path(), "one", 0);
    eventually(|| node.local() == 0).await;
    for (query, expected) in questions.iter().zip(&expected) {
        assert_eq!(numbers(&node.reader, &of(query)).await, (expected.0.clone(), true), "{query}");
        assert_eq!(node.reader.histogram(of(query), 100).await.unwrap().buckets, expected.1, "{query}");
    }
    assert_eq!(export(&node.reader, all()).await, exported);
    assert!(node.metrics.objects.read_bytes.get() > 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_a_disk_reads_the_files_of_all_gateways() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Node::start(dir.path(), "one", 0), Node::start(dir.path(), "two", u64::MAX));
    one.ship_files(2).await;
    two.ship_files(2).await;
    // The same account, numbers and times: nothing but the gateway tells their lines apart.
    let sealed = async |node: &Node| {
        let stored = node.objects.list(node.objects.0.own.as_ref().unwrap(), ACCOUNT).await.unwrap().files;
        stored.iter().map(|file| file.bytes).sum::<u64>()
    };
    assert!(sealed(&one).await > 0 && sealed(&two).await > 0);
    one.close().await;
    two.close().await;
    let reader = apart(dir.path());
    let (found, whole) = numbers(&reader, &all()).await;
    let total = reader.histogram(all(), 1_000_000).await.unwrap().total;
    assert!(whole && found.iter().filter(|n| **n == 0).count() == 2, "{found:?}");
    assert_eq!(found.len() as u64, total);
    assert_eq!(export(&reader, all()).await.0.iter().filter(|byte| **byte == b'\n').count() as u64, total);
}

/// A reader that knows of nothing but the store.
fn apart(dir: &Path) -> Reader {
    let objects = Objects::open(&config(dir, 0), None, Arc::new(Metrics::new())).unwrap();
    let sources = Sources { dir: None, objects: Some(objects) };
    Reader::open(sources, reading(), Arc::new(OsDisk), None, Arc::new(Metrics::new())).unwrap()
}

/// The paths of what a gateway has stored, in order.
fn stored_files(dir: &Path, gateway: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("objects").join(gateway).join(ACCOUNT.to_string())).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut sealed: Vec<_> = paths
        .filter(|path| names::parse_sealed(path.file_name().unwrap().to_str().unwrap()).is_some())
        .collect();
    sealed.sort();
    sealed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_object_does_not_fail_the_search_but_makes_it_partial() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    node.ship_files(4).await;
    node.close().await;
    let knowing = apart(dir.path());
    let (before, whole) = numbers(&knowing, &all()).await;
    assert!(whole);
    let object = stored_files(dir.path(), "one").remove(1);
    let whole_bytes = std::fs::metadata(&object).unwrap().len();
    for bytes in [whole_bytes / 2, 0] {
        std::fs::File::options().write(true).open(&object).unwrap().set_len(bytes).unwrap();
        // One has listed it as it was; the other sees it as it is.
        for reader in [&knowing, &apart(dir.path())] {
            let (found, whole) = numbers(reader, &all()).await;
            assert!(!whole && !found.is_empty() && found.len() < before.len(), "{found:?}");
            assert!(found.iter().all(|n| before.contains(n)));
            let (exported, whole) = export(reader, all()).await;
            // How much of what stands beside the cut is read with it depends on the order of reading.
            assert!(!whole && !exported.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_deleted_by_hand_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    node.ship_files(4).await;
    eventually(|| node.local() == 0).await;
    node.close().await;
    let object = stored_files(dir.path(), "one").remove(1);
    let index = object.with_file_name(names::index(object.file_name().unwrap().to_str().unwrap()));
    let (before, _) = numbers(&apart(dir.path()), &all()).await;
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    // It may be on its way.
    assert!(numbers(&apart(dir.path()), &all()).await.1);
    let long_ago = std::fs::metadata(&index).unwrap().modified().unwrap() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&index).unwrap().set_modified(long_ago).unwrap();
    let (found, whole) = numbers(&apart(dir.path()), &all()).await;
    assert!(!whole && !found.is_empty() && found.len() < before.len());
    assert!(!export(&apart(dir.path()), all()).await.1);
    // Its gateway does not clear away what tells of it.
    let node = Node::start(dir.path(), "one", 0);
    let stored = node.metrics.objects.stored_files.get();
    node.ship(10_000, 40).await;
    eventually(|| node.metrics.objects.stored_files.get() > stored && node.local() == 0).await;
    assert!(!numbers(&node.reader, &all()).await.1 && index.exists());
    node.close().await;
    std::fs::write(&object, bytes).unwrap();
    assert!(numbers(&apart(dir.path()), &all()).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_reached_keeps_nobody_waiting() {
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metrics = keeps_nobody_waiting(closed).await;
    assert!(metrics.objects.failures.with_label_values(&["list"]).get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_connections_and_says_nothing_keeps_nobody_waiting() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    keeps_nobody_waiting(silent.local_addr().unwrap()).await;
}

async fn keeps_nobody_waiting(store: std::net::SocketAddr) -> Arc<Metrics> {
    let dir = tempfile::tempdir().unwrap();
    let variable = |name: &str| (name.to_owned(), "known".to_owned());
    let variables = [variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")];
    let store = Config {
        location: Location::parse("s3://bucket/prefix").unwrap(),
        endpoint: Some(format!("http://{store}")),
        credentials: Credentials::of(&variables),
        ..config(dir.path(), 0)
    };
    let node = Node::start_with(dir.path(), "one", &store, keep_all(), Clock::manual(START_MS));
    node.ship(0, 20).await;
    let found = async {
        loop {
            let found = node.reader.search(all(), 100, None).await.unwrap();
            assert!(found.partial);
            if found.logs.len() == 20 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap();
    let (exported, whole) = export(&node.reader, all()).await;
    assert_eq!((exported.iter().filter(|byte| **byte == b'\n').count(), whole), (20, false));
    let metrics = node.close().await;
    assert_eq!(metrics.objects.let_go_files.get() + metrics.objects.stored_files.get(), 0);
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_mounted_is_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    node.ship_files(3).await;
    eventually(|| node.metrics.objects.let_go_files.get() >= 3).await;
    let (mounted, away) = (dir.path().join("objects"), dir.path().join("away"));
    std::fs::rename(&mounted, &away).unwrap();
    let found = node.reader.search(all(), 100_000, None).await.unwrap();
    assert!(found.partial);
    std::fs::rename(&away, &mounted).unwrap();
    let again = async {
        while node.reader.search(all(), 100_000, None).await.unwrap().partial {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    is_gapless(&node.reader).await;
    node.close().await;
}

#[tokio::test]
async fn a_folder_that_comes_back_while_it_is_looked_into_was_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::open(&config(dir.path(), 0), None, Arc::new(Metrics::new())).unwrap();
    let (mounted, away) = (dir.path().join("objects"), dir.path().join("away"));
    std::fs::rename(&mounted, &away).unwrap();
    let looking = async {
        std::fs::rename(&away, &mounted).unwrap();
        Ok(())
    };
    let listed = objects.asked("list", &Key::default(), looking).await;
    assert!(matches!(listed, Err(ObjectError::Away { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_holds_for_stored_files() {
    let dir = tempfile::tempdir().unwrap();
    let retention: RetentionOf = Arc::new(|_| Some(Retention { days: 30, bytes_max: Some(16_000) }));
    let store = config(dir.path(), 0);
    let node = Node::start_with(dir.path(), "one", &store, retention, Clock::manual(START_MS));
    let shipping = async {
        let mut shipped = 0;
        while node.metrics.objects.expired_files.get() < 5 {
            node.ship(shipped, 5).await;
            shipped += 5;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shipping).await.unwrap();
    let own = node.objects.0.own.clone().unwrap();
    let stored = node.objects.list(&own, ACCOUNT).await.unwrap();
    assert!(!stored.files.is_empty() && stored.files[0].first_seq > 1);
    // What is dropped is gone for readers, too, at once, and the rest is whole once nothing more is dropped under who reads it.
    let reading = async {
        loop {
            let (numbers, whole) = numbers(&node.reader, &all()).await;
            assert!(!numbers.contains(&0));
            if whole {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_while_the_store_is_away_leaves_nothing_older_behind() {
    let dir = tempfile::tempdir().unwrap();
    let retention: RetentionOf = Arc::new(|_| Some(Retention { days: 30, bytes_max: Some(16_000) }));
    let store = config(dir.path(), 0);
    let clock = || Clock::manual(START_MS);
    let start = || Node::start_sweeping(10, dir.path(), "one", &store, retention.clone(), clock());
    let node = start();
    let mut shipped = node.ship_files(4).await;
    eventually(|| node.local() == 0).await;
    let (mounted, away) = (dir.path().join("objects"), dir.path().join("away"));
    std::fs::rename(&mounted, &away).unwrap();
    let shipping = async {
        while node.metrics.logs.expired_files.get() < 3 {
            node.ship(shipped, 5).await;
            shipped += 5;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shipping).await.unwrap();
    let logs_dir = node.dir.join("logs");
    node.close().await;
    std::fs::rename(&away, &mounted).unwrap();

    let without_a_gap = async |reader: &Reader| {
        let (mut numbers, whole) = numbers(reader, &all()).await;
        numbers.sort_unstable();
        assert!(whole && numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{numbers:?}");
        numbers
    };
    // Before anybody has cleared away in the store, and when that is done.
    let objects = Objects::open(&store, Some("one"), Arc::new(Metrics::new())).unwrap();
    let sources = Sources { dir: Some(logs_dir), objects: Some(objects) };
    let reader = Reader::open(sources, reading(), Arc::new(OsDisk), None, Arc::new(Metrics::new())).unwrap();
    assert_eq!(without_a_gap(&reader).await.last(), Some(&u64::from(shipped - 1)));
    let node = start();
    eventually(|| node.local() == 0).await;
    without_a_gap(&node.reader).await;
    without_a_gap(&apart(dir.path())).await;
    node.close().await;
}
