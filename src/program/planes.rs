//! The two planes as the program starts and stops them, together or apart.

use super::health::Health;
use anyhow::Context;
use shipgate::clock::Clock;
use shipgate::config::Config;
use shipgate::config::role::Role;
use shipgate::control::first_start::{FirstStart, bootstrap};
use shipgate::gateway::Gate;
use shipgate::gateway::listener::{self, Listener};
use shipgate::journal::Journal;
use shipgate::journal::disk::OsDisk;
use shipgate::logs::objects::{Objects, upload};
use shipgate::logs::read::{Reader, Sources, Tails};
use shipgate::logs::{Logs, Outlets, RetentionOf};
use shipgate::metrics::Metrics;
use shipgate::shutdown::Shutdown;
use shipgate::store::Store;
use shipgate::sync::current::Current;
use shipgate::sync::report;
use shipgate::{control, sync};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// For each stage but ingest, whose deadline is a setting.
pub const STAGE_DEADLINE: Duration = Duration::from_secs(5);

/// What every part of the program is given.
#[derive(Clone)]
pub struct Surroundings {
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub health: Arc<Health>,
}

/// The store and the API.
pub struct ControlPlane {
    store: Store,
    stage: Shutdown,
    pub addresses: control::Addresses,
}

impl ControlPlane {
    /// `tails`: where lines come from as they are committed, if this process commits any. `objects`: where sealed files are.
    pub async fn start(
        config: &Config,
        tails: Option<Tails>,
        objects: Option<Objects>,
        around: &Surroundings,
    ) -> anyhow::Result<Self> {
        let reader = reader(config, tails, objects, &around.metrics)?;
        let config = &config.control;
        let stage = Shutdown::new();
        let store =
            control::open_store(config, around.clock.clone()).await.context("cannot open the store")?;
        let metrics = Arc::clone(&around.metrics);
        let addresses = control::start(config, store.clone(), reader, metrics, stage.tasks())
            .await
            .context("cannot start the control plane")?;
        let _ = around.health.store.set(control::watch_store(store.clone(), &stage.tasks()));
        Ok(Self { store, stage, addresses })
    }

    /// Makes the first account of an empty store.
    pub async fn bootstrap(&self, config: &Config) -> anyhow::Result<Option<FirstStart>> {
        bootstrap(&self.store, config.bootstrap.clone()).await.context("cannot make the first account")
    }

    pub async fn stop(self) {
        drain("the API", self.stage, STAGE_DEADLINE).await;
        self.store.close().await;
    }
}

/// The object store, if one is configured. It is told which gateway's logs are at hand: this process's own, or those in the folder that
/// its control plane reads.
pub fn objects(config: &mut Config, role: Role, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Objects>> {
    let Some(store) = &config.object_store else { return Ok(None) };
    let gateway = if role.has_gateway() {
        config.sync = named(config.sync.clone())?;
        Some(config.sync.gateway_id.clone())
    } else {
        config.control.logs_dir.as_ref().map(|dir| whose(dir, &config.sync)).transpose()?
    };
    let objects = Objects::open(store, gateway.as_deref(), Arc::clone(metrics));
    objects.context("cannot use the object store").map(Some)
}

/// The id of the gateway whose folder of logs this is.
fn whose(logs_dir: &Path, config: &sync::Config) -> anyhow::Result<String> {
    let file = logs_dir.join("../gateway.id");
    let known = Some(config.gateway_id.clone()).filter(|id| !id.is_empty());
    let id = known.or_else(|| Some(std::fs::read_to_string(file).ok()?.trim().to_owned()));
    id.filter(|id| !id.is_empty()).with_context(|| {
        format!("set gateway.id to that of the gateway whose logs are in {}: its files are in the object store, too", logs_dir.display())
    })
}

/// What reads the accounts' logs: this process's own, or those in the folder that is configured, and those in the object store.
fn reader(
    config: &Config,
    tails: Option<Tails>,
    objects: Option<Objects>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Reader>> {
    let own = tails.as_ref().map(|_| &config.logs.dir);
    let dir = own.or(config.control.logs_dir.as_ref()).cloned();
    if dir.is_none() && objects.is_none() {
        return Ok(None);
    }
    let (sources, search, metrics) = (Sources { dir, objects }, config.search.clone(), Arc::clone(metrics));
    let reader = Reader::open(sources, search, Arc::new(OsDisk), tails, metrics);
    Ok(Some(reader.context("cannot start the threads that search logs")?))
}

/// Ingest's ports, taken and not served yet.
pub struct Ingest {
    listener: Listener,
    stage: Shutdown,
}

impl Ingest {
    pub fn bind(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let stage = Shutdown::new();
        let listener =
            Listener::bind(&config.gateway, metrics, &stage.tasks()).context("cannot serve ingest")?;
        Ok(Self { listener, stage })
    }

    pub fn addresses(&self) -> listener::Addresses {
        self.listener.addresses()
    }
}

/// Journal and logs, opened: what a crash left in the journal is in the logs.
pub struct Storage {
    journal: Journal,
    logs: Logs,
    /// What carries sealed files into the object store.
    uploads: Shutdown,
}

impl Storage {
    pub async fn open(
        config: &Config,
        tails: Tails,
        objects: Option<Objects>,
        around: &Surroundings,
    ) -> anyhow::Result<Self> {
        let (logs, journal, metrics, clock) =
            (config.logs.clone(), config.journal.clone(), Arc::clone(&around.metrics), around.clock.clone());
        let accounts = around.health.directory.clone();
        let retention: RetentionOf = Arc::new(move |account| Some(accounts.account(account)?.retention));
        let uploads = Shutdown::new();
        let outlets = Outlets {
            uploads: objects.map(|objects| {
                let (dir, clock) = (logs.dir.clone(), clock.clone());
                upload::start(objects, dir, Arc::new(OsDisk), retention.clone(), clock, &uploads.tasks())
            }),
            tails,
        };
        let open = move || Logs::open(logs, journal, Arc::new(OsDisk), retention, outlets, metrics, clock);
        let (journal, logs) =
            tokio::task::spawn_blocking(open).await?.context("cannot open the journal and the logs")?;
        let _ = around.health.storage.set((journal.clone(), logs.health()));
        Ok(Self { journal, logs, uploads })
    }

    async fn close(self) -> anyhow::Result<()> {
        let Self { journal, logs, uploads } = self;
        drain("the object store", uploads, STAGE_DEADLINE).await;
        let close = move || {
            journal.close();
            logs.close()
        };
        tokio::task::spawn_blocking(close).await?.context("the logs were not closed in order")
    }
}

/// Ingest, and what keeps its directory.
pub struct GatewayPlane {
    drain_timeout: Duration,
    sync: Shutdown,
    listener: Shutdown,
    storage: Storage,
}

impl GatewayPlane {
    /// Begins to learn of tokens, and then to serve.
    pub async fn start(
        config: &Config,
        ingest: Ingest,
        storage: Storage,
        around: &Surroundings,
    ) -> anyhow::Result<Self> {
        let Surroundings { metrics, clock, health } = around.clone();
        let current: Current = health.directory.clone();
        let sync = Shutdown::new();
        let learning = named(config.sync.clone())?;
        let link = sync::start(
            learning.clone(),
            current.clone(),
            Arc::clone(&metrics),
            clock.clone(),
            &sync.tasks(),
        )
        .context("cannot learn of tokens")?;
        // Who posts the moment the port opens should not meet a gateway without tokens.
        let mut revisions = current.revisions();
        let _ = tokio::time::timeout(STAGE_DEADLINE, revisions.wait_for(Option::is_some)).await;
        let Ingest { listener, stage } = ingest;
        let gate = Arc::new(Gate::new(
            config.gateway.clone(),
            current.clone(),
            storage.journal.clone(),
            Arc::clone(&metrics),
            clock.clone(),
        ));
        if let Some(link) = link {
            let address = listener.addresses().http.to_string();
            let known = report::Known { address, ledger: Arc::clone(&gate.uses) as _ };
            report::start(learning, link, known, current, metrics, &clock, &sync.tasks());
        }
        listener.serve(gate, &stage.tasks());
        Ok(Self { drain_timeout: config.gateway.drain_timeout, sync, listener: stage, storage })
    }

    /// Ends ingest and learning. What is acknowledged goes into the logs when the storage that is left is closed.
    pub async fn stop(self) -> Closing {
        drain("ingest", self.listener, self.drain_timeout + STAGE_DEADLINE).await;
        drain("the directory's stream", self.sync, STAGE_DEADLINE).await;
        Closing(self.storage)
    }
}

/// `config` with the name that this gateway goes by.
fn named(mut config: sync::Config) -> anyhow::Result<sync::Config> {
    let file = &config.gateway_id_file;
    config.gateway_id = report::gateway_id(&config.gateway_id, file)
        .with_context(|| format!("cannot keep this gateway's name in {}", file.display()))?;
    Ok(config)
}

/// A gateway that serves nobody any more.
pub struct Closing(Storage);

impl Closing {
    /// Brings everything acknowledged into its account's log.
    pub async fn close(self) -> anyhow::Result<()> {
        self.0.close().await
    }
}

/// Ends a stage. What does not end in time is said.
async fn drain(name: &str, stage: Shutdown, deadline: Duration) {
    if let Err(error) = stage.drain(deadline).await {
        tracing::warn!("stopping {name}: {error}");
    }
}
