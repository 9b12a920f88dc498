//! `POST /auth/email/verify`: an address becomes the person's who registered with it.
//!
//! Several may have registered with one address, and all its mails read the same: the link shows who reads the mail, and the
//! password that it was they who registered. Without it whoever follows a stranger's link would open the account to the
//! password that the stranger chose. The claim lets one alone have the address. A company that they wanted is registered
//! in the same append, pending and theirs, unless its slug is taken.

use super::{
    append_by, count, named, not_good, of_secret,
    own_password::{Guesser, show_own_password},
    read_token,
};
use crate::{
    auth::{
        Auth,
        companies::{NewCompany, write_company},
        lookup::Email,
        race::{self, Outcome},
        tokens::MailedToken,
    },
    shared::{
        client_ip::ClientIp,
        extract::ApiJson,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    User,
    user::{self, PresentedSecret},
};
use kisum_events::{CompanyId, SecretPurpose};
use kisum_log::{Append, ClaimKey, Loaded, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a mail brought, and what only whoever registered knows.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyBody {
    /// The token behind the `#token=` of the link.
    token: String,
    /// The password that they registered with.
    password: String,
}

/// Whose address it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verified {
    /// The person.
    user_id: Uuid,
    /// The company that was registered with them, pending.
    company_id: Option<Uuid>,
    /// Whether they wanted a company whose slug is another's by now.
    slug_taken: bool,
}

/// Shows that an address is one's own, and that it was oneself who registered with it. From then on one can sign in.
#[utoipa::path(post, path = "/auth/email/verify", tag = "credentials", request_body = VerifyBody,
    responses((status = 200, description = "The address is the person's.", body = SuccessBody<Verified>)))]
pub(super) async fn verify(
    State(auth): State<Auth>,
    ClientIp(address): ClientIp,
    label: RequestLabel,
    ApiJson(body): ApiJson<VerifyBody>,
) -> Result<Receipted<Success<Verified>>, Problem> {
    let token = read_token(&body.token)?;
    let network = ClientIp(address).limit_key();
    count(&auth, "verify", &network).await?;
    let registered_with = check(&auth, &token, &network, body.password).await?;
    let (verified, receipt) = verify_once(&auth, (&token, &registered_with), &label).await?;
    tracing::info!(event = "email.verified", user_id = %token.user, "an address is somebody's");
    Ok(Receipted::new(Success(verified), &receipt))
}

/// Compares the password with the registration's own; answers with the hash it was compared with. Guesses are counted by
/// the registration: those at an account of the same address are another matter.
async fn check(auth: &Auth, token: &MailedToken, network: &str, password: String) -> Result<String, Problem> {
    let user = named(auth, token).await?;
    // Before anything is compared: who has no good secret costs no hash.
    user::find_secret(&user.state, &presented(token), auth.clock.now()).map_err(of_secret)?;
    let account = token.user.to_string();
    show_own_password(auth, &user.state, Guesser { account: &account, network }, password, wrong).await
}

fn presented(token: &MailedToken) -> PresentedSecret {
    token.presented(SecretPurpose::EmailVerification)
}

fn wrong() -> Problem {
    let message = "This is not the password of the registration that this link belongs to. Follow the latest link, or \
                   register again.";
    Problem::forbidden("wrong_password", message)
}

async fn verify_once(
    auth: &Auth,
    (token, registered_with): (&MailedToken, &str),
    label: &RequestLabel,
) -> Result<(Verified, Receipt), Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let user = named(auth, token).await?;
        let events = user::verify_email(&user.state, &presented(token), auth.clock.now()).map_err(of_secret)?;
        if user.state.password_hash.get().map(String::as_str) != Some(registered_with) {
            return Err(wrong());
        }
        let mut append = append_by(token, label);
        append.write(&user, events).map_err(problem::of_append)?;
        claim_address(auth, &user, &mut append).await?;
        let company = register_company(auth, token, &user.state, &mut append).await?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            let slug_taken = company.is_none() && user.state.requested_company.get().is_some();
            let company_id = company.map(CompanyId::uuid);
            return Ok((Verified { user_id: token.user.uuid(), company_id, slug_taken }, receipt));
        }
    }
    Err(race::lost())
}

/// Takes the address for the person, unless it is theirs.
async fn claim_address(auth: &Auth, user: &Loaded<User>, append: &mut Append) -> Result<(), Problem> {
    let email = user.state.email.get().and_then(|text| Email::parse(text)).ok_or_else(not_good)?;
    let claim = ClaimKey::email(&auth.lookup.email(&email));
    match auth.log.claim_holder(&claim).await.map_err(problem::of_load)? {
        None => append.claim(claim, &user.stream),
        Some(holder) if holder == user.stream => {}
        Some(_) => {
            let message = "This address has an account already. Sign in to it, or ask for a new password.";
            return Err(Problem::conflict("email_taken", message));
        }
    }
    Ok(())
}

/// Registers the company that they wanted, where its slug is free.
async fn register_company(
    auth: &Auth,
    token: &MailedToken,
    user: &User,
    append: &mut Append,
) -> Result<Option<CompanyId>, Problem> {
    let Some(requested) = user.requested_company.get().cloned() else { return Ok(None) };
    let claim = ClaimKey::slug(&requested.slug);
    if auth.log.claim_holder(&claim).await.map_err(problem::of_load)?.is_some() {
        return Ok(None);
    }
    let new = NewCompany { name: requested.name, slug: requested.slug, owner: token.user };
    let (id, _) = write_company(append, new)?;
    Ok(Some(id))
}
