//! `POST /auth/password/change`: another password for whoever knows the one they have.
//!
//! It ends every session of the person but the one that asks. Guesses at the former password count like failed sign-ins.

use super::{about, check_password, of_hash};
use crate::{
    auth::{
        Auth,
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
use kisum_domains::{Session, User, session, user};
use kisum_events::{PasswordCause, SessionEndCause, StreamName};
use kisum_log::{Append, Loaded, Receipt};
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
    let stored = verify(&auth, &user.state, &ClientIp(address).limit_key(), body.current_password).await?;
    let hash = auth.passwords.hash(body.new_password).await.map_err(of_hash)?;
    let receipt = set(&auth, person, (&stored, &hash), &label).await?;
    tracing::info!(event = "password.changed", "a password was changed");
    let stream = StreamName::session(person.session);
    let session: Loaded<Session> = auth.log.load(&stream).await.map_err(problem::of_load)?;
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

async fn set(
    auth: &Auth,
    person: Person,
    (verified, hash): (&str, &str),
    label: &RequestLabel,
) -> Result<Receipt, Problem> {
    for attempt in 0..race::ATTEMPTS_MAX {
        let user = signed_in::load_user(auth, person.user).await?;
        if user.state.password_hash.get().map(String::as_str) != Some(verified) {
            return Err(wrong());
        }
        let events = user::set_password(&user.state, hash, PasswordCause::Changed).map_err(|_| session_over(person))?;
        let mut append = append_for(person.actor(), label);
        append.write(&user, events).map_err(problem::of_append)?;
        let mut ended = None;
        if sessions::may_end_along(attempt) {
            let (keep, cause) = (Some(person.session), SessionEndCause::PasswordSet);
            ended = Some(sessions::end_all(auth, person.user, keep, cause, &mut append).await?);
        } else {
            keep(auth, person, &mut append).await?;
        }
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            if let Some(ended) = ended {
                ended.note(auth);
            }
            return Ok(receipt);
        }
    }
    Err(race::lost())
}

/// Keeps the session that asks, where the others are left to `stragglers`.
async fn keep(auth: &Auth, person: Person, append: &mut Append) -> Result<(), Problem> {
    let stream = StreamName::session(person.session);
    let kept: Loaded<Session> = auth.log.load(&stream).await.map_err(problem::of_load)?;
    let version = append.version_after(&StreamName::user(person.user)).unwrap_or_default();
    append.write(&kept, session::keep(&kept.state, version)).map(drop).map_err(problem::of_append)
}
