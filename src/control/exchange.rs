//! Around every request: its id, its body, its deadline, its metrics and its line in the log.
//!
//! A request that has begun runs to its end even when its client goes away, so a change is always announced to those
//! who follow the directory. Bodies are read whole, up to a limit, before a handler is asked: a connection whose
//! request was refused is left clean for the next one, which published clients depend on.

use super::access::App;
use super::error::ApiError;
use super::sign_ins::SignedIn;
use crate::clock::monotonic;
use crate::domain::source::{FORWARDED_FOR, source};
use crate::serve::Peer;
use crate::telemetry::chain;
use crate::wire::{REPORT_BYTES_MAX, REPORT_PATH};
use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::field::display;
use uuid::Uuid;

/// How much of an oversized body is read, and mostly thrown away, to keep its connection.
const READ_BYTES_MAX: usize = 8 << 20;

/// When a handler is given up, at the earliest. What a database has been asked over a network that swallows everything
/// holds a connection, which others wait for.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);

/// Names one request in answers, logs and the audit trail.
#[derive(Clone, Copy)]
pub(super) struct RequestId(pub Uuid);

/// Who asks, by address: the connection's other end, or whom a trusted proxy forwards.
#[derive(Clone, Copy)]
pub(super) struct Source(pub IpAddr);

/// What became of a request's body.
#[derive(Clone)]
pub(super) enum Arrived {
    Whole(Bytes),
    TooLarge {
        bytes_max: usize,
    },
    /// Too slow, or cut off.
    Late,
}

pub(super) async fn no_such_path() -> ApiError {
    ApiError::NoSuchPath
}

pub(super) async fn no_such_method() -> ApiError {
    ApiError::NoSuchMethod
}

/// The middleware of all routes.
pub(super) async fn exchange(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = monotonic();
    let id = RequestId(Uuid::new_v4());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let source = source_of(&app, &request);
    let signed_in = SignedIn::default();
    let (mut parts, body) = request.into_parts();
    let body_bytes_max = match route.as_str() {
        // Bounded by the contract, not by what admins need.
        REPORT_PATH => app.body_bytes_max().max(REPORT_BYTES_MAX),
        _ => app.body_bytes_max(),
    };
    let (arrived, clean) = match timeout(app.request_timeout(), read(body, body_bytes_max)).await {
        Ok(read) => read,
        Err(_) => (Arrived::Late, false),
    };
    parts.extensions.insert(id);
    source.map(|source| parts.extensions.insert(Source(source)));
    parts.extensions.insert(signed_in.clone());
    parts.extensions.insert(arrived);
    let mut response = answer(&app, Request::from_parts(parts, Body::empty()), next).await;
    let failure = response.extensions_mut().remove::<Arc<ApiError>>();
    if let Some(failure) = &failure {
        response = with_body(response, failure, id);
    }
    if let Ok(value) = HeaderValue::from_str(&id.0.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    if !clean {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let seconds = began.elapsed().as_secs_f64();
    let control = &app.metrics().control;
    control.requests.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    control.request_seconds.with_label_values(&[route.as_str()]).observe(seconds);
    let refused = matches!(
        failure.as_deref(),
        Some(ApiError::Forbidden | ApiError::NotShared | ApiError::WrongPassword)
    );
    let stranger = refused && signed_in.account().is_none();
    if stranger {
        app.failed_sign_ins().add(source, &route, app.metrics());
    }
    let line = Line { method, route, source, signed_in, stranger, id, seconds };
    line.log(&response, failure.as_deref());
    response
}

fn source_of(app: &App, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0.ip();
    let claims = request.headers().get_all(FORWARDED_FOR).iter();
    Some(source(peer, claims.map(|value| value.to_str().unwrap_or("?")), app.trusted_proxies()))
}

/// Runs the handler as a task of its own, and waits for it as long as a request may take.
async fn answer(app: &App, request: Request, next: Next) -> Response {
    let (send, receive) = oneshot::channel();
    let limit = app.request_timeout().max(ABANDONED_AFTER);
    app.tasks().spawn(async move {
        let answer = timeout(limit, next.run(request)).await;
        let _ = send.send(answer.unwrap_or_else(|_| ApiError::Busy.into_response()));
    });
    match timeout(app.request_timeout(), receive).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => ApiError::Crashed.into_response(),
        Err(_) => ApiError::Busy.into_response(),
    }
}

/// Reads a body to its end, and says whether it got there.
async fn read(mut body: Body, bytes_max: usize) -> (Arrived, bool) {
    let too_large = Arrived::TooLarge { bytes_max };
    let read_bytes_max = bytes_max.max(READ_BYTES_MAX);
    if body.size_hint().lower() > read_bytes_max as u64 {
        return (too_large, false);
    }
    let mut whole = Vec::new();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return (Arrived::Late, false);
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > read_bytes_max {
            return (too_large, false);
        } else if received <= bytes_max {
            whole.extend_from_slice(&data);
        }
    }
    let arrived = if received <= bytes_max { Arrived::Whole(whole.into()) } else { too_large };
    (arrived, true)
}

fn with_body(response: Response, failure: &ApiError, id: RequestId) -> Response {
    let mut told = (response.status(), Json(failure.body(&id.0.to_string()))).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            told.headers_mut().insert(name, value.clone());
        }
    }
    told
}

/// One line a request: no query, no header, no body, for any of them may hold a secret.
struct Line {
    method: Method,
    route: String,
    source: Option<IpAddr>,
    signed_in: SignedIn,
    /// Refused for its credentials, of which a line a second says enough.
    stranger: bool,
    id: RequestId,
    seconds: f64,
}

impl Line {
    /// Reads, and what gateways say every other second.
    fn is_routine(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD || self.route == REPORT_PATH
    }

    fn log(&self, response: &Response, failure: Option<&ApiError>) {
        let Self { method, route, source, signed_in, seconds, .. } = self;
        let (status, request_id) = (response.status().as_u16(), self.id.0);
        let (account, actor) = (signed_in.account(), signed_in.actor());
        let source = source.map(display);
        if response.status().is_server_error() {
            let cause = failure.and_then(ApiError::fault).map(chain);
            tracing::error!(%method, route, status, seconds, account, actor, source, %request_id, cause, "an API request failed");
        } else if self.stranger || self.is_routine() {
            tracing::debug!(%method, route, status, seconds, account, actor, source, %request_id, "API request");
        } else {
            tracing::info!(%method, route, status, seconds, account, actor, source, %request_id, "API request");
        }
    }
}
