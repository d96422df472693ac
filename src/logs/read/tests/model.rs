//! Random logs and random questions: every answer must be the one that looking at every line would give, while the log grows, is sealed and
//! indexed, and begins anew.

use super::*;
use crate::domain::filter::{Filter, FilterSet, Operator};
use crate::domain::log::Scalar;
use crate::domain::query::limit::Limit;
use crate::domain::query::{Bound, Test};
use std::collections::{BTreeMap, BTreeSet};

const FIELDS: [&str; 10] = ["@timestamp", "level", "message", "code", "a.b", "a", "tags", "n", "ü.é", "none"];
const TEXTS: [&str; 24] = [
    "info",
    "ERROR",
    "Error: disk full",
    "disk",
    "full",
    "10.0.3.7",
    "*",
    "",
    "500",
    "5e2",
    "500.0",
    "-3",
    "0.5",
    "true",
    "null",
    "Ünïcode",
    "quote \\\" and \\\\ slash",
    "line\\nbreak",
    "\\u0065rror",
    "a b",
    "x",
    "2026-01-01T00:00:00Z",
    "2023",
    "14T22",
];

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn text(&mut self) -> &'static str {
        TEXTS[self.below(TEXTS.len())]
    }

    fn value(&mut self) -> String {
        let quoted = format!("\"{}\"", self.text());
        match self.below(9) {
            0 => ["500", "5e2", "500.0", "-3", "0.5", "5E-1", "0", "-0"][self.below(8)].to_owned(),
            1 => ["true", "null", "[]", "{}"][self.below(4)].to_owned(),
            2 => format!("[{quoted},\"{}\",[1,{{\"b\":{quoted}}}]]", self.text()),
            3 => format!("{{\"b\":{quoted},\"\":{quoted},\"b.c\":1}}"),
            4 => format!("\"{} {} {}\"", self.text(), self.text(), self.text()),
            _ => quoted,
        }
    }

    fn line(&mut self) -> String {
        let time_ms = START_MS + self.below(100_000) as u64;
        let time = match self.below(5) {
            0 => format!("{time_ms}"),
            1 => format!("\"{}\"", time_ms / 1_000),
            2 => "\"no time\"".to_owned(),
            _ => format!("\"{}\"", rfc3339_millis(time_ms)),
        };
        let mut line = format!("\"@timestamp\":{time},\"type\":\"t\"");
        for _ in 0..self.below(5) {
            let field = ["level", "message", "code", "a", "a.b", "tags", "\\u006e", "ü"][self.below(8)];
            line += &format!(",\"{field}\":{}", self.value());
        }
        let (left, right) = line.split_at(if self.below(8) == 0 { 0 } else { line.len() });
        format!("{{{}{left}{right}}}\n", if self.below(8) == 0 { "\"z\":1," } else { "" })
    }

    fn question(&mut self) -> Question {
        let access = match self.below(4) {
            0 => Access::Everything,
            1 if self.below(4) == 0 => Access::Nothing,
            n => {
                let operator = if n == 2 { Operator::And } else { Operator::Or };
                let filters = (0..1 + self.below(2)).map(|_| Filter {
                    field: FIELDS[self.below(FIELDS.len())].to_owned(),
                    value: unescaped(self.text()),
                });
                Access::Only(FilterSet::new(operator, filters.collect()).unwrap())
            }
        };
        let access = if self.below(2) == 0 { Access::Everything } else { access };
        let query = self.query(3);
        let time =
            |random: &mut Self| (random.below(2) == 0).then(|| START_MS + random.below(100_000) as u64);
        Question { account: AccountId(7), access, query, from_ms: time(self), to_ms: time(self) }
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.below(if depth == 0 { 4 } else { 8 }) {
            0 => Query::All,
            5 => Query::And((0..self.below(3)).map(|_| self.query(depth - 1)).collect()),
            6 => Query::Or((0..self.below(4)).map(|_| self.query(depth - 1)).collect()),
            7 => Query::Not(Box::new(self.query(depth - 1))),
            _ => {
                let text = unescaped(self.text());
                let cut = text.char_indices().nth(self.below(4) + 1).map_or(text.len(), |(at, _)| at);
                let test = match self.below(7) {
                    0 => Test::Exact(text),
                    1 => Test::Exists,
                    2 => Test::Range { from: Bound::Included(Limit::new(&text, 0)), to: Bound::Unbounded },
                    3 => Test::prefix(&text[..cut]).unwrap_or(Test::Exists),
                    _ => Test::words(&text),
                };
                let field = (self.below(3) > 0).then(|| FIELDS[self.below(FIELDS.len())].to_owned());
                Query::Value { field, test }
            }
        }
    }
}

fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap()
}

/// What passes, with its time, in the order in which it came.
fn passing<'a>(lines: &'a [String], question: &Question) -> Vec<(u64, &'a str)> {
    let pass = |line: &'a String| {
        let line = line.trim_end();
        let log = Log::parse(line.as_bytes()).unwrap();
        let time_ms = time_ms(&log, START_MS);
        let passes = question.from_ms.is_none_or(|from_ms| from_ms <= time_ms)
            && question.to_ms.is_none_or(|to_ms| time_ms < to_ms)
            && question.access.passes(&log)
            && question.query.matches(&log);
        passes.then_some((time_ms, line))
    };
    lines.iter().filter_map(pass).collect()
}

async fn check(reader: &Reader, lines: &[String], question: &Question, random: &mut Random) {
    let expect = passing(lines, question);
    let mut newest_first: Vec<_> =
        expect.iter().enumerate().map(|(n, (time_ms, line))| (*time_ms, n, *line)).collect();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let mut expect_found: Vec<_> = newest_first.iter().map(|(time_ms, _, line)| (*time_ms, *line)).collect();
    for order in [Order::NewestFirst, Order::OldestFirst] {
        // In twenty pages at the most: each looks through all of it.
        let limit = 1 + expect.len() / (1 + random.below(20));
        let (mut cursor, mut found) = (None, vec![]);
        loop {
            let page = reader.search_by(order, question.clone(), limit, cursor).await.unwrap();
            assert!(page.logs.len() <= limit && !page.partial);
            found.extend(page.logs);
            cursor = page.cursor.map(|cursor| cursor.to_string().parse().unwrap());
            if cursor.is_none() || found.len() > lines.len() {
                break;
            }
        }
        let found: Vec<_> =
            found.iter().map(|log| (log.time_ms, std::str::from_utf8(&log.line).unwrap())).collect();
        assert_eq!(found, expect_found, "{order:?} {question:?}");
        expect_found.reverse();
    }

    let interval_ms = 1 + random.below(20_000) as u64;
    let histogram = reader.histogram(question.clone(), interval_ms).await.unwrap();
    let mut buckets = BTreeMap::<u64, u64>::new();
    expect.iter().for_each(|(time_ms, _)| *buckets.entry(time_ms - time_ms % interval_ms).or_default() += 1);
    let found: BTreeMap<_, _> =
        histogram.buckets.iter().map(|bucket| (bucket.time_ms, bucket.count)).collect();
    assert_eq!((histogram.total, found), (expect.len() as u64, buckets), "{question:?}");
    assert!(!histogram.partial);

    let fields = reader.fields(question.clone(), usize::MAX).await.unwrap();
    assert_eq!((fields.total, fields.partial), (expect.len() as u64, false), "{question:?}");
    let (mut names, mut values) = (BTreeMap::<String, u64>::new(), BTreeMap::<(String, String), u64>::new());
    for (_, line) in &expect {
        let mut of_log = BTreeSet::new();
        Log::parse(line.as_bytes()).unwrap().any_field(|name, scalar: &Scalar| {
            of_log.insert((name.to_owned(), scalar.text().to_owned()));
            false
        });
        let of_names: BTreeSet<_> = of_log.iter().map(|(name, _)| name.clone()).collect();
        of_names.into_iter().for_each(|name| *names.entry(name).or_default() += 1);
        of_log.into_iter().for_each(|value| *values.entry(value).or_default() += 1);
    }
    let found: BTreeMap<_, _> = fields.fields.iter().map(|field| (field.name.clone(), field.count)).collect();
    assert_eq!(found, names, "{question:?}");
    let found: BTreeMap<_, _> = fields
        .fields
        .iter()
        .flat_map(|field| {
            field.values.iter().map(|value| ((field.name.clone(), value.value.clone()), value.count))
        })
        .collect();
    assert_eq!(found, values, "{question:?}");

    let mut export = reader.export(question.clone()).await.unwrap();
    let mut exported = vec![];
    while let Some(chunk) = export.next().await {
        exported.extend_from_slice(&chunk.unwrap());
    }
    let expect: String = expect.iter().map(|(_, line)| format!("{line}\n")).collect();
    assert_eq!(std::str::from_utf8(&exported).unwrap(), expect, "{question:?}");
}

/// Waits until every sealed file has its index.
pub(super) async fn indexed(dir: &Path) -> usize {
    let count = |end: &str| {
        let files = std::fs::read_dir(dir.join("logs/7")).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(end)).count()
    };
    let growing = usize::from(dir.join("logs/7/current.ndjson.zst").exists());
    eventually(|| count(".ndjson.zst") - growing.min(count(".ndjson.zst")) == count(".index")).await;
    count(".index")
}

#[tokio::test]
async fn every_answer_is_what_looking_at_every_line_gives() {
    let mut random = Random(0x5eed_0bad_cafe_f00d);
    let (mut dir, mut lines, mut indexes) = (tempfile::tempdir().unwrap(), vec![], 0);
    for round in 0..6 {
        let running = Running::start_in(dir, if round % 2 == 0 { 3_000 } else { 1 << 20 });
        for _ in 0..1 + random.below(12) {
            let batch: Vec<_> = (0..1 + random.below(40)).map(|_| random.line()).collect();
            running.ship(7, &batch.concat()).await;
            running.ship(8, &random.line()).await;
            lines.extend(batch);
        }
        running.settled().await;
        for _ in 0..40 {
            let question = random.question();
            check(&running.reader, &lines, &question, &mut random).await;
        }
        indexes = indexed(running.dir.path()).await;
        let reader;
        (dir, reader) = running.close();
        for _ in 0..40 {
            let question = random.question();
            check(&reader, &lines, &question, &mut random).await;
        }
    }
    assert!(indexes > 2, "the test is about indexes, too");
}
