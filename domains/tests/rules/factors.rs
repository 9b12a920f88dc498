//! Rules of second factors and recovery codes, and of how surely a session knows its person.

use crate::given::{at, given, key, user as person};
use kisum_domains::{
    password::PasswordPolicy,
    session::{self, Assurance, AssuranceLevel, Session, SessionOver},
    user::{
        self, AddFactor, ChangeFactorsError, FACTORS_MAX, NewPassword, NotAccepted, PresentedSecret, SetPasswordError,
        UseSecretError, User,
    },
};
use kisum_events::{
    AuthMethod, FactorId, FactorKind, FactorMaterial, PasswordCause, Sealed, SecretPurpose, SessionEndCause,
    SessionEvent, UserEvent,
};

fn factor(number: u8) -> FactorId {
    key(&format!("01890000-0000-7000-8006-0000000000{number:02x}"))
}

fn material() -> FactorMaterial {
    FactorMaterial { label: "Phone".into(), secret: "s".into() }
}

fn registered() -> UserEvent {
    UserEvent::Registered { email: Sealed::new("ada@example.org".into()), name: Sealed::new("Ada".into()) }
}

fn added(number: u8, kind: FactorKind) -> UserEvent {
    UserEvent::FactorAdded { id: factor(number), kind, material: Sealed::new(material()) }
}

fn codes(hashes: &[&str]) -> UserEvent {
    UserEvent::RecoveryCodesIssued { hashes: Sealed::new(hashes.iter().map(|&hash| hash.to_owned()).collect()) }
}

fn used(number: u8, step: u64) -> UserEvent {
    UserEvent::FactorUsed { id: factor(number), step: Some(step), secret: Sealed::absent() }
}

fn after(events: impl IntoIterator<Item = UserEvent>) -> User {
    given::<User>([registered()].into_iter().chain(events)).state
}

fn add(number: u8) -> AddFactor {
    AddFactor {
        id: factor(number),
        kind: FactorKind::Totp,
        material: material(),
        used_step: Some(7),
        recovery_hashes: vec!["a".into(), "b".into()],
    }
}

const fn proven(level: AssuranceLevel, seconds: u64) -> (AssuranceLevel, u64) {
    (level, seconds)
}

fn assurance((level, seconds): (AssuranceLevel, u64)) -> Assurance {
    Assurance { level, at: at(seconds) }
}

const PASSWORD: (AssuranceLevel, u64) = proven(AssuranceLevel::Aal1, 0);
const STRONG: (AssuranceLevel, u64) = proven(AssuranceLevel::Aal2, 0);

#[test]
fn the_first_factor_takes_a_recent_sign_in_and_brings_recovery_codes() {
    let events = user::add_factor(&after([]), add(1), assurance(PASSWORD), at(599));
    assert_eq!(events, Ok(vec![added(1, FactorKind::Totp), used(1, 7), codes(&["a", "b"]), UserEvent::SessionsEnded]));
    let late = user::add_factor(&after([]), add(1), assurance(PASSWORD), at(600));
    assert_eq!(late, Err(ChangeFactorsError::StepUpRequired));
}

#[test]
fn whoever_has_a_factor_needs_one_to_change_them() {
    let state = after([added(1, FactorKind::Totp), codes(&["a"])]);
    let refused = Err(ChangeFactorsError::StepUpRequired);
    for (weak, now) in [(PASSWORD, 1), (STRONG, 600)] {
        assert_eq!(user::add_factor(&state, add(2), assurance(weak), at(now)), refused);
        assert_eq!(user::remove_factor(&state, factor(1), assurance(weak), at(now)), refused);
        assert_eq!(user::issue_recovery_codes(&state, vec![], assurance(weak), at(now)), refused);
    }
    let events = user::add_factor(&state, add(2), assurance(STRONG), at(1));
    assert_eq!(
        events,
        Ok(vec![added(2, FactorKind::Totp), used(2, 7), UserEvent::SessionsEnded]),
        "recovery codes are those of the first"
    );
    let removed = user::remove_factor(&state, factor(1), assurance(STRONG), at(1));
    assert_eq!(removed, Ok(vec![UserEvent::FactorRemoved { id: factor(1) }, UserEvent::SessionsEnded]));
    let unknown = user::remove_factor(&state, factor(9), assurance(STRONG), at(1));
    assert_eq!(unknown, Err(ChangeFactorsError::Unknown));
}

#[test]
fn nobody_has_more_factors_than_the_limit() {
    let all = (0..u8::try_from(FACTORS_MAX).unwrap_or(u8::MAX)).map(|number| added(number, FactorKind::Totp));
    let refused = user::add_factor(&after(all), add(99), assurance(STRONG), at(1));
    assert_eq!(refused, Err(ChangeFactorsError::LimitReached));
}

#[test]
fn a_suspended_person_changes_no_factor() {
    let state = after([UserEvent::Suspended]);
    assert_eq!(user::add_factor(&state, add(1), assurance(STRONG), at(1)), Err(ChangeFactorsError::NotActive));
}

/// RFC 6238 §5.2.
#[test]
fn a_step_is_good_once_and_none_before_it_afterwards() {
    let state = after([added(1, FactorKind::Totp)]);
    assert_eq!(user::use_totp(&state, factor(1), 7), Ok(vec![used(1, 7)]));
    let state = after([added(1, FactorKind::Totp), used(1, 7)]);
    for step in [6, 7] {
        assert_eq!(user::use_totp(&state, factor(1), step), Err(NotAccepted));
    }
    assert_eq!(user::use_totp(&state, factor(1), 8), Ok(vec![used(1, 8)]));
    assert_eq!(user::use_totp(&state, factor(2), 8), Err(NotAccepted), "not theirs");
    let passkey = after([added(1, FactorKind::Passkey)]);
    assert_eq!(user::use_totp(&passkey, factor(1), 8), Err(NotAccepted), "no app");
}

#[test]
fn a_recovery_code_is_good_once_and_goes_with_the_last_factor() {
    let hash = || Sealed::new("a".to_owned());
    let state = after([added(1, FactorKind::Totp), codes(&["a", "b"])]);
    assert_eq!(user::use_recovery_code(&state, "a"), Ok(vec![UserEvent::RecoveryCodeUsed { hash: hash() }]));
    let state = after([added(1, FactorKind::Totp), codes(&["a", "b"]), UserEvent::RecoveryCodeUsed { hash: hash() }]);
    assert_eq!(user::use_recovery_code(&state, "a"), Err(NotAccepted));
    assert_eq!(state.recovery_codes_left(), 1);
    let state = after([added(1, FactorKind::Totp), codes(&["a"]), UserEvent::FactorRemoved { id: factor(1) }]);
    assert_eq!(user::use_recovery_code(&state, "a"), Err(NotAccepted));
    assert!(!state.has_second_factor() && state.recovery_codes_left() == 0);
}

#[test]
fn a_passkey_is_kept_as_it_is_after_its_last_use() {
    let state = after([added(1, FactorKind::Passkey)]);
    assert_eq!(user::use_passkey(&state, factor(1), None), Ok(vec![]));
    let events = user::use_passkey(&state, factor(1), Some("counter 2".into())).unwrap_or_default();
    let state = after([added(1, FactorKind::Passkey)].into_iter().chain(events));
    let kept: Vec<_> = state.factors_of(FactorKind::Passkey).map(|(_, material)| material.secret.as_str()).collect();
    assert_eq!(kept, ["counter 2"]);
    assert_eq!(user::use_passkey(&state, factor(2), None), Err(NotAccepted));
}

#[test]
fn changing_factors_ends_sessions_and_resetting_the_password_leaves_factors_alone() {
    let state = after([added(1, FactorKind::Totp)]);
    assert_eq!(state.sessions_ended, 2);
    let removed = after([added(1, FactorKind::Totp), UserEvent::FactorRemoved { id: factor(1) }]);
    assert_eq!(removed.sessions_ended, 3);
    let hash = Sealed::new("h".to_owned());
    let reset = UserEvent::PasswordSet { hash, cause: PasswordCause::Reset, beside_factor: false };
    assert!(after([added(1, FactorKind::Totp), reset]).has_second_factor());
}

fn started(amr: Vec<AuthMethod>) -> SessionEvent {
    SessionEvent::Started {
        user_id: person(1),
        amr,
        idle_until: at(1000),
        absolute_until: at(2000),
        token_hash: Sealed::new("h0".into()),
        ip: Sealed::absent(),
        agent: Sealed::absent(),
        user_version: Some(1),
    }
}

#[test]
fn a_session_is_worth_how_its_person_last_proved_who_they_are() {
    let weak = given::<Session>([started(vec![AuthMethod::Pwd])]).state.assurance(at(0));
    assert!(weak.is_recent(at(1)) && !weak.is_stepped_up(at(1)));
    for strong in
        [vec![AuthMethod::Pwd, AuthMethod::Otp], vec![AuthMethod::Pwd, AuthMethod::Recovery], vec![AuthMethod::Pop]]
    {
        let strong = given::<Session>([started(strong)]).state.assurance(at(0));
        assert_eq!(strong.level.name(), "aal2");
        assert!(strong.is_stepped_up(at(599)) && !strong.is_stepped_up(at(600)));
    }
    let stepped = SessionEvent::SteppedUp { amr: vec![AuthMethod::Otp], at: at(700) };
    let stepped = given::<Session>([started(vec![AuthMethod::Pwd]), stepped]).state;
    assert_eq!(stepped.amr, [AuthMethod::Pwd, AuthMethod::Otp]);
    assert!(stepped.assurance(at(0)).is_stepped_up(at(1299)));
}

#[test]
fn only_a_session_that_can_be_used_steps_up() {
    let live = given::<Session>([started(vec![AuthMethod::Pwd])]).state;
    let stepped = session::step_up(&live, vec![AuthMethod::Otp], at(999));
    assert_eq!(stepped, Ok(vec![SessionEvent::SteppedUp { amr: vec![AuthMethod::Otp], at: at(999) }]));
    assert_eq!(session::step_up(&live, vec![AuthMethod::Otp], at(1000)), Err(SessionOver));
    let ended = SessionEvent::Ended { user_id: person(1), cause: SessionEndCause::Logout, tokens_until: at(9) };
    let ended = given::<Session>([started(vec![AuthMethod::Pwd]), ended]).state;
    assert_eq!(session::step_up(&ended, vec![AuthMethod::Otp], at(1)), Err(SessionOver));
}

/// security 3: what is long enough beside a second factor is never left alone.
#[test]
fn a_short_password_is_set_beside_a_factor_alone_and_the_last_factor_stays_with_it() {
    let short = NewPassword { hash: "short", beside_factor: true };
    let set = |state: &User| user::set_password(state, short, PasswordCause::Changed);
    let alone = after([]);
    assert_eq!(alone.password_policy(), PasswordPolicy::SingleFactor);
    assert_eq!(set(&alone), Err(SetPasswordError::TooShort));
    let beside = after([added(1, FactorKind::Totp)]);
    assert_eq!(beside.password_policy(), PasswordPolicy::WithSecondFactor);
    let events = set(&beside).unwrap();

    let history = || [added(1, FactorKind::Totp)].into_iter().chain(events.clone());
    let recently = assurance(proven(AssuranceLevel::Aal2, 0));
    let remove = |state: &User, number| user::remove_factor(state, factor(number), recently, at(0));
    let kept = after(history());
    assert_eq!(remove(&kept, 1), Err(ChangeFactorsError::PasswordTooShort));
    let upgraded = after(history().chain(user::upgrade_password(&kept, "stronger").unwrap()));
    assert_eq!(remove(&upgraded, 1), Err(ChangeFactorsError::PasswordTooShort), "the same password");
    let two = after(history().chain([added(2, FactorKind::Passkey)]));
    assert!(remove(&two, 1).is_ok(), "another is left");
    let long = user::set_password(&kept, NewPassword::alone("long"), PasswordCause::Changed).unwrap();
    assert!(remove(&after(history().chain(long)), 1).is_ok());
}

/// security 3
#[test]
fn a_reset_sets_no_short_password_where_the_factor_is_gone_meanwhile() {
    let id = key("01890000-0000-7000-8005-000000000001");
    let (purpose, hash) = (SecretPurpose::PasswordReset, "hash".to_owned());
    let issued = UserEvent::SecretIssued { id, purpose, hash: Sealed::new(hash.clone()), expires_at: at(60) };
    let presented = PresentedSecret { id, purpose, hash };
    let short = NewPassword { hash: "short", beside_factor: true };
    let reset = |state: &User| user::reset_password(state, &presented, short, at(0));
    assert_eq!(reset(&after([issued.clone()])), Err(UseSecretError::PasswordTooShort));
    assert!(reset(&after([added(1, FactorKind::Totp), issued])).is_ok());
}
