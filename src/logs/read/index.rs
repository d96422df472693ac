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
//!      8    4  "SGI" and the format's version, 1
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
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// How many bytes of lines a group holds, unless a block is longer.
pub(super) const GROUP_BYTES: u64 = if cfg!(test) { 512 } else { 256 << 10 };
/// Its values differ in every log; see [`is_plain_instant`].
const TIME: &str = "@timestamp";
const BITS_PER_ENTRY: usize = 10;
const PROBES: u32 = 7;
/// A filter that would be longer is left out.
const FILTER_BYTES_MAX: usize = 1 << 20;
/// Fields of a file that are told apart.
const PATHS_MAX: usize = 1_024;
const MAGIC: [u8; 4] = 0x184D_2A54_u32.to_le_bytes();
const SIGNATURE: [u8; 4] = *b"SGI\x01";
/// Length of what comes before the groups.
pub(super) const HEAD_BYTES: usize = 40;
const GROUP_HEAD_BYTES: usize = 36;

/// What a question can ask of an entry; each kind is hashed apart from the others.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Word(&'a str),
    Number(f64),
    Whole(&'a str),
}

impl Entry<'_> {
    fn hash(self, path: &str) -> u64 {
        let hash = fnv(fnv(FNV_OFFSET, path.as_bytes()), &[0]);
        mixed(match self {
            Self::Word(word) => fnv(fnv(hash, b"w"), word.as_bytes()),
            // Both zeros are the same number.
            Self::Number(number) => fnv(fnv(hash, b"n"), &(number + 0.0).to_le_bytes()),
            Self::Whole(text) => fnv(fnv(hash, b"t"), text.as_bytes()),
        })
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: on the disk for good, so that no library's choice may change it.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Spreads what differs in few bits over all of them.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Where in a filter of `bits` the probes of an entry are.
fn probes(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
    let (first, step) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    (0..u64::from(PROBES)).map(move |n| first.wrapping_add(n.wrapping_mul(step)) % bits)
}

/// Makes an index, block after block.
#[derive(Default)]
pub(super) struct Builder {
    groups: Vec<u8>,
    groups_count: u32,
    filters: Vec<u8>,
    paths: BTreeSet<String>,
    too_many_paths: bool,
    group: Option<Group>,
}

/// The group being filled.
struct Group {
    from: u64,
    to: u64,
    raw_bytes: u64,
    first_ms: u64,
    last_ms: u64,
    entries: HashSet<u64>,
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
            entries: HashSet::new(),
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
        let (paths, too_many_paths) = (&mut self.paths, &mut self.too_many_paths);
        log.any_field(|path, scalar| {
            if !paths.contains(path) {
                // A path with a zero byte would be read back as two.
                match paths.len() < PATHS_MAX && !path.contains('\0') {
                    true => drop(paths.insert(path.to_owned())),
                    false => *too_many_paths = true,
                }
            }
            let text = scalar.text();
            if path == TIME && is_plain_instant(text) {
                return false;
            }
            let mut count = 0;
            for word in words::of(text) {
                count += 1;
                let is_lower = word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
                group.entries.insert(match is_lower {
                    true => Entry::Word(word).hash(path),
                    false => Entry::Word(&words::lower_case(word)).hash(path),
                });
            }
            if is_whole(text, count) {
                group.entries.insert(Entry::Whole(text).hash(path));
            }
            if let Scalar::Number(text) = scalar
                && let Some(number) = Number::parse(text)
            {
                group.entries.insert(Entry::Number(number.as_f64()).hash(path));
            }
            false
        });
    }

    fn end_group(&mut self) {
        let Some(group) = self.group.take() else { return };
        let bits = (group.entries.len() * BITS_PER_ENTRY).next_multiple_of(8).max(64);
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
            for hash in group.entries {
                probes(hash, bits as u64).for_each(|bit| filter[(bit / 8) as usize] |= 1 << (bit % 8));
            }
        }
    }

    /// The index of a file that is `file_bytes` long.
    pub(super) fn finish(mut self, file_bytes: u64) -> Vec<u8> {
        self.end_group();
        let mut paths = Vec::new();
        for path in &self.paths {
            paths.extend_from_slice(path.as_bytes());
            paths.push(0);
        }
        let mut checked = Vec::with_capacity(HEAD_BYTES + self.groups.len() + paths.len());
        checked.extend_from_slice(&crc32c::crc32c(&self.filters).to_le_bytes());
        checked.extend_from_slice(&self.groups_count.to_le_bytes());
        checked.extend_from_slice(&(paths.len() as u32).to_le_bytes());
        checked.extend_from_slice(&u32::from(!self.too_many_paths).to_le_bytes());
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

    /// Reads an index of a file that is `file_bytes` long, with or without its filters. `None` if it is damaged or another file's.
    pub(super) fn parse(bytes: Vec<u8>, file_bytes: u64) -> Option<Self> {
        let filters_at = Self::head_bytes(&bytes)?;
        let checked = bytes.get(16..filters_at)?;
        if crc32c::crc32c(checked) != u32_at(&bytes, 12) || u64_at(&bytes, 32) != file_bytes {
            return None;
        }
        let groups = u32_at(&bytes, 20) as usize;
        let paths = &bytes[HEAD_BYTES + groups * GROUP_HEAD_BYTES..filters_at];
        let paths = std::str::from_utf8(paths).ok()?.split_terminator('\0').map(str::to_owned).collect();
        let paths_complete = u32_at(&bytes, 28) == 1;
        let has_filters = crc32c::crc32c(&bytes[filters_at..]) == u32_at(&bytes, 16);
        Some(Self { paths, paths_complete, groups, filters_at, has_filters, bytes })
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
                parts.push(Part { file: file.clone(), from, to, times_ms: Some((first_ms, last_ms)) });
            }
        }
        parts
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
    let has = |entry: Entry| {
        let bits = filter.len() as u64 * 8;
        probes(entry.hash(path), bits).all(|bit| filter[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
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
