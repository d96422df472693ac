//! Tails: those who follow an account's log as it grows are handed every committed block, right when it is on its way into the log.
//!
//! Each tail has a bound in bytes. Whoever falls behind it is told, and has to begin anew: nothing waits for a tail, and while there is
//! none, handing on costs a look at one number.

use super::sieve::Sieve;
use crate::domain::account::AccountId;
use crate::journal::{Extent, HEADER_BYTES, Header};
use bytes::Bytes;
use prometheus::IntGauge;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, watch};

/// Compressed bytes that wait for one tail, at most; one hand-over is taken in any case.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// How many tails there may be, and how many of one account.
const TAILS_MAX: usize = 1_000;
const ACCOUNT_TAILS_MAX: usize = 100;
/// Bytes of passing lines that are taken out of a block at a time, but for a longer line.
const SIFTED_BYTES: usize = 1 << 20;

/// Where the thread of the logs hands on what is committed. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tails {
    open: Arc<AtomicUsize>,
    by_account: Arc<Mutex<HashMap<AccountId, Vec<Weak<Inbox>>>>>,
    /// Whether everything is in files that was acknowledged before the start.
    caught_up: Arc<watch::Sender<bool>>,
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

/// A block as it was committed, and how far its lines have been sifted.
#[derive(Debug, Clone)]
pub struct Block {
    /// When its lines were received, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    raw_bytes: usize,
    bytes: Bytes,
    sifted: usize,
}

impl Block {
    /// Takes the next lines that pass out of the block, each with its end. None are left when there is nothing more. It
    /// inflates all of the block: what waits for a slow reader stays compressed.
    pub(super) fn sift(mut self, sieve: &Sieve) -> io::Result<(Vec<u8>, Option<Self>)> {
        let lines = zstd::bulk::decompress(&self.bytes, self.raw_bytes)?;
        let mut passing = Vec::new();
        for line in lines[self.sifted.min(lines.len())..].split_inclusive(|byte| *byte == b'\n') {
            if passing.len() >= SIFTED_BYTES {
                return Ok((passing, Some(self)));
            }
            self.sifted += line.len();
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            if sieve.pass(bare, self.received_ms).is_some() {
                passing.extend_from_slice(bare);
                passing.push(b'\n');
            }
        }
        Ok((passing, None))
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
        let of_account = by_account.get(&account).map_or(0, Vec::len);
        if self.open.load(Ordering::Relaxed) >= TAILS_MAX || of_account >= ACCOUNT_TAILS_MAX {
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
            let Some(inboxes) = by_account.get(&extent.account) else { continue };
            // A copy, for all: these bytes are a part of a whole group's, which would stay in memory with them.
            let blocks = Bytes::copy_from_slice(&extent.bytes);
            inboxes.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.put(blocks.clone()));
        }
    }

    /// Tells that the files hold everything that was acknowledged before the start: a start cuts them back, and then appends
    /// from the journal.
    pub(in crate::logs) fn have_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// Waits for that.
    pub(super) async fn caught_up(&self) {
        // The sender is held here.
        let _ = self.caught_up.subscribe().wait_for(|caught_up| *caught_up).await;
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
    fn put(&self, blocks: Bytes) {
        let mut waiting = locked(&self.waiting);
        if waiting.end.is_some() {
            return;
        }
        if waiting.bytes > 0 && waiting.bytes + blocks.len() > WAITING_BYTES_MAX {
            *waiting = Waiting { end: Some(TailEnd::Behind), ..Waiting::default() };
        } else {
            waiting.bytes += blocks.len();
            waiting.extents.push_back(blocks);
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
    /// Waits for the next block, for [`Reader::sift`](super::Reader::sift). May be dropped and called again.
    pub async fn next(&mut self) -> Result<Block, TailEnd> {
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

    fn block(&mut self) -> io::Result<Block> {
        let header = Header::parse(&self.rest).map_err(io::Error::other)?;
        let bytes = self.rest.split_to(header.block_bytes().min(self.rest.len())).slice(HEADER_BYTES..);
        let (received_ms, raw_bytes) = (header.first_received_ms, header.raw_bytes as usize);
        Ok(Block { received_ms, raw_bytes, bytes, sifted: 0 })
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
