//! What requests bring, parsed: JSON bodies, queries, numbers in paths, and the lenient types of JSON fields.

use super::access::App;
use super::error::{ApiError, Area};
use super::exchange::Arrived;
use crate::domain::account::{AccountId, TokenId};
use crate::domain::moment;
use crate::store::api_tokens::ApiTokenId;
use crate::store::users::UserId;
use crate::store::views::ViewId;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use utoipa::IntoParams;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, OneOf, Schema, Type};

/// The JSON body, whatever `Content-Type` says: where that matters, who asks looks at it (`access/member.rs`).
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<Arrived>() {
            Some(Arrived::Whole(bytes)) => match serde_json::from_slice(bytes) {
                Ok(JsonObject(body)) => Ok(Self(body)),
                Err(error) => {
                    Err(ApiError::Malformed(format!("The body is not what this call takes: {error}")))
                }
            },
            Some(Arrived::TooLarge { bytes_max }) => Err(ApiError::TooLarge { bytes_max: *bytes_max }),
            Some(Arrived::Late) | None => Err(ApiError::Late),
        }
    }
}

/// How many of something are asked for: one at least.
pub(super) fn at_most(name: &str, asked: u32, max: u32) -> Result<u32, ApiError> {
    if !(1..=max).contains(&asked) {
        return Err(ApiError::Malformed(format!("{name} is between 1 and {max}")));
    }
    Ok(asked)
}

/// A time, in milliseconds since the Unix epoch.
pub(super) fn instant(name: &str, text: &str, now_ms: u64) -> Result<u64, ApiError> {
    let ms = moment::instant_ms(text, now_ms);
    ms.ok_or_else(|| ApiError::Malformed(format!("{name} is no time: {}", moment::WRITTEN)))
}

/// The body as it is.
pub(super) struct RawBody(pub Bytes);

impl FromRequestParts<App> for RawBody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<Arrived>() {
            Some(Arrived::Whole(bytes)) => Ok(Self(bytes.clone())),
            Some(Arrived::TooLarge { bytes_max }) => Err(ApiError::TooLarge { bytes_max: *bytes_max }),
            Some(Arrived::Late) | None => Err(ApiError::Late),
        }
    }
}

/// The JSON body of a call that takes none, too.
pub(super) struct BodyOrNone<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequestParts<App> for BodyOrNone<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<Arrived>() {
            Some(Arrived::Whole(bytes)) if bytes.trim_ascii().is_empty() => Ok(Self(T::default())),
            _ => Body::from_request_parts(parts, app).await.map(|Body(body)| Self(body)),
        }
    }
}

/// A JSON object: of a type that serde would also take as an array of its fields' values.
pub(super) struct JsonObject<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Fields that a call does not know and, because published clients send some, overlooks. What has nothing but those
/// was misspelt.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Others(BTreeMap<String, IgnoredAny>);

impl Others {
    /// Refuses them when no field was `known`, and says which there are.
    pub(super) fn beside(&self, known: bool, fields: &str) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(other) if !known => {
                Err(ApiError::Malformed(format!("Unknown field {other:?}: there are {fields}")))
            }
            _ => Ok(()),
        }
    }
}

/// The query as it was sent, refused if its bytes are no text: parsers put a replacement in their place, and that would be searched.
pub(super) fn query_of(parts: &Parts) -> Result<&str, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    match percent_decode_str(query).decode_utf8() {
        Ok(_) => Ok(query),
        Err(_) => Err(ApiError::Malformed("The query has bytes that are not UTF-8".to_owned())),
    }
}

/// The query.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        query_of(parts)?;
        Query::try_from_uri(&parts.uri)
            .map(|Query(asked)| Self(asked))
            .map_err(|error| ApiError::Malformed(format!("The query is not what this call takes: {error}")))
    }
}

/// Whose things a call is about.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct Whose {
    /// A sub-account, for an admin of its main account; the admin's own account when missing.
    #[param(value_type = Option<i32>)]
    pub account_id: Option<u32>,
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

    pub(super) fn user(&self) -> Result<UserId, ApiError> {
        self.0.map(UserId).ok_or(ApiError::NotFound(Area::Users))
    }

    pub(super) fn view(&self) -> Result<ViewId, ApiError> {
        self.0.map(ViewId).ok_or(ApiError::NotFound(Area::Views))
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

/// The `{id}` of a path, where it is a text.
pub(super) struct PathText(pub String);

impl FromRequestParts<App> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        // What cannot be read names nothing.
        Ok(Self(text.map(|Path(text)| text).unwrap_or_default()))
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

/// Of a field that cannot be set here: says `why`, whatever was sent.
pub(super) fn refuse<'de, D: Deserializer<'de>>(deserializer: D, why: &str) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(serde::de::Error::custom(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_refused_and_not_searched() {
        let asked = |query: &str| {
            let request = axum::http::Request::get(format!("/v1/logs?{query}")).body(()).unwrap();
            query_of(&request.into_parts().0).map(str::to_owned).is_ok()
        };
        assert!(asked("") && asked("query=%C3%A9+%EF%BF%BD%25&limit=5") && asked("query=100%"));
        assert!(!asked("query=%ff") && !asked("limit=5&query=a%C3") && !asked("query=%C3&limit=%A9"));
    }
}
