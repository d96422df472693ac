//! What is on the disk: all of it after a restart, and no secret.

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
        f.store.audit_trail(f.account, None, 99).await.unwrap(),
        f.store.accounts(f.account).await.unwrap(),
    );
    f.store.close().await;
    let store = Store::open(options(&f.folder), f.clock.clone()).await.unwrap();
    let after = (
        store.id().to_owned(),
        store.snapshot().await.unwrap(),
        store.search_tokens(f.account, &all).await.unwrap().tokens,
        store.audit_trail(f.account, None, 99).await.unwrap(),
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
        let options = Options { key, ..options(&f.folder) };
        Store::open(options, f.clock.clone())
    };
    let wrong = with(KeySource::Given(Key::from_hex(&"ff".repeat(32)).unwrap())).await;
    assert!(matches!(wrong.err(), Some(OpenError::WrongKey)));
    let path = f.folder.path().join("token.key");
    let missing = with(KeySource::File(path.clone())).await;
    assert!(matches!(missing.err(), Some(OpenError::Key(KeyError::Missing(_)))));
    assert!(!path.exists());
}

#[tokio::test]
async fn no_secret_is_in_the_files() {
    let f = Fixture::new(Plan::Pro).await;
    f.create(1, true).await.unwrap();
    f.store.create_sub_account(f.account, settings("sub"), secrets(7), &f.by).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(f.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in ["shipping-token-number", "api-token-number", API_TOKEN] {
            assert!(
                memchr::memmem::find(&bytes, secret.as_bytes()).is_none(),
                "{secret} in {}",
                path.display()
            );
        }
        files += usize::from(memchr::memmem::find(&bytes, b"default").is_some());
    }
    assert!(files > 0, "the files hold what is no secret");
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new(Plan::Pro).await;
    for entry in std::fs::read_dir(f.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_recovers() {
    let f = Fixture::new(Plan::Pro).await;
    let limit = async |pages: &'static str| f.store.0.writer.execute(pages).await.map(drop);
    // The database may not grow any more: what a full disk looks like to it.
    limit("PRAGMA max_page_count = 1").await.unwrap();
    let mut kept = vec![];
    let fault = loop {
        match f.create(kept.len() as u64 + 1, false).await {
            Ok(id) => kept.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(fault, StoreError::Database(_)), "{fault:?}");
    assert!(f.store.token(f.account, FIRST).await.is_ok(), "reading goes on");
    let revision = *f.store.latest_revision().borrow();
    limit("PRAGMA max_page_count = 1000000").await.unwrap();
    let next = f.create(9_999, true).await.unwrap();
    assert_eq!(next.0, FIRST.0 + kept.len() as u32 + 1, "what failed left nothing behind");
    let delta = f.store.changes_after(revision).await.unwrap().unwrap();
    assert_eq!((delta.len(), delta[0].revision), (1, revision + 1));
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let url = sqlite_url(options.url.strip_prefix("sqlite://").unwrap()).unwrap();
    sqlx::any::install_default_drivers();
    let old = connect(&url, 1).await.unwrap();
    let first = migration(1, "start", include_str!("../migrations/0001_start.sql"));
    Migrator::with_migrations(vec![first]).run(&old).await.unwrap();
    let check = Cipher::new(&options.key.existing().unwrap()).check_value();
    let rows = format!(
        "INSERT INTO store VALUES (1, 'id', '{check}', 5, 1, 1001, 1000001, 9);
         INSERT INTO accounts (id, name, plan, retention_days, created_ms) VALUES (1000, 'main', 'pro', 7, 1);
         INSERT INTO api_tokens VALUES ('{}', 1000, 'older', 1), ('{}', 1000, 'newer', 2)",
        TokenDigest::of("older").to_hex(),
        TokenDigest::of("newer").to_hex(),
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&old).await.unwrap();
    old.close().await;
    let store = Store::open(options, Clock::manual(3)).await.unwrap();
    let account = AccountId(1_000);
    store.create_api_token(account, "newest", &secrets(3).api_token, &By::default()).await.unwrap();
    let tokens = store.api_tokens(account).await.unwrap();
    let tokens: Vec<_> = tokens.iter().map(|token| (token.id.0, token.name.as_str())).collect();
    assert_eq!(tokens, [(1, "older"), (2, "newer"), (3, "newest")]);
    let identity = store.authenticate(&TokenDigest::of("newer")).await.unwrap().unwrap();
    assert_eq!((identity.token.0, identity.token_name.as_str()), (2, "newer"));
}
