//! The store on real files, or, where `SHIPGATE_TEST_POSTGRES` names a server, in databases there: `postgres` runs all of
//! these tests that way.

mod directory;
mod files;
mod gateways;
mod life;
mod parallel;
mod postgres;
mod reopened;
mod sharing;
mod usage;
mod users;

use super::accounts::{AccountSettings, AccountUpdate, FirstSecrets};
use super::directory::Delta;
use super::key::{Key, KeyError, KeySource};
use super::rules::Refusal;
use super::tokens::{NewToken, SortField, TokenSearch, TokenUpdate};
use super::*;
use crate::domain::account::{Durability, Retention, TokenId};
use crate::domain::directory::Change;
use crate::domain::plan::Plan;
use crate::domain::terms::Terms;
use crate::domain::token::{ApiToken, ShippingToken, TokenDigest, TokenValue};
use crate::postgres::database_for;
use crate::store::audit::Wanted;
use std::collections::BTreeSet;
use tempfile::TempDir;

const API_TOKEN: &str = "an-api-token-of-the-main-account";

struct Fixture {
    folder: TempDir,
    options: Options,
    clock: Clock,
    store: Store,
    account: AccountId,
    by: By,
}

fn options(folder: &TempDir) -> Options {
    let location = match database_for(folder.path()) {
        None => Location::Sqlite(folder.path().join("a folder's control.db")),
        Some(url) => Location::Postgres(url),
    };
    Options {
        location,
        key: KeySource::Given(Key::from_hex(&"5a".repeat(32)).unwrap()),
        revisions_max: 1_000,
        readers_max: 2,
    }
}

fn settings(name: &str) -> AccountSettings {
    AccountSettings {
        name: name.to_owned(),
        retention: Retention { days: 7, bytes_max: None },
        durability: None,
        rate_bytes_max: None,
    }
}

fn secrets(n: u64) -> FirstSecrets {
    FirstSecrets {
        shipping_token: secret(n),
        api_token: ApiToken::parse(&format!("api-token-number-{n:04}")).unwrap(),
    }
}

fn secret(n: u64) -> ShippingToken {
    ShippingToken::parse(&format!("shipping-token-number-{n:04}")).unwrap()
}

fn new(name: &str, enabled: bool, n: u64) -> NewToken<'_> {
    NewToken { name, enabled, value: TokenValue::Plaintext(secret(n)), terms: Terms::default() }
}

fn rename(name: &str) -> TokenUpdate<'_> {
    TokenUpdate { name: Some(name), ..TokenUpdate::default() }
}

fn switch(enabled: bool) -> TokenUpdate<'static> {
    TokenUpdate { enabled: Some(enabled), ..TokenUpdate::default() }
}

impl Fixture {
    async fn new(plan: Plan) -> Self {
        Self::with_revisions(plan, 1_000).await
    }

    async fn with_revisions(plan: Plan, revisions_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_700_000_000_123);
        let options = Options { revisions_max, ..options(&folder) };
        let store = Store::open(options.clone(), clock.clone()).await.unwrap();
        let by = By { actor: "tester".to_owned(), ..By::default() };
        let secrets = FirstSecrets { api_token: ApiToken::parse(API_TOKEN).unwrap(), ..secrets(0) };
        let account =
            store.create_first_account(plan, settings("main"), secrets, &by).await.unwrap().unwrap();
        Self { folder, options, clock, store, account: account.id, by }
    }

    async fn create(&self, n: u64, enabled: bool) -> Result<TokenId, StoreError> {
        let name = format!("token {n}");
        let token = self.store.create_token(self.account, new(&name, enabled, n), &self.by).await?;
        Ok(token.id)
    }

    async fn enable(&self, id: TokenId, enabled: bool) -> Result<(), StoreError> {
        let token = self.store.update_token(self.account, id, switch(enabled), &self.by).await?;
        assert_eq!(token.enabled, enabled);
        Ok(())
    }

    async fn delete(&self, id: TokenId) -> Result<(), StoreError> {
        self.store.delete_token(self.account, id, &self.by).await.map(drop)
    }

    async fn default(&self) -> TokenId {
        self.store.default_token(self.account).await.unwrap().id
    }

    async fn all_deltas(&self) -> Vec<Delta> {
        let mut deltas: Vec<Delta> = vec![];
        loop {
            let after = deltas.last().map_or(0, |delta| delta.revision);
            let more = self.store.changes_after(after).await.unwrap().unwrap();
            if more.is_empty() {
                return deltas;
            }
            deltas.extend(more);
        }
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Refusal {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

const FIRST: TokenId = TokenId(1_000_000);

#[tokio::test]
async fn the_first_account_starts_with_an_enabled_default_token() {
    let f = Fixture::new(Plan::Pro).await;
    assert_eq!(f.account, AccountId(1_000));
    let token = f.store.default_token(f.account).await.unwrap();
    assert_eq!((token.id, token.name.as_str(), token.enabled), (FIRST, "default", true));
    assert_eq!(token.value, TokenValue::Plaintext(secret(0)));
    assert_eq!((token.created_ms, token.created_by.as_str()), (1_700_000_000_123, "tester"));
    let again = f.store.create_first_account(Plan::Pro, settings("other"), secrets(9), &f.by).await;
    assert_eq!(again.unwrap(), None);
}

#[tokio::test]
async fn community_has_one_enabled_token_and_pro_fifteen() {
    for (plan, max) in [(Plan::Community, 1), (Plan::Pro, 15), (Plan::Enterprise, 15)] {
        let f = Fixture::new(plan).await;
        for n in 1..max {
            f.create(n, true).await.unwrap();
        }
        assert_eq!(refusal(f.create(99, true).await), Refusal::EnabledLimit { max: max as u32 });
        let spare = f.create(99, false).await.unwrap();
        assert_eq!(refusal(f.enable(spare, true).await), Refusal::EnabledLimit { max: max as u32 });
        let limits = f.store.token_limits(f.account).await.unwrap();
        assert_eq!((limits.enabled_max, limits.enabled), (max as u32, max as u32));
    }
}

#[tokio::test]
async fn an_account_keeps_one_enabled_token() {
    let f = Fixture::new(Plan::Pro).await;
    assert_eq!(refusal(f.enable(FIRST, false).await), Refusal::SoleToken { max: 15 });
    assert_eq!(refusal(f.delete(FIRST).await), Refusal::SoleToken { max: 15 });
    let disabled = f.create(1, false).await.unwrap();
    assert_eq!(refusal(f.enable(FIRST, false).await), Refusal::LastEnabledToken { max: 15 });
    assert_eq!(refusal(f.delete(FIRST).await), Refusal::LastEnabledToken { max: 15 });
    f.delete(disabled).await.unwrap();
    let second = f.create(2, true).await.unwrap();
    f.enable(FIRST, false).await.unwrap();
    assert_eq!(refusal(f.delete(second).await), Refusal::LastEnabledToken { max: 15 });
    f.delete(FIRST).await.unwrap();
    assert!(matches!(f.delete(FIRST).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_oldest_enabled_token_succeeds_the_default_one() {
    let f = Fixture::new(Plan::Pro).await;
    let disabled = f.create(1, false).await.unwrap();
    let second = f.create(2, true).await.unwrap();
    let third = f.create(3, true).await.unwrap();
    assert_eq!(f.default().await, FIRST);
    f.enable(FIRST, false).await.unwrap();
    assert_eq!(f.default().await, second);
    f.enable(FIRST, true).await.unwrap();
    f.enable(disabled, true).await.unwrap();
    assert_eq!(f.default().await, second, "it stays while it is enabled");
    f.delete(second).await.unwrap();
    assert_eq!(f.default().await, FIRST);
    f.delete(third).await.unwrap();
    assert_eq!(f.default().await, FIRST);
}

#[tokio::test]
async fn names_are_trimmed_unique_and_not_empty() {
    let f = Fixture::new(Plan::Pro).await;
    let create = |name: &'static str, n| f.store.create_token(f.account, new(name, true, n), &f.by);
    assert_eq!(create("  apac prod ", 1).await.unwrap().name, "apac prod");
    assert_eq!(refusal(create("apac prod", 2).await), Refusal::TokenNameTaken);
    assert_eq!(refusal(create(" ", 2).await), Refusal::NameEmpty);
    let renamed = |name: &'static str| f.store.update_token(f.account, FIRST, rename(name), &f.by);
    assert_eq!(refusal(renamed("apac prod").await), Refusal::TokenNameTaken);
    assert_eq!(renamed("default ").await.unwrap().updated_by, "tester", "its own name is not taken");
    assert_eq!(renamed("emea").await.unwrap().name, "emea");
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let f = Fixture::new(Plan::Pro).await;
    let first = f.create(1, true).await.unwrap();
    f.delete(first).await.unwrap();
    assert_eq!(f.create(2, true).await.unwrap(), TokenId(first.0 + 1));
}

#[tokio::test]
async fn an_update_that_changes_nothing_leaves_no_trace() {
    let f = Fixture::new(Plan::Pro).await;
    f.clock.advance(std::time::Duration::from_secs(5));
    let token = f
        .store
        .update_token(f.account, FIRST, TokenUpdate { enabled: Some(true), ..rename("default") }, &f.by)
        .await
        .unwrap();
    assert_eq!(token.updated_ms, 1_700_000_000_123);
    assert_eq!(f.store.audit_trail(f.account, &Wanted::default(), 10).await.unwrap().len(), 4);
    assert_eq!(*f.store.latest_revision().borrow(), 1);
}

#[tokio::test]
async fn accounts_see_only_their_own() {
    let f = Fixture::new(Plan::Community).await;
    let sub = f.store.create_sub_account(f.account, settings("sub"), secrets(7), &f.by).await.unwrap();
    let token = f.store.default_token(sub.id).await.unwrap();
    assert!(matches!(f.store.token(f.account, token.id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.delete(token.id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.enable(token.id, false).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.account_under(sub.id, f.account).await, Err(StoreError::NotFound)));
    let update = f.store.update_account(sub.id, f.account, AccountUpdate::default(), &f.by).await;
    assert!(matches!(update, Err(StoreError::NotFound)));
    assert_eq!(sub.plan, Plan::Community, "the plan is shared");
    assert_eq!(f.store.token_limits(sub.id).await.unwrap().enabled, 1, "its limit is its own");
    let identity = f.store.authenticate(&secrets(7).api_token.digest()).await.unwrap().unwrap();
    assert_eq!((identity.account, identity.main), (sub.id, false));
    let identity = f.store.authenticate(&TokenDigest::of(API_TOKEN)).await.unwrap().unwrap();
    assert_eq!((identity.account, identity.main), (f.account, true));
    assert_eq!(
        f.store.authenticate(&secret(0).digest()).await.unwrap(),
        None,
        "a shipping token manages nothing"
    );
    let names = |trail: Vec<audit::AuditEntry>| trail.iter().map(|e| e.account).collect::<BTreeSet<_>>();
    assert_eq!(
        names(f.store.audit_trail(sub.id, &Wanted::default(), 99).await.unwrap()),
        BTreeSet::from([sub.id])
    );
    assert_eq!(
        names(f.store.audit_trail(f.account, &Wanted::default(), 99).await.unwrap()),
        BTreeSet::from([f.account, sub.id])
    );
}

#[tokio::test]
async fn finds_sorts_and_pages() {
    let f = Fixture::new(Plan::Pro).await;
    for (n, name, enabled) in [(1, "c", true), (2, "a", false), (3, "b", true)] {
        f.clock.advance(std::time::Duration::from_secs(1));
        f.store.create_token(f.account, new(name, enabled, n), &f.by).await.unwrap();
    }
    let find = async |enabled, sort: &[(SortField, bool)], offset, limit| {
        let search = TokenSearch { enabled, sort: sort.to_vec(), offset, limit };
        let found = f.store.search_tokens(f.account, &search).await.unwrap();
        let names: Vec<_> = found.tokens.into_iter().map(|token| token.name).collect();
        (found.total, names.join(" "))
    };
    use SortField::{CreatedAt, Name};
    for (enabled, sort, offset, limit, expect) in [
        (None, &[][..], 0, 25, (4, "default c a b")),
        (None, &[(CreatedAt, true)], 0, 25, (4, "b a c default")),
        (None, &[(Name, false)], 0, 25, (4, "a b c default")),
        (None, &[(Name, true), (Name, false), (CreatedAt, false)], 1, 2, (4, "c b")),
        (Some(true), &[(Name, false)], 0, 25, (3, "b c default")),
        (Some(false), &[], 0, 25, (1, "a")),
        (None, &[], 4, 25, (4, "")),
        (None, &[], u64::MAX, 25, (4, "")),
    ] {
        let (total, names) = find(enabled, sort, offset, limit).await;
        assert_eq!((total, names.as_str()), expect, "{enabled:?} {sort:?} {offset}");
    }
}

#[tokio::test]
async fn the_trail_says_who_did_what_and_holds_no_secret() {
    let f = Fixture::new(Plan::Pro).await;
    let by = By {
        actor: "api-token:admin".to_owned(),
        account: Some(f.account),
        source: Some("192.0.2.1".to_owned()),
        request_id: Some("r".to_owned()),
        awaited: None,
    };
    let second = f.store.create_token(f.account, new("second", true, 2), &by).await.unwrap();
    f.store
        .update_token(f.account, FIRST, TokenUpdate { enabled: Some(false), ..rename("old") }, &by)
        .await
        .unwrap();
    f.store.delete_token(f.account, FIRST, &by).await.unwrap();
    let trail = f.store.audit_trail(f.account, &Wanted::default(), 5).await.unwrap();
    let line = |e: &audit::AuditEntry| {
        let json = |v: &Option<serde_json::Value>| v.as_ref().map_or("-".to_owned(), |v| v.to_string());
        format!("{} {} {} -> {}", e.action, e.subject, json(&e.before), json(&e.after))
    };
    assert_eq!(
        trail.iter().map(line).collect::<Vec<_>>(),
        [
            r#"shipping-token.delete shipping-token:1000000 {"enabled":false,"name":"old"} -> -"#,
            r#"account.default-token account:1000 {"defaultTokenId":1000000} -> {"defaultTokenId":1000001}"#,
            r#"shipping-token.disable shipping-token:1000000 {"enabled":true,"name":"old"} -> {"enabled":false,"name":"old"}"#,
            r#"shipping-token.rename shipping-token:1000000 {"enabled":true,"name":"default"} -> {"enabled":true,"name":"old"}"#,
            r#"shipping-token.create shipping-token:1000001 - -> {"enabled":true,"name":"second"}"#,
        ]
    );
    let newest = &trail[0];
    assert_eq!((newest.actor.as_str(), newest.actor_account), ("api-token:admin", Some(f.account)));
    assert_eq!((newest.source.as_deref(), newest.request_id.as_deref()), (Some("192.0.2.1"), Some("r")));
    let older = f
        .store
        .audit_trail(f.account, &Wanted { before: Some(trail[4].id), ..Wanted::default() }, 99)
        .await
        .unwrap();
    assert_eq!(older.len(), 4, "the four of the first start");
    assert_eq!(second.created_by, "api-token:admin");
    let trail =
        format!("{:?}{older:?}{trail:?}", f.store.search_tokens(f.account, &TokenSearch::default()).await);
    assert!(!trail.contains("shipping-token-number") && !trail.contains(API_TOKEN), "{trail}");
}
