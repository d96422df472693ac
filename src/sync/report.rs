//! What this gateway tells its control plane of itself, above all which revision of the directory it enforces.
//!
//! One report at a time is on its way, and it tells of the moment it is made: what changed while the one before was
//! travelling is in the next. Reports are regular; one goes out at once when somebody waits for what came into force, and
//! the last one says that this gateway stops. Nothing that a shipper sends depends on any of them.

use super::Config;
use super::current::Current;
use super::link::{Link, LinkError};
use crate::clock::{self, Clock};
use crate::domain::token::TokenDigest;
use crate::domain::usage::Usage;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::wire::{self, Counted, HEARTBEAT_MS, REPORT_PATH, Report, ReportAnswer, USES_MAX};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::http::header;
use hyper::{Request, StatusCode};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const INTERVAL: Duration = Duration::from_millis(HEARTBEAT_MS);
/// How long what nobody waits for may wait for more of its kind.
const SETTLING: Duration = Duration::from_millis(100);
/// How long batches on their way may take; then what was enforced before is reported once more.
const SETTLED_TIMEOUT: Duration = INTERVAL;
/// How long the control plane may take to answer a report.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For what was counted last.
const LAST_COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the last one.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The name by which the control plane knows a gateway: `configured`, or else the one in `file`, which is drawn and written
/// when there is none.
pub fn gateway_id(configured: &str, file: &Path) -> io::Result<String> {
    if !configured.is_empty() {
        return Ok(configured.to_owned());
    }
    match fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            let id = uuid::Uuid::new_v4().to_string();
            let fresh = file.with_extension("new");
            fs::write(&fresh, format!("{id}\n"))?;
            fs::rename(fresh, file)?;
            Ok(id)
        }
    }
}

/// What the gateway counts of its requests, above all of the use of tokens.
pub trait Ledger: Send + Sync + 'static {
    /// Everything since the last time.
    fn take(&self) -> Usage;
    /// Requests refused since the start, by the refusal's code.
    fn refusals(&self) -> BTreeMap<String, u64>;
    /// Of tokens that the directory does not hold, some that once were: they are not to be lost among others.
    fn keep(&self, known: &[TokenDigest]);
}

/// What the rest of the gateway knows and is reported.
pub struct Known {
    /// Where shippers reach it.
    pub address: String,
    pub ledger: Arc<dyn Ledger>,
}

/// Starts reporting over `link`, until the stage drains.
pub fn start(
    config: Config,
    link: Link,
    Known { address, ledger }: Known,
    current: Current,
    metrics: Arc<Metrics>,
    clock: &Clock,
    tasks: &Tasks,
) {
    let reporter = Reporter {
        post: Post(link),
        usage_interval: config.usage_interval,
        ledger,
        gateway: config.gateway_id,
        instance: uuid::Uuid::new_v4().to_string(),
        started_ms: clock.unix_ms(),
        numbers: AtomicU64::new(1),
        pace: Mutex::new(Pace::new()),
        settled: Mutex::default(),
        address,
        current,
        metrics,
    };
    tasks.spawn(reporter.run(tasks.clone()));
}

struct Reporter {
    post: Post,
    usage_interval: Duration,
    ledger: Arc<dyn Ledger>,
    gateway: String,
    instance: String,
    started_ms: u64,
    numbers: AtomicU64,
    pace: Mutex<Pace>,
    /// What is known to be enforced.
    settled: Mutex<(String, u64)>,
    address: String,
    current: Current,
    metrics: Arc<Metrics>,
}

impl Reporter {
    async fn run(self, tasks: Tasks) {
        let mut outbox = Outbox::new(self.current.position().0);
        tokio::join!(self.report_until(&tasks), self.count_until(&tasks, &mut outbox));
        let _ = timeout(LAST_COUNT_TIMEOUT, async {
            outbox.fill(self.ledger.take(), self.current.position().0, &self.metrics);
            while !outbox.is_empty() && self.send_one(&mut outbox).await.is_ok() {}
        })
        .await;
        outbox.drop_all(&self.metrics);
        let farewell = Report { stopping: true, ..self.report([0.0; 2]) };
        let told = timeout(FAREWELL_TIMEOUT, self.post.send(&farewell)).await;
        if !matches!(told, Ok(Ok(_))) {
            tracing::debug!("the control plane was not told that this gateway stops");
        }
    }

    /// Sends what was counted, at most as often as the interval says. What is not taken is sent again.
    async fn count_until(&self, tasks: &Tasks, outbox: &mut Outbox) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.usage_interval) => {}
                () = tasks.draining() => return,
            }
            // While nothing is taken the ledger counts on in its own bounded tables.
            if outbox.is_empty() {
                outbox.fill(self.ledger.take(), self.current.position().0, &self.metrics);
            }
            while !outbox.is_empty() {
                let sent = tokio::select! {
                    sent = self.send_one(outbox) => sent,
                    () = tasks.draining() => return,
                };
                if sent.is_err() {
                    break;
                }
            }
        }
    }

    async fn send_one(&self, outbox: &mut Outbox) -> Result<(), ReportError> {
        let Some(counted) = outbox.parts.front() else { return Ok(()) };
        let report = Report { usage: Some(counted.clone()), ..self.report(self.pace()) };
        match self.post.send(&report).await {
            Ok(answer) => {
                outbox.parts.pop_front();
                let answer: ReportAnswer = serde_json::from_slice(&answer).unwrap_or_default();
                self.ledger.keep(&answer.known);
                Ok(())
            }
            Err(ReportError::Link(LinkError::Status(
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE,
            ))) => {
                // It would be refused for ever.
                tracing::error!(
                    "the control plane does not understand what was counted of the use of tokens"
                );
                outbox.drop_one(&self.metrics);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn report_until(&self, tasks: &Tasks) {
        let mut receipts = self.current.receipts();
        let mut revisions = self.current.revisions();
        let mut failing = false;
        loop {
            receipts.mark_unchanged();
            revisions.mark_unchanged();
            tokio::select! {
                () = self.settle() => {}
                () = tasks.draining() => return,
            }
            let report = self.report(self.pace());
            let sent = tokio::select! {
                sent = self.post.send(&report) => sent,
                () = tasks.draining() => return,
            };
            if let Err(error) = &sent
                && !failing
            {
                tracing::warn!("the control plane does not take this gateway's reports: {error}");
            }
            failing = sent.is_err();
            let mut due = clock::monotonic() + INTERVAL;
            loop {
                tokio::select! {
                    () = tasks.draining() => return,
                    _ = receipts.changed() => break,
                    _ = revisions.changed() => due = due.min(clock::monotonic() + SETTLING),
                    () = tokio::time::sleep_until(due.into()) => break,
                }
            }
        }
    }

    /// Waits, within a limit, until what is in force is also enforced: until no batch is on its way to the journal that an
    /// earlier directory let pass.
    async fn settle(&self) {
        let position = self.current.position();
        let is_settled = *self.settled() == position;
        if !is_settled && timeout(SETTLED_TIMEOUT, self.current.settle()).await.is_ok() {
            *self.settled() = position;
        }
    }

    fn settled(&self) -> MutexGuard<'_, (String, u64)> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests and lines a second.
    fn pace(&self) -> [f64; 2] {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).look(self.done())
    }

    /// Requests answered and lines acknowledged since the start.
    fn done(&self) -> [u64; 2] {
        [self.metrics.gateway.request_seconds.get_sample_count(), self.metrics.gateway.accepted_lines()]
    }

    /// How it stands now.
    fn report(&self, [requests_per_second, lines_per_second]: [f64; 2]) -> Report {
        let (store, revision) = self.settled().clone();
        let [requests, lines] = self.done();
        Report {
            version: wire::VERSION,
            gateway: self.gateway.clone(),
            instance: self.instance.clone(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            address: self.address.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            revision,
            started_ms: self.started_ms,
            requests,
            requests_per_second,
            lines,
            lines_per_second,
            refusals: self.ledger.refusals(),
            stopping: false,
            usage: None,
        }
    }
}

/// What was counted and is not taken yet, in parts that fit into a report.
struct Outbox {
    parts: VecDeque<Counted>,
    numbers: u64,
    /// The store whose tokens the ledger has counted since the last time.
    store: String,
}

impl Outbox {
    fn new(store: String) -> Self {
        Self { parts: VecDeque::new(), numbers: 0, store }
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn fill(&mut self, usage: Usage, store: String, metrics: &Metrics) {
        for usage in usage.into_parts(USES_MAX) {
            self.numbers += 1;
            self.parts.push_back(Counted { number: self.numbers, store: self.store.clone(), usage });
        }
        if self.store != store {
            // Numbers of tokens of either store: nobody could tell them apart.
            if !self.store.is_empty() {
                self.drop_all(metrics);
            }
            self.parts.iter_mut().for_each(|part| part.store.clone_from(&store));
            self.store = store;
        }
    }

    fn drop_one(&mut self, metrics: &Metrics) {
        if let Some(part) = self.parts.pop_front() {
            let tokens: u64 = part.usage.tokens.iter().map(|token| token.sums.requests).sum();
            let strangers: u64 = part.usage.strangers.iter().map(|stranger| stranger.requests).sum();
            metrics.gateway.usage_dropped.inc_by(tokens + strangers);
        }
    }

    fn drop_all(&mut self, metrics: &Metrics) {
        while !self.is_empty() {
            self.drop_one(metrics);
        }
    }
}

/// Requests and lines a second, over intervals that are long enough to tell.
struct Pace {
    since: Instant,
    done: [u64; 2],
    per_second: [f64; 2],
}

impl Pace {
    fn new() -> Self {
        Self { since: clock::monotonic(), done: [0; 2], per_second: [0.0; 2] }
    }

    fn look(&mut self, done: [u64; 2]) -> [f64; 2] {
        let elapsed = self.since.elapsed();
        if elapsed >= INTERVAL.mul_f64(0.9) {
            let more = |at: usize| done[at].saturating_sub(self.done[at]) as f64 / elapsed.as_secs_f64();
            self.per_second = [more(0), more(1)];
            (self.since, self.done) = (clock::monotonic(), done);
        }
        self.per_second
    }
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the control plane did not answer in time")]
    Timeout,
    #[error("the control plane's answer is none")]
    Answer,
    #[error("a report cannot be written")]
    Unwritable(#[source] serde_json::Error),
}

/// Takes reports to the control plane that the stream comes from.
struct Post(Link);

impl Post {
    async fn send(&self, report: &Report) -> Result<Bytes, ReportError> {
        let body = serde_json::to_vec(report).map_err(ReportError::Unwritable)?;
        timeout(ANSWER_TIMEOUT, self.exchange(body.into())).await.unwrap_or(Err(ReportError::Timeout))
    }

    async fn exchange(&self, body: Bytes) -> Result<Bytes, ReportError> {
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
        let response = self.0.ask(request, REPORT_PATH, body).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|_| ReportError::Answer)?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.id");
        assert_eq!(gateway_id("mine", &file).unwrap(), "mine");
        let drawn = gateway_id("", &file).unwrap();
        assert_eq!(drawn.len(), 36);
        assert_eq!(gateway_id("", &file).unwrap(), drawn);
        assert_eq!(gateway_id("mine", &file).unwrap(), "mine");
    }
}
