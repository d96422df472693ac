//! On a PostgreSQL server of the tests' own.

use super::server::Postgres;
use super::*;
use std::process::Command;

/// Every other test of the store, by this very program.
#[test]
fn all_of_it_holds_on_postgresql() {
    let Some(server) = Postgres::start(&[]) else { return };
    let tests = Command::new(std::env::current_exe().unwrap())
        .env(SERVER, server.database())
        .arg("store::tests::")
        .args(["--skip", "store::tests::postgres::", "--skip", "store::tests::files::"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{said}{}", String::from_utf8_lossy(&tests.stderr));
    assert!(!said.contains("running 0 tests"), "{said}");
}
