//! A file of accounts and tokens in place of a control plane: TOML or JSON, of digests, no tokens.
//!
//! The file is looked at twice a second, through symbolic links, and taken when it has stayed the same from one look to the
//! next: one that is being written is not read half. All of it comes into force at once. One that cannot be taken changes
//! nothing: the last good one serves on, is no longer confirmed, and so grows old.

use super::current::Current;
use crate::domain::account::{AccountGrant, AccountId, Durability, Retention, TokenId};
use crate::domain::directory::{Change, Directory};
use crate::domain::terms::{Network, Scope, Terms};
use crate::domain::token::TokenDigest;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::telemetry::chain;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name that stands for a control plane's store.
const STORE: &str = "file";

const INTERVAL: Duration = Duration::from_millis(500);

/// Largest file taken: some millions of tokens.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What an account keeps unless the file says otherwise.
const RETENTION_DAYS_DEFAULT: u32 = 7;

/// Why a file cannot be taken. Shows nothing of what is in it but names of keys, and numbers of accounts.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is not a file")]
    NoFile,
    #[error("it is larger than 1 GiB")]
    TooLarge,
    #[error("it holds no token: it may be on its way of being written")]
    Empty,
    #[error("line {line}: {reason}")]
    Syntax { line: usize, reason: String },
    #[error("account {0} stands in it twice")]
    AccountTwice(u32),
    #[error("a token of account {0} stands in it twice")]
    TokenTwice(u32),
    #[error("account {0} keeps nothing: retention_days must be at least 1")]
    Retention(u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    #[serde(default)]
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    id: u32,
    /// For people.
    #[serde(default, rename = "name")]
    _name: String,
    retention_days: Option<u32>,
    retention_bytes_max: Option<u64>,
    rate_bytes_max: Option<u64>,
    durability: Option<Durability>,
    #[serde(default)]
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    digest: TokenDigest,
    /// For people.
    #[serde(default, rename = "name")]
    _name: String,
    id: Option<u32>,
    enabled: Option<bool>,
    /// Seconds since the Unix epoch.
    expires_at: Option<u64>,
    #[serde(default)]
    scope: Restrictions,
    #[serde(default)]
    would_refuse: bool,
}

/// A scope, in which a misspelt key does not pass for no restriction.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Restrictions {
    doors: Box<[Box<str>]>,
    sources: Box<[Network]>,
    types: Box<[Box<str>]>,
}

impl Token {
    fn terms(self) -> Terms {
        let Restrictions { doors, sources, types } = self.scope;
        let expires_ms = self.expires_at.map(|seconds| seconds.saturating_mul(1_000));
        Terms { expires_ms, scope: Scope { doors, sources, types }, would_refuse: self.would_refuse }
    }
}

/// Keeps what is in force equal to `path`, until the stage drains.
pub async fn follow(path: PathBuf, current: Current, metrics: Arc<Metrics>, tasks: Tasks) {
    let mut watched = Watched { path, current, metrics, seen: None, judged: None, last: None };
    loop {
        watched.look().await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = tasks.draining() => return,
        }
    }
}

struct Watched {
    path: PathBuf,
    current: Current,
    metrics: Arc<Metrics>,
    /// At the last look.
    seen: Option<Stamp>,
    /// The last file judged, and whether it was taken.
    judged: Option<(Stamp, bool)>,
    /// The last directory that came of it.
    last: Option<Arc<Directory>>,
}

/// What tells that a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Which nobody can set back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let about = std::fs::metadata(path)?;
        let (modified, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
        Ok(Self { device: about.dev(), inode: about.ino(), bytes: about.len(), modified, changed })
    }
}

impl Watched {
    async fn look(&mut self) {
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => stamp,
            Err(error) => {
                if self.judged.take().is_some() || self.current.trouble().is_none() {
                    self.refuse(&FileError::Unreadable(error));
                }
                return;
            }
        };
        let is_settled = self.seen.replace(stamp) == Some(stamp) || self.last.is_none();
        match self.judged {
            Some((judged, true)) if judged == stamp => self.current.confirm(),
            Some((judged, false)) if judged == stamp => {}
            _ if is_settled => self.judge(stamp).await,
            _ => {}
        }
    }

    async fn judge(&mut self, stamp: Stamp) {
        let (path, base) = (self.path.clone(), self.last.clone().unwrap_or_default());
        let read = tokio::task::spawn_blocking(move || read(&path, &base)).await;
        // One that changed while it was read is looked at again.
        if Stamp::of(&self.path).ok() != Some(stamp) {
            return;
        }
        match read {
            Ok(Ok(directory)) => {
                self.judged = Some((stamp, true));
                self.take(directory);
            }
            Ok(Err(error)) => {
                self.judged = Some((stamp, false));
                self.refuse(&error);
            }
            Err(crash) => tracing::error!(%crash, "the file of tokens cannot be read"),
        }
    }

    fn take(&mut self, directory: Directory) {
        self.metrics.directory.revision.set(directory.revision() as i64);
        self.metrics.directory.tokens.set(directory.tokens() as i64);
        self.metrics.directory.control_connected.set(1);
        tracing::info!(tokens = directory.tokens(), "the file of tokens is in force");
        self.last = Some(Arc::new(directory.clone()));
        self.current.publish(directory, STORE);
    }

    fn refuse(&self, error: &FileError) {
        self.metrics.directory.failures.inc();
        self.metrics.directory.control_connected.set(0);
        let (file, cause) = (self.path.display(), chain(error));
        tracing::error!(cause, "the file of tokens {file} is not taken, the last good one serves on");
        self.current.set_trouble(format!("{file} is not taken: {error}"));
    }
}

/// The directory that the file makes of `base`.
fn read(path: &Path, base: &Directory) -> Result<Directory, FileError> {
    let about = std::fs::metadata(path).map_err(FileError::Unreadable)?;
    if !about.is_file() {
        return Err(FileError::NoFile);
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    let text = std::fs::read_to_string(path).map_err(FileError::Unreadable)?;
    let (accounts, tokens) = sorted(parse(&text)?)?;
    if tokens.is_empty() {
        return Err(FileError::Empty);
    }
    let mut merge = base.merge();
    for change in accounts.into_values().chain(tokens.into_values()) {
        merge.take(change).expect("sorted maps are in their order");
    }
    Ok(merge.finish(base.revision() + 1))
}

/// JSON if it begins as JSON does.
fn parse(text: &str) -> Result<Tokens, FileError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| FileError::Syntax { line: error.line(), reason: reason(&error.to_string()) });
    }
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        FileError::Syntax { line: before.matches('\n').count() + 1, reason: reason(error.message()) }
    })
}

/// What is wrong, without anything that stands in the file: a token where its digest should be must not get into a log.
fn reason(message: &str) -> String {
    let ours = message.split_once("expected ").map_or("", |(_, expected)| expected);
    match message {
        _ if message.starts_with("unknown field") => format!("a key that is not known here, expected {ours}"),
        _ if message.starts_with("invalid type") || message.starts_with("invalid value") => {
            format!("a value that its key does not take, expected {ours}")
        }
        _ if message.starts_with("missing field") || !message.contains(['"', '`', '\'']) => {
            message.to_owned()
        }
        _ => "cannot be read".to_owned(),
    }
}

type Sorted = (BTreeMap<AccountId, Change>, BTreeMap<TokenDigest, Change>);

fn sorted(file: Tokens) -> Result<Sorted, FileError> {
    let (mut accounts, mut tokens) = (BTreeMap::new(), BTreeMap::new());
    let mut digests = BTreeSet::new();
    for Account {
        id, retention_days, retention_bytes_max, rate_bytes_max, durability, tokens: own, ..
    } in file.accounts
    {
        let account = AccountId(id);
        let days = retention_days.unwrap_or(RETENTION_DAYS_DEFAULT);
        if days == 0 {
            return Err(FileError::Retention(id));
        }
        let retention = Retention { days, bytes_max: retention_bytes_max };
        let grant = AccountGrant { account, durability, rate_bytes_max, retention };
        if accounts.insert(account, Change::Account(grant)).is_some() {
            return Err(FileError::AccountTwice(id));
        }
        for token in own {
            let digest = token.digest;
            if !digests.insert(digest) {
                return Err(FileError::TokenTwice(id));
            }
            if token.enabled.unwrap_or(true) {
                let [a, b, c, d, ..] = *digest.as_bytes();
                let number = TokenId(token.id.unwrap_or(u32::from_be_bytes([a, b, c, d])));
                let terms = token.terms().shared();
                tokens.insert(digest, Change::Token { digest, token: number, account, terms });
            }
        }
    }
    Ok((accounts, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<usize, &str>) {
        let judged = parse(text).and_then(sorted).map(|(_, tokens)| tokens.len());
        assert_eq!(judged.map_err(|error| error.to_string()), expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn takes_toml_and_json_and_says_what_is_wrong_without_showing_secrets() {
        let digest = |token: &str| TokenDigest::of(token).to_hex();
        let (one, two) = (digest("one"), digest("two"));
        check("", Ok(0));
        check(&format!("[[accounts]]\nid = 1\nname = \"a\"\ntokens = [{{ digest = \"{one}\" }}]\n"), Ok(1));
        check(
            &format!(
                r#"{{"accounts":[{{"id":1,"tokens":[{{"digest":"{one}"}},{{"digest":"{two}","enabled":false}}]}}]}}"#
            ),
            Ok(1),
        );
        let token =
            |token: &str| format!("[[accounts]]\nid = 1\n[[accounts.tokens]]\ndigest = \"{token}\"\n");
        check(&token("a-plaintext-token-by-mistake"), Err("line 4: a digest has 64 hexadecimal digits"));
        check(&(token(&one) + &token(&two)), Err("account 1 stands in it twice"));
        check(
            &token(&one).replace("id = 1", "id = 1\nretention_days = 0"),
            Err("account 1 keeps nothing: retention_days must be at least 1"),
        );
        check(
            "[[accounts]]\nid = 1\ntoken = \"a-plaintext-token\"\n",
            Err(
                "line 3: a key that is not known here, expected one of `id`, `name`, `retention_days`, `retention_bytes_max`, `rate_bytes_max`, `durability`, `tokens`",
            ),
        );
        check(
            "[[accounts]]\nid = \"a-plaintext-token\"\n",
            Err("line 2: a value that its key does not take, expected u32"),
        );
        let scoped = |scope: &str| {
            format!("{}expires_at = 4000000000\nscope = {{ {scope} }}\nwould_refuse = true\n", token(&one))
        };
        check(&scoped("doors = [\"bulk\"], sources = [\"10.0.0.0/8\"], types = [\"nginx\"]"), Ok(1));
        check(
            &scoped("source = [\"10.0.0.0/8\"]"),
            Err("line 6: a key that is not known here, expected one of `doors`, `sources`, `types`"),
        );
        let twice =
            format!("[[accounts]]\nid = 1\ntokens = [{{ digest = \"{one}\" }}, {{ digest = \"{one}\" }}]\n");
        check(&twice, Err("a token of account 1 stands in it twice"));
    }

    #[test]
    fn a_file_that_was_emptied_is_not_taken_and_neither_is_one_that_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, "").unwrap();
        let judge = |path: &Path| read(path, &Directory::default()).map(drop).unwrap_err().to_string();
        assert_eq!(judge(&path), "it holds no token: it may be on its way of being written");
        assert_eq!(judge(folder.path()), "it is not a file");
    }
}
