//! The terms of tokens over the API: expiry, rotation, values of one's own, scopes, dry runs.

use super::stream::Follower;
use super::*;
use crate::domain::token::TokenDigest;
use serde_json::json;

const DEFAULT: &str = "/v1/log-shipping/tokens/1000000";
const VALUE: &str = "a-value_that-shippers-HAVE-already";

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn now() -> f64 {
    Clock::system().unix_ms() as f64 / 1_000.0
}

#[tokio::test]
async fn a_token_keeps_the_value_it_was_given() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let body = format!(r#"{{"name":"moved in","token":"{VALUE}"}}"#);
    let created = admin.post(TOKENS, &body).await;
    assert_eq!((created.status, &created.json["token"]), (201, &VALUE.into()));
    assert_eq!(keys(&created.json).len(), 8, "it is a token like any other");
    let taken = admin.post(TOKENS, body.replace("moved in", "again")).await;
    assert_eq!((taken.status, taken.code()), (400, "LogShippingTokens/VALUE_TAKEN"));
    assert!(!taken.json.to_string().contains(VALUE));
    let digest = TokenDigest::of("known to nobody here").to_hex();
    let created = admin.post(TOKENS, format!(r#"{{"name":"digest","digest":"{digest}","token":""}}"#)).await;
    assert_eq!((created.status, &created.json["token"]), (201, &"".into()));
    assert_eq!(created.json["tokenKnown"], false);
    let shown = admin.get(&format!("{TOKENS}/{}", created.id())).await;
    assert_eq!(shown.json, created.json);
    let follower = Follower::open(&running, "").await.snapshot().await;
    assert!(follower.admits("known to nobody here") && follower.admits(VALUE));
}

#[tokio::test]
async fn terms_are_set_shown_left_and_cleared() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let terms = json!({
        "name": "contractor", "expiresAt": 4_102_444_800.5, "wouldRefuse": true,
        "scope": { "sources": ["10.0.0.0/8", "::ffff:192.0.2.7"], "types": ["nginx"], "doors": ["bulk"] },
    });
    let created = admin.post(TOKENS, terms.to_string()).await;
    assert_eq!(created.status, 201, "{created:?}");
    let path = format!("{TOKENS}/{}", created.id());
    let scope = json!({ "doors": ["bulk"], "sources": ["10.0.0.0/8", "192.0.2.7/32"], "types": ["nginx"] });
    assert_eq!(created.json["expiresAt"], 4_102_444_800.5);
    assert_eq!((&created.json["scope"], &created.json["wouldRefuse"]), (&scope, &true.into()));
    let renamed = admin.put(&path, r#"{"name":"c","enabled":true}"#).await.json;
    assert_eq!((&renamed["scope"], &renamed["expiresAt"]), (&scope, &created.json["expiresAt"]));
    let same = admin.put(&path, renamed.to_string()).await;
    assert_eq!((same.status, &same.json), (200, &renamed), "what is shown can be sent back");
    let narrowed = admin.put(&path, r#"{"scope":{"types":["k8s"]}}"#).await.json;
    assert_eq!(narrowed["scope"], json!({ "types": ["k8s"] }), "a scope is replaced as a whole");
    let cleared = admin.put(&path, r#"{"expiresAt":null,"scope":null,"wouldRefuse":"false"}"#).await.json;
    assert_eq!(keys(&cleared).len(), 8, "{cleared}");
    let later = admin.put(&path, r#"{"expiresIn":3600}"#).await.json["expiresAt"].as_f64().unwrap();
    assert!((later - now() - 3_600.0).abs() < 30.0);
}

#[tokio::test]
async fn terms_that_are_none_are_told() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let spare = admin.create("spare").await;
    let rotate = format!("{spare}/rotate");
    for (method, path, body, code) in [
        ("POST", TOKENS, r#"{"name":"n","token":"short"}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","token":"with spaces in between"}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","digest":"abc"}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","digest":"abc","token":"abcabcabcabcabcabc"}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","expiresAt":1}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", TOKENS, r#"{"name":"n","expiresAt":-1e300}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", TOKENS, r#"{"name":"n","expiresIn":0}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", TOKENS, r#"{"name":"n","expiresAt":4102444800000}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", TOKENS, r#"{"name":"n","expiresAt":"tomorrow"}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","expiresIn":1e300}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", TOKENS, r#"{"name":"n","expiresAt":4102444800,"expiresIn":5}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","scope":{"source":["10.0.0.0/8"]}}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","scope":{"sources":["10.1.0.0/8"]}}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","scope":["10.0.0.0/8"]}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"n","scope":{"doors":["window"]}}"#, "LogShippingTokens/SCOPE"),
        ("POST", TOKENS, r#"{"name":"n","scope":{"types":[""]}}"#, "LogShippingTokens/SCOPE"),
        ("PUT", &spare, r#"{"expiresAt":1}"#, "LogShippingTokens/EXPIRES_AT"),
        ("POST", &rotate, r#"{"overlap":0}"#, "LogShippingTokens/OVERLAP"),
        ("POST", &rotate, r#"{"overlap":2592001}"#, "LogShippingTokens/OVERLAP"),
        ("POST", &rotate, r#"{"quietFor":59}"#, "LogShippingTokens/QUIET_FOR"),
        ("POST", &rotate, r#"{"overlapp":60}"#, "Request/MALFORMED"),
        ("POST", &rotate, r#"{"token":"short"}"#, "Request/MALFORMED"),
        ("POST", &rotate, "[]", "Request/MALFORMED"),
    ] {
        let answer = admin.send(method, path, body).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{method} {body}: {answer:?}");
    }
    let slip = admin.post(TOKENS, r#"{"name":"n","scope":{"sources":["10.1.0.0/8"]}}"#).await;
    assert!(slip.json["message"].as_str().unwrap().contains("10.0.0.0/8 begins there"), "{slip:?}");
    assert_eq!(admin.post(&format!("{TOKENS}/5/rotate"), "{}").await.status, 404);
    assert_eq!(running.stranger().post(&rotate, "{}").await.status, 403);
}

#[tokio::test]
async fn a_community_account_rotates_over_the_api() {
    let running = Running::start(Plan::Community).await;
    let admin = running.admin();
    let old = running.first.shipping_token.expose().to_owned();
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let rotated = admin.post(&format!("{DEFAULT}/rotate"), "").await;
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let (successor, retiring) = (&rotated.json["successor"], &rotated.json["retiring"]);
    assert_eq!((&successor["name"], keys(successor).len()), (&"default".into(), 8));
    assert_eq!((retiring["id"].clone(), retiring["token"].as_str()), (1_000_000.into(), Some(old.as_str())));
    let retirement = &retiring["retirement"];
    assert_eq!(retirement["successorId"], successor["id"]);
    assert_eq!(retirement["deadline"], retiring["expiresAt"]);
    let overlap = retirement["deadline"].as_f64().unwrap() - retirement["since"].as_f64().unwrap();
    assert!((overlap - 7.0 * 86_400.0).abs() < 0.01);
    follower.delta().await;
    assert!(follower.admits(&old) && follower.admits(successor["token"].as_str().unwrap()));
    let limits = admin.get(&format!("{TOKENS}/limits")).await.json;
    let expect = json!({ "maxAllowedTokens": 1, "numOfEnabledTokens": 1, "numOfRetiringTokens": 1 });
    assert_eq!(limits, expect);
    let settings = admin.get("/v1/account-management/settings").await.json;
    assert_eq!(settings["defaultToken"]["id"], successor["id"]);
    let path = format!("{TOKENS}/{}/rotate", successor["id"]);
    let refused = admin.post(&path, "{}").await;
    assert_eq!((refused.status, refused.code()), (400, "LogShippingTokens/RETIRING_LIMIT_REACHED"));
    admin.delete(DEFAULT).await;
    let body = format!(r#"{{"token":"{VALUE}","overlap":60,"quietFor":60}}"#);
    let rotated = admin.post(&path, body).await.json;
    assert_eq!(rotated["successor"]["token"], VALUE);
    assert_eq!(rotated["retiring"]["retirement"]["quietFor"], 60.0);
}

#[tokio::test]
async fn a_token_ends_by_itself_when_its_time_has_come() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let mut follower = Follower::open(&running, "").await.snapshot().await;
    let body = format!(r#"{{"name":"short-lived","token":"{VALUE}","expiresIn":0.3}}"#);
    let created = admin.post(TOKENS, body).await;
    let path = format!("{TOKENS}/{}", created.id());
    follower.delta().await;
    assert!(follower.admits(VALUE), "at the beginning of time");
    follower.delta().await;
    assert!(!follower.admits(VALUE));
    let ended = admin.get(&path).await.json;
    assert_eq!((&ended["enabled"], &ended["updatedBy"]), (&false.into(), &"shipgate".into()));
    let late = ended["updatedAt"].as_f64().unwrap() - created.json["expiresAt"].as_f64().unwrap();
    assert!((0.0..5.0).contains(&late), "{late} seconds");
    let refused = admin.put(&path, r#"{"enabled":true}"#).await;
    assert_eq!(refused.code(), "LogShippingTokens/EXPIRED");
}
