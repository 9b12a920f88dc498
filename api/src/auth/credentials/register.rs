//! `POST /auth/register`: an account for whoever can read the address's mail.
//!
//! Known or not, the answer and the work are the same: one hash, one look-up, one append. Whoever registers gets a person
//! of their own, whom nobody finds by address yet: the address becomes theirs with the link in the mail (`verify`), so
//! that an account that somebody else made in advance under an address is nobody's. The holder of a known address gets
//! a mail that says so.

use super::{
    ByMail, VERIFICATION_TTL, check_name, check_password, count, holder, may_mail, new_secret, no_sooner, of_hash,
};
use crate::{
    auth::{
        Auth,
        login::append_for,
        lookup::Email,
        race::{self, Outcome},
    },
    shared::{
        ambient::{self, Stopwatch},
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Accepted, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    User,
    user::{self, RegisterUser, RequestedCompany},
};
use kisum_events::{Actor, SecretPurpose, Slug, StreamName, UserEvent, UserId};
use kisum_log::Loaded;
use serde::Deserialize;
use utoipa::ToSchema;

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterBody {
    /// Their address.
    email: String,
    /// Their display name, 1 to 200 characters.
    name: String,
    /// Their password, 15 to 128 characters, not one that everybody tries first.
    password: String,
    /// A company to register with them, once the address is shown to be theirs.
    company: Option<CompanyBody>,
}

/// A company that somebody registers with themselves.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompanyBody {
    /// Its display name, 1 to 200 characters.
    name: String,
    /// Its name in `x-org`, `[a-z0-9-]{2,63}`.
    #[schema(value_type = String)]
    slug: Slug,
}

/// Asks for an account; what comes of it goes to the address.
#[utoipa::path(post, path = "/auth/register", tag = "credentials", request_body = RegisterBody,
    responses((status = 202, description = "The address gets a mail, whether it is known or not.",
        body = SuccessBody<ByMail>)))]
pub(super) async fn register(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<RegisterBody>,
) -> Result<Accepted<ByMail>, Problem> {
    let since = Stopwatch::start();
    let email =
        Email::parse(&body.email).ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
    check_name("name", &body.name)?;
    if let Some(company) = &body.company {
        check_name("company.name", &company.name)?;
    }
    check_password("password", &body.password, &[email.given(), &body.name])?;
    count(&auth, "register", &ClientIp(address).limit_key()).await?;
    let password_hash = auth.passwords.hash(body.password).await.map_err(of_hash)?;
    let account = auth.lookup.email(&email);
    if may_mail(&auth, "register", &account).await {
        let registration = RegisterUser {
            email: email.given().to_owned(),
            name: body.name,
            password_hash: Some(password_hash),
            authenticator: None,
        };
        let company = body.company.map(|CompanyBody { name, slug }| RequestedCompany { slug, name });
        append(&auth, &account, registration, company, &label).await?;
    }
    no_sooner(since).await;
    Ok(Accepted(ByMail {}))
}

async fn append(
    auth: &Auth,
    account: &str,
    registration: RegisterUser,
    company: Option<RequestedCompany>,
    label: &RequestLabel,
) -> Result<(), Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let (_, known) = holder(auth, account).await?;
        let mut append = append_for(Actor::System, label);
        if known.version > 0 {
            if !known.state.is_active() {
                return Ok(());
            }
            append.write(&known, vec![UserEvent::RegistrationAttempted]).map_err(problem::of_append)?;
        } else {
            let id = UserId::new(ambient::new_id());
            append = append_for(Actor::User(id), label);
            let new = Loaded::<User>::new_stream(StreamName::user(id));
            let secret = new_secret(auth, id, SecretPurpose::EmailVerification, VERIFICATION_TTL);
            let events = user::sign_up(&new.state, registration.clone(), company.clone(), secret)
                .map_err(|error| problem::of_defect(&error))?;
            append.write(&new, events).map_err(problem::of_append)?;
        }
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            tracing::info!(event = "registration.requested", "somebody wants an account");
            return Ok(());
        }
    }
    // Only a known address can lose races, and nobody is to see that.
    tracing::warn!("an attempt to register was not noted: the person keeps changing");
    Ok(())
}
