//! Hot reload: keeps the gateway's directory equal to what its control plane last committed.
//!
//! The reconciler takes no input. It asks the control plane over the wire contract ([`crate::wire`]), applies what comes, and
//! publishes it through [`current::Current`]. When anything fails it goes on with the last directory published and asks
//! again: an error never empties the directory. The last good one is kept on disk, so that a gateway starts without its
//! control plane. No request ever causes a question to anybody.

pub mod current;
mod file;
mod freshness;
mod last_good;
pub mod link;
mod passage;
mod replica;
pub mod report;
mod source;

use crate::clock::Clock;
use crate::domain::token::GatewayCredential;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::telemetry::chain;
use crate::wire;
use current::Current;
use last_good::Keeper;
use link::{Link, SetUpError};
use replica::Replica;
use source::SourceError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the directory comes from.
#[derive(Debug, Clone)]
pub struct Config {
    /// The control plane's addresses, such as `https://control.example.com`.
    pub control_urls: Vec<hyper::Uri>,
    /// In place of a control plane: a file of accounts and tokens.
    pub tokens_file: Option<PathBuf>,
    pub credential: GatewayCredential,
    /// The authorities whose certificates a control plane may have, in PEM.
    pub ca_file: PathBuf,
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
    /// When a directory that nobody confirms is too old; `None`: never.
    pub stale_after: Option<Duration>,
    /// What becomes of shippers then.
    pub when_stale: WhenStale,
}

/// What becomes of shippers when the directory is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    Serve,
    RefuseConnections,
    Refuse,
}

/// Why a gateway cannot begin to learn.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Link(#[from] SetUpError),
    #[error("the operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Starts keeping the directory, until the stage drains. Gives back the way to the control plane, if there is one.
pub fn start(
    config: Config,
    current: Current,
    metrics: Arc<Metrics>,
    clock: Clock,
    tasks: &Tasks,
) -> Result<Option<Link>, StartError> {
    let (keeper, deltas) = Keeper::new(&config, current.clone(), clock.clone());
    tasks.spawn(keeper.keep(tasks.clone()));
    tasks.spawn(freshness::watch(config.clone(), current.clone(), Arc::clone(&metrics), tasks.clone()));
    if let Some(file) = config.tokens_file {
        tasks.spawn(file::follow(file, current, metrics, tasks.clone()));
        return Ok(None);
    }
    let link = Link::new(&config, getrandom::u64()?)?;
    let replica = Replica::new(current.clone(), Arc::clone(&metrics), clock).kept_by(deltas);
    let from = From { link: link.clone(), gateway: config.gateway_id };
    tasks.spawn(reconcile(from, replica, current, metrics, tasks.clone()));
    Ok(Some(link))
}

/// The shortest and longest pause between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where streams come from, and who asks for them.
struct From {
    link: Link,
    gateway: String,
}

async fn reconcile(from: From, mut replica: Replica, current: Current, metrics: Arc<Metrics>, tasks: Tasks) {
    let mut backoff = BACKOFF.0;
    loop {
        let outcome = tokio::select! {
            outcome = follow(&from, &mut replica) => outcome,
            () = tasks.draining() => return,
        };
        metrics.directory.control_connected.set(0);
        metrics.directory.failures.inc();
        let Outcome { error, progressed } = outcome;
        let (address, cause) = (from.link.address(), chain(&error));
        tracing::warn!(%address, cause, "the directory's stream ended, the last good one serves on");
        current.set_trouble(format!("{address}: {error}"));
        from.link.move_on();
        if progressed {
            backoff = BACKOFF.0;
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(backoff)) => {}
            () = tasks.draining() => return,
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Something between nothing and `pause`, by chance: gateways that lost the same control plane do not come back in step.
fn jittered(pause: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// How one stream ended, and whether more came of it than a greeting.
struct Outcome {
    error: SourceError,
    progressed: bool,
}

/// Reads one stream until it fails, which in the end every stream does.
async fn follow(from: &From, replica: &mut Replica) -> Outcome {
    let mut lines: u64 = 0;
    let error = async {
        let mut stream = source::open(&from.link, &from.gateway, replica.position()).await?;
        let silence = Duration::from_millis(3 * wire::HEARTBEAT_MS);
        loop {
            let line = tokio::time::timeout(silence, stream.next_line()).await;
            let line = line.map_err(|_| SourceError::Silent)??;
            replica.take(&line)?;
            lines += 1;
        }
    };
    let error: Result<std::convert::Infallible, SourceError> = error.await;
    let Err(error) = error;
    if matches!(error, SourceError::Contract(_)) {
        // What this replica holds may be what does not fit: begin with a snapshot.
        replica.forget_position();
    }
    Outcome { error, progressed: lines > 1 }
}

#[cfg(test)]
mod tests;
