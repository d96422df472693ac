//! API tokens: what admins' clients sign in with. Only digests are kept, so none can be shown again.

use super::rules::{Name, Refusal};
use super::write::{Counter, Write};
use super::{By, Store, StoreError, number};
use crate::domain::account::AccountId;
use crate::domain::token::{ApiToken, TokenDigest};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

/// An API token's number: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiTokenId(pub u32);

/// What is known of an API token: all but its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedApiToken {
    pub id: ApiTokenId,
    /// Unique in its account.
    pub name: String,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// Whom an API token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiIdentity {
    pub account: AccountId,
    /// Whether that is a main account.
    pub main: bool,
    pub token: ApiTokenId,
    pub token_name: String,
}

impl Store {
    /// Whom this API token belongs to, if anybody.
    pub async fn authenticate(&self, digest: &TokenDigest) -> Result<Option<ApiIdentity>, StoreError> {
        let row = sqlx::query(
            "SELECT t.id, t.account, t.name, a.parent FROM api_tokens t JOIN accounts a ON a.id = t.account \
             WHERE t.digest = $1",
        )
        .bind(digest.to_hex())
        .fetch_optional(&self.0.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ApiIdentity {
            account: AccountId(number(&row, "account")?),
            main: row.try_get::<Option<i64>, _>("parent")?.is_none(),
            token: ApiTokenId(number(&row, "id")?),
            token_name: row.try_get("name")?,
        }))
    }

    /// The account's API tokens, oldest first.
    pub async fn api_tokens(&self, account: AccountId) -> Result<Vec<IssuedApiToken>, StoreError> {
        sqlx::query("SELECT id, name, created_ms FROM api_tokens WHERE account = $1 ORDER BY id")
            .bind(i64::from(account.0))
            .fetch_all(&self.0.readers)
            .await?
            .iter()
            .map(issued)
            .collect()
    }

    /// Makes `secret` an API token of the account.
    pub async fn create_api_token(
        &self,
        account: AccountId,
        name: &str,
        secret: &ApiToken,
        by: &By,
    ) -> Result<IssuedApiToken, StoreError> {
        let name = Name::parse(name)?;
        let mut write = Write::begin(&self.0, by).await?;
        if named(&mut write, account, &name).await?.is_some() {
            return Err(Refusal::ApiTokenNameTaken.into());
        }
        let token = insert_api_token(&mut write, account, &name, secret).await?;
        write.commit().await?;
        Ok(token)
    }

    /// Deletes an API token, which opens nothing any more, and returns what it was. An account keeps at least one.
    pub async fn delete_api_token(
        &self,
        account: AccountId,
        id: ApiTokenId,
        by: &By,
    ) -> Result<IssuedApiToken, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let rows = sqlx::query("SELECT id, name, created_ms FROM api_tokens WHERE account = $1")
            .bind(i64::from(account.0))
            .fetch_all(&mut *write.tx)
            .await?;
        let tokens: Vec<_> = rows.iter().map(issued).collect::<Result<_, _>>()?;
        let token = tokens.iter().find(|token| token.id == id).ok_or(StoreError::NotFound)?.clone();
        if tokens.len() == 1 {
            return Err(Refusal::LastApiToken.into());
        }
        remove(&mut write, account, &token).await?;
        write.commit().await?;
        Ok(token)
    }

    /// Makes `secret` the main account's API token of this name, in the place of the one that has the name, if any: the
    /// way back for an operator whose admins lost theirs. Not found: the store has no account yet.
    pub async fn reset_api_token(
        &self,
        name: &str,
        secret: &ApiToken,
        by: &By,
    ) -> Result<IssuedApiToken, StoreError> {
        let name = Name::parse(name)?;
        let mut write = Write::begin(&self.0, by).await?;
        let account = main_account(&mut write).await?;
        if let Some(token) = named(&mut write, account, &name).await? {
            remove(&mut write, account, &token).await?;
        }
        let token = insert_api_token(&mut write, account, &name, secret).await?;
        write.commit().await?;
        Ok(token)
    }
}

/// The store's main account.
pub(super) async fn main_account(write: &mut Write<'_>) -> Result<AccountId, StoreError> {
    let row = sqlx::query("SELECT id FROM accounts WHERE parent IS NULL ORDER BY id LIMIT 1")
        .fetch_optional(&mut *write.tx)
        .await?;
    Ok(AccountId(number(&row.ok_or(StoreError::NotFound)?, "id")?))
}

/// Writes a new API token and its audit entry. The caller has seen that the name is free.
pub(super) async fn insert_api_token(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    secret: &ApiToken,
) -> Result<IssuedApiToken, StoreError> {
    let id = write.draw(Counter::ApiToken).await?;
    let token = IssuedApiToken {
        id: ApiTokenId(u32::try_from(id).map_err(|_| StoreError::Damaged("api_token_next"))?),
        name: name.as_str().to_owned(),
        created_ms: write.at_ms.unsigned_abs(),
    };
    sqlx::query("INSERT INTO api_tokens (id, digest, account, name, created_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(secret.digest().to_hex())
        .bind(i64::from(account.0))
        .bind(&token.name)
        .bind(write.at_ms)
        .execute(&mut *write.tx)
        .await?;
    write.audit(account, "api-token.create", subject(&token), None, Some(audited(&token))).await?;
    Ok(token)
}

async fn remove(write: &mut Write<'_>, account: AccountId, token: &IssuedApiToken) -> Result<(), StoreError> {
    write.change_sharing();
    sqlx::query("DELETE FROM api_tokens WHERE id = $1")
        .bind(i64::from(token.id.0))
        .execute(&mut *write.tx)
        .await?;
    write.audit(account, "api-token.delete", subject(token), Some(audited(token)), None).await
}

async fn named(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
) -> Result<Option<IssuedApiToken>, StoreError> {
    sqlx::query("SELECT id, name, created_ms FROM api_tokens WHERE account = $1 AND name = $2")
        .bind(i64::from(account.0))
        .bind(name.as_str())
        .fetch_optional(&mut *write.tx)
        .await?
        .as_ref()
        .map(issued)
        .transpose()
}

fn issued(row: &AnyRow) -> Result<IssuedApiToken, StoreError> {
    Ok(IssuedApiToken {
        id: ApiTokenId(number(row, "id")?),
        name: row.try_get("name")?,
        created_ms: number(row, "created_ms")?,
    })
}

fn subject(token: &IssuedApiToken) -> String {
    format!("api-token:{}", token.id.0)
}

fn audited(token: &IssuedApiToken) -> Value {
    json!({ "name": token.name })
}
