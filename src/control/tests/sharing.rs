//! Shared tokens and filters by the API.

use super::*;
use serde_json::json;

const SHARED: &str = "/v1/shared-tokens";
const FILTERS: &str = "/v1/shared-tokens/filters";

impl Running {
    /// Somebody who was given this shared token.
    fn recipient(&self, token: &str) -> Api {
        Api { headers: vec![("X-Shared-Token", token.to_owned())], ..self.with("") }
    }
}

impl Api {
    async fn filter(&self, field: &str, value: &str) -> u64 {
        let body = json!({ "field": field, "value": value, "description": "" }).to_string();
        let created = self.post(FILTERS, body).await;
        assert_eq!(created.status, 200, "{created:?}");
        created.id()
    }

    /// Creates a shared token: its path and its secret.
    async fn shared(&self, body: Value) -> (String, String) {
        let created = self.post(SHARED, body.to_string()).await;
        assert_eq!(created.status, 200, "{created:?}");
        (format!("{SHARED}/{}", created.id()), created.json["token"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn a_shared_token_lives_as_the_contract_says() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    assert_eq!(admin.get(SHARED).await.json, json!([]));
    let filter = admin.post(FILTERS, r#"{"field":"env","value":"test","description":"tests"}"#).await;
    assert_eq!(
        (filter.status, filter.json),
        (200, json!({ "id": 1_000_000, "field": "env", "value": "test", "description": "tests" }))
    );
    let created = admin.post(SHARED, r#"{"tokenName":"Snapshotting token","filters":[1000000]}"#).await;
    let token = created.json["token"].as_str().unwrap().to_owned();
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");
    let mut object = json!({
        "id": 1_000_000, "name": "Snapshotting token", "token": token, "filters": [1_000_000], "lastUsed": null,
        "expirationDate": null, "filtersOperator": "AND", "views": 0, "suspended": false, "queryBar": true,
    });
    assert_eq!((created.status, &created.json), (200, &object));
    let path = format!("{SHARED}/1000000");
    for shown in [admin.get(&path).await.json, admin.get(SHARED).await.json[0].clone()] {
        assert_eq!(shown, object);
    }
    let updated = admin.put(&path, r#"{"filters":[],"filtersOperator":"OR"}"#).await;
    (object["filters"], object["filtersOperator"]) = (json!(null), json!("OR"));
    object["warning"] = json!("It has no filters: whoever has its link reads all of the account's logs");
    assert_eq!((updated.status, &updated.json), (200, &object));
    let back = admin.put(&path, object.to_string()).await;
    assert_eq!((back.status, &back.json), (200, &object), "as it was read");
    let changed = json!({ "name": "x", "expirationDate": 4_000_000_000.5, "queryBar": false, "filters": [1_000_000, 1_000_000] });
    let changed = admin.put(&path, changed.to_string()).await.json;
    assert_eq!(changed["expirationDate"], 4_000_000_000.5);
    assert_eq!((&changed["name"], &changed["queryBar"]), (&json!("x"), &json!(false)));
    assert_eq!(changed["filters"], json!([1_000_000]), "each once");
    let lasts = admin.put(&path, r#"{"expirationDate":null}"#).await.json;
    assert_eq!((&lasts["expirationDate"], &lasts["filters"]), (&json!(null), &json!([1_000_000])));
    let deleted = admin.delete(&path).await;
    assert_eq!((deleted.status, deleted.json), (204, Value::Null));
    assert_eq!(admin.delete(&path).await.status, 400);
    let filter = admin.get(&format!("{FILTERS}/1000000")).await;
    let deleted = admin.delete(&format!("{FILTERS}/1000000")).await;
    let mut object = filter.json;
    object["sharedTokens"] = json!([]);
    assert_eq!((deleted.status, &deleted.json), (200, &object));
    assert_eq!(admin.get(FILTERS).await.json, json!([]));
}

#[tokio::test]
async fn a_token_that_shares_everything_is_warned_of() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let filter = admin.filter("env", "test").await;
    let made = admin.post(SHARED, json!({ "tokenName": "open" }).to_string()).await.json;
    assert!(made["warning"].as_str().unwrap().contains("all of the account's logs"), "{made}");
    let (path, _) = admin.shared(json!({ "tokenName": "narrow", "filters": [filter] })).await;
    assert!(admin.get(&path).await.json.get("warning").is_none());
    admin.delete(&format!("{FILTERS}/{filter}")).await;
    let suspended = admin.get(&path).await.json;
    assert!(
        suspended.get("warning").is_none() && suspended["suspended"] == true,
        "it shares nothing: {suspended}"
    );
}

#[tokio::test]
async fn the_deletion_of_a_filter_names_the_shared_tokens_that_show_something_else() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let (env, team) = (admin.filter("env", "test").await, admin.filter("team", "a").await);
    for (name, filters, operator) in [
        ("both", json!([env, team]), "AND"),
        ("either", json!([env, team]), "OR"),
        ("last", json!([env]), "AND"),
        ("other", json!([team]), "AND"),
        ("open", json!([]), "AND"),
    ] {
        admin.shared(json!({ "name": name, "filters": filters, "filtersOperator": operator })).await;
    }
    let deleted = admin.delete(&format!("{FILTERS}/{env}")).await.json;
    let expect = json!([
        { "id": 1_000_000, "name": "both", "shows": "more" },
        { "id": 1_000_001, "name": "either", "shows": "less" },
        { "id": 1_000_002, "name": "last", "shows": "nothing" },
    ]);
    assert_eq!((&deleted["field"], &deleted["sharedTokens"]), (&json!("env"), &expect));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_400_and_a_reason() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let filter = admin.filter("env", "test").await;
    let (path, _) = admin.shared(json!({ "name": "one" })).await;
    let (account, long) = (running.first.account.0, "x".repeat(1_001));
    let not_found = |what: &str, id: &str| format!("{what} with id {id} not found for account {account}");
    for (method, path, body, code, message) in [
        ("GET", format!("{SHARED}/12345"), json!({}), "SharedTokens/NOT_FOUND", not_found("token", "12345")),
        ("GET", format!("{SHARED}/abc"), json!({}), "SharedTokens/NOT_FOUND", not_found("token", "abc")),
        ("PUT", format!("{SHARED}/12345"), json!({}), "SharedTokens/NOT_FOUND", not_found("token", "12345")),
        (
            "DELETE",
            format!("{SHARED}/99999999999"),
            json!({}),
            "SharedTokens/NOT_FOUND",
            not_found("token", "99999999999"),
        ),
        ("GET", format!("{FILTERS}/12345"), json!({}), "Filters/NOT_FOUND", not_found("filter", "12345")),
        ("DELETE", format!("{FILTERS}/12345"), json!({}), "Filters/NOT_FOUND", not_found("filter", "12345")),
        (
            "POST",
            SHARED.to_owned(),
            json!({ "name": "x", "filters": [filter, 12345] }),
            "SharedTokens/FILTER_NOT_FOUND",
            not_found("filter", "12345"),
        ),
        (
            "PUT",
            path.clone(),
            json!({ "filters": [12345] }),
            "SharedTokens/FILTER_NOT_FOUND",
            not_found("filter", "12345"),
        ),
        ("POST", SHARED.to_owned(), json!({ "name": "one" }), "SharedTokens/NAME_TAKEN", String::new()),
        ("POST", SHARED.to_owned(), json!({ "name": " " }), "SharedTokens/NAME_EMPTY", String::new()),
        (
            "POST",
            SHARED.to_owned(),
            json!({ "name": "x", "expirationDate": 1_000 }),
            "SharedTokens/EXPIRATION_DATE",
            String::new(),
        ),
        (
            "PUT",
            path.clone(),
            json!({ "expirationDate": 1_000 }),
            "SharedTokens/EXPIRATION_DATE",
            String::new(),
        ),
        (
            "POST",
            SHARED.to_owned(),
            json!({ "name": "x", "filter": [filter] }),
            "Request/MALFORMED",
            String::new(),
        ),
        (
            "POST",
            SHARED.to_owned(),
            json!({ "name": "x", "filtersOperator": "XOR" }),
            "Request/MALFORMED",
            String::new(),
        ),
        (
            "PUT",
            path.clone(),
            json!({ "filter": [filter], "queryBar": true }),
            "Request/MALFORMED",
            String::new(),
        ),
        ("POST", FILTERS.to_owned(), json!({ "field": "env" }), "Request/MALFORMED", String::new()),
        ("POST", FILTERS.to_owned(), json!({ "field": "", "value": "x" }), "Filters/FIELD", String::new()),
        ("POST", FILTERS.to_owned(), json!({ "field": "env", "value": "" }), "Filters/VALUE", String::new()),
        (
            "POST",
            FILTERS.to_owned(),
            json!({ "field": "env", "value": long }),
            "Filters/VALUE",
            String::new(),
        ),
        (
            "POST",
            FILTERS.to_owned(),
            json!({ "field": "env", "value": "a\nb" }),
            "Filters/VALUE",
            String::new(),
        ),
        (
            "POST",
            FILTERS.to_owned(),
            json!({ "field": "env", "value": "test" }),
            "Filters/FILTER_TAKEN",
            String::new(),
        ),
    ] {
        let answer = admin.send(method, &path, &body.to_string()).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{method} {path} {body}");
        if !message.is_empty() {
            assert_eq!(answer.json["message"], message, "{method} {path} {body}");
        }
    }
    assert_eq!(admin.get(SHARED).await.json.as_array().unwrap().len(), 1);
    assert_eq!(admin.get(FILTERS).await.json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_recipient_learns_what_is_shared_and_is_counted() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let filter = admin.filter("env", "test").await;
    let (path, token) = admin.shared(json!({ "name": "one", "filters": [filter] })).await;
    let shown = running.recipient(&token).get("/v1/share").await;
    let mut expect = json!({
        "accountName": "main", "name": "one", "expirationDate": null, "filtersOperator": "AND", "queryBar": true,
        "filters": [{ "field": "env", "value": "test" }], "suspended": false,
    });
    assert_eq!((shown.status, &shown.json), (200, &expect));
    let by_link = running.stranger().get(&format!("/v1/share?embed=true&shareToken={token}")).await;
    assert_eq!((by_link.status, &by_link.json), (200, &expect));
    let object = admin.get(&path).await.json;
    assert_eq!(object["views"], 2);
    assert!(object["lastUsed"].as_f64().unwrap() > 1.7e9, "{object}");
    admin.delete(&format!("{FILTERS}/{filter}")).await;
    (expect["filters"], expect["suspended"]) = (json!([]), json!(true));
    let mut shown = running.recipient(&token).get("/v1/share").await.json;
    let notice = shown.as_object_mut().unwrap().remove("notice").unwrap();
    assert_eq!((&shown, notice.as_str().unwrap().contains("shows nothing")), (&expect, true), "{notice}");
    let object = admin.get(&path).await.json;
    assert_eq!((&object["suspended"], &object["filters"]), (&json!(true), &json!(null)));
    let back = admin.put(&path, object.to_string()).await.json;
    assert_eq!(back["suspended"], true, "sending it back as it was read shares nothing");
    admin.put(&path, r#"{"filters":[]}"#).await;
    (expect["filters"], expect["suspended"]) = (json!(null), json!(false));
    assert_eq!(running.recipient(&token).get("/v1/share").await.json, expect);
    let running = running.restart().await;
    assert_eq!(running.admin().get(&path).await.json["views"], 4, "written down at the end");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_shared_token_has_one_answer() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let (path, deleted) = admin.shared(json!({ "name": "deleted" })).await;
    admin.delete(&path).await;
    let soon = running.store.unix_ms() as f64 / 1_000.0 + 0.2;
    let (_, expired) = admin.shared(json!({ "name": "expired", "expirationDate": soon })).await;
    while running.store.unix_ms() as f64 / 1_000.0 <= soon {
        tokio::task::yield_now().await;
    }
    let (_, valid) = admin.shared(json!({ "name": "valid" })).await;
    let mut answers = vec![];
    let api = running.first.api_token.expose().to_owned();
    let shipping = running.first.shipping_token.expose().to_owned();
    for token in ["", "wrong-wrong-wrong-wrong", "ü", &deleted, &expired, &api, &shipping, CREDENTIAL] {
        answers.push(running.recipient(token).get("/v1/share").await);
    }
    answers.push(running.stranger().get("/v1/share").await);
    answers.push(admin.get("/v1/share").await);
    answers.push(running.stranger().get(&format!("/v1/share?shareToken={deleted}")).await);
    // The header is looked at first.
    answers.push(running.recipient("wrong").get(&format!("/v1/share?shareToken={valid}")).await);
    for answer in &mut answers {
        answer.json["requestId"] = Value::Null;
        let expect = json!({
            "code": 401, "errorCode": "SharedTokens/NOT_VALID", "requestId": null, "parameters": {},
            "message": "This shared token is not valid, or not any more",
        });
        assert_eq!((answer.status, &answer.json), (401, &expect));
    }
}

#[tokio::test]
async fn an_account_sees_and_uses_its_own_shared_tokens_and_filters_only() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let sub = admin.post(ACCOUNTS, r#"{"accountName":"sub"}"#).await.json;
    let sub = running.with(sub["apiToken"].as_str().unwrap());
    let filter = admin.filter("env", "test").await;
    let (path, _) = admin.shared(json!({ "name": "one", "filters": [filter] })).await;
    assert_eq!((sub.get(SHARED).await.json, sub.get(FILTERS).await.json), (json!([]), json!([])));
    for (method, path, body) in [
        ("GET", path.clone(), json!({})),
        ("PUT", path.clone(), json!({ "filters": [] })),
        ("DELETE", path.clone(), json!({})),
        ("GET", format!("{FILTERS}/{filter}"), json!({})),
        ("DELETE", format!("{FILTERS}/{filter}"), json!({})),
        ("POST", SHARED.to_owned(), json!({ "name": "one", "filters": [filter] })),
    ] {
        assert_eq!(sub.send(method, &path, &body.to_string()).await.status, 400, "{method} {path}");
    }
    assert_eq!(admin.get(&path).await.json["filters"], json!([filter]));
}
