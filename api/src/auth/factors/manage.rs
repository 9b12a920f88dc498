//! `GET|POST|DELETE /auth/factors`, `POST /auth/factors/totp`, `POST /auth/recovery-codes`: a person's own factors.
//!
//! It owns what every change of factors has in common: the session must be worth it, and all others end in the same
//! append.

use super::{
    challenges::{LIVES, Purpose},
    recovery::RecoveryCodes,
    step_up::{SteppedUp, assurance, load_session, step_up_required},
    totp,
};
use crate::{
    auth::{
        Auth,
        login::append_for,
        person::{self, Person},
        race::{self, Outcome},
        sessions, signed_in,
    },
    shared::{
        ambient,
        extract::{ApiJson, ApiPath},
        problem::{self, Problem, reason},
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::{extract::State, response::IntoResponse};
use http::{HeaderValue, header};
use kisum_domains::{
    User,
    session::{self, Assurance},
    user::{self, AddFactor, ChangeFactorsError},
};
use kisum_events::{FactorId, FactorKind, FactorMaterial, SessionEndCause, SessionId, Timestamp, UserEvent, UserId};
use kisum_log::Receipt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a factor's name.
const LABEL_CHARS_MAX: usize = 64;

/// A person's second factors.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FactorsView {
    /// In the order in which they were added; at most ten.
    factors: Vec<FactorView>,
    /// Recovery codes that were not used yet.
    recovery_codes_left: usize,
}

/// A second factor.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FactorView {
    /// Its id.
    id: Uuid,
    /// What kind.
    kind: FactorKindView,
    /// Its owner's name for it.
    label: String,
}

/// What kind of factor.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FactorKindView {
    /// An app that shows codes.
    Totp,
    /// A passkey.
    Passkey,
}

/// A factor that was added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FactorAddedView {
    /// The factor.
    factor: FactorView,
    /// With the first factor: ten codes that are shown this once. Each is good once.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// Fresh recovery codes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecoveryCodesView {
    /// Ten codes that are shown this once. Each is good once; earlier ones are good no more.
    recovery_codes: Vec<String>,
}

impl FactorKindView {
    const fn of(kind: FactorKind) -> Self {
        match kind {
            FactorKind::Totp => Self::Totp,
            FactorKind::Passkey => Self::Passkey,
        }
    }
}

/// Lists the caller's factors.
#[utoipa::path(get, path = "/auth/factors", tag = "factors", security(("bearer" = [])),
    responses((status = 200, description = "The caller's second factors.", body = SuccessBody<FactorsView>)))]
pub(super) async fn list(State(auth): State<Auth>, person: Person) -> Result<Success<FactorsView>, Problem> {
    let user = signed_in::load_user(&auth, person.user).await?.state;
    let label = |id: &FactorId| user.factor_material.get().and_then(|all| all.get(id)).map(|it| it.label.clone());
    let view = |factor: &user::Factor| FactorView {
        id: factor.id.uuid(),
        kind: FactorKindView::of(factor.kind),
        label: label(&factor.id).unwrap_or_default(),
    };
    let factors = user.factors.iter().map(view).collect();
    Ok(Success(FactorsView { factors, recovery_codes_left: user.recovery_codes_left() }))
}

/// A TOTP app to be added.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfferTotpBody {
    /// The owner's name for it, at most 64 characters.
    #[serde(default)]
    label: String,
}

/// A secret for an app.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TotpOffer {
    /// What to send back with the app's first code.
    challenge: String,
    /// The secret in base32, for typing.
    secret: String,
    /// The same as `otpauth://…`, for a QR code.
    uri: String,
    /// Seconds until the challenge is good no more.
    expires_in: u64,
}

/// A TOTP app between its offer and its first code.
#[derive(Serialize, Deserialize)]
struct Offered {
    user: UserId,
    session: SessionId,
    secret: String,
    label: String,
}

/// Offers a secret for an app. Nothing is added before the app's first code comes back.
#[utoipa::path(post, path = "/auth/factors/totp", tag = "factors", request_body = OfferTotpBody,
    security(("bearer" = [])),
    responses((status = 200, description = "A secret, shown this once.", body = SuccessBody<TotpOffer>)))]
pub(super) async fn offer_totp(
    State(auth): State<Auth>,
    person: Person,
    ApiJson(body): ApiJson<OfferTotpBody>,
) -> Result<impl IntoResponse, Problem> {
    let label = label(body.label)?;
    let user = may_change(&auth, person).await?;
    let secret = totp::new_secret().map_err(|error| problem::of_defect(&error))?;
    let offered = Offered { user: person.user, session: person.session, secret: secret.clone(), label };
    let challenge = auth.challenges.begin_for(&person.user.to_string(), Purpose::TotpRegistration, &offered).await?;
    let uri = totp::uri(&secret, user.email.get().map_or("", String::as_str));
    Ok(secretly(Success(TotpOffer { challenge, secret, uri, expires_in: LIVES.as_secs() })))
}

/// An app's first code.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddTotpBody {
    /// What came with the secret.
    challenge: String,
    /// The code that the app shows.
    code: String,
}

/// Adds an app whose code is right. The caller's other sessions end.
#[utoipa::path(post, path = "/auth/factors", tag = "factors", request_body = AddTotpBody, security(("bearer" = [])),
    responses((status = 201, description = "Added; with the first factor, recovery codes.",
        body = SuccessBody<FactorAddedView>)))]
pub(super) async fn add_totp(
    State(auth): State<Auth>,
    person: Person,
    request: RequestLabel,
    ApiJson(body): ApiJson<AddTotpBody>,
) -> Result<impl IntoResponse, Problem> {
    let tried = auth.challenges.attempt::<Offered>(Purpose::TotpRegistration, &body.challenge).await?;
    let tried = tried.filter(|it| (it.about.user, it.about.session) == (person.user, person.session));
    let tried = tried.ok_or_else(not_open)?;
    let step = totp::step_of(&tried.about.secret, &body.code, auth.clock.now());
    let step = step.ok_or_else(|| Problem::unprocessable("The code is not right."))?;
    may_change(&auth, person).await?;
    if !auth.challenges.use_up(&tried).await? {
        return Err(not_open());
    }
    let Offered { secret, label, .. } = tried.about;
    let new = New { kind: FactorKind::Totp, material: FactorMaterial { label, secret }, used_step: Some(step) };
    add(&auth, person, new, &request).await
}

/// A factor whose possession was shown.
pub(super) struct New {
    /// What kind.
    pub(super) kind: FactorKind,
    /// What it is checked with.
    pub(super) material: FactorMaterial,
    /// The step of the code that showed it.
    pub(super) used_step: Option<u64>,
}

/// Adds a factor whose possession was shown.
///
/// # Errors
/// As [`change`].
pub(super) async fn add(
    auth: &Auth,
    person: Person,
    new: New,
    request: &RequestLabel,
) -> Result<impl IntoResponse + use<>, Problem> {
    let id = FactorId::new(ambient::new_id());
    let codes = RecoveryCodes::draw().map_err(|error| problem::of_defect(&error))?;
    let factor = FactorView { id: id.uuid(), kind: FactorKindView::of(new.kind), label: new.material.label.clone() };
    let command = AddFactor {
        id,
        kind: new.kind,
        material: new.material,
        used_step: new.used_step,
        recovery_hashes: codes.hashes(),
    };
    let (receipt, before) = change(auth, person, request, Others::End, |user, assurance, now| {
        user::add_factor(user, command.clone(), assurance, now)
    })
    .await?;
    tracing::info!(event = "factor.added", user_id = %person.user, factor_id = %id, "a second factor was added");
    let recovery_codes = (!before.has_second_factor()).then(|| codes.reveal());
    Ok(secretly(Receipted::new(Created(FactorAddedView { factor, recovery_codes }), &receipt)))
}

/// Removes a factor. The caller's other sessions end; recovery codes go with the last.
#[utoipa::path(delete, path = "/auth/factors/{id}", tag = "factors", params(("id" = Uuid, Path, description = "The factor.")),
    security(("bearer" = [])), responses((status = 204, description = "It is removed.")))]
pub(super) async fn remove(
    State(auth): State<Auth>,
    person: Person,
    request: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<impl IntoResponse, Problem> {
    let id = FactorId::new(id);
    let decide = |user: &User, assurance, now| user::remove_factor(user, id, assurance, now);
    let (receipt, _) = change(&auth, person, &request, Others::End, decide).await?;
    tracing::info!(event = "factor.removed", user_id = %person.user, factor_id = %id, "a second factor was removed");
    Ok(Receipted::new(NoContent, &receipt))
}

/// Issues recovery codes in place of those there are.
#[utoipa::path(post, path = "/auth/recovery-codes", tag = "factors",
    security(("bearer" = [])),
    responses((status = 201, description = "Ten codes.", body = SuccessBody<RecoveryCodesView>)))]
pub(super) async fn renew_recovery_codes(
    State(auth): State<Auth>,
    SteppedUp(person): SteppedUp,
    request: RequestLabel,
) -> Result<impl IntoResponse, Problem> {
    let codes = RecoveryCodes::draw().map_err(|error| problem::of_defect(&error))?;
    let decide = |user: &User, assurance, now| user::issue_recovery_codes(user, codes.hashes(), assurance, now);
    let (receipt, _) = change(&auth, person, &request, Others::Stay, decide).await?;
    let body = RecoveryCodesView { recovery_codes: codes.reveal() };
    Ok(secretly(Receipted::new(Created(body), &receipt)))
}

/// What becomes of the caller's other sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    End,
    Stay,
}

/// Changes a person's factors as the rules decide. Answers with the state before.
///
/// # Errors
/// 403 when the session is not worth it, and what the rules refuse.
async fn change(
    auth: &Auth,
    person: Person,
    request: &RequestLabel,
    others: Others,
    decide: impl Fn(&User, Assurance, Timestamp) -> Result<Vec<UserEvent>, ChangeFactorsError>,
) -> Result<(Receipt, User), Problem> {
    for attempt in 0..race::ATTEMPTS_MAX {
        let user = signed_in::load_user(auth, person.user).await?;
        let session = load_session(auth, person.session).await?;
        let now = auth.clock.now();
        if !session::is_signed_in(&session.state, (person.user, &user.state), now) {
            return Err(person::session_over(person));
        }
        let events = decide(&user.state, assurance(&session, person.session), now).map_err(of_change)?;
        let mut append = append_for(person.actor(), request);
        append.write(&user, events).map_err(problem::of_append)?;
        let mut ended = None;
        if others == Others::Stay {
            append.guard(&session);
        } else if sessions::may_end_along(attempt) {
            let cause = SessionEndCause::FactorsChanged;
            ended = Some(sessions::end_all(auth, person.user, Some(person.session), cause, &mut append).await?);
        }
        if others == Others::End {
            sessions::keep(&mut append, &session, &user).map_err(problem::of_append)?;
        }
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            if let Some(ended) = ended {
                ended.note(auth);
            }
            return Ok((receipt, user.state));
        }
    }
    Err(race::lost())
}

/// Refuses what [`change`] would refuse for the session's sake, before anything is asked of an app or authenticator.
///
/// # Errors
/// 403 `step_up_required`; 401 when the session is over.
pub(super) async fn may_change(auth: &Auth, person: Person) -> Result<User, Problem> {
    let user = signed_in::load_user(auth, person.user).await?.state;
    let session = load_session(auth, person.session).await?;
    user::may_change_factors(&user, assurance(&session, person.session), auth.clock.now()).map_err(of_change)?;
    Ok(user)
}

fn of_change(error: ChangeFactorsError) -> Problem {
    match error {
        ChangeFactorsError::NotActive => person::denied(reason::SUSPENDED, "This account is suspended."),
        ChangeFactorsError::StepUpRequired => step_up_required(),
        ChangeFactorsError::LimitReached => Problem::conflict("limit_reached", "There are ten factors already."),
        ChangeFactorsError::PasswordTooShort => Problem::conflict(
            "password_too_short",
            "Your password is too short to be the only factor: set one of at least 15 characters first.",
        ),
        ChangeFactorsError::Unknown => Problem::not_found("There is no such factor."),
    }
}

/// Unknown, used, tried too often, or another's: one answer.
pub(super) fn not_open() -> Problem {
    Problem::unprocessable("The challenge is not open; begin again.")
}

/// A factor's name.
///
/// # Errors
/// 400 when it is too long or holds control characters.
pub(super) fn label(text: String) -> Result<String, Problem> {
    if text.chars().count() > LABEL_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::validation("The field label is a name of at most 64 characters."));
    }
    Ok(text)
}

/// An answer that nobody in between may keep.
pub(super) fn secretly(answer: impl IntoResponse) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer)
}
