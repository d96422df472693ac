//! What Grafana's Elasticsearch data source sends, as its Explore and its dashboards do, and what it goes by in the answers.

use crate::harness::http::Request;
use crate::harness::{API_TOKEN, Gate, eventually};
use serde_json::{Value, json};

/// 2026-01-31T12:00:00Z
const BEGIN_MS: u64 = 1_769_860_800_000;
const END_MS: u64 = BEGIN_MS + 10_000;

/// Ten logs, of three levels or of none, two of each second; their times are written in three ways.
fn start() -> Gate {
    let gate = Gate::start();
    let line = |n: u64| {
        let time_ms = BEGIN_MS + n / 2 * 1_000;
        let mut log = json!({"n": n, "message": format!("log number {n}"), "@timestamp": time_ms});
        match n % 3 {
            0 => log["@timestamp"] = json!(time_ms / 1_000),
            1 => log["@timestamp"] = json!(format!("2026-01-31T12:00:{:02}Z", n / 2)),
            _ => {}
        }
        if !n.is_multiple_of(4) {
            log["level"] = json!(["info", "warn", "error"][n as usize % 4 - 1]);
        }
        format!("{log}\n")
    };
    let shipper = gate.shipper();
    let body: String = (0..10).map(line).collect();
    assert_eq!(shipper.request().body(body).send(shipper.ingest).status, 200);
    eventually("what was shipped can be read", || {
        (gate.admin().get("/v1/logs").json()["logs"].as_array()?.len() == 10).then_some(())
    });
    gate
}

/// As Grafana asks: each body behind a header, `filters` beside the time range.
fn ask(gate: &Gate, bodies: &[Value]) -> Vec<Value> {
    let header = json!({"ignore_unavailable": true, "index": "logs-*", "search_type": "query_then_fetch"});
    let lines: String = bodies.iter().map(|body| format!("{header}\n{body}\n")).collect();
    let request = Request::post("/v1/elasticsearch/_msearch?max_concurrent_shard_requests=5");
    let request = request.header("X-API-TOKEN", API_TOKEN).header("Content-Type", "application/x-ndjson");
    let answer = request.body(lines).send(gate.api);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["responses"].as_array().unwrap().clone()
}

fn query(text: &str) -> Value {
    let range = json!({"range": {"@timestamp": {"format": "epoch_millis", "gte": BEGIN_MS, "lte": END_MS}}});
    match text {
        "" => json!({"bool": {"filter": range}}),
        text => {
            json!({"bool": {"filter": [range, {"query_string": {"analyze_wildcard": true, "query": text}}]}})
        }
    }
}

fn over_time() -> Value {
    json!({"field": "@timestamp", "fixed_interval": "2000ms", "min_doc_count": 0,
        "extended_bounds": {"min": BEGIN_MS, "max": END_MS}, "format": "epoch_millis"})
}

/// The logs of Explore and of a panel, and the context of one of them.
fn logs(text: &str, direction: &str, after: Option<&Value>) -> Value {
    let mut body = json!({
        "size": 3, "query": query(text), "script_fields": {}, "docvalue_fields": ["@timestamp"],
        "fields": [{"field": "@timestamp", "format": "strict_date_optional_time_nanos"}],
        "sort": {"@timestamp": {"order": direction, "unmapped_type": "boolean"}, "_doc": {"order": direction}},
        "highlight": {"fields": {"*": {}}, "fragment_size": 2_147_483_647,
            "pre_tags": ["@HIGHLIGHT@"], "post_tags": ["@/HIGHLIGHT@"]},
        "aggs": {"1": {"date_histogram": over_time()}},
    });
    if let Some(after) = after {
        body["search_after"] = after.clone();
    }
    body
}

fn numbers(answer: &Value) -> Vec<u64> {
    let hits = answer["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{answer}"));
    hits.iter().map(|hit| hit["_source"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn logs_come_with_their_times_and_how_many_there_were_when() {
    let gate = start();
    let answers = ask(&gate, &[logs("", "desc", None), logs("level:\"error\" AND -n:\"3\"", "desc", None)]);
    assert_eq!((numbers(&answers[0]), numbers(&answers[1])), (vec![9, 8, 7], vec![7]));
    assert_eq!(answers[0]["hits"]["total"]["value"], 10);
    let times = answers[0]["hits"]["hits"].as_array().unwrap().iter().map(|hit| &hit["fields"]["@timestamp"]);
    let seconds = |n: u64| json!([format!("2026-01-31T12:00:{:02}.000Z", n / 2)]);
    assert!(times.eq(&[seconds(9), seconds(8), seconds(7)]), "{answers:?}");
    let buckets = answers[0]["aggregations"]["1"]["buckets"].as_array().unwrap();
    let counts: Vec<_> =
        buckets.iter().map(|bucket| (bucket["key"].as_u64(), bucket["doc_count"].as_u64())).collect();
    let expect = [(0, 4), (2, 4), (4, 2), (6, 0), (8, 0), (10, 0)];
    assert_eq!(counts, expect.map(|(second, count)| (Some(BEGIN_MS + second * 1_000), Some(count))));
}

#[test]
fn the_context_of_a_log_goes_on_behind_it_both_ways() {
    let gate = start();
    for (direction, pages) in [
        ("desc", [vec![9, 8, 7], vec![6, 5, 4], vec![3, 2, 1], vec![0], vec![]]),
        ("asc", [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8], vec![9], vec![]]),
    ] {
        let mut after = None;
        for page in pages {
            let answer = ask(&gate, &[logs("", direction, after.as_ref())]).remove(0);
            assert_eq!(numbers(&answer), page, "{direction} {after:?}");
            assert_eq!(answer["hits"]["total"]["value"], 10, "as without it");
            after = answer["hits"]["hits"].as_array().unwrap().last().map(|hit| hit["sort"].clone());
        }
    }
}

#[test]
fn the_context_of_a_log_is_the_same_whichever_way_it_was_found() {
    let gate = start();
    let newest = ask(&gate, &[logs("", "desc", None)]).remove(0);
    // Of the same time are 8 and 9, 6 and 7.
    for (hit, newer, older) in
        [(0, vec![], vec![8, 7, 6]), (1, vec![9], vec![7, 6, 5]), (2, vec![8, 9], vec![6, 5, 4])]
    {
        let sort = &newest["hits"]["hits"][hit]["sort"];
        let answers = ask(&gate, &[logs("", "asc", Some(sort)), logs("", "desc", Some(sort))]);
        assert_eq!([numbers(&answers[0]), numbers(&answers[1])], [newer, older], "{sort}");
    }
    let made_up = ask(&gate, &[logs("", "asc", Some(&json!([BEGIN_MS, "0"])))]).remove(0);
    assert_eq!(made_up["error"]["reason"], "search_after: has not come with a log");
}

#[test]
fn the_volume_of_logs_is_told_by_level_and_without_one() {
    let gate = start();
    let volume = json!({"size": 0, "query": query(""), "aggs": {"2": {
        "terms": {"field": "level", "size": 500, "order": {"_count": "desc"}, "min_doc_count": 0, "missing": "unknown"},
        "aggs": {"3": {"date_histogram": over_time()}},
    }}});
    let answer = ask(&gate, &[volume]).remove(0);
    let buckets = answer["aggregations"]["2"]["buckets"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let levels: Vec<_> =
        buckets.iter().map(|bucket| (&bucket["key"], bucket["doc_count"].as_u64().unwrap())).collect();
    let of = |level: &str| levels.iter().find(|(key, _)| *key == level).unwrap().1;
    assert_eq!(["info", "warn", "error", "unknown"].map(of), [3, 2, 2, 3]);
    assert_eq!(buckets[0]["3"]["buckets"].as_array().unwrap().len(), 6);
}

#[test]
fn annotations_variables_and_what_is_not_there() {
    let gate = start();
    let range = json!({"range": {"@timestamp": {"from": BEGIN_MS, "to": BEGIN_MS + 1_000, "format": "epoch_millis"}}});
    let filter = json!([{"bool": {"should": [range], "minimum_should_match": 1}}, {"query_string": {"query": "n:>0"}}]);
    let annotations = json!({"query": {"bool": {"filter": filter}}, "size": 10_000});
    let terms = json!({"field": "level.keyword", "size": 500, "order": {"_key": "asc"}});
    let variable = json!({"size": 0, "query": query("*"), "aggs": {"1": {"terms": terms}}});
    let average = json!({"size": 0, "query": query(""), "aggs": {"2": {
        "date_histogram": over_time(), "aggs": {"1": {"avg": {"field": "n"}}},
    }}});
    let answers = ask(&gate, &[annotations, variable, average]);
    assert_eq!(numbers(&answers[0]), [3, 2, 1]);
    let keys =
        answers[1]["aggregations"]["1"]["buckets"].as_array().unwrap().iter().map(|bucket| &bucket["key"]);
    assert!(keys.eq(&[json!("error"), json!("info"), json!("warn")]), "{answers:?}");
    assert_eq!(answers[2]["status"], 400);
    assert_eq!(answers[2]["error"]["reason"], "aggs.2.aggs.1.avg: this is not supported");
}
