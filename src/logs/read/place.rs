//! Places in an account's log, in the order in which logs are shown, and the cursor that carries one to a client and back.

use std::fmt;
use std::str::FromStr;

/// Where a log is. Newest first means: from the greatest place to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// The log's own time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its block's sequence number.
    pub seq: u64,
    /// Where among its block's lines it begins, in bytes.
    pub at: u32,
}

/// From where to go on: everything before this place is still to be shown. As text it is 48 hexadecimal digits which mean nothing to
/// others, and whose checksum finds what was cut or mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(super) Place);

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that was given out")]
pub struct CursorMalformed;

impl Cursor {
    /// Everything up to this time, it included, is still to be shown.
    pub(super) fn upto(time_ms: u64) -> Self {
        Self(Place { time_ms: time_ms.saturating_add(1), seq: 0, at: 0 })
    }

    fn bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.0.time_ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.0.seq.to_be_bytes());
        bytes[16..].copy_from_slice(&self.0.at.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { time_ms, seq, at } = self.0;
        write!(f, "{time_ms:016x}{seq:016x}{at:08x}{:08x}", crc32c::crc32c(&self.bytes()))
    }
}

impl FromStr for Cursor {
    type Err = CursorMalformed;

    fn from_str(text: &str) -> Result<Self, CursorMalformed> {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 48 || !text.bytes().all(lower) {
            return Err(CursorMalformed);
        }
        let number = |from: usize, to: usize| u64::from_str_radix(&text[from..to], 16).unwrap_or_default();
        let cursor = Self(Place { time_ms: number(0, 16), seq: number(16, 32), at: number(32, 40) as u32 });
        let sound = u64::from(crc32c::crc32c(&cursor.bytes())) == number(40, 48);
        if sound { Ok(cursor) } else { Err(CursorMalformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was(time_ms: u64, seq: u64, at: u32) {
            let cursor = Cursor(Place { time_ms, seq, at });
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused(text: String, digit_at in 0..48usize, digit in "[0-9a-f]") {
            prop_assert!(text.parse::<Cursor>().is_err());
            let whole = Cursor(Place { time_ms: 1_700_000_000_000, seq: 77, at: 3 }).to_string();
            let mut changed = whole.clone();
            changed.replace_range(digit_at..=digit_at, &digit);
            prop_assert_eq!(changed.parse::<Cursor>().is_ok(), changed == whole);
        }
    }
}
