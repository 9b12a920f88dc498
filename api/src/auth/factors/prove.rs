//! What somebody presents as a second factor, and whether it is theirs and good.
//!
//! It owns the forms of `method`, `code` and `assertion`. What it finds is decided anew on every state that is read, so
//! that of two who present the same code at once one alone is taken: the append names the version.

use super::{
    passkeys::{Asked, Assertion, PasskeyError},
    recovery, totp,
};
use crate::{
    auth::{Auth, limiter::Trial},
    shared::problem::{Chain, Problem},
};
use kisum_domains::{
    User,
    user::{self, NotAccepted},
};
use kisum_events::{AuthMethod, FactorKind, UserEvent, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A way to prove who one is beside a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    /// A code of an app.
    Totp,
    /// A recovery code.
    Recovery,
    /// A passkey.
    Passkey,
}

impl Method {
    /// What the person can use.
    pub(super) fn all_of(user: &User) -> Vec<Self> {
        let has = |kind| user.factors_of(kind).next().is_some();
        let methods = [
            (Self::Totp, has(FactorKind::Totp)),
            (Self::Passkey, has(FactorKind::Passkey)),
            (Self::Recovery, user.recovery_codes_left() > 0),
        ];
        methods.into_iter().filter_map(|(method, is_there)| is_there.then_some(method)).collect()
    }
}

/// What was presented, well formed and not yet checked.
#[derive(Clone)]
pub(super) enum Presented {
    /// A code of an app.
    Totp(String),
    /// A recovery code.
    Recovery(String),
    /// An answer of a passkey.
    Passkey(Box<Assertion>),
}

impl Presented {
    /// How the limits count it.
    pub(super) const fn trial(&self) -> Trial {
        match self {
            Self::Totp(_) => Trial::Digits,
            Self::Recovery(_) | Self::Passkey(_) => Trial::Unguessable,
        }
    }

    /// Reads what a body holds: a code for the two methods that have one, an assertion for the third.
    ///
    /// # Errors
    /// 400 when it holds something else.
    pub(super) fn read(
        method: Method,
        code: Option<String>,
        assertion: Option<Map<String, Value>>,
    ) -> Result<Self, Problem> {
        match (method, code, assertion) {
            (Method::Totp, Some(code), None) => Ok(Self::Totp(code)),
            (Method::Recovery, Some(code), None) => Ok(Self::Recovery(code)),
            (Method::Passkey, None, Some(assertion)) => read_assertion(assertion).map(Box::new).map(Self::Passkey),
            (Method::Totp | Method::Recovery, ..) => {
                Err(Problem::validation("This method takes the field code and no assertion."))
            }
            (Method::Passkey, ..) => Err(Problem::validation("A passkey takes the field assertion and no code.")),
        }
    }
}

/// Reads what a browser answered.
///
/// # Errors
/// 400 when it is not of the standard's form.
pub(super) fn read_assertion(assertion: Map<String, Value>) -> Result<Assertion, Problem> {
    Assertion::read(assertion)
        .map_err(|_| Problem::validation("The field assertion is not a PublicKeyCredential in its JSON form."))
}

/// A proof that is good on a state of the person.
#[derive(Debug)]
pub(super) struct Proved {
    /// How.
    pub(super) method: AuthMethod,
    /// What to append with whatever it is used for: what is good once is good no more.
    pub(super) events: Vec<UserEvent>,
}

/// Checks what was presented against the person's factors as they are. A passkey needs to have been asked.
///
/// # Errors
/// [`NotAccepted`], which says no more: neither does the answer.
pub(super) fn prove(
    auth: &Auth,
    (id, user): (UserId, &User),
    presented: &Presented,
    asked: Option<&Asked>,
) -> Result<Proved, NotAccepted> {
    match presented {
        Presented::Totp(code) => {
            let now = auth.clock.now();
            let mut steps = user
                .factors_of(FactorKind::Totp)
                .filter_map(|(factor, material)| Some((factor.id, totp::step_of(&material.secret, code, now)?)));
            let events = steps.find_map(|(factor, step)| user::use_totp(user, factor, step).ok());
            events.map(|events| Proved { method: AuthMethod::Otp, events }).ok_or(NotAccepted)
        }
        Presented::Recovery(code) => {
            let events = user::use_recovery_code(user, &recovery::hash(code))?;
            Ok(Proved { method: AuthMethod::Recovery, events })
        }
        Presented::Passkey(assertion) => {
            let checked = auth.passkeys.check((id, user), assertion, asked.ok_or(NotAccepted)?);
            let (factor, changed) = checked.map_err(|error| {
                note_refused(&error);
                NotAccepted
            })?;
            Ok(Proved { method: AuthMethod::Pop, events: user::use_passkey(user, factor, changed)? })
        }
    }
}

/// Says why a passkey was refused: a counter that went back is somebody's copy of it.
pub(super) fn note_refused(error: &PasskeyError) {
    tracing::info!(event = "passkey.refused", error = %Chain(error), "a passkey was not accepted");
}
