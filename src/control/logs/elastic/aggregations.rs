//! Elasticsearch's aggregations: how many logs there are, by a field's values and over time, one within another.

use super::super::super::error::ApiError;
use super::query::{TIME_FIELD, options, text};
use super::{field, unsupported, wrong};
use crate::domain::log::{Log, Scalar};
use crate::domain::moment;
use crate::domain::query::number::Number;
use crate::domain::timestamp::rfc3339_millis;
use crate::logs::read::Gather;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

const DEPTH_MAX: usize = 3;
/// Aggregations in one body.
const AGGREGATIONS_MAX: usize = 64;
/// Buckets in one answer, and in what one worker gathers for it.
const BUCKETS_MAX: usize = 65_536;
/// Longer values are not told apart from one another.
const VALUE_BYTES_MAX: usize = 1_024;
const DAY_MS: u64 = 86_400_000;
/// Weeks begin on Mondays, and the epoch began on a Thursday.
const MONDAY_MS: u64 = 4 * DAY_MS;

/// One aggregation, and those within each of its buckets.
#[derive(Debug, Clone)]
pub(super) struct Aggregation {
    name: String,
    path: String,
    kind: Kind,
    within: Vec<Aggregation>,
}

#[derive(Debug, Clone)]
enum Kind {
    Terms {
        field: String,
        size: usize,
        count_min: u64,
        order: By,
        /// What logs without the field count as, and whether that is a number.
        missing: Option<(String, bool)>,
    },
    Histogram {
        interval_ms: u64,
        /// Where one interval begins, of all that do.
        begin_ms: u64,
        count_min: u64,
        /// What is shown even if it is empty.
        bounds_ms: Option<(u64, u64)>,
    },
}

#[derive(Debug, Clone, Copy)]
struct By {
    key: bool,
    descending: bool,
}

impl Aggregation {
    fn count(&self) -> usize {
        1 + self.within.iter().map(Self::count).sum::<usize>()
    }
}

/// The aggregations of a body, or within another one.
pub(super) fn parse_all(value: &Value, path: &str, now_ms: u64) -> Result<Vec<Aggregation>, ApiError> {
    let all = parse_within(value, path, now_ms, 1)?;
    match all.iter().map(Aggregation::count).sum::<usize>() > AGGREGATIONS_MAX {
        true => Err(wrong(path, format!("there are more than {AGGREGATIONS_MAX} aggregations"))),
        false => Ok(all),
    }
}

fn parse_within(value: &Value, path: &str, now_ms: u64, depth: usize) -> Result<Vec<Aggregation>, ApiError> {
    if depth > DEPTH_MAX {
        return Err(wrong(path, format!("there are more than {DEPTH_MAX} within one another")));
    }
    let named = value.as_object().ok_or_else(|| wrong(path, "must be an object"))?;
    named.iter().map(|(name, value)| parse(name, value, &format!("{path}.{name}"), now_ms, depth)).collect()
}

fn parse(name: &str, value: &Value, path: &str, now_ms: u64, depth: usize) -> Result<Aggregation, ApiError> {
    let (mut kind, mut within) = (None, Vec::new());
    for (key, value) in value.as_object().ok_or_else(|| wrong(path, "must be an object"))? {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "terms" if kind.is_none() => kind = Some(terms(value, &path)?),
            "date_histogram" if kind.is_none() => kind = Some(histogram(value, &path, now_ms)?),
            "aggs" | "aggregations" => within = parse_within(value, &path, now_ms, depth + 1)?,
            "meta" => {}
            _ => return Err(unsupported(&path)),
        }
    }
    let kind = kind.ok_or_else(|| wrong(path, "must be terms or date_histogram"))?;
    Ok(Aggregation { name: name.to_owned(), path: path.to_owned(), kind, within })
}

fn terms(value: &Value, path: &str) -> Result<Kind, ApiError> {
    let given = options(value, path, &["field", "size", "shard_size", "order", "min_doc_count", "missing"])?;
    let name = given.get("field").and_then(Value::as_str).ok_or_else(|| wrong(path, "must have a field"))?;
    let size = whole(given, "size", path, 10)?;
    Ok(Kind::Terms {
        field: field(name),
        // 0 once meant all of them.
        size: if size == 0 { BUCKETS_MAX } else { usize::try_from(size).unwrap_or(BUCKETS_MAX) },
        count_min: whole(given, "min_doc_count", path, 1)?.max(1),
        order: match given.get("order") {
            None => By { key: false, descending: true },
            Some(Value::Array(keys)) if !keys.is_empty() => by(&keys[0], &format!("{path}.order[0]"))?,
            Some(order) => by(order, &format!("{path}.order"))?,
        },
        missing: given.get("missing").map(|value| missing(value, &format!("{path}.missing"))).transpose()?,
    })
}

fn missing(value: &Value, path: &str) -> Result<(String, bool), ApiError> {
    match text(value, path)? {
        text if text.len() > VALUE_BYTES_MAX => {
            Err(wrong(path, format!("has more than {VALUE_BYTES_MAX} bytes")))
        }
        text => Ok((text, value.is_number())),
    }
}

fn by(value: &Value, path: &str) -> Result<By, ApiError> {
    let (name, direction) = super::sole(value, path)?;
    let descending = match direction.as_str() {
        Some("asc") => false,
        Some("desc") => true,
        _ => return Err(wrong(&format!("{path}.{name}"), "must be asc or desc")),
    };
    match name {
        "_count" => Ok(By { key: false, descending }),
        "_key" | "_term" => Ok(By { key: true, descending }),
        name => Err(unsupported(&format!("{path}.{name}"))),
    }
}

fn histogram(value: &Value, path: &str, now_ms: u64) -> Result<Kind, ApiError> {
    const KNOWN: &[&str] = &[
        "field",
        "fixed_interval",
        "calendar_interval",
        "interval",
        "min_doc_count",
        "extended_bounds",
        "format",
        "time_zone",
    ];
    let given = options(value, path, KNOWN)?;
    if given.get("field").and_then(Value::as_str) != Some(TIME_FIELD) {
        return Err(wrong(&format!("{path}.field"), "must be @timestamp"));
    }
    if !matches!(given.get("format").map(Value::as_str), None | Some(Some("epoch_millis"))) {
        return Err(wrong(&format!("{path}.format"), "must be epoch_millis"));
    }
    if !matches!(given.get("time_zone").map(Value::as_str), None | Some(Some("UTC" | "utc" | "Z" | "+00:00")))
    {
        return Err(wrong(&format!("{path}.time_zone"), "must be UTC"));
    }
    let names = ["fixed_interval", "calendar_interval", "interval"];
    let length = names.iter().find_map(|name| Some((*name, given.get(*name)?)));
    let (key, length) = length.ok_or_else(|| wrong(path, "must have a fixed_interval"))?;
    let length = length.as_str().unwrap_or_default();
    let calendar_ms = match length {
        "second" => Some(1_000),
        "minute" => Some(60_000),
        "hour" => Some(3_600_000),
        "day" => Some(DAY_MS),
        "week" | "1w" => Some(7 * DAY_MS),
        _ => None,
    };
    let interval_ms = calendar_ms.or_else(|| moment::milliseconds(length)).ok_or_else(|| {
        wrong(&format!("{path}.{key}"), "must be a fixed length, such as 30s, 5m, 1h, 1d, 1w")
    })?;
    let bounds =
        given.get("extended_bounds").map(|value| bounds(value, &format!("{path}.extended_bounds"), now_ms));
    Ok(Kind::Histogram {
        interval_ms,
        begin_ms: if interval_ms == 7 * DAY_MS { MONDAY_MS } else { 0 },
        count_min: whole(given, "min_doc_count", path, 0)?,
        bounds_ms: bounds.transpose()?,
    })
}

fn bounds(value: &Value, path: &str, now_ms: u64) -> Result<(u64, u64), ApiError> {
    let given = options(value, path, &["min", "max"])?;
    let bound = |key: &str| {
        let ms = match given.get(key) {
            Some(Value::String(text)) => moment::instant_ms(text, now_ms),
            Some(value) => value.as_u64(),
            None => None,
        };
        ms.ok_or_else(|| wrong(&format!("{path}.{key}"), "must be a time"))
    };
    Ok((bound("min")?, bound("max")?))
}

fn whole(given: &Map<String, Value>, key: &str, path: &str, default: u64) -> Result<u64, ApiError> {
    let Some(value) = given.get(key) else { return Ok(default) };
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| wrong(&format!("{path}.{key}"), "must be a whole number"))
}

/// What one worker has counted.
pub(super) struct Totals {
    plan: std::sync::Arc<[Aggregation]>,
    total: u64,
    counts: Vec<Counts>,
    /// How many buckets may still be made.
    room: usize,
}

/// The buckets of one aggregation.
enum Counts {
    Terms(HashMap<String, Term>),
    Histogram(BTreeMap<u64, Bucket>),
}

struct Term {
    /// All of them were; what is a text in one log is a text, in whatever order they came.
    is_number: bool,
    bucket: Bucket,
}

#[derive(Default)]
struct Bucket {
    count: u64,
    within: Vec<Counts>,
}

impl Totals {
    pub(super) fn new(plan: &[Aggregation]) -> Self {
        Self { plan: plan.into(), total: 0, counts: empty(plan), room: BUCKETS_MAX }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Fails if there was no room for all buckets.
    pub(super) fn shown(&self, plan: &[Aggregation]) -> Result<Value, ApiError> {
        if self.room == 0 {
            let path = plan.first().map_or("aggs", |aggregation| &aggregation.path);
            return Err(too_many(path));
        }
        show_all(plan, &self.counts, &mut { BUCKETS_MAX }).map(Value::Object)
    }
}

fn too_many(path: &str) -> ApiError {
    wrong(path, format!("there would be more than {BUCKETS_MAX} buckets"))
}

fn empty(plan: &[Aggregation]) -> Vec<Counts> {
    let each = plan.iter().map(|aggregation| match aggregation.kind {
        Kind::Terms { .. } => Counts::Terms(HashMap::new()),
        Kind::Histogram { .. } => Counts::Histogram(BTreeMap::new()),
    });
    each.collect()
}

impl Gather for Totals {
    fn visit(&mut self, time_ms: u64, log: &Log) {
        self.total += 1;
        count(&self.plan, &mut self.counts, time_ms, log, &mut self.room);
    }

    fn merge(&mut self, other: Self) {
        self.total += other.total;
        if other.room == 0 {
            self.room = 0;
        }
        merge(&mut self.counts, other.counts, &mut self.room);
    }
}

/// Counts a log in. What there is no room for leaves `room` at 0, and the answer is refused.
fn count(plan: &[Aggregation], counts: &mut [Counts], time_ms: u64, log: &Log, room: &mut usize) {
    for (aggregation, counts) in plan.iter().zip(counts) {
        match (&aggregation.kind, counts) {
            (Kind::Terms { field, missing, .. }, Counts::Terms(terms)) => {
                let mut found = values(log, field);
                if found.is_empty() {
                    found.extend(missing.clone());
                }
                for (text, is_number) in found {
                    if terms.contains_key(&text) || takes(room) {
                        let new = || Term { is_number, bucket: Bucket::default() };
                        let term = terms.entry(text).or_insert_with(new);
                        term.is_number &= is_number;
                        term.bucket.add(aggregation, time_ms, log, room);
                    }
                }
            }
            (Kind::Histogram { interval_ms, begin_ms, .. }, Counts::Histogram(intervals)) => {
                let begin = begin_of(time_ms, *interval_ms, *begin_ms);
                if intervals.contains_key(&begin) || takes(room) {
                    intervals.entry(begin).or_default().add(aggregation, time_ms, log, room);
                }
            }
            _ => {}
        }
    }
}

/// Takes the room of one bucket, if there is any.
fn takes(room: &mut usize) -> bool {
    *room = room.saturating_sub(1);
    *room > 0
}

/// A log's distinct values of a field, and whether each is a number.
fn values(log: &Log, field: &str) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    log.any(field, |scalar| {
        let text = scalar.text();
        let end = text.floor_char_boundary(VALUE_BYTES_MAX);
        if *scalar != Scalar::Null {
            found.push((text[..end].to_owned(), matches!(scalar, Scalar::Number(_))));
        }
        false
    });
    found.sort_unstable();
    found.dedup_by(|(one, _), (other, _)| one == other);
    found
}

fn begin_of(time_ms: u64, interval_ms: u64, begin_ms: u64) -> u64 {
    // Before the first Monday there is only the interval that holds it.
    let shifted = time_ms.saturating_sub(begin_ms % interval_ms);
    shifted - shifted % interval_ms + begin_ms % interval_ms
}

fn merge(counts: &mut [Counts], others: Vec<Counts>, room: &mut usize) {
    for (counts, other) in counts.iter_mut().zip(others) {
        match (counts, other) {
            (Counts::Terms(terms), Counts::Terms(others)) => {
                for (text, other) in others {
                    if terms.contains_key(&text) || takes(room) {
                        let new = || Term { is_number: other.is_number, bucket: Bucket::default() };
                        let term = terms.entry(text).or_insert_with(new);
                        term.is_number &= other.is_number;
                        term.bucket.merge(other.bucket, room);
                    }
                }
            }
            (Counts::Histogram(intervals), Counts::Histogram(others)) => {
                for (begin, other) in others {
                    if intervals.contains_key(&begin) || takes(room) {
                        intervals.entry(begin).or_default().merge(other, room);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Bucket {
    fn add(&mut self, aggregation: &Aggregation, time_ms: u64, log: &Log, room: &mut usize) {
        if self.count == 0 {
            self.within = empty(&aggregation.within);
        }
        self.count += 1;
        count(&aggregation.within, &mut self.within, time_ms, log, room);
    }

    fn merge(&mut self, other: Self, room: &mut usize) {
        if self.count == 0 {
            *self = other;
            return;
        }
        self.count += other.count;
        merge(&mut self.within, other.within, room);
    }
}

/// `room`: how many more buckets the answer may have.
fn show_all(
    plan: &[Aggregation],
    counts: &[Counts],
    room: &mut usize,
) -> Result<Map<String, Value>, ApiError> {
    let shown = plan.iter().zip(counts).map(|(aggregation, counts)| {
        let shown = match (&aggregation.kind, counts) {
            (Kind::Terms { size, count_min, order, .. }, Counts::Terms(terms)) => {
                show_terms(aggregation, terms, *size, *count_min, *order, room)?
            }
            (Kind::Histogram { .. }, Counts::Histogram(intervals)) => {
                show_histogram(aggregation, intervals, room)?
            }
            _ => Value::Null,
        };
        Ok((aggregation.name.clone(), shown))
    });
    shown.collect()
}

fn show_terms(
    aggregation: &Aggregation,
    terms: &HashMap<String, Term>,
    size: usize,
    count_min: u64,
    order: By,
    room: &mut usize,
) -> Result<Value, ApiError> {
    let mut sorted: Vec<_> = terms.iter().filter(|(_, term)| term.bucket.count >= count_min).collect();
    // Numbers come before texts: compared one way here and another there, they would be in no order at all.
    let by_key = |one: &str, other: &str| match (Number::parse(one), Number::parse(other)) {
        (Some(one), Some(other)) => one.as_f64().total_cmp(&other.as_f64()),
        (one, other) => other.is_some().cmp(&one.is_some()),
    };
    sorted.sort_by(|(one, a), (other, b)| {
        let keys = by_key(one, other).then_with(|| one.cmp(other));
        match (order.key, order.descending) {
            (true, false) => keys,
            (true, true) => keys.reverse(),
            (false, false) => a.bucket.count.cmp(&b.bucket.count).then(keys),
            (false, true) => b.bucket.count.cmp(&a.bucket.count).then(keys),
        }
    });
    let others: u64 = sorted.iter().skip(size).map(|(_, term)| term.bucket.count).sum();
    let buckets = sorted.into_iter().take(size).map(|(text, term)| {
        let key = match text.parse::<serde_json::Number>() {
            Ok(number) if term.is_number => Value::Number(number),
            _ => Value::String(text.clone()),
        };
        show_bucket(aggregation, &term.bucket, key, None, room)
    });
    let buckets = buckets.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": buckets}))
}

fn show_histogram(
    aggregation: &Aggregation,
    intervals: &BTreeMap<u64, Bucket>,
    room: &mut usize,
) -> Result<Value, ApiError> {
    let Kind::Histogram { interval_ms, begin_ms, count_min, bounds_ms } = &aggregation.kind else {
        return Ok(Value::Null);
    };
    let begin = |ms: u64| begin_of(ms, *interval_ms, *begin_ms);
    let mut ends: Vec<u64> =
        intervals.keys().next().into_iter().chain(intervals.keys().next_back()).copied().collect();
    ends.extend(bounds_ms.iter().flat_map(|(min, max)| [begin(*min), begin(*max)]));
    let mut show = |(begin, bucket): (u64, &Bucket)| {
        show_bucket(aggregation, bucket, begin.into(), Some(rfc3339_millis(begin)), room)
    };
    let buckets: Result<Vec<_>, _> = match (*count_min, ends.iter().min(), ends.iter().max()) {
        (0, Some(first), Some(last)) => {
            let steps = (last - first) / interval_ms;
            let none = Bucket { count: 0, within: empty(&aggregation.within) };
            let all = (0..=steps).map(|step| first + step * interval_ms);
            all.map(|begin| show((begin, intervals.get(&begin).unwrap_or(&none)))).collect()
        }
        _ => {
            let enough = intervals.iter().filter(|(_, bucket)| bucket.count >= *count_min);
            enough.map(|(begin, bucket)| show((*begin, bucket))).collect()
        }
    };
    Ok(json!({"buckets": buckets?}))
}

fn show_bucket(
    aggregation: &Aggregation,
    bucket: &Bucket,
    key: Value,
    key_as_string: Option<String>,
    room: &mut usize,
) -> Result<Value, ApiError> {
    if !takes(room) {
        return Err(too_many(&aggregation.path));
    }
    let mut shown = Map::new();
    shown.extend(key_as_string.map(|text| ("key_as_string".to_owned(), Value::String(text))));
    shown.insert("key".to_owned(), key);
    shown.insert("doc_count".to_owned(), bucket.count.into());
    shown.extend(show_all(&aggregation.within, &bucket.within, room)?);
    Ok(Value::Object(shown))
}
