//! The line in process: from a request's head and body to its receipt, on a real disk, without sockets.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::Full;
use hyper::http::request;
use shipgate::clock::Clock;
use shipgate::config::Config;
use shipgate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use shipgate::domain::directory::{Change, Directory};
use shipgate::domain::token::{GatewayCredential, TokenDigest};
use shipgate::gateway::Gate;
use shipgate::gateway::ingest::ingest;
use shipgate::gateway::source::Arrival;
use shipgate::journal::disk::OsDisk;
use shipgate::logs::Logs;
use shipgate::logs::read::Tails;
use shipgate::metrics::Metrics;
use shipgate::sync::current::Current;
use std::sync::Arc;

const TOKEN: &str = "shipping-token-of-the-benchmark";

fn directory() -> Directory {
    let (digest, account) = (TokenDigest::of(TOKEN), AccountId(1));
    let retention = Retention { days: 7, bytes_max: None };
    let mut directory = Directory::default();
    directory.apply(Change::Account(AccountGrant {
        account,
        durability: None,
        rate_bytes_max: None,
        retention,
    }));
    directory.apply(Change::Token { digest, token: TokenId(1), account, terms: None });
    directory
}

fn head() -> request::Parts {
    let request = hyper::Request::post(format!("/?token={TOKEN}&type=bench")).body(()).expect("a request");
    request.into_parts().0
}

fn body(lines: usize) -> Bytes {
    let line = |n: usize| {
        format!(
            r#"{{"level":"info","service":"checkout","host":"web-{n}","request_id":"7f3c{n:08x}","duration_ms":{n}.25,"status":200,"message":"order placed for customer {n}, 3 items in basket"}}"#
        ) + "\n"
    };
    (0..lines).map(line).collect::<String>().into()
}

fn arrival() -> Arrival {
    Arrival { door: "bulk", peer: [127, 0, 0, 1].into() }
}

/// A gate with everything behind it, in a folder of its own.
fn gate(folder: &std::path::Path, durability: &str) -> (Arc<Gate>, Logs) {
    let variables = [
        ("SHIPGATE__DATA_DIR".to_owned(), folder.to_string_lossy().into_owned()),
        ("SHIPGATE__JOURNAL__DURABILITY".to_owned(), durability.to_owned()),
    ];
    let config =
        Config::load(None, variables, None, GatewayCredential::from_entropy(&[1; 32])).expect("valid");
    let (metrics, clock, current) = (Arc::new(Metrics::new()), Clock::system(), Current::default());
    current.publish(directory(), "bench");
    let opened = Logs::open(
        config.logs,
        config.journal,
        Arc::new(OsDisk),
        Arc::new(|_| None),
        Tails::default(),
        Arc::clone(&metrics),
        clock.clone(),
    );
    let (journal, logs) = opened.expect("a fresh folder");
    (Arc::new(Gate::new(config.gateway, current, journal, metrics, clock)), logs)
}

fn line(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for durability in ["synced", "written"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (gate, logs) = gate(folder.path(), durability);
        let mut group = c.benchmark_group(format!("ingest, {durability}"));
        for (lines, concurrent) in [(1, 1), (1, 32), (100, 1), (100, 32)] {
            let (head, body) = (Arc::new(head()), body(lines));
            group.throughput(Throughput::Elements((lines * concurrent) as u64));
            let id = BenchmarkId::new(format!("{lines} lines"), format!("{concurrent} at once"));
            group.bench_function(id, |b| {
                b.to_async(&runtime).iter(|| async {
                    let mut tasks = tokio::task::JoinSet::new();
                    for _ in 0..concurrent {
                        let (gate, head, mut body) =
                            (Arc::clone(&gate), Arc::clone(&head), Full::from(body.clone()));
                        tasks.spawn(async move {
                            ingest(&gate, arrival(), &head, &mut body).await.expect("a receipt")
                        });
                    }
                    tasks.join_all().await
                });
            });
        }
        group.finish();
        gate.journal.close();
        logs.close().expect("closed in order");
    }
}

criterion_group!(benches, line);
criterion_main!(benches);
