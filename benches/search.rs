//! How fast an account's log is searched: by one thread that has to look through everything, and for what an index finds.
//!
//! ```sh no-run
//! cargo bench --bench search                       # 1 GB of lines
//! cargo bench --bench search -- --gigabytes 10 --dir FOLDER
//! ```
//!
//! The log is shipped as always, 100 lines of about 220 bytes a batch; one line of every thousandth batch has a field that no other
//! has. What is measured begins once the log's sealed files have their indexes, and its files are in the page cache.

#![expect(clippy::disallowed_methods, reason = "a bench is its own main")]

mod common;

use common::{LINES, Random, TOKEN, body, directory};
use shipgate::clock::{self, Clock};
use shipgate::domain::account::{AccountId, Durability};
use shipgate::domain::batch::{Batch, Framing};
use shipgate::domain::filter::{Access, Filter, FilterSet, Operator};
use shipgate::domain::query::Query;
use shipgate::domain::token::TokenDigest;
use shipgate::journal::disk::OsDisk;
use shipgate::journal::{self, OnCorruption};
use shipgate::logs::read::{self, Question, Reader, Tails};
use shipgate::logs::{self, Logs};
use shipgate::metrics::Metrics;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const ACCOUNT: AccountId = AccountId(0);
/// Of so many batches, one holds what is looked for.
const RARE_ONE_OF: u64 = 1_000;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let gigabytes: f64 =
        value("--gigabytes").map_or(1.0, |text| text.parse().expect("a number of gigabytes"));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = value("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        if !dir.join("logs").exists() {
            ship(&dir, gigabytes).await;
        }
        measure(&dir.join("logs")).await;
    });
}

/// Makes the log, and waits for its indexes.
async fn ship(dir: &Path, gigabytes: f64) {
    let (journal, logs) = open(dir);
    let directory = directory(1, Durability::Written);
    let permit = directory.admit(&TokenDigest::of(TOKEN), || 0).expect("enabled");
    let (mut random, mut shipped, mut n) = (Random(7), 0, 0_u64);
    let mut received_ms = 1_700_000_000_000;
    let started = clock::monotonic();
    while (shipped as f64) < gigabytes * 1e9 {
        let mut lines = body(&mut random, LINES);
        if n % RARE_ONE_OF == 0 {
            lines.insert_str(1, "\"tenant\":\"acme\",");
        }
        received_ms += 100;
        let framing = Framing { received_ms, default_type: "app", line_bytes_max: 1 << 20 };
        let batch = Batch::parse(permit.clone(), lines.as_bytes(), framing);
        shipped += batch.lines().len();
        while journal.append(Batch::parse(permit.clone(), lines.as_bytes(), framing)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        n += 1;
    }
    println!(
        "shipped {:.2} GB of lines in {n} batches, {:.0} s",
        shipped as f64 / 1e9,
        started.elapsed().as_secs_f64()
    );
    let folder = dir.join("logs").join(ACCOUNT.to_string());
    let count = |end: &str| {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        files.filter(|file| file.file_name().to_string_lossy().ends_with(end)).count()
    };
    let started = clock::monotonic();
    while count("Z-00000000000000000001.ndjson.zst") == 0 || count(".ndjson.zst") - 1 > count(".index") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("then waited {:.1} s for indexes", started.elapsed().as_secs_f64());
    journal.close();
    logs.close().expect("a healthy disk");
}

fn open(dir: &Path) -> (journal::Journal, Logs) {
    let journal = journal::Config {
        dir: dir.join("journal"),
        durability: Durability::Written,
        segment_bytes: 64 << 20,
        bytes_max: 4 << 30,
        disk_free_bytes_min: 0,
        group_bytes_max: 8 << 20,
        queue_bytes_max: 128 << 20,
        coalesce_bytes_max: 16 << 10,
        compression_level: 1,
        on_corruption: OnCorruption::Fail,
    };
    let logs = logs::Config {
        dir: dir.join("logs"),
        file_bytes_max: 64 << 20,
        file_age_ms_max: u64::MAX,
        open_files_max: 256,
        checkpoint_interval_ms: 1_000,
        checkpoint_bytes: 256 << 20,
        retention_interval_ms: 600_000,
        backlog_bytes_max: 64 << 20,
    };
    let (keep, metrics) = (Arc::new(|_| None), Arc::new(Metrics::new()));
    Logs::open(logs, journal, Arc::new(OsDisk), keep, Tails::default(), metrics, Clock::system())
        .expect("a fresh folder")
}

async fn measure(dir: &Path) {
    let bytes = |end: &str| -> u64 {
        let files = std::fs::read_dir(dir.join(ACCOUNT.to_string())).into_iter().flatten().flatten();
        let files = files.filter(|file| file.file_name().to_string_lossy().ends_with(end));
        files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    };
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "log files {:.0} MB, of them growing {:.0} MB; indexes {:.1} MB",
        mb(bytes(".ndjson.zst")),
        mb(bytes("current.ndjson.zst")),
        mb(bytes(".index"))
    );
    let config = read::Config {
        workers_max: 1,
        questions_max: 4,
        time_max: Duration::from_secs(600),
        found_bytes_max: 32 << 20,
    };
    let open = || {
        let config = config.clone();
        Reader::open(dir.to_owned(), config, Arc::new(OsDisk), None, Arc::new(Metrics::new()))
            .expect("threads")
    };
    let reader = open();
    let query = |text: &str| Query::parse(text, 0).expect("a query");
    let only = |field: &str, value: &str| {
        let filter = Filter { field: field.to_owned(), value: value.to_owned() };
        Access::Only(FilterSet::new(Operator::And, vec![filter]).expect("a filter"))
    };
    println!("{:<58} {:>9} {:>9} {:>9} {:>9}", "one thread", "ms", "CPU ms", "MB read", "GB/CPU s");
    for (text, access) in [
        ("nosuchword", Access::Everything),
        ("basket AND nosuchword", Access::Everything),
        ("status:500 AND message:nosuchword", Access::Everything),
        ("tenant:acme", Access::Everything),
        ("", only("tenant", "acme")),
        ("level:error AND service:checkout", Access::Everything),
        ("", Access::Everything),
        ("NOT level:info", Access::Everything),
    ] {
        let question = || Question {
            account: ACCOUNT,
            access: access.clone(),
            query: query(text),
            from_ms: None,
            to_ms: None,
        };
        let filtered = if access == Access::Everything { "" } else { " under a filter" };
        report(&format!("search {text:?}{filtered}, newest 100"), async || {
            reader.search(question(), 100, None).await.expect("an answer").scanned_bytes
        })
        .await;
        report(&format!("histogram {text:?}{filtered}"), async || {
            reader.histogram(question(), 1 << 40).await.expect("an answer").scanned_bytes
        })
        .await;
    }
    let everything = || Question {
        account: ACCOUNT,
        access: Access::Everything,
        query: Query::All,
        from_ms: None,
        to_ms: None,
    };
    report("fields", async || reader.fields(everything(), 10).await.expect("an answer").scanned_bytes).await;
    report("export", async || {
        let mut export = reader.export(everything()).await.expect("an answer");
        let mut bytes = 0;
        while let Some(chunk) = export.next().await {
            bytes += chunk.expect("a chunk").len() as u64;
        }
        bytes
    })
    .await;
}

/// The median of some rounds. CPU time is that of all threads, system calls included: on a machine with other work, what is waited says little.
async fn report(name: &str, ask: impl AsyncFn() -> u64) {
    let (mut took, mut used) = (vec![], vec![]);
    let mut scanned = 0;
    for _ in 0..ROUNDS {
        let (started, cpu) = (clock::monotonic(), cpu_seconds());
        scanned = ask().await;
        used.push(cpu_seconds() - cpu);
        took.push(started.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    used.sort_by(f64::total_cmp);
    let (took, used) = (took[took.len() / 2], used[used.len() / 2]);
    let (mb, gb_s) = (scanned as f64 / 1e6, scanned as f64 / 1e9 / used);
    println!("{name:<58} {:>9.1} {:>9.1} {mb:>9.0} {gb_s:>9.2}", took * 1e3, used * 1e3);
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
