//! The rules of accounts and their tokens, pure: values in, a verdict out.
//!
//! They are asked inside the transaction that acts on the verdict, so what they were told still holds when it commits.

use crate::domain::account::Retention;

/// Longest name of a token or an account, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Longest retention, in days.
pub const RETENTION_DAYS_MAX: u32 = 3_650;

/// A request that is understood and not allowed. The text is for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("A name must not be empty")]
    NameEmpty,
    #[error("A name has at most {NAME_CHARS_MAX} characters")]
    NameTooLong,
    #[error("A name has no control characters")]
    NameMalformed,
    #[error("The account has another log shipping token with this name")]
    TokenNameTaken,
    #[error(
        "The account's plan allows {max} enabled log shipping token(s) at a time: {}",
        way_out(*max, "disable another one first")
    )]
    EnabledLimit { max: u32 },
    #[error(
        "This is the account's only log shipping token, which can be neither disabled nor deleted: {}",
        way_out(*max, "create another one first")
    )]
    SoleToken { max: u32 },
    #[error(
        "This is the account's last enabled log shipping token, which can be neither disabled nor deleted: {}",
        way_out(*max, "enable another one first")
    )]
    LastEnabledToken { max: u32 },
    #[error("The account has another API token with this name")]
    ApiTokenNameTaken,
    #[error("This is the account's last API token: create another one first")]
    LastApiToken,
    #[error("There is another account with this name")]
    AccountNameTaken,
    #[error("retentionDays is between 1 and {RETENTION_DAYS_MAX}")]
    RetentionDays,
    #[error("A limit is a number of bytes between 1 and {}", i64::MAX)]
    Bytes,
}

/// What to do about it, which a plan that allows one enabled token leaves no room for.
fn way_out(enabled_max: u32, usual: &'static str) -> &'static str {
    if enabled_max > 1 {
        usual
    } else {
        "one must be enabled and no more may be, so it cannot be replaced on this plan; a larger plan allows it"
    }
}

/// A name fit to be stored and shown: trimmed, not empty, not too long, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let name = text.trim();
        if name.is_empty() {
            Err(Refusal::NameEmpty)
        } else if name.chars().count() > NAME_CHARS_MAX {
            Err(Refusal::NameTooLong)
        } else if name.chars().any(char::is_control) {
            Err(Refusal::NameMalformed)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many shipping tokens an account has, and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCounts {
    pub total: u32,
    pub enabled: u32,
    /// How many the account's plan lets be enabled at a time.
    pub enabled_max: u32,
}

impl TokenCounts {
    /// One more token may be enabled while fewer than the plan allows are.
    pub fn may_enable_another(self) -> Result<(), Refusal> {
        let max = self.enabled_max;
        if self.enabled < max { Ok(()) } else { Err(Refusal::EnabledLimit { max }) }
    }

    /// An enabled token may be disabled while another one stays enabled.
    pub fn may_disable_one(self) -> Result<(), Refusal> {
        match self {
            Self { total: ..=1, enabled_max: max, .. } => Err(Refusal::SoleToken { max }),
            Self { enabled: ..=1, enabled_max: max, .. } => Err(Refusal::LastEnabledToken { max }),
            _ => Ok(()),
        }
    }

    /// An enabled token may be deleted when it may be disabled; a disabled one while it is not alone.
    pub fn may_delete_one(self, enabled: bool) -> Result<(), Refusal> {
        match self {
            _ if enabled => self.may_disable_one(),
            Self { total: ..=1, enabled_max: max, .. } => Err(Refusal::SoleToken { max }),
            _ => Ok(()),
        }
    }
}

/// Checks an account's bounds.
pub fn check_bounds(retention: Retention, rate_bytes_max: Option<u64>) -> Result<(), Refusal> {
    if !(1..=RETENTION_DAYS_MAX).contains(&retention.days) {
        return Err(Refusal::RetentionDays);
    }
    let storable = |bytes: u64| bytes >= 1 && i64::try_from(bytes).is_ok();
    if [retention.bytes_max, rate_bytes_max].into_iter().flatten().all(storable) {
        Ok(())
    } else {
        Err(Refusal::Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        let longest = "ü".repeat(NAME_CHARS_MAX);
        let too_long = "ü".repeat(NAME_CHARS_MAX + 1);
        for (text, expect) in [
            ("  apac prod\t", Ok("apac prod")),
            ("", Err(Refusal::NameEmpty)),
            (" \n ", Err(Refusal::NameEmpty)),
            ("two\nlines", Err(Refusal::NameMalformed)),
            (&longest, Ok(longest.as_str())),
            (&too_long, Err(Refusal::NameTooLong)),
        ] {
            let name = Name::parse(text);
            assert_eq!(name.as_ref().map(Name::as_str).map_err(|r| *r), expect, "{text:?}");
        }
    }

    #[test]
    fn one_token_stays_enabled_and_no_more_than_the_plan_allows() {
        let ok = Ok(());
        let sole = |max| Err(Refusal::SoleToken { max });
        let last = |max| Err(Refusal::LastEnabledToken { max });
        let full = |max| Err(Refusal::EnabledLimit { max });
        for (total, enabled, max, enable, disable, delete_enabled, delete_disabled) in [
            (1, 1, 1, full(1), sole(1), sole(1), sole(1)),
            (2, 1, 1, full(1), last(1), last(1), ok),
            (2, 1, 15, ok, last(15), last(15), ok),
            (2, 2, 15, ok, ok, ok, ok),
            (30, 15, 15, full(15), ok, ok, ok),
            (30, 14, 15, ok, ok, ok, ok),
        ] {
            let counts = TokenCounts { total, enabled, enabled_max: max };
            assert_eq!(counts.may_enable_another(), enable, "{counts:?}");
            assert_eq!(counts.may_disable_one(), disable, "{counts:?}");
            assert_eq!(counts.may_delete_one(true), delete_enabled, "{counts:?}");
            assert_eq!(counts.may_delete_one(false), delete_disabled, "{counts:?}");
        }
    }

    #[test]
    fn bounds_are_checked() {
        let check = |days, bytes_max, rate| check_bounds(Retention { days, bytes_max }, rate);
        for (got, expect) in [
            (check(1, None, None), Ok(())),
            (check(3_650, Some(1), Some(i64::MAX as u64)), Ok(())),
            (check(0, None, None), Err(Refusal::RetentionDays)),
            (check(3_651, None, None), Err(Refusal::RetentionDays)),
            (check(7, Some(0), None), Err(Refusal::Bytes)),
            (check(7, None, Some(u64::MAX)), Err(Refusal::Bytes)),
        ] {
            assert_eq!(got, expect);
        }
    }
}
