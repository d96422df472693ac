//! The first step: what a request says about who it is. Nothing is checked here, and no byte of the body is needed.

use crate::domain::token::TokenDigest;
use hyper::http::{header, request};
use std::borrow::Cow;

/// What the request's head claims. Holds a digest, never the token.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// `None`: no token, or an empty one.
    pub token: Option<TokenDigest>,
    /// The `type` for logs that bring none.
    pub default_type: Cow<'a, str>,
}

/// The `type` of logs that neither bring one nor came with one.
const DEFAULT_TYPE: &str = "http-bulk";

impl<'a> Credentials<'a> {
    /// Reads the query's `token` and `type`, or else the token of `Authorization: Bearer`. Empty values count as absent.
    pub fn of(head: &'a request::Parts) -> Self {
        let (mut token, mut default_type) = (None, None);
        for (key, value) in form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                _ if value.is_empty() => {}
                "token" if token.is_none() => token = Some(TokenDigest::of(&value)),
                "type" if default_type.is_none() => default_type = Some(value),
                _ => {}
            }
        }
        Self {
            token: token.or_else(|| bearer(head).map(TokenDigest::of)),
            default_type: default_type.unwrap_or(Cow::Borrowed(DEFAULT_TYPE)),
        }
    }
}

fn bearer(head: &request::Parts) -> Option<&str> {
    let (scheme, token) = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, authorization: Option<&str>, token: Option<&str>, default_type: &str) {
        let mut request = hyper::Request::post(uri);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let expect = Credentials { token: token.map(TokenDigest::of), default_type: default_type.into() };
        assert_eq!(Credentials::of(&head), expect, "{uri} {authorization:?}");
    }

    #[test]
    fn reads_the_query_before_the_header() {
        check("/", None, None, "http-bulk");
        check("/?token=abc&type=nginx", None, Some("abc"), "nginx");
        check("/?type=nginx&token=abc", None, Some("abc"), "nginx");
        check("/?&&token=abc&&debug&", None, Some("abc"), "http-bulk");
        check("/?token=&type=", None, None, "http-bulk");
        check("/?token", None, None, "http-bulk");
        check("/?token=a%2Bb&type=%22q", None, Some("a+b"), "\"q");
        check("/?token=first&token=second", None, Some("first"), "http-bulk");
        check("/", Some("Bearer abc"), Some("abc"), "http-bulk");
        check("/", Some("bearer  abc "), Some("abc"), "http-bulk");
        check("/?token=query", Some("Bearer header"), Some("query"), "http-bulk");
        check("/?token=", Some("Bearer header"), Some("header"), "http-bulk");
        check("/", Some("Basic abc"), None, "http-bulk");
        check("/", Some("Bearer "), None, "http-bulk");
        check("http://host:8070?token=abc", None, Some("abc"), "http-bulk");
    }
}
