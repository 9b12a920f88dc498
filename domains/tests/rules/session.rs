//! Rules of a session's life; the rotation of its token stands in `refresh`.

use crate::given::{at, given, user};
use kisum_domains::session::{self, EndSessionError, Session, SessionStatus, StartSession, StartSessionError};
use kisum_events::{AuthMethod, Sealed, SessionEndCause, SessionEvent};
use std::time::Duration;

const ACCESS_TTL: Duration = Duration::from_secs(300);

fn started(idle: u64, absolute: u64) -> SessionEvent {
    SessionEvent::Started {
        user_id: user(1),
        amr: vec![AuthMethod::Pwd],
        idle_until: at(idle),
        absolute_until: at(absolute),
        token_hash: Sealed::new("h0".into()),
        ip: Sealed::new("192.0.2.7".into()),
        agent: Sealed::absent(),
    }
}

fn ended(cause: SessionEndCause, tokens_until: u64) -> SessionEvent {
    SessionEvent::Ended { user_id: user(1), cause, tokens_until: at(tokens_until) }
}

fn sign_in(idle: u64, absolute: u64) -> StartSession {
    StartSession {
        user_id: user(1),
        amr: vec![AuthMethod::Pwd],
        token_hash: "h0".into(),
        ip: Some("192.0.2.7".into()),
        agent: None,
        idle_ttl: Duration::from_secs(idle),
        absolute_ttl: Duration::from_secs(absolute),
    }
}

#[test]
fn a_session_starts_with_both_of_its_ends() {
    given::<Session>([]).when(|state| session::start(state, sign_in(1000, 5000), at(0))).then([started(1000, 5000)]);
}

#[test]
fn the_idle_end_never_lies_behind_the_absolute_one() {
    given::<Session>([]).when(|state| session::start(state, sign_in(9000, 5000), at(0))).then([started(5000, 5000)]);
}

#[test]
fn a_session_starts_once() {
    let refused = StartSessionError::AlreadyStarted;
    given::<Session>([started(1000, 5000)])
        .when(|state| session::start(state, sign_in(1000, 5000), at(1)))
        .refused(refused);
    given::<Session>([started(1000, 5000), ended(SessionEndCause::Logout, 400)])
        .when(|state| session::start(state, sign_in(1000, 5000), at(1)))
        .refused(refused);
}

#[test]
fn a_session_is_live_up_to_its_end_and_not_at_it() {
    let state = given::<Session>([started(1000, 5000)]).state;
    assert!(session::is_live(&state, at(999)));
    assert!(!session::is_live(&state, at(1000)));
    assert_eq!(state.ends_at(), Some(at(1000)));
    assert!(!session::is_live(&Session::default(), at(0)));
}

#[test]
fn an_ended_session_is_remembered_until_its_last_token_has_expired_on_every_clock() {
    given::<Session>([started(1000, 5000)])
        .when(|state| session::end(state, SessionEndCause::Logout, ACCESS_TTL, at(10)))
        .then([ended(SessionEndCause::Logout, 10 + 300 + 30)]);
    let state = given::<Session>([started(1000, 5000), ended(SessionEndCause::Logout, 340)]).state;
    assert!(!session::is_live(&state, at(11)));
    assert_eq!(state.status, SessionStatus::Ended { cause: SessionEndCause::Logout, tokens_until: at(340) });
}

#[test]
fn an_ended_session_keeps_no_hash() {
    let state = given::<Session>([started(1000, 5000), ended(SessionEndCause::Logout, 340)]).state;
    assert_eq!(state.token_hash, Sealed::absent());
    assert_eq!(state.predecessors, Sealed::absent());
}

#[test]
fn a_session_ends_once_and_the_first_cause_stays() {
    given::<Session>([started(1000, 5000), ended(SessionEndCause::Logout, 340)])
        .when(|state| session::end(state, SessionEndCause::Revoked, ACCESS_TTL, at(20)))
        .then_nothing();
    given::<Session>([])
        .when(|state| session::end(state, SessionEndCause::Revoked, ACCESS_TTL, at(20)))
        .refused(EndSessionError::Unknown);
}

#[test]
fn a_session_that_ran_out_can_still_be_ended_for_the_sake_of_its_last_token() {
    given::<Session>([started(1000, 5000)])
        .when(|state| session::end(state, SessionEndCause::Revoked, ACCESS_TTL, at(1100)))
        .then([ended(SessionEndCause::Revoked, 1430)]);
}
