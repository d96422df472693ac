//! How a request came: through which door, and from where. Behind proxies that the configuration trusts, the source is what they say.

use crate::domain::terms::Network;
use hyper::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// Where proxies say whom they forward, the nearest last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How a request came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The door's name in metrics and scopes.
    pub door: &'static str,
    /// The other end of the connection.
    pub peer: IpAddr,
}

/// Where a request comes from, as a token's scope is compared with it.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub door: &'static str,
    /// An IPv4 address mapped into IPv6 is the IPv4 address it is.
    pub source: IpAddr,
}

impl Arrival {
    pub fn origin(&self, headers: &HeaderMap, trusted_proxies: &[Network]) -> Origin {
        Origin { door: self.door, source: self.source(headers, trusted_proxies) }
    }

    /// The address a request comes from: the nearest one on its way here that is no trusted proxy's. What an untrusted
    /// client claims is not looked at.
    fn source(&self, headers: &HeaderMap, trusted_proxies: &[Network]) -> IpAddr {
        let is_trusted = |address| trusted_proxies.iter().any(|proxy| proxy.has(address));
        let peer = self.peer.to_canonical();
        if trusted_proxies.is_empty() || !is_trusted(peer) {
            return peer;
        }
        let mut nearest = peer;
        let mut claims = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| {
            let hops: Vec<_> = value.to_str().unwrap_or("?").split(',').collect();
            hops.into_iter().rev()
        });
        while is_trusted(nearest)
            && let Some(claim) = claims.next()
        {
            // What is no address tells nothing, and neither does anything before it.
            let Some(address) = address(claim.trim()) else { break };
            nearest = address;
        }
        nearest
    }
}

/// An address as proxies write it: some add a port, some put IPv6 into brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::http::HeaderValue;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| Network::parse(text).unwrap());
        for (peer, forwarded_for, source) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("2001:db8::1", &["2001:db9::7"], "2001:db9::7"),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["1.2.3.4", "198.51.100.7", "10.0.0.2, 10.0.0.3"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.9"], "10.0.0.9"),
            ("10.0.0.1", &["198.51.100.7:40000"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db9::7]:443"], "2001:db9::7"),
            ("10.0.0.1", &["[2001:db9::7]"], "2001:db9::7"),
            ("10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            let arrival = Arrival { door: "bulk", peer: peer.parse().unwrap() };
            let mut headers = HeaderMap::new();
            for value in forwarded_for {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let expect: IpAddr = source.parse().unwrap();
            assert_eq!(arrival.source(&headers, &trusted), expect, "{peer} {forwarded_for:?}");
            assert_eq!(arrival.source(&headers, &[]), arrival.peer.to_canonical(), "nobody is trusted");
        }
    }
}
