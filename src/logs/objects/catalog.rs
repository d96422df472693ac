//! What is in the store, remembered for a few seconds, so that a search that goes on page by page does not list it again and again.
//!
//! Of two listings of the same folder, the one that was begun later is right. This process's gateway shows here what its folder holds
//! after every change, before the change is acted upon: nobody misses a file because it has moved.

use super::{Objects, Stored, is_over};
use crate::clock;
use crate::domain::account::AccountId;
use futures_util::future::join_all;
use object_store::path::Path as Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a listing is good.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How long a listing may take for a reader.
const LIST_TIMEOUT: Duration = Duration::from_secs(4);
/// Listings in memory, before those that are not good any more are looked for.
const LISTINGS_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Catalog {
    by_folder: Mutex<HashMap<(AccountId, Key), Listing>>,
    gateways: Mutex<Option<(Instant, Arc<[Key]>)>>,
    /// The folder of this process's gateway, if it shows here what is in it. Another process's may change between two looks.
    shown: Mutex<Option<Key>>,
    /// When the store last did not answer a reader in time: the next ones do not wait for it.
    silent: Mutex<Option<Instant>>,
}

struct Listing {
    begun: Instant,
    files: Arc<[Stored]>,
}

impl Catalog {
    /// See [`Objects::of_account`].
    pub(super) async fn files(&self, objects: &Objects, account: AccountId) -> (Vec<Stored>, bool) {
        let Some(gateways) = self.in_time(self.gateways(objects)).await else { return (Vec::new(), false) };
        let listings =
            gateways.iter().map(|gateway| self.in_time(self.of_gateway(objects, gateway, account)));
        let (mut files, mut whole) = (Vec::new(), true);
        for listing in join_all(listings).await {
            match listing {
                Some(listing) => files.extend(listing.iter().cloned()),
                None => whole = false,
            }
        }
        files.sort_by_key(|file| (file.first_received_ms, file.first_seq));
        (files, whole)
    }

    /// From now on this process shows what is in `own`, its gateway's folder.
    pub(super) fn is_shown(&self, own: Key) {
        *locked(&self.shown) = Some(own);
    }

    /// What this process has made of its own folder, known by a listing that was begun at `begun`.
    pub(super) fn show(&self, gateway: Key, account: AccountId, begun: Instant, files: Arc<[Stored]>) {
        let mut by_folder = locked(&self.by_folder);
        if by_folder.len() >= LISTINGS_MAX {
            by_folder.retain(|_, listing| !is_over(listing.begun, GOOD_FOR));
        }
        let known =
            by_folder.entry((account, gateway)).or_insert_with(|| Listing { begun, files: files.clone() });
        if known.begun <= begun {
            *known = Listing { begun, files };
        }
    }

    /// What an asker gets within a reader's patience; nothing while the store is known not to answer.
    async fn in_time<T>(&self, asked: impl Future<Output = Option<T>>) -> Option<T> {
        if locked(&self.silent).is_some_and(|since| !is_over(since, GOOD_FOR)) {
            return None;
        }
        let answer = tokio::time::timeout(LIST_TIMEOUT, asked).await.ok().flatten();
        *locked(&self.silent) = if answer.is_none() { Some(clock::monotonic()) } else { None };
        answer
    }

    async fn gateways(&self, objects: &Objects) -> Option<Arc<[Key]>> {
        if let Some((begun, gateways)) = &*locked(&self.gateways)
            && !is_over(*begun, GOOD_FOR)
        {
            return Some(gateways.clone());
        }
        let begun = clock::monotonic();
        let mut gateways = objects.gateways().await.ok()?;
        gateways.extend(objects.0.own.clone());
        gateways.sort();
        gateways.dedup();
        let gateways: Arc<[Key]> = gateways.into();
        *locked(&self.gateways) = Some((begun, gateways.clone()));
        Some(gateways)
    }

    async fn of_gateway(
        &self,
        objects: &Objects,
        gateway: &Key,
        account: AccountId,
    ) -> Option<Arc<[Stored]>> {
        let others_own = objects.0.own.as_ref() == Some(gateway) && *locked(&self.shown) != objects.0.own;
        if let Some(listing) = locked(&self.by_folder).get(&(account, gateway.clone()))
            && !others_own
            && !is_over(listing.begun, GOOD_FOR)
        {
            return Some(listing.files.clone());
        }
        let begun = clock::monotonic();
        let files: Arc<[Stored]> = objects.list(gateway, account).await.ok()?.files.into();
        self.show(gateway.clone(), account, begun, files.clone());
        Some(files)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
