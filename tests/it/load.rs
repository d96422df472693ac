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
    command.args(["--api", &format!("http://{}", gate.api), "--warm-up", "0", "--duration", "300ms"]);
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
