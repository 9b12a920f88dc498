//! `POST /auth/password/change`: another password for whoever knows the one they have.
//!
//! It ends every session of the person but the one that asks. Guesses at the former password count like failed sign-ins.

use super::{about, check_password, of_hash};
use crate::{
    auth::{
        Auth,
        factors::step_up::load_session,
        login::append_for,
        lookup::Email,
        passwords::Verdict,
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
use kisum_domains::{User, session, user};
use kisum_events::{PasswordCause, SessionEndCause};
use kisum_log::Receipt;
use serde::Deserialize;
use utoipa::ToSchema;

/// The former password and the next.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeBody {
    /// The password that they have.
    current_password: String,
    /// The one they want, 15 to 128 characters, not one that everybody tries first.
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
    check_password("newPassword", &body.new_password, &about(&user.state))?;
    let network = ClientIp(address).limit_key();
    let stored = verify(&auth, &user.state, &network, body.current_password.clone()).await?;
    let hash = auth.passwords.hash(body.new_password).await.map_err(of_hash)?;
    let receipt = match set(&auth, person, (&stored, &hash), &label).await? {
        Some(receipt) => receipt,
        // Another hash meanwhile, maybe of the same password: a sign-in hashes one with today's parameters.
        None => {
            let user = signed_in::load_user(&auth, person.user).await?;
            let stored = verify(&auth, &user.state, &network, body.current_password).await?;
            set(&auth, person, (&stored, &hash), &label).await?.ok_or_else(race::lost)?
        }
    };
    tracing::info!(event = "password.changed", "a password was changed");
    let session = load_session(&auth, person.session).await?;
    let fresh = signed_in::fresh_token(&auth, person.user, (person.session, &session.state))?;
    Ok(Receipted::new(fresh, &receipt).into_response())
}

/// Compares the password that somebody says they have; answers with the hash it was compared with.
async fn verify(auth: &Auth, user: &User, network: &str, password: String) -> Result<String, Problem> {
    let email = user.email.get().and_then(|text| Email::parse(text));
    let account = email.map(|email| auth.lookup.email(&email)).unwrap_or_default();
    let attempt = auth.limiter.begin(&account, network).await;
    let attempt = attempt.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
    let stored = user.password_hash.get().cloned();
    match auth.passwords.verify(password, stored.clone()).await {
        Ok(Verdict::Wrong) => Err(wrong()),
        Ok(Verdict::Right { outdated: _ }) => {
            auth.limiter.take_back(&attempt).await;
            stored.ok_or_else(wrong)
        }
        Err(error) => {
            auth.limiter.take_back(&attempt).await;
            Err(of_hash(error))
        }
    }
}

fn wrong() -> Problem {
    Problem::forbidden("wrong_password", "The current password is another.")
}

/// Sets the password's hash; nothing where the hash that was verified is not the person's any more.
async fn set(
    auth: &Auth,
    person: Person,
    (verified, hash): (&str, &str),
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
        let events = user::set_password(&user.state, hash, PasswordCause::Changed).map_err(|_| session_over(person))?;
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
