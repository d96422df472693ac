//! Groups: what is committed together, laid out as blocks.
//!
//! All of an account's blocks in a group are adjacent, in the order in which its batches arrived, so that its log needs
//! one write a group. Batches that are answered once written stand before those that are answered once synced: if the
//! sync fails, what is taken back is the end of the group.

use super::block::{Extent, HEADER_BYTES, Header};
use super::receipt::Receipt;
use super::{AppendError, locked};
use crate::domain::account::{AccountId, Durability};
use crate::domain::batch::{Batch, Tally};
use bytes::Bytes;
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use tokio::sync::oneshot;

/// Most bytes of lines that small batches are put together to: what a reader of a log inflates at once.
const COALESCED_BYTES_MAX: usize = 1 << 20;

/// Turns lines into a zstd frame. One context and its buffers, used again and again.
pub(super) struct Press {
    compressor: zstd::bulk::Compressor<'static>,
    lines: Vec<u8>,
    frame: Vec<u8>,
}

impl Press {
    pub(super) fn new(level: i32) -> io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(level)?, lines: Vec::new(), frame: Vec::new() })
    }

    fn press(&mut self, lines: &[u8]) -> io::Result<&[u8]> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(lines.len()));
        self.compressor.compress_to_buffer(lines, &mut self.frame)?;
        Ok(&self.frame)
    }

    /// The lines of several batches as one frame, and their length before compression.
    fn press_all(&mut self, requests: &[Request]) -> io::Result<(&[u8], usize)> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        for request in requests {
            lines.extend_from_slice(request.payload.lines());
        }
        let pressed = self.press(&lines).map(drop);
        self.lines = lines;
        pressed?;
        Ok((&self.frame, self.lines.len()))
    }
}

/// How many idle presses are kept, and the largest buffer they keep.
const IDLE_PRESSES_MAX: usize = 16;
const IDLE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Presses for callers that compress their own batches.
pub(super) struct Presses {
    level: i32,
    idle: Mutex<Vec<Press>>,
}

impl Presses {
    pub(super) fn new(level: i32) -> Self {
        Self { level, idle: Mutex::default() }
    }

    /// Compresses a batch that gets a block of its own.
    pub(super) fn frame(&self, batch: Batch) -> io::Result<Payload> {
        let idle = locked(&self.idle).pop();
        let mut press = match idle {
            Some(press) => press,
            None => Press::new(self.level)?,
        };
        let bytes = Vec::from(press.press(batch.lines())?);
        press.frame.shrink_to(IDLE_BUFFER_BYTES_MAX);
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_PRESSES_MAX {
            idle.push(press);
        }
        drop(idle);
        Ok(Payload::Frame(Frame {
            crc: crc32c::crc32c(&bytes),
            raw_bytes: batch.lines().len(),
            bytes,
            tally: batch.into_tally(),
        }))
    }
}

/// A batch on its way: as it came, or compressed by its caller.
pub(super) enum Payload {
    Lines(Batch),
    Frame(Frame),
}

/// A batch compressed by its caller.
pub(super) struct Frame {
    bytes: Vec<u8>,
    crc: u32,
    raw_bytes: usize,
    tally: Tally,
}

impl Payload {
    fn lines(&self) -> &[u8] {
        match self {
            Self::Lines(batch) => batch.lines(),
            Self::Frame(_) => &[],
        }
    }

    fn tally(&self) -> &Tally {
        match self {
            Self::Lines(batch) => batch.tally(),
            Self::Frame(frame) => &frame.tally,
        }
    }

    fn into_tally(self) -> Tally {
        match self {
            Self::Lines(batch) => batch.into_tally(),
            Self::Frame(frame) => frame.tally,
        }
    }

    /// What it occupies while it waits.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Lines(batch) => batch.lines().len(),
            Self::Frame(frame) => frame.bytes.len(),
        }
    }
}

/// A batch that waits to be made durable, and whoever waits for it.
pub(super) struct Request {
    pub account: AccountId,
    pub durability: Durability,
    pub received_ms: u64,
    pub payload: Payload,
    pub answer: oneshot::Sender<Result<Receipt, AppendError>>,
}

/// Batches of one group that are answered at the same moment, and their blocks.
#[derive(Default)]
pub(super) struct Part {
    pub extents: Vec<Extent>,
    answers: Vec<(oneshot::Sender<Result<Receipt, AppendError>>, Receipt)>,
}

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Gives every batch its receipt. Whoever has stopped waiting loses nothing but the answer.
    pub(super) fn accept(&mut self) {
        for (answer, receipt) in self.answers.drain(..) {
            let _ = answer.send(Ok(receipt));
        }
    }

    /// Tells every batch that it is not stored.
    pub(super) fn refuse(&mut self, error: AppendError) {
        for (answer, _) in self.answers.drain(..) {
            let _ = answer.send(Err(error));
        }
    }
}

/// Batches that are committed together.
pub(super) struct Group {
    /// All blocks as they are written.
    pub bytes: Bytes,
    pub last_seq: u64,
    pub batches: usize,
    /// Answered once they are written.
    pub written: Part,
    /// Answered once they are synced.
    pub synced: Part,
}

impl Group {
    /// Lays out `requests`, of which there is at least one, as blocks from `first_seq` on.
    pub(super) fn build(
        mut requests: Vec<Request>,
        first_seq: u64,
        durable_seq: u64,
        press: &mut Press,
    ) -> Result<Self, (Vec<Request>, io::Error)> {
        let synced = |request: &&Request| request.durability == Durability::Synced;
        let synced: HashSet<_> = requests.iter().filter(synced).map(|request| request.account).collect();
        requests.sort_by_key(|request| (synced.contains(&request.account), request.account));
        let mut layout = Layout {
            bytes: Vec::with_capacity(requests.iter().map(|r| r.payload.bytes() / 2 + 256).sum()),
            next_seq: first_seq,
            durable_seq,
            press,
        };
        let accounts = requests.chunk_by(|a, b| a.account == b.account);
        let placed: io::Result<Vec<_>> = accounts.map(|account| layout.account(account)).collect();
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => return Err((requests, error)),
        };
        let mut group = Self {
            last_seq: layout.next_seq - 1,
            bytes: Bytes::from(layout.bytes),
            batches: requests.len(),
            written: Part::default(),
            synced: Part::default(),
        };
        for (mut extent, range) in placed {
            extent.bytes = group.bytes.slice(range);
            group.part(synced.contains(&extent.account)).extents.push(extent);
        }
        for request in requests {
            let receipt = Receipt::new(request.payload.into_tally(), request.durability);
            let part = group.part(synced.contains(&request.account));
            part.answers.push((request.answer, receipt));
        }
        Ok(group)
    }

    fn part(&mut self, synced: bool) -> &mut Part {
        if synced { &mut self.synced } else { &mut self.written }
    }
}

/// A group in the making.
struct Layout<'a> {
    bytes: Vec<u8>,
    next_seq: u64,
    durable_seq: u64,
    press: &'a mut Press,
}

impl Layout<'_> {
    /// Appends all batches of one account.
    fn account(&mut self, mut requests: &[Request]) -> io::Result<(Extent, Range<usize>)> {
        let start = self.bytes.len();
        let mut whole: Option<Extent> = None;
        while !requests.is_empty() {
            let (block, rest) = requests.split_at(together(requests));
            requests = rest;
            let at = self.bytes.len() - start;
            let header = self.block(block)?;
            whole = Some(match whole {
                None => Extent::of(&header, Bytes::new()),
                Some(extent) => extent.followed_by(&header, at),
            });
        }
        let whole = whole.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((whole, start..self.bytes.len()))
    }

    /// Appends one block.
    fn block(&mut self, requests: &[Request]) -> io::Result<Header> {
        let (frame, frame_crc, raw_bytes) = match &requests[0].payload {
            Payload::Frame(ready) => (ready.bytes.as_slice(), ready.crc, ready.raw_bytes),
            Payload::Lines(batch) => {
                let (frame, raw_bytes) = match requests.len() {
                    1 => (self.press.press(batch.lines())?, batch.lines().len()),
                    _ => self.press.press_all(requests)?,
                };
                (frame, crc32c::crc32c(frame), raw_bytes)
            }
        };
        let fits = |len: usize| u32::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge);
        let received = || requests.iter().map(|request| request.received_ms);
        let lines: u64 = requests.iter().map(|request| request.payload.tally().successful).sum();
        let header = Header {
            seq: self.next_seq,
            durable_seq: self.durable_seq,
            first_received_ms: received().min().unwrap_or_default(),
            last_received_ms: received().max().unwrap_or_default(),
            account: requests[0].account,
            lines: u32::try_from(lines).unwrap_or(u32::MAX),
            raw_bytes: fits(raw_bytes)?,
            frame_bytes: fits(frame.len() + HEADER_BYTES)? - HEADER_BYTES as u32,
            frame_crc,
        };
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(frame);
        self.next_seq += 1;
        Ok(header)
    }
}

/// How many of `requests` (one account's, in order, at least one) make up the next block.
fn together(requests: &[Request]) -> usize {
    let mut bytes = 0;
    let fits = |request: &&Request| match &request.payload {
        Payload::Frame(_) => false,
        Payload::Lines(batch) => {
            bytes += batch.lines().len();
            bytes <= COALESCED_BYTES_MAX
        }
    };
    requests.iter().take_while(fits).count().max(1)
}
