//! The audit trail, for reading. Entries are written by the transactions they describe, and never changed.

use super::{Store, StoreError, number, number_or_none};
use crate::domain::account::AccountId;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

/// One change: who, what, when, from where.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Numbers rise with time; they may leave gaps.
    pub id: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The account that was changed.
    pub account: AccountId,
    pub actor: String,
    pub actor_account: Option<AccountId>,
    /// Such as `shipping-token.create`.
    pub action: String,
    /// Such as `shipping-token:1000000`.
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub source: Option<String>,
    pub request_id: Option<String>,
}

impl Store {
    /// The newest `limit` entries below `before` of an account and its sub-accounts, newest first.
    pub async fn audit_trail(
        &self,
        account: AccountId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        sqlx::query(
            "SELECT id, at_ms, account, actor, actor_account, action, subject, before_json, after_json, source, \
             request_id FROM audit WHERE id < $1 AND (account = $2 OR account IN \
             (SELECT id FROM accounts WHERE parent = $2)) ORDER BY id DESC LIMIT $3",
        )
        .bind(before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX)))
        .bind(i64::from(account.0))
        .bind(i64::from(limit))
        .fetch_all(&self.0.readers)
        .await?
        .iter()
        .map(entry_of)
        .collect()
    }
}

fn entry_of(row: &AnyRow) -> Result<AuditEntry, StoreError> {
    let json = |column: &'static str| -> Result<Option<Value>, StoreError> {
        row.try_get::<Option<&str>, _>(column)?
            .map(|text| serde_json::from_str(text).map_err(|_| StoreError::Damaged(column)))
            .transpose()
    };
    Ok(AuditEntry {
        id: number(row, "id")?,
        at_ms: number(row, "at_ms")?,
        account: AccountId(number(row, "account")?),
        actor: row.try_get("actor")?,
        actor_account: number_or_none(row, "actor_account")?.map(AccountId),
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        before: json("before_json")?,
        after: json("after_json")?,
        source: row.try_get("source")?,
        request_id: row.try_get("request_id")?,
    })
}
