//! The terms of a log shipping token: until when, from where, through which door and for which logs it ships.
//!
//! Most tokens have none: they ship everything from everywhere until they are disabled. Terms travel with the directory, so
//! that a gateway judges them by itself.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The doors that a scope may name: every protocol a gateway speaks.
pub const DOORS: [&str; 1] = ["bulk"];

/// How many entries each list of a scope may have.
pub const SCOPE_ENTRIES_MAX: usize = 64;

/// Longest `type`, in bytes: it is written into every line.
pub const TYPE_BYTES_MAX: usize = 256;

/// What a token may do less than others. See the module's header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// From when on the token is not valid: Unix milliseconds of the control plane's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Scope::is_any")]
    pub scope: Scope,
    /// A dry run: the token ships, and what its disabling would have stopped is counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub would_refuse: bool,
}

/// From where, through which doors and for which logs a token ships. An empty list means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Names out of [`DOORS`]; unknown ones, of a newer control plane, let nothing in.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub doors: Box<[Box<str>]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub sources: Box<[Network]>,
    /// Values of a log's `type`, letter by letter.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub types: Box<[Box<str>]>,
}

impl Terms {
    /// `None` of terms that restrict nothing: such a token costs a gateway nothing either.
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }

    /// Whether the token is not valid any more, at an instant of the control plane's clock.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

impl Scope {
    /// Whether it restricts nothing.
    pub fn is_any(&self) -> bool {
        self.doors.is_empty() && self.sources.is_empty() && self.types.is_empty()
    }

    pub fn has_door(&self, door: &str) -> bool {
        self.doors.is_empty() || self.doors.iter().any(|allowed| **allowed == *door)
    }

    pub fn has_source(&self, source: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|network| network.has(source))
    }

    pub fn has_type(&self, of_log: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|allowed| **allowed == *of_log)
    }
}

/// Addresses with the same first bits, such as `10.0.0.0/8`. IPv4 addresses mapped into IPv6 are the IPv4 addresses they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedNetwork {
    #[error(
        "a network is an address, or an address and a number of bits, such as 10.0.0.0/8 or 2001:db8::/32"
    )]
    NotOne,
    /// Most likely a slip: the network meant is another one.
    #[error("the address goes on behind its network's bits: {0} begins there")]
    BitsBehind(Network),
}

impl Network {
    /// Reads an address, which stands for itself alone, or an address, a slash and how many of its bits count.
    pub fn parse(text: &str) -> Result<Self, MalformedNetwork> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| MalformedNetwork::NotOne)?;
        let bits = match bits {
            None => width(address),
            // A sign or a leading zero is not a number of bits to anybody.
            Some(bits) if bits.len() > 1 && !bits.starts_with(|first| matches!(first, '1'..='9')) => {
                return Err(MalformedNetwork::NotOne);
            }
            Some(bits) => bits.parse().map_err(|_| MalformedNetwork::NotOne)?,
        };
        if bits > width(address) {
            return Err(MalformedNetwork::NotOne);
        }
        let network = Self { address: masked(address, bits), bits };
        if network.address == address {
            Ok(network.canonical())
        } else {
            Err(MalformedNetwork::BitsBehind(network))
        }
    }

    /// Whether `address` is one of it.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == self.address
    }

    fn canonical(self) -> Self {
        match self.address.to_canonical() {
            address @ IpAddr::V4(_) if self.address.is_ipv6() && self.bits >= 96 => {
                Self { address, bits: self.bits - 96 }
            }
            _ => self,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with only its first `bits`.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// As [`Network::parse`] reads it.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, address, has) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("0.0.0.0/0", "::ffff:1.2.3.4", true),
            ("10.0.0.0/8", "::ffff:10.9.8.7", true),
            ("10.0.0.0/8", "::10.9.8.7", false),
            ("::ffff:10.0.0.0/104", "10.9.8.7", true),
            ("::ffff:0:0/96", "1.2.3.4", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::1", "::1", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.128/25", "192.0.2.255", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.has(address.parse().unwrap()), has, "{network} {address}");
        }
    }

    #[test]
    fn a_slip_in_a_network_is_told() {
        for text in [
            "",
            "10",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/8/8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "a/8",
        ] {
            assert_eq!(Network::parse(text), Err(MalformedNetwork::NotOne), "{text}");
        }
        let slip = Network::parse("10.1.2.3/8").unwrap_err();
        assert!(slip.to_string().contains("10.0.0.0/8"), "{slip}");
    }

    #[test]
    fn terms_that_restrict_nothing_are_none() {
        assert_eq!(Terms::default().shared(), None);
        assert!(Terms { would_refuse: true, ..Terms::default() }.shared().is_some());
    }

    #[test]
    fn a_token_is_over_from_its_instant_on() {
        let terms = Terms { expires_ms: Some(1_000), ..Terms::default() };
        assert_eq!([999, 1_000, 1_001].map(|now| terms.is_over(now)), [false, true, true]);
        assert!(!Terms::default().is_over(u64::MAX));
    }

    #[test]
    fn an_empty_list_means_any() {
        let any = Scope::default();
        assert!(
            any.has_door("bulk") && any.has_source([1, 2, 3, 4].into()) && any.has_type("x") && any.is_any()
        );
        let types = Scope { types: ["nginx".into()].into(), ..Scope::default() };
        assert!(
            types.has_type("nginx") && !types.has_type("Nginx") && !types.has_type("") && !types.is_any()
        );
        let doors = Scope { doors: ["bulk".into()].into(), ..Scope::default() };
        assert!(doors.has_door("bulk") && !doors.has_door("syslog"));
    }

    #[test]
    fn terms_survive_json_and_say_only_what_they_hold() {
        let terms = Terms {
            expires_ms: Some(7),
            scope: Scope {
                sources: [Network::parse("::ffff:10.0.0.0/104").unwrap()].into(),
                ..Scope::default()
            },
            would_refuse: true,
        };
        let json = serde_json::to_string(&terms).unwrap();
        assert_eq!(json, r#"{"expires_ms":7,"scope":{"sources":["10.0.0.0/8"]},"would_refuse":true}"#);
        assert_eq!(serde_json::from_str::<Terms>(&json).unwrap(), terms);
        assert_eq!(serde_json::from_str::<Terms>("{}").unwrap(), Terms::default());
    }

    proptest! {
        #[test]
        fn a_network_survives_its_text(address in any::<IpAddr>(), bits in 0..=128u8) {
            let bits = bits.min(width(address));
            let network = Network { address: masked(address, bits), bits }.canonical();
            prop_assert_eq!(Network::parse(&network.to_string()), Ok(network));
            let is_mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
            prop_assert!(network.has(address) || is_mapped && bits < 96);
        }
    }
}
