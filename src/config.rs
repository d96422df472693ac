//! From defaults, a file and the environment to a valid [`Config`], or to every mistake at once.
//!
//! `config/default.toml` is both the documentation and the schema: a key that it does not hold is unknown, and a value must
//! have the type of its default. Values of secret keys never appear in a mistake's text.

mod console;
pub mod role;

use crate::control::first_start::Bootstrap;
use crate::control::listener::Listener;
use crate::domain::account::Durability;
use crate::domain::plan::Plan;
use crate::domain::terms::Network;
use crate::domain::token::{ApiToken, GatewayCredential, ShippingToken};
use crate::store::database::Location;
use crate::store::key::Key;
use crate::{control, gateway, journal, logs, ops, sync, telemetry, tls};
use role::Role;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};

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
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                set(&mut settings, &name, &key.to_ascii_lowercase(), &value, &mut mistakes);
            }
        }
        let mut read = Read { settings, mistakes };
        let config = read.config(role, credential);
        if read.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(read.mistakes)) }
    }
}

/// Lays `over` onto `under`, which knows every key and its type.
fn merge(under: &mut Table, over: Table, prefix: &str, mistakes: &mut BTreeSet<String>) {
    for (key, value) in over {
        let name = format!("{prefix}{key}");
        match (under.get_mut(&key), value) {
            (None, _) => {
                mistakes.insert(format!(
                    "{name}: no such key; `shipgate check-config --defaults` lists them all"
                ));
            }
            (Some(Value::Table(under)), Value::Table(over)) => {
                merge(under, over, &format!("{name}."), mistakes);
            }
            (Some(known), value) if known.same_type(&value) => *known = value,
            (Some(known), value) => {
                let (expected, found) = (known.type_str(), value.type_str());
                mistakes.insert(format!("{name}: expected {expected}, found {found}"));
            }
        }
    }
}

/// Sets the key that a variable names.
fn set(settings: &mut Table, variable: &str, key: &str, text: &str, mistakes: &mut BTreeSet<String>) {
    let (path, last) = key.rsplit_once("__").unwrap_or(("", key));
    let mut steps = path.split("__").filter(|step| !step.is_empty());
    let table = steps.try_fold(settings, |table, step| table.get_mut(step)?.as_table_mut());
    let mistake = match table.and_then(|table| table.get_mut(last)) {
        None | Some(Value::Table(_)) => {
            Some("no such key; `shipgate check-config --defaults` lists them all")
        }
        Some(Value::String(known)) => {
            *known = text.to_owned();
            None
        }
        Some(Value::Integer(known)) => match text.parse() {
            Ok(number) => {
                *known = number;
                None
            }
            Err(_) => Some("expected integer"),
        },
        Some(Value::Array(known)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            *known = parts.map(|part| Value::String(part.to_owned())).collect();
            None
        }
        Some(_) => Some("cannot be set by a variable"),
    };
    mistakes.extend(mistake.map(|mistake| format!("{variable}: {mistake}")));
}

/// Takes values out of settings whose keys and types are known to fit, noting every value that does not.
struct Read {
    settings: Table,
    mistakes: BTreeSet<String>,
}

impl Read {
    fn config(&mut self, role: Option<Role>, credential: GatewayCredential) -> Config {
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

    fn tls(&mut self, section: &str, protocols: &'static [&'static str]) -> Option<tls::Config> {
        let [https, certificate, private_key, reload_interval_ms] =
            ["https", "certificate", "private_key", "reload_interval_ms"]
                .map(|key| format!("{section}.{key}"));
        let (https, reload_interval) = (self.address(&https), self.duration(&reload_interval_ms, 1));
        let (certificate_file, key_file) = (self.text(&certificate), self.text(&private_key));
        match (certificate_file.is_empty(), key_file.is_empty()) {
            (true, true) => return None,
            (true, false) => self.mistake(&certificate, &format!("missing beside {private_key}")),
            (false, true) => self.mistake(&private_key, &format!("missing beside {certificate}")),
            (false, false) => {}
        }
        let (certificate, private_key) = (certificate_file.into(), key_file.into());
        Some(tls::Config { https, certificate, private_key, reload_interval, protocols })
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

    fn credential(&mut self, key: &str) -> Option<GatewayCredential> {
        let text = self.text(key);
        self.secret(key, &text, GatewayCredential::parse)
    }

    fn urls(&mut self, key: &str) -> Vec<hyper::Uri> {
        let values = self.value(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut urls = Vec::new();
        for value in values {
            let value = value.as_str().unwrap_or_default();
            let url = value.parse::<hyper::Uri>().ok();
            let is_whole = |url: &hyper::Uri| {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url.authority().is_some()
                    && url.path() == "/"
            };
            match url.filter(is_whole) {
                Some(url) => urls.push(url),
                None => self.mistake(
                    key,
                    &format!("must hold addresses such as https://control:8074, not {value:?}"),
                ),
            }
        }
        urls
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

    fn mistake(&mut self, key: &str, text: &str) {
        self.mistakes.insert(format!("{key}: {text}"));
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let mut steps = key.split('.');
        let first = self.settings.get(steps.next()?);
        steps.try_fold(first?, |value, step| value.get(step))
    }

    fn text(&self, key: &str) -> String {
        self.value(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn number<N: TryFrom<i64> + Default>(&mut self, key: &str, min: i64) -> N {
        let value = self.value(key).and_then(Value::as_integer).unwrap_or_default();
        if value < min {
            self.mistake(key, &format!("must be at least {min}"));
        }
        N::try_from(value).unwrap_or_else(|_| {
            if value >= min {
                self.mistake(key, "is too large");
            }
            N::default()
        })
    }

    fn level(&mut self, key: &str) -> i32 {
        let level = self.number(key, -7);
        if level > 19 {
            self.mistake(key, "must be at most 19");
        }
        level
    }

    fn duration(&mut self, key: &str, min_ms: i64) -> Duration {
        Duration::from_millis(self.number(key, min_ms))
    }

    fn address(&mut self, key: &str) -> SocketAddr {
        let text = self.text(key);
        text.parse().unwrap_or_else(|_| {
            self.mistake(key, &format!("must be an address and a port such as 127.0.0.1:8070, not {text:?}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// Networks apart by commas or spaces.
    fn networks(&mut self, key: &str) -> Vec<Network> {
        let text = self.text(key);
        let texts = text.split([',', ' ']).filter(|text| !text.is_empty());
        texts
            .filter_map(|text| {
                Network::parse(text).map_err(|error| self.mistake(key, &format!("{text:?}: {error}"))).ok()
            })
            .collect()
    }

    /// One of several words. The first stands in for a mistake.
    fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        let chosen = choices.iter().find(|(word, _)| *word == text).or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.mistake(key, &format!("must be {}", words.join(" or ")));
            choices.first()
        });
        chosen.expect("there is a choice").1
    }

    /// An empty text stands for none.
    fn secret<T, E: fmt::Display>(
        &mut self,
        key: &str,
        text: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        if text.contains("CHANGE-ME") {
            self.mistake(key, "is the example's, which everybody knows: put a secret of your own there");
            return None;
        }
        parse(text).map_err(|error| self.mistake(key, &error.to_string())).ok()
    }
}

const DURABILITIES: [(&str, Durability); 2] =
    [("synced", Durability::Synced), ("written", Durability::Written)];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
        load_as(Some(Role::AllInOne), file, environment)
    }

    fn load_as(role: Option<Role>, file: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let credential = GatewayCredential::from_entropy(&[0; 32]);
        Config::load(Some((Path::new("my.toml"), file)), environment, role, credential)
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.gateway.http, "0.0.0.0:8070".parse().unwrap());
        assert_eq!(config.control.http, "127.0.0.1:8072".parse().unwrap());
        assert_eq!(config.ops.http, "127.0.0.1:8073".parse().unwrap());
        assert_eq!(config.data_dir, Path::new("./data"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let file = "data_dir = \"a\"\n[gateway]\nhttp = \"127.0.0.1:1\"\nline_bytes_max = 10\n";
        let variables =
            [("SHIPGATE__GATEWAY__HTTP", "127.0.0.1:2"), ("SHIPGATE__JOURNAL__SEGMENT_BYTES", "1000000")];
        let config = load(file, &variables).unwrap();
        assert_eq!(config.gateway.http.port(), 2);
        assert_eq!(config.gateway.line_bytes_max, 10);
        assert_eq!(config.journal.segment_bytes, 1_000_000);
        assert_eq!(config.journal.dir, Path::new("a/journal"));
    }

    #[test]
    fn reports_every_mistake_at_once() {
        let file = "nonsense = 1\n[gateway]\nhttp = 5\nbody_bytes_max = 0\n[gateway.tls]\ncertificate = \"c.pem\"\n\
                    [bootstrap]\nplan = \"gold\"\n[log]\nformat = \"xml\"\n";
        let variables = [
            ("SHIPGATE__OPS__HTTP", "nowhere"),
            ("SHIPGATE__NO__SUCH", "1"),
            ("SHIPGATE__GATEWAY", "1"),
            ("SHIPGATE__JOURNAL__BYTES_MAX", "many"),
            ("SHIPGATE__BOOTSTRAP__API_TOKEN", "short"),
            ("SHIPGATE__LOG__LEVEL", "shipgate=loud"),
        ];
        let mistakes = load(file, &variables).unwrap_err().0;
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
        assert_eq!(
            keys,
            [
                "SHIPGATE__GATEWAY",
                "SHIPGATE__JOURNAL__BYTES_MAX",
                "SHIPGATE__NO__SUCH",
                "bootstrap.api_token",
                "bootstrap.plan",
                "gateway.body_bytes_max",
                "gateway.http",
                "gateway.tls.private_key",
                "log.format",
                "log.level",
                "nonsense",
                "ops.http",
            ]
        );
    }

    #[test]
    fn a_secret_is_in_no_mistake() {
        let secret = "not a token, but secret all the same";
        let variables =
            [("SHIPGATE__BOOTSTRAP__API_TOKEN", secret), ("SHIPGATE__CONTROL__TOKEN_KEY", secret)];
        let mistakes = load("", &variables).unwrap_err();
        assert_eq!(mistakes.0.len(), 2);
        assert!(!format!("{mistakes} {mistakes:?}").contains(secret));
    }

    #[test]
    fn listeners_do_not_share_a_port() {
        let check = |gateway: &str, control: &str| {
            let variables = [("SHIPGATE__GATEWAY__HTTP", gateway), ("SHIPGATE__CONTROL__HTTP", control)];
            load("", &variables).is_ok()
        };
        assert!(!check("127.0.0.1:9000", "127.0.0.1:9000"));
        assert!(!check("0.0.0.0:9000", "127.0.0.1:9000"));
        assert!(check("127.0.0.2:9000", "127.0.0.1:9000"));
        assert!(check("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn each_role_says_what_it_needs() {
        let urls = ("SHIPGATE__SYNC__CONTROL_URLS", "https://one:8074, http://two:8072");
        let credential = ("SHIPGATE__SYNC__CREDENTIAL", "the-credential-of-all-gateways");
        let file = ("SHIPGATE__SYNC__TOKENS_FILE", "tokens.toml");
        let taken = ("SHIPGATE__CONTROL__GATEWAY_CREDENTIAL", "the-credential-of-all-gateways");
        let keys = |role, variables: &[(&str, &str)]| -> Vec<String> {
            let mistakes =
                load_as(Some(role), "", variables).err().map(|mistakes| mistakes.0).unwrap_or_default();
            mistakes.iter().map(|mistake| mistake.split(':').next().unwrap().to_owned()).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(keys(Role::Gateway, &[urls, credential]), none);
        assert_eq!(keys(Role::Gateway, &[file]), none);
        assert_eq!(keys(Role::Gateway, &[urls]), ["sync.credential"]);
        assert_eq!(keys(Role::Gateway, &[]), ["sync.control_urls"]);
        assert_eq!(keys(Role::Gateway, &[urls, credential, file]), ["sync.control_urls"]);
        assert_eq!(keys(Role::Control, &[taken]), none);
        assert_eq!(keys(Role::Control, &[]), ["control.gateway_credential"]);
        assert_eq!(keys(Role::AllInOne, &[urls, credential]), ["sync.control_urls", "sync.credential"]);
        assert!(load_as(None, "", &[urls]).is_ok(), "nothing is started");
        let config = load_as(Some(Role::Gateway), "", &[urls, credential]).unwrap();
        assert_eq!(config.sync.control_urls.len(), 2);
        for address in ["control:8072", "ftp://control", "https://control/path", "https://"] {
            let urls = ("SHIPGATE__SYNC__CONTROL_URLS", address);
            assert_eq!(keys(Role::Gateway, &[urls, credential]), ["sync.control_urls"], "{address}");
        }
    }

    #[test]
    fn an_examples_secret_is_nobodys() {
        for (role, example) in [
            (Role::Control, include_str!("../config/control.example.toml")),
            (Role::Gateway, include_str!("../config/gateway.example.toml")),
        ] {
            let mistakes = load_as(Some(role), example, &[]).unwrap_err();
            assert!(mistakes.to_string().contains("everybody knows"), "{mistakes}");
            let own = example.replace("CHANGE-ME-to", "one-that-is");
            assert!(load_as(Some(role), &own, &[]).is_ok(), "{role:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_named() {
        let mistakes = load("gateway = [", &[]).unwrap_err();
        assert!(mistakes.to_string().contains("my.toml: not TOML"), "{mistakes}");
    }
}
