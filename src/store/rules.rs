//! The rules of accounts and their tokens, pure: values in, a verdict out.
//!
//! They are asked inside the transaction that acts on the verdict, so what they were told still holds when it commits.

use crate::domain::account::{AccountId, Retention};
use crate::domain::filter::FilterId;
use crate::domain::terms::{DOORS, SCOPE_ENTRIES_MAX, Scope, TYPE_BYTES_MAX};

/// Longest name of a token or an account, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Most users of an account.
pub const USERS_MAX: u32 = 1_000;

/// Most saved views of an account.
pub const VIEWS_MAX: usize = 500;

/// Longest place of a saved view, in bytes.
pub const PLACE_BYTES_MAX: usize = 8_000;

/// Longest e-mail address, in bytes.
const EMAIL_BYTES_MAX: usize = 254;

/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 256;

/// Longest retention, in days.
pub const RETENTION_DAYS_MAX: u32 = 3_650;

const DAY_MS: u64 = 86_400_000;

/// How long a token may be retired, in milliseconds.
pub const OVERLAP_MS_MAX: u64 = 30 * DAY_MS;

/// The shortest time without use that tells anything, in milliseconds: use is known to the minute.
pub const QUIET_FOR_MS_MIN: u64 = 60_000;

/// How many shared tokens an account may have.
pub const SHARED_TOKENS_MAX: u64 = 100;

/// How many filters an account may have.
pub const FILTERS_MAX: u64 = 200;

/// Longest texts of a filter, in characters.
pub const FIELD_CHARS_MAX: usize = 256;
pub const VALUE_CHARS_MAX: usize = 1_000;
pub const DESCRIPTION_CHARS_MAX: usize = 500;

/// The end of the year 9999: what can be written as a date.
pub const EXPIRES_MS_MAX: u64 = 253_402_300_799_999;

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
    #[error(
        "This is the account's last enabled log shipping token that does not expire, which can be neither disabled, deleted \
         nor given an expiry: {}",
        way_out(*max, "enable another one that does not expire first")
    )]
    LastLastingToken { max: u32 },
    #[error("This value cannot be had: it is in use as a token already")]
    TokenValueTaken,
    #[error("expiresAt is an instant to come, in seconds since 1970, before the year 10000")]
    ExpiresAt,
    #[error("This token has expired: to enable it, give it a later expiresAt, or null to have it last")]
    Expired,
    #[error("A scope's list has at most {SCOPE_ENTRIES_MAX} entries")]
    ScopeTooLong,
    #[error("A scope's doors are out of: {}", DOORS.join(", "))]
    UnknownDoor,
    #[error("A scope's types have 1 to {TYPE_BYTES_MAX} bytes")]
    ScopeType,
    #[error("overlap is between 1 second and {} days, in seconds", OVERLAP_MS_MAX / DAY_MS)]
    Overlap,
    #[error("quietFor is between 1 minute and {} days, in seconds", OVERLAP_MS_MAX / DAY_MS)]
    QuietFor,
    #[error("A token that is being retired ends {} days after its rotation at the latest", OVERLAP_MS_MAX / DAY_MS)]
    Deadline,
    #[error("This token is being retired: rotate the one that takes its place")]
    AlreadyRetiring,
    #[error("Only an enabled token can be rotated")]
    RotatesDisabled,
    #[error(
        "The account's plan allows {max} token(s) being retired at a time: wait for the end of one, or disable it first"
    )]
    RetiringLimit { max: u32 },
    #[error("The account has another shared token with this name")]
    SharedTokenNameTaken,
    #[error("An account has at most {SHARED_TOKENS_MAX} shared tokens: delete one first")]
    SharedTokensMax,
    #[error("expirationDate is an instant to come, in seconds since 1970, before the year 10000, or null")]
    ExpirationDate,
    #[error("filter with id {id} not found for account {account}")]
    UnknownFilter { id: FilterId, account: AccountId },
    #[error("An account has at most {FILTERS_MAX} filters: delete one first")]
    FiltersMax,
    #[error("The account has this filter already: it has the id {id}")]
    FilterTaken { id: FilterId },
    #[error("A filter's field has 1 to {FIELD_CHARS_MAX} characters, none of them a control character")]
    FilterField,
    #[error("A filter's value has 1 to {VALUE_CHARS_MAX} characters, none of them a control character")]
    FilterValue,
    #[error(
        "A filter's description has at most {DESCRIPTION_CHARS_MAX} characters, none of them a control character"
    )]
    FilterDescription,
    #[error("The account has another API token with this name")]
    ApiTokenNameTaken,
    #[error("This is the account's last API token: create another one first")]
    LastApiToken,
    #[error("This is no e-mail address")]
    EmailMalformed,
    #[error("There is a user with this e-mail address already")]
    EmailTaken,
    #[error("An account has at most {USERS_MAX} users")]
    UsersMax,
    #[error("A password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    PasswordLength,
    #[error("A password is not the user's e-mail address")]
    PasswordIsEmail,
    #[error("The password was changed meanwhile")]
    PasswordChanged,
    #[error("This is the account's last active admin: make somebody else an admin first")]
    LastAdmin,
    #[error("This link is not valid, or not any more: ask for another one")]
    LinkOver,
    #[error("The account has another view with this name")]
    ViewNameTaken,
    #[error("An account has at most {VIEWS_MAX} saved views")]
    ViewsMax,
    #[error(
        "A view is what stands behind #/ in Explore's address, as in explore?query=level:error, in at most {PLACE_BYTES_MAX} bytes"
    )]
    ViewMalformed,
    #[error("There is another account with this name")]
    AccountNameTaken,
    #[error("retentionDays is between 1 and {RETENTION_DAYS_MAX}")]
    RetentionDays,
    #[error("A limit is a number of bytes between 1 and {}", i64::MAX)]
    Bytes,
}

/// What to do about it, which a plan that allows one enabled token leaves no room for.
fn way_out(enabled_max: u32, usual: &'static str) -> &'static str {
    if enabled_max > 1 { usual } else { "to replace it, rotate it; a larger plan allows more" }
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

/// An e-mail address, as far as its form tells: in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let email = text.trim().to_lowercase();
        let parts = email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
        let plain = email.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if parts && plain && email.len() <= EMAIL_BYTES_MAX {
            Ok(Self(email))
        } else {
            Err(Refusal::EmailMalformed)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where in the console a view is: the part of its address behind `#/`, which is Explore's, percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_explore = text == "explore" || text.starts_with("explore?");
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
        let fits = is_explore && text.len() <= PLACE_BYTES_MAX && text.bytes().all(is_plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(Refusal::ViewMalformed) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a password that the user of this e-mail address wants. Long ones are good ones, whatever they are made of.
pub fn check_password(password: &str, email: &str) -> Result<(), Refusal> {
    if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&password.chars().count()) {
        Err(Refusal::PasswordLength)
    } else if password.trim().to_lowercase() == email.trim().to_lowercase() {
        Err(Refusal::PasswordIsEmail)
    } else {
        Ok(())
    }
}

/// What a token is called while it is being retired: cut short, so that it stays a name. `number` tells namesakes of one day apart.
pub fn retired_name(name: &str, day: &str, number: u32) -> Result<Name, Refusal> {
    let mark = match number {
        1 => format!(" (until {day})"),
        _ => format!(" (until {day}, {number})"),
    };
    let kept: String = name.chars().take(NAME_CHARS_MAX - mark.len()).collect();
    Name::parse(&(kept.trim_end().to_owned() + &mark))
}

/// How many shipping tokens an account has, and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCounts {
    pub total: u32,
    /// Enabled ones, but for those being retired.
    pub enabled: u32,
    /// Enabled ones without expiry.
    pub lasting: u32,
    /// Enabled ones that a rotation replaces.
    pub retiring: u32,
    /// How many the account's plan lets be enabled at a time. As many more may be in retirement.
    pub enabled_max: u32,
}

impl TokenCounts {
    /// One more token may be enabled while fewer than the plan allows are.
    pub fn may_enable_another(self) -> Result<(), Refusal> {
        let max = self.enabled_max;
        if self.enabled < max { Ok(()) } else { Err(Refusal::EnabledLimit { max }) }
    }

    /// An enabled token may be disabled, deleted or, if it lasts, be given an expiry, while another one that lasts stays
    /// enabled.
    pub fn may_lose_one(self, lasting: bool) -> Result<(), Refusal> {
        let max = self.enabled_max;
        match self {
            Self { lasting: 2.., .. } => Ok(()),
            Self { lasting: 1, .. } if !lasting => Ok(()),
            Self { total: ..=1, .. } => Err(Refusal::SoleToken { max }),
            Self { enabled, retiring, .. } if enabled + retiring <= 1 => {
                Err(Refusal::LastEnabledToken { max })
            }
            _ => Err(Refusal::LastLastingToken { max }),
        }
    }

    /// A disabled token may be deleted while it is not alone.
    pub fn may_delete_disabled(self) -> Result<(), Refusal> {
        if self.total > 1 { Ok(()) } else { Err(Refusal::SoleToken { max: self.enabled_max }) }
    }

    /// One more token may be retired while fewer than the plan allows to be enabled are.
    pub fn may_retire_another(self) -> Result<(), Refusal> {
        let max = self.enabled_max;
        if self.retiring < max { Ok(()) } else { Err(Refusal::RetiringLimit { max }) }
    }
}

/// Checks an expiry that somebody asks for at `now_ms`.
pub fn check_expiry(expires_ms: u64, now_ms: u64) -> Result<(), Refusal> {
    if expires_ms > now_ms && expires_ms <= EXPIRES_MS_MAX { Ok(()) } else { Err(Refusal::ExpiresAt) }
}

/// Checks the deadline of a token that is being retired since `since_ms`.
pub fn check_deadline(since_ms: u64, deadline_ms: u64) -> Result<(), Refusal> {
    if deadline_ms <= since_ms.saturating_add(OVERLAP_MS_MAX) { Ok(()) } else { Err(Refusal::Deadline) }
}

/// Checks how long a rotation takes.
pub fn check_rotation(overlap_ms: u64, quiet_for_ms: Option<u64>) -> Result<(), Refusal> {
    if !(1_000..=OVERLAP_MS_MAX).contains(&overlap_ms) {
        return Err(Refusal::Overlap);
    }
    match quiet_for_ms {
        Some(quiet_for_ms) if !(QUIET_FOR_MS_MIN..=OVERLAP_MS_MAX).contains(&quiet_for_ms) => {
            Err(Refusal::QuietFor)
        }
        _ => Ok(()),
    }
}

/// Checks a scope whose networks were parsed.
pub fn check_scope(scope: &Scope) -> Result<(), Refusal> {
    let longest = scope.doors.len().max(scope.sources.len()).max(scope.types.len());
    if longest > SCOPE_ENTRIES_MAX {
        return Err(Refusal::ScopeTooLong);
    }
    if scope.doors.iter().any(|door| !DOORS.contains(&&**door)) {
        return Err(Refusal::UnknownDoor);
    }
    let fits = |name: &str| (1..=TYPE_BYTES_MAX).contains(&name.len());
    if scope.types.iter().all(|name| fits(name)) { Ok(()) } else { Err(Refusal::ScopeType) }
}

/// Checks the texts of a filter. They are compared letter by letter, so they are kept as they came.
pub fn check_filter(field: &str, value: &str, description: &str) -> Result<(), Refusal> {
    let fits = |text: &str, range: std::ops::RangeInclusive<usize>| {
        range.contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if !fits(field, 1..=FIELD_CHARS_MAX) {
        Err(Refusal::FilterField)
    } else if !fits(value, 1..=VALUE_CHARS_MAX) {
        Err(Refusal::FilterValue)
    } else if !fits(description, 0..=DESCRIPTION_CHARS_MAX) {
        Err(Refusal::FilterDescription)
    } else {
        Ok(())
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
mod tests;
