//! `X-Actor-Token`: the access token of the person on whose behalf a service calls.
//!
//! It owns the header. It refuses to verify the token: whoever acts on it does, again (`security.md` 16).

use super::{config::Secret, extract::header_text};
use axum::extract::FromRequestParts;
use http::request::Parts;
use kisum_guard::Problem;

/// The header's name.
pub const X_ACTOR_TOKEN: &str = "x-actor-token";

/// The person's access token, where the caller sent one. Not verified yet.
#[derive(Clone, Debug)]
pub struct ActorToken(pub Option<Secret>);

impl<S: Sync> FromRequestParts<S> for ActorToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = header_text(&parts.headers, X_ACTOR_TOKEN)?;
        Ok(Self(text.map(|text| Secret::new(text.strip_prefix("Bearer ").unwrap_or(text)))))
    }
}
