//! Looks through a part of a file: block by block, line by line. What passes the sieve is visited, nothing else.

use super::files::Part;
use super::gaps::Gaps;
use super::hunt::Hunt;
use super::needs::Need;
use super::place::{Floor, Place};
use super::sieve::Sieve;
use crate::clock;
use crate::domain::account::AccountId;
use crate::domain::filter::Access;
use crate::domain::log::Log;
use crate::domain::query::Query;
use crate::journal::disk::Disk;
use crate::journal::{HEADER_BYTES, Header, MAGIC};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

/// After how many lines it is looked whether there is time left.
const LINES_AT_ONCE: usize = 256;
/// A longer buffer is given back after use.
const BUFFER_BYTES_KEPT: usize = 16 << 20;

/// What is looked for.
pub(super) struct Lookup {
    pub sieve: Sieve,
    need: Need,
    hunt: Option<Hunt>,
    /// Whatever is in time passes.
    takes_all: bool,
}

impl Lookup {
    pub(super) fn new(sieve: Sieve) -> Self {
        let all = Need::of(&sieve);
        let takes_all = sieve.access == Access::Everything && sieve.query == Query::All;
        let hunt = Hunt::of(&all);
        // What is left out must not depend on what is hidden: how long an answer takes would tell whether it holds a value.
        let need = if sieve.access == Access::Everything { all } else { Need::of_access(&sieve.access) };
        Self { hunt, takes_all, need, sieve }
    }

    /// Shows a line of a block, which begins at a place of the time when it was received, if it passes.
    fn show(
        &self,
        block: &Place,
        at: usize,
        line: &[u8],
        times_ms: &RangeInclusive<u64>,
        visit: &mut dyn Visit,
    ) {
        if self.takes_all
            && let Some(time_ms) = self.sieve.early_time_ms(line)
            && (!times_ms.contains(&time_ms) || visit.time(time_ms))
        {
            return;
        }
        if let Some((time_ms, log)) = self.sieve.pass_within(line, block.time_ms, times_ms) {
            visit.log(Place { time_ms, at: at as u32, ..*block }, &log);
        }
    }

    /// What a log must hold to pass, as far as an index may be asked about it.
    pub(super) fn need(&self) -> &Need {
        &self.need
    }
}

/// Is shown what passes.
pub(super) trait Visit {
    fn log(&mut self, place: Place, log: &Log);

    /// The same where everything passes and nothing but the time has been read. False: that is not enough.
    fn time(&mut self, _: u64) -> bool {
        false
    }
}

impl<F: FnMut(Place, &Log)> Visit for F {
    fn log(&mut self, place: Place, log: &Log) {
        self(place, log);
    }
}

/// What a worker needs to look through parts, used again and again.
pub(super) struct Scanner {
    inflater: Option<zstd::bulk::Decompressor<'static>>,
    lines: Vec<u8>,
    /// Bytes of lines looked through so far.
    pub scanned_bytes: u64,
    /// Whether anything could not be read.
    pub damaged: bool,
    /// What all workers at the question have met.
    gaps: Arc<Gaps>,
    /// When to stop, whatever is left.
    deadline: Option<Instant>,
    /// Whether it was stopped in the midst of a part.
    pub was_stopped: bool,
}

impl Scanner {
    /// `damaged`: it is known already that not everything can be read.
    pub(super) fn new(damaged: bool, deadline: Option<Instant>, gaps: Arc<Gaps>) -> Self {
        let lines = Vec::new();
        Self { inflater: None, lines, scanned_bytes: 0, damaged, gaps, deadline, was_stopped: false }
    }

    /// Visits the logs of `account` in `part` that pass and that `floor` wants, in the order in which they are stored.
    pub(super) fn scan(
        &mut self,
        disk: &dyn Disk,
        account: AccountId,
        part: &Part,
        lookup: &Lookup,
        floor: &Floor,
        visit: &mut dyn Visit,
    ) -> io::Result<()> {
        let Some(bytes) = part.file.read(disk, part)? else {
            self.damaged = true;
            return Ok(());
        };
        if self.is_behind_a_gap(part, bytes.is_empty()) {
            tracing::warn!(path = %part.file, "a log was dropped in the midst of a question that reads it");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some((header, block)) = block(rest) else {
                if part.file.is_growing() {
                    // It was cut back since it was listed; what is damaged in it was passed over then.
                    self.damaged = true;
                    return Ok(());
                }
                tracing::error!(path = %part.file, "a place in a log cannot be read");
                self.damaged = true;
                rest = resync(rest);
                continue;
            };
            rest = &rest[header.block_bytes()..];
            let sound = header.check(&block[HEADER_BYTES..]).is_ok();
            if !sound || header.account != account || self.inflate(&header, block).is_err() {
                tracing::error!(path = %part.file, seq = header.seq, "a block cannot be read");
                self.damaged = true;
                continue;
            }
            self.scanned_bytes += self.lines.len() as u64;
            let (time_ms, origin) = (header.first_received_ms, part.file.origin);
            let begin = Place { time_ms, seq: header.seq, at: 0, origin };
            if !self.visit_lines(&begin, lookup, &floor.times_ms(), visit) {
                self.was_stopped = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes note of a part that was read, or was gone. Whether this is what first shows a gap to this worker.
    fn is_behind_a_gap(&mut self, part: &Part, is_gone: bool) -> bool {
        let gap = if is_gone { self.gaps.gone(part) } else { self.gaps.read(part) };
        let is_news = gap && !self.damaged;
        self.damaged |= gap;
        is_news
    }

    fn inflate(&mut self, header: &Header, block: &[u8]) -> io::Result<()> {
        let inflater = match &mut self.inflater {
            Some(inflater) => inflater,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        inflate(inflater, header, block, &mut self.lines)
    }

    /// False: time ran out.
    fn visit_lines(
        &self,
        block: &Place,
        lookup: &Lookup,
        times_ms: &RangeInclusive<u64>,
        visit: &mut dyn Visit,
    ) -> bool {
        let (mut seen, mut in_time) = (0_usize, true);
        let mut show = |at: usize, line: &[u8]| {
            seen += 1;
            if seen.is_multiple_of(LINES_AT_ONCE) {
                in_time &= self.deadline.is_none_or(|deadline| clock::monotonic() < deadline);
            }
            if in_time {
                lookup.show(block, at, line, times_ms, visit);
            }
        };
        if let Some(hunt) = &lookup.hunt {
            hunt.lines(&self.lines, show);
            return in_time;
        }
        let mut from = 0;
        for to in memchr::memchr_iter(b'\n', &self.lines) {
            show(from, &self.lines[from..to]);
            from = to + 1;
        }
        if from < self.lines.len() {
            show(from, &self.lines[from..]);
        }
        in_time
    }
}

/// The lines of a whole block.
pub(super) fn inflate(
    inflater: &mut zstd::bulk::Decompressor<'static>,
    header: &Header,
    block: &[u8],
    lines: &mut Vec<u8>,
) -> io::Result<()> {
    lines.clear();
    lines.shrink_to(BUFFER_BYTES_KEPT);
    lines.reserve(header.raw_bytes as usize);
    inflater.decompress_to_buffer(block.get(HEADER_BYTES..).unwrap_or_default(), lines).map(drop)
}

/// What begins with the next whole block, behind a place that is damaged.
fn resync(bytes: &[u8]) -> &[u8] {
    let candidates = memchr::memmem::find_iter(&bytes[1..], MAGIC).map(|at| &bytes[at + 1..]);
    let is_whole = |bytes: &&[u8]| {
        block(bytes).is_some_and(|(header, block)| header.check(&block[HEADER_BYTES..]).is_ok())
    };
    candidates.into_iter().find(is_whole).unwrap_or_default()
}

/// The block that `bytes` begin with, if all of it is there.
fn block(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let header = Header::parse(bytes).ok()?;
    Some((header, bytes.get(..header.block_bytes())?))
}
