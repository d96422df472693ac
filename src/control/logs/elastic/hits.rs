//! The logs of an answer in Elasticsearch's shape.

use super::super::super::error::ApiError;
use super::super::{Reading, failed};
use super::query::{TIME_FIELD, options, text};
use super::{field, unsupported, wrong};
use crate::domain::log::{Log, Scalar};
use crate::domain::moment;
use crate::domain::timestamp::rfc3339_millis;
use crate::logs::read::{Cursor, FoundLog, Order, Question};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Bytes of logs in one answer, about.
pub(super) const BYTES_MAX: usize = 32 << 20;
const AFTER: &str = "search_after";

/// Where a page of logs ended: the `sort` of its last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// Behind all logs of this time, in milliseconds since the Unix epoch.
    Time(u64),
    /// Behind one log, as its place was shown.
    Place(String),
}

impl After {
    /// `keys`: how many values `sort` has.
    pub(super) fn parse(value: &Value, keys: usize, now_ms: u64) -> Result<Self, ApiError> {
        match value.as_array().map_or(&[][..], Vec::as_slice) {
            [time] if keys == 1 => {
                let time_ms = moment::instant_ms(&text(time, AFTER)?, now_ms);
                Ok(Self::Time(time_ms.ok_or_else(|| wrong(AFTER, "must be a time"))?))
            }
            [_, Value::String(place)] if keys == 2 => Ok(Self::Place(place.clone())),
            _ => Err(wrong(AFTER, "must be the sort of a log that was found with the same sort")),
        }
    }

    /// Narrows a question to what may follow, or tells from where to go on.
    fn apply(
        self,
        reading: &Reading,
        question: &mut Question,
        order: Order,
    ) -> Result<Option<Cursor>, ApiError> {
        match (self, order) {
            (Self::Place(shown), order) => {
                let cursor = reading.viewer.place(&shown).and_then(|place| place.parse::<Cursor>().ok());
                let cursor = cursor.ok_or_else(|| wrong(AFTER, "has not come with a log"))?;
                return Ok(Some(cursor.turned(order)));
            }
            (Self::Time(time_ms), Order::NewestFirst) => {
                question.to_ms = Some(question.to_ms.map_or(time_ms, |to_ms| to_ms.min(time_ms)));
            }
            (Self::Time(time_ms), Order::OldestFirst) => {
                question.from_ms = question.from_ms.max(Some(time_ms.saturating_add(1)));
            }
        }
        Ok(None)
    }
}

/// The first logs in an order, behind `after`, and whether some are missing.
pub(super) async fn first(
    reading: &Reading,
    mut question: Question,
    order: Order,
    after: Option<After>,
    limit: usize,
) -> Result<(Vec<FoundLog>, bool), ApiError> {
    let mut found = Vec::new();
    let mut cursor = after.map_or(Ok(None), |after| after.apply(reading, &mut question, order))?;
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

/// What of each log is shown.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub with_source: bool,
    /// Whether logs of one time are told apart by their `sort`.
    pub with_ties: bool,
    pub fields: Vec<ShownField>,
}

/// A field that is shown beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShownField {
    name: String,
    /// Of a log's time: in milliseconds since the Unix epoch, rather than RFC 3339.
    in_ms: bool,
}

impl ShownField {
    /// Reads a list of names, or of objects with a `field` and a `format`.
    pub(super) fn parse(value: &Value, path: &str) -> Result<Vec<Self>, ApiError> {
        let values = value.as_array().ok_or_else(|| wrong(path, "must be an array"))?;
        let each = values.iter().enumerate();
        each.map(|(n, value)| Self::one(value, &format!("{path}[{n}]"))).collect()
    }

    fn one(value: &Value, path: &str) -> Result<Self, ApiError> {
        let (name, format) = match value {
            Value::String(name) => (Some(name.as_str()), None),
            value => {
                let given = options(value, path, &["field", "format"])?;
                (given.get("field").and_then(Value::as_str), given.get("format"))
            }
        };
        let name = name.filter(|name| !name.contains('*')).ok_or_else(|| wrong(path, "must name a field"))?;
        let in_ms = match format.map(Value::as_str) {
            None | Some(Some("date_time" | "strict_date_time")) => false,
            Some(Some(format)) if format.trim_start_matches("strict_").starts_with("date_optional_time") => {
                false
            }
            Some(Some("epoch_millis")) if name == TIME_FIELD => true,
            Some(_) => return Err(unsupported(&format!("{path}.format"))),
        };
        Ok(Self { name: name.to_owned(), in_ms })
    }

    /// Its values in a log, each of an array by itself; of `@timestamp` the log's time, however it is written.
    fn values(&self, found: &FoundLog, log: &Log) -> Vec<Box<RawValue>> {
        let mut values = Vec::new();
        let text = |text: &str| to_raw_value(text).ok();
        if self.name == TIME_FIELD {
            let time = if self.in_ms { found.time_ms.to_string() } else { rfc3339_millis(found.time_ms) };
            return text(&time).into_iter().collect();
        }
        log.any(&field(&self.name), |scalar| {
            values.extend(match scalar {
                Scalar::Null => None,
                Scalar::Text(value) => text(value),
                // No number loses digits on the way.
                value => RawValue::from_string(value.text().to_owned()).ok(),
            });
            false
        });
        values
    }
}

/// One log.
#[derive(Serialize)]
pub(super) struct Hit {
    _index: &'static str,
    _id: String,
    _score: Option<f64>,
    /// Its time, and where it is if logs of one time are to be told apart.
    sort: Vec<Value>,
    /// As it was shipped: no number loses digits on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    _source: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Vec<Box<RawValue>>>,
}

impl Hit {
    /// `place`: how a place in the log is shown to who asks.
    pub(super) fn new(found: &FoundLog, shape: &Shape, place: impl Fn(String) -> String) -> Self {
        let log = if shape.fields.is_empty() { None } else { Log::parse(&found.line) };
        let shown = shape.fields.iter().filter_map(|field| {
            let values = field.values(found, log.as_ref()?);
            (!values.is_empty()).then(|| (field.name.clone(), values))
        });
        let mut sort = vec![found.time_ms.into()];
        sort.extend(shape.with_ties.then(|| place(found.behind.to_string()).into()));
        Self {
            _index: "logs",
            _id: format!("{:x}-{:08x}", found.time_ms, crc32c::crc32c(&found.line)),
            _score: None,
            sort,
            // Every stored line is JSON.
            _source: if shape.with_source { serde_json::from_slice(&found.line).ok() } else { None },
            fields: shown.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPE: Shape = Shape { with_source: true, with_ties: false, fields: Vec::new() };

    fn shown(line: &str, shape: &Shape) -> String {
        let behind = format!("{:048x}{:08x}", 0, crc32c::crc32c(&[0; 24])).parse().unwrap();
        let found = FoundLog { time_ms: 1_769_860_800_000, line: line.to_owned().into(), behind };
        serde_json::to_string(&Hit::new(&found, shape, |place| place[..4].to_owned())).unwrap()
    }

    #[test]
    fn a_log_is_shown_as_it_was_shipped() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for line in [r#"{"a":18446744073709551617,"b":1e999,"b":"\ud800","c":1.50}"#, &deep] {
            let shown = shown(line, &SHAPE);
            assert!(shown.ends_with(&format!(r#""sort":[1769860800000],"_source":{line}}}"#)), "{shown}");
        }
    }

    #[test]
    fn fields_that_are_asked_for_are_shown_beside_the_log() {
        let asked =
            json!(["a.b", {"field": "@timestamp", "format": "strict_date_optional_time_nanos"}, "none", "n"]);
        let fields = ShownField::parse(&asked, "fields").unwrap();
        let shape = Shape { with_source: false, with_ties: true, fields };
        let line = r#"{"@timestamp":1769860800,"a":{"b":["x",1.50,true,null]},"n":18446744073709551617}"#;
        let text = shown(line, &shape);
        let expect = r#""sort":[1769860800000,"0000"],"fields":{"@timestamp":["2026-01-31T12:00:00.000Z"],"a.b":["x",1.50,true],"n":[18446744073709551617]}}"#;
        assert!(text.ends_with(expect), "{text}");
        let in_ms =
            ShownField::parse(&json!([{"field": "@timestamp", "format": "epoch_millis"}]), "fields").unwrap();
        let shape = Shape { with_source: false, with_ties: false, fields: in_ms };
        let text = shown(line, &shape);
        assert!(text.ends_with(r#""fields":{"@timestamp":["1769860800000"]}}"#), "{text}");
        for (asked, at) in [
            (json!("a"), "fields"),
            (json!(["a", "b*"]), "fields[1]"),
            (json!([{"field": "a", "include_unmapped": true}]), "fields[0].include_unmapped"),
            (json!([{"field": "@timestamp", "format": "yyyy"}]), "fields[0].format"),
        ] {
            match ShownField::parse(&asked, "fields") {
                Err(ApiError::Unsupported { path, .. }) => assert_eq!(path, at),
                other => panic!("{asked}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_page_begins_behind_the_sort_of_a_log() {
        assert_eq!(After::parse(&json!([9]), 1, 0).unwrap(), After::Time(9));
        assert_eq!(After::parse(&json!([9, "place"]), 2, 0).unwrap(), After::Place("place".to_owned()));
        for (value, keys) in [
            (json!([1]), 0),
            (json!([1]), 2),
            (json!(1), 1),
            (json!(["x"]), 1),
            (json!([1, 2]), 2),
            (json!([1, "a"]), 1),
        ] {
            assert!(After::parse(&value, keys, 0).is_err(), "{value}");
        }
    }
}
