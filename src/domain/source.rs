//! Where a request comes from. Behind proxies that the configuration trusts, the source is what they say; anybody else's claims are not
//! looked at.

use super::terms::Network;
use std::net::{IpAddr, SocketAddr};

/// Where proxies say whom they forward, the nearest last.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address a request comes from: the nearest one on its way here that is no trusted proxy's. `forwarded_for` has the values of
/// that header in their order, what is no text as anything that is no address.
pub fn source<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted_proxies: &[Network],
) -> IpAddr {
    let is_trusted = |address| trusted_proxies.iter().any(|proxy| proxy.has(address));
    let mut nearest = peer.to_canonical();
    let mut claims = forwarded_for.rev().flat_map(|value| value.rsplit(','));
    while is_trusted(nearest)
        && let Some(claim) = claims.next()
    {
        // What is no address tells nothing, and neither does anything before it.
        let Some(address) = address(claim.trim()) else { break };
        nearest = address;
    }
    nearest
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

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| Network::parse(text).unwrap());
        for (peer, forwarded_for, expect) in [
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
            let peer: IpAddr = peer.parse().unwrap();
            let claims = || forwarded_for.iter().copied();
            let expect: IpAddr = expect.parse().unwrap();
            assert_eq!(source(peer, claims(), &trusted), expect, "{peer} {forwarded_for:?}");
            assert_eq!(source(peer, claims(), &[]), peer.to_canonical(), "nobody is trusted");
        }
    }
}
