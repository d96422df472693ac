//! What `/readyz` says: whether batches, or an API's requests, would be served, and what an operator should know all the same.

use shipgate::config::role::Role;
use shipgate::control::StoreHealth;
use shipgate::journal::Journal;
use shipgate::logs::LogsHealth;
use shipgate::sync::current::{Current, Stance};
use shipgate::wire::HEARTBEAT_MS;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What readiness is made of. What is not set yet has not started.
pub struct Health {
    role: Role,
    pub stopping: AtomicBool,
    pub directory: Current,
    pub storage: OnceLock<(Journal, LogsHealth)>,
    pub store: OnceLock<StoreHealth>,
}

impl Health {
    pub fn new(role: Role) -> Self {
        Self {
            role,
            stopping: AtomicBool::default(),
            directory: Current::default(),
            storage: OnceLock::new(),
            store: OnceLock::new(),
        }
    }

    /// Ready, perhaps with something to say; or not, and why.
    pub fn judge(&self) -> Result<Option<String>, String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        if self.role == Role::Control {
            let store = self.store.get().ok_or("starting")?;
            return if store.answers() { Ok(None) } else { Err("the database does not answer".to_owned()) };
        }
        let (journal, logs) = self.storage.get().ok_or("starting")?;
        if !self.directory.is_ready() {
            let why = self.directory.trouble().map(|trouble| format!(": {trouble}")).unwrap_or_default();
            return Err(format!("no directory of tokens yet{why}"));
        }
        if !logs.is_alive() {
            return Err("the accounts' logs are not kept any more: restart, and see the log".to_owned());
        }
        journal.health().map_err(|error| format!("batches cannot be stored: {error}"))?;
        self.freshness()
    }

    fn freshness(&self) -> Result<Option<String>, String> {
        let age = self.directory.age();
        let is_last_good = self.directory.is_last_good();
        if !is_last_good && age.is_some_and(|age| age <= Duration::from_millis(3 * HEARTBEAT_MS)) {
            return Ok(None);
        }
        let age = age.map_or("an unknown time".to_owned(), |age| format!("{} s", age.as_secs()));
        let source = if is_last_good { "the last good directory, " } else { "a directory " };
        let why = self.directory.trouble().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        let told = format!("{source}last confirmed {age} ago{why}");
        match self.directory.stance() {
            Stance::Serve => Ok(Some(format!("serving {told}"))),
            Stance::RefuseConnections => Err(format!("refusing new connections: {told}")),
            Stance::Refuse => Err(format!("refusing batches: {told}")),
        }
    }
}
