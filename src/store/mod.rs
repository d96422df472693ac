//! What the control plane remembers: accounts, their tokens, who changed what, and the directory's changes.
//!
//! Every writing transaction queues behind one row, asks the rules inside itself, and writes the change, its audit
//! entry and the directory's next revision together: all of it happens or none. Revisions are therefore without gaps
//! and in the order of commits. Reading never waits for writing.
//!
//! Shipping tokens are sealed here on their way in and opened on their way out; API tokens are kept as digests only.
//! It knows nothing of HTTP and shows no secret in an error or a log. SQL is written here and nowhere else.

pub mod accounts;
pub mod api_tokens;
pub mod audit;
mod cipher;
pub mod directory;
pub mod key;
pub mod plans;
pub mod rules;
pub mod tokens;
mod write;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::domain::account::AccountId;
use cipher::Cipher;
use key::{KeyError, KeySource};
use rules::Refusal;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AnyPool, Connection, Executor, Row, SqlSafeStr};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// The first account's number.
const ACCOUNT_FIRST: i64 = 1_000;
/// The first shipping token's number.
const TOKEN_FIRST: i64 = 1_000_000;

/// What opening a store needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite://path`; the file is created when missing, its folder is not.
    pub url: String,
    pub key: KeySource,
    /// How many revisions of the directory are kept for gateways that fall behind.
    pub revisions_max: u64,
    /// Connections for reading.
    pub readers_max: u32,
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store's address must begin with sqlite://")]
    Address,
    #[error("the store's file {path} cannot be created or opened")]
    File { path: String, source: io::Error },
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
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("a stored value is damaged: {0}")]
    Damaged(&'static str),
}

/// Who changes something, and from where. It goes into the audit trail as it is.
#[derive(Debug, Clone, Default)]
pub struct By {
    /// Such as `api-token:admin`; also what `createdBy` shows.
    pub actor: String,
    /// The account the actor belongs to.
    pub account: Option<AccountId>,
    /// The network address of the client.
    pub source: Option<String>,
    pub request_id: Option<String>,
}

/// An open store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    id: String,
    cipher: Cipher,
    clock: Clock,
    /// One connection: writers wait for it in the order they came.
    writer: AnyPool,
    readers: AnyPool,
    revisions_max: u64,
    /// The last revision committed here.
    latest: watch::Sender<u64>,
}

impl Store {
    /// Opens the store, brings its tables up to date, and makes sure that the key is the right one.
    pub async fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        let path = options.url.strip_prefix("sqlite://").ok_or(OpenError::Address)?;
        let url = sqlite_url(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        sqlx::any::install_default_drivers();
        let writer = connect(&url, 1).await.map_err(OpenError::Connect)?;
        migrations().run(&writer).await.map_err(OpenError::Migrate)?;
        let (id, revision, cipher) = identify(&writer, &options.key).await?;
        let readers = connect(&url, options.readers_max.max(1)).await.map_err(OpenError::Connect)?;
        Ok(Self(Arc::new(Inner {
            id,
            cipher,
            clock,
            writer,
            readers,
            revisions_max: options.revisions_max,
            latest: watch::Sender::new(revision),
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

    /// Closes every connection, when nobody asks any more.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }
}

fn migrations() -> Migrator {
    Migrator::with_migrations(vec![
        migration(1, "start", include_str!("migrations/0001_start.sql")),
        migration(2, "api token numbers", include_str!("migrations/0002_api_token_numbers.sql")),
    ])
}

fn migration(version: i64, description: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

/// Makes the file, readable by its owner alone, and the address of it that the driver reads.
fn sqlite_url(path: &str) -> io::Result<String> {
    let path = std::path::absolute(Path::new(path))?;
    OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let mut url = String::from("sqlite://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => url.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => url.push(byte.into()),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    Ok(url)
}

async fn connect(url: &str, connections_max: u32) -> Result<AnyPool, sqlx::Error> {
    // A pool tries again for half a minute and then says only that it did. A file that is no database is told at once.
    let mut first = AnyConnection::connect(url).await?;
    first.execute("PRAGMA schema_version").await?;
    first.close().await?;
    AnyPoolOptions::new()
        .max_connections(connections_max)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in [
                    // A commit is on the disk before the API answers, and readers never wait for it.
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA busy_timeout = 5000",
                    "PRAGMA foreign_keys = ON",
                ] {
                    connection.execute(pragma).await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await
}

/// Reads who the store is and its last revision, or makes a new store's identity.
async fn identify(writer: &AnyPool, key: &KeySource) -> Result<(String, u64, Cipher), OpenError> {
    let known = sqlx::query("SELECT id, key_check, revision FROM store")
        .fetch_optional(writer)
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
    .execute(writer)
    .await
    .map_err(OpenError::Identity)?;
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
