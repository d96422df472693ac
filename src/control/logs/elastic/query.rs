//! Elasticsearch's queries, turned into ours.

use super::super::super::error::ApiError;
use super::super::asked::Span;
use super::{field, sole, unsupported, wrong};
use crate::domain::moment::Moment;
use crate::domain::query::limit::Limit;
use crate::domain::query::number::Number;
use crate::domain::query::parse::QueryError;
use crate::domain::query::{Bound, Query, TESTS_MAX, Test};
use serde_json::{Map, Value};

/// Which field tells a log's time.
pub(super) const TIME_FIELD: &str = "@timestamp";

/// How times may be written. All of them are understood, whichever is named.
const FORMATS: &[&str] = &["epoch_millis", "strict_date_optional_time", "date_optional_time"];

/// Turns one body's query.
pub(super) struct Turning {
    now_ms: u64,
    tests: usize,
    /// What all logs that match lie within.
    pub span: Span,
}

impl Turning {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { now_ms, tests: 0, span: Span::default() }
    }

    /// `must`: whatever does not match this does not match the whole.
    pub(super) fn query(&mut self, value: &Value, path: &str, must: bool) -> Result<Query, ApiError> {
        let (kind, value) = sole(value, path)?;
        let path = format!("{path}.{kind}");
        let query = self.of_kind(kind, value, &path, must)?;
        // What these consist of has been counted.
        if !matches!(kind, "bool" | "constant_score" | "terms" | "match" | "query_string") {
            self.count(1, &path)?;
        }
        Ok(query)
    }

    /// Takes so many more tests of a value.
    fn count(&mut self, tests: usize, path: &str) -> Result<(), ApiError> {
        self.tests = self.tests.saturating_add(tests);
        match self.tests > TESTS_MAX {
            true => Err(wrong(path, format!("there are more than {TESTS_MAX} clauses and values"))),
            false => Ok(()),
        }
    }

    fn of_kind(&mut self, kind: &str, value: &Value, path: &str, must: bool) -> Result<Query, ApiError> {
        match kind {
            "match_all" => options(value, path, &["boost"]).map(|_| Query::All),
            "match_none" => Ok(Query::Or(Vec::new())),
            "bool" => self.bool(value, path, must),
            "constant_score" => {
                let inner = options(value, path, &["filter", "boost"])?.get("filter");
                let inner = inner.ok_or_else(|| wrong(path, "must have a filter"))?;
                self.query(inner, &format!("{path}.filter"), must)
            }
            "term" => {
                let (name, value) = sole(value, path)?;
                let test = self.exactly(plain(value, "value", &[], path)?, &format!("{path}.{name}"))?;
                Ok(Query::Value { field: Some(field(name)), test })
            }
            "terms" => self.terms(value, path),
            "match" => self.matching(value, path),
            "match_phrase" => {
                let (name, value) = sole(value, path)?;
                let path = format!("{path}.{name}");
                let text = text(plain(value, "query", &[], &path)?, &path)?;
                Ok(Query::Value { field: Some(field(name)), test: Test::words(&text) })
            }
            "range" => {
                let (name, limits) = sole(value, path)?;
                self.range(name, limits, &format!("{path}.{name}"), must)
            }
            "exists" => {
                let name = options(value, path, &["field", "boost"])?.get("field").and_then(Value::as_str);
                let name = name.ok_or_else(|| wrong(path, "must have a field"))?;
                Ok(Query::Value { field: Some(field(name)), test: Test::Exists })
            }
            "query_string" => self.query_string(value, path),
            _ => Err(unsupported(path)),
        }
    }

    fn bool(&mut self, value: &Value, path: &str, must: bool) -> Result<Query, ApiError> {
        const KNOWN: &[&str] = &["must", "filter", "should", "must_not", "minimum_should_match", "boost"];
        let clauses = options(value, path, KNOWN)?;
        let mut all = Vec::new();
        let before = self.tests;
        for name in ["must", "filter"] {
            all.extend(self.clauses(clauses.get(name), &format!("{path}.{name}"), must)?);
        }
        let is_optional = !all.is_empty();
        for query in self.clauses(clauses.get("must_not"), &format!("{path}.must_not"), false)? {
            all.push(Query::Not(Box::new(query)));
        }
        // One that is needed and has no other beside it must match as well.
        let is_sole = match clauses.get("should") {
            Some(Value::Array(should)) => should.len() == 1,
            should => should.is_some(),
        };
        let is_needed = match clauses.get("minimum_should_match") {
            None => !is_optional,
            Some(value) => matches!(value.as_u64(), Some(1..)),
        };
        let path_of_should = format!("{path}.should");
        let should = self.clauses(clauses.get("should"), &path_of_should, must && is_sole && is_needed)?;
        self.count(usize::from(self.tests == before), path)?;
        let needed = match clauses.get("minimum_should_match") {
            None => usize::from(!should.is_empty() && !is_optional),
            Some(value) => {
                let path = format!("{path}.minimum_should_match");
                let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
                usize::try_from(number.ok_or_else(|| wrong(&path, "must be a whole number"))?)
                    .unwrap_or(usize::MAX)
            }
        };
        match needed {
            0 => {}
            1 => all.push(Query::Or(should)),
            n if n == should.len() => all.extend(should),
            n if n > should.len() => all.push(Query::Or(Vec::new())),
            _ => {
                let path = format!("{path}.minimum_should_match");
                return Err(wrong(&path, "must be 0, 1 or as many as there are"));
            }
        }
        Ok(Query::And(all))
    }

    /// One query, or an array of them.
    fn clauses(&mut self, value: Option<&Value>, path: &str, must: bool) -> Result<Vec<Query>, ApiError> {
        match value {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                let each = values.iter().enumerate();
                each.map(|(n, value)| self.query(value, &format!("{path}[{n}]"), must)).collect()
            }
            Some(value) => Ok(vec![self.query(value, path, must)?]),
        }
    }

    fn exactly(&self, value: &Value, path: &str) -> Result<Test, ApiError> {
        match value {
            Value::String(text) => Ok(Test::Exact(text.clone())),
            Value::Bool(value) => Ok(Test::Exact(value.to_string())),
            Value::Number(number) => {
                let limit = Limit::new(&number.to_string(), self.now_ms);
                Ok(Test::Range { from: Bound::Included(limit.clone()), to: Bound::Included(limit) })
            }
            _ => Err(wrong(path, "must be a text, a number or a boolean")),
        }
    }

    fn terms(&mut self, value: &Value, path: &str) -> Result<Query, ApiError> {
        let entries = value.as_object().ok_or_else(|| wrong(path, "must be an object"))?;
        let mut entries = entries.iter().filter(|(name, _)| *name != "boost");
        let (Some((name, values)), None) = (entries.next(), entries.next()) else {
            return Err(wrong(path, "must have one field"));
        };
        let path = format!("{path}.{name}");
        let values = values.as_array().ok_or_else(|| wrong(&path, "must be an array"))?;
        self.count(values.len().max(1), &path)?;
        let test = |(n, value)| {
            let test = self.exactly(value, &format!("{path}[{n}]"))?;
            Ok(Query::Value { field: Some(field(name)), test })
        };
        values.iter().enumerate().map(test).collect::<Result<_, _>>().map(Query::Or)
    }

    /// Some of the words, or all of them.
    fn matching(&mut self, value: &Value, path: &str) -> Result<Query, ApiError> {
        let (name, value) = sole(value, path)?;
        let path = format!("{path}.{name}");
        let operator = value.get("operator").and_then(Value::as_str).unwrap_or("or").to_ascii_lowercase();
        let text = text(plain(value, "query", &["operator", "lenient"], &path)?, &path)?;
        let word = |word| Query::Value { field: Some(field(name)), test: Test::words(word) };
        self.count(text.split_whitespace().count().max(1), &path)?;
        let mut words: Vec<_> = text.split_whitespace().map(word).collect();
        match operator.as_str() {
            "or" | "and" if words.len() == 1 => Ok(words.remove(0)),
            "or" => Ok(Query::Or(words)),
            "and" => Ok(Query::And(words)),
            _ => Err(wrong(&format!("{path}.operator"), "must be and or or")),
        }
    }

    fn range(&mut self, name: &str, value: &Value, path: &str, must: bool) -> Result<Query, ApiError> {
        const KNOWN: &[&str] =
            &["gte", "gt", "lte", "lt", "from", "to", "format", "time_zone", "boost", "relation"];
        let given = options(value, path, KNOWN)?;
        let format = given.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| !format.split("||").all(|format| FORMATS.contains(&format))) {
            return Err(wrong(&format!("{path}.format"), format!("must be one of {}", FORMATS.join(", "))));
        }
        let utc = [None, Some("UTC"), Some("Z"), Some("+00:00")];
        if !utc.contains(&given.get("time_zone").and_then(Value::as_str)) {
            return Err(wrong(&format!("{path}.time_zone"), "must be UTC"));
        }
        let limit = |key: &str| -> Result<Option<Limit>, ApiError> {
            // Both were called otherwise once, and Grafana's annotations still say it so.
            let keys = match key {
                "gte" => ["gte", "from"],
                "lte" => ["lte", "to"],
                key => [key; 2],
            };
            let said =
                keys.iter().find_map(|key| Some((key, given.get(*key).filter(|value| !value.is_null())?)));
            let Some((key, value)) = said else { return Ok(None) };
            let path = format!("{path}.{key}");
            let limit = Limit::new(&text(value, &path)?, self.now_ms);
            match limit {
                Limit::Text(_) if name == TIME_FIELD => Err(wrong(&path, "is no time")),
                Limit::Number(number) if name == TIME_FIELD => Ok(Some(Limit::Time(moment(number)))),
                limit => Ok(Some(limit)),
            }
        };
        let [gte, gt, lte, lt] = [limit("gte")?, limit("gt")?, limit("lte")?, limit("lt")?];
        if must && name == TIME_FIELD {
            // Here all of it is said by the logs' own times, however those are written.
            self.narrow([gte, gt], [lte, lt]);
            return Ok(Query::All);
        }
        let test = |from, to| Query::Value { field: Some(field(name)), test: Test::Range { from, to } };
        let one = |limit: Option<Limit>, bound: fn(Limit) -> Bound| limit.map_or(Bound::Unbounded, bound);
        // Of one value of an array both ends are asked; so the two common ones are one test.
        let (from, to) = match (gte, lte) {
            (None, lte) => (one(gt, Bound::Excluded), one(lte, Bound::Included)),
            (gte, lte) => (one(gte, Bound::Included), one(lte, Bound::Included)),
        };
        Ok(match lt {
            Some(lt) if to == Bound::Unbounded => test(from, Bound::Excluded(lt)),
            Some(lt) => Query::And(vec![test(from, to), test(Bound::Unbounded, Bound::Excluded(lt))]),
            None => test(from, to),
        })
    }

    /// Takes the limits of all logs' times: each pair is the one that is included and the one that is not.
    fn narrow(&mut self, [gte, gt]: [Option<Limit>; 2], [lte, lt]: [Option<Limit>; 2]) {
        let first =
            |limit| if let Some(Limit::Time(moment)) = limit { Some(moment.first_ms()) } else { None };
        let behind = |limit| match limit {
            Some(Limit::Time(moment)) => Some(moment.last_ms().saturating_add(1)),
            _ => None,
        };
        let Span { from_ms, to_ms } = self.span;
        self.span.from_ms = [from_ms, first(gte), behind(gt)].into_iter().max().flatten();
        self.span.to_ms = [to_ms, behind(lte), first(lt)].into_iter().flatten().min();
    }

    fn query_string(&mut self, value: &Value, path: &str) -> Result<Query, ApiError> {
        const KNOWN: &[&str] =
            &["query", "analyze_wildcard", "lenient", "default_field", "default_operator", "boost"];
        let given = options(value, path, KNOWN)?;
        let is = |key: &str, allowed: &str| match given.get(key).map(Value::as_str) {
            None => Ok(()),
            Some(Some(value)) if value.eq_ignore_ascii_case(allowed) => Ok(()),
            Some(_) => Err(wrong(&format!("{path}.{key}"), format!("must be {allowed}"))),
        };
        is("default_field", "*")?;
        is("default_operator", "AND")?;
        let path = format!("{path}.query");
        let text =
            given.get("query").and_then(Value::as_str).ok_or_else(|| wrong(&path, "must be a text"))?;
        let malformed =
            |QueryError { column, message }| ApiError::Query { column, path: Some(path.clone()), message };
        let query = Query::parse(text, self.now_ms).map_err(malformed)?;
        self.count(query.tests(), &path)?;
        Ok(query)
    }
}

/// The millisecond since the Unix epoch that a number means.
fn moment(number: Number) -> Moment {
    // A cast saturates, far from any log's time.
    let ms = i128::from(number.as_f64() as i64);
    Moment { first_ns: ms * 1_000_000, last_ns: ms * 1_000_000 + 999_999 }
}

/// A value, or that of an object with options.
fn plain<'a>(value: &'a Value, key: &str, known: &[&str], path: &str) -> Result<&'a Value, ApiError> {
    if !value.is_object() {
        return Ok(value);
    }
    let given = options(value, path, &[&[key, "boost"], known].concat())?;
    given.get(key).ok_or_else(|| wrong(path, format!("must have a {key}")))
}

/// An object that has no entries but these.
pub(super) fn options<'a>(
    value: &'a Value,
    path: &str,
    known: &[&str],
) -> Result<&'a Map<String, Value>, ApiError> {
    let entries = value.as_object().ok_or_else(|| wrong(path, "must be an object"))?;
    match entries.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(unsupported(&format!("{path}.{name}"))),
        None => Ok(entries),
    }
}

/// A scalar's text.
pub(super) fn text(value: &Value, path: &str) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err(wrong(path, "must be a text, a number or a boolean")),
    }
}
