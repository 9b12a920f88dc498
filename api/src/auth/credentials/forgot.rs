//! `POST /auth/password/forgot`: a mail with which a new password can be set.

use super::{ByMail, RESET_TTL, append_unseen, count, holder, may_mail, new_secret, no_sooner, read_email};
use crate::{
    auth::{Auth, login::append_for},
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
use kisum_events::{Actor, SecretPurpose, UserId};
use kisum_log::Append;
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
    let email = read_email(&body.email)?;
    count(&auth, "password-reset", &ClientIp(address).limit_key()).await?;
    let since = Stopwatch::start();
    let account = auth.lookup.email(&email);
    if may_mail(&auth, "password-reset", &account).await
        && let Some(id) = append_unseen(&auth, || issue(&auth, &account, &label)).await?
    {
        tracing::info!(event = "password.forgotten", user_id = %id, "a new password was asked for");
    }
    no_sooner(since).await;
    Ok(Accepted(ByMail {}))
}

/// Issues the secret; nothing to whoever is unknown or suspended.
async fn issue(auth: &Auth, account: &str, label: &RequestLabel) -> Result<Option<(UserId, Append)>, Problem> {
    let (id, user) = holder(auth, account).await?;
    let secret = new_secret(auth, id, SecretPurpose::PasswordReset, RESET_TTL);
    let Ok(events) = user::issue_secret(&user.state, secret) else { return Ok(None) };
    let mut append = append_for(Actor::System, label);
    append.write(&user, events).map_err(problem::of_append)?;
    Ok(Some((id, append)))
}
