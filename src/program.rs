//! Everything on one machine: the parts are started in order and ended in reverse.
//!
//! The gateway learns of tokens over the same wire contract as a gateway far away would. A stop closes the listener first and
//! the logs last, so that what was acknowledged is in its account's log before the program ends.

use crate::greeting::{self, Addresses, reachable};
use anyhow::Context;
use rustix::fs::Mode;
use shipgate::clock::{self, Clock};
use shipgate::config::Config;
use shipgate::control;
use shipgate::control::first_start::{FirstStart, bootstrap};
use shipgate::gateway::Gate;
use shipgate::gateway::listener::Listener;
use shipgate::journal::Journal;
use shipgate::journal::disk::OsDisk;
use shipgate::logs::{Logs, LogsHealth};
use shipgate::metrics::Metrics;
use shipgate::shutdown::Shutdown;
use shipgate::store::Store;
use shipgate::store::database::Location;
use shipgate::sync::current::Current;
use shipgate::{ops, sync, telemetry};
use std::fs::{File, TryLockError};
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[expect(clippy::disallowed_methods, reason = "ending without draining is what was asked for")]
fn end_at_once() -> ! {
    std::process::exit(EXIT_IMPATIENT)
}

/// For each stage but the listener, whose deadline is a setting.
const STAGE_DEADLINE: Duration = Duration::from_secs(5);

/// How long signals count as one.
const BURST: Duration = Duration::from_secs(1);

/// Ended at once, by a second signal.
const EXIT_IMPATIENT: i32 = 130;

/// Runs until a signal ends it.
pub fn run(mut config: Config) -> anyhow::Result<()> {
    telemetry::start(&config.log);
    // Logs and keys are their owner's: nothing made from here on can be read by others.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create the data folder {}", config.data_dir.display()))?;
    let _lock = lock(&config)?;
    fit_into_file_limit(&mut config);
    refuse_a_new_store_beside_old_logs(&config)?;
    block_on(async {
        let mut signals = Signals::listen()?;
        let program = Program::start(config).await?;
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
    drain_timeout: Duration,
    health: Arc<Health>,
    ops: Shutdown,
    control: Shutdown,
    sync: Shutdown,
    listener: Shutdown,
    store: Store,
    journal: Journal,
    logs: Logs,
}

impl Program {
    async fn start(mut config: Config) -> anyhow::Result<Self> {
        let (metrics, clock, health) =
            (Arc::new(Metrics::new()), Clock::system(), Arc::new(Health::default()));
        let current = health.directory.clone();
        let [listener, syncing, control, ops] = [(); 4].map(|()| Shutdown::new());

        // Every port is taken before anything is made: a start that fails leaves no account whose tokens nobody saw.
        let ingest =
            Listener::bind(&config.gateway, &metrics, &listener.tasks()).context("cannot serve ingest")?;
        let asked = Arc::clone(&health);
        let readiness: ops::Readiness = Arc::new(move || asked.trouble());
        let ops_address = ops::start(&config.ops, Arc::clone(&metrics), readiness, &ops.tasks())
            .await
            .context("cannot serve metrics and health")?;
        let store =
            control::open_store(&config.control, clock.clone()).await.context("cannot open the store")?;
        let control_address =
            control::start(&config.control, store.clone(), Arc::clone(&metrics), control.tasks())
                .await
                .context("cannot start the control plane")?;
        let (journal, logs) = open_logs(&config, &current, &metrics, &clock).await?;
        let _ = health.storage.set((journal.clone(), logs.health()));
        let first_start =
            bootstrap(&store, config.bootstrap.clone()).await.context("cannot make the first account")?;

        config.sync.control_url = format!("http://{}", reachable(control_address)).parse()?;
        let sync = &mut config.sync;
        sync.gateway_id =
            sync::report::gateway_id(&sync.gateway_id, &sync.gateway_id_file).with_context(|| {
                format!("cannot keep this gateway's name in {}", sync.gateway_id_file.display())
            })?;
        sync::start(
            config.sync.clone(),
            current.clone(),
            Arc::clone(&metrics),
            clock.clone(),
            &syncing.tasks(),
        );
        // Who posts the moment the port opens should not meet a gateway without tokens.
        let mut revisions = current.revisions();
        let _ = tokio::time::timeout(STAGE_DEADLINE, revisions.wait_for(Option::is_some)).await;
        let addresses = Addresses { ingest: ingest.addresses(), api: control_address, ops: ops_address };
        let (this, seen, time) = (current.clone(), Arc::clone(&metrics), clock.clone());
        let gate = Arc::new(Gate::new(config.gateway.clone(), current, journal.clone(), metrics, clock));
        let (shippers, uses) = (addresses.ingest.http.to_string(), Arc::clone(&gate.uses));
        sync::report::start(config.sync.clone(), shippers, uses, this, seen, &time, &syncing.tasks());
        ingest.serve(gate, &listener.tasks());
        announce(first_start.as_ref(), &config, addresses)?;
        let drain_timeout = config.gateway.drain_timeout;
        let sync = syncing;
        Ok(Self { drain_timeout, health, ops, control, sync, listener, store, journal, logs })
    }

    /// Ends every stage. What does not end in time is said; the logs are closed in any case.
    async fn stop(self) -> anyhow::Result<()> {
        self.health.stopping.store(true, Ordering::Relaxed);
        let stages = [
            ("ingest", self.listener, self.drain_timeout + STAGE_DEADLINE),
            ("the directory's stream", self.sync, STAGE_DEADLINE),
            ("the API", self.control, STAGE_DEADLINE),
        ];
        for (name, stage, deadline) in stages {
            if let Err(error) = stage.drain(deadline).await {
                tracing::warn!("stopping {name}: {error}");
            }
        }
        self.store.close().await;
        let (journal, logs) = (self.journal, self.logs);
        tokio::task::spawn_blocking(move || {
            journal.close();
            logs.close()
        })
        .await?
        .context("the logs were not closed in order")?;
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

/// What readiness is made of.
#[derive(Default)]
struct Health {
    stopping: AtomicBool,
    directory: Current,
    /// Once they are open.
    storage: OnceLock<(Journal, LogsHealth)>,
}

impl Health {
    /// Why batches would be refused, if they would.
    fn trouble(&self) -> Option<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Some("stopping".to_owned());
        }
        let Some((journal, logs)) = self.storage.get() else { return Some("starting".to_owned()) };
        if !self.directory.is_ready() {
            return Some("no directory of tokens yet".to_owned());
        }
        if !logs.is_alive() {
            return Some("the accounts' logs are not kept any more: restart, and see the log".to_owned());
        }
        journal.health().err().map(|error| format!("batches cannot be stored: {error}"))
    }
}

/// Opens journal and logs, which brings what a crash left in the journal into the logs first.
async fn open_logs(
    config: &Config,
    current: &Current,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> anyhow::Result<(Journal, Logs)> {
    let (logs, journal, metrics, clock) =
        (config.logs.clone(), config.journal.clone(), Arc::clone(metrics), clock.clone());
    let accounts = current.clone();
    let retention = Arc::new(move |account| Some(accounts.account(account)?.retention));
    let open = move || Logs::open(logs, journal, Arc::new(OsDisk), retention, metrics, clock);
    tokio::task::spawn_blocking(open).await?.context("cannot open the journal and the logs")
}

/// Says where everything is and, at the first start, what was made. If nobody can read it, the tokens go into a file.
fn announce(first_start: Option<&FirstStart>, config: &Config, addresses: Addresses) -> anyhow::Result<()> {
    let greeting = first_start.map(|first_start| greeting::first(first_start, &config.bootstrap, addresses));
    let text = greeting.clone().unwrap_or_default() + &greeting::every(addresses, &config.data_dir);
    let said = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    if let (Err(_), Some(greeting)) = (said, greeting) {
        let path = config.data_dir.join("first-start.txt");
        std::fs::write(&path, greeting).with_context(|| format!("cannot write {}", path.display()))?;
        tracing::warn!("standard output cannot be written: the first tokens are in {}", path.display());
    }
    let version = env!("CARGO_PKG_VERSION");
    let (ingest, api, ops) = (addresses.ingest.http, addresses.api, addresses.ops);
    tracing::info!(version, %ingest, %api, %ops, data = %config.data_dir.display(), "started");
    Ok(())
}
