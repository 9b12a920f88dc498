//! Rules of a session's life; the rotation of its token stands in `refresh`.

use crate::given::{at, given, user};
use kisum_domains::session::{self, EndSessionError, Session, SessionStatus, StartSession, StartSessionError};
use kisum_domains::{User, user::UserStatus};
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
        user_version: Some(7),
    }
}

fn ended(cause: SessionEndCause, tokens_until: u64) -> SessionEvent {
    SessionEvent::Ended { user_id: user(1), cause, tokens_until: at(tokens_until) }
}

/// A person whose sessions were all ended at that version of their stream.
fn ended_at(version: u64) -> User {
    User { status: UserStatus::Active, sessions_ended: version, ..User::default() }
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
        user_version: 7,
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

/// security 8
#[test]
fn a_session_that_began_before_all_were_ended_is_over_whoever_knew_of_it() {
    let state = given::<Session>([started(1000, 5000)]).state;
    for (ended, signed_in) in [(0, true), (6, true), (7, true), (8, false)] {
        assert_eq!(session::is_signed_in(&state, (user(1), &ended_at(ended)), at(1)), signed_in, "ended at {ended}");
    }
    let unknown = Session { user_version: 0, ..state };
    assert!(session::is_signed_in(&unknown, (user(1), &ended_at(8)), at(1)), "the list of sessions knew of it");
}

#[test]
fn a_session_that_was_kept_outlives_that_end_and_not_the_next() {
    let state = given::<Session>([started(1000, 5000), SessionEvent::Kept { user_version: 9 }]).state;
    assert!(session::is_signed_in(&state, (user(1), &ended_at(9)), at(1)));
    assert!(!session::is_signed_in(&state, (user(1), &ended_at(10)), at(1)));
    assert_eq!(session::keep(&state, &ended_at(9), 12), [SessionEvent::Kept { user_version: 12 }]);
    assert_eq!(session::keep(&state, &ended_at(10), 12), [], "what was over with all of theirs does not come back");
    let over = given::<Session>([started(1000, 5000), ended(SessionEndCause::Logout, 340)]).state;
    assert_eq!(session::keep(&over, &ended_at(0), 12), [], "what is over is not kept");
}

#[test]
fn nobody_is_signed_in_by_somebody_else_s_session_or_while_suspended() {
    let state = given::<Session>([started(1000, 5000)]).state;
    assert!(!session::is_signed_in(&state, (user(2), &ended_at(0)), at(1)));
    assert!(!session::is_signed_in(&state, (user(1), &ended_at(0)), at(1000)), "its time has run out");
    let suspended = User { status: UserStatus::Suspended { since: 7 }, ..User::default() };
    assert!(!session::is_signed_in(&state, (user(1), &suspended), at(1)));
}
