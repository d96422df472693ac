//! The terms of a log shipping token as the API takes and shows them.

use super::error::ApiError;
use super::first_start::random_shipping_token;
use super::input::JsonObject;
use crate::domain::terms::{Network, Scope};
use crate::domain::token::{ShippingToken, TokenDigest, TokenValue};
use crate::store::Store;
use crate::store::tokens::{Retirement, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// From where, through which doors and for which logs a token ships. A list that is empty or missing means any.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeObject {
    /// Protocols: `bulk`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    doors: Vec<String>,
    /// Addresses and networks, such as `10.0.0.0/8` and `2001:db8::/32`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    sources: Vec<String>,
    /// Values of a log's `type`: lines of others are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    types: Vec<String>,
}

impl ScopeObject {
    /// An asked scope, of which `null` is the one that restricts nothing.
    pub(super) fn parse(asked: Option<JsonObject<Self>>) -> Result<Scope, ApiError> {
        let Some(JsonObject(Self { doors, sources, types })) = asked else { return Ok(Scope::default()) };
        let network = |text: &String| {
            Network::parse(text)
                .map_err(|error| ApiError::Malformed(format!("scope.sources: {text:?}: {error}")))
        };
        let names = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect();
        let sources = sources.iter().map(network).collect::<Result<_, _>>()?;
        Ok(Scope { doors: names(doors), sources, types: names(types) })
    }

    /// `None` of a scope that restricts nothing.
    pub(super) fn of(scope: &Scope) -> Option<Self> {
        let names = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect();
        let shown = || Self {
            doors: names(&scope.doors),
            sources: scope.sources.iter().map(ToString::to_string).collect(),
            types: names(&scope.types),
        };
        (!scope.is_any()).then(shown)
    }
}

/// How a token is being retired by a rotation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetirementObject {
    /// Seconds since the Unix epoch.
    since: f64,
    /// When it ends at the latest, in seconds since the Unix epoch.
    deadline: f64,
    /// The token that takes its place.
    #[schema(value_type = i32)]
    successor_id: u32,
    /// After how many seconds without use it ends sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_for: Option<f64>,
}

impl RetirementObject {
    pub(super) fn of(token: &Token) -> Option<Self> {
        let Retirement { since_ms, successor, quiet_for_ms } = token.retirement?;
        Some(Self {
            since: seconds(since_ms),
            deadline: seconds(token.terms.expires_ms?),
            successor_id: successor.0,
            quiet_for: quiet_for_ms.map(seconds),
        })
    }
}

/// Instants and times in JSON: seconds, with a fraction.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A number of seconds as milliseconds; what is no instant or time of ours becomes one that the rules refuse.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    // A conversion that clamps: not a number and what is negative become 0.
    (seconds * 1_000.0).round() as u64
}

/// When a token is to expire, of which a caller says the instant or how long it is until then. `None`: nothing was said.
pub(super) fn expires_ms(
    store: &Store,
    at: Option<Option<f64>>,
    from_now: Option<f64>,
) -> Result<Option<Option<u64>>, ApiError> {
    match (at, from_now) {
        (Some(Some(_)), Some(_)) => {
            Err(ApiError::Malformed("Give either an instant or expiresIn, not both".to_owned()))
        }
        (_, Some(from_now)) => Ok(Some(Some(store.unix_ms().saturating_add(milliseconds(from_now))))),
        (at, None) => Ok(at.map(|at| at.map(milliseconds))),
    }
}

/// The value of a new token: the one that was brought, or what is known of it, or a random one.
pub(super) fn value(token: Option<&str>, digest: Option<&str>) -> Result<TokenValue, ApiError> {
    let said = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    match (token.filter(|_| said(token)), digest.filter(|_| said(digest))) {
        (Some(_), Some(_)) => Err(ApiError::Malformed("Give either token or digest, not both".to_owned())),
        (Some(text), None) => ShippingToken::parse(text)
            .map(TokenValue::Plaintext)
            .map_err(|error| ApiError::Malformed(format!("token: {error}"))),
        (None, Some(hex)) => TokenDigest::from_hex(hex).map(TokenValue::Digest).ok_or_else(|| {
            ApiError::Malformed("digest: 64 hexadecimal digits, the token's SHA-256".to_owned())
        }),
        (None, None) => Ok(TokenValue::Plaintext(random_shipping_token()?)),
    }
}
