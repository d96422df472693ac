//! The calls that read an account's log. Each begins with a [`Reading`]: somebody who may read, and what of the log that is.
//!
//! They check what is asked, put one question to `logs::read`, and show its answer. No line, count or name comes from anywhere
//! else, so that what a viewer may not see is not here to be shown.

mod asked;
mod chunks;
pub(super) mod elastic;
pub(super) mod export;
pub(super) mod found;
pub(super) mod tail;

use super::access::App;
use super::access::viewer::Viewer;
use super::error::{ApiError, ErrorBody};
use crate::domain::query::Query;
use crate::logs::read::{Question, ReadError, Reader};
use crate::shutdown::Tasks;
use asked::Span;
use axum::extract::FromRequestParts;
use axum::http::request;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Somebody who may read logs, and what with.
pub(super) struct Reading {
    viewer: Viewer,
    reader: Reader,
    tasks: Tasks,
    exports: Arc<Semaphore>,
    /// When the request came: `now` in it.
    now_ms: u64,
}

impl Reading {
    /// The question as this viewer may ask it.
    fn question(&self, query: Query, span: Span) -> Question {
        Question {
            account: self.viewer.account,
            access: self.viewer.access().clone(),
            query,
            from_ms: span.from_ms,
            to_ms: span.to_ms,
        }
    }
}

impl FromRequestParts<App> for Reading {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, ApiError> {
        let viewer = Viewer::from_request_parts(parts, app).await?;
        let reader = app.reader().ok_or(ApiError::NoLogsHere)?.clone();
        let (tasks, exports) = (app.tasks().clone(), Arc::clone(app.exports()));
        Ok(Self { viewer, reader, tasks, exports, now_ms: app.unix_ms() })
    }
}

/// Why somebody may not read: what every one of these calls may answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents what an `ApiError` answers")]
enum NoReading {
    #[response(status = 401, description = "The shared token is not valid, or not any more")]
    NotValid(ErrorBody),
    #[response(status = 403, description = "No credentials, or wrong ones")]
    Forbidden(ErrorBody),
    #[response(
        status = 404,
        description = "This control plane has no logs, or does not see them as they come"
    )]
    NoLogs(ErrorBody),
}

/// Why a question is not answered: what those that ask one may answer beside that.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it documents what an `ApiError` answers")]
enum NoAnswer {
    #[response(
        status = 400,
        description = "The query is none (`Logs/QUERY`, with its column), a part of a body is not supported (`Logs/UNSUPPORTED`, with its path), or a parameter is malformed"
    )]
    Malformed(ErrorBody),
    #[response(status = 429, description = "Too many questions, exports or tails are under way")]
    TooMany(ErrorBody),
}

/// How a question that has no answer shows.
fn failed(error: ReadError) -> ApiError {
    match error {
        ReadError::TooMany => ApiError::TooMany("Too many questions are under way: try again in a moment"),
        ReadError::TooManyBuckets { max } => {
            ApiError::Malformed(format!("interval is too short: there would be more than {max} intervals"))
        }
        ReadError::NoTails => ApiError::NoLogsHere,
        fault @ (ReadError::Io(_) | ReadError::Damaged | ReadError::Defect) => ApiError::LogsFault(fault),
    }
}

/// What a text that is no query is answered with.
fn no_query(error: crate::domain::query::parse::QueryError) -> ApiError {
    ApiError::Query { column: error.column, path: None, message: error.message }
}
