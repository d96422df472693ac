//! Who may do what: driven by the routes that the API itself describes, so that a new one cannot be forgotten.

use super::*;
use serde_json::json;
use std::io::Write;
use std::sync::Mutex;

/// Everybody may ask these.
const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/openapi.json"),
    ("GET", "/v1/session"),
    ("POST", "/v1/session"),
    ("POST", "/v1/setup"),
    ("POST", "/v1/invitations/accept"),
];

/// Method, path with ids filled in, and the credential it needs.
async fn described_routes(running: &Running) -> Vec<(String, String, Option<String>)> {
    let description = running.stranger().get("/openapi.json").await;
    assert_eq!(description.status, 200);
    let mut routes = vec![];
    for (path, item) in description.json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs = operation["security"][0].as_object().and_then(|needs| needs.keys().next().cloned());
            routes.push((method.to_uppercase(), path.replace("{id}", "1000000"), needs));
        }
    }
    routes
}

#[tokio::test]
async fn every_route_refuses_strangers() {
    let running = Running::start(Plan::Pro).await;
    let routes = described_routes(&running).await;
    assert!(routes.len() >= 19, "{routes:#?}");
    let forbidden = json!({ "code": 403, "message": "Insufficient privileges" });
    let shipping = running.first.shipping_token.expose().to_owned();
    let api = running.first.api_token.expose().to_owned();
    for (method, path, needs) in routes {
        if PUBLIC.contains(&(&method, &path)) {
            assert_eq!(needs, None, "{method} {path}");
            continue;
        }
        let other_credential = match needs.as_deref() {
            Some("apiToken") => ("Authorization", format!("Bearer {CREDENTIAL}")),
            Some("sharedToken") => {
                // The one answer to whoever has no valid shared token is another one: `sharing` asks for it.
                continue;
            }
            Some("gatewayCredential" | "session") => ("X-API-TOKEN", api.clone()),
            other => panic!("{method} {path} needs {other:?}"),
        };
        for headers in [
            vec![],
            vec![("X-API-TOKEN", String::new())],
            vec![("X-API-TOKEN", "wrong-wrong-wrong-wrong".to_owned())],
            vec![("X-API-TOKEN", shipping.clone())],
            vec![("X-API-TOKEN", CREDENTIAL.to_owned())],
            vec![("X-API-TOKEN", crate::domain::token::TokenDigest::of(&api).to_hex())],
            vec![("Authorization", format!("Bearer {api}"))],
            vec![("Authorization", "Bearer ".to_owned())],
            vec![("Authorization", format!("Basic {CREDENTIAL}"))],
            vec![other_credential],
        ] {
            for body in ["", "{}", "nonsense", r#"{"name":"x","accountName":"x"}"#] {
                let stranger = Api { headers: headers.clone(), ..running.stranger() };
                let answer = stranger.send(&method, &path, body).await;
                assert_eq!((answer.status, &answer.json), (403, &forbidden), "{method} {path} {headers:?}");
            }
        }
    }
    assert_eq!(running.admin().post(&format!("{TOKENS}/search"), "{}").await.json["total"], 1);
}

#[tokio::test]
async fn the_description_is_complete() {
    let running = Running::start(Plan::Pro).await;
    let description = running.stranger().get("/openapi.json").await.json;
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let schemes = description["components"]["securitySchemes"].as_object().unwrap();
    assert!(schemes.contains_key("apiToken") && schemes.contains_key("gatewayCredential"));
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let text = description.to_string();
    let mut references = 0;
    for reference in text.split(r##""$ref":"#/components/schemas/"##).skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is described nowhere");
        references += 1;
    }
    assert!(references > 10);
    assert_eq!(description["servers"][0]["url"], "/");
    let sort = &schemas["Sort"]["properties"]["field"]["enum"];
    assert_eq!(*sort, json!(["createdAt", "name", "CREATED_AT", "NAME"]));
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path} shares its id");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.values().all(|response| response["description"].is_string()),
                "{method} {path}"
            );
            for status in ["405", "408", "413", "500", "503"] {
                let body = &responses[status]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/ErrorBody", "{method} {path} {status}");
            }
            let takes_body = matches!(method.as_str(), "post" | "put") && !path.ends_with("/invitation");
            assert_eq!(operation["requestBody"].is_object(), takes_body, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json() {
    let running = Running::start(Plan::Pro).await;
    for (method, path, status, code) in [
        ("POST", "/", 405, "Request/NO_SUCH_METHOD"),
        ("GET", "/index.html", 404, "Request/NO_SUCH_PATH"),
        ("POST", "/v1/log-shipping/tokens/", 404, "Request/NO_SUCH_PATH"),
        ("GET", "/v1/nothing", 404, "Request/NO_SUCH_PATH"),
        ("PATCH", TOKENS, 405, "Request/NO_SUCH_METHOD"),
        ("GET", "/v1/log-shipping/tokens/search", 405, "Request/NO_SUCH_METHOD"),
        ("DELETE", "/v1/log-shipping/tokens/limits", 405, "Request/NO_SUCH_METHOD"),
    ] {
        let answer = running.admin().send(method, path, "{}").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}");
    }
    let response = running.admin().open("PATCH", TOKENS, "").await;
    assert_eq!(response.headers()["allow"], "POST");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let running = Running::start(Plan::Pro).await;
    running.admin().get(&format!("{TOKENS}/1000000")).await;
    running.admin().get(&format!("{TOKENS}/5")).await;
    running.admin().get("/v1/nothing?token=secret").await;
    let text = running.metrics.render();
    for line in [
        r#"shipgate_control_requests_total{route="/v1/log-shipping/tokens/{id}",status="200"} 1"#,
        r#"shipgate_control_requests_total{route="/v1/log-shipping/tokens/{id}",status="404"} 1"#,
        r#"shipgate_control_requests_total{route="unknown",status="404"} 1"#,
        r#"shipgate_control_request_duration_seconds_count{route="/v1/log-shipping/tokens/{id}"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_fault_tells_its_cause_to_the_log_only() {
    let lines = Lines::default();
    let _logging = lines.capture();
    let running = Running::start(Plan::Pro).await;
    running.store.close().await;
    let answer = running.admin().get("/v2/whoami").await;
    assert_eq!((answer.status, answer.code()), (500, "Request/FAULT"));
    assert!(!answer.json.to_string().contains("pool"), "{answer:?}");
    let request_id = answer.json["requestId"].as_str().unwrap();
    let log = lines.text();
    let line = log.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(line.contains(request_id) && line.contains("the database failed: "), "{line}");
}

#[tokio::test]
async fn a_flood_of_wrong_api_tokens_is_counted_and_fills_no_log() {
    let lines = Lines::default();
    let _logging = lines.capture();
    let running = Running::start(Plan::Pro).await;
    for _ in 0..50 {
        running.with("wrong-wrong-wrong-wrong").post(TOKENS, "{}").await;
    }
    running.stranger().get("/gateway/v1/directory").await;
    let sub = running.admin().post(ACCOUNTS, r#"{"accountName":"team"}"#).await;
    let sub = running.with(sub.json["apiToken"].as_str().unwrap());
    assert_eq!(sub.get(ACCOUNTS).await.status, 403, "signed in, without the right");
    assert_eq!(running.metrics.control.auth_failures.get(), 51);
    let log = lines.text();
    let told =
        log.lines().filter(|line| !line.contains("DEBUG") && line.contains("without valid credentials"));
    let told: Vec<_> = told.collect();
    assert!(!told.is_empty() && told.len() < 25, "{told:#?}");
    assert!(told[0].contains("INFO") && told[0].contains("source=127.0.0.1"), "{}", told[0]);
    assert!(!log.lines().any(|line| line.contains("INFO") && line.contains("status=403")), "{log}");
    assert!(!log.contains("wrong-wrong"));
}

#[tokio::test]
async fn the_log_says_who_asked_and_from_where() {
    let lines = Lines::default();
    let _logging = lines.capture();
    let running = Running::start(Plan::Pro).await;
    running.admin().create("one").await;
    let log = lines.text();
    let line = log.lines().find(|line| line.contains("API request")).unwrap();
    for part in ["INFO", "account=1000", r#"actor="api-token:admin""#, "source=127.0.0.1", "status=201"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Collects what this thread logs from now on, whatever its level.
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_the_files() {
    let lines = Lines::default();
    let _logging = lines.capture();
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let mut secrets =
        vec![running.first.api_token.expose().to_owned(), running.first.shipping_token.expose().to_owned()];
    let path = admin.create("one").await;
    let keep = |answer: Answer, keys: &[&str]| -> Vec<String> {
        keys.iter().map(|key| answer.json[*key].as_str().unwrap().to_owned()).collect()
    };
    secrets.extend(keep(admin.get(&path).await, &["token"]));
    secrets.extend(keep(admin.post(ACCOUNTS, r#"{"accountName":"a"}"#).await, &["accountToken", "apiToken"]));
    admin.put(&path, r#"{"enabled":false}"#).await;
    admin.delete(&path).await;
    let mistaken = format!("{TOKENS}/{}?token={}", secrets[1], secrets[1]);
    admin.get(&mistaken).await;
    running.with(&secrets[1]).post(TOKENS, &secrets[1]).await;
    drop(running.gateway().open("GET", "/gateway/v1/directory", "").await);
    secrets.push(CREDENTIAL.to_owned());
    secrets.push(std::fs::read_to_string(running.folder.path().join("token.key")).unwrap().trim().to_owned());

    let log = lines.text();
    assert!(log.contains("API request"), "{log}");
    for secret in &secrets {
        for line in log.lines() {
            assert!(!line.contains(secret.as_str()), "{line}");
        }
    }
    for entry in std::fs::read_dir(running.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("token.key") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in &secrets {
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "in {}", path.display());
        }
    }
}
