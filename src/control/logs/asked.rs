//! What the calls of this module take in their query, checked one by one, so that a mistake is told by its parameter's name.

use super::super::access::App;
use super::super::error::ApiError;
use super::super::input::{instant, query_of};
use super::no_query;
use crate::domain::moment;
use crate::domain::query::Query;
use axum::extract::{FromRequestParts, Query as Parameters};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

/// What all of them take.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Which {
    /// What to look for, as in `level:error AND took:>500`; everything if it is not there.
    query: Option<String>,
    /// From when on: RFC 3339, milliseconds since the Unix epoch, `now`, or as `now-15m` (s m h d w).
    from: Option<String>,
    /// Until when; logs of this instant are not shown any more.
    to: Option<String>,
    /// A shared token, in place of the header `X-SHARED-TOKEN`: what links carry.
    #[expect(dead_code, reason = "the viewer is made of it")]
    share_token: Option<String>,
}

/// Nothing else.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct NoMore {}

/// What all calls take, what this one takes beside it, and nothing that neither knows.
pub(in crate::control) struct Both<T>(pub Which, pub T);

impl<T: DeserializeOwned + IntoParams> FromRequestParts<App> for Both<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let query = query_of(parts)?;
        let known = [Which::into_params(|| None), T::into_params(|| None)].concat();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            if !known.iter().any(|parameter| parameter.name == name) {
                let known: Vec<_> = known.iter().map(|parameter| parameter.name.as_str()).collect();
                let known = known.join(", ");
                return Err(ApiError::Malformed(format!("Unknown parameter {name:?}: there are {known}")));
            }
        }
        let malformed =
            |error| ApiError::Malformed(format!("The query is not what this call takes: {error}"));
        let Parameters(which) = Parameters::try_from_uri(&parts.uri).map_err(malformed)?;
        let Parameters(more) = Parameters::try_from_uri(&parts.uri).map_err(malformed)?;
        Ok(Self(which, more))
    }
}

/// A stretch of time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// Included.
    pub from_ms: Option<u64>,
    /// Excluded.
    pub to_ms: Option<u64>,
}

impl Which {
    pub(super) fn query(&self, now_ms: u64) -> Result<Query, ApiError> {
        Query::parse(self.query.as_deref().unwrap_or_default(), now_ms).map_err(no_query)
    }

    pub(super) fn span(&self, now_ms: u64) -> Result<Span, ApiError> {
        let from_ms = time("from", self.from.as_deref(), now_ms)?;
        let to_ms = time("to", self.to.as_deref(), now_ms)?;
        match (from_ms, to_ms) {
            (Some(from), Some(to)) if from >= to => {
                Err(ApiError::Malformed("from is not before to".to_owned()))
            }
            _ => Ok(Span { from_ms, to_ms }),
        }
    }
}

fn time(name: &str, text: Option<&str>, now_ms: u64) -> Result<Option<u64>, ApiError> {
    text.filter(|text| !text.trim().is_empty()).map(|text| instant(name, text, now_ms)).transpose()
}

/// A whole number within bounds.
pub(super) fn number(
    name: &str,
    text: Option<&str>,
    bounds: std::ops::RangeInclusive<usize>,
    default: usize,
) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    match text.trim().parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(ApiError::Malformed(format!(
            "{name} is a whole number between {} and {}",
            bounds.start(),
            bounds.end()
        ))),
    }
}

/// Lengths that people read easily, in milliseconds.
const INTERVALS_MS: &[u64] = &[
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    28 * DAY_MS,
];
const DAY_MS: u64 = 86_400_000;
const BUCKETS_WANTED: u64 = 60;

/// How long the intervals of a histogram are: as is asked, or so that there are about 60 of them; days where it is not said from when on.
pub(super) fn interval_ms(text: Option<&str>, span: Span, now_ms: u64) -> Result<u64, ApiError> {
    if let Some(text) = text {
        return moment::milliseconds(text.trim()).ok_or_else(|| {
            ApiError::Malformed("interval is a length such as 30s, 5m, 1h, 1d, or milliseconds".to_owned())
        });
    }
    let Some(from_ms) = span.from_ms else { return Ok(DAY_MS) };
    let length_ms = span.to_ms.unwrap_or(now_ms).saturating_sub(from_ms);
    let enough = INTERVALS_MS.iter().find(|interval_ms| **interval_ms * BUCKETS_WANTED >= length_ms);
    Ok(*enough.unwrap_or(&(365 * DAY_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_about_sixty_intervals() {
        let now_ms = 1_769_862_896_789;
        for (length_ms, expect) in [
            (1, 1),
            (60_000, 1_000),
            (900_000, 15_000),
            (3_600_000, 60_000),
            (DAY_MS, 1_800_000),
            (7 * DAY_MS, 3 * 3_600_000),
            (365 * DAY_MS, 7 * DAY_MS),
            (10_000 * DAY_MS, 365 * DAY_MS),
        ] {
            let span = Span { from_ms: Some(now_ms - length_ms), to_ms: None };
            assert_eq!(interval_ms(None, span, now_ms).unwrap(), expect, "{length_ms}");
        }
        assert_eq!(interval_ms(None, Span::default(), now_ms).unwrap(), DAY_MS);
        assert_eq!(interval_ms(Some("5m"), Span::default(), now_ms).unwrap(), 300_000);
        assert!(interval_ms(Some("0"), Span::default(), now_ms).is_err());
    }
}
