//! `/.well-known/…`: how others check what this service signs.

use super::Auth;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

/// The public keys of access tokens (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set, not wrapped; 304 where `If-None-Match` names its `ETag`.",
        body = serde_json::Value)))]
pub(super) async fn jwks(State(auth): State<Auth>, headers: HeaderMap) -> Response {
    let document = auth.keys.document();
    let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &document.etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document.body).into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, cache(&auth));
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Where the keys are, and what signs with them.
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "keys",
    responses((status = 200, description = "Issuer, key set and algorithms, not wrapped.", body = serde_json::Value)))]
pub(super) async fn openid_configuration(State(auth): State<Auth>) -> Response {
    let issuer = auth.access_tokens.issuer();
    let body = json!({
        "issuer": issuer,
        "jwks_uri": format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')),
        "id_token_signing_alg_values_supported": auth.keys.document().algorithms,
    });
    ([(header::CACHE_CONTROL, cache(&auth))], Json(body)).into_response()
}

/// How long verifiers may keep the keys: as long as any key is published before it signs (security.md, 11).
fn cache(auth: &Auth) -> HeaderValue {
    let max_age = auth.lifetimes.key_set.as_secs();
    HeaderValue::from_str(&format!("public, max-age={max_age}, must-revalidate"))
        .unwrap_or(HeaderValue::from_static("no-cache"))
}

/// Whether an `If-None-Match` names this tag, weakly compared (RFC 9110 §13.1.2).
fn names(value: &HeaderValue, etag: &str) -> bool {
    let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.into_iter().any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::names;
    use http::HeaderValue;

    #[test]
    fn a_tag_is_found_among_several_weak_or_strong() {
        let is_named = |value: &'static str| names(&HeaderValue::from_static(value), "\"a\"");
        assert!(["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"].into_iter().all(is_named));
        assert!(!["\"b\"", "a", "", "W/\"b\""].into_iter().any(is_named));
    }
}
