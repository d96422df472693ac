//! The object store: where sealed log files and their indexes go when they are whole, S3 or a folder.
//!
//! Several gateways share a store. Each puts, lists and deletes what is its own, by the task in `upload`; whoever reads, reads all:
//!
//! ```text
//! <url>/<gateway's id>/<account>/20261121T192156.123Z-<seq>.ndjson.zst          a sealed file, as it was on the gateway's disk
//! <url>/<gateway's id>/<account>/20261121T192156.123Z-<seq>.ndjson.zst.index    its index, which is put before it
//! ```
//!
//! An object appears whole or not at all, and never changes. A file is called stored only once a listing shows it at its length, with its
//! index. Nothing that is written waits for the store, and a store that is down costs local disk and nothing else.
//!
//! Credentials are in no log line, error or metric.

mod catalog;
mod config;
mod http;
pub mod upload;

pub use config::{Config, Credentials, Location, LocationError};

use super::names;
use crate::clock::{self, Clock};
use crate::domain::account::AccountId;
use crate::metrics::Metrics;
use crate::telemetry::chain;
use crate::tls::{self, TrustError};
use bytes::Bytes;
use catalog::Catalog;
use futures_util::TryStreamExt;
use http::Connector;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A request that fails is sent again so often, within this time.
const RETRIES_MAX: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// An index is put before its file: one that has stood alone for longer than this has lost it.
const LOST_AFTER_MS: u64 = 10 * 60 * 1000;
/// Ranges with no more than this between them are read at once.
const GAP_BYTES_MAX: u64 = if cfg!(test) { 16 } else { 64 << 10 };

/// Why there is no object store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the folder {folder}")]
    Folder { folder: String, source: io::Error },
    #[error("the object store cannot be spoken to")]
    Store(#[source] object_store::Error),
    #[error("no object store can be trusted")]
    Trust(#[from] TrustError),
}

/// Why an object was not put, listed, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("cannot {operation} {key}")]
    Store { operation: &'static str, key: String, source: object_store::Error },
    #[error("cannot read {path}")]
    Local { path: String, source: io::Error },
    #[error("the object store lacks {key}, which it has taken")]
    Missing { key: String },
    #[error("the object store has less of {key} than it had")]
    Short { key: String },
    #[error("the object store did not answer in time")]
    Late,
    #[error("the object store's folder {folder} is not there: is it mounted?")]
    Away { folder: String },
}

/// The way to the object store. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    location: Location,
    root: Key,
    /// Where the gateway of this process, or whose folder it reads, puts its objects.
    own: Option<Key>,
    catalog: Catalog,
    local_bytes_max: u64,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

/// A sealed file in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) struct Stored {
    key: Key,
    /// 0: it is lost, and its index tells of what.
    pub bytes: u64,
    /// Length of its index; 0: it is not known to have one.
    pub index_bytes: u64,
    /// Of its first block.
    pub first_seq: u64,
    pub first_received_ms: u64,
    /// When it was put, by the store's clock.
    stored_ms: u64,
}

impl Stored {
    /// What it is called, here as on its gateway's disk.
    pub(in crate::logs) fn name(&self) -> &str {
        self.key.filename().unwrap_or_default()
    }

    /// Tells its gateway apart from others.
    pub(in crate::logs) fn origin(&self) -> u32 {
        origin(&self.key.parent().and_then(|account| account.parent()).unwrap_or_default())
    }

    fn index(&self) -> Key {
        sibling(&self.key, &names::index(self.name()))
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

fn sibling(key: &Key, name: &str) -> Key {
    key.parent().unwrap_or_default().join(name)
}

/// The name of a gateway's folder, as a number.
fn origin(folder: &Key) -> u32 {
    crc32c::crc32c(folder.filename().unwrap_or_default().as_bytes())
}

/// Whether an object is not there, rather than that the store cannot say.
pub(in crate::logs) fn is_missing(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Store { source: object_store::Error::NotFound { .. }, .. })
}

impl Objects {
    /// `gateway`: the id of the one in this process, or of the one whose folder it reads. To be called within a runtime.
    pub fn open(config: &Config, gateway: Option<&str>, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let (store, root) = match &config.location {
            Location::S3 { bucket, prefix } => (s3(config, bucket)?, Key::from(prefix.as_str())),
            Location::Folder(folder) => {
                let failed = |source| OpenError::Folder { folder: folder.display().to_string(), source };
                std::fs::create_dir_all(folder).map_err(failed)?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(OpenError::Store)?;
                (Arc::new(store.with_fsync(true)) as Arc<dyn ObjectStore>, Key::default())
            }
        };
        let own = gateway.map(|gateway| root.clone().join(gateway));
        let (location, local_bytes_max) = (config.location.clone(), config.local_bytes_max);
        let (catalog, runtime) = (Catalog::default(), Handle::current());
        Ok(Self(Arc::new(Inner { store, location, root, own, catalog, local_bytes_max, metrics, runtime })))
    }

    /// Tells the gateway of this process apart from others.
    pub(in crate::logs) fn own_origin(&self) -> u32 {
        self.0.own.as_ref().map_or(0, origin)
    }

    /// Where a file of this process's gateway is in the store, if it is there.
    pub(in crate::logs) fn own(&self, account: AccountId, name: &str, bytes: u64) -> Option<Stored> {
        let (first_seq, first_received_ms) = names::parse_sealed(name)?;
        let key = account_folder(self.0.own.as_ref()?, account).join(name);
        Some(Stored { key, bytes, index_bytes: 0, first_seq, first_received_ms, stored_ms: 0 })
    }

    /// What is stored of an account, by all gateways, oldest first; and whether that is all: a store that does not answer in time has
    /// more to tell. It may be some seconds old, but for what this process has put or deleted.
    pub(in crate::logs) async fn of_account(&self, account: AccountId) -> (Vec<Stored>, bool) {
        self.0.catalog.files(self, account).await
    }

    /// Ranges of a stored file. Bounded is what they are together, not how they lie.
    pub(in crate::logs) async fn ranges(
        &self,
        file: &Stored,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, ObjectError> {
        let read = |range: Range<u64>| async move {
            let read = self.0.store.get_range(&file.key, range.clone());
            let read = self.asked("read", &file.key, read).await?;
            self.0.metrics.objects.read_bytes.inc_by(read.len() as u64);
            // Of a range that reaches beyond the end there is an answer, too. It must not be cut up as if it were whole.
            let is_whole = read.len() as u64 == range.end - range.start;
            is_whole.then_some(read).ok_or_else(|| ObjectError::Short { key: file.key.to_string() })
        };
        object_store::coalesce_ranges(ranges, read, GAP_BYTES_MAX).await
    }

    /// The same for a thread that has no runtime, and no time to lose.
    pub(in crate::logs) fn range_now(
        &self,
        file: &Stored,
        range: Range<u64>,
        in_time: Duration,
    ) -> Result<Bytes, ObjectError> {
        let ranges = [range];
        let reading = async { tokio::time::timeout(in_time, self.ranges(file, &ranges)).await };
        let read = self.0.runtime.block_on(reading).map_err(|_| ObjectError::Late)??;
        Ok(read.into_iter().next().unwrap_or_default())
    }

    /// A range of a stored file's index, as far as it goes; `None`: to its end.
    pub(in crate::logs) async fn index(
        &self,
        file: &Stored,
        from: u64,
        to: Option<u64>,
    ) -> Result<Bytes, ObjectError> {
        let key = file.index();
        let range = to.map_or(GetRange::Offset(from), |to| GetRange::Bounded(from..to));
        let asked = GetOptions::new().with_range(Some(range));
        let read = async { self.0.store.get_opts(&key, asked).await?.bytes().await };
        let read = self.asked("read", &key, read).await?;
        self.0.metrics.objects.read_bytes.inc_by(read.len() as u64);
        Ok(read)
    }

    /// The gateways that have put anything: their folders.
    async fn gateways(&self) -> Result<Vec<Key>, ObjectError> {
        self.folders(&self.0.root).await
    }

    async fn folders(&self, of: &Key) -> Result<Vec<Key>, ObjectError> {
        let listed = self.0.store.list_with_delimiter(Some(of));
        Ok(self.asked("list", of, listed).await?.common_prefixes)
    }

    /// What is in an account's folder below a gateway's: sealed files, oldest first, with those that are lost.
    async fn list(&self, gateway: &Key, account: AccountId) -> Result<Listed, ObjectError> {
        let folder = account_folder(gateway, account);
        let listed = self.0.store.list(Some(&folder)).try_collect::<Vec<_>>();
        let mut indexes = BTreeMap::new();
        let mut files = Vec::new();
        for object in self.asked("list", &folder, listed).await? {
            let Some(name) = object.location.filename() else { continue };
            let stored_ms = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            if let Some((first_seq, first_received_ms)) = names::parse_sealed(name) {
                let (key, bytes) = (object.location, object.size);
                files.push(Stored { key, bytes, index_bytes: 0, first_seq, first_received_ms, stored_ms });
            } else if let Some(sealed) = names::parse_index(name) {
                indexes.insert(sealed.to_owned(), (object.size, stored_ms));
            }
        }
        for file in &mut files {
            file.index_bytes = indexes.remove(file.name()).map_or(0, |(bytes, _)| bytes);
        }
        let now_ms = Clock::system().unix_ms();
        for (name, (index_bytes, stored_ms)) in indexes {
            if let Some((first_seq, first_received_ms)) = names::parse_sealed(&name)
                && stored_ms.saturating_add(LOST_AFTER_MS) < now_ms
            {
                let key = folder.clone().join(name);
                files.push(Stored { key, bytes: 0, index_bytes, first_seq, first_received_ms, stored_ms });
            }
        }
        files.sort_by_key(|file| (file.first_seq, file.first_received_ms));
        Ok(Listed { files })
    }

    async fn delete(&self, key: &Key) -> Result<(), ObjectError> {
        match self.asked("delete", key, self.0.store.delete(key)).await {
            Err(error) if is_missing(&error) => Ok(()),
            deleted => deleted,
        }
    }

    /// A folder in which nothing is found may be one that is not mounted, and one that is put into would be made anew, where nobody
    /// sees it once the right one is there again.
    fn away(&self) -> Option<String> {
        match &self.0.location {
            Location::Folder(folder) if !folder.is_dir() => Some(folder.display().to_string()),
            _ => None,
        }
    }

    /// What the store answers. Of a folder it is looked before and behind whether it is there: it may come back in between.
    async fn asked<T>(
        &self,
        operation: &'static str,
        key: &Key,
        asking: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        let result = match self.away() {
            Some(folder) => Err(ObjectError::Away { folder }),
            None => match asking.await {
                Err(source) => Err(ObjectError::Store { operation, key: key.to_string(), source }),
                Ok(answer) => Ok(answer),
            },
        };
        let is_empty = operation == "list" || result.as_ref().is_err_and(is_missing);
        let away = if is_empty { self.away() } else { None };
        let result = away.map_or(result, |folder| Err(ObjectError::Away { folder }));
        result.inspect_err(|error| {
            if operation != "read" || !is_missing(error) {
                self.0.metrics.objects.failures.with_label_values(&[operation]).inc();
                tracing::debug!(error = chain(error), "the object store did not do as it was asked");
            }
        })
    }
}

/// A listing of an account's folder.
struct Listed {
    files: Vec<Stored>,
}

fn account_folder(gateway: &Key, account: AccountId) -> Key {
    gateway.clone().join(account.to_string())
}

fn s3(config: &Config, bucket: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let tls = match &config.ca_file {
        Some(authorities) => tls::trusting(Some(authorities))?,
        None => tls::trusting_the_public()?,
    };
    let mut builder = AmazonS3Builder::new();
    for (name, value) in config.credentials.variables() {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    if !config.region.is_empty() {
        builder = builder.with_region(&config.region);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let store = builder
        .with_bucket_name(bucket)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_retry(retry)
        .with_http_connector(Connector { tls })
        .build();
    Ok(Arc::new(store.map_err(OpenError::Store)?))
}

/// Whether a time that began at an instant is over.
fn is_over(begun: Instant, time: Duration) -> bool {
    clock::monotonic().saturating_duration_since(begun) >= time
}

#[cfg(test)]
mod tests;
