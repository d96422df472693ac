//! Files that are in the object store: what their indexes tell, and their bytes, fetched ahead of the threads that look through them.
//!
//! Threads that search never wait for the network. Parts go to them a window at a time, with the bytes that the store has of it, and
//! while they are at one window the next is fetched. The first is small, for those who find what they want in it; then they grow, up to a
//! bound. Of what the store does not give, the answer says that it lacks something.

use super::files::{Contents, LogFile, Part};
use super::index::Index;
use super::needs::Need;
use super::scan::Lookup;
use crate::clock;
use crate::logs::objects::{ObjectError, Objects, Stored, is_missing};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Compressed bytes in the first window of a question, and in the largest; a part that is longer is one by itself.
const WINDOW_BYTES_MIN: u64 = if cfg!(test) { 256 } else { 256 << 10 };
const WINDOW_BYTES_MAX: u64 = if cfg!(test) { 2_048 } else { 4 << 20 };
/// Files read from at the same time, for one question.
const FILES_AT_ONCE: usize = 8;
/// How much of an index is read first. Mostly it has all but the filters in it.
const INDEX_BYTES: u64 = if cfg!(test) { 64 } else { 64 << 10 };
/// Bytes of indexes that are remembered.
const INDEXES_BYTES_MAX: usize = 64 << 20;

/// Parts that are still to be looked through, in order.
pub(super) struct Windows {
    parts: std::vec::IntoIter<Part>,
    bytes_max: u64,
    /// The store has not answered in time: nothing is fetched any more.
    given_up: bool,
}

impl Windows {
    pub(super) fn of(parts: Vec<Part>) -> Self {
        Self { parts: parts.into_iter(), bytes_max: WINDOW_BYTES_MIN, given_up: false }
    }

    /// Whether there are no more.
    pub(super) fn is_over(&self) -> bool {
        self.parts.len() == 0
    }

    /// The same without what is not wanted any more. It takes half of the time that is left, at most: the rest is for what is there.
    pub(super) async fn next_until(
        &mut self,
        deadline: Instant,
        is_wanted: impl Fn(&Part) -> bool,
    ) -> Vec<Part> {
        let mut window = self.take(is_wanted);
        let left = deadline.saturating_duration_since(clock::monotonic());
        if !self.given_up {
            self.given_up = tokio::time::timeout(left / 2, fetch(&mut window)).await.is_err();
        }
        window
    }

    /// The next parts with their bytes, so far as they are in the store; none when there are no more.
    pub(super) async fn next(&mut self) -> Vec<Part> {
        let mut window = self.take(|_| true);
        fetch(&mut window).await;
        window
    }

    fn take(&mut self, is_wanted: impl Fn(&Part) -> bool) -> Vec<Part> {
        let mut window = Vec::new();
        let mut bytes = 0;
        while bytes < self.bytes_max
            && let Some(part) = self.parts.next()
        {
            if !is_wanted(&part) {
                continue;
            }
            bytes += if part.file.stored().is_some() { part.to - part.from } else { 0 };
            window.push(part);
        }
        self.bytes_max = (self.bytes_max * 2).min(WINDOW_BYTES_MAX);
        window
    }
}

/// Gives parts their bytes.
async fn fetch(parts: &mut [Part]) {
    let mut by_file = HashMap::<_, (Arc<LogFile>, Vec<usize>)>::new();
    for (n, part) in parts.iter().enumerate() {
        if part.file.stored().is_some() {
            by_file
                .entry(Arc::as_ptr(&part.file).addr())
                .or_insert_with(|| (part.file.clone(), vec![]))
                .1
                .push(n);
        }
    }
    let wanted = by_file.into_values().map(|(file, numbers)| {
        let ranges: Vec<_> = numbers.iter().map(|n| parts[*n].from..parts[*n].to).collect();
        async move {
            let (objects, stored) = file.stored()?;
            match objects.ranges(stored, &ranges).await {
                Ok(bytes) => Some((numbers, bytes)),
                // It was dropped.
                Err(error) if is_missing(&error) => Some((numbers, vec![Bytes::new(); ranges.len()])),
                Err(_) => None,
            }
        }
    });
    let fetched: Vec<_> =
        stream::iter(wanted.collect::<Vec<_>>()).buffer_unordered(FILES_AT_ONCE).collect().await;
    for (numbers, bytes) in fetched.into_iter().flatten() {
        for (n, bytes) in numbers.into_iter().zip(bytes) {
            parts[n].fetched = Some(bytes);
        }
    }
}

/// Indexes of stored files, those used last.
#[derive(Default)]
pub(super) struct Indexes(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    by_key: HashMap<String, (u64, Arc<Index>)>,
    by_use: BTreeMap<u64, String>,
    bytes: usize,
    uses: u64,
}

impl Remembered {
    fn get(&mut self, key: &str) -> Option<Arc<Index>> {
        self.uses += 1;
        let (used, index) = self.by_key.get_mut(key)?;
        let key = self.by_use.remove(used)?;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(index.clone())
    }

    fn put(&mut self, key: &str, index: Arc<Index>) {
        self.forget(key);
        self.uses += 1;
        self.bytes += index.bytes();
        self.by_use.insert(self.uses, key.to_owned());
        self.by_key.insert(key.to_owned(), (self.uses, index));
        while self.bytes > INDEXES_BYTES_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.by_key.remove(&oldest).map_or(0, |(_, index)| index.bytes());
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some((used, index)) = self.by_key.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= index.bytes();
        }
    }
}

impl Indexes {
    /// What of a stored file may hold what is needed. Without an index that is all of it.
    pub(super) async fn contents(&self, file: &Arc<LogFile>, lookup: &Lookup) -> Contents {
        let Some((objects, stored)) = file.stored() else { return Contents::default() };
        let (need, sieve) = (lookup.need(), &lookup.sieve);
        if *need == Need::Impossible {
            return Contents::default();
        }
        match self.index(objects, stored, lookup).await {
            Ok(Some(index)) => {
                let mut parts =
                    index.parts(file, need, |first_ms, last_ms| sieve.may_be_in_time(first_ms, last_ms));
                // What the index knows of and the file has no more.
                let damaged = parts.iter().any(|part| part.to > stored.bytes);
                parts.retain(|part| part.from < stored.bytes);
                parts.iter_mut().for_each(|part| part.to = part.to.min(stored.bytes));
                Contents { damaged, ..Contents::indexed(file, parts) }
            }
            // No sealed file is empty.
            Ok(None) => Contents { damaged: stored.bytes == 0, ..Contents::all(file) },
            // Gone with its file; if it is not, nobody is told that there is none.
            Err(error) if is_missing(&error) => Contents::all(file),
            Err(_) => Contents { damaged: true, ..Contents::default() },
        }
    }

    /// An index that is sound, with as much of it as the question needs. The file may have lost its end since.
    async fn index(
        &self,
        objects: &Objects,
        stored: &Stored,
        lookup: &Lookup,
    ) -> Result<Option<Arc<Index>>, ObjectError> {
        let sieve = &lookup.sieve;
        let is_enough = |index: &Index| {
            *lookup.need() == Need::Nothing
                || index.has_filters()
                || !index.any_in_time(|first_ms, last_ms| sieve.may_be_in_time(first_ms, last_ms))
        };
        let key = stored.to_string();
        let known = locked(&self.0).get(&key);
        if let Some(known) = known.filter(|known| known.file_bytes() >= stored.bytes && is_enough(known)) {
            return Ok(Some(known));
        }
        let mut bytes = objects.index(stored, 0, Some(INDEX_BYTES)).await?.to_vec();
        let begins = bytes.len() as u64;
        let Some(head_bytes) = Index::head_bytes(&bytes) else { return Ok(None) };
        if begins == INDEX_BYTES && head_bytes as u64 > begins {
            bytes.extend_from_slice(&objects.index(stored, begins, Some(head_bytes as u64)).await?);
        }
        let parse = |bytes| Index::parse(bytes).filter(|index| index.file_bytes() >= stored.bytes);
        let Some(mut index) = parse(bytes.clone()) else { return Ok(None) };
        if !is_enough(&index) {
            bytes.extend_from_slice(&objects.index(stored, bytes.len() as u64, None).await?);
            let Some(whole) = parse(bytes) else { return Ok(None) };
            index = whole;
        }
        let index = Arc::new(index);
        locked(&self.0).put(&key, index.clone());
        Ok(Some(index))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
