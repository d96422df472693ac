//! The task that puts a gateway's sealed files into the object store, each with its index, and ends their life there.
//!
//! It goes account by account: what the local folder holds and the store does not is put, index first; a listing then shows whether it is
//! there. What is there may go from the local disk, the oldest first, as far as more is kept than configured: the thread of the logs is
//! asked to let it go, which alone removes anything there. A stop or a crash at any point costs nothing but time: the next visit goes on.
//!
//! An account is visited when one of its files has got its index, and all are visited at the start and from time to time. While the store
//! is down, accounts wait; nobody else does.

use super::{Listed, ObjectError, Objects, Stored, is_over};
use crate::clock::{self, Clock};
use crate::domain::account::{AccountId, Retention};
use crate::journal::disk::{Disk, Mode};
use crate::logs::names::{self, CURRENT};
use crate::logs::retain::Dropped;
use crate::logs::{DAY_MS, RetentionOf};
use crate::shutdown::Tasks;
use crate::telemetry::chain;
use bytes::Bytes;
use futures_util::future::join_all;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Accounts visited at the same time.
const VISITS_AT_ONCE: usize = 4;
/// A longer file is put in pieces of this length. S3 takes none shorter than 5 MiB.
const PIECE_BYTES: u64 = if cfg!(test) { 64 } else { 8 << 20 };
/// How often all accounts are visited, for what is too old.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);
/// Pauses between attempts while the store does not do as it is asked.
const RETRY_MIN: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What the task and the thread of the logs tell each other. Cheap to clone.
#[derive(Clone, Default)]
pub struct Uploads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Accounts to visit, and how many bytes of each are not known to be stored.
    due: Mutex<BTreeMap<AccountId, u64>>,
    changed: Notify,
    /// Files that are stored and may go from the local disk.
    let_go: Mutex<BTreeSet<(AccountId, String)>>,
}

impl Uploads {
    /// Tells of a sealed file that has its index now.
    pub(in crate::logs) fn indexed(&self, account: AccountId, bytes: u64) {
        *locked(&self.0.due).entry(account).or_default() += bytes;
        self.0.changed.notify_one();
    }

    /// Whether any files may go.
    pub(in crate::logs) fn has_let_go(&self) -> bool {
        !locked(&self.0.let_go).is_empty()
    }

    /// Takes some of the files that may go.
    pub(in crate::logs) fn take_let_go(&self, count_max: usize) -> Vec<(AccountId, String)> {
        let mut let_go = locked(&self.0.let_go);
        std::iter::from_fn(|| let_go.pop_first()).take(count_max).collect()
    }

    fn waiting_bytes(&self) -> u64 {
        locked(&self.0.due).values().sum()
    }
}

/// Begins to put what is in `dir`, the folder of the accounts' logs.
pub fn start(
    objects: Objects,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    retention: RetentionOf,
    clock: Clock,
    tasks: &Tasks,
) -> Uploads {
    let uploads = Uploads::default();
    let Some(own) = objects.0.own.clone() else { return uploads };
    objects.0.catalog.is_shown(own.clone());
    let work =
        Work { objects, own, dir, disk, retention, clock, uploads: uploads.clone(), kept: Mutex::default() };
    let draining = tasks.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = work.run() => {}
            () = draining.draining() => {}
        }
    });
    uploads
}

struct Work {
    objects: Objects,
    /// Where this gateway's objects are.
    own: Key,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    retention: RetentionOf,
    clock: Clock,
    uploads: Uploads,
    kept: Mutex<Kept>,
}

/// Files that are both stored and on the local disk.
#[derive(Default)]
struct Kept {
    bytes: u64,
    /// The oldest first: when the first line was received, whose it is, its name; and its length.
    files: BTreeMap<(u64, AccountId, String), u64>,
    received_ms: HashMap<AccountId, BTreeSet<(u64, String)>>,
}

impl Kept {
    fn put(&mut self, account: AccountId, received_ms: u64, name: &str, bytes: u64) {
        if self.files.insert((received_ms, account, name.to_owned()), bytes).is_none() {
            self.bytes += bytes;
            self.received_ms.entry(account).or_default().insert((received_ms, name.to_owned()));
        }
    }

    fn forget(&mut self, account: AccountId) {
        for (received_ms, name) in self.received_ms.remove(&account).unwrap_or_default() {
            self.bytes -= self.files.remove(&(received_ms, account, name)).unwrap_or(0);
        }
    }

    /// The oldest files, as far as all are longer than `bytes_max`.
    fn let_go(&mut self, bytes_max: u64) -> Vec<(AccountId, String)> {
        let mut let_go = Vec::new();
        while self.bytes > bytes_max
            && let Some(((received_ms, account, name), bytes)) = self.files.pop_first()
        {
            self.bytes -= bytes;
            if let Some(files) = self.received_ms.get_mut(&account) {
                files.remove(&(received_ms, name.clone()));
                if files.is_empty() {
                    self.received_ms.remove(&account);
                }
            }
            let_go.push((account, name));
        }
        let_go
    }
}

/// A sealed file on the local disk.
struct Local {
    name: String,
    bytes: u64,
    /// Length of its index; 0: it has none yet.
    index_bytes: u64,
}

/// What the local folder of an account holds.
#[derive(Default)]
struct Folder {
    sealed: Vec<Local>,
    /// Bytes of the growing file and of what is kept aside.
    other_bytes: u64,
    /// What is over, in the store as well.
    dropped: Dropped,
}

impl Work {
    async fn run(&self) {
        let (mut pause, mut looked) = (RETRY_MIN, None::<Instant>);
        loop {
            let mut done = Ok(());
            if looked.is_none_or(|looked| is_over(looked, LOOK_INTERVAL)) {
                done = self.look().await;
                looked = done.is_ok().then(clock::monotonic);
            }
            while done.is_ok() {
                let due: Vec<_> = locked(&self.uploads.0.due).keys().copied().take(VISITS_AT_ONCE).collect();
                if due.is_empty() {
                    break;
                }
                done = join_all(due.into_iter().map(|account| self.visit_due(account)))
                    .await
                    .into_iter()
                    .collect();
            }
            self.objects.0.metrics.objects.waiting_bytes.set(self.uploads.waiting_bytes() as i64);
            match done {
                Ok(()) => {
                    if pause > RETRY_MIN {
                        tracing::info!(store = %self.objects.0.location, "the object store takes files again");
                    }
                    pause = RETRY_MIN;
                    let _ = tokio::time::timeout(LOOK_INTERVAL, self.uploads.0.changed.notified()).await;
                }
                Err(error) => {
                    if pause == RETRY_MIN {
                        self.warn(&error);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).clamp(Duration::from_millis(1), RETRY_MAX);
                }
            }
        }
    }

    fn warn(&self, error: &ObjectError) {
        tracing::warn!(
            store = %self.objects.0.location,
            error = chain(error),
            waiting_bytes = self.uploads.waiting_bytes(),
            "the object store does not take log files: they stay on the local disk and are put again and again. Look whether the store \
             runs and is reached, and whether `logs.object_store` and the AWS_… variables are right"
        );
    }

    /// Makes all accounts due.
    async fn look(&self) -> Result<(), ObjectError> {
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let local = blocking(move || {
            let entries = disk.list(&dir).or_else(none_if_gone)?;
            let accounts = entries.iter().filter_map(|entry| names::parse_account(&entry.name));
            let waiting = |account| {
                let folder = folder(&*disk, &dir, account)?;
                Ok((
                    account,
                    folder.sealed.iter().filter(|file| file.index_bytes > 0).map(|file| file.bytes).sum(),
                ))
            };
            accounts.map(waiting).collect::<io::Result<Vec<(_, u64)>>>()
        });
        let local = local.await.map_err(|source| self.unreadable(&self.dir, source))?;
        {
            let mut due = locked(&self.uploads.0.due);
            for (account, bytes) in local {
                due.entry(account).or_insert(bytes);
            }
        }
        let stored = self.objects.folders(&self.own).await?;
        let accounts = stored.iter().filter_map(|key| names::parse_account(key.filename()?));
        let mut due = locked(&self.uploads.0.due);
        for account in accounts {
            due.entry(account).or_default();
        }
        Ok(())
    }

    async fn visit_due(&self, account: AccountId) -> Result<(), ObjectError> {
        let was_due = locked(&self.uploads.0.due).remove(&account).unwrap_or(0);
        let visited = self.visit(account).await;
        if visited.is_err() {
            *locked(&self.uploads.0.due).entry(account).or_default() += was_due;
        }
        visited
    }

    /// Brings an account's local folder and its folder in the store into line.
    async fn visit(&self, account: AccountId) -> Result<(), ObjectError> {
        let local = self.folder(account).await?;
        let mut begun = clock::monotonic();
        let mut listed = self.objects.list(&self.own, account).await?;
        let missing: Vec<_> =
            local.sealed.iter().filter(|file| file.index_bytes > 0 && !listed.has(file)).collect();
        // What lay behind these was dropped: they go before anything newer is there.
        let is_over = |file: &&Stored| local.dropped.includes(file.first_seq, file.first_received_ms);
        let over = listed.files.iter().take_while(is_over).count();
        let dropped = self.drop_oldest(account, &local, &mut listed, over).await;
        let mut put = Vec::new();
        for file in missing {
            if self.put(account, file).await? {
                put.push(file);
            }
        }
        if over > 0 || !put.is_empty() {
            begun = clock::monotonic();
            listed = self.objects.list(&self.own, account).await?;
            if let Some(file) = put.iter().find(|file| !listed.has(file)) {
                let key = super::account_folder(&self.own, account).join(file.name.as_str());
                return Err(ObjectError::Missing { key: key.to_string() });
            }
        }
        let expired = dropped.and(self.expire(account, &local, &mut listed).await);
        // Before anything is let go: whoever reads looks here for what is not on the disk.
        let files: Arc<[Stored]> = std::mem::take(&mut listed.files).into();
        self.objects.0.catalog.show(self.own.clone(), account, begun, files.clone());
        let mut kept = locked(&self.kept);
        kept.forget(account);
        for file in &local.sealed {
            if let Some(stored) = files.iter().find(|stored| stored.is(file)) {
                kept.put(account, stored.first_received_ms, &file.name, file.bytes + file.index_bytes);
            }
        }
        locked(&self.uploads.0.let_go).extend(kept.let_go(self.objects.0.local_bytes_max));
        expired
    }

    async fn folder(&self, account: AccountId) -> Result<Folder, ObjectError> {
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let listed = blocking(move || folder(&*disk, &dir, account)).await;
        listed.map_err(|source| self.unreadable(&names::account_dir(&self.dir, account), source))
    }

    /// Puts a file behind its index. False: it is not there any more.
    async fn put(&self, account: AccountId, file: &Local) -> Result<bool, ObjectError> {
        let (dir, folder) =
            (names::account_dir(&self.dir, account), super::account_folder(&self.own, account));
        for name in [names::index(&file.name), file.name.clone()] {
            let path = dir.join(&name);
            match self.put_one(&path, &folder.clone().join(name)).await {
                Err(ObjectError::Local { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(false);
                }
                put => put?,
            }
        }
        let metrics = &self.objects.0.metrics.objects;
        metrics.stored_files.inc();
        metrics.stored_bytes.inc_by(file.bytes + file.index_bytes);
        tracing::debug!(account = account.0, file = file.name, bytes = file.bytes, "stored a log file");
        Ok(true)
    }

    async fn put_one(&self, path: &Path, key: &Key) -> Result<(), ObjectError> {
        let store = &self.objects.0.store;
        let (piece, more) = self.read(path, 0).await?;
        if !more {
            return self.objects.asked("put", key, store.put(key, PutPayload::from(piece))).await.map(drop);
        }
        let mut upload = self.objects.asked("put", key, store.put_multipart(key)).await?;
        let pieces = async {
            let (mut at, mut piece, mut more) = (0, piece, true);
            loop {
                at += piece.len() as u64;
                self.objects.asked("put", key, upload.put_part(PutPayload::from(piece))).await?;
                if !more {
                    return self.objects.asked("put", key, upload.complete()).await.map(drop);
                }
                (piece, more) = self.read(path, at).await?;
            }
        };
        let put = pieces.await;
        if put.is_err() {
            // What cannot be taken back is the store's to clean up.
            let _ = upload.abort().await;
        }
        put
    }

    /// A piece of a file, and whether there is more behind it.
    async fn read(&self, path: &Path, from: u64) -> Result<(Bytes, bool), ObjectError> {
        let (disk, path) = (self.disk.clone(), path.to_owned());
        let shown = path.clone();
        let read = blocking(move || {
            let file = disk.open(&path, Mode::Read)?;
            let left = file.bytes()?.saturating_sub(from);
            let mut piece = vec![0; left.min(PIECE_BYTES) as usize];
            let mut len = 0;
            while len < piece.len() {
                match file.read_at(from + len as u64, &mut piece[len..])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => len += read,
                }
            }
            Ok((Bytes::from(piece), left > PIECE_BYTES))
        });
        read.await.map_err(|source| self.unreadable(&shown, source))
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> ObjectError {
        self.objects.0.metrics.objects.failures.with_label_values(&["local"]).inc();
        ObjectError::Local { path: path.display().to_string(), source }
    }

    /// Deletes what an account need not keep, oldest first.
    async fn expire(
        &self,
        account: AccountId,
        local: &Folder,
        listed: &mut Listed,
    ) -> Result<(), ObjectError> {
        let Some(retention) = (self.retention)(account) else { return Ok(()) };
        let count = expired(local, &listed.files, retention, self.clock.unix_ms());
        self.drop_oldest(account, local, listed, count).await
    }

    async fn drop_oldest(
        &self,
        account: AccountId,
        local: &Folder,
        listed: &mut Listed,
        count: usize,
    ) -> Result<(), ObjectError> {
        let mut waits = false;
        for file in listed.files.drain(..count).collect::<Vec<_>>() {
            if local.sealed.iter().any(|local| local.name == file.name()) {
                // First there, or it would be put again.
                locked(&self.uploads.0.let_go).insert((account, file.name().to_owned()));
                waits = true;
            }
            // Nothing goes before what is older.
            if waits {
                continue;
            }
            tracing::info!(account = account.0, object = %file, bytes = file.bytes, "dropped a stored log file");
            // In this order: an index that stands alone tells of a file that is lost.
            self.objects.delete(&file.index()).await?;
            self.objects.delete(&file.key).await?;
            self.objects.0.metrics.objects.expired_files.inc();
        }
        Ok(())
    }
}

/// How many of the oldest stored files an account need not keep. The rules are those of the local disk: see `retain`.
fn expired(local: &Folder, stored: &[Stored], retention: Retention, now_ms: u64) -> usize {
    let oldest_ms = now_ms.saturating_sub(u64::from(retention.days) * DAY_MS);
    let only_local = local.sealed.iter().filter(|file| !stored.iter().any(|stored| stored.is(file)));
    let mut bytes = local.other_bytes
        + only_local.clone().map(|file| file.bytes + file.index_bytes).sum::<u64>()
        + stored.iter().map(|file| file.bytes + file.index_bytes).sum::<u64>();
    let mut begins: Vec<_> = only_local.filter_map(|file| names::parse_sealed(&file.name)).collect();
    begins.extend(stored.iter().map(|file| (file.first_seq, file.first_received_ms)));
    begins.sort_unstable();
    let mut count = 0;
    for file in stored {
        let length = file.bytes + file.index_bytes;
        let is_over = retention.bytes_max.is_some_and(|max| bytes > max && bytes - length >= max / 2);
        let next = begins.iter().find(|(seq, _)| *seq > file.first_seq);
        // The next file's first line was received after this one's last; and so was this one stored.
        let newest_ms = next.map_or(file.stored_ms, |(_, received_ms)| *received_ms);
        let is_old = file.first_received_ms < oldest_ms && newest_ms < oldest_ms;
        let is_dropped = local.dropped.includes(file.first_seq, file.first_received_ms);
        if !is_over && !is_old && !is_dropped {
            break;
        }
        bytes -= length;
        count += 1;
    }
    count
}

impl Listed {
    /// Whether a local file is stored, with its index.
    fn has(&self, file: &Local) -> bool {
        self.files.iter().any(|stored| stored.is(file))
    }
}

impl Stored {
    fn is(&self, file: &Local) -> bool {
        self.name() == file.name && self.bytes == file.bytes && self.index_bytes > 0
    }
}

/// What an account's local folder holds.
fn folder(disk: &dyn Disk, dir: &Path, account: AccountId) -> io::Result<Folder> {
    let mut folder = Folder::default();
    let mut indexes = HashMap::new();
    for entry in disk.list(&names::account_dir(dir, account)).or_else(none_if_gone)? {
        if names::parse_sealed(&entry.name).is_some() {
            folder.sealed.push(Local { name: entry.name, bytes: entry.bytes, index_bytes: 0 });
        } else if names::parse_index(&entry.name).is_some() {
            indexes.insert(entry.name, entry.bytes);
        } else if entry.name == CURRENT {
            folder.other_bytes += entry.bytes;
        }
    }
    for file in &mut folder.sealed {
        file.index_bytes = indexes.get(&names::index(&file.name)).copied().unwrap_or(0);
    }
    folder.sealed.sort_by(|a, b| a.name.cmp(&b.name));
    folder.dropped = Dropped::load(disk, &names::account_dir(dir, account))?;
    Ok(folder)
}

fn none_if_gone<T: Default>(error: io::Error) -> io::Result<T> {
    if error.kind() == io::ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}

/// Does what may wait for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
