//! Entries: what a question can ask of a group of blocks, as hashes and as bits of a filter.

const PROBES: u32 = 7;

/// What a question can ask of an entry; each kind is hashed apart from the others.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    /// In lower case.
    Word(&'a str),
    Number(f64),
    Whole(&'a str),
}

impl Entry<'_> {
    /// Its hash, of a field with this [`seed`].
    pub(super) fn hash(self, seed: u64) -> u64 {
        match self {
            Self::Word(word) => hash(seed, word.as_bytes(), 0),
            // Both zeros are the same number.
            Self::Number(number) => hash(seed ^ 1, &(number + 0.0).to_le_bytes(), 0),
            Self::Whole(text) => hash(seed ^ 2, text.as_bytes(), 0),
        }
    }
}

/// Where the hashes of a field's entries begin.
pub(super) fn seed(path: &str) -> u64 {
    hash(0, path.as_bytes(), 0)
}

/// The same as of an [`Entry::Word`] in lower case, of a word of ASCII letters and digits: one bit makes the difference, and digits have it.
pub(super) fn word_hash(seed: u64, word: &[u8]) -> u64 {
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
pub(super) fn probes(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
    let (first, step) = (hash as u32, (hash >> 32) as u32 | 1);
    (0..PROBES).map(move |n| (u64::from(first.wrapping_add(n.wrapping_mul(step))) * bits) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::query::words;
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
}
