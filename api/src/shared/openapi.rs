//! A listener's document: what its routes say of themselves, completed by what holds for all of them.
//!
//! It owns title, version, the problem answer and `/openapi.json`. It refuses to describe a route: its handler does.

use super::problem::Problem;
use axum::{Router, routing::get};
use http::header;
use std::sync::Arc;
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        schema::ComponentsBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// The body of every failure (RFC 9457), for documents.
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence for the developer who reads it.
    pub detail: String,
    /// Always false.
    pub success: bool,
    /// The platform's own form of the same.
    pub error: ProblemError,
}

/// What went wrong, by code.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct ProblemError {
    /// Stable code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Stable refinement of the code.
    pub reason: Option<String>,
}

/// The scheme of a person's access token, as operations name it.
const BEARER: &str = "bearer";
/// The scheme of a service's own token.
const SERVICE_TOKEN: &str = "serviceToken";

/// Completes a listener's document: its title, the problem that any operation may answer, and the tokens.
pub fn complete(mut document: OpenApi, service: &str) -> OpenApi {
    document.info = InfoBuilder::new().title(format!("Kisum {service}")).version(env!("CARGO_PKG_VERSION")).build();
    for (path, item) in &mut document.paths.paths {
        let is_internal = path.starts_with("/internal/");
        for operation in operations_mut(item) {
            operation.responses.responses.entry("default".to_owned()).or_insert_with(problem_answer);
            if is_internal {
                let token = || vec![SecurityRequirement::new(SERVICE_TOKEN, Vec::<String>::new())];
                operation.security.get_or_insert_with(token);
            }
        }
    }
    let components = document.components.take().unwrap_or_default();
    let mut builder: ComponentsBuilder = components.into();
    let mut parts = Vec::new();
    ProblemBody::schemas(&mut parts);
    parts.push(("Problem".to_owned(), <ProblemBody as utoipa::PartialSchema>::schema()));
    builder = builder
        .schemas_from_iter(parts)
        .security_scheme(BEARER, token_scheme("A person's access token, from /auth/login."))
        .security_scheme(SERVICE_TOKEN, token_scheme("A service's own token for this very request, 60 s at most."));
    document.components = Some(builder.build());
    document
}

fn token_scheme(description: &str) -> SecurityScheme {
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(description));
    SecurityScheme::Http(http.build())
}

/// The operations of a path, whatever their methods.
fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// The operations of a path with their methods.
pub fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [("GET", &item.get), ("PUT", &item.put), ("POST", &item.post), ("DELETE", &item.delete), ("PATCH", &item.patch)]
        .into_iter()
        .filter_map(|(method, operation)| operation.as_ref().map(|operation| (method, operation)))
}

fn problem_answer() -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let description = "A problem, with the code and reason that say which.";
    ResponseBuilder::new().description(description).content("application/problem+json", content).build().into()
}

/// `/openapi.json` of a listener.
pub fn route(document: &OpenApi) -> Router {
    let json = document.to_json().map(Arc::<str>::from).map_err(|error| {
        tracing::error!(%error, "the OpenAPI document cannot be written as JSON");
        Problem::internal()
    });
    let answer = move || {
        let json = json.clone();
        async move { json.map(|json| ([(header::CONTENT_TYPE, "application/json")], json.to_string())) }
    };
    Router::new().route("/openapi.json", get(answer))
}
