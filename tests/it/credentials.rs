//! Every credential, at every place where one may be sent, on every route that the API describes, and at the door that takes logs: what
//! it was not made for it does not do. The routes come from the description, so that a new one cannot be forgotten.

use crate::harness::http::{Answer, Connection, Request};
use crate::harness::node::CREDENTIAL;
use crate::harness::{API_TOKEN, Admin, Gate, SHIPPING_TOKEN, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// In everything that belongs to the first account, and in nothing else.
const MARK: &str = "belongs-to-main";
/// In logs that no shared token of the test lets pass.
const HIDDEN_MARK: &str = "hidden-from-links";

struct Route {
    method: String,
    path: String,
    /// The credentials it takes, any of them; none if everybody may ask.
    takes: BTreeSet<String>,
}

impl Route {
    /// With this in the place of ids.
    fn path(&self, id: &str) -> String {
        let mut path = self.path.clone();
        while let Some((before, rest)) = path.split_once('{') {
            let (_, after) = rest.split_once('}').unwrap();
            path = format!("{before}{id}{after}");
        }
        path
    }

    fn reads_only(&self) -> bool {
        self.method == "GET"
    }
}

fn routes(gate: &Gate) -> Vec<Route> {
    let description = Request::get("/openapi.json").send(gate.api).json();
    let mut routes = vec![];
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let takes = operation["security"].as_array().into_iter().flatten();
            let mut takes: BTreeSet<_> =
                takes.flat_map(|kind| kind.as_object().unwrap().keys().cloned()).collect();
            if (&**method, &**path) == ("get", "/v1/session") {
                // Everybody may ask who they are; to nobody it says so with 401.
                takes.insert("session".to_owned());
            }
            routes.push(Route { method: method.to_uppercase(), path: path.clone(), takes });
        }
    }
    routes
}

/// What a secret was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// None, or not any more.
    Void,
    Ships,
    Reads,
    Manages,
    /// The API token of another account.
    ManagesAnother,
    Follows,
    /// The session of a browser, of a user with the role `admin`.
    Administers,
    /// Of a user with the role `user`.
    Uses,
}

impl Kind {
    fn sees_all_when_it_opens(self) -> bool {
        matches!(self, Self::Manages | Self::Administers | Self::Uses)
    }
}

/// Where a secret may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    ApiToken,
    SharedToken,
    Bearer,
    Basic,
    Cookie,
    /// As the console's own page sends it.
    CookieOfPage,
    /// As a page of somebody else may have a browser send it.
    CookieOfAnotherSite,
    ShareTokenInQuery,
    TokenInQuery,
}

const PLACES: [Place; 9] = [
    Place::ApiToken,
    Place::SharedToken,
    Place::Bearer,
    Place::Basic,
    Place::Cookie,
    Place::CookieOfPage,
    Place::CookieOfAnotherSite,
    Place::ShareTokenInQuery,
    Place::TokenInQuery,
];

fn request(method: &str, path: &str, place: Place, secret: &str) -> Request {
    let with_query = |name: &str| Request::new(method, format!("{path}?{name}={secret}"));
    let request = Request::new(method, path);
    let cookie = |request: Request| request.header("Cookie", &format!("shipgate_session={secret}"));
    match place {
        Place::ApiToken => request.header("X-API-TOKEN", secret),
        Place::SharedToken => request.header("X-SHARED-TOKEN", secret),
        Place::Bearer => request.header("Authorization", &format!("Bearer {secret}")),
        Place::Basic => request.header("Authorization", &format!("Basic {secret}")),
        Place::Cookie => cookie(request),
        Place::CookieOfPage => cookie(request).header("X-Requested-With", "shipgate"),
        Place::CookieOfAnotherSite => {
            let request = cookie(request).header("X-Requested-With", "shipgate");
            request.header("Origin", "https://elsewhere.example")
        }
        Place::ShareTokenInQuery => with_query("shareToken"),
        Place::TokenInQuery => with_query("token"),
    }
}

/// Whether this is the right secret in the right place.
fn opens(route: &Route, kind: Kind, place: Place) -> bool {
    let takes = |name: &str| route.takes.contains(name);
    match (kind, place) {
        (Kind::Manages | Kind::ManagesAnother, Place::ApiToken) => takes("apiToken"),
        (Kind::Reads, Place::SharedToken) => takes("sharedToken"),
        (Kind::Reads, Place::ShareTokenInQuery) => takes("sharedToken") && route.reads_only(),
        (Kind::Follows, Place::Bearer) => takes("gatewayCredential"),
        // The browser does not show another site what comes of reading.
        (_, Place::Cookie | Place::CookieOfAnotherSite) if !route.reads_only() => false,
        (Kind::Uses, Place::Cookie | Place::CookieOfPage | Place::CookieOfAnotherSite) => takes("session"),
        (Kind::Administers, Place::Cookie | Place::CookieOfPage | Place::CookieOfAnotherSite) => {
            takes("session") || takes("adminSession")
        }
        _ => false,
    }
}

/// The answer; of one that does not end its head.
fn ask(gate: &Gate, request: &Request) -> Answer {
    let mut connection = Connection::open(gate.api).unwrap();
    connection.write(&request.bytes()).unwrap();
    let head = connection.head().unwrap();
    let content = head.header("content-type").unwrap_or_default();
    match head.status == 200 && (content.contains("event-stream") || content.contains("ndjson")) {
        true if !content.contains("zstd") && head.header("content-disposition").is_none() => head,
        _ => connection.body(head).unwrap(),
    }
}

struct World {
    gate: Gate,
    secrets: Vec<(&'static str, Kind, String)>,
}

fn admin_call(admin: &Admin, method: &str, path: &str, body: Value) -> Value {
    let answer = admin.call(method, path, Some(body));
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// An account with something of everything, another one, and a credential of every kind.
fn world() -> World {
    let gate = Gate::start_with(&[("CONTROL__GATEWAY_CREDENTIAL", CREDENTIAL), ("BOOTSTRAP__ACCOUNT", MARK)]);
    let admin = gate.admin();
    for (env, mark) in [("test", MARK), ("prod", HIDDEN_MARK)] {
        let message = format!("{mark} {env}");
        let body = format!("{{\"message\":\"{message}\",\"env\":\"{env}\",\"{mark}\":\"{mark}\"}}\n");
        assert_eq!(gate.shipper().request().body(body).send(gate.ingest).status, 200);
        gate.shipper().acknowledge([message]);
    }
    let shared = "/v1/shared-tokens";
    let filter = admin_call(
        &admin,
        "POST",
        "/v1/shared-tokens/filters",
        json!({ "field": "env", "value": "test", "description": MARK }),
    );
    let share = |name: &str, more: Value| {
        let mut new = json!({ "name": format!("{MARK} {name}"), "filters": [filter["id"]] });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = admin_call(&admin, "POST", shared, new);
        (format!("{shared}/{}", token["id"]), token["token"].as_str().unwrap().to_owned())
    };
    let (_, reads) = share("valid", json!({}));
    let (path, expired) = share("expired", json!({ "expiresIn": 0.2 }));
    eventually("it expires", || {
        let answer = Request::get("/v1/share").header("X-SHARED-TOKEN", &expired).send(gate.api);
        (answer.status == 401).then_some(())
    });
    assert_eq!(admin.get(&path).status, 200, "it is still there");
    let (path, deleted) = share("deleted", json!({}));
    admin_call(&admin, "DELETE", &path, json!({}));
    let api = admin_call(&admin, "POST", "/v1/api-tokens", json!({ "name": "deleted" }));
    admin_call(&admin, "DELETE", &format!("/v1/api-tokens/{}", api["id"]), json!({}));
    let other = admin_call(
        &admin,
        "POST",
        "/v1/account-management/time-based-accounts",
        json!({ "accountName": "another" }),
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (administers, uses) = sessions(&gate);
    let secrets = vec![
        ("nothing", Kind::Void, String::new()),
        ("garbage", Kind::Void, "nobody-has-this-as-a-token".to_owned()),
        ("expired shared token", Kind::Void, expired),
        ("deleted shared token", Kind::Void, deleted),
        ("deleted API token", Kind::Void, text(&api["token"])),
        ("shipping token", Kind::Ships, SHIPPING_TOKEN.to_owned()),
        ("another account's shipping token", Kind::Ships, text(&other["accountToken"])),
        ("shared token", Kind::Reads, reads),
        ("API token", Kind::Manages, API_TOKEN.to_owned()),
        ("another account's API token", Kind::ManagesAnother, text(&other["apiToken"])),
        ("gateways' credential", Kind::Follows, CREDENTIAL.to_owned()),
        ("admin's session", Kind::Administers, administers),
        ("user's session", Kind::Uses, uses),
    ];
    World { gate, secrets }
}

/// The sessions of an admin and of a user.
fn sessions(gate: &Gate) -> (String, String) {
    let enter = |path: &str, sent: Value| {
        let answer = Request::post(path)
            .header("Content-Type", "application/json")
            .body(sent.to_string())
            .send(gate.api);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        let (secret, _) = cookie.strip_prefix("shipgate_session=").unwrap().split_once(';').unwrap();
        secret.to_owned()
    };
    let (_, link) = gate.said.split_once("/#/setup?token=").unwrap();
    let (token, password) = (link.split_whitespace().next().unwrap(), "a password of some length");
    let setup = json!({ "token": token, "email": "admin@example.org", "password": password });
    let administers = enter("/v1/setup", setup);
    let invited = json!({ "email": "user@example.org", "role": "user" });
    let invited = admin_call(&gate.admin(), "POST", "/v1/users", invited);
    let acceptance = json!({ "token": invited["invitation"]["token"], "password": password });
    (administers, enter("/v1/invitations/accept", acceptance))
}

/// What an admin sees of what can be managed, without what reading changes.
fn managed(gate: &Gate) -> Vec<String> {
    let admin = gate.admin();
    let search = admin_call(&admin, "POST", "/v1/log-shipping/tokens/search", json!({}));
    let mut shared = admin.get("/v1/shared-tokens").json();
    for token in shared.as_array_mut().unwrap() {
        (token["lastUsed"], token["views"]) = (Value::Null, Value::Null);
    }
    let paths = [
        "/v1/shared-tokens/filters",
        "/v1/api-tokens",
        "/v1/views",
        "/v1/account-management/settings",
        "/v1/audit-trail?limit=1000",
    ];
    let mut seen: Vec<_> = paths.iter().map(|path| admin.get(path).text()).collect();
    seen.extend([search.to_string(), shared.to_string()]);
    seen
}

#[test]
fn no_credential_does_what_it_was_not_made_for() {
    let World { gate, secrets } = world();
    let routes = routes(&gate);
    assert!(routes.len() >= 30, "{}", routes.len());
    let before = managed(&gate);
    let (mut opened, mut refused) = (0, 0);
    for route in &routes {
        for (name, kind, secret) in &secrets {
            for place in PLACES {
                let is_open = route.takes.is_empty();
                let opens = opens(route, *kind, place);
                if opens && (&*route.method, &*route.path) == ("DELETE", "/v1/session") {
                    // It is needed for the rest.
                    continue;
                }
                // What works is asked about what is not there, and what must not work about what is.
                let path = route.path(if opens { "12345" } else { "1000000" });
                for body in ["{}", r#"{"name":"x","enabled":false,"filters":[]}"#] {
                    if opens && body != "{}" {
                        continue;
                    }
                    let request = request(&route.method, &path, place, secret)
                        .header("Content-Type", "application/json")
                        .body(body);
                    let answer = ask(&gate, &request);
                    let what = format!("{} {path} with {name} as {place:?}: {answer:?}", route.method);
                    assert!(answer.status < 500, "{what}");
                    let text = answer.text();
                    let sees_all = opens && kind.sees_all_when_it_opens();
                    assert!(sees_all || !text.contains(HIDDEN_MARK), "{what}");
                    assert!(sees_all || opens && *kind == Kind::Reads || !text.contains(MARK), "{what}");
                    match (opens, kind) {
                        _ if is_open => {}
                        // A sub-account's admin may not do everything that its main account's may.
                        (true, Kind::ManagesAnother) => {}
                        // Where it makes a difference who asks, more may be refused.
                        (true, _) if place == Place::CookieOfAnotherSite => {}
                        (true, _) => assert!(![401, 403].contains(&answer.status), "{what}"),
                        (false, _) => assert!([401, 403].contains(&answer.status), "{what}"),
                    }
                    opened += usize::from(opens);
                    refused += usize::from(!opens && !is_open);
                }
            }
        }
    }
    assert!(opened > 50 && refused > 2_000, "{opened} {refused}");
    assert_eq!(managed(&gate), before, "nothing was changed");
    gate.finish();
}

#[test]
fn only_a_shipping_token_ships() {
    let World { gate, secrets } = world();
    let mut shipped = 0;
    for (name, kind, secret) in &secrets {
        for place in PLACES {
            let takes = matches!(place, Place::TokenInQuery | Place::Bearer);
            let body = "{\"message\":\"shipped by the table\"}\n";
            let answer = request("POST", "/", place, secret).body(body).send(gate.ingest);
            if *kind == Kind::Ships && takes {
                assert_eq!(answer.status, 200, "{name} as {place:?}");
                shipped += 1;
            } else {
                assert_eq!(answer.status, 401, "{name} as {place:?}");
            }
            // Nothing is read where logs are taken.
            for path in ["/v1/logs", "/v1/share", "/v1/shared-tokens"] {
                let answer = request("GET", path, place, secret).send(gate.ingest);
                assert!([404, 405].contains(&answer.status), "{path} with {name} as {place:?}: {answer:?}");
            }
        }
    }
    assert_eq!(shipped, 4);
    // Two of them are the other account's.
    gate.shipper().acknowledge(["shipped by the table".to_owned(), "shipped by the table".to_owned()]);
    gate.finish();
}
