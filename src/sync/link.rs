//! The way to the control plane: its addresses, TLS, and the credential with which a gateway proves itself.
//!
//! One address is in use at a time, and whoever finds that it does not answer moves everybody on to the next. Gateways begin
//! with different ones, so that replicas of a control plane share them.

use super::Config;
use crate::tls::{TrustError, trusting};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long an address may take to accept a connection: the next one may be faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the control plane may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no way to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("no control plane can be trusted")]
    Trust(#[from] TrustError),
    #[error("the credential cannot be sent")]
    Credential(#[source] hyper::http::header::InvalidHeaderValue),
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the control plane's address is not a URL")]
    Address(#[source] hyper::http::Error),
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("the control plane did not answer in time")]
    Timeout,
    #[error("the control plane does not accept this gateway's credential")]
    Refused,
    #[error("the control plane answered {0}")]
    Status(StatusCode),
}

/// Cheap to clone; clones use the same address.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    addresses: Vec<Uri>,
    in_use: AtomicUsize,
    credential: HeaderValue,
}

impl Link {
    /// `lot` decides, by chance or not, with which address to begin.
    pub fn new(config: &Config, lot: u64) -> Result<Self, SetUpError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.enforce_http(false);
        // They are read only if an address needs them.
        let needs_tls = config.control_urls.iter().any(|url| url.scheme_str() == Some("https"));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(needs_tls.then_some(&*config.ca_file))?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let bearer = format!("Bearer {}", config.credential.expose());
        let mut credential = HeaderValue::from_str(&bearer).map_err(SetUpError::Credential)?;
        credential.set_sensitive(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let first = lot as usize % config.control_urls.len().max(1);
        let (addresses, in_use) = (config.control_urls.clone(), AtomicUsize::new(first));
        Ok(Self(Arc::new(Inner { client, addresses, in_use, credential })))
    }

    /// The address in use.
    pub fn address(&self) -> Uri {
        let at = self.0.in_use.load(Ordering::Relaxed);
        self.0.addresses.get(at).cloned().unwrap_or_default()
    }

    /// Goes on to the next address, if there is another one.
    pub fn move_on(&self) {
        let next = |at| Some((at + 1) % self.0.addresses.len().max(1));
        let _ = self.0.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Asks the control plane at the address in use. Gives back answers of success only.
    pub async fn ask(
        &self,
        request: request::Builder,
        path_and_query: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, LinkError> {
        let mut uri = self.address().into_parts();
        let address = |error: hyper::http::Error| LinkError::Address(error);
        uri.path_and_query =
            Some(path_and_query.parse().map_err(|error| address(hyper::http::Error::from(error)))?);
        let request: Request<_> = request
            .uri(Uri::from_parts(uri).map_err(|error| address(error.into()))?)
            .header(AUTHORIZATION, &self.0.credential)
            .body(Full::new(body))
            .map_err(address)?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.0.client.request(request)).await;
        let response = answered.map_err(|_| LinkError::Timeout)?.map_err(LinkError::Unreachable)?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(LinkError::Refused),
            status => Err(LinkError::Status(status)),
        }
    }
}
