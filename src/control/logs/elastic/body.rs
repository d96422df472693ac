//! Elasticsearch's search body: what is asked, how much of it, in which order.

use super::super::super::error::ApiError;
use super::super::asked::Span;
use super::aggregations::{Aggregation, parse_all};
use super::hits::{After, Shape, ShownField};
use super::query::{TIME_FIELD, Turning};
use super::{unsupported, wrong};
use crate::domain::query::Query;
use crate::logs::read::Order;
use serde_json::{Map, Value};

/// The last log that can be asked for, as in Elasticsearch.
const WINDOW_MAX: usize = 10_000;
const SIZE_DEFAULT: usize = 10;

pub(super) struct Search {
    pub query: Query,
    pub span: Span,
    pub from: usize,
    pub size: usize,
    pub order: Order,
    /// Where the page before this one ended.
    pub after: Option<After>,
    pub shape: Shape,
    /// Whether it is told how many match.
    pub is_counted: bool,
    pub aggregations: Vec<Aggregation>,
}

impl Search {
    pub(super) fn parse(body: &Map<String, Value>, now_ms: u64) -> Result<Self, ApiError> {
        let mut turning = Turning::new(now_ms);
        let mut search = Self {
            query: Query::All,
            span: Span::default(),
            from: 0,
            size: SIZE_DEFAULT,
            order: Order::NewestFirst,
            after: None,
            shape: Shape { with_source: true, with_ties: false, fields: Vec::new() },
            is_counted: true,
            aggregations: Vec::new(),
        };
        for (name, value) in body {
            match name.as_str() {
                "query" => search.query = turning.query(value, "query", true)?,
                "size" => search.size = number(value, "size")?,
                "from" => search.from = number(value, "from")?,
                "sort" => (search.order, search.shape.with_ties) = order(value)?,
                "search_after" => {}
                "_source" => {
                    search.shape.with_source = value.as_bool().ok_or_else(|| {
                        wrong("_source", "must be true or false: single fields are named in fields")
                    })?;
                }
                "track_total_hits" => search.is_counted = value != &Value::Bool(false),
                "aggs" | "aggregations" => search.aggregations = parse_all(value, name, now_ms)?,
                // Without effect here: there is no score, no version, and one answer in all its length.
                "timeout" | "track_scores" | "version" | "explain" | "preference" | "highlight" => {}
                "docvalue_fields" | "fields" => search.shape.fields.extend(ShownField::parse(value, name)?),
                // The log is there itself.
                "stored_fields" => {}
                "script_fields" | "runtime_mappings" if value.as_object().is_some_and(Map::is_empty) => {}
                _ => return Err(unsupported(name)),
            }
        }
        if search.from.saturating_add(search.size) > WINDOW_MAX {
            return Err(wrong("size", format!("from and size are {WINDOW_MAX} together at most")));
        }
        search.span = turning.span;
        if let Some(value) = body.get("search_after") {
            let keys = if body.contains_key("sort") { 1 + usize::from(search.shape.with_ties) } else { 0 };
            search.after = Some(After::parse(value, keys, now_ms)?);
            if search.from > 0 {
                return Err(wrong("from", "must be 0 beside search_after"));
            }
        }
        Ok(search)
    }
}

fn number(value: &Value, path: &str) -> Result<usize, ApiError> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(path, "must be a whole number"))
}

/// The order, and whether logs of one time are told apart in it.
fn order(value: &Value) -> Result<(Order, bool), ApiError> {
    let keys = match value {
        Value::Array(keys) => keys.iter().enumerate().map(|(n, key)| (format!("sort[{n}]"), key)).collect(),
        key => vec![("sort".to_owned(), key)],
    };
    let (mut order, mut with_ties) = (None, false);
    for (path, key) in keys {
        let named: Vec<(&str, Option<&Value>)> = match key {
            Value::String(name) => vec![(name, None)],
            Value::Object(named) => named.iter().map(|(name, how)| (name.as_str(), Some(how))).collect(),
            _ => return Err(wrong(&path, "must be a field's name, or an object")),
        };
        for (name, how) in named {
            order = order.or(direction(name, how, &path)?);
            with_ties |= matches!(name, "_doc" | "_shard_doc");
        }
    }
    Ok((order.unwrap_or(Order::NewestFirst), with_ties))
}

/// `None`: what is equal otherwise is in the order in which it came.
fn direction(name: &str, how: Option<&Value>, path: &str) -> Result<Option<Order>, ApiError> {
    match name {
        TIME_FIELD => {}
        "_doc" | "_score" | "_shard_doc" => return Ok(None),
        name => return Err(wrong(&format!("{path}.{name}"), "logs are sorted by @timestamp only")),
    }
    let direction = match how {
        Some(Value::Object(options)) => options.get("order").and_then(Value::as_str),
        how => how.and_then(Value::as_str),
    };
    match direction {
        Some("desc") => Ok(Some(Order::NewestFirst)),
        None | Some("asc") => Ok(Some(Order::OldestFirst)),
        Some(_) => Err(wrong(&format!("{path}.{name}"), "must be asc or desc")),
    }
}
