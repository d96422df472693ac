//! Users, sessions, and the links by which people come to a password.

use super::*;
use crate::store::sessions::SessionLimits;
use crate::store::users::{Invitation, PasswordHash, Role, User, UserId, UserUpdate};

const LIMITS: SessionLimits = SessionLimits { idle_ms: 1_000_000, age_ms_max: 10_000_000 };

fn digest(text: &str) -> TokenDigest {
    TokenDigest::of(text)
}

fn hash() -> PasswordHash {
    PasswordHash("a hash".to_owned())
}

impl Fixture {
    async fn invite(&self, email: &str, role: Role, expires_ms: u64) -> User {
        let invitation = Invitation { digest: digest(email), expires_ms };
        self.store.invite_user(self.account, email, role, &invitation, &self.by).await.unwrap()
    }

    /// A user who has joined.
    async fn user(&self, email: &str, role: Role) -> User {
        self.invite(email, role, u64::MAX >> 1).await;
        self.store.join(&digest(email), hash(), &self.by).await.unwrap()
    }

    async fn signed_in(&self, user: &User, secret: &str) -> Result<(), StoreError> {
        self.store.create_session(user, &digest(secret), LIMITS, &self.by).await
    }

    async fn is_signed_in(&self, secret: &str) -> bool {
        self.store.session(&digest(secret), LIMITS).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let f = Fixture::new(Plan::Pro).await;
    let ada = f.user("ada@b", Role::Admin).await;
    f.signed_in(&ada, "one").await.unwrap();
    for _ in 0..10 {
        f.clock.advance(Duration::from_millis(999_000));
        assert!(f.is_signed_in("one").await, "in use");
    }
    let seen = f.store.users(f.account).await.unwrap()[0].seen_ms.unwrap();
    assert_eq!(seen, f.store.unix_ms(), "and noted");
    f.clock.advance(Duration::from_millis(20_000));
    assert!(!f.is_signed_in("one").await, "too old");
    f.signed_in(&ada, "two").await.unwrap();
    f.clock.advance(Duration::from_millis(1_000_000));
    assert!(!f.is_signed_in("two").await, "idle");
}

#[tokio::test]
async fn nobody_has_more_sessions_than_fifty() {
    let f = Fixture::new(Plan::Pro).await;
    let ada = f.user("ada@b", Role::Admin).await;
    for n in 0..52 {
        f.clock.advance(Duration::from_millis(1));
        f.signed_in(&ada, &n.to_string()).await.unwrap();
    }
    let mut living = 0;
    for n in 0..52 {
        living += u32::from(f.is_signed_in(&n.to_string()).await);
    }
    assert_eq!(living, 50);
    assert!(!f.is_signed_in("1").await && f.is_signed_in("2").await, "the oldest end");
}

#[tokio::test]
async fn who_was_changed_while_signing_in_is_not_signed_in() {
    let f = Fixture::new(Plan::Pro).await;
    let (ada, bob) = (f.user("ada@b", Role::Admin).await, f.user("bob@b", Role::User).await);
    let suspend = UserUpdate { suspended: Some(true), ..UserUpdate::default() };
    f.store.update_user(f.account, bob.id, suspend, &f.by).await.unwrap();
    assert!(matches!(f.signed_in(&bob, "bob's").await, Err(StoreError::NotFound)));
    f.signed_in(&ada, "ada's").await.unwrap();
    let other = PasswordHash("another hash".to_owned());
    f.store.change_password(&ada, &other, &digest("ada's"), &f.by).await.unwrap();
    assert!(matches!(f.signed_in(&ada, "late").await, Err(StoreError::NotFound)));
    let again = f.store.change_password(&ada, &hash(), &digest("ada's"), &f.by).await;
    assert_eq!(refusal(again), Refusal::PasswordChanged);
}

#[tokio::test]
async fn links_expire_and_suspended_users_have_none() {
    let f = Fixture::new(Plan::Pro).await;
    let soon = f.store.unix_ms() + 1_000;
    let bob = f.invite("bob@b", Role::User, soon).await;
    f.user("ada@b", Role::Admin).await;
    assert!(f.store.invited(&digest("bob@b")).await.unwrap().is_some());
    let suspend = |suspended| UserUpdate { suspended: Some(suspended), ..UserUpdate::default() };
    f.store.update_user(f.account, bob.id, suspend(true), &f.by).await.unwrap();
    assert!(f.store.invited(&digest("bob@b")).await.unwrap().is_none());
    f.store.update_user(f.account, bob.id, suspend(false), &f.by).await.unwrap();
    f.store.offer_setup(&digest("setup"), Some(soon), &f.by).await.unwrap();
    assert!(f.store.setup_is_open(&digest("setup")).await.unwrap());
    f.clock.advance(Duration::from_secs(1));
    assert!(f.store.invited(&digest("bob@b")).await.unwrap().is_none());
    assert!(!f.store.setup_is_open(&digest("setup")).await.unwrap());
    assert_eq!(refusal(f.store.join(&digest("bob@b"), hash(), &f.by).await), Refusal::LinkOver);
    assert_eq!(refusal(f.store.set_up(&digest("setup"), "x@b", hash(), &f.by).await), Refusal::LinkOver);
}

#[tokio::test]
async fn the_first_starts_link_is_over_when_there_is_an_admin_and_an_operators_is_not() {
    let f = Fixture::new(Plan::Pro).await;
    f.store.offer_setup(&digest("first"), None, &f.by).await.unwrap();
    f.user("bob@b", Role::User).await;
    assert!(f.store.setup_is_open(&digest("first")).await.unwrap());
    assert!(!f.store.has_admin().await.unwrap());
    f.user("ada@b", Role::Admin).await;
    assert!(!f.store.setup_is_open(&digest("first")).await.unwrap());
    assert!(f.store.has_admin().await.unwrap());
    f.store.offer_setup(&digest("operator"), Some(u64::MAX >> 1), &f.by).await.unwrap();
    f.user("eve@b", Role::Admin).await;
    let sub = f.store.create_sub_account(f.account, settings("sub"), secrets(9), &f.by).await.unwrap();
    let invitation = Invitation { digest: digest("dan"), expires_ms: u64::MAX >> 1 };
    f.store.invite_user(sub.id, "dan@b", Role::User, &invitation, &f.by).await.unwrap();
    let refused = f.store.set_up(&digest("operator"), "dan@b", hash(), &f.by).await;
    assert_eq!(refusal(refused), Refusal::EmailTaken, "a sub-account's user is no admin of the main account");
    let back = f.store.set_up(&digest("operator"), "BOB@b", hash(), &f.by).await.unwrap();
    assert_eq!((back.email.as_str(), back.role), ("bob@b", Role::Admin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_admins_never_leave_an_account_without_one() {
    let f = Fixture::new(Plan::Pro).await;
    for n in 0..4 {
        f.user(&format!("{n}@b"), Role::Admin).await;
    }
    let mut admins = tokio::task::JoinSet::new();
    for admin in 0..16u32 {
        let (store, account) = (f.store.clone(), f.account);
        admins.spawn(async move {
            let mut dice = admin.wrapping_mul(0x9e37_79b9) | 1;
            for _ in 0..12 {
                dice ^= dice << 13;
                dice ^= dice >> 17;
                dice ^= dice << 5;
                let (id, by) = (UserId(dice % 4 + 1), By::default());
                let update = match dice >> 8 & 3 {
                    0 => UserUpdate { role: Some(Role::User), ..UserUpdate::default() },
                    1 => UserUpdate { role: Some(Role::Admin), ..UserUpdate::default() },
                    2 => UserUpdate { suspended: Some(true), ..UserUpdate::default() },
                    _ => UserUpdate { suspended: Some(false), ..UserUpdate::default() },
                };
                let done = match dice >> 16 & 31 {
                    0 => store.delete_user(account, id, &by).await,
                    _ => store.update_user(account, id, update, &by).await,
                };
                match done {
                    Ok(_) | Err(StoreError::Refused(Refusal::LastAdmin) | StoreError::NotFound) => {}
                    Err(fault) => panic!("{fault:?}"),
                }
                let users = store.users(account).await.unwrap();
                let active = users.iter().filter(|user| user.role == Role::Admin && !user.suspended);
                assert!(active.count() >= 1, "{users:?}");
            }
        });
    }
    admins.join_all().await;
}
