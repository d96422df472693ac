//! Rows of shared tokens: read, written, and what of them goes into the audit trail.

use super::super::rules::Name;
use super::super::write::Write;
use super::super::{Inner, StoreError, number, number_or_none};
use super::{Share, ShareId};
use crate::domain::account::AccountId;
use crate::domain::filter::{FilterId, Operator};
use crate::domain::token::SharedToken;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

/// Writes a new token with its filters.
pub(super) async fn insert(
    inner: &Inner,
    write: &mut Write<'_>,
    account: AccountId,
    share: &Share,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO shared_tokens (id, account, name, digest, ciphertext, filtered, operator, expires_ms, query_bar, \
         created_ms, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(i64::from(share.id.0))
    .bind(i64::from(account.0))
    .bind(&share.name)
    .bind(share.secret.digest().to_hex())
    .bind(inner.cipher.seal(&owner(account, share.id), share.secret.expose()))
    .bind(i64::from(share.filters.is_some()))
    .bind(share.operator.name())
    .bind(share.expires_ms.map(instant))
    .bind(i64::from(share.query_bar))
    .bind(write.at_ms)
    .bind(write.actor())
    .execute(&mut *write.tx)
    .await?;
    insert_filters(write, share).await
}

/// Writes all of a token that can change.
pub(super) async fn save(write: &mut Write<'_>, before: &Share, after: &Share) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE shared_tokens SET name = $1, filtered = $2, operator = $3, expires_ms = $4, query_bar = $5 \
         WHERE id = $6",
    )
    .bind(&after.name)
    .bind(i64::from(after.filters.is_some()))
    .bind(after.operator.name())
    .bind(after.expires_ms.map(instant))
    .bind(i64::from(after.query_bar))
    .bind(i64::from(after.id.0))
    .execute(&mut *write.tx)
    .await?;
    if after.filters == before.filters {
        return Ok(());
    }
    sqlx::query("DELETE FROM shared_token_filters WHERE token = $1")
        .bind(i64::from(after.id.0))
        .execute(&mut *write.tx)
        .await?;
    insert_filters(write, after).await
}

async fn insert_filters(write: &mut Write<'_>, share: &Share) -> Result<(), StoreError> {
    for (place, filter) in (0_i64..).zip(share.filters.iter().flatten()) {
        sqlx::query("INSERT INTO shared_token_filters (token, filter, place) VALUES ($1, $2, $3)")
            .bind(i64::from(share.id.0))
            .bind(i64::from(filter.0))
            .bind(place)
            .execute(&mut *write.tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn find(
    inner: &Inner,
    connection: &mut AnyConnection,
    account: AccountId,
    id: ShareId,
) -> Result<Share, StoreError> {
    shares(inner, connection, account, Some(id)).await?.pop().ok_or(StoreError::NotFound)
}

/// The account's tokens with their filters, oldest first, or `only` one of them.
pub(super) async fn shares(
    inner: &Inner,
    connection: &mut AnyConnection,
    account: AccountId,
    only: Option<ShareId>,
) -> Result<Vec<Share>, StoreError> {
    let (least, most) = only.map_or((0, i64::MAX), |id| (i64::from(id.0), i64::from(id.0)));
    let rows = sqlx::query(
        "SELECT l.token, l.filter FROM shared_token_filters l JOIN shared_tokens t ON t.id = l.token \
         WHERE t.account = $1 AND t.id BETWEEN $2 AND $3 ORDER BY l.token, l.place",
    )
    .bind(i64::from(account.0))
    .bind(least)
    .bind(most)
    .fetch_all(&mut *connection)
    .await?;
    let mut filters: BTreeMap<u32, Vec<FilterId>> = BTreeMap::new();
    for row in &rows {
        filters.entry(number(row, "token")?).or_default().push(FilterId(number(row, "filter")?));
    }
    let rows = sqlx::query(
        "SELECT id, name, digest, ciphertext, filtered, operator, expires_ms, query_bar, last_used_ms, views \
         FROM shared_tokens WHERE account = $1 AND id BETWEEN $2 AND $3 ORDER BY id",
    )
    .bind(i64::from(account.0))
    .bind(least)
    .bind(most)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| share_of(inner, account, row, &mut filters)).collect()
}

fn share_of(
    inner: &Inner,
    account: AccountId,
    row: &AnyRow,
    filters: &mut BTreeMap<u32, Vec<FilterId>>,
) -> Result<Share, StoreError> {
    let id = ShareId(number(row, "id")?);
    let filtered = row.try_get::<i64, _>("filtered")? != 0;
    let share = Share {
        id,
        name: row.try_get("name")?,
        secret: secret_of(inner, &owner(account, id), row)?,
        filters: filtered.then(|| filters.remove(&id.0).unwrap_or_default()),
        operator: operator_of(row)?,
        expires_ms: number_or_none(row, "expires_ms")?,
        query_bar: row.try_get::<i64, _>("query_bar")? == 1,
        last_used_ms: number_or_none(row, "last_used_ms")?,
        views: number(row, "views")?,
    };
    Ok(inner.uses.added_to(share))
}

fn secret_of(inner: &Inner, owner: &str, row: &AnyRow) -> Result<SharedToken, StoreError> {
    let sealed: &str = row.try_get("ciphertext")?;
    let secret = inner.cipher.open(owner, sealed).map_err(|_| StoreError::Damaged("ciphertext"))?;
    let secret = SharedToken::parse(&secret).map_err(|_| StoreError::Damaged("ciphertext"))?;
    match row.try_get::<&str, _>("digest")? == secret.digest().to_hex() {
        true => Ok(secret),
        false => Err(StoreError::Damaged("digest")),
    }
}

pub(super) fn operator_of(row: &AnyRow) -> Result<Operator, StoreError> {
    Operator::from_name(row.try_get("operator")?).ok_or(StoreError::Damaged("operator"))
}

pub(super) async fn is_taken(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    except: Option<ShareId>,
) -> Result<bool, StoreError> {
    let taken = sqlx::query("SELECT id FROM shared_tokens WHERE account = $1 AND name = $2 AND id <> $3")
        .bind(i64::from(account.0))
        .bind(name.as_str())
        .bind(except.map_or(0, |id| i64::from(id.0)))
        .fetch_optional(&mut *write.tx)
        .await?;
    Ok(taken.is_some())
}

fn instant(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

/// What a sealed secret belongs to.
fn owner(account: AccountId, share: ShareId) -> String {
    format!("shared-token:{account}:{}", share.0)
}

pub(super) fn subject(share: ShareId) -> String {
    format!("shared-token:{}", share.0)
}

/// What the audit trail shows of a token.
pub(super) fn audited(share: &Share) -> Value {
    let filters = share.filters.as_ref().map(|filters| filters.iter().map(|id| id.0).collect::<Vec<_>>());
    let mut shown =
        json!({ "name": share.name, "filters": filters, "filtersOperator": share.operator.name() });
    if let Some(expires_ms) = share.expires_ms {
        shown["expirationDate"] = json!(expires_ms as f64 / 1_000.0);
    }
    if !share.query_bar {
        shown["queryBar"] = json!(false);
    }
    if share.is_suspended() {
        shown["suspended"] = json!(true);
    }
    shown
}
