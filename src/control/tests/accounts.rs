//! Accounts, the audit trail, and the first start.

use super::*;
use crate::control::operator::set_plan;
use crate::domain::token::{ApiToken, ShippingToken};
use serde_json::json;

#[tokio::test]
async fn says_whose_token_it_is() {
    let running = Running::start(Plan::Pro).await;
    for path in ["/v1/whoami", "/v2/whoami"] {
        let answer = running.admin().get(path).await;
        assert_eq!((answer.status, answer.json), (200, json!({ "accountName": "main", "accountId": 1000 })));
    }
}

#[tokio::test]
async fn settings_show_the_default_token() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let settings = || admin.get("/v1/account-management/settings");
    let shown = settings().await.json;
    assert_eq!((&shown["plan"], &shown["retentionDays"]), (&"pro".into(), &7.into()));
    assert_eq!(shown["defaultToken"]["name"], "default");
    assert_eq!(shown["defaultToken"]["token"], running.first.shipping_token.expose());
    assert_eq!(shown["listener"], json!({ "http": null, "https": null }), "no gateway is known");
    admin.create("heir").await;
    admin.delete(&format!("{TOKENS}/1000000")).await;
    assert_eq!(settings().await.json["defaultToken"]["name"], "heir");
}

#[tokio::test]
async fn a_main_account_creates_and_changes_sub_accounts() {
    let running = Running::start(Plan::Community).await;
    let admin = running.admin();
    let created = admin.post(ACCOUNTS, r#"{"accountName":"team","retentionDays":3}"#).await;
    assert_eq!((created.status, &created.json["accountId"]), (200, &1001.into()));
    let sub = running.with(created.json["apiToken"].as_str().unwrap());
    assert_eq!(sub.get("/v2/whoami").await.json["accountName"], "team");
    let settings = sub.get("/v1/account-management/settings").await.json;
    assert_eq!(settings["defaultToken"]["token"], created.json["accountToken"]);
    assert_eq!(
        (&settings["defaultToken"]["name"], &settings["defaultToken"]["enabled"]),
        (&"default".into(), &true.into())
    );
    assert_eq!(settings["plan"], "community");

    let path = format!("{ACCOUNTS}/1001");
    let change = r#"{"accountName":"crew","retentionBytesMax":5000,"ingestBytesPerSecondMax":100,"durability":"written"}"#;
    let changed = admin.put(&path, change).await;
    let created_at = changed.json["createdAt"].clone();
    let expect = json!({
        "accountId": 1001, "accountName": "crew", "parentAccountId": 1000, "plan": "community", "retentionDays": 3,
        "retentionBytesMax": 5000, "ingestBytesPerSecondMax": 100, "durability": "written", "createdAt": created_at,
    });
    assert_eq!((changed.status, &changed.json), (200, &expect));
    assert_eq!(admin.get(&path).await.json, expect);
    let cleared = admin.put(&path, r#"{"retentionBytesMax":null,"durability":null}"#).await.json;
    assert_eq!((&cleared["retentionBytesMax"], &cleared["durability"]), (&Value::Null, &Value::Null));
    assert_eq!(cleared["ingestBytesPerSecondMax"], 100);

    let list = admin.get(ACCOUNTS).await;
    let names: Vec<_> = list.json.as_array().unwrap().iter().map(|account| &account["accountName"]).collect();
    assert_eq!(list.status, 200);
    assert_eq!(names, ["main", "crew"]);
}

#[tokio::test]
async fn impossible_accounts_are_refused() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    for (body, code) in [
        (r#"{"accountName":""}"#, "Accounts/NAME_EMPTY"),
        (r#"{"accountName":"main"}"#, "Accounts/NAME_TAKEN"),
        (r#"{"accountName":"a","retentionDays":0}"#, "Accounts/RETENTION_DAYS"),
        (r#"{"accountName":"a","retentionDays":3651}"#, "Accounts/RETENTION_DAYS"),
        (r#"{"accountName":"a","retentionBytesMax":0}"#, "Accounts/BYTES"),
        (r#"{"accountName":"a","ingestBytesPerSecondMax":18446744073709551615}"#, "Accounts/BYTES"),
        (r#"{"accountName":"a","durability":"delivered"}"#, "Request/MALFORMED"),
        (r#"{"accountName":"a","retentionDays":"7"}"#, "Request/MALFORMED"),
        (r#"{}"#, "Request/MALFORMED"),
    ] {
        let refused = admin.post(ACCOUNTS, body).await;
        assert_eq!((refused.status, refused.code()), (400, code), "{body}");
    }
    for id in ["1001", "0", "x"] {
        let answer = admin.get(&format!("{ACCOUNTS}/{id}")).await;
        assert_eq!((answer.status, answer.code()), (404, "Accounts/NOT_FOUND"), "{id}");
    }
}

#[tokio::test]
async fn a_sub_account_manages_itself_and_nothing_else() {
    let running = Running::start(Plan::Pro).await;
    let created = running.admin().post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(created.json["apiToken"].as_str().unwrap());
    let path = sub.create("its own").await;
    assert_eq!(running.admin().get(&path).await.status, 404, "another account's token");
    assert_eq!(sub.get(&format!("{TOKENS}/1000000")).await.status, 404, "the main account's token");
    assert_eq!(sub.post(&format!("{TOKENS}/search"), "{}").await.json["total"], 2);
    for (method, path) in [
        ("GET", ACCOUNTS.to_owned()),
        ("POST", ACCOUNTS.to_owned()),
        ("GET", format!("{ACCOUNTS}/1001")),
        ("PUT", format!("{ACCOUNTS}/1001")),
    ] {
        assert_eq!(sub.send(method, &path, r#"{"accountName":"x"}"#).await.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn the_trail_pages_from_the_newest_and_shows_sub_accounts_to_the_main_one() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let created = admin.post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(created.json["apiToken"].as_str().unwrap());
    sub.create("theirs").await;
    let newest = admin.get("/v1/audit-trail?limit=1").await.json;
    let entry = &newest["entries"][0];
    assert_eq!((&entry["action"], &entry["accountId"]), (&"shipping-token.create".into(), &1001.into()));
    assert_eq!((&entry["actor"], &entry["actorAccountId"]), (&"api-token:admin".into(), &1001.into()));
    assert_eq!(
        (&entry["before"], &entry["after"]),
        (&Value::Null, &json!({ "name": "theirs", "enabled": true }))
    );
    assert_eq!(entry["sourceAddress"], "127.0.0.1");
    assert!(uuid::Uuid::parse_str(entry["requestId"].as_str().unwrap()).is_ok());

    let whole = admin.get("/v1/audit-trail").await.json;
    assert_eq!(whole["nextCursor"], Value::Null);
    let mut pages = vec![];
    let mut path = "/v1/audit-trail?limit=2".to_owned();
    loop {
        let page = admin.get(&path).await.json;
        pages.extend(page["entries"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_u64() else {
            break;
        };
        path = format!("/v1/audit-trail?limit=2&cursor={cursor}");
    }
    assert_eq!(Value::from(pages), whole["entries"]);
    let theirs = sub.get("/v1/audit-trail").await.json;
    assert!(theirs["entries"].as_array().unwrap().iter().all(|entry| entry["accountId"] == 1001));
    for query in [
        "since=yesterday",
        "who=%FF",
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "cursor=-1",
        "cursor=9223372036854775808",
        "who=%00",
        "what=a%00",
        "token=%1b",
    ] {
        assert_eq!(admin.get(&format!("/v1/audit-trail?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_trail_is_asked_for_who_what_which_token_and_since_when() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let path = admin.create(r#"100% \"eu\" prod"#).await;
    let other = admin.create("100 eu prod").await;
    admin.put(&path, r#"{"name":"renamed"}"#).await;
    admin.put(&other, r#"{"enabled":false}"#).await;
    let id = path.rsplit('/').next().unwrap();
    for (query, expect) in [
        (format!("token={id}"), &["rename", "create"][..]),
        (format!("token={}", &id[..3]), &[]),
        ("token=renamed".to_owned(), &["rename"]),
        ("token=100%25+%22eu%22+prod".to_owned(), &["rename", "create"]),
        ("token=100+eu+prod&what=DISABLE".to_owned(), &["disable"]),
        ("token=100__eu_prod".to_owned(), &[]),
        (format!("what=token:{id}&who=API-token:admin&since=now-1h"), &["rename", "create"]),
        ("what=shipping-token.r".to_owned(), &["rename"]),
        ("who=127.0.0.1&what=shipping-token.c".to_owned(), &["create", "create"]),
        ("who=nobody".to_owned(), &[]),
        ("since=2999-01-01".to_owned(), &[]),
        ("since=now-1d&what=disable&token=&who=".to_owned(), &["disable"]),
    ] {
        let answer = admin.get(&format!("/v1/audit-trail?{query}")).await;
        let entries = answer.json["entries"].as_array().unwrap();
        let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        let expect: Vec<_> = expect.iter().map(|action| format!("shipping-token.{action}")).collect();
        assert_eq!(actions, expect, "{query}");
    }
    // Pages go on within what is looked for.
    let first = admin.get("/v1/audit-trail?what=shipping-token.create&who=admin&limit=1").await.json;
    let cursor = first["nextCursor"].as_u64().unwrap();
    let path = format!("/v1/audit-trail?what=shipping-token.create&who=admin&limit=1&cursor={cursor}");
    let second = admin.get(&path).await.json;
    assert_eq!(second["entries"][0]["action"], "shipping-token.create");
    assert!(second["entries"][0]["id"].as_u64() < first["entries"][0]["id"].as_u64());
}

#[tokio::test]
async fn the_first_start_takes_given_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let store = open_store(&config, Clock::system()).await.unwrap();
    let wanted = Bootstrap {
        account_name: "acme".to_owned(),
        plan: Plan::Enterprise,
        api_token: Some(ApiToken::parse("a-given-api-token").unwrap()),
        shipping_token: Some(ShippingToken::parse("a-given-shipping-token").unwrap()),
    };
    let first = bootstrap(&store, wanted).await.unwrap().unwrap();
    assert_eq!(first.api_token.expose(), "a-given-api-token");
    let running = Running::on(folder, config, store, first).await;
    let settings = running.with("a-given-api-token").get("/v1/account-management/settings").await.json;
    assert_eq!(settings["defaultToken"]["token"], "a-given-shipping-token");
    assert_eq!((&settings["accountName"], &settings["plan"]), (&"acme".into(), &"enterprise".into()));
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name_and_the_plan_with_a_reason() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let main = &*format!("{ACCOUNTS}/1000");
    for (method, path, body, told) in [
        ("PUT", main, r#"{"retentionDays":3,"accountname":"x"}"#, "`accountname`"),
        ("POST", ACCOUNTS, r#"{"accountName":"a","plan":"pro"}"#, "set by the operator"),
        ("PUT", main, r#"{"plan":{"name":"enterprise"}}"#, "set by the operator"),
        ("PUT", main, "{}", "accountName, retentionDays"),
        ("GET", "/v1/audit-trail?limt=1", "", "`limt`"),
    ] {
        let refused = admin.send(method, path, body).await;
        assert_eq!((refused.status, refused.code()), (400, "Request/MALFORMED"), "{method} {body}");
        assert!(refused.json["message"].as_str().unwrap().contains(told), "{body}: {refused:?}");
    }
    let shown = admin.get(main).await.json;
    assert_eq!((&shown["retentionDays"], &shown["plan"]), (&7.into(), &"pro".into()));
    assert_eq!(admin.get(ACCOUNTS).await.json.as_array().unwrap().len(), 1);
    // Clients written for the API that this one is like send much more when they create an account.
    let extra = r#"{"accountName":"a","maxDailyGB":0.1,"searchable":false,"sharingObjectsAccounts":[]}"#;
    assert_eq!(admin.post(ACCOUNTS, extra).await.status, 200);
}

#[tokio::test]
async fn an_operator_sets_the_plan_and_every_account_fits_into_it() {
    let running = Running::start(Plan::Community).await;
    let admin = running.admin();
    let sub = admin.post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(sub.json["apiToken"].as_str().unwrap());
    assert_eq!(set_plan(&running.store, Plan::Enterprise).await.unwrap(), Plan::Community);
    assert_eq!(sub.get(&format!("{TOKENS}/limits")).await.json["maxAllowedTokens"], 15);
    let second = sub.create("second").await;
    let refused = set_plan(&running.store, Plan::Community).await.unwrap_err().to_string();
    assert!(refused.contains(r#"1001 "team" (2)"#) && !refused.contains("1000"), "{refused}");
    assert_eq!(set_plan(&running.store, Plan::Pro).await.unwrap(), Plan::Enterprise);
    sub.put(&second, r#"{"enabled":false}"#).await;
    assert_eq!(set_plan(&running.store, Plan::Community).await.unwrap(), Plan::Pro);
    assert_eq!(
        set_plan(&running.store, Plan::Community).await.unwrap(),
        Plan::Community,
        "no change, no entry"
    );
    let newest = &admin.get("/v1/audit-trail?limit=1").await.json["entries"][0];
    assert_eq!((&newest["action"], &newest["actor"]), (&"account.plan".into(), &"operator".into()));
    assert_eq!(
        (&newest["before"], &newest["after"]),
        (&json!({ "plan": "pro" }), &json!({ "plan": "community" }))
    );
}
