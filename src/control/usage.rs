//! The calls that show the ledger: who uses which token, and who still ships with one that is no more.

use super::access::{Admin, MainAdmin};
use super::error::{ApiError, Area, ErrorBody};
use super::input::{Asked, PathId, at_most};
use super::terms::seconds;
use crate::domain::timestamp::rfc3339_millis;
use crate::domain::usage::{ClientUse, Sums, WOULD_REFUSE};
use crate::store::usage::{DELETED, DISABLED, DayUsage, EXPIRED, TokenState, TokenUsage};
use axum::Json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;

/// One token's use within the last 90 days. Gateways send what they count every ten seconds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageObject {
    #[schema(value_type = i32)]
    id: u32,
    name: String,
    /// `enabled`, `disabled` or `deleted`.
    state: &'static str,
    /// Seconds since the Unix epoch; only of a deleted token.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<f64>,
    /// The first accepted batch ever, to the minute: seconds since the Unix epoch, `null` without one.
    first_used_at: Option<f64>,
    /// The last accepted batch, likewise.
    last_used_at: Option<f64>,
    #[serde(flatten)]
    counts: Counts,
    /// Lines accepted on the day it is, in UTC.
    lines_today: u64,
    /// Who used it while it was enabled: those seen last.
    clients: Vec<ClientObject>,
    /// What came with it after it was disabled or deleted; `null` when nothing did.
    used_after_end: Option<AfterEnd>,
}

/// What adds up, of a day or of all.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Counts {
    /// Batches accepted, wholly or in part.
    requests: u64,
    /// Lines accepted.
    lines: u64,
    /// Their bytes, as stored.
    bytes: u64,
    /// Lines refused one by one.
    refused_lines: u64,
    /// Batches refused, by reason.
    refusals: BTreeMap<String, u64>,
    /// Batches accepted that would have been refused: of a token whose refusal is tried out first.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_refuse: Option<u64>,
}

/// A client, by its network address and what it calls itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientObject {
    source_address: String,
    user_agent: String,
    /// At least so many.
    requests: u64,
    /// Seconds since the Unix epoch, to the minute.
    last_seen_at: f64,
}

/// Uses after the end.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AfterEnd {
    /// Batches refused because of it.
    requests: u64,
    /// Seconds since the Unix epoch, to the minute; `null` once it is too long ago.
    last_seen_at: Option<f64>,
    /// Those seen last.
    clients: Vec<ClientObject>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsageObject {
    #[serde(flatten)]
    usage: UsageObject,
    /// Newest first; days without use are left out.
    days: Vec<DayObject>,
}

#[derive(Serialize, ToSchema)]
struct DayObject {
    /// In UTC, such as `2026-01-31`.
    day: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AccountUsage {
    /// Those used or tried last first.
    tokens: Vec<UsageObject>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Most {
    /// How many tokens: between 1 and 1000, 100 unless it says otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl Most {
    fn limit(&self) -> Result<u32, ApiError> {
        at_most("limit", self.limit.unwrap_or(LIMIT_DEFAULT), LIMIT_MAX)
    }
}

/// Show who uses a token, also after its end; it may be deleted.
#[utoipa::path(
    operation_id = "showLogShippingTokenUsage",
    get, path = "/v1/log-shipping/tokens/{id}/usage", tag = "log shipping tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The token's id")),
    responses(
        (status = 200, description = "Its use, day by day", body = TokenUsageObject),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
        (status = 404, description = "The account never had such a token, or it was deleted long ago", body = ErrorBody),
    )
)]
pub(super) async fn of_token(admin: Admin, id: PathId) -> Result<Json<TokenUsageObject>, ApiError> {
    let found = admin.store.token_usage(admin.account, id.token()?).await;
    let (usage, days) = found.map_err(ApiError::of(Area::LogShippingTokens))?;
    let days = days.into_iter().map(DayObject::from).collect();
    Ok(Json(TokenUsageObject { usage: usage.into(), days }))
}

/// Show who uses which of the account's tokens, deleted ones included.
#[utoipa::path(
    operation_id = "showLogShippingUsage",
    get, path = "/v1/log-shipping/usage", tag = "log shipping tokens", security(("apiToken" = [])),
    params(Most),
    responses(
        (status = 200, description = "The tokens used or tried last", body = AccountUsage),
        (status = 400, description = "The limit is out of bounds, or a parameter is unknown", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn of_account(
    admin: Admin,
    Asked(most): Asked<Most>,
) -> Result<Json<AccountUsage>, ApiError> {
    let found = admin.store.account_usage(admin.account, most.limit()?).await;
    let found = found.map_err(ApiError::of(Area::LogShippingTokens))?;
    Ok(Json(AccountUsage { tokens: found.into_iter().map(UsageObject::from).collect() }))
}

/// A token that is used after its end.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedToken {
    #[schema(value_type = i32)]
    account_id: u32,
    #[serde(flatten)]
    usage: UsageObject,
}

/// Who ships with tokens that do not open anything.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    /// Tokens of the account and its sub-accounts, used after they were disabled, expired or deleted; those tried last first.
    tokens: Vec<RefusedToken>,
    /// Who came with tokens that are and were nobody's; those seen last first. The tokens themselves are kept nowhere.
    unknown: Vec<ClientObject>,
}

/// Show who ships with tokens that are refused: over, or unknown.
#[utoipa::path(
    operation_id = "showRefusedTokens",
    get, path = "/v1/log-shipping/refused-tokens", tag = "log shipping tokens", security(("apiToken" = [])),
    params(Most),
    responses(
        (status = 200, description = "At most `limit` of either kind", body = Refused),
        (status = 400, description = "The limit is out of bounds, or a parameter is unknown", body = ErrorBody),
        (status = 403, description = "Not a main account's API token", body = ErrorBody),
    )
)]
pub(super) async fn refused(
    MainAdmin(admin): MainAdmin,
    Asked(most): Asked<Most>,
) -> Result<Json<Refused>, ApiError> {
    let (limit, fault) = (most.limit()?, ApiError::of(Area::LogShippingTokens));
    let tokens = admin.store.refused_tokens(admin.account, limit).await.map_err(&fault)?;
    let unknown = admin.store.unknown_clients(limit).await.map_err(&fault)?;
    let token = |usage: TokenUsage| RefusedToken { account_id: usage.account.0, usage: usage.into() };
    Ok(Json(Refused {
        tokens: tokens.into_iter().map(token).collect(),
        unknown: unknown.into_iter().map(ClientObject::from).collect(),
    }))
}

fn minute(minute: u32) -> f64 {
    seconds(u64::from(minute) * 60_000)
}

impl From<TokenUsage> for UsageObject {
    fn from(usage: TokenUsage) -> Self {
        let (state, deleted_ms) = match usage.state {
            TokenState::Enabled => ("enabled", None),
            TokenState::Disabled => ("disabled", None),
            TokenState::Deleted { deleted_ms } => ("deleted", Some(deleted_ms)),
        };
        let ends = [DISABLED, EXPIRED, DELETED].iter().filter_map(|reason| usage.refusals.get(*reason));
        let after_end: u64 = ends.sum();
        let used_after_end = (after_end > 0 || !usage.clients_after_end.is_empty()).then(|| AfterEnd {
            requests: after_end,
            last_seen_at: usage.last_refused_minute.map(minute),
            clients: usage.clients_after_end.into_iter().map(ClientObject::from).collect(),
        });
        Self {
            id: usage.id.0,
            name: usage.name,
            state,
            deleted_at: deleted_ms.map(seconds),
            first_used_at: usage.first_used_minute.map(minute),
            last_used_at: usage.last_used_minute.map(minute),
            counts: Counts::new(usage.sums, usage.refusals),
            lines_today: usage.lines_today,
            clients: usage.clients.into_iter().map(ClientObject::from).collect(),
            used_after_end,
        }
    }
}

impl Counts {
    fn new(sums: Sums, mut refusals: BTreeMap<String, u64>) -> Self {
        let Sums { requests, lines, bytes, refused_lines } = sums;
        let would_refuse = refusals.remove(WOULD_REFUSE);
        Self { requests, lines, bytes, refused_lines, refusals, would_refuse }
    }
}

impl From<DayUsage> for DayObject {
    fn from(usage: DayUsage) -> Self {
        let begin = rfc3339_millis(u64::from(usage.day) * 24 * 3_600 * 1_000);
        let day = begin.split('T').next().unwrap_or_default().to_owned();
        Self { day, counts: Counts::new(usage.sums, usage.refusals) }
    }
}

impl From<ClientUse> for ClientObject {
    fn from(client: ClientUse) -> Self {
        Self {
            source_address: client.source.to_string(),
            user_agent: client.agent,
            requests: client.requests,
            last_seen_at: minute(client.last_minute),
        }
    }
}
