//! Checkpoints: how far the accounts' logs are on the disk.
//!
//! ```text
//! offset size  field (little endian)
//!      0    8  "SGCHECK" and the format's version, 1
//!      8    8  seq: every block up to here is durable in its account's log
//!     16    8  how many marks follow
//!     24   52  each: account (4), then first_seq, last_seq, bytes, last_block_at, first_received_ms, last_received_ms
//!      …    4  CRC-32C of all before
//! ```
//!
//! There is a mark for every growing file that has lines. The file is replaced atomically.

use crate::domain::account::AccountId;
use crate::journal::Extent;
use crate::journal::disk::{self, Disk};
use std::io;
use std::path::Path;

/// The file's name in the directory of logs.
pub(super) const FILE: &str = "checkpoint";
const MAGIC: &[u8; 8] = b"SGCHECK\x01";
const HEAD_BYTES: usize = 24;
const MARK_BYTES: usize = 52;

/// A state of an account's growing file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the file's first block.
    pub first_seq: u64,
    /// Of the last block of the account, which may be in the last sealed file.
    pub last_seq: u64,
    /// Length of the file; 0: there is none.
    pub bytes: u64,
    /// Where the file's last block begins.
    pub last_block_at: u64,
    pub first_received_ms: u64,
    pub last_received_ms: u64,
}

impl Mark {
    /// The state after `extent` has been appended.
    pub(super) fn after(self, extent: &Extent) -> Self {
        let fresh = self.bytes == 0;
        let (first_seq, first_received_ms) = match fresh {
            true => (extent.first_seq, extent.first_received_ms),
            false => (self.first_seq, self.first_received_ms),
        };
        Self {
            first_seq,
            last_seq: extent.last_seq,
            bytes: self.bytes + extent.bytes.len() as u64,
            last_block_at: self.bytes + extent.last_block_at as u64,
            first_received_ms,
            last_received_ms: self.last_received_ms.max(extent.last_received_ms),
        }
    }

    /// The state once the file has been sealed and there is none.
    pub(super) fn sealed(self) -> Self {
        Self { last_seq: self.last_seq, ..Self::default() }
    }

    fn fields(&self) -> [u64; 6] {
        [
            self.first_seq,
            self.last_seq,
            self.bytes,
            self.last_block_at,
            self.first_received_ms,
            self.last_received_ms,
        ]
    }
}

/// See the module's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub seq: u64,
    pub marks: Vec<(AccountId, Mark)>,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.marks.len() * MARK_BYTES + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&(self.marks.len() as u64).to_le_bytes());
        for (account, mark) in &self.marks {
            bytes.extend_from_slice(&account.0.to_le_bytes());
            for field in mark.fields() {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (contents, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(contents) != u32::from_le_bytes(*crc) {
            return None;
        }
        let head = contents.first_chunk::<HEAD_BYTES>()?;
        let marks = &contents[HEAD_BYTES..];
        let count = u64_at(head, 16);
        if head[..8] != *MAGIC || count.checked_mul(MARK_BYTES as u64) != Some(marks.len() as u64) {
            return None;
        }
        let mark = |bytes: &[u8]| {
            let account = bytes.first_chunk().copied().map_or(0, u32::from_le_bytes);
            let mark = Mark {
                first_seq: u64_at(bytes, 4),
                last_seq: u64_at(bytes, 12),
                bytes: u64_at(bytes, 20),
                last_block_at: u64_at(bytes, 28),
                first_received_ms: u64_at(bytes, 36),
                last_received_ms: u64_at(bytes, 44),
            };
            (AccountId(account), mark)
        };
        Some(Self { seq: u64_at(head, 8), marks: marks.chunks_exact(MARK_BYTES).map(mark).collect() })
    }

    /// Makes this the checkpoint that a restart begins from.
    pub(super) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk::replace(disk, dir, FILE, &self.encode())
    }

    /// The last checkpoint; `None` if there is none, or if it does not match its checksum.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(FILE);
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let checkpoint = Self::parse(&disk::read(disk, &path)?);
        if checkpoint.is_none() {
            tracing::error!(path = %path.display(), "the checkpoint is damaged");
        }
        Ok(checkpoint)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint() -> Checkpoint {
        let mark = |n| Mark {
            first_seq: n,
            last_seq: n + 1,
            bytes: n + 2,
            last_block_at: n + 3,
            first_received_ms: n + 4,
            last_received_ms: n + 5,
        };
        Checkpoint { seq: 77, marks: vec![(AccountId(1), mark(10)), (AccountId(u32::MAX), mark(20))] }
    }

    #[test]
    fn reads_back_what_was_written() {
        for checkpoint in [Checkpoint::default(), checkpoint()] {
            assert_eq!(Checkpoint::parse(&checkpoint.encode()), Some(checkpoint));
        }
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_noticed() {
        let bytes = checkpoint().encode();
        for at in 0..bytes.len() {
            assert_eq!(Checkpoint::parse(&bytes[..at]), None);
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Checkpoint::parse(&changed), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Checkpoint::parse(&bytes);
            let mut sound = [&MAGIC[..], &bytes].concat();
            sound.extend(crc32c::crc32c(&sound).to_le_bytes());
            let _ = Checkpoint::parse(&sound);
        }
    }
}
