//! Hot reload: keeps the gateway's directory equal to what its control plane last committed.
//!
//! The reconciler takes no input. It asks the control plane over the wire contract ([`crate::wire`]), applies what comes, and
//! publishes it through [`current::Current`]. When anything fails it goes on with the last directory published and asks
//! again: an error never empties the directory. The last good one is kept on disk, so that a gateway starts without its
//! control plane. No request ever causes a question to anybody.

pub mod current;
mod last_good;
mod replica;
pub mod report;
mod source;

use crate::clock::{self, Clock};
use crate::domain::token::GatewayCredential;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::wire;
use current::Current;
use replica::Replica;
use source::{Source, SourceError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the directory comes from.
#[derive(Debug, Clone)]
pub struct Config {
    /// The control plane's address, such as `http://127.0.0.1:8072`.
    pub control_url: hyper::Uri,
    pub credential: GatewayCredential,
    /// Names this gateway to its control plane. Empty: a name is drawn once and kept in `gateway_id_file`.
    pub gateway_id: String,
    pub gateway_id_file: PathBuf,
    /// How often what was counted of the use of tokens is sent, at most.
    pub usage_interval: Duration,
    /// Where the last good directory is kept. It holds digests, no tokens.
    pub last_good_file: PathBuf,
    /// How long to wait for the control plane at start before the last good directory is served.
    pub last_good_after: Duration,
    /// How often the last good directory is written, at most.
    pub last_good_interval: Duration,
}

/// Starts reconciling, until the stage drains.
pub fn start(config: Config, current: Current, metrics: Arc<Metrics>, clock: Clock, tasks: &Tasks) {
    tasks.spawn(last_good::keep(config.clone(), current.clone(), tasks.clone()));
    tasks.spawn(age(current.clone(), Arc::clone(&metrics), tasks.clone()));
    tasks.spawn(reconcile(config, current, metrics, clock, tasks.clone()));
}

/// The shortest and longest pause between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

async fn reconcile(config: Config, current: Current, metrics: Arc<Metrics>, clock: Clock, tasks: Tasks) {
    let source = Source::new(&config);
    let mut replica = Replica::new(current, Arc::clone(&metrics), clock);
    let mut backoff = BACKOFF.0;
    loop {
        let outcome = tokio::select! {
            outcome = follow(&source, &mut replica) => outcome,
            () = tasks.draining() => return,
        };
        metrics.directory.control_connected.set(0);
        metrics.directory.failures.inc();
        let Outcome { error, progressed } = outcome;
        report(&error);
        if progressed {
            backoff = BACKOFF.0;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = tasks.draining() => return,
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

fn report(error: &SourceError) {
    let cause = std::error::Error::source(error);
    tracing::warn!(cause, "the directory's stream ended, the last good one serves on: {error}");
}

/// How one stream ended, and whether anything came of it.
struct Outcome {
    error: SourceError,
    progressed: bool,
}

/// Reads one stream until it fails, which in the end every stream does.
async fn follow(source: &Source, replica: &mut Replica) -> Outcome {
    let mut progressed = false;
    let error = async {
        let mut stream = source.open(replica.position()).await?;
        let silence = Duration::from_millis(3 * wire::HEARTBEAT_MS);
        loop {
            let line = tokio::time::timeout(silence, stream.next_line()).await;
            let line = line.map_err(|_| SourceError::Silent)??;
            replica.take(&line)?;
            progressed = true;
        }
    };
    let error: Result<std::convert::Infallible, SourceError> = error.await;
    let Err(error) = error;
    if matches!(error, SourceError::Contract(_)) {
        // What this replica holds may be what does not fit: begin with a snapshot.
        replica.forget_position();
    }
    Outcome { error, progressed }
}

/// Shows how long ago the control plane last confirmed the directory.
async fn age(current: Current, metrics: Arc<Metrics>, tasks: Tasks) {
    loop {
        if let Some(confirmed) = current.confirmed() {
            metrics.directory.age_seconds.set(clock::monotonic().duration_since(confirmed).as_secs() as i64);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = tasks.draining() => return,
        }
    }
}

#[cfg(test)]
mod tests;
