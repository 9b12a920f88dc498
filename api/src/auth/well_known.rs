//! `/.well-known/…`: how others check what this service signs.

use super::Auth;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde_json::json;

/// How long verifiers may keep the keys: shorter than any key is published before it signs (security.md, 11).
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300, must-revalidate");

/// The public keys of access tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set, not wrapped.", body = serde_json::Value)))]
pub(super) async fn jwks(State(auth): State<Auth>) -> Response {
    ([(header::CACHE_CONTROL, CACHE)], Json(auth.access_tokens.jwks())).into_response()
}

/// Where the keys are, and what signs with them.
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "keys",
    responses((status = 200, description = "Issuer, key set and algorithms, not wrapped.", body = serde_json::Value)))]
pub(super) async fn openid_configuration(State(auth): State<Auth>) -> Response {
    let issuer = auth.access_tokens.issuer();
    let body = json!({
        "issuer": issuer,
        "jwks_uri": format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')),
        "id_token_signing_alg_values_supported": [auth.access_tokens.algorithm()],
    });
    ([(header::CACHE_CONTROL, CACHE)], Json(body)).into_response()
}
