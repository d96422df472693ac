//! Log shipping tokens: every row of the contract, and every refusal.

use super::*;

const DEFAULT: &str = "/v1/log-shipping/tokens/1000000";

#[tokio::test]
async fn a_created_token_is_enabled_and_complete() {
    let running = Running::start(Plan::Pro).await;
    let created = running.admin().post(TOKENS, r#"{"name":" apac prod "}"#).await;
    assert_eq!(created.status, 201);
    let token = created.json.as_object().unwrap();
    let mut keys: Vec<_> = token.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["createdAt", "createdBy", "enabled", "id", "name", "token", "updatedAt", "updatedBy"]);
    assert_eq!(token["name"], "apac prod");
    assert_eq!(token["id"], 1_000_001);
    assert_eq!(token["enabled"], true);
    assert_eq!(token["createdBy"], "api-token:admin");
    assert!(token["createdAt"].is_f64() && token["createdAt"].as_f64().unwrap() > 1.7e9);
    let secret = token["token"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let shown = running.admin().get("/v1/log-shipping/tokens/1000001").await;
    assert_eq!((shown.status, shown.json), (200, created.json));
}

#[tokio::test]
async fn enabled_is_a_bool_or_a_text() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    for (n, (enabled, expect)) in
        [("true", true), ("false", false), (r#""true""#, true), (r#""false""#, false), ("null", true)]
            .into_iter()
            .enumerate()
    {
        let created = admin.post(TOKENS, format!(r#"{{"name":"{n}","enabled":{enabled}}}"#)).await;
        assert_eq!((created.status, &created.json["enabled"]), (201, &Value::from(expect)), "{enabled}");
        let path = format!("{TOKENS}/{}", created.id());
        for (enabled, expect) in [("\"false\"", false), ("true", true), ("false", false), ("\"TRUE\"", true)]
        {
            let updated = admin.put(&path, format!(r#"{{"name":"{n}","enabled":{enabled}}}"#)).await;
            assert_eq!((updated.status, &updated.json["enabled"]), (200, &Value::from(expect)), "{enabled}");
        }
    }
    for enabled in ["1", r#""yes""#, "[]", "{}"] {
        let refused = admin.post(TOKENS, format!(r#"{{"name":"n","enabled":{enabled}}}"#)).await;
        assert_eq!((refused.status, refused.code()), (400, "Request/MALFORMED"), "{enabled}");
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let path = admin.create("old").await;
    let before = admin.get(&path).await.json;
    let renamed = admin.put(&path, r#"{"name":"new"}"#).await;
    assert_eq!(
        (renamed.status, &renamed.json["name"], &renamed.json["enabled"]),
        (200, &"new".into(), &true.into())
    );
    assert_eq!(renamed.json["token"], before["token"]);
    let disabled = admin.put(&path, r#"{"enabled":false,"id":5,"unheard-of":[1]}"#).await;
    assert_eq!(
        (disabled.status, &disabled.json["name"], &disabled.json["enabled"]),
        (200, &"new".into(), &false.into())
    );
    assert_eq!(admin.get(&path).await.json, disabled.json);
}

#[tokio::test]
async fn a_deleted_token_is_shown_once_more_and_gone() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let path = admin.create("short-lived").await;
    let deleted = admin.delete(&path).await;
    assert_eq!((deleted.status, &deleted.json["name"]), (200, &"short-lived".into()));
    for gone in [admin.get(&path).await, admin.delete(&path).await, admin.put(&path, r#"{"name":"n"}"#).await]
    {
        assert_eq!((gone.status, gone.code()), (404, "LogShippingTokens/NOT_FOUND"));
    }
}

#[tokio::test]
async fn unknown_ids_are_404() {
    let running = Running::start(Plan::Pro).await;
    for id in ["123", "123456", "0", "-1", "abc", "99999999999999999999", "%ff", "1000000x"] {
        let answer = running.admin().get(&format!("{TOKENS}/{id}")).await;
        assert_eq!((answer.status, answer.code()), (404, "LogShippingTokens/NOT_FOUND"), "{id}");
    }
}

#[tokio::test]
async fn every_refusal_is_a_400_that_says_why() {
    let running = Running::start(Plan::Community).await;
    let admin = running.admin();
    let spare = admin.post(TOKENS, r#"{"name":"spare","enabled":false}"#).await.id();
    let spare = format!("{TOKENS}/{spare}");
    let long = format!(r#"{{"name":"{}"}}"#, "n".repeat(101));
    for (method, path, body, code) in [
        ("POST", TOKENS, r#"{"name":""}"#, "LogShippingTokens/NAME_EMPTY"),
        ("POST", TOKENS, r#"{"name":"  "}"#, "LogShippingTokens/NAME_EMPTY"),
        ("POST", TOKENS, r#"{"name":"a\nb"}"#, "LogShippingTokens/NAME_MALFORMED"),
        ("POST", TOKENS, &long, "LogShippingTokens/NAME_TOO_LONG"),
        ("POST", TOKENS, r#"{"name":" default","enabled":false}"#, "LogShippingTokens/NAME_TAKEN"),
        ("POST", TOKENS, r#"{"name":"second"}"#, "LogShippingTokens/LIMIT_REACHED"),
        ("POST", TOKENS, r#"{}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":7}"#, "Request/MALFORMED"),
        ("POST", TOKENS, r#"{"name":"#, "Request/MALFORMED"),
        ("POST", TOKENS, "", "Request/MALFORMED"),
        ("POST", TOKENS, r#"["an array", true]"#, "Request/MALFORMED"),
        ("PUT", &spare, r#"{"enabled":true}"#, "LogShippingTokens/LIMIT_REACHED"),
        ("PUT", &spare, r#"{"name":"default"}"#, "LogShippingTokens/NAME_TAKEN"),
        ("PUT", &spare, r#"{"name":""}"#, "LogShippingTokens/NAME_EMPTY"),
        ("PUT", &spare, "nonsense", "Request/MALFORMED"),
        ("PUT", DEFAULT, r#"{"name":"default","enabled":"false"}"#, "LogShippingTokens/LAST_ENABLED_TOKEN"),
        ("DELETE", DEFAULT, "", "LogShippingTokens/LAST_ENABLED_TOKEN"),
    ] {
        let answer = admin.send(method, path, body).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{method} {body}");
        let request_id = answer.json["requestId"].as_str().unwrap();
        assert!(uuid::Uuid::parse_str(request_id).is_ok(), "{answer:?}");
        assert!(answer.json["parameters"].is_object(), "{answer:?}");
    }
    admin.delete(&spare).await;
    for answer in [admin.delete(DEFAULT).await, admin.put(DEFAULT, r#"{"enabled":false}"#).await] {
        assert_eq!((answer.status, answer.code()), (400, "LogShippingTokens/SOLE_TOKEN"));
    }
    assert_eq!(
        admin.get(&format!("{TOKENS}/limits")).await.json,
        serde_json::json!({
            "maxAllowedTokens": 1, "numOfEnabledTokens": 1
        })
    );
}

#[tokio::test]
async fn the_limit_is_told_with_its_number() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    for n in 2..=15 {
        admin.create(&n.to_string()).await;
    }
    let refused = admin.post(TOKENS, r#"{"name":"one too many"}"#).await;
    assert_eq!((refused.status, refused.code()), (400, "LogShippingTokens/LIMIT_REACHED"));
    assert_eq!(refused.json["parameters"]["maxAllowedTokens"], 15);
    let limits = admin.get(&format!("{TOKENS}/limits")).await.json;
    assert_eq!(limits, serde_json::json!({ "maxAllowedTokens": 15, "numOfEnabledTokens": 15 }));
}

#[tokio::test]
async fn searches() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    admin.create("b").await;
    admin.create("a").await;
    admin.post(TOKENS, r#"{"name":"c","enabled":false}"#).await;
    let path = format!("{TOKENS}/search");
    for (body, total, names) in [
        ("{}", 4, "default b a c"),
        (r#"{"filter":null,"sort":null,"pagination":null}"#, 4, "default b a c"),
        (r#"{"filter":{},"sort":[]}"#, 4, "default b a c"),
        (r#"{"filter":{"enabled":true}}"#, 3, "default b a"),
        (r#"{"filter":{"enabled":"false"}}"#, 1, "c"),
        (r#"{"sort":[{"field":"name","descending":false}]}"#, 4, "a b c default"),
        (r#"{"sort":[{"field":"NAME","descending":"true"}]}"#, 4, "default c b a"),
        (r#"{"sort":[{"field":"createdAt","descending":true}]}"#, 4, "c a b default"),
        (r#"{"sort":[{"field":"CREATED_AT"},{"field":"name"}]}"#, 4, "default b a c"),
        (r#"{"pagination":{"pageNumber":2,"pageSize":3}}"#, 4, "c"),
        (r#"{"pagination":{"pageNumber":3,"pageSize":3}}"#, 4, ""),
        (r#"{"pagination":{"pageNumber":4294967295,"pageSize":1000}}"#, 4, ""),
        (r#"{"pagination":{"pageSize":1}}"#, 4, "default"),
    ] {
        let found = admin.post(&path, body).await;
        assert_eq!(found.status, 200, "{body}: {found:?}");
        let results = found.json["results"].as_array().unwrap();
        let found_names: Vec<_> = results.iter().map(|token| token["name"].as_str().unwrap()).collect();
        assert_eq!(
            (found.json["total"].as_u64(), found_names.join(" ").as_str()),
            (Some(total), names),
            "{body}"
        );
    }
    let found = admin.post(&path, r#"{"pagination":{"pageNumber":2,"pageSize":3}}"#).await;
    assert_eq!(found.json["pagination"], serde_json::json!({ "pageNumber": 2, "pageSize": 3 }));
    let found = admin.post(&path, "{}").await;
    assert_eq!(found.json["pagination"], serde_json::json!({ "pageNumber": 1, "pageSize": 25 }));
    for body in [
        r#"{"pagination":{"pageNumber":0,"pageSize":25}}"#,
        r#"{"pagination":{"pageNumber":1,"pageSize":0}}"#,
        r#"{"pagination":{"pageNumber":1,"pageSize":1001}}"#,
        r#"{"pagination":{"pageNumber":-1,"pageSize":25}}"#,
        r#"{"sort":[{"field":"token"}]}"#,
        r#"{"sort":{"field":"name"}}"#,
        r#"{"filter":{"enabled":"maybe"}}"#,
    ] {
        let refused = admin.post(&path, body).await;
        assert_eq!((refused.status, refused.code()), (400, "Request/MALFORMED"), "{body}");
    }
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let running = Running::start(Plan::Pro).await;
    let path = running.admin().create("kept").await;
    let before = running.admin().get(&path).await.json;
    let running = running.restart().await;
    assert_eq!(running.admin().get(&path).await.json, before);
    let again = Bootstrap {
        account_name: "other".to_owned(),
        plan: Plan::Community,
        api_token: None,
        shipping_token: None,
    };
    assert!(
        bootstrap(&running.store, again).await.unwrap().is_none(),
        "only the first start makes an account"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_admins_get_answers_and_never_too_many_tokens() {
    for (plan, max) in [(Plan::Community, 1), (Plan::Pro, 15)] {
        let running = Running::start(plan).await;
        let mut admins = tokio::task::JoinSet::new();
        for number in 0..32_u64 {
            let admin = running.admin();
            admins.spawn(async move {
                for step in 0..6 {
                    let any = format!("{TOKENS}/{}", 1_000_000 + (number * 7 + step * 5) % 24);
                    let answer = match (number + step) % 4 {
                        0 => admin.post(TOKENS, format!(r#"{{"name":"{number} {step}"}}"#)).await,
                        1 => admin.put(&any, r#"{"enabled":"true"}"#).await,
                        2 => admin.put(&any, r#"{"enabled":false}"#).await,
                        _ => admin.delete(&any).await,
                    };
                    assert!([200, 201, 400, 404].contains(&answer.status), "{answer:?}");
                    let limits = admin.get(&format!("{TOKENS}/limits")).await.json;
                    let enabled = limits["numOfEnabledTokens"].as_u64().unwrap();
                    assert!((1..=max).contains(&enabled), "{enabled} enabled");
                }
            });
        }
        admins.join_all().await;
    }
}

#[tokio::test]
async fn a_misspelt_field_is_not_a_200_that_does_nothing() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let token = admin.create("spare").await;
    let search = format!("{TOKENS}/search");
    for (method, path, body, told) in [
        ("PUT", &token, r#"{"enable":false}"#, "name, enabled, expiresAt"),
        ("PUT", &token, "{}", "name, enabled, expiresAt"),
        ("PUT", &token, r#"{"name":null,"Enabled":false}"#, "name, enabled, expiresAt"),
        ("POST", &search, r#"{"filters":{"enabled":true}}"#, "filter, sort and pagination"),
        ("POST", &search, r#"{"filter":{"enable":true}}"#, "enabled"),
        ("POST", &search, r#"{"pagination":{"page":2}}"#, "pageNumber and pageSize"),
        ("POST", &search, r#"{"filter":[true]}"#, "expected a JSON object"),
        ("POST", &search, r#"{"sort":[["name",true]]}"#, "expected a JSON object"),
        ("POST", &search, r#"{"pagination":[2,1]}"#, "expected a JSON object"),
        ("POST", &search, "[]", "expected a JSON object"),
    ] {
        let refused = admin.send(method, path, body).await;
        assert_eq!((refused.status, refused.code()), (400, "Request/MALFORMED"), "{method} {body}");
        assert!(refused.json["message"].as_str().unwrap().contains(told), "{body}: {refused:?}");
    }
    // What published clients send beside what is known.
    for (method, path, body) in [
        ("PUT", &token, r#"{"enabled":false,"id":7,"token":"x"}"#),
        ("POST", &search, r#"{"filter":{"enabled":true,"x":1},"pagination":{"pageSize":5,"y":[]},"z":{}}"#),
        ("POST", &search, "{}"),
    ] {
        assert_eq!(admin.send(method, path, body).await.status, 200, "{method} {body}");
    }
}

#[tokio::test]
async fn a_refusal_does_not_advise_what_the_plan_forbids() {
    for (plan, sole, last) in [
        (Plan::Community, "rotate it; a larger plan allows more", "rotate it; a larger plan allows more"),
        (Plan::Pro, "create another one first", "enable another one first"),
    ] {
        let running = Running::start(plan).await;
        let admin = running.admin();
        let told = async || admin.delete(DEFAULT).await.json["message"].as_str().unwrap().to_owned();
        let text = told().await;
        assert!(text.contains("only log shipping token") && text.ends_with(sole), "{text}");
        admin.post(TOKENS, r#"{"name":"spare","enabled":false}"#).await;
        let text = told().await;
        assert!(text.contains("last enabled") && text.ends_with(last), "{text}");
    }
}
