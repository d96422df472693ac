//! Tokens: what a client sends, and the digest that is all a gateway ever keeps of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why a text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 128 characters out of A-Z a-z 0-9 _ -")]
pub struct MalformedToken;

/// SHA-256 of a token as the client sent it: the key of the directory, safe to store and to send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of any text a client may send as a token, well-formed or not.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// A digest read from a store or from the wire.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        self.0.iter().flat_map(digits).map(char::from).collect()
    }

    /// Reads what [`Self::to_hex`] wrote; `None` for anything else.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: u8| (digit as char).to_digit(16);
            *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
        }
        Some(Self(bytes))
    }
}

/// On the wire and in files: the 64 digits.
impl Serialize for TokenDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_hex(&hex).ok_or_else(|| serde::de::Error::custom("a digest has 64 hexadecimal digits"))
    }
}

/// Shows the first four bytes: enough to tell digests apart in a failing test.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDigest({}…)", &self.to_hex()[..8])
    }
}

macro_rules! plaintext_token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Box<str>);

        impl $name {
            /// Accepts 16 to 128 characters out of `A-Z a-z 0-9 _ -`.
            pub fn parse(text: &str) -> Result<Self, MalformedToken> {
                let fits = (16..=128).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                if fits { Ok(Self(text.into())) } else { Err(MalformedToken) }
            }

            /// Thirty-two alphanumerics, 190 bits, one from each random word (the bias of the remainder is below 2^-57).
            pub fn from_entropy(words: &[u64; 32]) -> Self {
                Self(words.iter().map(|word| ALPHABET[(word % 62) as usize] as char).collect::<String>().into())
            }

            /// The secret itself. Only for the answer to somebody who may see it, and for encrypting it.
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// What is kept and compared in its place.
            pub fn digest(&self) -> TokenDigest {
                TokenDigest::of(&self.0)
            }
        }

        /// Never shows the secret.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

plaintext_token! {
    /// The secret a log shipper posts with. It ships; it never reads and never manages.
    ShippingToken
}

plaintext_token! {
    /// What a signed-in browser proves itself with, in a cookie.
    SessionToken
}

plaintext_token! {
    /// The secret of a link that works once: the set-up link's, or an invitation's.
    LinkToken
}

/// What is kept of a shipping token: itself, or, when those who brought it kept it to themselves, its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenValue {
    Plaintext(ShippingToken),
    Digest(TokenDigest),
}

impl TokenValue {
    pub fn digest(&self) -> TokenDigest {
        match self {
            Self::Plaintext(secret) => secret.digest(),
            Self::Digest(digest) => *digest,
        }
    }

    /// The token itself, if it is known.
    pub fn plaintext(&self) -> Option<&ShippingToken> {
        match self {
            Self::Plaintext(secret) => Some(secret),
            Self::Digest(_) => None,
        }
    }
}

plaintext_token! {
    /// The secret an admin's API client sends in `X-API-TOKEN`. It manages; it never ships.
    ApiToken
}

plaintext_token! {
    /// The secret in a sharing link. It reads what its filters let through; it never ships and never manages.
    SharedToken
}

plaintext_token! {
    /// The secret with which a gateway asks a control plane for its directory. It opens nothing else.
    GatewayCredential
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_the_documented_alphabet_and_length() {
        let long = "a".repeat(128);
        let too_long = "a".repeat(129);
        for (text, fits) in [
            ("abcdefghijklmnop", true),
            ("abcdefghijklmno", false),
            ("ABC_def-0123456789", true),
            ("abcdefghijklmno p", false),
            ("abcdefghijklmnöp", false),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
        ] {
            assert_eq!(ShippingToken::parse(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn entropy_gives_32_alphanumerics() {
        let words: [u64; 32] = std::array::from_fn(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let token = ShippingToken::from_entropy(&words);
        assert_eq!(token.expose().len(), 32);
        assert_eq!(ShippingToken::parse(token.expose()), Ok(token));
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = ApiToken::parse("SecretSecretSecret").unwrap();
        assert!(!format!("{token:?}").contains("Secret"), "{token:?}");
    }

    #[test]
    fn a_digest_survives_hex() {
        let digest = TokenDigest::of("abc");
        assert!(digest.to_hex().starts_with("ba7816bf"), "the published SHA-256 test vector");
        assert_eq!(TokenDigest::from_hex(&digest.to_hex()), Some(digest));
        for broken in ["", "ba", &"g".repeat(64), &"ü".repeat(32)] {
            assert_eq!(TokenDigest::from_hex(broken), None, "{broken}");
        }
    }
}
