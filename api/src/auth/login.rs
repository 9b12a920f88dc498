//! `POST /auth/login`: a password for a session.
//!
//! It owns the order of the steps: limits first, then the same work for known and unknown addresses, then the
//! session. No database connection is held while a password is hashed.

use super::{
    Auth,
    limiter::Attempt,
    lookup::Email,
    passwords::{HashError, Verdict},
    race::{self, Outcome},
    sessions,
    signed_in::{self, SignedIn, Way},
    tokens::{IssueError, RefreshToken},
};
use crate::shared::{
    ambient,
    client_ip::ClientIp,
    extract::ApiJson,
    observe,
    problem::{self, Problem, reason},
    request_label::RequestLabel,
    respond::SuccessBody,
    trace,
};
use axum::{extract::State, response::Response};
use http::{HeaderMap, header};
use kisum_domains::{
    User,
    session::{self, Session, StartSession},
    user,
};
use kisum_events::{Actor, AuthMethod, Meta, PasswordCause, SessionId, StreamName, UserId};
use kisum_log::{Append, ClaimKey, Loaded};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a user agent that are kept.
const AGENT_CHARS_MAX: usize = 256;

/// What signs somebody in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginBody {
    /// The address.
    email: String,
    /// The password.
    password: String,
    /// What kind of client asks; a browser unless said otherwise.
    #[serde(default)]
    client: Client,
}

/// What kind of client asks: decides how the refresh token travels.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Client {
    /// It gets a cookie that scripts cannot read.
    #[default]
    Browser,
    /// It gets the token in the body and keeps it itself.
    Native,
}

impl Client {
    const fn way(self) -> Way {
        match self {
            Self::Browser => Way::Cookie,
            Self::Native => Way::Body,
        }
    }
}

/// Why nobody was signed in; a label of logs and metrics.
#[derive(Clone, Copy)]
enum Failure {
    Credentials,
    Suspended,
    Limited,
    Overloaded,
    Unavailable,
}

impl Failure {
    const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Suspended => "suspended",
            Self::Limited => "limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }

    fn note(self) {
        metrics::counter!("kisum_login_total", "outcome" => self.name()).increment(1);
        tracing::info!(event = "login.failed", reason = self.name(), "nobody was signed in");
    }
}

/// Signs somebody in and starts a session.
#[utoipa::path(post, path = "/auth/login", tag = "sign-in", request_body = LoginBody,
    responses((status = 200, description = "Signed in; a browser's refresh token stands in the cookie.",
        body = SuccessBody<SignedIn>)))]
pub(super) async fn login(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    headers: HeaderMap,
    ApiJson(body): ApiJson<LoginBody>,
) -> Result<Response, Problem> {
    let email =
        Email::parse(&body.email).ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let account = auth.lookup.email(&email);
    let attempt = auth.limiter.begin(&account, &ClientIp(address).limit_key()).await.map_err(|limited| {
        Failure::Limited.note();
        Problem::rate_limited(limited.retry_after_s)
    })?;
    let client = Origin { ip: address.to_string(), agent: agent(&headers), label };
    let outcome = sign_in(&auth, &account, body.password, client).await;
    match outcome {
        Ok(signed_in) => {
            auth.limiter.succeeded(&attempt).await;
            metrics::counter!("kisum_login_total", "outcome" => "succeeded").increment(1);
            let (user, session) = (signed_in.user.0, signed_in.session.0);
            observe::note_person(user, session, None);
            tracing::info!(event = "login.succeeded", user_id = %user, session_id = %session, "signed in");
            signed_in.respond(&auth, body.client.way())
        }
        Err(refusal) => Err(refuse(&auth, &attempt, refusal).await),
    }
}

/// Where a session starts from.
struct Origin {
    ip: String,
    agent: Option<String>,
    label: RequestLabel,
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(AGENT_CHARS_MAX).collect())
}

/// Why a sign-in was refused, with what the client is told.
struct Refusal {
    failure: Failure,
    problem: Problem,
}

impl Refusal {
    /// Unknown address and wrong password are one refusal, word for word.
    fn credentials() -> Self {
        let problem = Problem::unauthorized("E-mail address or password is wrong.");
        Self { failure: Failure::Credentials, problem }
    }

    fn suspended() -> Self {
        let problem = Problem::forbidden(reason::SUSPENDED, "This account is suspended.");
        Self { failure: Failure::Suspended, problem }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { failure: Failure::Unavailable, problem }
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self {
                failure: Failure::Overloaded,
                problem: Problem::unavailable("Too many people sign in at the moment; try again."),
            },
            HashError::Failed(_) => problem::of_defect(&error).into(),
        }
    }
}

/// Only a wrong password counts against the limits: what was no guess must not use them up.
async fn refuse(auth: &Auth, attempt: &Attempt, refusal: Refusal) -> Problem {
    refusal.failure.note();
    match refusal.failure {
        Failure::Credentials => {}
        Failure::Suspended | Failure::Limited | Failure::Overloaded | Failure::Unavailable => {
            auth.limiter.take_back(attempt).await;
        }
    }
    refusal.problem
}

/// A person with a session that has just started.
struct Started {
    user: (UserId, User),
    session: (SessionId, Session),
    token: RefreshToken,
}

impl Started {
    fn respond(&self, auth: &Auth, way: Way) -> Result<Response, Problem> {
        let (user, session) = ((self.user.0, &self.user.1), (self.session.0, &self.session.1));
        signed_in::respond(auth, user, session, &self.token, way)
    }
}

async fn sign_in(auth: &Auth, account: &str, password: String, origin: Origin) -> Result<Started, Refusal> {
    let holder = auth.log.claim_holder(&ClaimKey::email(account)).await.map_err(problem::of_load)?;
    let known: Option<UserId> = holder.and_then(|stream| stream.id().parse().ok());
    // Nobody has the nil id: an unknown address costs the same reads as a known one.
    let id = known.unwrap_or(UserId::new(Uuid::nil()));
    let loaded = signed_in::load_user(auth, id).await?;
    let stored = loaded.state.password_hash.get().cloned();
    let verdict = auth.passwords.verify(password.clone(), stored.clone()).await?;
    let Verdict::Right { outdated } = verdict else { return Err(Refusal::credentials()) };
    if !loaded.state.is_active() {
        return Err(Refusal::suspended());
    }
    let started = start_session(auth, id, loaded, stored.as_deref(), origin).await?;
    if outdated {
        tokio::spawn(upgrade_password(auth.clone(), id, password, stored));
    }
    Ok(started)
}

/// Starts a session of somebody whose password was right, unless they changed in the meantime: the append guards the
/// person's stream.
async fn start_session(
    auth: &Auth,
    id: UserId,
    mut user: Loaded<User>,
    verified: Option<&str>,
    origin: Origin,
) -> Result<Started, Refusal> {
    let session_id = SessionId::new(ambient::new_id());
    let token = auth.refresh_key.first(session_id).map_err(|error| problem::of_defect(&error))?;
    let session = Loaded::<Session>::new_stream(StreamName::session(session_id));
    let command = StartSession {
        user_id: id,
        amr: vec![AuthMethod::Pwd],
        token_hash: token.hash(),
        ip: Some(origin.ip),
        agent: origin.agent,
        idle_ttl: auth.lifetimes.idle,
        absolute_ttl: auth.lifetimes.absolute,
        user_version: user.version,
    };
    for _ in 0..race::ATTEMPTS_MAX {
        let command = StartSession { user_version: user.version, ..command.clone() };
        let events =
            session::start(&session.state, command, auth.clock.now()).map_err(|error| problem::of_defect(&error))?;
        let mut append = append_for(Actor::User(id), &origin.label);
        append.guard(&user);
        let state = append.write(&session, events).map_err(problem::of_append)?;
        let given_way = sessions::make_room(auth, id, &mut append).await?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(_) => {
                given_way.note(auth);
                return Ok(Started { user: (id, user.state), session: (session_id, state), token });
            }
            Outcome::Again | Outcome::Taken => user = signed_in::load_user(auth, id).await?,
        }
        if !user.state.is_active() {
            return Err(Refusal::suspended());
        }
        if user.state.password_hash.get().map(String::as_str) != verified {
            return Err(Refusal::credentials());
        }
    }
    Err(race::lost().into())
}

/// Hashes the same password with today's parameters (security.md, 1). Whatever goes wrong, the old hash still opens,
/// and the next sign-in tries again.
async fn upgrade_password(auth: Auth, id: UserId, password: String, verified: Option<String>) {
    let Ok(hash) = auth.passwords.hash(password).await else { return };
    let Ok(user) = signed_in::load_user(&auth, id).await else { return };
    // Another password may have been set meanwhile: it must not be replaced by the former one.
    if user.state.password_hash.get() != verified.as_ref() {
        return;
    }
    let Ok(events) = user::set_password(&user.state, &hash, PasswordCause::Upgraded) else { return };
    let request = ambient::new_request_id();
    let meta = Meta::new(Actor::System, request);
    let mut append = Append::new(request, meta);
    if append.write(&user, events).is_ok() {
        let _next_sign_in_tries_again = auth.append(append).await;
    }
}

/// An append that no idempotency key names.
pub(super) fn append_for(actor: Actor, label: &RequestLabel) -> Append {
    let request_id = ambient::new_request_id();
    let correlation_id = Some(label.to_string());
    Append::new(request_id, Meta { correlation_id, traceparent: trace::current(), ..Meta::new(actor, request_id) })
}
