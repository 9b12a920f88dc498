//! Who may call what inside: the `SERVICE_TRUST` document of each service.
//!
//! The routes are an allow-list. A caller that is not listed, or a route that is not listed for it, is refused by the
//! callee. In production the same document is written by the operator.

use super::{Failure, Part, keys, secrets::ADMIN};
use serde_json::{Map, Value, json};

/// What each callee allows each caller. A last segment `*` stands for one or more segments.
fn callers(callee: Part) -> Vec<(&'static str, &'static [&'static str])> {
    const EVERYTHING: &[&str] =
        &["GET /internal/*", "POST /internal/*", "PUT /internal/*", "PATCH /internal/*", "DELETE /internal/*"];
    const LOG: &[&str] = &["GET /internal/v1/heads", "GET /internal/v1/log"];
    const BACKEND_AT_AUTH: &[&str] = &[
        "POST /internal/v1/access-context",
        "GET /internal/v1/heads",
        "GET /internal/v1/log/*",
        "GET /internal/v1/revocations",
    ];
    const CORE_AT_AUTH: &[&str] = &["GET /internal/v1/heads", "GET /internal/v1/log/*"];
    const AUTH_AT_CORE: &[&str] = &[
        "GET /internal/v1/companies/*",
        "PUT /internal/v1/companies/*",
        "DELETE /internal/v1/companies/*",
        "GET /internal/v1/heads",
        "GET /internal/v1/log",
    ];
    match callee {
        Part::Auth => vec![
            (Part::Basic.name(), BACKEND_AT_AUTH),
            (Part::Finance.name(), BACKEND_AT_AUTH),
            (Part::Core.name(), CORE_AT_AUTH),
            (ADMIN, EVERYTHING),
        ],
        Part::Core => vec![(Part::Auth.name(), AUTH_AT_CORE), (ADMIN, EVERYTHING)],
        Part::RelayAuth | Part::RelayCore => vec![(Part::Auth.name(), LOG), (ADMIN, LOG)],
        Part::Basic | Part::Finance => vec![(ADMIN, EVERYTHING)],
        Part::Postgres | Part::Nats | Part::Redis => Vec::new(),
    }
}

/// The document of one service: each caller's public key and routes.
///
/// # Errors
/// When a caller's key is missing or no key.
pub fn document(callee: Part, key_of: impl Fn(&str) -> Result<String, Failure>) -> Result<String, Failure> {
    let mut services = Map::new();
    for (caller, routes) in callers(callee) {
        let public = keys::ed25519_public(&key_of(caller)?).map_err(|error| {
            Failure::new(format!("the service key of {caller} cannot be read: {error}"), "run `./dev reset`")
        })?;
        let key = json!({ "kid": format!("{caller}-1"), "x": public });
        services.insert(caller.to_owned(), json!({ "keys": [key], "routes": routes }));
    }
    serde_json::to_string_pretty(&Value::from_iter([("services".to_owned(), Value::Object(services))]))
        .map_err(|error| Failure::new(format!("writing the trust of {callee}: {error}"), "this is a defect"))
}
