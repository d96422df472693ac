//! Tasks and their orderly end: the one owner of `spawn`.
//!
//! Main holds one [`Shutdown`] for each stage of the program and drains the stages in the reverse of their start. A task
//! learns that it should finish through [`Tasks::draining`]; draining waits until every task of the stage has ended or
//! the deadline has passed.

#![expect(clippy::disallowed_methods, reason = "this is the owner of `spawn`")]

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Starts tasks of one stage and tells them when to finish. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    draining: watch::Receiver<bool>,
    alive: mpsc::WeakSender<Infallible>,
}

impl Tasks {
    /// Runs `task` to its end, which [`Shutdown::drain`] waits for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alive = self.alive.upgrade();
        tokio::spawn(async move {
            task.await;
            drop(alive);
        });
    }

    /// Resolves when the stage should finish.
    pub async fn draining(&self) {
        let mut draining = self.draining.clone();
        // An error means that the `Shutdown` is gone: the program is ending.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow() || self.draining.has_changed().is_err()
    }
}

/// The deadline passed while tasks were still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("some tasks did not end within the deadline")]
pub struct DeadlinePassed;

/// The end of one stage, held by main.
#[derive(Debug)]
pub struct Shutdown {
    drain: watch::Sender<bool>,
    draining: watch::Receiver<bool>,
    alive: mpsc::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

impl Shutdown {
    #[expect(
        clippy::new_without_default,
        reason = "a default would hide that this begins a stage of the program"
    )]
    pub fn new() -> Self {
        let (drain, draining) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        Self { drain, draining, alive, ended }
    }

    pub fn tasks(&self) -> Tasks {
        Tasks { draining: self.draining.clone(), alive: self.alive.downgrade() }
    }

    /// Tells every task to finish, without waiting.
    pub fn begin(&self) {
        self.drain.send_replace(true);
    }

    /// Tells every task to finish and waits for them, and for those that they start meanwhile.
    pub async fn drain(self, deadline: Duration) -> Result<(), DeadlinePassed> {
        let Self { drain, alive, mut ended, .. } = self;
        drain.send_replace(true);
        drop(alive);
        match tokio::time::timeout(deadline, ended.recv()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(DeadlinePassed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drains_when_every_task_has_ended() {
        let stage = Shutdown::new();
        let tasks = stage.tasks();
        let waiting = tasks.clone();
        tasks.spawn(async move { waiting.draining().await });
        assert!(!tasks.is_draining());
        assert_eq!(stage.drain(Duration::from_secs(10)).await, Ok(()));
        assert!(tasks.is_draining());
    }

    #[tokio::test]
    async fn a_task_that_hangs_passes_the_deadline() {
        let stage = Shutdown::new();
        stage.tasks().spawn(std::future::pending());
        assert_eq!(stage.drain(Duration::from_millis(10)).await, Err(DeadlinePassed));
    }
}
