//! Signing in and out, and what a session's cookie is good for.

use super::*;
use crate::control::origin::Origin;
use crate::domain::terms::Network;
use crate::store::audit::Wanted;
use crate::store::users::{PasswordHash, Role};
use hyper::{HeaderMap, Response};
use serde_json::json;

pub(super) const PASSWORD: &str = "correct horse battery";
const SESSION: &str = "/v1/session";

/// An answer with its headers; `null` for a body that is none.
pub(super) struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Told {
    async fn of(response: Response<Incoming>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Self { status, headers, json: serde_json::from_slice(&body).unwrap_or_default() }
    }

    pub(super) fn code(&self) -> &str {
        self.json["errorCode"].as_str().unwrap_or_default()
    }

    fn cookie(&self) -> &str {
        self.headers["set-cookie"].to_str().unwrap()
    }
}

impl Api {
    pub(super) async fn call(&self, method: &str, path: &str, body: Value) -> Told {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Told::of(self.open(method, path, &body).await).await
    }

    /// The same client with one more header.
    pub(super) fn and(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.push((name, value.to_owned()));
        other
    }
}

impl Running {
    /// The console's page in a browser, signed in by an answer that set a cookie.
    pub(super) fn browser(&self, signed_in: &Told) -> Api {
        assert_eq!(signed_in.status, 200, "{}", signed_in.json);
        let cookie = signed_in.cookie().split(';').next().unwrap();
        self.stranger().and("Cookie", cookie).and("X-Requested-With", "shipgate")
    }

    pub(super) async fn set_up(&self, email: &str) -> Told {
        let body = json!({ "token": self.first.setup_token.expose(), "email": email, "password": PASSWORD });
        self.stranger().call("POST", "/v1/setup", body).await
    }

    pub(super) async fn sign_in(&self, email: &str, password: &str) -> Told {
        self.stranger().call("POST", SESSION, json!({ "email": email, "password": password })).await
    }
}

#[tokio::test]
async fn the_first_user_comes_by_the_setup_link_and_signs_in_again() {
    let running = Running::start(Plan::Pro).await;
    let nobody = running.stranger().call("GET", SESSION, Value::Null).await;
    assert_eq!((nobody.status, &nobody.json["parameters"]), (401, &json!({ "setupNeeded": true })));
    let made = running.set_up(" Ada@Example.com ").await;
    let expect = json!({
        "user": { "id": 1, "email": "ada@example.com", "role": "admin" },
        "account": { "accountId": 1000, "accountName": "main", "plan": "pro", "main": true },
    });
    assert_eq!((made.status, &made.json), (200, &expect));
    let browser = running.browser(&made);
    assert_eq!(browser.call("GET", SESSION, Value::Null).await.json, expect);
    let nobody = running.stranger().call("GET", SESSION, Value::Null).await;
    assert_eq!((nobody.status, &nobody.json["parameters"]), (401, &json!({ "setupNeeded": false })));

    let out = browser.call("DELETE", SESSION, Value::Null).await;
    assert_eq!(out.status, 204);
    assert!(out.cookie().starts_with("shipgate_session=; ") && out.cookie().contains("Max-Age=0"));
    assert_eq!(browser.call("GET", SESSION, Value::Null).await.status, 401);
    assert_eq!(browser.call("DELETE", SESSION, Value::Null).await.code(), "Sessions/NOT_SIGNED_IN");
    let again = running.sign_in("ADA@example.com", PASSWORD).await;
    assert_eq!((again.status, &again.json), (200, &expect));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_setup_link_works_once_however_many_come() {
    let running = Arc::new(Running::start(Plan::Pro).await);
    let mut comers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let running = Arc::clone(&running);
        comers.spawn(async move { running.set_up(&format!("user{n}@example.com")).await });
    }
    let answers = comers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((refused.status, refused.code()), (400, "Sessions/LINK_OVER"));
    }
    assert_eq!(running.store.users(running.first.account).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_setup_link_refuses_what_cannot_be_and_is_not_used_up_by_it() {
    let running = Running::start(Plan::Pro).await;
    let token = running.first.setup_token.expose();
    for (email, password, code) in [
        ("nobody", PASSWORD, "Sessions/EMAIL"),
        ("ada@example.com", "too short", "Sessions/PASSWORD"),
        ("ada@example.com", "ADA@example.com", "Sessions/PASSWORD"),
    ] {
        let body = json!({ "token": token, "email": email, "password": password });
        let refused = running.stranger().call("POST", "/v1/setup", body).await;
        assert_eq!((refused.status, refused.code()), (400, code), "{email}");
    }
    let body = json!({ "token": "wrong-wrong-wrong-wrong", "email": "a@b", "password": PASSWORD });
    let refused = running.stranger().call("POST", "/v1/setup", body).await;
    assert_eq!((refused.status, refused.code()), (400, "Sessions/LINK_OVER"));
    assert_eq!(running.set_up("ada@example.com").await.status, 200);
}

#[tokio::test]
async fn an_operator_brings_a_locked_out_admin_back() {
    let running = Running::start(Plan::Pro).await;
    let before = running.browser(&running.set_up("ada@example.com").await);
    let token = crate::control::operator::setup_token(&running.store).await.unwrap();
    let body =
        json!({ "token": token.expose(), "email": "ada@example.com", "password": "another one, remembered" });
    let back = running.stranger().call("POST", "/v1/setup", body.clone()).await;
    assert_eq!((back.status, &back.json["user"]["id"]), (200, &1.into()));
    assert_eq!(before.call("GET", SESSION, Value::Null).await.status, 401, "sessions from before end");
    assert_eq!(running.sign_in("ada@example.com", PASSWORD).await.status, 403);
    assert_eq!(running.sign_in("ada@example.com", "another one, remembered").await.status, 200);
    assert_eq!(running.stranger().call("POST", "/v1/setup", body).await.code(), "Sessions/LINK_OVER");
}

#[tokio::test]
async fn a_cookie_is_hidden_from_scripts_and_other_sites_and_over_tls_from_the_wire() {
    let running = Running::start(Plan::Pro).await;
    let made = running.set_up("ada@example.com").await;
    let parts: Vec<_> = made.cookie().split("; ").collect();
    assert!(parts[0].starts_with("shipgate_session=") && parts[0].len() == "shipgate_session=".len() + 64);
    assert_eq!(parts[1..], ["Path=/", "Max-Age=604800", "HttpOnly", "SameSite=Strict"]);
    let behind_proxy = Running::start_with(Plan::Pro, |config| {
        config.public_url = Some(Origin::parse("https://logs.example.com").unwrap());
    })
    .await;
    assert!(behind_proxy.set_up("ada@example.com").await.cookie().ends_with("; Secure"));
}

#[tokio::test]
async fn a_session_of_an_admin_does_what_an_api_token_does_and_the_trail_names_the_user() {
    let running = Running::start(Plan::Pro).await;
    let browser = running.browser(&running.set_up("ada@example.com").await);
    let created = browser.call("POST", TOKENS, json!({ "name": "by a user" })).await;
    assert_eq!((created.status, &created.json["createdBy"]), (201, &"ada@example.com".into()));
    assert_eq!(browser.call("GET", ACCOUNTS, Value::Null).await.status, 200, "an admin of the main account");
    let trail = browser.call("GET", "/v1/audit-trail?limit=1", Value::Null).await.json;
    assert_eq!(trail["entries"][0]["actor"], "ada@example.com");
    assert_eq!(trail["entries"][0]["sourceAddress"], "127.0.0.1");
    let wrong = browser.and("X-API-TOKEN", "wrong-wrong-wrong-wrong");
    assert_eq!(wrong.call("GET", ACCOUNTS, Value::Null).await.status, 403, "an API token wins");
}

#[tokio::test]
async fn a_user_who_is_no_admin_manages_nothing() {
    let running = Running::start(Plan::Pro).await;
    running.set_up("ada@example.com").await;
    let browser = running.a_user("bob@example.com").await;
    assert_eq!(browser.call("GET", SESSION, Value::Null).await.json["user"]["role"], "user");
    let for_admins = running.routes_by("adminSession").await;
    assert!(for_admins.len() >= 25, "{for_admins:#?}");
    for (method, path) in for_admins {
        let answer = browser.call(&method, &path, json!({})).await;
        assert_eq!((answer.status, answer.code()), (403, ""), "{method} {path}");
    }
    for (method, path) in running.routes_by("session").await {
        let answer = running.a_user(&format!("{method}{path}@b")).await.call(&method, &path, json!({})).await;
        assert_ne!(answer.status, 403, "{method} {path}");
    }
}

impl Running {
    /// Method and path, with ids filled in, of what a credential of this kind opens.
    async fn routes_by(&self, scheme: &str) -> Vec<(String, String)> {
        let description = self.stranger().get("/openapi.json").await.json;
        let mut routes = vec![];
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let needs = operation["security"].as_array().unwrap();
                if needs.iter().any(|needs| needs.get(scheme).is_some()) {
                    routes.push((method.to_uppercase(), path.replace("{id}", "1000000")));
                }
            }
        }
        routes
    }

    /// A browser of a user who is no admin.
    pub(super) async fn a_user(&self, email: &str) -> Api {
        let invitation = crate::store::users::Invitation {
            digest: crate::domain::token::TokenDigest::of(email),
            expires_ms: u64::MAX >> 1,
        };
        let (store, by) = (&self.store, Default::default());
        store.invite_user(self.first.account, email, Role::User, &invitation, &by).await.unwrap();
        let body = json!({ "token": email, "password": PASSWORD });
        self.browser(&self.stranger().call("POST", "/v1/invitations/accept", body).await)
    }
}

#[tokio::test]
async fn no_other_site_changes_anything_with_a_cookie() {
    let running = Running::start(Plan::Pro).await;
    let browser = running.browser(&running.set_up("ada@example.com").await);
    let bare = Api { headers: vec![browser.headers[0].clone()], ..browser.clone() };
    let host = running.address.to_string();
    let foreign = browser.and("Origin", "https://evil.example.com");
    let no_origin = browser.and("Origin", "null");
    let other_port = browser.and("Origin", "http://127.0.0.1:1");
    let other_page = bare.and("X-Requested-With", "XMLHttpRequest");
    let mut mutating = 0;
    let routes = [running.routes_by("session").await, running.routes_by("adminSession").await].concat();
    for (method, path) in routes.into_iter().filter(|(method, _)| method != "GET") {
        mutating += 1;
        for site in [&bare, &foreign, &no_origin, &other_port, &other_page] {
            let refused = site.call(&method, &path, json!({})).await;
            assert_eq!((refused.status, refused.code()), (403, "Request/CROSS_SITE"), "{method} {path}");
        }
    }
    assert!(mutating >= 12, "{mutating}");
    for path in [SESSION, "/v1/setup", "/v1/invitations/accept"] {
        let foreign = running.stranger().and("Origin", "https://evil.example.com");
        let body = json!({ "email": "ada@example.com", "password": PASSWORD, "token": "t" });
        assert_eq!(foreign.call("POST", path, body).await.code(), "Request/CROSS_SITE", "{path}");
    }
    assert_eq!(bare.call("GET", ACCOUNTS, Value::Null).await.status, 200, "reading changes nothing");
    for own in [format!("http://{host}"), format!("https://{host}")] {
        let created = browser.and("Origin", &own).call("POST", TOKENS, json!({ "name": own })).await;
        assert_eq!(created.status, 201, "{own}");
    }
    let admin = running.admin().and("Origin", "https://evil.example.com");
    assert_eq!(admin.call("POST", TOKENS, json!({ "name": "x" })).await.status, 201, "no cookie, no danger");
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in() {
    let running = Running::start(Plan::Pro).await;
    let browser = running.browser(&running.set_up("ada@example.com").await);
    let sent = json!({ "email": "ada@example.com", "password": PASSWORD, "token": "t" });
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""] {
        for path in [SESSION, "/v1/setup", "/v1/invitations/accept"] {
            let refused = running.stranger().and("Content-Type", kind).call("POST", path, sent.clone()).await;
            assert_eq!((refused.status, refused.code()), (415, "Request/NOT_JSON"), "{path} {kind}");
            assert!(!refused.headers.contains_key("set-cookie"));
        }
        for (method, path) in [("POST", TOKENS), ("PUT", "/v1/session/password")] {
            let refused = browser.and("Content-Type", kind).call(method, path, sent.clone()).await;
            assert_eq!((refused.status, refused.code()), (415, "Request/NOT_JSON"), "{path} {kind}");
        }
    }
    let signed_in = running.stranger().and("Content-Type", "Application/JSON; charset=utf-8");
    let sent = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(signed_in.call("POST", SESSION, sent).await.status, 200);
    let script = running.admin().and("Content-Type", "text/plain");
    let created = script.call("POST", TOKENS, json!({ "name": "by curl without a header" })).await;
    assert_eq!(created.status, 201, "browsers send no API token");
    assert_eq!(browser.call("DELETE", SESSION, Value::Null).await.status, 204, "no body, no kind");
}

#[tokio::test]
async fn wrong_passwords_are_slowed_told_and_never_shown() {
    let running = Running::start(Plan::Pro).await;
    running.set_up("ada@example.com").await;
    for email in ["ada@example.com", "nobody@example.com"] {
        for _ in 0..5 {
            let refused = running.sign_in(email, "wrong horse battery").await;
            assert_eq!((refused.status, refused.code()), (403, "Sessions/WRONG_PASSWORD"), "{email}");
        }
        let slowed = running.sign_in(email, PASSWORD).await;
        assert_eq!((slowed.status, slowed.code()), (429, "Sessions/SLOWED"), "{email}");
        assert_eq!(slowed.headers["retry-after"], "1");
    }
    assert!(running.metrics.control.auth_failures.get() >= 10);
    running.shutdown.drain(Duration::from_secs(30)).await.unwrap();
    let trail = running.store.audit_trail(running.first.account, &Wanted::default(), 1_000).await.unwrap();
    assert_eq!(trail.iter().filter(|entry| entry.action == "session.refuse").count(), 5);
    assert!(!format!("{trail:?}").contains("horse"));
}

#[tokio::test]
async fn behind_a_trusted_proxy_one_guesser_does_not_slow_the_others() {
    let running = Running::start_with(Plan::Pro, |config| {
        config.trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    })
    .await;
    running.set_up("ada@example.com").await;
    let behind = |source: &str| running.stranger().and("X-Forwarded-For", source);
    let guess = |password: &str| json!({ "email": "ada@example.com", "password": password });
    for _ in 0..5 {
        let claims = "203.0.113.9, 192.0.2.1, 127.0.0.2";
        assert_eq!(behind(claims).call("POST", SESSION, guess("wrong horse battery")).await.status, 403);
    }
    assert_eq!(behind("192.0.2.1").call("POST", SESSION, guess(PASSWORD)).await.code(), "Sessions/SLOWED");
    assert_eq!(behind("192.0.2.2").call("POST", SESSION, guess(PASSWORD)).await.status, 200);
    let trail = running.admin().get("/v1/audit-trail?limit=1").await.json;
    assert_eq!(trail["entries"][0]["sourceAddress"], "192.0.2.2", "{trail}");

    let alone = Running::start(Plan::Pro).await;
    alone.set_up("ada@example.com").await;
    for n in 0..5 {
        let claim = alone.stranger().and("X-Forwarded-For", &format!("192.0.2.{n}"));
        assert_eq!(claim.call("POST", SESSION, guess("wrong horse battery")).await.status, 403);
    }
    let claim = alone.stranger().and("X-Forwarded-For", "192.0.2.99");
    assert_eq!(claim.call("POST", SESSION, guess(PASSWORD)).await.status, 429, "nobody is trusted");
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let running = Running::start(Plan::Pro).await;
    let here = running.browser(&running.set_up("ada@example.com").await);
    let there = running.browser(&running.sign_in("ada@example.com", PASSWORD).await);
    let change = |current: &str, new: &str| json!({ "current": current, "new": new });
    let path = "/v1/session/password";
    for (body, status, code) in [
        (change("wrong horse battery", "a new one, and long"), 403, "Sessions/WRONG_PASSWORD"),
        (change(PASSWORD, "short"), 400, "Sessions/PASSWORD"),
        (change(PASSWORD, "ada@example.com"), 400, "Sessions/PASSWORD"),
    ] {
        let refused = here.call("PUT", path, body).await;
        assert_eq!((refused.status, refused.code()), (status, code));
    }
    assert_eq!(here.call("PUT", path, change(PASSWORD, "a new one, and long")).await.status, 204);
    assert_eq!(here.call("GET", SESSION, Value::Null).await.status, 200);
    assert_eq!(there.call("GET", SESSION, Value::Null).await.status, 401);
    assert_eq!(running.sign_in("ada@example.com", PASSWORD).await.status, 403);
    assert_eq!(running.sign_in("ada@example.com", "a new one, and long").await.status, 200);
}

#[tokio::test]
async fn nobody_is_let_in_by_what_the_store_holds() {
    let running = Running::start(Plan::Pro).await;
    let made = running.set_up("ada@example.com").await;
    let secret = made.cookie().split([';', '=']).nth(1).unwrap().to_owned();
    let digest = crate::domain::token::TokenDigest::of(&secret).to_hex();
    let browser = running.stranger().and("Cookie", &format!("shipgate_session={digest}"));
    assert_eq!(browser.call("GET", ACCOUNTS, Value::Null).await.status, 401);
    let user = running.store.user_by_email("ada@example.com").await.unwrap().unwrap();
    let Some(PasswordHash(hash)) = user.password else { panic!("no password") };
    assert_eq!(running.sign_in("ada@example.com", &hash).await.status, 403);
    running.store.close().await;
    for entry in std::fs::read_dir(running.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [&secret, PASSWORD, running.first.setup_token.expose()] {
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none());
        }
    }
}
