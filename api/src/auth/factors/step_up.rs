//! `POST /auth/step-up`: proving again who one is, for what is sensitive; and the check in front of that.

use super::{
    challenges::{Purpose, Tried},
    passkey_login::PasskeyOptions,
    passkeys::Asked,
    prove::{Method, Presented, Proved, prove},
};
use crate::{
    auth::{
        Auth,
        login::append_for,
        person::{self, Person},
        race::{self, Outcome},
        signed_in,
        tokens::IssueError,
    },
    shared::{
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem, reason},
        request_label::RequestLabel,
        respond::{Success, SuccessBody},
    },
};
use axum::{
    extract::{FromRequestParts, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header, request::Parts};
use kisum_domains::{
    Session,
    session::{self, Assurance},
};
use kisum_events::{SessionId, StreamName};
use kisum_log::Loaded;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A person whose session has proved with a second factor, at most ten minutes ago, who they are. The session's state
/// says so, not the token: a token may be older than what has happened to its session.
#[derive(Clone, Copy, Debug)]
pub(in crate::auth) struct SteppedUp(pub(in crate::auth) Person);

impl FromRequestParts<Auth> for SteppedUp {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let person = Person::from_request_parts(parts, auth).await?;
        require_step_up(auth, person).await.map(|()| Self(person))
    }
}

/// The same check of a person who came by another way than a request's own token.
///
/// # Errors
/// 403 `step_up_required`; 503 when the log cannot be read.
pub(in crate::auth) async fn require_step_up(auth: &Auth, person: Person) -> Result<(), Problem> {
    let session = load_session(auth, person.session).await?;
    let is_enough = assurance(&session, person.session).is_stepped_up(auth.clock.now());
    if is_enough { Ok(()) } else { Err(step_up_required()) }
}

/// What a session is worth now.
pub(super) fn assurance(loaded: &Loaded<Session>, id: SessionId) -> Assurance {
    loaded.state.assurance(signed_in::started_at(id))
}

/// Loads a session.
///
/// # Errors
/// 503 when the log cannot be read.
pub(in crate::auth) async fn load_session(auth: &Auth, id: SessionId) -> Result<Loaded<Session>, Problem> {
    auth.log.load(&StreamName::session(id)).await.map_err(problem::of_load)
}

/// What somebody is told who has to prove again who they are.
pub(super) fn step_up_required() -> Problem {
    person::denied(reason::STEP_UP_REQUIRED, "Prove again who you are, and repeat this within ten minutes.")
}

/// What a person can step up with.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepUpOptions {
    /// What the person has.
    methods: Vec<Method>,
    /// What to ask the authenticator, where a passkey is among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<PasskeyOptions>,
}

/// A passkey that was asked for, by which session.
#[derive(Serialize, Deserialize)]
struct Begun {
    session: SessionId,
    asked: Asked,
}

/// Nothing to say: the caller is who the access token names.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(super) struct StepUpOptionsBody {}

/// Says what the caller can step up with, and begins that of a passkey.
#[utoipa::path(post, path = "/auth/step-up/options", tag = "factors", request_body = StepUpOptionsBody,
    security(("bearer" = [])),
    responses((status = 200, description = "What the person has.", body = SuccessBody<StepUpOptions>)))]
pub(super) async fn step_up_options(
    State(auth): State<Auth>,
    person: Person,
    ApiJson(_body): ApiJson<StepUpOptionsBody>,
) -> Result<Success<StepUpOptions>, Problem> {
    let user = signed_in::load_user(&auth, person.user).await?.state;
    let methods = Method::all_of(&user);
    let mut passkey = None;
    if methods.contains(&Method::Passkey) {
        let (options, asked) = auth.passkeys.ask(Some(&user)).map_err(|error| problem::of_defect(&error))?;
        let begun = Begun { session: person.session, asked };
        let challenge = auth.challenges.begin_for(&person.user.to_string(), Purpose::StepUp, &begun).await?;
        passkey = Some(PasskeyOptions::new(challenge, options));
    }
    Ok(Success(StepUpOptions { methods, passkey }))
}

/// A second factor, once more.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepUpBody {
    /// Which of the person's methods.
    method: Method,
    /// The code, for `totp` and `recovery`.
    code: Option<String>,
    /// For `passkey`: what came with the options.
    challenge: Option<String>,
    /// For `passkey`: what `navigator.credentials.get` answered, in its JSON form.
    #[schema(value_type = Option<Object>)]
    assertion: Option<Map<String, Value>>,
}

/// A new access token of the same session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SteppedUpView {
    /// A signed JWT with `acr` `aal2` and a fresh `auth_time`.
    access_token: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// Always `Bearer`.
    token_type: &'static str,
}

/// Proves again who the caller is.
#[utoipa::path(post, path = "/auth/step-up", tag = "factors", request_body = StepUpBody, security(("bearer" = [])),
    responses((status = 200, description = "A new access token.", body = SuccessBody<SteppedUpView>)))]
pub(super) async fn step_up(
    State(auth): State<Auth>,
    person: Person,
    address: ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<StepUpBody>,
) -> Result<Response, Problem> {
    let presented = Presented::read(body.method, body.code, body.assertion)?;
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let tried = match (&presented, &body.challenge) {
        (Presented::Passkey(_), Some(challenge)) => {
            let tried = auth.challenges.attempt::<Begun>(Purpose::StepUp, challenge).await?;
            Some(tried.filter(|tried| tried.about.session == person.session).ok_or_else(refused)?)
        }
        (Presented::Totp(_) | Presented::Recovery(_), None) => None,
        _ => return Err(Problem::validation("A passkey, and nothing else, takes the field challenge.")),
    };
    // Whoever holds somebody's session guesses at their code no faster than at sign-in, and not besides.
    let user = signed_in::load_user(&auth, person.user).await?;
    let account = signed_in::account(&auth, person.user, &user.state);
    let attempt = auth.limiter.begin_second_factor(&account, &address.limit_key(), presented.trial()).await;
    let attempt = attempt.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
    let outcome = append(&auth, person, &presented, tried.as_ref(), &label).await;
    match outcome {
        Ok(Some(session)) => {
            // From now on nobody elsewhere can use up what this network may try.
            auth.limiter.succeeded(&attempt).await;
            tracing::info!(event = "session.stepped_up", user_id = %person.user, session_id = %person.session, "stepped up");
            respond(&auth, person, &session)
        }
        // What was wrong stays counted.
        Ok(None) => Err(refused()),
        Err(problem) => {
            auth.limiter.take_back(&attempt).await;
            Err(problem)
        }
    }
}

/// Appends what was proved; nothing where it was not.
async fn append(
    auth: &Auth,
    person: Person,
    presented: &Presented,
    tried: Option<&Tried<Begun>>,
    label: &RequestLabel,
) -> Result<Option<Session>, Problem> {
    let asked = tried.map(|tried| &tried.about.asked);
    let mut is_used = false;
    for _ in 0..race::ATTEMPTS_MAX {
        let user = signed_in::load_user(auth, person.user).await?;
        let session = load_session(auth, person.session).await?;
        let now = auth.clock.now();
        if !session::is_signed_in(&session.state, (person.user, &user.state), now) {
            return Err(person::session_over(person));
        }
        let proved = prove(auth, (person.user, &user.state), presented, asked);
        let Ok(Proved { method, events }) = proved else { return Ok(None) };
        if let Some(tried) = tried.filter(|_| !is_used) {
            if !auth.challenges.use_up(tried).await? {
                return Ok(None);
            }
            is_used = true;
        }
        let stepped = session::step_up(&session.state, vec![method], now).map_err(|_| person::session_over(person))?;
        let mut append = append_for(person.actor(), label);
        if events.is_empty() {
            append.guard(&user);
        } else {
            append.write(&user, events).map_err(problem::of_append)?;
        }
        let state = append.write(&session, stepped).map_err(problem::of_append)?;
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            return Ok(Some(state));
        }
    }
    Err(race::lost())
}

fn respond(auth: &Auth, person: Person, session: &Session) -> Result<Response, Problem> {
    let (access_token, lives) = signed_in::issue(auth, person.user, (person.session, session))?;
    let body = SteppedUpView { access_token, expires_in: lives.as_secs(), token_type: "Bearer" };
    let mut response = Success(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A 403, not a 401: the access token is good, and signing in again would not help.
fn refused() -> Problem {
    person::denied(reason::STEP_UP_REQUIRED, "The second factor was not accepted.")
}
