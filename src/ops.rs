//! For operators and orchestrators, on a port of their own: `/metrics`, `/livez`, `/readyz`.

use crate::metrics::Metrics;
use crate::serve::{Port, serve};
use crate::shutdown::Tasks;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Where operators look.
#[derive(Debug, Clone)]
pub struct Config {
    pub http: SocketAddr,
}

/// The operators' port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct OpsError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Scrapers and probes are few.
const CONNECTIONS_MAX: usize = 128;

/// For a probe to be answered.
const PROBE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Says whether the program is ready: with what an operator should know all the same, if anything, or why it is not.
pub type Readiness = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

struct Ops {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// Listens, and serves until the stage drains. Returns the address as bound.
pub async fn start(
    config: &Config,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    tasks: &Tasks,
) -> Result<SocketAddr, OpsError> {
    let failed = |source| OpsError { address: config.http, source };
    let listener = TcpListener::bind(config.http).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Ops { metrics, readiness }));
    serve([Port(listener, None)], &router, CONNECTIONS_MAX, tasks);
    Ok(address)
}

async fn scrape(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], ops.metrics.render())
}

async fn ready(State(ops): State<Arc<Ops>>) -> (StatusCode, String) {
    match (ops.readiness)() {
        Ok(None) => (StatusCode::OK, String::from("ok\n")),
        Ok(Some(note)) => (StatusCode::OK, format!("ok, but {note}\n")),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

/// Asks a running Shipgate's `/readyz`. An answer of 200 is ready; anything else is why not.
pub async fn probe(address: SocketAddr) -> Result<(), String> {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let uri = format!("http://{address}/readyz").parse().map_err(|_| String::from("no such address"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<http_body_util::Empty<bytes::Bytes>>();
    let answer = tokio::time::timeout(PROBE_TIMEOUT, client.get(uri)).await;
    match answer {
        Ok(Ok(response)) if response.status() == StatusCode::OK => Ok(()),
        Ok(Ok(response)) => Err(format!("not ready: {address} answered {}", response.status())),
        Ok(Err(_)) => Err(format!("nothing answers on {address}")),
        Err(_) => Err(format!("{address} did not answer in time")),
    }
}
