//! From defaults, a file and the environment to a valid [`Config`], or to every mistake at once.
//!
//! `config/default.toml` is both the documentation and the schema: a key that it does not hold is unknown, and a value must
//! have the type of its default. Values of secret keys never appear in a mistake's text.

mod console;
mod layers;
mod object_store;
pub mod role;
mod values;

use crate::control::first_start::Bootstrap;
use crate::control::listener::Listener;
use crate::domain::account::Durability;
use crate::domain::plan::Plan;
use crate::domain::token::{ApiToken, GatewayCredential, ShippingToken};
use crate::store::database::Location;
use crate::store::key::Key;
use crate::{control, gateway, journal, logs, ops, sync, telemetry};
use layers::{merge, set};
use role::Role;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Table;
use values::Values;

/// Every key with its default and its reason.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// What the names of our environment variables begin with.
const ENV_PREFIX: &str = "SHIPGATE__";

/// The whole program's settings, valid.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub gateway: gateway::Config,
    pub journal: journal::Config,
    pub logs: logs::Config,
    /// `None`: sealed log files stay on the local disk.
    pub object_store: Option<logs::objects::Config>,
    pub search: logs::read::Config,
    pub control: control::Config,
    pub sync: sync::Config,
    pub ops: ops::Config,
    pub bootstrap: Bootstrap,
    pub log: telemetry::Config,
}

/// Everything that is wrong, each with what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub BTreeSet<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl Config {
    /// Reads defaults, then `file` (path and text), then `environment` (all variables; others than ours are passed over). Without a
    /// `role` nothing is started, and what only a role needs may be missing. `credential` stands in for one that is not set.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        role: Option<Role>,
        credential: GatewayCredential,
    ) -> Result<Self, Mistakes> {
        let mut mistakes = BTreeSet::new();
        let mut settings: Table = toml::from_str(DEFAULTS).expect("the embedded defaults are tested");
        if let Some((path, text)) = file {
            match toml::from_str::<Table>(text) {
                Ok(table) => merge(&mut settings, table, "", &mut mistakes),
                Err(error) => {
                    mistakes.insert(format!(
                        "{}: not TOML: {}",
                        path.display(),
                        error.to_string().trim_end()
                    ));
                }
            }
        }
        let environment: Vec<_> = environment.into_iter().collect();
        for (name, value) in &environment {
            if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                set(&mut settings, name, &key.to_ascii_lowercase(), value, &mut mistakes);
            }
        }
        let mut values = Values { settings, mistakes };
        let config = values.config(role, credential, &environment);
        if values.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(values.mistakes)) }
    }
}

impl Values {
    fn config(
        &mut self,
        role: Option<Role>,
        credential: GatewayCredential,
        environment: &[(String, String)],
    ) -> Config {
        let data_dir = PathBuf::from(self.text("data_dir"));
        if data_dir.as_os_str().is_empty() {
            self.mistake("data_dir", "must name a folder");
        }
        let mut control = self.control(&data_dir, credential);
        let sync = self.sync(&data_dir, &control.credential);
        if let Some(role) = role {
            self.fits(role, &sync);
        }
        let journal = self.journal(&data_dir);
        let logs = self.logs(&data_dir);
        if logs.checkpoint_bytes > journal.bytes_max / 2 {
            self.mistake("logs.checkpoint_bytes", "must be at most half of journal.bytes_max");
        }
        let gateway = self.gateway();
        control.listener = self.listener(&gateway);
        let ops = ops::Config { http: self.address("ops.http") };
        let (ingest, api) = (
            role.is_none_or(Role::has_gateway).then_some(&gateway),
            role.is_none_or(Role::has_control).then_some(&control),
        );
        self.ports_differ(&[
            ("gateway.http", ingest.map(|gateway| gateway.http)),
            ("gateway.tls.https", ingest.and_then(|gateway| Some(gateway.tls.as_ref()?.https))),
            ("control.http", api.map(|control| control.http)),
            ("control.tls.https", api.and_then(|control| Some(control.tls.as_ref()?.https))),
            ("ops.http", Some(ops.http)),
        ]);
        Config {
            gateway,
            search: self.search(),
            object_store: object_store::read(self, environment, role.is_some()),
            logs,
            sync,
            ops,
            bootstrap: self.bootstrap(),
            log: self.log(),
            control,
            journal,
            data_dir,
        }
    }

    /// Two listeners cannot share a port, unless each is on an address of its own.
    fn ports_differ(&mut self, listeners: &[(&str, Option<SocketAddr>)]) {
        for (n, (key, address)) in listeners.iter().enumerate() {
            for (other_key, other) in &listeners[..n] {
                let (Some(a), Some(b)) = (address, other) else { continue };
                let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
                if a.port() != 0 && a.port() == b.port() && same_ip {
                    self.mistake(key, &format!("has the port of {other_key}"));
                }
            }
        }
    }

    fn gateway(&mut self) -> gateway::Config {
        gateway::Config {
            http: self.address("gateway.http"),
            tls: self.tls("gateway.tls", &["h2", "http/1.1"]),
            connections_max: self.number("gateway.connections_max", 1),
            header_timeout: self.duration("gateway.header_timeout_ms", 1),
            body_timeout: self.duration("gateway.body_timeout_ms", 1),
            body_bytes_max: self.number("gateway.body_bytes_max", 1),
            trusted_proxies: self.networks("gateway.trusted_proxies"),
            line_bytes_max: self.number("gateway.line_bytes_max", 2),
            in_flight_bytes_max: self.number("gateway.in_flight_bytes_max", 1),
            drain_timeout: self.duration("gateway.drain_timeout_ms", 0),
        }
    }

    fn gateway_id(&mut self) -> String {
        let id = self.text("gateway.id");
        if id.len() > 100 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.mistake("gateway.id", "must have at most 100 bytes, without spaces");
        }
        id
    }

    /// `of_control`: what the control plane in the same process takes.
    fn sync(&mut self, data_dir: &Path, of_control: &GatewayCredential) -> sync::Config {
        let stale_after = self.duration("sync.stale_after_ms", 0);
        let tokens_file = Some(self.text("sync.tokens_file")).filter(|file| !file.is_empty());
        let last_good = if tokens_file.is_some() { "tokens.last_good" } else { "directory.last_good" };
        sync::Config {
            control_urls: self.urls("sync.control_urls"),
            credential: self.credential("sync.credential").unwrap_or_else(|| of_control.clone()),
            ca_file: self.text("sync.ca_file").into(),
            tokens_file: tokens_file.map(PathBuf::from),
            gateway_id: self.gateway_id(),
            gateway_id_file: data_dir.join("gateway.id"),
            usage_interval: self.duration("sync.usage_interval_ms", 100),
            last_good_file: data_dir.join(last_good),
            last_good_after: self.duration("sync.last_good_after_ms", 0),
            last_good_interval: self.duration("sync.last_good_interval_ms", 0),
            stale_after: Some(stale_after).filter(|after| !after.is_zero()),
            when_stale: self.choice(
                "sync.when_stale",
                &[
                    ("serve", sync::WhenStale::Serve),
                    ("refuse-new-connections", sync::WhenStale::RefuseConnections),
                    ("refuse", sync::WhenStale::Refuse),
                ],
            ),
        }
    }

    fn journal(&mut self, data_dir: &Path) -> journal::Config {
        journal::Config {
            dir: data_dir.join("journal"),
            durability: self.choice("journal.durability", &DURABILITIES),
            segment_bytes: self.number("journal.segment_bytes", 1 << 16),
            bytes_max: self.number("journal.bytes_max", 1 << 20),
            disk_free_bytes_min: self.number("journal.disk_free_bytes_min", 0),
            group_bytes_max: self.number("journal.group_bytes_max", 1 << 12),
            queue_bytes_max: self.number("journal.queue_bytes_max", 1 << 16),
            coalesce_bytes_max: self.number("journal.coalesce_bytes_max", 0),
            compression_level: self.level("journal.compression_level"),
            on_corruption: self.choice(
                "journal.on_corruption",
                &[("refuse", journal::OnCorruption::Fail), ("skip", journal::OnCorruption::Skip)],
            ),
        }
    }

    fn logs(&mut self, data_dir: &Path) -> logs::Config {
        logs::Config {
            dir: data_dir.join("logs"),
            file_bytes_max: self.number("logs.file_bytes_max", 1),
            file_age_ms_max: self.number("logs.file_age_ms_max", 1),
            open_files_max: self.number("logs.open_files_max", 1),
            checkpoint_interval_ms: self.number("logs.checkpoint_interval_ms", 1),
            checkpoint_bytes: self.number("logs.checkpoint_bytes", 1),
            retention_interval_ms: self.number("logs.retention_interval_ms", 1),
            backlog_bytes_max: self.number("logs.backlog_bytes_max", 1),
        }
    }

    fn search(&mut self) -> logs::read::Config {
        logs::read::Config {
            workers_max: self.number("search.workers_max", 0),
            questions_max: self.number("search.questions_max", 1),
            time_max: self.duration("search.time_max_ms", 1),
            found_bytes_max: self.number("search.found_bytes_max", 1),
        }
    }

    fn control(&mut self, data_dir: &Path, credential: GatewayCredential) -> control::Config {
        let store = self.text("control.store");
        let token_key = self.text("control.token_key");
        let credential = self.credential("control.gateway_credential").unwrap_or(credential);
        control::Config {
            http: self.address("control.http"),
            tls: self.tls("control.tls", &["http/1.1"]),
            store: self
                .secret("control.store", &store, Location::parse)
                .unwrap_or_else(|| Location::Sqlite(data_dir.join("control.db"))),
            token_key: self.secret("control.token_key", &token_key, Key::from_hex),
            key_file: data_dir.join("token.key"),
            credential,
            body_bytes_max: self.number("control.body_bytes_max", 1),
            request_timeout_ms: self.number("control.request_timeout_ms", 1),
            connections_max: self.number("control.connections_max", 16),
            revisions_max: self.number("control.revisions_max", 1),
            logs_dir: Some(self.text("control.logs_dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            listener: Listener::default(),
            sessions: self.sessions(),
            public_url: self.public_url(),
            trusted_proxies: self.networks("control.trusted_proxies"),
            console_frame_ancestors: self.origins("control.console_frame_ancestors"),
        }
    }

    fn bootstrap(&mut self) -> Bootstrap {
        let (api_token, shipping_token) =
            (self.text("bootstrap.api_token"), self.text("bootstrap.shipping_token"));
        let account_name = self.text("bootstrap.account").trim().to_owned();
        if account_name.is_empty() || account_name.len() > 100 || account_name.chars().any(char::is_control) {
            self.mistake("bootstrap.account", "must have 1 to 100 bytes and no control characters");
        }
        let plan = Plan::from_name(&self.text("bootstrap.plan"));
        if plan.is_none() {
            self.mistake("bootstrap.plan", "must be community, pro or enterprise");
        }
        Bootstrap {
            account_name,
            plan: plan.unwrap_or(Plan::Pro),
            api_token: self.secret("bootstrap.api_token", &api_token, ApiToken::parse),
            shipping_token: self.secret("bootstrap.shipping_token", &shipping_token, ShippingToken::parse),
        }
    }

    fn log(&mut self) -> telemetry::Config {
        let log = telemetry::Config {
            level: self.text("log.level"),
            format: self.choice(
                "log.format",
                &[("text", telemetry::Format::Text), ("json", telemetry::Format::Json)],
            ),
        };
        if !log.is_valid() {
            self.mistake("log.level", "must be error, warn, info, debug, trace, or directives made of them");
        }
        log
    }
}

const DURABILITIES: [(&str, Durability); 2] =
    [("synced", Durability::Synced), ("written", Durability::Written)];

#[cfg(test)]
mod tests;
