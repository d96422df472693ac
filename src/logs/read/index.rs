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

use super::files::{LogFile, Part};
use super::needs::{Need, Wanted, is_whole};
use crate::domain::log::{Log, Scalar};
use crate::domain::query::number::Number;
use crate::domain::query::words;
use crate::domain::timestamp::instant_ms;
use std::collections::HashMap;
use std::sync::Arc;

/// How many bytes of lines a group holds, unless a block is longer.
pub(super) const GROUP_BYTES: u64 = if cfg!(test) { 512 } else { 256 << 10 };
/// Its values differ in every log; see [`is_plain_instant`].
const TIME: &str = "@timestamp";
/// Entries of a group that are remembered, so that what comes often is not put in again each time.
const RECENT_MAX: usize = 1 << 12;
const BITS_PER_ENTRY: usize = 10;
const PROBES: u32 = 7;
/// A filter that would be longer is left out.
const FILTER_BYTES_MAX: usize = 1 << 20;
/// Fields of a file that are told apart.
const PATHS_MAX: usize = 1_024;
const MAGIC: [u8; 4] = 0x184D_2A54_u32.to_le_bytes();
const SIGNATURE: [u8; 4] = *b"SGI\x02";
/// Length of what comes before the groups.
pub(super) const HEAD_BYTES: usize = 40;
const GROUP_HEAD_BYTES: usize = 36;

/// What a question can ask of an entry; each kind is hashed apart from the others.
#[derive(Clone, Copy)]
enum Entry<'a> {
    /// In lower case.
    Word(&'a str),
    Number(f64),
    Whole(&'a str),
}

impl Entry<'_> {
    /// Its hash, of a field with this [`seed`].
    fn hash(self, seed: u64) -> u64 {
        match self {
            Self::Word(word) => hash(seed, word.as_bytes(), 0),
            // Both zeros are the same number.
            Self::Number(number) => hash(seed ^ 1, &(number + 0.0).to_le_bytes(), 0),
            Self::Whole(text) => hash(seed ^ 2, text.as_bytes(), 0),
        }
    }
}

/// Where the hashes of a field's entries begin.
fn seed(path: &str) -> u64 {
    hash(0, path.as_bytes(), 0)
}

/// The same as of an [`Entry::Word`] in lower case, of a word of ASCII letters and digits: one bit makes the difference, and digits have it.
fn word_hash(seed: u64, word: &[u8]) -> u64 {
    hash(seed, word, ONES * u64::from(b'a' ^ b'A'))
}

const ONES: u64 = u64::MAX / 255;

/// Hashes eight bytes at a time, each with `set` set in it. On the disk for good, so that no library's choice may change it.
#[inline]
fn hash(seed: u64, bytes: &[u8], set: u64) -> u64 {
    let mut hash = seed ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks();
    for word in words {
        hash = mixed(hash ^ (u64::from_le_bytes(*word) | set));
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = mixed(hash ^ (word | set & (u64::MAX >> (64 - 8 * rest.len()))));
    }
    hash
}

/// Spreads what differs in few bits over all of them; different numbers stay different.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Where in a filter of `bits` the probes of an entry are.
fn probes(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
    let (first, step) = (hash as u32, (hash >> 32) as u32 | 1);
    (0..PROBES).map(move |n| (u64::from(first.wrapping_add(n.wrapping_mul(step))) * bits) >> 32)
}

/// Makes an index, block after block.
#[derive(Default)]
pub(super) struct Builder {
    groups: Vec<u8>,
    groups_count: u32,
    filters: Vec<u8>,
    paths: Paths,
    group: Option<Group>,
}

/// The fields of a file.
#[derive(Default)]
struct Paths {
    /// Each with its [`seed`], in the order in which they came.
    known: Vec<(String, u64)>,
    places: HashMap<String, usize>,
    /// Where the next one is, if a log has the same fields as the one before.
    next: usize,
    too_many: bool,
}

impl Paths {
    /// The seed of a path, which is known from then on.
    fn seed(&mut self, path: &str) -> u64 {
        let known = self.known.get(self.next).is_some_and(|(known, _)| known == path);
        if !known {
            self.next = match self.places.get(path) {
                Some(place) => *place,
                // A path with a zero byte would be read back as two.
                None if self.known.len() == PATHS_MAX || path.contains('\0') => {
                    self.too_many = true;
                    return seed(path);
                }
                None => {
                    self.places.insert(path.to_owned(), self.known.len());
                    self.known.push((path.to_owned(), seed(path)));
                    self.known.len() - 1
                }
            };
        }
        self.next += 1;
        self.known[self.next - 1].1
    }
}

/// Hashes of entries. Some are in it twice, which makes a filter a little longer and costs less than to look for them.
struct Entries {
    hashes: Vec<u64>,
    /// Those that came last, each in the place that its lowest bits tell.
    recent: Vec<u64>,
}

impl Entries {
    fn new() -> Self {
        let mut recent = vec![0; RECENT_MAX];
        // No hash is there already: zero would be in the first place only.
        recent[0] = 1;
        Self { hashes: Vec::new(), recent }
    }

    fn put(&mut self, hash: u64) {
        let recent = &mut self.recent[hash as usize % RECENT_MAX];
        if *recent != hash {
            *recent = hash;
            self.hashes.push(hash);
        }
    }
}

/// The group being filled.
struct Group {
    from: u64,
    to: u64,
    raw_bytes: u64,
    first_ms: u64,
    last_ms: u64,
    entries: Entries,
    /// Something in it is not found the way entries are.
    opaque: bool,
}

impl Builder {
    /// Begins a block that stands at `from` up to `to`, with so many bytes of lines.
    pub(super) fn block(&mut self, from: u64, to: u64, lines: &[u8]) {
        let raw_bytes = lines.len() as u64;
        if self
            .group
            .as_ref()
            .is_some_and(|group| group.to != from || group.raw_bytes + raw_bytes > GROUP_BYTES)
        {
            self.end_group();
        }
        let group = self.group.get_or_insert_with(|| Group {
            from,
            to,
            raw_bytes: 0,
            first_ms: u64::MAX,
            last_ms: 0,
            entries: Entries::new(),
            opaque: false,
        });
        group.to = to;
        group.raw_bytes += raw_bytes;
        group.opaque |= has_empty_names(lines);
    }

    /// Takes in a log of the block.
    pub(super) fn log(&mut self, time_ms: u64, log: &Log) {
        let Some(group) = &mut self.group else { return };
        group.first_ms = group.first_ms.min(time_ms);
        group.last_ms = group.last_ms.max(time_ms);
        self.paths.next = 0;
        log.any_field(|path, scalar| {
            let seed = self.paths.seed(path);
            let text = scalar.text();
            if path == TIME && is_plain_instant(text) {
                return false;
            }
            let words = put_words(&mut group.entries, seed, text);
            if is_whole(text, words) {
                group.entries.put(Entry::Whole(text).hash(seed));
            }
            if let Scalar::Number(text) = scalar
                && let Some(number) = Number::parse(text)
            {
                group.entries.put(Entry::Number(number.as_f64()).hash(seed));
            }
            false
        });
    }

    fn end_group(&mut self) {
        let Some(group) = self.group.take() else { return };
        let entries = group.entries.hashes;
        let bits = (entries.len() * BITS_PER_ENTRY).next_multiple_of(8).max(64);
        let filter_bytes = if group.opaque || bits / 8 > FILTER_BYTES_MAX { 0 } else { bits / 8 };
        for field in [group.from, group.to, group.first_ms, group.last_ms] {
            self.groups.extend_from_slice(&field.to_le_bytes());
        }
        self.groups.extend_from_slice(&(filter_bytes as u32).to_le_bytes());
        self.groups_count += 1;
        let at = self.filters.len();
        self.filters.resize(at + filter_bytes, 0);
        let filter = &mut self.filters[at..];
        if !filter.is_empty() {
            for hash in entries {
                probes(hash, bits as u64).for_each(|bit| filter[(bit / 8) as usize] |= 1 << (bit % 8));
            }
        }
    }

    /// The index of a file that is `file_bytes` long.
    pub(super) fn finish(mut self, file_bytes: u64) -> Vec<u8> {
        self.end_group();
        let mut paths = Vec::new();
        for (path, _) in &self.paths.known {
            paths.extend_from_slice(path.as_bytes());
            paths.push(0);
        }
        let mut checked = Vec::with_capacity(HEAD_BYTES + self.groups.len() + paths.len());
        checked.extend_from_slice(&crc32c::crc32c(&self.filters).to_le_bytes());
        checked.extend_from_slice(&self.groups_count.to_le_bytes());
        checked.extend_from_slice(&(paths.len() as u32).to_le_bytes());
        checked.extend_from_slice(&u32::from(!self.paths.too_many).to_le_bytes());
        checked.extend_from_slice(&file_bytes.to_le_bytes());
        checked.extend_from_slice(&self.groups);
        checked.extend_from_slice(&paths);
        let rest_bytes = SIGNATURE.len() + 4 + checked.len() + self.filters.len();
        let mut index = Vec::with_capacity(8 + rest_bytes);
        index.extend_from_slice(&MAGIC);
        index.extend_from_slice(&(rest_bytes as u32).to_le_bytes());
        index.extend_from_slice(&SIGNATURE);
        index.extend_from_slice(&crc32c::crc32c(&checked).to_le_bytes());
        index.extend_from_slice(&checked);
        index.extend_from_slice(&self.filters);
        index
    }
}

/// Puts in the words of a text, and tells how many there are.
fn put_words(entries: &mut Entries, seed: u64, text: &str) -> usize {
    let mut count = 0;
    if text.is_ascii() {
        let bytes = text.as_bytes();
        for word in bytes.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            count += 1;
            entries.put(word_hash(seed, word));
        }
        return count;
    }
    for word in words::of(text) {
        count += 1;
        entries.put(Entry::Word(&words::lower_case(word)).hash(seed));
    }
    count
}

/// Whether an object may have a field without a name: its path reads differently from the inside and from the outside.
fn has_empty_names(lines: &[u8]) -> bool {
    memchr::memmem::find_iter(lines, b"\"\"")
        .any(|at| lines[at + 2..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':'))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_is_hashed_as_if_it_were_in_lower_case(seed: u64, word in "[0-9A-Za-z]{1,40}") {
            let lower = words::lower_case(&word);
            prop_assert_eq!(word_hash(seed, word.as_bytes()), Entry::Word(&lower).hash(seed));
        }
    }

    #[test]
    fn probes_are_within_the_filter_and_reach_all_of_it() {
        for bits in [64, 72, 1 << 23] {
            let mut seen: Vec<u64> = (0..10_000).flat_map(|n| probes(mixed(n), bits)).collect();
            seen.sort_unstable();
            assert!(seen[0] * 100 < bits && bits * 99 < (seen[seen.len() - 1] + 1) * 100);
            assert!(seen[seen.len() - 1] < bits);
        }
    }

    #[test]
    fn an_entry_that_was_put_in_is_there_whatever_its_hash() {
        let mut entries = Entries::new();
        let hashes = [0, 1, u64::MAX, RECENT_MAX as u64, 0, 0];
        hashes.iter().for_each(|hash| entries.put(*hash));
        assert!(hashes.iter().all(|hash| entries.hashes.contains(hash)));
        assert_eq!(entries.hashes.len(), 5);
    }
}
