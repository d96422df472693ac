//! Every way to say no to a shipper. A door turns one into its protocol's answer; metrics and logs share its code.

use crate::domain::directory::Denial;
use crate::journal::AppendError;
use std::time::Duration;

/// Whose affair a refusal is; it decides how loudly it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The client's: counted, logged for debugging.
    Client,
    /// A limit was reached: the operator should know, not a thousand times a second.
    Capacity,
    /// Something of ours broke.
    Fault,
}

/// Why a request's lines are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("Logging token is missing")]
    TokenMissing,
    #[error("Logging token is not valid")]
    TokenNotValid,
    /// Told apart from [`Self::TokenNotValid`] in metrics only.
    #[error("Logging token is not valid")]
    TokenRevokedDuringUpload,
    /// The token may not ship through this door. Told apart from [`Self::TokenNotValid`] in metrics only.
    #[error("Logging token is not valid")]
    DoorOutOfScope,
    /// The token may not ship from this address. Told apart from [`Self::TokenNotValid`] in metrics only.
    #[error("Logging token is not valid")]
    SourceOutOfScope,
    #[error("the account is over its rate; try again later")]
    OverRate { retry_after: Duration },
    #[error("the body is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body has so many lines that what is added to them does not fit; send smaller batches")]
    TooManyLines,
    #[error("unknown Content-Encoding; gzip, zstd, deflate and identity are known")]
    UnknownEncoding,
    /// The body cannot be taken for lines.
    #[error("{0}")]
    Unreadable(&'static str),
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the connection broke before the body was whole")]
    BodyCut,
    #[error("the gateway is full; try again")]
    Busy,
    #[error("the gateway has no directory of tokens yet; try again")]
    NotReady,
    #[error("the batch could not be made durable; try again")]
    Journal(#[source] AppendError),
    #[error("there is nothing here; post logs to /")]
    NotFound,
    #[error("logs are posted: use POST")]
    MethodNotAllowed,
}

impl Refusal {
    /// Every [`Self::code`].
    pub const CODES: [&str; 23] = [
        "token_missing",
        "token_not_valid",
        "token_revoked_during_upload",
        "scope_door",
        "scope_source",
        "over_rate",
        "too_large",
        "too_many_lines",
        "unknown_encoding",
        "unreadable",
        "body_timeout",
        "body_cut",
        "busy",
        "not_ready",
        "not_found",
        "method_not_allowed",
        "journal_busy",
        "disk_full",
        "journal_full",
        "disk_io",
        "disk_sync",
        "batch_too_large",
        "closed",
    ];

    /// A stable name: metric label, log field.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenNotValid => "token_not_valid",
            Self::TokenRevokedDuringUpload => "token_revoked_during_upload",
            Self::DoorOutOfScope => "scope_door",
            Self::SourceOutOfScope => "scope_source",
            Self::OverRate { .. } => "over_rate",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyLines => "too_many_lines",
            Self::UnknownEncoding => "unknown_encoding",
            Self::Unreadable(_) => "unreadable",
            Self::BodyTimeout => "body_timeout",
            Self::BodyCut => "body_cut",
            Self::Busy => "busy",
            Self::NotReady => "not_ready",
            Self::Journal(error) => error.code(),
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::TokenMissing
            | Self::TokenNotValid
            | Self::TokenRevokedDuringUpload
            | Self::DoorOutOfScope
            | Self::SourceOutOfScope
            | Self::OverRate { .. }
            | Self::TooLarge { .. }
            | Self::TooManyLines
            | Self::UnknownEncoding
            | Self::Unreadable(_)
            | Self::BodyTimeout
            | Self::BodyCut
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Journal(AppendError::TooLarge) => Class::Client,
            Self::Busy | Self::NotReady => Class::Capacity,
            Self::Journal(
                AppendError::Busy | AppendError::Full | AppendError::JournalFull | AppendError::Closed,
            ) => Class::Capacity,
            Self::Journal(_) => Class::Fault,
        }
    }

    /// When trying again makes sense; `None` where it never does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OverRate { retry_after } => Some(*retry_after),
            Self::Journal(AppendError::TooLarge) => None,
            Self::Busy | Self::NotReady | Self::Journal(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Missing => Self::TokenMissing,
            Denial::NotValid => Self::TokenNotValid,
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Journal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once() {
        let wait = Duration::ZERO;
        let refusals = [
            Refusal::TokenMissing,
            Refusal::TokenNotValid,
            Refusal::TokenRevokedDuringUpload,
            Refusal::DoorOutOfScope,
            Refusal::SourceOutOfScope,
            Refusal::OverRate { retry_after: wait },
            Refusal::TooLarge { max: 1 },
            Refusal::TooManyLines,
            Refusal::UnknownEncoding,
            Refusal::Unreadable(""),
            Refusal::BodyTimeout,
            Refusal::BodyCut,
            Refusal::Busy,
            Refusal::NotReady,
            Refusal::NotFound,
            Refusal::MethodNotAllowed,
            Refusal::from(AppendError::Busy),
            Refusal::from(AppendError::Full),
            Refusal::from(AppendError::JournalFull),
            Refusal::from(AppendError::Io),
            Refusal::from(AppendError::Sync),
            Refusal::from(AppendError::TooLarge),
            Refusal::from(AppendError::Closed),
        ];
        assert_eq!(refusals.map(|refusal| refusal.code()), Refusal::CODES);
    }
}
