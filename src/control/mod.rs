//! The control plane: the REST API with which admins manage accounts and tokens, and the stream from which gateways
//! learn of it.
//!
//! A handler parses, asks the store one question, and shows the answer; the rules are the store's. What a handler may
//! touch comes with who is asking: an `Admin` or a `Gateway` is the only way to the store, so a route without one has
//! nothing to show. It never sees a log line, and nothing a shipper sends depends on it being up.

mod access;
mod accounts;
mod api_tokens;
mod attempts;
mod audit;
mod console;
mod directory;
mod error;
mod exchange;
mod filters;
pub mod first_start;
mod gateways;
mod input;
pub mod listener;
mod logs;
mod openapi;
pub mod operator;
pub mod origin;
mod passwords;
mod report;
mod rotation;
mod sessions;
mod shared_tokens;
mod sign_ins;
mod terms;
mod tokens;
mod usage;
mod users;
mod views;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::domain::terms::Network;
use crate::domain::token::GatewayCredential;
use crate::logs::read::Reader;
use crate::metrics::Metrics;
use crate::serve::{Port, serve};
use crate::shutdown::Tasks;
use crate::store::database::Location;
use crate::store::key::{Key, KeySource};
use crate::store::sessions::SessionLimits;
use crate::store::{OpenError, Options, Store};
use crate::tls;
use access::member::Sessions;
use access::{App, Parts};
use attempts::Attempts;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use console::Fence;
use listener::Listener;
use origin::Origin;
use passwords::Passwords;
use sign_ins::FailedSignIns;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Connections over which the store is read.
const READERS_MAX: u32 = 4;
/// Of them, how many may be at snapshots of the directory: a crowd of gateways leaves some to the API.
const SNAPSHOTS_MAX: usize = 2;

/// Exports at the same time.
const EXPORTS_MAX: usize = 8;

/// How often the store is asked whether it answers, and how long it may take to.
const STORE_INTERVAL: Duration = Duration::from_secs(2);
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the control plane needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub http: SocketAddr,
    /// Where it listens over TLS, when a certificate is configured.
    pub tls: Option<tls::Config>,
    pub store: Location,
    /// The key that seals stored shipping tokens; without it, the one in `key_file`.
    pub token_key: Option<Key>,
    /// Holds the key when none is configured; created by the first start.
    pub key_file: PathBuf,
    /// What gateways prove themselves with.
    pub credential: GatewayCredential,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a request's body, and then its answer, may take.
    pub request_timeout_ms: u64,
    /// Open connections; further ones wait to be accepted.
    pub connections_max: usize,
    /// How many revisions of the directory are kept for gateways that fall behind.
    pub revisions_max: u64,
    /// A folder of accounts' logs that others write and this control plane can read.
    pub logs_dir: Option<PathBuf>,
    /// Where shippers post.
    pub listener: Listener,
    /// How long people stay signed in.
    pub sessions: SessionLimits,
    /// Where browsers reach the console; `None`: wherever they say they do.
    pub public_url: Option<Origin>,
    /// Proxies in front, which are believed about whom they forward.
    pub trusted_proxies: Vec<Network>,
    /// Sites whose pages may show the console in a frame.
    pub console_frame_ancestors: Vec<Origin>,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the API cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the API cannot serve TLS")]
    Tls(#[source] tls::TlsError),
    #[error("the API's description cannot be written")]
    Describe(#[source] serde_json::Error),
}

/// Every route on one screen. Each is described where it is written, and all of it becomes `/openapi.json`.
fn all_routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::preamble())
        .routes(routes!(tokens::create))
        .routes(routes!(tokens::search))
        .routes(routes!(tokens::limits))
        .routes(routes!(tokens::show, tokens::update, tokens::delete))
        .routes(routes!(rotation::rotate))
        .routes(routes!(accounts::whoami_v1))
        .routes(routes!(accounts::whoami_v2))
        .routes(routes!(accounts::settings))
        .routes(routes!(accounts::create, accounts::list))
        .routes(routes!(accounts::show, accounts::update))
        .routes(routes!(api_tokens::create, api_tokens::list))
        .routes(routes!(api_tokens::delete))
        .routes(routes!(shared_tokens::create, shared_tokens::list))
        .routes(routes!(shared_tokens::show, shared_tokens::update, shared_tokens::delete))
        .routes(routes!(filters::create, filters::list))
        .routes(routes!(filters::show, filters::delete))
        .routes(routes!(shared_tokens::share))
        .routes(routes!(audit::trail))
        .routes(routes!(usage::of_token))
        .routes(routes!(usage::of_account))
        .routes(routes!(usage::refused))
        .routes(routes!(gateways::list))
        .routes(routes!(gateways::forget))
        .routes(routes!(sessions::show, sessions::create, sessions::delete))
        .routes(routes!(sessions::change_password))
        .routes(routes!(sessions::set_up))
        .routes(routes!(sessions::accept))
        .routes(routes!(users::list, users::invite))
        .routes(routes!(users::update, users::delete))
        .routes(routes!(users::invite_again))
        .routes(routes!(views::list, views::create))
        .routes(routes!(views::update, views::delete))
        .routes(routes!(directory::stream))
        .routes(routes!(report::take))
        .routes(routes!(logs::found::search))
        .routes(routes!(logs::found::histogram))
        .routes(routes!(logs::found::fields))
        .routes(routes!(logs::tail::tail))
        .routes(routes!(logs::export::export))
        .routes(routes!(logs::elastic::search))
        .routes(routes!(logs::elastic::pretence::info))
        .routes(routes!(logs::elastic::pretence::root))
        .routes(routes!(logs::elastic::pretence::health))
        .routes(routes!(logs::elastic::pretence::mapping))
        .routes(routes!(logs::elastic::pretence::mapping_of))
        .routes(routes!(logs::elastic::pretence::search, logs::elastic::pretence::search_by_get))
        .routes(routes!(logs::elastic::pretence::search_of, logs::elastic::pretence::search_of_by_get))
        .routes(routes!(logs::elastic::pretence::searches))
        .routes(routes!(openapi::document))
}

/// Opens the store that `config` names.
pub async fn open_store(config: &Config, clock: Clock) -> Result<Store, OpenError> {
    let options = Options {
        location: config.store.clone(),
        key: match &config.token_key {
            Some(key) => KeySource::Given(key.clone()),
            None => KeySource::File(config.key_file.clone()),
        },
        revisions_max: config.revisions_max,
        readers_max: READERS_MAX,
    };
    Store::open(options, clock).await
}

/// Where the API listens, with ports as bound.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
}

/// Whether the store answers.
#[derive(Debug, Clone)]
pub struct StoreHealth(watch::Receiver<bool>);

impl StoreHealth {
    pub fn answers(&self) -> bool {
        *self.0.borrow()
    }
}

/// Asks the store something every now and then, until `tasks` drains.
pub fn watch_store(store: Store, tasks: &Tasks) -> StoreHealth {
    let (sender, receiver) = watch::channel(true);
    let draining = tasks.clone();
    tasks.spawn(async move {
        loop {
            let asked = timeout(STORE_TIMEOUT, store.changes_after(i64::MAX as u64)).await;
            let _ = sender.send_replace(matches!(asked, Ok(Ok(_))));
            tokio::select! {
                () = tokio::time::sleep(STORE_INTERVAL) => {}
                () = draining.draining() => return,
            }
        }
    });
    StoreHealth(receiver)
}

/// Starts the API and returns where it listens. `reader`: of the accounts' logs, where there are any to be read. It ends, requests finished first, when `tasks` drains.
pub async fn start(
    config: &Config,
    store: Store,
    reader: Option<Reader>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
) -> Result<Addresses, StartError> {
    let (plain, http) = listen(config.http).await?;
    let (mut ports, mut addresses) = (vec![Port(plain, None)], Addresses { http, https: None });
    if let Some(tls) = config.tls.clone() {
        let (listener, https) = listen(tls.https).await?;
        let expiry = metrics.control.certificate_expiry_seconds.clone();
        ports.push(Port(listener, Some(tls::start(tls, expiry, &tasks).map_err(StartError::Tls)?)));
        addresses.https = Some(https);
    }
    tasks.spawn(rotation::end_tokens(store.clone(), tasks.clone()));
    let (router, description) = all_routes().split_for_parts();
    let app = App::new(Parts {
        store: store.clone(),
        reader,
        credential: config.credential.digest(),
        metrics,
        tasks: tasks.clone(),
        failed_sign_ins: FailedSignIns::new(),
        attempts: Attempts::default(),
        passwords: Passwords::new(),
        sessions: Sessions { limits: config.sessions, public_url: config.public_url.clone() },
        listener: config.listener.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
        exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        body_bytes_max: config.body_bytes_max,
        request_timeout: Duration::from_millis(config.request_timeout_ms),
        openapi: openapi::complete(description).to_json().map_err(StartError::Describe)?.into(),
    });
    let fence = Fence::new(&config.console_frame_ancestors);
    let router = router
        .route("/", get(console::page))
        .route("/assets/{*path}", get(console::asset))
        .fallback(exchange::no_such_path)
        .method_not_allowed_fallback(exchange::no_such_method)
        .layer(from_fn_with_state(app.clone(), exchange::exchange))
        .layer(from_fn_with_state(fence, console::fence))
        .with_state(app);
    tasks.spawn(follow_replicas(store.clone(), tasks.clone()));
    tasks.spawn(report::keep(store.clone(), tasks.clone()));
    tasks.spawn(report::trim(store.clone(), tasks.clone()));
    tasks.spawn(shared_tokens::keep_uses(store, tasks.clone()));
    serve(ports, &router, config.connections_max, &tasks);
    Ok(addresses)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Learns what other replicas change, until this one stops.
async fn follow_replicas(store: Store, tasks: Tasks) {
    tokio::select! {
        () = tasks.draining() => {}
        () = store.follow_replicas() => {}
    }
}
