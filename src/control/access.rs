//! Who is asking. [`Admin`], [`MainAdmin`], [`Gateway`] and those in [`member`] and [`viewer`] are made from a request's credentials and from
//! nothing else, and they alone lead to the store: a route that forgets to ask has nothing to answer with.

pub(super) mod viewer;

pub(super) mod member;

use super::attempts::Attempts;
use super::error::{ApiError, Area};
use super::listener::Listener;
use super::passwords::Passwords;
use super::sign_ins::FailedSignIns;
use crate::domain::account::AccountId;
use crate::domain::terms::Network;
use crate::domain::token::TokenDigest;
use crate::logs::read::Reader;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::store::api_tokens::ApiTokenId;
use crate::store::sessions::SessionLimits;
use crate::store::{By, Store};
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request;
use hyper::body::Bytes;
use member::{Member, Sessions, Way};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the API runs on. The store and the credential are not within reach of a handler.
#[derive(Clone)]
pub(super) struct App(Arc<Parts>);

pub(super) struct Parts {
    pub store: Store,
    /// None where the control plane cannot read the accounts' logs.
    pub reader: Option<Reader>,
    /// Of the gateways' credential.
    pub credential: TokenDigest,
    pub metrics: Arc<Metrics>,
    pub tasks: Tasks,
    pub failed_sign_ins: FailedSignIns,
    pub attempts: Attempts,
    pub passwords: Passwords,
    pub sessions: Sessions,
    pub listener: Listener,
    /// Who is believed about whom it forwards.
    pub trusted_proxies: Vec<Network>,
    /// How many snapshots of the directory may be read at the same time.
    pub snapshots: Arc<Semaphore>,
    /// How many exports may be under way at the same time: fewer than questions may, so that slow ones leave room for others.
    pub exports: Arc<Semaphore>,
    pub body_bytes_max: usize,
    pub request_timeout: Duration,
    pub openapi: Bytes,
}

impl App {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Reads the accounts' logs; every question says what of them may be read.
    pub(super) fn reader(&self) -> Option<&Reader> {
        self.0.reader.as_ref()
    }

    /// Not for handlers: for those who are made of credentials, to hand on.
    fn tools(&self) -> Tools {
        Tools { store: self.0.store.clone(), app: self.clone() }
    }

    pub(super) fn exports(&self) -> &Arc<Semaphore> {
        &self.0.exports
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(super) fn failed_sign_ins(&self) -> &FailedSignIns {
        &self.0.failed_sign_ins
    }

    /// By the clock of the store, which everything that expires goes by.
    pub(super) fn unix_ms(&self) -> u64 {
        self.0.store.unix_ms()
    }

    pub(super) fn trusted_proxies(&self) -> &[Network] {
        &self.0.trusted_proxies
    }

    pub(super) fn body_bytes_max(&self) -> usize {
        self.0.body_bytes_max
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    pub(super) fn openapi(&self) -> Bytes {
        self.0.openapi.clone()
    }
}

/// What signing in takes.
pub(super) struct Tools {
    pub store: Store,
    app: App,
}

impl Tools {
    pub(super) fn attempts(&self) -> &Attempts {
        &self.app.0.attempts
    }

    pub(super) fn passwords(&self) -> &Passwords {
        &self.app.0.passwords
    }

    pub(super) fn session_limits(&self) -> SessionLimits {
        self.app.0.sessions.limits
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.app.0.tasks
    }
}

/// An admin of `account`: whoever holds an API token of it, or a signed-in user of that role.
pub(super) struct Admin {
    pub account: AccountId,
    /// The API token in use, if it is one.
    pub token: Option<ApiTokenId>,
    pub by: By,
    pub way: Way,
    /// Where the account's shippers post.
    pub listener: Listener,
    pub store: Store,
    main: bool,
}

/// An admin of a main account: also of its sub-accounts.
pub(super) struct MainAdmin(pub Admin);

/// A gateway, by the gateways' credential.
pub(super) struct Gateway {
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub tasks: Tasks,
    pub snapshots: Arc<Semaphore>,
}

impl Admin {
    /// The account to act in: the admin's own, or, for a main account's admin, the sub-account asked for.
    pub(super) async fn account_or_own(&self, asked: Option<u32>) -> Result<AccountId, ApiError> {
        match asked.map(AccountId) {
            None => Ok(self.account),
            Some(account) if account == self.account => Ok(account),
            Some(_) if !self.main => Err(ApiError::Forbidden),
            Some(account) => {
                let account = self.store.account_under(self.account, account).await;
                account.map(|account| account.id).map_err(ApiError::of(Area::Accounts))
            }
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        let member = Member::from_request_parts(parts, app).await?;
        if !member.admin {
            return Err(ApiError::Forbidden);
        }
        let Member { account, main, token, by, way, store, .. } = member;
        Ok(Self { account, token, by, way, listener: app.0.listener.clone(), store, main })
    }
}

impl FromRequestParts<App> for MainAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        let admin = Admin::from_request_parts(parts, app).await?;
        if admin.main { Ok(Self(admin)) } else { Err(ApiError::Forbidden) }
    }
}

impl FromRequestParts<App> for Gateway {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, secret) = value.and_then(|value| value.split_once(' ')).ok_or(ApiError::Forbidden)?;
        let sent = TokenDigest::of(secret.trim());
        let same =
            aws_lc_rs::constant_time::verify_slices_are_equal(sent.as_bytes(), app.0.credential.as_bytes());
        if !scheme.eq_ignore_ascii_case("bearer") || same.is_err() {
            return Err(ApiError::Forbidden);
        }
        Ok(Self {
            store: app.0.store.clone(),
            metrics: Arc::clone(&app.0.metrics),
            tasks: app.0.tasks.clone(),
            snapshots: Arc::clone(&app.0.snapshots),
        })
    }
}
