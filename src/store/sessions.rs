//! Sessions: who is signed in, until they are idle for too long, too old, or ended. Only digests are kept.
//!
//! Nothing is cached: every request asks, so what ends a session ends it at once and at every replica.

use super::rules::{Email, Refusal};
use super::users::{PasswordHash, USER_COLUMNS, User, UserId, subject, user_of, void_invitation};
use super::write::Write;
use super::{By, Store, StoreError, number};
use crate::domain::token::TokenDigest;
use sqlx::{AssertSqlSafe, Row};

/// How often it is written down that a session is in use, in milliseconds.
const SEEN_EVERY_MS: u64 = 60_000;
/// How many sessions a user has at most: past it, those not seen for the longest end.
const SESSIONS_MAX: i64 = 50;

/// How long sessions live, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Without being used.
    pub idle_ms: u64,
    /// At all.
    pub age_ms_max: u64,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedInUser {
    pub user: User,
    pub account_name: String,
    /// Whether that is a main account.
    pub main: bool,
}

impl Store {
    /// The user of this e-mail address, whoever asks. What is no address is nobody's.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let Ok(email) = Email::parse(email) else { return Ok(None) };
        let row =
            sqlx::query(AssertSqlSafe(format!("SELECT {USER_COLUMNS} FROM users u WHERE u.email = $1")))
                .bind(email.as_str())
                .fetch_optional(&self.0.readers)
                .await?;
        row.as_ref().map(user_of).transpose()
    }

    /// Signs in a user whose password was found to be the one of `user`. Not found: it is not any more, or may not sign in.
    pub async fn create_session(
        &self,
        user: &User,
        digest: &TokenDigest,
        limits: SessionLimits,
        by: &By,
    ) -> Result<(), StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let (used_since, made_since) = since(write.at_ms, limits);
        sqlx::query("DELETE FROM sessions WHERE seen_ms <= $1 OR created_ms <= $2")
            .bind(used_since)
            .bind(made_since)
            .execute(&mut *write.tx)
            .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE user_id = $1 AND digest NOT IN \
             (SELECT digest FROM sessions WHERE user_id = $1 ORDER BY seen_ms DESC, digest LIMIT $2)",
        )
        .bind(i64::from(user.id.0))
        .bind(SESSIONS_MAX - 1)
        .execute(&mut *write.tx)
        .await?;
        let made = sqlx::query(
            "INSERT INTO sessions (digest, user_id, created_ms, seen_ms) \
             SELECT $1, u.id, $2, $2 FROM users u WHERE u.id = $3 AND u.suspended = 0 AND u.password = $4 \
             RETURNING user_id",
        )
        .bind(digest.to_hex())
        .bind(write.at_ms)
        .bind(i64::from(user.id.0))
        .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
        .fetch_optional(&mut *write.tx)
        .await?;
        made.ok_or(StoreError::NotFound)?;
        sqlx::query("UPDATE users SET seen_ms = $1 WHERE id = $2")
            .bind(write.at_ms)
            .bind(i64::from(user.id.0))
            .execute(&mut *write.tx)
            .await?;
        write.audit(user.account, "session.create", subject(user.id), None, None).await?;
        write.commit().await
    }

    /// Writes down that somebody tried to sign in as this user with a wrong password, or while suspended.
    pub async fn audit_failed_sign_in(&self, user: &User, by: &By) -> Result<(), StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        write.audit(user.account, "session.refuse", subject(user.id), None, None).await?;
        write.commit().await
    }

    /// Whose session this is, if it is one. Notes, now and then, that it is in use.
    pub async fn session(
        &self,
        digest: &TokenDigest,
        limits: SessionLimits,
    ) -> Result<Option<SignedInUser>, StoreError> {
        let now_ms = self.0.clock.unix_ms();
        let (used_since, made_since) = since(i64::try_from(now_ms).unwrap_or(i64::MAX), limits);
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {USER_COLUMNS}, a.name AS account_name, a.parent, s.seen_ms AS session_seen_ms FROM sessions s \
             JOIN users u ON u.id = s.user_id JOIN accounts a ON a.id = u.account \
             WHERE s.digest = $1 AND s.seen_ms > $2 AND s.created_ms > $3 AND u.suspended = 0"
        )))
        .bind(digest.to_hex())
        .bind(used_since)
        .bind(made_since)
        .fetch_optional(&self.0.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let signed_in = SignedInUser {
            user: user_of(&row)?,
            account_name: row.try_get("account_name")?,
            main: row.try_get::<Option<i64>, _>("parent")?.is_none(),
        };
        if now_ms >= number::<u64>(&row, "session_seen_ms")?.saturating_add(SEEN_EVERY_MS) {
            // It will be noted next time.
            let _ = self.seen(digest, signed_in.user.id, now_ms).await;
        }
        Ok(Some(signed_in))
    }

    async fn seen(&self, digest: &TokenDigest, user: UserId, now_ms: u64) -> Result<(), StoreError> {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let mut tx = self.0.counting().await?;
        sqlx::query("UPDATE sessions SET seen_ms = $1 WHERE digest = $2 AND seen_ms < $1")
            .bind(now_ms)
            .bind(digest.to_hex())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE users SET seen_ms = $1 WHERE id = $2")
            .bind(now_ms)
            .bind(i64::from(user.0))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Ends a session.
    pub async fn end_session(&self, user: &User, digest: &TokenDigest, by: &By) -> Result<(), StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        sqlx::query("DELETE FROM sessions WHERE digest = $1")
            .bind(digest.to_hex())
            .execute(&mut *write.tx)
            .await?;
        write.change_sharing();
        write.audit(user.account, "session.delete", subject(user.id), None, None).await?;
        write.commit().await
    }

    /// Gives a user another password, if it still has the one of `user`; all sessions but the one of `kept` end.
    pub async fn change_password(
        &self,
        user: &User,
        password: &PasswordHash,
        kept: &TokenDigest,
        by: &By,
    ) -> Result<(), StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND digest <> $2")
            .bind(i64::from(user.id.0))
            .bind(kept.to_hex())
            .execute(&mut *write.tx)
            .await?;
        write.change_sharing();
        let changed =
            sqlx::query("UPDATE users SET password = $1 WHERE id = $2 AND password = $3 RETURNING id")
                .bind(&password.0)
                .bind(i64::from(user.id.0))
                .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
                .fetch_optional(&mut *write.tx)
                .await?;
        changed.ok_or(Refusal::PasswordChanged)?;
        void_invitation(&mut write, user.id).await?;
        write.audit(user.account, "user.password", subject(user.id), None, None).await?;
        write.commit().await
    }
}

/// What a living session was used, and made, after.
fn since(now_ms: i64, limits: SessionLimits) -> (i64, i64) {
    let back = |ms: u64| now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX));
    (back(limits.idle_ms), back(limits.age_ms_max))
}
