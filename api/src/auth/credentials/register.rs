//! `POST /auth/register`: an account for whoever can read the address's mail.
//!
//! Known or not, the answer and the work are the same: one hash, one look-up, one append. Whoever registers gets a person
//! of their own, whom nobody finds by address yet: the address becomes theirs with the link in the mail and the password
//! they chose (`verify`), so that an account that somebody else made in advance under an address is nobody's. The holder of a known address gets
//! a mail that says so.

use super::{
    ByMail, VERIFICATION_TTL, append_unseen, check_name, check_password, count, expiry, holder, may_mail, may_register,
    new_secret, no_sooner, of_hash, read_email,
};
use crate::{
    auth::{Auth, login::append_for},
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
    password::PasswordPolicy,
    user::{self, RegisterUser, RequestedCompany},
};
use kisum_events::{Actor, SecretPurpose, Slug, StreamName, UserEvent, UserId};
use kisum_log::{Append, Loaded};
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
    let email = read_email(&body.email)?;
    check_name("name", &body.name)?;
    if let Some(company) = &body.company {
        check_name("company.name", &company.name)?;
    }
    check_password("password", &body.password, &[email.given(), &body.name], PasswordPolicy::SingleFactor)?;
    let network = ClientIp(address).limit_key();
    count(&auth, "register", &network).await?;
    let password_hash = auth.passwords.hash(body.password).await.map_err(of_hash)?;
    // Behind the hash, which everybody waits for: while many do, it would use up the time that hides the rest.
    let since = Stopwatch::start();
    let account = auth.lookup.email(&email);
    if may_register(&auth, &account, &network).await {
        let registration = RegisterUser {
            email: email.given().to_owned(),
            name: body.name,
            password_hash: Some(password_hash),
            authenticator: None,
        };
        let company = body.company.map(|CompanyBody { name, slug }| RequestedCompany { slug, name });
        let wanted = (&registration, company.as_ref());
        if append_unseen(&auth, || decide(&auth, &account, wanted, &label)).await?.is_some() {
            tracing::info!(event = "registration.requested", "somebody wants an account");
        }
    }
    no_sooner(since).await;
    Ok(Accepted(ByMail {}))
}

/// What a registration appends: a person of its own, or to the holder of a known address that somebody tried.
async fn decide(
    auth: &Auth,
    account: &str,
    (registration, company): (&RegisterUser, Option<&RequestedCompany>),
    label: &RequestLabel,
) -> Result<Option<(UserId, Append)>, Problem> {
    let (holder, known) = holder(auth, account).await?;
    if known.version > 0 {
        if !known.state.is_active() || !may_mail(auth, "registration-attempted", account).await {
            return Ok(None);
        }
        let mut append = append_for(Actor::System, label);
        append.write(&known, vec![UserEvent::RegistrationAttempted]).map_err(problem::of_append)?;
        return Ok(Some((holder, append)));
    }
    let id = UserId::new(ambient::new_id());
    let new = Loaded::<User>::new_stream(StreamName::user(id));
    let secret = new_secret(auth, id, SecretPurpose::EmailVerification, VERIFICATION_TTL);
    expiry::note(auth, id, secret.expires_at).await?;
    let events = user::sign_up(&new.state, registration.clone(), company.cloned(), secret)
        .map_err(|error| problem::of_defect(&error))?;
    let mut append = append_for(Actor::User(id), label);
    append.write(&new, events).map_err(problem::of_append)?;
    Ok(Some((id, append)))
}
