//! One writing transaction: what it changes, the audit entries of it, and the directory's next revision.

use super::replicas::SHARING;
use super::{By, Inner, StoreError, number};
use crate::domain::account::AccountId;
use crate::domain::directory::Change;
use serde_json::Value;
use sqlx::any::Any;
use sqlx::{Row, Transaction};

/// A number drawn from the store's one row: never drawn again, unless this transaction is rolled back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counter {
    Account,
    Token,
    ApiToken,
    SharedToken,
    Filter,
    User,
    View,
    Audit,
}

/// Dropped without [`Self::commit`], it leaves nothing behind.
pub(super) struct Write<'a> {
    inner: &'a Inner,
    by: &'a By,
    pub(super) tx: Transaction<'static, Any>,
    /// When it began, Unix milliseconds: the time of everything it writes.
    pub(super) at_ms: i64,
    revision: u64,
    changes: Vec<Change>,
    /// What may be read with a token is not what it was.
    changes_sharing: bool,
}

impl<'a> Write<'a> {
    pub(super) async fn begin(inner: &'a Inner, by: &'a By) -> Result<Self, StoreError> {
        let mut tx = inner.kind.begin_write(&inner.writer).await?;
        // The first statement takes the lock that serialises writers, before anything is read: what this transaction
        // reads stays true until it commits.
        let row = sqlx::query("UPDATE store SET writes = writes + 1 RETURNING revision")
            .fetch_one(&mut *tx)
            .await?;
        Ok(Self {
            revision: number(&row, "revision")?,
            at_ms: i64::try_from(inner.clock.unix_ms()).unwrap_or(i64::MAX),
            inner,
            by,
            tx,
            changes: Vec::new(),
            changes_sharing: false,
        })
    }

    /// What `createdBy` and `updatedBy` will show.
    pub(super) fn actor(&self) -> &'a str {
        &self.by.actor
    }

    pub(super) async fn draw(&mut self, counter: Counter) -> Result<i64, StoreError> {
        let sql = match counter {
            Counter::Account => {
                "UPDATE store SET account_next = account_next + 1 RETURNING account_next AS next"
            }
            Counter::Token => "UPDATE store SET token_next = token_next + 1 RETURNING token_next AS next",
            Counter::ApiToken => {
                "UPDATE store SET api_token_next = api_token_next + 1 RETURNING api_token_next AS next"
            }
            Counter::SharedToken => {
                "UPDATE store SET shared_token_next = shared_token_next + 1 RETURNING shared_token_next AS next"
            }
            Counter::Filter => "UPDATE store SET filter_next = filter_next + 1 RETURNING filter_next AS next",
            Counter::View => "UPDATE store SET view_next = view_next + 1 RETURNING view_next AS next",
            Counter::User => "UPDATE store SET user_next = user_next + 1 RETURNING user_next AS next",
            Counter::Audit => "UPDATE store SET audit_next = audit_next + 1 RETURNING audit_next AS next",
        };
        let row = sqlx::query(sql).fetch_one(&mut *self.tx).await?;
        Ok(row.try_get::<i64, _>("next")? - 1)
    }

    /// Adds a change to the revision that this transaction will make.
    pub(super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Wakes, when this transaction commits, whoever reads: here and at every replica.
    pub(super) fn change_sharing(&mut self) {
        self.changes_sharing = true;
    }

    /// Writes down what became of `subject`. Neither value may hold a secret.
    pub(super) async fn audit(
        &mut self,
        account: AccountId,
        action: &'static str,
        subject: String,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<(), StoreError> {
        self.audit_by(self.by, account, action, subject, [before, after]).await
    }

    /// As [`Self::audit`], of what somebody else did.
    pub(super) async fn audit_by(
        &mut self,
        by: &By,
        account: AccountId,
        action: &'static str,
        subject: String,
        [before, after]: [Option<Value>; 2],
    ) -> Result<(), StoreError> {
        let id = self.draw(Counter::Audit).await?;
        sqlx::query(
            "INSERT INTO audit (id, at_ms, account, actor, actor_account, action, subject, before_json, after_json, \
             source, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(id)
        .bind(self.at_ms)
        .bind(i64::from(account.0))
        .bind(&by.actor)
        .bind(by.account.map(|account| i64::from(account.0)))
        .bind(action)
        .bind(subject)
        .bind(before.map(|value| value.to_string()))
        .bind(after.map(|value| value.to_string()))
        .bind(by.source.as_deref())
        .bind(by.request_id.as_deref())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Makes it all happen, as one revision of the directory if that changed, and wakes those who follow it.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if !self.changes.is_empty() {
            self.revision += 1;
            self.log_revision().await?;
        }
        if self.changes_sharing {
            self.inner.notify(&mut self.tx, SHARING).await?;
        }
        self.tx.commit().await.map_err(StoreError::of_commit)?;
        if let Some(awaited) = &self.by.awaited {
            awaited.is_revision(self.revision);
        }
        // The connection is free again, so a later writer may have been faster to get here.
        self.inner.announce(self.revision);
        if self.changes_sharing {
            self.inner.announce_sharing();
        }
        Ok(())
    }

    async fn log_revision(&mut self) -> Result<(), StoreError> {
        let revision = i64::try_from(self.revision).map_err(|_| StoreError::Damaged("revision"))?;
        let kept = i64::try_from(self.inner.revisions_max).unwrap_or(i64::MAX);
        let changes =
            serde_json::to_string(&self.changes).map_err(|_| StoreError::Damaged("changes_json"))?;
        let at_ms = i64::try_from(self.inner.clock.unix_ms()).unwrap_or(i64::MAX);
        sqlx::query("UPDATE store SET revision = $1").bind(revision).execute(&mut *self.tx).await?;
        sqlx::query(
            "INSERT INTO directory_log (revision, at_ms, changes_json, receipt) VALUES ($1, $2, $3, $4)",
        )
        .bind(revision)
        .bind(at_ms)
        .bind(changes)
        .bind(i64::from(self.by.awaited.is_some()))
        .execute(&mut *self.tx)
        .await?;
        sqlx::query("DELETE FROM directory_log WHERE revision <= $1")
            .bind(revision.saturating_sub(kept))
            .execute(&mut *self.tx)
            .await?;
        self.inner.notify(&mut self.tx, &self.revision.to_string()).await?;
        Ok(())
    }
}
