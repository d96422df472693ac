//! Every way the API says no: one match from a failure to its status, code and text.
//!
//! What the client is told and what went wrong inside are apart: a fault's cause goes to the log, under the request's
//! id, and the client gets the id.

use crate::logs::read::ReadError;
use crate::store::StoreError;
use crate::store::rules::Refusal;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// What a failure is about: the first half of its `errorCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    LogShippingTokens,
    ApiTokens,
    SharedTokens,
    Filters,
    Users,
    Sessions,
    Views,
    Accounts,
    Gateways,
    Logs,
    Request,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::LogShippingTokens => "LogShippingTokens",
            Self::ApiTokens => "ApiTokens",
            Self::SharedTokens => "SharedTokens",
            Self::Filters => "Filters",
            Self::Users => "Users",
            Self::Sessions => "Sessions",
            Self::Views => "Views",
            Self::Accounts => "Accounts",
            Self::Gateways => "Gateways",
            Self::Logs => "Logs",
            Self::Request => "Request",
        }
    }

    fn nothing_found(self) -> &'static str {
        match self {
            Self::LogShippingTokens => "There is no such log shipping token",
            Self::ApiTokens => "There is no such API token",
            Self::SharedTokens => "There is no such shared token",
            Self::Filters => "There is no such filter",
            Self::Users => "There is no such user",
            Self::Sessions => "There is no such session",
            Self::Views => "There is no such view",
            Self::Accounts => "There is no such account",
            Self::Gateways => "There is no such gateway",
            Self::Logs => "There are no such logs",
            Self::Request => "Not found",
        }
    }
}

/// A failed request.
#[derive(Debug)]
pub(super) enum ApiError {
    /// No credentials, wrong ones, or not enough.
    Forbidden,
    /// A shared token that is unknown, deleted or expired: one answer for all of them.
    NotShared,
    /// A session is needed, and there is none, or not any more. `setup_needed`: whether anybody could sign in at all, where it was asked.
    NotSignedIn {
        setup_needed: Option<bool>,
    },
    /// Or the wrong e-mail address, or a user who may not sign in: one answer for all.
    WrongPassword,
    /// Sent with a session's cookie, but not by the console's own page.
    CrossSite,
    /// A body that is not said to be JSON, where browsers could be made to send one.
    NotJson,
    /// Too many attempts to sign in.
    Slowed {
        retry_after_s: u64,
    },
    NotFound(Area),
    /// As [`Self::NotFound`], where the contract has a text and 400 for it.
    Unknown(Area, String),
    NoSuchPath,
    NoSuchMethod,
    /// The request is not what this call takes; the text says how.
    Malformed(String),
    TooLarge {
        bytes_max: usize,
    },
    /// The body did not arrive in time.
    Late,
    /// The answer was not ready in time.
    Busy,
    Refused(Area, Refusal),
    /// A query that is none.
    Query {
        /// The first is 1.
        column: usize,
        /// Where it stands in the body, if not alone; as in `query.query_string.query`.
        path: Option<String>,
        message: String,
    },
    /// A part of a question that is known elsewhere and not here; its path, as in `aggs.a.avg`.
    Unsupported {
        path: String,
        message: String,
    },
    /// There is no room for more of these now.
    TooMany(&'static str),
    /// Nobody appends to logs that this control plane could read.
    NoLogsHere,
    LogsFault(ReadError),
    Fault(StoreError),
    /// The handler ended without an answer, which is a mistake of this program; the panic is in its standard error.
    Crashed,
    Random(getrandom::Error),
}

/// The body of every failure but 403, which has `code` and `message` only.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody {
    /// The status again.
    code: u16,
    /// A stable name for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    /// A sentence for people.
    message: String,
    /// Names this request in the server's log and audit trail; also in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The numbers behind the message, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
}

struct Told {
    status: StatusCode,
    area: Area,
    code: &'static str,
    message: String,
    parameters: Value,
}

impl ApiError {
    /// How a failure of the store shows in a call about `area`.
    pub(super) fn of(area: Area) -> impl Fn(StoreError) -> Self {
        move |error| match error {
            StoreError::Refused(refusal) => Self::Refused(area, refusal),
            StoreError::NotFound => Self::NotFound(area),
            fault => Self::Fault(fault),
        }
    }

    /// The cause to log, if this is a fault of the server.
    pub(super) fn fault(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fault(fault) => Some(fault),
            Self::LogsFault(fault) => Some(fault),
            Self::Random(fault) => Some(fault),
            _ => None,
        }
    }

    /// The body to send.
    pub(super) fn body(&self, request_id: &str) -> ErrorBody {
        let told = self.told();
        if matches!(self, Self::Forbidden) {
            // Clients compare this answer as a whole.
            return ErrorBody {
                code: told.status.as_u16(),
                error_code: None,
                message: told.message,
                request_id: None,
                parameters: None,
            };
        }
        ErrorBody {
            code: told.status.as_u16(),
            error_code: Some(format!("{}/{}", told.area.name(), told.code)),
            message: told.message,
            request_id: Some(request_id.to_owned()),
            parameters: Some(told.parameters),
        }
    }

    fn told(&self) -> Told {
        match self {
            Self::Forbidden => {
                told(StatusCode::FORBIDDEN, Area::Request, "FORBIDDEN", "Insufficient privileges")
            }
            Self::NotShared => told(
                StatusCode::UNAUTHORIZED,
                Area::SharedTokens,
                "NOT_VALID",
                "This shared token is not valid, or not any more",
            ),
            Self::Unknown(area, which) => told(StatusCode::BAD_REQUEST, *area, "NOT_FOUND", which),
            Self::NotSignedIn { .. }
            | Self::WrongPassword
            | Self::CrossSite
            | Self::NotJson
            | Self::Slowed { .. } => self.told_to_people(),
            Self::NotFound(area) => told(StatusCode::NOT_FOUND, *area, "NOT_FOUND", area.nothing_found()),
            Self::NoSuchPath => {
                told(StatusCode::NOT_FOUND, Area::Request, "NO_SUCH_PATH", "There is no such path")
            }
            Self::NoSuchMethod => told(
                StatusCode::METHOD_NOT_ALLOWED,
                Area::Request,
                "NO_SUCH_METHOD",
                "This path does not take this method",
            ),
            Self::Malformed(how) => told(StatusCode::BAD_REQUEST, Area::Request, "MALFORMED", how),
            Self::TooLarge { bytes_max } => Told {
                parameters: json!({ "bytesMax": bytes_max }),
                ..told(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    Area::Request,
                    "TOO_LARGE",
                    &format!("The body is larger than {bytes_max} bytes"),
                )
            },
            Self::Late => told(
                StatusCode::REQUEST_TIMEOUT,
                Area::Request,
                "BODY_TIMEOUT",
                "The body did not arrive in time",
            ),
            Self::Busy => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Area::Request,
                "BUSY",
                "The answer is not ready in time; what was asked may still be done",
            ),
            Self::Refused(area, refusal) => Told {
                parameters: parameters_of(*refusal),
                ..told(StatusCode::BAD_REQUEST, *area, code_of(*refusal), &refusal.to_string())
            },
            Self::Query { column, path, message } => told_of_query(*column, path.as_deref(), message),
            Self::Unsupported { path, message } => Told {
                parameters: json!({ "path": path }),
                ..told(StatusCode::BAD_REQUEST, Area::Logs, "UNSUPPORTED", &format!("{path}: {message}"))
            },
            Self::TooMany(what) => told(StatusCode::TOO_MANY_REQUESTS, Area::Logs, "TOO_MANY", what),
            Self::NoLogsHere => told(StatusCode::NOT_FOUND, Area::Logs, "NOT_HERE", NOT_HERE),
            Self::Fault(fault) => told_of(fault),
            Self::LogsFault(_) | Self::Random(_) | Self::Crashed => told_of_mistake(),
        }
    }

    /// Of signing in, and of what a session may do.
    fn told_to_people(&self) -> Told {
        match self {
            Self::NotSignedIn { setup_needed } => Told {
                parameters: setup_needed.map_or(json!({}), |needed| json!({ "setupNeeded": needed })),
                ..told(
                    StatusCode::UNAUTHORIZED,
                    Area::Sessions,
                    "NOT_SIGNED_IN",
                    "Nobody is signed in, or not any more",
                )
            },
            Self::WrongPassword => told(
                StatusCode::FORBIDDEN,
                Area::Sessions,
                "WRONG_PASSWORD",
                "The e-mail address or the password is wrong",
            ),
            Self::CrossSite => told(
                StatusCode::FORBIDDEN,
                Area::Request,
                "CROSS_SITE",
                "With a session's cookie, a change needs the header X-Requested-With: shipgate, and no Origin but this host's",
            ),
            Self::NotJson => told(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Area::Request,
                "NOT_JSON",
                "Without an API token, a body needs the header Content-Type: application/json",
            ),
            Self::Slowed { retry_after_s } => Told {
                parameters: json!({ "retryAfterSeconds": retry_after_s }),
                ..told(
                    StatusCode::TOO_MANY_REQUESTS,
                    Area::Sessions,
                    "SLOWED",
                    &format!("Too many attempts to sign in: try again in {retry_after_s} s"),
                )
            },
            // The others are told by who asked.
            _ => told_of_mistake(),
        }
    }
}

const NOT_HERE: &str = "This control plane has no logs: ask the one that runs together with the gateway";

/// When to try again where there is no room now.
const TOO_MANY_RETRY_S: u64 = 1;

fn told(status: StatusCode, area: Area, code: &'static str, message: &str) -> Told {
    Told { status, area, code, message: message.to_owned(), parameters: json!({}) }
}

fn told_of(fault: &StoreError) -> Told {
    match fault {
        StoreError::Unavailable(_) => told(
            StatusCode::SERVICE_UNAVAILABLE,
            Area::Request,
            "UNAVAILABLE",
            "The database is not available; nothing was done, try again",
        ),
        StoreError::OutcomeUnknown(_) => told(
            StatusCode::SERVICE_UNAVAILABLE,
            Area::Request,
            "OUTCOME_UNKNOWN",
            "The database went away while it made the change, which it may have kept or not: look before trying again",
        ),
        _ => told_of_mistake(),
    }
}

fn told_of_query(column: usize, path: Option<&str>, message: &str) -> Told {
    let (parameters, message) = match path {
        None => (json!({ "column": column }), format!("Column {column}: {message}")),
        Some(path) => {
            (json!({ "column": column, "path": path }), format!("{path}: Column {column}: {message}"))
        }
    };
    Told { parameters, ..told(StatusCode::BAD_REQUEST, Area::Logs, "QUERY", &message) }
}

fn told_of_mistake() -> Told {
    told(
        StatusCode::INTERNAL_SERVER_ERROR,
        Area::Request,
        "FAULT",
        "The server failed to do this; its log tells more under this requestId",
    )
}

fn code_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NameEmpty => "NAME_EMPTY",
        Refusal::NameTooLong => "NAME_TOO_LONG",
        Refusal::NameMalformed => "NAME_MALFORMED",
        Refusal::TokenNameTaken
        | Refusal::SharedTokenNameTaken
        | Refusal::ApiTokenNameTaken
        | Refusal::AccountNameTaken => "NAME_TAKEN",
        Refusal::EnabledLimit { .. } => "LIMIT_REACHED",
        Refusal::SoleToken { .. } => "SOLE_TOKEN",
        Refusal::LastEnabledToken { .. } => "LAST_ENABLED_TOKEN",
        Refusal::LastLastingToken { .. } => "LAST_LASTING_TOKEN",
        Refusal::TokenValueTaken => "VALUE_TAKEN",
        Refusal::ExpiresAt => "EXPIRES_AT",
        Refusal::Expired => "EXPIRED",
        Refusal::ScopeTooLong | Refusal::UnknownDoor | Refusal::ScopeType => "SCOPE",
        Refusal::Overlap => "OVERLAP",
        Refusal::QuietFor => "QUIET_FOR",
        Refusal::Deadline => "DEADLINE",
        Refusal::AlreadyRetiring => "ALREADY_RETIRING",
        Refusal::RotatesDisabled => "DISABLED",
        Refusal::RetiringLimit { .. } => "RETIRING_LIMIT_REACHED",
        Refusal::SharedTokensMax | Refusal::FiltersMax => "LIMIT_REACHED",
        Refusal::ExpirationDate => "EXPIRATION_DATE",
        Refusal::UnknownFilter { .. } => "FILTER_NOT_FOUND",
        Refusal::FilterTaken { .. } => "FILTER_TAKEN",
        Refusal::FilterField => "FIELD",
        Refusal::FilterValue => "VALUE",
        Refusal::FilterDescription => "DESCRIPTION",
        Refusal::LastApiToken => "LAST_API_TOKEN",
        Refusal::ViewNameTaken => "NAME_TAKEN",
        Refusal::ViewsMax => "VIEWS_MAX",
        Refusal::ViewMalformed => "VIEW",
        Refusal::EmailMalformed => "EMAIL",
        Refusal::EmailTaken => "EMAIL_TAKEN",
        Refusal::UsersMax => "USERS_MAX",
        Refusal::PasswordLength | Refusal::PasswordIsEmail => "PASSWORD",
        Refusal::PasswordChanged => "PASSWORD_CHANGED",
        Refusal::LastAdmin => "LAST_ADMIN",
        Refusal::LinkOver => "LINK_OVER",
        Refusal::RetentionDays => "RETENTION_DAYS",
        Refusal::Bytes => "BYTES",
    }
}

fn parameters_of(refusal: Refusal) -> Value {
    match refusal {
        Refusal::EnabledLimit { max } | Refusal::RetiringLimit { max } => json!({ "maxAllowedTokens": max }),
        Refusal::UnknownFilter { id, .. } | Refusal::FilterTaken { id } => json!({ "filterId": id.0 }),
        _ => json!({}),
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// The body is written by `exchange`, which knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.told().status.into_response();
        let retry_after_s = match self {
            Self::TooMany(_) => Some(TOO_MANY_RETRY_S),
            Self::Slowed { retry_after_s } => Some(retry_after_s),
            _ => None,
        };
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
