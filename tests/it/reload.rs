//! An admin's change is enforced at the gateway, and what it refuses leaves nothing.

use crate::harness::http::Connection;
use crate::harness::{Gate, eventually};

#[test]
fn a_token_ships_from_its_creation_to_its_end() {
    let gate = Gate::start();
    let admin = gate.admin();
    for round in 0..10 {
        let name = format!("round {round}");
        let (id, token) = admin.create(&name);
        let shipper = gate.shipper_with(&token, gate.account);
        eventually("created", || (shipper.ship(&["created"]).status == 200).then_some(()));
        admin.set_enabled(id, &name, false);
        eventually("disabled", || (shipper.ship(&["disabled"]).status == 401).then_some(()));
        assert_eq!(shipper.ship(&["still disabled"]).status, 401);
        admin.set_enabled(id, &name, true);
        eventually("enabled", || (shipper.ship(&["enabled"]).status == 200).then_some(()));
        admin.delete(id);
        eventually("deleted", || (shipper.ship(&["deleted"]).status == 401).then_some(()));
    }
    assert!(gate.metric("shipgate_directory_propagation_seconds_count") >= 40.0);
    assert_eq!(gate.metric("shipgate_directory_tokens"), 1.0);
    assert_eq!(gate.metric("shipgate_directory_failures_total"), 0.0);
    gate.finish();
}

#[test]
fn a_token_disabled_while_its_body_arrives_ships_nothing() {
    let gate = Gate::start();
    let (id, token) = gate.admin().create("short-lived");
    let shipper = gate.shipper_with(&token, gate.account);
    eventually("created", || (shipper.ship(&["before"]).status == 200).then_some(()));
    let body = "{\"message\":\"caught\"}\n";
    let mut uploads: Vec<_> = (0..5)
        .map(|_| {
            let mut upload = Connection::open(gate.ingest).unwrap();
            let request = shipper.request().header("Content-Length", &body.len().to_string());
            upload.write(request.head().as_bytes()).unwrap();
            upload.write(&body.as_bytes()[..5]).unwrap();
            upload
        })
        .collect();
    let admitted = r#"shipgate_gateway_auth_total{result="admitted"}"#;
    eventually("they are let in", || (gate.metric(admitted) >= 6.0).then_some(()));
    gate.admin().set_enabled(id, "short-lived", false);
    eventually("disabled", || (shipper.ship(&["after"]).status == 401).then_some(()));
    for upload in &mut uploads {
        upload.write(&body.as_bytes()[5..]).unwrap();
        let answer = upload.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (401, "Logging token is not valid"));
    }
    assert_eq!(gate.metric(r#"shipgate_gateway_auth_total{result="revoked_during_upload"}"#), 5.0);
    gate.finish();
}

#[test]
fn a_sub_account_has_a_log_of_its_own() {
    let gate = Gate::start();
    let body = serde_json::json!({ "accountName": "second", "retentionDays": 3 });
    let created = gate.admin().call("POST", "/v1/account-management/time-based-accounts", Some(body)).json();
    let account = created["accountId"].as_u64().unwrap() as u32;
    let second = gate.shipper_with(created["accountToken"].as_str().unwrap(), account);
    eventually("known", || (second.ship(&["for the second"]).status == 200).then_some(()));
    gate.shipper().ship(&["for the first"]);
    gate.finish();
}

#[test]
fn a_restart_keeps_tokens_and_logs() {
    let gate = Gate::start();
    let (_, token) = gate.admin().create("kept");
    let shipper = gate.shipper_with(&token, gate.account);
    eventually("created", || (shipper.ship(&["one"]).status == 200).then_some(()));
    let gate = gate.crash_and_restart();
    assert_eq!(gate.shipper_with(&token, gate.account).ship(&["two"]).status, 200);
    gate.finish();
}

#[test]
fn nothing_is_accepted_after_a_receipt() {
    let gate = Gate::start();
    let admin = gate.admin();
    for round in 0..20 {
        let (id, token) = admin.create(&format!("round {round}"));
        let shipper = gate.shipper_with(&token, gate.account);
        eventually("created", || (shipper.ship(&["created"]).status == 200).then_some(()));
        let body = serde_json::json!({ "enabled": false });
        let path = format!("/v1/log-shipping/tokens/{id}?wait=enforced&timeout=30");
        let receipt = admin.call("PUT", &path, Some(body));
        assert_eq!(shipper.ship(&["after the receipt"]).status, 401);
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        let enforcement = &receipt.json()["enforcement"];
        assert_eq!(enforcement["gateways"].as_array().unwrap().len(), 1, "{enforcement}");
    }
    let list = admin.get("/v1/gateways").json();
    assert_eq!((&list[0]["state"], &list[0]["lagRevisions"]), (&"serving".into(), &0.into()), "{list}");
    gate.finish();
}
