//! The logs of an answer in Elasticsearch's shape.

use super::super::super::error::ApiError;
use super::super::asked::Span;
use super::super::{Reading, failed};
use super::query::{TIME_FIELD, options, text};
use super::{field, unsupported, wrong};
use crate::domain::log::{Log, Scalar};
use crate::domain::moment;
use crate::domain::timestamp::rfc3339_millis;
use crate::logs::read::{FoundLog, Order, Question};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Bytes of logs in one answer, about.
pub(super) const BYTES_MAX: usize = 32 << 20;
/// Logs that are asked for at once, however many are known already.
const PAGE_MAX: usize = 10_000;

/// Where a page of logs ended: the `sort` of its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    time_ms: u64,
    /// How many logs of this time came before that one; without it, all of them are behind.
    tie: Option<u64>,
}

impl After {
    /// `keys`: how many values `sort` has.
    pub(super) fn parse(value: &Value, keys: usize, now_ms: u64) -> Result<Self, ApiError> {
        let path = "search_after";
        let values = value.as_array().filter(|values| values.len() == keys && keys > 0);
        let values = values.ok_or_else(|| wrong(path, "must have a value for each key of sort"))?;
        let time_ms = moment::instant_ms(&text(&values[0], path)?, now_ms);
        let tie = |value: &Value| value.as_u64().ok_or_else(|| wrong(path, "has not come with a log"));
        Ok(Self {
            time_ms: time_ms.ok_or_else(|| wrong(path, "must begin with a time"))?,
            tie: values.get(1).map(tie).transpose()?,
        })
    }

    /// What may follow it.
    pub(super) fn narrow(self, span: Span, order: Order) -> Span {
        let behind_ms = self.time_ms.saturating_add(1);
        match (order, self.tie) {
            (Order::NewestFirst, tie) => {
                let to_ms = if tie.is_some() { behind_ms } else { self.time_ms };
                Span { to_ms: Some(span.to_ms.map_or(to_ms, |to| to.min(to_ms))), ..span }
            }
            (Order::OldestFirst, tie) => {
                let from_ms = if tie.is_some() { self.time_ms } else { behind_ms };
                Span { from_ms: Some(span.from_ms.map_or(from_ms, |from| from.max(from_ms))), ..span }
            }
        }
    }
}

/// A log, and how many of the same time came before it in this order.
pub(super) struct Ranked {
    log: FoundLog,
    tie: u64,
}

/// The first logs in an order, behind those that are known already, and whether some are missing.
pub(super) async fn first(
    reading: &Reading,
    question: Question,
    order: Order,
    after: Option<After>,
    limit: usize,
) -> Result<(Vec<Ranked>, bool), ApiError> {
    let (mut found, mut cursor, mut bytes) = (Vec::new(), None, 0);
    let mut ties = Ties::new(after);
    loop {
        let wanted = (limit - found.len()).saturating_add(ties.known()).min(PAGE_MAX);
        let page = reading.reader.search_by(order, question.clone(), wanted, cursor).await.map_err(failed)?;
        for log in page.logs {
            if let Some(ranked) = ties.rank(log) {
                bytes += ranked.log.line.len();
                found.push(ranked);
            }
        }
        let is_enough = found.len() >= limit;
        if page.cursor.is_none() || is_enough || page.partial || bytes >= BYTES_MAX {
            found.truncate(limit);
            return Ok((found, page.partial || (page.cursor.is_some() && !is_enough)));
        }
        cursor = page.cursor;
    }
}

/// Numbers the logs of each time, in the order in which they are shown to it.
struct Ties {
    after: Option<After>,
    last: Option<(u64, u64)>,
}

impl Ties {
    fn new(after: Option<After>) -> Self {
        Self { after, last: None }
    }

    /// How many logs may still come that are known.
    fn known(&self) -> usize {
        let all = self.after.and_then(|after| after.tie).map_or(0, |tie| tie.saturating_add(1));
        let seen = self.last.map_or(0, |(_, tie)| tie.saturating_add(1));
        usize::try_from(all.saturating_sub(seen)).unwrap_or(usize::MAX)
    }

    /// `None`: the log is known.
    fn rank(&mut self, log: FoundLog) -> Option<Ranked> {
        let tie = match self.last {
            Some((time_ms, tie)) if time_ms == log.time_ms => tie + 1,
            _ => 0,
        };
        self.last = Some((log.time_ms, tie));
        let is_known = self
            .after
            .is_some_and(|after| after.time_ms == log.time_ms && after.tie.is_some_and(|known| tie <= known));
        (!is_known).then_some(Ranked { log, tie })
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
    sort: Vec<u64>,
    /// As it was shipped: no number loses digits on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    _source: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, Vec<Box<RawValue>>>,
}

impl Hit {
    pub(super) fn new(found: &Ranked, shape: &Shape) -> Self {
        let Ranked { log: found, tie } = found;
        let log = if shape.fields.is_empty() { None } else { Log::parse(&found.line) };
        let shown = shape.fields.iter().filter_map(|field| {
            let values = field.values(found, log.as_ref()?);
            (!values.is_empty()).then(|| (field.name.clone(), values))
        });
        Self {
            _index: "logs",
            _id: format!("{:x}-{:08x}", found.time_ms, crc32c::crc32c(&found.line)),
            _score: None,
            sort: if shape.with_ties { vec![found.time_ms, *tie] } else { vec![found.time_ms] },
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

    fn ranked(time_ms: u64, line: &str) -> Ranked {
        Ranked { log: FoundLog { time_ms, line: line.to_owned().into() }, tie: 7 }
    }

    #[test]
    fn a_log_is_shown_as_it_was_shipped() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for line in [r#"{"a":18446744073709551617,"b":1e999,"b":"\ud800","c":1.50}"#, &deep] {
            let shown = serde_json::to_string(&Hit::new(&ranked(1, line), &SHAPE)).unwrap();
            assert!(shown.ends_with(&format!(r#""sort":[1],"_source":{line}}}"#)), "{shown}");
        }
    }

    #[test]
    fn fields_that_are_asked_for_are_shown_beside_the_log() {
        let asked =
            json!(["a.b", {"field": "@timestamp", "format": "strict_date_optional_time_nanos"}, "none", "n"]);
        let fields = ShownField::parse(&asked, "fields").unwrap();
        let shape = Shape { with_source: false, with_ties: true, fields };
        let line = r#"{"@timestamp":1769860800,"a":{"b":["x",1.50,true,null]},"n":18446744073709551617}"#;
        let shown = serde_json::to_string(&Hit::new(&ranked(1_769_860_800_000, line), &shape)).unwrap();
        let expect = r#""sort":[1769860800000,7],"fields":{"@timestamp":["2026-01-31T12:00:00.000Z"],"a.b":["x",1.50,true],"n":[18446744073709551617]}}"#;
        assert!(shown.ends_with(expect), "{shown}");
        let in_ms =
            ShownField::parse(&json!([{"field": "@timestamp", "format": "epoch_millis"}]), "fields").unwrap();
        let shape = Shape { with_source: false, with_ties: false, fields: in_ms };
        let shown = serde_json::to_string(&Hit::new(&ranked(1_769_860_800_000, line), &shape)).unwrap();
        assert!(shown.ends_with(r#""fields":{"@timestamp":["1769860800000"]}}"#), "{shown}");
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
    fn pages_go_on_behind_a_log_among_others_of_its_time() {
        let times = [9, 9, 9, 8, 7, 7];
        let page = |after: Option<After>| {
            let span =
                after.map_or(Span::default(), |after| after.narrow(Span::default(), Order::NewestFirst));
            let mut ties = Ties::new(after);
            let rest = times.iter().filter(|time| span.to_ms.is_none_or(|to| **time < to));
            let ranked =
                rest.filter_map(|time| ties.rank(FoundLog { time_ms: *time, line: "{}".to_owned().into() }));
            ranked.map(|ranked| (ranked.log.time_ms, ranked.tie)).collect::<Vec<_>>()
        };
        let all = page(None);
        assert_eq!(all, [(9, 0), (9, 1), (9, 2), (8, 0), (7, 0), (7, 1)]);
        for (n, (time_ms, tie)) in all.iter().enumerate() {
            assert_eq!(page(Some(After { time_ms: *time_ms, tie: Some(*tie) })), all[n + 1..], "behind {n}");
        }
        assert_eq!(page(Some(After { time_ms: 9, tie: None })), all[3..], "without a second key");
        let after = After { time_ms: 8, tie: None }.narrow(Span::default(), Order::OldestFirst);
        assert_eq!(after, Span { from_ms: Some(9), to_ms: None });
        for (value, keys) in
            [(json!([1]), 0), (json!([1]), 2), (json!(1), 1), (json!(["x"]), 1), (json!([1, "y"]), 2)]
        {
            assert!(After::parse(&value, keys, 0).is_err(), "{value}");
        }
        assert_eq!(After::parse(&json!([9, 2]), 2, 0).unwrap(), After { time_ms: 9, tie: Some(2) });
    }
}
