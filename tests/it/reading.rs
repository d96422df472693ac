//! Reading what was shipped: the calls and the command line, over real sockets.

use crate::harness::http::{Connection, Request};
use crate::harness::{API_TOKEN, Gate, PATIENCE, eventually, log_files, shipgate, stored};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Ships lines as they are, and waits until they can be read.
fn ship(gate: &Gate, lines: &[String]) {
    let shipper = gate.shipper();
    let before = total(gate, "");
    let answer = shipper.request().body(lines.join("\n")).send(shipper.ingest);
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("what was shipped can be read", || {
        (total(gate, "") == before + lines.len() as u64).then_some(())
    });
}

fn total(gate: &Gate, query: &str) -> u64 {
    get(gate, &format!("/v1/logs/histogram?interval=1d&query={}", encoded(query)))["total"].as_u64().unwrap()
}

fn get(gate: &Gate, path: &str) -> Value {
    let answer = gate.admin().get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Ten logs, a minute apart, of three levels.
fn ten() -> Vec<String> {
    let line = |n: usize| {
        let level = ["info", "warn", "error"][n % 3];
        json!({
            "@timestamp": format!("2026-01-31T12:{n:02}:00.000Z"), "level": level, "n": n, "message": format!("log number {n}"),
            "http": {"path": format!("/p/{}", n % 2)}, "tags": ["a", format!("t{n}")],
            "type": "t",
        })
        .to_string()
    };
    (0..10).map(line).collect()
}

fn numbers(answer: &Value) -> Vec<u64> {
    answer["logs"].as_array().unwrap().iter().map(|log| log["log"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn what_was_shipped_is_found_newest_first() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let all = get(&gate, "/v1/logs");
    assert_eq!(numbers(&all), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert!(
        all["cursor"].is_null() && all["partial"] == false && all["scannedBytes"].as_u64() > Some(0),
        "{all}"
    );
    assert_eq!(all["logs"][9]["time"], 1_769_860_800_000_u64);
    for (asked, expect) in [
        ("query=level:error", &[8, 5, 2][..]),
        ("query=n:%3E=7", &[9, 8, 7]),
        ("query=tags:t4", &[4]),
        ("query=http.path:%22/p/1%22+NOT+level:(info+OR+warn)", &[5]),
        ("query=NUMB*+-n:[2+TO+9]", &[1, 0]),
        ("from=2026-01-31T12:08", &[9, 8]),
        ("from=2026-01-31T12:02:00Z&to=2026-01-31T12:04:00Z", &[3, 2]),
        ("from=1769860920000&to=1769861040000", &[3, 2]),
        ("from=now-1h&query=level:nothing", &[]),
    ] {
        assert_eq!(numbers(&get(&gate, &format!("/v1/logs?{asked}"))), expect, "{asked}");
    }
    let (mut pages, mut cursor) = (vec![], String::new());
    loop {
        let page = get(&gate, &format!("/v1/logs?limit=4&cursor={cursor}"));
        pages.push(numbers(&page));
        match page["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, [vec![9, 8, 7, 6], vec![5, 4, 3, 2], vec![1, 0]]);
}

#[test]
fn logs_are_counted_over_time_and_by_field() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let asked = "from=2026-01-31T12:00:00Z&to=2026-01-31T12:10:00Z";
    let histogram = get(&gate, &format!("/v1/logs/histogram?{asked}&interval=5m&query=level:error"));
    let begin = 1_769_860_800_000_u64;
    assert_eq!(
        histogram,
        json!({"intervalMs": 300_000, "total": 3, "partial": false, "buckets": [
            {"time": begin, "count": 1}, {"time": begin + 300_000, "count": 2},
        ]})
    );
    let without = get(&gate, &format!("/v1/logs/histogram?{asked}"));
    assert_eq!(without["intervalMs"], 10_000);
    assert_eq!(without["buckets"].as_array().unwrap().len(), 60, "empty ones are shown, too");
    let fields = get(&gate, "/v1/logs/fields?values=2");
    assert_eq!(fields["total"], 10);
    let field = |name: &str| {
        let found = fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {fields}")).clone()
    };
    let values = json!([{"value": "info", "count": 4}, {"value": "error", "count": 3}]);
    assert_eq!(field("level"), json!({"name": "level", "count": 10, "values": values}));
    assert_eq!(field("tags")["count"], 10);
    assert_eq!(field("http.path")["values"][0], json!({"value": "/p/0", "count": 5}));
}

#[test]
fn a_mistake_is_told_by_its_name() {
    let gate = Gate::start();
    for (path, code, told) in [
        ("/v1/logs?query=a+AND", "Logs/QUERY", "Column 6: a term is missing here"),
        ("/v1/logs/tail?query=(a", "Logs/QUERY", "Column 1: this `(` is never closed"),
        ("/v1/logs?limit=0", "Request/MALFORMED", "limit is a whole number between 1 and 1000"),
        ("/v1/logs?limit=x", "Request/MALFORMED", "limit is a whole number between 1 and 1000"),
        ("/v1/logs?cursor=x", "Request/MALFORMED", "cursor is none that was given out"),
        ("/v1/logs?from=soon", "Request/MALFORMED", "from is no time"),
        ("/v1/logs?from=now&to=now", "Request/MALFORMED", "from is not before to"),
        ("/v1/logs?querry=a", "Request/MALFORMED", "Unknown parameter \"querry\": there are query, from, to"),
        ("/v1/logs/histogram?interval=0", "Request/MALFORMED", "interval is a length"),
        ("/v1/logs/fields?values=101", "Request/MALFORMED", "values is a whole number between 0 and 100"),
        ("/v1/logs/export?format=csv", "Request/MALFORMED", "format is ndjson or ndjson.zst"),
    ] {
        let answer = gate.admin().get(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        let refusal = answer.json();
        assert_eq!(refusal["errorCode"], code, "{path}: {refusal}");
        assert!(refusal["message"].as_str().unwrap().starts_with(told), "{path}: {refusal}");
    }
    assert_eq!(gate.admin().get("/v1/logs?query=a+AND").json()["parameters"]["column"], 6);
    for path in ["/v1/logs", "/v1/logs/histogram", "/v1/logs/fields", "/v1/logs/tail", "/v1/logs/export"] {
        assert_eq!(Request::get(path).send(gate.api).status, 403, "{path}");
    }
}

/// An open tail.
struct Tail(BufReader<TcpStream>);

impl Tail {
    fn open(gate: &Gate, query: &str, credential: (&str, &str)) -> Self {
        let stream = TcpStream::connect(gate.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = format!("/v1/logs/tail?query={}", encoded(query));
        let request = Request::get(path).header(credential.0, credential.1);
        (&stream).write_all(&request.bytes()).unwrap();
        let mut tail = Self(BufReader::new(stream));
        assert_eq!(tail.line(), "HTTP/1.1 200 OK");
        while tail.line() != ": from now on" {}
        tail
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the tail is closed");
        line.trim_end().to_owned()
    }

    /// The next event.
    fn next(&mut self) -> (String, Value) {
        let name = loop {
            if let Some(name) = self.line().strip_prefix("event: ") {
                break name.to_owned();
            }
        };
        let data = self.line();
        (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    }
}

fn messages(tail: &mut Tail, count: usize) -> Vec<String> {
    let message = |(name, log): (String, Value)| {
        assert_eq!(name, "log");
        log["message"].as_str().unwrap().to_owned()
    };
    (0..count).map(|_| message(tail.next())).collect()
}

#[test]
fn a_tail_shows_what_is_acknowledged_and_matches() {
    let mut gate = Gate::start();
    let mut all = Tail::open(&gate, "", ("X-API-TOKEN", API_TOKEN));
    let mut some = Tail::open(&gate, "bee OR \"sea gull\"", ("X-API-TOKEN", API_TOKEN));
    let shipper = gate.shipper();
    shipper.ship(&["ant", "bee"]);
    assert_eq!(messages(&mut all, 2), ["ant", "bee"]);
    shipper.ship(&["cat", "a sea gull"]);
    assert_eq!(messages(&mut all, 2), ["cat", "a sea gull"]);
    assert_eq!(messages(&mut some, 2), ["bee", "a sea gull"]);
    gate.signal("TERM");
    for mut tail in [all, some] {
        assert_eq!(tail.next(), ("end".to_owned(), json!({"reason": "draining"})));
        let mut rest = String::new();
        tail.0.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("event:"), "{rest}");
    }
    gate.wait();
}

#[test]
fn an_open_tail_obeys_what_becomes_of_its_token() {
    let gate = Gate::start();
    let create = |path: &str, body: Value| {
        let answer = gate.admin().call("POST", path, Some(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let filter = |value: &str| {
        create("/v1/shared-tokens/filters", json!({"field": "message", "value": value}))["id"].clone()
    };
    let (ant, bee) = (filter("ant"), filter("bee"));
    let token = create("/v1/shared-tokens", json!({"tokenName": "shared", "filters": [ant]}));
    let path = format!("/v1/shared-tokens/{}", token["id"]);
    let mut tail = Tail::open(&gate, "", ("X-SHARED-TOKEN", token["token"].as_str().unwrap()));
    let shipper = gate.shipper();
    shipper.ship(&["ant", "bee"]);
    assert_eq!(messages(&mut tail, 1), ["ant"]);
    let changed = gate.admin().call("PUT", &path, Some(json!({"filters": [bee], "filtersOperator": "AND"})));
    assert_eq!(changed.status, 200, "{}", changed.text());
    shipper.ship(&["ant", "bee"]);
    assert_eq!(messages(&mut tail, 1), ["bee"]);
    assert_eq!(gate.admin().call("DELETE", &path, None).status, 204);
    assert_eq!(tail.next(), ("end".to_owned(), json!({"reason": "deleted"})));
    gate.finish();
}

#[test]
fn an_export_is_the_log_itself() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let export = |asked: &str| {
        let answer = gate.admin().get(&format!("/v1/logs/export?{asked}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    let plain = export("");
    let lines: Vec<_> = plain.text().lines().map(str::to_owned).collect();
    assert_eq!(lines, stored(&gate.data(), gate.account));
    assert_eq!(plain.header("content-type"), Some("application/x-ndjson"));
    let name = plain.header("content-disposition").unwrap();
    assert!(name.starts_with("attachment; filename=\"logs-20") && name.ends_with("Z.ndjson\""), "{name}");
    let compressed = export("format=ndjson.zst");
    assert!(compressed.header("content-disposition").unwrap().ends_with("Z.ndjson.zst\""));
    assert_eq!(zstd::decode_all(&compressed.body[..]).unwrap(), plain.body);
    let some = export("query=level:error");
    assert_eq!(some.text().lines().count(), 3);
    assert_eq!(export("query=level:nothing&format=ndjson.zst").status, 200);
}

#[test]
fn an_export_of_a_damaged_log_breaks_off() {
    let gate = Gate::start();
    for line in ten() {
        ship(&gate, &[line]);
    }
    let path = log_files(&gate.data(), gate.account).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut connection = Connection::open(gate.api).unwrap();
    let request = Request::get("/v1/logs/export").header("X-API-TOKEN", API_TOKEN);
    connection.write(&request.bytes()).unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    let mut came = Vec::new();
    let end = loop {
        match connection.chunk() {
            Ok(Some(chunk)) => came.extend(chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "the last chunk is missing");
    assert_eq!(came.iter().filter(|byte| **byte == b'\n').count(), 9);
    for (name, plain) in [("out.ndjson", true), ("out.ndjson.zst", false)] {
        let file = gate.folder.path().join(name);
        let exported = command(&gate, &["logs", "export", "-o", file.to_str().unwrap()]);
        let (told, part) = (String::from_utf8(exported.stderr).unwrap(), format!("{}.part", file.display()));
        assert_eq!(exported.status.code(), Some(1), "{told}");
        assert!(told.contains("broke the answer off") && told.ends_with(&format!(" {part}\n")), "{told}");
        assert!(!file.exists());
        let kept = std::fs::read(&part).unwrap();
        if plain {
            assert_eq!(kept, came);
        } else {
            let mut inflated = Vec::new();
            zstd::Decoder::new(&kept[..]).unwrap().read_to_end(&mut inflated).unwrap_err();
            assert_eq!(inflated, came);
        }
    }
    let piped = command(&gate, &["logs", "export"]);
    assert_eq!((piped.status.code(), piped.stdout), (Some(1), came));
    let unwritable = command(&gate, &["logs", "export", "-o", "/nowhere/out.ndjson"]);
    let told = String::from_utf8(unwritable.stderr).unwrap();
    assert!(told.contains("cannot write /nowhere/out.ndjson.part: "), "{told}");
}

#[test]
fn a_recipient_on_the_command_line_learns_why_a_suspended_link_shows_nothing() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let admin = gate.admin();
    let filter = json!({ "field": "level", "value": "error" });
    let filter = admin.call("POST", "/v1/shared-tokens/filters", Some(filter)).json()["id"].clone();
    let shared = json!({ "tokenName": "partner", "filters": [filter] });
    let shared = admin.call("POST", "/v1/shared-tokens", Some(shared)).json();
    let search =
        || command(&gate, &["logs", "search", "--json", "--shared-token", shared["token"].as_str().unwrap()]);
    let told = search();
    assert!(told.status.success() && told.stderr.is_empty() && !told.stdout.is_empty(), "{told:?}");
    admin.call("DELETE", &format!("/v1/shared-tokens/filters/{filter}"), None);
    let told = search();
    assert!(told.status.success() && told.stdout.is_empty(), "{told:?}");
    let notice = "shipgate: This link shows nothing at the moment: whoever shared it has to choose its filters again\n";
    assert_eq!(String::from_utf8(told.stderr).unwrap(), notice);
    assert_eq!(admin.get("/v1/shared-tokens").json()[0]["views"], 0, "it was no opening of its link");
}

fn command(gate: &Gate, words: &[&str]) -> Output {
    let mut command = shipgate();
    command.env("SHIPGATE_URL", format!("http://{}", gate.api)).env("SHIPGATE_API_TOKEN", API_TOKEN);
    command.args(words).stdin(Stdio::null()).output().expect("the program")
}

#[test]
fn the_command_line_reads_too() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let printed = |words: &[&str]| {
        let output = command(&gate, words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = printed(&["logs", "search", "level:error", "--from", "2026-01-31T12:03:00Z"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("2026-01-31T12:05:00.000Z ERROR log number 5 http="), "{text}");
    assert!(lines[1].starts_with("2026-01-31T12:08:00.000Z ERROR log number 8 http="), "{text}");
    let raw = printed(&["logs", "search", "--json", "-q", "-n:>1"]);
    assert_eq!(raw, ten()[..2].iter().map(|line| format!("{line}\n")).collect::<String>());
    let coloured = printed(&["logs", "search", "n:0", "--color", "always"]);
    assert!(coloured.contains("\u{1b}[32mINFO \u{1b}[0m"), "{coloured:?}");
    let file = gate.folder.path().join("out.ndjson.zst");
    printed(&["logs", "export", "level:error", "-o", file.to_str().unwrap()]);
    let exported = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    assert_eq!(String::from_utf8(exported).unwrap(), printed(&["logs", "export", "level:error"]));
    let refused = command(&gate, &["logs", "search", "a AND"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(told, "shipgate: Column 6: a term is missing here\n  a AND\n       ^\n");
    let help = printed(&["logs", "--help"]);
    assert!(help.contains("level:(error OR fatal)"), "{help}");
}

#[test]
fn the_command_line_follows_more_than_a_page() {
    let gate = Gate::start();
    let lines: Vec<_> = (0..2_500).map(|n| format!("{{\"message\":\"m{n}\"}}")).collect();
    ship(&gate, &lines);
    let output = command(&gate, &["logs", "search", "-n", "2400", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let messages: Vec<_> = text.lines().map(crate::harness::message).collect();
    assert_eq!(messages, (100..2_500).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn the_command_line_tails() {
    let gate = Gate::start();
    let mut tail = shipgate();
    tail.env("SHIPGATE_URL", format!("http://{}", gate.api)).env("SHIPGATE_API_TOKEN", API_TOKEN);
    let mut tail = tail.args(["logs", "tail", "bee", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the tail is open", || (gate.metric("shipgate_search_tails") >= 1.0).then_some(()));
    gate.shipper().ship(&["ant", "bee"]);
    let mut line = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(crate::harness::message(&line), "bee");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn scripts_for_elasticsearch_can_read() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let search = |path: &str, body: Value| {
        let answer = gate.admin().call("POST", path, Some(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    let body = json!({
        "query": {"bool": {"filter": [{"range": {"@timestamp": {"gte": "2026-01-31T12:01:00Z"}}}, {"term": {"level": "error"}}]}},
        "size": 2, "from": 1, "sort": [{"@timestamp": {"order": "asc"}}],
        "aggs": {"l": {"terms": {"field": "tags", "size": 1},
            "aggs": {"h": {"date_histogram": {"field": "@timestamp", "fixed_interval": "5m"}}}}},
    });
    let found = search("/v1/search", body.clone()).json();
    let numbers = |found: &Value| -> Vec<u64> {
        found["hits"]["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["_source"]["n"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(numbers(&found), [5, 8], "{found}");
    assert_eq!(found["hits"]["total"], json!({"value": 3, "relation": "eq"}));
    assert_eq!(found["hits"]["hits"][0]["sort"], json!([1_769_861_100_000_u64]));
    assert_eq!(found["timed_out"], false);
    let bucket = &found["aggregations"]["l"]["buckets"][0];
    assert_eq!((&bucket["key"], &bucket["doc_count"]), (&json!("a"), &json!(3)));
    assert_eq!(
        bucket["h"]["buckets"][1],
        json!({"key": 1_769_861_100_000_u64, "key_as_string": "2026-01-31T12:05:00.000Z", "doc_count": 2})
    );
    let newest = search("/v1/elasticsearch/logs-2026/_search", json!({"size": 3, "track_total_hits": false}));
    assert_eq!(numbers(&newest.json()), [9, 8, 7]);
    assert_eq!(newest.header("x-elastic-product"), Some("Elasticsearch"));
    assert!(newest.json()["hits"].get("total").is_none());
    let lines = format!("{{}}\n{body}\n{{\"index\":\"x\"}}\n{{\"query\":{{\"fuzzy\":{{}}}}}}\n");
    let several = Request::post("/v1/elasticsearch/_msearch").header("X-API-TOKEN", API_TOKEN).body(lines);
    let several = several.send(gate.api).json();
    assert_eq!(numbers(&several["responses"][0]), [5, 8], "{several}");
    assert_eq!(several["responses"][1]["status"], 400);
    assert_eq!(several["responses"][1]["error"]["reason"], "query.fuzzy: this is not supported");
    assert_eq!(get(&gate, "/v1/elasticsearch")["version"]["number"], "8.15.0");
    assert_eq!(get(&gate, "/v1/elasticsearch/_cluster/health?wait_for_status=yellow")["status"], "green");
    gate.shipper().ship(&["a log of today"]);
    eventually("the mapping has the fields of today's logs", || {
        let mapping = get(&gate, "/v1/elasticsearch/logs/_mapping");
        (mapping["logs"]["mappings"]["properties"]["message"]["type"] == "keyword").then_some(())
    });
    let refused = gate.admin().call("POST", "/v1/search", Some(json!({"suggest": {}})));
    assert_eq!((refused.status, &refused.json()["parameters"]["path"]), (400, &json!("suggest")));
}

/// What stands in fences of a kind.
fn fenced<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let begin = format!("```{kind}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_in_the_documentation_run() {
    let gate = Gate::start();
    ship(&gate, &ten());
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/search.md")).unwrap();
    let rows = text.lines().skip_while(|line| *line != "| query | finds |").skip(2);
    let mut queries = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cell = row.replace("\\|", "\u{1}");
        let cell = cell.split('|').nth(1).unwrap().replace('\u{1}', "|");
        for query in cell.split('`').skip(1).step_by(2) {
            get(&gate, &format!("/v1/logs?query={}", encoded(query)));
            queries += 1;
        }
    }
    assert!(queries > 25, "{queries} examples");
    for body in fenced(&text, "json") {
        let answer = gate.admin().call("POST", "/v1/search", Some(serde_json::from_str(body).unwrap()));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let has = |tool: &str| std::process::Command::new(tool).arg("--version").output().is_ok();
    if !has("curl") || !has("zstdcat") {
        return;
    }
    let folder = gate.folder.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_shipgate"), folder.join("shipgate")).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-euc", &fenced(&text, "sh").concat()]).current_dir(gate.folder.path()).env("PATH", path);
    shell.env("SHIPGATE_URL", format!("http://{}", gate.api)).env("SHIPGATE_API_TOKEN", API_TOKEN);
    let ran = shell.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
