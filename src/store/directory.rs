//! The directory as gateways learn it: all of it at one moment, and what changed since.

use super::accounts::grant_of;
use super::tokens::rows::terms_of;
use super::{Store, StoreError, number};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::directory::Change;
use crate::domain::token::TokenDigest;
use sqlx::any::{Any, AnyRow};
use sqlx::{Row, Transaction};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// How many revisions [`Store::changes_after`] gives at once.
const REVISIONS_AT_ONCE: i64 = 1_000;
/// How long reading them may take: a stream that asks a database that is out of reach gives its connection back.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(30);
/// How many rows of a snapshot are held in the driver's own, far larger, form.
const ROWS_AT_ONCE: i64 = 4_096;

/// What one transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    pub revision: u64,
    /// When it was committed, Unix milliseconds.
    pub at_ms: u64,
    pub changes: Vec<Change>,
    /// Somebody waits for it to be enforced.
    pub receipt: bool,
}

impl Store {
    /// The time, Unix milliseconds, by the clock that stamps this store's revisions.
    pub fn unix_ms(&self) -> u64 {
        self.0.clock.unix_ms()
    }

    /// The revisions that follow `revision`, without a gap, the first thousand of them; empty when there are none yet.
    /// `None`: they are no longer known, or `revision` is not of this store.
    pub async fn changes_after(&self, revision: u64) -> Result<Option<Vec<Delta>>, StoreError> {
        let read = timeout(CHANGES_TIMEOUT, self.read_changes_after(revision)).await;
        read.unwrap_or_else(|late| Err(StoreError::Unavailable(io::Error::from(late).into())))
    }

    async fn read_changes_after(&self, revision: u64) -> Result<Option<Vec<Delta>>, StoreError> {
        let Ok(after) = i64::try_from(revision) else {
            return Ok(None);
        };
        // What is known and what it is, at one moment.
        let mut tx = self.0.moment().await?;
        let row = sqlx::query("SELECT revision FROM store").fetch_one(&mut *tx).await?;
        let latest: u64 = number(&row, "revision")?;
        if latest <= revision {
            return Ok((latest == revision).then(Vec::new));
        }
        let rows = sqlx::query(
            "SELECT revision, at_ms, changes_json, receipt FROM directory_log WHERE revision > $1 ORDER BY revision \
             LIMIT $2",
        )
        .bind(after)
        .bind(REVISIONS_AT_ONCE)
        .fetch_all(&mut *tx)
        .await?;
        let mut deltas = Vec::with_capacity(rows.len());
        for row in &rows {
            deltas.push(Delta {
                revision: number(row, "revision")?,
                at_ms: number(row, "at_ms")?,
                changes: serde_json::from_str(&row.try_get::<String, _>("changes_json")?)
                    .map_err(|_| StoreError::Damaged("changes_json"))?,
                receipt: row.try_get::<i64, _>("receipt")? == 1,
            });
        }
        let known = deltas.first().is_some_and(|delta| delta.revision == revision + 1);
        Ok(known.then_some(deltas))
    }

    /// The whole directory at one moment, to be read a part at a time.
    pub async fn read_snapshot(&self) -> Result<SnapshotReader, StoreError> {
        // One transaction, one moment, however long the reading takes.
        let mut tx = self.0.moment().await?;
        let row = sqlx::query(
            "SELECT revision, (SELECT COUNT(*) FROM accounts) AS accounts, \
             (SELECT COUNT(*) FROM shipping_tokens WHERE enabled = 1) AS tokens FROM store",
        )
        .fetch_one(&mut *tx)
        .await?;
        let changes = number::<u64>(&row, "accounts")? + number::<u64>(&row, "tokens")?;
        Ok(SnapshotReader { revision: number(&row, "revision")?, changes, tx, next: Next::Account(-1) })
    }

    #[cfg(test)]
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut reader = self.read_snapshot().await?;
        let mut changes = Vec::new();
        while let Some(part) = reader.next().await? {
            changes.extend(part);
        }
        assert_eq!(changes.len() as u64, reader.changes());
        Ok(Snapshot { revision: reader.revision(), changes })
    }
}

/// The directory at one revision: the changes that make an empty one into it.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub revision: u64,
    pub changes: Vec<Change>,
}

/// The directory at one revision, read in parts: accounts first, then tokens in the order of their digests. It holds a reading
/// transaction for as long as it lives.
pub struct SnapshotReader {
    tx: Transaction<'static, Any>,
    revision: u64,
    changes: u64,
    next: Next,
}

/// What to read next.
enum Next {
    /// Accounts after this one.
    Account(i64),
    /// Enabled tokens after the one with this digest.
    Token(String),
    Nothing,
}

impl SnapshotReader {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many changes all parts hold together.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The next part, of a bounded size; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Change>>, StoreError> {
        loop {
            let part = match &self.next {
                Next::Account(last) => {
                    let rows = sqlx::query(
                        "SELECT id, durability, rate_bytes_max, retention_days, retention_bytes_max FROM accounts \
                         WHERE id > $1 ORDER BY id LIMIT $2",
                    );
                    let rows = rows.bind(*last).bind(ROWS_AT_ONCE).fetch_all(&mut *self.tx).await?;
                    self.next = match rows.last() {
                        Some(row) => Next::Account(row.try_get("id")?),
                        None => Next::Token(String::new()),
                    };
                    rows.iter().map(|row| Ok(Change::Account(grant_of(row)?))).collect()
                }
                Next::Token(last) => {
                    let rows = sqlx::query(
                        // Each half from an index of its own, and no more of it than is asked for: PostgreSQL would
                        // sort the whole table for every part.
                        "SELECT id, account, digest, expires_ms, scope_json, would_refuse FROM \
                         (SELECT id, account, digest, expires_ms, scope_json, would_refuse FROM shipping_tokens \
                         WHERE enabled = 1 AND scope_json IS NOT NULL AND digest > $1 ORDER BY digest LIMIT $2) AS scoped \
                         UNION ALL \
                         SELECT id, account, digest, expires_ms, scope_json, would_refuse FROM \
                         (SELECT id, account, digest, expires_ms, NULL AS scope_json, would_refuse FROM shipping_tokens \
                         WHERE enabled = 1 AND scope_json IS NULL AND digest > $1 ORDER BY digest LIMIT $2) AS others \
                         ORDER BY digest LIMIT $2",
                    );
                    let rows = rows.bind(last).bind(ROWS_AT_ONCE).fetch_all(&mut *self.tx).await?;
                    self.next = match rows.last() {
                        Some(row) => Next::Token(row.try_get("digest")?),
                        None => Next::Nothing,
                    };
                    rows.iter().map(token_of).collect()
                }
                Next::Nothing => return Ok(None),
            };
            let part: Result<Vec<_>, StoreError> = part;
            let part = part?;
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
    }
}

fn token_of(row: &AnyRow) -> Result<Change, StoreError> {
    Ok(Change::Token {
        digest: TokenDigest::from_hex(row.try_get("digest")?).ok_or(StoreError::Damaged("digest"))?,
        token: TokenId(number(row, "id")?),
        account: AccountId(number(row, "account")?),
        terms: terms_of(row)?.shared(),
    })
}
