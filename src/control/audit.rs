//! The call that shows who changed what.

use super::access::Admin;
use super::error::{ApiError, Area, ErrorBody};
use super::input::{Asked, at_most, instant};
use super::terms::seconds;
use crate::store::audit::{AuditEntry, Wanted};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 50;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    /// How many entries: between 1 and 1000, 50 unless it says otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `nextCursor` of the page before; what is looked for stays the same.
    cursor: Option<u64>,
    /// A part of who did it, such as `ada@example.com`, or of the address it came from; in whatever case.
    who: Option<String>,
    /// A part of what was done, such as `token.delete`, or to what, such as `user:1`; in whatever case.
    what: Option<String>,
    /// A token of whatever kind, by its number or by a name it had.
    token: Option<String>,
    /// From when on: RFC 3339, a date, or as `now-7d`.
    since: Option<String>,
}

/// Longest text that is looked for, in characters.
const TEXT_CHARS_MAX: usize = 256;

impl Stretch {
    fn wanted(self, now_ms: u64) -> Result<Wanted, ApiError> {
        let text = |name: &str, text: Option<String>| {
            let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
            match text {
                Some(text) if text.chars().count() > TEXT_CHARS_MAX => {
                    Err(ApiError::Malformed(format!("{name} has at most {TEXT_CHARS_MAX} characters")))
                }
                // Nothing has them, and PostgreSQL takes no text with a NUL.
                Some(text) if text.contains(char::is_control) => {
                    Err(ApiError::Malformed(format!("{name} has no control characters")))
                }
                text => Ok(text),
            }
        };
        if self.cursor.is_some_and(|cursor| i64::try_from(cursor).is_err()) {
            return Err(ApiError::Malformed("cursor is no nextCursor".to_owned()));
        }
        let since_ms = match text("since", self.since)? {
            None => 0,
            Some(since) => instant("since", &since, now_ms)?,
        };
        let (who, what) = (text("who", self.who)?, text("what", self.what)?);
        Ok(Wanted { who, what, token: text("token", self.token)?, since_ms, before: self.cursor })
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trail {
    entries: Vec<Entry>,
    /// `null` on the last page.
    next_cursor: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    id: u64,
    /// Seconds since the Unix epoch.
    at: f64,
    /// The account that was changed.
    #[schema(value_type = i32)]
    account_id: u32,
    /// Who did it, such as `api-token:admin`.
    actor: String,
    #[schema(value_type = Option<i32>)]
    actor_account_id: Option<u32>,
    /// Such as `shipping-token.rename`.
    action: String,
    /// Such as `shipping-token:1000000`.
    subject: String,
    /// `null` of what did not exist.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// `null` of what exists no more.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    source_address: Option<String>,
    request_id: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: seconds(entry.at_ms),
            account_id: entry.account.0,
            actor: entry.actor,
            actor_account_id: entry.actor_account.map(|account| account.0),
            action: entry.action,
            subject: entry.subject,
            before: entry.before,
            after: entry.after,
            source_address: entry.source,
            request_id: entry.request_id,
        }
    }
}

/// Show who changed what, newest first: all of it, or what fits all that is asked for. A main account sees its sub-accounts' changes too.
#[utoipa::path(
    operation_id = "showAuditTrail",
    get, path = "/v1/audit-trail", tag = "audit trail", security(("apiToken" = [])),
    params(Stretch),
    responses(
        (status = 200, description = "One page", body = Trail),
        (status = 400, description = "The limit is out of bounds, the cursor or `since` is none, a text is too long or has control characters, or a parameter is unknown", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn trail(admin: Admin, Asked(stretch): Asked<Stretch>) -> Result<Json<Trail>, ApiError> {
    let limit = at_most("limit", stretch.limit.unwrap_or(LIMIT_DEFAULT), LIMIT_MAX)?;
    let wanted = stretch.wanted(admin.store.unix_ms())?;
    // One more than asked for tells whether there is another page.
    let found = admin.store.audit_trail(admin.account, &wanted, limit + 1).await;
    let mut entries: Vec<Entry> =
        found.map_err(ApiError::of(Area::Request))?.into_iter().map(Entry::from).collect();
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next_cursor = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Json(Trail { entries, next_cursor }))
}
