//! Blocks: the unit in which lines are stored, the same bytes in the journal and in an account's log.
//!
//! ```text
//! offset size  field (little endian)
//!      0    4  0x184D2A53, the magic of a zstd skippable frame
//!      4    4  60, how many bytes a zstd decoder skips
//!      8    4  "SGB" and the format's version, 1
//!     12    4  CRC-32C of bytes 16..68
//!     16    8  seq: the block's place in the journal, counted from 1 without holes
//!     24    8  durable_seq: the highest seq known to be on the disk when this block was written
//!     32    8  when its oldest batch was received, milliseconds since the Unix epoch
//!     40    8  when its newest batch was received
//!     48    4  account
//!     52    4  lines
//!     56    4  raw_bytes: the lines before compression
//!     60    4  frame_bytes
//!     64    4  CRC-32C of the frame
//!     68    …  the frame: one ordinary zstd frame of newline-ended JSON objects
//! ```
//!
//! A decoder skips the first part and inflates the second, so a file of blocks is an ordinary `.ndjson.zst`. The two
//! checksums make a header trustworthy by itself: a length is never believed before it is checked. The first 68 bytes
//! and their checksum stay as they are in later versions, so that a newer block is told from a damaged one.

use crate::domain::account::AccountId;
use bytes::Bytes;

/// Length of a block's header; its frame follows.
pub const HEADER_BYTES: usize = 68;
const START: [u8; 8] = [0x53, 0x2a, 0x4d, 0x18, 60, 0, 0, 0];
const SIGNATURE: [u8; 3] = *b"SGB";
const VERSION: u8 = 1;

/// What the first eight bytes of every block are: where to look for one after damage.
pub const MAGIC: &[u8] = &START;

/// What a block says of itself. See the module's header for the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub seq: u64,
    pub durable_seq: u64,
    pub first_received_ms: u64,
    pub last_received_ms: u64,
    pub account: AccountId,
    pub lines: u32,
    pub raw_bytes: u32,
    pub frame_bytes: u32,
    pub frame_crc: u32,
}

/// Why bytes are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it ends too early")]
    Short,
    #[error("no block begins here")]
    NotABlock,
    #[error("it is in version {0} of the format, which this program is too old to read")]
    Version(u8),
    #[error("its header does not match its checksum")]
    HeaderChecksum,
    #[error("its frame does not match its checksum")]
    FrameChecksum,
    #[error("its sequence number is not the next one")]
    Sequence,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&START);
        bytes[8..11].copy_from_slice(&SIGNATURE);
        bytes[11] = VERSION;
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_received_ms.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.last_received_ms.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.account.0.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.lines.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.frame_bytes.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.frame_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header that `bytes` begin with; what follows it is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let begun = bytes.len().min(START.len());
        if bytes[..begun] != START[..begun] {
            return Err(Flaw::NotABlock);
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(Flaw::Short);
        };
        if bytes[8..11] != SIGNATURE {
            return Err(Flaw::NotABlock);
        }
        let sound = crc32c::crc32c(&bytes[16..]) == u32_at(bytes, 12);
        match (bytes[11], sound) {
            (VERSION, true) => {}
            (_, false) => return Err(Flaw::HeaderChecksum),
            (version, true) => return Err(Flaw::Version(version)),
        }
        Ok(Self {
            seq: u64_at(bytes, 16),
            durable_seq: u64_at(bytes, 24),
            first_received_ms: u64_at(bytes, 32),
            last_received_ms: u64_at(bytes, 40),
            account: AccountId(u32_at(bytes, 48)),
            lines: u32_at(bytes, 52),
            raw_bytes: u32_at(bytes, 56),
            frame_bytes: u32_at(bytes, 60),
            frame_crc: u32_at(bytes, 64),
        })
    }

    /// Length of the whole block, header and frame.
    pub fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.frame_bytes as usize
    }

    /// Whether `frame` is the frame this header was written for.
    pub fn check(&self, frame: &[u8]) -> Result<(), Flaw> {
        if crc32c::crc32c(frame) == self.frame_crc { Ok(()) } else { Err(Flaw::FrameChecksum) }
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Adjacent blocks of one account, in the order of their sequence numbers: what the journal hands on.
#[derive(Debug, Clone)]
pub struct Extent {
    pub account: AccountId,
    pub first_seq: u64,
    pub last_seq: u64,
    pub first_received_ms: u64,
    pub last_received_ms: u64,
    /// Where in `bytes` the last block begins.
    pub last_block_at: usize,
    /// The blocks, byte for byte as they are stored.
    pub bytes: Bytes,
}

impl Extent {
    /// An extent of one block, whose bytes the caller has checked.
    pub fn of(header: &Header, bytes: Bytes) -> Self {
        Self {
            account: header.account,
            first_seq: header.seq,
            last_seq: header.seq,
            first_received_ms: header.first_received_ms,
            last_received_ms: header.last_received_ms,
            last_block_at: 0,
            bytes,
        }
    }

    /// Describes one more block, which begins at `at` of the bytes that are still to be set.
    pub(super) fn followed_by(self, header: &Header, at: usize) -> Self {
        Self {
            last_seq: header.seq,
            first_received_ms: self.first_received_ms.min(header.first_received_ms),
            last_received_ms: self.last_received_ms.max(header.last_received_ms),
            last_block_at: at,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(frame: &[u8], seq: u64) -> Header {
        Header {
            seq,
            durable_seq: seq / 2,
            first_received_ms: 3,
            last_received_ms: 4,
            account: AccountId(5),
            lines: 6,
            raw_bytes: 7,
            frame_bytes: frame.len() as u32,
            frame_crc: crc32c::crc32c(frame),
        }
    }

    #[test]
    fn is_skipped_by_a_zstd_decoder() {
        let frame = zstd::bulk::compress(b"{\"a\":1}\n", 1).unwrap();
        let mut file = header(&frame, 1).encode().to_vec();
        file.extend_from_slice(&frame);
        let twice = [file.clone(), file].concat();
        assert_eq!(zstd::stream::decode_all(&*twice).unwrap(), b"{\"a\":1}\n{\"a\":1}\n");
    }

    #[test]
    fn a_header_cut_anywhere_is_too_short() {
        let bytes = header(b"frame", 9).encode();
        for len in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..len]), Err(Flaw::Short), "{len}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = header(b"frame", 9).encode();
        bytes[11] = 2;
        assert_eq!(Header::parse(&bytes), Err(Flaw::Version(2)));
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(seq: u64, frame: Vec<u8>) {
            let header = header(&frame, seq);
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
            prop_assert_eq!(header.check(&frame), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Header::parse(&bytes);
            let _ = Header::parse(&[&START[..], &SIGNATURE[..], &[VERSION], &bytes].concat());
        }

        #[test]
        fn any_changed_byte_is_noticed(seq: u64, frame in prop::collection::vec(any::<u8>(), 1..99), at: prop::sample::Index, by in 1..=255u8) {
            let header = header(&frame, seq);
            let mut block = [&header.encode()[..], &frame].concat();
            block[at.index(frame.len() + HEADER_BYTES)] ^= by;
            let noticed = Header::parse(&block).and_then(|header| header.check(&block[HEADER_BYTES..]));
            prop_assert!(noticed.is_err());
        }
    }
}
