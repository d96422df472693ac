//! What durability costs: batches of 100 lines, about 20 KB, appended by one or many at a time, on a real disk.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shipgate::clock::{self, Clock};
use shipgate::domain::account::{AccountGrant, AccountId, Durability, Retention, TokenId};
use shipgate::domain::batch::{Batch, Framing};
use shipgate::domain::directory::{Change, Directory, Permit};
use shipgate::domain::token::TokenDigest;
use shipgate::journal::disk::OsDisk;
use shipgate::journal::{self, Journal, OnCorruption};
use shipgate::logs::read::Tails;
use shipgate::logs::{self, Logs};
use shipgate::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const LINES: usize = 100;

fn permit(durability: Durability) -> Permit {
    let mut directory = Directory::default();
    let (digest, account) = (TokenDigest::of("a token"), AccountId(1));
    directory.apply(Change::Account(AccountGrant {
        account,
        durability: Some(durability),
        rate_bytes_max: None,
        retention: Retention { days: 1, bytes_max: None },
    }));
    directory.apply(Change::Token { digest, token: TokenId(1), account, terms: None });
    directory.admit(&digest, || 0).expect("just enabled")
}

/// Logs as a web application writes them.
fn body() -> String {
    let mut random = 1_u64;
    let mut next = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % bound
    };
    let line = |_| {
        format!(
            "{{\"@timestamp\":\"2026-11-21T19:21:{:02}.{:03}Z\",\"type\":\"app\",\"level\":\"{}\",\"service\":\"checkout\",\
             \"trace\":\"{:016x}\",\"path\":\"/v1/orders/{}\",\"status\":{},\"ms\":{},\"message\":\"order {} was {}\"}}\n",
            next(60),
            next(1000),
            ["info", "warn", "error"][next(3) as usize],
            next(u64::MAX),
            next(100_000),
            [200, 201, 404, 500][next(4) as usize],
            next(900),
            next(100_000),
            ["placed", "paid", "sent"][next(3) as usize],
        )
    };
    (0..LINES).map(line).collect()
}

fn open(dir: &Path) -> (Journal, Logs) {
    let journal = journal::Config {
        dir: dir.join("journal"),
        durability: Durability::Synced,
        segment_bytes: 64 << 20,
        bytes_max: 4 << 30,
        disk_free_bytes_min: 0,
        group_bytes_max: 4 << 20,
        queue_bytes_max: 64 << 20,
        coalesce_bytes_max: 16 << 10,
        compression_level: 1,
        on_corruption: OnCorruption::Fail,
    };
    let logs = logs::Config {
        dir: dir.join("logs"),
        file_bytes_max: 64 << 20,
        file_age_ms_max: 3_600_000,
        open_files_max: 256,
        checkpoint_interval_ms: 10_000,
        checkpoint_bytes: 256 << 20,
        retention_interval_ms: 600_000,
        backlog_bytes_max: 64 << 20,
    };
    let keep = Arc::new(|_| None);
    Logs::open(
        logs,
        journal,
        Arc::new(OsDisk),
        keep,
        Tails::default(),
        Arc::new(Metrics::new()),
        Clock::system(),
    )
    .expect("a fresh directory")
}

/// How long `count` batches take when `concurrent` are on their way at any time. Parsing them is not counted.
async fn append(journal: &Journal, permit: &Permit, body: &str, concurrent: u64, count: u64) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let now = left.min(8 * 1024);
        took += append_some(journal, permit, body, concurrent, now).await;
        left -= now;
    }
    took
}

async fn append_some(
    journal: &Journal,
    permit: &Permit,
    body: &str,
    concurrent: u64,
    count: u64,
) -> Duration {
    let framing =
        Framing { received_ms: Clock::system().unix_ms(), default_type: "t", line_bytes_max: 1 << 20 };
    let batches: Vec<_> =
        (0..count).map(|_| Batch::parse(permit.clone(), body.as_bytes(), framing)).collect();
    let mut shares: Vec<Vec<Batch>> = (0..concurrent).map(|_| vec![]).collect();
    for (i, batch) in batches.into_iter().enumerate() {
        shares[i % concurrent as usize].push(batch);
    }
    let started = clock::monotonic();
    let mut shippers = JoinSet::new();
    for share in shares {
        let journal = journal.clone();
        shippers.spawn(async move {
            for batch in share {
                journal.append(batch).await.expect("a healthy disk");
            }
        });
    }
    shippers.join_all().await;
    started.elapsed()
}

fn journal(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let body = body();
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.measurement_time(Duration::from_secs(4)).sample_size(10);
    for durability in [Durability::Synced, Durability::Written] {
        for concurrent in [1, 32, 256] {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let (journal, logs) = open(dir.path());
            let permit = permit(durability);
            let id = BenchmarkId::new(format!("{durability:?}").to_lowercase(), concurrent);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|count| {
                    runtime.block_on(append(&journal, &permit, &body, concurrent, count))
                });
            });
            journal.close();
            logs.close().expect("a healthy disk");
        }
    }
}

criterion_group!(benches, journal);
criterion_main!(benches);
