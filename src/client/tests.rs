//! The commands as they are typed, against a real control plane.

use super::*;
use crate::clock::Clock;
use crate::control::first_start::{Bootstrap, FirstStart, bootstrap};
use crate::control::{Config, open_store, start};
use crate::domain::plan::Plan;
use crate::domain::token::GatewayCredential;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::database::Location;
use crate::store::sessions::SessionLimits;
use clap::Parser;
use std::net::SocketAddr;
use std::sync::Arc;

mod sharing;

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
    folder: tempfile::TempDir,
    _shutdown: Shutdown,
    url: String,
    store: Store,
    first: FirstStart,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            tls: None,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: Location::Sqlite(folder.path().join("control.db")),
            token_key: None,
            key_file: folder.path().join("token.key"),
            credential: GatewayCredential::parse("credential-of-gateways").unwrap(),
            body_bytes_max: 65_536,
            request_timeout_ms: 10_000,
            connections_max: 10,
            revisions_max: 100,
            logs_dir: None,
            sessions: SessionLimits { idle_ms: 43_200_000, age_ms_max: 604_800_000 },
            listener: crate::control::listener::Listener::default(),
            public_url: None,
            trusted_proxies: vec![],
            console_frame_ancestors: vec![],
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
        let address =
            start(&config, store.clone(), None, Arc::new(Metrics::new()), shutdown.tasks()).await.unwrap();
        Self { folder, _shutdown: shutdown, url: format!("http://{}/", address.http), store, first }
    }

    async fn run(&self, line: &[&str]) -> Result<String, Failure> {
        self.run_with(line, self.first.api_token.expose()).await
    }

    async fn run_with(&self, line: &[&str], api_token: &str) -> Result<String, Failure> {
        let flags = ["--url", &self.url, "--api-token", api_token];
        run(parse(&[line, &flags].concat()).unwrap()).await
    }

    async fn json(&self, line: &[&str]) -> Value {
        let printed = self.run(&[line, &["--json"]].concat()).await.unwrap();
        serde_json::from_str(&printed).unwrap()
    }
}

fn told(answer: Result<String, Failure>) -> (u8, String) {
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
async fn a_token_is_made_with_terms_and_replaced() {
    let server = Server::start().await;
    let file = server.folder.path().join("value");
    std::fs::write(&file, "a-value-that-shippers-have\n").unwrap();
    let value_file = file.to_str().unwrap();
    let line = "token create contractor --expires-in 30d --scope-source 10.0.0.0/8 --scope-source 192.0.2.7 \
                --scope-type nginx --would-refuse --value-file";
    let line: Vec<_> = line.split_whitespace().chain([value_file]).collect();
    let created = server.run(&line).await.unwrap();
    assert!(created.contains("a-value-that-shippers-have"), "{created}");
    assert!(created.contains("until 20"), "{created}");
    assert!(created.ends_with("from 10.0.0.0/8 192.0.2.7/32, type nginx, dry run"), "{created}");
    let line = "token set contractor --no-expiry --scope-type k8s --would-refuse no";
    let set = server.run(&line.split(' ').collect::<Vec<_>>()).await.unwrap();
    assert!(set.ends_with("  type k8s"), "{set}");
    let set = server.json(&["token", "set", "contractor", "--no-scope", "--expires-in", "90m"]).await;
    assert!(set["scope"].is_null() && set["expiresAt"].is_number(), "{set}");
    let rotated = server.run(&["token", "rotate", "default", "--overlap", "2d", "--quiet-for", "1h"]).await;
    let rotated = rotated.unwrap();
    assert!(
        rotated.contains("1000002  default ") && rotated.contains("1000000  default (until "),
        "{rotated}"
    );
    assert!(rotated.lines().last().unwrap().contains("being retired until 20"), "{rotated}");
    assert!(rotated.ends_with("or unused for 3600 s"), "{rotated}");
    assert_eq!(server.run(&["token", "limits"]).await.unwrap(), "2 of at most 15 enabled, 1 being retired");
    let digest = "ab".repeat(32);
    let unknown = server.run(&["token", "rotate", "contractor", "--digest", &digest]).await.unwrap();
    assert!(unknown.contains("(not known)"), "{unknown}");
    let (code, text) = told(server.run(&["token", "set", "contractor"]).await);
    assert!(code == 2 && text.contains("nothing to change"), "{text}");
    let (code, text) = told(server.run(&["token", "create", "x", "--value-file", "/nowhere"]).await);
    assert!(code == 1 && text.contains("/nowhere"), "{text}");
    for line in [
        &["token", "create", "x", "--expires-in", "soon"][..],
        &["token", "create", "x", "--expires-in", "0.5d"],
        &["token", "create", "x", "--expires-in", "0d"],
        &["logs", "search", "--since", "yesterday"],
        &["logs", "export", "--to", ""],
        &["audit", "--since", "rubbish"],
        &["token", "create", "x", "--digest", &digest, "--value-file", "f"],
        &["token", "set", "x", "--no-scope", "--scope-type", "t"],
        &["token", "set", "x", "--no-expiry", "--expires-in", "1d"],
    ] {
        assert!(parse(line).is_err(), "{line:?}");
    }
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
    assert!(
        code == 1 && text.contains("one of the sub-account \"team\": this needs one of its main account"),
        "{text}"
    );
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
        (&["token", "disable", "nobody"], "no log shipping token of the account with the id or name nobody"),
        (&["account", "create", "main"], "another account with this name"),
    ] {
        let (code, text) = told(server.run(line).await);
        assert!(code == 1 && text.contains(part), "{line:?}: {text}");
    }
    let (code, text) = told(server.run_with(&["token", "list"], "wrong-wrong-wrong-wrong").await);
    assert!(code == 1 && text.contains("the API token is wrong") && !text.contains("wrong-wrong"), "{text}");
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
        ("https://".to_owned(), 2, "not an address"),
        ("127.0.0.1:8072".to_owned(), 2, "not an address"),
        ("".to_owned(), 2, "not an address"),
    ] {
        let command = parse(&["token", "list", "--url", &url, "--api-token", "a-well-formed-token"]).unwrap();
        let (got, text) = told(run(command).await);
        assert!(got == code && text.contains(part), "{url}: {text}");
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_explained() {
    let command =
        &["token", "list", "--url", "https://127.0.0.1:1", "--ca-file", "/none", "--api-token", "abcdefghij"];
    let (code, text) = told(run(parse(command).unwrap()).await);
    assert!(code == 2 && text.contains("/none") && text.contains("SHIPGATE_CA_FILE"), "{text}");
}

#[tokio::test]
async fn a_missing_api_token_is_explained() {
    for secret in ["", "\n"] {
        let (code, text) = told(run(parse(&["token", "list", "--api-token", secret]).unwrap()).await);
        assert!(code == 2 && text.contains("SHIPGATE_API_TOKEN"), "{text}");
        let (code, text) = told(run(parse(&["logs", "search", "--api-token", secret]).unwrap()).await);
        assert!(code == 2 && text.contains("no credential: set SHIPGATE_API_TOKEN"), "{text}");
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

#[tokio::test]
async fn a_change_says_in_words_what_it_did() {
    let server = Server::start().await;
    server.run(&["token", "create", "apac prod"]).await.unwrap();
    server.run(&["token", "create", "spare"]).await.unwrap();
    for (line, told) in [
        (&["token", "limits"][..], "3 of at most 15 enabled"),
        (&["token", "rename", "spare", "emea"], "renamed: 1000002 \"spare\" is now \"emea\""),
        (&["token", "disable", "emea"], "disabled: 1000002 \"emea\""),
        (&["token", "enable", "emea"], "enabled: 1000002 \"emea\""),
        (
            &["token", "disable", "default"],
            "disabled: 1000000 \"default\"\nthe account's default token is now 1000001 \"apac prod\"",
        ),
        (&["token", "delete", "default"], "deleted: 1000000 \"default\""),
        (
            &["token", "delete", "1000001"],
            "deleted: 1000001 \"apac prod\"\nthe account's default token is now 1000002 \"emea\"",
        ),
    ] {
        assert_eq!(server.run(line).await.unwrap(), told, "{line:?}");
    }
    let shown = server.run(&["token", "show", "emea"]).await.unwrap();
    assert!(shown.starts_with("ID ") && shown.contains("1000002  emea"), "{shown}");
}

#[tokio::test]
async fn a_wait_ends_with_3_when_a_gateway_does_not_confirm() {
    let server = Server::start().await;
    server.run(&["token", "create", "spare"]).await.unwrap();
    let told_of_none = server.run(&["token", "disable", "spare", "--wait"]).await.unwrap();
    assert!(told_of_none.ends_with("\nenforced by 0 gateways within 0.0 ms"), "{told_of_none}");
    let made = server.run(&["token", "create", "urgent", "--wait"]).await.unwrap();
    assert!(made.contains("urgent  yes") && made.contains("\nenforced by 0 gateways within "), "{made}");
    server.store.gateway_follows("cut off").await.unwrap();
    let (code, text) = told(server.run(&["token", "delete", "spare", "--wait=0"]).await);
    assert!(code == 3 && text.starts_with("deleted: 1000001 \"spare\"\nit is done, but"), "{text}");
    assert!(text.contains("cut off") && text.contains("revision 0"), "{text}");
    let (code, text) = told(server.run(&["token", "create", "late", "--wait=0"]).await);
    assert!(code == 3 && text.contains("late") && text.contains("may still act as before"), "{text}");
    let list = server.run(&["gateways"]).await.unwrap();
    assert!(list.starts_with("ID ") && list.contains("cut off"), "{list}");
    assert_eq!(server.run(&["gateways", "forget", "cut off"]).await.unwrap(), "forgotten: cut off");
    assert!(parse(&["token", "disable", "spare", "--wait=31"]).is_err());
}

#[tokio::test]
async fn accounts_are_shown_and_changed_with_all_their_settings() {
    let server = Server::start().await;
    let line = "account create team --retention-days 3 --rate-bytes 1000 --durability written";
    server.run(&line.split(' ').collect::<Vec<_>>()).await.unwrap();
    let shown = server.run(&["account", "show", "team"]).await.unwrap();
    assert!(shown.contains("1000 bytes a second") && shown.contains("durability      written"), "{shown}");
    let line = "account update 1001 --name crew --retention-bytes 5000 --rate-bytes none --durability none";
    let updated = server.json(&line.split(' ').collect::<Vec<_>>()).await;
    let got = ["accountName", "retentionDays", "retentionBytesMax", "ingestBytesPerSecondMax", "durability"]
        .map(|key| updated[key].clone());
    assert_eq!(got, ["crew".into(), 3.into(), 5_000.into(), Value::Null, Value::Null]);
    let own = server.run(&["account", "show"]).await.unwrap();
    assert!(own.contains("plan            pro") && own.ends_with("1000000 \"default\""), "{own}");
    let (code, text) = told(server.run(&["account", "update", "crew"]).await);
    assert!(code == 2 && text.contains("nothing to change"), "{text}");
    let (code, text) = told(server.run(&["account", "show", "team"]).await);
    assert!(code == 1 && text.contains("`shipgate account list`"), "{text}");
}

#[tokio::test]
async fn api_tokens_are_replaced_from_the_command_line() {
    let server = Server::start().await;
    let created = server.json(&["api-token", "create", "ci"]).await;
    let fresh = created["token"].as_str().unwrap();
    let list = server.run_with(&["api-token", "list"], fresh).await.unwrap();
    assert!(list.lines().nth(2).unwrap().ends_with("by this command"), "{list}");
    let deleted = server.run_with(&["api-token", "delete", "admin"], fresh).await.unwrap();
    assert_eq!(deleted, "deleted: 1 \"admin\"");
    let (_, text) = told(server.run(&["token", "list"]).await);
    assert!(text.contains("the API token is wrong") && text.contains("reset-api-token"), "{text}");
    let (_, text) = told(server.run_with(&["api-token", "delete", "ci"], fresh).await);
    assert!(text.contains("last API token"), "{text}");
    server.run_with(&["account", "create", "team"], fresh).await.unwrap();
    let printed = server.run_with(&["api-token", "create", "x", "--account", "1001"], fresh).await.unwrap();
    assert!(printed.contains("not shown again"), "{printed}");
    server.run_with(&["account", "update", "team", "--retention-days", "9"], fresh).await.unwrap();
    let audit = server.run_with(&["audit", "--limit", "1"], fresh).await.unwrap();
    assert!(audit.ends_with("account:1001  retentionDays 7 -> 9"), "{audit}");
    let audit = server.run_with(&["audit", "--limit", "1"], fresh).await.unwrap();
    assert_eq!(audit.lines().count(), 2, "{audit}");
    assert!(
        audit.contains("api-token:ci") && audit.contains("1001") && audit.contains("127.0.0.1"),
        "{audit}"
    );
}

#[tokio::test]
async fn the_audit_trail_shows_dates_and_what_is_gone() {
    let server = Server::start().await;
    server.run(&["shared-token", "create", "partner"]).await.unwrap();
    let last = async || server.run(&["audit", "--limit", "1"]).await.unwrap();
    assert!(last().await.ends_with("name \"partner\""), "{}", last().await);
    server.run(&["shared-token", "set", "partner", "--expires-in", "30d"]).await.unwrap();
    assert!(last().await.contains("  expirationDate - -> 20"), "{}", last().await);
    server.run(&["shared-token", "set", "partner", "--no-expiry"]).await.unwrap();
    let told = last().await;
    assert!(told.contains("  expirationDate 20") && told.ends_with("Z -> -"), "{told}");
}

#[tokio::test]
async fn an_export_writes_over_nothing_and_names_the_file_that_it_cannot_write() {
    let server = Server::start().await;
    let folder = server.folder.path();
    let export = async |file: &std::path::Path, more: &[&str]| {
        let line = ["logs", "export", "-o", file.to_str().unwrap()];
        told(server.run(&[&line, more].concat()).await)
    };
    let there = folder.join("january.ndjson");
    std::fs::write(&there, "kept").unwrap();
    let (code, text) = export(&there, &[]).await;
    assert!(
        code == 2 && text.contains("january.ndjson is there already") && text.contains("--force"),
        "{text}"
    );
    let (code, text) = export(folder, &["--force"]).await;
    assert!(code == 2 && text.contains("is not a file"), "{text}");
    // This control plane has no logs: it was asked.
    let (code, text) = export(&there, &["--force"]).await;
    assert!(code == 1 && text.contains("has no logs"), "{text}");
    assert_eq!(std::fs::read(&there).unwrap(), b"kept");
}

#[test]
fn what_a_dry_run_would_stop_is_in_the_tables_of_uses() {
    let day = serde_json::json!({ "day": "2026-01-31", "requests": 9, "wouldRefuse": 7 });
    let usage =
        serde_json::json!({ "id": 1, "name": "old one", "requests": 9, "wouldRefuse": 8, "days": [day] });
    let shown = table::usage(&usage);
    let columns = |line: usize, name: &str| {
        let header = shown.lines().nth(line - 1).unwrap();
        shown.lines().nth(line).unwrap()[header.find(name).unwrap()..].chars().next()
    };
    assert_eq!((columns(1, "DRY RUN"), columns(4, "DRY RUN")), (Some('8'), Some('7')), "{shown}");
}

#[tokio::test]
async fn errors_are_json_when_json_is_asked_for() {
    let server = Server::start().await;
    let line = async |line: &[&str]| server.run(line).await.unwrap_err().line();
    let json = async |words: &[&str]| -> Value { serde_json::from_str(&line(words).await).unwrap() };
    let refused = json(&["token", "create", "default", "--json"]).await;
    assert_eq!(
        (&refused["code"], &refused["errorCode"]),
        (&400.into(), &"LogShippingTokens/NAME_TAKEN".into())
    );
    let missing = json(&["token", "show", "nobody", "--json"]).await;
    assert!(missing["message"].as_str().unwrap().contains("nobody"), "{missing}");
    assert!(line(&["token", "show", "nobody"]).await.starts_with("shipgate: there is no"));
}

#[test]
fn every_argument_is_explained() {
    use clap::CommandFactory;
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        for command in command.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            check(command);
        }
    }
    check(&Line::command());
}

/// The words of a command line, as a shell takes them apart, up to a comment or a pipe.
fn words(line: &str) -> Vec<String> {
    let quoted = |(number, part): (usize, &str)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    let words = line.split(['"', '\'']).enumerate().flat_map(quoted);
    words.take_while(|word| !["#", "|"].contains(&word.as_str())).collect()
}

#[test]
fn every_group_of_commands_has_examples_and_they_are_commands() {
    use clap::CommandFactory;
    let mut seen = 0;
    for command in Line::command().get_subcommands() {
        let help = command.get_after_help().unwrap_or_else(|| panic!("{}", command.get_name())).to_string();
        for line in help.lines().filter_map(|line| line.strip_prefix("  shipgate ")) {
            seen += 1;
            let words = words(line);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            if let Err(error) = parse(&words) {
                panic!("{line}\n{error}");
            }
        }
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn a_wrong_value_is_told_by_its_option_with_what_there_is() {
    for (line, option, told) in [
        ("logs search -n x", "--limit", "there are whole numbers from 1 to 100000"),
        ("logs search -n 100001", "--limit", "there are whole numbers from 1 to 100000"),
        ("logs export --since yesterday", "--from", "use RFC 3339"),
        ("audit --limit 0", "--limit", "there are whole numbers from 1 to 1000"),
        ("token create a --wait=x", "--wait", "there are whole numbers from 0 to 30"),
        ("token create a --digest zz", "--digest", "64 hexadecimal digits"),
        ("token create a --scope-source 10.0.0", "--scope-source", "a network is an address"),
        ("token rotate a --overlap 31d", "--overlap", "it is between 1s and 30d"),
    ] {
        let error = parse(&line.split(' ').collect::<Vec<_>>()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(option) && text.contains(told) && error.exit_code() == 2, "{line}: {text}");
    }
    assert!(parse(&["token", "rotate", "a", "--overlap", "30d"]).is_ok());
}

#[tokio::test]
async fn times_without_anything_between_them_are_a_mistake_of_the_command() {
    let server = Server::start().await;
    for line in ["logs search --from now --to now-1h", "logs export --from 1h --to 1h"] {
        let (code, text) = told(server.run(&line.split(' ').collect::<Vec<_>>()).await);
        assert!(code == 2 && text.contains("--from is not before --to"), "{line}: {text}");
    }
}
