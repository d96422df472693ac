//! The API over real sockets, on real files.

mod access;
mod accounts;
mod api_tokens;
mod connections;
mod console;
mod life;
mod outage;
mod receipts;
mod sessions;
mod sharing;
mod stream;
mod tokens;
mod usage;
mod users;

use super::first_start::{Bootstrap, FirstStart, bootstrap};
use super::{Config, open_store, start};
use crate::clock::Clock;
use crate::domain::plan::Plan;
use crate::domain::token::GatewayCredential;
use crate::metrics::Metrics;
use crate::postgres::database_for;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::database::Location;
use crate::store::sessions::SessionLimits;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const CREDENTIAL: &str = "the-credential-of-all-gateways";
const BODY_BYTES_MAX: usize = 4_096;

/// A running control plane.
struct Running {
    folder: TempDir,
    store: Store,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    address: SocketAddr,
    first: FirstStart,
}

fn config(folder: &TempDir) -> Config {
    Config {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        store: database_for(folder.path())
            .map_or_else(|| Location::Sqlite(folder.path().join("control.db")), Location::Postgres),
        token_key: None,
        key_file: folder.path().join("token.key"),
        credential: GatewayCredential::parse(CREDENTIAL).unwrap(),
        body_bytes_max: BODY_BYTES_MAX,
        request_timeout_ms: 10_000,
        connections_max: 100,
        revisions_max: 10_000,
        logs_dir: None,
        sessions: SessionLimits { idle_ms: 43_200_000, age_ms_max: 604_800_000 },
        listener: crate::control::listener::Listener::default(),
        public_url: None,
        trusted_proxies: vec![],
        console_frame_ancestors: vec![],
    }
}

impl Running {
    async fn start(plan: Plan) -> Self {
        Self::start_with(plan, |_| ()).await
    }

    async fn start_with(plan: Plan, adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        adjust(&mut config);
        let store = open_store(&config, Clock::system()).await.unwrap();
        let wanted =
            Bootstrap { account_name: "main".to_owned(), plan, api_token: None, shipping_token: None };
        let first = bootstrap(&store, wanted).await.unwrap().unwrap();
        Self::on(folder, config, store, first).await
    }

    async fn on(folder: TempDir, config: Config, store: Store, first: FirstStart) -> Self {
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new());
        let address =
            start(&config, store.clone(), None, Arc::clone(&metrics), shutdown.tasks()).await.unwrap().http;
        Self { folder, store, metrics, shutdown, address, first }
    }

    async fn restart(self) -> Self {
        self.shutdown.drain(Duration::from_secs(30)).await.unwrap();
        self.store.close().await;
        let store = open_store(&config(&self.folder), Clock::system()).await.unwrap();
        let config = config(&self.folder);
        Self::on(self.folder, config, store, self.first).await
    }

    fn admin(&self) -> Api {
        self.with(self.first.api_token.expose())
    }

    fn with(&self, api_token: &str) -> Api {
        Api {
            address: self.address,
            headers: vec![("X-Api-Token", api_token.to_owned())],
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    fn stranger(&self) -> Api {
        Api { headers: vec![], ..self.with("") }
    }

    fn gateway(&self) -> Api {
        Api { headers: vec![("Authorization", format!("Bearer {CREDENTIAL}"))], ..self.with("") }
    }
}

/// Somebody's client of the API.
#[derive(Clone)]
struct Api {
    address: SocketAddr,
    headers: Vec<(&'static str, String)>,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    json: Value,
}

impl Answer {
    /// `errorCode` of a refusal.
    fn code(&self) -> &str {
        self.json["errorCode"].as_str().unwrap_or_default()
    }

    fn id(&self) -> u64 {
        self.json["id"].as_u64().unwrap()
    }
}

impl Api {
    async fn open(&self, method: &str, path: &str, body: &str) -> hyper::Response<Incoming> {
        let mut request =
            hyper::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if !body.is_empty() && !self.headers.iter().any(|(name, _)| *name == "Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        self.client.request(request.body(body).unwrap()).await.unwrap()
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let response = self.open(method, path, body).await;
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("x-request-id"), "{method} {path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json = match (status, body.is_empty()) {
            (204, true) => Value::Null,
            _ => serde_json::from_slice(&body)
                .unwrap_or_else(|_| panic!("no JSON from {method} {path}: {body:?}")),
        };
        let answer = Answer { status, json };
        if status < 400 {
            assert!(answer.json.get("errorCode").is_none() && answer.json.get("errorMessage").is_none());
        } else {
            assert_eq!(answer.json["code"], status, "{method} {path}: {answer:?}");
            assert!(answer.json["message"].is_string(), "{method} {path}: {answer:?}");
        }
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    async fn post(&self, path: &str, body: impl AsRef<str>) -> Answer {
        self.send("POST", path, body.as_ref()).await
    }

    async fn put(&self, path: &str, body: impl AsRef<str>) -> Answer {
        self.send("PUT", path, body.as_ref()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "").await
    }

    /// Creates a token and returns its path.
    async fn create(&self, name: &str) -> String {
        let created = self.post(TOKENS, format!(r#"{{"name":"{name}"}}"#)).await;
        assert_eq!(created.status, 201, "{created:?}");
        format!("{TOKENS}/{}", created.id())
    }
}

const TOKENS: &str = "/v1/log-shipping/tokens";
const ACCOUNTS: &str = "/v1/account-management/time-based-accounts";
