//! `POST /auth/login`: a password for a session.
//!
//! It owns the order of the steps: a place among those whose password is hashed, limits, then the same work for known and
//! unknown addresses, then the session. Whoever gets no place costs nobody anything: neither Redis nor the database is asked.
//! No database connection is held while a password is hashed.

use super::{
    Auth,
    credentials::read_email,
    factors::{self, SecondFactorWanted},
    limiter::{Attempt, Limited},
    passwords::{HashError, Place, Verdict},
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
    respond::{Success, SuccessBody},
    trace,
};
use axum::{
    extract::{FromRequestParts, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use kisum_domains::{
    User,
    session::{self, Session, StartSession},
    user,
};
use kisum_events::{Actor, AuthMethod, Meta, SessionId, SigninFailure, StreamName, UserEvent, UserId};
use kisum_log::{Append, ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use utoipa::ToSchema;
use uuid::Uuid;

/// Times that a password is compared for one sign-in: another hash may be stored while it starts a session, and be one
/// of the same password.
const COMPARISONS_MAX: u32 = 2;
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
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Client {
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
    /// Address or password.
    Credentials,
    /// The second factor.
    SecondFactor,
    /// A passkey alone.
    Passkey,
    /// What was begun is over.
    Over,
    Suspended,
    Limited,
    Overloaded,
    Unavailable,
}

impl Failure {
    const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::SecondFactor => "second_factor",
            Self::Passkey => "passkey",
            Self::Over => "over",
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

/// What a right password comes to.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes the answer, which is made of its parts")]
enum LoggedIn {
    /// The person has no second factor.
    SignedIn(SignedIn),
    /// The person has one: neither session nor token yet.
    SecondFactorWanted(SecondFactorWanted),
}

/// Signs somebody in and starts a session, or asks for the second factor of whoever has one.
#[utoipa::path(post, path = "/auth/login", tag = "sign-in", request_body = LoginBody,
    responses((status = 200, description = "Signed in, and a browser's refresh token stands in the cookie; or a second \
        factor is wanted.", body = SuccessBody<LoggedIn>)))]
pub(super) async fn login(
    State(auth): State<Auth>,
    origin: Origin,
    ApiJson(body): ApiJson<LoginBody>,
) -> Result<Response, Problem> {
    let email = read_email(&body.email)?;
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let place = auth.passwords.enter().map_err(|error| {
        let refusal = Refusal::from(error);
        refusal.failure.note();
        refusal.problem
    })?;
    let account = auth.lookup.email(&email);
    let network = origin.network();
    let attempt = auth.limiter.begin(&account, &network).await.map_err(limited)?;
    let outcome = match sign_in(&auth, (&account, &network), (place, body.password, body.client), origin).await {
        Ok(PasswordRight::Started(started)) => Ok(*started),
        Ok(PasswordRight::SecondFactorWanted(wanted)) => {
            // Half a sign-in is no failure, and makes no network known either.
            auth.limiter.take_back(&attempt).await;
            metrics::counter!("kisum_login_total", "outcome" => "second_factor_wanted").increment(1);
            let mut response = Success(wanted).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Ok(response);
        }
        Err(refusal) => Err(refusal),
    };
    conclude(&auth, outcome, (Some(&attempt), &network), body.client).await
}

/// What a sign-in is refused with that was tried too often.
pub(super) fn limited(limited: Limited) -> Problem {
    Failure::Limited.note();
    Problem::rate_limited(limited.retry_after_s)
}

/// What every sign-in ends with: the limits, the log line, the metric and the answer.
///
/// # Errors
/// What the sign-in was refused with.
pub(super) async fn conclude(
    auth: &Auth,
    outcome: Result<Started, Refusal>,
    (attempt, network): (Option<&Attempt>, &str),
    client: Client,
) -> Result<Response, Problem> {
    match outcome {
        Ok(started) => {
            if let Some(attempt) = attempt {
                auth.limiter.succeeded(attempt).await;
            }
            metrics::counter!("kisum_login_total", "outcome" => "succeeded").increment(1);
            let (user, session) = (started.user.0, started.session.0);
            observe::note_person(user, session, None);
            tracing::info!(event = "login.succeeded", user_id = %user, session_id = %session, "signed in");
            started.respond(auth, client.way())
        }
        Err(refusal) => Err(refuse(auth, attempt, network, refusal).await),
    }
}

/// Where a session starts from: the client of a request.
pub(super) struct Origin {
    address: ClientIp,
    agent: Option<String>,
    label: RequestLabel,
}

impl Origin {
    /// The network, as the limits know it.
    pub(super) fn network(&self) -> String {
        self.address.limit_key()
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let address = ClientIp::from_request_parts(parts, state).await?;
        let label = RequestLabel::from_request_parts(parts, state).await?;
        Ok(Self { address, agent: agent(&parts.headers), label })
    }
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(AGENT_CHARS_MAX).collect())
}

/// Why a sign-in was refused, with what the client is told.
pub(super) struct Refusal {
    failure: Failure,
    problem: Problem,
    /// Whose account it was, where there is one.
    known: Option<UserId>,
}

impl Refusal {
    /// Unknown address and wrong password are one refusal, word for word.
    fn credentials(known: Option<UserId>) -> Self {
        let problem = Problem::unauthorized("E-mail address or password is wrong.");
        Self { failure: Failure::Credentials, problem, known }
    }

    /// Which of code, app or person was wrong is not said.
    pub(super) fn second_factor(known: UserId) -> Self {
        let problem = Problem::unauthorized("The second factor was not accepted.");
        Self { failure: Failure::SecondFactor, problem, known: Some(known) }
    }

    /// Unknown passkey and wrong signature are one refusal.
    pub(super) fn passkey() -> Self {
        let problem = Problem::unauthorized("The passkey was not accepted; begin again.");
        Self { failure: Failure::Passkey, problem, known: None }
    }

    /// The challenge was used up, or what it was about has changed.
    pub(super) const fn over(problem: Problem) -> Self {
        Self { failure: Failure::Over, problem, known: None }
    }

    /// They are who they are, and may not.
    pub(super) fn suspended(known: UserId) -> Self {
        let problem = Problem::forbidden(reason::SUSPENDED, "This account is suspended.");
        Self { failure: Failure::Suspended, problem, known: Some(known) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { failure: Failure::Unavailable, problem, known: None }
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self {
                failure: Failure::Overloaded,
                problem: Problem::unavailable("Too many people sign in at the moment; try again."),
                known: None,
            },
            HashError::Failed(_) => problem::of_defect(&error).into(),
        }
    }
}

/// Only what was wrong counts against the limits: what was no guess must not use them up.
async fn refuse(auth: &Auth, attempt: Option<&Attempt>, network: &str, refusal: Refusal) -> Problem {
    refusal.failure.note();
    let reason = match refusal.failure {
        Failure::Credentials => Some(SigninFailure::Credentials),
        Failure::SecondFactor => Some(SigninFailure::SecondFactor),
        Failure::Suspended => Some(SigninFailure::Suspended),
        Failure::Passkey | Failure::Over | Failure::Limited | Failure::Overloaded | Failure::Unavailable => None,
    };
    if let (Some(user), Some(reason)) = (refusal.known, reason) {
        auth.failed_signins.note(user, network, reason, auth.clock.now());
    }
    match (refusal.failure, attempt) {
        (Failure::Credentials | Failure::SecondFactor | Failure::Passkey, _) | (_, None) => {}
        (
            Failure::Over | Failure::Suspended | Failure::Limited | Failure::Overloaded | Failure::Unavailable,
            Some(attempt),
        ) => auth.limiter.take_back(attempt).await,
    }
    refusal.problem
}

/// A person with a session that has just started.
pub(super) struct Started {
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

/// What comes after a right password.
enum PasswordRight {
    Started(Box<Started>),
    SecondFactorWanted(SecondFactorWanted),
}

async fn sign_in(
    auth: &Auth,
    (account, network): (&str, &str),
    (place, password, client): (Place, String, Client),
    origin: Origin,
) -> Result<PasswordRight, Refusal> {
    let holder = auth.log.claim_holder(&ClaimKey::email(account)).await.map_err(problem::of_load)?;
    let known: Option<UserId> = holder.and_then(|stream| stream.id().parse().ok());
    // Nobody has the nil id: an unknown address costs the same reads as a known one.
    let id = known.unwrap_or(UserId::new(Uuid::nil()));
    let mut place = Some(place);
    for _ in 0..COMPARISONS_MAX {
        let place = place.take().map_or_else(|| auth.passwords.enter(), Ok)?;
        let loaded = signed_in::load_user(auth, id).await?;
        let stored = loaded.state.password_hash.get().cloned();
        let verdict = auth.passwords.verify(place, password.clone(), stored.clone()).await?;
        let Verdict::Right { outdated } = verdict else { return Err(Refusal::credentials(known)) };
        if !loaded.state.is_active() {
            return Err(Refusal::suspended(id));
        }
        let come = if loaded.state.has_second_factor() {
            let wanted = factors::want_second_factor(auth, (id, &loaded.state), (account, network), client).await?;
            PasswordRight::SecondFactorWanted(wanted)
        } else {
            let show = |user: &User| show_password(user, stored.as_deref());
            match start_session(auth, id, loaded, show, &origin).await {
                Ok(started) => PasswordRight::Started(Box::new(started)),
                Err(refusal) if matches!(refusal.failure, Failure::Over) => continue,
                Err(refusal) => return Err(refusal),
            }
        };
        if outdated {
            tokio::spawn(upgrade_password(auth.clone(), id, password, stored));
        }
        return Ok(come);
    }
    Err(Refusal::over(race::lost()))
}

/// What a person has shown, on one state of theirs.
pub(super) struct Shown {
    /// How they proved who they are.
    pub(super) amr: Vec<AuthMethod>,
    /// What to append to their stream together with the session: what is good once is good no more.
    pub(super) events: Vec<UserEvent>,
}

/// A password that was verified is enough while its hash is still theirs, and while they have no second factor. Otherwise
/// nothing is known: it has to be compared with the other hash, or the factor to be asked for.
fn show_password(user: &User, verified: Option<&str>) -> Result<Shown, Refusal> {
    if user.password_hash.get().map(String::as_str) != verified || user.has_second_factor() {
        return Err(Refusal::over(race::lost()));
    }
    Ok(Shown { amr: vec![AuthMethod::Pwd], events: Vec::new() })
}

/// Starts a session of somebody who has shown who they are. What they have shown is looked at anew on every state that
/// the person may have changed to in the meantime: the append names the version of the person's stream.
///
/// # Errors
/// [`Refusal`] when they may not, or it is worth nothing any more.
pub(super) async fn start_session(
    auth: &Auth,
    id: UserId,
    mut user: Loaded<User>,
    show: impl Fn(&User) -> Result<Shown, Refusal>,
    origin: &Origin,
) -> Result<Started, Refusal> {
    let session_id = SessionId::new(ambient::new_id());
    let token = auth.refresh_key.first(session_id).map_err(|error| problem::of_defect(&error))?;
    let session = Loaded::<Session>::new_stream(StreamName::session(session_id));
    let command = StartSession {
        user_id: id,
        amr: Vec::new(),
        token_hash: token.hash(),
        ip: Some(origin.address.0.to_string()),
        agent: origin.agent.clone(),
        idle_ttl: auth.lifetimes.idle,
        absolute_ttl: auth.lifetimes.absolute,
        user_version: user.version,
    };
    for _ in 0..race::ATTEMPTS_MAX {
        let Shown { amr, events } = show(&user.state)?;
        let command = StartSession { amr, user_version: user.version, ..command.clone() };
        let started =
            session::start(&session.state, command, auth.clock.now()).map_err(|error| problem::of_defect(&error))?;
        let mut append = append_for(Actor::User(id), &origin.label);
        if events.is_empty() {
            append.guard(&user);
        } else {
            append.write(&user, events).map_err(problem::of_append)?;
        }
        let state = append.write(&session, started).map_err(problem::of_append)?;
        let given_way = sessions::make_room(auth, id, &mut append).await?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(_) => {
                given_way.note(auth);
                return Ok(Started { user: (id, user.state), session: (session_id, state), token });
            }
            Outcome::Again | Outcome::Taken => user = signed_in::load_user(auth, id).await?,
        }
        if !user.state.is_active() {
            return Err(Refusal::suspended(id));
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
    let Ok(events) = user::upgrade_password(&user.state, &hash) else { return };
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
