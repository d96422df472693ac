//! Rows of shipping tokens: read, written, counted, and what of them goes into the audit trail and the directory.

use super::super::accounts::subject as account_subject;
use super::super::rules::{Name, Refusal, TokenCounts};
use super::super::write::{Counter, Write};
use super::super::{Inner, StoreError, number, number_or_none};
use super::{NewToken, Retirement, Token};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::directory::Change;
use crate::domain::plan::Plan;
use crate::domain::terms::Terms;
use crate::domain::token::{ShippingToken, TokenDigest, TokenValue};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// What [`token_of`] reads. By name, here and in every other query: one that asks for all columns fails on PostgreSQL from
/// when a replica of a later version has added one.
pub(in crate::store) const TOKEN_COLUMNS: &str = "id, account, name, digest, ciphertext, enabled, created_ms, created_by, \
     updated_ms, updated_by, expires_ms, scope_json, would_refuse, retiring_since_ms, successor, quiet_for_ms";

pub(super) fn by_id() -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {TOKEN_COLUMNS} FROM shipping_tokens WHERE account = $1 AND id = $2"))
}

/// What stands in the place of the ciphertext of a token that is known by its digest only.
const UNKNOWN: &str = "";

/// Writes a new token, its audit entry and its place in the directory. The caller has asked the rules.
pub(in crate::store) async fn insert_token(
    inner: &Inner,
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    new: NewToken<'_>,
) -> Result<Token, StoreError> {
    refuse_taken_value(write, &new.value).await?;
    let id = write.draw(Counter::Token).await?;
    let token = Token {
        id: TokenId(u32::try_from(id).map_err(|_| StoreError::Damaged("token_next"))?),
        name: name.as_str().to_owned(),
        value: new.value,
        enabled: new.enabled,
        terms: new.terms,
        retirement: None,
        created_ms: write.at_ms.unsigned_abs(),
        created_by: write.actor().to_owned(),
        updated_ms: write.at_ms.unsigned_abs(),
        updated_by: write.actor().to_owned(),
    };
    let owner = owner(account, token.id);
    let sealed = token.value.plaintext().map(|secret| inner.cipher.seal(&owner, secret.expose()));
    sqlx::query(
        "INSERT INTO shipping_tokens (id, account, name, digest, ciphertext, enabled, created_ms, created_by, \
         updated_ms, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(id)
    .bind(i64::from(account.0))
    .bind(&token.name)
    .bind(token.value.digest().to_hex())
    .bind(sealed.as_deref().unwrap_or(UNKNOWN))
    .bind(i64::from(token.enabled))
    .bind(write.at_ms)
    .bind(&token.created_by)
    .bind(write.at_ms)
    .bind(&token.updated_by)
    .execute(&mut *write.tx)
    .await?;
    if token.terms != Terms::default() {
        save(write, &token).await?;
    }
    write.audit(account, "shipping-token.create", subject(token.id), None, Some(audited(&token))).await?;
    if token.enabled {
        write.change(directory_change(account, &token));
    }
    Ok(token)
}

/// Writes all of a token that can change.
pub(super) async fn save(write: &mut Write<'_>, token: &Token) -> Result<(), StoreError> {
    let (terms, retirement) = (&token.terms, token.retirement);
    let instant = |unix_ms: u64| i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let scope = match terms.scope.is_any() {
        true => None,
        false => Some(serde_json::to_string(&terms.scope).map_err(|_| StoreError::Damaged("scope_json"))?),
    };
    sqlx::query(
        "UPDATE shipping_tokens SET name = $1, enabled = $2, updated_ms = $3, updated_by = $4, expires_ms = $5, \
         scope_json = $6, would_refuse = $7, retiring_since_ms = $8, successor = $9, quiet_for_ms = $10 WHERE id = $11",
    )
    .bind(&token.name)
    .bind(i64::from(token.enabled))
    .bind(instant(token.updated_ms))
    .bind(&token.updated_by)
    .bind(terms.expires_ms.map(instant))
    .bind(scope)
    .bind(i64::from(terms.would_refuse))
    .bind(retirement.map(|retirement| instant(retirement.since_ms)))
    .bind(retirement.map(|retirement| i64::from(retirement.successor.0)))
    .bind(retirement.and_then(|retirement| retirement.quiet_for_ms).map(instant))
    .bind(i64::from(token.id.0))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

pub(super) async fn find(
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

pub(super) async fn is_taken(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    except: Option<TokenId>,
) -> Result<bool, StoreError> {
    let taken = sqlx::query("SELECT id FROM shipping_tokens WHERE account = $1 AND name = $2 AND id <> $3")
        .bind(i64::from(account.0))
        .bind(name.as_str())
        .bind(except.map_or(0, |id| i64::from(id.0)))
        .fetch_optional(&mut *write.tx)
        .await?;
    Ok(taken.is_some())
}

/// A value is one token's, in whatever account; and what manages or reads never ships.
async fn refuse_taken_value(write: &mut Write<'_>, value: &TokenValue) -> Result<(), StoreError> {
    let digest = value.digest().to_hex();
    for sql in [
        "SELECT digest FROM shipping_tokens WHERE digest = $1",
        "SELECT digest FROM api_tokens WHERE digest = $1",
        "SELECT digest FROM shared_tokens WHERE digest = $1",
    ] {
        if sqlx::query(sql).bind(&digest).fetch_optional(&mut *write.tx).await?.is_some() {
            return Err(Refusal::TokenValueTaken.into());
        }
    }
    Ok(())
}

/// When the default token is no longer an enabled one that lasts, the oldest such takes its place.
pub(super) async fn succeed_default(write: &mut Write<'_>, account: AccountId) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT a.default_token, MIN(t.id) AS oldest, \
         MAX(CASE WHEN t.id = a.default_token THEN 1 ELSE 0 END) AS stays \
         FROM accounts a JOIN shipping_tokens t ON t.account = a.id AND t.enabled = 1 AND t.expires_ms IS NULL \
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
pub(in crate::store) async fn set_default(
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
    let (was, is) = (before.map(value), Some(value(token)));
    write.audit(account, "account.default-token", account_subject(account), was, is).await
}

/// The number of the account's default token.
pub(super) async fn default_token(
    write: &mut Write<'_>,
    account: AccountId,
) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query("SELECT default_token FROM accounts WHERE id = $1")
        .bind(i64::from(account.0))
        .fetch_one(&mut *write.tx)
        .await?;
    Ok(row.try_get("default_token")?)
}

pub(super) async fn counts(
    connection: &mut AnyConnection,
    account: AccountId,
) -> Result<TokenCounts, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS total, \
         COUNT(CASE WHEN enabled = 1 AND retiring_since_ms IS NULL THEN 1 END) AS enabled, \
         COUNT(CASE WHEN enabled = 1 AND expires_ms IS NULL THEN 1 END) AS lasting, \
         COUNT(CASE WHEN enabled = 1 AND retiring_since_ms IS NOT NULL THEN 1 END) AS retiring \
         FROM shipping_tokens WHERE account = $1",
    )
    .bind(i64::from(account.0))
    .fetch_one(&mut *connection)
    .await?;
    Ok(TokenCounts {
        total: number(&row, "total")?,
        enabled: number(&row, "enabled")?,
        lasting: number(&row, "lasting")?,
        retiring: number(&row, "retiring")?,
        enabled_max: plan_of(connection, account).await?.enabled_tokens_max(),
    })
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

pub(in crate::store) fn token_of(inner: &Inner, row: &AnyRow) -> Result<Token, StoreError> {
    let id = TokenId(number(row, "id")?);
    Ok(Token {
        id,
        name: row.try_get("name")?,
        value: value_of(inner, &owner(AccountId(number(row, "account")?), id), row)?,
        enabled: row.try_get::<i64, _>("enabled")? == 1,
        terms: terms_of(row)?,
        retirement: retirement_of(row)?,
        created_ms: number(row, "created_ms")?,
        created_by: row.try_get("created_by")?,
        updated_ms: number(row, "updated_ms")?,
        updated_by: row.try_get("updated_by")?,
    })
}

fn value_of(inner: &Inner, owner: &str, row: &AnyRow) -> Result<TokenValue, StoreError> {
    let digest = TokenDigest::from_hex(row.try_get("digest")?).ok_or(StoreError::Damaged("digest"))?;
    let sealed: &str = row.try_get("ciphertext")?;
    if sealed == UNKNOWN {
        return Ok(TokenValue::Digest(digest));
    }
    let secret = inner.cipher.open(owner, sealed).map_err(|_| StoreError::Damaged("ciphertext"))?;
    let secret = ShippingToken::parse(&secret).map_err(|_| StoreError::Damaged("ciphertext"))?;
    if digest != secret.digest() {
        return Err(StoreError::Damaged("digest"));
    }
    Ok(TokenValue::Plaintext(secret))
}

/// Of a row with the columns `expires_ms`, `scope_json` and `would_refuse`.
pub(in crate::store) fn terms_of(row: &AnyRow) -> Result<Terms, StoreError> {
    let scope = match row.try_get::<Option<&str>, _>("scope_json")? {
        None => Default::default(),
        Some(json) => serde_json::from_str(json).map_err(|_| StoreError::Damaged("scope_json"))?,
    };
    let would_refuse = row.try_get::<i64, _>("would_refuse")? == 1;
    Ok(Terms { expires_ms: number_or_none(row, "expires_ms")?, scope, would_refuse })
}

fn retirement_of(row: &AnyRow) -> Result<Option<Retirement>, StoreError> {
    let Some(since_ms) = number_or_none(row, "retiring_since_ms")? else { return Ok(None) };
    let successor = TokenId(number(row, "successor")?);
    Ok(Some(Retirement { since_ms, successor, quiet_for_ms: number_or_none(row, "quiet_for_ms")? }))
}

/// What a sealed secret belongs to.
fn owner(account: AccountId, token: TokenId) -> String {
    format!("shipping-token:{account}:{}", token.0)
}

pub(super) fn subject(token: TokenId) -> String {
    format!("shipping-token:{}", token.0)
}

/// What the audit trail shows of a token: of its terms those that it has.
pub(super) fn audited(token: &Token) -> Value {
    let mut shown = json!({ "name": token.name, "enabled": token.enabled });
    let seconds = |unix_ms: u64| unix_ms as f64 / 1_000.0;
    let Terms { expires_ms, scope, would_refuse } = &token.terms;
    if let Some(expires_ms) = expires_ms {
        shown["expiresAt"] = json!(seconds(*expires_ms));
    }
    if !scope.is_any() {
        shown["scope"] = json!(scope);
    }
    if *would_refuse {
        shown["wouldRefuse"] = json!(true);
    }
    if let Some(retirement) = token.retirement {
        shown["successorId"] = json!(retirement.successor);
        if let Some(quiet_for_ms) = retirement.quiet_for_ms {
            shown["quietFor"] = json!(seconds(quiet_for_ms));
        }
    }
    shown
}

pub(super) fn directory_change(account: AccountId, token: &Token) -> Change {
    let digest = token.value.digest();
    match token.enabled {
        true => Change::Token { digest, token: token.id, account, terms: token.terms.clone().shared() },
        false => Change::Revoke { digest },
    }
}
