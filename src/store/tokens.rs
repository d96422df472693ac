//! Log shipping tokens of one account: create, find, rename, enable, disable, delete.

use super::rules::{Name, Refusal, TokenCounts};
use super::usage::remember;
use super::write::{Counter, Write};
use super::{By, Inner, Store, StoreError, number};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::directory::Change;
use crate::domain::plan::Plan;
use crate::domain::token::{ShippingToken, TokenDigest};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// A log shipping token as its account's admins see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub secret: ShippingToken,
    pub enabled: bool,
    /// Unix milliseconds.
    pub created_ms: u64,
    pub created_by: String,
    /// Unix milliseconds.
    pub updated_ms: u64,
    pub updated_by: String,
}

/// How many tokens may be enabled at a time, and how many are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    pub enabled_max: u32,
    pub enabled: u32,
}

/// By what found tokens are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    CreatedAt,
    Name,
}

/// Which tokens to find, and which stretch of them.
#[derive(Debug, Clone, Default)]
pub struct TokenSearch {
    pub enabled: Option<bool>,
    /// The field, and whether it descends; the first decides, the next break ties. None: oldest first.
    pub sort: Vec<(SortField, bool)>,
    pub offset: u64,
    pub limit: u32,
}

/// A stretch of what was found, and how many there are in all.
#[derive(Debug, Clone)]
pub struct FoundTokens {
    pub total: u64,
    pub tokens: Vec<Token>,
}

/// What [`token_of`] reads. By name, here and in every other query: one that asks for all columns fails on PostgreSQL from
/// when a replica of a later version has added one.
pub(super) const TOKEN_COLUMNS: &str =
    "id, account, name, digest, ciphertext, enabled, created_ms, created_by, updated_ms, updated_by";

fn by_id() -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {TOKEN_COLUMNS} FROM shipping_tokens WHERE account = $1 AND id = $2"))
}

impl Store {
    /// Creates a token whose secret is `secret`.
    pub async fn create_token(
        &self,
        account: AccountId,
        name: &str,
        enabled: bool,
        secret: ShippingToken,
        by: &By,
    ) -> Result<Token, StoreError> {
        let name = Name::parse(name)?;
        let mut write = Write::begin(&self.0, by).await?;
        refuse_taken_name(&mut write, account, &name, None).await?;
        if enabled {
            counts(&mut write.tx, account).await?.may_enable_another()?;
        }
        let token = insert_token(&self.0, &mut write, account, &name, enabled, secret).await?;
        write.commit().await?;
        Ok(token)
    }

    /// The account's token with this number.
    pub async fn token(&self, account: AccountId, id: TokenId) -> Result<Token, StoreError> {
        let row = sqlx::query(by_id())
            .bind(i64::from(account.0))
            .bind(i64::from(id.0))
            .fetch_optional(&self.0.readers)
            .await?;
        token_of(&self.0, &row.ok_or(StoreError::NotFound)?)
    }

    /// Renames, enables or disables a token; `None` leaves as it is.
    pub async fn update_token(
        &self,
        account: AccountId,
        id: TokenId,
        name: Option<&str>,
        enabled: Option<bool>,
        by: &By,
    ) -> Result<Token, StoreError> {
        let name = name.map(Name::parse).transpose()?;
        let mut write = Write::begin(&self.0, by).await?;
        let before = find(&self.0, &mut write, account, id).await?;
        let mut after = before.clone();
        if let Some(name) = name {
            refuse_taken_name(&mut write, account, &name, Some(id)).await?;
            name.as_str().clone_into(&mut after.name);
        }
        after.enabled = enabled.unwrap_or(before.enabled);
        if after == before {
            return Ok(before);
        }
        if after.enabled && !before.enabled {
            counts(&mut write.tx, account).await?.may_enable_another()?;
        } else if before.enabled && !after.enabled {
            counts(&mut write.tx, account).await?.may_disable_one()?;
        }
        after.updated_ms = write.at_ms.unsigned_abs();
        write.actor().clone_into(&mut after.updated_by);
        save(&mut write, &after).await?;
        audit_update(&mut write, account, &before, &after).await?;
        if after.enabled != before.enabled {
            write.change(directory_change(account, &after));
            succeed_default(&mut write, account).await?;
        }
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a token and returns what it was.
    pub async fn delete_token(&self, account: AccountId, id: TokenId, by: &By) -> Result<Token, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let token = find(&self.0, &mut write, account, id).await?;
        counts(&mut write.tx, account).await?.may_delete_one(token.enabled)?;
        sqlx::query("DELETE FROM shipping_tokens WHERE account = $1 AND id = $2")
            .bind(i64::from(account.0))
            .bind(i64::from(id.0))
            .execute(&mut *write.tx)
            .await?;
        remember(&mut write, account, &token).await?;
        write.audit(account, "shipping-token.delete", subject(id), Some(audited(&token)), None).await?;
        if token.enabled {
            write.change(Change::Revoke { digest: token.secret.digest() });
            succeed_default(&mut write, account).await?;
        }
        write.commit().await?;
        Ok(token)
    }

    pub async fn token_limits(&self, account: AccountId) -> Result<TokenLimits, StoreError> {
        let mut tx = self.0.moment().await?;
        let TokenCounts { enabled_max, enabled, .. } = counts(&mut tx, account).await?;
        Ok(TokenLimits { enabled_max, enabled })
    }

    pub async fn search_tokens(
        &self,
        account: AccountId,
        search: &TokenSearch,
    ) -> Result<FoundTokens, StoreError> {
        const WHERE: &str = "FROM shipping_tokens WHERE account = $1 AND enabled BETWEEN $2 AND $3";
        let (least, most) = match search.enabled {
            None => (0, 1),
            Some(enabled) => (i64::from(enabled), i64::from(enabled)),
        };
        let mut tx = self.0.moment().await?;
        let row = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) AS total {WHERE}")))
            .bind(i64::from(account.0))
            .bind(least)
            .bind(most)
            .fetch_one(&mut *tx)
            .await?;
        // Made of constants only; what the client sent is bound.
        let sql =
            format!("SELECT {TOKEN_COLUMNS} {WHERE} ORDER BY {} LIMIT $4 OFFSET $5", order_by(&search.sort));
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(account.0))
            .bind(least)
            .bind(most)
            .bind(i64::from(search.limit))
            .bind(i64::try_from(search.offset).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        Ok(FoundTokens {
            total: number(&row, "total")?,
            tokens: rows.iter().map(|row| token_of(&self.0, row)).collect::<Result<_, _>>()?,
        })
    }
}

/// Numbers are handed out in order, so they break ties between tokens of one millisecond.
fn order_by(sort: &[(SortField, bool)]) -> String {
    let mut terms = Vec::with_capacity(2 * sort.len() + 1);
    for (at, (field, descending)) in sort.iter().enumerate() {
        if sort[..at].iter().any(|(earlier, _)| earlier == field) {
            continue;
        }
        let columns: &[&str] = match field {
            SortField::CreatedAt => &["created_ms", "id"],
            SortField::Name => &["name"],
        };
        let direction = if *descending { " DESC" } else { "" };
        terms.extend(columns.iter().map(|column| format!("{column}{direction}")));
    }
    terms.push("id".to_owned());
    terms.join(", ")
}

/// Writes a new token, its audit entry and its place in the directory. The caller has asked the rules.
pub(super) async fn insert_token(
    inner: &Inner,
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    enabled: bool,
    secret: ShippingToken,
) -> Result<Token, StoreError> {
    let id = write.draw(Counter::Token).await?;
    let token = Token {
        id: TokenId(u32::try_from(id).map_err(|_| StoreError::Damaged("token_next"))?),
        name: name.as_str().to_owned(),
        secret,
        enabled,
        created_ms: write.at_ms.unsigned_abs(),
        created_by: write.actor().to_owned(),
        updated_ms: write.at_ms.unsigned_abs(),
        updated_by: write.actor().to_owned(),
    };
    sqlx::query(
        "INSERT INTO shipping_tokens (id, account, name, digest, ciphertext, enabled, created_ms, created_by, \
         updated_ms, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(i64::from(account.0))
    .bind(&token.name)
    .bind(token.secret.digest().to_hex())
    .bind(inner.cipher.seal(&owner(account, token.id), token.secret.expose()))
    .bind(i64::from(enabled))
    .bind(write.at_ms)
    .bind(&token.created_by)
    .bind(write.at_ms)
    .bind(&token.updated_by)
    .execute(&mut *write.tx)
    .await?;
    write.audit(account, "shipping-token.create", subject(token.id), None, Some(audited(&token))).await?;
    if enabled {
        write.change(directory_change(account, &token));
    }
    Ok(token)
}

async fn save(write: &mut Write<'_>, token: &Token) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE shipping_tokens SET name = $1, enabled = $2, updated_ms = $3, updated_by = $4 WHERE id = $5",
    )
    .bind(&token.name)
    .bind(i64::from(token.enabled))
    .bind(write.at_ms)
    .bind(&token.updated_by)
    .bind(i64::from(token.id.0))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

/// A new name and a new state are two entries, each with what it changed alone.
async fn audit_update(
    write: &mut Write<'_>,
    account: AccountId,
    before: &Token,
    after: &Token,
) -> Result<(), StoreError> {
    let renamed = Token { enabled: before.enabled, ..after.clone() };
    if renamed.name != before.name {
        let (was, is) = (Some(audited(before)), Some(audited(&renamed)));
        write.audit(account, "shipping-token.rename", subject(after.id), was, is).await?;
    }
    if after.enabled != before.enabled {
        let action = if after.enabled { "shipping-token.enable" } else { "shipping-token.disable" };
        let (was, is) = (Some(audited(&renamed)), Some(audited(after)));
        write.audit(account, action, subject(after.id), was, is).await?;
    }
    Ok(())
}

async fn find(
    inner: &Inner,
    write: &mut Write<'_>,
    account: AccountId,
    id: TokenId,
) -> Result<Token, StoreError> {
    let row = sqlx::query(by_id())
        .bind(i64::from(account.0))
        .bind(i64::from(id.0))
        .fetch_optional(&mut *write.tx)
        .await?;
    token_of(inner, &row.ok_or(StoreError::NotFound)?)
}

async fn refuse_taken_name(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    except: Option<TokenId>,
) -> Result<(), StoreError> {
    let taken = sqlx::query("SELECT id FROM shipping_tokens WHERE account = $1 AND name = $2 AND id <> $3")
        .bind(i64::from(account.0))
        .bind(name.as_str())
        .bind(except.map_or(0, |id| i64::from(id.0)))
        .fetch_optional(&mut *write.tx)
        .await?;
    match taken {
        Some(_) => Err(Refusal::TokenNameTaken.into()),
        None => Ok(()),
    }
}

/// When the default token is no longer enabled, the oldest enabled one takes its place.
async fn succeed_default(write: &mut Write<'_>, account: AccountId) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT a.default_token, MIN(t.id) AS oldest, \
         MAX(CASE WHEN t.id = a.default_token THEN 1 ELSE 0 END) AS stays \
         FROM accounts a JOIN shipping_tokens t ON t.account = a.id AND t.enabled = 1 \
         WHERE a.id = $1 GROUP BY a.default_token",
    )
    .bind(i64::from(account.0))
    .fetch_one(&mut *write.tx)
    .await?;
    if row.try_get::<i64, _>("stays")? == 1 {
        return Ok(());
    }
    let before: Option<i64> = row.try_get("default_token")?;
    set_default(write, account, before, row.try_get("oldest")?).await
}

/// Makes `token` the account's default one.
pub(super) async fn set_default(
    write: &mut Write<'_>,
    account: AccountId,
    before: Option<i64>,
    token: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE accounts SET default_token = $1 WHERE id = $2")
        .bind(token)
        .bind(i64::from(account.0))
        .execute(&mut *write.tx)
        .await?;
    let value = |id: i64| json!({ "defaultTokenId": id });
    write
        .audit(
            account,
            "account.default-token",
            format!("account:{account}"),
            before.map(value),
            Some(value(token)),
        )
        .await
}

async fn plan_of(connection: &mut AnyConnection, account: AccountId) -> Result<Plan, StoreError> {
    let row = sqlx::query(
        "SELECT COALESCE(a.plan, p.plan) AS plan FROM accounts a LEFT JOIN accounts p ON p.id = a.parent \
         WHERE a.id = $1",
    )
    .bind(i64::from(account.0))
    .fetch_optional(connection)
    .await?
    .ok_or(StoreError::NotFound)?;
    Plan::from_name(row.try_get("plan")?).ok_or(StoreError::Damaged("plan"))
}

async fn counts(connection: &mut AnyConnection, account: AccountId) -> Result<TokenCounts, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS total, COUNT(CASE WHEN enabled = 1 THEN 1 END) AS enabled FROM shipping_tokens \
         WHERE account = $1",
    )
    .bind(i64::from(account.0))
    .fetch_one(&mut *connection)
    .await?;
    Ok(TokenCounts {
        total: number(&row, "total")?,
        enabled: number(&row, "enabled")?,
        enabled_max: plan_of(connection, account).await?.enabled_tokens_max(),
    })
}

pub(super) fn token_of(inner: &Inner, row: &AnyRow) -> Result<Token, StoreError> {
    let id = TokenId(number(row, "id")?);
    let account = AccountId(number(row, "account")?);
    let secret = inner
        .cipher
        .open(&owner(account, id), row.try_get("ciphertext")?)
        .map_err(|_| StoreError::Damaged("ciphertext"))?;
    let secret = ShippingToken::parse(&secret).map_err(|_| StoreError::Damaged("ciphertext"))?;
    if TokenDigest::from_hex(row.try_get("digest")?) != Some(secret.digest()) {
        return Err(StoreError::Damaged("digest"));
    }
    Ok(Token {
        id,
        name: row.try_get("name")?,
        secret,
        enabled: row.try_get::<i64, _>("enabled")? == 1,
        created_ms: number(row, "created_ms")?,
        created_by: row.try_get("created_by")?,
        updated_ms: number(row, "updated_ms")?,
        updated_by: row.try_get("updated_by")?,
    })
}

/// What a sealed secret belongs to.
fn owner(account: AccountId, token: TokenId) -> String {
    format!("shipping-token:{account}:{}", token.0)
}

fn subject(token: TokenId) -> String {
    format!("shipping-token:{}", token.0)
}

fn audited(token: &Token) -> Value {
    json!({ "name": token.name, "enabled": token.enabled })
}

fn directory_change(account: AccountId, token: &Token) -> Change {
    let digest = token.secret.digest();
    if token.enabled {
        Change::Token { digest, token: token.id, account, terms: None }
    } else {
        Change::Revoke { digest }
    }
}
