//! A person's second factors and recovery codes.
//!
//! It owns who may change them, how often each is good, and that the last one takes the recovery codes with it. It
//! refuses to know how a code is computed or a signature checked: it sees steps, hashes and credentials that the caller
//! has verified.

use super::{User, UserStatus};
use crate::session::Assurance;
use kisum_events::{FactorId, FactorKind, FactorMaterial, Sealed, Timestamp, UserEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Factors that one person may have.
pub const FACTORS_MAX: usize = 10;
/// Recovery codes that are issued together.
pub const RECOVERY_CODES: usize = 10;

/// A second factor, without what it is checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Factor {
    /// Which.
    pub id: FactorId,
    /// What kind.
    pub kind: FactorKind,
    /// TOTP: the step of the last code that was used; no code up to it is good.
    pub used_step: Option<u64>,
}

/// What factors are checked with.
pub type Materials = BTreeMap<FactorId, FactorMaterial>;

impl User {
    /// Whether signing in takes more than a password.
    pub const fn has_second_factor(&self) -> bool {
        !self.factors.is_empty()
    }

    /// The factors of a kind, each with what it is checked with. What was erased is not among them.
    pub fn factors_of(&self, kind: FactorKind) -> impl Iterator<Item = (&Factor, &FactorMaterial)> {
        let of_kind = self.factors.iter().filter(move |factor| factor.kind == kind);
        of_kind.filter_map(|factor| Some((factor, self.factor_material.get()?.get(&factor.id)?)))
    }

    /// How many recovery codes are left.
    pub fn recovery_codes_left(&self) -> usize {
        self.recovery_codes.get().map_or(0, Vec::len)
    }

    pub(super) fn evolve_factors(&mut self, event: &UserEvent) {
        match event {
            UserEvent::FactorAdded { id, kind, material } => {
                self.factors.retain(|factor| factor.id != *id);
                self.factors.push(Factor { id: *id, kind: *kind, used_step: None });
                self.change_materials(|materials| match material.get() {
                    Some(material) => drop(materials.insert(*id, material.clone())),
                    None => drop(materials.remove(id)),
                });
            }
            UserEvent::FactorRemoved { id } => {
                self.factors.retain(|factor| factor.id != *id);
                self.change_materials(|materials| drop(materials.remove(id)));
                if self.factors.is_empty() {
                    self.recovery_codes = Sealed::absent();
                }
            }
            UserEvent::FactorUsed { id, step, secret } => {
                if let Some(factor) = self.factors.iter_mut().find(|factor| factor.id == *id) {
                    factor.used_step = (*step).max(factor.used_step);
                }
                if let Some(secret) = secret.get() {
                    self.change_materials(|materials| {
                        if let Some(material) = materials.get_mut(id) {
                            material.secret.clone_from(secret);
                        }
                    });
                }
            }
            UserEvent::RecoveryCodesIssued { hashes } => self.recovery_codes = hashes.clone(),
            UserEvent::RecoveryCodeUsed { hash } => {
                if let (Some(codes), Some(hash)) = (self.recovery_codes.get(), hash.get()) {
                    let left = codes.iter().filter(|code| *code != hash).cloned().collect();
                    self.recovery_codes = Sealed::new(left);
                }
            }
            UserEvent::Registered { .. }
            | UserEvent::EmailVerified
            | UserEvent::PasswordSet { .. }
            | UserEvent::Suspended
            | UserEvent::Reactivated
            | UserEvent::SessionsEnded
            | UserEvent::SecretIssued { .. }
            | UserEvent::SecretUsed { .. }
            | UserEvent::RegistrationAttempted
            | UserEvent::CompanyRequested { .. }
            | UserEvent::Erased => {}
        }
    }

    fn change_materials(&mut self, change: impl FnOnce(&mut Materials)) {
        let mut materials = self.factor_material.get().cloned().unwrap_or_default();
        change(&mut materials);
        self.factor_material = if materials.is_empty() { Sealed::absent() } else { Sealed::new(materials) };
    }
}

/// Why factors were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFactorsError {
    /// Nobody by that id, or suspended.
    #[error("the person may not use the platform")]
    NotActive,
    /// The session has not proved recently enough who acts.
    #[error("the session has to step up first")]
    StepUpRequired,
    /// As many as there may be.
    #[error("the person has {FACTORS_MAX} factors already")]
    LimitReached,
    /// It is the last, and the password is too short to be the only factor.
    #[error("the password is too short to be the only factor")]
    PasswordTooShort,
    /// The person has no such factor; or none at all, which recovery codes would recover.
    #[error("the person has no such factor")]
    Unknown,
}

/// Whether a session of that assurance may change the person's factors. Where there is one, it takes one; the first
/// takes a recent sign-in, since there is nothing stronger to ask for.
///
/// # Errors
/// [`ChangeFactorsError::NotActive`] or [`ChangeFactorsError::StepUpRequired`].
pub fn may_change_factors(state: &User, assurance: Assurance, now: Timestamp) -> Result<(), ChangeFactorsError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Suspended { .. } | UserStatus::Erased { .. } => {
            Err(ChangeFactorsError::NotActive)
        }
        UserStatus::Active => {
            let enough =
                if state.has_second_factor() { assurance.is_stepped_up(now) } else { assurance.is_recent(now) };
            if enough { Ok(()) } else { Err(ChangeFactorsError::StepUpRequired) }
        }
    }
}

/// A factor whose possession was shown.
#[derive(Clone, Debug)]
pub struct AddFactor {
    /// Its id.
    pub id: FactorId,
    /// What kind.
    pub kind: FactorKind,
    /// What it is checked with.
    pub material: FactorMaterial,
    /// TOTP: the step of the code that showed possession, which is good no more.
    pub used_step: Option<u64>,
    /// SHA-256 of fresh recovery codes, issued with the first factor.
    pub recovery_hashes: Vec<String>,
}

/// Adds a factor; with the first come recovery codes. All sessions end but what the caller keeps in the same append.
///
/// # Errors
/// [`ChangeFactorsError`].
pub fn add_factor(
    state: &User,
    command: AddFactor,
    assurance: Assurance,
    now: Timestamp,
) -> Result<Vec<UserEvent>, ChangeFactorsError> {
    may_change_factors(state, assurance, now)?;
    if state.factors.len() >= FACTORS_MAX {
        return Err(ChangeFactorsError::LimitReached);
    }
    let AddFactor { id, kind, material, used_step, recovery_hashes } = command;
    let mut events = vec![UserEvent::FactorAdded { id, kind, material: Sealed::new(material) }];
    if used_step.is_some() {
        events.push(UserEvent::FactorUsed { id, step: used_step, secret: Sealed::absent() });
    }
    if !state.has_second_factor() {
        events.push(UserEvent::RecoveryCodesIssued { hashes: Sealed::new(recovery_hashes) });
    }
    events.push(UserEvent::SessionsEnded);
    Ok(events)
}

/// Removes a factor, but the last one only from beside a password that may stand alone. All sessions end but what the caller
/// keeps in the same append.
///
/// # Errors
/// [`ChangeFactorsError`].
pub fn remove_factor(
    state: &User,
    id: FactorId,
    assurance: Assurance,
    now: Timestamp,
) -> Result<Vec<UserEvent>, ChangeFactorsError> {
    may_change_factors(state, assurance, now)?;
    if !state.factors.iter().any(|factor| factor.id == id) {
        return Err(ChangeFactorsError::Unknown);
    }
    if state.password_beside_factor && state.factors.len() == 1 {
        return Err(ChangeFactorsError::PasswordTooShort);
    }
    Ok(vec![UserEvent::FactorRemoved { id }, UserEvent::SessionsEnded])
}

/// Issues recovery codes in place of those there are.
///
/// # Errors
/// [`ChangeFactorsError`].
pub fn issue_recovery_codes(
    state: &User,
    hashes: Vec<String>,
    assurance: Assurance,
    now: Timestamp,
) -> Result<Vec<UserEvent>, ChangeFactorsError> {
    may_change_factors(state, assurance, now)?;
    if state.has_second_factor() {
        Ok(vec![UserEvent::RecoveryCodesIssued { hashes: Sealed::new(hashes) }])
    } else {
        Err(ChangeFactorsError::Unknown)
    }
}

/// A factor that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the person has no such factor, or it was used before")]
pub struct NotAccepted;

/// Uses the code of a step. A step is good once, and none before it is good afterwards (RFC 6238 §5.2).
///
/// # Errors
/// [`NotAccepted`].
pub fn use_totp(state: &User, id: FactorId, step: u64) -> Result<Vec<UserEvent>, NotAccepted> {
    let factor = state.factors.iter().find(|factor| factor.id == id && factor.kind == FactorKind::Totp);
    let is_fresh = factor.ok_or(NotAccepted)?.used_step.is_none_or(|used| used < step);
    if is_fresh {
        Ok(vec![UserEvent::FactorUsed { id, step: Some(step), secret: Sealed::absent() }])
    } else {
        Err(NotAccepted)
    }
}

/// Uses a passkey whose assertion was good. `changed` is the credential after it, where that is another than before.
///
/// # Errors
/// [`NotAccepted`].
pub fn use_passkey(state: &User, id: FactorId, changed: Option<String>) -> Result<Vec<UserEvent>, NotAccepted> {
    if !state.factors.iter().any(|factor| factor.id == id && factor.kind == FactorKind::Passkey) {
        return Err(NotAccepted);
    }
    let used = changed.map(|secret| UserEvent::FactorUsed { id, step: None, secret: Sealed::new(secret) });
    Ok(used.into_iter().collect())
}

/// Uses a recovery code, once.
///
/// # Errors
/// [`NotAccepted`].
pub fn use_recovery_code(state: &User, hash: &str) -> Result<Vec<UserEvent>, NotAccepted> {
    let is_left = state.recovery_codes.get().is_some_and(|codes| codes.iter().any(|code| code == hash));
    if is_left && state.has_second_factor() {
        Ok(vec![UserEvent::RecoveryCodeUsed { hash: Sealed::new(hash.to_owned()) }])
    } else {
        Err(NotAccepted)
    }
}
