//! Where the load goes: an address, and what is needed to reach it.

use super::link::Http;
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Why a server cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{0} is not an address such as http://127.0.0.1:8070")]
    MalformedUrl(String),
    #[error("{host} has no address")]
    NoAddress { host: String, source: Option<io::Error> },
    #[error(
        "cannot read {path} as PEM certificates: name the file of the issuers to trust with --ca (for a self-signed \
         certificate, the certificate itself)"
    )]
    Roots { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("cannot speak TLS")]
    Tls(#[source] rustls::Error),
}

/// A server.
#[derive(Clone)]
pub(super) struct Target {
    pub url: Uri,
    pub http: Http,
    pub address: SocketAddr,
    pub host: HeaderValue,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Resolves the URL's host once: a load test should not test a resolver.
    pub(super) async fn resolve(url: &str, ca: &Path, http: Http) -> Result<Self, TargetError> {
        let malformed = || TargetError::MalformedUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(malformed());
        };
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(malformed()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let no_address = |source| TargetError::NoAddress { host: host.clone(), source };
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found = found.map_err(|source| no_address(Some(source)))?.next();
        let address = found.ok_or_else(|| no_address(None))?;
        let tls = match is_tls {
            false => None,
            true => Some((connector(ca, http)?, ServerName::try_from(host).map_err(|_| malformed())?)),
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?;
        Ok(Self { url: uri, http, address, host, tls })
    }

    /// The target of a request: as HTTP/2 wants it, with the server's name, or as HTTP/1.1 does, without.
    pub(super) fn uri(&self, path_and_query: impl Into<String>) -> Option<Uri> {
        let uri = match (self.http, self.url.scheme(), self.url.authority()) {
            (Http::Two, Some(scheme), Some(authority)) => {
                Uri::builder().scheme(scheme.clone()).authority(authority.clone())
            }
            _ => Uri::builder(),
        };
        uri.path_and_query(path_and_query.into()).build().ok()
    }

    /// Where batches are posted to with a token, which is written as URLs want it.
    pub(super) fn door(&self, token: &str) -> Option<Uri> {
        let (path, query) = (self.url.path(), self.url.query().unwrap_or_default());
        let separator = if query.is_empty() { "" } else { "&" };
        self.uri(format!("{path}?{query}{separator}token={token}"))
    }
}

fn connector(ca: &Path, http: Http) -> Result<TlsConnector, TargetError> {
    let roots = |source| TargetError::Roots { path: ca.to_owned(), source };
    let mut trusted = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    trusted.add_parsable_certificates(certificates.map_err(roots)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TargetError::Tls)?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        Http::One => vec![b"http/1.1".to_vec()],
        Http::Two => vec![b"h2".to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_door_keeps_path_and_query() {
        let no_ca = Path::new("/does/not/exist");
        for (url, http, expect) in [
            ("http://127.0.0.1:1", Http::One, "/?token=abc"),
            ("http://127.0.0.1:1/in?type=a", Http::One, "/in?type=a&token=abc"),
            ("http://127.0.0.1:1/in", Http::Two, "http://127.0.0.1:1/in?token=abc"),
        ] {
            let target = Target::resolve(url, no_ca, http).await.unwrap();
            assert_eq!(target.door("abc").unwrap().to_string(), expect);
        }
    }

    #[tokio::test]
    async fn addresses_are_read_or_refused() {
        let no_ca = Path::new("/does/not/exist");
        for (url, expect) in [
            ("http://127.0.0.1:8070", Some("127.0.0.1:8070")),
            ("http://127.0.0.1/any/path?and=query", Some("127.0.0.1:80")),
            ("http://[::1]:7", Some("[::1]:7")),
            ("127.0.0.1:8070", None),
            ("ftp://127.0.0.1", None),
            ("https://127.0.0.1", None),
            ("", None),
        ] {
            let target = Target::resolve(url, no_ca, Http::One).await;
            assert_eq!(target.ok().map(|target| target.address.to_string()).as_deref(), expect, "{url}");
        }
    }
}
