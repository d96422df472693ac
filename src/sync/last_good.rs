//! The last good directory on disk: what a gateway serves when it starts without its control plane.
//!
//! A text file of the wire contract's own lines: `hello`, `snapshot`, the changes, `snapshot_end` with their checksum. It
//! holds digests, no tokens; it is replaced atomically and readable by its owner only. One that is damaged is
//! reported and not served: an old directory is better than none, a torn one is not.

use super::Config;
use super::current::Current;
use super::replica::Replica;
use crate::clock::Clock;
use crate::domain::directory::Directory;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::wire::{self, Message};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Serves the file if the control plane is late, then keeps the file equal to what is in force.
pub async fn keep(config: Config, current: Current, tasks: Tasks) {
    let mut revisions = current.revisions();
    tokio::select! {
        () = tokio::time::sleep(config.last_good_after) => serve(&config.last_good_file, &current),
        _ = revisions.wait_for(Option::is_some) => {}
        () = tasks.draining() => return,
    }
    loop {
        revisions.mark_unchanged();
        if let (Some(directory), Some(_)) = (current.directory(), current.confirmed()) {
            let (file, store) = (config.last_good_file.clone(), current.store());
            let written = tokio::task::spawn_blocking(move || write(&file, &directory, &store)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!("the last good directory could not be kept: {error}");
            }
        }
        tokio::select! {
            _ = revisions.changed() => {}
            () = tasks.draining() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(config.last_good_interval) => {}
            () = tasks.draining() => {}
        }
    }
}

fn serve(file: &Path, current: &Current) {
    match read(file) {
        Ok(Some((directory, store))) => {
            let revision = directory.revision();
            if current.publish_last_good(directory, &store) {
                tracing::warn!(revision, "the control plane is late: serving the last good directory");
            }
        }
        Ok(None) => tracing::warn!("the control plane is late, and there is no last good directory to serve"),
        Err(error) => tracing::error!("the last good directory cannot be served: {error}"),
    }
}

/// Replaces the file.
fn write(file: &Path, directory: &Directory, store: &str) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = BufWriter::new(options.open(&fresh)?);
    let mut line = |message: &Message| -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        out.write_all(&line)?;
        Ok(line)
    };
    line(&Message::Hello { version: wire::VERSION, store: store.to_owned(), at_ms: 0 })?;
    line(&Message::Snapshot { revision: directory.revision(), changes: directory.changes().count() as u64 })?;
    let mut crc32c = 0;
    for change in directory.changes() {
        crc32c = crc32c::crc32c_append(crc32c, &line(&Message::Change(change))?);
    }
    line(&Message::SnapshotEnd { crc32c })?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&fresh, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads the file; `None` if there is none.
fn read(file: &Path) -> io::Result<Option<(Directory, String)>> {
    let lines = match File::open(file) {
        Ok(file) => BufReader::new(file).split(b'\n'),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The file speaks the stream's language: the stream's reader judges it.
    let aside = Current::default();
    let mut replica = Replica::new(aside.clone(), Arc::new(Metrics::new()), Clock::system());
    for line in lines {
        let mut line = line?;
        line.push(b'\n');
        replica.take(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    let torn = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early");
    let directory = aside.directory().ok_or_else(torn)?;
    Ok(Some(((*directory).clone(), aside.store())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
    use crate::domain::directory::Change;
    use crate::domain::token::TokenDigest;

    fn directory() -> Directory {
        let mut directory = Directory::default();
        let account = AccountId(7);
        let retention = Retention { days: 3, bytes_max: None };
        directory.apply(Change::Account(AccountGrant {
            account,
            durability: None,
            rate_bytes_max: None,
            retention,
        }));
        for n in 0..100u32 {
            let digest = TokenDigest::of(&n.to_string());
            directory.apply(Change::Token { digest, token: TokenId(n), account });
        }
        directory.advance(41);
        directory
    }

    #[test]
    fn gives_back_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.last_good");
        assert!(read(&file).unwrap().is_none());
        write(&file, &directory(), "a store").unwrap();
        let (read, store) = read(&file).unwrap().unwrap();
        assert_eq!((read.revision(), read.tokens(), store.as_str()), (41, 100, "a store"));
        assert!(read.admit(&TokenDigest::of("99")).is_ok());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_or_altered_file_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.last_good");
        write(&file, &directory(), "a store").unwrap();
        let whole = fs::read(&file).unwrap();
        for cut in (0..whole.len() - 1).step_by(97) {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(read(&file).is_err(), "cut at {cut}");
        }
        let altered = String::from_utf8(whole).unwrap().replacen("\"token\":5,", "\"token\":6,", 1);
        fs::write(&file, altered).unwrap();
        assert!(read(&file).is_err());
    }
}
