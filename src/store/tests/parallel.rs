//! Many admins at once.

use super::*;
use sqlx::Executor;
use std::collections::BTreeMap;

/// Replays every revision from nothing: at each of them every account must obey its limits.
pub(super) fn replay(deltas: &[Delta], enabled_max: usize) -> BTreeMap<AccountId, BTreeSet<TokenDigest>> {
    let mut enabled: BTreeMap<AccountId, BTreeSet<TokenDigest>> = BTreeMap::new();
    for (delta, expect) in deltas.iter().zip(1..) {
        assert_eq!(delta.revision, expect, "revisions have no gap");
        for change in &delta.changes {
            match change {
                Change::Account(grant) => drop(enabled.entry(grant.account).or_default()),
                Change::Token { digest, account, .. } => {
                    assert!(enabled.get_mut(account).unwrap().insert(*digest));
                }
                Change::Revoke { digest } => {
                    assert_eq!(enabled.values_mut().filter(|tokens| tokens.contains(digest)).count(), 1);
                    enabled.values_mut().for_each(|tokens| {
                        tokens.remove(digest);
                    });
                }
            }
        }
        for (account, tokens) in &enabled {
            assert!(
                (1..=enabled_max).contains(&tokens.len()),
                "{account}: {} at {}",
                tokens.len(),
                delta.revision
            );
        }
    }
    enabled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_admins_never_break_a_rule() {
    for (plan, max) in [(Plan::Community, 1), (Plan::Pro, 15)] {
        let f = Fixture::with_revisions(plan, 100_000).await;
        let sub =
            f.store.create_sub_account(f.account, settings("sub"), secrets(9_000), &f.by).await.unwrap();
        let mut admins = tokio::task::JoinSet::new();
        for admin in 0..32 {
            let account = [f.account, sub.id][admin as usize % 2];
            admins.spawn(act(f.store.clone(), account, admin, max));
        }
        admins.join_all().await;
        let deltas = f.all_deltas().await;
        let replayed = replay(&deltas, max as usize);
        let mut snapshot: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for change in f.store.snapshot().await.unwrap().changes {
            if let Change::Token { digest, account, .. } = change {
                snapshot.entry(account).or_default().insert(digest);
            }
        }
        assert_eq!(replayed, snapshot);
    }
}

/// One admin, doing what comes: the answers may be refusals, never faults, and what it sees must obey the rules.
pub(super) async fn act(store: Store, account: AccountId, admin: u64, max: u32) {
    let by = By::default();
    let mut dice = admin.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for step in 0..20u64 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let all = TokenSearch { limit: 1_000, ..TokenSearch::default() };
        let tokens = store.search_tokens(account, &all).await.unwrap().tokens;
        let enabled = tokens.iter().filter(|token| token.enabled).count();
        assert!((1..=max as usize).contains(&enabled), "{enabled} of {}", tokens.len());
        assert!(store.default_token(account).await.unwrap().enabled);
        let any = tokens[dice as usize % tokens.len()].id;
        let answer = match dice >> 32 & 3 {
            0 => {
                let name = format!("{admin} {step}");
                store.create_token(account, new(&name, dice & 1 == 0, admin * 100 + step + 1), &by).await
            }
            1 => store.update_token(account, any, switch(true), &by).await,
            2 => store.update_token(account, any, switch(false), &by).await,
            _ => store.delete_token(account, any, &by).await,
        };
        match answer {
            Ok(_) | Err(StoreError::Refused(_) | StoreError::NotFound) => {}
            Err(fault) => panic!("{fault:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_gives_up_takes_nothing_from_others_and_holds_nobody_up() {
    let f = Fixture::new(Plan::Pro).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..64u64 {
        let (store, account) = (f.store.clone(), f.account);
        writers.spawn(async move {
            let name = writer.to_string();
            let by = By::default();
            let create = store.create_token(account, new(&name, false, writer + 100), &by);
            // Every other one is gone after a while that is sometimes too short, as a client may be.
            let patience = if writer % 2 == 0 { 60_000_000 } else { writer * 150 };
            match tokio::time::timeout(Duration::from_micros(patience), create).await {
                Ok(created) => Some(created.unwrap().id),
                Err(_) => None,
            }
        });
    }
    let acknowledged: BTreeSet<_> = writers.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() >= 32);
    // Nobody holds the database: another process writes at once.
    let mut other = Database::at(&f.options.location).unwrap().connect().await.unwrap();
    let at_once = match f.options.location {
        Location::Sqlite(_) => "PRAGMA busy_timeout = 0",
        Location::Postgres(_) => "SET lock_timeout = 1",
    };
    other.execute(at_once).await.unwrap();
    other.execute("UPDATE store SET writes = writes + 1").await.unwrap();
    let all = TokenSearch { limit: 1_000, ..TokenSearch::default() };
    let stored = f.store.search_tokens(f.account, &all).await.unwrap().tokens;
    let stored: BTreeSet<_> = stored.iter().map(|token| token.id).collect();
    assert!(stored.is_superset(&acknowledged));
}
