//! Tails: those who follow an account's log as it grows are handed every committed block, right when it is on its way into the log.
//!
//! Each tail has a bound in bytes. Whoever falls behind it is told, and has to begin anew: nothing waits for a tail, and while there is
//! none, handing on costs a look at one number.

use crate::domain::account::AccountId;
use crate::journal::{Extent, HEADER_BYTES, Header};
use bytes::Bytes;
use prometheus::IntGauge;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Compressed bytes that wait for one tail, at most; one hand-over is taken in any case.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// How many tails there may be.
const TAILS_MAX: usize = 1_000;

/// Where the thread of the logs hands on what is committed. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tails {
    open: Arc<AtomicUsize>,
    by_account: Arc<Mutex<HashMap<AccountId, Vec<Weak<Inbox>>>>>,
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    extents: VecDeque<Bytes>,
    bytes: usize,
    end: Option<TailEnd>,
}

/// Why a tail has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TailEnd {
    #[error("more lines came than were taken")]
    Behind,
    #[error("the log does not grow any more")]
    Closed,
    #[error("what came could not be read")]
    Unreadable,
}

/// The lines of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// When they were received, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    bytes: Vec<u8>,
}

impl Lines {
    /// Each line without its end.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }
}

/// An account's log from now on.
pub struct Tail {
    account: AccountId,
    inbox: Arc<Inbox>,
    /// What is left of the extent taken last.
    rest: Bytes,
    tails: Tails,
    gauge: IntGauge,
}

impl Tails {
    /// `None`: there are too many.
    pub(super) fn open(&self, account: AccountId, gauge: &IntGauge) -> Option<Tail> {
        let mut by_account = locked(&self.by_account);
        if self.open.load(Ordering::Relaxed) >= TAILS_MAX {
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        gauge.inc();
        let inbox = Arc::new(Inbox::default());
        by_account.entry(account).or_default().push(Arc::downgrade(&inbox));
        drop(by_account);
        Some(Tail { account, inbox, rest: Bytes::new(), tails: self.clone(), gauge: gauge.clone() })
    }

    /// Hands on what has been committed.
    pub(in crate::logs) fn hand_on(&self, extents: &[Extent]) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let by_account = locked(&self.by_account);
        for extent in extents {
            let inboxes = by_account.get(&extent.account).into_iter().flatten();
            inboxes.filter_map(Weak::upgrade).for_each(|inbox| inbox.put(&extent.bytes));
        }
    }

    /// Nothing more will come.
    pub(in crate::logs) fn close(&self) {
        let by_account = locked(&self.by_account);
        for inbox in by_account.values().flatten().filter_map(Weak::upgrade) {
            inbox.end(TailEnd::Closed);
        }
    }
}

impl Inbox {
    fn put(&self, blocks: &Bytes) {
        let mut waiting = locked(&self.waiting);
        if waiting.end.is_some() {
            return;
        }
        if waiting.bytes > 0 && waiting.bytes + blocks.len() > WAITING_BYTES_MAX {
            *waiting = Waiting { end: Some(TailEnd::Behind), ..Waiting::default() };
        } else {
            waiting.bytes += blocks.len();
            // A copy: these bytes are a part of a whole group's, which would stay in memory with them.
            waiting.extents.push_back(Bytes::copy_from_slice(blocks));
        }
        drop(waiting);
        self.changed.notify_one();
    }

    fn end(&self, end: TailEnd) {
        locked(&self.waiting).end.get_or_insert(end);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Result<Bytes, TailEnd>> {
        let mut waiting = locked(&self.waiting);
        if let Some(blocks) = waiting.extents.pop_front() {
            waiting.bytes -= blocks.len();
            return Some(Ok(blocks));
        }
        waiting.end.map(Err)
    }
}

impl Tail {
    /// Waits for the next lines, which nobody's access has been asked about yet: each goes through a
    /// [`Sieve`](super::sieve::Sieve) first. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Lines, TailEnd> {
        loop {
            if !self.rest.is_empty() {
                return self.block().map_err(|_| TailEnd::Unreadable);
            }
            let changed = self.inbox.changed.notified();
            match self.inbox.take() {
                Some(taken) => self.rest = taken?,
                None => changed.await,
            }
        }
    }

    fn block(&mut self) -> io::Result<Lines> {
        let header = Header::parse(&self.rest).map_err(io::Error::other)?;
        let block = self.rest.split_to(header.block_bytes().min(self.rest.len()));
        let bytes = zstd::bulk::decompress(&block[HEADER_BYTES..], header.raw_bytes as usize)?;
        Ok(Lines { received_ms: header.first_received_ms, bytes })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut by_account = locked(&self.tails.by_account);
        if let Some(inboxes) = by_account.get_mut(&self.account) {
            inboxes.retain(|inbox| !std::ptr::eq(inbox.as_ptr(), Arc::as_ptr(&self.inbox)));
            if inboxes.is_empty() {
                by_account.remove(&self.account);
            }
        }
        self.tails.open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
