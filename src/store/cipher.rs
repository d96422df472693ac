//! Shipping tokens at rest: sealed with AES-256-GCM, so that a copy of the database alone ships nothing.
//!
//! A sealed secret is `v1:` and the hexadecimal digits of a random nonce (12 bytes), the ciphertext and its tag (16
//! bytes). What it belongs to is authenticated with it: a ciphertext moved to another row does not open.

use super::key::Key;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use std::fmt::Write;

const VERSION: &str = "v1:";
const CHECK: &str = "shipgate key check";

/// The secret does not open: another key sealed it, or it was damaged or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open with this key")]
pub struct DoesNotOpen;

/// Seals and opens with one key.
pub struct Cipher(RandomizedNonceKey);

impl Cipher {
    pub fn new(key: &Key) -> Self {
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, key.bytes()).expect("AES-256 takes a key of 32 bytes");
        Self(key)
    }

    /// Seals `secret`; only the same `owner` opens it.
    pub fn seal(&self, owner: &str, secret: &str) -> String {
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(owner), &mut sealed)
            .expect("a secret is far below the cipher's limit of 64 GiB");
        let mut text = String::with_capacity(VERSION.len() + 2 * (NONCE_LEN + sealed.len()));
        text.push_str(VERSION);
        for byte in nonce.as_ref().iter().chain(&sealed) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, owner: &str, sealed: &str) -> Result<String, DoesNotOpen> {
        let bytes = sealed.strip_prefix(VERSION).and_then(from_hex).ok_or(DoesNotOpen)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        let mut sealed = sealed.to_vec();
        let secret = self.0.open_in_place(nonce, Aad::from(owner), &mut sealed).map_err(|_| DoesNotOpen)?;
        String::from_utf8(secret.to_vec()).map_err(|_| DoesNotOpen)
    }

    /// A value to keep, by which a later start tells whether it has the same key.
    pub fn check_value(&self) -> String {
        self.seal(CHECK, CHECK)
    }

    /// Whether `value` was made by [`Self::check_value`] with this key.
    pub fn verify(&self, value: &str) -> Result<(), DoesNotOpen> {
        self.open(CHECK, value).map(drop)
    }
}

/// Reads pairs of hexadecimal digits; `None` for anything else.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4 | nibble(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(digit: &str) -> Cipher {
        Cipher::new(&Key::from_hex(&digit.repeat(64)).unwrap())
    }

    #[test]
    fn opens_only_for_its_owner_and_its_key() {
        let sealed = cipher("a").seal("token:1", "abc");
        assert_eq!(cipher("a").open("token:1", &sealed).as_deref(), Ok("abc"));
        assert_eq!(cipher("a").open("token:2", &sealed), Err(DoesNotOpen));
        assert_eq!(cipher("b").open("token:1", &sealed), Err(DoesNotOpen));
    }

    #[test]
    fn never_seals_the_same_way_twice() {
        let cipher = cipher("a");
        assert_ne!(cipher.seal("token:1", "abc"), cipher.seal("token:1", "abc"));
    }

    #[test]
    fn refuses_what_it_did_not_make() {
        for sealed in ["", "v1:", "v1:00", "v1:zz", "v2:00", "ü", &format!("v1:{}", "00".repeat(40))] {
            assert_eq!(cipher("a").open("token:1", sealed), Err(DoesNotOpen), "{sealed}");
        }
    }

    #[test]
    fn recognises_its_key() {
        let value = cipher("a").check_value();
        assert_eq!(cipher("a").verify(&value), Ok(()));
        assert_eq!(cipher("b").verify(&value), Err(DoesNotOpen));
    }
}
