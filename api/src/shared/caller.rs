//! Which service called an internal route.
//!
//! It owns the one check in front of every internal route, so that no route can forget it. It refuses to know what a
//! caller may do beyond the trust file's allow-list, and never takes a person's token for a service's.

use super::{ambient::Clock, extract::header_text};
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{header, request::Parts};
use kisum_guard::{Problem, ServiceTrust};

/// The service that called, proven by its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The service's name, such as `finance`.
    pub service: String,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refused = || Problem::unauthorized("A valid service token is required.");
        parts.extensions.get::<Self>().cloned().ok_or_else(refused)
    }
}

/// What the check in front of internal routes needs.
#[derive(Clone, Debug)]
pub struct CallerCheck {
    /// Who may call what.
    pub trust: ServiceTrust,
    /// The time.
    pub clock: Clock,
}

/// Lets a request through once its service token is proven, and notes the caller.
pub async fn require_caller(State(check): State<CallerCheck>, mut request: Request, next: Next) -> Response {
    match verify(&check, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn verify(check: &CallerCheck, request: &Request) -> Result<Caller, Problem> {
    let bearer = header_text(request.headers(), header::AUTHORIZATION.as_str())?.unwrap_or_default();
    let (method, path) = (request.method().as_str(), request.uri().path());
    let caller = check.trust.verify(bearer, method, path, check.clock.now())?;
    Ok(Caller { service: caller.service })
}
