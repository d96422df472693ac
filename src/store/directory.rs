//! The directory as gateways learn it: all of it at one moment, and what changed since.

use super::accounts::grant_of;
use super::{Store, StoreError, number};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::directory::Change;
use crate::domain::token::TokenDigest;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

/// How many revisions [`Store::changes_after`] gives at once.
const REVISIONS_AT_ONCE: i64 = 1_000;
/// How many rows of a snapshot are held in the driver's own, far larger, form.
const ROWS_AT_ONCE: i64 = 4_096;

/// What one transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    pub revision: u64,
    /// When it was committed, Unix milliseconds.
    pub at_ms: u64,
    pub changes: Vec<Change>,
}

/// The directory at one revision: the changes that make an empty one into it, accounts first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub revision: u64,
    pub changes: Vec<Change>,
}

impl Store {
    /// The time, Unix milliseconds, by the clock that stamps this store's revisions.
    pub fn unix_ms(&self) -> u64 {
        self.0.clock.unix_ms()
    }

    /// The revisions that follow `revision`, without a gap, the first thousand of them; empty when there are none yet.
    /// `None`: they are no longer known, or `revision` is not of this store.
    pub async fn changes_after(&self, revision: u64) -> Result<Option<Vec<Delta>>, StoreError> {
        let Ok(after) = i64::try_from(revision) else {
            return Ok(None);
        };
        // One transaction, one moment. (A database that does not promise that by default must be told to.)
        let mut tx = self.0.readers.begin().await?;
        let row = sqlx::query("SELECT revision FROM store").fetch_one(&mut *tx).await?;
        let latest: u64 = number(&row, "revision")?;
        if latest <= revision {
            return Ok((latest == revision).then(Vec::new));
        }
        let rows = sqlx::query(
            "SELECT revision, at_ms, changes_json FROM directory_log WHERE revision > $1 ORDER BY revision LIMIT $2",
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
            });
        }
        let known = deltas.first().is_some_and(|delta| delta.revision == revision + 1);
        Ok(known.then_some(deltas))
    }

    /// The whole directory at one moment.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut tx = self.0.readers.begin().await?;
        let row = sqlx::query("SELECT revision FROM store").fetch_one(&mut *tx).await?;
        let revision = number(&row, "revision")?;
        let mut changes = vec![];
        let accounts = "SELECT id, durability, rate_bytes_max, retention_days, retention_bytes_max FROM accounts \
             WHERE id > $1 ORDER BY id LIMIT $2";
        read_all(&mut tx, accounts, |row| {
            changes.push(Change::Account(grant_of(row)?));
            Ok(())
        })
        .await?;
        let tokens = "SELECT id, account, digest FROM shipping_tokens WHERE enabled = 1 AND id > $1 \
             ORDER BY id LIMIT $2";
        read_all(&mut tx, tokens, |row| {
            changes.push(Change::Token {
                digest: TokenDigest::from_hex(row.try_get("digest")?).ok_or(StoreError::Damaged("digest"))?,
                token: TokenId(number(row, "id")?),
                account: AccountId(number(row, "account")?),
            });
            Ok(())
        })
        .await?;
        Ok(Snapshot { revision, changes })
    }
}

/// Hands every row of `sql` to `each`, a bounded number at a time. It takes the last id seen and how many rows to give.
async fn read_all(
    connection: &mut AnyConnection,
    sql: &'static str,
    mut each: impl FnMut(&AnyRow) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut last = -1_i64;
    loop {
        let rows = sqlx::query(sql).bind(last).bind(ROWS_AT_ONCE).fetch_all(&mut *connection).await?;
        let Some(end) = rows.last() else { return Ok(()) };
        last = end.try_get("id")?;
        rows.iter().try_for_each(&mut each)?;
    }
}
