//! Where the objects are, as it is configured.

use std::fmt;
use std::path::PathBuf;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    pub location: Location,
    /// Of a store other than Amazon's own.
    pub endpoint: Option<String>,
    pub region: String,
    /// PEM: authorities that certify the store; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    pub credentials: Credentials,
    /// Bytes of stored files that stay on the local disk as well.
    pub local_bytes_max: u64,
}

/// Where objects are put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket, and what the names of all objects in it begin with.
    S3 {
        bucket: String,
        prefix: String,
    },
    Folder(PathBuf),
}

/// The text names no place for objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("must begin with s3:// or file:///")]
    Scheme,
    #[error("must name a bucket, such as s3://bucket/prefix")]
    Bucket,
    #[error("must name a folder from the root on, such as file:///var/lib/shipgate-objects")]
    Folder,
    #[error("must have no `?`, `#`, empty name, `.` or `..` in its path")]
    Path,
}

impl Location {
    /// Reads `s3://bucket/prefix` or `file:///folder`.
    pub fn parse(url: &str) -> Result<Self, LocationError> {
        if url.contains(['?', '#']) || url.chars().any(char::is_control) {
            return Err(LocationError::Path);
        }
        if let Some(folder) = url.strip_prefix("file://") {
            let is_whole = folder.starts_with('/') && folder.len() > 1;
            return if is_whole { Ok(Self::Folder(folder.into())) } else { Err(LocationError::Folder) };
        }
        let path = url.strip_prefix("s3://").ok_or(LocationError::Scheme)?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', ' ']) {
            return Err(LocationError::Bucket);
        }
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && prefix.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(LocationError::Path);
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
        }
    }
}

/// The environment's `AWS_…` variables, by which S3's clients are given credentials. Their values are shown nowhere.
#[derive(Clone, Default)]
pub struct Credentials(Vec<(String, String)>);

impl Credentials {
    /// Takes out of an environment what concerns S3.
    pub fn of(environment: &[(String, String)]) -> Self {
        let ours = environment.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
        Self(ours.cloned().collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_for_objects_is_read_and_shown() {
        for url in ["s3://bucket", "s3://bucket/a/b", "file:///var/lib/objects"] {
            assert_eq!(Location::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Location::parse("s3://bucket/a/"), Location::parse("s3://bucket/a"));
        for (url, error) in [
            ("", LocationError::Scheme),
            ("gs://bucket", LocationError::Scheme),
            ("/var/lib", LocationError::Scheme),
            ("s3://", LocationError::Bucket),
            ("s3:///prefix", LocationError::Bucket),
            ("s3://key:secret@bucket", LocationError::Bucket),
            ("s3://bucket/a//b", LocationError::Path),
            ("s3://bucket/../b", LocationError::Path),
            ("s3://bucket?region=x", LocationError::Path),
            ("file://folder", LocationError::Folder),
            ("file:///", LocationError::Folder),
        ] {
            assert_eq!(Location::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn credentials_are_named_and_not_shown() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment =
            [variable("AWS_SECRET_ACCESS_KEY", "hush"), variable("PATH", "/bin"), variable("AWS_REGION", "")];
        let credentials = Credentials::of(&environment);
        assert!(credentials.has("AWS_SECRET_ACCESS_KEY") && !credentials.has("AWS_REGION"));
        assert_eq!(format!("{credentials:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
    }
}
