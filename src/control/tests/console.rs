//! The console's files, and the headers around everything.

use super::*;
use crate::control::origin::Origin;
use hyper::HeaderMap;

impl Api {
    /// Status, headers and body of a GET with one more header.
    async fn fetch(&self, path: &str, header: Option<(&'static str, &str)>) -> (u16, HeaderMap, Bytes) {
        let mut api = self.clone();
        api.headers.extend(header.map(|(name, value)| (name, value.to_owned())));
        let response = api.open("GET", path, "").await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.into_body().collect().await.unwrap().to_bytes())
    }
}

#[tokio::test]
async fn the_page_is_served_whatever_the_query_says() {
    let running = Running::start(Plan::Pro).await;
    for path in ["/", "/?embed=true&shareToken=abc"] {
        let (status, headers, body) = running.stranger().fetch(path, None).await;
        assert_eq!((status, &headers["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
        assert!(body.starts_with(b"<!doctype html>"));
    }
    let head = running.stranger().open("HEAD", "/", "").await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let running = Running::start(Plan::Pro).await;
    let (_, headers, _) = running.stranger().fetch("/", None).await;
    assert_eq!(headers["cache-control"], "no-cache");
    let etag = headers["etag"].to_str().unwrap();
    for (known, expect) in [
        (etag.to_owned(), 304),
        (format!("W/{etag}"), 304),
        (format!("\"other\", {etag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let (status, headers, body) = running.stranger().fetch("/", Some(("If-None-Match", &known))).await;
        assert_eq!((status, body.is_empty()), (expect, expect == 304), "{known}");
        assert_eq!(headers["etag"], etag);
    }
}

#[tokio::test]
async fn nothing_but_the_console_is_served_from_the_disk() {
    let running = Running::start(Plan::Pro).await;
    for path in [
        "/assets/",
        "/assets/nothing.js",
        "/assets/../../mod.rs",
        "/assets/..%2f..%2fmod.rs",
        "/assets/%2e%2e/%2e%2e/mod.rs",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
    ] {
        let (status, _, body) = running.stranger().fetch(path, None).await;
        assert_eq!(status, 404, "{path} {body:?}");
    }
}

#[tokio::test]
async fn every_answer_is_fenced() {
    let running = Running::start(Plan::Pro).await;
    for path in ["/", "/assets/index.html", "/assets/nothing", "/v1/nothing", "/v2/whoami", "/openapi.json"] {
        let (status, headers, _) = running.admin().fetch(path, None).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|found| found == part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers.contains_key("permissions-policy"), "{path}");
        let file = status == 200 && (path == "/" || path.starts_with("/assets"));
        assert_eq!(headers["cache-control"], if file { "no-cache" } else { "no-store" }, "{path}");
    }
}

#[tokio::test]
async fn frames_are_for_the_sites_that_an_operator_names() {
    let sites =
        ["https://wiki.example.com", "https://*.example.org"].map(|site| Origin::parse(site).unwrap());
    let running =
        Running::start_with(Plan::Pro, |config| config.console_frame_ancestors = sites.to_vec()).await;
    let (_, headers, _) = running.stranger().fetch("/", None).await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.ends_with("; frame-ancestors 'self' https://wiki.example.com https://*.example.org"),
        "{policy}"
    );
    assert!(!headers.contains_key("x-frame-options"));
}
