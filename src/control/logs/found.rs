//! The calls that answer a question at once: logs, how many there are over time, and which fields they have.

use super::super::error::ApiError;
use super::asked::{Both, Span, Which, interval_ms, number};
use super::{NoAnswer, NoReading, Reading, failed};
use crate::clock::monotonic;
use crate::logs::read::{Cursor, FoundLog, Histogram};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;
const VALUES_MAX: usize = 100;
const VALUES_DEFAULT: usize = 10;
/// Intervals of a histogram that are shown even if nothing is in them.
const EMPTY_MAX: u64 = 2_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Page {
    /// How many logs: between 1 and 1000, 100 unless it says otherwise.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::control) struct Logs {
    /// Newest first.
    logs: Vec<LogObject>,
    /// Asks for the next page; `null` on the last one, and where going on would leave logs out.
    cursor: Option<String>,
    /// Whether logs are missing: there was no time for all, or some cannot be read. With a cursor, the next pages bring those for which
    /// there was no time.
    partial: bool,
    /// Bytes of logs that were looked through; missing for a shared token, which is not told how much it may not see.
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned_bytes: Option<u64>,
    /// Missing for a shared token, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::control) struct LogObject {
    /// Milliseconds since the Unix epoch: the log's `@timestamp`, or when it was received.
    time: u64,
    /// The log as it was shipped.
    #[schema(value_type = Object)]
    log: Box<RawValue>,
}

impl LogObject {
    /// `None` of what is no JSON, which no log is.
    fn new(found: &FoundLog) -> Option<Self> {
        Some(Self { time: found.time_ms, log: serde_json::from_slice(&found.line).ok()? })
    }
}

/// Search the account's log, newest first.
#[utoipa::path(
    operation_id = "searchLogs",
    get, path = "/v1/logs", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    params(Which, Page),
    responses(
        (status = 200, description = "One page", body = Logs),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search(
    reading: Reading,
    Both(which, page): Both<Page>,
) -> Result<Json<Logs>, ApiError> {
    let began = monotonic();
    let now_ms = reading.now_ms;
    let question = reading.question(which.query(now_ms)?, which.span(now_ms)?);
    let limit = number("limit", page.limit.as_deref(), 1..=LIMIT_MAX, LIMIT_DEFAULT)?;
    let cursor: Option<Cursor> = match page.cursor.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let cursor = reading.viewer.place(text).and_then(|text| text.parse().ok());
            Some(cursor.ok_or_else(|| ApiError::Malformed("cursor is none that was given out".to_owned()))?)
        }
    };
    let found = reading.reader.search(question, limit, cursor).await.map_err(failed)?;
    Ok(Json(Logs {
        logs: found.logs.iter().filter_map(LogObject::new).collect(),
        cursor: found.cursor.map(|cursor| reading.viewer.shown_place(cursor.to_string())),
        partial: found.partial,
        scanned_bytes: (!reading.viewer.is_recipient()).then_some(found.scanned_bytes),
        took_ms: (!reading.viewer.is_recipient()).then(|| began.elapsed().as_millis() as u64),
    }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Interval {
    /// How long one interval is: as `30s`, `5m`, `1h`, or milliseconds. Without it there are about 60.
    interval: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::control) struct HistogramObject {
    interval_ms: u64,
    /// How many logs there are.
    total: u64,
    /// In the order of time. Intervals without logs are among them where `from` is given and they are not too many.
    buckets: Vec<BucketObject>,
    /// Whether logs are missing in it.
    partial: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::control) struct BucketObject {
    /// Where it begins, in milliseconds since the Unix epoch.
    time: u64,
    count: u64,
}

impl HistogramObject {
    fn new(histogram: Histogram, span: Span, now_ms: u64) -> Self {
        let Histogram { interval_ms, total, buckets, partial, .. } = histogram;
        let mut buckets: Vec<_> = buckets
            .into_iter()
            .map(|bucket| BucketObject { time: bucket.time_ms, count: bucket.count })
            .collect();
        if let Some(from_ms) = span.from_ms {
            let last_ms = span.to_ms.map_or(now_ms, |to_ms| to_ms.saturating_sub(1));
            let (first, last) = (from_ms / interval_ms, last_ms / interval_ms);
            if last.saturating_sub(first) < EMPTY_MAX {
                let known: std::collections::HashSet<u64> =
                    buckets.iter().map(|bucket| bucket.time).collect();
                let all = (first..=last).map(|n| n * interval_ms).filter(|time| !known.contains(time));
                buckets.extend(all.map(|time| BucketObject { time, count: 0 }));
                buckets.sort_unstable_by_key(|bucket| bucket.time);
            }
        }
        Self { interval_ms, total, buckets, partial }
    }
}

/// Count the matching logs over time.
#[utoipa::path(
    operation_id = "countLogs",
    get, path = "/v1/logs/histogram", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    params(Which, Interval),
    responses(
        (status = 200, description = "Counts by interval", body = HistogramObject),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn histogram(
    reading: Reading,
    Both(which, interval): Both<Interval>,
) -> Result<Json<HistogramObject>, ApiError> {
    let now_ms = reading.now_ms;
    let span = which.span(now_ms)?;
    let interval_ms = interval_ms(interval.interval.as_deref(), span, now_ms)?;
    let question = reading.question(which.query(now_ms)?, span);
    let histogram = reading.reader.histogram(question, interval_ms).await.map_err(failed)?;
    Ok(Json(HistogramObject::new(histogram, span, now_ms)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Values {
    /// How many values of each field: 100 at most, 10 unless it says otherwise.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100)]
    values: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::control) struct FieldsObject {
    /// How many logs there are.
    total: u64,
    /// The most frequent first.
    fields: Vec<FieldObject>,
    /// Whether logs are missing in it.
    partial: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::control) struct FieldObject {
    /// Its dotted path.
    name: String,
    /// How many logs have it.
    count: u64,
    /// The most frequent first.
    values: Vec<ValueObject>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::control) struct ValueObject {
    /// A string's content, or the JSON text of another value.
    value: String,
    /// How many logs have it.
    count: u64,
}

/// List the fields of the matching logs, each with its most frequent values.
#[utoipa::path(
    operation_id = "listFields",
    get, path = "/v1/logs/fields", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    params(Which, Values),
    responses(
        (status = 200, description = "Fields and values", body = FieldsObject),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn fields(
    reading: Reading,
    Both(which, values): Both<Values>,
) -> Result<Json<FieldsObject>, ApiError> {
    let now_ms = reading.now_ms;
    let values_max = number("values", values.values.as_deref(), 0..=VALUES_MAX, VALUES_DEFAULT)?;
    let question = reading.question(which.query(now_ms)?, which.span(now_ms)?);
    let fields = reading.reader.fields(question, values_max).await.map_err(failed)?;
    let value = |value: crate::logs::read::Value| ValueObject { value: value.value, count: value.count };
    let field = |field: crate::logs::read::Field| FieldObject {
        name: field.name,
        count: field.count,
        values: field.values.into_iter().map(value).collect(),
    };
    Ok(Json(FieldsObject {
        total: fields.total,
        fields: fields.fields.into_iter().map(field).collect(),
        partial: fields.partial,
    }))
}
