//! Several programs over one PostgreSQL.

use crate::harness::postgres::Postgres;
use crate::harness::{Gate, eventually, shipgate};
use std::process::Stdio;

const TOKEN_KEY: (&str, &str) =
    ("CONTROL__TOKEN_KEY", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");

#[test]
fn four_that_start_at_once_make_one_account_and_obey_each_others_admins() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let settings = [("CONTROL__STORE", url.as_str()), TOKEN_KEY];
    let gates: Vec<Gate> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| Gate::start_with(&settings))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(gates.iter().all(|gate| gate.account == gates[0].account));
    let created = server.sql("test_0", "SELECT count(*) FROM audit WHERE action = 'account.create'");
    assert_eq!(created, "1");
    let (id, token) = gates[0].admin().create("of the first");
    for gate in &gates {
        let shipper = gate.shipper_with(&token, gate.account);
        eventually("created", || (shipper.ship(&["created"]).status == 200).then_some(()));
    }
    gates[3].admin().set_enabled(id, "of the first", false);
    for gate in &gates {
        let shipper = gate.shipper_with(&token, gate.account);
        eventually("disabled", || (shipper.ship(&["disabled"]).status == 401).then_some(()));
    }
    for gate in gates {
        gate.finish();
    }
}

#[test]
fn a_replica_with_another_key_is_refused_and_told_why() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    Gate::start_with(&[("CONTROL__STORE", url.as_str()), TOKEN_KEY]).finish();
    let folder = tempfile::tempdir().unwrap();
    let start = |key: &str| {
        let started = shipgate()
            .env("SHIPGATE__DATA_DIR", folder.path())
            .env("SHIPGATE__CONTROL__STORE", &url)
            .env("SHIPGATE__CONTROL__TOKEN_KEY", key)
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert!(!started.status.success());
        String::from_utf8(started.stderr).unwrap()
    };
    let wrong = start(&"ff".repeat(32));
    assert!(wrong.contains("the token key is not the one this store was made with"), "{wrong}");
    let missing = start("");
    assert!(missing.contains("token.key is missing"), "{missing}");
}
