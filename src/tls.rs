//! TLS 1.2 and 1.3: for whoever listens, with a certificate that is read again when its files change, and for whoever
//! connects.
//!
//! New files are checked as a pair before they replace the old ones; a pair that does not fit is reported and the old one
//! serves on. Files are looked at by time and size at an interval: that sees replaced files, renamed ones and the symbolic
//! links of Kubernetes alike.

use crate::clock;
use crate::shutdown::Tasks;
use prometheus::IntGauge;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Where TLS is served and with what.
#[derive(Debug, Clone)]
pub struct Config {
    pub https: SocketAddr,
    /// PEM: the certificate, then its issuers.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key.
    pub private_key: PathBuf,
    pub reload_interval: Duration,
    /// What is spoken inside, by ALPN names, the preferred one first.
    pub protocols: &'static [&'static str],
}

/// Why a certificate cannot be served. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path} as PEM")]
    Unreadable { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    NoCertificate { path: PathBuf },
    #[error("{certificate} and {private_key} do not make a pair that can be served")]
    Mismatch { certificate: PathBuf, private_key: PathBuf, source: rustls::Error },
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("cannot read the certificates of authorities in {}", path.display())]
    Authorities { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("TLS cannot be spoken")]
    Tls(#[source] rustls::Error),
}

/// For whoever connects to the public: trusts who is certified by an authority that browsers trust.
pub fn trusting_the_public() -> Result<ClientConfig, TrustError> {
    let trusted = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    trusting_these(trusted)
}

/// For whoever connects: trusts who is certified by an authority in the PEM file, and nobody without one.
pub fn trusting(authorities: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut trusted = RootCertStore::empty();
    if let Some(path) = authorities {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|source| TrustError::Authorities { path: path.to_owned(), source })?;
        trusted.add_parsable_certificates(read);
    }
    trusting_these(trusted)
}

fn trusting_these(trusted: RootCertStore) -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TrustError::Tls)?;
    Ok(builder.with_root_certificates(trusted).with_no_client_auth())
}

/// The configuration that new connections are served with; it changes when the files do.
pub type Current = watch::Receiver<Arc<ServerConfig>>;

/// Loads the certificate and keeps it fresh until the stage drains. `expiry` shows when it expires, Unix time.
pub fn start(config: Config, expiry: IntGauge, tasks: &Tasks) -> Result<Current, TlsError> {
    let mut seen = Stamp::of(&config);
    let (sender, current) = watch::channel(load(&config, &expiry)?);
    let draining = tasks.clone();
    tasks.spawn(async move {
        let mut interval = tokio::time::interval_at(
            tokio::time::Instant::from_std(clock::monotonic() + config.reload_interval),
            config.reload_interval,
        );
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = draining.draining() => return,
            }
            let stamp = Stamp::of(&config);
            if stamp == seen {
                continue;
            }
            seen = stamp;
            match load(&config, &expiry) {
                Ok(fresh) => {
                    sender.send_replace(fresh);
                    tracing::info!("the TLS certificate was replaced");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    tracing::error!(cause, "the old TLS certificate serves on: {error}");
                }
            }
        }
    });
    Ok(current)
}

/// What tells that files changed.
#[derive(PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    fn of(config: &Config) -> Self {
        let look = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        Self([look(&config.certificate), look(&config.private_key)])
    }
}

/// Whether the files could be served.
pub fn check(config: &Config) -> Result<(), TlsError> {
    read(config).map(drop)
}

fn load(config: &Config, gauge: &IntGauge) -> Result<Arc<ServerConfig>, TlsError> {
    let (server, expiry) = read(config)?;
    gauge.set(expiry.unwrap_or(0));
    Ok(server)
}

/// The configuration that serves the files, and when the certificate expires.
fn read(config: &Config) -> Result<(Arc<ServerConfig>, Option<i64>), TlsError> {
    let unreadable = |path: &Path, source| TlsError::Unreadable { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| unreadable(&config.certificate, source))?;
    let Some(leaf) = chain.first() else {
        return Err(TlsError::NoCertificate { path: config.certificate.clone() });
    };
    let expiry = expiry_unix_seconds(leaf);
    let key = PrivateKeyDer::from_pem_file(&config.private_key)
        .map_err(|source| unreadable(&config.private_key, source))?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Mismatch {
            certificate: config.certificate.clone(),
            private_key: config.private_key.clone(),
            source,
        })?;
    server.alpn_protocols = config.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok((Arc::new(server), expiry))
}

fn expiry_unix_seconds(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
