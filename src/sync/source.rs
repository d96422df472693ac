//! The stream of the directory as bytes: the HTTP request for it and the lines of its answer. Understands nothing of them.

use super::Config;
use super::replica::ContractError;
use crate::wire;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::http::header;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

/// Longest line of the stream, in bytes: far more than the largest delta.
const LINE_BYTES_MAX: usize = 16 << 20;

/// How long the control plane may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the control plane's address is not a URL")]
    Address(#[source] hyper::http::Error),
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("the control plane did not answer in time")]
    Timeout,
    #[error("the control plane answered {0}")]
    Status(StatusCode),
    #[error("the stream broke")]
    Broken(#[source] hyper::Error),
    #[error("the control plane ended the stream")]
    Ended,
    #[error("the stream fell silent")]
    Silent,
    #[error("the stream does not keep to the contract: {0}")]
    Contract(#[from] ContractError),
}

/// Where streams come from.
pub struct Source {
    client: Client<HttpConnector, Empty<Bytes>>,
    config: Config,
}

/// What a gateway already has: deltas after it are enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub store: String,
    pub revision: u64,
}

impl Source {
    pub fn new(config: &Config) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(ANSWER_TIMEOUT));
        Self { client: Client::builder(TokioExecutor::new()).build(connector), config: config.clone() }
    }

    /// Asks for everything after `position`, or for everything.
    pub async fn open(&self, position: Option<Position>) -> Result<Stream, SourceError> {
        let mut path = wire::DIRECTORY_PATH.to_owned();
        if let Some(Position { store, revision }) = position {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("store", &store).append_pair("after", &revision.to_string());
            path = format!("{path}?{}", query.finish());
        }
        let mut uri = self.config.control_url.clone().into_parts();
        uri.path_and_query =
            Some(path.parse().map_err(|error| SourceError::Address(hyper::http::Error::from(error)))?);
        let uri = Uri::from_parts(uri).map_err(|error| SourceError::Address(error.into()))?;
        let request = Request::get(uri)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.config.credential.expose()))
            .body(Empty::new())
            .map_err(SourceError::Address)?;
        let response = tokio::time::timeout(ANSWER_TIMEOUT, self.client.request(request))
            .await
            .map_err(|_| SourceError::Timeout)?
            .map_err(SourceError::Unreachable)?;
        match response.status() {
            StatusCode::OK => Ok(Stream { body: response.into_body(), buffer: BytesMut::new(), searched: 0 }),
            status => Err(SourceError::Status(status)),
        }
    }
}

/// An open stream.
pub struct Stream {
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
}

impl Stream {
    /// The next line, its newline included.
    pub async fn next_line(&mut self) -> Result<Bytes, SourceError> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ContractError::LineTooLong.into());
            }
            let frame = self.body.frame().await.ok_or(SourceError::Ended)?.map_err(SourceError::Broken)?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
