use super::aggregations::Totals;
use super::body::Search;
use crate::control::error::ApiError;
use crate::domain::log::Log;
use crate::logs::read::{Gather, Order, time_ms};
use serde_json::{Value, json};

/// 2026-01-31T12:34:56.789Z
const NOW_MS: u64 = 1_769_862_896_789;

/// Six logs, ten minutes apart.
const LINES: [&str; 6] = [
    r#"{"@timestamp":"2026-01-31T11:40:00Z","n":0,"level":"info","msg":"Started web-1","took":5,"ok":true,"tags":["a","b"]}"#,
    r#"{"@timestamp":"2026-01-31T11:50:00Z","n":1,"level":"error","msg":"connection refused","took":50.5,"http":{"status":500}}"#,
    r#"{"@timestamp":"2026-01-31T12:00:00Z","n":2,"level":"info","msg":"connection was not refused","took":7,"tags":["b"]}"#,
    r#"{"@timestamp":"2026-01-31T12:10:00Z","n":3,"level":"warn","msg":"slow","took":700,"http":{"status":200}}"#,
    r#"{"@timestamp":"2026-01-31T12:20:00Z","n":4,"level":"error","msg":"ERROR","took":null,"http":{"status":"500"}}"#,
    r#"{"@timestamp":"2026-01-31T12:30:00Z","n":5,"level":"Error","msg":"bye"}"#,
];

fn parse(body: &Value) -> Result<Search, ApiError> {
    Search::parse(body.as_object().unwrap(), NOW_MS)
}

fn logs() -> impl Iterator<Item = (u64, Log<'static>)> {
    LINES.iter().map(|line| {
        let log = Log::parse(line.as_bytes()).unwrap();
        (time_ms(&log, 0), log)
    })
}

fn passes(search: &Search, time_ms: u64, log: &Log) -> bool {
    let span = search.span;
    let in_time = span.from_ms.is_none_or(|from| time_ms >= from) && span.to_ms.is_none_or(|to| time_ms < to);
    in_time && search.query.matches(log)
}

#[test]
fn queries_match_as_elasticsearch_says() {
    for (query, expect) in [
        (json!({"match_all": {}}), &[0, 1, 2, 3, 4, 5][..]),
        (json!({"term": {"level": "error"}}), &[1, 4]),
        (json!({"term": {"level.keyword": {"value": "error"}}}), &[1, 4]),
        (json!({"term": {"took": 5}}), &[0]),
        (json!({"term": {"ok": true}}), &[0]),
        (json!({"terms": {"n": [1, 3, 9]}}), &[1, 3]),
        (json!({"terms": {"tags": ["b"]}}), &[0, 2]),
        (json!({"match": {"level": "ERROR"}}), &[1, 4, 5]),
        (json!({"match": {"msg": "connection slow"}}), &[1, 2, 3]),
        (json!({"match": {"msg": {"query": "refused connection", "operator": "and"}}}), &[1, 2]),
        (json!({"match_phrase": {"msg": "connection refused"}}), &[1]),
        (json!({"match_phrase": {"msg": {"query": "not refused"}}}), &[2]),
        (json!({"range": {"took": {"gte": 7, "lt": 700}}}), &[1, 2]),
        (json!({"range": {"took": {"gt": 7, "lte": 700}}}), &[1, 3]),
        (json!({"range": {"@timestamp": {"gte": "2026-01-31T12:10:00Z"}}}), &[3, 4, 5]),
        (json!({"range": {"@timestamp": {"gt": "now-30m", "lt": "now-10m"}}}), &[3, 4]),
        (
            json!({"range": {"@timestamp": {"gte": 1_769_860_800_000_u64, "lte": 1_769_861_400_000_u64, "format": "epoch_millis"}}}),
            &[2, 3],
        ),
        (json!({"range": {"@timestamp": {"gte": "1769860800000", "lte": "2026-01-31T12:10"}}}), &[2, 3]),
        (
            json!({"range": {"@timestamp": {"from": 1_769_860_800_000_u64, "to": 1_769_861_400_000_u64, "format": "epoch_millis"}}}),
            &[2, 3],
        ),
        (json!({"exists": {"field": "http.status"}}), &[1, 3, 4]),
        (json!({"exists": {"field": "took"}}), &[0, 1, 2, 3]),
        (json!({"query_string": {"query": "level:error AND took:>5", "analyze_wildcard": true}}), &[1]),
        (json!({"bool": {}}), &[0, 1, 2, 3, 4, 5]),
        (
            json!({"bool": {"must": [{"match": {"level": "error"}}], "must_not": {"exists": {"field": "http"}}}}),
            &[1, 4, 5],
        ),
        (json!({"bool": {"filter": {"exists": {"field": "tags"}}, "should": [{"term": {"n": 9}}]}}), &[0, 2]),
        (
            json!({"bool": {"filter": [{"exists": {"field": "tags"}}], "should": [{"term": {"n": 2}}], "minimum_should_match": 1}}),
            &[2],
        ),
        (
            json!({"bool": {"should": [{"term": {"n": 2}}, {"term": {"level": "info"}}], "minimum_should_match": "2"}}),
            &[2],
        ),
        (json!({"bool": {"should": [{"term": {"n": 2}}, {"term": {"n": 4}}]}}), &[2, 4]),
        (
            json!({"bool": {"must_not": [{"range": {"@timestamp": {"gte": "2026-01-31T12:00:00Z"}}}]}}),
            &[0, 1],
        ),
        (
            json!({"bool": {"should": [{"range": {"@timestamp": {"lt": "2026-01-31T11:50:00Z"}}}, {"term": {"n": 4}}]}}),
            &[0, 4],
        ),
        (
            json!({"bool": {"filter": [{"range": {"@timestamp": {"gte": "2026-01-31T12:00:00Z"}}},
            {"bool": {"must": {"range": {"@timestamp": {"lte": "2026-01-31T12:20:00Z"}}}}}]}}),
            &[2, 3, 4],
        ),
        (json!({"constant_score": {"filter": {"term": {"n": 1}}}}), &[1]),
    ] {
        let search = parse(&json!({"query": query})).unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let found: Vec<_> =
            logs().enumerate().filter(|(_, (time, log))| passes(&search, *time, log)).collect();
        let found: Vec<_> = found.iter().map(|(n, _)| *n).collect();
        assert_eq!(found, expect, "{query}");
    }
}

#[test]
fn a_time_that_must_hold_narrows_what_is_read() {
    let range =
        json!({"range": {"@timestamp": {"gte": "2026-01-31T12:00:00Z", "lt": "2026-01-31T12:10:00.5Z"}}});
    let search = parse(&json!({"query": {"bool": {"filter": [range]}}})).unwrap();
    assert_eq!(search.span.from_ms, Some(1_769_860_800_000));
    assert_eq!(search.span.to_ms, Some(1_769_861_400_500));
    for query in [
        json!({"bool": {"should": [range]}}),
        json!({"bool": {"filter": [{"bool": {"should": range, "minimum_should_match": 1}}]}}),
    ] {
        assert_eq!(parse(&json!({"query": query})).unwrap().span, search.span, "{query}");
    }
    for query in [
        json!({"bool": {"must_not": [range]}}),
        json!({"bool": {"should": [range, {"term": {"n": 4}}]}}),
        json!({"bool": {"should": [range], "filter": {"term": {"n": 4}}}}),
        json!({"bool": {"should": [range], "minimum_should_match": 0}}),
        json!({"bool": {"must_not": {"bool": {"should": [range]}}}}),
        json!({"range": {"created": {"gte": "2026-01-31T12:00:00Z"}}}),
    ] {
        assert_eq!(parse(&json!({"query": query})).unwrap().span, Default::default(), "{query}");
    }
}

#[test]
fn the_rest_of_the_body_says_how_much_and_in_which_order() {
    let search = parse(&json!({})).unwrap();
    assert!(
        (search.from, search.size, search.order) == (0, 10, Order::NewestFirst) && search.shape.with_source
    );
    let body = json!({"from": 5, "size": 100, "_source": false, "track_total_hits": false, "sort": [{"@timestamp": "asc"}]});
    let search = parse(&body).unwrap();
    assert_eq!((search.from, search.size, search.order), (5, 100, Order::OldestFirst));
    assert!(!search.shape.with_source && !search.is_counted);
    for (sort, expect) in [
        (json!("@timestamp"), Order::OldestFirst),
        (
            json!({"@timestamp": {"order": "desc", "unmapped_type": "boolean"}, "_doc": {"order": "desc"}}),
            Order::NewestFirst,
        ),
        (json!(["_score", {"@timestamp": "asc"}]), Order::OldestFirst),
        (json!(["_doc"]), Order::NewestFirst),
    ] {
        assert_eq!(parse(&json!({"sort": sort})).unwrap().order, expect, "{sort}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_its_path() {
    let deep = (0..5).fold(
        json!({"terms": {"field": "a"}}),
        |within, _| json!({"terms": {"field": "a"}, "aggs": {"x": within}}),
    );
    for (body, expect) in [
        (json!({"knn": {}}), "knn"),
        (json!({"search_after": [1]}), "search_after"),
        (json!({"search_after": [1, 2], "sort": "@timestamp"}), "search_after"),
        (json!({"search_after": [1], "sort": "@timestamp", "from": 1}), "from"),
        (json!({"fields": ["*"]}), "fields[0]"),
        (json!({"size": -1}), "size"),
        (json!({"from": 9_991}), "size"),
        (json!({"_source": ["a"]}), "_source"),
        (json!({"sort": [{"took": "asc"}]}), "sort[0].took"),
        (json!({"sort": {"@timestamp": "up"}}), "sort.@timestamp"),
        (json!({"query": {"fuzzy": {"a": "b"}}}), "query.fuzzy"),
        (json!({"query": {"match_all": {}, "term": {"a": 1}}}), "query"),
        (
            json!({"query": {"bool": {"must": [{"term": {"a": 1}}, {"wildcard": {"a": "b"}}]}}}),
            "query.bool.must[1].wildcard",
        ),
        (json!({"query": {"bool": {"musst": []}}}), "query.bool.musst"),
        (
            json!({"query": {"bool": {"should": [{"exists": {"field": "a"}}, {"exists": {"field": "b"}}, {"exists": {"field": "c"}}],
            "minimum_should_match": 2}}}),
            "query.bool.minimum_should_match",
        ),
        (
            json!({"query": {"term": {"a": {"value": "b", "case_insensitive": true}}}}),
            "query.term.case_insensitive",
        ),
        (json!({"query": {"match": {"a": {"query": "b", "fuzziness": "AUTO"}}}}), "query.match.a.fuzziness"),
        (json!({"query": {"match_phrase": {"a": {"query": "b", "slop": 2}}}}), "query.match_phrase.a.slop"),
        (json!({"query": {"range": {"@timestamp": {"gte": "yesterday"}}}}), "query.range.@timestamp.gte"),
        (json!({"query": {"range": {"a": {"gte": 1, "time_zone": "+01:00"}}}}), "query.range.a.time_zone"),
        (
            json!({"query": {"query_string": {"query": "a", "default_operator": "OR"}}}),
            "query.query_string.default_operator",
        ),
        (json!({"aggs": {"a": {"avg": {"field": "b"}}}}), "aggs.a.avg"),
        (json!({"aggs": {"a": {"terms": {"field": "b", "missing": []}}}}), "aggs.a.terms.missing"),
        (json!({"query": {"range": {"@timestamp": {"from": "yesterday"}}}}), "query.range.@timestamp.from"),
        (json!({"aggs": {"a": {"terms": {"field": "b", "order": {"1": "desc"}}}}}), "aggs.a.terms.order.1"),
        (
            json!({"aggs": {"a": {"date_histogram": {"field": "b", "fixed_interval": "1m"}}}}),
            "aggs.a.date_histogram.field",
        ),
        (
            json!({"aggs": {"a": {"date_histogram": {"field": "@timestamp", "calendar_interval": "month"}}}}),
            "aggs.a.date_histogram.calendar_interval",
        ),
        (json!({"aggs": {"a": deep}}), "aggs.a.aggs.x.aggs.x.aggs"),
    ] {
        match parse(&body) {
            Err(ApiError::Unsupported { path, .. }) => assert_eq!(path, expect, "{body}"),
            Err(other) => panic!("{body}: {other:?}"),
            Ok(_) => panic!("{body} is taken"),
        }
    }
}

/// What two workers gather, merged.
fn aggregated(aggs: Value) -> Result<Value, ApiError> {
    let search = parse(&json!({"size": 0, "aggs": aggs}))?;
    let [mut one, mut other] = [(); 2].map(|()| Totals::new(&search.aggregations));
    for (n, (time, log)) in logs().enumerate() {
        if n % 2 == 0 { one.visit(time, &log) } else { other.visit(time, &log) }
    }
    one.merge(other);
    one.shown(&search.aggregations)
}

#[test]
fn a_mistake_in_a_query_string_is_told_at_its_column() {
    let body = json!({"query": {"bool": {"filter": [{"query_string": {"query": "a AND"}}]}}});
    let refused = serde_json::to_value(parse(&body).err().unwrap().body("")).unwrap();
    assert_eq!((&refused["code"], &refused["errorCode"]), (&json!(400), &json!("Logs/QUERY")));
    let path = "query.bool.filter[0].query_string.query";
    assert_eq!(refused["parameters"], json!({"column": 6, "path": path}));
    assert_eq!(refused["message"], format!("{path}: Column 6: a term is missing here"));
}

#[test]
fn logs_are_counted_by_value_and_over_time() {
    let by_level = aggregated(json!({"l": {"terms": {"field": "level.keyword", "size": 2}}})).unwrap();
    assert_eq!(
        by_level,
        json!({"l": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 2, "buckets": [
            {"key": "error", "doc_count": 2}, {"key": "info", "doc_count": 2},
        ]}})
    );
    let by_number =
        aggregated(json!({"t": {"terms": {"field": "took", "order": {"_key": "desc"}}}})).unwrap();
    let keys: Vec<_> =
        by_number["t"]["buckets"].as_array().unwrap().iter().map(|bucket| bucket["key"].clone()).collect();
    assert_eq!(keys, [json!(700), json!(50.5), json!(7), json!(5)]);
    let by_hour = json!({"h": {"date_histogram": {"field": "@timestamp", "calendar_interval": "1h", "min_doc_count": 1},
        "aggs": {"tags": {"terms": {"field": "tags"}}}}});
    let by_hour = aggregated(by_hour).unwrap();
    assert_eq!(by_hour["h"]["buckets"][0]["key_as_string"], "2026-01-31T11:00:00.000Z");
    assert_eq!(by_hour["h"]["buckets"][0]["doc_count"], 2);
    assert_eq!(by_hour["h"]["buckets"][0]["tags"]["buckets"][1], json!({"key": "b", "doc_count": 1}));
    assert_eq!(by_hour["h"]["buckets"][1]["doc_count"], 4);
}

#[test]
fn logs_without_the_field_count_as_what_is_missing() {
    let by_took = aggregated(json!({"t": {"terms": {"field": "http.status", "missing": "unknown"},
        "aggs": {"h": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h", "min_doc_count": 1}}}}}))
    .unwrap();
    let buckets = by_took["t"]["buckets"].as_array().unwrap().iter();
    let counts: Vec<_> = buckets.map(|bucket| (bucket["key"].clone(), bucket["doc_count"].clone())).collect();
    assert_eq!(counts, [(json!("unknown"), json!(3)), (json!("500"), json!(2)), (json!(200), json!(1))]);
    assert_eq!(by_took["t"]["buckets"][0]["h"]["buckets"][0]["doc_count"], 1);
    let number = aggregated(json!({"n": {"terms": {"field": "none", "missing": 0}}})).unwrap();
    assert_eq!(number["n"]["buckets"], json!([{"key": 0, "doc_count": 6}]));
}

#[test]
fn empty_intervals_are_shown_between_the_ends_and_the_bounds() {
    let within = json!({"field": "@timestamp", "fixed_interval": "20m",
        "extended_bounds": {"min": 1_769_857_200_000_u64, "max": "2026-01-31T13:00:00Z"}});
    let asked = json!({"l": {"terms": {"field": "level"}, "aggs": {"h": {"date_histogram": within}}}});
    let shown = aggregated(asked).unwrap();
    let warn =
        shown["l"]["buckets"].as_array().unwrap().iter().find(|bucket| bucket["key"] == "warn").unwrap();
    let counts: Vec<_> = warn["h"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["doc_count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [0, 0, 0, 1, 0, 0, 0]);
    let weekly =
        aggregated(json!({"w": {"date_histogram": {"field": "@timestamp", "calendar_interval": "week"}}}))
            .unwrap();
    assert_eq!(weekly["w"]["buckets"][0]["key_as_string"], "2026-01-26T00:00:00.000Z");
}

#[test]
fn more_buckets_than_there_is_room_for_are_refused() {
    for within in [
        json!({"field": "@timestamp", "fixed_interval": "1ms"}),
        json!({"field": "@timestamp", "fixed_interval": "1s", "extended_bounds": {"min": 0, "max": u64::MAX}}),
    ] {
        match aggregated(json!({"h": {"date_histogram": within}})) {
            Err(ApiError::Unsupported { message, .. }) => {
                assert!(message.contains("more than 65536 buckets"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_body_with_too_many_clauses_is_refused_at_the_first_too_many() {
    let numbers = |count: u64| (0..count).collect::<Vec<_>>();
    let words = |count: usize| "a ".repeat(count);
    let many = |count: usize| vec![json!({"term": {"n": 1}}); count];
    let refused = |query: Value| match parse(&json!({"query": query})) {
        Ok(_) => None,
        Err(ApiError::Unsupported { path, message }) => Some((path, message)),
        Err(other) => Some((format!("{other:?}"), String::new())),
    };
    for (query, path) in [
        (json!({"terms": {"n": numbers(80_000)}}), "query.terms.n"),
        (json!({"match": {"n": words(1_025)}}), "query.match.n"),
        (json!({"bool": {"must": many(1_025)}}), "query.bool.must[1024].term"),
        (
            json!({"bool": {"must": many(1_000), "filter": {"terms": {"n": numbers(25)}}}}),
            "query.bool.filter.terms.n",
        ),
        (
            json!({"bool": {"must": [{"query_string": {"query": words(1_000)}}, {"query_string": {"query": words(25)}}]}}),
            "query.bool.must[1].query_string.query",
        ),
    ] {
        let (at, message) = refused(query).unwrap();
        assert_eq!((at.as_str(), message.contains("1024")), (path, true), "{message}");
    }
    for query in [
        json!({"terms": {"n": numbers(1_024)}}),
        json!({"match": {"n": words(1_024)}}),
        json!({"bool": {"should": many(1_024)}}),
    ] {
        assert_eq!(refused(query), None);
    }
    let aggs: Value = (0..65)
        .map(|n| (n.to_string(), json!({"terms": {"field": "n"}})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert!(parse(&json!({"aggs": aggs})).is_err());
}

#[test]
fn keys_that_are_partly_numbers_are_in_one_order() {
    let plan =
        parse(&json!({"aggs": {"a": {"terms": {"field": "k", "size": 1000, "order": {"_key": "asc"}}}}}))
            .unwrap();
    let mut totals = Totals::new(&plan.aggregations);
    for n in 0..400 {
        for key in [format!("{n}"), format!("{n}a"), format!("{n}.0")] {
            let line = format!("{{\"k\":{key:?}}}");
            totals.visit(0, &Log::parse(line.as_bytes()).unwrap());
        }
    }
    let shown = totals.shown(&plan.aggregations).unwrap();
    let keys: Vec<_> = shown["a"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys[..4], ["0", "0.0", "1", "1.0"]);
    assert_eq!((keys.len(), keys[799], keys[800]), (1_000, "399.0", "0a"));
}

#[test]
fn a_time_that_must_hold_is_the_logs_own_however_it_is_written() {
    let query = json!({"range": {"@timestamp": {"gte": 1_769_860_800_000_u64, "lt": 1_769_860_801_000_u64, "format": "epoch_millis"}}});
    for (nested, expect) in [(query.clone(), true), (json!({"bool": {"must_not": query}}), false)] {
        let search = parse(&json!({"query": nested})).unwrap();
        for line in [
            r#"{"@timestamp":1769860800}"#,
            r#"{"@timestamp":1769860800000}"#,
            r#"{"@timestamp":"1769860800"}"#,
            r#"{"@timestamp":"2026-01-31T12:00:00Z"}"#,
            r#"{"@timestamp":"2026-01-31T13:00:00.000+0100"}"#,
        ] {
            let log = Log::parse(line.as_bytes()).unwrap();
            assert_eq!(passes(&search, time_ms(&log, 0), &log), expect, "{line}");
        }
    }
}
