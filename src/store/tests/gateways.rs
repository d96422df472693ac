//! Gateways as several replicas of the control plane know them.

use super::*;
use crate::clock::monotonic;
use crate::store::gateways::Gateway;
use std::time::Duration;

fn gateway(store: &Store, number: u64, revision: u64) -> Gateway {
    let (id, instance) = ("a".to_owned(), "process".to_owned());
    Gateway { id, instance, number, store: store.id().to_owned(), revision, ..Gateway::default() }
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_silent_gateway_is_waited_for_a_day_and_shown_for_a_month() {
    let f = Fixture::new(Plan::Pro).await;
    f.store.gateway_reported(gateway(&f.store, 1, 0)).await.unwrap();
    let lagging = async || f.store.enforcement(1, monotonic(), std::future::ready(())).await.lagging.len();
    assert_eq!(lagging().await, 1);
    f.clock.advance(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(lagging().await, 1);
    f.clock.advance(Duration::from_secs(1));
    assert_eq!((lagging().await, f.store.gateways().len()), (0, 1));
    f.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    f.store.save_gateways().await.unwrap();
    assert_eq!(f.store.gateways(), []);
}

#[tokio::test]
async fn two_gateways_of_one_name_confirm_nothing_until_it_is_forgotten() {
    let f = Fixture::new(Plan::Pro).await;
    let at = |instance: &str, number: u64, started_ms: u64| Gateway {
        instance: instance.to_owned(),
        started_ms,
        ..gateway(&f.store, number, 0)
    };
    let lagging = async || f.store.enforcement(0, monotonic(), std::future::ready(())).await.lagging.len();
    for (told, expect) in [
        (at("first", 1, 5), 0),
        (at("restarted", 1, 9), 0),
        (Gateway { left_ms: Some(1), ..at("first", 2, 5) }, 0),
        (at("first", 3, 5), 1),
        (at("restarted", 2, 9), 1),
    ] {
        f.store.gateway_reported(told.clone()).await.unwrap();
        assert_eq!((lagging().await, f.store.gateways()[0].left_ms), (expect, None), "{told:?}");
    }
    f.store.forget_gateway(f.account, "a", &f.by).await.unwrap();
    f.store.gateway_reported(at("restarted", 3, 9)).await.unwrap();
    assert_eq!(lagging().await, 0);
}

/// On PostgreSQL only: SQLite has no replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_is_told_every_replica_knows() {
    let f = Fixture::new(Plan::Pro).await;
    let Location::Postgres(_) = &f.options.location else { return };
    let (here, there) = (f.store.clone(), Store::open(f.options.clone(), f.clock.clone()).await.unwrap());
    for store in [here.clone(), there.clone()] {
        tokio::spawn(async move { store.follow_replicas().await });
    }
    let began = monotonic();
    let mut number = 0;
    let mut report = async |revision| {
        assert!(began.elapsed() < PATIENCE);
        number += 1;
        here.gateway_reported(gateway(&here, number, revision)).await.unwrap();
    };
    while there.gateways().is_empty() {
        report(0).await;
    }
    let waiting = tokio::spawn({
        let there = there.clone();
        async move { there.enforcement(1, began, tokio::time::sleep(PATIENCE)).await }
    });
    while !waiting.is_finished() {
        report(1).await;
    }
    assert!(waiting.await.unwrap().is_complete());
    there.forget_gateway(f.account, "a", &f.by).await.unwrap();
    while !here.gateways().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        here.revision().await.unwrap();
    }
    // What was written down is known to a replica that starts.
    report(1).await;
    let third = Store::open(f.options.clone(), f.clock.clone()).await.unwrap();
    assert_eq!(third.gateways()[0].revision, 1);
}
