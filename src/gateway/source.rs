//! How a request came: through which door, and from where. Behind proxies that the configuration trusts, the source is what they say.

use crate::domain::source::{FORWARDED_FOR, source};
use crate::domain::terms::Network;
use hyper::http::HeaderMap;
use std::net::IpAddr;

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
        let forwarded_for = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or("?"));
        Origin { door: self.door, source: source(self.peer, forwarded_for, trusted_proxies) }
    }
}
