//! What is seen through a shared token: on every route that reads, under any filters, what would be seen of a log that holds nothing but the
//! lines that pass.

use crate::harness::http::{Connection, Request};
use crate::harness::{Admin, Gate, Shipper, eventually};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// The routes that take a shared token; each is asked below. `/v1/share` tells of the token itself.
const READ_ROUTES: [(&str, &str); 17] = [
    ("get", "/v1/logs"),
    ("get", "/v1/logs/histogram"),
    ("get", "/v1/logs/fields"),
    ("get", "/v1/logs/tail"),
    ("get", "/v1/logs/export"),
    ("post", "/v1/search"),
    ("get", "/v1/elasticsearch"),
    ("get", "/v1/elasticsearch/"),
    ("get", "/v1/elasticsearch/_cluster/health"),
    ("get", "/v1/elasticsearch/_mapping"),
    ("get", "/v1/elasticsearch/{index}/_mapping"),
    ("post", "/v1/elasticsearch/_search"),
    ("post", "/v1/elasticsearch/{index}/_search"),
    ("get", "/v1/elasticsearch/_search"),
    ("get", "/v1/elasticsearch/{index}/_search"),
    ("post", "/v1/elasticsearch/_msearch"),
    ("get", "/v1/share"),
];

const QUERIES: [&str; 7] = [
    "",
    "env:test",
    "NOT team:a",
    "_exists_:user.team OR status:>=300",
    "err*",
    "message:\"disk full\"",
    "status:[200 TO 404]",
];

/// When the first logs are from: an hour ago, for what looks at a day.
fn begin_ms() -> u64 {
    static BEGIN_MS: OnceLock<u64> = OnceLock::new();
    *BEGIN_MS.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_millis() as u64 - 3_600_000
    })
}

/// A filter: which of some fields has which of some values.
type Chosen = (&'static str, &'static str);

#[derive(Debug, Clone)]
struct Case {
    batches: Vec<Vec<Value>>,
    filters: Vec<Chosen>,
    any: bool,
    limit: usize,
    interval: &'static str,
}

fn line() -> impl Strategy<Value = Value> {
    let env = select(vec![
        Value::Null,
        json!("test"),
        json!("prod"),
        json!("Test"),
        json!("te*"),
        json!(["prod", ["test"]]),
        json!({ "test": "test" }),
        json!(true),
    ]);
    let team = select(vec![json!("a"), json!("b"), json!(1), json!(1.0)]);
    let status = select(vec![json!(200), json!("200"), json!(200.0), json!(404), json!([200, 500])]);
    let message = select(vec!["disk full", "error: disk", "fine", "env: test", ""]);
    let place = select(vec!["user.team", "user", "team", "none"]);
    let time = 0..40_u64;
    (env, team, status, message, place, time, any::<bool>()).prop_map(
        |(env, team, status, message, place, time, has_own)| {
            // Many at the same time: their order among each other is a part of the answer.
            let at = begin_ms() + time * 60_000;
            let mut log = json!({ "@timestamp": at, "env": env, "status": status, "message": message });
            match place {
                "user" => log["user"] = json!({ "team": team }),
                "none" => {}
                name => log[name] = team,
            }
            if has_own {
                // A name that tells on a line that does not pass.
                log[format!("only{}", time % 7)] = json!({ "deep": message });
            }
            log
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let fields = ["env", "team", "user.team", "status"];
    let values = ["test", "prod", "a", "1", "200", "true", "null", "*", "te*"];
    let filter = (select(fields.to_vec()), select(values.to_vec()));
    // Each combination of fields is likely, and few filters let anything pass at all.
    let filters =
        vec(prop_oneof![3 => Just(("env", "test")), 1 => Just(("status", "200")), 2 => filter], 1..4);
    (vec(vec(line(), 1..30), 1..6), filters, any::<bool>(), 1..20_usize, select(vec!["1m", "7m", "1h"]))
        .prop_map(|(batches, mut filters, any, limit, interval)| {
            filters.sort_unstable();
            filters.dedup();
            Case { batches, filters, any, limit, interval }
        })
}

/// Whether a log passes, told without any code of the program.
fn passes(log: &Value, case: &Case) -> bool {
    fn values(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| values(item, found)),
            Value::Object(_) => {}
            Value::String(text) => found.push(text.clone()),
            other => found.push(other.to_string()),
        }
    }
    let has = |(field, wanted): &Chosen| {
        let mut found = vec![];
        let nested = field.split_once('.').and_then(|(outer, inner)| log.get(outer)?.get(inner));
        for value in log.get(field).into_iter().chain(nested) {
            values(value, &mut found);
        }
        found.iter().any(|value| value == wanted)
    };
    if case.any { case.filters.iter().any(has) } else { case.filters.iter().all(has) }
}

/// A line that passes whatever was chosen.
fn last_line(case: &Case) -> Value {
    let mut log = json!({ "@timestamp": begin_ms(), "message": "the last one" });
    for (field, value) in &case.filters {
        match &mut log[*field] {
            Value::Array(values) => values.push(json!(value)),
            none => *none = json!([value]),
        }
    }
    log
}

static ACCOUNTS: AtomicU32 = AtomicU32::new(0);

/// An account of its own, and how a recipient of its logs asks.
struct Side {
    admin: Admin,
    shipper: Shipper,
    secret: String,
}

impl Side {
    fn new(gate: &Gate, filters: &[Chosen], any: bool) -> Self {
        let name = format!("account {}", ACCOUNTS.fetch_add(1, Ordering::Relaxed));
        let revision = gate.metric("shipgate_directory_revision");
        let accounts = "/v1/account-management/time-based-accounts";
        let made = gate.admin().call("POST", accounts, Some(json!({ "accountName": name }))).json();
        let known = || (gate.metric("shipgate_directory_revision") > revision).then_some(());
        eventually("the gateway knows the account", known);
        let admin = Admin { api: gate.api, token: made["apiToken"].as_str().unwrap().to_owned() };
        let id = made["accountId"].as_u64().unwrap() as u32;
        let shipper = gate.shipper_with(made["accountToken"].as_str().unwrap(), id);
        let filter = |(field, value): &Chosen| {
            let new = json!({ "field": field, "value": value, "description": "" });
            admin.call("POST", "/v1/shared-tokens/filters", Some(new)).json()["id"].clone()
        };
        let filters: Vec<_> = filters.iter().map(filter).collect();
        let operator = if any { "OR" } else { "AND" };
        let new = json!({ "tokenName": "shared", "filters": filters, "filtersOperator": operator });
        let secret = admin.call("POST", "/v1/shared-tokens", Some(new)).json()["token"].clone();
        Self { admin, shipper, secret: secret.as_str().unwrap().to_owned() }
    }

    fn ship(&self, logs: &[Value]) {
        let body: String = logs.iter().map(|log| format!("{log}\n")).collect();
        assert_eq!(self.shipper.request().body(body).send(self.shipper.ingest).status, 200);
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let request = Request::new(method, path).header("X-SHARED-TOKEN", &self.secret).body(body);
        let answer = request.send(self.admin.api);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    }

    /// An answer without what differs from one time to the next: of a place, how long its text is.
    fn json(&self, method: &str, path: &str, body: &str) -> Value {
        fn forget_times(answer: &mut Value) {
            answer.as_object_mut().unwrap().retain(|key, _| !["took", "tookMs"].contains(&key.as_str()));
            let hits = answer.pointer_mut("/hits/hits").and_then(Value::as_array_mut);
            for place in hits.into_iter().flatten().filter_map(|hit| hit["sort"].get_mut(1)) {
                *place = json!(place.as_str().unwrap().len());
            }
            answer
                .get_mut("responses")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .for_each(forget_times);
        }
        let mut answer = serde_json::from_slice(&self.ask(method, path, body)).unwrap();
        forget_times(&mut answer);
        answer
    }

    /// All pages, each with how long the text of its cursor is.
    fn pages(&self, query: &str, limit: usize) -> Vec<(Value, Option<usize>)> {
        let (mut pages, mut cursor) = (vec![], String::new());
        loop {
            let path = format!("/v1/logs?query={}&limit={limit}&cursor={}", encoded(query), encoded(&cursor));
            let mut page = self.json("GET", &path, "");
            let next = page["cursor"].take();
            pages.push((page, next.as_str().map(str::len)));
            match next.as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return pages,
            }
        }
    }

    fn tail(&self, query: &str) -> Connection {
        let path = format!("/v1/logs/tail?query={}&shareToken={}", encoded(query), self.secret);
        let mut tail = Connection::open(self.admin.api).unwrap();
        tail.write(&Request::get(path).bytes()).unwrap();
        assert_eq!(tail.head().unwrap().status, 200);
        assert!(tail.chunk().unwrap().is_some(), "it has begun");
        tail
    }
}

/// Every event of a tail until that of the last line.
fn events(mut tail: Connection) -> Vec<String> {
    let mut text = String::new();
    while !text.contains("the last one") || !text.ends_with("\n\n") {
        text += &String::from_utf8(tail.chunk().unwrap().expect("it goes on")).unwrap();
    }
    text.split("\n\n").filter(|event| event.starts_with("event")).map(str::to_owned).collect()
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

fn search_bodies(case: &Case) -> [Value; 5] {
    let aggregations = json!({
        "over_time": { "date_histogram": { "field": "@timestamp", "fixed_interval": case.interval } },
        "teams": { "terms": { "field": "team", "size": 3 } },
    });
    [
        json!({ "size": case.limit, "aggs": aggregations }),
        json!({ "size": 1_000, "sort": [{ "@timestamp": "asc" }], "query": { "exists": { "field": "team" } } }),
        json!({ "from": 2, "size": 3, "query": { "bool": { "must_not": [{ "term": { "env": "prod" } }] } } }),
        json!({
            "size": case.limit, "sort": [{ "@timestamp": "desc" }], "search_after": [begin_ms() + 20 * 60_000],
            "fields": ["@timestamp", "env", "user.team"],
            "aggs": { "teams": { "terms": { "field": "user.team", "missing": "none" } } },
        }),
        json!({ "size": case.limit, "sort": [{ "@timestamp": "asc" }, "_shard_doc"], "track_total_hits": false }),
    ]
}

/// Compares the one who sees through filters with the one who sees all of a log that holds no more.
fn compare(filtered: &Side, all: &Side, case: &Case) {
    for query in QUERIES {
        let asked = format!("query={}", encoded(query));
        assert_eq!(filtered.pages(query, case.limit), all.pages(query, case.limit), "{query} {case:?}");
        let range = format!("&from={}&to={}", begin_ms() + 5 * 60_000, begin_ms() + 30 * 60_000);
        for path in [
            format!("/v1/logs?{asked}&limit=1000{range}"),
            format!("/v1/logs/histogram?{asked}&interval={}", case.interval),
            format!("/v1/logs/histogram?{asked}{range}"),
            format!("/v1/logs/fields?{asked}&values=3"),
            format!("/v1/logs/fields?{asked}&values=0{range}"),
        ] {
            let seen = filtered.json("GET", &path, "");
            assert_eq!(seen, all.json("GET", &path, ""), "{path} {case:?}");
            assert!(seen.get("scannedBytes").is_none(), "{seen}");
        }
        for range in ["", &range] {
            let path = format!("/v1/logs/export?{asked}{range}");
            let plain = filtered.ask("GET", &path, "");
            assert!(plain == all.ask("GET", &path, ""), "{path} {case:?}");
            let packed = filtered.ask("GET", &format!("{path}&format=ndjson.zst"), "");
            assert!(unpacked(&packed) == plain, "{path} {case:?}");
        }
    }
    for path in ["", "/", "/_cluster/health", "/_mapping", "/logs/_mapping"] {
        let path = format!("/v1/elasticsearch{path}");
        assert_eq!(filtered.json("GET", &path, ""), all.json("GET", &path, ""), "{path} {case:?}");
    }
    let bodies = search_bodies(case).map(|body| body.to_string());
    let several = bodies.each_ref().map(|body| format!("{{}}\n{body}\n")).concat();
    let singles = ["/v1/search", "/v1/elasticsearch/_search", "/v1/elasticsearch/logs/_search"];
    let singles = singles.iter().flat_map(|path| bodies.iter().map(|body| (*path, body)));
    for (path, body) in singles.chain([("/v1/elasticsearch/_msearch", &several)]) {
        let seen = filtered.json("POST", path, body);
        assert_eq!(seen, all.json("POST", path, body), "{path} {body} {case:?}");
        if path.ends_with("/_search") {
            assert_eq!(seen, filtered.json("GET", path, body), "{path} {body} {case:?}");
        }
    }
}

fn check(gate: &Gate, case: &Case) {
    let (filtered, all) = (Side::new(gate, &case.filters, case.any), Side::new(gate, &[], false));
    let (query, tails) = ("NOT team:b", [&filtered, &all].map(|side| side.tail("NOT team:b")));
    for batch in &case.batches {
        filtered.ship(batch);
        let passing: Vec<_> = batch.iter().filter(|log| passes(log, case)).cloned().collect();
        all.ship(&passing);
    }
    for side in [&filtered, &all] {
        side.ship(&[last_line(case)]);
        eventually("all of it can be read", || {
            let found = side.json("GET", "/v1/logs?query=%22the+last+one%22", "");
            (found["logs"].as_array().unwrap().len() == 1).then_some(())
        });
    }
    compare(&filtered, &all, case);
    let [seen, expect] = tails.map(events);
    assert_eq!(seen, expect, "{query} {case:?}");
}

#[test]
fn a_filter_shows_what_a_log_of_the_passing_lines_would() {
    // Files are sealed, and indexed, all along.
    let gate = Gate::start_with(&[("LOGS__FILE_BYTES_MAX", "2000")]);
    let description = Request::get("/openapi.json").send(gate.api).json();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let known = READ_ROUTES.contains(&(method, path));
            let reads = operation["security"].to_string().contains("sharedToken");
            assert_eq!(reads, known, "{method} {path}: this test is to ask it what a filter lets through");
        }
    }
    let mut runner = TestRunner::new(Config {
        cases: 24,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&case(), |case| {
            check(&gate, &case);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_cursor_tells_a_recipient_nothing_and_is_its_own() {
    let gate = Gate::start();
    let side = Side::new(&gate, &[("env", "test")], false);
    let hidden = json!({ "env": "prod" });
    side.ship(&[json!({ "env": "test", "n": 1 }), hidden.clone(), hidden, json!({ "env": "test", "n": 2 })]);
    let page = eventually("both are there", || {
        let page = side.json("GET", "/v1/logs?limit=1", "");
        page["cursor"].is_string().then_some(page)
    });
    let cursor = page["cursor"].as_str().unwrap();
    let path = format!("/v1/logs?limit=1&cursor={}", encoded(cursor));
    let next = side.json("GET", &path, "");
    assert_eq!(next["logs"][0]["log"]["n"], 1);
    assert_ne!(side.json("GET", "/v1/logs?limit=1", "")["cursor"], cursor, "another text each time");
    let plain = side.admin.get("/v1/logs?limit=1").json()["cursor"].as_str().unwrap().to_owned();
    assert_eq!(side.admin.get(&path).status, 400, "not an admin's");
    let path = format!("/v1/logs?limit=1&cursor={plain}");
    let refused = Request::get(path).header("X-SHARED-TOKEN", &side.secret).send(gate.api);
    assert_eq!(refused.status, 400, "nor an admin's a recipient's");
}

/// Everything a tail says until it says this.
fn until(tail: &mut Connection, said: &str) -> String {
    let mut text = String::new();
    while !text.contains(said) {
        let chunk = tail.chunk().unwrap().unwrap_or_else(|| panic!("it ended after {text}"));
        text += &String::from_utf8(chunk).unwrap();
    }
    text
}

#[test]
fn an_open_tail_shows_nothing_while_its_token_is_suspended_and_ends_when_that_expires() {
    let gate = Gate::start();
    let side = Side::new(&gate, &[("env", "test")], false);
    let shared = side.admin.get("/v1/shared-tokens").json()[0].clone();
    let path = format!("/v1/shared-tokens/{}", shared["id"]);
    let put = |change: Value| assert_eq!(side.admin.call("PUT", &path, Some(change)).status, 200);
    let log = |n: usize| json!({ "env": "test", "message": format!("number {n}.") });
    let mut tail = side.tail("");
    side.ship(&[log(0)]);
    until(&mut tail, "number 0.");
    let filter = format!("/v1/shared-tokens/filters/{}", shared["filters"][0]);
    assert_eq!(side.admin.call("DELETE", &filter, None).status, 200);
    side.ship(&[log(1)]);
    put(json!({ "expiresIn": 0.5 }));
    let rest = until(&mut tail, "reason");
    assert!(rest.contains("{\"reason\":\"expired\"}") && !rest.contains("number"), "{rest}");
    assert!(tail.chunk().unwrap().is_none(), "it is over");
    put(json!({ "expirationDate": null, "filters": [] }));
    let mut tail = side.tail("");
    side.ship(&[log(2)]);
    until(&mut tail, "number 2.");
    assert_eq!(side.admin.call("DELETE", &path, None).status, 204);
    assert!(until(&mut tail, "reason").contains("{\"reason\":\"deleted\"}"));
    let request = Request::get("/v1/logs").header("X-SHARED-TOKEN", &side.secret);
    assert_eq!(request.send(gate.api).status, 401);
}
