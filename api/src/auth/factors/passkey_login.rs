//! `POST /auth/passkeys/login/{options,finish}`: a passkey alone for a session.
//!
//! Nobody says who they are: the authenticator does, after it has verified its user, and the signature shows it.

use super::{
    challenges::{LIVES, Purpose, Tried},
    passkeys::Asked,
    prove::{Presented, prove, read_assertion},
};
use crate::{
    auth::{
        Auth,
        login::{self, Client, Origin, Refusal, Shown},
        signed_in::{self, SignedIn},
        tokens::IssueError,
    },
    shared::{
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::{extract::State, response::Response};
use kisum_domains::User;
use kisum_events::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What a browser asks its authenticators.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasskeyOptions {
    /// What to send back with the answer; good once.
    challenge: String,
    /// The options for `navigator.credentials`.
    #[schema(value_type = Object)]
    public_key: Value,
    /// Seconds until the challenge is good no more.
    expires_in: u64,
}

impl PasskeyOptions {
    /// Options under a challenge that has just begun.
    pub(super) const fn new(challenge: String, public_key: Value) -> Self {
        Self { challenge, public_key, expires_in: LIVES.as_secs() }
    }
}

/// Nothing to say: the authenticator knows who.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(super) struct PasskeyLoginOptionsBody {}

/// Begins a sign-in by passkey.
#[utoipa::path(post, path = "/auth/passkeys/login/options", tag = "sign-in", request_body = PasskeyLoginOptionsBody,
    responses((status = 200, description = "What to ask the authenticator.", body = SuccessBody<PasskeyOptions>)))]
pub(super) async fn passkey_login_options(
    State(auth): State<Auth>,
    address: ClientIp,
    ApiJson(_body): ApiJson<PasskeyLoginOptionsBody>,
) -> Result<Success<PasskeyOptions>, Problem> {
    pass(&auth, &address.limit_key()).await?;
    let (options, asked) = auth.passkeys.ask(None).map_err(|error| problem::of_defect(&error))?;
    let challenge = auth.challenges.begin(Purpose::PasskeyLogin, &asked).await?;
    Ok(Success(PasskeyOptions::new(challenge, options)))
}

/// A passkey's answer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasskeyLoginBody {
    /// What came with the options.
    challenge: String,
    /// What `navigator.credentials.get` answered, in its JSON form.
    #[schema(value_type = Object)]
    assertion: Map<String, Value>,
    /// What kind of client asks; a browser unless said otherwise.
    #[serde(default)]
    client: Client,
}

/// Finishes a sign-in by passkey.
#[utoipa::path(post, path = "/auth/passkeys/login/finish", tag = "sign-in", request_body = PasskeyLoginBody,
    responses((status = 200, description = "Signed in; a browser's refresh token stands in the cookie.",
        body = SuccessBody<SignedIn>)))]
pub(super) async fn passkey_login_finish(
    State(auth): State<Auth>,
    origin: Origin,
    ApiJson(body): ApiJson<PasskeyLoginBody>,
) -> Result<Response, Problem> {
    let assertion = read_assertion(body.assertion)?;
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let network = origin.network();
    pass(&auth, &network).await?;
    let tried = auth.challenges.attempt::<Asked>(Purpose::PasskeyLogin, &body.challenge).await?.ok_or_else(refused)?;
    let user = assertion.user().ok_or_else(refused)?;
    let presented = Presented::Passkey(Box::new(assertion));
    let outcome = finish(&auth, &tried, user, &presented, origin).await;
    login::conclude(&auth, outcome, (None, &network), body.client).await
}

async fn finish(
    auth: &Auth,
    tried: &Tried<Asked>,
    id: UserId,
    presented: &Presented,
    origin: Origin,
) -> Result<login::Started, Refusal> {
    let loaded = signed_in::load_user(auth, id).await?;
    let show = |user: &User| {
        let proved = prove(auth, (id, user), presented, Some(&tried.about)).map_err(|_| Refusal::passkey())?;
        Ok(Shown { amr: vec![proved.method], events: proved.events })
    };
    // Whoever has shown nothing is not told that an account is suspended.
    show(&loaded.state)?;
    if !loaded.state.is_active() {
        return Err(Refusal::suspended(id));
    }
    if !auth.challenges.use_up(tried).await? {
        return Err(Refusal::over(refused()));
    }
    login::start_session(auth, id, loaded, show, &origin).await
}

/// Nobody guesses a signature; what is limited is what one network may make the database keep and check.
async fn pass(auth: &Auth, network: &str) -> Result<(), Problem> {
    auth.limiter.pass_passkey(network).await.map_err(login::limited)
}

fn refused() -> Problem {
    Problem::unauthorized("The passkey was not accepted; begin again.")
}
