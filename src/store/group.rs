//! Writers take turns at one transaction, so that those who queue share its commit, which waits for the disk.
//!
//! A savepoint stands between what earlier writers of the group wrote and what the one whose turn it is has written. A
//! writer that is done queues again, behind all who queue already, and the first whose turn comes a second time commits for
//! the group. Nobody is told that something is done before it is on the disk. A group that all have left is rolled back.

use super::{Inner, StoreError};
use sqlx::any::Any;
use sqlx::{AnyConnection, Executor, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// Hands out turns, in the order in which they are asked for.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<tokio::sync::Mutex<Weak<Group>>>);

/// Alive for as long as somebody waits for its commit.
#[derive(Default)]
struct Group(Mutex<State>);

#[derive(Default)]
struct State {
    /// There when nobody has the turn, until it is over.
    tx: Option<Transaction<'static, Any>>,
    /// What was written after the savepoint is nobody's.
    spoilt: bool,
    committed: bool,
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn at the group's transaction. Dropped without [`Self::commit`], it leaves nothing behind.
pub(super) struct Turn {
    tx: Option<Transaction<'static, Any>>,
    spoilt: bool,
    group: Arc<Group>,
    /// The group that the next may join. Given up last, when the transaction is back.
    _open: OwnedMutexGuard<Weak<Group>>,
}

impl Turn {
    /// Waits for a turn, and joins those who wait for a commit, if any do.
    pub(super) async fn take(inner: &Inner) -> Result<Self, StoreError> {
        let mut open = Arc::clone(&inner.turns.0).lock_owned().await;
        let waiting = open.upgrade().filter(|group| group.state().tx.is_some());
        if let Some(group) = waiting {
            let mut turn = Self::at(group, open);
            turn.clean().await?;
            return Ok(turn);
        }
        let tx = Some(inner.kind.begin_write(&inner.writer).await?);
        let group = Arc::new(Group(Mutex::new(State { tx, ..State::default() })));
        *open = Arc::downgrade(&group);
        let mut turn = Self::at(group, open);
        turn.execute("SAVEPOINT written").await?;
        turn.spoilt = true;
        Ok(turn)
    }

    fn at(group: Arc<Group>, open: OwnedMutexGuard<Weak<Group>>) -> Self {
        let (tx, spoilt) = {
            let mut state = group.state();
            (state.tx.take(), state.spoilt)
        };
        Self { tx, spoilt, group, _open: open }
    }

    /// Takes back what a writer left that did not finish. What is written from here on is spoilt until it is finished.
    async fn clean(&mut self) -> Result<(), sqlx::Error> {
        if std::mem::replace(&mut self.spoilt, true) {
            self.execute("ROLLBACK TO written").await?;
        }
        Ok(())
    }

    /// Leaves what was written to the group, and waits until it is on the disk.
    pub(super) async fn commit(mut self, turns: &Turns) -> Result<(), StoreError> {
        self.execute("RELEASE written").await?;
        self.execute("SAVEPOINT written").await?;
        self.spoilt = false;
        let group = Arc::clone(&self.group);
        drop(self);
        let open = Arc::clone(&turns.0).lock_owned().await;
        if group.state().committed {
            return Ok(());
        }
        let mut last = Self::at(group, open);
        if last.tx.is_some() {
            last.clean().await?;
        }
        let failed_with_others = || sqlx::Error::Protocol("a commit shared with others failed".to_owned());
        let tx = last.tx.take().ok_or_else(failed_with_others).map_err(StoreError::of_commit)?;
        tx.commit().await.map_err(StoreError::of_commit)?;
        last.group.state().committed = true;
        Ok(())
    }
}

impl Deref for Turn {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.tx.as_ref().expect(HELD)
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.tx.as_mut().expect(HELD)
    }
}

const HELD: &str = "a turn has the transaction until it is dropped or has committed";

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.group.state();
        state.tx = self.tx.take();
        state.spoilt = self.spoilt;
    }
}
