//! The directory in force: read by every request, replaced by the reconciler. The only owner of `arc_swap`.
//!
//! A look-up takes no lock, allocates nothing, and its guard never leaves this file, so that none is held across an await.

use super::passage::{Passage, Passages};
use crate::clock;
use crate::domain::account::{AccountGrant, AccountId};
use crate::domain::directory::{Denial, Directory, Permit};
use crate::domain::token::TokenDigest;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A handle on the directory in force; clones see the same one.
#[derive(Clone)]
pub struct Current(Arc<Published>);

struct Published {
    directory: ArcSwapOption<Directory>,
    origin: ArcSwap<Origin>,
    revisions: watch::Sender<Option<u64>>,
    passages: Passages,
    /// Set last: what it says is in force.
    position: Mutex<(String, u64)>,
    /// Counts directories in force that somebody waits for.
    receipts: watch::Sender<u64>,
    /// How far the control plane's clock is ahead of this machine's, in milliseconds.
    ahead_ms: AtomicI64,
    /// A [`Stance`].
    stance: AtomicU8,
    /// What keeps the source of directories from confirming this one.
    trouble: ArcSwapOption<String>,
}

/// What a gateway does with shippers, depending on how old its directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stance {
    Serve,
    /// Who is connected is served on; nobody new is.
    RefuseConnections,
    /// Every request is refused.
    Refuse,
}

/// Where a directory came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The control plane's store that its revisions count in.
    pub store: String,
    /// When the control plane, or the file of tokens, last said that this directory is current; `None`: nobody knows.
    pub confirmed: Option<Instant>,
    /// Whether it is the last good directory, read from disk.
    pub last_good: bool,
}

impl Default for Current {
    fn default() -> Self {
        Self(Arc::new(Published {
            directory: ArcSwapOption::empty(),
            origin: ArcSwap::default(),
            revisions: watch::Sender::new(None),
            passages: Passages::default(),
            position: Mutex::default(),
            receipts: watch::Sender::new(0),
            ahead_ms: AtomicI64::new(0),
            stance: AtomicU8::new(Stance::Serve as u8),
            trouble: ArcSwapOption::empty(),
        }))
    }
}

impl Current {
    /// Judges a token; `None` before the first directory, and when it is too old to judge by. `unix_ms` tells this machine's
    /// time, when it matters.
    #[inline]
    pub fn admit(
        &self,
        digest: &TokenDigest,
        unix_ms: impl FnOnce() -> u64,
    ) -> Option<Result<Permit, Denial>> {
        if self.0.stance.load(Ordering::Relaxed) == Stance::Refuse as u8 {
            return None;
        }
        let now_ms = || self.control_unix_ms(unix_ms());
        self.0.directory.load().as_ref().map(|directory| directory.admit(digest, now_ms))
    }

    /// Judges a permit again, by the directory now in force: what it permits now.
    #[inline]
    pub fn admit_again(&self, permit: &Permit, unix_ms: impl FnOnce() -> u64) -> Result<Permit, Denial> {
        match &*self.0.directory.load() {
            Some(directory) => directory.admit_again(permit, || self.control_unix_ms(unix_ms())),
            None => Err(Denial::NotValid),
        }
    }

    /// What the control plane's clock shows when this machine's shows `unix_ms`: the time that decides on expiry. Without a
    /// control plane, as far as is known.
    #[inline]
    pub fn control_unix_ms(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_add_signed(self.0.ahead_ms.load(Ordering::Relaxed))
    }

    /// Begins a batch's way from the directory's last word on it to its receipt. A revision is confirmed to the control
    /// plane only when no batch is on its way that an earlier one let pass.
    #[inline]
    pub fn begin_passage(&self) -> Passage<'_> {
        self.0.passages.begin()
    }

    /// Resolves when what is on its way was let pass by what is in force now.
    pub(super) async fn settle(&self) {
        self.0.passages.settle().await;
    }

    /// What is known of an account.
    pub fn account(&self, account: AccountId) -> Option<AccountGrant> {
        self.0.directory.load().as_ref()?.account(account).copied()
    }

    /// Whether there is a directory.
    pub fn is_ready(&self) -> bool {
        self.0.revisions.borrow().is_some()
    }

    /// The revision in force and every later one.
    pub fn revisions(&self) -> watch::Receiver<Option<u64>> {
        self.0.revisions.subscribe()
    }

    /// Wakes the reporter when the directory in force is to be reported at once.
    pub(super) fn receipts(&self) -> watch::Receiver<u64> {
        self.0.receipts.subscribe()
    }

    /// Notes that somebody waits for what is in force now.
    pub(super) fn ask_receipt(&self) {
        self.0.receipts.send_modify(|receipts| *receipts += 1);
    }

    /// How long ago this directory was last confirmed to be current; `None`: nobody knows.
    pub fn age(&self) -> Option<Duration> {
        self.0.origin.load().confirmed.map(|confirmed| clock::monotonic().duration_since(confirmed))
    }

    /// What keeps the control plane, or the file of tokens, from being followed at present.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.load().as_ref().map(|trouble| String::clone(trouble))
    }

    pub(super) fn set_trouble(&self, trouble: String) {
        self.0.trouble.store(Some(Arc::new(trouble)));
    }

    /// Whether the directory in force was read from disk, for want of a control plane.
    pub fn is_last_good(&self) -> bool {
        self.0.origin.load().last_good
    }

    /// What to do with shippers.
    #[inline]
    pub fn stance(&self) -> Stance {
        match self.0.stance.load(Ordering::Relaxed) {
            stance if stance == Stance::Refuse as u8 => Stance::Refuse,
            stance if stance == Stance::RefuseConnections as u8 => Stance::RefuseConnections,
            _ => Stance::Serve,
        }
    }

    pub(super) fn set_stance(&self, stance: Stance) {
        self.0.stance.store(stance as u8, Ordering::Relaxed);
    }

    pub(super) fn directory(&self) -> Option<Arc<Directory>> {
        self.0.directory.load_full()
    }

    pub(super) fn store(&self) -> String {
        self.0.origin.load().store.clone()
    }

    /// The store and the revision of what is in force; an empty name and 0 before the first directory.
    pub(super) fn position(&self) -> (String, u64) {
        self.0.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `directory` in force, as confirmed by `store` just now. The reconciler alone does this while a gateway runs.
    pub fn publish(&self, directory: Directory, store: &str) {
        self.0.trouble.store(None);
        let confirmed = Some(clock::monotonic());
        self.put(directory, Origin { store: store.to_owned(), confirmed, last_good: false });
    }

    /// Puts a directory read from disk in force, which was confirmed so long ago, unless there is one already.
    pub(super) fn publish_last_good(&self, directory: Directory, store: &str, age: Option<Duration>) -> bool {
        let first = !self.is_ready();
        if first {
            let confirmed = age.and_then(|age| clock::monotonic().checked_sub(age));
            self.put(directory, Origin { store: store.to_owned(), confirmed, last_good: true });
        }
        first
    }

    pub(super) fn ahead_ms(&self) -> i64 {
        self.0.ahead_ms.load(Ordering::Relaxed)
    }

    /// Notes how far the control plane's clock is ahead.
    pub(super) fn set_ahead_ms(&self, ahead_ms: i64) {
        self.0.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Notes that the control plane still holds what is in force.
    pub(super) fn confirm(&self) {
        self.0.trouble.store(None);
        let (confirmed, last_good) = (Some(clock::monotonic()), false);
        let origin = Origin { confirmed, last_good, ..(**self.0.origin.load()).clone() };
        self.0.origin.store(Arc::new(origin));
    }

    fn put(&self, directory: Directory, origin: Origin) {
        let revision = directory.revision();
        let position = (origin.store.clone(), revision);
        self.0.origin.store(Arc::new(origin));
        self.0.directory.store(Some(Arc::new(directory)));
        *self.0.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
        self.0.revisions.send_replace(Some(revision));
    }
}
