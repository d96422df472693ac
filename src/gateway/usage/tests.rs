use super::*;
use crate::domain::account::AccountId;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MINUTE: u32 = 29_000_000;

fn uses() -> Uses {
    Uses::new(Arc::new(Metrics::new()))
}

fn client(n: u8) -> Client<'static> {
    Client { source: [192, 0, 2, n].into(), agent: b"shipper/1.0" }
}

fn sums(lines: u64) -> Sums {
    Sums { requests: 1, lines, bytes: 10 * lines, refused_lines: 0 }
}

fn digest(n: u64) -> TokenDigest {
    TokenDigest::of(&n.to_string())
}

fn requests_of(usage: &Usage, digest: TokenDigest) -> u64 {
    usage
        .strangers
        .iter()
        .filter(|stranger| stranger.digest == digest)
        .map(|stranger| stranger.requests)
        .sum()
}

#[test]
fn a_token_is_counted_by_day_with_its_first_and_last_minute() {
    let uses = uses();
    let midnight = (MINUTE / 1_440 + 1) * 1_440;
    for (minute, lines) in [(midnight - 2, 1), (midnight - 1, 2), (midnight, 4)] {
        uses.accept(TokenId(7), client(1), minute, sums(lines));
    }
    uses.refuse(TokenId(7), client(2), midnight, "over_rate");
    let mut usage = uses.take();
    usage.tokens.sort_by_key(|used| used.day);
    let [before, after] = &usage.tokens[..] else { panic!("{usage:?}") };
    assert_eq!((before.first_minute, before.last_minute), (midnight - 2, midnight - 1));
    assert_eq!((before.sums.requests, before.sums.lines, before.sums.bytes), (2, 3, 30));
    assert_eq!((after.day, after.sums.lines), (midnight / 1_440, 4));
    assert_eq!(after.refusals, [("over_rate".to_owned(), 1)]);
    assert_eq!(after.clients.iter().map(|client| client.requests).collect::<Vec<_>>(), [1, 1]);
    assert!(uses.take().is_empty());
}

#[test]
fn user_agents_are_cut_and_printable() {
    let uses = uses();
    let long = [b'a'; 300];
    for agent in [&b"evil\x1b[31m\"\\\xff"[..], &long[..AGENT_BYTES_MAX]] {
        uses.accept(TokenId(1), Client { source: [127, 0, 0, 1].into(), agent }, MINUTE, sums(1));
    }
    let agents: Vec<_> = uses.take().tokens[0].clients.iter().map(|client| client.agent.clone()).collect();
    assert_eq!(agents, ["evil?[31m''?".to_owned(), "a".repeat(AGENT_BYTES_MAX)]);
}

#[test]
fn a_client_that_sends_often_stays_among_many_that_send_once() {
    let uses = uses();
    for n in 0..200 {
        uses.accept(TokenId(1), client(255), MINUTE, sums(1));
        uses.accept(TokenId(1), client(n), MINUTE, sums(1));
    }
    let clients = uses.take().tokens.remove(0).clients;
    assert_eq!(clients.len(), CLIENTS_MAX);
    assert_eq!(clients.iter().map(|client| client.requests).max(), Some(200));
}

#[test]
fn tokens_beyond_the_bound_are_dropped_and_counted() {
    let uses = uses();
    let more = 1_000;
    for n in 0..(TOKENS_MAX + more) as u32 {
        uses.accept(TokenId(n), client(1), MINUTE, sums(1));
    }
    assert_eq!(uses.metrics.gateway.usage_dropped.get(), more as u64);
    assert_eq!(uses.take().tokens.len(), TOKENS_MAX);
}

/// The shipper that nobody remembers, in a flood that tries a million tokens.
#[test]
fn a_dead_token_that_is_used_again_and_again_outlasts_a_flood_of_random_ones() {
    let uses = uses();
    let (dead, flood) = (digest(u64::MAX), 1_000_000_u64);
    let mut sent = 0;
    for n in 0..flood {
        uses.meet(digest(n), client(1), MINUTE);
        // After the tables are full, and seldom.
        if n > 10_000 && n % 1_000 == 0 {
            uses.meet(dead, client(2), MINUTE);
            sent += 1;
        }
    }
    let usage = uses.take();
    assert!(usage.strangers.len() <= STRANGERS_MAX);
    // The first time it queues.
    assert_eq!(requests_of(&usage, dead), sent - 1);
    let bytes: usize = uses.strangers.iter().map(|shard| lock(shard).queue.bits.len() * 8).sum();
    assert!(bytes <= SHARDS * QUEUE_BITS / 8, "{bytes}");
}

#[test]
fn a_digest_that_the_control_plane_knows_is_counted_to_the_last_request() {
    let uses = uses();
    let dead = digest(u64::MAX);
    uses.keep(&[dead]);
    let (mut sent, mut counted) = (0, 0);
    for n in 0..100_000_u64 {
        // Even those that come again and again.
        uses.meet(digest(n % 20_000), client(1), MINUTE);
        if n % 10_000 == 0 {
            uses.meet(dead, client(2), MINUTE);
            sent += 1;
        }
        if n % 30_000 == 0 {
            counted += requests_of(&uses.take(), dead);
        }
    }
    counted += requests_of(&uses.take(), dead);
    assert_eq!(counted, sent);
}

#[test]
fn known_digests_leave_room_for_others_and_the_quietest_goes() {
    let uses = uses();
    let known: Vec<_> = (0..10 * KNOWN_MAX as u64).map(digest).collect();
    uses.keep(&known);
    for shard in &uses.strangers {
        let strangers = lock(shard);
        assert!(strangers.seats.iter().filter(|seat| seat.known).count() <= KNOWN_MAX / SHARDS);
        assert!(strangers.seats.len() <= STRANGERS_MAX / SHARDS);
        for (digest, at) in &strangers.index {
            assert_eq!(strangers.seats[*at].digest, *digest);
        }
    }
    uses.take();
    assert!(uses.strangers.iter().all(|shard| lock(shard).seats.len() <= KNOWN_MAX / SHARDS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whoever counts and whoever takes, at the same time: nothing is lost and nothing comes twice.
    #[test]
    fn sums_are_what_was_counted_under_concurrency(threads in prop::collection::vec(
        prop::collection::vec((0..50_u32, 0..5_u64, 0..4_u8), 0..200), 1..5
    )) {
        let uses = &uses();
        let mut expect: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (token, lines, _) in threads.iter().flatten() {
            let (requests, sum) = expect.entry(*token).or_default();
            *requests += 1;
            *sum += lines;
        }
        let mut taken = vec![];
        std::thread::scope(|scope| {
            let counting: Vec<_> = threads.iter().map(|steps| scope.spawn(move || {
                for (token, lines, source) in steps {
                    uses.accept(TokenId(*token), client(*source), MINUTE, sums(*lines));
                }
            })).collect();
            while counting.iter().any(|thread| !thread.is_finished()) {
                taken.push(uses.take());
            }
        });
        taken.push(uses.take());
        let mut got: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for used in taken.into_iter().flat_map(|usage| usage.tokens) {
            let (requests, lines) = got.entry(used.token.0).or_default();
            *requests += used.sums.requests;
            *lines += used.sums.lines;
        }
        prop_assert_eq!(got, expect);
    }
}

#[test]
fn refusals_are_told_by_reason_and_what_was_accepted_is_none() {
    let uses = uses();
    let (door, _) = doors::outcomes().next().unwrap();
    for (code, requests) in [("accepted", 5), ("token_not_valid", 3), ("over_rate", 1)] {
        uses.metrics.gateway.requests.with_label_values(&[door, code]).inc_by(requests);
    }
    assert_eq!(uses.refusals(), [("over_rate".to_owned(), 1), ("token_not_valid".to_owned(), 3)].into());
    for (account, lines) in [(1, 3), (2, 4), (1, 5)] {
        uses.metrics.gateway.account(AccountId(account)).accepted_lines.inc_by(lines);
    }
    assert_eq!(uses.metrics.gateway.accepted_lines(), 12);
}
