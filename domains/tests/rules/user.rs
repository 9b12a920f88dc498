//! Rules of a person.

use crate::given::{at, given, key, user as person};
use kisum_domains::user::{
    self, EndSessionsError, ExpireError, IssueSecret, IssueSecretError, LIVE_SECRETS_MAX, NewPassword, PresentedSecret,
    RegisterUser, RegisterUserError, RequestedCompany, SetPasswordError, UseSecretError, User, UserStandingError,
    UserStatus,
};
use kisum_events::{Aggregate, Effect, Event, PasswordCause, Sealed, SecretId, SecretPurpose, StreamName, UserEvent};

fn registered() -> Vec<UserEvent> {
    vec![
        UserEvent::Registered { email: Sealed::new("ada@example.org".into()), name: Sealed::new("Ada".into()) },
        password("first", PasswordCause::Initial),
    ]
}

fn password(hash: &str, cause: PasswordCause) -> UserEvent {
    UserEvent::PasswordSet { hash: Sealed::new(hash.to_owned()), cause, beside_factor: false }
}

fn after(more: impl IntoIterator<Item = UserEvent>) -> User {
    given::<User>(registered().into_iter().chain(more)).state
}

fn ada() -> RegisterUser {
    RegisterUser {
        email: "ada@example.org".into(),
        name: "Ada".into(),
        password_hash: Some("first".into()),
        authenticator: None,
    }
}

#[test]
fn registering_makes_the_person_known_with_a_first_password() {
    given::<User>([]).when(|state| user::register(state, ada())).then(registered());
    let state = after([]);
    assert!(state.is_active());
    assert_eq!(state.email.get().map(String::as_str), Some("ada@example.org"));
    assert_eq!(state.password_hash.get().map(String::as_str), Some("first"));
    assert_eq!(state.sessions_ended, 0);
}

#[test]
fn somebody_registered_without_a_password_has_none() {
    let without = RegisterUser { password_hash: None, ..ada() };
    let known: Vec<_> = registered().into_iter().take(1).collect();
    given::<User>([]).when(|state| user::register(state, without)).then(known.clone());
    let state = given::<User>(known).state;
    assert!(state.is_active() && state.password_hash.get().is_none());
}

#[test]
fn nobody_is_registered_twice() {
    given::<User>(registered())
        .when(|state| user::register(state, ada()))
        .refused(RegisterUserError::AlreadyRegistered);
}

#[test]
fn a_changed_password_ends_sessions_and_an_upgraded_hash_does_not() {
    given::<User>(registered())
        .when(|state| user::set_password(state, NewPassword::alone("second"), PasswordCause::Changed))
        .then([password("second", PasswordCause::Changed), UserEvent::SessionsEnded]);
    given::<User>(registered())
        .when(|state| user::set_password(state, NewPassword::alone("second"), PasswordCause::Upgraded))
        .then([password("second", PasswordCause::Upgraded)]);
    assert_eq!(after([password("second", PasswordCause::Upgraded)]).sessions_ended, 0);
    assert_eq!(after([password("second", PasswordCause::Changed)]).sessions_ended, 3);
    assert_eq!(after([password("second", PasswordCause::Reset)]).sessions_ended, 3);
}

#[test]
fn only_an_active_person_gets_a_password() {
    given::<User>([])
        .when(|state| user::set_password(state, NewPassword::alone("x"), PasswordCause::Reset))
        .refused(SetPasswordError::Unknown);
    given::<User>(registered().into_iter().chain([UserEvent::Suspended]))
        .when(|state| user::set_password(state, NewPassword::alone("x"), PasswordCause::Reset))
        .refused(SetPasswordError::Suspended);
}

#[test]
fn suspending_ends_sessions_and_happens_once() {
    given::<User>(registered()).when(user::suspend).then([UserEvent::Suspended]);
    let state = after([UserEvent::Suspended]);
    assert_eq!(state.status, UserStatus::Suspended { since: 3 });
    assert_eq!(state.sessions_ended, 3);
    given::<User>(registered().into_iter().chain([UserEvent::Suspended])).when(user::suspend).then_nothing();
    given::<User>([]).when(user::suspend).refused(UserStandingError::Unknown);
}

#[test]
fn reactivating_lets_a_suspended_person_back_and_leaves_ended_sessions_ended() {
    given::<User>(registered().into_iter().chain([UserEvent::Suspended]))
        .when(user::reactivate)
        .then([UserEvent::Reactivated]);
    let state = after([UserEvent::Suspended, UserEvent::Reactivated]);
    assert!(state.is_active());
    assert_eq!(state.sessions_ended, 3);
    given::<User>(registered()).when(user::reactivate).then_nothing();
    given::<User>([]).when(user::reactivate).refused(UserStandingError::Unknown);
}

#[test]
fn signing_out_everywhere_ends_what_has_begun_each_time() {
    given::<User>(registered()).when(user::end_sessions).then([UserEvent::SessionsEnded]);
    assert_eq!(after([UserEvent::SessionsEnded]).sessions_ended, 3);
    assert_eq!(after([UserEvent::SessionsEnded, UserEvent::SessionsEnded]).sessions_ended, 4);
    given::<User>([]).when(user::end_sessions).refused(EndSessionsError::Unknown);
}

/// security 13
#[test]
fn an_erased_person_is_nobody_and_nothing_of_them_is_left() {
    given::<User>(registered()).when(user::erase).then([UserEvent::Erased]);
    given::<User>(registered().into_iter().chain([UserEvent::Suspended])).when(user::erase).then([UserEvent::Erased]);
    let erased = || registered().into_iter().chain([UserEvent::Erased]);
    given::<User>(erased()).when(user::erase).then_nothing();
    given::<User>([]).when(user::erase).refused(UserStandingError::Unknown);
    let state = after([UserEvent::Erased]);
    assert_eq!((state.status, state.sessions_ended), (UserStatus::Erased { since: 3 }, 3));
    assert!(state.email.get().is_none() && state.name.get().is_none() && state.password_hash.get().is_none());
    for change in [user::suspend, user::reactivate] {
        given::<User>(erased()).when(change).refused(UserStandingError::Unknown);
    }
    given::<User>(erased())
        .when(|state| user::set_password(state, NewPassword::alone("x"), PasswordCause::Reset))
        .refused(SetPasswordError::Unknown);
    given::<User>(erased()).when(user::end_sessions).refused(EndSessionsError::Unknown);
}

#[test]
fn a_verified_address_is_remembered() {
    assert!(!after([]).email_verified);
    assert!(after([UserEvent::EmailVerified]).email_verified);
}

#[test]
fn sealed_parts_stand_under_the_key_of_the_person_in_the_streams_name() {
    assert_eq!(after([]).person(&StreamName::user(person(1))), Some(person(1)));
}

fn secret_id(number: u8) -> SecretId {
    key(&format!("01890000-0000-7000-8005-0000000000{number:02x}"))
}

fn issue(number: u8, purpose: SecretPurpose) -> IssueSecret {
    IssueSecret { id: secret_id(number), purpose, hash: format!("hash {number}"), expires_at: at(60) }
}

fn issued(number: u8, purpose: SecretPurpose) -> UserEvent {
    let IssueSecret { id, purpose, hash, expires_at } = issue(number, purpose);
    UserEvent::SecretIssued { id, purpose, hash: Sealed::new(hash), expires_at }
}

fn presented(number: u8, purpose: SecretPurpose) -> PresentedSecret {
    PresentedSecret { id: secret_id(number), purpose, hash: format!("hash {number}") }
}

const RESET: SecretPurpose = SecretPurpose::PasswordReset;
const VERIFY: SecretPurpose = SecretPurpose::EmailVerification;

#[test]
fn whoever_registers_by_themselves_gets_a_secret_and_has_asked_for_a_company() {
    let company = RequestedCompany { slug: key("acme-live"), name: "Acme Live".into() };
    let requested =
        UserEvent::CompanyRequested { slug: Sealed::new(key("acme-live")), name: Sealed::new("Acme Live".into()) };
    let expected: Vec<_> = registered().into_iter().chain([requested, issued(1, VERIFY)]).collect();
    given::<User>([])
        .when(|state| user::sign_up(state, ada(), Some(company.clone()), issue(1, VERIFY)))
        .then(expected.clone());
    let state = given::<User>(expected.clone()).state;
    assert_eq!(state.requested_company.get(), Some(&company));
    assert!(!state.email_verified);
    let verified = [UserEvent::SecretUsed { id: secret_id(1) }, UserEvent::EmailVerified];
    given::<User>(expected.clone())
        .when(|state| user::verify_email(state, &presented(1, VERIFY), at(59)))
        .then(verified.clone());
    let state = given::<User>(expected.into_iter().chain(verified)).state;
    assert!(state.email_verified && state.requested_company.get().is_none() && state.secrets.get().is_none());
}

#[test]
fn a_mailed_secret_is_good_once_until_it_expires_and_for_its_purpose_alone() {
    let history = || registered().into_iter().chain([issued(1, RESET)]);
    let reset = |state: &User, presented: &PresentedSecret, seconds| {
        user::reset_password(state, presented, NewPassword::alone("second"), at(seconds))
    };
    given::<User>(history()).when(|state| reset(state, &presented(1, RESET), 59)).then([
        UserEvent::SecretUsed { id: secret_id(1) },
        password("second", PasswordCause::Reset),
        UserEvent::EmailVerified,
        UserEvent::SessionsEnded,
    ]);
    for (what, presented, seconds) in [
        ("too late", presented(1, RESET), 60),
        ("another", presented(2, RESET), 0),
        ("another hash", PresentedSecret { hash: "hash 2".into(), ..presented(1, RESET) }, 0),
        ("another purpose", presented(1, VERIFY), 0),
    ] {
        let answer = reset(&given::<User>(history()).state, &presented, seconds);
        assert_eq!(answer, Err(UseSecretError::NotGood), "{what}");
    }
    let used = history().chain([UserEvent::SecretUsed { id: secret_id(1) }]);
    given::<User>(used).when(|state| reset(state, &presented(1, RESET), 0)).refused(UseSecretError::NotGood);
}

#[test]
fn a_new_password_makes_earlier_resets_good_for_nothing_and_leaves_verifications() {
    let state = after([issued(1, RESET), issued(2, VERIFY), password("second", PasswordCause::Changed)]);
    let left: Vec<_> = state.secrets.get().into_iter().flatten().map(|secret| secret.id).collect();
    assert_eq!(left, [secret_id(2)]);
    let upgraded = after([issued(1, RESET), password("first", PasswordCause::Upgraded)]);
    assert!(user::find_secret(&upgraded, &presented(1, RESET), at(0)).is_ok());
}

#[test]
fn the_oldest_of_too_many_secrets_gives_way_among_those_of_its_purpose() {
    let max = u8::try_from(LIVE_SECRETS_MAX).unwrap();
    let state = after([issued(99, VERIFY)].into_iter().chain((0..=max).map(|number| issued(number, RESET))));
    assert_eq!(user::find_secret(&state, &presented(0, RESET), at(0)), Err(UseSecretError::NotGood));
    for number in 1..=max {
        assert!(user::find_secret(&state, &presented(number, RESET), at(0)).is_ok(), "{number}");
    }
    assert!(user::find_secret(&state, &presented(99, VERIFY), at(0)).is_ok());
}

#[test]
fn the_suspended_neither_get_nor_use_secrets() {
    let suspended = || registered().into_iter().chain([issued(1, RESET), UserEvent::Suspended]);
    given::<User>(suspended())
        .when(|state| user::issue_secret(state, issue(2, RESET)))
        .refused(IssueSecretError::Suspended);
    given::<User>(suspended())
        .when(|state| user::reset_password(state, &presented(1, RESET), NewPassword::alone("second"), at(0)))
        .refused(UseSecretError::Suspended);
    given::<User>([]).when(|state| user::issue_secret(state, issue(2, RESET))).refused(IssueSecretError::Unknown);
    given::<User>(registered()).when(|state| user::issue_secret(state, issue(2, RESET))).then([issued(2, RESET)]);
}

/// security 8, `consistency.md`: guards hear of access events alone, and the list of sessions may stand still.
#[test]
fn whatever_ends_all_sessions_says_so_to_guards() {
    let history = || after([issued(1, RESET)]);
    let ending = [
        user::set_password(&history(), NewPassword::alone("second"), PasswordCause::Changed).unwrap(),
        user::reset_password(&history(), &presented(1, RESET), NewPassword::alone("second"), at(0)).unwrap(),
        user::suspend(&history()).unwrap(),
        user::end_sessions(&history()).unwrap(),
        user::erase(&history()).unwrap(),
    ];
    for events in ending {
        assert!(events.iter().any(UserEvent::ends_sessions), "{events:?}");
        assert_eq!(events.last().map(Event::effect), Some(Effect::Narrows), "{events:?}");
    }
}

/// security 13: of whoever did not verify nothing is kept.
#[test]
fn a_registration_expires_with_its_last_link_unless_it_was_verified() {
    let signed_up = || registered().into_iter().chain([issued(1, VERIFY), issued(2, RESET)]);
    given::<User>(signed_up()).when(|state| user::expire(state, at(59))).refused(ExpireError::NotYet);
    given::<User>(signed_up()).when(|state| user::expire(state, at(60))).then([UserEvent::Erased]);
    let verified = signed_up().chain([UserEvent::SecretUsed { id: secret_id(1) }, UserEvent::EmailVerified]);
    given::<User>(verified).when(|state| user::expire(state, at(60))).then([]);
    given::<User>([]).when(|state| user::expire(state, at(60))).then([]);
    given::<User>(signed_up().chain([UserEvent::Erased])).when(|state| user::expire(state, at(60))).then([]);
}
