//! The directory: which shipping tokens may ship, and for whom.
//!
//! Looked up by digest on every request; changed by deltas in the order of their revisions. A [`Directory`] is a value:
//! a gateway publishes one behind an atomic pointer, clones it, applies a [`Change`] to the clone and publishes that.
//! One change costs the same whatever the directory's size (see `trie`).

mod merge;

pub use merge::{Merge, OutOfOrder};

use super::account::{AccountGrant, AccountId, TokenId};
use super::terms::Terms;
use super::token::TokenDigest;
use super::trie::{Spread, Trie};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

impl Spread for TokenDigest {
    fn spread(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Spread for AccountId {
    /// Numbers are handed out in sequence: a multiplication by an odd number spreads them, each to a place of its own.
    fn spread(&self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Proof that a token was enabled when it was looked up. Only [`Directory::admit`] makes one, and it carries all that
/// the rest of the line needs to know of the account, so that a reload cannot tear the two apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    digest: TokenDigest,
    token: TokenId,
    grant: AccountGrant,
    terms: Option<Arc<Terms>>,
}

impl Permit {
    pub fn account(&self) -> AccountId {
        self.grant.account
    }

    pub fn token(&self) -> TokenId {
        self.token
    }

    pub fn grant(&self) -> &AccountGrant {
        &self.grant
    }

    /// What the token may do less than others; `None` of most.
    #[inline]
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_deref()
    }
}

/// Credentials refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// None were sent, or empty ones.
    Missing,
    /// Unknown, disabled, deleted or expired: a gateway holds only enabled tokens and cannot tell these apart.
    NotValid,
}

/// One step from a revision of the directory to the next. Enabled tokens and accounts only: disabling and deleting are
/// the same to a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An account is new or differs.
    Account(AccountGrant),
    /// A token is enabled, or its terms differ.
    Token {
        digest: TokenDigest,
        token: TokenId,
        account: AccountId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<Arc<Terms>>,
    },
    /// A token is disabled, deleted or expired.
    Revoke { digest: TokenDigest },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Enabled {
    token: TokenId,
    account: AccountId,
    terms: Option<Arc<Terms>>,
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    revision: u64,
    tokens: Trie<TokenDigest, Enabled>,
    accounts: Trie<AccountId, AccountGrant>,
}

impl Directory {
    /// The last change this directory holds; 0 before any.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many tokens are enabled.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// What the directory knows of an account.
    pub fn account(&self, account: AccountId) -> Option<&AccountGrant> {
        self.accounts.get(&account)
    }

    /// The one way to a [`Permit`]. Takes no lock and allocates nothing. `now_ms` tells the control plane's time, Unix
    /// milliseconds; it is asked only about tokens that have terms.
    #[inline]
    pub fn admit(&self, digest: &TokenDigest, now_ms: impl FnOnce() -> u64) -> Result<Permit, Denial> {
        let enabled = self.tokens.get(digest).ok_or(Denial::NotValid)?;
        let grant = self.accounts.get(&enabled.account).ok_or(Denial::NotValid)?;
        if let Some(terms) = &enabled.terms
            && terms.is_over(now_ms())
        {
            return Err(Denial::NotValid);
        }
        let terms = enabled.terms.clone();
        Ok(Permit { digest: *digest, token: enabled.token, grant: *grant, terms })
    }

    /// The permit that is given out now for one given out earlier.
    #[inline]
    pub fn admit_again(&self, permit: &Permit, now_ms: impl FnOnce() -> u64) -> Result<Permit, Denial> {
        self.admit(&permit.digest, now_ms)
    }

    /// Applies one change. The revision is set by [`Self::advance`], because several changes may share one.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Account(grant) => self.accounts.insert(grant.account, grant),
            Change::Token { digest, token, account, terms } => {
                self.tokens.insert(digest, Enabled { token, account, terms });
            }
            Change::Revoke { digest } => self.tokens.remove(&digest),
        }
    }

    /// States which revision the changes applied so far add up to.
    pub fn advance(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// The changes that make an empty directory into this one: accounts first, then tokens in the order of their digests.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let accounts = self.accounts.iter().map(|(_, grant)| Change::Account(*grant));
        let tokens = self.tokens.iter().map(|(digest, enabled)| Change::Token {
            digest: *digest,
            token: enabled.token,
            account: enabled.account,
            terms: enabled.terms.clone(),
        });
        accounts.chain(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Retention;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn grant(account: u32, rate: u64) -> AccountGrant {
        AccountGrant {
            account: AccountId(account),
            durability: None,
            rate_bytes_max: Some(rate),
            retention: Retention { days: 7, bytes_max: None },
        }
    }

    const NOW_MS: u64 = 1_000;

    fn now() -> u64 {
        NOW_MS
    }

    fn digest(n: u16) -> TokenDigest {
        TokenDigest::of(&n.to_string())
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let account = (0..8u32, 0..3u64).prop_map(|(a, rate)| Change::Account(grant(a, rate)));
        let terms =
            prop::option::of(0..2 * NOW_MS).prop_map(|expires_ms| Terms { expires_ms, ..Terms::default() });
        let token = (0..40u16, 0..8u32, terms).prop_map(|(n, a, terms)| Change::Token {
            digest: digest(n),
            token: TokenId(u32::from(n)),
            account: AccountId(a),
            terms: terms.shared(),
        });
        let revoke = (0..40u16).prop_map(|n| Change::Revoke { digest: digest(n) });
        prop::collection::vec(prop_oneof![account, token, revoke], 0..200)
    }

    proptest! {
        /// Every directory published on the way keeps answering as the model did at that moment.
        #[test]
        fn is_a_hash_map_under_any_sequence_of_changes(changes in changes()) {
            let mut tokens = HashMap::new();
            let mut accounts = HashMap::new();
            let mut current = Directory::default();
            let mut history = vec![];
            for change in changes {
                match &change {
                    Change::Account(grant) => { accounts.insert(grant.account, *grant); }
                    Change::Token { digest, token, account, terms } => {
                        tokens.insert(*digest, (*token, *account, terms.clone()));
                    }
                    Change::Revoke { digest } => { tokens.remove(digest); }
                }
                current.apply(change);
                history.push((current.clone(), tokens.clone(), accounts.clone()));
            }
            for (directory, tokens, accounts) in history {
                prop_assert_eq!(directory.tokens(), tokens.len());
                for n in 0..40 {
                    let expect = tokens.get(&digest(n))
                        .filter(|(_, _, terms)| terms.as_ref().is_none_or(|terms| !terms.is_over(NOW_MS)))
                        .and_then(|(token, account, _)| accounts.get(account).map(|grant| (*token, *grant)))
                        .ok_or(Denial::NotValid);
                    let got = directory.admit(&digest(n), now).map(|permit| (permit.token, permit.grant));
                    prop_assert_eq!(got, expect);
                }
            }
        }

        #[test]
        fn its_own_changes_rebuild_it(changes in changes()) {
            let mut original = Directory::default();
            changes.into_iter().for_each(|change| original.apply(change));
            let mut copy = Directory::default();
            original.changes().for_each(|change| copy.apply(change));
            for n in 0..40 {
                prop_assert_eq!(copy.admit(&digest(n), now), original.admit(&digest(n), now));
            }
        }
    }

    fn token(account: u32, expires_ms: Option<u64>) -> Change {
        let terms = Terms { expires_ms, ..Terms::default() }.shared();
        Change::Token { digest: digest(1), token: TokenId(1), account: AccountId(account), terms }
    }

    #[test]
    fn a_token_of_an_unknown_account_ships_nothing() {
        let mut directory = Directory::default();
        directory.apply(token(9, None));
        assert_eq!(directory.admit(&digest(1), now), Err(Denial::NotValid));
    }

    #[test]
    fn a_permit_ends_with_its_token() {
        let mut directory = Directory::default();
        directory.apply(Change::Account(grant(1, 1)));
        directory.apply(token(1, None));
        let permit = directory.admit(&digest(1), now).unwrap();
        assert_eq!(directory.admit_again(&permit, now), Ok(permit.clone()));
        directory.apply(Change::Revoke { digest: digest(1) });
        assert_eq!(directory.admit_again(&permit, now), Err(Denial::NotValid));
    }

    #[test]
    fn a_token_ends_at_its_instant_and_so_does_its_permit() {
        let mut directory = Directory::default();
        directory.apply(Change::Account(grant(1, 1)));
        directory.apply(token(1, Some(NOW_MS)));
        let permit = directory.admit(&digest(1), || NOW_MS - 1).unwrap();
        assert_eq!(directory.admit_again(&permit, || NOW_MS - 1), Ok(permit.clone()));
        assert_eq!(directory.admit_again(&permit, now), Err(Denial::NotValid));
        assert_eq!(directory.admit(&digest(1), now), Err(Denial::NotValid));
    }

    #[test]
    fn the_time_is_not_asked_about_tokens_without_terms() {
        let mut directory = Directory::default();
        directory.apply(Change::Account(grant(1, 1)));
        directory.apply(token(1, None));
        assert!(directory.admit(&digest(1), || panic!("asked")).is_ok());
    }

    #[test]
    fn changes_without_terms_read_as_they_always_did() {
        let json = format!(r#"{{"token":{{"digest":"{}","token":1,"account":1}}}}"#, digest(1).to_hex());
        assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), token(1, None));
        assert_eq!(serde_json::to_string(&token(1, None)).unwrap(), json);
    }
}
