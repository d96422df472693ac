//! One request at a time to the REST API, and what its answers mean.

use super::{ClientError, Connection};
use crate::tls::trusting;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than the server lets a change be waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
const ANSWER_BYTES_MAX: usize = 64 << 20;

pub(super) struct Api {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    api_token: HeaderValue,
}

impl Api {
    pub(super) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let url = connection.url.trim_end_matches('/').to_owned();
        let parsed: Option<Uri> = url.parse().ok();
        let authorities = match parsed.as_ref().and_then(|uri| uri.scheme_str().zip(uri.host())) {
            Some(("http", host)) if !host.is_empty() => None,
            Some(("https", host)) if !host.is_empty() => Some(&*connection.ca_file),
            _ => return Err(ClientError::MalformedUrl(url)),
        };
        let secret = connection.api_token.as_ref().filter(|secret| !secret.0.is_empty());
        let secret = secret.ok_or(ClientError::NoApiToken)?;
        let mut api_token = HeaderValue::from_str(&secret.0).map_err(|_| ClientError::MalformedApiToken)?;
        api_token.set_sensitive(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(trusting(authorities)?);
        let connector = connector.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), url, api_token })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, path, body.to_string().into()).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::PUT, path, body.to_string().into()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    pub(super) fn not_shipgate(&self) -> ClientError {
        ClientError::NotShipgate(self.url.clone())
    }

    pub(super) fn wrong_api_token(&self) -> ClientError {
        ClientError::WrongApiToken(self.url.clone())
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Value, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("x-api-token", &self.api_token)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|_| ClientError::MalformedUrl(self.url.clone()))?;
        match timeout(ANSWER_TIMEOUT, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut(self.url.clone())),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Value, ClientError> {
        let unreachable = |source: Box<dyn Error + Send + Sync>| match is_of_tls(&*source) {
            true => ClientError::Untrusted { url: self.url.clone(), source },
            false => ClientError::Unreachable { url: self.url.clone(), source },
        };
        let response = self.client.request(request).await.map_err(|error| unreachable(error.into()))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(unreachable)?;
        let answer: Value = serde_json::from_slice(&body.to_bytes()).map_err(|_| self.not_shipgate())?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(match &answer["message"] {
            Value::String(_) if status.as_u16() == 403 => ClientError::Forbidden,
            Value::String(_) => ClientError::Refused(answer),
            _ => self.not_shipgate(),
        })
    }
}

/// Whether it is TLS that failed: somebody answered, and is not who was expected.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let below = inner.map_or_else(|| error.source(), |inner| Some(inner));
    error.is::<rustls::Error>() || below.is_some_and(is_of_tls)
}
