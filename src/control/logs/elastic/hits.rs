//! The logs of an answer in Elasticsearch's shape.

use super::super::super::error::ApiError;
use super::super::{Reading, failed};
use crate::logs::read::{FoundLog, Order, Question};
use serde::Serialize;
use serde_json::value::RawValue;

/// Bytes of logs in one answer, about.
pub(super) const BYTES_MAX: usize = 32 << 20;

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
#[derive(Serialize)]
pub(super) struct Hit {
    _index: &'static str,
    _id: String,
    _score: Option<f64>,
    sort: [u64; 1],
    /// As it was shipped: no number loses digits on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    _source: Option<Box<RawValue>>,
}

impl Hit {
    pub(super) fn new(found: &FoundLog, with_source: bool) -> Self {
        Self {
            _index: "logs",
            _id: format!("{:x}-{:08x}", found.time_ms, crc32c::crc32c(&found.line)),
            _score: None,
            sort: [found.time_ms],
            // Every stored line is JSON.
            _source: if with_source { serde_json::from_slice(&found.line).ok() } else { None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shown_as_it_was_shipped() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for line in [r#"{"a":18446744073709551617,"b":1e999,"b":"\ud800","c":1.50}"#, &deep] {
            let found = FoundLog { time_ms: 1, line: line.to_owned().into() };
            let shown = serde_json::to_string(&Hit::new(&found, true)).unwrap();
            assert!(shown.ends_with(&format!(r#""sort":[1],"_source":{line}}}"#)), "{shown}");
        }
    }
}
