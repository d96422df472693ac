//! The key that seals shipping tokens: from configuration, or from a file that the first start creates.
//!
//! A key file is created whole or not at all, readable by its owner alone, and never replaced: tokens sealed with a
//! lost key cannot be opened again, so a missing key is an error and not a reason to make another.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// 32 bytes that nobody else may know.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// The text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token key has 64 hexadecimal digits")]
pub struct MalformedKey;

impl Key {
    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, MalformedKey> {
        let bytes = super::cipher::from_hex(text).ok_or(MalformedKey)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedKey)?))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

/// Never shows the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where the key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In the configuration.
    Given(Key),
    /// In this file: 64 hexadecimal digits.
    File(PathBuf),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the key file {} is missing, and the stored tokens open with no other key: restore it, copy it from another replica, or configure the key",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("the key file {} does not hold 64 hexadecimal digits", .0.display())]
    Malformed(PathBuf),
    #[error("the key file {} cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the key file {} cannot be created", .path.display())]
    Create { path: PathBuf, source: io::Error },
}

impl KeySource {
    /// The key that a store was made with.
    pub(super) fn existing(&self) -> Result<Key, KeyError> {
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::File(path) => read(path)?.ok_or_else(|| KeyError::Missing(path.clone())),
        }
    }

    /// The key for a new store.
    pub(super) fn existing_or_new(&self) -> Result<Key, KeyError> {
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::File(path) => match read(path)? {
                Some(key) => Ok(key),
                None => create(path).map_err(|source| KeyError::Create { path: path.clone(), source }),
            },
        }
    }
}

fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    let fault = |source| KeyError::Read { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(fault)?,
    };
    if fs::metadata(path).map_err(fault)?.permissions().mode() & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine may open the key file: chmod 600 it");
    }
    let key = Key::from_hex(text.trim_ascii()).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(Some(key))
}

fn create(path: &Path) -> io::Result<Key> {
    let key = Key::random().map_err(io::Error::other)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = writeln!(file, "{}", key.to_hex())
        .and_then(|()| file.sync_all())
        // Unlike a rename, a link never replaces a key that appeared meanwhile.
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_creates_a_file_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let source = KeySource::File(path.clone());
        assert!(matches!(source.existing(), Err(KeyError::Missing(_))));
        let key = source.existing_or_new().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(source.existing_or_new().unwrap(), key);
        assert_eq!(source.existing().unwrap(), key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_damaged_file_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        fs::write(&path, "abc").unwrap();
        let error = KeySource::File(path.clone()).existing_or_new().unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
    }

    #[test]
    fn debug_shows_no_key() {
        let key = Key::from_hex(&"ab".repeat(32)).unwrap();
        assert!(!format!("{:?}", KeySource::Given(key)).contains("ab"));
    }
}
