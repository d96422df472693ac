//! Accounts: who owns tokens and logs, and what a gateway must know of each of them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An account's number: positive, stable, never reused. It names the account's folder of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u32);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shipping token's number, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub u32);

/// What a 200 promises about the batch it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is in the operating system's page cache: it survives `kill -9`, not a power cut.
    Written,
    /// It is on the disk: it survives both.
    #[default]
    Synced,
}

/// How long an account's sealed log files are kept. Whichever bound is reached first ends a file's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Days since the newest line of a file was received.
    pub days: u32,
    /// Bytes of the account's files on disk, oldest dropped first; `None`: no bound.
    pub bytes_max: Option<u64>,
}

/// What a gateway knows of an account. It travels in the snapshot, so every field changes without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountGrant {
    pub account: AccountId,
    /// `None`: the gateway's configured default.
    pub durability: Option<Durability>,
    /// Bytes of plain (inflated) log a second, averaged over bursts; `None`: no bound.
    pub rate_bytes_max: Option<u64>,
    pub retention: Retention,
}
