//! The calls about users: an admin's own account's, and, for a main account's admin, its sub-accounts'.
//!
//! No mail is sent: an invitation is a link, which the admin who made it passes on.

use super::access::Admin;
use super::access::member::Way;
use super::error::{ApiError, Area, ErrorBody};
use super::first_start::random_link_token;
use super::input::{Asked, Body, PathId, Whose};
use super::sessions::RoleName;
use super::terms::seconds;
use crate::domain::token::LinkToken;
use crate::store::users::{Invitation, User, UserUpdate};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long an invitation works, in milliseconds.
const INVITATION_MS: u64 = 7 * 24 * 3_600_000;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Has no password yet, and may do nothing.
    Invited,
    Active,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserObject {
    #[schema(value_type = i32)]
    id: u32,
    email: String,
    role: RoleName,
    /// May do nothing until it is ended.
    suspended: bool,
    state: State,
    #[schema(value_type = i32)]
    account_id: u32,
    /// Seconds since the Unix epoch.
    created_at: f64,
    /// Seconds since the Unix epoch, to the minute; `null`: never.
    last_seen: Option<f64>,
}

impl From<User> for UserObject {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            email: user.email,
            role: user.role.into(),
            suspended: user.suspended,
            state: if user.password.is_some() { State::Active } else { State::Invited },
            account_id: user.account.0,
            created_at: seconds(user.created_ms),
            last_seen: user.seen_ms.map(seconds),
        }
    }
}

/// What its holder sets a password with, once. Shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationObject {
    token: String,
    /// Behind the console's address: `/#/join?token=…`.
    path: String,
    /// The whole link, as far as the server knows how it is reached; otherwise `path`.
    url: String,
    /// Seconds since the Unix epoch.
    expires_at: f64,
}

impl InvitationObject {
    fn new(token: &LinkToken, expires_ms: u64, way: &Way) -> Self {
        let path = format!("/#/join?token={}", token.expose());
        let url = way.origin.as_ref().map_or_else(|| path.clone(), |origin| format!("{origin}{path}"));
        Self { token: token.expose().to_owned(), path, url, expires_at: seconds(expires_ms) }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Invited {
    user: UserObject,
    invitation: InvitationObject,
}

/// List users.
#[utoipa::path(
    operation_id = "listUsers",
    get, path = "/v1/users", tag = "users", security(("apiToken" = [])),
    params(Whose),
    responses(
        (status = 200, description = "Oldest first", body = Vec<UserObject>),
        (status = 400, description = "An unknown parameter, or no number", body = ErrorBody),
        (status = 403, description = "No admin, or one of a sub-account for another account", body = ErrorBody),
        (status = 404, description = "No sub-account of the admin's account", body = ErrorBody),
    )
)]
pub(super) async fn list(
    admin: Admin,
    Asked(whose): Asked<Whose>,
) -> Result<Json<Vec<UserObject>>, ApiError> {
    let account = admin.account_or_own(whose.account_id).await?;
    let users = admin.store.users(account).await.map_err(ApiError::of(Area::Users))?;
    Ok(Json(users.into_iter().map(Into::into).collect()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewUser {
    /// Nobody else's, in whatever account.
    #[schema(format = Email, max_length = 254)]
    email: String,
    role: RoleName,
    /// A sub-account, for an admin of its main account; the admin's own account when missing.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    account_id: Option<u32>,
}

/// Invite somebody: the answer holds the link to pass on, which works once, for a week.
#[utoipa::path(
    operation_id = "inviteUser",
    post, path = "/v1/users", tag = "users", security(("apiToken" = [])),
    request_body = NewUser,
    responses(
        (status = 201, description = "Invited", body = Invited),
        (status = 400, description = "The e-mail address is none or taken, there are too many users, or a field is unknown", body = ErrorBody),
        (status = 403, description = "No admin, or one of a sub-account for another account", body = ErrorBody),
        (status = 404, description = "No sub-account of the admin's account", body = ErrorBody),
    )
)]
pub(super) async fn invite(
    admin: Admin,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<Invited>), ApiError> {
    let account = admin.account_or_own(new.account_id).await?;
    let (token, invitation) = new_invitation(&admin)?;
    let user = admin.store.invite_user(account, &new.email, new.role.into(), &invitation, &admin.by).await;
    let user = user.map_err(ApiError::of(Area::Users))?.into();
    let invitation = InvitationObject::new(&token, invitation.expires_ms, &admin.way);
    Ok((StatusCode::CREATED, Json(Invited { user, invitation })))
}

fn new_invitation(admin: &Admin) -> Result<(LinkToken, Invitation), ApiError> {
    let token = random_link_token()?;
    let expires_ms = admin.store.unix_ms().saturating_add(INVITATION_MS);
    let invitation = Invitation { digest: token.digest(), expires_ms };
    Ok((token, invitation))
}

/// Invite a user again: the link before is void. Of who has a password, it sets another one.
#[utoipa::path(
    operation_id = "inviteUserAgain",
    post, path = "/v1/users/{id}/invitation", tag = "users", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user and another link", body = Invited),
        (status = 403, description = "No admin", body = ErrorBody),
        (status = 404, description = "Neither a user of the account nor of a sub-account", body = ErrorBody),
    )
)]
pub(super) async fn invite_again(admin: Admin, id: PathId) -> Result<Json<Invited>, ApiError> {
    let (token, invitation) = new_invitation(&admin)?;
    let user = admin.store.invite_again(admin.account, id.user()?, &invitation, &admin.by).await;
    let user = user.map_err(ApiError::of(Area::Users))?.into();
    let invitation = InvitationObject::new(&token, invitation.expires_ms, &admin.way);
    Ok(Json(Invited { user, invitation }))
}

/// What to change. At least one field.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    #[serde(default)]
    role: Option<RoleName>,
    /// `true` ends the user's sessions at once.
    #[serde(default)]
    suspended: Option<bool>,
}

/// Change a user's role, suspend a user, or end that.
#[utoipa::path(
    operation_id = "updateUser",
    put, path = "/v1/users/{id}", tag = "users", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The user's id")),
    request_body = UserChange,
    responses(
        (status = 200, description = "The user", body = UserObject),
        (status = 400, description = "No field is there, or it is the account's last active admin", body = ErrorBody),
        (status = 403, description = "No admin", body = ErrorBody),
        (status = 404, description = "Neither a user of the account nor of a sub-account", body = ErrorBody),
    )
)]
pub(super) async fn update(
    admin: Admin,
    id: PathId,
    Body(change): Body<UserChange>,
) -> Result<Json<UserObject>, ApiError> {
    let update = UserUpdate { role: change.role.map(Into::into), suspended: change.suspended };
    if update == UserUpdate::default() {
        return Err(ApiError::Malformed(
            "Nothing to change: a user's fields are role and suspended".to_owned(),
        ));
    }
    let user = admin.store.update_user(admin.account, id.user()?, update, &admin.by).await;
    user.map(|user| Json(user.into())).map_err(ApiError::of(Area::Users))
}

/// Delete a user, whose sessions end at once.
#[utoipa::path(
    operation_id = "deleteUser",
    delete, path = "/v1/users/{id}", tag = "users", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The user's id")),
    responses(
        (status = 200, description = "Who was deleted", body = UserObject),
        (status = 400, description = "It is the account's last active admin", body = ErrorBody),
        (status = 403, description = "No admin", body = ErrorBody),
        (status = 404, description = "Neither a user of the account nor of a sub-account", body = ErrorBody),
    )
)]
pub(super) async fn delete(admin: Admin, id: PathId) -> Result<Json<UserObject>, ApiError> {
    let user = admin.store.delete_user(admin.account, id.user()?, &admin.by).await;
    user.map(|user| Json(user.into())).map_err(ApiError::of(Area::Users))
}
