//! People, as the platform's administration makes and finds them.

use crate::{
    auth::{
        Auth,
        companies::Sent,
        credentials::{check_name, check_password, of_hash},
        factors::is_totp_secret,
        lookup::Email,
        race::{self, Outcome},
    },
    shared::{
        ambient,
        caller::Caller,
        extract::ApiQuery,
        idempotency::ApiCommand,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    User,
    password::PasswordPolicy,
    user::{self, RegisterUser},
};
use kisum_events::{Actor, FactorId, FactorMaterial, StreamName, UserId};
use kisum_log::{ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Who is to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterUserBody {
    /// Their address, which nobody else has.
    email: String,
    /// Their display name, 1 to 200 characters.
    name: String,
    /// Their first password, 15 to 128 characters. Without one they cannot sign in until they have set one.
    password: Option<String>,
    /// The secret that their authenticator app holds already (base32, 16 to 64 bytes; RFC 6238 with SHA-1, 30 s, six
    /// digits): signing in takes its codes from the first time on. Only together with a password.
    totp_secret: Option<String>,
}

/// A person by id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserFound {
    /// Their id.
    user_id: Uuid,
}

/// An address to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ByEmailQuery {
    /// The address.
    email: String,
}

/// Registers somebody, with a first password and an authenticator app or without.
#[utoipa::path(post, path = "/internal/v1/users", tag = "administration", request_body = RegisterUserBody,
    responses((status = 201, description = "The person.", body = SuccessBody<UserFound>)))]
pub(super) async fn register(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    command: ApiCommand<RegisterUserBody>,
) -> Result<Receipted<Created<UserFound>>, Problem> {
    let email = email(&command.body.email)?;
    check(&command.body, &email)?;
    let account = auth.lookup.email(&email);
    let fingerprint = auth.lookup.fingerprint(&[&account, &command.body.name]);
    let password_hash = match command.body.password {
        Some(password) => Some(auth.passwords.hash(password).await.map_err(of_hash)?),
        None => None,
    };
    let id = UserId::new(ambient::new_id());
    let loaded = Loaded::<User>::new_stream(StreamName::user(id));
    let authenticator = command.body.totp_secret.map(|secret| {
        let material = FactorMaterial { label: String::new(), secret: secret.to_ascii_uppercase() };
        (FactorId::new(ambient::new_id()), material)
    });
    let registration =
        RegisterUser { email: email.given().to_owned(), name: command.body.name, password_hash, authenticator };
    let events = user::register(&loaded.state, registration).map_err(|error| problem::of_defect(&error))?;
    let sent = Sent { idempotency: command.idempotency, label };
    // The hash that is kept with the key must not be one of the password: it could be guessed from it.
    let mut append = sent.append(&Actor::Service(caller.service), None, "user.register").with_body_hash(fingerprint);
    append.claim(ClaimKey::email(&account), &loaded.stream);
    append.write(&loaded, events).map_err(problem::of_append)?;
    match race::settle(auth.append(append).await)? {
        Outcome::Done(receipt) => {
            let user_id = if receipt.duplicate { find(&auth, &email).await? } else { id.uuid() };
            Ok(Receipted::new(Created(UserFound { user_id }), &receipt))
        }
        Outcome::Taken => Err(Problem::conflict("email_taken", "This address is in use.")),
        Outcome::Again => Err(race::lost()),
    }
}

/// Finds a person by address.
#[utoipa::path(get, path = "/internal/v1/users/by-email", tag = "administration", params(ByEmailQuery),
    responses((status = 200, description = "The person.", body = SuccessBody<UserFound>)))]
pub(super) async fn by_email(
    State(auth): State<Auth>,
    ApiQuery(query): ApiQuery<ByEmailQuery>,
) -> Result<Success<UserFound>, Problem> {
    let user_id = find(&auth, &email(&query.email)?).await?;
    Ok(Success(UserFound { user_id }))
}

async fn find(auth: &Auth, email: &Email) -> Result<Uuid, Problem> {
    let claim = ClaimKey::email(&auth.lookup.email(email));
    let holder = auth.log.claim_holder(&claim).await.map_err(problem::of_load)?;
    holder.and_then(|stream| stream.id().parse().ok()).ok_or_else(|| Problem::not_found("Nobody has this address."))
}

fn email(text: &str) -> Result<Email, Problem> {
    Email::parse(text).ok_or_else(|| Problem::validation("The email is not an e-mail address."))
}

fn check(body: &RegisterUserBody, email: &Email) -> Result<(), Problem> {
    check_name("name", &body.name)?;
    if body.totp_secret.as_ref().is_some_and(|secret| body.password.is_none() || !is_totp_secret(secret)) {
        return Err(Problem::validation("The totpSecret is not 16 to 64 bytes in base32, or there is no password."));
    }
    match &body.password {
        Some(password) => {
            check_password("password", password, &[email.given(), &body.name], PasswordPolicy::SingleFactor)
        }
        None => Ok(()),
    }
}
