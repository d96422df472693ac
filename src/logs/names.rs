//! Names: where an account's files are.

use super::checkpoint::Mark;
use crate::domain::account::AccountId;
use crate::domain::timestamp::rfc3339_millis;
use std::path::{Path, PathBuf};
use time::macros::format_description;

/// The growing file of an account.
pub(super) const CURRENT: &str = "current.ndjson.zst";
/// Up to which block an account's log is in the object store only.
pub(super) const LET_GO: &str = "let_go";
/// The newest file that was dropped here. Older ones, which may be in the object store, are over as well.
pub(super) const DROPPED: &str = "dropped";
const SEALED: &str = ".ndjson.zst";
const INDEX: &str = ".index";
const DAMAGED: &str = ".ndjson.zst.damaged";

/// An account's directory.
pub(super) fn account_dir(dir: &Path, account: AccountId) -> PathBuf {
    dir.join(account.to_string())
}

/// What is called so could not be used as an account's directory, and was put aside.
pub(super) fn unusable(account: AccountId, number: u32) -> String {
    format!("{account}.unusable-{number}")
}

/// The account that a directory of this name belongs to.
pub(super) fn parse_account(name: &str) -> Option<AccountId> {
    let account = AccountId(name.parse().ok()?);
    (account.to_string() == name).then_some(account)
}

/// What a growing file is called once it is sealed.
pub(super) fn sealed(mark: &Mark) -> String {
    format!("{}{SEALED}", stem(mark))
}

/// The same of a growing file of which only its first block is known.
pub(super) fn sealed_as(first_seq: u64, first_received_ms: u64) -> String {
    sealed(&Mark { first_seq, first_received_ms, ..Mark::default() })
}

/// What a damaged growing file is called once it is kept aside.
pub(super) fn damaged(mark: &Mark) -> String {
    format!("{}{DAMAGED}", stem(mark))
}

/// `20261121T192156.123Z-00000000000000000042`. The number orders the files of an account; the time is for people, and
/// orders them as well unless the clock was set back.
fn stem(mark: &Mark) -> String {
    let received = rfc3339_millis(mark.first_received_ms).replace(['-', ':'], "");
    format!("{received}-{:020}", mark.first_seq)
}

/// What the index of a sealed file is called.
pub(super) fn index(sealed: &str) -> String {
    format!("{sealed}{INDEX}")
}

/// The sealed file that an index of this name is of.
pub(super) fn parse_index(name: &str) -> Option<&str> {
    name.strip_suffix(INDEX).filter(|sealed| parse_sealed(sealed).is_some())
}

/// What a sealed file's name says: its first sequence number, and when its first line was received.
pub(super) fn parse_sealed(name: &str) -> Option<(u64, u64)> {
    let (received, seq) = name.strip_suffix(SEALED)?.rsplit_once('-')?;
    let format = format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
    let received = time::PrimitiveDateTime::parse(received, format).ok()?.assume_utc();
    let received_ms = u64::try_from(received.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some((seq.parse().ok()?, received_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_is_named_by_its_first_line() {
        let mark = Mark { first_seq: 42, first_received_ms: 1_700_000_000_007, ..Mark::default() };
        let name = sealed(&mark);
        assert_eq!(name, "20231114T221320.007Z-00000000000000000042.ndjson.zst");
        assert_eq!(parse_sealed(&name), Some((42, 1_700_000_000_007)));
        assert_eq!(parse_sealed(&damaged(&mark)), None);
        assert_eq!(parse_sealed(CURRENT), None);
        assert_eq!(parse_sealed(&index(&name)), None);
        assert_eq!(parse_index(&index(&name)), Some(name.as_str()));
        assert_eq!(parse_index(&index(CURRENT)), None);
    }

    #[test]
    fn only_plain_numbers_are_accounts() {
        assert_eq!(parse_account("7"), Some(AccountId(7)));
        for name in ["07", "+7", "checkpoint", "-1", ""] {
            assert_eq!(parse_account(name), None, "{name}");
        }
    }
}
