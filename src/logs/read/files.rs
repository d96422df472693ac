//! The files of an account's log as they are when a question comes, and what is in them.
//!
//! Meanwhile the growing file grows, is sealed under another name, or is cut back by a failed sync; sealed ones are dropped. So the growing
//! file is opened before the others are listed, stays open, and is read up to the length it had; sealed ones do not change and are opened
//! by name when their turn comes: one that is gone then was dropped.

use super::index::{self, Index};
use super::needs::Need;
use super::scan::Lookup;
use crate::domain::account::AccountId;
use crate::journal::disk::{Disk, DiskFile, Mode};
use crate::journal::{HEADER_BYTES, Header, Reader};
use crate::logs::names::{self, CURRENT};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many compressed bytes are looked through at once, if blocks are smaller.
const PART_BYTES: u64 = if cfg!(test) { 256 } else { 128 << 10 };

/// A file of blocks.
pub(super) struct LogFile {
    path: PathBuf,
    /// The growing file's handle, as several workers use it.
    held: Option<Mutex<Box<dyn DiskFile>>>,
    /// How far it is read.
    bytes: u64,
}

/// Adjacent blocks of a file.
#[derive(Clone)]
pub(super) struct Part {
    pub file: Arc<LogFile>,
    pub from: u64,
    pub to: u64,
    /// The first and the last time of its logs, where that is known.
    pub times_ms: Option<(u64, u64)>,
}

impl LogFile {
    /// The bytes of a part; fewer if the file has become shorter, none if it was dropped.
    pub(super) fn read(&self, disk: &dyn Disk, part: &Part) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(part.to - part.from).unwrap_or_default()];
        let len = match &self.held {
            Some(held) => {
                read_at(&**held.lock().unwrap_or_else(PoisonError::into_inner), part.from, &mut bytes)?
            }
            None => match disk.open(&self.path, Mode::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                opened => read_at(&*opened?, part.from, &mut bytes)?,
            },
        };
        bytes.truncate(len);
        Ok(bytes)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_growing(&self) -> bool {
        self.held.is_some()
    }
}

fn read_at(file: &dyn DiskFile, from: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < into.len() {
        match file.read_at(from + len as u64, &mut into[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

/// An account's files, oldest first.
pub(super) fn list(disk: &dyn Disk, dir: &Path, account: AccountId) -> io::Result<Vec<Arc<LogFile>>> {
    let dir = names::account_dir(dir, account);
    let growing = none_if_gone(disk.open(&dir.join(CURRENT), Mode::Read))?;
    let mut sealed: Vec<_> = none_if_gone(disk.list(&dir))?
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((names::parse_sealed(&entry.name)?, entry)))
        .collect();
    sealed.sort_by_key(|(order, _)| *order);
    let mut files = Vec::with_capacity(sealed.len() + 1);
    let first = growing.as_deref().map(first_header).transpose()?.flatten();
    let mut was_sealed = false;
    for ((first_seq, _), entry) in sealed {
        let path = dir.join(&entry.name);
        if first.is_some_and(|first| first.seq == first_seq) {
            // Sealed between the two looks, unless a number was given out twice.
            let same = none_if_gone(disk.open(&path, Mode::Read))?;
            was_sealed |= same.as_deref().map(first_header).transpose()?.flatten() == first;
        }
        files.push(Arc::new(LogFile { path, held: None, bytes: entry.bytes }));
    }
    if let (Some(file), Some(_), false) = (growing, first, was_sealed) {
        let (path, bytes) = (dir.join(CURRENT), file.bytes()?);
        files.push(Arc::new(LogFile { path, held: Some(Mutex::new(file)), bytes }));
    }
    Ok(files)
}

fn first_header(file: &(dyn DiskFile + 'static)) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    let len = read_at(file, 0, &mut bytes)?;
    Ok(Header::parse(&bytes[..len]).ok())
}

fn none_if_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What is in a file.
#[derive(Default)]
pub(super) struct Contents {
    pub parts: Vec<Part>,
    /// A place had to be passed over.
    pub damaged: bool,
    /// How much of it an index tells to leave out.
    pub skipped_bytes: u64,
}

/// What of a file may hold what is needed. Without an index that is all of it.
pub(super) fn contents(disk: &dyn Disk, file: &Arc<LogFile>, lookup: &Lookup) -> io::Result<Contents> {
    let (need, sieve) = (lookup.need(), &lookup.sieve);
    if *need == Need::Impossible {
        return Ok(Contents::default());
    }
    // An index is a hint: one that cannot be read costs time and nothing else.
    let Ok(Some(index)) = index(disk, file, need) else { return walk(disk, file) };
    let parts = index.parts(file, need, |first_ms, last_ms| sieve.may_be_in_time(first_ms, last_ms));
    let skipped_bytes =
        file.bytes - parts.iter().map(|part| part.to - part.from).sum::<u64>().min(file.bytes);
    Ok(Contents { parts, damaged: false, skipped_bytes })
}

/// A sealed file's index, if it has one that is sound; its filters only if they are asked.
fn index(disk: &dyn Disk, file: &LogFile, need: &Need) -> io::Result<Option<Index>> {
    let name = file.path.file_name().and_then(|name| name.to_str()).map(names::index);
    let (None, Some(name)) = (&file.held, name) else { return Ok(None) };
    let Some(index) = none_if_gone(disk.open(&file.path.with_file_name(name), Mode::Read))? else {
        return Ok(None);
    };
    let read = |bytes: usize| {
        let mut head = vec![0; bytes];
        let len = read_at(&*index, 0, &mut head)?;
        head.truncate(len);
        io::Result::Ok(head)
    };
    let all = usize::try_from(index.bytes()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let bytes = match need {
        Need::Nothing => Index::head_bytes(&read(index::HEAD_BYTES)?).map_or(0, |bytes| bytes.min(all)),
        _ => all,
    };
    Ok(Index::parse(read(bytes)?, file.bytes))
}

/// Walks a file from header to header.
fn walk(disk: &dyn Disk, file: &Arc<LogFile>) -> io::Result<Contents> {
    let (mut parts, mut damaged) = (Vec::<Part>::new(), false);
    let path = if file.is_growing() { None } else { Some(&file.path) };
    let mut reader = match path {
        Some(path) => match none_if_gone(Reader::open(disk, path, 0, file.bytes))? {
            Some(reader) => reader,
            None => return Ok(Contents { parts, damaged, skipped_bytes: 0 }),
        },
        None => Reader::of(Box::new(Held(file.clone())), 0, file.bytes)?,
    };
    while reader.at() < reader.end() {
        let from = reader.at();
        let whole = reader.skim()?.is_some() && reader.at() <= reader.end();
        if whole {
            match parts.last_mut() {
                Some(part) if part.to == from && reader.at() - part.from <= PART_BYTES => {
                    part.to = reader.at();
                }
                _ => parts.push(Part { file: file.clone(), from, to: reader.at(), times_ms: None }),
            }
        } else {
            reader.seek(from);
            // A growing file may end in a block that is being written.
            damaged |= reader.resync()? || !file.is_growing();
        }
    }
    Ok(Contents { parts, damaged, skipped_bytes: 0 })
}

/// The growing file, read through the handle that is held.
struct Held(Arc<LogFile>);

impl DiskFile for Held {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let held = self.0.held.as_ref().ok_or(io::ErrorKind::NotFound)?;
        held.lock().unwrap_or_else(PoisonError::into_inner).read_at(offset, into)
    }

    fn write(&mut self, _: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
