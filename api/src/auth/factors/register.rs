//! `POST /auth/passkeys/register/{options,finish}`: adding a passkey to one's factors.

use super::{
    challenges::Purpose,
    manage::{FactorAddedView, New, add, label, may_change, not_open},
    passkey_login::PasskeyOptions,
    passkeys::AskedToRegister,
    prove::note_refused,
};
use crate::{
    auth::{Auth, person::Person},
    shared::{
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Success, SuccessBody},
    },
};
use axum::{extract::State, response::IntoResponse};
use kisum_events::{FactorKind, FactorMaterial, SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A passkey to be added.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasskeyRegisterOptionsBody {
    /// The owner's name for it, at most 64 characters.
    #[serde(default)]
    label: String,
}

/// A passkey between its options and the authenticator's answer.
#[derive(Serialize, Deserialize)]
struct Begun {
    user: UserId,
    session: SessionId,
    label: String,
    asked: AskedToRegister,
}

/// Begins to add a passkey.
#[utoipa::path(post, path = "/auth/passkeys/register/options", tag = "factors",
    request_body = PasskeyRegisterOptionsBody, security(("bearer" = [])),
    responses((status = 200, description = "What to ask the authenticator.", body = SuccessBody<PasskeyOptions>)))]
pub(super) async fn passkey_register_options(
    State(auth): State<Auth>,
    person: Person,
    ApiJson(body): ApiJson<PasskeyRegisterOptionsBody>,
) -> Result<Success<PasskeyOptions>, Problem> {
    let label = label(body.label)?;
    let user = may_change(&auth, person).await?;
    let asked = auth.passkeys.ask_to_register(person.user, &user);
    let (options, asked) = asked.map_err(|error| problem::of_defect(&error))?;
    let begun = Begun { user: person.user, session: person.session, label, asked };
    let challenge = auth.challenges.begin_for(&person.user.to_string(), Purpose::PasskeyRegistration, &begun).await?;
    Ok(Success(PasskeyOptions::new(challenge, options)))
}

/// A new passkey.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasskeyRegisterBody {
    /// What came with the options.
    challenge: String,
    /// What `navigator.credentials.create` answered, in its JSON form.
    #[schema(value_type = Object)]
    credential: Map<String, Value>,
}

/// Adds a passkey. The caller's other sessions end.
#[utoipa::path(post, path = "/auth/passkeys/register/finish", tag = "factors", request_body = PasskeyRegisterBody,
    security(("bearer" = [])),
    responses((status = 201, description = "Added; with the first factor, recovery codes.",
        body = SuccessBody<FactorAddedView>)))]
pub(super) async fn passkey_register_finish(
    State(auth): State<Auth>,
    person: Person,
    request: RequestLabel,
    ApiJson(body): ApiJson<PasskeyRegisterBody>,
) -> Result<impl IntoResponse, Problem> {
    let tried = auth.challenges.attempt::<Begun>(Purpose::PasskeyRegistration, &body.challenge).await?;
    let tried = tried.filter(|it| (it.about.user, it.about.session) == (person.user, person.session));
    let tried = tried.ok_or_else(not_open)?;
    let secret = auth.passkeys.register(body.credential, &tried.about.asked).map_err(|error| {
        note_refused(&error);
        Problem::unprocessable("The passkey was not accepted.")
    })?;
    may_change(&auth, person).await?;
    if !auth.challenges.use_up(&tried).await? {
        return Err(not_open());
    }
    let material = FactorMaterial { label: tried.about.label, secret };
    add(&auth, person, New { kind: FactorKind::Passkey, material, used_step: None }, &request).await
}
