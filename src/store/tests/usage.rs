//! The ledger: added once, told apart by day and by the token's state, and bounded.

use super::*;
use crate::domain::usage::{ClientUse, StrangerUse, Sums, TokenUse, Usage, day_of};
use crate::store::usage::{DAYS_MAX, TokenState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The minute of the fixture's clock.
const MINUTE: u32 = 1_700_000_000 / 60;

fn client(n: u8) -> ClientUse {
    let source = IpAddr::from([192, 0, 2, n]);
    ClientUse { source, agent: "shipper/1.0".to_owned(), requests: 1, last_minute: MINUTE + u32::from(n) }
}

fn token_use(token: TokenId, minute: u32, lines: u64) -> TokenUse {
    TokenUse {
        token,
        day: day_of(minute),
        sums: Sums { requests: 1, lines, bytes: 10 * lines, refused_lines: 1 },
        first_minute: minute,
        last_minute: minute,
        refusals: vec![("over_rate".to_owned(), 2)],
        clients: vec![client(1)],
    }
}

fn of_token(used: TokenUse) -> Usage {
    Usage { tokens: vec![used], strangers: vec![] }
}

fn of_strangers(digests: impl IntoIterator<Item = TokenDigest>) -> Usage {
    let strangers = digests.into_iter().map(|digest| StrangerUse {
        digest,
        requests: 3,
        last_minute: MINUTE + 5,
        clients: vec![client(2)],
    });
    Usage { tokens: vec![], strangers: strangers.collect() }
}

#[tokio::test]
async fn a_token_has_sums_by_day_and_its_first_and_last_use() {
    let f = Fixture::new(Plan::Pro).await;
    for (number, minute, lines) in
        [(1, MINUTE, 1), (2, MINUTE + 1_440, 2), (3, MINUTE + 3, 4), (4, MINUTE - 9, 8)]
    {
        f.store.add_usage("i", number, &of_token(token_use(FIRST, minute, lines))).await.unwrap();
    }
    let (usage, days) = f.store.token_usage(f.account, FIRST).await.unwrap();
    assert_eq!((usage.first_used_minute, usage.last_used_minute), (Some(MINUTE - 9), Some(MINUTE + 1_440)));
    assert_eq!((usage.state, usage.last_refused_minute), (TokenState::Enabled, None));
    assert_eq!(usage.sums, Sums { requests: 4, lines: 15, bytes: 150, refused_lines: 4 });
    assert_eq!(usage.refusals, [("over_rate".to_owned(), 8)].into());
    assert_eq!((usage.clients[0].requests, usage.clients.len()), (4, 1));
    let got: Vec<_> = days.iter().map(|day| (day.day, day.sums.lines)).collect();
    assert_eq!(got, [(day_of(MINUTE) + 1, 2), (day_of(MINUTE), 13)]);
}

#[tokio::test]
async fn a_repeated_count_is_added_once() {
    let f = Fixture::new(Plan::Pro).await;
    let usage = of_token(token_use(FIRST, MINUTE, 1));
    for (instance, number) in [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 2)] {
        f.store.add_usage(instance, number, &usage).await.unwrap();
    }
    let (usage, _) = f.store.token_usage(f.account, FIRST).await.unwrap();
    assert_eq!(usage.sums.requests, 3);
}

#[tokio::test]
async fn uses_after_the_end_are_told_from_random_ones() {
    let f = Fixture::new(Plan::Pro).await;
    let (disabled, deleted) = (f.create(1, true).await.unwrap(), f.create(2, true).await.unwrap());
    f.enable(disabled, false).await.unwrap();
    f.delete(deleted).await.unwrap();
    let [one, two] = [1, 2].map(|n| secret(n).digest());
    let random = (0..600).map(|n| TokenDigest::of(&n.to_string()));
    let usage = of_strangers(random.chain([one, two, secret(0).digest()]));
    let known = f.store.add_usage("i", 1, &usage).await.unwrap();
    assert_eq!(BTreeSet::from_iter(known), [one, two, secret(0).digest()].into());
    for (id, state, reason, after_end) in [
        (disabled, TokenState::Disabled, "disabled", true),
        (deleted, TokenState::Deleted { deleted_ms: f.clock.unix_ms() }, "deleted", true),
        (FIRST, TokenState::Enabled, "not_valid", false),
    ] {
        let (usage, _) = f.store.token_usage(f.account, id).await.unwrap();
        assert_eq!((usage.state, usage.refusals), (state, [(reason.to_owned(), 3)].into()));
        let last_refused = after_end.then_some(MINUTE + 5);
        assert_eq!((usage.last_used_minute, usage.last_refused_minute), (None, last_refused));
        let clients = if after_end { usage.clients_after_end } else { usage.clients };
        assert_eq!(clients[0].source, IpAddr::from([192, 0, 2, 2]));
    }
    let all = f.store.account_usage(f.account, 10).await.unwrap();
    assert_eq!(all.iter().map(|usage| usage.id).collect::<Vec<_>>(), [deleted, disabled, FIRST]);
}

#[tokio::test]
async fn another_accounts_tokens_are_not_found() {
    let f = Fixture::new(Plan::Pro).await;
    let sub = f.store.create_sub_account(f.account, settings("sub"), secrets(9), &f.by).await.unwrap();
    let token = f.store.default_token(sub.id).await.unwrap().id;
    f.store.add_usage("i", 1, &of_token(token_use(token, MINUTE, 1))).await.unwrap();
    assert!(matches!(f.store.token_usage(f.account, token).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.token_usage(sub.id, FIRST).await, Err(StoreError::NotFound)));
    let seen = f.store.account_usage(f.account, 10).await.unwrap();
    assert_eq!(seen.iter().map(|usage| usage.id).collect::<Vec<_>>(), [FIRST]);
}

#[tokio::test]
async fn of_the_clients_those_seen_last_are_kept() {
    let f = Fixture::new(Plan::Pro).await;
    for n in 1..=100 {
        let used = TokenUse { clients: vec![client(n)], ..token_use(FIRST, MINUTE, 1) };
        f.store.add_usage("i", u64::from(n), &of_token(used)).await.unwrap();
    }
    let (usage, _) = f.store.token_usage(f.account, FIRST).await.unwrap();
    assert_eq!(usage.clients.len(), 20);
    assert!(usage.clients.iter().all(|client| client.last_minute > MINUTE + 80), "{:?}", usage.clients);
}

#[tokio::test]
async fn what_is_old_is_dropped_but_not_the_first_and_last_use() {
    let f = Fixture::new(Plan::Pro).await;
    let deleted = f.create(1, true).await.unwrap();
    f.store.add_usage("i", 1, &of_token(token_use(FIRST, MINUTE, 1))).await.unwrap();
    f.delete(deleted).await.unwrap();
    let day = std::time::Duration::from_secs(24 * 3_600);
    f.clock.advance(day * (DAYS_MAX - 1));
    f.store.trim_usage().await.unwrap();
    assert_eq!(f.store.token_usage(f.account, FIRST).await.unwrap().1.len(), 1);
    f.clock.advance(day * 2);
    f.store.trim_usage().await.unwrap();
    let (usage, days) = f.store.token_usage(f.account, FIRST).await.unwrap();
    assert_eq!((usage.first_used_minute, usage.clients.len(), days.len()), (Some(MINUTE), 0, 0));
    // A deleted token is remembered for longer than a year, and while it is tried.
    assert!(f.store.token_usage(f.account, deleted).await.is_ok());
    f.clock.advance(day * 300);
    let mut late = of_strangers([secret(1).digest()]);
    late.strangers[0].last_minute += 390 * 1_440;
    f.store.add_usage("i", 2, &late).await.unwrap();
    f.clock.advance(day * 50);
    f.store.trim_usage().await.unwrap();
    assert!(f.store.token_usage(f.account, deleted).await.is_ok());
    f.clock.advance(day * 400);
    f.store.trim_usage().await.unwrap();
    assert!(matches!(f.store.token_usage(f.account, deleted).await, Err(StoreError::NotFound)));
    assert!(f.store.token_usage(f.account, FIRST).await.unwrap().0.first_used_minute.is_some());
}

/// Several gateways count at once, their answers get lost, and they send again: the ledger holds what was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sums_are_what_was_sent_whoever_sends_again() {
    let f = Fixture::new(Plan::Pro).await;
    let tokens: Vec<_> = [f.create(1, true).await.unwrap(), f.create(2, true).await.unwrap(), FIRST].into();
    let sent = std::sync::Arc::new(AtomicU64::new(0));
    let mut gateways = tokio::task::JoinSet::new();
    for gateway in 0..4_u64 {
        let (store, tokens, sent) = (f.store.clone(), tokens.clone(), std::sync::Arc::clone(&sent));
        gateways.spawn(async move {
            for number in 1..=12_u64 {
                let lines = gateway * 7 + number;
                let uses = tokens.iter().map(|token| token_use(*token, MINUTE + number as u32, lines));
                let usage = Usage { tokens: uses.collect(), strangers: vec![] };
                sent.fetch_add(3 * lines, Ordering::Relaxed);
                let mut copies = tokio::task::JoinSet::new();
                for _ in 0..1 + (gateway + number) % 3 {
                    let (store, usage) = (store.clone(), usage.clone());
                    copies.spawn(async move {
                        store.add_usage(&format!("gateway {gateway}"), number, &usage).await.unwrap()
                    });
                }
                copies.join_all().await;
            }
        });
    }
    gateways.join_all().await;
    let found = f.store.account_usage(f.account, 10).await.unwrap();
    assert_eq!(found.iter().map(|usage| usage.sums.requests).collect::<Vec<_>>(), [48, 48, 48]);
    assert_eq!(found.iter().map(|usage| usage.sums.lines).sum::<u64>(), sent.load(Ordering::Relaxed));
}

#[tokio::test]
async fn of_tokens_that_never_were_only_who_came_with_them_is_kept() {
    let f = Fixture::new(Plan::Pro).await;
    let deleted = f.create(1, true).await.unwrap();
    f.delete(deleted).await.unwrap();
    let random = |n: usize| TokenDigest::of(&format!("random {n}"));
    let usage = of_strangers([random(1), random(2), secret(1).digest()]);
    f.store.add_usage("i", 1, &usage).await.unwrap();
    let unknown = f.store.unknown_clients(10).await.unwrap();
    assert_eq!(unknown, [ClientUse { requests: 2, ..client(2) }]);
    let refused = f.store.refused_tokens(f.account, 10).await.unwrap();
    assert_eq!(
        refused.iter().map(|usage| (usage.account, usage.id)).collect::<Vec<_>>(),
        [(f.account, deleted)]
    );
    // Whoever comes with many of them under many names pushes out the oldest only.
    let flood = (0..400).map(|n| StrangerUse {
        digest: random(n),
        requests: 1,
        last_minute: MINUTE + 10,
        clients: vec![ClientUse { agent: n.to_string(), last_minute: MINUTE + 10, ..client(3) }],
    });
    let flood = Usage { tokens: vec![], strangers: flood.collect() };
    f.store.add_usage("i", 2, &flood).await.unwrap();
    let unknown = f.store.unknown_clients(1_000).await.unwrap();
    assert_eq!(unknown.len(), 200);
    assert!(unknown.iter().all(|client| client.last_minute == MINUTE + 10));
    f.clock.advance(std::time::Duration::from_secs(91 * 24 * 3_600));
    f.store.trim_usage().await.unwrap();
    assert_eq!(f.store.unknown_clients(10).await.unwrap(), []);
}
