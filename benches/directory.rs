//! What a token costs: looking one up, alone and while changes are published, and changing one. Each at three sizes, because
//! the claim is that size does not matter.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench may panic, and measures time itself"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shipgate::clock::Clock;
use shipgate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use shipgate::domain::directory::{Change, Directory};
use shipgate::domain::token::TokenDigest;
use shipgate::sync::current::Current;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SIZES: [u32; 3] = [10, 10_000, 1_000_000];
const TOKENS_PER_ACCOUNT: u32 = 10;
const CHANGES_PER_SECOND: u32 = 10_000;

fn text(n: u32) -> String {
    format!("shipping-token-number-{n:010}")
}

fn token(n: u32) -> Change {
    Change::Token {
        digest: TokenDigest::of(&text(n)),
        token: TokenId(n),
        account: AccountId(n / TOKENS_PER_ACCOUNT),
        terms: None,
    }
}

fn directory(tokens: u32) -> Directory {
    let mut directory = Directory::default();
    let retention = Retention { days: 7, bytes_max: None };
    for account in (0..=tokens / TOKENS_PER_ACCOUNT).map(AccountId) {
        let grant = AccountGrant { account, durability: None, rate_bytes_max: None, retention };
        directory.apply(Change::Account(grant));
    }
    (0..tokens).for_each(|n| directory.apply(token(n)));
    directory
}

/// Asked only about tokens with terms.
fn now() -> u64 {
    Clock::system().unix_ms()
}

/// Tokens as clients send them, in an order that caches cannot guess.
fn asked(tokens: u32) -> Vec<String> {
    (0..4_096u32).map(|n| text(n.wrapping_mul(2_654_435_761) % tokens)).collect()
}

fn admit(c: &mut Criterion) {
    let mut group = c.benchmark_group("admit");
    for tokens in SIZES {
        let current = Current::default();
        current.publish(directory(tokens), "bench");
        let asked = asked(tokens);
        let digests: Vec<_> = asked.iter().map(|text| TokenDigest::of(text)).collect();
        group.bench_function(BenchmarkId::new("digest given", tokens), |b| {
            let mut digests = digests.iter().cycle();
            b.iter(|| current.admit(black_box(digests.next().unwrap()), now));
        });
        group.bench_function(BenchmarkId::new("with digest", tokens), |b| {
            let mut asked = asked.iter().cycle();
            b.iter(|| current.admit(&TokenDigest::of(black_box(asked.next().unwrap())), now));
        });
        group.bench_function(BenchmarkId::new("during 10,000 changes a second", tokens), |b| {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| churn(&current, tokens, &done));
                let mut asked = asked.iter().cycle();
                b.iter(|| current.admit(&TokenDigest::of(black_box(asked.next().unwrap())), now));
                done.store(true, Ordering::Relaxed);
            });
        });
    }
    group.finish();
}

/// Publishes changes at an even rate until told to stop.
fn churn(current: &Current, tokens: u32, done: &AtomicBool) {
    let mut directory = directory(tokens);
    let begun = Instant::now();
    for n in 0u32.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let due = begun + n * Duration::from_secs(1) / CHANGES_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        change(&mut directory, tokens, n);
        current.publish(directory.clone(), "bench");
    }
}

/// Takes a token out, or puts it back.
fn change(directory: &mut Directory, tokens: u32, n: u32) {
    let victim = n / 2 % tokens;
    match n % 2 {
        0 => directory.apply(Change::Revoke { digest: TokenDigest::of(&text(victim)) }),
        _ => directory.apply(token(victim)),
    }
}

fn one_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("change and publish");
    for tokens in SIZES {
        let current = Current::default();
        let mut directory = directory(tokens);
        group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
            let mut n = 0u32;
            b.iter(|| {
                change(&mut directory, tokens, n);
                current.publish(directory.clone(), "bench");
                n = n.wrapping_add(1);
            });
        });
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("1000000", |b| b.iter(|| directory(1_000_000)));
    group.finish();
}

criterion_group!(benches, admit, one_change, load);
criterion_main!(benches);
