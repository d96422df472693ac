//! The commands as they are typed, against a real control plane.

use super::*;
use crate::clock::Clock;
use crate::control::first_start::{Bootstrap, FirstStart, bootstrap};
use crate::control::{Config, open_store, start};
use crate::domain::plan::Plan;
use crate::domain::token::GatewayCredential;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use clap::Parser;
use std::net::SocketAddr;
use std::sync::Arc;

#[derive(Debug, Parser)]
#[command(name = "shipgate")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &[&str]) -> Result<Command, clap::Error> {
    let words = std::iter::once("shipgate").chain(line.iter().copied());
    Line::try_parse_from(words).map(|line| line.command)
}

struct Server {
    _folder: tempfile::TempDir,
    _shutdown: Shutdown,
    url: String,
    first: FirstStart,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: format!("sqlite://{}", folder.path().join("control.db").display()),
            token_key: None,
            key_file: folder.path().join("token.key"),
            credential: GatewayCredential::parse("credential-of-gateways").unwrap(),
            body_bytes_max: 65_536,
            request_timeout_ms: 10_000,
            connections_max: 10,
            revisions_max: 100,
        };
        let store = open_store(&config, Clock::system()).await.unwrap();
        let wanted = Bootstrap {
            account_name: "main".to_owned(),
            plan: Plan::Pro,
            api_token: None,
            shipping_token: None,
        };
        let first = bootstrap(&store, wanted).await.unwrap().unwrap();
        let shutdown = Shutdown::new();
        let address = start(&config, store, Arc::new(Metrics::new()), shutdown.tasks()).await.unwrap();
        Self { _folder: folder, _shutdown: shutdown, url: format!("http://{address}/"), first }
    }

    async fn run(&self, line: &[&str]) -> Result<String, ClientError> {
        self.run_with(line, self.first.api_token.expose()).await
    }

    async fn run_with(&self, line: &[&str], api_token: &str) -> Result<String, ClientError> {
        let flags = ["--url", &self.url, "--api-token", api_token];
        run(parse(&[line, &flags].concat()).unwrap()).await
    }

    async fn json(&self, line: &[&str]) -> Value {
        let printed = self.run(&[line, &["--json"]].concat()).await.unwrap();
        serde_json::from_str(&printed).unwrap()
    }
}

fn told(answer: Result<String, ClientError>) -> (u8, String) {
    let error = answer.unwrap_err();
    (error.exit_code(), error.to_string())
}

#[tokio::test]
async fn tokens_are_managed_by_name_or_id() {
    let server = Server::start().await;
    let printed = server.run(&["token", "create", "apac prod"]).await.unwrap();
    assert!(printed.starts_with("ID ") && printed.contains("1000001  apac prod  yes"), "{printed}");
    assert_eq!(server.json(&["token", "create", "spare", "--disabled"]).await["enabled"], false);
    assert_eq!(server.json(&["token", "enable", "spare"]).await["enabled"], true);
    assert_eq!(server.json(&["token", "disable", "1000002"]).await["enabled"], false);
    assert_eq!(server.json(&["token", "rename", "spare", "emea"]).await["name"], "emea");
    assert_eq!(server.json(&["token", "delete", "emea"]).await["id"], 1_000_002);
    let list = server.run(&["token", "list"]).await.unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.contains(server.first.shipping_token.expose()), "{list}");
    let ids: Vec<_> =
        server.json(&["token", "list"]).await.as_array().unwrap().iter().map(|t| t["id"].clone()).collect();
    assert_eq!(ids, [1_000_000, 1_000_001]);
}

#[tokio::test]
async fn accounts_are_created_and_listed() {
    let server = Server::start().await;
    let created = server.json(&["account", "create", "team", "--retention-days", "30"]).await;
    let sub = created["apiToken"].as_str().unwrap();
    let printed = server.run_with(&["token", "list"], sub).await.unwrap();
    assert!(printed.contains(created["accountToken"].as_str().unwrap()), "{printed}");
    let printed = server.run(&["account", "list"]).await.unwrap();
    assert!(printed.contains("team") && printed.contains("30 days"), "{printed}");
    let (code, text) = told(server.run_with(&["account", "list"], sub).await);
    assert!(code == 1 && text.contains("main account's"), "{text}");
    let printed = server.run(&["account", "create", "crew"]).await.unwrap();
    assert!(printed.contains("not shown again"), "{printed}");
}

#[tokio::test]
async fn refusals_say_why() {
    let server = Server::start().await;
    for (line, part) in [
        (&["token", "delete", "default"][..], "only log shipping token"),
        (&["token", "create", "default"], "another log shipping token with this name"),
        (&["token", "create", " "], "must not be empty"),
        (&["token", "disable", "nobody"], "no log shipping token with the id or name nobody"),
        (&["account", "create", "main"], "another account with this name"),
    ] {
        let (code, text) = told(server.run(line).await);
        assert!(code == 1 && text.contains(part), "{line:?}: {text}");
    }
    let (code, text) = told(server.run_with(&["token", "list"], "wrong-wrong-wrong-wrong").await);
    assert!(code == 1 && text.contains("not accepted") && !text.contains("wrong-wrong"), "{text}");
}

#[tokio::test]
async fn a_name_that_is_another_ones_id_is_ambiguous() {
    let server = Server::start().await;
    server.run(&["token", "create", "1000000"]).await.unwrap();
    let (code, text) = told(server.run(&["token", "disable", "1000000"]).await);
    assert!(code == 1 && text.contains("1000001"), "{text}");
    server.run(&["token", "rename", "1000001", "plain"]).await.unwrap();
    server.run(&["token", "disable", "1000000"]).await.unwrap();
}

#[tokio::test]
async fn a_wrong_address_is_explained() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, code, part) in [
        (format!("http://{free}"), 1, "is it running"),
        ("https://logs.example".to_owned(), 2, "https is not supported yet"),
        ("127.0.0.1:8072".to_owned(), 2, "not an address"),
        ("".to_owned(), 2, "not an address"),
    ] {
        let command = parse(&["token", "list", "--url", &url, "--api-token", "a-well-formed-token"]).unwrap();
        let (got, text) = told(run(command).await);
        assert!(got == code && text.contains(part), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_missing_api_token_is_explained() {
    for secret in ["", "\n"] {
        let (code, text) = told(run(parse(&["token", "list", "--api-token", secret]).unwrap()).await);
        assert!(code == 2 && text.contains("SHIPGATE_API_TOKEN"), "{text}");
    }
}

#[test]
fn commands_are_checked_and_show_no_secret() {
    for line in [&["token"][..], &["token", "create"], &["account", "create", "a", "--retention-days", "x"]] {
        assert!(parse(line).is_err(), "{line:?}");
    }
    let command = parse(&["token", "--api-token", "abcdefghijklmnop", "list"]).unwrap();
    assert!(!format!("{command:?}").contains("abcdefghijklmnop"));
}
