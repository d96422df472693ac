//! The last good directory on disk: what a gateway serves when it starts without its control plane.
//!
//! A text file, holding digests and no tokens, readable by its owner only. Its first line, of a fixed length, says when the
//! directory was last confirmed, and is rewritten in place. Then come the wire contract's own lines: `hello`, `snapshot`, the
//! changes, `snapshot_end` with their checksum. Deltas are appended as they come, each behind its CRC-32C, until they are half
//! of the file; then it is written anew and replaced atomically. A file whose snapshot is damaged is reported and not
//! served: an old directory is better than none, a torn one is not. Of the deltas, those before a damaged one count.

use super::Config;
use super::current::Current;
use super::replica::{Replica, Step};
use crate::clock::{self, Clock};
use crate::domain::directory::Directory;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::wire::{self, Message};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the file's first line is rewritten while the directory is being confirmed.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(5);

/// Deltas that may wait to be written; beyond it the file is written anew.
const STEPS_MAX: usize = 1_024;

/// Deltas in a file whose snapshot is smaller than they are.
const STEPS_BYTES_MIN: u64 = 1 << 20;

/// Keeps the file.
pub struct Keeper {
    file: PathBuf,
    after: Duration,
    interval: Duration,
    current: Current,
    clock: Clock,
    steps: mpsc::Receiver<Step>,
    kept: Option<Kept>,
    /// When all of it may be written again.
    not_before: Option<Instant>,
}

/// What the file holds.
#[derive(Debug)]
struct Kept {
    store: String,
    revision: u64,
    snapshot_bytes: u64,
    steps_bytes: u64,
}

impl Kept {
    /// Whether it is time to write the file anew.
    fn is_long(&self) -> bool {
        self.steps_bytes > (self.snapshot_bytes / 2).max(STEPS_BYTES_MIN)
    }
}

impl Keeper {
    /// The keeper, and where it takes deltas from.
    pub fn new(config: &Config, current: Current, clock: Clock) -> (Self, mpsc::Sender<Step>) {
        let (sender, steps) = mpsc::channel(STEPS_MAX);
        let (file, after, interval) =
            (config.last_good_file.clone(), config.last_good_after, config.last_good_interval);
        (Self { file, after, interval, current, clock, steps, kept: None, not_before: None }, sender)
    }

    /// Serves the file if the control plane is late, then keeps the file equal to what is in force.
    pub async fn keep(mut self, tasks: Tasks) {
        let mut revisions = self.current.revisions();
        tokio::select! {
            () = tokio::time::sleep(self.after) => self.serve(),
            _ = revisions.wait_for(Option::is_some) => {}
            () = tasks.draining() => return,
        }
        loop {
            revisions.mark_unchanged();
            let is_last = tasks.is_draining();
            if let Err(error) = self.write_down().await {
                self.kept = None;
                tracing::warn!("the last good directory could not be kept: {error}");
            }
            if is_last {
                return;
            }
            tokio::select! {
                _ = revisions.changed() => {}
                () = tokio::time::sleep(CONFIRM_INTERVAL) => {}
                () = tasks.draining() => {}
            }
        }
    }

    fn serve(&self) {
        match read(&self.file) {
            Ok(Some(LastGood { directory, store, confirmed })) => {
                let revision = directory.revision();
                let age = confirmed.age(self.clock.unix_ms());
                if self.current.publish_last_good(directory, &store, age) {
                    self.current.set_ahead_ms(confirmed.ahead_ms);
                    let age_seconds = age.map(|age| age.as_secs());
                    tracing::warn!(
                        revision,
                        age_seconds,
                        "no directory from its source yet: serving the last good one"
                    );
                }
            }
            Ok(None) => {
                tracing::warn!(
                    "no directory from its source yet, and no last good one to serve: batches are refused"
                );
            }
            Err(error) => tracing::error!("the last good directory cannot be served: {error}"),
        }
    }

    /// Brings the file up to what is in force: by the deltas since, or by all of it, which is done more rarely.
    async fn write_down(&mut self) -> io::Result<()> {
        let mut steps = Vec::new();
        while let Ok(step) = self.steps.try_recv() {
            steps.push(step);
        }
        let Some(directory) = self.current.directory().filter(|_| !self.current.is_last_good()) else {
            return Ok(());
        };
        let (file, store) = (self.file.clone(), self.current.store());
        let confirmed = Confirmed::now(&self.current, &self.clock);
        let (kept, began) = (self.kept.take(), clock::monotonic());
        let may_write = self.not_before.is_none_or(|time| time <= began);
        let (kept, is_new) = tokio::task::spawn_blocking(move || {
            let mut kept = match kept {
                Some(kept) => append(&file, confirmed, kept, &steps)?,
                None => None,
            };
            kept.take_if(|kept| kept.store != store || kept.revision < directory.revision());
            if may_write && kept.as_ref().is_none_or(Kept::is_long) {
                return Ok::<_, io::Error>((Some(write(&file, confirmed, &directory, &store)?), true));
            }
            Ok((kept, false))
        })
        .await
        .map_err(io::Error::other)??;
        self.kept = kept;
        if is_new {
            // What costs much is done rarely.
            self.not_before = Some(clock::monotonic() + self.interval.max(began.elapsed() * 10));
        }
        Ok(())
    }
}

/// When a directory was last known to be current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Confirmed {
    /// By the control plane's clock, Unix milliseconds.
    at_ms: u64,
    /// How far that clock is ahead of this machine's.
    ahead_ms: i64,
}

impl Confirmed {
    fn now(current: &Current, clock: &Clock) -> Self {
        let age_ms = current.age().map_or(0, |age| age.as_millis() as u64);
        let at_ms = current.control_unix_ms(clock.unix_ms()).saturating_sub(age_ms);
        Self { at_ms, ahead_ms: current.ahead_ms() }
    }

    fn age(self, unix_ms: u64) -> Option<Duration> {
        let now_ms = unix_ms.saturating_add_signed(self.ahead_ms);
        Some(Duration::from_millis(now_ms.saturating_sub(self.at_ms)))
    }

    /// Always of the same length.
    fn line(self) -> String {
        let text = format!("confirmed {:020} {:+020}", self.at_ms, self.ahead_ms);
        format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (text, crc32c) = str::from_utf8(line).ok()?.trim_end().rsplit_once(' ')?;
        let is_whole = u32::from_str_radix(crc32c, 16) == Ok(crc32c::crc32c(text.as_bytes()));
        let mut words = text.split(' ').filter(|_| is_whole).skip(1);
        Some(Self { at_ms: words.next()?.parse().ok()?, ahead_ms: words.next()?.parse().ok()? })
    }
}

/// Replaces the file.
fn write(file: &Path, confirmed: Confirmed, directory: &Directory, store: &str) -> io::Result<Kept> {
    let fresh = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = BufWriter::new(options.open(&fresh)?);
    out.write_all(confirmed.line().as_bytes())?;
    let (mut text, mut crc32c) = (Vec::new(), 0);
    let (revision, changes) = (directory.revision(), directory.changes().count() as u64);
    for message in [
        Message::Hello { version: wire::VERSION, store: store.to_owned(), at_ms: confirmed.at_ms },
        Message::Snapshot { revision, changes },
    ] {
        put(&mut io::sink(), &mut text, &message)?;
        write!(out, "{:08x} ", crc32c::crc32c(&text))?;
        out.write_all(&text)?;
    }
    for change in directory.changes() {
        put(&mut out, &mut text, &Message::Change(change))?;
        crc32c = crc32c::crc32c_append(crc32c, &text);
    }
    put(&mut out, &mut text, &Message::SnapshotEnd { crc32c })?;
    let out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    out.sync_all()?;
    let snapshot_bytes = out.metadata()?.len();
    fs::rename(&fresh, file)?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Kept { store: store.to_owned(), revision, snapshot_bytes, steps_bytes: 0 })
}

/// Writes one line and leaves it in `text`.
fn put(out: &mut impl Write, text: &mut Vec<u8>, message: &Message) -> io::Result<()> {
    text.clear();
    serde_json::to_writer(&mut *text, message)?;
    text.push(b'\n');
    out.write_all(text)
}

/// Adds deltas that follow what the file holds, as long as they do. `None`: the file is to be written anew.
fn append(file: &Path, confirmed: Confirmed, mut kept: Kept, steps: &[Step]) -> io::Result<Option<Kept>> {
    let mut out = OpenOptions::new().append(true).open(file)?;
    let mut text = Vec::new();
    for step in steps {
        let is_same = step.store == kept.store;
        if is_same && step.revision <= kept.revision {
            continue;
        }
        if !is_same || step.revision != kept.revision + 1 {
            return Ok(None);
        }
        let _ = write!(text, "{:08x} ", crc32c::crc32c(&step.line));
        text.extend_from_slice(&step.line);
        kept.revision = step.revision;
    }
    if !text.is_empty() {
        out.write_all(&text)?;
        out.sync_data()?;
        kept.steps_bytes += text.len() as u64;
    }
    OpenOptions::new().write(true).open(file)?.write_all_at(confirmed.line().as_bytes(), 0)?;
    Ok(Some(kept))
}

/// What the file gave back.
struct LastGood {
    directory: Directory,
    store: String,
    confirmed: Confirmed,
}

/// Reads the file; `None` if there is none.
fn read(file: &Path) -> io::Result<Option<LastGood>> {
    let mut lines = match File::open(file) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    let confirmed = Confirmed::parse(&line).ok_or_else(|| damaged("its first line is damaged"))?;
    // The file speaks the stream's language: the stream's reader judges it.
    let aside = Current::default();
    let mut replica = Replica::new(aside.clone(), Arc::new(Metrics::new()), Clock::system());
    // What the snapshot's own checksum does not cover has one of its own: whose it is, and of which revision.
    let mut heads = 2;
    while !aside.is_ready() {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(damaged("it ends too early"));
        }
        let message = match heads {
            0 => Some(line.as_slice()),
            _ => checked(&line),
        };
        heads -= heads.min(1);
        let message = message.ok_or_else(|| damaged("its head is damaged"))?;
        replica.take(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if checked(&line).is_none_or(|delta| replica.take(delta).is_err()) {
            tracing::warn!("the end of the last good directory is damaged: it may lack the latest changes");
            break;
        }
    }
    let directory = aside.directory().ok_or_else(|| damaged("it ends too early"))?;
    Ok(Some(LastGood { directory: (*directory).clone(), store: aside.store(), confirmed }))
}

/// An appended line without its checksum, if that fits.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (crc32c, delta) = line.split_at_checked(9)?;
    let crc32c = u32::from_str_radix(str::from_utf8(crc32c).ok()?.trim_end(), 16).ok()?;
    (delta.ends_with(b"\n") && crc32c::crc32c(delta) == crc32c).then_some(delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
    use crate::domain::directory::Change;
    use crate::domain::token::TokenDigest;

    const CONFIRMED: Confirmed = Confirmed { at_ms: 1_700_000_000_000, ahead_ms: -50 };

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
            directory.apply(Change::Token { digest, token: TokenId(n), account, terms: None });
        }
        directory.advance(41);
        directory
    }

    fn revoked(revision: u64, token: u32) -> Step {
        let changes = vec![Change::Revoke { digest: TokenDigest::of(&token.to_string()) }];
        let message = Message::Delta { revision, at_ms: 0, changes, receipt: false };
        let line = (serde_json::to_string(&message).unwrap() + "\n").into_bytes().into();
        Step { store: "a store".to_owned(), revision, line }
    }

    #[test]
    fn gives_back_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.last_good");
        assert!(read(&file).unwrap().is_none());
        let kept = write(&file, CONFIRMED, &directory(), "a store").unwrap();
        let found = read(&file).unwrap().unwrap();
        assert_eq!((found.directory.revision(), found.directory.tokens()), (41, 100));
        assert_eq!((found.store.as_str(), found.confirmed), ("a store", CONFIRMED));
        assert!(found.directory.admit(&TokenDigest::of("99"), || 0).is_ok());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);

        let later = Confirmed { at_ms: 1_700_000_009_000, ahead_ms: 12 };
        let kept =
            append(&file, later, kept, &[revoked(41, 0), revoked(42, 99), revoked(43, 98)]).unwrap().unwrap();
        assert_eq!(kept.revision, 43);
        let found = read(&file).unwrap().unwrap();
        assert_eq!((found.directory.revision(), found.directory.tokens(), found.confirmed), (43, 98, later));
        assert!(found.directory.admit(&TokenDigest::of("99"), || 0).is_err());
        assert_eq!(found.confirmed.age(1_700_000_010_000), Some(Duration::from_millis(1_012)));
        assert!(append(&file, later, kept, &[revoked(45, 1)]).unwrap().is_none(), "a gap");
    }

    #[test]
    fn a_torn_or_altered_file_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.last_good");
        let kept = write(&file, CONFIRMED, &directory(), "a store").unwrap();
        let whole = fs::read(&file).unwrap();
        for cut in (0..whole.len() - 1).step_by(97) {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(read(&file).is_err(), "cut at {cut}");
        }
        for (from, to) in
            [("\"token\":5,", "\"token\":6,"), ("17000", "18000"), ("\"revision\":41", "\"revision\":44")]
        {
            let altered = String::from_utf8(whole.clone()).unwrap().replacen(from, to, 1);
            fs::write(&file, altered).unwrap();
            assert!(read(&file).is_err(), "{from}");
        }
        fs::write(&file, &whole).unwrap();
        append(&file, CONFIRMED, kept, &[revoked(42, 99), revoked(43, 98)]).unwrap();
        let longer = fs::read(&file).unwrap();
        for cut in whole.len()..=longer.len() {
            fs::write(&file, &longer[..cut]).unwrap();
            let revision = read(&file).unwrap().unwrap().directory.revision();
            assert_eq!(revision == 43, cut == longer.len(), "cut at {cut}");
            assert!((41..=43).contains(&revision));
        }
    }
}
