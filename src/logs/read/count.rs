//! Counts of matching logs: over time, and by field and value.

use super::{Gather, Gathered, ReadError};
use crate::domain::log::Log;
use std::collections::{BTreeMap, HashMap};

/// Intervals in one histogram.
const BUCKETS_MAX: usize = 10_000;
/// Fields that are told apart, values of each, and the length of those. What comes first counts: beyond it, new ones are left out.
const FIELDS_MAX: usize = 1_000;
const VALUES_MAX: usize = 2_000;
const VALUE_BYTES_MAX: usize = 256;
/// Bytes of all names and values, with what each costs beside its text.
const NAMES_BYTES_MAX: usize = 32 << 20;
const ENTRY_BYTES: usize = 64;

/// How many logs there are, interval by interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    pub interval_ms: u64,
    pub total: u64,
    /// In the order of time; intervals without logs are left out.
    pub buckets: Vec<Bucket>,
    /// Not all logs were looked at.
    pub partial: bool,
    pub scanned_bytes: u64,
}

/// One interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Where it begins, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    pub count: u64,
}

/// Which fields logs have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub total: u64,
    /// Most frequent first.
    pub fields: Vec<Field>,
    /// Not all logs were looked at.
    pub partial: bool,
    pub scanned_bytes: u64,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its dotted path.
    pub name: String,
    /// How many logs have it.
    pub count: u64,
    /// Most frequent first.
    pub values: Vec<Value>,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub value: String,
    /// How many logs have it.
    pub count: u64,
}

pub(super) struct Buckets {
    interval_ms: u64,
    counts: BTreeMap<u64, u64>,
    overflown: bool,
}

impl Buckets {
    pub(super) fn new(interval_ms: u64) -> Self {
        Self { interval_ms, counts: BTreeMap::new(), overflown: false }
    }

    fn add(&mut self, time_ms: u64, count: u64) {
        *self.counts.entry(time_ms).or_default() += count;
        if self.counts.len() > BUCKETS_MAX {
            self.counts.pop_last();
            self.overflown = true;
        }
    }
}

impl Gather for Buckets {
    fn visit(&mut self, time_ms: u64, _: &Log) {
        self.visit_time(time_ms);
    }

    fn visit_time(&mut self, time_ms: u64) -> bool {
        self.add(time_ms - time_ms % self.interval_ms, 1);
        true
    }

    fn merge(&mut self, other: Self) {
        self.overflown |= other.overflown;
        other.counts.into_iter().for_each(|(time_ms, count)| self.add(time_ms, count));
    }
}

pub(super) fn histogram(interval_ms: u64, gathered: Gathered<Buckets>) -> Result<Histogram, ReadError> {
    let Gathered { value: Buckets { counts, overflown, .. }, partial, scanned_bytes } = gathered;
    if overflown {
        return Err(ReadError::TooManyBuckets { max: BUCKETS_MAX });
    }
    let buckets: Vec<_> = counts.into_iter().map(|(time_ms, count)| Bucket { time_ms, count }).collect();
    let total = buckets.iter().map(|bucket| bucket.count).sum();
    Ok(Histogram { interval_ms, total, buckets, partial, scanned_bytes })
}

#[derive(Default)]
pub(super) struct Names {
    /// How many logs there were: the number of the one that is being looked at.
    total: u64,
    by_name: HashMap<String, Counted>,
    room: Room,
}

/// What names and values take.
#[derive(Default)]
struct Room {
    bytes: usize,
}

impl Room {
    /// False: there is none for one more text.
    fn takes(&mut self, text: &str) -> bool {
        let bytes = self.bytes + text.len() + ENTRY_BYTES;
        let fits = bytes <= NAMES_BYTES_MAX;
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

/// How many logs have something, each counted once.
#[derive(Default)]
struct Count {
    count: u64,
    last: u64,
}

#[derive(Default)]
struct Counted {
    logs: Count,
    values: HashMap<String, Count>,
}

impl Count {
    fn see(&mut self, log: u64) {
        self.count += u64::from(self.last != log);
        self.last = log;
    }
}

impl Names {
    /// The field's counts, unless there are too many fields; and what room there is for values.
    fn named(&mut self, name: &str) -> Option<(&mut Counted, &mut Room)> {
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= FIELDS_MAX || !self.room.takes(name) {
                return None;
            }
            self.by_name.insert(name.to_owned(), Counted::default());
        }
        Some((self.by_name.get_mut(name)?, &mut self.room))
    }
}

impl Counted {
    /// A value's count, unless there are too many values.
    fn valued(&mut self, value: &str, room: &mut Room) -> Option<&mut Count> {
        if !self.values.contains_key(value) {
            if self.values.len() >= VALUES_MAX || value.len() > VALUE_BYTES_MAX || !room.takes(value) {
                return None;
            }
            self.values.insert(value.to_owned(), Count::default());
        }
        self.values.get_mut(value)
    }
}

impl Gather for Names {
    fn visit(&mut self, _: u64, log: &Log) {
        self.total += 1;
        let number = self.total;
        log.any_field(|name, scalar| {
            if let Some((counted, room)) = self.named(name) {
                counted.logs.see(number);
                if let Some(value) = counted.valued(scalar.text(), room) {
                    value.see(number);
                }
            }
            false
        });
    }

    fn merge(&mut self, other: Self) {
        self.total += other.total;
        for (name, counted) in other.by_name {
            if let Some((known, room)) = self.named(&name) {
                known.logs.count += counted.logs.count;
                for (value, count) in counted.values {
                    if let Some(known) = known.valued(&value, room) {
                        known.count += count.count;
                    }
                }
            }
        }
    }
}

pub(super) fn fields(gathered: Gathered<Names>, values_max: usize) -> Fields {
    let Gathered { value: Names { total, by_name, .. }, partial, scanned_bytes } = gathered;
    let mut fields: Vec<_> = by_name
        .into_iter()
        .map(|(name, Counted { logs, values })| {
            let mut values: Vec<_> =
                values.into_iter().map(|(value, Count { count, .. })| Value { value, count }).collect();
            values.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
            values.truncate(values_max);
            Field { name, count: logs.count, values }
        })
        .collect();
    fields.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    Fields { total, fields, partial, scanned_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_take_so_much_memory_and_no_more() {
        let mut names = Names::default();
        let long = "x".repeat(400_000);
        for n in 0..200 {
            let line = format!("{{\"{n}{long}\":1,\"n\":{n}}}");
            names.visit(0, &Log::parse(line.as_bytes()).unwrap());
        }
        assert!(names.room.bytes <= NAMES_BYTES_MAX && names.by_name.len() < 100);
        let gathered = Gathered { value: names, partial: false, scanned_bytes: 0 };
        let fields = fields(gathered, 1_000);
        let n = fields.fields.iter().find(|field| field.name == "n").unwrap();
        assert_eq!((fields.total, n.count), (200, 200));
    }
}
