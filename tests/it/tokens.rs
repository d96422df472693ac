//! The life of a token, as its shippers see it: expiry, rotation, scopes, dry runs.

use crate::harness::http::{Connection, Request};
use crate::harness::{Gate, SHIPPING_TOKEN, Shipper, eventually};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

const TOKENS: &str = "/v1/log-shipping/tokens";

/// Creates a token with these fields, and waits until it ships or is known to be refused.
fn create(gate: &Gate, fields: Value) -> (u64, Shipper) {
    let revision = gate.metric("shipgate_directory_revision");
    let answer = gate.admin().call("POST", TOKENS, Some(fields));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let token = answer.json();
    let known = || (gate.metric("shipgate_directory_revision") > revision).then_some(());
    eventually("the gateway knows", known);
    (token["id"].as_u64().unwrap(), gate.shipper_with(token["token"].as_str().unwrap(), gate.account))
}

#[test]
fn an_upload_across_the_expiry_ships_nothing() {
    let gate = Gate::start();
    let (_, shipper) = create(&gate, json!({ "name": "short-lived", "expiresIn": 2 }));
    assert_eq!(shipper.ship(&["in time"]).status, 200);
    let body = "{\"message\":\"too late\"}\n";
    let mut upload = Connection::open(gate.ingest).unwrap();
    let request = shipper.request().header("Content-Length", &body.len().to_string());
    upload.write(request.head().as_bytes()).unwrap();
    let admitted = r#"shipgate_gateway_auth_total{result="admitted"}"#;
    eventually("it is let in", || (gate.metric(admitted) >= 2.0).then_some(()));
    eventually("expired", || (shipper.ship(&["meanwhile"]).status == 401).then_some(()));
    upload.write(body.as_bytes()).unwrap();
    let answer = upload.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (401, "Logging token is not valid"));
    // One that was shipped meanwhile may have met the same fate.
    assert!(gate.metric(r#"shipgate_gateway_auth_total{result="revoked_during_upload"}"#) >= 1.0);
    gate.finish();
}

#[test]
fn a_community_account_rotates_without_losing_a_line() {
    const SHIPPERS: usize = 4;
    let gate = Gate::start_with(&[("BOOTSTRAP__PLAN", "community")]);
    let token = Arc::new(RwLock::new(SHIPPING_TOKEN.to_owned()));
    let stop = Arc::new(AtomicBool::new(false));
    let shipped: Arc<[AtomicUsize; SHIPPERS]> = Arc::default();
    let shippers: Vec<_> = (0..SHIPPERS)
        .map(|shipper| {
            let (token, stop, shipped) = (Arc::clone(&token), Arc::clone(&stop), Arc::clone(&shipped));
            let gate = gate.shipper();
            std::thread::spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return n;
                    }
                    // Each looks into its configuration in its own time.
                    let mut sender = gate.clone();
                    token.read().unwrap().clone_into(&mut sender.token);
                    let answer = sender.ship(&[&format!("{shipper} {n}")]);
                    assert_eq!(answer.status, 200, "line {n} of shipper {shipper}: {}", answer.text());
                    shipped[shipper].fetch_add(1, Ordering::Relaxed);
                }
                0
            })
        })
        .collect();
    let more = |what: &str| {
        let counts = || shipped.each_ref().map(|lines| lines.load(Ordering::Relaxed));
        let before = counts();
        let all = |now: [usize; SHIPPERS]| now.iter().zip(before).all(|(now, before)| *now >= before + 20);
        eventually(what, || all(counts()).then_some(()));
    };
    more("they ship");
    let body = json!({ "overlap": 20 });
    let rotated = gate.admin().call("POST", &format!("{TOKENS}/1000000/rotate"), Some(body));
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let successor = rotated.json()["successor"]["token"].as_str().unwrap().to_owned();
    let fresh = gate.shipper_with(&successor, gate.account);
    eventually("the successor ships", || (fresh.ship(&["hello"]).status == 200).then_some(()));
    more("the old token ships on");
    *token.write().unwrap() = successor;
    more("they have moved over");
    // Nobody is in the middle of a line with the old token any more.
    let retired = gate.admin().call("PUT", &format!("{TOKENS}/1000000"), Some(json!({ "expiresIn": 0.2 })));
    assert_eq!(retired.status, 200, "{}", retired.text());
    let old = gate.shipper_with(SHIPPING_TOKEN, gate.account);
    eventually("the old token has ended", || (old.ship(&["last"]).status == 401).then_some(()));
    more("they ship on");
    stop.store(true, Ordering::Relaxed);
    let lines: usize = shippers.into_iter().map(|shipper| shipper.join().unwrap()).sum();
    println!("{lines} lines shipped during a rotation, none refused");
    eventually("it is disabled", || {
        let shown = gate.admin().get(&format!("{TOKENS}/1000000")).json();
        (shown["enabled"] == false && shown["updatedBy"] == "shipgate").then_some(())
    });
    gate.finish();
}

#[test]
fn a_scope_lets_in_what_it_names() {
    let gate = Gate::start_with(&[("GATEWAY__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")]);
    let scope =
        json!({ "sources": ["198.51.100.0/24", "2001:db8::/32"], "types": ["nginx"], "doors": ["bulk"] });
    let (_, shipper) = create(&gate, json!({ "name": "scoped", "scope": scope }));
    let ship = |forwarded_for: &str, body: &str| {
        let target = format!("/?token={}&type=nginx", shipper.token);
        Request::post(target).header("X-Forwarded-For", forwarded_for).body(body).send(gate.ingest)
    };
    for (forwarded_for, status) in [
        ("198.51.100.7", 200),
        ("::ffff:198.51.100.7", 200),
        ("2001:db8::7", 200),
        ("203.0.113.1, 198.51.100.7, 10.0.0.1", 200),
        ("198.51.100.7, 203.0.113.1", 401),
        ("2001:db9::7", 401),
        ("127.0.0.1", 401),
    ] {
        assert_eq!(ship(forwarded_for, "").status, status, "{forwarded_for}");
    }
    assert_eq!(gate.metric(r#"shipgate_gateway_requests_total{code="scope_source",door="bulk"}"#), 3.0);
    let body = "{\"message\":\"a\"}\n{\"message\":\"b\",\"type\":\"other\"}\n{\"message\":\"c\",\"type\":\"nginx\"}\n";
    let answer = ship("198.51.100.7", body);
    let expect = json!({
        "malformedLines": 1, "successfulLines": 2, "oversizedLines": 0, "emptyLogLines": 0,
        "errors": [{ "line": 2, "reason": "of a type that this token may not ship" }],
    });
    assert_eq!((answer.status, answer.json()), (400, expect));
    shipper.acknowledge(["a", "c"].map(str::to_owned));
    assert_eq!(gate.metric(r#"shipgate_gateway_discarded_lines_total{reason="type_not_allowed"}"#), 1.0);
    gate.finish();
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_is_the_ipv4_client_it_is() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let mut gate = Gate::start_with(&[("GATEWAY__HTTP", "[::]:0")]);
    let port = gate.ingest.port();
    let scope = json!({ "sources": ["127.0.0.0/8"] });
    let (_, shipper) = create(&gate, json!({ "name": "scoped", "scope": scope }));
    for (address, status) in [("127.0.0.1", 200), ("::1", 401)] {
        gate.ingest = std::net::SocketAddr::new(address.parse().unwrap(), port);
        assert_eq!(gate.shipper_with(&shipper.token, gate.account).ship(&["a"]).status, status, "{address}");
    }
    gate.finish();
}

#[test]
fn refused_tokens_look_alike() {
    let gate = Gate::start();
    let admin = gate.admin();
    let (disabled, _) = create(&gate, json!({ "name": "disabled", "token": "a-token-that-is-disabled" }));
    admin.set_enabled(disabled, "disabled", false);
    create(&gate, json!({ "name": "expired", "token": "a-token-that-is-expired", "expiresIn": 0.1 }));
    let scope = json!({ "sources": ["192.0.2.0/24"] });
    create(&gate, json!({ "name": "elsewhere", "token": "a-token-for-elsewhere", "scope": scope }));
    let shown = |token: &str| {
        let mut answer =
            Request::post(format!("/?token={token}")).body("{\"message\":\"a\"}\n").send(gate.ingest);
        answer.headers.retain(|(name, _)| name != "date");
        (answer.status, answer.text(), answer.headers)
    };
    let unknown = shown("a-token-that-is-nobodys");
    assert_eq!((unknown.0, unknown.1.as_str()), (401, "Logging token is not valid"));
    for token in ["a-token-that-is-disabled", "a-token-that-is-expired", "a-token-for-elsewhere"] {
        eventually(token, || (shown(token) == unknown).then_some(()));
    }
    gate.finish();
}

#[test]
fn a_dry_run_counts_what_it_would_have_stopped() {
    let gate = Gate::start();
    let (id, shipper) = create(&gate, json!({ "name": "unused?" }));
    assert_eq!(shipper.ship(&["before"]).status, 200);
    let body = json!({ "wouldRefuse": true });
    assert_eq!(gate.admin().call("PUT", &format!("{TOKENS}/{id}"), Some(body)).status, 200);
    let count = |what: &str| gate.metric(&format!("shipgate_gateway_would_refuse_{what}_total"));
    eventually("a dry run", || {
        shipper.ship(&["a", "b"]);
        (count("requests") > 0.0).then_some(())
    });
    let (requests, lines) = (count("requests"), count("lines"));
    assert_eq!(lines, 2.0 * requests);
    gate.shipper().ship(&["of another token"]);
    let answer = shipper.request().body("{\"message\":\"c\"}\nnonsense\n").send(gate.ingest);
    assert_eq!(answer.status, 400);
    shipper.acknowledge(["c".to_owned()]);
    assert_eq!((count("requests"), count("lines")), (requests + 1.0, lines + 1.0));
    gate.finish();
}

#[test]
fn a_value_brought_along_ships_at_once() {
    let gate = Gate::start();
    let digest = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"; // of "hi"
    create(&gate, json!({ "name": "by digest", "digest": digest }));
    assert_eq!(gate.shipper_with("hi", gate.account).ship(&["known by its digest"]).status, 200);
    let (_, shipper) = create(&gate, json!({ "name": "by value", "token": "the-value-that-shippers-have" }));
    assert_eq!(shipper.token, "the-value-that-shippers-have");
    assert_eq!(shipper.ship(&["known by its value"]).status, 200);
    gate.finish();
}
