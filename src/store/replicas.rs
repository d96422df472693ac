//! Learning at once what other replicas commit to the same database.
//!
//! A commit that changes the directory notifies every replica of its revision, inside its own transaction. A replica
//! listens on a connection of its own and looks at the store's revision every second, too: that tells a connection
//! that died in silence from one on which nothing happens, and is all that a lost notification costs. What was
//! committed while it did not listen is found by looking again as soon as it does.

use super::{Inner, Store};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AnyConnection, Row};
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the store's revision is looked at. In tests it is rare, so that what was only looked for is not taken for told.
const LOOK_INTERVAL: Duration = Duration::from_secs(if cfg!(test) { 10 } else { 1 });
/// How long the database may take to answer before the connection counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to connect, to listen and to read what was missed.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before listening again, the first time and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What replicas are told when what may be read with a token has changed.
pub(super) const SHARING: &str = "sharing";

impl Store {
    /// Wakes [`Store::latest_revision`] for what other replicas commit, until it is dropped. Every control plane runs
    /// it once. On SQLite, which has no replicas, it does nothing.
    pub async fn follow_replicas(&self) {
        let Some(options) = &self.0.listening else {
            return std::future::pending().await;
        };
        let (mut pause, mut lost) = (PAUSE_FIRST, false);
        loop {
            let listening = timeout(LISTEN_TIMEOUT, self.0.listen(options)).await;
            let fault = match listening.unwrap_or_else(|late| Err(io::Error::from(late).into())) {
                Ok(listener) => {
                    if lost {
                        tracing::info!("listening to other replicas again");
                    }
                    (pause, lost) = (PAUSE_FIRST, false);
                    let Err(fault) = self.0.hear(listener).await;
                    fault
                }
                Err(fault) => fault,
            };
            if !lost {
                tracing::warn!(cause = %fault, "not listening to other replicas: trying again until it works");
            }
            lost = true;
            // Replicas that lost the same server do not return to it all at once.
            let spread = 0.5 + f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            sleep(pause.mul_f64(spread)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Inner {
    /// Wakes whoever follows the directory, if `revision` is news to them.
    pub(super) fn announce(&self, revision: u64) {
        self.latest.send_if_modified(|latest| {
            let newer = revision > *latest;
            *latest = revision.max(*latest);
            newer
        });
    }

    /// Wakes whoever reads.
    pub(super) fn announce_sharing(&self) {
        self.sharing.send_modify(|changes| *changes += 1);
    }

    /// Tells every replica something, when `connection`'s transaction commits: a revision, news of a gateway, or [`SHARING`].
    pub(super) async fn notify(&self, connection: &mut AnyConnection, told: &str) -> Result<(), sqlx::Error> {
        if self.listening.is_some() {
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind(self.channel())
                .bind(told)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    /// Several stores may share a database, each in a schema of its own.
    fn channel(&self) -> String {
        format!("shipgate-{}", self.id)
    }

    async fn listen(&self, options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWER_TIMEOUT)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(&self.channel()).await?;
        let revision = look(&mut listener).await?;
        // Somebody may have looked while nobody listened: all look again.
        self.latest.send_modify(|latest| *latest = revision.max(*latest));
        self.announce_sharing();
        self.gateways.catch_up(&self.readers).await?;
        Ok(listener)
    }

    /// Announces what `listener` hears until it is lost.
    async fn hear(&self, mut listener: PgListener) -> Result<Infallible, sqlx::Error> {
        loop {
            match timeout(LOOK_INTERVAL, listener.try_recv()).await {
                Ok(Ok(Some(told))) => match (told.payload(), told.payload().parse()) {
                    (SHARING, _) => self.announce_sharing(),
                    (_, Ok(revision)) => self.announce(revision),
                    (news, Err(_)) => self.gateways.overhear(news),
                },
                Ok(Ok(None)) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                Ok(Err(fault)) => return Err(fault),
                Err(_) => self.announce(look(&mut listener).await?),
            }
        }
    }
}

/// The store's revision.
async fn look(listener: &mut PgListener) -> Result<u64, sqlx::Error> {
    let asked = sqlx::query("SELECT revision FROM store").fetch_one(listener);
    let row = timeout(ANSWER_TIMEOUT, asked).await.map_err(io::Error::from)??;
    Ok(row.try_get::<i64, _>("revision")?.unsigned_abs())
}
