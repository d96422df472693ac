//! Who uses which token, from the shipper's request to the admin's eyes.

use crate::harness::{API_TOKEN, Gate, eventually, shipgate};
use serde_json::Value;

const OFTEN: (&str, &str) = ("SYNC__USAGE_INTERVAL_MS", "100");

fn usage(gate: &Gate, id: u64) -> Value {
    let answer = gate.admin().get(&format!("/v1/log-shipping/tokens/{id}/usage"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn the_ledger_holds_what_was_accepted_to_the_line() {
    let gate = Gate::start_with(&[OFTEN]);
    let (id, token) = gate.admin().create("counted");
    let shipper = gate.shipper_with(&token, gate.account);
    eventually("created", || (shipper.ship(&["0"]).status == 200).then_some(()));
    for _ in 0..99 {
        assert_eq!(shipper.ship(&["a", "b"]).status, 200);
    }
    let partly = shipper.request().header("User-Agent", "odd/9").body("{\"message\":\"c\"}\nnonsense\n");
    assert_eq!(partly.send(gate.ingest).status, 400);
    shipper.acknowledge(["c".to_owned()]);
    assert_eq!(shipper.request().header("Content-Encoding", "br").body("x").send(gate.ingest).status, 415);
    let seen = eventually("counted", || {
        let seen = usage(&gate, id);
        (seen["requests"] == 101 && seen["refusals"]["unknown_encoding"] == 1).then_some(seen)
    });
    assert_eq!((&seen["lines"], &seen["refusedLines"]), (&200.into(), &1.into()), "{seen}");
    assert!(
        seen["clients"].as_array().unwrap().iter().any(|client| client["userAgent"] == "odd/9"),
        "{seen}"
    );
    assert!(seen["usedAfterEnd"].is_null());
    gate.finish();
}

#[test]
fn who_still_ships_with_a_dead_token_is_told_after_a_stop_too() {
    let gate = Gate::start_with(&[("SYNC__USAGE_INTERVAL_MS", "3600000")]);
    let (id, token) = gate.admin().create("short-lived");
    let shipper = gate.shipper_with(&token, gate.account);
    eventually("created", || (shipper.ship(&["before"]).status == 200).then_some(()));
    let path = format!("/v1/log-shipping/tokens/{id}?wait=enforced&timeout=30");
    assert_eq!(gate.admin().call("DELETE", &path, None).status, 200);
    for _ in 0..4 {
        let tried = shipper.request().header("User-Agent", "forgotten/1").body("{}").send(gate.ingest);
        assert_eq!(tried.status, 401);
    }
    // Nothing was sent yet: the stop brings it over.
    assert!(usage(&gate, id)["usedAfterEnd"].is_null());
    gate.signal("TERM");
    let mut gate = gate;
    assert!(gate.wait().success(), "{}", gate.log());
    let gate = gate.restart_with(&[OFTEN]);
    let seen = usage(&gate, id);
    assert_eq!((&seen["state"], &seen["requests"]), (&"deleted".into(), &1.into()), "{seen}");
    let ended = &seen["usedAfterEnd"];
    // The first one may have come before the token was known.
    assert!(ended["requests"].as_u64() >= Some(4), "{seen}");
    assert!(ended["clients"].as_array().unwrap().iter().any(|client| client["userAgent"] == "forgotten/1"));
    let url = format!("http://{}", gate.api);
    let shown = shipgate()
        .args(["token", "usage", &id.to_string(), "--url", &url, "--api-token", API_TOKEN])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("short-lived") && shown.contains("forgotten/1"), "{shown}");
    let shown =
        shipgate().args(["token", "usage", "--url", &url, "--api-token", API_TOKEN]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.lines().nth(1).unwrap().contains("deleted"), "{shown}");
    gate.finish();
}
