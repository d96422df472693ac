//! What the line costs in instructions, which, unlike times, hardly depend on the machine and not at all on its mood.
//!
//!     cargo instructions              compares with benches/instructions.toml
//!     cargo instructions -- --update  writes that file
//!
//! Each scenario runs under callgrind (Debian: `valgrind`) in a process of its own, once for a number of rounds and once
//! for three times as many. The difference is what the rounds cost, on all threads, without anything that came before.
//! callgrind lacks some of the newest instructions, such as SHA's: counts compare only with themselves.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench may panic, and reads its own arguments"
)]

mod common;

use common::{LINES, Random, TOKEN, body, directory};
use shipgate::clock::Clock;
use shipgate::config::Config;
use shipgate::domain::account::{Durability, TokenId};
use shipgate::domain::batch::{Batch, Framing};
use shipgate::domain::directory::Permit;
use shipgate::domain::token::{GatewayCredential, TokenDigest};
use shipgate::domain::usage::Sums;
use shipgate::gateway::usage::{Client, Uses};
use shipgate::journal::disk::OsDisk;
use shipgate::journal::{Feed, Journal};
use shipgate::metrics::Metrics;
use shipgate::sync::current::Current;
use shipgate::sync::report::Ledger;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Baselines, name by name: instructions for one round.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
/// How far a count may be from its baseline before it has to be changed, in per cent.
const DRIFT_MAX: f64 = 10.0;

/// One round: what is counted.
type Round = Box<dyn FnMut()>;

/// A name, rounds in the shorter of the two runs, and what makes a round out of how often it will be called at most.
type Scenario = (&'static str, usize, fn(usize) -> Round);

const SCENARIOS: &[Scenario] = &[
    ("admit_10_tokens", 20_000, |_| admit(10)),
    ("admit_1000000_tokens", 20_000, |_| admit(1_000_000)),
    ("look_up_1000000_tokens", 20_000, |_| look_up(1_000_000)),
    ("parse_100_flat", 100, |_| parse(&body(&mut Random(1), LINES))),
    ("parse_100_nested", 100, |_| parse(&nested())),
    ("parse_100_with_both_fields", 100, |_| parse(&with_both_fields())),
    ("parse_100_malformed", 100, |_| parse(&body(&mut Random(1), LINES).replace("\"}\n", "\n"))),
    ("count_a_use", 20_000, |_| count_a_use()),
    ("count_a_use_of_1000_tokens", 20_000, |_| count_a_use_of_1000_tokens()),
    ("count_a_random_token_in_a_flood", 20_000, |rounds| count_random_tokens(rounds)),
    ("append_100_lines", 100, |rounds| append(rounds, 1, LINES)),
    ("append_32_batches_of_1_line", 100, |rounds| append(rounds, 32, 1)),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(&count_all()),
        ["--update"] => update(&count_all()),
        ["--run", name, rounds] => {
            run(name, rounds.parse().unwrap());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("the only argument is --update");
            ExitCode::from(64)
        }
    }
}

/// The other role of this program: what callgrind watches.
fn run(name: &str, rounds: usize) {
    let (_, shorter, prepare) = SCENARIOS.iter().find(|(each, ..)| *each == name).unwrap();
    let mut round = prepare(3 * shorter);
    (0..rounds).for_each(|_| round());
}

fn count_all() -> BTreeMap<String, u64> {
    let count = |&(name, rounds, _): &Scenario| {
        let each = (count(name, 3 * rounds) - count(name, rounds)) / (2 * rounds as u64);
        (name.to_owned(), each)
    };
    SCENARIOS.iter().map(count).collect()
}

/// Instructions of a whole run.
fn count(name: &str, rounds: usize) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap());
    let output = valgrind.args(["--run", name, &rounds.to_string()]).output();
    let output = output.expect("valgrind should be installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    assert!(output.status.success(), "{name}: {said}");
    collected.unwrap_or_else(|| panic!("{name}: no count in {said}"))
}

fn compare(counts: &BTreeMap<String, u64>) -> ExitCode {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    let baseline: BTreeMap<String, u64> = toml::from_str(&text).expect("names and numbers");
    let mut verdict = ExitCode::SUCCESS;
    println!("{:<32} {:>12} {:>12} {:>8}", "instructions for one round of", "baseline", "now", "change");
    for (name, &now) in counts {
        let Some(&before) = baseline.get(name) else {
            println!("{name:<32} {:>12} {now:>12}           FAILED: it has no baseline", "");
            verdict = ExitCode::FAILURE;
            continue;
        };
        let change = 100.0 * (now as f64 / before as f64 - 1.0);
        let remark = match change {
            _ if change > DRIFT_MAX => "  FAILED: it grew",
            _ if change < -DRIFT_MAX => "  it shrank: lower its baseline",
            _ => "",
        };
        println!("{name:<32} {before:>12} {now:>12} {change:>+7.1} %{remark}");
        if change > DRIFT_MAX {
            verdict = ExitCode::FAILURE;
        }
    }
    if verdict != ExitCode::SUCCESS {
        println!(
            "\nMore than {DRIFT_MAX} % above the baseline. If that is what a change is worth, commit with it the result of\n"
        );
        println!("  cargo instructions -- --update");
    }
    verdict
}

fn update(counts: &BTreeMap<String, u64>) -> ExitCode {
    let head = "# Instructions for one round of each scenario of benches/instructions.rs, which writes this file and compares with it.\n\n";
    let lines: String = counts.iter().map(|(name, count)| format!("{name} = {count}\n")).collect();
    std::fs::write(BASELINE, format!("{head}{lines}")).expect("a writable checkout");
    print!("{lines}");
    ExitCode::SUCCESS
}

/// From a token as it is sent to a permit.
fn admit(tokens: u32) -> Round {
    let current = current(tokens);
    Box::new(move || {
        let _ = black_box(current.admit(&TokenDigest::of(black_box(TOKEN)), now));
    })
}

/// The same from the digest on, which is small beside the digest.
fn look_up(tokens: u32) -> Round {
    let (current, digest) = (current(tokens), TokenDigest::of(TOKEN));
    Box::new(move || {
        let _ = black_box(current.admit(black_box(&digest), now));
    })
}

/// Asked only about tokens with terms.
fn now() -> u64 {
    Clock::system().unix_ms()
}

fn current(tokens: u32) -> Current {
    let current = Current::default();
    current.publish(directory(tokens, Durability::Synced), "bench");
    current
}

const CLIENT: Client<'static> =
    Client { source: IpAddr::V4(Ipv4Addr::LOCALHOST), agent: b"Fluent-Bit/3.2 (linux; x86_64)" };
const MINUTE: u32 = 29_000_000;
const SUMS: Sums = Sums { requests: 1, lines: 100, bytes: 20_000, refused_lines: 0 };

/// What the ledger costs a batch of a token that ships.
fn count_a_use() -> Round {
    let uses = Uses::new(Arc::new(Metrics::new()));
    Box::new(move || uses.accept(black_box(TokenId(1)), CLIENT, MINUTE, SUMS))
}

/// The same with many tokens, and with a report every thousand batches.
fn count_a_use_of_1000_tokens() -> Round {
    let uses = Uses::new(Arc::new(Metrics::new()));
    let mut number = 0;
    Box::new(move || {
        number += 1;
        uses.accept(TokenId(black_box(number % 1_000)), CLIENT, MINUTE, SUMS);
        if number % 1_000 == 0 {
            black_box(uses.take());
        }
    })
}

/// What it costs a request with a token that nobody has.
fn count_random_tokens(rounds: usize) -> Round {
    let uses = Uses::new(Arc::new(Metrics::new()));
    let digests: Vec<_> = (0..rounds).map(|n| TokenDigest::of(&n.to_string())).collect();
    let mut digests = digests.into_iter().cycle();
    Box::new(move || {
        if let Some(digest) = digests.next() {
            uses.meet(digest, CLIENT, MINUTE);
        }
    })
}

fn parse(body: &str) -> Round {
    let (body, permit) = (body.to_owned(), permit());
    Box::new(move || {
        black_box(batch(&permit, black_box(&body)));
    })
}

fn permit() -> Permit {
    directory(1, Durability::Synced).admit(&TokenDigest::of(TOKEN), now).unwrap()
}

fn batch(permit: &Permit, body: &str) -> Batch {
    let framing =
        Framing { received_ms: 1_700_000_000_000, default_type: "http-bulk", line_bytes_max: 500_000 };
    Batch::parse(permit.clone(), body.as_bytes(), framing)
}

/// A group of one batch and then one of the others, until all have their receipts. They are parsed beforehand.
fn append(rounds: usize, batches: usize, lines: usize) -> Round {
    let (permit, mut random) = (permit(), Random(1));
    let mut prepare = || (0..batches).map(|_| batch(&permit, &body(&mut random, lines))).collect();
    let mut waiting: Vec<Vec<Batch>> = (0..rounds).map(|_| prepare()).collect();
    let mut bench = JournalBench::open();
    Box::new(move || bench.round(waiting.pop().unwrap()))
}

/// A journal that commits a group only when it is told to. Otherwise it would be chance which batches make one.
struct JournalBench {
    journal: Journal,
    /// The journal waits while more than one byte that went through here is not done with.
    feed: Feed,
    undone_bytes: usize,
    metrics: Arc<Metrics>,
    runtime: Runtime,
    _folder: TempDir,
}

impl JournalBench {
    fn open() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let variables = [("SHIPGATE__DATA_DIR".to_owned(), folder.path().to_string_lossy().into_owned())];
        let config = Config::load(None, variables, None, GatewayCredential::from_entropy(&[1; 32])).unwrap();
        let metrics = Arc::new(Metrics::new());
        let (journal, feed) =
            Journal::open(config.journal, Arc::new(OsDisk), Arc::clone(&metrics), 0, 1).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { journal, feed, undone_bytes: 0, metrics, runtime, _folder: folder }
    }

    fn round(&mut self, mut batches: Vec<Batch>) {
        let mut shippers = JoinSet::new();
        let others = batches.split_off(1);
        for group in [batches, others].into_iter().filter(|group| !group.is_empty()) {
            if !shippers.is_empty() {
                self.wait_until_taken();
            }
            for batch in group {
                let journal = self.journal.clone();
                let receipt = async move { journal.append(batch).await.unwrap() };
                shippers.spawn_on(receipt, self.runtime.handle());
            }
            self.runtime.block_on(tokio::task::yield_now());
        }
        while !shippers.is_empty() {
            self.feed.done(self.undone_bytes);
            let committed = self.feed.next(Duration::from_secs(60)).unwrap();
            self.undone_bytes = committed.iter().map(|extent| extent.bytes.len()).sum();
            self.runtime.block_on(tokio::task::yield_now());
            while shippers.try_join_next().is_some() {}
        }
    }

    /// Waits until the journal has taken everything out of its queue.
    fn wait_until_taken(&self) {
        while self.metrics.journal.queue_bytes.get() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn nested() -> String {
    let line = |n: usize| {
        format!(
            r#"{{"kubernetes":{{"pod":{{"name":"api-{n}","labels":{{"app":"api","tier":"backend"}}}},"node":"n-{n}"}},"log":{{"level":"error","tags":["a","b",["c",{{"d":{n}}}]]}},"ok":true,"none":null}}"#
        ) + "\n"
    };
    (0..LINES).map(line).collect()
}

fn with_both_fields() -> String {
    let fields = r#"{"@timestamp":"2026-01-31T23:59:59.123Z","type":"app","level""#;
    body(&mut Random(1), LINES).replace("{\"level\"", fields)
}
