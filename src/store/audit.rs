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

/// Which entries are looked for: those that all of these fit. The default fits every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A part of who did it, or of where from, in whatever case.
    pub who: Option<String>,
    /// A part of the action, or of what it was done to, in whatever case.
    pub what: Option<String>,
    /// The number of a token of whatever kind, or a name that it had before or after, in whatever case.
    pub token: Option<String>,
    /// Unix milliseconds; included.
    pub since_ms: u64,
    /// Entries before this one.
    pub before: Option<u64>,
}

impl Store {
    /// The newest `limit` entries of an account and its sub-accounts that fit, newest first.
    pub async fn audit_trail(
        &self,
        account: AccountId,
        wanted: &Wanted,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let part = |text: &Option<String>| like("%", text.as_deref().unwrap_or_default(), "%");
        let token = wanted.token.as_deref();
        // As it stands in the JSON of what was and is.
        let name = serde_json::json!(token.unwrap_or_default()).to_string();
        sqlx::query(
            "SELECT id, at_ms, account, actor, actor_account, action, subject, before_json, after_json, source, \
             request_id FROM audit WHERE id < $1 AND (account = $2 OR account IN \
             (SELECT id FROM accounts WHERE parent = $2)) AND at_ms >= $4 \
             AND (LOWER(actor) LIKE LOWER($5) ESCAPE '!' OR LOWER(COALESCE(source, '')) LIKE LOWER($5) ESCAPE '!') \
             AND (LOWER(action) LIKE LOWER($6) ESCAPE '!' OR LOWER(subject) LIKE LOWER($6) ESCAPE '!') \
             AND (subject LIKE $7 ESCAPE '!' OR (subject LIKE '%-token:%' \
             AND (LOWER(before_json) LIKE LOWER($8) ESCAPE '!' OR LOWER(after_json) LIKE LOWER($8) ESCAPE '!'))) ORDER BY id DESC LIMIT $3",
        )
        .bind(wanted.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX)))
        .bind(i64::from(account.0))
        .bind(i64::from(limit))
        .bind(i64::try_from(wanted.since_ms).unwrap_or(i64::MAX))
        .bind(part(&wanted.who))
        .bind(part(&wanted.what))
        .bind(token.map_or_else(|| "%".to_owned(), |number| like("%-token:", number, "")))
        .bind(like("%\"name\":", &name, "%"))
        .fetch_all(&self.0.readers)
        .await?
        .iter()
        .map(entry_of)
        .collect()
    }
}

/// A pattern of LIKE: `text` as it is, between two patterns.
fn like(before: &str, text: &str, after: &str) -> String {
    let mut pattern = before.to_owned();
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern + after
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
