//! Reads a file of blocks from the disk, block by block, believing nothing that a checksum does not confirm.

use super::block::{Flaw, HEADER_BYTES, Header, MAGIC};
use super::disk::{Disk, DiskFile, Mode};
use bytes::Bytes;
use std::io;
use std::path::Path;

/// How much is read at once, unless a block is longer.
const CHUNK_BYTES: usize = 1 << 20;
/// How much is read at once where only headers matter.
const SKIM_BYTES: usize = 4 << 10;

/// What stands at the reader's place.
#[derive(Debug)]
pub enum Step {
    /// A whole block; the reader has moved behind it.
    Block(Header, Bytes),
    /// No whole block; the reader has not moved.
    Flawed(Flaw),
    /// The end of the file, or of the part to be read.
    End,
}

/// A place in a file of blocks.
pub struct Reader {
    file: Box<dyn DiskFile>,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    chunk_bytes: usize,
}

impl Reader {
    /// Starts at `from` and reads no further than `to`, or to the end of the file if that comes first.
    pub fn open(disk: &dyn Disk, path: &Path, from: u64, to: u64) -> io::Result<Self> {
        Self::of(disk.open(path, Mode::Read)?, from, to)
    }

    /// As [`Self::open`], of a file that is open.
    pub fn of(file: Box<dyn DiskFile>, from: u64, to: u64) -> io::Result<Self> {
        let end = file.bytes()?.min(to);
        Ok(Self { file, at: from, end, window: Vec::new(), window_at: from, chunk_bytes: CHUNK_BYTES })
    }

    /// The reader's place, in bytes from the beginning of the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Where reading ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Moves to another place.
    pub fn seek(&mut self, at: u64) {
        if at < self.window_at || at > self.window_at + self.window.len() as u64 {
            self.window.clear();
            self.window_at = at;
        }
        self.at = at;
    }

    /// Reads the block that begins here.
    pub fn step(&mut self) -> io::Result<Step> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        let header = match Header::parse(self.fill(HEADER_BYTES)?) {
            Ok(header) => header,
            Err(flaw) => return Ok(Step::Flawed(flaw)),
        };
        let len = header.block_bytes();
        if len as u64 > self.end - self.at {
            return Ok(Step::Flawed(Flaw::Short));
        }
        let Some(block) = self.fill(len)?.get(..len) else {
            return Ok(Step::Flawed(Flaw::Short));
        };
        if let Err(flaw) = header.check(&block[HEADER_BYTES..]) {
            return Ok(Step::Flawed(flaw));
        }
        let block = Bytes::copy_from_slice(block);
        self.at += len as u64;
        Ok(Step::Block(header, block))
    }

    /// Reads the header that stands here and moves behind its block, whose frame is not looked at.
    pub fn skim(&mut self) -> io::Result<Option<Header>> {
        self.chunk_bytes = SKIM_BYTES;
        let header = Header::parse(self.fill(HEADER_BYTES)?);
        self.chunk_bytes = CHUNK_BYTES;
        let Ok(header) = header else {
            return Ok(None);
        };
        self.seek(self.at + header.block_bytes() as u64);
        Ok(Some(header))
    }

    /// Moves on, from a place that is flawed, to the next whole block; false if there is none.
    pub fn resync(&mut self) -> io::Result<bool> {
        self.seek(self.at + 1);
        loop {
            let window = self.fill(CHUNK_BYTES)?;
            let len = window.len();
            match memchr::memmem::find(window, MAGIC) {
                Some(found) => {
                    self.at += found as u64;
                    let candidate = self.at;
                    if let Step::Block(..) = self.step()? {
                        self.at = candidate;
                        return Ok(true);
                    }
                    self.at += 1;
                }
                None if len < CHUNK_BYTES => {
                    self.at = self.end;
                    return Ok(false);
                }
                None => self.at += (len - MAGIC.len() + 1) as u64,
            }
        }
    }

    /// At least `need` bytes from here on, fewer only where the file ends.
    fn fill(&mut self, need: usize) -> io::Result<&[u8]> {
        let passed = usize::try_from(self.at - self.window_at).unwrap_or(usize::MAX);
        if self.window.len().saturating_sub(passed) < need {
            self.window.drain(..passed.min(self.window.len()));
            self.window_at = self.at;
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let mut filled = self.window.len();
            self.window.resize(need.max(self.chunk_bytes).min(left), 0);
            while filled < self.window.len() {
                match self.file.read_at(self.window_at + filled as u64, &mut self.window[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            self.window.truncate(filled);
        }
        let passed = (self.at - self.window_at) as usize;
        Ok(&self.window[passed.min(self.window.len())..])
    }
}
