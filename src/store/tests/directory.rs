//! What gateways learn.

use super::*;
use crate::domain::directory::Directory;

#[tokio::test]
async fn account_settings_reach_the_directory() {
    let f = Fixture::new(Plan::Pro).await;
    let sub = f.store.create_sub_account(f.account, settings("sub"), secrets(7), &f.by).await.unwrap();
    let update = AccountUpdate {
        retention_days: Some(30),
        retention_bytes_max: Some(Some(1 << 30)),
        durability: Some(Some(Durability::Written)),
        rate_bytes_max: Some(Some(5_000)),
        ..AccountUpdate::default()
    };
    f.store.update_account(f.account, sub.id, update, &f.by).await.unwrap();
    let mut directory = Directory::default();
    for delta in f.all_deltas().await {
        delta.changes.into_iter().for_each(|change| directory.apply(change));
    }
    let grant = directory.account(sub.id).unwrap();
    assert_eq!((grant.retention.days, grant.retention.bytes_max), (30, Some(1 << 30)));
    assert_eq!((grant.durability, grant.rate_bytes_max), (Some(Durability::Written), Some(5_000)));
    let cleared = AccountUpdate {
        durability: Some(None),
        name: Some("renamed".to_owned()),
        ..AccountUpdate::default()
    };
    let account = f.store.update_account(f.account, sub.id, cleared, &f.by).await.unwrap();
    assert_eq!((account.settings.durability, account.settings.rate_bytes_max), (None, Some(5_000)));
    for (name, days, expect) in [
        ("main", 7, Refusal::AccountNameTaken),
        ("", 7, Refusal::NameEmpty),
        ("fine", 0, Refusal::RetentionDays),
    ] {
        let update = AccountUpdate {
            name: Some(name.to_owned()),
            retention_days: Some(days),
            ..AccountUpdate::default()
        };
        assert_eq!(refusal(f.store.update_account(f.account, sub.id, update, &f.by).await), expect);
    }
}

#[tokio::test]
async fn a_follower_learns_of_every_commit_and_of_nothing_else() {
    let f = Fixture::new(Plan::Pro).await;
    let mut latest = f.store.latest_revision();
    assert_eq!(*latest.borrow_and_update(), 1);
    let token = f.create(1, true).await.unwrap();
    assert!(latest.has_changed().unwrap());
    assert_eq!(*latest.borrow_and_update(), 2);
    f.store.update_token(f.account, token, rename("renamed"), &f.by).await.unwrap();
    let disabled = f.create(2, false).await.unwrap();
    f.delete(disabled).await.unwrap();
    assert!(!latest.has_changed().unwrap(), "a gateway knows no names and no disabled tokens");
    let deltas = f.store.changes_after(1).await.unwrap().unwrap();
    let expect = Delta {
        revision: 2,
        at_ms: 1_700_000_000_123,
        changes: vec![Change::Token { digest: secret(1).digest(), token, account: f.account, terms: None }],
        receipt: false,
    };
    assert_eq!(deltas, [expect]);
    assert_eq!(f.store.changes_after(3).await.unwrap(), None, "a revision of some other store");
}

#[tokio::test]
async fn forgets_old_revisions() {
    let f = Fixture::with_revisions(Plan::Pro, 3).await;
    for n in 1..=5 {
        f.create(n, true).await.unwrap();
    }
    assert_eq!(f.store.changes_after(2).await.unwrap(), None);
    let kept = f.store.changes_after(3).await.unwrap().unwrap();
    assert_eq!(kept.iter().map(|delta| delta.revision).collect::<Vec<_>>(), [4, 5, 6]);
    let snapshot = f.store.snapshot().await.unwrap();
    assert_eq!((snapshot.revision, snapshot.changes.len()), (6, 1 + 6));
}
