//! Where gateways report: what they enforce, which a receipt for a change is made of, and what they counted of the use of
//! tokens, which goes into the ledger.

use super::access::Gateway;
use super::error::{ApiError, Area, ErrorBody};
use super::input::Body;
use crate::domain::usage::{CLIENTS_MAX, Usage};
use crate::shutdown::Tasks;
use crate::store::gateways::{Gateway as Reported, ReportError};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::wire::{self, Counted, Report, ReportAnswer, USES_MAX};
use axum::Json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest text in a report, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// How many reasons of refusals one report tells apart: more than any gateway knows.
const REASONS_MAX: usize = 64;
/// How often what gateways said is written down.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);
/// How often the ledger is trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(3_600);

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
    Body(mut report): Body<Report>,
) -> Result<Json<ReportAnswer>, ApiError> {
    let (store, usage) = (gateway.store, report.usage.take());
    let reported = parse(report)?;
    let instance = reported.instance.clone();
    // First, for somebody may be waiting for it.
    store.gateway_reported(reported).await.map_err(refused)?;
    let Some(Counted { number, store: counted_by, usage }) = usage else {
        return Ok(Json(ReportAnswer::default()));
    };
    if usage.tokens.len() + usage.strangers.len() > USES_MAX {
        return Err(ApiError::Malformed(format!("a report holds at most {USES_MAX} uses")));
    }
    if counted_by != store.id() {
        // Another store's tokens: it is nobody's here.
        return Ok(Json(ReportAnswer::default()));
    }
    let known = store.add_usage(&instance, number, &checked(usage)?).await;
    Ok(Json(ReportAnswer { known: known.map_err(ApiError::of(Area::Gateways))? }))
}

/// More than a gateway counts between two reports: sums of it stay within what the store holds.
const COUNT_MAX: u64 = 1 << 50;

/// Texts go into the database as they are.
fn checked(mut usage: Usage) -> Result<Usage, ApiError> {
    let sums = usage.tokens.iter().map(|used| used.sums);
    let strangers = usage.strangers.iter().map(|stranger| stranger.requests);
    let counts = sums.flat_map(|sums| [sums.requests, sums.lines, sums.bytes, sums.refused_lines]);
    if counts.chain(strangers).any(|count| count > COUNT_MAX) {
        return Err(ApiError::Malformed(format!("A count is at most {COUNT_MAX}")));
    }
    for used in &mut usage.tokens {
        for (reason, _) in &mut used.refusals {
            *reason = text(std::mem::take(reason))?;
        }
    }
    let strangers = usage.strangers.iter_mut().map(|stranger| &mut stranger.clients);
    for clients in usage.tokens.iter_mut().map(|used| &mut used.clients).chain(strangers) {
        clients.truncate(CLIENTS_MAX);
        for client in clients {
            client.agent = text(std::mem::take(&mut client.agent))?;
        }
    }
    Ok(usage)
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
        lines: report.lines,
        lines_per_second: report.lines_per_second.clamp(0.0, 1e12),
        refusals: reasons(report.refusals)?,
        ..Reported::default()
    })
}

fn reasons(refusals: BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, ApiError> {
    if refusals.len() > REASONS_MAX || refusals.values().any(|count| *count > COUNT_MAX) {
        return Err(ApiError::Malformed("too many reasons of refusals, or too many refusals".to_owned()));
    }
    refusals.into_iter().map(|(reason, count)| Ok((text(reason)?, count))).collect()
}

fn text(text: String) -> Result<String, ApiError> {
    if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(ApiError::Malformed("a text of the report is too long or not printable".to_owned()));
    }
    Ok(text)
}

/// Drops from the ledger what is too old.
pub(super) async fn trim(store: Store, tasks: Tasks) {
    loop {
        if let Err(fault) = store.trim_usage().await {
            tracing::warn!("old entries of the ledger could not be dropped: {}", chain(&fault));
        }
        tokio::select! {
            () = tokio::time::sleep(TRIM_INTERVAL) => {}
            () = tasks.draining() => return,
        }
    }
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
