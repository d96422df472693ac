//! Where gateways report: what they enforce, and so what a receipt for a change is made of.

use super::access::Gateway;
use super::error::{ApiError, Area, ErrorBody};
use super::input::Body;
use crate::shutdown::Tasks;
use crate::store::gateways::{Gateway as Reported, ReportError};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::wire::{self, Report};
use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest text in a report, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// How often what gateways said is written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);

/// Report as a gateway. For Shipgate's own gateways: it takes their credential, which is not an API token, and may change
/// with any version.
#[utoipa::path(
    operation_id = "reportAsGateway",
    post, path = "/gateway/v1/report", tag = "gateways", security(("gatewayCredential" = [])),
    request_body(content = Object, description = "What the gateway says of itself"),
    responses(
        (status = 200, description = "Taken", body = Object),
        (status = 400, description = "Not a report, or one of another version", body = ErrorBody),
        (status = 403, description = "Not the gateways' credential", body = ErrorBody),
    )
)]
pub(super) async fn take(
    gateway: Gateway,
    Body(report): Body<Report>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    gateway.store.gateway_reported(parse(report)?).await.map_err(refused)?;
    Ok((StatusCode::OK, Json(json!({}))))
}

/// Notes that the gateway named in a stream's query follows the directory.
pub(super) async fn follows(store: &Store, gateway: &str) -> Result<(), ApiError> {
    if gateway.is_empty() {
        return Ok(());
    }
    store.gateway_follows(&text(gateway.to_owned())?).await.map_err(refused)
}

fn refused(error: ReportError) -> ApiError {
    match error {
        ReportError::TooManyGateways => ApiError::Malformed(error.to_string()),
        ReportError::Store(error) => ApiError::of(Area::Gateways)(error),
    }
}

fn parse(report: Report) -> Result<Reported, ApiError> {
    if report.version != wire::VERSION {
        return Err(ApiError::Malformed(format!("version {} is not spoken here", report.version)));
    }
    if report.gateway.is_empty() || report.instance.is_empty() {
        return Err(ApiError::Malformed("a report names its gateway and its instance".to_owned()));
    }
    Ok(Reported {
        id: text(report.gateway)?,
        instance: text(report.instance)?,
        number: report.number,
        address: text(report.address)?,
        software: text(report.software)?,
        store: text(report.store)?,
        revision: report.revision,
        started_ms: report.started_ms,
        left_ms: report.stopping.then_some(0),
        requests: report.requests,
        requests_per_second: report.requests_per_second.clamp(0.0, 1e12),
        ..Reported::default()
    })
}

fn text(text: String) -> Result<String, ApiError> {
    if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(ApiError::Malformed("a text of the report is too long or not printable".to_owned()));
    }
    Ok(text)
}

/// Writes down what gateways said, now and then and before the end.
pub(super) async fn keep(store: Store, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SAVE_INTERVAL) => {}
            () = tasks.draining() => {}
        }
        let saved: Result<(), StoreError> = store.save_gateways().await;
        if let Err(fault) = saved {
            tracing::warn!("what gateways reported could not be written down: {}", chain(&fault));
        }
        if tasks.is_draining() {
            return;
        }
    }
}
