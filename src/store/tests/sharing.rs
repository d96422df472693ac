//! Shared tokens and filters: what they open, and what is refused.

use super::super::shared_tokens::{Found, NewShare, Opened, Share, ShareId, ShareUpdate};
use super::*;
use crate::domain::filter::{Access, Filter, FilterId, FilterSet, Operator};
use crate::domain::token::SharedToken;
use std::time::Duration;

fn secret_of(name: &str) -> SharedToken {
    SharedToken::parse(&format!("the-secret-of-the-shared-token-{name}")).unwrap()
}

fn filter(field: &str, value: &str) -> Filter {
    Filter { field: field.to_owned(), value: value.to_owned() }
}

fn share(name: &str, filters: Vec<FilterId>) -> NewShare<'_> {
    let (operator, secret) = (Operator::And, secret_of(name));
    NewShare { name, filters, operator, expires_ms: None, query_bar: true, secret }
}

fn filters(filters: Vec<FilterId>) -> ShareUpdate<'static> {
    ShareUpdate { filters: Some(filters), ..ShareUpdate::default() }
}

fn expiry(expires_ms: Option<u64>) -> ShareUpdate<'static> {
    ShareUpdate { expires_ms: Some(expires_ms), ..ShareUpdate::default() }
}

fn only(operator: Operator, filters: &[(&str, &str)]) -> Access {
    let filters = filters.iter().map(|(field, value)| filter(field, value)).collect();
    Access::Only(FilterSet::new(operator, filters).unwrap())
}

impl Fixture {
    async fn filter(&self, field: &str, value: &str) -> FilterId {
        self.store.create_filter(self.account, filter(field, value), "", &self.by).await.unwrap().id
    }

    async fn shared(&self, name: &str, filters: Vec<FilterId>) -> ShareId {
        self.store.create_share(self.account, share(name, filters), &self.by).await.unwrap().id
    }

    async fn update_shared(&self, id: ShareId, update: ShareUpdate<'_>) -> Result<Share, StoreError> {
        self.store.update_share(self.account, id, update, &self.by).await
    }

    async fn find(&self, name: &str) -> Found {
        self.store.open_share(&secret_of(name).digest()).await.unwrap()
    }

    async fn opened(&self, name: &str) -> Opened {
        match self.find(name).await {
            Found::Opened(opened) => *opened,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A shared token without filters, and its secret.
pub(super) async fn first_share(store: &Store, account: AccountId) -> (ShareId, SharedToken) {
    let share = store.create_share(account, share("first", vec![]), &By::default()).await.unwrap();
    (share.id, share.secret)
}

/// Asks everything about shared tokens and filters that can be asked, and leaves nothing.
pub(super) async fn live_once(store: &Store, account: AccountId) {
    let by = By::default();
    let filter = store.create_filter(account, filter("env", "test"), "", &by).await.unwrap().id;
    let share = store.create_share(account, share("once", vec![filter]), &by).await.unwrap();
    store.filter(account, filter).await.unwrap();
    assert_eq!(store.filters(account).await.unwrap().len(), 1);
    store.share_used(share.id, 1);
    store.save_share_uses().await.unwrap();
    assert_eq!(store.share(account, share.id).await.unwrap().views, 1);
    store.update_share(account, share.id, filters(vec![]), &by).await.unwrap();
    assert_eq!(store.shares(account).await.unwrap().len(), 1);
    assert_ne!(store.open_share(&share.secret.digest()).await.unwrap(), Found::Nothing);
    store.delete_share(account, share.id, &by).await.unwrap();
    store.delete_filter(account, filter, &by).await.unwrap();
}

#[tokio::test]
async fn a_shared_token_opens_what_its_filters_say() {
    let f = Fixture::new(Plan::Pro).await;
    let (env, team) = (f.filter("env", "test").await, f.filter("team", "a").await);
    let id = f.shared("one", vec![]).await;
    assert_eq!(f.opened("one").await.access, Access::Everything);
    assert_eq!(f.find("another").await, Found::Nothing);
    let both = [("team", "a"), ("env", "test")];
    let or = ShareUpdate { operator: Some(Operator::Or), ..ShareUpdate::default() };
    for (update, expect) in [
        (filters(vec![env]), only(Operator::And, &both[1..])),
        (filters(vec![team, env, team]), only(Operator::And, &both)),
        (or, only(Operator::Or, &both)),
        (filters(vec![]), Access::Everything),
        (filters(vec![env]), only(Operator::Or, &both[1..])),
    ] {
        f.update_shared(id, update.clone()).await.unwrap();
        assert_eq!(f.opened("one").await.access, expect, "{update:?}");
    }
    let opened = f.opened("one").await;
    assert_eq!((opened.account, opened.account_name.as_str()), (f.account, "main"));
    assert_eq!(f.store.authenticate(&secret_of("one").digest()).await.unwrap(), None, "it manages nothing");
    f.store.delete_share(f.account, id, &f.by).await.unwrap();
    assert_eq!(f.find("one").await, Found::Nothing);
}

#[tokio::test]
async fn deleting_the_last_filter_suspends_until_filters_are_saved_again() {
    let f = Fixture::new(Plan::Pro).await;
    let (env, team) = (f.filter("env", "test").await, f.filter("team", "a").await);
    let id = f.shared("one", vec![env, team]).await;
    let all = f.shared("all", vec![]).await;
    f.store.delete_filter(f.account, env, &f.by).await.unwrap();
    assert_eq!(f.opened("one").await.access, only(Operator::And, &[("team", "a")]));
    f.store.delete_filter(f.account, team, &f.by).await.unwrap();
    assert_eq!(f.opened("one").await.access, Access::Nothing);
    assert_eq!(f.opened("all").await.access, Access::Everything);
    let shown = f.store.share(f.account, id).await.unwrap();
    assert!(shown.is_suspended() && !f.store.share(f.account, all).await.unwrap().is_suspended());
    let renamed = ShareUpdate { name: Some("still"), operator: Some(Operator::Or), ..ShareUpdate::default() };
    f.update_shared(id, renamed).await.unwrap();
    assert_eq!(f.opened("one").await.access, Access::Nothing, "these are not its filters");
    f.update_shared(id, filters(vec![])).await.unwrap();
    assert_eq!(f.opened("one").await.access, Access::Everything, "somebody said so");
    let trail = f.store.audit_trail(f.account, &Wanted::default(), 5).await.unwrap();
    let line = |e: &audit::AuditEntry| format!("{} {} {:?}", e.action, e.subject, e.after);
    let suspended = line(&trail[3]);
    assert!(suspended.starts_with("shared-token.update shared-token:1000000"), "{trail:#?}");
    assert!(suspended.contains("suspended"), "{suspended}");
    assert_eq!(trail[2].action, "filter.delete");
}

#[tokio::test]
async fn a_shared_token_expires_at_its_instant() {
    let f = Fixture::new(Plan::Pro).await;
    let id = f.shared("one", vec![]).await;
    let at = f.store.unix_ms() + 1_000;
    f.update_shared(id, expiry(Some(at))).await.unwrap();
    f.clock.advance(Duration::from_millis(999));
    f.opened("one").await;
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.find("one").await, Found::Expired);
    assert_eq!(refusal(f.update_shared(id, expiry(Some(at - 1))).await), Refusal::ExpirationDate);
    let renamed = ShareUpdate { name: Some("late"), ..expiry(Some(at)) };
    assert_eq!(f.update_shared(id, renamed).await.unwrap().name, "late", "with the date that it has");
    f.update_shared(id, expiry(None)).await.unwrap();
    f.opened("one").await;
}

#[tokio::test]
async fn an_account_has_so_many_filters_and_shared_tokens_and_no_two_alike() {
    let f = Fixture::new(Plan::Pro).await;
    let first = f.filter("n", "0").await;
    for n in 1..rules::FILTERS_MAX {
        f.filter("n", &n.to_string()).await;
    }
    let create = async |field: &str| f.store.create_filter(f.account, filter(field, "0"), "", &f.by).await;
    assert_eq!(refusal(create("m").await), Refusal::FiltersMax);
    f.store.delete_filter(f.account, FilterId(first.0 + 1), &f.by).await.unwrap();
    assert_eq!(refusal(create("n").await), Refusal::FilterTaken { id: first });
    let longest = "ü".repeat(rules::FIELD_CHARS_MAX);
    create(&longest).await.unwrap();
    for n in 0..rules::SHARED_TOKENS_MAX {
        f.shared(&n.to_string(), vec![first]).await;
    }
    let another = f.store.create_share(f.account, share("another", vec![]), &f.by).await;
    assert_eq!(refusal(another), Refusal::SharedTokensMax);
    let taken = ShareUpdate { name: Some("1"), ..ShareUpdate::default() };
    assert_eq!(refusal(f.update_shared(ShareId(1_000_000), taken).await), Refusal::SharedTokenNameTaken);
    let unknown = FilterId(1);
    let refused = f.update_shared(ShareId(1_000_000), filters(vec![first, unknown])).await;
    assert_eq!(refusal(refused), Refusal::UnknownFilter { id: unknown, account: f.account });
}

#[tokio::test]
async fn a_value_that_reads_never_ships() {
    let f = Fixture::new(Plan::Pro).await;
    f.shared("one", vec![]).await;
    let same = ShippingToken::parse(secret_of("one").expose()).unwrap();
    let new = NewToken { value: TokenValue::Plaintext(same), ..new("same", true, 1) };
    let refused = f.store.create_token(f.account, new, &f.by).await;
    assert_eq!(refusal(refused), Refusal::TokenValueTaken);
}

#[tokio::test]
async fn uses_are_counted_without_a_write_and_written_down_now_and_then() {
    let f = Fixture::new(Plan::Pro).await;
    let id = f.shared("one", vec![]).await;
    let shown = async || {
        let share = f.store.share(f.account, id).await.unwrap();
        (share.last_used_ms, share.views)
    };
    assert_eq!(shown().await, (None, 0));
    let at = f.store.unix_ms();
    f.store.share_used(id, 1);
    f.store.share_used(ShareId(7), 1);
    assert_eq!(shown().await, (Some(at), 1));
    f.store.save_share_uses().await.unwrap();
    assert_eq!(shown().await, (Some(at), 1));
    f.clock.advance(Duration::from_secs(1));
    f.store.share_used(id, 0);
    f.store.save_share_uses().await.unwrap();
    let reopened = Store::open(f.options.clone(), f.clock.clone()).await.unwrap();
    let share = reopened.share(f.account, id).await.unwrap();
    assert_eq!((share.last_used_ms, share.views), (Some(at + 1_000), 1));
    assert_eq!(*f.store.latest_revision().borrow(), 1, "gateways learn nothing of it");
}

#[tokio::test]
async fn neither_trail_nor_debug_shows_a_shared_token() {
    let f = Fixture::new(Plan::Pro).await;
    let env = f.filter("env", "test").await;
    let id = f.shared("one", vec![env]).await;
    f.update_shared(id, filters(vec![])).await.unwrap();
    let share = f.store.delete_share(f.account, id, &f.by).await.unwrap();
    let trail = f.store.audit_trail(f.account, &Wanted::default(), 4).await.unwrap();
    let actions: Vec<_> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        ["shared-token.delete", "shared-token.update", "shared-token.create", "filter.create"]
    );
    let after = trail[2].after.as_ref().unwrap().to_string();
    assert_eq!(after, format!(r#"{{"filters":[{}],"filtersOperator":"AND","name":"one"}}"#, env.0));
    assert!(!format!("{trail:?}{share:?}").contains("the-secret"));
}
