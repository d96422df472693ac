use super::*;
use crate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use crate::domain::directory::{Change, Directory};
use crate::domain::terms::Terms;
use crate::domain::token::TokenDigest;
use proptest::prelude::*;

fn permit() -> Permit {
    permit_for(&[])
}

/// Of a token that ships these types only.
fn permit_for(types: &[&str]) -> Permit {
    let mut directory = Directory::default();
    let digest = TokenDigest::of("a token");
    let account = AccountId(1);
    let scope = Scope { types: types.iter().map(|name| (*name).into()).collect(), ..Scope::default() };
    let terms = Terms { scope, ..Terms::default() };
    directory.apply(Change::Account(AccountGrant {
        account,
        durability: None,
        rate_bytes_max: None,
        retention: Retention { days: 1, bytes_max: None },
    }));
    directory.apply(Change::Token { digest, token: TokenId(1), account, terms: terms.shared() });
    directory.admit(&digest, || 0).expect("just enabled")
}

fn parse(body: &[u8]) -> Batch {
    Batch::parse(permit(), body, framing())
}

fn framing() -> Framing<'static> {
    Framing { received_ms: 0, default_type: "http-bulk", line_bytes_max: 40 }
}

const ADDED: &str = r#""@timestamp":"1970-01-01T00:00:00.000Z","type":"http-bulk""#;

fn check(body: &[u8], stored: &str, counters: [u64; 4]) {
    let batch = parse(body);
    let name = String::from_utf8_lossy(body);
    assert_eq!(String::from_utf8_lossy(batch.lines()), stored, "{name}");
    let tally = batch.tally();
    assert_eq!([tally.malformed(), tally.successful, tally.oversized(), tally.empty], counters, "{name}");
}

#[test]
fn frames_lines_and_adds_what_is_missing() {
    check(b"", "", [0, 0, 0, 0]);
    check(b"\n", "", [0, 0, 0, 1]);
    check(b"\r\n \t\n", "", [0, 0, 0, 2]);
    check(b"{}", &format!("{{{ADDED}}}\n"), [0, 1, 0, 0]);
    check(b"{ }\n", &format!("{{{ADDED} }}\n"), [0, 1, 0, 0]);
    check(b"{\"a\":1}\r\n", &format!("{{{ADDED},\"a\":1}}\n"), [0, 1, 0, 0]);
    check(b"{\"a\":1}\n\n", &format!("{{{ADDED},\"a\":1}}\n"), [0, 1, 0, 1]);
    check(b"{\"type\":7}", "{\"@timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":7}\n", [0, 1, 0, 0]);
    check(b"{\"@timestamp\":0}", "{\"type\":\"http-bulk\",\"@timestamp\":0}\n", [0, 1, 0, 0]);
    check(b"{\"type\":7, \"@timestamp\":0.10}", "{\"type\":7, \"@timestamp\":0.10}\n", [0, 1, 0, 0]);
}

#[test]
fn a_bad_line_never_costs_its_neighbours() {
    let stored = format!("{{{ADDED},\"a\":1}}\n{{{ADDED},\"b\":2}}\n");
    check(b"{\"a\":1}\nnonsense\n[1]\n{\"b\":2}", &stored, [2, 2, 0, 0]);
    check(b"{\"a\":1}\n{\"x\":\"\xff\"}\n{\"b\":2}\n", &stored, [1, 2, 0, 0]);
    assert_eq!(
        parse(b"{\"a\":1}\n\n{\"x\":\"\xff\"}\n{\n").tally().errors,
        [LineError { line: 3, fault: LineFault::NotUtf8 }, LineError { line: 4, fault: LineFault::NotJson }]
    );
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
    let line = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(parse(line(40).as_bytes()).tally().successful, 1);
    assert_eq!(parse(format!("{}\r\n", line(40)).as_bytes()).tally().successful, 1);
    assert_eq!(parse(line(41).as_bytes()).tally().oversized(), 1);
    assert_eq!(parse(" ".repeat(41).as_bytes()).tally().oversized(), 1);
}

#[test]
fn describes_at_most_a_hundred_errors_and_counts_all() {
    let batch = parse("x\n".repeat(250).as_bytes());
    assert_eq!((batch.tally().malformed(), batch.tally().errors.len()), (250, ERRORS_MAX));
}

#[test]
fn a_type_is_quoted_like_any_string() {
    let framing = Framing { received_ms: 0, default_type: "a\"b\\}", line_bytes_max: 400 };
    let batch = Batch::parse(permit(), b"{}", framing);
    let stored: serde_json::Value = serde_json::from_slice(batch.lines()).unwrap();
    assert_eq!(stored["type"], "a\"b\\}");
}

#[test]
fn a_token_for_some_types_ships_no_others() {
    for (default_type, line, ships) in [
        ("nginx", r#"{"a":1}"#, true),
        ("http-bulk", r#"{"a":1}"#, false),
        ("http-bulk", r#"{"type":"nginx"}"#, true),
        ("http-bulk", r#"{"type":"ngin\u0078"}"#, true),
        ("http-bulk", r#"{"\u0074ype":"k8s","a":[{"type":"other"}]}"#, true),
        ("http-bulk", r#"{"a":{"type":"nginx"}}"#, false),
        ("nginx", r#"{"type":"other"}"#, false),
        ("nginx", r#"{"t\u0079pe":"other"}"#, false),
        ("nginx", r#"{"type":"Nginx"}"#, false),
        ("nginx", r#"{"type":null}"#, false),
        ("nginx", r#"{"type":7}"#, false),
        ("nginx", r#"{"type":["nginx"]}"#, false),
        ("nginx", r#"{"type":"nginx","type":"other"}"#, false),
        ("nginx", r#"{"type":"other","type":"nginx"}"#, false),
        ("nginx", r#"{"type":"\ud800"}"#, false),
    ] {
        let framing = Framing { received_ms: 0, default_type, line_bytes_max: 400 };
        let permit = permit_for(&["nginx", "k8s"]);
        let batch = Batch::parse(permit, format!("{line}\nnonsense\n").as_bytes(), framing);
        let tally = batch.tally();
        assert_eq!(
            (tally.successful == 1, tally.malformed()),
            (ships, 2 - u64::from(ships)),
            "{default_type} {line}"
        );
        let fault = if ships { LineFault::NotAnObject } else { LineFault::TypeNotAllowed };
        assert_eq!(tally.errors[0].fault, fault, "{default_type} {line}");
    }
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"{\"a\":1}".to_vec()),
        Just(b"".to_vec()),
        Just(b"\r".to_vec()),
        Just(vec![b'x'; 60]),
        Just(b"{\"type\":\"t\"}".to_vec()),
        prop::collection::vec(any::<u8>().prop_filter("a line", |b| *b != b'\n'), 0..50),
    ];
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.join(&b'\n'))
}

proptest! {
    #[test]
    fn every_line_is_counted_once(body in bodies()) {
        let lines = body.split(|b| *b == b'\n').count() as u64 - u64::from(body.is_empty() || body.ends_with(b"\n"));
        let batch = parse(&body);
        let tally = batch.tally();
        prop_assert_eq!(tally.lines(), lines);
        prop_assert!(batch.lines().len() <= framing().stored_bytes_max(&body));
        prop_assert_eq!(batch.lines().iter().filter(|b| **b == b'\n').count() as u64, tally.successful);
    }

    /// Parsing a body is parsing its lines one by one.
    #[test]
    fn lines_do_not_see_each_other(body in bodies()) {
        let whole = parse(&body);
        let one_by_one: Vec<u8> =
            body.split_inclusive(|b| *b == b'\n').flat_map(|line| parse(line).lines().to_vec()).collect();
        prop_assert_eq!(whole.lines(), one_by_one);
    }

    /// Every stored line is an object that holds the two fields.
    #[test]
    fn what_is_stored_is_json(body in bodies()) {
        let batch = parse(&body);
        for line in batch.lines().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let raw: std::collections::HashMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_slice(line).expect("an object");
            prop_assert!(raw.contains_key("@timestamp") && raw.contains_key("type"));
        }
    }
}
