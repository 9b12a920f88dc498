//! On whose account a command is carried out.
//!
//! It owns the choice between the person whose token travels along and the service that called. It refuses to decide
//! what either may do.

use super::config::TokenSource;
use crate::shared::{actor::ActorToken, ambient::Clock, caller::Caller, problem::Problem};
use kisum_events::Actor;
use kisum_guard::TokenVerifier;
use std::time::Duration;

/// How long the issuer's published keys may take to arrive.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// Verifies people's tokens.
#[derive(Clone)]
pub(super) struct Actors {
    verifier: Option<TokenVerifier>,
    clock: Clock,
}

impl Actors {
    /// Tokens of this issuer count; with none, no token can be verified.
    pub(super) fn new(source: Option<&TokenSource>, clock: &Clock) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(KEYS_TIMEOUT).build()?;
        let verifier = source.map(|source| {
            let TokenSource { auth_url, issuer, audience } = source;
            TokenVerifier::with_published_keys(issuer, audience, auth_url, http, clock.clone())
        });
        Ok(Self { verifier, clock: clock.clone() })
    }

    /// Who acts: the person whose token was sent, verified again here, else the service itself.
    ///
    /// # Errors
    /// 401 for a bad token; 503 when no token can be verified. A token is never passed over.
    pub(super) async fn of(&self, caller: &Caller, token: &ActorToken) -> Result<Actor, Problem> {
        match (&token.0, &self.verifier) {
            (None, _) => Ok(Actor::Service(caller.service.clone())),
            (Some(token), Some(verifier)) => {
                let claims = verifier.verify(token.expose(), self.clock.now()).await?;
                Ok(Actor::User(claims.sub))
            }
            (Some(_), None) => Err(Problem::unavailable("This service has no issuer to check a person's token with.")),
        }
    }
}
