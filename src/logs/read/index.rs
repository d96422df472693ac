//! Indexes: what is in a sealed file, group of blocks by group, so that a question can leave out what cannot match.
//!
//! An index is a file of its own, `<sealed file>.index`, written whole under a temporary name, synced and renamed. It is not at the end of
//! the sealed file itself: a crash or a full disk in the midst of appending would leave a file that `zstdcat` and recovery take for damaged,
//! and no index is worth a line. As it is, a sealed file never changes, and an index that is missing, damaged or of another length of file
//! costs time and nothing else: all of the file is looked through. It is a zstd skippable frame, so that `zstdcat <account>/*` goes on to
//! give the lines and nothing else.
//!
//! ```text
//! offset size  field (little endian)
//!      0    4  0x184D2A54, the magic of a zstd skippable frame
//!      4    4  how many bytes a zstd decoder skips: all that follow
//!      8    4  "SGI" and the format's version, 2
//!     12    4  CRC-32C of bytes 16 up to the filters
//!     16    4  CRC-32C of the filters
//!     20    4  how many groups
//!     24    4  length of the fields' paths
//!     28    4  1: the paths are all that there are
//!     32    8  length of the sealed file
//!     40   36  each group: from, to (places in the file), first_ms, last_ms (times of its logs; first > last: it has none), filter_bytes (4)
//!      …    …  the fields' paths, each ended by a zero byte
//!      …    …  the filters, group by group; one without bytes may hold anything
//! ```
//!
//! A filter is a Bloom filter of ten bits an entry. Entries are 64-bit hashes of a field's path and one of these: a word of its value in lower case; a
//! number's value; a short text of several words or none. Of `@timestamp` there are none where it is a plain instant.

mod builder;
mod entries;

pub(super) use builder::Builder;

use super::files::{LogFile, Part};
use super::needs::{Need, Wanted, is_whole};
use crate::domain::timestamp::instant_ms;
use entries::{Entry, probes, seed};
use std::sync::Arc;

/// Its values differ in every log; see [`is_plain_instant`].
const TIME: &str = "@timestamp";
const MAGIC: [u8; 4] = 0x184D_2A54_u32.to_le_bytes();
const SIGNATURE: [u8; 4] = *b"SGI\x02";
/// Length of what comes before the groups.
pub(super) const HEAD_BYTES: usize = 40;
const GROUP_HEAD_BYTES: usize = 36;

/// An index that was read.
pub(super) struct Index {
    bytes: Vec<u8>,
    paths: Vec<String>,
    paths_complete: bool,
    groups: usize,
    filters_at: usize,
    /// The filters were read and are sound.
    has_filters: bool,
}

impl Index {
    /// How long everything but the filters is, told from an index's first [`HEAD_BYTES`].
    pub(super) fn head_bytes(head: &[u8]) -> Option<usize> {
        let sound = head.len() >= HEAD_BYTES && head[..4] == MAGIC && head[8..12] == SIGNATURE;
        let groups = (u32_at(head, 20) as usize).checked_mul(GROUP_HEAD_BYTES)?;
        sound.then(|| groups.checked_add(HEAD_BYTES + u32_at(head, 24) as usize))?
    }

    /// Reads an index, with or without its filters. `None` if it is damaged.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let filters_at = Self::head_bytes(&bytes)?;
        let checked = bytes.get(16..filters_at)?;
        if crc32c::crc32c(checked) != u32_at(&bytes, 12) {
            return None;
        }
        let groups = u32_at(&bytes, 20) as usize;
        let paths = &bytes[HEAD_BYTES + groups * GROUP_HEAD_BYTES..filters_at];
        let paths = std::str::from_utf8(paths).ok()?.split_terminator('\0').map(str::to_owned).collect();
        let paths_complete = u32_at(&bytes, 28) == 1;
        let has_filters = crc32c::crc32c(&bytes[filters_at..]) == u32_at(&bytes, 16);
        Some(Self { paths, paths_complete, groups, filters_at, has_filters, bytes })
    }

    /// Length of the file that it is of.
    pub(super) fn file_bytes(&self) -> u64 {
        u64_at(&self.bytes, 32)
    }

    /// The groups that may hold what is needed, within the times asked for.
    pub(super) fn parts(
        &self,
        file: &Arc<LogFile>,
        need: &Need,
        is_in_time: impl Fn(u64, u64) -> bool,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut filter_at = self.filters_at;
        for n in 0..self.groups {
            let group = &self.bytes[HEAD_BYTES + n * GROUP_HEAD_BYTES..][..GROUP_HEAD_BYTES];
            let [from, to, first_ms, last_ms] = [0, 8, 16, 24].map(|at| u64_at(group, at));
            let filter_bytes = u32_at(group, 32) as usize;
            let filter =
                if self.has_filters { self.bytes.get(filter_at..filter_at + filter_bytes) } else { None };
            filter_at += filter_bytes;
            let filter = filter.filter(|filter| !filter.is_empty());
            if first_ms <= last_ms && is_in_time(first_ms, last_ms) && self.may_hold(filter, need) {
                parts.push(Part {
                    file: file.clone(),
                    from,
                    to,
                    times_ms: Some((first_ms, last_ms)),
                    fetched: None,
                });
            }
        }
        parts
    }

    /// Whether any group may have something of the time asked for.
    pub(super) fn any_in_time(&self, is_in_time: impl Fn(u64, u64) -> bool) -> bool {
        let groups = self.bytes[HEAD_BYTES..].chunks_exact(GROUP_HEAD_BYTES).take(self.groups);
        groups
            .map(|group| (u64_at(group, 16), u64_at(group, 24)))
            .any(|(first_ms, last_ms)| first_ms <= last_ms && is_in_time(first_ms, last_ms))
    }

    /// Whether what its groups hold is known, and not only when they are from.
    pub(super) fn has_filters(&self) -> bool {
        self.has_filters
    }

    /// How much of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.paths.iter().map(|path| path.len() + size_of::<String>()).sum::<usize>()
    }

    fn may_hold(&self, filter: Option<&[u8]>, need: &Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Impossible => false,
            Need::All(all) => all.iter().all(|need| self.may_hold(filter, need)),
            Need::Any(any) => any.iter().any(|need| self.may_hold(filter, need)),
            Need::Value { field, value } => {
                let Some(filter) = filter else { return true };
                match field {
                    Some(path) if self.paths_complete && !self.paths.contains(path) => false,
                    Some(path) => may_hold_value(filter, path, value),
                    None if !self.paths_complete => true,
                    None => self.paths.iter().any(|path| may_hold_value(filter, path, value)),
                }
            }
        }
    }
}

fn may_hold_value(filter: &[u8], path: &str, value: &Wanted) -> bool {
    if path == TIME && may_be_of_instant(value) {
        return true;
    }
    let seed = seed(path);
    let has = |entry: Entry| {
        let bits = filter.len() as u64 * 8;
        probes(entry.hash(seed), bits).all(|bit| filter[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
    };
    let has_words = |words: &[String]| words.iter().all(|word| has(Entry::Word(word)));
    match value {
        Wanted::Words(words) => has_words(words),
        Wanted::Number { number, words } => has(Entry::Number(number.as_f64())) || has_words(words),
        Wanted::Exact { text, words } => {
            has_words(words) && (!is_whole(text, words.len()) || has(Entry::Whole(text)))
        }
        Wanted::Prefix(_) | Wanted::Something => true,
    }
}

/// Whether a text is an instant as most logs have it, in UTC: of these an index holds nothing but the times of its groups.
fn is_plain_instant(text: &str) -> bool {
    text.ends_with(['Z', 'z']) && instant_ms(text).is_some()
}

/// Whether such an instant may have what is wanted. Its words are of two or four digits, or have a `t` or a `z` as well.
fn may_be_of_instant(value: &Wanted) -> bool {
    let may = |word: &String| match word.bytes().all(|byte| byte.is_ascii_digit()) {
        true => matches!(word.len(), 2 | 4),
        false => word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b't' | b'z')),
    };
    match value {
        Wanted::Words(words) | Wanted::Number { words, .. } | Wanted::Exact { words, .. } => {
            words.iter().all(may)
        }
        Wanted::Prefix(_) | Wanted::Something => true,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u64::from_le_bytes)
}
