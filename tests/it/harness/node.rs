//! The planes apart: a process for each, and what may go wrong between them.

use super::http::{Answer, Request};
use super::{API_TOKEN, Admin, SHIPPING_TOKEN, eventually, gather, shipgate};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What gateways and control planes of the tests share.
pub const CREDENTIAL: &str = "the-credential-of-the-tests-gateways";

/// One process, in one role.
pub struct Node {
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    data: PathBuf,
    said: Vec<String>,
    log: Arc<Mutex<String>>,
    child: Child,
}

impl Node {
    pub fn control(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start(&["control"], data, settings)
    }

    /// A gateway that asks the control planes at `addresses`.
    pub fn gateway(data: &Path, addresses: &[SocketAddr], settings: &[(&str, &str)]) -> Self {
        let urls: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let (urls, credential) = (urls.join(","), ("SYNC__CREDENTIAL", CREDENTIAL));
        let own = [("SYNC__CONTROL_URLS", urls.as_str()), credential];
        Self::start(&["gateway"], data, &[&own[..], settings].concat())
    }

    pub fn start(arguments: &[&str], data: &Path, settings: &[(&str, &str)]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self::spawn(arguments, data.to_owned(), settings)
    }

    fn spawn(arguments: Vec<String>, data: PathBuf, settings: Vec<(String, String)>) -> Self {
        let mut command = shipgate();
        command
            .args(&arguments)
            .env("SHIPGATE__DATA_DIR", &data)
            .env("SHIPGATE__LOG__LEVEL", "info,shipgate=debug");
        for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP", "CONTROL__TLS__HTTPS"] {
            command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
        }
        for (key, value) in [
            ("CONTROL__GATEWAY_CREDENTIAL", CREDENTIAL),
            ("BOOTSTRAP__API_TOKEN", API_TOKEN),
            ("BOOTSTRAP__SHIPPING_TOKEN", SHIPPING_TOKEN),
            ("JOURNAL__DISK_FREE_BYTES_MIN", "0"),
            ("SYNC__LAST_GOOD_AFTER_MS", "300"),
        ] {
            command.env(format!("SHIPGATE__{key}"), value);
        }
        command.envs(settings.iter().map(|(key, value)| (format!("SHIPGATE__{key}"), value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let log = Arc::new(Mutex::new(String::new()));
        gather(child.stderr.take().expect("piped"), Arc::clone(&log));
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok) {
            let is_last = line.starts_with("data ");
            said.push(line);
            if is_last {
                return Self { arguments, settings, data, said, log, child };
            }
        }
        let _ = child.wait();
        panic!("it did not start: {said:?}\n{}", log.lock().unwrap());
    }

    /// SIGKILL, and a start on the same data with other settings on top.
    pub fn crash_and_restart(mut self, settings: &[(&str, &str)]) -> Self {
        self.kill();
        let mut all = self.settings.clone();
        all.extend(settings.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        Self::spawn(self.arguments.clone(), self.data.clone(), all)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn address(&self, name: &str, scheme: &str) -> SocketAddr {
        let find = |line: &String| line.strip_prefix(name)?.trim_start().strip_prefix(scheme)?.parse().ok();
        self.said.iter().find_map(find).unwrap_or_else(|| panic!("no {name} in {:?}", self.said))
    }

    pub fn ingest(&self) -> SocketAddr {
        self.address("ingest", "http://")
    }

    pub fn api(&self) -> SocketAddr {
        self.address("api", "http://")
    }

    pub fn api_tls(&self) -> SocketAddr {
        self.address("api", "https://")
    }

    pub fn ops(&self) -> SocketAddr {
        self.address("ops", "http://")
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn admin(&self) -> Admin {
        Admin { api: self.api(), token: API_TOKEN.to_owned() }
    }

    pub fn readyz(&self) -> Answer {
        Request::get("/readyz").send(self.ops())
    }

    /// The answer to one log.
    pub fn ship(&self, token: &str) -> u16 {
        let body = "{\"message\":\"shipped\"}\n";
        Request::post(format!("/?token={token}")).body(body).send(self.ingest()).status
    }

    /// Waits until one log is answered so.
    pub fn answers(&self, token: &str, status: u16) {
        eventually(&format!("{status}"), || (self.ship(token) == status).then_some(()));
    }

    pub fn metric(&self, series: &str) -> f64 {
        let text = Request::get("/metrics").send(self.ops()).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series}")).parse().expect("a number")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{:?} logged:\n{}", self.arguments, self.log());
        }
    }
}

/// What a network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Whole,
    /// Nothing arrives, and nobody is told.
    Partitioned,
    /// Connections are closed, open ones and new ones.
    Closed,
}

/// A way between two nodes.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<Line>>,
}

struct Line {
    network: Network,
    target: SocketAddr,
    /// How often it was closed: a connection does not outlive that, however short it was.
    closings: usize,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Line { network: Network::Whole, target, closings: 0 }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let (target, is_closed, closings) = {
                    let line = shared.lock().unwrap();
                    (line.target, line.network == Network::Closed, line.closings)
                };
                let Some(far) = TcpStream::connect(target).ok().filter(|_| !is_closed) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || pump(from, to, &shared, closings));
                }
            }
        });
        Self { address, state }
    }

    pub fn set(&self, network: Network) {
        let mut line = self.state.lock().unwrap();
        line.closings += usize::from(network == Network::Closed);
        line.network = network;
    }

    pub fn lead_to(&self, target: SocketAddr) {
        self.state.lock().unwrap().target = target;
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, line: &Mutex<Line>, closings: usize) {
    let mut chunk = [0; 16 << 10];
    // Looks at the state even when nothing comes.
    let _ = from.set_read_timeout(Some(Duration::from_millis(10)));
    let mut held = Vec::new();
    loop {
        let network = {
            let line = line.lock().unwrap();
            if line.closings > closings {
                break;
            }
            line.network
        };
        if network == Network::Whole && !held.is_empty() && to.write_all(&std::mem::take(&mut held)).is_err()
        {
            break;
        }
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => held.extend_from_slice(&chunk[..bytes]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
