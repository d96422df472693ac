//! Control plane and gateways apart: each goes on without the other, and they find together again.

use crate::harness::http::{Connection, Request};
use crate::harness::node::{Network, Node, Proxy};
use crate::harness::{API_TOKEN, SHIPPING_TOKEN, eventually, shipgate};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use shipgate::domain::token::TokenDigest;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

/// A control plane and a gateway, with a network between them.
struct Planes {
    folder: tempfile::TempDir,
    control: Node,
    network: Proxy,
    gateway: Node,
}

impl Planes {
    fn start(of_control: &[(&str, &str)], of_gateway: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Node::control(&folder.path().join("control"), of_control);
        let network = Proxy::to(control.api());
        let gateway = Node::gateway(&folder.path().join("gateway"), &[network.address], of_gateway);
        Self { folder, control, network, gateway }
    }

    fn restart_control(mut self) -> Self {
        self.control = self.control.crash_and_restart(&[]);
        self.network.lead_to(self.control.api());
        self
    }
}

#[test]
fn a_gateway_goes_on_without_its_control_plane_and_obeys_it_when_it_is_back() {
    let mut planes = Planes::start(&[], &[]);
    let (id, token) = planes.control.admin().create("one");
    planes.gateway.answers(&token, 200);
    assert_eq!(planes.gateway.metric("shipgate_control_connected"), 1.0);
    planes.control.kill();
    eventually("noticed", || (planes.gateway.metric("shipgate_control_connected") == 0.0).then_some(()));
    assert_eq!(planes.gateway.ship(&token), 200);
    assert_eq!(planes.gateway.ship("no-such-token-anywhere"), 401);
    let planes = planes.restart_control();
    planes.control.admin().set_enabled(id, "one", false);
    planes.gateway.answers(&token, 401);
    assert_eq!(planes.gateway.ship(SHIPPING_TOKEN), 200);
    assert_eq!(planes.gateway.readyz().text(), "ok\n");
}

#[test]
fn a_gateway_starts_without_its_control_plane_and_knows_what_it_knew() {
    let mut planes = Planes::start(&[], &[]);
    let admin = planes.control.admin();
    let ((kept, kept_token), (gone, gone_token)) = (admin.create("kept"), admin.create("gone"));
    planes.gateway.answers(&kept_token, 200);
    planes.gateway.answers(&gone_token, 200);
    let file = planes.gateway.data().join("directory.last_good");
    let digest = TokenDigest::of(&gone_token).to_hex();
    let last_line_of_it = || {
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        held.lines().rev().find(|line| line.contains(&digest)).map(str::to_owned)
    };
    eventually("the token is kept", last_line_of_it);
    admin.set_enabled(gone, "gone", false);
    planes.gateway.answers(&gone_token, 401);
    // It is appended as a delta, or the whole file was written after it.
    let is_revoked = || last_line_of_it().is_none_or(|line| line.contains("revoke")).then_some(());
    eventually("the revocation is kept", is_revoked);
    planes.control.kill();
    let gateway = planes.gateway.crash_and_restart(&[]);
    assert_eq!(gateway.ship(&kept_token), 200);
    assert_eq!(gateway.ship(&gone_token), 401, "what was revoked stays revoked");
    let ready = gateway.readyz();
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("serving the last good directory, last confirmed"), "{}", ready.text());
    assert!(ready.text().contains("cannot be reached"), "{}", ready.text());
    planes.gateway = gateway;
    let planes = planes.restart_control();
    planes.control.admin().set_enabled(kept, "kept", false);
    planes.gateway.answers(&kept_token, 401);
    assert_eq!(planes.gateway.readyz().text(), "ok\n");
}

#[test]
fn a_partition_stops_nothing_and_heals() {
    let planes = Planes::start(&[], &[]);
    let (id, token) = planes.control.admin().create("one");
    planes.gateway.answers(&token, 200);
    planes.network.set(Network::Partitioned);
    planes.control.admin().set_enabled(id, "one", false);
    // A stream is dead when it has been silent for three heartbeats.
    eventually("noticed", || (planes.gateway.metric("shipgate_control_connected") == 0.0).then_some(()));
    assert_eq!(planes.gateway.ship(&token), 200, "nobody could tell it");
    planes.network.set(Network::Whole);
    planes.gateway.answers(&token, 401);
}

#[test]
fn a_gateway_that_missed_too_much_starts_over_from_a_snapshot() {
    let planes = Planes::start(&[("CONTROL__REVISIONS_MAX", "3")], &[]);
    let admin = planes.control.admin();
    let (id, token) = admin.create("one");
    planes.gateway.answers(&token, 200);
    planes.network.set(Network::Closed);
    eventually("noticed", || (planes.gateway.metric("shipgate_control_connected") == 0.0).then_some(()));
    for round in 0..10 {
        admin.set_enabled(id, "one", round % 2 == 1);
    }
    let (_, late) = admin.create("late");
    admin.set_enabled(id, "one", false);
    planes.network.set(Network::Whole);
    planes.gateway.answers(&token, 401);
    assert_eq!(planes.gateway.ship(&late), 200);
    assert_eq!(planes.gateway.ship(SHIPPING_TOKEN), 200);
}

#[test]
fn a_gateway_moves_on_to_the_next_address() {
    let folder = tempfile::tempdir().unwrap();
    let control = Node::control(&folder.path().join("control"), &[]);
    let (one, two) = (Proxy::to(control.api()), Proxy::to(control.api()));
    let gateway = Node::gateway(&folder.path().join("gateway"), &[one.address, two.address], &[]);
    let (id, token) = control.admin().create("one");
    for round in 0..6 {
        gateway.answers(&token, 200);
        let (lost, left) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        left.set(Network::Whole);
        lost.set(Network::Closed);
        control.admin().set_enabled(id, "one", false);
        gateway.answers(&token, 401);
        control.admin().set_enabled(id, "one", true);
    }
}

#[test]
fn a_directory_that_is_too_old_is_treated_as_configured() {
    let mut planes = Planes::start(&[], &[("SYNC__STALE_AFTER_MS", "2500"), ("SYNC__WHEN_STALE", "refuse")]);
    planes.gateway.answers(SHIPPING_TOKEN, 200);
    planes.control.kill();
    planes.gateway.answers(SHIPPING_TOKEN, 503);
    eventually("told", || planes.gateway.readyz().text().contains("refusing batches").then_some(()));
    assert_eq!(planes.gateway.readyz().status, 503);
    let mut planes = planes.restart_control();
    planes.gateway.answers(SHIPPING_TOKEN, 200);
    planes.gateway = planes.gateway.crash_and_restart(&[("SYNC__WHEN_STALE", "refuse-new-connections")]);
    let mut old = Connection::open(planes.gateway.ingest()).unwrap();
    let mut ship = || {
        let request = Request::post(format!("/?token={SHIPPING_TOKEN}")).body("{\"message\":\"x\"}\n");
        old.write(&request.bytes()).unwrap();
        old.answer().unwrap().status
    };
    assert_eq!(ship(), 200);
    planes.control.kill();
    planes.gateway.answers(SHIPPING_TOKEN, 503);
    assert_eq!(ship(), 200, "who is connected is served on");
    // A restart without a control plane finds the same directory as old as it is.
    let gateway = planes.gateway.crash_and_restart(&[("SYNC__WHEN_STALE", "refuse")]);
    gateway.answers(SHIPPING_TOKEN, 503);
    drop(planes.folder);
}

#[test]
fn a_gateway_without_the_credential_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let control = Node::control(&folder.path().join("control"), &[]);
    let wrong = [("SYNC__CREDENTIAL", "some-other-credential")];
    let gateway = Node::gateway(&folder.path().join("gateway"), &[control.api()], &wrong);
    assert_eq!(gateway.ship(SHIPPING_TOKEN), 503);
    eventually("told", || {
        gateway.readyz().text().contains("does not accept this gateway's credential").then_some(())
    });
    assert_eq!(gateway.readyz().status, 503);
    assert!(!gateway.log().contains("some-other-credential"));
    assert_eq!(control.metric("shipgate_control_gateways"), 0.0);
}

/// Writes a certificate for 127.0.0.1, its key, and the authority's certificate.
fn issue(folder: &Path) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    for (file, text) in
        [("key.pem", key.serialize_pem()), ("cert.pem", certificate.pem()), ("ca.pem", issuer.pem())]
    {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
    }
}

#[test]
fn the_planes_speak_tls_with_a_private_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    issue(&folder.path().join("ours"));
    issue(&folder.path().join("foreign"));
    let (certificate, key) = (path("ours/cert.pem"), path("ours/key.pem"));
    let tls = [("CONTROL__TLS__CERTIFICATE", certificate.as_str()), ("CONTROL__TLS__PRIVATE_KEY", &key)];
    let control = Node::control(&folder.path().join("control"), &tls);
    assert!(control.metric("shipgate_control_certificate_expiry_timestamp_seconds") > 0.0);
    let url = format!("https://{}", control.api_tls());
    let gateway = |name: &str, authority: &str| {
        let authority = path(authority);
        let settings = [("SYNC__CONTROL_URLS", url.as_str()), ("SYNC__CA_FILE", &authority)];
        Node::gateway(&folder.path().join(name), &[], &settings)
    };
    let trusting = gateway("trusting", "ours/ca.pem");
    let (id, token) = control.admin().create("one");
    trusting.answers(&token, 200);
    control.admin().set_enabled(id, "one", false);
    trusting.answers(&token, 401);
    let wary = gateway("wary", "foreign/ca.pem");
    assert_eq!(wary.ship(SHIPPING_TOKEN), 503);
    assert!(wary.log().contains("invalid peer certificate"), "{}", wary.log());
    for (authority, code, told) in [("ours/ca.pem", 0, "one"), ("foreign/ca.pem", 1, "--ca-file")] {
        let mut command = shipgate();
        command.args(["token", "list", "--url", &url, "--ca-file", &path(authority)]);
        let ran = command.env("SHIPGATE_API_TOKEN", API_TOKEN).output().unwrap();
        let text = [ran.stdout, ran.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(ran.status.code() == Some(code) && text.contains(told), "{:?} {text}", ran.status);
    }
    let mut command = shipgate();
    command.args(["user", "invite", "ada@example.com", "--url", &url, "--ca-file", &path("ours/ca.pem")]);
    let ran = command.env("SHIPGATE_API_TOKEN", API_TOKEN).output().unwrap();
    let link = format!("{url}/#/join?token=");
    assert!(String::from_utf8_lossy(&ran.stdout).contains(&link), "links lead to where the request came by");
}

/// Says `text` to whoever connects and keeps the connection.
fn impostor(text: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4_096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n";
                let _ = stream.write_all(format!("{head}{text}").as_bytes());
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    address
}

#[test]
fn what_does_not_keep_to_the_contract_is_never_in_force() {
    let planes = Planes::start(&[], &[]);
    planes.gateway.answers(SHIPPING_TOKEN, 200);
    let revision = planes.gateway.metric("shipgate_directory_revision");
    for (said, told) in [
        (
            "{\"hello\":{\"version\":99,\"store\":\"x\",\"at_ms\":1}}\n{\"snapshot\":{\"revision\":1,\"changes\":0}}\n{\"snapshot_end\":{\"crc32c\":0}}\n",
            "version 99 is not spoken here",
        ),
        (
            "{\"hello\":{\"version\":2,\"store\":\"x\",\"at_ms\":1}}\n{\"snapshot\":{\"revision\":1,\"changes\":0}}\n{\"snapshot_end\":{\"crc32c\":7}}\n",
            "checksum does not fit",
        ),
        (
            "{\"hello\":{\"version\":2,\"store\":\"x\",\"at_ms\":1}}\n{\"delta\":{\"revision\":9,\"at_ms\":1,\"changes\":[]}}\n",
            "a message stands where it may not",
        ),
        ("nonsense\n", "a line is not a message"),
    ] {
        planes.network.lead_to(impostor(said));
        planes.network.set(Network::Closed);
        eventually("noticed", || (planes.gateway.metric("shipgate_control_connected") == 0.0).then_some(()));
        planes.network.set(Network::Whole);
        eventually(told, || planes.gateway.log().contains(told).then_some(()));
        assert_eq!(planes.gateway.ship(SHIPPING_TOKEN), 200, "{told}");
        assert_eq!(planes.gateway.metric("shipgate_directory_revision"), revision, "{told}");
    }
    let (planes, token) = {
        planes.network.lead_to(planes.control.api());
        let (_, token) = planes.control.admin().create("after all");
        (planes, token)
    };
    planes.gateway.answers(&token, 200);
}

#[test]
fn a_file_of_tokens_stands_in_for_a_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, tokens: &[&str]| {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| format!("{{ digest = \"{}\" }}", TokenDigest::of(token).to_hex()))
            .collect();
        let text = format!("[[accounts]]\nid = 1000\ntokens = [{}]\n", tokens.join(", "));
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    // As Kubernetes mounts a secret: a link that is swapped.
    let mounted = folder.path().join("tokens.toml");
    let mount = |name: &str| {
        let fresh = folder.path().join("fresh");
        std::os::unix::fs::symlink(folder.path().join(name), &fresh).unwrap();
        std::fs::rename(fresh, &mounted).unwrap();
    };
    write("one", &["token-number-one", "token-number-two"]);
    mount("one");
    let arguments = ["gateway", "--tokens", mounted.to_str().unwrap()];
    let gateway = Node::start(&arguments, &folder.path().join("data"), &[]);
    assert_eq!((gateway.ship("token-number-one"), gateway.ship("token-number-two")), (200, 200));
    assert_eq!(gateway.metric("shipgate_directory_tokens"), 2.0);
    write("two", &["token-number-two"]);
    mount("two");
    gateway.answers("token-number-one", 401);
    assert_eq!(gateway.ship("token-number-two"), 200);
    // Broken: the last good one serves on, and it is said.
    std::fs::write(folder.path().join("two"), "[[accounts]]\nid = \"a-secret-by-mistake\"\n").unwrap();
    eventually("told", || gateway.log().contains("is not taken").then_some(()));
    assert_eq!((gateway.ship("token-number-one"), gateway.ship("token-number-two")), (401, 200));
    assert_eq!(gateway.metric("shipgate_directory_failures_total"), 1.0);
    eventually("aged", || gateway.readyz().text().contains("is not taken: line 2").then_some(()));
    assert_eq!(gateway.readyz().status, 200);
    write("two", &["token-number-three"]);
    gateway.answers("token-number-three", 200);
    gateway.answers("token-number-two", 401);
    assert_eq!(gateway.readyz().text(), "ok\n");
    // A restart on a broken file serves what was in force.
    let (kept, digest) =
        (folder.path().join("data/tokens.last_good"), TokenDigest::of("token-number-three").to_hex());
    let is_kept = || std::fs::read_to_string(&kept).unwrap_or_default().contains(&digest).then_some(());
    eventually("kept", is_kept);
    std::fs::write(folder.path().join("two"), "broken").unwrap();
    let gateway = gateway.crash_and_restart(&[]);
    gateway.answers("token-number-three", 200);
}
