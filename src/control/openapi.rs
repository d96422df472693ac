//! The API's description, made from the handlers themselves.

use super::access::App;
use super::access::member::COOKIE_NAME;
use super::error::ErrorBody;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Shipgate control plane", description = "Accounts, log shipping tokens, and who changed them."),
    servers((url = "/", description = "The control plane that this description came from")),
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
        let reads = "A shared token: reads what its filters let through, and nothing else. It decides, whatever else is sent.";
        let header = ApiKey::Header(ApiKeyValue::with_description("X-SHARED-TOKEN", reads));
        components.add_security_scheme("sharedToken", SecurityScheme::ApiKey(header));
        let query = ApiKey::Query(ApiKeyValue::with_description("shareToken", reads));
        components.add_security_scheme("shareToken", SecurityScheme::ApiKey(query));
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            COOKIE_NAME,
            "A signed-in user's session. A request that changes something also needs `X-Requested-With: shipgate`.",
        )));
        components.add_security_scheme("session", session);
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            COOKIE_NAME,
            "Likewise, of a user with the role `admin`.",
        )));
        components.add_security_scheme("adminSession", session);
        let gateway = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "What Shipgate's own gateways prove themselves with. Admins neither have nor need it, and an API token does not do.",
            ))
            .build();
        components.add_security_scheme("gatewayCredential", SecurityScheme::Http(gateway));
    }
}

/// What any call may answer beside its own, and why.
const ANY_CALL: &[(u16, &str)] = &[
    (405, "The path does not take this method"),
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (415, "Without an API token, a body needs `Content-Type: application/json`"),
    (500, "The server failed to do this; its log tells more under the requestId"),
    (503, "The answer was not ready in time; what was asked may still be done"),
];

/// Adds to every operation what any call may answer, and which session will do where an API token does.
pub(super) fn complete(mut description: OpenApi) -> OpenApi {
    let answers = ANY_CALL.iter().map(|(status, why)| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
        let answer = ResponseBuilder::new().description(*why).content("application/json", body).build();
        (status.to_string(), RefOr::T(answer))
    });
    let answers: Vec<_> = answers.collect();
    for item in description.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten();
        for operation in operations {
            if let Some(needs) = &mut operation.security {
                needs.extend(session_beside(needs));
            }
            operation.responses.responses.extend(answers.iter().cloned());
        }
    }
    description
}

/// Reading is for every user, the rest for admins unless it is said where it is described.
fn session_beside(needs: &[SecurityRequirement]) -> Option<SecurityRequirement> {
    let has = |scheme| needs.contains(&by(scheme));
    match (has("apiToken") && !has("session"), has("sharedToken")) {
        (false, _) => None,
        (true, true) => Some(by("session")),
        (true, false) => Some(by("adminSession")),
    }
}

fn by(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [String; 0], String>(scheme, [])
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
