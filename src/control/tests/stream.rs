//! The directory's stream, read as a gateway reads it.

use super::*;
use crate::clock::monotonic;
use crate::domain::account::AccountId;
use crate::domain::directory::{Change, Directory};
use crate::domain::token::TokenDigest;
use crate::wire::{DIRECTORY_PATH, HEARTBEAT_MS, Message, VERSION};
use std::io::Write;

/// Reads a stream, and keeps a directory as a gateway would.
pub(super) struct Follower {
    body: Incoming,
    buffered: Vec<u8>,
    store: String,
    directory: Directory,
}

impl Follower {
    pub(super) async fn open(running: &Running, query: &str) -> Self {
        let response = running.gateway().open("GET", &format!("{DIRECTORY_PATH}{query}"), "").await;
        assert_eq!(response.status(), 200);
        let mut follower = Self {
            body: response.into_body(),
            buffered: vec![],
            store: String::new(),
            directory: Directory::default(),
        };
        let Some(Message::Hello { version, store, at_ms }) = follower.next().await else {
            panic!("no hello")
        };
        assert_eq!(version, VERSION);
        assert!(at_ms.abs_diff(running.store.unix_ms()) < 30_000);
        follower.store = store;
        follower
    }

    /// The next line; `None` at the end.
    async fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffered.iter().position(|byte| *byte == b'\n') {
                return Some(self.buffered.drain(..=end).collect());
            }
            let frame = tokio::time::timeout(Duration::from_secs(30), self.body.frame()).await.unwrap()?;
            self.buffered.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    async fn next(&mut self) -> Option<Message> {
        self.next_line().await.map(|line| serde_json::from_slice(&line).unwrap())
    }

    pub(super) async fn snapshot(mut self) -> Self {
        let Some(Message::Snapshot { revision, changes }) = self.next().await else { panic!("no snapshot") };
        let mut crc32c = 0;
        for _ in 0..changes {
            let line = self.next_line().await.unwrap();
            crc32c = crc32c::crc32c_append(crc32c, &line);
            let Message::Change(change) = serde_json::from_slice(&line).unwrap() else { panic!("no change") };
            self.directory.apply(change);
        }
        assert_eq!(self.next().await, Some(Message::SnapshotEnd { crc32c }));
        self.directory.advance(revision);
        self
    }

    /// Waits for the next delta and applies it.
    pub(super) async fn delta(&mut self) {
        loop {
            match self.next().await.unwrap() {
                Message::Heartbeat { revision, .. } => assert_eq!(revision, self.directory.revision()),
                Message::Delta { revision, changes, .. } => {
                    assert_eq!(revision, self.directory.revision() + 1);
                    changes.into_iter().for_each(|change| self.directory.apply(change));
                    self.directory.advance(revision);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn admits(&self, secret: &str) -> bool {
        self.directory.admit(&TokenDigest::of(secret), || 0).is_ok()
    }
}

fn sorted(changes: impl IntoIterator<Item = Change>) -> Vec<String> {
    let mut lines: Vec<_> =
        changes.into_iter().map(|change| serde_json::to_string(&change).unwrap()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_new_gateway_gets_a_snapshot_and_then_every_change_at_once() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    assert_eq!(follower.store, running.store.id());
    assert!(follower.admits(running.first.shipping_token.expose()));
    let path = admin.create("one").await;
    let secret = admin.get(&path).await.json["token"].as_str().unwrap().to_owned();
    follower.delta().await;
    assert!(follower.admits(&secret));
    for (body, admitted) in [(r#"{"enabled":false}"#, false), (r#"{"enabled":true}"#, true)] {
        admin.put(&path, body).await;
        follower.delta().await;
        assert_eq!(follower.admits(&secret), admitted);
    }
    admin.put(&path, r#"{"name":"renamed"}"#).await;
    let created = admin.post(ACCOUNTS, r#"{"accountName":"team","ingestBytesPerSecondMax":9}"#).await.json;
    follower.delta().await;
    assert!(follower.admits(created["accountToken"].as_str().unwrap()));
    assert_eq!(follower.directory.account(AccountId(1001)).unwrap().rate_bytes_max, Some(9));
    admin.delete(&path).await;
    follower.delta().await;
    assert!(!follower.admits(&secret));
    let snapshot = running.store.snapshot().await.unwrap();
    assert_eq!(follower.directory.revision(), snapshot.revision);
    assert_eq!(sorted(follower.directory.changes()), sorted(snapshot.changes));
}

#[tokio::test]
async fn a_gateway_that_comes_back_gets_only_what_it_missed() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    admin.create("one").await;
    follower.delta().await;
    let Follower { store, directory, .. } = follower;
    admin.create("two").await;
    admin.create("three").await;
    let running = running.restart().await;
    let query = format!("?store={store}&after={}", directory.revision());
    let mut follower = Follower::open(&running, &query).await;
    follower.directory = directory;
    follower.delta().await;
    follower.delta().await;
    assert_eq!(sorted(follower.directory.changes()), sorted(running.store.snapshot().await.unwrap().changes));
}

#[tokio::test]
async fn a_gateway_of_another_store_or_time_gets_a_snapshot() {
    let running = Running::start(Plan::Pro).await;
    let known = running.store.id().to_owned();
    for query in [
        "?store=another&after=1".to_owned(),
        format!("?store={known}&after=2"),
        format!("?store={known}&after=18446744073709551615"),
    ] {
        let follower = Follower::open(&running, &query).await.snapshot().await;
        assert_eq!(follower.directory.revision(), 1, "{query}");
    }
    let answer = running.gateway().get(&format!("{DIRECTORY_PATH}?after=x")).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_quiet_stream_has_heartbeats() {
    let running = Running::start(Plan::Pro).await;
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let began = monotonic();
    assert!(matches!(follower.next().await, Some(Message::Heartbeat { revision: 1, .. })));
    assert!(began.elapsed() < Duration::from_millis(3 * HEARTBEAT_MS));
}

#[tokio::test]
async fn draining_ends_streams_and_counts_them_out() {
    let running = Running::start(Plan::Pro).await;
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let connected = &running.metrics.control.gateways_connected;
    assert_eq!(connected.get(), 1);
    running.shutdown.drain(Duration::from_secs(30)).await.unwrap();
    while follower.next_line().await.is_some() {}
    assert_eq!(connected.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_ends_up_where_the_store_is_whatever_the_admins_do() {
    let running = Running::start(Plan::Pro).await;
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let mut admins = tokio::task::JoinSet::new();
    for number in 0..8_u64 {
        let admin = running.admin();
        admins.spawn(async move {
            for step in 0..25 {
                let any = format!("{TOKENS}/{}", 1_000_000 + (number * 7 + step * 5) % 24);
                match (number + step) % 4 {
                    0 => admin.post(TOKENS, format!(r#"{{"name":"{number} {step}"}}"#)).await,
                    1 => admin.put(&any, r#"{"enabled":true}"#).await,
                    2 => admin.put(&any, r#"{"enabled":false}"#).await,
                    _ => admin.delete(&any).await,
                };
            }
        });
    }
    admins.join_all().await;
    let snapshot = running.store.snapshot().await.unwrap();
    while follower.directory.revision() < snapshot.revision {
        follower.delta().await;
        assert!((1..=15).contains(&follower.directory.tokens()));
    }
    assert_eq!(sorted(follower.directory.changes()), sorted(snapshot.changes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_arrive_far_below_the_budget() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let path = admin.create("one").await;
    follower.delta().await;
    let mut after_answer = vec![];
    for step in 0..50 {
        admin.put(&path, format!(r#"{{"enabled":{}}}"#, step % 2 == 1)).await;
        let answered = monotonic();
        follower.delta().await;
        after_answer.push(answered.elapsed());
    }
    after_answer.sort();
    println!("a delta after the answer: median {:?}, worst {:?}", after_answer[25], after_answer[49]);
    assert!(after_answer[25] < Duration::from_millis(50), "{after_answer:?}");
}

#[tokio::test]
async fn a_gateway_that_asks_for_it_reads_a_compressed_stream() {
    let running = Running::start(Plan::Pro).await;
    let mut gateway = running.gateway();
    gateway.headers.push(("Accept-Encoding", "gzip, zstd".to_owned()));
    let response = gateway.open("GET", DIRECTORY_PATH, "").await;
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let (mut body, mut decoder) =
        (response.into_body(), zstd::stream::write::Decoder::new(Vec::new()).unwrap());
    // Hello, snapshot, an account, a token, the end of the snapshot, and a heartbeat: each of them arrives.
    while decoder.get_ref().iter().filter(|byte| **byte == b'\n').count() < 6 {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame()).await.unwrap().unwrap();
        decoder.write_all(&frame.unwrap().into_data().unwrap()).unwrap();
        decoder.flush().unwrap();
    }
}
