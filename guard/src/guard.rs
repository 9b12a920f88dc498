//! The guard: one request in, access or a problem out.
//!
//! It owns the order of refusals (contract, *Who owns what*), and what is logged and counted of them. It refuses to
//! guess: whatever cannot be proven is 503.

use crate::{
    access::{self, Access},
    answer::Verdict,
    auth_client::AuthClient,
    bus,
    cause::{X_REQUEST_ID, is_label},
    clock::{Clock, jittered},
    contexts::Asked,
    ladder::{Ladder, Unknowable},
    org::{X_ORG, XOrg},
    problem::{Problem, reason},
    ready::GuardReady,
    service_token::ServiceSigner,
    shared::Shared,
    source::Source,
    token::{AccessClaims, TokenRefusal, TokenVerifier, bearer},
};
use http::{HeaderMap, StatusCode};
use kisum_events::{Log, SessionId, UserId};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How often published keys are fetched though nobody missed one: with its jitter, below the time that a key is
/// published before it signs (`security.md` 11).
const KEYS_EVERY: Duration = Duration::from_secs(240);
/// How often they are fetched while one that was published is not among them yet, and how many times.
const EXPECTED_EVERY: Duration = Duration::from_millis(500);
const EXPECTED_TRIES_MAX: u32 = 20;
const JITTER_PERCENT: u32 = 20;

/// What a guard needs to know.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// This service's name, also its user on the bus.
    pub service: String,
    /// The environment, such as `local`.
    pub environment: String,
    /// Auth's public listener: its keys.
    pub auth_url: String,
    /// Auth's internal listener: everything else.
    pub auth_internal_url: String,
    /// The bus, with this service's credentials; several servers are separated by commas.
    pub nats_url: String,
    /// Signs this service's requests to Auth.
    pub signer: ServiceSigner,
    /// Issuer of access tokens.
    pub issuer: String,
    /// Audience of access tokens.
    pub audience: String,
    /// How long Auth may take for one context; asked at most twice.
    pub fetch_timeout: Duration,
    /// Contexts kept at once.
    pub contexts_max: usize,
}

impl GuardConfig {
    /// 150 ms (`consistency.md`, the ladder).
    pub const FETCH_TIMEOUT: Duration = Duration::from_millis(150);
    /// About 100 MB of contexts.
    pub const CONTEXTS_MAX: usize = 100_000;
}

/// Why a guard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client can be made.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] reqwest::Error),
    /// The bus's address cannot be read.
    #[error("NATS_URL is not an address of a NATS server")]
    Bus(#[source] std::io::Error),
    /// The bus refuses what is asked of it.
    #[error("the bus connection cannot be set up")]
    Connect(#[source] async_nats::ConnectError),
}

/// Decides requests. Clones share everything; when the last is gone, its tasks end.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    auth: Arc<AuthClient>,
    ladder: Ladder,
    /// Dropping it ends them.
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Guard {
    /// Starts to follow both logs. Returns at once; until everything is reached, requests are answered 503.
    ///
    /// # Errors
    /// [`StartError`] for a configuration that can never work; servers that are away are waited for.
    pub async fn start(config: GuardConfig, clock: Clock) -> Result<Self, StartError> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(StartError::Http)?;
        let nats = bus::connect(&config.environment, &config.service, &config.nats_url).await?;
        let (issuer, audience) = (&config.issuer, &config.audience);
        let tokens =
            TokenVerifier::with_published_keys(issuer, audience, &config.auth_url, http.clone(), clock.clone());
        let auth = Arc::new(AuthClient::new(http, &config.auth_internal_url, config.signer, clock.clone()));
        let source = Arc::clone(&auth) as Arc<dyn Source>;
        let shared = Arc::new(Shared::new(clock, tokens, source, nats, config.contexts_max));
        let mut tasks = shared.keep_current();
        tasks.spawn(refresh_keys(Arc::clone(&shared)));
        let ladder = Ladder::new(Arc::clone(&shared), Arc::clone(&auth), config.fetch_timeout);
        Ok(Self { inner: Arc::new(Inner { shared, auth, ladder, _tasks: tasks }) })
    }

    /// Whose request it is, whatever the company: token genuine, session not known to be over.
    ///
    /// # Errors
    /// 401; 503 when there are no keys to check with.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<AccessClaims>, Problem> {
        Ok(self.identify(headers, &Refusals::of(headers)).await?.1)
    }

    /// Whose request it is and what they may do in the company that `x-org` names.
    ///
    /// # Errors
    /// In this order: 401 for the token, 401 for the session, 400 for `x-org`, 403 for membership, suspension and
    /// company; 503 where access cannot be known.
    pub async fn authorize(&self, headers: &HeaderMap) -> Result<Access, Problem> {
        self.decide(headers, None).await
    }

    /// As [`Guard::authorize`], and the person holds `permission` there.
    ///
    /// # Errors
    /// As there, then 403 for module and permission.
    pub async fn permit(&self, headers: &HeaderMap, permission: &'static str) -> Result<Access, Problem> {
        self.decide(headers, Some(permission)).await
    }

    /// What readiness rests on.
    pub fn ready(&self) -> GuardReady {
        let shared = &self.inner.shared;
        let (state, now) = (shared.state(), shared.clock.boot());
        GuardReady {
            jwks: shared.tokens.is_ready(),
            nats: shared.has_bus(),
            auth: self.inner.auth.answers(),
            auth_lease: state.is_leased(Log::Auth, now),
            core_lease: state.is_leased(Log::Core, now),
        }
    }

    async fn decide(&self, headers: &HeaderMap, permission: Option<&'static str>) -> Result<Access, Problem> {
        let mut refusals = Refusals::of(headers);
        let (token, claims) = self.identify(headers, &refusals).await?;
        refusals.person = Some((claims.sub, claims.sid));
        let org = XOrg::from_headers(headers).inspect_err(|problem| refusals.x_org(problem))?;
        let answer = match self.inner.ladder.climb((token, &claims), Asked { user: claims.sub, org }, headers).await {
            Ok(answer) => answer,
            Err(Unknowable(reason)) => return Err(refusals.unknowable(reason)),
        };
        // The session may have ended while Auth was asked.
        let has_ended = self.inner.shared.state().has_ended(claims.sid);
        let context = match &answer.verdict {
            Verdict::SessionRevoked => return Err(refusals.session_revoked()),
            _ if has_ended => return Err(refusals.session_revoked()),
            Verdict::Active(context) => Arc::clone(context),
            verdict => return Err(refusals.denied(standing(verdict))),
        };
        if let Some(permission) = permission
            && !context.allows(permission)
        {
            // Only now is it worth taking the key apart: what is missing has a name.
            let key = access::permission(permission)?;
            context.check(&key).map_err(|missing| refusals.denied(access::denied(&missing)))?;
        }
        Ok(Access { claims, context })
    }

    async fn identify<'h>(
        &self,
        headers: &'h HeaderMap,
        refusals: &Refusals<'_>,
    ) -> Result<(&'h str, Arc<AccessClaims>), Problem> {
        let shared = &self.inner.shared;
        let token = bearer(headers).inspect_err(|_| refusals.token("missing"))?;
        let claims = match shared.tokens.check(token, shared.clock.now()).await {
            Ok(claims) => claims,
            Err(TokenRefusal::KeysUnreachable) => return Err(refusals.unknowable("keys_unreachable")),
            Err(refusal) => {
                refusals.token(refusal.name());
                return Err(refusal.into_problem());
            }
        };
        if shared.state().has_ended(claims.sid) {
            let person = Some((claims.sub, claims.sid));
            return Err(Refusals { person, ..refusals.clone() }.session_revoked());
        }
        Ok((token, claims))
    }
}

/// The problem for a person without active access to the company.
fn standing(verdict: &Verdict) -> Problem {
    match verdict {
        Verdict::Suspended => Problem::forbidden(reason::SUSPENDED, "Your access to this company is suspended."),
        Verdict::CompanyNotActive => Problem::forbidden(reason::COMPANY_NOT_ACTIVE, "This company is not active."),
        Verdict::NotAMember | Verdict::Active(_) | Verdict::SessionRevoked => {
            Problem::forbidden(reason::NOT_A_MEMBER, "You are no member of this company.")
        }
    }
}

async fn refresh_keys(shared: Arc<Shared>) {
    let mut tries = 0;
    loop {
        shared.tokens.refresh_keys().await;
        tries += 1;
        let pause = if !shared.tokens.is_ready() {
            // At the start Auth may still be on its way; a token would fetch the keys, but readiness waits for them.
            Duration::from_secs(1)
        } else if shared.tokens.has_expected_keys() || tries >= EXPECTED_TRIES_MAX {
            KEYS_EVERY
        } else {
            // Whoever answered has not heard of the key.
            EXPECTED_EVERY
        };
        tokio::select! {
            () = tokio::time::sleep(jittered(pause, JITTER_PERCENT)) => {}
            () = shared.keys_changed.notified() => tries = 0,
        }
    }
}

/// Writes refusals down: every one with its reason, actor, company and request id (`security.md` 24). What is written is
/// looked up only then: most requests are allowed.
#[derive(Clone)]
struct Refusals<'h> {
    headers: &'h HeaderMap,
    person: Option<(UserId, SessionId)>,
}

impl<'h> Refusals<'h> {
    const fn of(headers: &'h HeaderMap) -> Self {
        Self { headers, person: None }
    }

    /// Who and for which company, as far as it is known and of a harmless form; the span of the request is told, too,
    /// where it has a place for it.
    fn whose(&self) -> (String, String) {
        let span = tracing::Span::current();
        if let Some((user, session)) = self.person {
            span.record("user_id", tracing::field::display(user));
            span.record("session_id", tracing::field::display(session));
        }
        let company = self.headers.get(X_ORG).and_then(|value| value.to_str().ok()).and_then(XOrg::parse);
        if let Some(XOrg::Id(company)) = company {
            span.record("company_id", tracing::field::display(company));
        }
        let actor = self.person.map_or_else(|| "-".to_owned(), |(user, _)| user.to_string());
        (actor, company.map_or_else(|| "-".to_owned(), |org| org.to_string()))
    }

    /// As it came, where its form is harmless.
    fn request_id(&self) -> &'h str {
        let label = self.headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        label.filter(|text| is_label(text)).unwrap_or("-")
    }

    fn token(&self, reason: &'static str) {
        metrics::counter!("kisum_access_denied_total", "reason" => "token").increment(1);
        let ((_, company), request_id) = (self.whose(), self.request_id());
        tracing::info!(event = "token.rejected", reason, company, request_id);
    }

    fn x_org(&self, problem: &Problem) {
        metrics::counter!("kisum_x_org_failures_total").increment(1);
        let ((actor, _), request_id) = (self.whose(), self.request_id());
        tracing::info!(event = "x_org.rejected", reason = problem.code, actor, request_id);
    }

    fn session_revoked(&self) -> Problem {
        metrics::counter!("kisum_revoked_session_use_total").increment(1);
        self.denied(Problem::session_revoked())
    }

    fn unknowable(&self, reason: &'static str) -> Problem {
        let problem = Problem::unavailable("Access cannot be proven at the moment.");
        metrics::counter!("kisum_access_denied_total", "reason" => problem.code).increment(1);
        let ((actor, company), request_id) = (self.whose(), self.request_id());
        tracing::warn!(event = "access.denied", reason, actor, company, request_id, "access cannot be proven");
        problem
    }

    fn denied(&self, problem: Problem) -> Problem {
        let reason = problem.reason.unwrap_or(problem.code);
        metrics::counter!("kisum_access_denied_total", "reason" => reason).increment(1);
        let ((actor, company), request_id) = (self.whose(), self.request_id());
        let detail = if problem.status == StatusCode::FORBIDDEN { problem.message.as_str() } else { "" };
        tracing::info!(event = "access.denied", reason, actor, company, request_id, detail);
        problem
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
