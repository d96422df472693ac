//! The API's description, made from the handlers themselves.

use super::access::App;
use super::error::ErrorBody;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Shipgate control plane", description = "Accounts, log shipping tokens, and who changed them."),
    components(schemas(ErrorBody)),
    modifiers(&Credentials)
)]
struct Preamble;

/// What stands in the description before any route.
pub(super) fn preamble() -> OpenApi {
    Preamble::openapi()
}

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_default();
        let api_token = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "X-API-TOKEN",
            "An account's API token.",
        )));
        components.add_security_scheme("apiToken", api_token);
        let gateway = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The gateways' credential."))
            .build();
        components.add_security_scheme("gatewayCredential", SecurityScheme::Http(gateway));
    }
}

/// This description.
#[utoipa::path(
    operation_id = "showDescription",
    get, path = "/openapi.json", tag = "description", security(()),
    responses((status = 200, description = "OpenAPI, as JSON", body = Object))
)]
pub(super) async fn document(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.openapi()).into_response()
}
