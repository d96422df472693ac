//! The load harness against the whole program: what it reports, and what it proves.

use crate::harness::{API_TOKEN, Gate, SHIPPING_TOKEN, eventually, log_files, shipgate};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A run that is over: what it printed, and its JSON.
struct Run {
    output: Output,
    report: Value,
}

fn load(gate: &Gate, scenario: &str, flags: &[&str]) -> Command {
    let mut command = shipgate();
    command.args(["load", scenario, "--url", &format!("http://{}", gate.ingest), "--json", "-"]);
    command.args(["--api", &format!("http://{}", gate.api), "--warm-up", "0", "--duration", "1500ms"]);
    command.env("SHIPPING_TOKEN", SHIPPING_TOKEN).env("SHIPGATE_API_TOKEN", API_TOKEN);
    command.args(flags);
    command
}

fn run(gate: &Gate, scenario: &str, flags: &[&str]) -> Run {
    let output = load(gate, scenario, flags).output().expect("the harness");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{scenario} {flags:?}: {text}");
    let report = serde_json::from_slice(&output.stdout).expect("JSON");
    Run { output, report }
}

fn count(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {report:#}"))
}

fn ledger(gate: &Gate) -> PathBuf {
    gate.folder.path().join("run.ledger")
}

/// Compares the ledger with the logs: the findings, and whether all was well.
fn verify(ledger: &Path, logs: &Path) -> (Value, bool) {
    let (ledger, logs) = (ledger.to_str().unwrap(), logs.to_str().unwrap());
    let output =
        shipgate().args(["load", "verify", "--json", "--ledger", ledger, "--logs", logs]).output().unwrap();
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (findings, output.status.success())
}

fn stop(mut gate: Gate) -> Gate {
    gate.signal("TERM");
    assert!(gate.wait().success(), "{}", gate.log());
    gate
}

#[test]
fn a_steady_run_is_measured_and_proven() {
    let gate = Gate::start();
    let (path, pid) = (ledger(&gate), gate.pid().to_string());
    let flags = ["--connections", "4", "--batch-lines", "20", "--server-pid", &pid];
    let run = run(&gate, "steady", &[&flags[..], &["--ledger", path.to_str().unwrap()]].concat());
    let table = String::from_utf8_lossy(&run.output.stderr);
    assert!(table.contains("lines/s per core"), "{table}");
    let lines = count(&run.report, "/traffic/accepted/lines");
    assert!(lines >= 20 && lines.is_multiple_of(20), "{lines}");
    assert_eq!(count(&run.report, "/traffic/offered/lines"), lines);
    assert!(run.report["server"]["cpu_seconds"].as_f64().unwrap() > 0.0);

    let gate = stop(gate);
    let (findings, clean) = verify(&path, &gate.data().join("logs"));
    assert!(clean, "{findings:#}");
    // What was answered after the end is acknowledged, too.
    assert!(count(&findings, "/acknowledged") >= lines, "{findings:#}");
    assert_eq!(count(&findings, "/stored"), count(&findings, "/acknowledged"));

    plant_and_find(&gate, &path);
}

/// Takes lines out of the log and puts some in twice.
fn plant_and_find(gate: &Gate, ledger: &Path) {
    let log = log_files(&gate.data(), gate.account).pop().unwrap();
    let text = gate.stored(gate.account);
    let kept = &text[3..];
    let planted = [kept, &kept[..2]].concat().join("\n");
    std::fs::write(&log, zstd::encode_all(planted.as_bytes(), 1).unwrap()).unwrap();
    let (findings, clean) = verify(ledger, &gate.data().join("logs"));
    assert!(!clean);
    assert_eq!(
        (count(&findings, "/lost/count"), count(&findings, "/duplicated/count")),
        (3, 2),
        "{findings:#}"
    );
}

#[test]
fn kill_9_in_mid_run_loses_nothing_and_doubles_nothing() {
    let mut gate = Gate::start_with(&[("LOGS__CHECKPOINT_INTERVAL_MS", "50")]);
    let path = ledger(&gate);
    let flags = ["--duration", "60s", "--connections", "8", "--batch-lines", "10"];
    let mut command = load(&gate, "steady", &[&flags[..], &["--ledger", path.to_str().unwrap()]].concat());
    let child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("it ships", || (gate.metric("shipgate_logs_appended_bytes_total") > 100_000.0).then_some(()));
    gate.kill();
    // Ctrl-C ends a run early, and it still reports.
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(child.wait_with_output().unwrap().status.success());
    let gate = stop(gate.crash_and_restart());
    let (findings, clean) = verify(&path, &gate.data().join("logs"));
    assert!(clean, "{findings:#}");
    assert!(count(&findings, "/acknowledged") >= 500, "{findings:#}");
    assert!(count(&findings, "/unknown") > 0, "{findings:#}");
}

/// What a scenario must show besides accepted batches: the pointer to a count, or nothing.
type Shows = Option<&'static str>;

/// Runs scenarios one after another on one gate, and proves each.
fn run_all(gate: &Gate, scenarios: &[(&str, &[&str], Shows)]) {
    let few = ["--connections", "2", "--batch-lines", "5", "--side-connections", "3"];
    for (scenario, flags, shows) in scenarios {
        let path = ledger(gate);
        let flags = [&few[..], flags, &["--ledger", path.to_str().unwrap()]].concat();
        let run = run(gate, scenario, &flags);
        for pointer in ["/traffic/accepted/batches"].into_iter().chain(*shows) {
            assert!(count(&run.report, pointer) > 0, "{scenario} {flags:?}: {:#}", run.report);
        }
        let (findings, clean) = verify(&path, &gate.data().join("logs"));
        assert!(clean, "{scenario} {flags:?}: {findings:#}");
    }
}

#[test]
fn every_way_to_send_is_taken_and_stored() {
    let gate = Gate::start();
    run_all(
        &gate,
        &[
            ("single-line", &[], None),
            ("steady", &["--rate", "200"], None),
            ("steady", &["--http", "2"], None),
            ("steady", &["--encoding", "gzip", "--shape", "mixed"], None),
            ("steady", &["--encoding", "zstd", "--shape", "utf8"], None),
            ("mixed-bad-lines", &["--batch-lines", "100"], Some("/traffic/answered_by_status/400/batches")),
            ("huge-lines", &["--batch-lines", "2", "--duration", "1s"], None),
            ("many-tokens", &["--create-tokens", "3"], None),
            ("many-accounts", &["--create-accounts", "3", "--tokens-each", "2"], None),
        ],
    );
    let tokens = gate.admin().call("POST", "/v1/log-shipping/tokens/search", Some(serde_json::json!({})));
    assert_eq!(tokens.json()["total"], 1, "what was created was deleted: {}", tokens.text());
}

#[test]
fn the_traffic_goes_on_whoever_disturbs_it() {
    let gate = Gate::start();
    run_all(
        &gate,
        &[
            ("bad-tokens", &[], Some("/sides/unknown tokens/answered 401")),
            ("bombs", &["--duration", "1s"], Some("/sides/bombs/answered 413")),
            ("slow-clients", &[], Some("/sides/slow clients/open")),
            ("connections", &[], Some("/sides/idle connections/open")),
            ("churn", &["--side-rate", "100"], Some("/sides/token changes/changes a second")),
        ],
    );
    let tokens = gate.admin().call("POST", "/v1/log-shipping/tokens/search", Some(serde_json::json!({})));
    assert_eq!(tokens.json()["total"], 1, "what was created was deleted: {}", tokens.text());
}

#[test]
fn ships_over_tls_with_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let settings = [("GATEWAY__TLS__CERTIFICATE", certificate), ("GATEWAY__TLS__PRIVATE_KEY", key)];
    let gate = Gate::start_with(&settings);
    let url = format!("https://{}", gate.https.unwrap());
    for http in ["1", "2"] {
        let run =
            run(&gate, "steady", &["--connections", "4", "--url", &url, "--http", http, "--ca", certificate]);
        assert!(count(&run.report, "/traffic/accepted/batches") > 0, "{:#}", run.report);
    }
    let untrusted = load(&gate, "steady", &["--url", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&untrusted.stderr);
    assert!(said.contains("--ca"), "{said}");
}

#[test]
fn an_open_loop_counts_from_when_a_batch_was_due() {
    let gate = Gate::start();
    // Far more than one connection can carry: batches wait their turn, and that is latency.
    let run = run(&gate, "steady", &["--connections", "1", "--rate", "200000", "--batch-lines", "50"]);
    assert!(count(&run.report, "/traffic/never_begun") > 0, "{:#}", run.report);
    assert!(run.report["traffic"]["latency"]["p99"].as_f64().unwrap() > 100.0, "{:#}", run.report);
}

#[test]
fn results_are_written_where_they_are_wanted() {
    let gate = Gate::start();
    let page = gate.folder.path().join("report.html");
    run(&gate, "steady", &["--report", page.to_str().unwrap()]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("Latency by share of batches"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http-equiv") && !page.contains("NaN"), "{page}");
}

#[test]
fn what_cannot_work_says_what_to_do() {
    let gate = Gate::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (flags, code, expect) in [
        (vec!["--url", &format!("http://{nobody}")], 1, "is the server running"),
        (vec!["--token", "not-a-token-of-this-server"], 1, "the tokens are not valid"),
        (vec!["--url", "nonsense"], 2, "is not an address"),
        (vec!["--server-pid", "4294967295"], 1, "no process"),
        (vec!["--create-tokens", "99"], 1, "--create-accounts"),
        (vec!["--sample", "/does/not/exist"], 1, "cannot read the sample"),
    ] {
        let output = load(&gate, "steady", &flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        assert!(said.contains(expect), "{flags:?}: {said}");
    }
    let one = load(&gate, "many-tokens", &[]).output().unwrap();
    assert_eq!(one.status.code(), Some(2), "{}", String::from_utf8_lossy(&one.stderr));
}
