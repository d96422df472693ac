//! Recovery: what a journal still holds after the process, the machine or the disk went away.
//!
//! Every block of every segment is read and checked. Where one is missing or damaged, evidence decides what that means:
//!
//! * A segment is named `n` only once everything before `n` is durable, and a block says what was durable when it was
//!   written. If either shows that the missing block was on the disk, acknowledged data is damaged: opening fails or, if
//!   so configured, the segment is copied aside and all that is readable is kept.
//! * Otherwise nobody was told that the block is stored. It is a torn tail and is cut.

use super::block::{Extent, Flaw};
use super::disk::{self, Disk, Mode, TEMPORARY};
use super::reader::{Reader, Step};
use super::shelf::Segment;
use super::{OnCorruption, OpenError};
use crate::metrics::Metrics;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// What is in the journal.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Cut so that they hold no block of `unsynced`.
    pub segments: VecDeque<Segment>,
    /// Whole blocks that may be in the page cache only: to be written again.
    pub unsynced: Vec<Extent>,
    /// Everything up to here is on the disk.
    pub durable_seq: u64,
    pub next_seq: u64,
    /// Nothing that follows the floor is known to be missing. Not so when there is no segment at all: the last one is
    /// never removed.
    pub complete: bool,
}

/// Reads the journal in `dir`. Blocks up to `floor` are not needed any more.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    floor: u64,
    on_corruption: OnCorruption,
    metrics: &Metrics,
) -> Result<Recovered, OpenError> {
    let names = names(disk, dir, floor)?;
    let mut scan = Scan {
        disk,
        dir,
        floor,
        on_corruption,
        metrics,
        durable_seq: floor.max(names.last().map_or(0, |last| last.saturating_sub(1))),
        next_seq: floor + 1,
        tail: VecDeque::new(),
        blocks: 0,
        torn_bytes: 0,
        damaged: 0,
        complete: names.first().is_some_and(|first_seq| *first_seq <= floor + 1),
    };
    scan.begin(names.first().copied())?;
    let mut segments = VecDeque::new();
    for (i, &first_seq) in names.iter().enumerate() {
        let bytes = scan.segment(first_seq, names.get(i + 1).copied())?;
        // What a given-up segment may still hold would count again in another one.
        segments.push_back(Segment { first_seq, bytes, reusable: false });
    }
    if let (Some((at, _)), Some(last)) = (scan.tail.front(), segments.back_mut()) {
        last.bytes = *at;
    }
    scan.report(names.len());
    segments.pop_back_if(|last| last.bytes == 0);
    Ok(Recovered {
        segments,
        unsynced: scan.tail.into_iter().map(|(_, extent)| extent).collect(),
        durable_seq: scan.durable_seq,
        next_seq: scan.next_seq,
        complete: scan.complete,
    })
}

/// The first numbers of all segments, in order, after removing what is left over.
fn names(disk: &dyn Disk, dir: &Path, floor: u64) -> Result<Vec<u64>, OpenError> {
    let mut names = Vec::new();
    for entry in disk.list(dir).map_err(OpenError::io(dir))? {
        if entry.name.ends_with(TEMPORARY) {
            let path = dir.join(&entry.name);
            disk.remove(&path).map_err(OpenError::io(&path))?;
        }
        names.extend(Segment::parse_name(&entry.name));
    }
    names.sort_unstable();
    while names.len() > 1 && names[1] <= floor + 1 {
        let path = dir.join(Segment::name(names.remove(0)));
        disk.remove(&path).map_err(OpenError::io(&path))?;
    }
    Ok(names)
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    floor: u64,
    on_corruption: OnCorruption,
    metrics: &'a Metrics,
    durable_seq: u64,
    next_seq: u64,
    /// Good blocks not known to be durable, and where in the last segment each begins.
    tail: VecDeque<(u64, Extent)>,
    /// Blocks that are whole and belong where they are.
    blocks: u64,
    torn_bytes: u64,
    /// Damaged places.
    damaged: u64,
    complete: bool,
}

/// A place in a segment where the block `expect` should stand and does not.
struct Place<'a> {
    path: &'a Path,
    at: u64,
    expect: u64,
    /// Numbers from here on are void in this segment; `None` in the last one.
    limit: Option<u64>,
    flaw: Flaw,
}

impl Scan<'_> {
    /// Checks that the journal begins no later than where the logs end. Without a floor nothing is known of that.
    fn begin(&mut self, first_seq: Option<u64>) -> Result<(), OpenError> {
        match first_seq {
            Some(first_seq) if self.floor > 0 && first_seq > self.floor + 1 => {
                let path = self.dir.join(Segment::name(first_seq));
                self.damaged(&path, 0, self.floor + 1, Flaw::Sequence)
            }
            _ => Ok(()),
        }
    }

    /// Checks a segment and returns how much of it is good.
    fn segment(&mut self, first_seq: u64, limit: Option<u64>) -> Result<u64, OpenError> {
        let path = self.dir.join(Segment::name(first_seq));
        let failed = OpenError::io(&path);
        let mut reader = Reader::open(self.disk, &path, 0, u64::MAX).map_err(&failed)?;
        let mut expect = first_seq;
        loop {
            let at = reader.at();
            let flaw = match reader.step().map_err(&failed)? {
                Step::Block(header, block) if header.seq == expect && limit != Some(expect) => {
                    expect += 1;
                    self.blocks += 1;
                    self.durable_seq = self.durable_seq.max(header.durable_seq);
                    self.tail.push_back((at, Extent::of(&header, block)));
                    while self.tail.pop_front_if(|(_, kept)| kept.last_seq <= self.durable_seq).is_some() {}
                    continue;
                }
                Step::Flawed(Flaw::Version(version)) => return Err(OpenError::Newer { path, version }),
                Step::Flawed(flaw) => flaw,
                Step::Block(..) => Flaw::Sequence,
                Step::End => Flaw::Short,
            };
            self.next_seq = self.next_seq.max(expect);
            let place = Place { path: &path, at, expect, limit, flaw };
            match self.judge(&mut reader, &place)? {
                Some(next) => expect = next,
                None => return Ok(at),
            }
        }
    }

    /// Decides what the lack of a block means. `Some`: the reader stands before the block with this number and goes on;
    /// `None`: the segment ends at `place`.
    fn judge(&mut self, reader: &mut Reader, place: &Place<'_>) -> Result<Option<u64>, OpenError> {
        let whole = match place.limit {
            Some(limit) => place.expect >= limit,
            None => place.at >= reader.end(),
        };
        if whole {
            return Ok(None);
        }
        let Later { next, durable_seq, old_at } = later(reader, place).map_err(OpenError::io(place.path))?;
        let stored = next.or(place.limit).is_some_and(|next| next <= self.floor + 1);
        let acknowledged = place.limit.is_some() || durable_seq >= place.expect;
        if stored {
            self.damaged += 1;
            tracing::warn!(path = %place.path.display(), offset = place.at, flaw = %place.flaw,
                "the journal is damaged where it is not needed any more");
        } else if acknowledged {
            self.damaged(place.path, place.at, place.expect, place.flaw)?;
            self.set_aside(place.path).map_err(OpenError::io(place.path))?;
        } else {
            self.cut(place, old_at.unwrap_or(reader.end())).map_err(OpenError::io(place.path))?;
            return Ok(None);
        }
        Ok(next)
    }

    /// Damage to data that had been acknowledged is never passed over in silence.
    fn damaged(&mut self, path: &Path, offset: u64, seq: u64, source: Flaw) -> Result<(), OpenError> {
        self.metrics.journal.corrupt_entries.inc();
        self.damaged += 1;
        self.complete = false;
        tracing::error!(path = %path.display(), offset, seq, flaw = %source,
            "the journal is damaged in a place that had been acknowledged");
        match self.on_corruption {
            OnCorruption::Skip => Ok(()),
            OnCorruption::Fail => Err(OpenError::Corrupt { path: path.to_owned(), offset, seq, source }),
        }
    }

    /// Cuts a torn tail, which reaches up to `end`, and what the file may have held before.
    fn cut(&mut self, place: &Place<'_>, end: u64) -> io::Result<()> {
        let torn_bytes = end - place.at;
        self.metrics.journal.torn_bytes.inc_by(torn_bytes);
        self.torn_bytes += torn_bytes;
        tracing::info!(path = %place.path.display(), offset = place.at, torn_bytes,
            "cut the end of the journal, which nobody had been told is stored");
        let mut file = self.disk.open(place.path, Mode::Append)?;
        file.truncate(place.at)?;
        file.sync()
    }

    /// Says what was found. Of a new journal there is nothing to say.
    fn report(&self, segments: usize) {
        let Self { blocks, torn_bytes, damaged, .. } = *self;
        let not_in_logs = self.next_seq.saturating_sub(self.floor + 1);
        if damaged > 0 {
            tracing::warn!(
                segments,
                blocks,
                not_in_logs,
                torn_bytes,
                damaged,
                "recovered a damaged journal, as far as it is readable"
            );
        } else if segments > 0 {
            tracing::info!(segments, blocks, not_in_logs, torn_bytes, "recovered the journal");
        }
    }

    /// Keeps a copy of a damaged segment, which would otherwise be removed with the next checkpoint.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".corrupt");
        if self.disk.exists(&self.dir.join(&name))? {
            return Ok(());
        }
        let bytes = disk::read(self.disk, path)?;
        disk::replace(self.disk, self.dir, &name.to_string_lossy(), &bytes)
    }
}

/// What stands in a segment behind a flawed place.
struct Later {
    /// The next good block that belongs there; the reader stands before it.
    next: Option<u64>,
    /// The highest number that any good block says is durable.
    durable_seq: u64,
    /// Where the first whole block stands that an earlier segment had in this file: see the journal's header.
    old_at: Option<u64>,
}

fn later(reader: &mut Reader, place: &Place<'_>) -> io::Result<Later> {
    let mut next = None;
    let mut durable_seq = 0;
    reader.seek(place.at);
    let here = reader.step()?;
    let mut old_at = matches!(here, Step::Block(header, _) if header.seq < place.expect).then_some(place.at);
    reader.seek(place.at);
    while reader.resync()? {
        let at = reader.at();
        if let Step::Block(header, _) = reader.step()? {
            let belongs = header.seq > place.expect && place.limit.is_none_or(|limit| header.seq < limit);
            if belongs {
                durable_seq = durable_seq.max(header.durable_seq);
                next = next.or(Some((at, header.seq)));
            } else if header.seq < place.expect {
                old_at = old_at.or(Some(at));
            }
        }
        reader.seek(reader.at().saturating_sub(1));
    }
    reader.seek(next.map_or(reader.end(), |(at, _)| at));
    Ok(Later { next: next.map(|(_, seq)| seq), durable_seq, old_at })
}
