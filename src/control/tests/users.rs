//! Users, invitations and saved views, over the API.

use super::sessions::PASSWORD;
use super::*;
use serde_json::json;

const USERS: &str = "/v1/users";
const VIEWS: &str = "/v1/views";
const SESSION: &str = "/v1/session";

impl Api {
    /// Invites somebody and returns the path of the user and the token of the invitation.
    async fn invite(&self, email: &str, role: &str) -> (String, String) {
        let told = self.call("POST", USERS, json!({ "email": email, "role": role })).await;
        assert_eq!(told.status, 201, "{}", told.json);
        let token = told.json["invitation"]["token"].as_str().unwrap().to_owned();
        (format!("{USERS}/{}", told.json["user"]["id"]), token)
    }
}

impl Running {
    async fn accept(&self, token: &str, password: &str) -> sessions::Told {
        let body = json!({ "token": token, "password": password });
        self.stranger().call("POST", "/v1/invitations/accept", body).await
    }
}

#[tokio::test]
async fn an_invitation_makes_a_user_once_and_until_it_expires() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let told = ada.call("POST", USERS, json!({ "email": "Bob@Example.com", "role": "user" })).await;
    assert_eq!(told.status, 201, "{}", told.json);
    let (user, invitation) = (&told.json["user"], &told.json["invitation"]);
    let expect = json!({
        "id": 2, "email": "bob@example.com", "role": "user", "suspended": false, "state": "invited", "accountId": 1000,
        "createdAt": user["createdAt"], "lastSeen": null,
    });
    assert_eq!(user, &expect);
    let token = invitation["token"].as_str().unwrap();
    assert_eq!(invitation["path"], format!("/#/join?token={token}"));
    assert_eq!(invitation["url"], format!("http://{}/#/join?token={token}", running.address));
    assert!(invitation["expiresAt"].as_f64().unwrap() - user["createdAt"].as_f64().unwrap() > 604_700.0);
    assert_eq!(running.sign_in("bob@example.com", PASSWORD).await.status, 403, "invited is not signed up");

    for (password, code) in [("short", "Sessions/PASSWORD"), ("bob@example.com", "Sessions/PASSWORD")] {
        assert_eq!(running.accept(token, password).await.code(), code);
    }
    let joined = running.accept(token, PASSWORD).await;
    let bob = running.browser(&joined);
    assert_eq!(bob.call("GET", SESSION, Value::Null).await.json["user"]["email"], "bob@example.com");
    let again = running.accept(token, PASSWORD).await;
    assert_eq!((again.status, again.code()), (400, "Sessions/LINK_OVER"));
    let list = ada.call("GET", USERS, Value::Null).await.json;
    assert_eq!((&list[1]["state"], &list[1]["email"]), (&"active".into(), &"bob@example.com".into()));
    assert!(list[1]["lastSeen"].is_number());
    let trail = ada.call("GET", "/v1/audit-trail", Value::Null).await.json;
    let actions = trail["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]);
    // That a sign-in failed is written down when there is time.
    let actions: Vec<_> = actions.filter(|action| **action != "session.refuse").collect();
    assert_eq!(actions[..4], ["session.create", "user.join", "user.invite", "session.create"]);
    assert!(!trail.to_string().contains(token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_works_once_however_many_come() {
    let running = Arc::new(Running::start(Plan::Pro).await);
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let (_, token) = ada.invite("bob@example.com", "user").await;
    let mut comers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (running, token) = (Arc::clone(&running), token.clone());
        comers.spawn(async move { running.accept(&token, &format!("{PASSWORD} {n}")).await.status });
    }
    let mut answers = comers.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers, [vec![200], vec![400; 15]].concat());
}

#[tokio::test]
async fn a_second_invitation_voids_the_first_and_resets_a_password() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let (path, first) = ada.invite("bob@example.com", "user").await;
    let again = ada.call("POST", &format!("{path}/invitation"), Value::Null).await;
    let second = again.json["invitation"]["token"].as_str().unwrap();
    assert_eq!(running.accept(&first, PASSWORD).await.code(), "Sessions/LINK_OVER");
    let bob = running.browser(&running.accept(second, PASSWORD).await);
    let reset = ada.call("POST", &format!("{path}/invitation"), Value::Null).await;
    let third = reset.json["invitation"]["token"].as_str().unwrap();
    assert_eq!(bob.call("GET", SESSION, Value::Null).await.status, 200, "until it is accepted");
    running.accept(third, "remember this one now").await;
    assert_eq!(bob.call("GET", SESSION, Value::Null).await.status, 401);
    assert_eq!(running.sign_in("bob@example.com", PASSWORD).await.status, 403);
    assert_eq!(running.sign_in("bob@example.com", "remember this one now").await.status, 200);
}

#[tokio::test]
async fn who_is_suspended_or_deleted_is_out_at_once() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let (path, token) = ada.invite("bob@example.com", "admin").await;
    let bob = running.browser(&running.accept(&token, PASSWORD).await);
    assert_eq!(bob.call("GET", ACCOUNTS, Value::Null).await.status, 200);
    let suspended = ada.call("PUT", &path, json!({ "suspended": true })).await;
    assert_eq!((suspended.status, &suspended.json["suspended"]), (200, &true.into()));
    assert_eq!(bob.call("GET", ACCOUNTS, Value::Null).await.status, 401);
    let refused = running.sign_in("bob@example.com", PASSWORD).await;
    assert_eq!((refused.status, refused.code()), (403, "Sessions/WRONG_PASSWORD"), "as for anybody");
    ada.call("PUT", &path, json!({ "suspended": false, "role": "user" })).await;
    assert_eq!(bob.call("GET", ACCOUNTS, Value::Null).await.status, 401, "ended is ended");
    let bob = running.browser(&running.sign_in("bob@example.com", PASSWORD).await);
    assert_eq!(bob.call("GET", ACCOUNTS, Value::Null).await.status, 403, "no admin any more");
    assert_eq!(ada.call("DELETE", &path, Value::Null).await.json["email"], "bob@example.com");
    assert_eq!(bob.call("GET", SESSION, Value::Null).await.status, 401);
    assert_eq!(ada.call("GET", USERS, Value::Null).await.json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    ada.invite("bob@example.com", "admin").await;
    for (method, path, body, status, code) in [
        ("POST", USERS, json!({ "email": "ADA@example.com", "role": "user" }), 400, "Users/EMAIL_TAKEN"),
        ("POST", USERS, json!({ "email": "nobody", "role": "user" }), 400, "Users/EMAIL"),
        ("POST", USERS, json!({ "email": "c@d", "role": "king" }), 400, "Request/MALFORMED"),
        ("POST", USERS, json!({ "email": "c@d", "role": "user", "accountId": 5 }), 404, "Accounts/NOT_FOUND"),
        // An invited admin cannot help anybody.
        ("PUT", "/v1/users/1", json!({ "suspended": true }), 400, "Users/LAST_ADMIN"),
        ("PUT", "/v1/users/1", json!({ "role": "user" }), 400, "Users/LAST_ADMIN"),
        ("DELETE", "/v1/users/1", Value::Null, 400, "Users/LAST_ADMIN"),
        ("PUT", "/v1/users/1", json!({}), 400, "Request/MALFORMED"),
        ("PUT", "/v1/users/9", json!({ "role": "user" }), 404, "Users/NOT_FOUND"),
        ("DELETE", "/v1/users/x", Value::Null, 404, "Users/NOT_FOUND"),
        ("POST", "/v1/users/9/invitation", Value::Null, 404, "Users/NOT_FOUND"),
    ] {
        let refused = ada.call(method, path, body.clone()).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn a_main_accounts_admin_manages_users_of_sub_accounts_and_not_the_other_way_round() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let created = ada.call("POST", ACCOUNTS, json!({ "accountName": "team" })).await.json;
    let sub = created["accountId"].as_u64().unwrap();
    let told = ada
        .call("POST", USERS, json!({ "email": "eve@example.com", "role": "admin", "accountId": sub }))
        .await;
    let token = told.json["invitation"]["token"].as_str().unwrap();
    let joined = running.accept(token, PASSWORD).await;
    assert_eq!(joined.json["account"]["main"], false);
    let eve = running.browser(&joined);
    assert_eq!(eve.call("GET", USERS, Value::Null).await.json[0]["email"], "eve@example.com");
    let of_sub = ada.call("GET", &format!("{USERS}?accountId={sub}"), Value::Null).await.json;
    assert_eq!(of_sub.as_array().unwrap().len(), 1);
    for (method, path, body, status) in [
        ("GET", format!("{USERS}?accountId=1000"), Value::Null, 403),
        ("POST", USERS.to_owned(), json!({ "email": "x@y", "role": "user", "accountId": 1000 }), 403),
        ("PUT", format!("{USERS}/1"), json!({ "suspended": true }), 404),
        ("POST", format!("{USERS}/1/invitation"), Value::Null, 404),
        ("DELETE", format!("{USERS}/1"), Value::Null, 404),
        ("GET", ACCOUNTS.to_owned(), Value::Null, 403),
    ] {
        assert_eq!(eve.call(method, &path, body).await.status, status, "{method} {path}");
    }
    let last = ada.call("DELETE", &format!("{USERS}/2"), Value::Null).await;
    assert_eq!(last.code(), "Users/LAST_ADMIN", "of the sub-account");
    let unknown = ada.call("PUT", &format!("{USERS}/2"), json!({ "role": "admin" })).await;
    assert_eq!(unknown.status, 200);
}

#[tokio::test]
async fn everybody_saves_views_and_only_their_makers_and_admins_change_them() {
    let running = Running::start(Plan::Pro).await;
    let ada = running.browser(&running.set_up("ada@example.com").await);
    let (bob, eve) = (running.a_user("bob@example.com").await, running.a_user("eve@example.com").await);
    let view = "explore?query=level:error&from=now-15m";
    let saved = bob.call("POST", VIEWS, json!({ "name": " errors ", "view": view })).await;
    let expect = json!({
        "id": 1, "name": "errors", "view": view, "createdBy": "bob@example.com",
        "createdAt": saved.json["createdAt"], "yours": true,
    });
    assert_eq!((saved.status, &saved.json), (201, &expect));
    let seen = eve.call("GET", VIEWS, Value::Null).await.json;
    assert_eq!((&seen[0]["name"], &seen[0]["yours"]), (&"errors".into(), &false.into()));
    let path = format!("{VIEWS}/1");
    for (method, body) in [("PUT", json!({ "name": "mine" })), ("DELETE", Value::Null)] {
        assert_eq!(eve.call(method, &path, body).await.status, 403, "{method}");
    }
    assert_eq!(bob.call("PUT", &path, json!({ "view": "explore?" })).await.json["view"], "explore?");
    assert_eq!(ada.call("PUT", &path, json!({ "name": "renamed" })).await.json["name"], "renamed");
    assert_eq!(running.admin().get(VIEWS).await.json[0]["name"], "renamed");
    running.admin().post(VIEWS, r#"{"name":"a script's","view":"explore?"}"#).await;
    assert_eq!(bob.call("DELETE", &format!("{VIEWS}/2"), Value::Null).await.status, 403);
    for (body, code) in [
        (json!({ "name": "renamed", "view": "explore?" }), "Views/NAME_TAKEN"),
        (json!({ "name": "", "view": "explore?" }), "Views/NAME_EMPTY"),
        (json!({ "name": "a", "view": "" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "explore?x\ny" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "settings/users" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "/explore" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "exploreX" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "explore?query=a b" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "explore?query=\u{202e}" }), "Views/VIEW"),
        (json!({ "name": "a", "view": "explore?<script>" }), "Views/VIEW"),
        (json!({ "name": "a" }), "Request/MALFORMED"),
    ] {
        let refused = bob.call("POST", VIEWS, body.clone()).await;
        assert_eq!((refused.status, refused.code()), (400, code), "{body}");
    }
    let created = running.admin().post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(created.json["apiToken"].as_str().unwrap());
    assert_eq!(sub.get(VIEWS).await.json, json!([]));
    assert_eq!(sub.delete(&path).await.status, 404, "another account's");
    assert_eq!(bob.call("DELETE", &path, Value::Null).await.status, 200, "its maker");
}
