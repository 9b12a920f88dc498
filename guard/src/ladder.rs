//! The ladder: from what is kept, over Auth, to "it cannot be known" (`consistency.md`, the ladder).
//!
//! It owns the steps and their budgets. It refuses to answer from anything that is not proven: the caller turns that
//! into 503, never into an allowance and never into a refusal.

use crate::{
    answer::{Answer, Verdict},
    auth_client::AuthClient,
    cause::Cause,
    contexts::Asked,
    flights::Flights,
    shared::Shared,
    state::{Filled, Unusable},
    token::AccessClaims,
};
use http::HeaderMap;
use kisum_events::{AsOf, Cursor, SessionId};
use std::{sync::Arc, time::Duration};

/// How often a question is asked when events overtake its answers: once, and twice again.
const ASKED_MAX: u32 = 3;

/// Why access cannot be known now; its name in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknowable(pub(crate) &'static str);

/// Everything that an answer depends on, so that a newer question never joins an older one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    asked: Asked,
    session: SessionId,
    minimum: (Cursor, Cursor),
}

type Landed = Result<(Arc<Answer>, Filled), Unknowable>;

pub(crate) struct Ladder {
    shared: Arc<Shared>,
    auth: Arc<AuthClient>,
    flights: Arc<Flights<Question, Landed>>,
    timeout: Duration,
}

impl Ladder {
    /// A ladder whose step to Auth may take `timeout`, twice.
    pub(crate) fn new(shared: Arc<Shared>, auth: Arc<AuthClient>, timeout: Duration) -> Self {
        Self { shared, auth, flights: Flights::new(), timeout }
    }

    /// What one person may do in one company. The request's headers are read only where Auth has to be asked.
    pub(crate) async fn climb(
        &self,
        (token, claims): (&str, &Arc<AccessClaims>),
        asked: Asked,
        headers: &HeaderMap,
    ) -> Result<Arc<Answer>, Unknowable> {
        let now = self.shared.clock.now();
        // A token past its end is accepted for differing clocks only; by then its session may no longer be on the
        // list of ended ones, so Auth is asked.
        if now < claims.exp
            && let Some(answer) = self.shared.state().lookup(&asked, claims.sid, now, self.shared.clock.boot())
        {
            // Spelled out: a key made of literals is made once, and this is the way of nearly every request.
            metrics::counter!("kisum_access_cache_total", "level" => "l0", "outcome" => "hit").increment(1);
            return Ok(answer);
        }
        count("l0", "miss");
        let cause = Cause::of(headers);
        let mut left = ASKED_MAX;
        loop {
            left = left.saturating_sub(1);
            let (answer, filled) =
                self.ask((token, claims), &asked, &cause).await.inspect_err(|_| count("l2", "error"))?;
            if filled != Filled::Overtaken || left == 0 {
                count("l2", if filled == Filled::Kept { "kept" } else { "passed" });
                return Ok(answer);
            }
            count("l2", "overtaken");
        }
    }

    async fn ask(&self, (token, claims): (&str, &Arc<AccessClaims>), asked: &Asked, cause: &Cause) -> Landed {
        let minimum = self.shared.state().minimum(self.shared.clock.boot());
        let session = claims.sid;
        let key = Question { asked: asked.clone(), session, minimum: (minimum.auth, minimum.core) };
        let flight = Flight {
            shared: Arc::clone(&self.shared),
            auth: Arc::clone(&self.auth),
            token: token.to_owned(),
            claims: Arc::clone(claims),
            asked: asked.clone(),
            minimum,
            timeout: self.timeout,
            cause: cause.clone(),
        };
        self.flights.ask(key, || flight.fly()).await.unwrap_or(Err(Unknowable("shed")))
    }
}

/// One question on its way to Auth.
struct Flight {
    shared: Arc<Shared>,
    auth: Arc<AuthClient>,
    token: String,
    claims: Arc<AccessClaims>,
    asked: Asked,
    minimum: AsOf,
    timeout: Duration,
    /// The first request that asked this; others may wait for the same answer.
    cause: Cause,
}

impl Flight {
    async fn fly(self) -> Landed {
        let began = self.shared.clock.boot();
        let landed = self.land().await;
        let took = self.shared.clock.boot().since(began);
        metrics::histogram!("kisum_context_fetch_seconds").record(took.as_secs_f64());
        if let Err(Unknowable(reason)) = landed {
            let (user, org) = (self.asked.user, &self.asked.org);
            let (request_id, trace_id) =
                (self.cause.label(), self.cause.trace.map(|trace| trace.trace_id().to_string()));
            tracing::warn!(
                event = "access.aggregation_failed",
                reason,
                actor = %user,
                company = %org,
                request_id,
                trace_id
            );
        }
        landed
    }

    async fn land(&self) -> Landed {
        let answer = Arc::new(self.fetch().await?);
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        let mut state = self.shared.state_mut();
        if let Err(unusable) = state.judge(&answer, &self.minimum, boot) {
            if let Unusable::NewEpoch(log) = unusable {
                self.shared.restart(log).notify_one();
            }
            return Err(Unknowable(match unusable {
                Unusable::Behind => "behind",
                Unusable::NewEpoch(_) => "new_epoch",
                Unusable::Unproven => "unproven",
            }));
        }
        if answer.verdict == Verdict::SessionRevoked {
            state.end_session(self.claims.sid, self.claims.exp, now);
        }
        let filled = state.fill(self.asked.clone(), self.claims.sid, &answer, boot);
        Ok((answer, filled))
    }

    /// Asks, and once more if the first attempt got lost.
    async fn fetch(&self) -> Result<Answer, Unknowable> {
        let Asked { org, .. } = &self.asked;
        let attempt = || self.auth.context((&self.token, org), self.minimum, self.timeout, &self.cause);
        let answer = match attempt().await {
            Err(error) if error.is_passing() => attempt().await,
            settled => settled,
        };
        let answer = answer.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "no access context");
            Unknowable(error.name())
        })?;
        Answer::read(answer, &self.claims, org).map_err(|mismatch| {
            tracing::error!(error = %mismatch, actor = %self.claims.sub, company = %org);
            Unknowable("mismatch")
        })
    }
}

fn count(level: &'static str, outcome: &'static str) {
    metrics::counter!("kisum_access_cache_total", "level" => level, "outcome" => outcome).increment(1);
}
