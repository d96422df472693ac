//! The two databases a store may live in, and everything in which they differ: connections, transactions, and the SQL
//! that one of them does not know. Everywhere else the same statements run on both.

use super::OpenError;
use sqlx::any::{Any, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor, SqlSafeStr, Transaction};
use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// How long a request waits for a connection: the database is away, or all connections are in use.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that comes back may take to say that it still works.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of this process's own; it is created when missing, its folder is not.
    Sqlite(PathBuf),
    /// A database that other replicas may use, too. The address may hold a password.
    Postgres(String),
}

/// The text names no database. It is not repeated here: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedLocation {
    #[error("must begin with sqlite:// or postgres://")]
    Scheme,
    #[error(
        "is not an address of PostgreSQL: postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
    )]
    Postgres,
}

impl Location {
    /// Reads `sqlite://path` or `postgres://user:password@host:port/database?sslmode=…`.
    pub fn parse(text: &str) -> Result<Self, MalformedLocation> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            Ok(Self::Sqlite(path.into()))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            PgConnectOptions::from_str(text).map_err(|_| MalformedLocation::Postgres)?;
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err(MalformedLocation::Scheme)
        }
    }
}

/// Never shows the password.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

/// Which of the two databases it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// Begins a transaction that writes. On PostgreSQL each of its statements sees what was committed before it, so
    /// that all after the first, which waits for its turn, see what the writers before have done.
    pub(super) async fn begin_write(self, pool: &AnyPool) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self {
            Self::Sqlite => pool.begin().await,
            Self::Postgres => pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await,
        }
    }

    /// Begins a transaction that reads, all of it at one moment.
    pub(super) async fn begin_read(self, pool: &AnyPool) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self {
            Self::Sqlite => pool.begin().await,
            Self::Postgres => pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    /// Begins a transaction that no other process writes beside.
    pub(super) async fn begin_alone(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Transaction<'_, Any>, sqlx::Error> {
        match self {
            Self::Sqlite => connection.begin_with("BEGIN IMMEDIATE").await,
            Self::Postgres => {
                let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
                tx.execute("LOCK TABLE store IN SHARE ROW EXCLUSIVE MODE").await?;
                Ok(tx)
            }
        }
    }

    /// What brings the tables up to date. PostgreSQL runs it under a lock: of replicas that start together one does
    /// it, and the others wait and find it done.
    pub(super) fn migrations(self) -> Migrator {
        Migrator::with_migrations(vec![
            self.migration(1, "start", include_str!("migrations/0001_start.sql")),
            self.migration(2, "api token numbers", include_str!("migrations/0002_api_token_numbers.sql")),
            self.migration(10, "gateways", include_str!("migrations/0010_gateways.sql")),
            self.migration(11, "usage", include_str!("migrations/0011_usage.sql")),
            self.migration(20, "terms of shipping tokens", include_str!("migrations/0020_terms.sql")),
            self.migration(30, "tokens in their order", include_str!("migrations/0030_tokens_in_order.sql")),
            self.migration(40, "shared tokens", include_str!("migrations/0040_shared_tokens.sql")),
            self.migration(50, "users", include_str!("migrations/0050_users.sql")),
            self.migration(51, "saved views", include_str!("migrations/0051_saved_views.sql")),
            self.migration(60, "gateways' work", include_str!("migrations/0060_gateway_work.sql")),
            self.migration(61, "unknown clients", include_str!("migrations/0061_unknown_clients.sql")),
        ])
    }

    pub(super) fn migration(self, version: i64, description: &'static str, sql: &'static str) -> Migration {
        let sql = match self {
            Self::Sqlite => sql.into_sql_str(),
            // Text is compared by its bytes, as in SQLite. Otherwise an index would depend on the machine's locale,
            // and break when its C library changes its mind about the order of letters.
            Self::Postgres => AssertSqlSafe(sql.replace(" TEXT", " TEXT COLLATE \"C\"")).into_sql_str(),
        };
        Migration::new(version, description.into(), MigrationType::Simple, sql, false)
    }

    /// What a new connection is told first.
    fn session(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                // A commit is on the disk before the API answers, and readers never wait for it.
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA busy_timeout = 5000",
                "PRAGMA foreign_keys = ON",
            ],
            Self::Postgres => &[
                // Likewise, whatever the server's default.
                "SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'",
                "SET tcp_user_timeout = '10s'",
                // Nobody waits for ever.
                "SET lock_timeout = '10s'",
                "SET statement_timeout = '20s'",
            ],
        }
    }
}

/// A database that has been reached, with the address its driver reads.
pub(super) struct Database {
    pub(super) kind: Kind,
    url: String,
}

impl Database {
    /// Names the database, and makes SQLite's file, readable by its owner alone.
    pub(super) fn at(location: &Location) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        match location {
            Location::Sqlite(path) => {
                let file = |source| OpenError::File { path: path.clone(), source };
                Ok(Self { kind: Kind::Sqlite, url: sqlite_url(path).map_err(file)? })
            }
            Location::Postgres(url) => Ok(Self { kind: Kind::Postgres, url: url.clone() }),
        }
    }

    /// One connection. Unlike a pool, which tries again for seconds, it says at once why there is none. On PostgreSQL
    /// it is without the limits of the pools' connections: bringing tables up to date may take its time.
    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = AnyConnection::connect(&self.url).await?;
        match self.kind {
            Kind::Sqlite => {
                connection.execute("PRAGMA schema_version").await?;
                set_up(&mut connection, self.kind).await?;
            }
            // That a table of the migrations' is there already is nothing to tell at every start.
            Kind::Postgres => {
                connection.execute("SET client_min_messages = warning").await?;
            }
        }
        Ok(connection)
    }

    /// Connections for transactions that may be idle for so long in their midst before PostgreSQL ends them: a replica
    /// that vanished inside one does not keep the others waiting.
    pub(super) async fn pool(
        &self,
        connections_max: u32,
        idle_max: Duration,
    ) -> Result<AnyPool, sqlx::Error> {
        let kind = self.kind;
        let options = AnyPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    set_up(connection, kind).await?;
                    match kind {
                        Kind::Sqlite => Ok(()),
                        Kind::Postgres => end_idle_transactions(connection, idle_max).await,
                    }
                })
            });
        let options = match kind {
            // After a full disk SQLite may have ended a transaction by itself. The driver cannot end it again, believes it open,
            // and would put everything that follows inside it, where nothing is ever committed.
            Kind::Sqlite => {
                let options = options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
                options.after_release(|connection, _| {
                    Box::pin(async move {
                        connection.ping().await?;
                        Ok(!connection.is_in_transaction())
                    })
                })
            }
            // One that does not answer any more is closed, or it would hold its place until the network gives up: as it
            // does if the line is cut right after this, when the driver asks once more.
            Kind::Postgres => options.after_release(|connection, _| {
                Box::pin(async move {
                    let answer = tokio::time::timeout(RELEASE_TIMEOUT, connection.ping()).await;
                    answer.unwrap_or_else(|late| Err(io::Error::from(late).into())).map(|()| true)
                })
            }),
        };
        options.connect(&self.url).await
    }

    /// How to listen to other replicas; `None` when there can be none.
    pub(super) fn listening(&self) -> Result<Option<PgConnectOptions>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => Ok(None),
            Kind::Postgres => PgConnectOptions::from_str(&self.url).map(Some),
        }
    }
}

async fn set_up(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    for statement in kind.session() {
        connection.execute(*statement).await?;
    }
    Ok(())
}

async fn end_idle_transactions(connection: &mut AnyConnection, after: Duration) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('idle_in_transaction_session_timeout', $1, false)")
        .bind(format!("{}ms", after.as_millis()))
        .execute(connection)
        .await
        .map(drop)
}

fn sqlite_url(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_file_or_a_server_and_shows_no_password() {
        assert_eq!(Location::parse("sqlite://./a b.db"), Ok(Location::Sqlite("./a b.db".into())));
        let url = "postgres://gate:a-secret@db.example:5433/gate?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        let location = Location::parse(url).unwrap();
        assert_eq!(location, Location::Postgres(url.to_owned()));
        assert!(!format!("{location:?}").contains("a-secret"));
        for (text, expect) in [
            ("", MalformedLocation::Scheme),
            ("control.db", MalformedLocation::Scheme),
            ("mysql://root:a-secret@h/d", MalformedLocation::Scheme),
            ("postgres://gate:a-secret@h:port/d", MalformedLocation::Postgres),
            ("postgres://gate:a-secret@h/d?sslmode=perhaps", MalformedLocation::Postgres),
        ] {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error, expect, "{text}");
            assert!(!error.to_string().contains("a-secret"));
        }
    }
}
