//! Where the time goes: a server that only reads bodies and answers, then one by one what Shipgate adds to it, up to the
//! gateway as it is shipped. CPU time of the server for each batch, system calls included.
//!
//!     cargo bench --bench ceiling                                     100 lines a batch, 32 connections
//!     cargo bench --bench ceiling -- --lines 1 --connections 256
//!
//! Every server is a process of its own, so that what the client needs is not counted. All of them run all the time and
//! get their load in turns, several times around: what disturbs the machine disturbs them all. Batches differ from one
//! another, so that neither compression nor branch prediction has an easy life.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench may panic, measures time itself, and reads its own arguments"
)]

mod common;

use bytes::Bytes;
use common::{LINES, Random, TOKEN, body, directory};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use shipgate::clock::Clock;
use shipgate::config::Config;
use shipgate::domain::account::Durability;
use shipgate::domain::batch::{Batch, Framing};
use shipgate::domain::token::GatewayCredential;
use shipgate::gateway::Gate;
use shipgate::gateway::credentials::Credentials;
use shipgate::gateway::listener::Listener;
use shipgate::journal::disk::OsDisk;
use shipgate::journal::{Feed, Journal};
use shipgate::logs::Logs;
use shipgate::logs::read::Tails;
use shipgate::metrics::Metrics;
use shipgate::shutdown::Shutdown;
use shipgate::sync::current::Current;
use std::cell::RefCell;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often every server gets its turn, how long that is, and how much of it is not measured.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(1_000);
const WARM_UP: Duration = Duration::from_millis(150);
/// Batches that differ, together more than caches hold.
const BODY_BYTES: usize = 20 << 20;
/// Of a process's times in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// How much of the line a server does: this, and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Bare,
    Admit,
    Parse,
    Compress,
    Checksum,
    Written,
    Synced,
    Logs,
    Gateway,
}

const STAGES: [(Stage, &str); 9] = [
    (Stage::Bare, "hyper: read the body, answer 200"),
    (Stage::Admit, "+ credentials, digest, look-up"),
    (Stage::Parse, "+ every line judged, fields put in"),
    (Stage::Compress, "+ zstd"),
    (Stage::Checksum, "+ checksum"),
    (Stage::Written, "+ journal: group, write, hand-over"),
    (Stage::Synced, "+ fdatasync"),
    (Stage::Logs, "+ the account's log"),
    (Stage::Gateway, "the gateway: + limits, metrics, doors"),
];

fn main() {
    let (mut lines, mut connections) = (LINES, 32);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--serve" => return serve(number()),
            "--lines" => lines = number(),
            "--connections" => connections = number(),
            "--bench" => {}
            other => panic!("{other}: the arguments are --lines N and --connections N"),
        }
    }
    measure(lines, connections);
}

fn measure(lines: usize, connections: usize) {
    let requests = requests(lines);
    let bytes = requests.iter().map(Vec::len).sum::<usize>() / requests.len();
    println!("{}", machine());
    println!("{connections} connections over loopback, {lines} lines a batch, requests of {bytes} bytes\n");
    let mut servers: Vec<_> = (0..STAGES.len()).map(Server::start).collect();
    let mut costs = vec![Vec::new(); servers.len()];
    for _ in 0..TURNS {
        for (server, costs) in servers.iter().zip(&mut costs) {
            costs.push(server.turn(&requests, connections));
        }
    }
    servers.drain(..).for_each(Server::stop);
    println!(
        "{:<38} {:>9} {:>9} {:>15}  {:>12}",
        "CPU µs a batch", "all", "added", "least to most", "lines/s/core"
    );
    let mut before = 0.0;
    for ((_, name), mut costs) in STAGES.iter().zip(costs) {
        costs.sort_by(f64::total_cmp);
        let (least, median, most) = (costs[0], costs[TURNS / 2], costs[TURNS - 1]);
        let rate = lines as f64 * 1e6 / median;
        let spread = format!("{least:.1} to {most:.1}");
        println!("{name:<38} {median:>9.1} {:>+9.1} {spread:>15}  {rate:>12.0}", median - before);
        before = median;
    }
    println!("\nmedians of {TURNS} turns; {}", load());
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = model.map_or("unknown processor", |(_, model)| model);
    format!("{model}, {cores} cores, Linux {}; {}", kernel.trim(), load())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Requests with bodies that all differ.
fn requests(lines: usize) -> Vec<Vec<u8>> {
    let mut random = Random(7);
    let mut bytes = 0;
    let mut requests = Vec::new();
    while bytes < BODY_BYTES && requests.len() < 16_384 {
        let body = body(&mut random, lines);
        let length = body.len();
        let head = format!(
            "POST /?token={TOKEN}&type=bench HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n"
        );
        requests.push((head + &body).into_bytes());
        bytes += length;
    }
    requests
}

/// A server in a process of its own, seen from the client.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(stage: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve", &stage.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().expect("an address, once it listens") }
    }

    /// CPU time that the server needs for a batch, in µs, while so many connections each wait for an answer and send on.
    fn turn(&self, requests: &[Vec<u8>], connections: usize) -> f64 {
        let (answers, done) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for n in 0..connections {
                let stream = TcpStream::connect(self.address).unwrap();
                stream.set_nodelay(true).unwrap();
                let first = n * requests.len() / connections;
                let mine = requests[first..].iter().chain(requests).cycle();
                let mine = mine.take_while(|_| !done.load(Ordering::Relaxed));
                let answers = &answers;
                scope.spawn(move || mine.for_each(|request| post(&stream, request, answers)));
            }
            std::thread::sleep(WARM_UP);
            let begun = (self.cpu_seconds(), answers.load(Ordering::Relaxed));
            std::thread::sleep(TURN);
            let ended = (self.cpu_seconds(), answers.load(Ordering::Relaxed));
            done.store(true, Ordering::Relaxed);
            1e6 * (ended.0 - begun.0) / (ended.1 - begun.1) as f64
        })
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name, which may hold anything, the 12th and 13th field are user and system time.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        ticks as f64 / TICKS_PER_SECOND
    }

    /// A server ends with its standard input.
    fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

fn post(mut stream: &TcpStream, request: &[u8], answers: &AtomicU64) {
    stream.write_all(request).unwrap();
    let mut answer = [0; 1_024];
    let mut bytes = 0;
    while !answer[..bytes].ends_with(b"\r\n\r\n") {
        bytes += match stream.read(&mut answer[bytes..]).unwrap() {
            0 => panic!("the server hung up"),
            more => more,
        };
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..bytes]));
    answers.fetch_add(1, Ordering::Relaxed);
}

/// The other role of this program: one of the servers.
fn serve(stage: usize) {
    let (stage, _) = STAGES[stage];
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let durability = if stage == Stage::Written { Durability::Written } else { Durability::Synced };
    let variables = [
        ("SHIPGATE__DATA_DIR".to_owned(), folder.path().to_string_lossy().into_owned()),
        ("SHIPGATE__GATEWAY__HTTP".to_owned(), "127.0.0.1:0".to_owned()),
    ];
    let config = Config::load(None, variables, None, GatewayCredential::from_entropy(&[1; 32])).unwrap();
    let current = Current::default();
    current.publish(directory(1_000, durability), "bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stopped = || std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    if stage < Stage::Logs {
        let level = config.journal.compression_level;
        let journal = (stage >= Stage::Written).then(|| journal_alone(config.journal));
        runtime.block_on(listen(Arc::new(Line { stage, level, current, journal })));
        stopped();
        return runtime.shutdown_background();
    }
    let (metrics, clock) = (Arc::new(Metrics::new()), Clock::system());
    let keep = Arc::new(|_| None);
    let (journal, logs) = Logs::open(
        config.logs,
        config.journal,
        Arc::new(OsDisk),
        keep,
        Tails::default(),
        Arc::clone(&metrics),
        clock.clone(),
    )
    .unwrap();
    let shutdown = Shutdown::new();
    if stage == Stage::Logs {
        let journal = Some(journal.clone());
        runtime.block_on(listen(Arc::new(Line { stage, level: 0, current, journal })));
    } else {
        let addresses = runtime.block_on(async {
            let listener = Listener::bind(&config.gateway, &metrics, &shutdown.tasks()).unwrap();
            let addresses = listener.addresses();
            let gate = Gate::new(config.gateway, current, journal.clone(), metrics, clock);
            listener.serve(Arc::new(gate), &shutdown.tasks());
            addresses
        });
        println!("{}", addresses.http);
    }
    stopped();
    runtime.shutdown_background();
    journal.close();
    logs.close().unwrap();
}

/// A journal whose batches go nowhere else.
fn journal_alone(config: shipgate::journal::Config) -> Journal {
    let (journal, feed) =
        Journal::open(config, Arc::new(OsDisk), Arc::new(Metrics::new()), 0, 128 << 20).unwrap();
    std::thread::spawn(move || forget(&feed));
    journal
}

fn forget(feed: &Feed) {
    while let Some(taken) = feed.next(Duration::from_secs(1)) {
        feed.done(taken.iter().map(|extent| extent.bytes.len()).sum());
        if let Some(last) = taken.last() {
            feed.trim(last.last_seq).unwrap();
        }
    }
}

/// What a server short of the gateway does.
struct Line {
    stage: Stage,
    level: i32,
    current: Current,
    journal: Option<Journal>,
}

async fn listen(line: Arc<Line>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let line = Arc::clone(&line);
            let service = service_fn(move |request| take(Arc::clone(&line), request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

async fn take(line: Arc<Line>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let admitted = (line.stage >= Stage::Admit).then(|| {
        let credentials = Credentials::of(&head);
        let permit = line.current.admit(&credentials.token.unwrap(), || 0).unwrap().unwrap();
        (permit, credentials.default_type)
    });
    let body = body.collect().await?.to_bytes();
    let Some((permit, default_type)) = admitted.filter(|_| line.stage >= Stage::Parse) else {
        return Ok(Response::default());
    };
    let framing = Framing {
        received_ms: Clock::system().unix_ms(),
        default_type: &default_type,
        line_bytes_max: 500_000,
    };
    let batch = Batch::parse(permit, &body, framing);
    drop(body);
    match &line.journal {
        Some(journal) => drop(journal.append(batch).await.unwrap()),
        None if line.stage >= Stage::Compress => squeeze(&line, batch.lines()),
        None => {}
    }
    Ok(Response::default())
}

thread_local! {
    static PRESS: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

fn squeeze(line: &Line, lines: &[u8]) {
    let frame = PRESS.with_borrow_mut(|press| {
        let press = press.get_or_insert_with(|| zstd::bulk::Compressor::new(line.level).unwrap());
        press.compress(lines).unwrap()
    });
    if line.stage >= Stage::Checksum {
        black_box(crc32c::crc32c(&frame));
    }
    black_box(&frame);
}
