//! `POST /auth/password/forgot`: a mail with which a new password can be set.

use super::{ByMail, RESET_TTL, count, holder, may_mail, new_secret, no_sooner};
use crate::{
    auth::{
        Auth,
        login::append_for,
        lookup::Email,
        race::{self, Outcome},
    },
    shared::{
        ambient::Stopwatch,
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Accepted, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::user;
use kisum_events::{Actor, SecretPurpose};
use serde::Deserialize;
use utoipa::ToSchema;

/// Whose password is forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForgotBody {
    /// Their address.
    email: String,
}

/// Sends a person a mail with which a new password can be set.
#[utoipa::path(post, path = "/auth/password/forgot", tag = "credentials", request_body = ForgotBody,
    responses((status = 202, description = "The address gets a mail if it has an account.",
        body = SuccessBody<ByMail>)))]
pub(super) async fn forgot(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<ForgotBody>,
) -> Result<Accepted<ByMail>, Problem> {
    let since = Stopwatch::start();
    let email =
        Email::parse(&body.email).ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
    count(&auth, "password-reset", &ClientIp(address).limit_key()).await?;
    let account = auth.lookup.email(&email);
    if may_mail(&auth, "password-reset", &account).await {
        issue(&auth, &account, &label).await?;
    }
    no_sooner(since).await;
    Ok(Accepted(ByMail {}))
}

/// Issues the secret; nothing to whoever is unknown or suspended.
async fn issue(auth: &Auth, account: &str, label: &RequestLabel) -> Result<(), Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let (id, user) = holder(auth, account).await?;
        let secret = new_secret(auth, id, SecretPurpose::PasswordReset, RESET_TTL);
        let Ok(events) = user::issue_secret(&user.state, secret) else { return Ok(()) };
        let mut append = append_for(Actor::System, label);
        append.write(&user, events).map_err(problem::of_append)?;
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            tracing::info!(event = "password.forgotten", user_id = %id, "a new password was asked for");
            return Ok(());
        }
    }
    // Only a known address can lose races, and nobody is to see that.
    tracing::warn!("no secret was issued: the person keeps changing");
    Ok(())
}
