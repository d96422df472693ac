//! The whole program on real sockets: a process of its own, a temporary folder, free ports, and typed clients.
//!
//! [`Gate::finish`] stops it in order and compares what was acknowledged with what is stored.

pub mod http;
pub mod node;
pub mod postgres;

use http::{Answer, Request};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const SHIPPING_TOKEN: &str = "shipping-token-of-the-tests-0001";
pub const API_TOKEN: &str = "api-token-of-the-tests-00000001";

/// For anything that should be a matter of milliseconds, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running Shipgate.
pub struct Gate {
    pub ingest: SocketAddr,
    pub https: Option<SocketAddr>,
    pub api: SocketAddr,
    pub ops: SocketAddr,
    pub account: u32,
    pub folder: Arc<tempfile::TempDir>,
    settings: HashMap<String, String>,
    /// What it printed when it had started.
    pub said: String,
    acknowledged: Arc<Mutex<BTreeMap<u32, Vec<String>>>>,
    log: Arc<Mutex<String>>,
    child: Child,
}

impl Gate {
    /// Starts with the defaults, free ports and known tokens.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts with settings of its own, named as in the environment without the prefix.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self::start_on(shipgate(), folder, settings, Arc::default())
    }

    /// Starts what `command` wraps the program in.
    pub fn start_by(command: Command, settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self::start_on(command, folder, settings, Arc::default())
    }

    fn start_on(
        mut command: Command,
        folder: Arc<tempfile::TempDir>,
        settings: HashMap<String, String>,
        acknowledged: Arc<Mutex<BTreeMap<u32, Vec<String>>>>,
    ) -> Self {
        let data = settings.get("DATA_DIR").map_or_else(|| folder.path().join("data"), PathBuf::from);
        command.env("SHIPGATE__DATA_DIR", data).env("SHIPGATE__LOG__LEVEL", "debug");
        for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP", "GATEWAY__TLS__HTTPS"] {
            command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
        }
        command.env("SHIPGATE__BOOTSTRAP__API_TOKEN", API_TOKEN);
        command.env("SHIPGATE__BOOTSTRAP__SHIPPING_TOKEN", SHIPPING_TOKEN);
        command.env("SHIPGATE__JOURNAL__DISK_FREE_BYTES_MIN", "0");
        command.envs(settings.iter().map(|(key, value)| (format!("SHIPGATE__{key}"), value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let log = Arc::new(Mutex::new(String::new()));
        gather(child.stderr.take().expect("piped"), Arc::clone(&log));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            let is_last = line.starts_with("data ");
            said.push(line);
            if is_last {
                break;
            }
        }
        let address = |name: &str, scheme: &str| {
            let line =
                said.iter().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(scheme));
            line.map(|address| address.parse().expect("an address"))
        };
        let (Some(ingest), Some(api), Some(ops)) =
            (address("ingest", "http://"), address("api", "http://"), address("ops", "http://"))
        else {
            let _ = child.kill();
            panic!("it did not start: {said:?}\n{}", log.lock().unwrap());
        };
        let https = address("ingest", "https://");
        let said = said.join("\n");
        let mut this =
            Self { ingest, https, api, ops, account: 0, folder, settings, said, acknowledged, log, child };
        this.account = this.admin().get("/v1/whoami").json()["accountId"].as_u64().expect("a number") as u32;
        this
    }

    /// Starts again on the same data, with other settings on top.
    pub fn restart_with(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        self.kill();
        Self::start_on(
            shipgate(),
            Arc::clone(&self.folder),
            self.settings.clone(),
            Arc::clone(&self.acknowledged),
        )
    }

    /// Ends it as a crash does, and starts it again on the same data.
    pub fn crash_and_restart(self) -> Self {
        self.restart_with(&[])
    }

    pub fn data(&self) -> PathBuf {
        self.settings.get("DATA_DIR").map_or_else(|| self.folder.path().join("data"), PathBuf::from)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the process is there");
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("it ends", || self.child.try_wait().expect("a child"))
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A metric's value, by its full name with labels.
    pub fn metric(&self, series: &str) -> f64 {
        let text = Request::get("/metrics").send(self.ops).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series}")).parse().expect("a number")
    }

    /// Posts logs with the first account's token.
    pub fn shipper(&self) -> Shipper {
        self.shipper_with(SHIPPING_TOKEN, self.account)
    }

    pub fn shipper_with(&self, token: &str, account: u32) -> Shipper {
        let acknowledged = Arc::clone(&self.acknowledged);
        Shipper { ingest: self.ingest, token: token.to_owned(), account, acknowledged }
    }

    /// Manages the first account.
    pub fn admin(&self) -> Admin {
        Admin { api: self.api, token: API_TOKEN.to_owned() }
    }

    /// The messages of an account that were acknowledged.
    pub fn acknowledged(&self, account: u32) -> Vec<String> {
        self.acknowledged.lock().unwrap().get(&account).cloned().unwrap_or_default()
    }

    /// Every stored line of an account in the order of its log.
    pub fn stored(&self, account: u32) -> Vec<String> {
        stored(&self.data(), account)
    }

    /// Stops it in order and compares: every acknowledged line is stored once, and nothing else is.
    pub fn finish(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "ended with {status}\n{}", self.log());
        for (account, acknowledged) in &*self.acknowledged.lock().unwrap() {
            let mut expect = acknowledged.clone();
            let mut stored: Vec<_> = self.stored(*account).iter().map(|line| message(line)).collect();
            expect.sort();
            stored.sort();
            assert!(
                expect == stored,
                "account {account}: acknowledged is not stored: {}",
                differ(&expect, &stored)
            );
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
    }
}

fn differ(expect: &[String], stored: &[String]) -> String {
    let count = |lines: &[String]| {
        let mut counts = HashMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_insert(0) += 1);
        counts
    };
    let (expect, stored) = (count(expect), count(stored));
    let lost = expect.iter().filter(|(line, _)| !stored.contains_key(*line)).take(3).collect::<Vec<_>>();
    let extra = stored.iter().filter(|(line, n)| expect.get(*line) != Some(n)).take(3).collect::<Vec<_>>();
    format!("{} lines acknowledged, {} stored; lost {lost:?}, extra {extra:?}", expect.len(), stored.len())
}

/// The binary under test, without the surrounding environment's settings.
pub fn shipgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipgate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SHIPGATE")) {
        command.env_remove(name);
    }
    command
}

fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut chunk = [0; 4_096];
        while let Ok(bytes @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..bytes]));
        }
    });
}

/// Every stored line of an account, read from its files as any zstd reader would.
pub fn stored(data: &Path, account: u32) -> Vec<String> {
    let mut text = String::new();
    for path in log_files(data, account) {
        let file = std::fs::File::open(&path).expect("a log file");
        let mut decoder = zstd::Decoder::new(file).expect("a decoder");
        decoder.read_to_string(&mut text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    text.lines().map(str::to_owned).collect()
}

/// An account's files, oldest first.
pub fn log_files(data: &Path, account: u32) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(data.join("logs").join(account.to_string())) else {
        return vec![];
    };
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".ndjson.zst"));
    files.sort();
    files
}

/// The `message` of a stored line.
pub fn message(line: &str) -> String {
    let log: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    log["message"].as_str().unwrap_or_else(|| panic!("no message: {line}")).to_owned()
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Posts logs and remembers those that were acknowledged.
#[derive(Clone)]
pub struct Shipper {
    pub ingest: SocketAddr,
    pub token: String,
    pub account: u32,
    acknowledged: Arc<Mutex<BTreeMap<u32, Vec<String>>>>,
}

impl Shipper {
    /// A request with the token and no body yet.
    pub fn request(&self) -> Request {
        Request::post(format!("/?token={}", self.token))
    }

    /// Ships one log for each message.
    pub fn ship(&self, messages: &[&str]) -> Answer {
        let body: String =
            messages.iter().map(|message| format!("{{\"message\":\"{message}\"}}\n")).collect();
        let answer = self.request().body(body).send(self.ingest);
        if answer.status == 200 {
            self.acknowledge(messages.iter().map(ToString::to_string));
        }
        answer
    }

    /// Notes messages that a 200 answered.
    pub fn acknowledge(&self, messages: impl IntoIterator<Item = String>) {
        self.acknowledged.lock().unwrap().entry(self.account).or_default().extend(messages);
    }
}

/// Manages an account over the API.
#[derive(Clone)]
pub struct Admin {
    pub api: SocketAddr,
    pub token: String,
}

impl Admin {
    pub fn call(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> Answer {
        let mut request = Request::new(method, path).header("X-API-TOKEN", &self.token);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        request.send(self.api)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    /// A new enabled token: its id and its value.
    pub fn create(&self, name: &str) -> (u64, String) {
        let answer = self.call("POST", "/v1/log-shipping/tokens", Some(serde_json::json!({ "name": name })));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = answer.json();
        (token["id"].as_u64().unwrap(), token["token"].as_str().unwrap().to_owned())
    }

    pub fn set_enabled(&self, id: u64, name: &str, enabled: bool) {
        let body = serde_json::json!({ "name": name, "enabled": enabled });
        let answer = self.call("PUT", &format!("/v1/log-shipping/tokens/{id}"), Some(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub fn delete(&self, id: u64) {
        let answer = self.call("DELETE", &format!("/v1/log-shipping/tokens/{id}"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
