//! The calls about gateways, and the receipt that a change of a token may be waited for with.

use super::access::{Admin, App, MainAdmin};
use super::error::{ApiError, Area, ErrorBody};
use super::input::PathText;
use super::terms::seconds;
use crate::clock::monotonic;
use crate::shutdown::Tasks;
use crate::store::Store;
use crate::store::gateways::{self, Awaited};
use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How much earlier than a request has to be answered a wait ends.
const WAIT_MARGIN: Duration = Duration::from_millis(500);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Waiting {
    /// `enforced`: answer once every gateway enforces the change, or 202 if some do not in time.
    wait: Option<String>,
    /// How long to wait: seconds, or milliseconds as in `1500ms`. 5 seconds unless it says otherwise, at most 30.
    timeout: Option<String>,
}

/// Whether the client waits for the gateways, and how long.
pub(super) struct Wait {
    asked: Option<Asked>,
}

struct Asked {
    timeout: Duration,
    awaited: Awaited,
    tasks: Tasks,
}

impl FromRequestParts<App> for Wait {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(waiting) = Query::<Waiting>::try_from_uri(&parts.uri).map_err(|error| {
            ApiError::Malformed(format!("The query is not what this call takes: {error}"))
        })?;
        let timeout = waiting.timeout.as_deref().map_or(Some(WAIT_DEFAULT), duration);
        let timeout = timeout.filter(|timeout| *timeout <= WAIT_MAX).ok_or_else(|| {
            ApiError::Malformed("timeout is at most 30 seconds, such as 5, 0.5 or 1500ms".to_owned())
        })?;
        let asked = match waiting.wait.as_deref() {
            None => None,
            Some("enforced") => Some(Asked {
                timeout: timeout.min(app.request_timeout().saturating_sub(WAIT_MARGIN)),
                awaited: Awaited::default(),
                tasks: app.tasks().clone(),
            }),
            Some(_) => return Err(ApiError::Malformed("wait takes one value: enforced".to_owned())),
        };
        Ok(Self { asked })
    }
}

/// Reads `5`, `0.5` and `1500ms`.
fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => Duration::try_from_secs_f64(text.parse().ok()?).ok(),
    }
}

impl Wait {
    /// Says beforehand that gateways are to report when they enforce what `admin` is about to change.
    pub(super) fn announce(&self, admin: &mut Admin) {
        admin.by.awaited = self.asked.as_ref().map(|asked| asked.awaited.clone());
    }

    /// Answers with what was changed, after the gateways have confirmed it, if that was asked for.
    pub(super) async fn answer<T>(
        self,
        store: &Store,
        changed: T,
    ) -> Result<(StatusCode, Json<Changed<T>>), ApiError> {
        let Some(Asked { timeout, awaited, tasks }) = self.asked else {
            return Ok((StatusCode::OK, Json(Changed { changed, enforcement: None })));
        };
        let began = monotonic();
        let revision = match awaited.revision() {
            Some(revision) => revision,
            // It was so already: since some revision up to the last one.
            None => store.revision().await.map_err(ApiError::of(Area::Gateways))?,
        };
        let given_up = async {
            tokio::select! {
                () = tokio::time::sleep(timeout) => {}
                () = tasks.draining() => {}
            }
        };
        let enforcement = store.enforcement(revision, began, given_up).await;
        let status = if enforcement.is_complete() { StatusCode::OK } else { StatusCode::ACCEPTED };
        let enforcement = Enforcement::new(enforcement, began, store.unix_ms());
        Ok((status, Json(Changed { changed, enforcement: Some(enforcement) })))
    }

    /// As [`Self::answer`], of what is new.
    pub(super) async fn answer_made<T>(
        self,
        store: &Store,
        made: T,
    ) -> Result<(StatusCode, Json<Changed<T>>), ApiError> {
        let (status, body) = self.answer(store, made).await?;
        Ok((if status == StatusCode::OK { StatusCode::CREATED } else { status }, body))
    }
}

/// What was changed, and, if the client waited for it, who enforces it.
#[derive(Serialize, ToSchema)]
pub(super) struct Changed<T> {
    #[serde(flatten)]
    changed: T,
    /// Only when it was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<Enforcement>,
}

/// Who enforces a change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enforcement {
    /// The directory's revision that holds the change.
    revision: u64,
    /// Whether every gateway that may be serving has confirmed it.
    enforced: bool,
    /// From the change to the last confirmation, or to the end of the wait, in milliseconds.
    took_ms: f64,
    gateways: Vec<Confirmation>,
    /// Who has not confirmed it: what serves there may still be the directory before the change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lagging: Vec<Lagging>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Confirmation {
    id: String,
    /// From the change to this gateway's confirmation, in milliseconds.
    took_ms: f64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Lagging {
    id: String,
    address: String,
    /// What it last said to enforce.
    revision: u64,
    seen_seconds_ago: f64,
}

impl Enforcement {
    fn new(enforcement: gateways::Enforcement, began: Instant, now_ms: u64) -> Self {
        let enforced = enforcement.is_complete();
        let last = enforcement.confirmed.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let took = if enforced { last } else { began.elapsed() };
        let confirmed = enforcement.confirmed.into_iter();
        let lagging = enforcement.lagging.into_iter();
        Self {
            revision: enforcement.revision,
            enforced,
            took_ms: millis(took),
            gateways: confirmed.map(|(id, took)| Confirmation { id, took_ms: millis(took) }).collect(),
            lagging: lagging
                .map(|gateway| Lagging {
                    id: gateway.id,
                    address: gateway.address,
                    revision: gateway.revision,
                    seen_seconds_ago: seconds_since(gateway.seen_ms, now_ms),
                })
                .collect(),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn seconds_since(unix_ms: u64, now_ms: u64) -> f64 {
    now_ms.saturating_sub(unix_ms) as f64 / 1_000.0
}

/// A gateway, as it last reported itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewayObject {
    id: String,
    /// Where shippers reach it, as far as it knows.
    address: String,
    version: String,
    /// `serving`, `stopped` (it said so), or `silent`: it has not reported for a while and may be serving an old directory.
    state: &'static str,
    /// The directory's revision that it enforces.
    revision: u64,
    /// How many revisions it lacks.
    lag_revisions: u64,
    /// For how long it has lacked the first of them, in milliseconds.
    lag_ms: u64,
    /// Seconds since the Unix epoch.
    last_seen_at: f64,
    /// Seconds since the Unix epoch.
    started_at: f64,
    /// Answered since it started.
    requests: u64,
    requests_per_second: f64,
    /// Acknowledged since it started.
    lines: u64,
    lines_per_second: f64,
    /// Requests refused since it started, by reason.
    refusals: BTreeMap<String, u64>,
}

/// A gateway that reports every two seconds and has missed some is silent.
const SILENT_MS: u64 = 3 * crate::wire::HEARTBEAT_MS;

async fn shown(store: &Store, latest: u64, gateway: gateways::Gateway) -> Result<GatewayObject, ApiError> {
    let now_ms = store.unix_ms();
    let same_store = gateway.store == store.id();
    let revision = if same_store { gateway.revision } else { 0 };
    let lag_revisions = latest.saturating_sub(revision);
    let outdated_since = match lag_revisions {
        0 => None,
        _ => store.outdated_since_ms(revision).await.map_err(ApiError::of(Area::Gateways))?,
    };
    let state = match gateway.left_ms {
        Some(_) => "stopped",
        None if now_ms.saturating_sub(gateway.seen_ms) > SILENT_MS => "silent",
        None => "serving",
    };
    Ok(GatewayObject {
        id: gateway.id,
        address: gateway.address,
        version: gateway.software,
        state,
        revision,
        lag_revisions,
        lag_ms: outdated_since.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
        last_seen_at: seconds(gateway.seen_ms),
        started_at: seconds(gateway.started_ms),
        requests: gateway.requests,
        requests_per_second: gateway.requests_per_second,
        lines: gateway.lines,
        lines_per_second: gateway.lines_per_second,
        refusals: gateway.refusals,
    })
}

/// List the gateways: what each enforces, and when it was last heard of.
#[utoipa::path(
    operation_id = "listGateways",
    get, path = "/v1/gateways", tag = "gateways", security(("apiToken" = [])),
    responses(
        (status = 200, description = "All gateways that reported within the last month", body = [GatewayObject]),
        (status = 403, description = "Not a main account's API token", body = ErrorBody),
    )
)]
pub(super) async fn list(MainAdmin(admin): MainAdmin) -> Result<Json<Vec<GatewayObject>>, ApiError> {
    let latest = admin.store.revision().await.map_err(ApiError::of(Area::Gateways))?;
    let mut list = vec![];
    for gateway in admin.store.gateways() {
        list.push(shown(&admin.store, latest, gateway).await?);
    }
    Ok(Json(list))
}

/// Forget a gateway that will not come back, so that no change waits for it.
#[utoipa::path(
    operation_id = "forgetGateway",
    delete, path = "/v1/gateways/{id}", tag = "gateways", security(("apiToken" = [])),
    params(("id" = String, Path, description = "The gateway's id")),
    responses(
        (status = 200, description = "What was forgotten", body = GatewayObject),
        (status = 403, description = "Not a main account's API token", body = ErrorBody),
        (status = 404, description = "There is no such gateway", body = ErrorBody),
    )
)]
pub(super) async fn forget(
    MainAdmin(admin): MainAdmin,
    id: PathText,
) -> Result<Json<GatewayObject>, ApiError> {
    let fault = ApiError::of(Area::Gateways);
    let latest = admin.store.revision().await.map_err(&fault)?;
    let gateway = admin.store.forget_gateway(admin.account, &id.0, &admin.by).await.map_err(&fault)?;
    Ok(Json(shown(&admin.store, latest, gateway).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, expect) in [
            ("5", Some(5_000)),
            ("0.5", Some(500)),
            ("1500ms", Some(1_500)),
            ("0", Some(0)),
            ("-1", None),
            ("", None),
            ("ms", None),
            ("5s", None),
            ("NaN", None),
            ("1e30", None),
        ] {
            assert_eq!(duration(text), expect.map(Duration::from_millis), "{text}");
        }
    }
}
