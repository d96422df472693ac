//! What SQLite has on the disk: no secret, for nobody else, and never half of a change.

use super::*;
use sqlx::Executor;
use sqlx::migrate::Migrator;

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
    // The database may have ended the transaction by itself: nothing that follows is put into one that never ends.
    for n in 0..3 {
        let _ = f.create(5_000 + n, false).await;
        let _ = f.store.update_token(f.account, FIRST, rename("default"), &f.by).await;
    }
    let revision = *f.store.latest_revision().borrow();
    limit("PRAGMA max_page_count = 1000000").await.unwrap();
    let next = f.create(9_999, true).await.unwrap();
    let seen_by_others = f.store.token(f.account, next).await;
    assert!(seen_by_others.is_ok(), "what is answered is kept");
    let delta = f.store.changes_after(revision).await.unwrap().unwrap();
    assert_eq!((delta.len(), delta[0].revision), (1, revision + 1));
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let mut old = Database::at(&options.location).unwrap().connect().await.unwrap();
    let first = Kind::Sqlite.migration(1, "start", include_str!("../migrations/0001_start.sql"));
    Migrator::with_migrations(vec![first]).run(&mut old).await.unwrap();
    let check = Cipher::new(&options.key.existing().unwrap()).check_value();
    let rows = format!(
        "INSERT INTO store VALUES (1, 'id', '{check}', 5, 1, 1001, 1000001, 9);
         INSERT INTO accounts (id, name, plan, retention_days, created_ms) VALUES (1000, 'main', 'pro', 7, 1);
         INSERT INTO api_tokens VALUES ('{}', 1000, 'older', 1), ('{}', 1000, 'newer', 2)",
        TokenDigest::of("older").to_hex(),
        TokenDigest::of("newer").to_hex(),
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let store = Store::open(options, Clock::manual(3)).await.unwrap();
    let account = AccountId(1_000);
    store.create_api_token(account, "newest", &secrets(3).api_token, &By::default()).await.unwrap();
    let tokens = store.api_tokens(account).await.unwrap();
    let tokens: Vec<_> = tokens.iter().map(|token| (token.id.0, token.name.as_str())).collect();
    assert_eq!(tokens, [(1, "older"), (2, "newer"), (3, "newest")]);
    let identity = store.authenticate(&TokenDigest::of("newer")).await.unwrap().unwrap();
    assert_eq!((identity.token.0, identity.token_name.as_str()), (2, "newer"));
}
