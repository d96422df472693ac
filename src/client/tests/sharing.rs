//! Whom logs are shared with, and who looks at them.

use super::*;

#[tokio::test]
async fn logs_are_shared_from_the_command_line() {
    let server = Server::start().await;
    let filter = server.run(&["filter", "create", "env", "test", "--description", "tests"]).await.unwrap();
    assert!(filter.starts_with("ID ") && filter.ends_with("1000000  env    test   tests"), "{filter}");
    server.run(&["filter", "create", "team", "a=b"]).await.unwrap();
    let line =
        "shared-token create partner --filter env=test --filter 1000001 --operator or --expires-in 30d";
    let created = server.run(&line.split(' ').collect::<Vec<_>>()).await.unwrap();
    let url = server.url.trim_end_matches('/');
    assert!(created.contains(&format!("{url}/?embed=true&shareToken=")), "{created}");
    assert!(created.contains("env=test OR team=a=b") && created.contains("#/explore"), "{created}");
    let list = server.json(&["shared-token", "list"]).await;
    assert!(created.contains(list[0]["token"].as_str().unwrap()), "{created}");
    let line = "shared-token set partner --operator and --no-expiry --query-bar no --name friend";
    let set = server.json(&line.split(' ').collect::<Vec<_>>()).await;
    let got = ["name", "filtersOperator", "expirationDate", "queryBar"].map(|key| set[key].clone());
    assert_eq!(got, ["friend".into(), "AND".into(), Value::Null, false.into()]);
    let deleted = server.run(&["filter", "delete", "env=test"]).await.unwrap();
    let more = "1000000 \"friend\" lost it, and shares more: what its other filters let through";
    assert_eq!(deleted, format!("deleted: 1000000 env=test\n{more}"));
    let deleted = server.run(&["filter", "delete", "1000001"]).await.unwrap();
    assert!(deleted.ends_with("it shares nothing until its filters are set again"), "{deleted}");
    let list = server.run(&["shared-token", "list"]).await.unwrap();
    assert!(list.contains("nothing (suspended)"), "{list}");
    let set = server.run(&["shared-token", "set", "friend", "--no-filters"]).await.unwrap();
    assert!(
        set.contains("everything")
            && set.ends_with(
                "\nwarning: It has no filters: whoever has its link reads all of the account's logs"
            ),
        "{set}"
    );
    let (code, text) = told(server.run(&["shared-token", "set", "friend", "--filter", "env=test"]).await);
    assert!(code == 1 && text.contains("`shipgate filter list`"), "{text}");
    let (code, text) = told(server.run(&["shared-token", "set", "friend"]).await);
    assert!(code == 2 && text.contains("nothing to change"), "{text}");
    let deleted = server.run(&["shared-token", "delete", "friend"]).await.unwrap();
    assert_eq!(deleted, "deleted: 1000000 \"friend\"");
    let (code, text) = told(server.run(&["shared-token", "delete", "friend"]).await);
    assert!(code == 1 && text.contains("`shipgate shared-token list`"), "{text}");
}

#[test]
fn what_has_expired_says_so() {
    let token = |expires: f64| serde_json::json!({ "id": 1, "name": "partner", "token": "t", "expirationDate": expires });
    let shown = |expires: f64| table::shared_tokens(&token(expires), &[], "http://h");
    assert!(
        shown(1_700_000_000.0).contains("  expired 2023-11-14T22:13:20.000Z  "),
        "{}",
        shown(1_700_000_000.0)
    );
    assert!(
        shown(4_102_444_800.0).contains("  2100-01-01T00:00:00.000Z  ")
            && !shown(4_102_444_800.0).contains("expired")
    );
    let shipping =
        table::tokens(&serde_json::json!({ "id": 1, "name": "contractor", "expiresAt": 1_700_000_000.0 }));
    assert!(shipping.ends_with("  expired 2023-11-14T22:13:20.000Z"), "{shipping}");
}

#[tokio::test]
async fn users_are_invited_changed_and_removed() {
    let server = Server::start().await;
    let invited = server.run(&["user", "invite", "Ada@Example.com", "--role", "admin"]).await.unwrap();
    assert!(invited.contains("ada@example.com  admin  invited"), "{invited}");
    let link = |printed: &str| printed.lines().last().unwrap().to_owned();
    assert!(link(&invited).starts_with(&format!("{}#/join?token=", server.url)), "{invited}");
    let again = server.run(&["user", "invite", "ada@example.com"]).await.unwrap();
    assert_ne!(link(&invited), link(&again));
    let set = server
        .run(&["user", "set", "ADA@example.com", "--role", "user", "--suspended", "yes"])
        .await
        .unwrap();
    assert!(set.contains("ada@example.com  user  suspended"), "{set}");
    assert_eq!(server.json(&["user", "list"]).await[0]["role"], "user");
    let nothing = told(server.run(&["user", "set", "1"]).await);
    assert_eq!(nothing.0, 2, "{nothing:?}");
    let unknown = told(server.run(&["user", "remove", "eve@example.com"]).await);
    assert!(unknown.1.contains("`shipgate user list`"), "{unknown:?}");
    assert_eq!(
        server.run(&["user", "remove", "ada@example.com"]).await.unwrap(),
        "removed: 1 ada@example.com"
    );
    assert_eq!(server.json(&["user", "list"]).await, Value::Array(vec![]));
}
