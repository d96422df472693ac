//! HTTP/2, and TLS 1.2 and 1.3 with certificates that change under way.

use crate::harness::{Gate, Shipper, eventually};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Body = Full<Bytes>;

fn request(shipper: &Shipper, authority: &str, message: &str) -> hyper::Request<Body> {
    let uri = format!("http://{authority}/?token={}", shipper.token);
    hyper::Request::post(uri).body(Full::from(format!("{{\"message\":\"{message}\"}}\n"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_http_2_connection() {
    let gate = Gate::start();
    let shipper = gate.shipper();
    let stream = TcpStream::connect(gate.ingest).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (mut sender, shipper) = (sender.clone(), shipper.clone());
        tasks.spawn(async move {
            let message = format!("stream {n}");
            let response = sender.send_request(request(&shipper, "shipgate", &message)).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
            shipper.acknowledge([message]);
        });
    }
    tasks.join_all().await;
    let mut stranger = sender;
    let uri = "http://shipgate/?token=unknown";
    let refused = hyper::Request::post(uri).body(Full::from(vec![b'x'; 1 << 20])).unwrap();
    assert_eq!(stranger.send_request(refused).await.unwrap().status(), 401);
    gate.finish();
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Writes a certificate for `name` and its key.
    fn issue(&self, name: &str, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        for (file, text) in [("key.pem", key.serialize_pem()), ("cert.pem", certificate.pem())] {
            let fresh = folder.join("fresh");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(fresh, folder.join(file)).unwrap();
        }
    }

    /// A client that trusts this authority and speaks what is named.
    fn client(&self, version: &'static rustls::SupportedProtocolVersion, alpn: &[u8]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// Ships one log over TLS; `None` if the handshake fails.
async fn ship(
    client: &TlsConnector,
    to: SocketAddr,
    name: &str,
    shipper: &Shipper,
    message: &str,
) -> Option<u16> {
    let stream = TcpStream::connect(to).await.ok()?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = client.connect(name, stream).await.ok()?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let request = request(shipper, "shipgate", message);
    let response = if is_h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await.ok()?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await.ok()?
    };
    if response.status() == 200 {
        shipper.acknowledge([message.to_owned()]);
    }
    Some(response.status().as_u16())
}

fn start_with_tls(folder: &Path) -> Gate {
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    Gate::start_with(&[
        ("GATEWAY__TLS__CERTIFICATE", &path("cert.pem")),
        ("GATEWAY__TLS__PRIVATE_KEY", &path("key.pem")),
        ("GATEWAY__TLS__RELOAD_INTERVAL_MS", "20"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_both_versions_of_tls_and_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue("shipgate.test", folder.path());
    let gate = start_with_tls(folder.path());
    let https = gate.https.unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let client = authority.client(version, alpn);
            let status = ship(&client, https, "shipgate.test", &gate.shipper(), "over TLS").await;
            assert_eq!(status, Some(200), "{version:?} {alpn:?}");
        }
    }
    assert!(gate.metric("shipgate_gateway_certificate_expiry_timestamp_seconds") > 1.7e9);
    // Plain HTTP on the TLS port ends quietly.
    assert!(gate.shipper().request().body("{}").try_send(https).is_err());
    gate.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue("before.test", folder.path());
    let gate = start_with_tls(folder.path());
    let (https, shipper) = (gate.https.unwrap(), gate.shipper());
    let client = authority.client(&rustls::version::TLS13, b"h2");
    assert_eq!(ship(&client, https, "before.test", &shipper, "before").await, Some(200));
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    eventually("it is reported", || gate.log().contains("old TLS certificate serves on").then_some(()));
    assert_eq!(ship(&client, https, "before.test", &shipper, "still before").await, Some(200));
    authority.issue("after.test", folder.path());
    eventually("it is replaced", || gate.log().contains("certificate was replaced").then_some(()));
    assert_eq!(ship(&client, https, "after.test", &shipper, "after").await, Some(200));
    assert_eq!(ship(&client, https, "before.test", &shipper, "gone").await, None);
    gate.finish();
}
