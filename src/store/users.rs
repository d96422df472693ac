//! Users: people, each of one account, who sign in with an e-mail address and a password of their own.
//!
//! A user without a password is invited and may do nothing yet. Suspended and deleted ones lose their sessions in the same
//! transaction. An account that has an active admin keeps one. Passwords are here as hashes only.

use super::api_tokens::main_account;
use super::rules::{Email, Refusal, USERS_MAX};
use super::write::{Counter, Write};
use super::{By, Store, StoreError, number, number_or_none};
use crate::domain::account::AccountId;
use crate::domain::token::TokenDigest;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use std::fmt;

/// A user's number: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Manages the account.
    Admin,
    /// Reads its logs.
    User,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Admin, Self::User].into_iter().find(|role| role.name() == name)
    }
}

/// What a password is kept as. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub account: AccountId,
    pub email: String,
    pub role: Role,
    pub suspended: bool,
    /// `None` of who is invited.
    pub password: Option<PasswordHash>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// When the user was last seen, Unix milliseconds, to the minute.
    pub seen_ms: Option<u64>,
}

impl User {
    fn is_active_admin(&self) -> bool {
        self.role == Role::Admin && !self.suspended && self.password.is_some()
    }
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserUpdate {
    pub role: Option<Role>,
    pub suspended: Option<bool>,
}

/// The secret of a link that sets a password, as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Invitation {
    pub digest: TokenDigest,
    /// Unix milliseconds.
    pub expires_ms: u64,
}

pub(super) const USER_COLUMNS: &str =
    "u.id, u.account, u.email, u.role, u.suspended, u.password, u.created_ms, u.seen_ms";

impl Store {
    /// The account's users, oldest first.
    pub async fn users(&self, account: AccountId) -> Result<Vec<User>, StoreError> {
        sqlx::query(AssertSqlSafe(format!(
            "SELECT {USER_COLUMNS} FROM users u WHERE u.account = $1 ORDER BY u.id"
        )))
        .bind(i64::from(account.0))
        .fetch_all(&self.0.readers)
        .await?
        .iter()
        .map(user_of)
        .collect()
    }

    /// Whether the main account has an admin who can sign in.
    pub async fn has_admin(&self) -> Result<bool, StoreError> {
        let found = sqlx::query(
            "SELECT u.id FROM users u JOIN accounts a ON a.id = u.account \
             WHERE a.parent IS NULL AND u.role = 'admin' AND u.suspended = 0 AND u.password IS NOT NULL LIMIT 1",
        )
        .fetch_optional(&self.0.readers)
        .await?;
        Ok(found.is_some())
    }

    /// Makes a user without a password, who joins with the invitation.
    pub async fn invite_user(
        &self,
        account: AccountId,
        email: &str,
        role: Role,
        invitation: &Invitation,
        by: &By,
    ) -> Result<User, StoreError> {
        let email = Email::parse(email)?;
        let mut write = Write::begin(&self.0, by).await?;
        let user = insert_user(&mut write, account, &email, role, None).await?;
        save_invitation(&mut write, user.id, invitation).await?;
        write.audit(account, "user.invite", subject(user.id), None, Some(audited(&user))).await?;
        write.commit().await?;
        Ok(user)
    }

    /// Gives a user of the account or of a sub-account another invitation, which also resets a password; the one before is void.
    pub async fn invite_again(
        &self,
        scope: AccountId,
        id: UserId,
        invitation: &Invitation,
        by: &By,
    ) -> Result<User, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let user = find(&mut write, scope, id).await?;
        save_invitation(&mut write, id, invitation).await?;
        let audited = Some(audited(&user));
        write.audit(user.account, "user.invite-again", subject(id), audited.clone(), audited).await?;
        write.commit().await?;
        Ok(user)
    }

    /// Changes a user of the account or of a sub-account.
    pub async fn update_user(
        &self,
        scope: AccountId,
        id: UserId,
        update: UserUpdate,
        by: &By,
    ) -> Result<User, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let before = find(&mut write, scope, id).await?;
        let mut after = before.clone();
        after.role = update.role.unwrap_or(before.role);
        after.suspended = update.suspended.unwrap_or(before.suspended);
        if after == before {
            return Ok(before);
        }
        keep_an_admin(&mut write, &before, Some(&after)).await?;
        if after.suspended {
            end_sessions(&mut write, id).await?;
        }
        save(&mut write, &after).await?;
        write
            .audit(after.account, "user.update", subject(id), Some(audited(&before)), Some(audited(&after)))
            .await?;
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a user of the account or of a sub-account, and returns who it was.
    pub async fn delete_user(&self, scope: AccountId, id: UserId, by: &By) -> Result<User, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let user = find(&mut write, scope, id).await?;
        keep_an_admin(&mut write, &user, None).await?;
        end_sessions(&mut write, id).await?;
        void_invitation(&mut write, id).await?;
        sqlx::query("DELETE FROM users WHERE id = $1").bind(i64::from(id.0)).execute(&mut *write.tx).await?;
        write.audit(user.account, "user.delete", subject(id), Some(audited(&user)), None).await?;
        write.commit().await?;
        Ok(user)
    }
}

/// An account that has an active admin keeps one.
async fn keep_an_admin(write: &mut Write<'_>, before: &User, after: Option<&User>) -> Result<(), StoreError> {
    if !before.is_active_admin() || after.is_some_and(User::is_active_admin) {
        return Ok(());
    }
    let other = sqlx::query(
        "SELECT id FROM users WHERE account = $1 AND id <> $2 AND role = 'admin' AND suspended = 0 \
         AND password IS NOT NULL LIMIT 1",
    )
    .bind(i64::from(before.account.0))
    .bind(i64::from(before.id.0))
    .fetch_optional(&mut *write.tx)
    .await?;
    if other.is_some() { Ok(()) } else { Err(Refusal::LastAdmin.into()) }
}

/// Writes a new user; the audit entry is the caller's, who knows how the user came.
pub(super) async fn insert_user(
    write: &mut Write<'_>,
    account: AccountId,
    email: &Email,
    role: Role,
    password: Option<PasswordHash>,
) -> Result<User, StoreError> {
    if by_email(write, email).await?.is_some() {
        return Err(Refusal::EmailTaken.into());
    }
    let row = sqlx::query("SELECT COUNT(*) AS users FROM users WHERE account = $1")
        .bind(i64::from(account.0))
        .fetch_one(&mut *write.tx)
        .await?;
    if number::<u32>(&row, "users")? >= USERS_MAX {
        return Err(Refusal::UsersMax.into());
    }
    let id = write.draw(Counter::User).await?;
    let user = User {
        id: UserId(u32::try_from(id).map_err(|_| StoreError::Damaged("user_next"))?),
        account,
        email: email.as_str().to_owned(),
        role,
        suspended: false,
        password,
        created_ms: write.at_ms.unsigned_abs(),
        seen_ms: None,
    };
    sqlx::query(
        "INSERT INTO users (id, account, email, role, password, suspended, created_ms) \
         VALUES ($1, $2, $3, $4, $5, 0, $6)",
    )
    .bind(id)
    .bind(i64::from(account.0))
    .bind(&user.email)
    .bind(role.name())
    .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
    .bind(write.at_ms)
    .execute(&mut *write.tx)
    .await?;
    Ok(user)
}

/// Writes what became of a user. Who has become an admin of the main account closes the first start's set-up link.
pub(super) async fn save(write: &mut Write<'_>, user: &User) -> Result<(), StoreError> {
    sqlx::query("UPDATE users SET role = $1, suspended = $2, password = $3 WHERE id = $4")
        .bind(user.role.name())
        .bind(i64::from(user.suspended))
        .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
        .bind(i64::from(user.id.0))
        .execute(&mut *write.tx)
        .await?;
    if user.is_active_admin() && user.account == main_account(write).await? {
        sqlx::query("UPDATE store SET setup_digest = NULL WHERE setup_expires_ms IS NULL")
            .execute(&mut *write.tx)
            .await?;
    }
    Ok(())
}

async fn save_invitation(
    write: &mut Write<'_>,
    user: UserId,
    invitation: &Invitation,
) -> Result<(), StoreError> {
    void_invitation(write, user).await?;
    sqlx::query("INSERT INTO invitations (user_id, digest, expires_ms) VALUES ($1, $2, $3)")
        .bind(i64::from(user.0))
        .bind(invitation.digest.to_hex())
        .bind(i64::try_from(invitation.expires_ms).unwrap_or(i64::MAX))
        .execute(&mut *write.tx)
        .await?;
    Ok(())
}

pub(super) async fn void_invitation(write: &mut Write<'_>, user: UserId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM invitations WHERE user_id = $1")
        .bind(i64::from(user.0))
        .execute(&mut *write.tx)
        .await?;
    Ok(())
}

/// Ends them, with all that is still being read by them. Sessions are written before users, always: who notes that a user was seen does it in this order, beside the writers' queue.
pub(super) async fn end_sessions(write: &mut Write<'_>, user: UserId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1")
        .bind(i64::from(user.0))
        .execute(&mut *write.tx)
        .await?;
    write.change_sharing();
    Ok(())
}

async fn find(write: &mut Write<'_>, scope: AccountId, id: UserId) -> Result<User, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {USER_COLUMNS} FROM users u JOIN accounts a ON a.id = u.account \
         WHERE u.id = $1 AND (u.account = $2 OR a.parent = $2)"
    )))
    .bind(i64::from(id.0))
    .bind(i64::from(scope.0))
    .fetch_optional(&mut *write.tx)
    .await?;
    user_of(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn by_email(write: &mut Write<'_>, email: &Email) -> Result<Option<User>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {USER_COLUMNS} FROM users u WHERE u.email = $1")))
        .bind(email.as_str())
        .fetch_optional(&mut *write.tx)
        .await?;
    row.as_ref().map(user_of).transpose()
}

pub(super) fn user_of(row: &AnyRow) -> Result<User, StoreError> {
    Ok(User {
        id: UserId(number(row, "id")?),
        account: AccountId(number(row, "account")?),
        email: row.try_get("email")?,
        role: Role::from_name(row.try_get("role")?).ok_or(StoreError::Damaged("role"))?,
        suspended: row.try_get::<i64, _>("suspended")? != 0,
        password: row.try_get::<Option<String>, _>("password")?.map(PasswordHash),
        created_ms: number(row, "created_ms")?,
        seen_ms: number_or_none(row, "seen_ms")?,
    })
}

pub(super) fn subject(id: UserId) -> String {
    format!("user:{}", id.0)
}

pub(super) fn audited(user: &User) -> Value {
    json!({
        "email": user.email,
        "role": user.role.name(),
        "suspended": user.suspended,
        "joined": user.password.is_some(),
    })
}
