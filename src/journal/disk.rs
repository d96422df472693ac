//! The disk: the one seam between durable state and the machine, so that tests can crash, tear and fail every step.
//!
//! What the rest of the program may rely on is what POSIX promises and no more: written bytes are on the disk after a
//! successful [`DiskFile::sync`]; a created, renamed or removed name after a [`Disk::sync_dir`] of its directory. After
//! a failed sync nothing is known of the bytes written since the last good one, and asking again proves nothing.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(test)]
pub(crate) mod fake;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, only to be read.
    Read,
    /// An existing file; writes go to its end.
    Append,
    /// An existing file; writes go over what it holds, from its beginning on.
    Overwrite,
    /// A new, empty file; one that has this name already loses it.
    Create,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    /// Length of a file; 0 for a directory.
    pub bytes: u64,
}

/// Held by the one process that may write to a directory; let go when dropped, or when the process ends.
pub type Lock = Box<dyn Any + Send + Sync>;

/// Files and directories of one machine.
pub trait Disk: Send + Sync {
    /// Makes a directory in one that is there; fine if it is there as well.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>>;
    /// Replaces whatever has the name `to`, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether a file or directory has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Names that are not UTF-8 are none of ours and are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything below `dir` durable, names and bytes: for very many files, cheaper than one by one.
    fn sync_tree(&self, dir: &Path) -> io::Result<()>;
    /// Fails with `WouldBlock` while another process holds it.
    fn lock(&self, dir: &Path) -> io::Result<Lock>;
    /// Bytes an unprivileged process may still write where `dir` is.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads from `offset`, as much as fits and is there; 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes behind what was written before, at the beginning to the place of its [`Mode`]; may take less than was
    /// offered.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Makes its bytes and its length durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts it; the next write goes to its end.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// Writes all of `parts`, however often the disk takes less than it is offered.
pub fn write_all(file: &mut dyn DiskFile, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => IoSlice::advance_slices(&mut parts, taken),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a directory and all above it, durably.
pub fn create_dirs(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !disk.exists(path)? {
        if !disk.exists(parent)? {
            create_dirs(disk, parent)?;
        }
        disk.create_dir(path)?;
    }
    // Even if it was there: whoever made it may have been stopped before this.
    disk.sync_dir(parent)
}

/// Removes a file, if there is one.
pub fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How much of a long file is freed at once.
const FREED_BYTES_MAX: u64 = if cfg!(test) { 64 } else { 4 << 20 };

/// Removes a file that may be long: piece by piece, from its end. Where freed blocks are discarded, one that goes at once
/// holds up every sync of its file system until all of it is. What a crash leaves has the file's name, which must be one
/// that means nothing, durably: see [`TEMPORARY`].
pub fn remove_slowly(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if let Ok(mut file) = disk.open(path, Mode::Append) {
        let mut bytes = file.bytes()?;
        while bytes > FREED_BYTES_MAX {
            bytes -= FREED_BYTES_MAX;
            file.truncate(bytes)?;
            file.sync()?;
        }
    }
    remove(disk, path)
}

/// Replaces the file `name` in `dir` by `contents`: after a crash it is there whole, as it was or as it is now.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let mut file = disk.open(&temporary, Mode::Create)?;
    write_all(&mut *file, &mut [IoSlice::new(contents)])?;
    file.sync()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// The end of the name of a file that is not finished and means nothing after a crash.
pub const TEMPORARY: &str = ".tmp";

/// All of a file. For small ones.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Mode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.bytes()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(len as u64, &mut bytes[len..])? {
            0 => break,
            read => len += read,
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Whether an error says that there is no room, rather than that something is broken.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            Mode::Read => &mut options,
            Mode::Append => options.append(true),
            Mode::Overwrite => options.write(true),
            Mode::Create => {
                remove(self, path)?;
                options.append(true).create_new(true)
            }
        };
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_dir = entry.file_type()?.is_dir();
            let bytes = match entry.metadata() {
                _ if is_dir => 0,
                Ok(metadata) => metadata.len(),
                // Renamed or removed while the directory was listed: it says nothing about the others.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(Entry { name, is_dir, bytes });
        }
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        for entry in self.list(dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                self.sync_tree(&path)?;
            } else {
                File::open(&path)?.sync_data()?;
            }
        }
        self.sync_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Lock> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
        file.try_lock()?;
        Ok(Box::new(file))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(dir)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(parts)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.seek(SeekFrom::Start(bytes)).map(drop)
    }
}
