//! The calls about API tokens: those of the admin's own account, and, for a main account's admin, of its sub-accounts.

use super::access::Admin;
use super::error::{ApiError, Area, ErrorBody};
use super::first_start::random_api_token;
use super::input::{Asked, Body, PathId, Whose};
use super::terms::seconds;
use crate::store::api_tokens::{ApiTokenId, IssuedApiToken};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An API token, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiTokenObject {
    #[schema(value_type = i32)]
    id: u32,
    name: String,
    /// Seconds since the Unix epoch.
    created_at: f64,
    /// Whether this request was made with it.
    in_use: bool,
}

impl ApiTokenObject {
    fn new(token: IssuedApiToken, in_use: Option<ApiTokenId>) -> Self {
        Self {
            id: token.id.0,
            name: token.name,
            created_at: seconds(token.created_ms),
            in_use: Some(token.id) == in_use,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewApiToken {
    /// Unique in the account, at most 100 characters. The audit trail names it.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: String,
    /// A sub-account, for an admin of its main account; the admin's own account when missing.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    account_id: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedApiToken {
    #[serde(flatten)]
    issued: ApiTokenObject,
    /// The secret, shown this once.
    token: String,
}

/// Create an API token.
#[utoipa::path(
    operation_id = "createApiToken",
    post, path = "/v1/api-tokens", tag = "API tokens", security(("apiToken" = [])),
    request_body = NewApiToken,
    responses(
        (status = 201, description = "Created", body = CreatedApiToken),
        (status = 400, description = "The name is empty or taken, or a field is unknown", body = ErrorBody),
        (status = 403, description = "No API token, a wrong one, or one of a sub-account for another account", body = ErrorBody),
        (status = 404, description = "No sub-account of the admin's account", body = ErrorBody),
    )
)]
pub(super) async fn create(
    admin: Admin,
    Body(new): Body<NewApiToken>,
) -> Result<(StatusCode, Json<CreatedApiToken>), ApiError> {
    let account = admin.account_or_own(new.account_id).await?;
    let secret = random_api_token()?;
    let token = admin.store.create_api_token(account, &new.name, &secret, &admin.by).await;
    let issued = ApiTokenObject::new(token.map_err(ApiError::of(Area::ApiTokens))?, admin.token);
    Ok((StatusCode::CREATED, Json(CreatedApiToken { issued, token: secret.expose().to_owned() })))
}

/// List API tokens, without their secrets.
#[utoipa::path(
    operation_id = "listApiTokens",
    get, path = "/v1/api-tokens", tag = "API tokens", security(("apiToken" = [])),
    params(Whose),
    responses(
        (status = 200, description = "Oldest first", body = Vec<ApiTokenObject>),
        (status = 400, description = "An unknown parameter, or no number", body = ErrorBody),
        (status = 403, description = "No API token, a wrong one, or one of a sub-account for another account", body = ErrorBody),
        (status = 404, description = "No sub-account of the admin's account", body = ErrorBody),
    )
)]
pub(super) async fn list(
    admin: Admin,
    Asked(whose): Asked<Whose>,
) -> Result<Json<Vec<ApiTokenObject>>, ApiError> {
    let account = admin.account_or_own(whose.account_id).await?;
    let tokens = admin.store.api_tokens(account).await.map_err(ApiError::of(Area::ApiTokens))?;
    Ok(Json(tokens.into_iter().map(|token| ApiTokenObject::new(token, admin.token)).collect()))
}

/// Delete an API token, be it the one in use. It opens nothing any more.
#[utoipa::path(
    operation_id = "deleteApiToken",
    delete, path = "/v1/api-tokens/{id}", tag = "API tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The API token's id"), Whose),
    responses(
        (status = 200, description = "What was deleted", body = ApiTokenObject),
        (status = 400, description = "It is the account's last API token, or a parameter is unknown", body = ErrorBody),
        (status = 403, description = "No API token, a wrong one, or one of a sub-account for another account", body = ErrorBody),
        (status = 404, description = "The account has no such API token, or the admin's no such sub-account", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    admin: Admin,
    id: PathId,
    Asked(whose): Asked<Whose>,
) -> Result<Json<ApiTokenObject>, ApiError> {
    let account = admin.account_or_own(whose.account_id).await?;
    let token = admin.store.delete_api_token(account, id.api_token()?, &admin.by).await;
    token.map(|token| Json(ApiTokenObject::new(token, admin.token))).map_err(ApiError::of(Area::ApiTokens))
}
