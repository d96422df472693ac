//! The calls about shared tokens, in the account of the one who asks: members see them, admins change them; and what the holder
//! of one is told about it.

use super::access::Admin;
use super::access::member::Member;
use super::access::viewer::Recipient;
use super::error::{ApiError, Area, ErrorBody};
use super::first_start::random_shared_token;
use super::input::{Body, PathText, nullable};
use super::terms::{expires_ms, seconds};
use crate::domain::account::AccountId;
use crate::domain::filter::{Access, Filter, FilterId, Operator};
use crate::shutdown::Tasks;
use crate::store::shared_tokens::{NewShare, Share, ShareId, ShareUpdate};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use axum::Json;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// How often uses of shared tokens are written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// A shared token: read-only access to its account's logs, limited by its filters.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SharedTokenObject {
    #[schema(value_type = i32)]
    id: u32,
    name: String,
    /// The secret in sharing links.
    token: String,
    /// `null` when it shares everything, and when it is suspended.
    #[schema(value_type = Option<Vec<i32>>)]
    filters: Option<Vec<u32>>,
    /// Seconds since the Unix epoch; `null` when it was never used.
    last_used: Option<f64>,
    /// Seconds since the Unix epoch; `null` when it lasts.
    expiration_date: Option<f64>,
    /// Whether a log must pass all of the filters (`AND`) or one of them (`OR`).
    filters_operator: &'static str,
    /// How often its link was opened.
    views: u64,
    /// It lost its last filter, and shares nothing until its filters are saved again.
    suspended: bool,
    /// Whether who opens the link is given a query bar. It limits nothing: filters do.
    query_bar: bool,
    /// A sentence for people, of a token that has no filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

/// Of a token without filters.
const SHARES_EVERYTHING: &str = "It has no filters: whoever has its link reads all of the account's logs";

impl From<Share> for SharedTokenObject {
    fn from(share: Share) -> Self {
        let suspended = share.is_suspended();
        let warning = share.filters.is_none().then_some(SHARES_EVERYTHING);
        let filters = share.filters.filter(|filters| !filters.is_empty());
        Self {
            id: share.id.0,
            name: share.name,
            token: share.secret.expose().to_owned(),
            filters: filters.map(|filters| filters.iter().map(|id| id.0).collect()),
            last_used: share.last_used_ms.map(seconds),
            expiration_date: share.expires_ms.map(seconds),
            filters_operator: share.operator.name(),
            views: share.views,
            suspended,
            query_bar: share.query_bar,
            warning,
        }
    }
}

/// `AND` or `OR`, whatever the case.
#[derive(Clone, Copy)]
pub(super) struct AskedOperator(Operator);

impl<'de> Deserialize<'de> for AskedOperator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?.to_ascii_uppercase();
        let operator = Operator::from_name(&name);
        operator.map(Self).ok_or_else(|| serde::de::Error::custom("expected \"AND\" or \"OR\""))
    }
}

/// A misspelt field is refused: a token that lacks the filters its maker meant shares too much.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewSharedToken {
    /// Unique in the account, at most 100 characters. `name` does, too.
    #[serde(alias = "name")]
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    token_name: String,
    /// Ids of filters; without any the token shares everything.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i32>>)]
    filters: Option<Vec<u32>>,
    /// `AND` when missing.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "AND")]
    filters_operator: Option<AskedOperator>,
    /// Seconds since the Unix epoch, to come; the token lasts when missing.
    #[serde(default)]
    expiration_date: Option<f64>,
    /// In place of it: in how many seconds from now it expires.
    #[serde(default)]
    expires_in: Option<f64>,
    /// `true` when missing.
    #[serde(default)]
    query_bar: Option<bool>,
}

/// What to change; what is missing or `null` stays as it is. What a token shows and cannot be changed may be sent back.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SharedTokenUpdate {
    /// `tokenName` does, too.
    #[serde(default, alias = "tokenName")]
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: Option<String>,
    /// Ids of filters; `[]` clears them, and the token shares everything.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i32>>)]
    filters: Option<Vec<u32>>,
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "AND")]
    filters_operator: Option<AskedOperator>,
    /// Seconds since the Unix epoch, to come; `null` lets it last.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    expiration_date: Option<Option<f64>>,
    /// In place of it: in how many seconds from now it expires.
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    query_bar: Option<bool>,
    #[serde(default, rename = "id")]
    #[schema(ignore)]
    _id: IgnoredAny,
    #[serde(default, rename = "token")]
    #[schema(ignore)]
    _token: IgnoredAny,
    #[serde(default, rename = "lastUsed")]
    #[schema(ignore)]
    _last_used: IgnoredAny,
    #[serde(default, rename = "views")]
    #[schema(ignore)]
    _views: IgnoredAny,
    #[serde(default, rename = "suspended")]
    #[schema(ignore)]
    _suspended: IgnoredAny,
    #[serde(default, rename = "warning")]
    #[schema(ignore)]
    _warning: IgnoredAny,
}

/// What the holder of a shared token may know of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShareObject {
    account_name: String,
    name: String,
    /// Seconds since the Unix epoch; `null` when it lasts.
    expiration_date: Option<f64>,
    /// `null` when it shares everything; none when it is suspended, and shares nothing.
    filters: Option<Vec<SharedFilter>>,
    filters_operator: &'static str,
    query_bar: bool,
    /// It lost its last filter, and shares nothing until its filters are saved again.
    suspended: bool,
    /// A sentence for people, of a token that is suspended: why nothing is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'static str>,
}

/// To who reads with a token that is suspended.
const SHARES_NOTHING: &str =
    "This link shows nothing at the moment: whoever shared it has to choose its filters again";

#[derive(Serialize, ToSchema)]
pub(super) struct SharedFilter {
    field: String,
    value: String,
}

/// List shared tokens.
#[utoipa::path(
    operation_id = "listSharedTokens",
    get, path = "/v1/shared-tokens", tag = "shared tokens", security(("apiToken" = []), ("session" = [])),
    responses(
        (status = 200, description = "Oldest first", body = Vec<SharedTokenObject>),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn list(member: Member) -> Result<Json<Vec<SharedTokenObject>>, ApiError> {
    let shares = member.store.shares(member.account).await.map_err(ApiError::of(Area::SharedTokens))?;
    Ok(Json(shares.into_iter().map(Into::into).collect()))
}

/// Create a shared token. Without filters it shares everything, and the answer has a `warning`.
#[utoipa::path(
    operation_id = "createSharedToken",
    post, path = "/v1/shared-tokens", tag = "shared tokens", security(("apiToken" = [])),
    request_body = NewSharedToken,
    responses(
        (status = 200, description = "Created", body = SharedTokenObject),
        (status = 400, description = "The name is empty or taken, a filter is unknown, the expiration date is past, a field is unknown, or there are 100 shared tokens", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn create(
    admin: Admin,
    Body(new): Body<NewSharedToken>,
) -> Result<Json<SharedTokenObject>, ApiError> {
    let new = NewShare {
        name: &new.token_name,
        filters: ids(new.filters.unwrap_or_default()),
        operator: new.filters_operator.map(|asked| asked.0).unwrap_or_default(),
        expires_ms: expires_ms(&admin.store, new.expiration_date.map(Some), new.expires_in)?.flatten(),
        query_bar: new.query_bar.unwrap_or(true),
        secret: random_shared_token()?,
    };
    let share = admin.store.create_share(admin.account, new, &admin.by).await;
    share.map(|share| Json(share.into())).map_err(ApiError::of(Area::SharedTokens))
}

/// Show a shared token.
#[utoipa::path(
    operation_id = "showSharedToken",
    get, path = "/v1/shared-tokens/{id}", tag = "shared tokens", security(("apiToken" = []), ("session" = [])),
    params(("id" = i32, Path, description = "The shared token's id")),
    responses(
        (status = 200, description = "It", body = SharedTokenObject),
        (status = 400, description = "The account has no such shared token", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn show(member: Member, id: PathText) -> Result<Json<SharedTokenObject>, ApiError> {
    let (id, unknown) = share_id(member.account, &id)?;
    member.store.share(member.account, id).await.map(|share| Json(share.into())).map_err(unknown)
}

/// Change a shared token, at once on every link that was sent out.
#[utoipa::path(
    operation_id = "updateSharedToken",
    put, path = "/v1/shared-tokens/{id}", tag = "shared tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The shared token's id")),
    request_body = SharedTokenUpdate,
    responses(
        (status = 200, description = "As it is now", body = SharedTokenObject),
        (status = 400, description = "The account has no such shared token, the name is empty or taken, a filter is unknown, the expiration date is past, or a field is unknown", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn update(
    admin: Admin,
    id: PathText,
    Body(update): Body<SharedTokenUpdate>,
) -> Result<Json<SharedTokenObject>, ApiError> {
    let (id, unknown) = share_id(admin.account, &id)?;
    let update = ShareUpdate {
        name: update.name.as_deref(),
        filters: update.filters.map(ids),
        operator: update.filters_operator.map(|asked| asked.0),
        expires_ms: expires_ms(&admin.store, update.expiration_date, update.expires_in)?,
        query_bar: update.query_bar,
    };
    let share = admin.store.update_share(admin.account, id, update, &admin.by).await;
    share.map(|share| Json(share.into())).map_err(unknown)
}

/// Delete a shared token. Every link that was sent out with it shows nothing any more.
#[utoipa::path(
    operation_id = "deleteSharedToken",
    delete, path = "/v1/shared-tokens/{id}", tag = "shared tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The shared token's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The account has no such shared token", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn delete(admin: Admin, id: PathText) -> Result<StatusCode, ApiError> {
    let (id, unknown) = share_id(admin.account, &id)?;
    admin.store.delete_share(admin.account, id, &admin.by).await.map_err(unknown)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show what a shared token shares. Counts as a view of its link, unless the page has been open and asks again.
#[utoipa::path(
    operation_id = "showShare",
    get, path = "/v1/share", tag = "shared tokens", security(("sharedToken" = []), ("shareToken" = [])),
    params(("again" = Option<bool>, Query, description = "true: from a page that is open already")),
    responses(
        (status = 200, description = "What the token shares", body = ShareObject),
        (status = 401, description = "No shared token, or one that is unknown, deleted or expired", body = ErrorBody),
    )
)]
pub(super) async fn share(recipient: Recipient, RawQuery(asked): RawQuery) -> Json<ShareObject> {
    let Recipient { opened, store } = recipient;
    let asked = asked.unwrap_or_default();
    let again =
        form_urlencoded::parse(asked.as_bytes()).any(|(key, value)| key == "again" && value == "true");
    store.share_used(opened.id, u64::from(!again));
    let suspended = matches!(opened.access, Access::Nothing);
    let shown = |filter: &Filter| SharedFilter { field: filter.field.clone(), value: filter.value.clone() };
    Json(ShareObject {
        account_name: opened.account_name,
        name: opened.name,
        expiration_date: opened.expires_ms.map(seconds),
        filters: match &opened.access {
            Access::Everything => None,
            Access::Only(set) => Some(set.filters().iter().map(shown).collect()),
            Access::Nothing => Some(vec![]),
        },
        filters_operator: opened.operator.name(),
        query_bar: opened.query_bar,
        suspended,
        notice: suspended.then_some(SHARES_NOTHING),
    })
}

/// Writes down how shared tokens were used, now and then and before the end.
pub(super) async fn keep_uses(store: Store, tasks: Tasks) {
    while !tasks.is_draining() {
        tokio::select! {
            () = tokio::time::sleep(SAVE_INTERVAL) => {}
            () = tasks.draining() => {}
        }
        if let Err(fault) = store.save_share_uses().await {
            tracing::warn!("uses of shared tokens could not be written down: {}", chain(&fault));
        }
    }
}

fn ids(asked: Vec<u32>) -> Vec<FilterId> {
    asked.into_iter().map(FilterId).collect()
}

/// The `{id}` of a path, and how to say that there is no such token.
fn share_id(
    account: AccountId,
    id: &PathText,
) -> Result<(ShareId, impl Fn(StoreError) -> ApiError), ApiError> {
    let unknown = unknown_id(Area::SharedTokens, "token", &id.0, account);
    match id.0.parse() {
        Ok(number) => Ok((ShareId(number), unknown)),
        Err(_) => Err(unknown(StoreError::NotFound)),
    }
}

/// How a failure of the store shows in a call about the thing with this id.
pub(super) fn unknown_id(
    area: Area,
    what: &str,
    id: &str,
    account: AccountId,
) -> impl Fn(StoreError) -> ApiError + use<> {
    let id: String = id.chars().take(20).collect();
    let text = format!("{what} with id {id} not found for account {account}");
    move |error| match error {
        StoreError::NotFound => ApiError::Unknown(area, text.clone()),
        other => ApiError::of(area)(other),
    }
}
