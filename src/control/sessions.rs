//! The calls by which people sign in, see who they are, and sign out; and by which they come to a password.
//!
//! A session is a secret in a cookie that scripts cannot read and other sites cannot send. What an answer shows of it is whose
//! it is.

use super::access::Tools;
use super::access::member::{COOKIE_NAME, Newcomer, Session, Way};
use super::error::{ApiError, Area, ErrorBody};
use super::first_start::random_session_token;
use super::input::Body;
use crate::clock::monotonic;
use crate::domain::token::{SessionToken, TokenDigest};
use crate::store::StoreError;
use crate::store::rules::{PASSWORD_CHARS_MAX, Refusal, check_password};
use crate::store::sessions::SignedInUser;
use crate::store::users::{PasswordHash, Role, User};
use axum::Json;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user may do.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    /// Manages the account.
    Admin,
    /// Reads its logs.
    User,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::User => Self::User,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::User => Self::User,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct SessionUser {
    #[schema(value_type = i32)]
    id: u32,
    email: String,
    role: RoleName,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionAccount {
    #[schema(value_type = i32)]
    account_id: u32,
    account_name: String,
    /// `community`, `pro` or `enterprise`.
    plan: &'static str,
    /// Whether it is a main account.
    main: bool,
}

/// Who is signed in, and to which account.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionObject {
    user: SessionUser,
    account: SessionAccount,
}

/// An answer that gives the browser a session's cookie, or takes it away.
type WithCookie<T> = ([(HeaderName, String); 1], T);

impl SessionObject {
    async fn of(tools: &Tools, user: &User) -> Result<Self, ApiError> {
        let account = tools.store.account(user.account).await.map_err(ApiError::of(Area::Accounts))?;
        Ok(Self {
            user: SessionUser { id: user.id.0, email: user.email.clone(), role: user.role.into() },
            account: SessionAccount {
                account_id: account.id.0,
                account_name: account.settings.name,
                plan: account.plan.name(),
                main: account.parent.is_none(),
            },
        })
    }
}

/// Show who is signed in.
#[utoipa::path(
    operation_id = "showSession",
    get, path = "/v1/session", tag = "sessions", security(()),
    responses(
        (status = 200, description = "The user and the account", body = SessionObject),
        (status = 401, description = "Nobody is signed in; `parameters.setupNeeded` tells whether there is nobody who could", body = ErrorBody),
    )
)]
pub(super) async fn show(
    newcomer: Newcomer,
    session: Result<Session, ApiError>,
) -> Result<Json<SessionObject>, ApiError> {
    match session {
        Ok(session) => Ok(Json(SessionObject::of(&session.tools, &session.signed_in.user).await?)),
        Err(ApiError::Forbidden | ApiError::NotSignedIn { .. }) => {
            let has_admin = newcomer.tools.store.has_admin().await.map_err(ApiError::Fault)?;
            Err(ApiError::NotSignedIn { setup_needed: Some(!has_admin) })
        }
        Err(fault) => Err(fault),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    email: String,
    #[schema(format = Password)]
    password: String,
}

/// Sign in. Sets the cookie `shipgate_session`, which scripts cannot read.
#[utoipa::path(
    operation_id = "signIn",
    post, path = "/v1/session", tag = "sessions", security(()),
    request_body = Credentials,
    responses(
        (status = 200, description = "The user and the account", body = SessionObject),
        (status = 400, description = "A field is missing or unknown", body = ErrorBody),
        (status = 403, description = "The e-mail address or the password is wrong, the user is suspended, or another site asked", body = ErrorBody),
        (status = 429, description = "Too many attempts: `Retry-After` says when the next one may be made", body = ErrorBody),
    )
)]
pub(super) async fn create(
    newcomer: Newcomer,
    Body(sent): Body<Credentials>,
) -> Result<WithCookie<Json<SessionObject>>, ApiError> {
    let Newcomer { way, tools } = newcomer;
    begin_attempt(&tools, &way, &sent.email)?;
    let user = tools.store.user_by_email(&sent.email).await.map_err(ApiError::Fault)?;
    let hash = user.as_ref().and_then(|user| user.password.clone());
    let right = is_right(&tools, sent.password, hash).await?;
    match user {
        Some(user) if right && !user.suspended => {
            tools.attempts().succeeded(way.source, &sent.email);
            sign_in(&tools, &way, &user).await
        }
        Some(user) => {
            // Not waited for: that it takes a moment would tell that there is such a user.
            let (store, by) = (tools.store.clone(), way.by(&user.email, Some(user.account)));
            tools.tasks().spawn(async move {
                if let Err(error) = store.audit_failed_sign_in(&user, &by).await {
                    tracing::warn!(%error, "a failed sign-in is not in the audit trail");
                }
            });
            Err(ApiError::WrongPassword)
        }
        None => Err(ApiError::WrongPassword),
    }
}

fn begin_attempt(tools: &Tools, way: &Way, email: &str) -> Result<(), ApiError> {
    let begun = tools.attempts().begin(way.source, email, monotonic());
    begun.map_err(|retry_after_s| ApiError::Slowed { retry_after_s })
}

/// Whether it is the password of this hash. One longer than any password is not, without being computed.
async fn is_right(tools: &Tools, password: String, hash: Option<PasswordHash>) -> Result<bool, ApiError> {
    if password.chars().count() > PASSWORD_CHARS_MAX {
        return Ok(false);
    }
    tools.passwords().verify(password, hash).await
}

/// Makes a session for a user whose password was right.
async fn sign_in(tools: &Tools, way: &Way, user: &User) -> Result<WithCookie<Json<SessionObject>>, ApiError> {
    let secret = random_session_token()?;
    let limits = tools.session_limits();
    let by = way.by(&user.email, Some(user.account));
    match tools.store.create_session(user, &secret.digest(), limits, &by).await {
        Ok(()) => {}
        // Suspended, deleted or given another password in this very moment.
        Err(StoreError::NotFound) => return Err(ApiError::WrongPassword),
        Err(fault) => return Err(ApiError::Fault(fault)),
    }
    let shown = SessionObject::of(tools, user).await?;
    Ok((set_cookie(Some(&secret), limits.age_ms_max / 1_000, way), Json(shown)))
}

fn set_cookie(secret: Option<&SessionToken>, age_s: u64, way: &Way) -> [(HeaderName, String); 1] {
    let value = secret.map_or("", SessionToken::expose);
    let age_s = if secret.is_some() { age_s } else { 0 };
    let secure = if way.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    [(SET_COOKIE, cookie)]
}

/// Sign out: this session ends.
#[utoipa::path(
    operation_id = "signOut",
    delete, path = "/v1/session", tag = "sessions", security(("session" = [])),
    responses(
        (status = 204, description = "Nobody is signed in any more"),
        (status = 401, description = "Nobody was, or not any more", body = ErrorBody),
        (status = 403, description = "No cookie, or another site asked", body = ErrorBody),
    )
)]
pub(super) async fn delete(session: Session) -> Result<WithCookie<StatusCode>, ApiError> {
    let Session { signed_in: SignedInUser { user, .. }, digest, by, way, tools } = session;
    tools.store.end_session(&user, &digest, &by).await.map_err(ApiError::of(Area::Sessions))?;
    Ok((set_cookie(None, 0, &way), StatusCode::NO_CONTENT))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(format = Password)]
    current: String,
    /// Not the user's e-mail address.
    #[schema(min_length = 12, max_length = 256, format = Password)]
    new: String,
}

/// Change one's own password. The user's other sessions end.
#[utoipa::path(
    operation_id = "changePassword",
    put, path = "/v1/session/password", tag = "sessions", security(("session" = [])),
    request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed"),
        (status = 400, description = "The new password is too short or too long, or a field is unknown", body = ErrorBody),
        (status = 401, description = "Nobody is signed in, or not any more", body = ErrorBody),
        (status = 403, description = "The current password is wrong, no cookie, or another site asked", body = ErrorBody),
        (status = 429, description = "Too many attempts: `Retry-After` says when the next one may be made", body = ErrorBody),
    )
)]
pub(super) async fn change_password(
    session: Session,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let Session { signed_in: SignedInUser { user, .. }, digest, by, way, tools } = session;
    acceptable(&change.new, &user.email)?;
    begin_attempt(&tools, &way, &user.email)?;
    if !is_right(&tools, change.current, user.password.clone()).await? {
        return Err(ApiError::WrongPassword);
    }
    tools.attempts().succeeded(way.source, &user.email);
    let hash = tools.passwords().hash(change.new).await?;
    let changed = tools.store.change_password(&user, &hash, &digest, &by).await;
    changed.map_err(ApiError::of(Area::Sessions))?;
    Ok(StatusCode::NO_CONTENT)
}

fn acceptable(password: &str, email: &str) -> Result<(), ApiError> {
    check_password(password, email).map_err(|refusal| ApiError::Refused(Area::Sessions, refusal))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUp {
    /// The set-up link's.
    token: String,
    /// Of a new user, or of one that the main account has and whose password is lost.
    email: String,
    /// Not the user's e-mail address.
    #[schema(min_length = 12, max_length = 256, format = Password)]
    password: String,
}

/// Become an admin of the main account by the set-up link that the first start printed, or `shipgate setup-link`, and sign in.
#[utoipa::path(
    operation_id = "setUp",
    post, path = "/v1/setup", tag = "sessions", security(()),
    request_body = SetUp,
    responses(
        (status = 200, description = "The user and the account", body = SessionObject),
        (status = 400, description = "The link is not valid any more, or the e-mail address or the password cannot be had", body = ErrorBody),
        (status = 403, description = "Another site asked", body = ErrorBody),
    )
)]
pub(super) async fn set_up(
    newcomer: Newcomer,
    Body(sent): Body<SetUp>,
) -> Result<WithCookie<Json<SessionObject>>, ApiError> {
    let Newcomer { way, tools } = newcomer;
    let (store, digest) = (&tools.store, TokenDigest::of(sent.token.trim()));
    // A password is hashed only for who has a link.
    if !store.setup_is_open(&digest).await.map_err(ApiError::Fault)? {
        return Err(ApiError::Refused(Area::Sessions, Refusal::LinkOver));
    }
    acceptable(&sent.password, &sent.email)?;
    let hash = tools.passwords().hash(sent.password).await?;
    let by = way.by(&sent.email.trim().to_lowercase(), None);
    let user = store.set_up(&digest, &sent.email, hash, &by).await.map_err(ApiError::of(Area::Sessions))?;
    sign_in(&tools, &way, &user).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acceptance {
    /// The invitation's.
    token: String,
    /// Not the user's e-mail address.
    #[schema(min_length = 12, max_length = 256, format = Password)]
    password: String,
}

/// Accept an invitation: set one's password, and sign in. Sessions from before end.
#[utoipa::path(
    operation_id = "acceptInvitation",
    post, path = "/v1/invitations/accept", tag = "sessions", security(()),
    request_body = Acceptance,
    responses(
        (status = 200, description = "The user and the account", body = SessionObject),
        (status = 400, description = "The invitation is not valid any more, or the password cannot be had", body = ErrorBody),
        (status = 403, description = "Another site asked", body = ErrorBody),
    )
)]
pub(super) async fn accept(
    newcomer: Newcomer,
    Body(sent): Body<Acceptance>,
) -> Result<WithCookie<Json<SessionObject>>, ApiError> {
    let Newcomer { way, tools } = newcomer;
    let (store, digest) = (&tools.store, TokenDigest::of(sent.token.trim()));
    let invited = store.invited(&digest).await.map_err(ApiError::Fault)?;
    let invited = invited.ok_or(ApiError::Refused(Area::Sessions, Refusal::LinkOver))?;
    acceptable(&sent.password, &invited.email)?;
    let hash = tools.passwords().hash(sent.password).await?;
    let by = way.by(&invited.email, Some(invited.account));
    let user = store.join(&digest, hash, &by).await.map_err(ApiError::of(Area::Sessions))?;
    sign_in(&tools, &way, &user).await
}
