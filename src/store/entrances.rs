//! How a user comes to a password: by the set-up link, which makes an admin of the main account, or by an invitation. Each
//! works once, whoever comes at the same time, and is kept as a digest.

use super::api_tokens::main_account;
use super::rules::{Email, Refusal};
use super::users::{
    PasswordHash, Role, USER_COLUMNS, User, audited, by_email, end_sessions, insert_user, save, subject,
    user_of, void_invitation,
};
use super::write::Write;
use super::{By, Store, StoreError, number_or_none};
use crate::domain::token::TokenDigest;
use sqlx::{AssertSqlSafe, Row};

impl Store {
    /// Makes `digest` that of the set-up link, in the place of the one before. Without an end it is over when the main account has an
    /// active admin.
    pub async fn offer_setup(
        &self,
        digest: &TokenDigest,
        expires_ms: Option<u64>,
        by: &By,
    ) -> Result<(), StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let main = main_account(&mut write).await?;
        sqlx::query("UPDATE store SET setup_digest = $1, setup_expires_ms = $2")
            .bind(digest.to_hex())
            .bind(expires_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)))
            .execute(&mut *write.tx)
            .await?;
        write.audit(main, "setup-link.create", format!("account:{main}"), None, None).await?;
        write.commit().await
    }

    /// Whether the set-up link of this digest would work now.
    pub async fn setup_is_open(&self, digest: &TokenDigest) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT setup_digest, setup_expires_ms FROM store")
            .fetch_one(&self.0.readers)
            .await?;
        let ours = row.try_get::<Option<String>, _>("setup_digest")? == Some(digest.to_hex());
        let end: Option<u64> = number_or_none(&row, "setup_expires_ms")?;
        Ok(ours && end.is_none_or(|end| self.0.clock.unix_ms() < end))
    }

    /// Makes an active admin of the main account, or makes one of a user that it has. The link is used up.
    pub async fn set_up(
        &self,
        digest: &TokenDigest,
        email: &str,
        password: PasswordHash,
        by: &By,
    ) -> Result<User, StoreError> {
        let email = Email::parse(email)?;
        let mut write = Write::begin(&self.0, by).await?;
        let used = sqlx::query(
            "UPDATE store SET setup_digest = NULL, setup_expires_ms = NULL \
             WHERE setup_digest = $1 AND (setup_expires_ms IS NULL OR setup_expires_ms > $2) RETURNING single",
        )
        .bind(digest.to_hex())
        .bind(write.at_ms)
        .fetch_optional(&mut *write.tx)
        .await?;
        used.ok_or(Refusal::LinkOver)?;
        let main = main_account(&mut write).await?;
        let before = by_email(&mut write, &email).await?;
        let after = match &before {
            None => insert_user(&mut write, main, &email, Role::Admin, Some(password)).await?,
            Some(user) if user.account != main => return Err(Refusal::EmailTaken.into()),
            Some(user) => {
                let user =
                    User { role: Role::Admin, suspended: false, password: Some(password), ..user.clone() };
                end_sessions(&mut write, user.id).await?;
                void_invitation(&mut write, user.id).await?;
                user
            }
        };
        save(&mut write, &after).await?;
        let before = before.as_ref().map(audited);
        write.audit(main, "user.set-up", subject(after.id), before, Some(audited(&after))).await?;
        write.commit().await?;
        Ok(after)
    }

    /// Whom the invitation of this digest is for, if it would work now.
    pub async fn invited(&self, digest: &TokenDigest) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(invitee()))
            .bind(digest.to_hex())
            .bind(i64::try_from(self.0.clock.unix_ms()).unwrap_or(i64::MAX))
            .fetch_optional(&self.0.readers)
            .await?;
        row.as_ref().map(user_of).transpose()
    }

    /// Gives who was invited a password; sessions from before end. The invitation is used up.
    pub async fn join(
        &self,
        digest: &TokenDigest,
        password: PasswordHash,
        by: &By,
    ) -> Result<User, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let row = sqlx::query(AssertSqlSafe(invitee()))
            .bind(digest.to_hex())
            .bind(write.at_ms)
            .fetch_optional(&mut *write.tx)
            .await?;
        let before = user_of(&row.ok_or(Refusal::LinkOver)?)?;
        let after = User { password: Some(password), ..before.clone() };
        end_sessions(&mut write, after.id).await?;
        void_invitation(&mut write, after.id).await?;
        save(&mut write, &after).await?;
        write
            .audit(
                after.account,
                "user.join",
                subject(after.id),
                Some(audited(&before)),
                Some(audited(&after)),
            )
            .await?;
        write.commit().await?;
        Ok(after)
    }
}

/// A suspended user's invitation rests.
fn invitee() -> String {
    format!(
        "SELECT {USER_COLUMNS} FROM invitations i JOIN users u ON u.id = i.user_id \
         WHERE i.digest = $1 AND i.expires_ms > $2 AND u.suspended = 0"
    )
}
