//! Places in an account's log, in the order in which logs are shown, and the cursor that carries one to a client and back.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// In which order logs are shown. One search serves both: it looks for the greatest keys, and of what comes first the key is greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    /// The key of a time, and the time of a key.
    pub(super) fn key_ms(self, time_ms: u64) -> u64 {
        match self {
            Self::NewestFirst => time_ms,
            Self::OldestFirst => !time_ms,
        }
    }

    /// The key of a place, and the place of a key.
    pub(super) fn key(self, place: Place) -> Place {
        match self {
            Self::NewestFirst => place,
            Self::OldestFirst => {
                Place { time_ms: !place.time_ms, seq: !place.seq, at: !place.at, origin: !place.origin }
            }
        }
    }

    /// The greatest key between two times, or of all if they are not known.
    pub(super) fn first_ms(self, times_ms: Option<(u64, u64)>) -> u64 {
        times_ms.map_or(u64::MAX, |(oldest_ms, newest_ms)| self.key_ms(oldest_ms).max(self.key_ms(newest_ms)))
    }
}

/// From which time's key on logs are wanted. It rises as better ones are found.
pub(super) struct Floor {
    pub order: Order,
    key_ms: AtomicU64,
}

impl Floor {
    /// All are wanted.
    pub(super) fn new(order: Order) -> Self {
        Self { order, key_ms: AtomicU64::new(0) }
    }

    pub(super) fn raise(&self, key_ms: u64) {
        self.key_ms.store(key_ms, Ordering::Relaxed);
    }

    pub(super) fn wants(&self, key_ms: u64) -> bool {
        key_ms >= self.key_ms.load(Ordering::Relaxed)
    }

    /// The times that are wanted at this moment.
    pub(super) fn times_ms(&self) -> RangeInclusive<u64> {
        let key_ms = self.key_ms.load(Ordering::Relaxed);
        match self.order {
            Order::NewestFirst => key_ms..=u64::MAX,
            Order::OldestFirst => 0..=self.order.key_ms(key_ms),
        }
    }
}

/// Where a log is. Newest first means: from the greatest place to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The log's own time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its block's sequence number.
    pub seq: u64,
    /// Where among its block's lines it begins, in bytes.
    pub at: u32,
    /// Tells apart the gateways that the same account ships to: their numbers are their own.
    pub origin: u32,
}

/// From where to go on, in the order in which it was searched: everything whose key is less is still to be shown. As text it is 56 hexadecimal digits which mean nothing to
/// others, and whose checksum finds what was cut or mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(super) Place);

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that was given out")]
pub struct CursorMalformed;

impl Cursor {
    /// Everything up to this time's key, it included, is still to be shown.
    pub(super) fn upto(key_ms: u64) -> Self {
        Self(Place { time_ms: key_ms.saturating_add(1), seq: 0, at: 0, origin: 0 })
    }

    /// A place of newest first as one of `order`: it goes on behind the same log.
    pub fn turned(self, order: Order) -> Self {
        Self(order.key(self.0))
    }

    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.0.time_ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.0.seq.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.0.at.to_be_bytes());
        bytes[20..].copy_from_slice(&self.0.origin.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { time_ms, seq, at, origin } = self.0;
        write!(f, "{time_ms:016x}{seq:016x}{at:08x}{origin:08x}{:08x}", crc32c::crc32c(&self.bytes()))
    }
}

impl FromStr for Cursor {
    type Err = CursorMalformed;

    fn from_str(text: &str) -> Result<Self, CursorMalformed> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 56 || !text.bytes().all(lower) {
            return Err(CursorMalformed);
        }
        let number = |from: usize, to: usize| u64::from_str_radix(&text[from..to], 16).unwrap_or_default();
        let (at, origin) = (number(32, 40) as u32, number(40, 48) as u32);
        let cursor = Self(Place { time_ms: number(0, 16), seq: number(16, 32), at, origin });
        let sound = u64::from(crc32c::crc32c(&cursor.bytes())) == number(48, 56);
        if sound { Ok(cursor) } else { Err(CursorMalformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was(time_ms: u64, seq: u64, at: u32, origin: u32) {
            let cursor = Cursor(Place { time_ms, seq, at, origin });
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused(text: String, digit_at in 0..56usize, digit in "[0-9a-f]") {
            prop_assert!(text.parse::<Cursor>().is_err());
            let whole = Cursor(Place { time_ms: 1_700_000_000_000, seq: 77, at: 3, origin: 5 }).to_string();
            let mut changed = whole.clone();
            changed.replace_range(digit_at..=digit_at, &digit);
            prop_assert_eq!(changed.parse::<Cursor>().is_ok(), changed == whole);
        }
    }
}
