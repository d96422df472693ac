//! Where a browser finds something: scheme, host and port, as in the header `Origin`.

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use std::fmt;

/// `https://HOST`, or `http://HOST:PORT`: what it has of an address, in lower case, without the scheme's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Over TLS.
    pub secure: bool,
    /// The host, with the port where it is not the scheme's.
    authority: String,
}

/// The text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an address such as https://logs.example.com:8443, without a path")]
pub struct MalformedOrigin;

impl Origin {
    /// Reads a whole origin; a `/` at its end is overlooked. A host may begin with `*.`, which only policies understand.
    pub fn parse(text: &str) -> Result<Self, MalformedOrigin> {
        let text = text.trim().to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(MalformedOrigin)?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(MalformedOrigin),
        };
        Self::at(secure, authority.strip_suffix('/').unwrap_or(authority)).ok_or(MalformedOrigin)
    }

    /// The one that a request was sent to, by its own `Host`.
    pub(super) fn asked(headers: &HeaderMap, secure: bool) -> Option<Self> {
        Self::at(secure, &headers.get(HOST)?.to_str().ok()?.to_ascii_lowercase())
    }

    /// The same host by another scheme and port.
    pub(super) fn beside(&self, secure: bool, port: u16) -> Option<Self> {
        let authority: Authority = self.authority.parse().ok()?;
        Self::at(secure, &format!("{}:{port}", authority.host()))
    }

    fn at(secure: bool, authority: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:*[]".contains(c);
        if !authority.chars().all(plain) {
            return None;
        }
        let parsed: Authority = authority.parse().ok()?;
        let host = parsed.host();
        if host.is_empty() || host.strip_prefix("*.").unwrap_or(host).contains('*') {
            return None;
        }
        let port = match authority[host.len()..].strip_prefix(':') {
            None if authority.len() == host.len() => None,
            None => return None,
            Some(port) => Some(port.parse::<u16>().ok()?),
        };
        let own = if secure { 443 } else { 80 };
        let authority = match port.filter(|port| *port != own) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Some(Self { secure, authority })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_and_written() {
        for (text, expect) in [
            ("https://Logs.Example.com/", Some("https://logs.example.com")),
            ("https://logs.example.com:443", Some("https://logs.example.com")),
            ("http://logs.example.com:443", Some("http://logs.example.com:443")),
            (" http://[::1]:8072 ", Some("http://[::1]:8072")),
            ("https://*.example.com", Some("https://*.example.com")),
            ("https://a*.example.com", None),
            ("https://*", None),
            ("https://host/path", None),
            ("https://user@host", None),
            ("https://host; script-src *", None),
            ("https://host,https://other", None),
            ("https://host:", None),
            ("https://host:99999", None),
            ("ftp://host", None),
            ("https://", None),
            ("host", None),
            ("null", None),
        ] {
            let origin = Origin::parse(text).map(|origin| origin.to_string()).ok();
            assert_eq!(origin.as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn the_same_host_has_other_ports() {
        for (text, expect) in [
            ("http://[::1]:8072", "https://[::1]:8071"),
            ("https://logs.example.com", "https://logs.example.com:8071"),
        ] {
            let other = Origin::parse(text).unwrap().beside(true, 8071).unwrap();
            assert_eq!(other.to_string(), expect);
        }
    }
}
