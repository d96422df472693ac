//! The calls about filters, in the account of the one who asks: members see them, admins make and delete them.

use super::access::Admin;
use super::access::member::Member;
use super::error::{ApiError, Area, ErrorBody};
use super::input::{Body, PathText};
use super::shared_tokens::unknown_id;
use crate::domain::account::AccountId;
use crate::domain::filter::{Filter, FilterId, Operator};
use crate::store::StoreError;
use crate::store::filters::{DeletedFilter, StoredFilter};
use crate::store::shared_tokens::Share;
use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A filter: the logs whose field has exactly this value.
#[derive(Serialize, ToSchema)]
pub(super) struct FilterObject {
    #[schema(value_type = i32)]
    id: u32,
    /// A dotted path.
    field: String,
    /// A text's content, or the JSON text of a number, a boolean or null.
    value: String,
    description: String,
}

impl From<StoredFilter> for FilterObject {
    fn from(stored: StoredFilter) -> Self {
        let StoredFilter { id, filter: Filter { field, value }, description } = stored;
        Self { id: id.0, field, value, description }
    }
}

/// A filter that is no more, and what its deletion changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletedFilterObject {
    #[serde(flatten)]
    filter: FilterObject,
    /// The shared tokens that had it: their links show something else now.
    shared_tokens: Vec<ChangedSharedToken>,
}

#[derive(Serialize, ToSchema)]
struct ChangedSharedToken {
    #[schema(value_type = i32)]
    id: u32,
    name: String,
    shows: Shows,
}

/// What a shared token shows without the filter, beside before.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Shows {
    /// It needed all of its filters, and has others: what those let through.
    More,
    /// One of its filters was enough, and it has others.
    Less,
    /// It was its last filter: the token is suspended.
    Nothing,
}

impl From<Share> for ChangedSharedToken {
    /// Of a token as it was.
    fn from(share: Share) -> Self {
        let had_others = share.filters.is_some_and(|filters| filters.len() > 1);
        let shows = match (had_others, share.operator) {
            (false, _) => Shows::Nothing,
            (true, Operator::And) => Shows::More,
            (true, Operator::Or) => Shows::Less,
        };
        Self { id: share.id.0, name: share.name, shows }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFilter {
    /// A dotted path, such as `kubernetes.namespace`.
    #[schema(min_length = 1, max_length = 256)]
    field: String,
    /// Compared letter by letter: there are no wildcards.
    #[schema(min_length = 1, max_length = 1_000)]
    value: String,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: Option<String>,
}

/// List filters.
#[utoipa::path(
    operation_id = "listFilters",
    get, path = "/v1/shared-tokens/filters", tag = "shared tokens", security(("apiToken" = []), ("session" = [])),
    responses(
        (status = 200, description = "Oldest first", body = Vec<FilterObject>),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn list(member: Member) -> Result<Json<Vec<FilterObject>>, ApiError> {
    let filters = member.store.filters(member.account).await.map_err(ApiError::of(Area::Filters))?;
    Ok(Json(filters.into_iter().map(Into::into).collect()))
}

/// Create a filter. It limits nothing until a shared token has it.
#[utoipa::path(
    operation_id = "createFilter",
    post, path = "/v1/shared-tokens/filters", tag = "shared tokens", security(("apiToken" = [])),
    request_body = NewFilter,
    responses(
        (status = 200, description = "Created", body = FilterObject),
        (status = 400, description = "Field or value is empty or too long, the account has this filter already, a field is unknown, or there are 200 filters", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn create(admin: Admin, Body(new): Body<NewFilter>) -> Result<Json<FilterObject>, ApiError> {
    let filter = Filter { field: new.field, value: new.value };
    let description = new.description.unwrap_or_default();
    let filter = admin.store.create_filter(admin.account, filter, &description, &admin.by).await;
    filter.map(|filter| Json(filter.into())).map_err(ApiError::of(Area::Filters))
}

/// Show a filter.
#[utoipa::path(
    operation_id = "showFilter",
    get, path = "/v1/shared-tokens/filters/{id}", tag = "shared tokens", security(("apiToken" = []), ("session" = [])),
    params(("id" = i32, Path, description = "The filter's id")),
    responses(
        (status = 200, description = "It", body = FilterObject),
        (status = 400, description = "The account has no such filter", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn show(member: Member, id: PathText) -> Result<Json<FilterObject>, ApiError> {
    let (id, unknown) = filter_id(member.account, &id)?;
    member.store.filter(member.account, id).await.map(|filter| Json(filter.into())).map_err(unknown)
}

/// Delete a filter, at once on every link whose shared token has it. A shared token that loses its last one is suspended: it
/// shares nothing until its filters are saved again. One with `AND` and other filters shares more than before; the answer names those whom it changed.
#[utoipa::path(
    operation_id = "deleteFilter",
    delete, path = "/v1/shared-tokens/filters/{id}", tag = "shared tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The filter's id")),
    responses(
        (status = 200, description = "What was deleted, and which shared tokens show something else now", body = DeletedFilterObject),
        (status = 400, description = "The account has no such filter", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn delete(admin: Admin, id: PathText) -> Result<Json<DeletedFilterObject>, ApiError> {
    let (id, unknown) = filter_id(admin.account, &id)?;
    let deleted = admin.store.delete_filter(admin.account, id, &admin.by).await;
    let DeletedFilter { filter, taken_from } = deleted.map_err(unknown)?;
    let shared_tokens = taken_from.into_iter().map(Into::into).collect();
    Ok(Json(DeletedFilterObject { filter: filter.into(), shared_tokens }))
}

/// The `{id}` of a path, and how to say that there is no such filter.
fn filter_id(
    account: AccountId,
    id: &PathText,
) -> Result<(FilterId, impl Fn(StoreError) -> ApiError), ApiError> {
    let unknown = unknown_id(Area::Filters, "filter", &id.0, account);
    match id.0.parse() {
        Ok(number) => Ok((FilterId(number), unknown)),
        Err(_) => Err(unknown(StoreError::NotFound)),
    }
}
