//! The program as its operator meets it: first start, settings, health, stopping.

use crate::harness::http::{Connection, Request};
use crate::harness::{API_TOKEN, Gate, SHIPPING_TOKEN, eventually, shipgate};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Starts on `folder` without any tokens configured and returns what it prints; it is stopped again.
fn start_and_read(folder: &std::path::Path) -> String {
    start_and_read_with(folder, Stdio::null())
}

fn start_and_read_with(folder: &std::path::Path, log: Stdio) -> String {
    let mut command = shipgate();
    command.env("SHIPGATE__DATA_DIR", folder);
    for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP"] {
        command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        said += &line;
        said.push('\n');
        if line.starts_with("data ") {
            break;
        }
    }
    let stopped = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(stopped.success());
    assert!(child.wait().unwrap().success());
    said
}

#[test]
fn the_first_start_prints_tokens_that_work_and_later_ones_print_none() {
    let folder = tempfile::tempdir().unwrap();
    let said = start_and_read(folder.path());
    let token = |name: &str| {
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).trim().to_owned()
    };
    let (shipping, api) = (token("shipping token"), token("API token"));
    assert_eq!(shipping.len(), 32);
    assert!(said.contains(&format!("token={shipping}")) && said.contains("curl"), "{said}");
    assert!(said.contains(&format!("X-API-TOKEN: {api}")), "{said}");
    assert!(said.contains("/#/setup?token="), "{said}");
    let again = start_and_read(folder.path());
    assert!(!again.contains("setup?token"), "{again}");
    assert!(!again.contains(&shipping) && !again.contains(&api), "{again}");
    assert!(again.contains("ingest  http://127.0.0.1:"), "{again}");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    start_and_read_with(folder.path(), full.into());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    start_and_read_with(folder.path(), writer.into());
}

#[test]
fn what_cannot_be_printed_is_an_error_and_no_defect() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["check-config", "--defaults"][..], &["check-config"]] {
        let output = shipgate().args(arguments).stdout(full()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.starts_with("shipgate: No space left"), "{told}");
    }
    let output = shipgate().args(["check-config", "--defaults"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shipgate::config::DEFAULTS);
    let output = shipgate().args(["token", "list", "--config", "a.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the command is wrong");
}

#[test]
fn wrong_settings_are_all_reported_and_nothing_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("never made");
    for arguments in [&[][..], &["check-config"]] {
        let output = shipgate()
            .args(arguments)
            .env("SHIPGATE__DATA_DIR", &data)
            .env("SHIPGATE__GATEWAY__HTTP", "here")
            .env("SHIPGATE__OPS__PORT", "1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("2 mistakes"), "{said}");
        assert!(said.contains("gateway.http") && said.contains("SHIPGATE__OPS__PORT"), "{said}");
    }
    assert!(!data.exists());
    let output = shipgate().arg("check-config").output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_wrong_command_line_is_told_what_must_be_typed_and_no_more() {
    for (line, usage) in [
        (&["token", "rename", "default"][..], "Usage: shipgate token rename [OPTIONS] <TOKEN> <NAME>\n"),
        (&["filter", "create", "env"], "Usage: shipgate filter create [OPTIONS] <FIELD> <VALUE>\n"),
        (&["tokens"], "Usage: shipgate [OPTIONS] [COMMAND]\n"),
    ] {
        let output = shipgate().args(line).env("SHIPGATE_API_TOKEN", API_TOKEN).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains(usage), "{told}");
        assert!(!told.contains(API_TOKEN), "{told}");
    }
}

#[test]
fn two_programs_do_not_share_a_data_folder() {
    let gate = Gate::start();
    let output = shipgate().env("SHIPGATE__DATA_DIR", gate.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another shipgate is running"), "{said}");
}

#[test]
fn health_is_told_on_a_port_of_its_own() {
    let gate = Gate::start();
    for path in ["/livez", "/readyz"] {
        assert_eq!(Request::get(path).send(gate.ops).status, 200, "{path}");
    }
    let healthy =
        shipgate().arg("healthcheck").env("SHIPGATE__OPS__HTTP", gate.ops.to_string()).output().unwrap();
    assert!(healthy.status.success());
    let ops = gate.ops;
    drop(gate);
    let gone = shipgate().arg("healthcheck").env("SHIPGATE__OPS__HTTP", ops.to_string()).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_stop_finishes_what_has_begun() {
    let mut gate = Gate::start();
    let body = "{\"message\":\"begun\"}\n";
    let mut upload = Connection::open(gate.ingest).unwrap();
    let mut idle = Connection::open(gate.ingest).unwrap();
    idle.write(&gate.shipper().request().body("").bytes()).unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    let request = gate.shipper().request().header("Content-Length", &body.len().to_string());
    upload.write(request.head().as_bytes()).unwrap();
    upload.write(&body.as_bytes()[..5]).unwrap();
    let admitted = r#"shipgate_gateway_auth_total{result="admitted"}"#;
    eventually("it has begun", || (gate.metric(admitted) >= 2.0).then_some(()));
    gate.signal("TERM");
    eventually("not ready", || (Request::get("/readyz").send(gate.ops).status == 503).then_some(()));
    assert!(idle.is_closed());
    eventually("nobody new", || Connection::open(gate.ingest).is_err().then_some(()));
    upload.write(&body.as_bytes()[5..]).unwrap();
    assert_eq!(upload.answer().unwrap().status, 200);
    assert!(gate.wait().success(), "{}", gate.log());
    assert_eq!(gate.stored(gate.account).len(), 1);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut gate = Gate::start();
    let mut upload = Connection::open(gate.ingest).unwrap();
    upload.write(gate.shipper().request().header("Content-Length", "100").head().as_bytes()).unwrap();
    let admitted = r#"shipgate_gateway_auth_total{result="admitted"}"#;
    eventually("it has begun", || (gate.metric(admitted) >= 1.0).then_some(()));
    gate.signal("TERM");
    eventually("not ready", || (Request::get("/readyz").send(gate.ops).status == 503).then_some(()));
    // Not one that comes right behind the first: that is a process group being told.
    let code = eventually("it ends at once", || {
        let ended = gate.try_wait();
        if ended.is_none() {
            gate.signal("TERM");
        }
        ended.map(|status| status.code())
    });
    assert_eq!(code, Some(130));
}

#[test]
fn a_start_that_fails_for_a_port_in_use_makes_no_account() {
    let gate = Gate::start();
    let folder = tempfile::tempdir().unwrap();
    for taken in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP"] {
        let mut command = shipgate();
        command.env("SHIPGATE__DATA_DIR", folder.path());
        for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP"] {
            command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
        }
        let output = command.env(format!("SHIPGATE__{taken}"), gate.ingest.to_string()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{taken}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&gate.ingest.to_string()) && said.contains("in use"), "{said}");
    }
    assert!(start_and_read(folder.path()).contains("shipping token"), "the first start is still to come");
}

#[test]
fn tokens_that_nobody_could_read_are_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = shipgate();
    command.env("SHIPGATE__DATA_DIR", folder.path()).stdout(std::fs::File::create("/dev/full").unwrap());
    for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP"] {
        command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
    }
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let file = folder.path().join("first-start.txt");
    let text =
        eventually("the file", || std::fs::read_to_string(&file).ok().filter(|text| text.contains("List")));
    assert!(text.contains("shipping token"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn no_secret_is_in_the_log_or_the_metrics() {
    let gate = Gate::start();
    let (id, token) = gate.admin().create("a secret one");
    let shipper = gate.shipper_with(&token, gate.account);
    eventually("created", || (shipper.ship(&["x"]).status == 200).then_some(()));
    shipper.request().body("nonsense").send(gate.ingest);
    Request::post("/?token=guessed-by-a-stranger").send(gate.ingest);
    Request::get(format!("/nowhere?token={token}")).send(gate.ingest);
    Request::get("/v1/whoami").header("X-API-TOKEN", "guessed-by-a-stranger").send(gate.api);
    gate.admin().delete(id);
    let (log, metrics) = (gate.log(), Request::get("/metrics").send(gate.ops).text());
    for secret in [token.as_str(), SHIPPING_TOKEN, API_TOKEN, "guessed-by-a-stranger"] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
        assert!(!metrics.contains(secret), "{secret} in the metrics");
    }
}

#[test]
fn an_operator_replaces_a_lost_api_token_and_sets_the_plan() {
    let gate = Gate::start();
    let operate = |arguments: &[&str]| {
        let output = shipgate().args(arguments).env("SHIPGATE__DATA_DIR", gate.data()).output().unwrap();
        let said =
            String::from_utf8(if output.status.success() { output.stdout } else { output.stderr }).unwrap();
        (output.status.code(), said.trim().to_owned())
    };
    let (code, token) = operate(&["reset-api-token"]);
    assert_eq!(code, Some(0), "{token}");
    let whoami = |token: &str| Request::get("/v1/whoami").header("X-API-TOKEN", token).send(gate.api).status;
    assert_eq!((whoami(&token), whoami(API_TOKEN)), (200, 403), "the lost one opens nothing any more");
    assert_eq!(operate(&["set-plan", "community"]).0, Some(0));
    let limits = Request::get("/v1/log-shipping/tokens/limits").header("X-API-TOKEN", &token).send(gate.api);
    assert_eq!(limits.json()["maxAllowedTokens"], 1);
    assert_eq!(operate(&["set-plan", "gold"]).0, Some(2));
}

#[test]
fn a_lost_database_does_not_give_its_accounts_logs_to_new_ones() {
    let mut gate = Gate::start();
    gate.shipper().ship(&["mine"]);
    gate.signal("TERM");
    gate.wait();
    for file in ["control.db", "control.db-wal", "control.db-shm"] {
        let _ = std::fs::remove_file(gate.data().join(file));
    }
    let output = shipgate().env("SHIPGATE__DATA_DIR", gate.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("control.db is missing") && said.contains("put the database back"), "{said}");
}

#[test]
fn a_file_that_is_no_database_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("control.db"), "not a database ".repeat(1_000)).unwrap();
    let mut command = shipgate();
    for key in ["GATEWAY__HTTP", "CONTROL__HTTP", "OPS__HTTP"] {
        command.env(format!("SHIPGATE__{key}"), "127.0.0.1:0");
    }
    let output = command.env("SHIPGATE__DATA_DIR", folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not a database"), "{said}");
}

#[test]
fn few_descriptors_mean_few_connections_and_a_gate_that_works() {
    let mut command = std::process::Command::new("sh");
    let program = shipgate().get_program().to_owned();
    command.args(["-c", "ulimit -n 128; exec \"$0\""]).arg(program);
    let gate = Gate::start_by(command, &[]);
    let idle: Vec<_> = (0..300).filter_map(|_| Connection::open(gate.ingest).ok()).collect();
    assert_eq!(Request::get("/readyz").send(gate.ops).status, 200);
    drop(idle);
    eventually("room", || {
        (gate.shipper().request().body("").try_send(gate.ingest).ok()?.status == 200).then_some(())
    });
    assert_eq!(gate.shipper().ship(&["kept"]).status, 200);
    gate.finish();
}
