//! Who used which token: what a gateway counts between two reports. Sums and the top few; never a line, never a token.
//!
//! Instants are minutes since the Unix epoch by the control plane's clock, days likewise.

use super::account::TokenId;
use super::token::TokenDigest;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How many clients of a token are told apart between two reports.
pub const CLIENTS_MAX: usize = 8;
/// Longest part of a user agent that is kept, in bytes.
pub const AGENT_BYTES_MAX: usize = 100;

/// Among refusals: batches that were accepted because their token's refusal is a dry run.
pub const WOULD_REFUSE: &str = "would_refuse";

const MINUTES_A_DAY: u32 = 24 * 60;

/// The minute of an instant in Unix milliseconds.
pub fn minute_of(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 60_000).unwrap_or(u32::MAX)
}

/// The day of a minute.
pub fn day_of(minute: u32) -> u32 {
    minute / MINUTES_A_DAY
}

/// What was counted since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that the directory held.
    #[serde(default)]
    pub tokens: Vec<TokenUse>,
    /// Tokens that it did not: disabled, deleted, or never there.
    #[serde(default)]
    pub strangers: Vec<StrangerUse>,
}

/// One token's day, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    pub token: TokenId,
    pub day: u32,
    /// Of batches that were accepted, wholly or in part.
    pub sums: Sums,
    /// Minutes of the first and the last accepted batch; 0 without one.
    pub first_minute: u32,
    pub last_minute: u32,
    /// Batches that were refused, by the refusal's code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<(String, u64)>,
    pub clients: Vec<ClientUse>,
}

/// What adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub requests: u64,
    /// Accepted lines.
    pub lines: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Lines refused one by one.
    pub refused_lines: u64,
}

impl Sums {
    pub fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.lines += more.lines;
        self.bytes += more.bytes;
        self.refused_lines += more.refused_lines;
    }
}

/// Refused batches that came with a token the directory does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerUse {
    pub digest: TokenDigest,
    /// At least so many.
    pub requests: u64,
    pub last_minute: u32,
    pub clients: Vec<ClientUse>,
}

/// Who sent them. One of the few that sent most; a client that comes and goes among many may be counted too low.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientUse {
    pub source: IpAddr,
    /// Printable; empty when it said none.
    pub agent: String,
    pub requests: u64,
    pub last_minute: u32,
}

impl Usage {
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.strangers.is_empty()
    }

    /// In parts of at most `count` entries.
    pub fn into_parts(mut self, count: usize) -> Vec<Self> {
        let mut parts = vec![];
        while !self.is_empty() {
            let tokens = self.tokens.split_off(self.tokens.len().saturating_sub(count));
            let room = count - tokens.len();
            let strangers = self.strangers.split_off(self.strangers.len().saturating_sub(room));
            parts.push(Self { tokens, strangers });
        }
        parts
    }
}
