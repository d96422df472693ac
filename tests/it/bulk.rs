//! The bulk door, row by row of its contract, on real sockets.

use crate::harness::http::{Connection, Request};
use crate::harness::{Gate, SHIPPING_TOKEN, Shipper, eventually};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![], Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A name, what is posted with a valid token, and the status, the counters (malformed, successful, oversized, empty) and the
/// messages stored.
type Row<'a> = (&'a str, &'a [u8], u16, [u64; 4], &'a [&'a str]);

fn check(shipper: &Shipper, name: &str, body: &[u8], status: u16, counters: [u64; 4], kept: &[&str]) {
    let answer = shipper.request().body(body).send(shipper.ingest);
    assert_eq!(answer.status, status, "{name}: {}", answer.text());
    shipper.acknowledge(kept.iter().map(ToString::to_string));
    if status == 200 {
        assert_eq!(answer.text(), "", "{name}");
        return;
    }
    let json = answer.json();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expect = ["emptyLogLines", "errors", "malformedLines", "oversizedLines", "successfulLines"];
    assert_eq!(keys, expect, "{name}");
    let got = ["malformedLines", "successfulLines", "oversizedLines", "emptyLogLines"]
        .map(|key| json[key].as_u64());
    assert_eq!(got, counters.map(Some), "{name}");
}

#[test]
fn answers_every_row_of_the_contract() {
    let gate = Gate::start();
    let shipper = gate.shipper();
    let long = |bytes: usize| format!("{{\"message\":\"{}\"}}", "x".repeat(bytes - 14));
    let (fits, too_long) = (long(500_000), long(500_001));
    let fitting = "x".repeat(500_000 - 14);
    let mixed =
        format!("{{\"message\":\"m1\"}}\n{{\"message\":\n\n[1]\n{too_long}\n3\n{{\"message\":\"m2\"}}\n");
    let rows: &[Row] = &[
        ("valid", b"{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 200, [0; 4], &["a", "b"]),
        ("no newline at the end", b"{\"message\":\"c\"}", 200, [0; 4], &["c"]),
        ("CRLF", b"{\"message\":\"d\"}\r\n{\"message\":\"e\"}\r\n", 200, [0; 4], &["d", "e"]),
        ("empty", b"", 200, [0; 4], &[]),
        ("newlines", b"\n\n\r\n", 200, [0; 4], &[]),
        ("blank lines between", b"\n{\"message\":\"f\"}\n\n\n", 200, [0; 4], &["f"]),
        ("duplicate keys", b"{\"message\":\"x\",\"message\":\"g\"}", 200, [0; 4], &["g"]),
        ("a line at the limit", fits.as_bytes(), 200, [0; 4], &[&fitting]),
        ("some bad", mixed.as_bytes(), 400, [3, 2, 1, 1], &["m1", "m2"]),
        ("doubled brace", b"{{\"message\":\"x\"}}\n", 400, [1, 0, 0, 0], &[]),
        ("truncated", b"{\"message\":\"x\"\n", 400, [1, 0, 0, 0], &[]),
        ("not UTF-8", b"{\"message\":\"\xff\"}\n{\"message\":\"h\"}", 400, [1, 1, 0, 0], &["h"]),
        ("plain text", b"hello\nworld\n", 400, [2, 0, 0, 0], &[]),
        ("a JSON array", b"[{\"message\":\"x\"}]", 400, [1, 0, 0, 0], &[]),
    ];
    for (name, body, status, counters, kept) in rows {
        check(&shipper, name, body, *status, *counters, kept);
    }
    gate.finish();
}

#[test]
fn says_which_line_is_bad_and_why_without_showing_it() {
    let gate = Gate::start();
    let answer =
        gate.shipper().request().body("{\"message\":\"ok\"}\nsecret content\n\n{\"a\":}\n").send(gate.ingest);
    let expect = serde_json::json!([
        { "line": 2, "reason": "not a JSON object" },
        { "line": 4, "reason": "not valid JSON" },
    ]);
    assert_eq!(answer.json()["errors"], expect);
    assert!(!answer.text().contains("secret"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn keeps_what_a_log_brought_byte_for_byte_and_adds_what_is_missing() {
    let mut gate = Gate::start();
    let lines = [
        r#"{"message":"1","n":1e999,"big":123456789012345678901234567890,"type":"own","@timestamp":"mine"}"#,
        r#"{"z":1, "a":[1.10,{"deep":null}],"message":"2","esc":"\u00e9\/"}"#,
    ];
    let typed = gate.shipper().request().body(lines.join("\n"));
    assert_eq!(typed.send(gate.ingest).status, 200);
    let target = format!("/?type=nginx&token={SHIPPING_TOKEN}");
    assert_eq!(Request::post(target).body(lines.join("\n")).send(gate.ingest).status, 200);
    gate.signal("TERM");
    gate.wait();
    let stored = gate.stored(gate.account);
    assert_eq!(stored[0], lines[0]);
    let tail = &lines[1][1..];
    let added = stored[1].strip_suffix(tail).unwrap_or_else(|| panic!("altered: {}", stored[1]));
    assert!(
        added.starts_with(r#"{"@timestamp":"20"#) && added.ends_with(r#"Z","type":"http-bulk","#),
        "{added}"
    );
    assert_eq!(stored[2], lines[0], "a log's own type wins over the query's");
    assert!(stored[3].contains(r#""type":"nginx""#), "{}", stored[3]);
}

#[test]
fn inflates_what_it_knows_and_refuses_what_it_does_not() {
    let gate = Gate::start();
    let shipper = gate.shipper();
    let plain = b"{\"message\":\"z\"}\n".repeat(1_000);
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    for (encoding, body) in [
        ("gzip", gzip(&plain)),
        ("zstd", zstd.clone()),
        ("deflate", zlib(&plain)),
        ("identity", plain.clone()),
    ] {
        let request = shipper.request().header("Content-Encoding", encoding);
        assert_eq!(request.clone().body(body.clone()).send(gate.ingest).status, 200, "{encoding}");
        let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
        chunked.extend_from_slice(&body);
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        let request = request.header("Transfer-Encoding", "chunked").body(chunked);
        assert_eq!(request.send(gate.ingest).status, 200, "{encoding}, chunked");
        shipper.acknowledge((0..2_000).map(|_| "z".to_owned()));
    }
    for (name, encoding, body) in [
        ("corrupt", "gzip", b"not gzip at all".to_vec()),
        ("truncated", "gzip", gzip(&plain)[..50].to_vec()),
        ("truncated", "zstd", zstd[..20].to_vec()),
    ] {
        let answer = shipper.request().header("Content-Encoding", encoding).body(body).send(gate.ingest);
        assert_eq!(answer.status, 400, "{name} {encoding}");
        assert_eq!(answer.json()["malformedLines"], 1, "{name} {encoding}");
        assert_eq!(answer.json()["successfulLines"], 0, "{name} {encoding}");
    }
    let unknown = shipper.request().header("Content-Encoding", "br").body("x").send(gate.ingest);
    assert_eq!(unknown.status, 415);
    gate.finish();
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let gate = Gate::start();
    let zeros = vec![0; 256 << 20];
    for (encoding, body) in [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&zeros[..], 3).unwrap())] {
        let answer =
            gate.shipper().request().header("Content-Encoding", encoding).body(body).send(gate.ingest);
        assert_eq!(answer.status, 413, "{encoding}");
    }
    let peak_kb: u64 = std::fs::read_to_string(format!("/proc/{}/status", gate.pid()))
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    assert!(peak_kb < 200 << 10, "{peak_kb} kB");
    gate.finish();
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let gate = Gate::start();
    let limit = 10_485_760;
    let mut connection = Connection::open(gate.ingest).unwrap();
    let declared = gate.shipper().request().header("Content-Length", &(limit + 1).to_string());
    connection.write(declared.head().as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    // The size is judged before anything else is said of the body.
    let mut connection = Connection::open(gate.ingest).unwrap();
    connection.write(declared.header("Content-Encoding", "br").head().as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    // Without a declared length it is refused once it is too long.
    let line = format!("{{\"message\":\"{}\"}}\n", "y".repeat(1_000 - 15));
    let mut body = String::new();
    for _ in 0..=limit / 100_000 {
        body += &format!("{:x}\r\n{}\r\n", 100_000, line.repeat(100));
    }
    let request = gate.shipper().request().header("Transfer-Encoding", "chunked").body(body + "0\r\n\r\n");
    assert_eq!(request.send(gate.ingest).status, 413);
    // At the limit it is taken.
    let mut body = line.repeat(limit / 1_000);
    body += &" ".repeat(limit - body.len());
    assert_eq!(gate.shipper().request().body(body).send(gate.ingest).status, 200);
    gate.shipper().acknowledge((0..limit / 1_000).map(|_| "y".repeat(1_000 - 15)));
    gate.finish();
}

#[test]
fn strangers_get_one_answer_and_leave_nothing() {
    let gate = Gate::start();
    let body = "{\"message\":\"stranger\"}\n";
    for (target, header, text) in [
        ("/", None, "Logging token is missing"),
        ("/?token=", None, "Logging token is missing"),
        ("/?type=x", None, "Logging token is missing"),
        ("/?token=unknown", None, "Logging token is not valid"),
        ("/?token=unknown", Some(format!("Bearer {SHIPPING_TOKEN}")), "Logging token is not valid"),
        ("/", Some("Bearer unknown".to_owned()), "Logging token is not valid"),
        ("/", Some(format!("Basic {SHIPPING_TOKEN}")), "Logging token is missing"),
    ] {
        let mut request = Request::post(target).body(body);
        if let Some(value) = &header {
            request = request.header("Authorization", value);
        }
        let answer = request.send(gate.ingest);
        assert_eq!((answer.status, answer.text().as_str()), (401, text), "{target} {header:?}");
    }
    let in_body = Request::post("/").body(format!("{{\"token\":\"{SHIPPING_TOKEN}\"}}")).send(gate.ingest);
    assert_eq!(in_body.status, 401, "never from the body");
    assert_eq!(gate.metric(r#"shipgate_gateway_auth_total{result="not_valid"}"#), 3.0);
    gate.shipper().acknowledge([]);
    gate.finish();
}

#[test]
fn takes_the_token_from_wherever_clients_put_it() {
    let gate = Gate::start();
    let shipper = gate.shipper();
    let host = gate.ingest;
    for (name, target, bearer) in [
        ("any order", format!("/?type=a&token={SHIPPING_TOKEN}"), None),
        ("empty pairs", format!("/?&&token={SHIPPING_TOKEN}&&type=a&"), None),
        ("a bare key", format!("/?debug&token={SHIPPING_TOKEN}"), None),
        ("absolute form", format!("http://{host}/?token={SHIPPING_TOKEN}"), None),
        ("absolute form, no path", format!("http://{host}?token={SHIPPING_TOKEN}"), None),
        ("no path", format!("?token={SHIPPING_TOKEN}"), None),
        ("bearer", "/".to_owned(), Some(SHIPPING_TOKEN)),
        ("the query wins", format!("/?token={SHIPPING_TOKEN}"), Some("unknown")),
    ] {
        let mut request = Request::post(target).body(format!("{{\"message\":\"{name}\"}}"));
        if let Some(token) = bearer {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        let answer = request.send(gate.ingest);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        shipper.acknowledge([name.to_owned()]);
    }
    for content_type in ["text/plain", "application/json", "application/x-www-form-urlencoded", "nonsense"] {
        let request = shipper.request().header("Content-Type", content_type).body("{\"message\":\"typed\"}");
        assert_eq!(request.send(gate.ingest).status, 200, "{content_type}");
        shipper.acknowledge(["typed".to_owned()]);
    }
    gate.finish();
}

#[test]
fn other_paths_and_methods_are_told_apart() {
    let gate = Gate::start();
    let target = format!("/?token={SHIPPING_TOKEN}");
    for (method, target, status) in [
        ("GET", target.as_str(), 405),
        ("PUT", target.as_str(), 405),
        ("DELETE", "/", 405),
        ("POST", "/nowhere", 404),
        ("GET", "/metrics", 404),
    ] {
        let answer = Request::new(method, target).send(gate.ingest);
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"));
    }
}

#[test]
fn the_token_is_judged_before_the_body_arrives() {
    let gate = Gate::start();
    let mut connection = Connection::open(gate.ingest).unwrap();
    let head = Request::post("/?token=unknown").header("Content-Length", "1000").head();
    connection.write(head.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 401);
}

#[test]
fn a_refused_upload_in_full_flow_sees_its_answer_and_may_go_on() {
    let gate = Gate::start();
    let mut connection = Connection::open(gate.ingest).unwrap();
    let body = vec![b'x'; 4 << 20];
    connection.write(&Request::post("/?token=unknown").body(body).bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 401);
    connection.write(&gate.shipper().request().body("{\"message\":\"next\"}").bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    gate.shipper().acknowledge(["next".to_owned()]);
    gate.finish();
}

#[test]
fn expect_100_continue_is_honoured() {
    let gate = Gate::start();
    let body = "{\"message\":\"continued\"}";
    let request = |token: &str| {
        let length = body.len().to_string();
        Request::post(format!("/?token={token}"))
            .header("Expect", "100-continue")
            .header("Content-Length", &length)
    };
    let mut connection = Connection::open(gate.ingest).unwrap();
    connection.write(request(SHIPPING_TOKEN).head().as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 100);
    connection.write(body.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    gate.shipper().acknowledge(["continued".to_owned()]);
    let mut refused = Connection::open(gate.ingest).unwrap();
    refused.write(request("unknown").head().as_bytes()).unwrap();
    assert_eq!(refused.answer().unwrap().status, 401, "without a 100 before it");
    gate.finish();
}

#[test]
fn pipelined_requests_are_answered_and_stored_in_order() {
    let mut gate = Gate::start();
    let mut connection = Connection::open(gate.ingest).unwrap();
    let bytes: Vec<u8> = (0..50)
        .flat_map(|n| gate.shipper().request().body(format!("{{\"message\":\"{n}\"}}\n")).bytes())
        .collect();
    connection.write(&bytes).unwrap();
    for n in 0..50 {
        assert_eq!(connection.answer().unwrap().status, 200, "{n}");
    }
    gate.signal("TERM");
    gate.wait();
    let stored: Vec<_> = gate.stored(gate.account).iter().map(|line| crate::harness::message(line)).collect();
    assert_eq!(stored, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_silent_connection_and_a_stalled_body_are_ended() {
    let gate =
        Gate::start_with(&[("GATEWAY__HEADER_TIMEOUT_MS", "300"), ("GATEWAY__BODY_TIMEOUT_MS", "300")]);
    let mut silent = Connection::open(gate.ingest).unwrap();
    let mut half_a_head = Connection::open(gate.ingest).unwrap();
    half_a_head.write(b"POST / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut half_a_preface = Connection::open(gate.ingest).unwrap();
    half_a_preface.write(b"PRI * HTTP/2").unwrap();
    let mut half_a_body = Connection::open(gate.ingest).unwrap();
    half_a_body.write(gate.shipper().request().header("Content-Length", "100").head().as_bytes()).unwrap();
    half_a_body.write(b"{\"message\":").unwrap();
    assert_eq!(half_a_body.answer().unwrap().status, 408);
    assert!(silent.is_closed());
    assert!(half_a_preface.is_closed());
    let _ = half_a_head.answer();
    assert!(half_a_head.is_closed());
    eventually("no connection is left", || {
        (gate.metric("shipgate_gateway_connections") == 1.0).then_some(())
    });
    drop(half_a_body);
    gate.shipper().acknowledge([]);
    gate.finish();
}

#[test]
fn a_connection_that_rested_serves_again() {
    let mut gate = Gate::start();
    let request = |text: &str| gate.shipper().request().body(format!("{{\"message\":\"{text}\"}}")).bytes();
    let until_resting = |resting: f64| {
        eventually("it rests or not", || {
            (gate.metric("shipgate_gateway_connections_resting") == resting).then_some(())
        });
    };
    let mut connection = Connection::open(gate.ingest).unwrap();
    for n in 0..2 {
        until_resting(1.0);
        connection.write(&request(&n.to_string())).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    until_resting(1.0);
    let in_two = request("in two");
    connection.write(&in_two[..30]).unwrap();
    until_resting(0.0);
    connection.write(&in_two[30..]).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    until_resting(1.0);
    let pathless = String::from_utf8(request("pathless")).unwrap().replacen("POST /?", "POST ?", 1);
    connection.write(pathless.as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    assert!(connection.is_closed());
    gate.signal("TERM");
    gate.wait();
    let stored: Vec<_> = gate.stored(gate.account).iter().map(|line| crate::harness::message(line)).collect();
    assert_eq!(stored, ["0", "1", "in two", "pathless"]);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let gate = Gate::start_with(&[("GATEWAY__CONNECTIONS_MAX", "2")]);
    let connections: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = Connection::open(gate.ingest).unwrap();
            connection.write(&gate.shipper().request().body("{\"message\":\"x\"}").bytes()).unwrap();
            assert_eq!(connection.answer().unwrap().status, 200);
            connection
        })
        .collect();
    let answer = gate.shipper().request().body("{}").send(gate.ingest);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    drop(connections);
    eventually("room again", || (gate.shipper().ship(&["again"]).status == 200).then_some(()));
}

#[test]
fn a_full_node_says_so_at_once() {
    let gate = Gate::start_with(&[("GATEWAY__IN_FLIGHT_BYTES_MAX", "1000000")]);
    let mut holder = Connection::open(gate.ingest).unwrap();
    holder.write(gate.shipper().request().header("Content-Length", "950000").head().as_bytes()).unwrap();
    holder.write(&vec![b' '; 900_000]).unwrap();
    eventually("the first is in", || {
        (gate.metric("shipgate_gateway_in_flight_bytes") >= 900_000.0).then_some(())
    });
    let mut second = Connection::open(gate.ingest).unwrap();
    second
        .write(&gate.shipper().request().header("Content-Length", "250000").body(vec![b' '; 200_000]).bytes())
        .unwrap();
    let answer = second.answer().unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    drop(holder);
    eventually("room again", || (gate.metric("shipgate_gateway_in_flight_bytes") == 0.0).then_some(()));
    assert_eq!(gate.shipper().ship(&["after"]).status, 200);
    gate.finish();
}

#[test]
fn an_account_over_its_rate_is_told_when_to_come_back() {
    let gate = Gate::start();
    let body =
        serde_json::json!({ "accountName": "slow", "retentionDays": 1, "ingestBytesPerSecondMax": 1000 });
    let created = gate.admin().call("POST", "/v1/account-management/time-based-accounts", Some(body));
    assert_eq!(created.status, 200, "{}", created.text());
    let (account, token) = (created.json()["accountId"].as_u64().unwrap() as u32, created.json());
    let slow = gate.shipper_with(token["accountToken"].as_str().unwrap(), account);
    let big = "x".repeat(5_000);
    eventually("the token is known", || (slow.ship(&[&big]).status == 200).then_some(()));
    let answer = slow.ship(&["one more"]);
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(gate.shipper().ship(&["others are not slowed"]).status, 200);
    gate.finish();
}

#[test]
fn a_client_that_leaves_in_mid_upload_leaves_nothing() {
    let gate = Gate::start();
    for _ in 0..20 {
        let mut connection = Connection::open(gate.ingest).unwrap();
        connection
            .write(gate.shipper().request().header("Content-Length", "1000").head().as_bytes())
            .unwrap();
        connection.write(b"{\"message\":\"half\"}\n").unwrap();
    }
    eventually("they are gone", || (gate.metric("shipgate_gateway_connections") == 0.0).then_some(()));
    gate.shipper().ship(&["whole"]);
    gate.finish();
}

#[test]
fn answers_are_not_gathered_for_a_client_that_does_not_read_them() {
    let gate = Gate::start();
    let mut stream = std::net::TcpStream::connect(gate.ingest).unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let mut sent = 0;
    while sent < 256 << 20 {
        match std::io::Write::write(&mut stream, &requests) {
            Ok(bytes) => sent += bytes,
            Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "it should have been made to wait, but {sent} bytes were taken");
    gate.shipper().ship(&["others are served"]);
    gate.finish();
}

#[test]
fn an_answer_is_not_held_back_by_what_follows_the_request() {
    let gate = Gate::start();
    for (name, tail) in
        [("an empty line", &b"\r\n"[..]), ("half a request", b"POST"), ("nonsense", b"\x00\x01\x02\r\n\r\n")]
    {
        let mut connection = Connection::open(gate.ingest).unwrap();
        let mut bytes = gate.shipper().request().body(format!("{{\"message\":\"{name}\"}}")).bytes();
        bytes.extend_from_slice(tail);
        connection.write(&bytes).unwrap();
        assert_eq!(connection.answer().unwrap().status, 200, "{name}");
        gate.shipper().acknowledge([name.to_owned()]);
    }
    gate.finish();
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let gate = Gate::start();
    let mut stream = std::net::TcpStream::connect(gate.ingest).unwrap();
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    std::io::Write::write_all(&mut stream, &gate.shipper().request().body("{\"message\":\"all\"}").bytes())
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    gate.shipper().acknowledge(["all".to_owned()]);
    gate.finish();
}

#[test]
fn a_head_that_is_too_large_or_malformed_is_answered() {
    let gate = Gate::start();
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000)), 431),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let mut connection = Connection::open(gate.ingest).unwrap();
        let _ = connection.write(head.as_bytes());
        assert_eq!(
            connection.answer().map(|answer| answer.status).ok(),
            Some(status),
            "{}",
            &head[..30.min(head.len())]
        );
    }
}

#[test]
fn additions_to_millions_of_tiny_lines_stay_within_the_budget() {
    let gate = Gate::start_with(&[("GATEWAY__IN_FLIGHT_BYTES_MAX", "100000000")]);
    let body = gzip(&b"{}\n".repeat(3_000_000));
    let answer = gate.shipper().request().header("Content-Encoding", "gzip").body(body).send(gate.ingest);
    assert_eq!(answer.status, 413, "{}", answer.text());
    gate.shipper().acknowledge([]);
    gate.finish();
}
