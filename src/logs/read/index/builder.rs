//! How an index is made.

use super::entries::{Entry, probes, seed, word_hash};
use super::{HEAD_BYTES, MAGIC, SIGNATURE, TIME, is_plain_instant};
use crate::domain::log::{Log, Scalar};
use crate::domain::query::number::Number;
use crate::domain::query::words;
use crate::logs::read::needs::is_whole;
use std::collections::HashMap;

/// How many bytes of lines a group holds, unless a block is longer.
const GROUP_BYTES: u64 = if cfg!(test) { 512 } else { 256 << 10 };
/// Entries of a group that are remembered, so that what comes often is not put in again each time.
const RECENT_MAX: usize = 1 << 12;
const BITS_PER_ENTRY: usize = 10;
/// A filter that would be longer is left out.
const FILTER_BYTES_MAX: usize = 1 << 20;
/// Fields of a file that are told apart.
const PATHS_MAX: usize = 1_024;

/// Makes an index, block after block.
#[derive(Default)]
pub(in crate::logs::read) struct Builder {
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
    pub(in crate::logs::read) fn block(&mut self, from: u64, to: u64, lines: &[u8]) {
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
    pub(in crate::logs::read) fn log(&mut self, time_ms: u64, log: &Log) {
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
    pub(in crate::logs::read) fn finish(mut self, file_bytes: u64) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_put_in_is_there_whatever_its_hash() {
        let mut entries = Entries::new();
        let hashes = [0, 1, u64::MAX, RECENT_MAX as u64, 0, 0];
        hashes.iter().for_each(|hash| entries.put(*hash));
        assert!(hashes.iter().all(|hash| entries.hashes.contains(hash)));
        assert_eq!(entries.hashes.len(), 5);
    }
}
