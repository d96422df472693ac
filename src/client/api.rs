//! One request at a time to the REST API, and what its answers mean.

use super::{ClientError, Connection, Secret};
use crate::tls::trusting;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
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
    /// The header it is sent in, and its value.
    credential: (&'static str, HeaderValue),
}

/// What a command signs in with.
pub(super) enum Credential<'a> {
    ApiToken(&'a Secret),
    SharedToken(&'a Secret),
}

impl Api {
    /// Signs in with the connection's API token.
    pub(super) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let secret = connection.api_token.as_ref().filter(|secret| !secret.0.is_empty());
        Self::with(connection, Credential::ApiToken(secret.ok_or(ClientError::NoApiToken)?))
    }

    pub(super) fn with(connection: &Connection, credential: Credential) -> Result<Self, ClientError> {
        let url = connection.url.trim_end_matches('/').to_owned();
        let parsed: Option<Uri> = url.parse().ok();
        let authorities = match parsed.as_ref().and_then(|uri| uri.scheme_str().zip(uri.host())) {
            Some(("http", host)) if !host.is_empty() => None,
            Some(("https", host)) if !host.is_empty() => Some(&*connection.ca_file),
            _ => return Err(ClientError::MalformedUrl(url)),
        };
        let (header, secret, malformed) = match credential {
            Credential::ApiToken(secret) => ("x-api-token", secret, ClientError::MalformedApiToken),
            Credential::SharedToken(secret) => ("x-shared-token", secret, ClientError::MalformedSharedToken),
        };
        let mut value = HeaderValue::from_str(&secret.0).map_err(|_| malformed)?;
        value.set_sensitive(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(trusting(authorities)?);
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, url, credential: (header, value) })
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

    /// Where the API is, without a slash at its end.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn not_shipgate(&self) -> ClientError {
        ClientError::NotShipgate(self.url.clone())
    }

    pub(super) fn wrong_api_token(&self) -> ClientError {
        ClientError::WrongApiToken(self.url.clone())
    }

    pub(super) fn broke_off(&self) -> ClientError {
        ClientError::BrokeOff(self.url.clone())
    }

    /// An answer as it is, for those who make more of it than a tree.
    pub(super) async fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.in_time(async { self.whole(self.accepted(request).await?).await }).await
    }

    /// An answer that is read as it comes, however long that takes.
    pub(super) async fn open(&self, path: &str) -> Result<Incoming, ClientError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.in_time(self.accepted(request)).await.map(Response::into_body)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Value, ClientError> {
        let request = self.request(method, path, body)?;
        let answer = self.in_time(async { self.whole(self.accepted(request).await?).await }).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|_| self.not_shipgate())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let (header, value) = &self.credential;
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(*header, value)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|_| ClientError::MalformedUrl(self.url.clone()))
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut(self.url.clone())),
        }
    }

    /// The answer to a request, unless it is a refusal.
    async fn accepted(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let response = self.client.request(request).await.map_err(|error| self.unreachable(error.into()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let answer: Value =
            serde_json::from_slice(&self.whole(response).await?).map_err(|_| self.not_shipgate())?;
        Err(match &answer["message"] {
            Value::String(_) if status == StatusCode::FORBIDDEN => ClientError::Forbidden,
            Value::String(_) => ClientError::Refused(answer),
            _ => self.not_shipgate(),
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        Ok(body.collect().await.map_err(|error| self.unreachable(error))?.to_bytes())
    }

    fn unreachable(&self, source: Box<dyn Error + Send + Sync>) -> ClientError {
        match is_of_tls(&*source) {
            true => ClientError::Untrusted { url: self.url.clone(), source },
            false => ClientError::Unreachable { url: self.url.clone(), source },
        }
    }
}

/// Whether it is TLS that failed: somebody answered, and is not who was expected.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let below = inner.map_or_else(|| error.source(), |inner| Some(inner));
    error.is::<rustls::Error>() || below.is_some_and(is_of_tls)
}
