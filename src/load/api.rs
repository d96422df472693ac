//! The control plane as the harness uses it: makes tokens and accounts for a run, and changes tokens during one.

use super::link::{Http, Link, LinkError};
use super::options::{Options, Secret};
use super::target::{Target, TargetError};
use crate::shutdown::{Shutdown, Tasks};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

const TOKENS: &str = "/v1/log-shipping/tokens";
const ACCOUNTS: &str = "/v1/account-management/time-based-accounts";
/// How many accounts are created at the same time.
const CREATORS: usize = 8;
/// For one request to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the control plane did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("this needs an account's API token: set SHIPGATE_API_TOKEN, or use --api-token")]
    NoApiToken,
    #[error("the API token has characters that no API token has")]
    MalformedApiToken,
    #[error("the API's address does not do")]
    Target(#[from] TargetError),
    #[error("the API does not answer: is the control plane running, and is that its address? (--api)")]
    Unreachable(#[source] LinkError),
    #[error("the API took too long to answer")]
    TimedOut,
    #[error("the API answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the API answered otherwise than a Shipgate control plane does")]
    NotShipgate,
    #[error(
        "the account's plan allows {free} more enabled tokens, not {asked}: create fewer, or spread them over \
         sub-accounts with --create-accounts"
    )]
    PlanLimit { free: u64, asked: u64 },
}

/// One connection to the control plane.
pub(super) struct Api {
    target: Target,
    token: HeaderValue,
    tasks: Tasks,
    link: Option<Link>,
}

/// A shipping token that was created.
#[derive(Debug, Clone)]
pub(super) struct Created {
    pub id: u64,
    pub value: String,
}

impl Api {
    pub(super) async fn new(options: &Options, tasks: &Tasks) -> Result<Self, ApiError> {
        let Some(Secret(token)) = options.api_token.as_ref().filter(|token| !token.0.is_empty()) else {
            return Err(ApiError::NoApiToken);
        };
        let token = secret(token)?;
        let target = Target::resolve(&options.api, &options.ca, Http::One).await?;
        Ok(Self { target, token, tasks: tasks.clone(), link: None })
    }

    /// The same, on a connection of its own.
    pub(super) fn another(&self) -> Self {
        Self { target: self.target.clone(), token: self.token.clone(), tasks: self.tasks.clone(), link: None }
    }

    pub(super) async fn create_token(&mut self, name: &str) -> Result<Created, ApiError> {
        let token = self.call(Method::POST, TOKENS, &json!({ "name": name })).await?;
        let value = token["token"].as_str().map(str::to_owned);
        let (id, value) = token["id"].as_u64().zip(value).ok_or(ApiError::NotShipgate)?;
        Ok(Created { id, value })
    }

    pub(super) async fn set_enabled(&mut self, id: u64, enabled: bool) -> Result<(), ApiError> {
        let path = format!("{TOKENS}/{id}");
        self.call(Method::PUT, &path, &json!({ "enabled": enabled })).await.map(drop)
    }

    pub(super) async fn delete_token(&mut self, id: u64) -> Result<(), ApiError> {
        self.call(Method::DELETE, &format!("{TOKENS}/{id}"), &Value::Null).await.map(drop)
    }

    /// Creates enabled tokens in the account, all of them or none.
    pub(super) async fn create_tokens(
        &mut self,
        count: usize,
        prefix: &str,
    ) -> Result<Vec<Created>, ApiError> {
        let limits = self.call(Method::GET, &format!("{TOKENS}/limits"), &Value::Null).await?;
        let number = |key: &str| limits[key].as_u64().ok_or(ApiError::NotShipgate);
        let free = number("maxAllowedTokens")?.saturating_sub(number("numOfEnabledTokens")?);
        if count as u64 > free {
            return Err(ApiError::PlanLimit { free, asked: count as u64 });
        }
        let mut created = vec![];
        for number in 0..count {
            match self.create_token(&format!("{prefix}-{number}")).await {
                Ok(token) => created.push(token),
                Err(error) => {
                    self.delete_tokens(&created).await;
                    return Err(error);
                }
            }
        }
        Ok(created)
    }

    /// Deletes what can be deleted.
    pub(super) async fn delete_tokens(&mut self, created: &[Created]) {
        for token in created {
            if let Err(error) = self.delete_token(token.id).await {
                eprintln!("the token {} was not deleted: {error}", token.id);
            }
        }
    }

    /// Creates sub-accounts with so many enabled tokens each, and gives these.
    pub(super) async fn create_accounts(
        &self,
        count: usize,
        tokens_each: usize,
        prefix: &str,
    ) -> Result<Vec<String>, ApiError> {
        let next = Arc::new(AtomicUsize::new(0));
        let created = Arc::new(Mutex::new(Ok(Vec::with_capacity(count))));
        let stage = Shutdown::new();
        for _ in 0..CREATORS.min(count) {
            let (mut api, next, created) = (self.another(), Arc::clone(&next), Arc::clone(&created));
            let prefix = prefix.to_owned();
            stage.tasks().spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let account = api.create_account(&format!("{prefix}-{number}"), tokens_each).await;
                    let mut created = created.lock().unwrap_or_else(PoisonError::into_inner);
                    match (account, &mut *created) {
                        (Ok(account), Ok(tokens)) => tokens.extend(account),
                        (Err(error), _) => {
                            *created = Err(error);
                            next.store(count, Ordering::Relaxed);
                        }
                        (Ok(_), Err(_)) => {}
                    }
                }
            });
        }
        let _ = stage.drain(Duration::MAX).await;
        let mut created = created.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *created, Ok(vec![]))
    }

    async fn create_account(&mut self, name: &str, tokens: usize) -> Result<Vec<String>, ApiError> {
        let new = json!({ "accountName": name, "retentionDays": 1 });
        let account = self.call(Method::POST, ACCOUNTS, &new).await?;
        let text = |key: &str| account[key].as_str().ok_or(ApiError::NotShipgate);
        let first = text("accountToken")?.to_owned();
        if tokens <= 1 {
            return Ok(vec![first]);
        }
        // The others are made in the account's own name.
        let main = std::mem::replace(&mut self.token, secret(text("apiToken")?)?);
        let others = self.create_tokens(tokens - 1, "load").await;
        self.token = main;
        Ok(std::iter::once(first).chain(others?.into_iter().map(|token| token.value)).collect())
    }

    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value, ApiError> {
        let uri = self.target.uri(path).ok_or(ApiError::NotShipgate)?;
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-api-token", self.token.clone());
        let answer = timeout(ANSWER_TIMEOUT, async {
            let mut link = Link::renew(self.link.take(), &self.target, &self.tasks).await?;
            let answer = link.send(request).await?;
            Ok((link, answer))
        });
        let (link, answer) = answer.await.map_err(|_| ApiError::TimedOut)?.map_err(ApiError::Unreachable)?;
        self.link = Some(link);
        let value: Value = serde_json::from_slice(&answer.body).map_err(|_| ApiError::NotShipgate)?;
        match answer.status {
            200..=299 => Ok(value),
            status => {
                let message = value["message"].as_str().unwrap_or("no reason given").to_owned();
                Err(ApiError::Refused { status, message })
            }
        }
    }
}

fn secret(token: &str) -> Result<HeaderValue, ApiError> {
    let mut token = HeaderValue::from_str(token).map_err(|_| ApiError::MalformedApiToken)?;
    token.set_sensitive(true);
    Ok(token)
}
