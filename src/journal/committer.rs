//! The committer: takes what waits, has it written and synced, and answers.

use super::AppendError;
use super::group::{Group, Press, Request};
use super::queue::{Backlog, Queue};
use super::writer::{Refusal, Writer};
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
    /// Why the last group was refused: a reason is logged when it begins, not for every group.
    trouble: Option<AppendError>,
}

impl Committer {
    pub(super) fn new(writer: Writer, press: Press, backlog: Arc<Backlog>, metrics: Arc<Metrics>) -> Self {
        Self { writer, press, backlog, metrics, trouble: None }
    }

    /// Commits what comes until the queue is closed and empty.
    pub(super) fn run(&mut self, queue: &Queue, group_bytes_max: usize) {
        let _end = EndOnDrop(queue, self.backlog.clone());
        while let Some(requests) = queue.take(group_bytes_max) {
            let wait = if queue.is_closed() { Duration::ZERO } else { BACKLOG_WAIT };
            if self.backlog.wait_for_room(wait) {
                self.commit(requests);
            } else {
                let (error, source) = (AppendError::Busy, None);
                self.refuse(requests, Refusal { error, source });
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
            Err((requests, error)) => return self.refuse(requests, Refusal::from(error)),
        };
        if let Err(refusal) = self.writer.write(&group) {
            group.written.refuse(refusal.error);
            group.synced.refuse(refusal.error);
            return self.note(Some(refusal));
        }
        self.metrics.journal.group_batches.observe(group.batches as f64);
        group.written.accept();
        let mut committed = std::mem::take(&mut group.written.extents);
        let mut refusal = None;
        if !group.synced.is_empty() || self.writer.wants_sync() {
            refusal = self.writer.sync().err();
            match &refusal {
                None => {
                    group.synced.accept();
                    committed.append(&mut group.synced.extents);
                }
                Some(refusal) => group.synced.refuse(refusal.error),
            }
        }
        self.backlog.push(committed);
        self.note(refusal);
    }

    fn refuse(&mut self, requests: Vec<Request>, refusal: Refusal) {
        for request in requests {
            let _ = request.answer.send(Err(refusal.error));
        }
        self.note(Some(refusal));
    }

    /// Counts a refusal; logs when refusals begin and when they are over.
    fn note(&mut self, refusal: Option<Refusal>) {
        let error = refusal.as_ref().map(|refusal| refusal.error);
        if let Some(error) = error {
            let reason = match error {
                AppendError::Full => "full",
                AppendError::Sync => "sync",
                AppendError::Busy => "busy",
                AppendError::Io | AppendError::TooLarge | AppendError::Closed => "io",
            };
            self.metrics.journal.failures.with_label_values(&[reason]).inc();
        }
        if error == self.trouble {
            return;
        }
        self.trouble = error;
        match refusal {
            Some(Refusal { error, source }) => {
                let source = source.map(|source| source.to_string());
                tracing::error!(%error, source, "the journal refuses batches");
            }
            None => tracing::info!("the journal takes batches again"),
        }
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
