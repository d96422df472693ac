//! The calls about saved views: everybody of the account sees and makes them; who made one, and admins, change it.

use super::access::member::Member;
use super::error::{ApiError, Area, ErrorBody};
use super::input::{Body, PathId};
use super::terms::seconds;
use crate::store::views::{View, ViewId, ViewUpdate};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ViewObject {
    #[schema(value_type = i32)]
    id: u32,
    name: String,
    /// Where in the console it is: what stands behind `#/` in Explore's address, percent-encoded.
    view: String,
    created_by: String,
    /// Seconds since the Unix epoch.
    created_at: f64,
    /// Whether who asks may change and delete it.
    yours: bool,
}

impl ViewObject {
    fn new(view: View, member: &Member) -> Self {
        Self {
            id: view.id.0,
            yours: may_change(&view, member),
            name: view.name,
            view: view.place,
            created_by: view.created_by,
            created_at: seconds(view.created_ms),
        }
    }
}

fn may_change(view: &View, member: &Member) -> bool {
    member.admin || (member.user.is_some() && view.owner == member.user)
}

/// The view, if who asks may change it. Who made it never changes.
async fn changeable(member: &Member, id: ViewId) -> Result<(), ApiError> {
    let view = member.store.view(member.account, id).await.map_err(ApiError::of(Area::Views))?;
    if may_change(&view, member) { Ok(()) } else { Err(ApiError::Forbidden) }
}

/// List the account's saved views.
#[utoipa::path(
    operation_id = "listViews",
    get, path = "/v1/views", tag = "views", security(("apiToken" = []), ("session" = [])),
    responses(
        (status = 200, description = "By name", body = Vec<ViewObject>),
        (status = 403, description = "Nobody of the account", body = ErrorBody),
    )
)]
pub(super) async fn list(member: Member) -> Result<Json<Vec<ViewObject>>, ApiError> {
    let views = member.store.views(member.account).await.map_err(ApiError::of(Area::Views))?;
    Ok(Json(views.into_iter().map(|view| ViewObject::new(view, &member)).collect()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewView {
    /// Unique in the account, at most 100 characters.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: String,
    /// Such as `explore?query=level:error&from=now-15m`.
    #[schema(min_length = 1, max_length = 8000, pattern = r"^explore(\?[!-~]*)?$")]
    view: String,
}

/// Save a view.
#[utoipa::path(
    operation_id = "createView",
    post, path = "/v1/views", tag = "views", security(("apiToken" = []), ("session" = [])),
    request_body = NewView,
    responses(
        (status = 201, description = "Saved", body = ViewObject),
        (status = 400, description = "The name is empty or taken, the view is none, there are too many, or a field is unknown", body = ErrorBody),
        (status = 403, description = "Nobody of the account, or another site asked", body = ErrorBody),
    )
)]
pub(super) async fn create(
    member: Member,
    Body(new): Body<NewView>,
) -> Result<(StatusCode, Json<ViewObject>), ApiError> {
    let made = member.store.create_view(member.account, &new.name, &new.view, member.user, &member.by).await;
    let view = made.map_err(ApiError::of(Area::Views))?;
    Ok((StatusCode::CREATED, Json(ViewObject::new(view, &member))))
}

/// What to change. At least one field.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ViewChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    name: Option<String>,
    #[serde(default)]
    #[schema(min_length = 1, max_length = 8000, pattern = r"^explore(\?[!-~]*)?$")]
    view: Option<String>,
}

/// Change a saved view.
#[utoipa::path(
    operation_id = "updateView",
    put, path = "/v1/views/{id}", tag = "views", security(("apiToken" = []), ("session" = [])),
    params(("id" = i32, Path, description = "The view's id")),
    request_body = ViewChange,
    responses(
        (status = 200, description = "The view", body = ViewObject),
        (status = 400, description = "No field is there, the name is empty or taken, or the view is none", body = ErrorBody),
        (status = 403, description = "Neither its maker nor an admin, or another site asked", body = ErrorBody),
        (status = 404, description = "The account has no such view", body = ErrorBody),
    )
)]
pub(super) async fn update(
    member: Member,
    id: PathId,
    Body(change): Body<ViewChange>,
) -> Result<Json<ViewObject>, ApiError> {
    let update = ViewUpdate { name: change.name.as_deref(), place: change.view.as_deref() };
    if update == ViewUpdate::default() {
        return Err(ApiError::Malformed("Nothing to change: a view's fields are name and view".to_owned()));
    }
    let id = id.view()?;
    changeable(&member, id).await?;
    let view = member.store.update_view(member.account, id, update, &member.by).await;
    Ok(Json(ViewObject::new(view.map_err(ApiError::of(Area::Views))?, &member)))
}

/// Delete a saved view.
#[utoipa::path(
    operation_id = "deleteView",
    delete, path = "/v1/views/{id}", tag = "views", security(("apiToken" = []), ("session" = [])),
    params(("id" = i32, Path, description = "The view's id")),
    responses(
        (status = 200, description = "What was deleted", body = ViewObject),
        (status = 403, description = "Neither its maker nor an admin, or another site asked", body = ErrorBody),
        (status = 404, description = "The account has no such view", body = ErrorBody),
    )
)]
pub(super) async fn delete(member: Member, id: PathId) -> Result<Json<ViewObject>, ApiError> {
    let id = id.view()?;
    changeable(&member, id).await?;
    let view = member.store.delete_view(member.account, id, &member.by).await;
    Ok(Json(ViewObject::new(view.map_err(ApiError::of(Area::Views))?, &member)))
}
