//! `POST /auth/password/reset`: a password for whoever reads the address's mail.
//!
//! It ends every session of the person and touches no factor: whoever has a second one is asked for it at the next
//! sign-in as before. Of two resets with one secret one wins: both are decided on one version of the person's stream.

use super::{about, append_by, check_password, count, named, of_hash, of_secret, read_token};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
        sessions,
        tokens::MailedToken,
    },
    shared::{
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{NoContent, Receipted},
    },
};
use axum::extract::State;
use kisum_domains::{
    password,
    user::{self, NewPassword},
};
use kisum_events::{SecretPurpose, SessionEndCause};
use kisum_log::Receipt;
use serde::Deserialize;
use utoipa::ToSchema;

/// What a mail brought, and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResetBody {
    /// The token behind the `#token=` of the link.
    token: String,
    /// The password, 15 to 128 characters, at least 8 for whoever has a second factor; not one that everybody tries first.
    password: String,
}

/// Sets a password with a mailed secret, and ends all sessions.
#[utoipa::path(post, path = "/auth/password/reset", tag = "credentials", request_body = ResetBody,
    responses((status = 204, description = "The password is set; sign in with it.")))]
pub(super) async fn reset(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<ResetBody>,
) -> Result<Receipted<NoContent>, Problem> {
    let token = read_token(&body.token)?;
    count(&auth, "password-reset", &ClientIp(address).limit_key()).await?;
    let user = named(&auth, &token).await?;
    let presented = token.presented(SecretPurpose::PasswordReset);
    // Before anything is hashed: who has no good secret costs no hash.
    user::find_secret(&user.state, &presented, auth.clock.now()).map_err(of_secret)?;
    check_password("password", &body.password, &about(&user.state), user.state.password_policy())?;
    let beside_factor = !password::may_stand_alone(&body.password);
    let hash = auth.passwords.hash(body.password).await.map_err(of_hash)?;
    let receipt = set(&auth, &token, NewPassword { hash: &hash, beside_factor }, &label).await?;
    tracing::info!(event = "password.reset", user_id = %token.user, "a password was reset");
    Ok(Receipted::new(NoContent, &receipt))
}

async fn set(
    auth: &Auth,
    token: &MailedToken,
    password: NewPassword<'_>,
    label: &RequestLabel,
) -> Result<Receipt, Problem> {
    let presented = token.presented(SecretPurpose::PasswordReset);
    for attempt in 0..race::ATTEMPTS_MAX {
        let user = named(auth, token).await?;
        let events = user::reset_password(&user.state, &presented, password, auth.clock.now()).map_err(of_secret)?;
        let mut append = append_by(token, label);
        append.write(&user, events).map_err(problem::of_append)?;
        let mut ended = None;
        if sessions::may_end_along(attempt) {
            let cause = SessionEndCause::PasswordSet;
            ended = Some(sessions::end_all(auth, token.user, None, cause, &mut append).await?);
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
