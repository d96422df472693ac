//! The bulk door: newline-separated JSON posted to `/`, the listener protocol that the published clients speak.
//!
//! Its clients match statuses and bodies to the letter. 200 exactly, with an empty body, means that every line is kept.
//! 400 means that some were not, with all four counters; most clients never send those again, so the good lines are
//! kept. 503, not 429, means that the gateway is full: one client drops its batch on 429, several retry any 5xx.

use super::super::Gate;
use super::super::ingest::ingest;
use super::super::refusal::Refusal;
use super::super::source::Arrival;
use crate::domain::batch::Tally;
use crate::journal::{AppendError, Receipt};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::http::{HeaderValue, StatusCode, header, request};
use serde::Serialize;
use std::net::IpAddr;

/// The door's name in metrics.
pub const NAME: &str = "bulk";

/// Sends a request down the line. The protocol needs no reading of its own: the line's framing is this door's.
pub async fn take(
    gate: &Gate,
    peer: IpAddr,
    head: &request::Parts,
    body: &mut Incoming,
) -> Result<Receipt, Refusal> {
    ingest(gate, Arrival { door: NAME, peer }, head, body).await
}

/// Names of a receipt's outcomes in metrics: all lines kept, or some refused.
pub const ACCEPTED: [&str; 2] = ["accepted", "partly_accepted"];

/// The outcome's name in metrics.
pub fn code(receipt: &Receipt) -> &'static str {
    ACCEPTED[usize::from(!receipt.tally().errors.is_empty())]
}

/// What the client gets to see.
pub fn answer(outcome: &Result<Receipt, Refusal>) -> Response<Full<Bytes>> {
    let refusal = match outcome {
        Ok(receipt) if receipt.tally().errors.is_empty() => return respond(StatusCode::OK, Full::default()),
        Ok(receipt) => return counters(receipt.tally(), None),
        Err(refusal) => refusal,
    };
    let status = match refusal {
        Refusal::TokenMissing
        | Refusal::TokenNotValid
        | Refusal::TokenRevokedDuringUpload
        | Refusal::DoorOutOfScope
        | Refusal::SourceOutOfScope => StatusCode::UNAUTHORIZED,
        Refusal::OverRate { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::TooLarge { .. } | Refusal::TooManyLines | Refusal::Journal(AppendError::TooLarge) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Refusal::UnknownEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Unreadable(reason) => return counters(&Tally::unreadable(), Some(reason)),
        Refusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Refusal::BodyCut => StatusCode::BAD_REQUEST,
        Refusal::Busy | Refusal::NotReady | Refusal::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = respond(status, Full::from(refusal.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(wait) = refusal.retry_after() {
        // Whole seconds, rounded up: who comes back earlier is refused again.
        headers
            .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1_000).max(1) as u64));
    }
    if matches!(refusal, Refusal::MethodNotAllowed) {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The 400 of a body with bad lines. Clients decode the first four keys strictly.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counters<'a> {
    malformed_lines: u64,
    successful_lines: u64,
    oversized_lines: u64,
    empty_log_lines: u64,
    errors: Vec<LineError<'a>>,
}

#[derive(Serialize)]
struct LineError<'a> {
    line: u64,
    reason: &'a str,
}

fn counters(tally: &Tally, reason: Option<&'static str>) -> Response<Full<Bytes>> {
    let of_lines =
        tally.errors.iter().map(|error| LineError { line: error.line, reason: error.fault.reason() });
    let counters = Counters {
        malformed_lines: tally.malformed(),
        successful_lines: tally.successful,
        oversized_lines: tally.oversized(),
        empty_log_lines: tally.empty,
        errors: reason.map(|reason| LineError { line: 1, reason }).into_iter().chain(of_lines).collect(),
    };
    let body = serde_json::to_vec(&counters).unwrap_or_default();
    let mut response = respond(StatusCode::BAD_REQUEST, Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn respond(status: StatusCode, body: Full<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
