//! The people of an account, by its API token or by the session of a browser, and who is about to become one of them.
//!
//! A cookie goes with every request a browser makes, whoever made it ask. So it counts only for requests that change nothing, or
//! that show that the console's own page made them: another site can neither send our header nor name our origin. Who has no cookie yet must
//! say at least that a body is JSON, which a form of another site cannot: it would sign a visitor in as somebody else.

use super::super::error::ApiError;
use super::super::exchange::{Arrived, RequestId, Source};
use super::super::origin::Origin;
use super::super::sign_ins::SignedIn;
use super::{App, Tools};
use crate::domain::account::AccountId;
use crate::domain::token::TokenDigest;
use crate::serve::OverTls;
use crate::store::api_tokens::ApiTokenId;
use crate::store::sessions::{SessionLimits, SignedInUser};
use crate::store::users::{Role, UserId};
use crate::store::{By, Store};
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, COOKIE, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use std::net::IpAddr;

/// The name of the session's cookie.
pub(in crate::control) const COOKIE_NAME: &str = "shipgate_session";

/// What the console's page says of itself in `X-Requested-With`.
const OUR_PAGE: &str = "shipgate";

/// What a session's cookie is judged by.
pub(in crate::control) struct Sessions {
    pub limits: SessionLimits,
    /// Where browsers reach the console, if it is configured.
    pub public_url: Option<Origin>,
}

/// Where a request came from, and by which way.
#[derive(Debug, Clone)]
pub(in crate::control) struct Way {
    pub source: Option<IpAddr>,
    request_id: Option<String>,
    /// Where the browser sees us: as configured, or as the request has it.
    pub origin: Option<Origin>,
}

impl Way {
    fn of(parts: &Parts, app: &App) -> Self {
        let tls = parts.extensions.get::<OverTls>().is_some();
        Self {
            source: parts.extensions.get::<Source>().map(|source| source.0),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.to_string()),
            origin: app.0.sessions.public_url.clone().or_else(|| Origin::asked(&parts.headers, tls)),
        }
    }

    /// What the audit trail says of a change made this way.
    pub(in crate::control) fn by(&self, actor: &str, account: Option<AccountId>) -> By {
        By {
            actor: actor.to_owned(),
            account,
            source: self.source.map(|source| source.to_string()),
            request_id: self.request_id.clone(),
            awaited: None,
        }
    }

    /// Whether browsers reach us over TLS.
    pub(in crate::control) fn is_secure(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.secure)
    }
}

/// A signed-in user, by the session's cookie and nothing else.
pub(in crate::control) struct Session {
    pub signed_in: SignedInUser,
    /// Of the session.
    pub digest: TokenDigest,
    pub by: By,
    pub way: Way,
    pub tools: Tools,
}

/// Somebody of the account: whoever holds an API token of it, or a signed-in user, admin or not.
pub(in crate::control) struct Member {
    pub account: AccountId,
    /// Whether that is a main account.
    pub main: bool,
    pub admin: bool,
    /// The API token in use, if it is one.
    pub token: Option<ApiTokenId>,
    /// The user, if it is one.
    pub user: Option<UserId>,
    pub by: By,
    pub way: Way,
    pub store: Store,
}

/// Nobody yet: somebody who is about to prove who they are. Only for the calls by which that is done.
pub(in crate::control) struct Newcomer {
    pub way: Way,
    pub tools: Tools,
}

impl FromRequestParts<App> for Newcomer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if !app.0.sessions.is_own_origin(&parts.headers) {
            return Err(ApiError::CrossSite);
        }
        body_is_json(parts)?;
        Ok(Self { way: Way::of(parts, app), tools: app.tools() })
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let digest = app.0.sessions.sent(parts)?;
        let found = app.0.store.session(&digest, app.0.sessions.limits).await.map_err(ApiError::Fault)?;
        let signed_in = found.ok_or(ApiError::NotSignedIn { setup_needed: None })?;
        let way = Way::of(parts, app);
        let (actor, account) = (&signed_in.user.email, signed_in.user.account);
        if let Some(noted) = parts.extensions.get::<SignedIn>() {
            noted.set(account, actor);
        }
        Ok(Self { by: way.by(actor, Some(account)), signed_in, digest, way, tools: app.tools() })
    }
}

impl FromRequestParts<App> for Member {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Some(digest) = api_token(parts) else {
            let session = Session::from_request_parts(parts, app).await?;
            let SignedInUser { user, main, .. } = session.signed_in;
            return Ok(Self {
                account: user.account,
                main,
                admin: user.role == Role::Admin,
                token: None,
                user: Some(user.id),
                by: session.by,
                way: session.way,
                store: session.tools.store,
            });
        };
        let known = app.0.store.authenticate(&digest).await.map_err(ApiError::Fault)?;
        let identity = known.ok_or(ApiError::Forbidden)?;
        let actor = format!("api-token:{}", identity.token_name);
        if let Some(noted) = parts.extensions.get::<SignedIn>() {
            noted.set(identity.account, &actor);
        }
        let way = Way::of(parts, app);
        Ok(Self {
            account: identity.account,
            main: identity.main,
            admin: true,
            token: Some(identity.token),
            user: None,
            by: way.by(&actor, Some(identity.account)),
            way,
            store: app.0.store.clone(),
        })
    }
}

/// What was sent as an API token. What is no text is none, but was sent.
pub(super) fn api_token(parts: &Parts) -> Option<TokenDigest> {
    let secret = parts.headers.get("x-api-token")?.to_str().unwrap_or_default();
    Some(TokenDigest::of(secret.trim()))
}

impl Sessions {
    /// What was sent as a session, by a request that may be one's own page's.
    pub(super) fn sent(&self, parts: &Parts) -> Result<TokenDigest, ApiError> {
        let digest = cookie(&parts.headers).ok_or(ApiError::Forbidden)?;
        if !is_safe(&parts.method) {
            if !self.is_from_our_page(&parts.headers) {
                return Err(ApiError::CrossSite);
            }
            body_is_json(parts)?;
        }
        Ok(digest)
    }

    fn is_from_our_page(&self, headers: &HeaderMap) -> bool {
        headers.get("x-requested-with").is_some_and(|value| value == OUR_PAGE) && self.is_own_origin(headers)
    }

    /// Whether an `Origin`, if there is one, is this very host's, by whatever scheme: a proxy may have taken TLS off.
    fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let Some(sent) = headers.get(ORIGIN) else { return true };
        let Some(sent) = sent.to_str().ok().and_then(|text| Origin::parse(text).ok()) else { return false };
        Origin::asked(headers, sent.secure).as_ref() == Some(&sent) || self.public_url.as_ref() == Some(&sent)
    }
}

fn cookie(headers: &HeaderMap) -> Option<TokenDigest> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, secret) = pairs.find(|(name, secret)| *name == COOKIE_NAME && !secret.is_empty())?;
    Some(TokenDigest::of(secret))
}

/// Refuses a body that is not said to be JSON, in any of its kinds. Browsers send forms and texts to other sites unasked, JSON not.
fn body_is_json(parts: &Parts) -> Result<(), ApiError> {
    if matches!(parts.extensions.get::<Arrived>(), Some(Arrived::Whole(body)) if body.is_empty()) {
        return Ok(());
    }
    let sent = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind.strip_prefix("application/").is_some_and(|kind| kind.ends_with("json"));
    if is_json { Ok(()) } else { Err(ApiError::NotJson) }
}

fn is_safe(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
