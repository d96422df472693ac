//! The logs of an answer in Elasticsearch's shape.

use super::super::super::error::ApiError;
use super::super::{Reading, failed};
use crate::logs::read::{FoundLog, Order, Question};
use serde_json::{Value, json};

/// Bytes of logs in one answer.
const BYTES_MAX: usize = 32 << 20;

/// The first logs in an order, and whether some are missing.
pub(super) async fn first(
    reading: &Reading,
    question: Question,
    order: Order,
    limit: usize,
) -> Result<(Vec<FoundLog>, bool), ApiError> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let (question, wanted) = (question.clone(), limit - found.len());
        let page = reading.reader.search_by(order, question, wanted, cursor).await.map_err(failed)?;
        found.extend(page.logs);
        let bytes: usize = found.iter().map(|log: &FoundLog| log.line.len()).sum();
        if page.cursor.is_none() || found.len() >= limit || page.partial || bytes >= BYTES_MAX {
            let is_cut = page.partial || (page.cursor.is_some() && found.len() < limit);
            return Ok((found, is_cut));
        }
        cursor = page.cursor;
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
