//! Changes that are waited for, with gateways that confirm, lag, stop and vanish.

use super::*;
use crate::wire::{self, DIRECTORY_PATH, REPORT_PATH, Report};
use serde_json::json;

const GATEWAYS: &str = "/v1/gateways";

fn report(running: &Running, gateway: &str, number: u64, revision: u64) -> Report {
    Report {
        version: wire::VERSION,
        gateway: gateway.to_owned(),
        instance: format!("process of {gateway}"),
        number,
        address: "192.0.2.1:8070".to_owned(),
        software: "1.2.3".to_owned(),
        store: running.store.id().to_owned(),
        revision,
        started_ms: 1_700_000_000_000,
        requests: 10,
        requests_per_second: 2.5,
        lines: 40,
        lines_per_second: 12.5,
        refusals: [("over_rate".to_owned(), 3)].into(),
        stopping: false,
        usage: None,
    }
}

async fn send(running: &Running, report: &Report) {
    let answer = running.gateway().post(REPORT_PATH, serde_json::to_string(report).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Changes a token, waiting, while `meanwhile` happens once the change is made.
async fn change_while(running: &Running, path: &str, meanwhile: impl AsyncFnOnce(u64)) -> Answer {
    let mut revisions = running.store.latest_revision();
    let before = *revisions.borrow_and_update();
    let admin = running.admin();
    let (answer, ()) = tokio::join!(admin.put(path, r#"{"enabled":false}"#), async {
        let revision = *revisions.wait_for(|revision| *revision > before).await.unwrap();
        meanwhile(revision).await;
    });
    answer
}

#[tokio::test]
async fn a_receipt_names_every_gateway_and_how_long_it_took() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    send(&running, &report(&running, "a", 1, 2)).await;
    send(&running, &report(&running, "b", 1, 2)).await;
    let waiting = format!("{path}?wait=enforced&timeout=30");
    let answer = change_while(&running, &waiting, async |revision| {
        send(&running, &report(&running, "b", 2, revision)).await;
        send(&running, &report(&running, "a", 2, revision)).await;
    });
    let answer = answer.await;
    assert_eq!((answer.status, &answer.json["enabled"]), (200, &json!(false)), "{answer:?}");
    let enforcement = &answer.json["enforcement"];
    assert_eq!((&enforcement["revision"], &enforcement["enforced"]), (&json!(3), &json!(true)));
    let confirmed = enforcement["gateways"].as_array().unwrap();
    assert_eq!(confirmed.iter().map(|gateway| &gateway["id"]).collect::<Vec<_>>(), ["a", "b"]);
    let took = |gateway: &Value| gateway["tookMs"].as_f64().unwrap();
    assert!(took(&confirmed[1]) <= took(&confirmed[0]) && took(&confirmed[0]) <= took(enforcement));
    assert!(enforcement.get("lagging").is_none());
}

#[tokio::test]
async fn without_a_wait_answers_are_as_before() {
    let running = Running::start(Plan::Pro).await;
    send(&running, &report(&running, "a", 1, 1)).await;
    let path = running.admin().create("one").await;
    let answer = running.admin().put(&path, r#"{"enabled":false}"#).await;
    assert_eq!(answer.status, 200);
    let keys: Vec<_> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["createdAt", "createdBy", "enabled", "id", "name", "token", "updatedAt", "updatedBy"]);
}

#[tokio::test]
async fn a_gateway_that_does_not_confirm_is_named_and_the_change_stands() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    send(&running, &report(&running, "cut off", 1, 2)).await;
    send(&running, &report(&running, "well", 1, 2)).await;
    let waiting = format!("{path}?wait=enforced&timeout=300ms");
    let answer = change_while(&running, &waiting, async |revision| {
        send(&running, &report(&running, "well", 2, revision)).await;
    });
    let answer = answer.await;
    assert_eq!((answer.status, &answer.json["enabled"]), (202, &json!(false)), "{answer:?}");
    let enforcement = &answer.json["enforcement"];
    assert_eq!(enforcement["enforced"], false);
    assert_eq!(enforcement["gateways"][0]["id"], "well");
    let lagging = enforcement["lagging"].as_array().unwrap();
    assert_eq!(lagging.len(), 1);
    assert_eq!((&lagging[0]["id"], &lagging[0]["revision"]), (&json!("cut off"), &json!(2)));
    assert_eq!(lagging[0]["address"], "192.0.2.1:8070");
    assert!(lagging[0]["seenSecondsAgo"].as_f64().unwrap() < 30.0);
    assert!(enforcement["tookMs"].as_f64().unwrap() >= 300.0);

    // Forgotten, it is waited for no more; and a wait for what is already so is a question about now.
    let forgotten = running.admin().delete(&format!("{GATEWAYS}/cut%20off")).await;
    assert_eq!((forgotten.status, &forgotten.json["lagRevisions"]), (200, &json!(1)), "{forgotten:?}");
    let answer = running.admin().put(&format!("{path}?wait=enforced"), r#"{"enabled":false}"#).await;
    assert_eq!((answer.status, &answer.json["enforcement"]["revision"]), (200, &json!(3)), "{answer:?}");
    assert_eq!(running.admin().delete(&format!("{GATEWAYS}/cut%20off")).await.code(), "Gateways/NOT_FOUND");
    let trail = running.admin().get("/v1/audit-trail?limit=1").await;
    assert_eq!(trail.json["entries"][0]["action"], "gateway.forget");
}

#[tokio::test]
async fn a_gateway_that_stopped_in_order_is_not_waited_for() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    send(&running, &report(&running, "a", 1, 2)).await;
    send(&running, &Report { stopping: true, ..report(&running, "a", 3, 2) }).await;
    // A report that was overtaken by the last one says nothing.
    send(&running, &report(&running, "a", 2, 2)).await;
    let answer = running.admin().delete(&format!("{path}?wait=enforced&timeout=0")).await;
    assert_eq!((answer.status, &answer.json["enforcement"]["gateways"]), (200, &json!([])), "{answer:?}");
    assert_eq!(running.admin().get(GATEWAYS).await.json[0]["state"], "stopped");
    // Nor is it forgotten that it stopped.
    let running = running.restart().await;
    assert_eq!(running.admin().get(GATEWAYS).await.json[0]["state"], "stopped");
}

#[tokio::test]
async fn who_must_confirm_is_known_after_a_restart() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    send(&running, &report(&running, "a", 1, 2)).await;
    let running = running.restart().await;
    let answer = running.admin().delete(&format!("{path}?wait=enforced&timeout=0")).await;
    assert_eq!((answer.status, &answer.json["enforcement"]["lagging"][0]["id"]), (202, &json!("a")));
}

#[tokio::test]
async fn a_gateway_must_confirm_from_its_first_directory_on() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    let stream = running.gateway().open("GET", &format!("{DIRECTORY_PATH}?gateway=new"), "").await;
    assert_eq!(stream.status(), 200);
    let answer = running.admin().delete(&format!("{path}?wait=enforced&timeout=10ms")).await;
    assert_eq!((answer.status, &answer.json["enforcement"]["lagging"][0]["id"]), (202, &json!("new")));
}

#[tokio::test]
async fn revisions_of_another_store_or_another_history_confirm_nothing() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    let other_store = Report { store: "another".to_owned(), ..report(&running, "a", 1, 100) };
    send(&running, &other_store).await;
    send(&running, &report(&running, "b", 1, 100)).await;
    let answer = running.admin().delete(&format!("{path}?wait=enforced&timeout=0")).await;
    assert_eq!(answer.json["enforcement"]["lagging"].as_array().unwrap().len(), 2, "{answer:?}");
}

#[tokio::test]
async fn a_delta_that_is_waited_for_says_so() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    running.admin().put(&format!("{path}?wait=enforced"), r#"{"enabled":false}"#).await;
    running.admin().put(&path, r#"{"enabled":true}"#).await;
    let deltas = running.store.changes_after(1).await.unwrap().unwrap();
    assert_eq!(deltas.iter().map(|delta| delta.receipt).collect::<Vec<_>>(), [false, true, false]);
}

#[tokio::test]
async fn waits_and_reports_are_checked() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("one").await;
    for query in ["wait=applied", "wait=", "wait=enforced&timeout=31", "wait=enforced&timeout=soon"] {
        let answer = running.admin().delete(&format!("{path}?{query}")).await;
        assert_eq!((answer.status, answer.code()), (400, "Request/MALFORMED"), "{query}");
    }
    let good = report(&running, "a", 1, 1);
    for bad in [
        Report { version: 1, ..good.clone() },
        Report { gateway: String::new(), ..good.clone() },
        Report { gateway: "a\nb".to_owned(), ..good.clone() },
        Report { software: "x".repeat(300), ..good.clone() },
    ] {
        let answer = running.gateway().post(REPORT_PATH, serde_json::to_string(&bad).unwrap()).await;
        assert_eq!(answer.status, 400, "{bad:?}");
    }
    assert_eq!(running.admin().get(GATEWAYS).await.json, json!([]));
}

#[tokio::test]
async fn the_list_shows_what_each_gateway_enforces_and_lacks() {
    let running = Running::start(Plan::Pro).await;
    send(&running, &report(&running, "a", 1, 1)).await;
    running.admin().create("one").await;
    running.admin().create("two").await;
    let list = running.admin().get(GATEWAYS).await;
    let gateway = &list.json[0];
    for (key, expect) in [
        ("id", json!("a")),
        ("address", json!("192.0.2.1:8070")),
        ("version", json!("1.2.3")),
        ("state", json!("serving")),
        ("revision", json!(1)),
        ("lagRevisions", json!(2)),
        ("requests", json!(10)),
        ("requestsPerSecond", json!(2.5)),
        ("lines", json!(40)),
        ("linesPerSecond", json!(12.5)),
        ("refusals", json!({ "over_rate": 3 })),
        ("startedAt", json!(1_700_000_000.0)),
    ] {
        assert_eq!(gateway[key], expect, "{key}");
    }
    assert!(gateway["lagMs"].as_u64().unwrap() < 30_000);
    send(&running, &report(&running, "a", 2, 3)).await;
    let list = running.admin().get(GATEWAYS).await;
    assert_eq!((&list.json[0]["lagRevisions"], &list.json[0]["lagMs"]), (&json!(0), &json!(0)));
    let sub = running.admin().post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(sub.json["apiToken"].as_str().unwrap());
    assert_eq!(sub.get(GATEWAYS).await.status, 403, "only admins of the main account");
    assert_eq!(sub.delete(&format!("{GATEWAYS}/a")).await.status, 403);
}
