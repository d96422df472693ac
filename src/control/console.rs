//! The console's own files, and the headers that fence every answer a browser may get from this port.
//!
//! The files are in the binary; a debug build reads them from the source tree instead, so that a change shows at the next
//! reload. They hold no data: what the console shows, it asks of the API like any other client.

use super::error::ApiError;
use super::origin::Origin;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "src/control/console/assets"]
struct Assets;

/// The page: whatever the query says, which is for its scripts to read.
pub(super) async fn page(headers: HeaderMap) -> Result<Response, ApiError> {
    serve("index.html", &headers)
}

pub(super) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    serve(&path, &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = Assets::get(path).ok_or(ApiError::NoSuchPath)?;
    let digest: String =
        file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{digest}\"");
    // Names stay the same from one version to the next: a browser keeps the file, and asks each time whether it is still the one.
    let kept = [(ETAG, etag.as_str()), (CACHE_CONTROL, "no-cache")];
    if has(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    Ok((kept, [(CONTENT_TYPE, content_type(path))], file.data).into_response())
}

/// Whether the browser has the file of this `etag`, in whichever way it was carried here.
fn has(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What browsers are told with every answer: run and load nothing but what is from here, guess no types, tell nobody the
/// address (a shared token may stand in it), and stand in no frame but those of `ancestors`.
#[derive(Clone)]
pub(super) struct Fence {
    policy: HeaderValue,
    framed: bool,
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors ";

const PERMISSIONS: (HeaderName, &str) = (
    HeaderName::from_static("permissions-policy"),
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
);

impl Fence {
    pub(super) fn new(ancestors: &[Origin]) -> Self {
        let allowed: Vec<_> = ancestors.iter().map(Origin::to_string).collect();
        let framed = !allowed.is_empty();
        let allowed = if framed { format!("'self' {}", allowed.join(" ")) } else { "'none'".to_owned() };
        let policy = HeaderValue::from_str(&format!("{POLICY}{allowed}"));
        Self { policy: policy.expect("origins are plain characters"), framed }
    }
}

/// The outermost middleware of all routes. What says nothing about being kept is not kept: answers of the API hold secrets.
pub(super) async fn fence(State(fence): State<Fence>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, fence.policy);
    if !fence.framed {
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    for (name, value) in [(X_CONTENT_TYPE_OPTIONS, "nosniff"), (REFERRER_POLICY, "no-referrer"), PERMISSIONS]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
