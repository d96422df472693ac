//! The calls about log shipping tokens. Each acts in the account of the API token that it came with.

use super::access::Admin;
use super::error::{ApiError, Area, ErrorBody};
use super::gateways::{Changed, Wait, Waiting};
use super::input::{Body, Flag, JsonObject, Others, PathId, at_most, flag, nullable};
use super::terms::{RetirementObject, ScopeObject, expires_ms, seconds, value};
use crate::domain::terms::Terms;
use crate::store::tokens::{self, SortField, Token, TokenSearch};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

const PAGE_SIZE_MAX: u32 = 1_000;
const PAGE_SIZE_DEFAULT: u32 = 25;

/// A log shipping token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenObject {
    name: String,
    #[schema(value_type = i32)]
    id: u32,
    /// The secret that shippers send; empty when only its digest is known.
    token: String,
    /// Seconds since the Unix epoch.
    updated_at: f64,
    updated_by: String,
    /// Seconds since the Unix epoch.
    created_at: f64,
    created_by: String,
    enabled: bool,
    /// `false` when only the token's digest is known; otherwise missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_known: Option<bool>,
    /// When it expires or expired, in seconds since the Unix epoch; missing when it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<f64>,
    /// Missing when it ships everything from everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeObject>,
    /// `true` in a dry run; otherwise missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_refuse: Option<bool>,
    /// Of a token that a rotation replaces, as long as it ships; otherwise missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    retirement: Option<RetirementObject>,
}

impl From<Token> for TokenObject {
    fn from(token: Token) -> Self {
        Self {
            token_known: token.value.plaintext().is_none().then_some(false),
            expires_at: token.terms.expires_ms.map(seconds),
            scope: ScopeObject::of(&token.terms.scope),
            would_refuse: token.terms.would_refuse.then_some(true),
            retirement: RetirementObject::of(&token),
            name: token.name,
            id: token.id.0,
            token: token.value.plaintext().map_or_else(String::new, |secret| secret.expose().to_owned()),
            updated_at: seconds(token.updated_ms),
            updated_by: token.updated_by,
            created_at: seconds(token.created_ms),
            created_by: token.created_by,
            enabled: token.enabled,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewToken {
    /// Unique in the account, at most 100 characters.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: String,
    /// `true` unless it says otherwise; the texts `"true"` and `"false"` are taken too.
    #[serde(default)]
    #[schema(schema_with = flag)]
    enabled: Option<Flag>,
    /// The value that shippers have already, 16 to 128 characters of `A-Z a-z 0-9 _ -`; a random one when missing.
    token: Option<String>,
    /// In place of it: its SHA-256, as 64 hexadecimal digits. The value itself is then never known here.
    digest: Option<String>,
    /// When it expires, in seconds since the Unix epoch; it lasts when missing.
    expires_at: Option<f64>,
    /// In place of it: in how many seconds it expires.
    expires_in: Option<f64>,
    /// It ships everything from everywhere when missing.
    #[schema(value_type = Option<ScopeObject>)]
    scope: Option<JsonObject<ScopeObject>>,
    /// `true` for a dry run: it ships, and what its disabling would stop is counted.
    #[serde(default)]
    #[schema(schema_with = flag)]
    would_refuse: Option<Flag>,
}

/// Create a token.
#[utoipa::path(
    operation_id = "createLogShippingToken",
    post, path = "/v1/log-shipping/tokens", tag = "log shipping tokens", security(("apiToken" = [])),
    params(Waiting),
    request_body = NewToken,
    responses(
        (status = 201, description = "Created; if it was waited for, every gateway knows it", body = Changed<TokenObject>),
        (status = 202, description = "Created: some gateways have not confirmed it in time, and may refuse it until they do", body = Changed<TokenObject>),
        (status = 400, description = "The name is empty or taken, the plan's limit is reached, the value is in use, or its terms are none", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn create(
    mut admin: Admin,
    wait: Wait,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<Changed<TokenObject>>), ApiError> {
    let expires_ms = expires_ms(&admin.store, Some(new.expires_at), new.expires_in)?.flatten();
    let scope = ScopeObject::parse(new.scope)?;
    let would_refuse = new.would_refuse.is_some_and(|flag| flag.0);
    let new = tokens::NewToken {
        name: &new.name,
        enabled: new.enabled.is_none_or(|flag| flag.0),
        value: value(new.token.as_deref(), new.digest.as_deref())?,
        terms: Terms { expires_ms, scope, would_refuse },
    };
    wait.announce(&mut admin);
    let token = admin.store.create_token(admin.account, new, &admin.by).await;
    wait.answer_made(&admin.store, token.map_err(ApiError::of(Area::LogShippingTokens))?.into()).await
}

/// Show a token.
#[utoipa::path(
    operation_id = "showLogShippingToken",
    get, path = "/v1/log-shipping/tokens/{id}", tag = "log shipping tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The token's id")),
    responses(
        (status = 200, description = "The token", body = TokenObject),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
        (status = 404, description = "The account has no such token", body = ErrorBody),
    )
)]
pub(super) async fn show(admin: Admin, id: PathId) -> Result<Json<TokenObject>, ApiError> {
    let token = admin.store.token(admin.account, id.token()?).await;
    token.map(|token| Json(token.into())).map_err(ApiError::of(Area::LogShippingTokens))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUpdate {
    /// The new name; left as it is when missing.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: Option<String>,
    /// Left as it is when missing; the texts `"true"` and `"false"` are taken too.
    #[serde(default)]
    #[schema(schema_with = flag)]
    enabled: Option<Flag>,
    /// When it expires, in seconds since the Unix epoch; `null`: it lasts, and is not being retired any more. Left as it is when missing.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<f64>)]
    expires_at: Option<Option<f64>>,
    /// In place of it: in how many seconds it expires.
    #[serde(default)]
    expires_in: Option<f64>,
    /// The whole new scope; `null`: everything from everywhere. Left as it is when missing.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ScopeObject>)]
    scope: Option<Option<JsonObject<ScopeObject>>>,
    /// Whether it is in a dry run. Left as it is when missing.
    #[serde(default)]
    #[schema(schema_with = flag)]
    would_refuse: Option<Flag>,
}

/// Rename, enable or disable a token, or change its terms.
#[utoipa::path(
    operation_id = "updateLogShippingToken",
    put, path = "/v1/log-shipping/tokens/{id}", tag = "log shipping tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The token's id"), Waiting),
    request_body = TokenUpdate,
    responses(
        (status = 200, description = "The token; if it was waited for, every gateway enforces the change", body = Changed<TokenObject>),
        (status = 202, description = "The token: the change stands, but some gateways have not confirmed it in time", body = Changed<TokenObject>),
        (status = 400, description = "No field is there, it is the last enabled token or the last that lasts, the plan's limit is reached, the name is empty or taken, or the terms are none", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
        (status = 404, description = "The account has no such token", body = ErrorBody),
    )
)]
pub(super) async fn update(
    mut admin: Admin,
    id: PathId,
    wait: Wait,
    Body(update): Body<TokenUpdate>,
) -> Result<(StatusCode, Json<Changed<TokenObject>>), ApiError> {
    let update = tokens::TokenUpdate {
        name: update.name.as_deref(),
        enabled: update.enabled.map(|flag| flag.0),
        expires_ms: expires_ms(&admin.store, update.expires_at, update.expires_in)?,
        scope: update.scope.map(ScopeObject::parse).transpose()?,
        would_refuse: update.would_refuse.map(|flag| flag.0),
    };
    if update == tokens::TokenUpdate::default() {
        return Err(ApiError::Malformed(
            "Nothing to change: a token's fields are name, enabled, expiresAt, expiresIn, scope and wouldRefuse".to_owned(),
        ));
    }
    wait.announce(&mut admin);
    let token = admin
        .store
        .update_token(admin.account, id.token()?, update, &admin.by)
        .await
        .map_err(ApiError::of(Area::LogShippingTokens))?;
    wait.answer(&admin.store, token.into()).await
}

/// Delete a token.
#[utoipa::path(
    operation_id = "deleteLogShippingToken",
    delete, path = "/v1/log-shipping/tokens/{id}", tag = "log shipping tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The token's id"), Waiting),
    responses(
        (status = 200, description = "What was deleted; if it was waited for, every gateway enforces it", body = Changed<TokenObject>),
        (status = 202, description = "What was deleted: the change stands, but some gateways have not confirmed it in time", body = Changed<TokenObject>),
        (status = 400, description = "It is the last token, the last enabled one, or the last of those that lasts", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
        (status = 404, description = "The account has no such token", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    mut admin: Admin,
    id: PathId,
    wait: Wait,
) -> Result<(StatusCode, Json<Changed<TokenObject>>), ApiError> {
    wait.announce(&mut admin);
    let token = admin.store.delete_token(admin.account, id.token()?, &admin.by).await;
    wait.answer(&admin.store, token.map_err(ApiError::of(Area::LogShippingTokens))?.into()).await
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limits {
    /// How many tokens the plan lets be enabled at a time.
    max_allowed_tokens: u32,
    /// But for those being retired.
    num_of_enabled_tokens: u32,
    /// How many are being retired by rotations; missing when none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    num_of_retiring_tokens: Option<u32>,
}

/// Show how many tokens may be enabled, and how many are.
#[utoipa::path(
    operation_id = "showLogShippingTokenLimits",
    get, path = "/v1/log-shipping/tokens/limits", tag = "log shipping tokens", security(("apiToken" = [])),
    responses(
        (status = 200, description = "Both numbers", body = Limits),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn limits(admin: Admin) -> Result<Json<Limits>, ApiError> {
    let limits = admin.store.token_limits(admin.account).await;
    let limits = limits.map_err(ApiError::of(Area::LogShippingTokens))?;
    Ok(Json(Limits {
        max_allowed_tokens: limits.enabled_max,
        num_of_enabled_tokens: limits.enabled,
        num_of_retiring_tokens: (limits.retiring > 0).then_some(limits.retiring),
    }))
}

#[derive(Default, Deserialize, ToSchema)]
pub(super) struct Search {
    #[serde(default)]
    #[schema(value_type = Option<Filter>)]
    filter: Option<JsonObject<Filter>>,
    /// The first field decides, the next break ties; oldest first when missing.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Sort>>)]
    sort: Option<Vec<JsonObject<Sort>>>,
    #[serde(default)]
    #[schema(value_type = Option<Page>)]
    pagination: Option<JsonObject<AskedPage>>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: Others,
}

#[derive(Deserialize, ToSchema)]
struct Filter {
    /// Only enabled, or only disabled tokens.
    #[serde(default)]
    #[schema(schema_with = flag)]
    enabled: Option<Flag>,
    #[serde(flatten)]
    #[schema(ignore)]
    others: Others,
}

#[derive(Deserialize, ToSchema)]
struct Sort {
    #[schema(schema_with = sort_field)]
    field: Field,
    #[serde(default)]
    #[schema(schema_with = flag)]
    descending: Option<Flag>,
}

/// How the API's description shows a [`Field`].
fn sort_field() -> Object {
    let names = ["createdAt", "name", "CREATED_AT", "NAME"];
    Object::builder().schema_type(Type::String).enum_values(Some(names)).build()
}

#[derive(Deserialize)]
enum Field {
    #[serde(rename = "createdAt", alias = "CREATED_AT")]
    CreatedAt,
    #[serde(rename = "name", alias = "NAME")]
    Name,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Page {
    /// From 1.
    #[schema(minimum = 1)]
    page_number: u32,
    #[schema(minimum = 1, maximum = 1000)]
    page_size: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedPage {
    page_number: Option<u32>,
    page_size: Option<u32>,
    #[serde(flatten)]
    others: Others,
}

impl AskedPage {
    fn parse(self) -> Result<Page, ApiError> {
        let known = self.page_number.is_some() || self.page_size.is_some();
        self.others.beside(known, "pageNumber and pageSize")?;
        let page_number = self.page_number.unwrap_or(1);
        if page_number < 1 {
            return Err(ApiError::Malformed("pageNumber begins at 1".to_owned()));
        }
        let page_size = at_most("pageSize", self.page_size.unwrap_or(PAGE_SIZE_DEFAULT), PAGE_SIZE_MAX)?;
        Ok(Page { page_number, page_size })
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Found {
    /// How many tokens the filter lets pass, on all pages.
    total: u64,
    results: Vec<TokenObject>,
    pagination: Page,
}

/// Find tokens.
#[utoipa::path(
    operation_id = "searchLogShippingTokens",
    post, path = "/v1/log-shipping/tokens/search", tag = "log shipping tokens", security(("apiToken" = [])),
    request_body = Search,
    responses(
        (status = 200, description = "One page; one past the last is empty", body = Found),
        (status = 400, description = "An unknown field, or a page out of bounds", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn search(admin: Admin, Body(search): Body<Search>) -> Result<Json<Found>, ApiError> {
    let (search, page) = search.parse()?;
    let found = admin.store.search_tokens(admin.account, &search).await;
    let found = found.map_err(ApiError::of(Area::LogShippingTokens))?;
    Ok(Json(Found {
        total: found.total,
        results: found.tokens.into_iter().map(TokenObject::from).collect(),
        pagination: page,
    }))
}

impl Search {
    fn parse(self) -> Result<(TokenSearch, Page), ApiError> {
        let known = self.filter.is_some() || self.sort.is_some() || self.pagination.is_some();
        self.others.beside(known, "filter, sort and pagination")?;
        let enabled = match self.filter {
            None => None,
            Some(JsonObject(filter)) => {
                filter.others.beside(filter.enabled.is_some(), "enabled")?;
                filter.enabled.map(|flag| flag.0)
            }
        };
        let page = self.pagination.map_or_else(AskedPage::default, |page| page.0).parse()?;
        let sort = self.sort.into_iter().flatten().map(|JsonObject(sort)| {
            let field = match sort.field {
                Field::CreatedAt => SortField::CreatedAt,
                Field::Name => SortField::Name,
            };
            (field, sort.descending.is_some_and(|flag| flag.0))
        });
        let search = TokenSearch {
            enabled,
            sort: sort.collect(),
            offset: u64::from(page.page_number - 1) * u64::from(page.page_size),
            limit: page.page_size,
        };
        Ok((search, page))
    }
}
