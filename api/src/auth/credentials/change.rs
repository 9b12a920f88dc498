//! `POST /auth/password/change`: another password for whoever knows the one they have.
//!
//! It ends every session of the person but the one that asks. Guesses at the former password count like failed sign-ins.

use super::{
    about, check_password, of_hash,
    own_password::{Guesser, show_own_password},
    too_short,
};
use crate::{
    auth::{
        Auth,
        factors::step_up::load_session,
        login::append_for,
        person::{Person, session_over},
        race::{self, Outcome},
        sessions,
        signed_in::{self, FreshToken},
    },
    shared::{
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Receipted, SuccessBody},
    },
};
use axum::response::IntoResponse as _;
use axum::{extract::State, response::Response};
use kisum_domains::{
    User, password, session,
    user::{self, NewPassword, SetPasswordError},
};
use kisum_events::{PasswordCause, SessionEndCause, SigninFailure, UserId};
use kisum_log::Receipt;
use serde::Deserialize;
use utoipa::ToSchema;

/// The former password and the next.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeBody {
    /// The password that they have.
    current_password: String,
    /// The one they want, 15 to 128 characters, at least 8 for whoever has a second factor; not one that everybody tries
    /// first.
    new_password: String,
}

/// Changes one's own password, and ends all other sessions. This one goes on with a new access token.
#[utoipa::path(post, path = "/auth/password/change", tag = "credentials", request_body = ChangeBody,
    security(("bearer" = [])),
    responses((status = 200, description = "The password is another; an access token of the session that goes on.",
        body = SuccessBody<FreshToken>)))]
pub(super) async fn change(
    State(auth): State<Auth>,
    person: Person,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<ChangeBody>,
) -> Result<Response, Problem> {
    let user = signed_in::load_user(&auth, person.user).await?;
    check_password("newPassword", &body.new_password, &about(&user.state), user.state.password_policy())?;
    let beside_factor = !password::may_stand_alone(&body.new_password);
    let network = ClientIp(address).limit_key();
    let stored = verify(&auth, (person.user, &user.state), &network, body.current_password.clone()).await?;
    let hash = auth.passwords.hash(body.new_password).await.map_err(of_hash)?;
    let wanted = NewPassword { hash: &hash, beside_factor };
    let receipt = match set(&auth, person, (&stored, wanted), &label).await? {
        Some(receipt) => receipt,
        // Another hash meanwhile, maybe of the same password: a sign-in hashes one with today's parameters.
        None => {
            let user = signed_in::load_user(&auth, person.user).await?;
            let stored = verify(&auth, (person.user, &user.state), &network, body.current_password).await?;
            set(&auth, person, (&stored, wanted), &label).await?.ok_or_else(race::lost)?
        }
    };
    tracing::info!(event = "password.changed", "a password was changed");
    let session = load_session(&auth, person.session).await?;
    let fresh = signed_in::fresh_token(&auth, person.user, (person.session, &session.state))?;
    Ok(Receipted::new(fresh, &receipt).into_response())
}

/// Compares the password that somebody says they have; answers with the hash it was compared with.
async fn verify(auth: &Auth, (id, user): (UserId, &User), network: &str, password: String) -> Result<String, Problem> {
    let account = signed_in::account(auth, id, user);
    let shown = show_own_password(auth, user, Guesser { account: &account, network }, password, wrong).await;
    if shown.as_ref().is_err_and(|problem| problem.reason == wrong().reason) {
        auth.failed_signins.note(id, network, SigninFailure::Credentials, auth.clock.now());
    }
    shown
}

fn refused(error: SetPasswordError, person: Person) -> Problem {
    match error {
        SetPasswordError::TooShort => too_short(),
        SetPasswordError::Unknown | SetPasswordError::Suspended => session_over(person),
    }
}

fn wrong() -> Problem {
    Problem::forbidden("wrong_password", "The current password is another.")
}

/// Sets the password's hash; nothing where the hash that was verified is not the person's any more.
async fn set(
    auth: &Auth,
    person: Person,
    (verified, password): (&str, NewPassword<'_>),
    label: &RequestLabel,
) -> Result<Option<Receipt>, Problem> {
    for attempt in 0..race::ATTEMPTS_MAX {
        let user = signed_in::load_user(auth, person.user).await?;
        let session = load_session(auth, person.session).await?;
        // Hashing takes its time, and somebody may have ended this very session meanwhile.
        if !session::is_signed_in(&session.state, (person.user, &user.state), auth.clock.now()) {
            return Err(session_over(person));
        }
        if user.state.password_hash.get().map(String::as_str) != Some(verified) {
            return Ok(None);
        }
        let events = user::set_password(&user.state, password, PasswordCause::Changed);
        let events = events.map_err(|error| refused(error, person))?;
        let mut append = append_for(person.actor(), label);
        append.write(&user, events).map_err(problem::of_append)?;
        let mut ended = None;
        if sessions::may_end_along(attempt) {
            let (kept, cause) = (Some(person.session), SessionEndCause::PasswordSet);
            ended = Some(sessions::end_all(auth, person.user, kept, cause, &mut append).await?);
        }
        sessions::keep(&mut append, &session, &user).map_err(problem::of_append)?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            if let Some(ended) = ended {
                ended.note(auth);
            }
            return Ok(Some(receipt));
        }
    }
    Err(race::lost())
}
