//! `POST /auth/login/second-factor`: the rest of a sign-in whose password was right.
//!
//! It owns what stands between the two steps: who it is about and of which state of theirs. Whatever ended the person's
//! sessions in between ends this sign-in too.

use super::{
    challenges::{LIVES, Purpose, Tried},
    passkeys::Asked,
    prove::{Method, Presented, prove},
};
use crate::{
    auth::{
        Auth,
        login::{self, Client, Origin, Refusal, Shown},
        signed_in::{self, SignedIn},
        tokens::IssueError,
    },
    shared::{
        extract::ApiJson,
        problem::{self, Problem},
        respond::SuccessBody,
    },
};
use axum::{extract::State, response::Response};
use kisum_domains::User;
use kisum_events::{AuthMethod, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What a client is told whose password was right and is not enough.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct SecondFactorWanted {
    /// Always true.
    mfa_required: bool,
    /// What to send back with the second factor; good for five attempts and one sign-in.
    challenge: String,
    /// What the person has.
    methods: Vec<Method>,
    /// Seconds until the challenge is good no more.
    expires_in: u64,
    /// Where a passkey is among the methods: the options for `navigator.credentials.get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    public_key: Option<Value>,
}

/// A sign-in between its two steps.
#[derive(Serialize, Deserialize)]
struct Begun {
    user: UserId,
    /// The account, as the limits know it.
    account: String,
    client: Client,
    /// The version that last ended the person's sessions, then.
    sessions_ended: u64,
    asked: Option<Asked>,
}

/// Begins the second step for somebody whose password was right.
///
/// # Errors
/// 429 when too many were begun; 503 when it cannot be kept.
pub(in crate::auth) async fn want_second_factor(
    auth: &Auth,
    (id, user): (UserId, &User),
    (account, network): (&str, &str),
    client: Client,
) -> Result<SecondFactorWanted, Problem> {
    let methods = Method::all_of(user);
    let mut public_key = None;
    let mut begun =
        Begun { user: id, account: account.to_owned(), client, sessions_ended: user.sessions_ended, asked: None };
    if methods.contains(&Method::Passkey) {
        let (options, asked) = auth.passkeys.ask(Some(user)).map_err(|error| problem::of_defect(&error))?;
        (public_key, begun.asked) = (Some(options), Some(asked));
    }
    // By network: whoever knows the password elsewhere uses up nothing of the person's own.
    let challenge = auth.challenges.begin_for(&format!("{id}:{network}"), Purpose::SecondFactor, &begun).await?;
    Ok(SecondFactorWanted { mfa_required: true, challenge, methods, expires_in: LIVES.as_secs(), public_key })
}

/// The second factor.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecondFactorBody {
    /// What login answered.
    challenge: String,
    /// Which of the person's methods.
    method: Method,
    /// The code, for `totp` and `recovery`.
    code: Option<String>,
    /// For `passkey`: what `navigator.credentials.get` answered, in its JSON form.
    #[schema(value_type = Option<Object>)]
    assertion: Option<Map<String, Value>>,
}

/// Finishes a sign-in with a second factor.
#[utoipa::path(post, path = "/auth/login/second-factor", tag = "sign-in", request_body = SecondFactorBody,
    responses((status = 200, description = "Signed in; a browser's refresh token stands in the cookie.",
        body = SuccessBody<SignedIn>)))]
pub(super) async fn second_factor(
    State(auth): State<Auth>,
    origin: Origin,
    ApiJson(body): ApiJson<SecondFactorBody>,
) -> Result<Response, Problem> {
    let presented = Presented::read(body.method, body.code, body.assertion)?;
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let tried = auth.challenges.attempt::<Begun>(Purpose::SecondFactor, &body.challenge).await?.ok_or_else(over)?;
    let network = origin.network();
    let attempt = auth.limiter.begin_second_factor(&tried.about.account, &network, presented.trial()).await;
    let attempt = attempt.map_err(login::limited)?;
    let outcome = finish(&auth, &tried, &presented, origin).await;
    login::conclude(&auth, outcome, (Some(&attempt), &network), tried.about.client).await
}

async fn finish(
    auth: &Auth,
    tried: &Tried<Begun>,
    presented: &Presented,
    origin: Origin,
) -> Result<login::Started, Refusal> {
    let begun = &tried.about;
    let loaded = signed_in::load_user(auth, begun.user).await?;
    let show = |user: &User| show(auth, begun, user, presented);
    // Looked at before the challenge is used up, so that a typing error costs an attempt and not the sign-in.
    if !loaded.state.is_active() {
        return Err(Refusal::suspended(begun.user));
    }
    show(&loaded.state)?;
    if !auth.challenges.use_up(tried).await? {
        return Err(Refusal::over(over()));
    }
    login::start_session(auth, begun.user, loaded, show, &origin).await
}

fn show(auth: &Auth, begun: &Begun, user: &User, presented: &Presented) -> Result<Shown, Refusal> {
    if user.sessions_ended != begun.sessions_ended {
        return Err(Refusal::over(over()));
    }
    let proved = prove(auth, (begun.user, user), presented, begun.asked.as_ref());
    let proved = proved.map_err(|_| Refusal::second_factor(begun.user))?;
    Ok(Shown { amr: vec![AuthMethod::Pwd, proved.method], events: proved.events })
}

/// Unknown, used, tried too often, or of before the person's sessions ended: one answer.
fn over() -> Problem {
    Problem::unauthorized("The sign-in is over; begin again with the password.")
}
