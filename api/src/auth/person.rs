//! The person behind a request: a genuine access token whose session is live.
//!
//! It owns the check in front of every public route that acts for a person. It refuses to know companies.

use super::{
    Auth,
    access::{AccessError, Standing},
};
use crate::shared::{
    observe,
    problem::{Chain, Problem},
};
use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use kisum_events::{Actor, SessionId, Timestamp, UserId};
use kisum_guard::{Asker, XOrg};

/// A person, signed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// Who.
    pub(super) user: UserId,
    /// By which session.
    pub(super) session: SessionId,
    /// When their token ends.
    token_until: Timestamp,
}

impl Person {
    /// The person as the actor of a command.
    pub(super) const fn actor(&self) -> Actor {
        Actor::User(self.user)
    }

    /// The person as who asks for access.
    pub(super) const fn asker(&self) -> Asker {
        Asker { user: self.user, session: self.session, token_until: self.token_until }
    }
}

/// Checks a token's signature and claims. Whether its session is live is not asked yet.
///
/// # Errors
/// 401 for any defect of the token.
pub(super) async fn of_token(auth: &Auth, token: &str) -> Result<Person, Problem> {
    let claims = auth.verifier.verify(token, auth.clock.now()).await.inspect_err(|problem| {
        metrics::counter!("kisum_tokens_rejected_total").increment(1);
        tracing::info!(event = "token.rejected", code = problem.code, "an access token was refused");
    })?;
    observe::note_person(claims.sub, claims.sid, None);
    Ok(Person { user: claims.sub, session: claims.sid, token_until: claims.exp })
}

/// The person of a request, by its bearer token.
///
/// # Errors
/// 401 without a good token; the session is not asked yet.
pub(super) async fn of_headers(auth: &Auth, headers: &HeaderMap) -> Result<Person, Problem> {
    of_token(auth, kisum_guard::bearer(headers)?).await
}

/// The person of a request, by its bearer token, whose session is live.
///
/// # Errors
/// 401 without a good token or where the session is over; 503 where that cannot be told.
pub(super) async fn signed_in(auth: &Auth, headers: &HeaderMap) -> Result<Person, Problem> {
    let person = of_headers(auth, headers).await?;
    match auth.access.standing(person.user, person.session).await.map_err(unprovable)? {
        Standing::Live => Ok(person),
        Standing::Over => Err(session_over(person)),
    }
}

/// The company that a request names.
///
/// # Errors
/// 400 when `x-org` is missing or malformed.
pub(super) fn org(headers: &HeaderMap) -> Result<XOrg, Problem> {
    let org = XOrg::from_headers(headers).inspect_err(|_| {
        metrics::counter!("kisum_x_org_failures_total").increment(1);
        tracing::info!(event = "x_org.rejected", "x-org is missing or malformed");
    })?;
    if let XOrg::Id(company) = org {
        observe::note_company(company);
    }
    Ok(org)
}

/// A refusal that is logged and counted (security.md, 24).
pub(super) fn denied(reason: &'static str, message: &str) -> Problem {
    metrics::counter!("kisum_access_denied_total", "reason" => reason).increment(1);
    tracing::info!(event = "access.denied", reason, "refused");
    Problem::forbidden(reason, message)
}

/// What a person is told whose session is over, or who is suspended: their sessions end with that.
pub(super) fn session_over(person: Person) -> Problem {
    metrics::counter!("kisum_revoked_session_use_total").increment(1);
    tracing::info!(event = "access.denied", reason = "session_revoked", session_id = %person.session, "refused");
    Problem::session_revoked()
}

/// What a client is told when access cannot be told: a 503, never an answer.
pub(super) fn unprovable(error: AccessError) -> Problem {
    tracing::error!(event = "access.aggregation_failed", error = %Chain(&error), "access cannot be told");
    Problem::unavailable("Access cannot be proven at the moment.")
}

impl FromRequestParts<Auth> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        signed_in(auth, &parts.headers).await
    }
}
