//! Parsing a batch, by the shape of its lines, in bytes a second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shipgate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use shipgate::domain::batch::{Batch, Framing};
use shipgate::domain::directory::{Change, Directory, Permit};
use shipgate::domain::token::TokenDigest;
use std::hint::black_box;

const LINES: usize = 100;

fn permit() -> Permit {
    let (digest, account) = (TokenDigest::of("bench"), AccountId(1));
    let retention = Retention { days: 7, bytes_max: None };
    let mut directory = Directory::default();
    directory.apply(Change::Account(AccountGrant {
        account,
        durability: None,
        rate_bytes_max: None,
        retention,
    }));
    directory.apply(Change::Token { digest, token: TokenId(1), account, terms: None });
    directory.admit(&digest, || 0).expect("enabled")
}

/// Realistic lines of several shapes.
fn shapes() -> Vec<(&'static str, String)> {
    let each = |line: &dyn Fn(usize) -> String| (0..LINES).map(|n| line(n) + "\n").collect::<String>();
    let stack: String =
        (0..40).map(|n| format!("\\n\\tat org.example.Frame{n}.call(Frame{n}.java:{n})")).collect();
    vec![
        (
            "flat",
            each(&|n| {
                format!(
                    r#"{{"level":"info","service":"checkout","host":"web-{n}","request_id":"7f3c{n:08x}","duration_ms":{n}.25,"status":200,"message":"order placed for customer {n}, 3 items in basket"}}"#
                )
            }),
        ),
        (
            "with both fields",
            each(&|n| {
                format!(
                    r#"{{"@timestamp":"2026-01-31T23:59:59.123Z","type":"app","level":"warn","host":"web-{n}","message":"cache miss for key user:{n}:profile, loaded from database in 12 ms","status":200}}"#
                )
            }),
        ),
        (
            "nested",
            each(&|n| {
                format!(
                    r#"{{"kubernetes":{{"pod":{{"name":"api-{n}","labels":{{"app":"api","tier":"backend"}}}},"node":"n-{n}"}},"log":{{"level":"error","tags":["a","b",["c",{{"d":{n}}}]]}},"ok":true,"none":null}}"#
                )
            }),
        ),
        (
            "escapes",
            each(&|n| format!(r#"{{"message":"\"quoted\" \\ path C:\\logs\\{n} \u00e9 tab\t","n":{n}}}"#)),
        ),
        (
            "not ASCII",
            each(&|n| format!(r#"{{"message":"Größe überschritten: 你好世界 — naïve café №{n}","n":{n}}}"#)),
        ),
        (
            "stack traces",
            each(&|n| format!(r#"{{"level":"error","n":{n},"stack":"java.lang.Exception: no{stack}"}}"#)),
        ),
        ("malformed", each(&|n| format!(r#"{{"level":"info","message":"truncated {n}"#))),
    ]
}

fn parse(c: &mut Criterion) {
    let permit = permit();
    let mut group = c.benchmark_group("parse");
    for (shape, body) in shapes() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(shape), body.as_bytes(), |b, body| {
            let framing = Framing {
                received_ms: 1_700_000_000_000,
                default_type: "http-bulk",
                line_bytes_max: 500_000,
            };
            b.iter(|| Batch::parse(permit.clone(), black_box(body), framing));
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
