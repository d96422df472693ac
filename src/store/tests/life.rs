//! The terms of tokens: expiry, rotation, values of one's own, scopes.

use super::*;
use crate::domain::directory::{Denial, Directory};
use crate::domain::terms::{Network, Scope};
use crate::store::gateways::Gateway;
use crate::store::tokens::Token;
use crate::store::tokens::rotation::{Rotated, Rotation};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

fn rotation(n: u64, overlap_ms: u64) -> Rotation {
    Rotation { value: TokenValue::Plaintext(secret(n)), overlap_ms, quiet_for_ms: None }
}

fn expiring(expires_ms: u64) -> Terms {
    Terms { expires_ms: Some(expires_ms), ..Terms::default() }
}

fn expire_at(expires_ms: Option<u64>) -> TokenUpdate<'static> {
    TokenUpdate { expires_ms: Some(expires_ms), ..TokenUpdate::default() }
}

impl Fixture {
    async fn create_expiring(&self, n: u64, in_ms: u64) -> Result<TokenId, StoreError> {
        let name = format!("token {n}");
        let new = NewToken { terms: expiring(self.clock.unix_ms() + in_ms), ..new(&name, true, n) };
        Ok(self.store.create_token(self.account, new, &self.by).await?.id)
    }

    async fn update(&self, id: TokenId, update: TokenUpdate<'_>) -> Result<Token, StoreError> {
        self.store.update_token(self.account, id, update, &self.by).await
    }

    async fn rotate(&self, id: TokenId, n: u64, overlap_ms: u64) -> Result<Rotated, StoreError> {
        self.store.rotate_token(self.account, id, rotation(n, overlap_ms), &self.by).await
    }

    async fn get(&self, id: TokenId) -> Token {
        self.store.token(self.account, id).await.unwrap()
    }

    /// What the control plane does by itself.
    async fn tick(&self) -> Option<u64> {
        self.store.end_due_tokens().await.unwrap()
    }

    fn wait(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// What a gateway has that followed every delta.
    async fn followed(&self) -> Directory {
        let mut directory = Directory::default();
        for delta in self.all_deltas().await {
            delta.changes.into_iter().for_each(|change| directory.apply(change));
        }
        directory
    }

    async fn actions(&self, limit: u32) -> Vec<String> {
        let trail = self.store.audit_trail(self.account, &Wanted::default(), limit).await.unwrap();
        trail.into_iter().map(|entry| format!("{} by {}", entry.action, entry.actor)).collect()
    }
}

#[tokio::test]
async fn a_token_ends_at_the_same_instant_here_and_at_a_gateway() {
    let f = Fixture::new(Plan::Pro).await;
    let expires_ms = f.clock.unix_ms() + 5 * SECOND;
    let token = f.create_expiring(1, 5 * SECOND).await.unwrap();
    let digest = secret(1).digest();
    let before = f.followed().await;
    assert_eq!(f.tick().await, Some(5 * SECOND));
    f.wait(5 * SECOND - 1);
    assert_eq!(f.tick().await, Some(1));
    assert!(f.get(token).await.enabled);
    assert!(before.admit(&digest, || f.clock.unix_ms()).is_ok());
    f.wait(1);
    assert_eq!(
        before.admit(&digest, || f.clock.unix_ms()),
        Err(Denial::NotValid),
        "without a word from here"
    );
    assert_eq!(f.tick().await, None);
    let ended = f.get(token).await;
    assert_eq!((ended.enabled, ended.terms.expires_ms), (false, Some(expires_ms)));
    assert_eq!((ended.updated_ms, ended.updated_by.as_str()), (expires_ms, "shipgate"));
    assert_eq!(f.actions(1).await, ["shipping-token.expire by shipgate"]);
    assert!(f.followed().await.admit(&digest, || 0).is_err());
    assert_eq!(f.followed().await.tokens(), 1);
}

#[tokio::test]
async fn an_instant_that_has_come_holds_before_anybody_acts_on_it() {
    let f = Fixture::new(Plan::Pro).await;
    for n in 1..15 {
        f.create_expiring(n, SECOND).await.unwrap();
    }
    assert_eq!(refusal(f.create(99, true).await), Refusal::EnabledLimit { max: 15 });
    f.wait(SECOND);
    let fresh = f.create(99, true).await.unwrap();
    let actions = f.actions(15).await;
    assert_eq!(actions[0], "shipping-token.create by tester");
    assert_eq!(actions[1..], ["shipping-token.expire by shipgate"; 14].map(str::to_owned), "time did that");
    assert_eq!(f.store.token_limits(f.account).await.unwrap().enabled, 2);
    f.enable(FIRST, false).await.unwrap();
    assert_eq!(f.default().await, fresh);
}

#[tokio::test]
async fn an_account_keeps_a_token_that_lasts() {
    let f = Fixture::new(Plan::Pro).await;
    let max = 15;
    let soon = f.clock.unix_ms() + DAY;
    assert_eq!(refusal(f.update(FIRST, expire_at(Some(soon))).await), Refusal::SoleToken { max });
    let temporary = f.create_expiring(1, DAY).await.unwrap();
    assert_eq!(refusal(f.update(FIRST, expire_at(Some(soon))).await), Refusal::LastLastingToken { max });
    assert_eq!(refusal(f.enable(FIRST, false).await), Refusal::LastLastingToken { max });
    assert_eq!(refusal(f.delete(FIRST).await), Refusal::LastLastingToken { max });
    f.update(temporary, expire_at(None)).await.unwrap();
    f.update(FIRST, expire_at(Some(soon))).await.unwrap();
    assert_eq!(f.default().await, temporary, "the default token lasts");
    assert_eq!(refusal(f.delete(temporary).await), Refusal::LastLastingToken { max });
    f.update(FIRST, expire_at(Some(soon + 1))).await.unwrap();
    f.delete(FIRST).await.unwrap();
    assert_eq!(refusal(f.delete(temporary).await), Refusal::SoleToken { max });
}

#[tokio::test]
async fn an_expiry_is_to_come_and_an_expired_token_needs_a_new_one() {
    let f = Fixture::new(Plan::Pro).await;
    let now = f.clock.unix_ms();
    for in_ms in [0, u64::MAX - now] {
        assert_eq!(refusal(f.create_expiring(1, in_ms).await), Refusal::ExpiresAt, "{in_ms}");
    }
    let token = f.create_expiring(1, SECOND).await.unwrap();
    f.wait(SECOND);
    f.tick().await;
    assert_eq!(refusal(f.enable(token, true).await), Refusal::Expired);
    assert_eq!(refusal(f.update(token, expire_at(Some(now))).await), Refusal::ExpiresAt);
    assert_eq!(f.update(token, rename("old")).await.unwrap().name, "old", "what it was stays sayable");
    let again = TokenUpdate { enabled: Some(true), ..expire_at(Some(now + DAY)) };
    assert!(f.update(token, again).await.unwrap().enabled);
    assert_eq!(f.tick().await, Some(now + DAY - f.clock.unix_ms()));
}

#[tokio::test]
async fn a_community_account_rotates_its_only_token() {
    let f = Fixture::new(Plan::Community).await;
    let Rotated { successor, retiring } = f.rotate(FIRST, 1, 7 * DAY).await.unwrap();
    let deadline = f.clock.unix_ms() + 7 * DAY;
    assert_eq!((successor.name.as_str(), retiring.name.as_str()), ("default", "default (until 2023-11-21)"));
    assert_eq!((retiring.terms.expires_ms, successor.terms.expires_ms), (Some(deadline), None));
    assert_eq!(retiring.retirement.unwrap().successor, successor.id);
    assert_eq!(f.get(retiring.id).await, retiring);
    assert_eq!(f.default().await, successor.id);
    let directory = f.followed().await;
    for n in [0, 1] {
        assert!(directory.admit(&secret(n).digest(), || deadline - 1).is_ok(), "both ship");
    }
    assert_eq!(f.all_deltas().await.last().unwrap().changes.len(), 2, "in one revision");
    let limits = f.store.token_limits(f.account).await.unwrap();
    assert_eq!((limits.enabled_max, limits.enabled, limits.retiring), (1, 1, 1));
    // Neither a second token nor a third.
    assert_eq!(refusal(f.create(2, true).await), Refusal::EnabledLimit { max: 1 });
    assert_eq!(refusal(f.rotate(successor.id, 2, DAY).await), Refusal::RetiringLimit { max: 1 });
    assert_eq!(refusal(f.rotate(retiring.id, 2, DAY).await), Refusal::AlreadyRetiring);
    assert_eq!(refusal(f.enable(successor.id, false).await), Refusal::LastLastingToken { max: 1 });
    f.wait(7 * DAY);
    assert_eq!(f.tick().await, None);
    let ended = f.get(FIRST).await;
    assert_eq!((ended.enabled, ended.retirement), (false, None));
    assert_eq!(refusal(f.rotate(FIRST, 2, DAY).await), Refusal::RotatesDisabled);
    let next = f.rotate(successor.id, 2, DAY).await.unwrap();
    assert_eq!(next.successor.name, "default");
    f.delete(successor.id).await.unwrap();
    f.delete(FIRST).await.unwrap();
    assert_eq!(f.default().await, next.successor.id);
}

#[tokio::test]
async fn a_rotation_is_told_whole_in_the_trail() {
    let f = Fixture::new(Plan::Community).await;
    f.rotate(FIRST, 1, SECOND).await.unwrap();
    f.wait(SECOND);
    f.tick().await;
    let by_tester = |action: &str| format!("{action} by tester");
    assert_eq!(
        f.actions(4).await,
        [
            "shipping-token.expire by shipgate".to_owned(),
            by_tester("account.default-token"),
            by_tester("shipping-token.rotate"),
            by_tester("shipping-token.create"),
        ]
    );
    let trail = f.store.audit_trail(f.account, &Wanted::default(), 3).await.unwrap();
    let rotated = trail[2].after.as_ref().unwrap();
    assert_eq!(rotated["successorId"], 1_000_001);
    assert_eq!(rotated["expiresAt"], (1_700_000_000_123 + SECOND) as f64 / 1_000.0);
}

#[tokio::test]
async fn a_successor_has_the_terms_and_an_end_of_its_own() {
    let f = Fixture::new(Plan::Pro).await;
    let scope = Scope { sources: [Network::parse("10.0.0.0/8").unwrap()].into(), ..Scope::default() };
    let expires_ms = f.clock.unix_ms() + DAY;
    let terms = Terms { expires_ms: Some(expires_ms), scope, would_refuse: true };
    let new = NewToken { terms: terms.clone(), ..new("contractor", true, 1) };
    let token = f.store.create_token(f.account, new, &f.by).await.unwrap();
    assert_eq!(f.get(token.id).await.terms, terms);
    let Rotated { successor, retiring } = f.rotate(token.id, 2, 7 * DAY).await.unwrap();
    assert_eq!((successor.terms, retiring.terms), (terms.clone(), terms), "never longer than it had");
    assert_eq!(f.default().await, FIRST);
}

#[tokio::test]
async fn namesakes_being_retired_are_told_apart() {
    let f = Fixture::new(Plan::Pro).await;
    let mut names = vec![];
    let mut token = FIRST;
    for n in 1..4 {
        let Rotated { successor, retiring } = f.rotate(token, n, DAY).await.unwrap();
        names.push(retiring.name);
        token = successor.id;
    }
    assert_eq!(
        names,
        ["default (until 2023-11-15)", "default (until 2023-11-15, 2)", "default (until 2023-11-15, 3)"]
    );
}

#[tokio::test]
async fn a_deadline_moves_within_bounds_and_a_retirement_can_be_called_off() {
    let f = Fixture::new(Plan::Pro).await;
    let now = f.clock.unix_ms();
    f.rotate(FIRST, 1, DAY).await.unwrap();
    assert!(f.update(FIRST, expire_at(Some(now + 30 * DAY))).await.unwrap().retirement.is_some());
    assert_eq!(refusal(f.update(FIRST, expire_at(Some(now + 30 * DAY + 1))).await), Refusal::Deadline);
    assert!(f.update(FIRST, expire_at(Some(now + SECOND))).await.unwrap().retirement.is_some());
    let kept = f.update(FIRST, expire_at(None)).await.unwrap();
    assert_eq!((kept.enabled, kept.retirement), (true, None));
    let limits = f.store.token_limits(f.account).await.unwrap();
    assert_eq!((limits.enabled, limits.retiring), (2, 0));
    // Where there is no place for it, it cannot be kept.
    let f = Fixture::new(Plan::Community).await;
    f.rotate(FIRST, 1, DAY).await.unwrap();
    assert_eq!(refusal(f.update(FIRST, expire_at(None)).await), Refusal::EnabledLimit { max: 1 });
    f.enable(FIRST, false).await.unwrap();
    assert_eq!(f.get(FIRST).await.retirement, None, "disabled at once, if need be");
    assert_eq!(refusal(f.enable(FIRST, true).await), Refusal::EnabledLimit { max: 1 });
}

#[tokio::test]
async fn a_token_that_has_been_quiet_ends_before_its_deadline() {
    let f = Fixture::new(Plan::Community).await;
    let used = async |at_ms: u64| {
        let sql = format!(
            "INSERT INTO token_uses (token, last_used_minute) VALUES ({}, {}) \
             ON CONFLICT (token) DO UPDATE SET last_used_minute = excluded.last_used_minute",
            FIRST.0,
            at_ms / 60_000
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&f.store.0.writer).await.unwrap();
    };
    let (begun, hour, unknown) = (f.clock.unix_ms(), 3_600 * SECOND, 90 * SECOND);
    used(begun - hour).await;
    let rotation = Rotation { quiet_for_ms: Some(hour), ..rotation(1, 7 * DAY) };
    f.store.rotate_token(f.account, FIRST, rotation, &f.by).await.unwrap();
    assert_eq!(f.tick().await, Some(hour + unknown), "quiet counts from the rotation on");
    f.wait(hour);
    used(f.clock.unix_ms()).await;
    let minute_ms = f.clock.unix_ms() / 60_000 * 60_000;
    f.wait(unknown);
    assert_eq!(f.tick().await, Some(minute_ms + hour + unknown - f.clock.unix_ms()));
    assert!(f.get(FIRST).await.enabled);
    f.wait(hour);
    f.tick().await;
    let ended = f.get(FIRST).await;
    assert_eq!((ended.enabled, ended.retirement), (false, None));
    assert_eq!(f.actions(1).await, ["shipping-token.retire by shipgate"]);
    assert_eq!(f.followed().await.tokens(), 1);
}

#[tokio::test]
async fn nobody_is_called_quiet_while_a_gateway_that_may_serve_is_not_heard() {
    let f = Fixture::new(Plan::Community).await;
    let heard =
        |number| Gateway { id: "a".to_owned(), instance: "b".to_owned(), number, ..Gateway::default() };
    f.store.gateway_reported(heard(1)).await.unwrap();
    let rotation = Rotation { quiet_for_ms: Some(3_600 * SECOND), ..rotation(1, 7 * DAY) };
    f.store.rotate_token(f.account, FIRST, rotation, &f.by).await.unwrap();
    // It counted uses that nobody knows of.
    f.wait(5 * 3_600 * SECOND);
    f.tick().await;
    assert!(f.get(FIRST).await.enabled);
    // It is there again, and what it counted is on its way.
    f.store.gateway_reported(heard(2)).await.unwrap();
    f.tick().await;
    assert!(f.get(FIRST).await.enabled);
    let farewell = Gateway { left_ms: Some(1), ..heard(3) };
    f.store.gateway_reported(farewell).await.unwrap();
    f.tick().await;
    assert!(!f.get(FIRST).await.enabled);
}

#[tokio::test]
async fn a_value_of_ones_own_is_had_by_one_token_and_manages_nothing() {
    let f = Fixture::new(Plan::Pro).await;
    let sub = f.store.create_sub_account(f.account, settings("sub"), secrets(7), &f.by).await.unwrap();
    let by_digest = |n| NewToken { value: TokenValue::Digest(secret(n).digest()), ..new("brought", true, n) };
    let token = f.store.create_token(f.account, by_digest(1), &f.by).await.unwrap();
    assert_eq!(f.get(token.id).await.value, TokenValue::Digest(secret(1).digest()));
    assert!(f.followed().await.admit(&secret(1).digest(), || 0).is_ok());
    let api_token = TokenValue::Digest(TokenDigest::of(API_TOKEN));
    for taken in [by_digest(1).value, by_digest(7).value, TokenValue::Plaintext(secret(1)), api_token] {
        let refused =
            f.store.create_token(f.account, NewToken { value: taken, ..new("other", false, 0) }, &f.by);
        assert_eq!(refusal(refused.await), Refusal::TokenValueTaken);
    }
    let taken = f.rotate(token.id, 7, DAY).await;
    assert_eq!(refusal(taken), Refusal::TokenValueTaken);
    assert_eq!(f.get(token.id).await.name, "brought", "nothing of it has happened");
    f.delete(token.id).await.unwrap();
    f.store.create_token(sub.id, by_digest(1), &f.by).await.unwrap();
}

#[tokio::test]
async fn terms_reach_the_directory_as_they_change() {
    let f = Fixture::new(Plan::Pro).await;
    let token = f.create(1, true).await.unwrap();
    let scope = Scope { types: ["nginx".into()].into(), ..Scope::default() };
    let scoped = TokenUpdate { scope: Some(scope.clone()), ..TokenUpdate::default() };
    f.update(token, scoped).await.unwrap();
    let terms = async || {
        let permit = f.followed().await.admit(&secret(1).digest(), || 0).unwrap();
        permit.terms().cloned()
    };
    assert_eq!(terms().await, Some(Terms { scope, ..Terms::default() }));
    let snapshot = f.store.snapshot().await.unwrap().changes;
    assert_eq!(f.followed().await.changes().filter(|change| !snapshot.contains(change)).count(), 0);
    let dry =
        TokenUpdate { scope: Some(Scope::default()), would_refuse: Some(true), ..TokenUpdate::default() };
    f.update(token, dry).await.unwrap();
    assert_eq!(terms().await, Some(Terms { would_refuse: true, ..Terms::default() }));
    f.update(token, TokenUpdate { would_refuse: Some(false), ..TokenUpdate::default() }).await.unwrap();
    assert_eq!(terms().await, None);
    let trail = f.actions(4).await;
    assert_eq!(trail[..3], ["shipping-token.terms by tester"; 3].map(str::to_owned));
    let unknown = Scope { doors: ["window".into()].into(), ..Scope::default() };
    let update = TokenUpdate { scope: Some(unknown), ..TokenUpdate::default() };
    assert_eq!(refusal(f.update(token, update).await), Refusal::UnknownDoor);
}

#[tokio::test]
async fn a_smaller_plan_must_hold_those_that_are_retired_too() {
    let f = Fixture::new(Plan::Pro).await;
    let first = f.rotate(FIRST, 1, DAY).await.unwrap();
    f.store.set_plan(Plan::Community, &f.by).await.unwrap();
    f.store.set_plan(Plan::Pro, &f.by).await.unwrap();
    f.rotate(first.successor.id, 2, DAY).await.unwrap();
    assert!(f.store.set_plan(Plan::Community, &f.by).await.is_err());
    f.wait(DAY);
    f.tick().await;
    f.store.set_plan(Plan::Community, &f.by).await.unwrap();
}

/// What an admin, or time, does.
#[derive(Debug, Clone)]
enum Step {
    Create { enabled: bool, expires_in: Option<u64> },
    Switch { any: usize, enabled: bool },
    Expire { any: usize, expires_in: Option<u64> },
    Revive { any: usize },
    Delete { any: usize },
    Rotate { any: usize, overlap_ms: u64, quiet_for_ms: Option<u64> },
    Wait { ms: u64, tick: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = || 1..20 * SECOND;
    let one = || 0..100_usize;
    let step = prop_oneof![
        (any::<bool>(), prop::option::of(time()))
            .prop_map(|(enabled, expires_in)| Step::Create { enabled, expires_in }),
        (one(), any::<bool>()).prop_map(|(any, enabled)| Step::Switch { any, enabled }),
        (one(), prop::option::of(time())).prop_map(|(any, expires_in)| Step::Expire { any, expires_in }),
        one().prop_map(|any| Step::Revive { any }),
        one().prop_map(|any| Step::Delete { any }),
        (one(), SECOND..20 * SECOND, prop::option::of(Just(60 * SECOND)))
            .prop_map(|(any, overlap_ms, quiet_for_ms)| Step::Rotate { any, overlap_ms, quiet_for_ms }),
        (time(), any::<bool>()).prop_map(|(ms, tick)| Step::Wait { ms, tick }),
    ];
    prop::collection::vec(step, 1..60)
}

impl Fixture {
    async fn take(&self, step: &Step, n: u64) -> Result<(), StoreError> {
        let all = TokenSearch { limit: 1_000, ..TokenSearch::default() };
        let tokens = self.store.search_tokens(self.account, &all).await.unwrap().tokens;
        let id = |any: &usize| tokens[any % tokens.len()].id;
        let at = |in_ms: &Option<u64>| in_ms.map(|ms| self.clock.unix_ms() + ms);
        match step {
            Step::Create { enabled, expires_in: Some(in_ms) } if *enabled => {
                self.create_expiring(n, *in_ms).await.map(drop)
            }
            Step::Create { enabled, .. } => self.create(n, *enabled).await.map(drop),
            Step::Switch { any, enabled } => self.enable(id(any), *enabled).await,
            Step::Expire { any, expires_in } => {
                self.update(id(any), expire_at(at(expires_in))).await.map(drop)
            }
            Step::Revive { any } => {
                let update = TokenUpdate { enabled: Some(true), ..expire_at(None) };
                self.update(id(any), update).await.map(drop)
            }
            Step::Delete { any } => self.delete(id(any)).await,
            Step::Rotate { any, overlap_ms, quiet_for_ms } => {
                let rotation = Rotation { quiet_for_ms: *quiet_for_ms, ..rotation(n, *overlap_ms) };
                self.store.rotate_token(self.account, id(any), rotation, &self.by).await.map(drop)
            }
            Step::Wait { ms, tick } => {
                self.wait(*ms);
                if *tick {
                    self.tick().await;
                }
                Ok(())
            }
        }
    }

    /// What is always true, whoever does what, also of instants that nobody has acted on yet.
    async fn check(&self, max: usize) {
        let now_ms = self.clock.unix_ms();
        let all = TokenSearch { limit: 1_000, ..TokenSearch::default() };
        let tokens = self.store.search_tokens(self.account, &all).await.unwrap().tokens;
        let ships: Vec<_> =
            tokens.iter().filter(|token| token.enabled && !token.terms.is_over(now_ms)).collect();
        let lasting = ships.iter().filter(|token| token.terms.expires_ms.is_none());
        assert!(lasting.count() >= 1, "one that lasts: {tokens:?}");
        let retiring = ships.iter().filter(|token| token.retirement.is_some()).count();
        assert!(ships.len() - retiring <= max && retiring <= max, "within the plan: {tokens:?}");
        for token in tokens.iter().filter(|token| token.retirement.is_some()) {
            assert!(token.enabled && token.terms.expires_ms.is_some(), "retiring with a deadline: {token:?}");
        }
        let default = self.store.default_token(self.account).await.unwrap();
        assert!(default.enabled && default.terms == Terms::default(), "{default:?}");
        let directory = self.followed().await;
        let admitted: BTreeSet<_> = tokens
            .iter()
            .filter(|token| directory.admit(&token.value.digest(), || now_ms).is_ok())
            .map(|token| token.id.0)
            .collect();
        assert_eq!(admitted, ships.iter().map(|token| token.id.0).collect(), "gateways agree");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_sequence_of_changes_and_instants_breaks_a_rule(steps in steps(), community in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (plan, max) = if community { (Plan::Community, 1) } else { (Plan::Pro, 15) };
            let f = Fixture::new(plan).await;
            for (n, step) in steps.iter().enumerate() {
                match f.take(step, n as u64 + 1).await {
                    Ok(()) | Err(StoreError::Refused(_)) => {}
                    Err(fault) => panic!("{step:?}: {fault:?}"),
                }
                f.check(max).await;
            }
            f.tick().await;
            let snapshot = f.store.snapshot().await.unwrap().changes;
            let mut directory = Directory::default();
            snapshot.into_iter().for_each(|change| directory.apply(change));
            let of = |directory: &Directory| {
                directory.changes().map(|change| serde_json::to_string(&change).unwrap()).collect::<BTreeSet<_>>()
            };
            assert_eq!(of(&directory), of(&f.followed().await), "a snapshot is what its deltas add up to");
        });
    }
}
