//! When each shared token was last used, and how often its link was opened. It is counted in memory and written down now and
//! then: reading never waits for a write.

use super::super::{Store, StoreError};
use super::{Share, ShareId};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is not written down yet, by token.
#[derive(Debug, Default)]
pub struct Uses(Mutex<BTreeMap<ShareId, Use>>);

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    /// Unix milliseconds.
    last_ms: u64,
    views: u64,
}

impl Uses {
    fn counted(&self) -> MutexGuard<'_, BTreeMap<ShareId, Use>> {
        // Whoever panicked left a map of whole values behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: ShareId, used: Use) {
        let mut counted = self.counted();
        let sum = counted.entry(id).or_default();
        sum.last_ms = sum.last_ms.max(used.last_ms);
        sum.views += used.views;
    }

    /// A token as the database has it, and what was counted since.
    pub(in crate::store) fn added_to(&self, mut share: Share) -> Share {
        if let Some(used) = self.counted().get(&share.id) {
            share.last_used_ms = share.last_used_ms.max(Some(used.last_ms));
            share.views += used.views;
        }
        share
    }
}

impl Store {
    /// Notes that a shared token, which exists, was used now; `views` times to open its link.
    pub fn share_used(&self, id: ShareId, views: u64) {
        self.0.uses.add(id, Use { last_ms: self.unix_ms(), views });
    }

    /// Writes down how shared tokens were used. What could not be written is kept for the next time.
    pub async fn save_share_uses(&self) -> Result<(), StoreError> {
        let uses = std::mem::take(&mut *self.0.uses.counted());
        if uses.is_empty() {
            return Ok(());
        }
        let saved = self.write_share_uses(&uses).await;
        // Whether a commit that nobody answered was made is not known: rather twice than never.
        if saved.is_err() {
            uses.into_iter().for_each(|(id, used)| self.0.uses.add(id, used));
        }
        saved
    }

    async fn write_share_uses(&self, uses: &BTreeMap<ShareId, Use>) -> Result<(), StoreError> {
        let mut tx = self.0.counting().await?;
        // In the order of their numbers at every replica: two of them never wait for each other.
        for (id, used) in uses {
            sqlx::query(
                "UPDATE shared_tokens SET views = views + $1, last_used_ms = \
                 CASE WHEN last_used_ms >= $2 THEN last_used_ms ELSE $2 END WHERE id = $3",
            )
            .bind(i64::try_from(used.views).unwrap_or(i64::MAX))
            .bind(i64::try_from(used.last_ms).unwrap_or(i64::MAX))
            .bind(i64::from(id.0))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await.map_err(StoreError::of_commit)
    }
}
