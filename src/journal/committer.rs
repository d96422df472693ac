//! The committer: takes what waits, has it written and synced, and answers.

use super::AppendError;
use super::group::{Group, Press, Request};
use super::queue::{Backlog, Queue};
use super::writer::Writer;
use crate::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// How long a group waits for the accounts' logs to catch up before it is refused.
const BACKLOG_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Committer {
    writer: Writer,
    press: Press,
    backlog: Arc<Backlog>,
    metrics: Arc<Metrics>,
}

impl Committer {
    pub(super) fn new(writer: Writer, press: Press, backlog: Arc<Backlog>, metrics: Arc<Metrics>) -> Self {
        Self { writer, press, backlog, metrics }
    }

    /// Commits what comes until the queue is closed and empty.
    pub(super) fn run(&mut self, queue: &Queue, group_bytes_max: usize) {
        let _end = EndOnDrop(queue, self.backlog.clone());
        while let Some(requests) = queue.take(group_bytes_max) {
            let wait = if queue.is_closed() { Duration::ZERO } else { BACKLOG_WAIT };
            if self.backlog.wait_for_room(wait) {
                self.commit(requests);
            } else {
                self.refuse(requests, AppendError::Busy);
            }
        }
        // Nobody waits for this any more; what was answered once written is still on the shelf if it fails.
        let _ = self.writer.sync();
    }

    /// Commits one group.
    pub(super) fn commit(&mut self, requests: Vec<Request>) {
        let (first_seq, durable_seq) = (self.writer.next_seq(), self.writer.durable_seq());
        let mut group = match Group::build(requests, first_seq, durable_seq, &mut self.press) {
            Ok(group) => group,
            Err((requests, error)) => {
                tracing::error!(%error, "a group of batches could not be compressed");
                return self.refuse(requests, AppendError::Io);
            }
        };
        if let Err(error) = self.writer.write(&group) {
            self.count(error);
            group.written.refuse(error);
            group.synced.refuse(error);
            return;
        }
        self.metrics.journal.group_batches.observe(group.batches as f64);
        group.written.accept();
        let mut committed = std::mem::take(&mut group.written.extents);
        if !group.synced.is_empty() || self.writer.wants_sync() {
            match self.writer.sync() {
                Ok(()) => {
                    group.synced.accept();
                    committed.append(&mut group.synced.extents);
                }
                Err(error) => {
                    self.count(error);
                    group.synced.refuse(error);
                }
            }
        }
        self.backlog.push(committed);
    }

    fn refuse(&self, requests: Vec<Request>, error: AppendError) {
        self.count(error);
        for request in requests {
            let _ = request.answer.send(Err(error));
        }
    }

    fn count(&self, error: AppendError) {
        let reason = match error {
            AppendError::Full => "full",
            AppendError::Sync => "sync",
            AppendError::Busy => "busy",
            AppendError::Io | AppendError::TooLarge | AppendError::Closed => "io",
        };
        self.metrics.journal.failures.with_label_values(&[reason]).inc();
    }
}

/// However the thread ends, nobody is left waiting for it.
struct EndOnDrop<'a>(&'a Queue, Arc<Backlog>);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
        self.1.close();
    }
}
