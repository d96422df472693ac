//! The committer: takes what waits, has it written and synced, and answers.

use super::group::{Group, Press, Request};
use super::queue::{Backlog, Queue};
use super::writer::{Refusal, Writer};
use super::{AppendError, locked};
use crate::clock;
use crate::metrics::Metrics;
use crate::telemetry::chain;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a group waits for the accounts' logs to catch up before it is refused.
const BACKLOG_WAIT: Duration = Duration::from_secs(2);
/// While no batch comes, how often it is looked whether one would be taken.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why batches are refused, while they are. Shared with whoever asks how the journal is.
pub(super) type Trouble = Arc<Mutex<Option<AppendError>>>;

pub(super) struct Committer {
    writer: Writer,
    press: Press,
    backlog: Arc<Backlog>,
    metrics: Arc<Metrics>,
    /// A reason is logged when it begins, not for every group.
    trouble: Trouble,
    /// Length of the group that was refused last.
    refused_bytes: u64,
}

impl Committer {
    pub(super) fn new(writer: Writer, press: Press, backlog: Arc<Backlog>, metrics: Arc<Metrics>) -> Self {
        Self { writer, press, backlog, metrics, trouble: Trouble::default(), refused_bytes: 0 }
    }

    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Commits what comes until the queue is closed and empty.
    pub(super) fn run(&mut self, queue: &Queue) {
        let _end = EndOnDrop(queue, self.backlog.clone());
        while let Some(requests) = queue.take(LOOK_INTERVAL) {
            let wait = if queue.is_closed() { Duration::ZERO } else { BACKLOG_WAIT };
            if requests.is_empty() {
                self.look();
            } else if self.backlog.wait_for_room(wait) {
                self.commit(requests);
                queue.committed(clock::monotonic());
            } else {
                self.refuse(requests, Refusal::from(AppendError::Busy));
                // The logs are slow perhaps because the disk is full: operators should see how full.
                let _ = self.writer.look_for_room(0, 0);
            }
        }
        // Nobody waits for this any more; what was answered once written is still on the shelf if it fails.
        let _ = self.writer.finish();
    }

    /// Looks whether a batch would be taken, so that it is known without one when trouble begins and when it is over.
    pub(super) fn look(&mut self) {
        let owed_bytes = self.backlog.bytes() as u64;
        let troubled = locked(&self.trouble).is_some();
        let looked = match self.backlog.wait_for_room(Duration::ZERO) {
            false => Err(Refusal::from(AppendError::Busy)),
            true if troubled => self.writer.probe(self.refused_bytes, owed_bytes),
            true => self.writer.look_for_room(0, owed_bytes),
        };
        self.turn(looked.err());
    }

    /// Commits one group.
    pub(super) fn commit(&mut self, requests: Vec<Request>) {
        let (first_seq, durable_seq) = (self.writer.next_seq(), self.writer.durable_seq());
        let mut group = match Group::build(requests, first_seq, durable_seq, &mut self.press) {
            Ok(group) => group,
            Err((requests, error)) => return self.refuse(requests, Refusal::from(error)),
        };
        if let Err(refusal) = self.writer.write(&group, self.backlog.bytes() as u64) {
            group.written.refuse(refusal.error);
            group.synced.refuse(refusal.error);
            self.refused_bytes = group.bytes.len() as u64;
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

    /// Counts a refusal.
    fn note(&mut self, refusal: Option<Refusal>) {
        if let Some(refusal) = &refusal {
            let reason = match refusal.error {
                AppendError::Full => "full",
                AppendError::JournalFull => "journal_full",
                AppendError::Sync => "sync",
                AppendError::Busy => "busy",
                AppendError::Io | AppendError::TooLarge | AppendError::Closed => "io",
            };
            self.metrics.journal.failures.with_label_values(&[reason]).inc();
        }
        self.turn(refusal);
    }

    /// Logs when refusals begin and when they are over.
    fn turn(&mut self, refusal: Option<Refusal>) {
        let error = refusal.as_ref().map(|refusal| refusal.error);
        if std::mem::replace(&mut *locked(&self.trouble), error) == error {
            return;
        }
        match refusal {
            Some(Refusal { error, source }) => {
                let cause = source.map(|source| chain(&source));
                tracing::error!(%error, cause, "the journal refuses batches");
            }
            None => {
                self.refused_bytes = 0;
                tracing::info!("the journal takes batches again");
            }
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
