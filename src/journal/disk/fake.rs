//! A disk in memory that keeps only its promises: what was not synced may be gone after a crash, in part or in whole,
//! and any step can fail.

use super::{Disk, DiskFile, Entry, Lock, Mode};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What survives a crash of a file survives in pages: small ones, so that blocks are torn often.
const PAGE_BYTES: usize = 64;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine stops in the midst of it.
    Crash,
    /// A write takes only a part.
    Short,
    Full,
    /// The device fails; a sync that fails loses what it should have saved.
    Io,
}

/// What a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process was killed: the page cache is still there.
    Kill,
    /// The machine lost its power: what was not synced is there or not, page by page and name by name.
    PowerLoss,
}

#[derive(Clone)]
pub(crate) struct FakeDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    durable: Names,
    /// Changes of names that are not durable, in order.
    pending: Vec<Change>,
    steps: u64,
    /// The fault, and the steps at which it happens.
    faults: Vec<(std::ops::Range<u64>, Fault)>,
    crashed: bool,
    /// Files opened before the last crash are gone.
    boots: u32,
    random: u64,
    free_bytes: u64,
}

#[derive(Default, Clone)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    length_dirty: bool,
}

#[derive(Default, Clone)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Clone)]
enum Change {
    Dir(PathBuf),
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl Change {
    fn dir(&self) -> &Path {
        let (Self::Dir(path) | Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, ..)) = self;
        path.parent().unwrap_or(Path::new("/"))
    }
}

impl Names {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Dir(path) => {
                self.dirs.insert(path.clone());
            }
            Change::Link(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            Change::Unlink(path) => {
                self.files.remove(path);
            }
            Change::Rename(from, to, inode) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *inode);
            }
        }
    }
}

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE_BYTES..to.div_ceil(PAGE_BYTES));
        self.length_dirty = true;
    }

    /// Makes a page as durable as the durable length allows.
    fn save(&mut self, page: usize) {
        let start = page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(self.cached.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
        }
    }

    /// What is on the disk when of the unsynced pages only some have reached it.
    fn tear(&mut self, mut chance: impl FnMut() -> bool) {
        if std::mem::take(&mut self.length_dirty) && chance() {
            self.durable.resize(self.cached.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            if chance() {
                self.save(page);
            }
        }
    }

    fn sync(&mut self) {
        self.tear(|| true);
    }
}

impl State {
    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound.max(1)
    }

    /// Counts a step and says what goes wrong with it.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(crashed());
        }
        self.steps += 1;
        let step = self.steps;
        let fault = self.faults.iter().find(|(steps, _)| steps.contains(&step));
        let fault = fault.map(|(_, fault)| *fault);
        self.crashed |= fault == Some(Fault::Crash);
        Ok(fault)
    }

    /// A step that happens or not: nothing between.
    fn step_whole(&mut self) -> io::Result<()> {
        match self.step()? {
            None | Some(Fault::Short) => Ok(()),
            Some(fault) => Err(error(fault)),
        }
    }

    fn change(&mut self, change: Change) {
        self.names.apply(&change);
        self.pending.push(change);
    }

    /// Makes the changes of names in some directories durable.
    fn settle(&mut self, durable: impl Fn(&Path) -> bool) {
        let (now, later) = self.pending.drain(..).partition(|change| durable(change.dir()));
        let now: Vec<_> = now;
        self.pending = later;
        now.iter().for_each(|change| self.durable.apply(change));
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.files.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }

    /// Syncs a file, or fails to: then some pages are saved and the rest is forgotten, though still in the cache.
    fn sync(&mut self, inode: usize, fault: Option<Fault>) -> io::Result<()> {
        let mut file = std::mem::take(&mut self.inodes[inode]);
        let result = match fault {
            None | Some(Fault::Short) => {
                file.sync();
                Ok(())
            }
            Some(Fault::Crash) => Err(crashed()),
            Some(fault) => {
                file.tear(|| self.chance());
                Err(error(fault))
            }
        };
        self.inodes[inode] = file;
        result
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Crash => crashed(),
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::Short | Fault::Io => io::Error::other("input/output error"),
    }
}

impl FakeDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State { random: seed, free_bytes: u64::MAX / 2, ..State::default() })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How many steps have been taken.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Makes `fault` happen at these steps, counted from the disk's beginning.
    pub(crate) fn fail(&self, steps: std::ops::Range<u64>, fault: Fault) {
        self.state().faults.push((steps, fault));
    }

    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    pub(crate) fn set_free_bytes(&self, bytes: u64) {
        self.state().free_bytes = bytes;
    }

    /// Stops the machine, if it has not, and starts it again.
    pub(crate) fn reboot(&self, crash: Crash) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.crashed = false;
        state.boots += 1;
        if crash == Crash::Kill {
            return;
        }
        for i in 0..state.inodes.len() {
            let mut file = std::mem::take(&mut state.inodes[i]);
            file.tear(|| state.chance());
            file.cached = file.durable.clone();
            state.inodes[i] = file;
        }
        // A file system that keeps changes in order loses the last ones, one that does not loses any.
        let pending = std::mem::take(&mut state.pending);
        let kept = state.below(pending.len() + 1);
        let ordered = state.chance();
        for (i, change) in pending.iter().enumerate() {
            if if ordered { i < kept } else { state.chance() } {
                state.durable.apply(change);
            }
        }
        let dirs = state.durable.dirs.clone();
        let under =
            |path: &Path| path.parent().is_none_or(|dir| dir.parent().is_none() || dirs.contains(dir));
        state.durable.files.retain(|path, _| under(path));
        state.names = state.durable.clone();
    }

    /// Changes a byte that is on the disk.
    pub(crate) fn damage(&self, path: &Path, at: usize) {
        let mut state = self.state();
        let inode = state.inode(path).unwrap();
        state.inodes[inode].cached[at] ^= 0xff;
        state.inodes[inode].durable[at] ^= 0xff;
    }

    /// Cuts a file without anybody noticing.
    pub(crate) fn shorten(&self, path: &Path, bytes: usize) {
        let mut state = self.state();
        let inode = state.inode(path).unwrap();
        state.inodes[inode].cached.truncate(bytes);
        state.inodes[inode].durable.truncate(bytes);
    }
}

impl Disk for FakeDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step_whole()?;
        if !state.names.dirs.contains(path) {
            state.change(Change::Dir(path.to_owned()));
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        if mode == Mode::Create {
            state.step_whole()?;
            let dir = path.parent().unwrap();
            if !state.names.dirs.contains(dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.change(Change::Link(path.to_owned(), inode));
        }
        let at = (mode == Mode::Overwrite).then_some(0);
        Ok(Box::new(FakeFile { state: self.state.clone(), inode: state.inode(path)?, boot: state.boots, at }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step_whole()?;
        let inode = state.inode(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step_whole()?;
        state.inode(path)?;
        state.change(Change::Unlink(path.to_owned()));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        let root = path.parent().is_none();
        Ok(root || state.names.files.contains_key(path) || state.names.dirs.contains(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let inside = |path: &&Path| path.parent() == Some(dir);
        let files = state.names.files.iter().map(|(path, inode)| (path.as_path(), inode));
        let files = files.filter(|(path, _)| inside(path)).map(|(path, inode)| Entry {
            name: name(path),
            is_dir: false,
            bytes: state.inodes[*inode].cached.len() as u64,
        });
        let dirs = state.names.dirs.iter().map(PathBuf::as_path).filter(inside);
        let dirs = dirs.map(|path| Entry { name: name(path), is_dir: true, bytes: 0 });
        Ok(files.chain(dirs).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step_whole()?;
        state.settle(|changed| changed == dir);
        Ok(())
    }

    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.state();
        let fault = guard.step()?;
        let below: Vec<_> = guard
            .names
            .files
            .iter()
            .filter(|(path, _)| path.starts_with(dir))
            .map(|(_, inode)| *inode)
            .collect();
        for inode in below {
            let _ = guard.sync(inode, fault);
        }
        if let Some(fault) = fault.filter(|fault| *fault != Fault::Short) {
            return Err(error(fault));
        }
        guard.settle(|changed| changed.starts_with(dir) || Some(changed) == dir.parent());
        Ok(())
    }

    fn lock(&self, _dir: &Path) -> io::Result<Lock> {
        Ok(Box::new(()))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes)
    }
}

struct FakeFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    boot: u32,
    /// Where the next write goes; `None`: to the end.
    at: Option<usize>,
}

impl FakeFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap();
        if state.boots != self.boot || state.crashed {
            return Err(crashed());
        }
        Ok(state)
    }
}

impl DiskFile for FakeFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.state()?.inodes[self.inode].cached.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.state()?;
        let from = state.inodes[self.inode].cached.get(offset as usize..).unwrap_or(&[]);
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let at = self.at;
        let mut state = self.state()?;
        let fault = state.step()?;
        let taken = match fault {
            None => offered.len(),
            Some(Fault::Full) => 0,
            Some(Fault::Short) => 1 + state.below(offered.len()),
            Some(Fault::Crash | Fault::Io) => state.below(offered.len() + 1),
        };
        let taken = taken.min(offered.len());
        let file = &mut state.inodes[self.inode];
        let start = at.unwrap_or(file.cached.len());
        let end = start + taken;
        file.cached.resize(end.max(file.cached.len()), 0);
        file.cached[start..end].copy_from_slice(&offered[..taken]);
        file.touch(start, end);
        drop(state);
        self.at = at.map(|_| end);
        match fault {
            None | Some(Fault::Short) => Ok(taken),
            Some(fault) => Err(error(fault)),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state()?;
        let fault = state.step()?;
        state.sync(self.inode, fault)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.step_whole()?;
        let file = &mut state.inodes[self.inode];
        let (old, new) = (file.cached.len(), bytes as usize);
        file.cached.resize(new, 0);
        file.touch(new.min(old), new.max(old));
        drop(state);
        self.at = self.at.map(|_| new);
        Ok(())
    }
}
