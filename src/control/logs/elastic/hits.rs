//! The logs of an answer in Elasticsearch's shape.

use super::super::super::error::ApiError;
use super::super::{Reading, failed};
use crate::domain::log::Log;
use crate::logs::read::{FoundLog, Gather, Question};
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Bytes of logs in one answer.
const BYTES_MAX: usize = 32 << 20;

/// The newest logs, and whether some are missing.
pub(super) async fn newest(
    reading: &Reading,
    question: Question,
    limit: usize,
) -> Result<(Vec<FoundLog>, bool), ApiError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let wanted = limit - found.len();
        let page = reading.reader.search(question.clone(), wanted, cursor).await.map_err(failed)?;
        found.extend(page.logs);
        let bytes: usize = found.iter().map(|log: &FoundLog| log.line.len()).sum();
        if page.cursor.is_none() || found.len() >= limit || page.partial || bytes >= BYTES_MAX {
            let is_cut = page.partial || (page.cursor.is_some() && found.len() < limit);
            return Ok((found, is_cut));
        }
        cursor = page.cursor;
    }
}

/// The oldest logs, and whether some are missing.
pub(super) async fn oldest(
    reading: &Reading,
    question: Question,
    limit: usize,
) -> Result<(Vec<FoundLog>, bool), ApiError> {
    let empty = || Oldest { limit, logs: BTreeSet::new(), bytes: 0, cut: false };
    let gathered = reading.reader.aggregate(question, empty).await.map_err(failed)?;
    let logs = gathered.value.logs.into_iter();
    let found = logs.map(|(time_ms, _, line)| FoundLog { time_ms, line }).collect();
    Ok((found, gathered.partial || gathered.value.cut))
}

/// The oldest logs so far. Of the same time they are in the order of their text, so that all workers agree.
struct Oldest {
    limit: usize,
    logs: BTreeSet<(u64, u64, Bytes)>,
    bytes: usize,
    /// Whether there were too many bytes.
    cut: bool,
}

impl Oldest {
    fn trim(&mut self) {
        while self.logs.len() > self.limit || self.bytes > BYTES_MAX {
            self.cut |= self.logs.len() <= self.limit;
            let Some((_, _, line)) = self.logs.pop_last() else { break };
            self.bytes -= line.len();
        }
    }
}

impl Gather for Oldest {
    fn visit(&mut self, time_ms: u64, log: &Log) {
        let is_full = self.logs.len() >= self.limit;
        if is_full && self.logs.last().is_none_or(|(last, ..)| *last < time_ms) {
            return;
        }
        let line = Bytes::copy_from_slice(log.line());
        // The same text twice is two logs.
        let twin =
            (0..).find(|twin| !self.logs.contains(&(time_ms, *twin, line.clone()))).unwrap_or(u64::MAX);
        self.bytes += line.len();
        self.logs.insert((time_ms, twin, line));
        self.trim();
    }

    fn merge(&mut self, other: Self) {
        self.cut |= other.cut;
        for (time_ms, _, line) in other.logs {
            let twin =
                (0..).find(|twin| !self.logs.contains(&(time_ms, *twin, line.clone()))).unwrap_or(u64::MAX);
            self.bytes += line.len();
            self.logs.insert((time_ms, twin, line));
        }
        self.trim();
    }
}

/// One log.
pub(super) fn hit(found: &FoundLog, with_source: bool) -> Value {
    let id = format!("{:x}-{:08x}", found.time_ms, crc32c::crc32c(&found.line));
    let mut hit = json!({"_index": "logs", "_id": id, "_score": null, "sort": [found.time_ms]});
    if with_source {
        // Every stored line is JSON.
        hit["_source"] = serde_json::from_slice(&found.line).unwrap_or_default();
    }
    hit
}
