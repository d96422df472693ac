//! Searches in the form of Elasticsearch's, for scripts and dashboards that speak it: the useful part of its search body, answered in its
//! shape. What is not supported is refused by its path in the body, never left out in silence.

mod aggregations;
mod body;
mod hits;
pub(in crate::control) mod pretence;
mod query;
mod url;

use super::super::error::ApiError;
use super::super::input::Body;
use super::{NoAnswer, NoReading, Reading, failed};
use crate::clock::monotonic;
use aggregations::Totals;
use axum::Json;
use body::Search;
use hits::Hit;
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::UrlParts;

/// Search in the form of Elasticsearch: the body's `query` (`bool`, `term`, `terms`, `match`, `match_phrase`, `range`, `exists`, `query_string`,
/// `match_all`), `size`, `from`, `sort` by `@timestamp`, `_source` true or false, and `aggs` (`date_histogram`, `terms`). Anything else is
/// refused by name. `q` (a `query_string`), `size`, `from`, `_source` and `track_total_hits` may stand in the URL instead.
#[utoipa::path(
    operation_id = "elasticsearchSearch",
    post, path = "/v1/search", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    request_body(content = Object, description = "Elasticsearch's search body", content_type = "application/json"),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search(
    reading: Reading,
    url: UrlParts,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<Answer>, ApiError> {
    answer(&reading, &url.over(body)).await.map(Json)
}

/// In Elasticsearch's shape.
#[derive(Serialize)]
pub(in crate::control) struct Answer {
    took: u64,
    timed_out: bool,
    _shards: Value,
    hits: Hits,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregations: Option<Value>,
    /// Among other answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Serialize)]
struct Hits {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Value>,
    max_score: Option<f64>,
    hits: Vec<Hit>,
}

/// The answer to one search body.
async fn answer(reading: &Reading, body: &Map<String, Value>) -> Result<Answer, ApiError> {
    let began = monotonic();
    let search = Search::parse(body, reading.now_ms)?;
    let question = || reading.question(search.query.clone(), search.span);
    let counting = async {
        match search.is_counted || !search.aggregations.is_empty() {
            false => Ok(None),
            true => {
                let totals = reading.reader.aggregate(question(), || Totals::new(&search.aggregations));
                totals.await.map_err(failed).map(Some)
            }
        }
    };
    let finding = async {
        match search.size {
            0 => Ok((Vec::new(), false)),
            size => {
                let after = search.after.clone();
                hits::first(reading, question(), search.order, after, search.from + size).await
            }
        }
    };
    let (counted, found) = tokio::join!(counting, finding);
    let (counted, (found, is_cut)) = (counted?, found?);
    let is_partial = is_cut || counted.as_ref().is_some_and(|counted| counted.partial);
    let hit = |found| Hit::new(found, &search.shape, |place| reading.viewer.shown_place(place));
    let hits = found.iter().skip(search.from).map(hit).collect();
    let total = counted.as_ref().map(|counted| {
        let relation = if counted.partial { "gte" } else { "eq" };
        json!({"value": counted.value.total(), "relation": relation})
    });
    let aggregations = counted
        .filter(|_| !search.aggregations.is_empty())
        .map(|counted| counted.value.shown(&search.aggregations))
        .transpose()?;
    Ok(Answer {
        // A recipient is not told what depends on logs that are hidden; Elasticsearch's clients want the key.
        took: if reading.viewer.is_recipient() { 0 } else { began.elapsed().as_millis() as u64 },
        timed_out: is_partial,
        _shards: json!({"total": 1, "successful": 1, "skipped": 0, "failed": 0}),
        hits: Hits { total, max_score: None, hits },
        aggregations,
        status: None,
    })
}

/// A part that Elasticsearch knows, maybe, and this does not.
fn unsupported(path: &str) -> ApiError {
    ApiError::Unsupported { path: path.to_owned(), message: "this is not supported".to_owned() }
}

/// A part that is known and is not as it should be.
fn wrong(path: &str, message: impl Into<String>) -> ApiError {
    ApiError::Unsupported { path: path.to_owned(), message: message.into() }
}

/// A field's name: Elasticsearch's `.keyword` beside a text is the text itself.
fn field(name: &str) -> String {
    name.strip_suffix(".keyword").unwrap_or(name).to_owned()
}

/// The one entry of an object.
fn sole<'a>(value: &'a Value, path: &str) -> Result<(&'a str, &'a Value), ApiError> {
    let mut entries = value.as_object().ok_or_else(|| wrong(path, "must be an object"))?.iter();
    match (entries.next(), entries.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(wrong(path, "must have one entry")),
    }
}

#[cfg(test)]
mod tests;
