//! A store that is closed and opened again.

use super::*;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let f = Fixture::new(Plan::Pro).await;
    f.create(1, true).await.unwrap();
    f.create(2, false).await.unwrap();
    let all = TokenSearch { limit: 100, ..TokenSearch::default() };
    let before = (
        f.store.id().to_owned(),
        f.store.snapshot().await.unwrap(),
        f.store.search_tokens(f.account, &all).await.unwrap().tokens,
        f.store.audit_trail(f.account, &Wanted::default(), 99).await.unwrap(),
        f.store.accounts(f.account).await.unwrap(),
    );
    f.store.close().await;
    let store = Store::open(f.options.clone(), f.clock.clone()).await.unwrap();
    let after = (
        store.id().to_owned(),
        store.snapshot().await.unwrap(),
        store.search_tokens(f.account, &all).await.unwrap().tokens,
        store.audit_trail(f.account, &Wanted::default(), 99).await.unwrap(),
        store.accounts(f.account).await.unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!(*store.latest_revision().borrow(), after.1.revision);
}

#[tokio::test]
async fn another_key_is_an_error_and_a_missing_one_is_not_replaced() {
    let f = Fixture::new(Plan::Pro).await;
    f.store.close().await;
    let with = |key| {
        let options = Options { key, ..f.options.clone() };
        Store::open(options, f.clock.clone())
    };
    let wrong = with(KeySource::Given(Key::from_hex(&"ff".repeat(32)).unwrap())).await;
    assert!(matches!(wrong.err(), Some(OpenError::WrongKey)));
    let path = f.folder.path().join("token.key");
    let missing = with(KeySource::File(path.clone())).await;
    assert!(matches!(missing.err(), Some(OpenError::Key(KeyError::Missing(_)))));
    assert!(!path.exists());
}
