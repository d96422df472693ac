//! What requests bring, parsed: JSON bodies, queries, numbers in paths, and the lenient types of JSON fields.

use super::access::App;
use super::error::{ApiError, Area};
use super::exchange::Arrived;
use crate::domain::account::{AccountId, TokenId};
use crate::store::api_tokens::ApiTokenId;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, OneOf, Schema, Type};

/// The JSON body, whatever `Content-Type` says.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<Arrived>() {
            // Else an array of the fields' values would do as well.
            Some(Arrived::Whole(bytes)) if !bytes.trim_ascii_start().starts_with(b"{") => {
                Err(ApiError::Malformed("The body is not a JSON object".to_owned()))
            }
            Some(Arrived::Whole(bytes)) => serde_json::from_slice(bytes).map(Self).map_err(|error| {
                ApiError::Malformed(format!("The body is not what this call takes: {error}"))
            }),
            Some(Arrived::TooLarge { bytes_max }) => Err(ApiError::TooLarge { bytes_max: *bytes_max }),
            Some(Arrived::Late) | None => Err(ApiError::Late),
        }
    }
}

/// The query.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(asked)| Self(asked))
            .map_err(|error| ApiError::Malformed(format!("The query is not what this call takes: {error}")))
    }
}

/// The `{id}` of a path. A text that is no id names nothing, as an unknown id does.
pub(super) struct PathId(Option<u32>);

impl PathId {
    pub(super) fn token(&self) -> Result<TokenId, ApiError> {
        self.0.map(TokenId).ok_or(ApiError::NotFound(Area::LogShippingTokens))
    }

    pub(super) fn api_token(&self) -> Result<ApiTokenId, ApiError> {
        self.0.map(ApiTokenId).ok_or(ApiError::NotFound(Area::ApiTokens))
    }

    pub(super) fn account(&self) -> Result<AccountId, ApiError> {
        self.0.map(AccountId).ok_or(ApiError::NotFound(Area::Accounts))
    }
}

impl FromRequestParts<App> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        Ok(Self(text.ok().and_then(|Path(text)| text.parse().ok())))
    }
}

/// `true`, or the text `"true"`: published clients send both.
#[derive(Clone, Copy)]
pub(super) struct Flag(pub bool);

/// How the API's description shows a [`Flag`] that may be missing.
pub(super) fn flag() -> RefOr<Schema> {
    let text = Object::builder().schema_type(Type::String).enum_values(Some(["true", "false"]));
    OneOf::builder()
        .item(Object::with_type(Type::Boolean))
        .item(text)
        .item(Object::with_type(Type::Null))
        .into()
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Sent {
            Bool(bool),
            Text(String),
        }
        match Sent::deserialize(deserializer) {
            Ok(Sent::Bool(flag)) => Ok(Self(flag)),
            Ok(Sent::Text(text)) if text.eq_ignore_ascii_case("true") => Ok(Self(true)),
            Ok(Sent::Text(text)) if text.eq_ignore_ascii_case("false") => Ok(Self(false)),
            _ => Err(serde::de::Error::custom("expected true or false")),
        }
    }
}

/// Tells a field that is `null` from one that is not there.
pub(super) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
