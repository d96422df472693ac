//! The contract between a control plane and its gateways, version 2.
//!
//! A gateway asks `GET /gateway/v1/directory?store=<id>&after=<revision>` with `Authorization: Bearer <gateway
//! credential>` and reads a response that does not end: [`Message`]s as JSON, one a line.
//!
//! * The first message is always `hello`. It and every `heartbeat` tell the control plane's time, from which a gateway knows
//!   how far its own clock is off: expiry is judged by the control plane's clock, so that skew between nodes changes nothing.
//! * A control plane that still knows every revision after `after`, and whose store is `store`, goes on with `delta`s.
//! * Otherwise it sends one `snapshot`, exactly `changes` messages of kind `change`, and `snapshot_end`, whose checksum is
//!   the CRC-32C of the bytes of those lines, newlines included. Then `delta`s.
//! * Revisions of deltas follow each other without a gap. A gateway that sees a gap, a bad checksum, an unknown version or
//!   a line it cannot read publishes nothing of it, ends the stream and asks again from the start.
//! * `heartbeat`s come at least every [`HEARTBEAT_MS`]; a stream silent for three of them is dead.
//!
//! * A `delta` with `receipt` has somebody waiting for it to be enforced: a gateway reports at once when it is.
//! * A gateway that asks for it (`Accept-Encoding: zstd`) gets the stream compressed, flushed wherever it would otherwise wait.
//!
//! Only digests of tokens travel.
//!
//! A gateway posts a [`Report`] to [`REPORT_PATH`], with the same credential: every [`HEARTBEAT_MS`], at once when it enforces
//! what somebody waits for, and before it stops. What it counted of the use of tokens rides along now and then. A stream may say `gateway=<id>`: that gateway must then confirm revisions
//! from its first directory on.

use crate::domain::directory::Change;
use crate::domain::token::TokenDigest;
use crate::domain::usage::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// This contract's version. A gateway refuses any other.
pub const VERSION: u32 = 2;

/// Where a control plane serves the stream.
pub const DIRECTORY_PATH: &str = "/gateway/v1/directory";

/// The longest silence on a healthy stream, in milliseconds.
pub const HEARTBEAT_MS: u64 = 2_000;

/// One line of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Who speaks. `store` names the database; revisions of different stores cannot be compared. `at_ms`: now, by the control
    /// plane's clock, Unix milliseconds.
    Hello { version: u32, store: String, at_ms: u64 },
    /// A full directory follows, in this many changes: accounts first, then tokens in the order of their digests.
    Snapshot { revision: u64, changes: u64 },
    /// One step of the snapshot.
    Change(Change),
    /// The snapshot is whole if this is the CRC-32C of its lines.
    SnapshotEnd { crc32c: u32 },
    /// What one transaction of the control plane changed. `at_ms`: when it was committed, Unix milliseconds.
    Delta {
        revision: u64,
        at_ms: u64,
        changes: Vec<Change>,
        /// Whether somebody waits for it to be enforced.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        receipt: bool,
    },
    /// Nothing new; the stream lives. `at_ms`: as in `hello`.
    Heartbeat { revision: u64, at_ms: u64 },
}

/// Where a control plane takes reports.
pub const REPORT_PATH: &str = "/gateway/v1/report";

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    /// Which gateway: the same after a restart.
    pub gateway: String,
    /// Which process: drawn at its start.
    pub instance: String,
    /// Rises with every report of an instance: one that was overtaken says nothing.
    pub number: u64,
    /// Where shippers reach it, as far as it knows.
    pub address: String,
    pub software: String,
    /// The store and revision of the directory in force; empty and 0 before the first.
    pub store: String,
    pub revision: u64,
    /// Unix milliseconds.
    pub started_ms: u64,
    /// Requests answered since the start.
    pub requests: u64,
    pub requests_per_second: f64,
    /// Lines acknowledged since the start.
    #[serde(default)]
    pub lines: u64,
    #[serde(default)]
    pub lines_per_second: f64,
    /// Requests refused since the start, by the refusal's code; without those that never were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u64>,
    /// The last report: it serves nobody any more.
    #[serde(default)]
    pub stopping: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Counted>,
}

/// Who used which token. It is sent until it is answered and counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Rises within an instance, one at a time: what has the number of one that was counted was counted.
    pub number: u64,
    /// The store that the tokens' numbers are from.
    pub store: String,
    pub usage: Usage,
}

/// Longest report, in bytes.
pub const REPORT_BYTES_MAX: usize = 1 << 20;

/// How many entries of [`Usage`] one report holds: the longest ones fit, and they are added in one short transaction.
pub const USES_MAX: usize = 250;

/// What a control plane answers to a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// Of the digests that no directory holds, those of tokens that once were: a gateway keeps counting them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<TokenDigest>,
}
