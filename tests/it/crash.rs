//! What a 200 promised is kept through SIGKILL, again and again, and through a full disk.

use crate::harness::http::{Connection, Request};
use crate::harness::{Gate, SHIPPING_TOKEN, eventually, message, shipgate, stored};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 6;

/// Ships numbered logs until the connection breaks. Returns how many were acknowledged, and how many were sent.
fn ship_until_broken(gate: &Gate, round: usize, connection: usize, stop: &AtomicBool) -> (usize, usize) {
    let mut stream = Connection::open(gate.ingest).unwrap();
    let (mut acknowledged, mut sent) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let batch = 1 + (sent * 7 + connection) % 40;
        let body: String =
            (sent..sent + batch).map(|n| format!("{{\"message\":\"{round}-{connection}-{n}\"}}\n")).collect();
        sent += batch;
        let request = Request::post(format!("/?token={SHIPPING_TOKEN}")).body(body);
        if stream.write(&request.bytes()).is_err() {
            break;
        }
        match stream.answer() {
            Ok(answer) if answer.status == 200 => acknowledged = sent,
            _ => break,
        }
    }
    (acknowledged, sent)
}

#[test]
fn no_acknowledged_line_is_lost_or_doubled_by_kill_9() {
    // Small files, so that the kills fall into seals and checkpoints, too.
    let mut gate = Gate::start_with(&[
        ("JOURNAL__SEGMENT_BYTES", "65536"),
        ("LOGS__FILE_BYTES_MAX", "20000"),
        ("LOGS__CHECKPOINT_INTERVAL_MS", "20"),
    ]);
    let mut shipped = HashMap::new();
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let gate_ref = &gate;
            let stop = &stop;
            let shippers: Vec<_> = (0..CONNECTIONS)
                .map(|connection| scope.spawn(move || ship_until_broken(gate_ref, round, connection, stop)))
                .collect();
            std::thread::sleep(Duration::from_millis(150 + 70 * round as u64));
            gate.signal("KILL");
            for (connection, shipper) in shippers.into_iter().enumerate() {
                shipped.insert((round, connection), shipper.join().unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
        gate = gate.crash_and_restart();
    }
    let account = gate.account;
    gate.signal("TERM");
    assert!(gate.wait().success(), "{}", gate.log());
    let mut last_of: HashMap<(usize, usize), usize> = HashMap::new();
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for line in gate.stored(account) {
        let message = message(&line);
        let numbers: Vec<usize> = message.split('-').map(|number| number.parse().unwrap()).collect();
        let key = (numbers[0], numbers[1]);
        let in_order = last_of.insert(key, numbers[2]).is_none_or(|before| numbers[2] == before + 1);
        assert!(in_order, "{message} is doubled or out of order");
        *counts.entry(key).or_default() += 1;
    }
    let mut lines = 0;
    for (key, (acknowledged, sent)) in shipped {
        let stored = counts.get(&key).copied().unwrap_or(0);
        assert!((acknowledged..=sent).contains(&stored), "{key:?}: {acknowledged} <= {stored} <= {sent}");
        lines += acknowledged;
    }
    assert!(lines > 1_000, "only {lines} lines were acknowledged in all");
}

/// The program in a mount namespace of its own, with a small disk for its data. Needs no root where users may make namespaces.
#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let wrapper = folder.path().join("on-a-small-disk");
    let script = format!(
        "#!/bin/sh\nexec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=24m tmpfs {disk} && exec {program} \"$@\"' sh \"$@\"\n",
        disk = disk.display(),
        program = shipgate().get_program().display(),
    );
    std::fs::write(&wrapper, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).unwrap();
    let data = disk.join("data");
    let mut gate = Gate::start_by(
        std::process::Command::new(&wrapper),
        &[
            ("DATA_DIR", data.to_str().unwrap()),
            ("JOURNAL__SEGMENT_BYTES", "1048576"),
            ("LOGS__FILE_BYTES_MAX", "1048576"),
            ("LOGS__CHECKPOINT_INTERVAL_MS", "50"),
        ],
    );
    // The disk as the program sees it.
    let inside = format!("/proc/{}/root", gate.pid());
    let inside = std::path::Path::new(&inside).join(data.strip_prefix("/").unwrap());
    let ballast = inside.join("ballast");
    let shipper = gate.shipper();
    assert_eq!(shipper.ship(&["before"]).status, 200);
    let _ = std::fs::write(&ballast, vec![b'x'; 64 << 20]);
    // Incompressible, or it would take long to fill what is left.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = move || {
        let mut text = String::new();
        for _ in 0..4_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text += &format!("{seed:016x}");
        }
        text
    };
    let refused = eventually("the disk is full", || {
        let answer = shipper.ship(&[&noise()]);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let ready = Request::get("/livez").send(gate.ops);
    assert_eq!(ready.status, 200);
    eventually("not ready while full", || {
        (Request::get("/readyz").send(gate.ops).status == 503).then_some(())
    });
    std::fs::remove_file(&ballast).unwrap();
    eventually("ready without traffic", || {
        (Request::get("/readyz").send(gate.ops).status == 200).then_some(())
    });
    eventually("room again", || (shipper.ship(&["after"]).status == 200).then_some(()));
    let acknowledged = gate.acknowledged(gate.account);
    // Everything reaches the log while the program runs: its disk ends with it.
    eventually("every line is in the log", || {
        let mut stored: Vec<_> = stored_if_readable(&inside, gate.account)?;
        let mut expect = acknowledged.clone();
        stored.sort();
        expect.sort();
        (stored == expect).then_some(())
    });
    gate.signal("TERM");
    assert!(gate.wait().success(), "{}", gate.log());
}

/// `None` while a frame is being written.
fn stored_if_readable(data: &std::path::Path, account: u32) -> Option<Vec<String>> {
    let lines = std::panic::catch_unwind(|| stored(data, account)).ok()?;
    Some(lines.iter().map(|line| message(line)).collect())
}
