//! What happens on the socket: connections outlive refusals, bodies are bounded, requests outlive their clients.

use super::*;
use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One HTTP/1.1 connection, spoken by hand.
struct Wire {
    stream: TcpStream,
    api_token: String,
}

impl Wire {
    async fn to(running: &Running) -> Self {
        Self {
            stream: TcpStream::connect(running.address).await.unwrap(),
            api_token: running.first.api_token.expose().to_owned(),
        }
    }

    async fn ask(&mut self, head: &str, body: &[u8]) -> (u16, String) {
        let request = format!(
            "{head} HTTP/1.1\r\nhost: h\r\nx-api-token: {}\r\ncontent-length: {}\r\n\r\n",
            self.api_token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> (u16, String) {
        let mut received = vec![];
        loop {
            let text = String::from_utf8_lossy(&received).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    return (head[9..12].parse().unwrap(), text);
                }
            }
            let mut chunk = [0; 4_096];
            let n = self.stream.read(&mut chunk).await.unwrap();
            assert_ne!(n, 0, "the connection was closed after {text:?}");
            received.extend_from_slice(&chunk[..n]);
        }
    }
}

#[tokio::test]
async fn a_connection_outlives_every_refusal() {
    let running = Running::start(Plan::Community).await;
    let mut wire = Wire::to(&running).await;
    let large = vec![b'x'; BODY_BYTES_MAX + 1];
    let huge = vec![b'x'; 4 << 20];
    for (head, body, status) in [
        ("GET /v1/log-shipping/tokens/123", &b"{}"[..], 404),
        ("PUT /v1/log-shipping/tokens/123", b"{\"name\":\"n\"}", 404),
        ("POST /nowhere", &large, 404),
        ("POST /v1/log-shipping/tokens", &large, 413),
        ("POST /v1/log-shipping/tokens", &huge, 413),
        ("POST /v1/log-shipping/tokens", b"{\"name\":", 400),
        ("POST /v1/log-shipping/tokens", b"{\"name\":\"second\"}", 400),
        ("PATCH /v1/log-shipping/tokens", b"{}", 405),
        ("GET /v1/audit-trail?limit=x", b"", 400),
        ("GET /v2/whoami", b"", 200),
    ] {
        let (got, text) = wire.ask(head, body).await;
        assert_eq!(got, status, "{head}: {text}");
    }
    wire.api_token.clear();
    assert_eq!(wire.ask("POST /v1/log-shipping/tokens", &huge).await.0, 403);
    assert_eq!(wire.ask("POST /v1/log-shipping/tokens", b"{}").await.0, 403);
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read() {
    let running = Running::start(Plan::Pro).await;
    let mut body = br#"{"name":"n"}"#.to_vec();
    body.resize(BODY_BYTES_MAX, b' ');
    let mut wire = Wire::to(&running).await;
    assert_eq!(wire.ask("POST /v1/log-shipping/tokens", &body).await.0, 201);
}

#[tokio::test]
async fn a_body_without_end_ends_its_connection_and_no_other() {
    let running = Running::start(Plan::Pro).await;
    let mut wire = Wire::to(&running).await;
    let head = format!(
        "POST /v1/log-shipping/tokens HTTP/1.1\r\nhost: h\r\nx-api-token: {}\r\ncontent-length: 99999999999\r\n\r\n",
        wire.api_token
    );
    wire.stream.write_all(head.as_bytes()).await.unwrap();
    let (status, text) = wire.answer().await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("connection: close"), "{text}");
    assert_eq!(running.admin().get("/v2/whoami").await.status, 200);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_not_waited_for() {
    let running = Running::start_with(Plan::Pro, |config| config.request_timeout_ms = 200).await;
    let mut wire = Wire::to(&running).await;
    let head = format!(
        "POST /v1/log-shipping/tokens HTTP/1.1\r\nhost: h\r\nx-api-token: {}\r\ncontent-length: 9\r\n\r\n{{",
        wire.api_token
    );
    wire.stream.write_all(head.as_bytes()).await.unwrap();
    let (status, text) = wire.answer().await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("connection: close") && text.contains("Request/BODY_TIMEOUT"), "{text}");
}

#[tokio::test]
async fn a_request_is_finished_when_its_client_has_gone() {
    let running = Running::start(Plan::Pro).await;
    let mut latest = running.store.latest_revision();
    let before = *latest.borrow_and_update();
    let mut wire = Wire::to(&running).await;
    let body = r#"{"name":"orphan"}"#;
    let request = format!(
        "POST {TOKENS} HTTP/1.1\r\nhost: h\r\nx-api-token: {}\r\ncontent-length: {}\r\n\r\n{body}",
        wire.api_token,
        body.len()
    );
    wire.stream.write_all(request.as_bytes()).await.unwrap();
    drop(wire);
    // Woken it may be without a reason, such as when a replica begins to listen.
    let committed = latest.wait_for(|revision| *revision > before);
    tokio::time::timeout(Duration::from_secs(30), committed).await.unwrap().unwrap();
    let found = running.admin().post(&format!("{TOKENS}/search"), "{}").await;
    assert_eq!(found.json["results"][1]["name"], "orphan");
}

#[tokio::test]
async fn draining_closes_idle_connections_and_frees_the_port() {
    let running = Running::start(Plan::Pro).await;
    let mut wire = Wire::to(&running).await;
    assert_eq!(wire.ask("GET /v2/whoami", b"").await.0, 200);
    running.shutdown.drain(Duration::from_secs(30)).await.unwrap();
    let mut rest = vec![];
    assert_eq!(wire.stream.read_to_end(&mut rest).await.unwrap(), 0);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn an_answer_that_is_not_ready_in_time_is_a_503_and_the_change_may_still_happen() {
    let running = Running::start_with(Plan::Pro, |config| config.request_timeout_ms = 200).await;
    let mut latest = running.store.latest_revision();
    latest.mark_unchanged();
    // Somebody else writes to the store, and takes their time.
    let url = format!("sqlite://{}", running.folder.path().join("control.db").display());
    let mut writing = sqlx::AnyConnection::connect(&url).await.unwrap();
    writing.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut wire = Wire::to(&running).await;
    let (status, text) = wire.ask("POST /v1/log-shipping/tokens", br#"{"name":"late"}"#).await;
    assert!(status == 503 && text.contains("Request/BUSY"), "{text}");
    assert_eq!(wire.ask("GET /v2/whoami", b"").await.0, 200, "reading goes on, on the same connection");
    writing.execute("ROLLBACK").await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), latest.changed()).await.unwrap().unwrap();
    let found = running.admin().post(&format!("{TOKENS}/search"), "{}").await;
    assert_eq!(found.json["results"][1]["name"], "late");
}
