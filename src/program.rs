//! The program, in the role it was started for: the parts are started in order and ended in reverse.
//!
//! A gateway learns of tokens over the wire contract wherever its control plane is, in the same process or elsewhere. A stop
//! closes the listener first and the logs last, so that what was acknowledged is in its account's log before the program ends.

mod health;
mod planes;

use crate::greeting::{self, Addresses, reachable};
use anyhow::Context;
use health::Health;
use planes::{ControlPlane, GatewayPlane, Ingest, STAGE_DEADLINE, Storage, Surroundings};
use rustix::fs::Mode;
use shipgate::clock::{self, Clock};
use shipgate::config::Config;
use shipgate::config::role::Role;
use shipgate::control;
use shipgate::control::first_start::FirstStart;
use shipgate::logs::read::Tails;
use shipgate::metrics::Metrics;
use shipgate::shutdown::Shutdown;
use shipgate::store::Store;
use shipgate::store::database::Location;
use shipgate::{ops, telemetry};
use std::fs::{File, TryLockError};
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[expect(clippy::disallowed_methods, reason = "ending without draining is what was asked for")]
fn end_at_once() -> ! {
    std::process::exit(EXIT_IMPATIENT)
}

/// How long signals count as one.
const BURST: Duration = Duration::from_secs(1);

/// Ended at once, by a second signal.
const EXIT_IMPATIENT: i32 = 130;

/// Runs until a signal ends it.
pub fn run(mut config: Config, role: Role) -> anyhow::Result<()> {
    telemetry::start(&config.log);
    // Logs and keys are their owner's: nothing made from here on can be read by others.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create the data folder {}", config.data_dir.display()))?;
    let _lock = lock(&config)?;
    if role.has_gateway() {
        fit_into_file_limit(&mut config);
    } else {
        raise_file_limit();
    }
    if role == Role::AllInOne {
        refuse_a_new_store_beside_old_logs(&config)?;
    }
    block_on(async {
        let mut signals = Signals::listen()?;
        let program = Program::start(config, role).await?;
        signals.asked_to_stop().await;
        tracing::info!("stopping: finishing what has begun; a second signal ends at once");
        tokio::select! {
            stopped = program.stop() => stopped,
            () = signals.asked_again_to_stop() => end_at_once(),
        }
    })?
}

/// Asks the store itself something, whether the program runs or not.
pub fn with_store<T>(
    config: &Config,
    ask: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    block_on(async {
        let store =
            control::open_store(&config.control, Clock::system()).await.context("cannot open the store")?;
        let answer = ask(&store).await;
        store.close().await;
        answer
    })?
}

/// Runs one future on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(future))
}

/// Random words for a new secret.
pub fn entropy() -> anyhow::Result<[u64; 32]> {
    let mut words = [0; 32];
    for word in &mut words {
        *word = getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    }
    Ok(words)
}

/// Two programs on one data folder would tear each other's journal.
fn lock(config: &Config) -> anyhow::Result<File> {
    let path = config.data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another shipgate is running on {}", config.data_dir.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Every connection and every growing log takes a descriptor; take as many as the machine allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Shippers' connections leave descriptors for the journal, the logs, the API and the operators' port.
fn fit_into_file_limit(config: &mut Config) {
    raise_file_limit();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let logs = config.logs.open_files_max.min(limit / 4);
    config.logs.open_files_max = logs.max(1);
    let reserved = logs + limit.div_ceil(8).min(2_048);
    let room = limit.saturating_sub(reserved).max(1);
    if config.gateway.connections_max > room {
        tracing::warn!(
            limit,
            connections_max = room,
            "fewer connections than configured: the limit of open files is low"
        );
        config.gateway.connections_max = room;
    }
}

/// Accounts of a new store would be numbered, and so get the log folders, like those of one that was lost.
fn refuse_a_new_store_beside_old_logs(config: &Config) -> anyhow::Result<()> {
    let Location::Sqlite(path) = &config.control.store else { return Ok(()) };
    let is_new = std::fs::metadata(path).map_or(true, |about| about.len() == 0);
    let folders = std::fs::read_dir(&config.logs.dir).into_iter().flatten().flatten();
    let has_logs =
        folders.into_iter().any(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    if is_new && has_logs {
        anyhow::bail!(
            "{} is missing, but {} holds logs of accounts: put the database back, or move the logs away",
            path.display(),
            config.logs.dir.display()
        );
    }
    Ok(())
}

struct Program {
    health: Arc<Health>,
    ops: Shutdown,
    control: Option<ControlPlane>,
    gateway: Option<GatewayPlane>,
}

impl Program {
    async fn start(mut config: Config, role: Role) -> anyhow::Result<Self> {
        let health = Arc::new(Health::new(role));
        let (metrics, clock) = (Arc::new(Metrics::new()), Clock::system());
        let around = Surroundings { metrics: Arc::clone(&metrics), clock, health: Arc::clone(&health) };

        // Every port is taken before anything is made: a start that fails leaves no account whose tokens nobody saw.
        let ingest = if role.has_gateway() { Some(Ingest::bind(&config, &metrics)?) } else { None };
        let (asked, ops) = (Arc::clone(&health), Shutdown::new());
        let readiness: ops::Readiness = Arc::new(move || asked.judge());
        let ops_address = ops::start(&config.ops, metrics, readiness, &ops.tasks())
            .await
            .context("cannot serve metrics and health")?;
        let mut addresses =
            Addresses { ingest: ingest.as_ref().map(Ingest::addresses), api: None, ops: ops_address };
        let tails = Tails::default();
        let objects = planes::objects(&mut config, role, &around.metrics)?;
        let control = if role.has_control() {
            let own = role.has_gateway().then(|| tails.clone());
            if let Some(ingest) = &ingest {
                let bound = ingest.addresses();
                config.control.listener.http_port = Some(bound.http.port());
                config.control.listener.https_port = bound.https.map(|https| https.port());
            }
            let control = ControlPlane::start(&config, own, objects.clone(), &around).await?;
            if role == Role::AllInOne {
                let own = format!("http://{}", reachable(control.addresses.http));
                config.sync.control_urls = vec![own.parse()?];
            }
            addresses.api = Some(control.addresses);
            Some(control)
        } else {
            None
        };
        let storage = if role.has_gateway() {
            Some(Storage::open(&config, tails, objects, &around).await?)
        } else {
            None
        };
        let first_start = match &control {
            Some(control) => control.bootstrap(&config).await?,
            None => None,
        };
        let gateway = match (ingest, storage) {
            (Some(ingest), Some(storage)) => {
                Some(GatewayPlane::start(&config, ingest, storage, &around).await?)
            }
            _ => None,
        };
        announce(first_start.as_ref(), &config, addresses)?;
        Ok(Self { health, ops, control, gateway })
    }

    /// Ends every stage; the logs are closed in any case.
    async fn stop(self) -> anyhow::Result<()> {
        self.health.stopping.store(true, Ordering::Relaxed);
        let closing = match self.gateway {
            Some(gateway) => Some(gateway.stop().await),
            None => None,
        };
        if let Some(control) = self.control {
            control.stop().await;
        }
        if let Some(closing) = closing {
            closing.close().await?;
        }
        let _ = self.ops.drain(STAGE_DEADLINE).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// What asks the program to stop, listened for from the beginning.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// A signal that comes right behind the first is the same wish, sent to a group of processes.
    async fn asked_again_to_stop(&mut self) {
        let begun = clock::monotonic();
        loop {
            self.asked_to_stop().await;
            if begun.elapsed() > BURST {
                return;
            }
        }
    }
}

/// Says where everything is and, at the first start, what was made. If nobody can read it, the tokens go into a file.
fn announce(first_start: Option<&FirstStart>, config: &Config, addresses: Addresses) -> anyhow::Result<()> {
    let public_url = config.control.public_url.as_ref();
    let greeting =
        first_start.map(|first_start| greeting::first(first_start, &config.bootstrap, addresses, public_url));
    let text =
        greeting.clone().unwrap_or_default() + &greeting::every(addresses, public_url, &config.data_dir);
    let said = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    if let (Err(_), Some(greeting)) = (said, greeting) {
        let path = config.data_dir.join("first-start.txt");
        std::fs::write(&path, greeting).with_context(|| format!("cannot write {}", path.display()))?;
        tracing::warn!("standard output cannot be written: the first tokens are in {}", path.display());
    }
    let version = env!("CARGO_PKG_VERSION");
    let (ingest, api) = (addresses.ingest.map(|ingest| ingest.http), addresses.api.map(|api| api.http));
    let (ingest, api) = (ingest.map(tracing::field::display), api.map(tracing::field::display));
    tracing::info!(version, ingest, api, ops = %addresses.ops, data = %config.data_dir.display(), "started");
    Ok(())
}
