//! What clients of Elasticsearch put into a search's URL beside its body. Nothing is left out in silence: it is taken, or changes
//! nothing here, or is refused by name.

use super::super::super::access::App;
use super::super::super::error::ApiError;
use super::super::super::input::query_of;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

/// Those that are parts of the body as well, and go before them.
const TAKEN: &[&str] = &["q", "size", "from", "sort", "_source", "track_total_hits"];
/// Without effect here: about shards, indexes and caches that there are none of, or about how the answer is written.
const WITHOUT_EFFECT: &[&str] = &[
    "allow_no_indices",
    "allow_partial_search_results",
    "analyze_wildcard",
    "batched_reduce_size",
    "ccs_minimize_roundtrips",
    "error_trace",
    "expand_wildcards",
    "filter_path",
    "human",
    "ignore_throttled",
    "ignore_unavailable",
    "lenient",
    "max_concurrent_searches",
    "max_concurrent_shard_requests",
    "pre_filter_shard_size",
    "preference",
    "pretty",
    "request_cache",
    "timeout",
];
/// Those that change nothing with one value only.
const AS_IT_IS: &[(&str, &str)] = &[
    ("default_operator", "AND"),
    ("rest_total_hits_as_int", "false"),
    ("search_type", "query_then_fetch"),
    ("typed_keys", "false"),
];

/// Parts of a search body that the URL names.
pub(in crate::control) struct UrlParts(Map<String, Value>);

impl UrlParts {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut parts = Map::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let part = match name.as_ref() {
                "q" => ("query".to_owned(), json!({"query_string": {"query": value}})),
                "sort" => ("sort".to_owned(), value.split(',').map(key).collect()),
                name if TAKEN.contains(&name) => (name.to_owned(), literal(&value)),
                name if WITHOUT_EFFECT.contains(&name) || AS_IT_IS.contains(&(name, &value)) => continue,
                name => return Err(refused(name)),
            };
            parts.extend([part]);
        }
        Ok(Self(parts))
    }

    /// The body with them in it.
    pub(super) fn over(self, mut body: Map<String, Value>) -> Map<String, Value> {
        body.extend(self.0);
        body
    }

    /// Refuses them, where there are several bodies.
    pub(super) fn none(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(name) => Err(refused(if name == "query" { "q" } else { name })),
            None => Ok(()),
        }
    }
}

/// `field:asc`, as it stands in a body.
fn key(text: &str) -> Value {
    match text.rsplit_once(':') {
        Some((field, direction)) => json!({field: direction}),
        None => text.into(),
    }
}

/// A number or a boolean, if it is one.
fn literal(text: &str) -> Value {
    let number = || text.parse::<u64>().ok().map(Value::from);
    text.parse::<bool>().ok().map(Value::from).or_else(number).unwrap_or_else(|| text.into())
}

fn refused(name: &str) -> ApiError {
    let taken = TAKEN.join(", ");
    ApiError::Malformed(format!(
        "The parameter {name:?} is not supported with this value, or not here: there are {taken}"
    ))
}

impl FromRequestParts<App> for UrlParts {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Self::parse(query_of(parts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_search_are_not_ignored_in_silence() {
        let body = json!({"size": 5, "sort": "@timestamp"});
        let over = |query: &str| {
            let parts = UrlParts::parse(query).map_err(|error| format!("{error:?}"))?;
            Ok::<_, String>(Value::Object(parts.over(body.as_object().unwrap().clone())))
        };
        assert_eq!(over(""), Ok(body.clone()));
        let harmless = "pretty&human&max_concurrent_shard_requests=5&typed_keys=false&filter_path=hits&ignore_unavailable=true";
        assert_eq!(over(harmless), Ok(body.clone()));
        let expect = json!({"size": 0, "from": 2, "sort": "@timestamp", "_source": false, "track_total_hits": true,
            "query": {"query_string": {"query": "level:error a"}}});
        let taken =
            "size=0&from=2&q=level%3Aerror+a&_source=false&track_total_hits=true&default_operator=AND";
        assert_eq!(over(taken), Ok(expect));
        assert_eq!(over("size=many").unwrap()["size"], "many");
        assert_eq!(
            over("sort=@timestamp:desc,_doc").unwrap()["sort"],
            json!([{"@timestamp": "desc"}, "_doc"])
        );
        for name in
            ["typed_keys=true", "rest_total_hits_as_int", "default_operator=OR", "scroll=1m", "Size=3"]
        {
            let refused = over(name).unwrap_err();
            assert!(
                refused.contains(&format!("{:?}", name.split('=').next().unwrap()).replace('"', "\\\"")),
                "{refused}"
            );
        }
        assert!(UrlParts::parse("q=a").unwrap().none().is_err());
        assert!(UrlParts::parse("pretty").unwrap().none().is_ok());
    }
}
