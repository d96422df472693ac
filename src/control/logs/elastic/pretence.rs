//! What clients of Elasticsearch ask beside a search, answered as far as they need it: dashboards such as Grafana's data source, and
//! Elasticsearch's own clients.

use super::super::super::error::ApiError;
use super::super::super::input::{BodyOrNone, RawBody};
use super::super::asked::Span;
use super::super::{NoAnswer, NoReading, Reading, failed};
use super::hits::BYTES_MAX;
use super::query::TIME_FIELD;
use super::url::UrlParts;
use super::{Answer, answer};
use crate::domain::query::Query;
use crate::domain::query::number::Number;
use crate::logs::read::{Field, ReadError};
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// Which version clients are told they talk to: one whose searches they all know to send.
const VERSION: &str = "8.15.0";
/// Searches in one request.
const SEARCHES_MAX: usize = 50;
/// How far back fields are looked for.
const FIELDS_MS: u64 = 24 * 3_600_000;

/// An answer as Elasticsearch's own clients believe it.
fn believed(answer: impl Serialize) -> Response {
    ([("x-elastic-product", "Elasticsearch")], Json(answer)).into_response()
}

/// Tell clients of Elasticsearch which version to speak. `/v1/elasticsearch` is the address for a data source of that kind.
#[utoipa::path(
    operation_id = "elasticsearchInfo",
    get, path = "/v1/elasticsearch", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
    )
)]
pub(in crate::control) async fn info(_: Reading) -> Response {
    believed(json!({
        "name": "shipgate", "cluster_name": "shipgate", "cluster_uuid": "shipgate",
        "version": {"number": VERSION, "build_flavor": "default", "lucene_version": "9.11.1"},
        "tagline": "You Know, for Search",
    }))
}

/// The same for clients that end every address with a slash.
#[utoipa::path(
    operation_id = "elasticsearchRoot",
    get, path = "/v1/elasticsearch/", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
    )
)]
pub(in crate::control) async fn root(reading: Reading) -> Response {
    info(reading).await
}

/// Tell dashboards that logs can be read.
#[utoipa::path(
    operation_id = "elasticsearchHealth",
    get, path = "/v1/elasticsearch/_cluster/health", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
    )
)]
pub(in crate::control) async fn health(_: Reading) -> Response {
    believed(json!({"cluster_name": "shipgate", "status": "green", "timed_out": false, "number_of_nodes": 1}))
}

/// List the fields of the last day's logs, as a mapping.
#[utoipa::path(
    operation_id = "elasticsearchMapping",
    get, path = "/v1/elasticsearch/_mapping", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn mapping(reading: Reading) -> Result<Response, ApiError> {
    let span = Span { from_ms: Some(reading.now_ms.saturating_sub(FIELDS_MS)), to_ms: None };
    let question = reading.question(Query::All, span);
    let fields = reading.reader.fields(question, 1).await.map_err(failed)?;
    let property = |field: &Field| (field.name.clone(), json!({"type": type_of(field)}));
    let mut properties: Map<String, Value> = fields.fields.iter().map(property).collect();
    properties.insert(TIME_FIELD.to_owned(), json!({"type": "date"}));
    Ok(believed(json!({"logs": {"mappings": {"properties": properties}}})))
}

/// The mapping of an index; there is one, whatever it is called.
#[utoipa::path(
    operation_id = "elasticsearchMappingOf",
    get, path = "/v1/elasticsearch/{index}/_mapping", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    params(("index" = String, Path, description = "Any name")),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn mapping_of(reading: Reading) -> Result<Response, ApiError> {
    mapping(reading).await
}

/// By its most frequent value.
fn type_of(field: &Field) -> &'static str {
    match field.values.first().map(|value| value.value.as_str()) {
        Some("true" | "false") => "boolean",
        Some(value) if Number::parse(value).is_some() => "double",
        _ => "keyword",
    }
}

/// As `POST /v1/search`.
#[utoipa::path(
    operation_id = "elasticsearchSearchAll",
    post, path = "/v1/elasticsearch/_search", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    request_body(content = Object, description = "Elasticsearch's search body", content_type = "application/json"),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search(
    reading: Reading,
    url: UrlParts,
    BodyOrNone(body): BodyOrNone<Map<String, Value>>,
) -> Result<Response, ApiError> {
    answer(&reading, &url.over(body)).await.map(believed)
}

/// As by POST: a GET with a body is how Elasticsearch's own examples search.
#[utoipa::path(
    operation_id = "elasticsearchSearchAllByGet",
    get, path = "/v1/elasticsearch/_search", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search_by_get(
    reading: Reading,
    url: UrlParts,
    body: BodyOrNone<Map<String, Value>>,
) -> Result<Response, ApiError> {
    search(reading, url, body).await
}

/// As `POST /v1/search`; there is one index, whatever it is called.
#[utoipa::path(
    operation_id = "elasticsearchSearchIndex",
    post, path = "/v1/elasticsearch/{index}/_search", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    params(("index" = String, Path, description = "Any name")),
    request_body(content = Object, description = "Elasticsearch's search body", content_type = "application/json"),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search_of(
    reading: Reading,
    url: UrlParts,
    body: BodyOrNone<Map<String, Value>>,
) -> Result<Response, ApiError> {
    search(reading, url, body).await
}

/// As by POST.
#[utoipa::path(
    operation_id = "elasticsearchSearchIndexByGet",
    get, path = "/v1/elasticsearch/{index}/_search", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    params(("index" = String, Path, description = "Any name")),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn search_of_by_get(
    reading: Reading,
    url: UrlParts,
    body: BodyOrNone<Map<String, Value>>,
) -> Result<Response, ApiError> {
    search(reading, url, body).await
}

/// Several searches in one request: for each a line that names indexes, which is not looked at, and a line with a search body.
#[utoipa::path(
    operation_id = "elasticsearchSearches",
    post, path = "/v1/elasticsearch/_msearch", tag = "elasticsearch", security(("apiToken" = []), ("sharedToken" = [])),
    request_body(content = String, description = "Two lines of JSON for each search", content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "In Elasticsearch's shape", body = Object),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn searches(
    reading: Reading,
    url: UrlParts,
    RawBody(body): RawBody,
) -> Result<Response, ApiError> {
    url.none()?;
    let lines: Vec<&[u8]> =
        body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    if !lines.len().is_multiple_of(2) || lines.len() > 2 * SEARCHES_MAX {
        return Err(ApiError::Malformed(format!(
            "There are two lines for each search, and {SEARCHES_MAX} searches at most"
        )));
    }
    let (mut responses, mut took, mut bytes) = (Vec::new(), 0, 0);
    for line in lines.iter().skip(1).step_by(2) {
        let answered = match serde_json::from_slice::<Map<String, Value>>(line) {
            _ if bytes >= BYTES_MAX => Err(ApiError::Malformed(
                "The answers before this one are long enough: ask in another request".to_owned(),
            )),
            Ok(body) => answer(&reading, &body).await,
            Err(error) => Err(ApiError::Malformed(format!("A search is not what it takes: {error}"))),
        };
        let response = match answered {
            Ok(answer) => {
                took += answer.took;
                to_raw_value(&Answer { status: Some(200), ..answer })
            }
            Err(error) => to_raw_value(&refused(&error)),
        };
        let response = response.map_err(|_| failed(ReadError::Defect))?;
        bytes += response.get().len();
        responses.push(response);
    }
    Ok(believed(Many { took, responses }))
}

#[derive(Serialize)]
struct Many {
    took: u64,
    responses: Vec<Box<RawValue>>,
}

/// One search that is refused among others.
fn refused(error: &ApiError) -> Value {
    let body = serde_json::to_value(error.body("")).unwrap_or_default();
    let cause = json!({"type": body["errorCode"], "reason": body["message"]});
    let error = json!({"type": body["errorCode"], "reason": body["message"], "root_cause": [cause]});
    json!({"error": error, "status": body["code"]})
}
