//! Who may read. A [`Viewer`] comes with what of its account's logs it may see; no route that reads logs is without one. A
//! [`Recipient`] came by a link.
//!
//! A shared token that is sent decides, whatever else is sent with it: who looks at a link, an admin included, sees what its
//! recipients see. It is taken from the header `X-SHARED-TOKEN`, or, of a request that only reads, from the query's
//! `shareToken`. It reads; it never manages.

use super::super::error::{ApiError, Area};
use super::super::sign_ins::SignedIn;
use super::App;
use super::member::{Sessions, api_token};
use crate::clock::monotonic;
use crate::domain::account::AccountId;
use crate::domain::filter::Access;
use crate::domain::token::TokenDigest;
use crate::store::sessions::SessionLimits;
use crate::store::shared_tokens::{Found, Opened};
use crate::store::{Store, StoreError};
use axum::extract::FromRequestParts;
use axum::http::{Method, request};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// For how long what may be read is taken to be as it was, when nobody says otherwise.
const LOOK: Duration = Duration::from_secs(1);

/// Somebody who may read logs of `account`.
pub(in crate::control) struct Viewer {
    pub account: AccountId,
    access: Access,
    credential: Credential,
    store: Store,
    /// Before the credential was looked at: no change since is missed.
    changes: watch::Receiver<u64>,
}

impl Viewer {
    async fn of(parts: &request::Parts, store: Store, sessions: &Sessions) -> Result<Self, ApiError> {
        let changes = store.sharing_changes();
        let credential = sent(parts, sessions)?;
        let standing = standing(parts, &store, credential).await?;
        if let Some(opened) = &standing.opened {
            store.share_used(opened.id, 0);
        }
        Ok(Self { account: standing.account, access: standing.access, credential, store, changes })
    }

    /// What it may read, as the request began.
    pub(in crate::control) fn access(&self) -> &Access {
        &self.access
    }

    /// Whether it came by a link: then it is told nothing that comes from logs which it may not see, such as how many were
    /// looked through.
    pub(in crate::control) fn is_recipient(&self) -> bool {
        matches!(self.credential, Credential::SharedToken(_))
    }

    /// A place in the log as this viewer is to bring it back. Recipients cannot read it: from one place to the next it would
    /// tell how much there is between them.
    pub(in crate::control) fn shown_place(&self, place: String) -> String {
        match self.credential {
            Credential::SharedToken(digest) => self.store.seal(&place_owner(digest), &place),
            _ => place,
        }
    }

    /// A place that [`Self::shown_place`] showed this viewer; `None` of anything else.
    pub(in crate::control) fn place(&self, shown: &str) -> Option<String> {
        match self.credential {
            Credential::SharedToken(digest) => self.store.unseal(&place_owner(digest), shown),
            _ => Some(shown.to_owned()),
        }
    }

    /// For a request that lives long.
    pub(in crate::control) fn watch(&self) -> Watch {
        Watch {
            access: self.access.clone(),
            expires_ms: None,
            // Asked at once: it says when the token expires.
            looked: None,
            credential: self.credential,
            store: self.store.clone(),
            changes: self.changes.clone(),
        }
    }
}

/// Somebody with a shared token.
pub(in crate::control) struct Recipient {
    pub opened: Opened,
    pub store: Store,
}

/// What somebody reads with, by its digest. One line each here, in [`sent`] and in [`judge`].
#[derive(Clone, Copy)]
enum Credential {
    ApiToken(TokenDigest),
    Session(TokenDigest, SessionLimits),
    SharedToken(TokenDigest),
}

/// What a credential stands for now.
struct Standing {
    account: AccountId,
    access: Access,
    /// Unix milliseconds.
    expires_ms: Option<u64>,
    /// Of a shared token.
    opened: Option<Opened>,
    actor: String,
}

/// Why a credential opens nothing.
enum Invalid {
    Unknown,
    Expired,
}

/// Why a request that lives long may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Over {
    /// The token was deleted.
    Deleted,
    Expired,
    /// Nobody can say what may be read.
    Unavailable,
}

/// What may be read, for as long as somebody reads.
pub(in crate::control) struct Watch {
    access: Access,
    expires_ms: Option<u64>,
    looked: Option<Instant>,
    credential: Credential,
    store: Store,
    changes: watch::Receiver<u64>,
}

impl Watch {
    /// What may be read now. To be asked before every event: it costs next to nothing unless something was changed, or for
    /// a second nobody looked.
    pub(in crate::control) async fn access(&mut self) -> Result<&Access, Over> {
        let is_new = self.looked.is_some_and(|looked| monotonic() - looked < LOOK);
        if !is_new || self.changes.has_changed().unwrap_or(true) {
            self.look().await?;
        }
        match self.expires_ms {
            Some(expires_ms) if expires_ms <= self.store.unix_ms() => Err(Over::Expired),
            _ => Ok(&self.access),
        }
    }

    /// Waits until what may be read may have changed, a second at most: then [`Self::access`] is to be asked again.
    pub(in crate::control) async fn stirred(&mut self) {
        let left_ms = self.expires_ms.map(|expires_ms| expires_ms.saturating_sub(self.store.unix_ms()));
        let wait = left_ms.map_or(LOOK, |ms| LOOK.min(Duration::from_millis(ms)));
        let mut changes = self.changes.clone();
        let _ = timeout(wait, changes.changed()).await;
    }

    async fn look(&mut self) -> Result<(), Over> {
        self.changes.mark_unchanged();
        // Until it is known again, nothing may be read.
        self.looked = None;
        let looked = monotonic();
        match judge(&self.store, self.credential).await {
            Ok(Ok(Standing { access, expires_ms, .. })) => {
                (self.access, self.expires_ms, self.looked) = (access, expires_ms, Some(looked));
                Ok(())
            }
            Ok(Err(Invalid::Unknown)) => Err(Over::Deleted),
            Ok(Err(Invalid::Expired)) => Err(Over::Expired),
            Err(_) => Err(Over::Unavailable),
        }
    }
}

fn place_owner(digest: TokenDigest) -> String {
    format!("place:{}", digest.to_hex())
}

/// The credential that a request was sent with.
fn sent(parts: &request::Parts, sessions: &Sessions) -> Result<Credential, ApiError> {
    let shared = shared_token(parts).map(Credential::SharedToken);
    match shared.or_else(|| api_token(parts).map(Credential::ApiToken)) {
        Some(credential) => Ok(credential),
        None => Ok(Credential::Session(sessions.sent(parts)?, sessions.limits)),
    }
}

fn shared_token(parts: &request::Parts) -> Option<TokenDigest> {
    if let Some(value) = parts.headers.get("x-shared-token") {
        // What is no text is no token either, but was sent.
        return Some(TokenDigest::of(value.to_str().unwrap_or_default().trim()));
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let query = parts.uri.query()?;
    let (_, token) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "shareToken")?;
    Some(TokenDigest::of(token.trim()))
}

/// Looks a credential up: the same work whatever was sent.
async fn judge(store: &Store, credential: Credential) -> Result<Result<Standing, Invalid>, StoreError> {
    match credential {
        Credential::ApiToken(digest) => {
            let known = store.authenticate(&digest).await?;
            Ok(known.ok_or(Invalid::Unknown).map(|identity| Standing {
                account: identity.account,
                access: Access::Everything,
                expires_ms: None,
                opened: None,
                actor: format!("api-token:{}", identity.token_name),
            }))
        }
        Credential::Session(digest, limits) => {
            let known = store.session(&digest, limits).await?;
            Ok(known.ok_or(Invalid::Unknown).map(|signed_in| Standing {
                account: signed_in.user.account,
                access: Access::Everything,
                expires_ms: None,
                opened: None,
                actor: signed_in.user.email,
            }))
        }
        Credential::SharedToken(digest) => Ok(match store.open_share(&digest).await? {
            Found::Opened(opened) => Ok(Standing {
                account: opened.account,
                access: opened.access.clone(),
                expires_ms: opened.expires_ms,
                actor: format!("shared-token:{}", opened.name),
                opened: Some(*opened),
            }),
            Found::Expired => Err(Invalid::Expired),
            Found::Nothing => Err(Invalid::Unknown),
        }),
    }
}

/// Whom a credential stands for, or the one answer to those that stand for nobody.
async fn standing(
    parts: &request::Parts,
    store: &Store,
    credential: Credential,
) -> Result<Standing, ApiError> {
    let judged = judge(store, credential).await.map_err(ApiError::of(Area::SharedTokens))?;
    let standing = judged.map_err(|_| match credential {
        Credential::ApiToken(_) => ApiError::Forbidden,
        Credential::Session(..) => ApiError::NotSignedIn { setup_needed: None },
        Credential::SharedToken(_) => ApiError::NotShared,
    })?;
    if let Some(signed_in) = parts.extensions.get::<SignedIn>() {
        signed_in.set(standing.account, &standing.actor);
    }
    Ok(standing)
}

impl FromRequestParts<App> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        Self::of(parts, app.0.store.clone(), &app.0.sessions).await
    }
}

impl FromRequestParts<App> for Recipient {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        let store = app.0.store.clone();
        let digest = shared_token(parts).ok_or(ApiError::NotShared)?;
        let standing = standing(parts, &store, Credential::SharedToken(digest)).await?;
        Ok(Self { opened: standing.opened.ok_or(ApiError::NotShared)?, store })
    }
}

#[cfg(test)]
mod tests;
