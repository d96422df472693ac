//! API tokens: the way out of a leaked one, and the way back from lost ones.

use super::*;
use crate::control::operator::{OperatorError, reset_api_token};
use serde_json::json;

const API_TOKENS: &str = "/v1/api-tokens";

async fn create(api: &Api, body: &str) -> (String, String) {
    let created = api.post(API_TOKENS, body).await;
    assert_eq!(created.status, 201, "{created:?}");
    (format!("{API_TOKENS}/{}", created.id()), created.json["token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_leaked_api_token_is_replaced_without_a_gap() {
    let running = Running::start(Plan::Pro).await;
    let leaked = running.admin();
    let refused = leaked.delete(&format!("{API_TOKENS}/1")).await;
    assert_eq!((refused.status, refused.code()), (400, "ApiTokens/LAST_API_TOKEN"));
    let (path, secret) = create(&leaked, r#"{"name":" ci "}"#).await;
    let fresh = running.with(&secret);
    let list = fresh.get(API_TOKENS).await.json;
    let shown: Vec<_> =
        list.as_array().unwrap().iter().map(|t| (t["name"].as_str().unwrap(), t["inUse"] == true)).collect();
    assert_eq!(shown, [("admin", false), ("ci", true)]);
    assert!(!list.to_string().contains(&secret) && list[1]["createdAt"].as_f64().unwrap() > 1.7e9);
    let deleted = leaked.delete(&format!("{API_TOKENS}/1")).await;
    assert_eq!(
        (deleted.status, &deleted.json["name"], &deleted.json["inUse"]),
        (200, &"admin".into(), &true.into())
    );
    assert_eq!(leaked.get("/v2/whoami").await.status, 403, "the token in use may be deleted");
    let refused = fresh.delete(&path).await;
    assert_eq!((refused.status, refused.code()), (400, "ApiTokens/LAST_API_TOKEN"));
    let trail = fresh.get("/v1/audit-trail?limit=2").await.json;
    let line = |entry: &Value| format!("{} {} {}", entry["actor"], entry["action"], entry["subject"]);
    assert_eq!(
        [line(&trail["entries"][0]), line(&trail["entries"][1])],
        [
            r#""api-token:admin" "api-token.delete" "api-token:1""#,
            r#""api-token:admin" "api-token.create" "api-token:2""#
        ]
    );
}

#[tokio::test]
async fn impossible_api_tokens_are_refused() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    for (method, path, body, status, code) in [
        ("POST", API_TOKENS, r#"{"name":"admin"}"#, 400, "ApiTokens/NAME_TAKEN"),
        ("POST", API_TOKENS, r#"{"name":" "}"#, 400, "ApiTokens/NAME_EMPTY"),
        ("POST", API_TOKENS, r#"{"name":"a","accountid":1000}"#, 400, "Request/MALFORMED"),
        ("POST", API_TOKENS, r#"{"name":"a","accountId":999}"#, 404, "Accounts/NOT_FOUND"),
        ("GET", "/v1/api-tokens?accountid=1000", "", 400, "Request/MALFORMED"),
        ("GET", "/v1/api-tokens?accountId=x", "", 400, "Request/MALFORMED"),
        ("DELETE", "/v1/api-tokens/9", "", 404, "ApiTokens/NOT_FOUND"),
        ("DELETE", "/v1/api-tokens/admin", "", 404, "ApiTokens/NOT_FOUND"),
    ] {
        let answer = admin.send(method, path, body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn a_sub_account_that_lost_its_api_token_gets_one_from_the_main_account() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let created = admin.post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let lost = running.with(created.json["apiToken"].as_str().unwrap());
    let (_, secret) = create(&admin, r#"{"name":"second","accountId":1001}"#).await;
    let sub = running.with(&secret);
    assert_eq!(sub.get("/v2/whoami").await.json["accountId"], 1001);
    let of_sub = format!("{API_TOKENS}?accountId=1001");
    assert_eq!(admin.get(&of_sub).await.json.as_array().unwrap().len(), 2);
    assert_eq!(sub.get(&of_sub).await.json.as_array().unwrap().len(), 2, "its own account");
    assert_eq!(sub.get(&format!("{API_TOKENS}?accountId=1000")).await.status, 403);
    assert_eq!(sub.post(API_TOKENS, r#"{"name":"x","accountId":1000}"#).await.status, 403);
    assert_eq!(sub.delete(&format!("{API_TOKENS}/1?accountId=1000")).await.status, 403);
    assert_eq!(sub.delete(&format!("{API_TOKENS}/1")).await.status, 404, "the main account's");
    assert_eq!(admin.delete(&format!("{API_TOKENS}/2")).await.status, 404, "not without the account");
    assert_eq!(admin.delete(&format!("{API_TOKENS}/2?accountId=1001")).await.status, 200);
    assert_eq!(lost.get("/v2/whoami").await.status, 403);
}

#[tokio::test]
async fn an_operator_makes_an_api_token_when_all_are_lost() {
    let running = Running::start(Plan::Pro).await;
    let secret = reset_api_token(&running.store, "admin").await.unwrap();
    assert_eq!(running.admin().get("/v2/whoami").await.status, 403, "the lost one is worth nothing");
    let admin = running.with(secret.expose());
    assert_eq!(admin.get("/v2/whoami").await.json["accountName"], "main");
    reset_api_token(&running.store, "spare").await.unwrap();
    assert_eq!(admin.get(API_TOKENS).await.json.as_array().unwrap().len(), 2, "another name adds one");
    let trail = admin.get("/v1/audit-trail?limit=3").await.json;
    for (entry, action) in trail["entries"].as_array().unwrap().iter().zip(["create", "create", "delete"]) {
        assert_eq!(entry["action"], format!("api-token.{action}"));
        assert_eq!((&entry["actor"], &entry["actorAccountId"]), (&json!("operator"), &Value::Null));
    }
}

#[tokio::test]
async fn an_operator_is_told_that_a_store_has_no_account_yet() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(&config(&folder), Clock::system()).await.unwrap();
    assert!(matches!(reset_api_token(&store, "admin").await, Err(OperatorError::NoAccount)));
    assert!(matches!(reset_api_token(&store, " ").await, Err(OperatorError::Refused(_))));
}
