//! How somebody comes by an account and a password, and by a new one: registering, showing that an address is theirs,
//! forgetting, resetting, changing.
//!
//! It owns what these commands have in common: how often, how long a mailed secret is good, and that an answer shows
//! nobody whether an address is known. Rules stand in `kisum_domains::{user, password}`; what is mailed follows from the
//! events (`mail`). Whoever registered and did not verify is erased (`expiry`).

mod change;
mod expiry;
mod forgot;
mod own_password;
mod register;
mod reset;
mod verify;

pub(super) use expiry::erase_unverified;

use super::{
    Auth,
    limiter::Limit,
    login::append_for,
    lookup::Email,
    passwords::HashError,
    race::{self, Outcome},
    signed_in,
    tokens::MailedToken,
};
use crate::shared::{
    ambient::{self, Stopwatch},
    problem::{self, Problem, reason},
    request_label::RequestLabel,
};
use kisum_domains::{
    User,
    password::{self, PasswordPolicy},
    user::{IssueSecret, UseSecretError},
};
use kisum_events::{Actor, SecretId, SecretPurpose, StreamName, UserId};
use kisum_log::{Append, ClaimKey, Loaded};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// How long the secret is good that shows an address to be somebody's.
const VERIFICATION_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long the secret is good that sets a password.
const RESET_TTL: Duration = Duration::from_secs(3600);
/// Mails that one address may be sent on somebody's asking within a window. All secrets of one window are good at the same
/// time (`LIVE_SECRETS_MAX`), so whoever asks in a victim's name keeps nothing from them.
const ADDRESS: Limit = Limit { max: 5, window_s: 3600 };
/// Registrations with one address from one network within a window: a stranger elsewhere uses up nobody's.
const REGISTRATIONS: Limit = Limit { max: 5, window_s: 3600 };
/// Registrations with one address from all networks together within a window: what keeps a mailbox from being flooded.
const REGISTRATIONS_EVERYWHERE: Limit = Limit { max: 60, window_s: 3600 };
/// Requests about mailed secrets from one network within a window.
const NETWORK: Limit = Limit { max: 300, window_s: 60 };
/// An answer that must not show whether an address is known comes no sooner than this after its request: longer than
/// the work takes that only a known address makes (security 5).
const ANSWER_MIN: Duration = Duration::from_millis(150);
/// Characters of a name.
const NAME_CHARS_MAX: usize = 200;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(register::register))
        .routes(routes!(verify::verify))
        .routes(routes!(forgot::forgot))
        .routes(routes!(reset::reset))
        .routes(routes!(change::change))
}

/// Nothing: whatever came of it goes by mail.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct ByMail {}

/// Reads the field `email`.
///
/// # Errors
/// 400 when it is no address.
pub(super) fn read_email(text: &str) -> Result<Email, Problem> {
    Email::parse(text).ok_or_else(|| Problem::validation("The field email is not an e-mail address."))
}

/// Appends what is decided on an address's holder, as often as others are faster. Answers about whom, where there was
/// anything to append. Only a known address can lose races, and nobody is to see that: who loses all is answered the same.
async fn append_unseen<Deciding>(auth: &Auth, decide: impl Fn() -> Deciding) -> Result<Option<UserId>, Problem>
where
    Deciding: Future<Output = Result<Option<(UserId, Append)>, Problem>>,
{
    for _ in 0..race::ATTEMPTS_MAX {
        let Some((person, append)) = decide().await? else { return Ok(None) };
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            return Ok(Some(person));
        }
    }
    tracing::warn!("nothing was appended for an address: its person keeps changing");
    Ok(None)
}

/// Counts a request of a network, or refuses it.
async fn count(auth: &Auth, what: &str, network: &str) -> Result<(), Problem> {
    let counted = auth.limits.allow(&format!("ratelimit:{what}:ip:{network}"), NETWORK).await;
    counted.map_err(|limited| Problem::rate_limited(limited.retry_after_s))
}

/// Whether an address may be sent one more mail. Nobody is told: the answer is the same.
async fn may_mail(auth: &Auth, what: &str, account: &str) -> bool {
    auth.limits.allow(&format!("ratelimit:{what}:{account}"), ADDRESS).await.is_ok()
}

/// Whether somebody may register with an address once more from there. Nobody is told: the answer is the same.
async fn may_register(auth: &Auth, account: &str, network: &str) -> bool {
    let here = format!("ratelimit:register:{account}:{network}");
    // A network that is over its own limit uses up nothing of the others'.
    auth.limits.allow(&here, REGISTRATIONS).await.is_ok()
        && auth.limits.allow(&format!("ratelimit:register:{account}"), REGISTRATIONS_EVERYWHERE).await.is_ok()
}

/// The person who holds an address. Nobody has the nil id: an unknown address costs the same reads as a known one.
async fn holder(auth: &Auth, account: &str) -> Result<(UserId, Loaded<User>), Problem> {
    let holder = auth.log.claim_holder(&ClaimKey::email(account)).await.map_err(problem::of_load)?;
    let id = holder.and_then(|stream| stream.id().parse().ok()).unwrap_or(UserId::new(Uuid::nil()));
    Ok((id, signed_in::load_user(auth, id).await?))
}

/// Waits until the shortest time for an answer has passed.
async fn no_sooner(since: Stopwatch) {
    tokio::time::sleep(ANSWER_MIN.saturating_sub(since.elapsed())).await;
}

/// A new secret for a person, as the event keeps it.
fn new_secret(auth: &Auth, user: UserId, purpose: SecretPurpose, ttl: Duration) -> IssueSecret {
    let id = SecretId::new(ambient::new_id());
    let hash = auth.mailed_key.token(user, id, purpose).hash();
    IssueSecret { id, purpose, hash, expires_at: auth.clock.now().plus(ttl) }
}

/// An append by the person whom a mailed secret names.
fn append_by(token: &MailedToken, label: &RequestLabel) -> Append {
    append_for(Actor::User(token.user), label)
}

/// Loads the person whom a mailed secret names.
async fn named(auth: &Auth, token: &MailedToken) -> Result<Loaded<User>, Problem> {
    auth.log.load(&StreamName::user(token.user)).await.map_err(problem::of_load)
}

/// Reads a mailed secret; a text that cannot be one is refused like one that is good for nothing.
fn read_token(text: &str) -> Result<MailedToken, Problem> {
    text.parse().map_err(|_| not_good())
}

fn not_good() -> Problem {
    Problem::conflict("token_not_good", "This link was used or is too old. Ask for a new one.")
}

fn of_secret(error: UseSecretError) -> Problem {
    match error {
        UseSecretError::NotGood => not_good(),
        UseSecretError::PasswordTooShort => too_short(),
        UseSecretError::Suspended => Problem::forbidden(reason::SUSPENDED, "This account is suspended."),
    }
}

/// Checks a password that is to be set, beside a second factor or as the only one.
///
/// # Errors
/// 400 with the reason.
pub(super) fn check_password(
    field: &str,
    password: &str,
    about: &[&str],
    policy: PasswordPolicy,
) -> Result<(), Problem> {
    password::check(password, about, policy)
        .map_err(|refused| Problem::validation(format!("The field {field} is not good: {refused}.")))
}

/// The last second factor was removed while a password was being set that is good beside one alone.
fn too_short() -> Problem {
    Problem::validation("The password is too short where there is no second factor.")
}

/// What belongs to a person and makes no password.
fn about(state: &User) -> [&str; 2] {
    [state.email.get(), state.name.get()].map(|text| text.map(String::as_str).unwrap_or_default())
}

/// Checks a name, of a person or a company.
///
/// # Errors
/// 400, naming the field.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.trim().is_empty();
    if fits {
        Ok(())
    } else {
        Err(Problem::validation(format!("The field {field} does not have 1 to {NAME_CHARS_MAX} characters.")))
    }
}

/// Why a password was not hashed or compared.
pub(super) fn of_hash(error: HashError) -> Problem {
    match error {
        HashError::Overloaded => Problem::unavailable("Too many passwords are hashed at the moment; try again."),
        HashError::Failed(_) => problem::of_defect(&error),
    }
}
