//! The files of an account's log as they are when a question comes, and what is in them.
//!
//! Meanwhile the growing file grows, is sealed under another name, or is cut back by a failed sync; sealed ones are dropped. So the growing
//! file is opened before the others are listed, stays open, and is read up to the length it had; sealed ones do not change and are opened
//! by name when their turn comes: one that is gone then was dropped, or is in the object store. A file that goes loses its name first and
//! then its end, piece by piece, also for those who have it open: where one is shorter than it was, it is looked whether it has gone.
//!
//! An account's files are those on the disk and those in the object store. One that is both is read from the disk. The disk is listed before
//! the store, and what goes from the disk is shown in the store before: none is missed on its way.

use super::index::{self, Index};
use super::needs::Need;
use super::scan::Lookup;
use crate::domain::account::AccountId;
use crate::journal::disk::{Disk, DiskFile, Mode};
use crate::journal::{HEADER_BYTES, Header, Reader};
use crate::logs::names::{self, CURRENT};
use crate::logs::objects::{Objects, Stored, is_missing};
use crate::logs::retain::Dropped;
use bytes::Bytes;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many compressed bytes are looked through at once, if blocks are smaller.
const PART_BYTES: u64 = if cfg!(test) { 256 } else { 128 << 10 };

/// How long a thread waits for the store, when a file goes there from the disk between two looks.
const MOVED_TIMEOUT: Duration = Duration::from_secs(5);

/// A file of blocks.
pub(super) struct LogFile {
    place: Lies,
    /// How far it is read.
    bytes: u64,
    /// Number and time of its first line: in this order its gateway wrote its files, and drops them.
    pub begins: (u64, u64),
    /// Tells the gateway that wrote it apart from others.
    pub origin: u32,
}

/// Where a file is. `moved`: where it will be if it goes from the disk.
enum Lies {
    /// The growing file's handle, as several workers use it, and what the file begins with.
    Growing {
        path: PathBuf,
        held: Mutex<Box<dyn DiskFile>>,
        first: Header,
        moved: Option<(Objects, Stored)>,
    },
    OnDisk {
        path: PathBuf,
        moved: Option<(Objects, Stored)>,
    },
    InStore(Objects, Stored),
}

/// Adjacent blocks of a file.
#[derive(Clone)]
pub(super) struct Part {
    pub file: Arc<LogFile>,
    pub from: u64,
    pub to: u64,
    /// The first and the last time of its logs, where that is known.
    pub times_ms: Option<(u64, u64)>,
    /// Its bytes, if they come from the object store and have come.
    pub fetched: Option<Bytes>,
}

impl LogFile {
    /// A file in the object store.
    pub(super) fn in_store(objects: &Objects, stored: Stored) -> Arc<Self> {
        let (bytes, origin) = (stored.bytes, stored.origin());
        let begins = (stored.first_seq, stored.first_received_ms);
        Arc::new(Self { place: Lies::InStore(objects.clone(), stored), bytes, begins, origin })
    }

    /// The bytes of a part; fewer if the file has become shorter, none if it was dropped. `None`: the object store does not give them.
    pub(super) fn read(&self, disk: &dyn Disk, part: &Part) -> io::Result<Option<Bytes>> {
        let mut bytes = vec![0; usize::try_from(part.to - part.from).unwrap_or_default()];
        let len = match &self.place {
            Lies::InStore(..) => return Ok(part.fetched.clone()),
            Lies::Growing { held, .. } => read_at(&**locked(held), part.from, &mut bytes)?,
            Lies::OnDisk { path, .. } => match none_if_gone(disk.open(path, Mode::Read))? {
                Some(file) => read_at(&*file, part.from, &mut bytes)?,
                None => 0,
            },
        };
        if len < bytes.len() && self.has_gone(disk)? {
            return Ok(self.read_moved(part));
        }
        bytes.truncate(len);
        Ok(Some(bytes.into()))
    }

    /// A part of what went from the disk after it was listed there.
    fn read_moved(&self, part: &Part) -> Option<Bytes> {
        let Some((objects, stored)) = self.moves_to() else { return Some(Bytes::new()) };
        match objects.range_now(stored, part.from..part.to, MOVED_TIMEOUT) {
            Err(error) if is_missing(&error) => Some(Bytes::new()),
            read => read.ok(),
        }
    }

    /// Whether the name is not its own any more under which it was listed.
    fn has_gone(&self, disk: &dyn Disk) -> io::Result<bool> {
        match &self.place {
            Lies::Growing { path, first, .. } => {
                let current = none_if_gone(disk.open(path, Mode::Read))?;
                Ok(current.as_deref().map(first_header).transpose()?.flatten() != Some(*first))
            }
            Lies::OnDisk { path, .. } => Ok(!disk.exists(path)?),
            Lies::InStore(..) => Ok(false),
        }
    }

    /// Whether it is known to be shorter than it was when it was listed.
    fn has_shrunk(&self) -> io::Result<bool> {
        match &self.place {
            Lies::Growing { held, .. } => Ok(locked(held).bytes()? < self.bytes),
            _ => Ok(false),
        }
    }

    pub(super) fn is_growing(&self) -> bool {
        matches!(self.place, Lies::Growing { .. })
    }

    /// Where it is in the object store, if it is there only.
    pub(super) fn stored(&self) -> Option<(&Objects, &Stored)> {
        match &self.place {
            Lies::InStore(objects, stored) => Some((objects, stored)),
            _ => None,
        }
    }

    fn moves_to(&self) -> Option<&(Objects, Stored)> {
        match &self.place {
            Lies::Growing { moved, .. } | Lies::OnDisk { moved, .. } => moved.as_ref(),
            Lies::InStore(..) => None,
        }
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Lies::Growing { path, .. } | Lies::OnDisk { path, .. } => path.display().fmt(f),
            Lies::InStore(_, stored) => stored.fmt(f),
        }
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

/// What of an account is on the disk, oldest first, with what it is called; the growing file, with what it will be called.
#[derive(Default)]
pub(super) struct OnDisk {
    sealed: Vec<(String, Arc<LogFile>)>,
    growing: Option<(String, Arc<LogFile>)>,
    /// What of the object store is over.
    dropped: Dropped,
}

impl OnDisk {
    /// These and what is in the object store, oldest first.
    pub(super) fn and_stored(mut self, objects: &Objects, stored: Vec<Stored>) -> Vec<Arc<LogFile>> {
        let here: HashSet<_> = self.sealed.iter().map(|(name, _)| name.clone()).collect();
        for file in stored {
            let (name, is_own) = (file.name().to_owned(), file.origin() == objects.own_origin());
            let is_over = self.dropped.includes(file.first_seq, file.first_received_ms);
            if is_own && (is_over || here.contains(&name)) {
                continue;
            }
            if is_own && self.growing.as_ref().is_some_and(|(growing, _)| *growing == name) {
                // It was sealed since it was listed, and may have gone: what is in the store is whole.
                self.growing = None;
            }
            self.sealed.push((name, LogFile::in_store(objects, file)));
        }
        // Names begin with a time.
        self.sealed.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.alone()
    }

    pub(super) fn alone(self) -> Vec<Arc<LogFile>> {
        self.sealed.into_iter().chain(self.growing).map(|(_, file)| file).collect()
    }
}

/// Lists an account's files on the disk. `objects`: where they may go from there.
pub(super) fn list(
    disk: &dyn Disk,
    dir: &Path,
    account: AccountId,
    objects: Option<&Objects>,
) -> io::Result<OnDisk> {
    let dir = names::account_dir(dir, account);
    let path = dir.join(CURRENT);
    let growing = none_if_gone(disk.open(&path, Mode::Read))?;
    let mut sealed: Vec<_> = none_if_gone(disk.list(&dir))?
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((names::parse_sealed(&entry.name)?, entry)))
        .collect();
    sealed.sort_by_key(|(order, _)| *order);
    let origin = objects.map_or(0, Objects::own_origin);
    let moves_to = |name: &str, bytes| {
        objects.cloned().zip(objects.and_then(|objects| objects.own(account, name, bytes)))
    };
    // Behind the listing: what that lacks because it was dropped is noted.
    let mut listed = OnDisk { dropped: Dropped::load(disk, &dir)?, ..OnDisk::default() };
    for (begins, entry) in sealed {
        let place = Lies::OnDisk { path: dir.join(&entry.name), moved: moves_to(&entry.name, entry.bytes) };
        listed.sealed.push((entry.name, Arc::new(LogFile { place, bytes: entry.bytes, begins, origin })));
    }
    if let Some(file) = growing
        && let Some(first) = first_header(&*file)?
    {
        let (name, bytes) = (names::sealed_as(first.seq, first.first_received_ms), file.bytes()?);
        // Otherwise it was sealed between the two looks.
        if !listed.sealed.iter().any(|(sealed, _)| *sealed == name) {
            let place = Lies::Growing { path, held: Mutex::new(file), first, moved: moves_to(&name, bytes) };
            let begins = (first.seq, first.first_received_ms);
            listed.growing = Some((name, Arc::new(LogFile { place, bytes, begins, origin })));
        }
    }
    Ok(listed)
}

fn first_header(file: &(dyn DiskFile + 'static)) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    let len = read_at(file, 0, &mut bytes)?;
    Ok(Header::parse(&bytes[..len]).ok())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// It is in the object store: nothing else is known of it here.
    pub moved: Option<Arc<LogFile>>,
    /// It has been sealed and has gone since it was listed: what is where is to be listed anew.
    pub outdated: bool,
}

impl Contents {
    /// What an index tells to look through.
    pub(super) fn indexed(file: &LogFile, parts: Vec<Part>) -> Self {
        let skipped_bytes =
            file.bytes - parts.iter().map(|part| part.to - part.from).sum::<u64>().min(file.bytes);
        Self { parts, skipped_bytes, ..Self::default() }
    }

    /// Of a file that has gone from the disk: where it went.
    fn gone(file: &LogFile) -> Self {
        match &file.place {
            // How long it has become is not known.
            Lies::Growing { .. } => Self { outdated: true, ..Self::default() },
            _ => {
                let moved =
                    file.moves_to().map(|(objects, stored)| LogFile::in_store(objects, stored.clone()));
                Self { moved, ..Self::default() }
            }
        }
    }

    /// All of a file, at once.
    pub(super) fn all(file: &Arc<LogFile>) -> Self {
        let part = Part { file: file.clone(), from: 0, to: file.bytes, times_ms: None, fetched: None };
        Self { parts: vec![part], ..Self::default() }
    }
}

/// What of a file on the disk may hold what is needed. Without an index that is all of it.
pub(super) fn contents(disk: &dyn Disk, file: &Arc<LogFile>, lookup: &Lookup) -> io::Result<Contents> {
    let (need, sieve) = (lookup.need(), &lookup.sieve);
    if *need == Need::Impossible {
        return Ok(Contents::default());
    }
    if file.stored().is_some() {
        return Ok(Contents { moved: Some(file.clone()), ..Contents::default() });
    }
    // An index is a hint: one that cannot be read costs time and nothing else.
    let Ok(Some(index)) = index(disk, file, need) else { return walk(disk, file) };
    let parts = index.parts(file, need, |first_ms, last_ms| sieve.may_be_in_time(first_ms, last_ms));
    Ok(Contents::indexed(file, parts))
}

/// A sealed file's index, if it has one that is sound; its filters only if they are asked.
fn index(disk: &dyn Disk, file: &LogFile, need: &Need) -> io::Result<Option<Index>> {
    let Lies::OnDisk { path, .. } = &file.place else { return Ok(None) };
    let Some(name) = path.file_name().and_then(|name| name.to_str()).map(names::index) else {
        return Ok(None);
    };
    let Some(index) = none_if_gone(disk.open(&path.with_file_name(name), Mode::Read))? else {
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
    Ok(Index::parse(read(bytes)?).filter(|index| index.file_bytes() == file.bytes))
}

/// Walks a file from header to header.
fn walk(disk: &dyn Disk, file: &Arc<LogFile>) -> io::Result<Contents> {
    let (mut parts, mut damaged) = (Vec::<Part>::new(), false);
    let mut reader = match &file.place {
        Lies::OnDisk { path, .. } => match none_if_gone(Reader::open(disk, path, 0, file.bytes))? {
            Some(reader) => reader,
            None => return Ok(Contents::gone(file)),
        },
        Lies::Growing { .. } => Reader::of(Box::new(Held(file.clone())), 0, file.bytes)?,
        Lies::InStore(..) => return Ok(Contents::all(file)),
    };
    while reader.at() < reader.end() {
        let from = reader.at();
        let whole = reader.skim()?.is_some() && reader.at() <= reader.end();
        if whole {
            match parts.last_mut() {
                Some(part) if part.to == from && reader.at() - part.from <= PART_BYTES => {
                    part.to = reader.at();
                }
                _ => parts.push(Part {
                    file: file.clone(),
                    from,
                    to: reader.at(),
                    times_ms: None,
                    fetched: None,
                }),
            }
        } else {
            reader.seek(from);
            // A growing file may end in a block that is being written.
            damaged |= reader.resync()? || !file.is_growing();
        }
    }
    if (damaged || file.has_shrunk()?) && file.has_gone(disk)? {
        return Ok(Contents::gone(file));
    }
    Ok(Contents { parts, damaged, ..Contents::default() })
}

/// The growing file, read through the handle that is held.
struct Held(Arc<LogFile>);

impl DiskFile for Held {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let Lies::Growing { held, .. } = &self.0.place else { return Err(io::ErrorKind::NotFound.into()) };
        locked(held).read_at(offset, into)
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
