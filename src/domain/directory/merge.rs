//! A snapshot laid over the directory in force.
//!
//! What is equal stays shared, what differs is replaced, what the snapshot does not hold is removed: two directories are held
//! only as far as they differ. Tokens must come in the order of their digests, which is the order in which they are kept, so
//! that both are walked along once. The directory in force stays as it is; the new one is there when all has come.

use super::{Change, Directory, Enabled};
use crate::domain::account::AccountId;
use crate::domain::token::TokenDigest;
use std::collections::HashSet;

/// A snapshot has its accounts before its tokens, its tokens in the order of their digests, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot's changes are not in their order")]
pub struct OutOfOrder;

/// See the module's header.
#[derive(Debug)]
pub struct Merge {
    old: Directory,
    fresh: Directory,
    accounts: HashSet<AccountId>,
    /// The last token taken.
    last: Option<TokenDigest>,
    /// The first token of `old` that is not judged yet.
    waiting: Option<TokenDigest>,
}

impl Directory {
    /// Begins to lay a snapshot over this directory.
    pub fn merge(&self) -> Merge {
        let waiting = self.tokens.after(None).map(|(digest, _)| *digest);
        Merge { old: self.clone(), fresh: self.clone(), accounts: HashSet::new(), last: None, waiting }
    }
}

impl Merge {
    /// Takes the snapshot's next change.
    pub fn take(&mut self, change: Change) -> Result<(), OutOfOrder> {
        match change {
            Change::Account(grant) if self.last.is_none() && self.accounts.insert(grant.account) => {
                if self.old.accounts.get(&grant.account) != Some(&grant) {
                    self.fresh.accounts.insert(grant.account, grant);
                }
            }
            Change::Token { digest, token, account, terms } if self.last < Some(digest) => {
                let enabled = Enabled { token, account, terms };
                self.last = Some(digest);
                self.remove_before(Some(digest));
                if self.waiting == Some(digest) {
                    self.pass(digest);
                }
                if self.old.tokens.get(&digest) != Some(&enabled) {
                    self.fresh.tokens.insert(digest, enabled);
                }
            }
            Change::Account(_) | Change::Token { .. } | Change::Revoke { .. } => return Err(OutOfOrder),
        }
        Ok(())
    }

    /// All has come, and adds up to `revision`.
    pub fn finish(mut self, revision: u64) -> Directory {
        self.remove_before(None);
        for (account, _) in self.old.accounts.iter() {
            if !self.accounts.contains(account) {
                self.fresh.accounts.remove(account);
            }
        }
        self.fresh.revision = revision;
        self.fresh
    }

    /// Removes what the snapshot has passed over, up to `digest` or the end.
    fn remove_before(&mut self, digest: Option<TokenDigest>) {
        while let Some(gone) = self.waiting.filter(|waiting| digest.is_none_or(|digest| *waiting < digest)) {
            self.fresh.tokens.remove(&gone);
            self.pass(gone);
        }
    }

    fn pass(&mut self, digest: TokenDigest) {
        self.waiting = self.old.tokens.after(Some(&digest)).map(|(digest, _)| *digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::{AccountGrant, Retention, TokenId};
    use crate::domain::terms::Terms;
    use proptest::prelude::*;

    fn token(n: u8, account: u32) -> Change {
        Change::Token {
            digest: TokenDigest::of(&n.to_string()),
            token: TokenId(n.into()),
            account: AccountId(account),
            terms: Terms { expires_ms: (account == 2).then_some(9), ..Terms::default() }.shared(),
        }
    }

    fn account(account: u32, days: u32) -> Change {
        let (durability, rate_bytes_max) = (None, None);
        let retention = Retention { days, bytes_max: None };
        Change::Account(AccountGrant { account: AccountId(account), durability, rate_bytes_max, retention })
    }

    fn directories() -> impl Strategy<Value = Directory> {
        let change = prop_oneof![
            (0..6u32, 1..3u32).prop_map(|(n, days)| account(n, days)),
            (any::<u8>(), 0..3u32).prop_map(|(n, of)| token(n, of)),
        ];
        prop::collection::vec(change, 0..200).prop_map(|changes| {
            let mut directory = Directory::default();
            changes.into_iter().for_each(|change| directory.apply(change));
            directory
        })
    }

    proptest! {
        #[test]
        fn whatever_was_in_force_the_snapshot_is_what_comes_out(old in directories(), snapshot in directories()) {
            let before: Vec<_> = old.changes().collect();
            let mut merge = old.merge();
            for change in snapshot.changes() {
                merge.take(change).unwrap();
            }
            let fresh = merge.finish(7);
            prop_assert_eq!(fresh.revision(), 7);
            prop_assert_eq!(fresh.tokens(), snapshot.tokens());
            prop_assert!(fresh.changes().eq(snapshot.changes()));
            prop_assert!(old.changes().eq(before));
        }
    }

    #[test]
    fn what_is_equal_stays_shared() {
        let mut old = Directory::default();
        (0..3).for_each(|n| old.apply(account(n, 1)));
        (0..=255).for_each(|n| old.apply(token(n, 1)));
        let mut merge = old.merge();
        old.changes().for_each(|change| merge.take(change).unwrap());
        let fresh = merge.finish(7);
        assert!(fresh.tokens.is_same(&old.tokens) && fresh.accounts.is_same(&old.accounts));
    }

    #[test]
    fn changes_out_of_their_order_are_refused() {
        let mut sorted = [token(1, 1), token(2, 1)];
        sorted.sort_by_key(|change| match change {
            Change::Token { digest, .. } => Some(*digest),
            _ => None,
        });
        let [first, second] = sorted;
        let revoke = Change::Revoke { digest: TokenDigest::of("1") };
        for (changes, fits) in [
            (vec![account(2, 1), account(1, 1), first.clone(), second.clone()], true),
            (vec![account(1, 1), account(1, 1)], false),
            (vec![first.clone(), account(1, 1)], false),
            (vec![second, first.clone()], false),
            (vec![first.clone(), first], false),
            (vec![revoke], false),
        ] {
            let mut merge = Directory::default().merge();
            let taken: Result<Vec<_>, _> = changes.into_iter().map(|change| merge.take(change)).collect();
            assert_eq!(taken.is_ok(), fits);
        }
    }
}
