//! Rules of a person.

use crate::given::{given, user as person};
use kisum_domains::user::{
    self, EndSessionsError, RegisterUser, RegisterUserError, SetPasswordError, User, UserStandingError, UserStatus,
};
use kisum_events::{Aggregate, PasswordCause, Sealed, StreamName, UserEvent};

fn registered() -> Vec<UserEvent> {
    vec![
        UserEvent::Registered { email: Sealed::new("ada@example.org".into()), name: Sealed::new("Ada".into()) },
        password("first", PasswordCause::Initial),
    ]
}

fn password(hash: &str, cause: PasswordCause) -> UserEvent {
    UserEvent::PasswordSet { hash: Sealed::new(hash.to_owned()), cause }
}

fn after(more: impl IntoIterator<Item = UserEvent>) -> User {
    given::<User>(registered().into_iter().chain(more)).state
}

fn ada() -> RegisterUser {
    RegisterUser { email: "ada@example.org".into(), name: "Ada".into(), password_hash: Some("first".into()) }
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
        .when(|state| user::set_password(state, "second", PasswordCause::Changed))
        .then([password("second", PasswordCause::Changed)]);
    assert_eq!(after([password("second", PasswordCause::Upgraded)]).sessions_ended, 0);
    assert_eq!(after([password("second", PasswordCause::Changed)]).sessions_ended, 3);
    assert_eq!(after([password("second", PasswordCause::Reset)]).sessions_ended, 3);
}

#[test]
fn only_an_active_person_gets_a_password() {
    given::<User>([])
        .when(|state| user::set_password(state, "x", PasswordCause::Reset))
        .refused(SetPasswordError::Unknown);
    given::<User>(registered().into_iter().chain([UserEvent::Suspended]))
        .when(|state| user::set_password(state, "x", PasswordCause::Reset))
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

#[test]
fn a_verified_address_is_remembered() {
    assert!(!after([]).email_verified);
    assert!(after([UserEvent::EmailVerified]).email_verified);
}

#[test]
fn sealed_parts_stand_under_the_key_of_the_person_in_the_streams_name() {
    assert_eq!(after([]).person(&StreamName::user(person(1))), Some(person(1)));
}
