//! The call that replaces a log shipping token, and what ends tokens when their time has come.

use super::access::Admin;
use super::error::{ApiError, Area, ErrorBody};
use super::gateways::{Changed, Wait, Waiting};
use super::input::{BodyOrNone, PathId};
use super::terms::{milliseconds, value};
use super::tokens::TokenObject;
use crate::shutdown::Tasks;
use crate::store::Store;
use crate::store::tokens::rotation::{Rotated, Rotation};
use crate::telemetry::chain;
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;

/// How long the old token ships on, unless somebody says otherwise: a week.
const OVERLAP_MS_DEFAULT: u64 = 7 * 86_400_000;

/// The longest time between two looks at which tokens have come to their end: clocks may be set, and the use of a token
/// becomes known without a change that wakes anybody.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AskedRotation {
    /// How many seconds the old token ships on, at most 30 days; 7 days when missing. An expiry of its own ends it sooner.
    #[schema(minimum = 1, maximum = 2_592_000)]
    overlap: Option<f64>,
    /// After how many seconds without use the old token ends before that; never when missing.
    #[schema(minimum = 60, maximum = 2_592_000)]
    quiet_for: Option<f64>,
    /// The successor's value, 16 to 128 characters of `A-Z a-z 0-9 _ -`; a random one when missing.
    token: Option<String>,
    /// In place of it: the SHA-256 of the successor's value, as 64 hexadecimal digits.
    digest: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RotatedTokens {
    /// Has the name, the terms and the rank of the old token.
    successor: TokenObject,
    /// The old token, which ships until its deadline.
    retiring: TokenObject,
}

impl From<Rotated> for RotatedTokens {
    fn from(rotated: Rotated) -> Self {
        Self { successor: rotated.successor.into(), retiring: rotated.retiring.into() }
    }
}

/// Replace a token: its successor ships from now on, and the token itself for an overlap, in which it does not count against
/// the plan's limit.
#[utoipa::path(
    operation_id = "rotateLogShippingToken",
    post, path = "/v1/log-shipping/tokens/{id}/rotate", tag = "log shipping tokens", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The token's id"), Waiting),
    request_body = Option<AskedRotation>,
    responses(
        (status = 201, description = "Both tokens; if it was waited for, every gateway knows them", body = Changed<RotatedTokens>),
        (status = 202, description = "Both tokens: the change stands, but some gateways have not confirmed it in time", body = Changed<RotatedTokens>),
        (status = 400, description = "The token is disabled or being retired, as many are being retired as the plan allows, a time is out of bounds, or the value is in use", body = ErrorBody),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
        (status = 404, description = "The account has no such token", body = ErrorBody),
    )
)]
pub(super) async fn rotate(
    mut admin: Admin,
    id: PathId,
    wait: Wait,
    BodyOrNone(asked): BodyOrNone<AskedRotation>,
) -> Result<(StatusCode, Json<Changed<RotatedTokens>>), ApiError> {
    let rotation = Rotation {
        value: value(asked.token.as_deref(), asked.digest.as_deref())?,
        overlap_ms: asked.overlap.map_or(OVERLAP_MS_DEFAULT, milliseconds),
        quiet_for_ms: asked.quiet_for.map(milliseconds),
    };
    wait.announce(&mut admin);
    let rotated = admin.store.rotate_token(admin.account, id.token()?, rotation, &admin.by).await;
    let rotated = rotated.map_err(ApiError::of(Area::LogShippingTokens))?;
    wait.answer_made(&admin.store, rotated.into()).await
}

/// Ends tokens at their instants, until the stage drains. Gateways do not wait for it: they know the instants themselves.
pub(super) async fn end_tokens(store: Store, tasks: Tasks) {
    let mut latest = store.latest_revision();
    let mut failed = false;
    loop {
        latest.mark_unchanged();
        let next = store.end_due_tokens().await;
        if let Err(error) = &next
            && !failed
        {
            tracing::warn!(
                "tokens whose time has come cannot be disabled yet, and are refused all the same: {}",
                chain(error)
            );
        }
        failed = next.is_err();
        let wait = next.ok().flatten().map_or(LOOK, |ms| LOOK.min(Duration::from_millis(ms)));
        tokio::select! {
            () = tasks.draining() => return,
            // Another token's instant may come sooner.
            _ = timeout(wait, latest.changed()), if !failed => {}
            () = tokio::time::sleep(LOOK), if failed => {}
        }
    }
}
