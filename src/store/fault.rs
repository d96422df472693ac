//! What a failure of the database means for the one who asked: that it may work later, that nobody knows, or that it is
//! broken.

use super::StoreError;
use sqlx::error::DatabaseError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_passing(&error) { Self::Unavailable(error) } else { Self::Database(error) }
    }
}

impl StoreError {
    /// A commit that failed. Only an answer about this very transaction says that it left nothing behind.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(answer) if !went_away(answer.as_ref()) => error.into(),
            _ => Self::OutcomeUnknown(error),
        }
    }
}

/// Whether the same question may be answered later.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(answer) => went_away(answer.as_ref()) || is_busy(answer.as_ref()),
        _ => false,
    }
}

/// PostgreSQL ends the connection, or does not take one: its classes 08 (connections), 53 (resources, of which it may
/// have more later) and 57 (an operator stops it, or it starts).
fn went_away(answer: &dyn DatabaseError) -> bool {
    let code = answer.code().unwrap_or_default();
    ["08", "53", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
}

/// Others are in the way, or this server has become one that only reads.
fn is_busy(answer: &dyn DatabaseError) -> bool {
    let code = answer.code().unwrap_or_default();
    match code.len() {
        // PostgreSQL: a lock, a deadlock, idle for too long inside a transaction, a standby.
        5 => ["55P03", "40P01", "40001", "25P03", "25006"].contains(&code.as_ref()),
        // SQLite: its result codes 5 (busy) and 6 (locked), with what they were about above their lowest byte.
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
    }
}
