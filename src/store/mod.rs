//! What the control plane remembers: accounts, their tokens, who changed what, and the directory's changes.
//!
//! It lives in SQLite, for one control plane, or in PostgreSQL, for several replicas of it, which is for `database` and
//! `replicas` to know. Every writing transaction queues behind one row, asks the rules inside itself, and writes the change, its audit
//! entry and the directory's next revision together: all of it happens or none. Revisions are therefore without gaps
//! and in the order of commits. Reading never waits for writing.
//!
//! Shipping tokens and shared tokens are sealed here on their way in and opened on their way out; API tokens, sessions and links
//! are kept as digests only, passwords as hashes.
//! It knows nothing of HTTP and shows no secret in an error or a log. SQL is written here and nowhere else.

pub mod accounts;
pub mod api_tokens;
pub mod audit;
mod cipher;
pub mod database;
pub mod directory;
mod entrances;
mod fault;
pub mod filters;
pub mod gateways;
pub mod key;
pub mod plans;
mod replicas;
pub mod rules;
pub mod sessions;
pub mod shared_tokens;
pub mod tokens;
pub mod usage;
pub mod users;
pub mod views;
mod write;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::domain::account::AccountId;
use cipher::Cipher;
use database::{Database, Kind, Location};
use gateways::{Awaited, Gateways};
use key::{KeyError, KeySource};
use rules::Refusal;
use shared_tokens::uses::Uses;
use sqlx::any::{Any, AnyRow};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, AnyPool, Connection, Row, Transaction};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first account's number.
const ACCOUNT_FIRST: i64 = 1_000;
/// The first shipping token's number.
const TOKEN_FIRST: i64 = 1_000_000;

/// How long a transaction that others wait for may be idle in its midst.
const WRITER_IDLE_MAX: Duration = Duration::from_secs(10);
/// Likewise one that nobody waits for: a snapshot, read as fast as a gateway takes it.
const READER_IDLE_MAX: Duration = Duration::from_secs(60);

/// What opening a store needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub location: Location,
    pub key: KeySource,
    /// How many revisions of the directory are kept for gateways that fall behind.
    pub revisions_max: u64,
    /// Connections for reading.
    pub readers_max: u32,
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store's file {} cannot be created or opened", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the store cannot be opened")]
    Connect(#[source] sqlx::Error),
    #[error("the store's tables cannot be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the token key is not the one this store was made with: no stored token opens with it")]
    WrongKey,
    #[error("the store's identity cannot be read or written")]
    Identity(#[source] sqlx::Error),
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such thing, or it is not the asker's.
    #[error("not found")]
    NotFound,
    /// The database is away, is going away or is too busy; what was asked was not done. Later it may work.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The database went away while it committed: the change was made, or it was not.
    #[error("the database went away while it made a change, which it may have kept or not")]
    OutcomeUnknown(#[source] sqlx::Error),
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
}

/// Who changes something, and from where. It goes into the audit trail as it is.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// A user's e-mail address, or such as `api-token:admin`; also what `createdBy` shows.
    pub actor: String,
    /// The account the actor belongs to.
    pub account: Option<AccountId>,
    /// The network address of the client.
    pub source: Option<String>,
    pub request_id: Option<String>,
    /// Set by who waits for the gateways to enforce the change.
    pub awaited: Option<Awaited>,
}

/// An open store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    id: String,
    kind: Kind,
    cipher: Cipher,
    clock: Clock,
    /// One connection: writers wait for it in the order they came.
    writer: AnyPool,
    readers: AnyPool,
    revisions_max: u64,
    /// The last revision known to be committed, here or by another replica.
    latest: watch::Sender<u64>,
    /// How to listen to other replicas, if there may be any.
    listening: Option<PgConnectOptions>,
    gateways: Gateways,
    /// Counts changes of what may be read with a token, here or at another replica.
    sharing: watch::Sender<u64>,
    /// How shared tokens were used, and is not written down yet.
    uses: Uses,
}

impl Store {
    /// Opens the store, brings its tables up to date, and makes sure that the key is the right one.
    pub async fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        let Options { location, key, revisions_max, readers_max } = options;
        let database = Database::at(&location)?;
        let kind = database.kind;
        let mut first = database.connect().await.map_err(OpenError::Connect)?;
        // Not `run`: the future of that cannot be sent to another thread.
        kind.migrations().run_direct(None, &mut first, false).await.map_err(OpenError::Migrate)?;
        let (id, revision, cipher) = identify(kind, &mut first, &key).await?;
        first.close().await.map_err(OpenError::Connect)?;
        let readers = database.pool(readers_max.max(1), READER_IDLE_MAX).await.map_err(OpenError::Connect)?;
        Ok(Self(Arc::new(Inner {
            id,
            kind,
            cipher,
            clock,
            writer: database.pool(1, WRITER_IDLE_MAX).await.map_err(OpenError::Connect)?,
            revisions_max,
            latest: watch::Sender::new(revision),
            listening: database.listening().map_err(OpenError::Connect)?,
            gateways: Gateways::load(&readers).await.map_err(OpenError::Identity)?,
            sharing: watch::Sender::new(0),
            uses: Uses::default(),
            readers,
        })))
    }

    /// This store's name, drawn when it was made. Revisions of different stores cannot be compared.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Wakes whoever follows the directory after each commit that changed it.
    pub fn latest_revision(&self) -> watch::Receiver<u64> {
        self.0.latest.subscribe()
    }

    /// Seals a text that a client is to bring back, and may neither read nor make up. Only the same `owner` gets it open.
    pub fn seal(&self, owner: &str, text: &str) -> String {
        self.0.cipher.seal(owner, text)
    }

    /// Opens what [`Self::seal`] made; `None` of anything else.
    pub fn unseal(&self, owner: &str, sealed: &str) -> Option<String> {
        self.0.cipher.open(owner, sealed).ok()
    }

    /// Closes every connection, when nobody asks any more.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }
}

impl Inner {
    /// Begins a transaction that reads, all of it at one moment.
    async fn moment(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        self.kind.begin_read(&self.readers).await
    }

    /// Begins a transaction that only counts: beside the writers' queue, where the database lets several write.
    async fn counting(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let pool = if self.kind == Kind::Sqlite { &self.writer } else { &self.readers };
        self.kind.begin_write(pool).await
    }
}

/// Reads who the store is and its last revision, or makes a new store's identity: one, however many replicas start at
/// once.
async fn identify(
    kind: Kind,
    connection: &mut AnyConnection,
    key: &KeySource,
) -> Result<(String, u64, Cipher), OpenError> {
    let mut tx = kind.begin_alone(connection).await.map_err(OpenError::Identity)?;
    let known = sqlx::query("SELECT id, key_check, revision FROM store")
        .fetch_optional(&mut *tx)
        .await
        .map_err(OpenError::Identity)?;
    if let Some(row) = known {
        let cipher = Cipher::new(&key.existing()?);
        let read = || -> Result<_, sqlx::Error> {
            Ok((
                row.try_get::<String, _>("id")?,
                row.try_get::<String, _>("key_check")?,
                row.try_get::<i64, _>("revision")?,
            ))
        };
        let (id, key_check, revision) = read().map_err(OpenError::Identity)?;
        cipher.verify(&key_check).map_err(|_| OpenError::WrongKey)?;
        tx.commit().await.map_err(OpenError::Identity)?;
        return Ok((id, revision.unsigned_abs(), cipher));
    }
    let cipher = Cipher::new(&key.existing_or_new()?);
    let id = uuid::Uuid::new_v4().to_string();
    sqlx::query(
        "INSERT INTO store (single, id, key_check, writes, revision, account_next, token_next, audit_next) \
         VALUES (1, $1, $2, 0, 0, $3, $4, 1)",
    )
    .bind(&id)
    .bind(cipher.check_value())
    .bind(ACCOUNT_FIRST)
    .bind(TOKEN_FIRST)
    .execute(&mut *tx)
    .await
    .map_err(OpenError::Identity)?;
    tx.commit().await.map_err(OpenError::Identity)?;
    Ok((id, 0, cipher))
}

/// Reads a column that is never negative and fits.
fn number<N: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<N, StoreError> {
    N::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Damaged(column))
}

/// As [`number`], of a column that may be empty.
fn number_or_none<N: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<Option<N>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?
        .map(|number| N::try_from(number).map_err(|_| StoreError::Damaged(column)))
        .transpose()
}
