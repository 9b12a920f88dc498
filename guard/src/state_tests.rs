//! The fill rule, the leases and the ladder's first step, case by case.

use super::{Arrived, Filled, HeadSeen, State, Unusable};
use crate::{
    answer::{Answer, Verdict},
    clock::{BootTime, Clock},
    named::Named,
    samples::{
        active, as_of, asked, at, company, entitlement_changed, envelope, head, permission_revoked, session,
        session_ended, stranger, user, wall,
    },
};
use kisum_events::{Cursor, Head, Log, StreamName};
use std::{sync::Arc, time::Duration};

const READ: &[&str] = &["finance.bills.read"];
const SECOND: Duration = Duration::from_secs(1);

/// Follows both logs from 10, with proofs asked for now.
fn following() -> (State, BootTime) {
    let boot = Clock::manual(wall()).boot();
    let mut state = State::new(100);
    for log in [Log::Auth, Log::Core] {
        state.start(log, at(10));
        assert_eq!(state.head(log, &head(10), boot, boot), HeadSeen::Counted);
    }
    (state, boot)
}

fn keep(state: &mut State, answer: Answer, boot: BootTime) -> Filled {
    let asked = crate::contexts::Asked {
        user: answer.subject.user_id,
        org: crate::org::XOrg::Id(answer.subject.company_id.unwrap_or(company(1))),
    };
    let session = answer.subject.session_id;
    state.fill(asked, session, &Arc::new(answer), boot)
}

#[test]
fn a_kept_answer_is_used_while_both_leases_run() {
    let (mut state, boot) = following();
    assert_eq!(keep(&mut state, active(1, 1, as_of(10, 10), READ), boot), Filled::Kept);
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_some());
    assert!(state.lookup(&asked(2, 1), session(2), wall(), boot).is_none());
    // One log is proven anew, the other is not.
    state.head(Log::Auth, &head(10), boot.plus(4 * SECOND), boot.plus(4 * SECOND));
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot.plus(Duration::from_millis(4999))).is_some());
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot.plus(5 * SECOND)).is_none());
}

#[test]
fn an_event_drops_what_it_names() {
    let (mut state, boot) = following();
    keep(&mut state, active(1, 1, as_of(10, 10), READ), boot);
    keep(&mut state, active(2, 1, as_of(10, 10), READ), boot);
    let arrived = state.event(&permission_revoked(12, 10, 1, 1), wall());
    assert!(matches!(arrived, Arrived::Applied(Named::Membership { .. })));
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_none());
    assert!(state.lookup(&asked(2, 1), session(2), wall(), boot).is_some());
    state.event(&entitlement_changed(11, 10, 1), wall());
    assert!(state.lookup(&asked(2, 1), session(2), wall(), boot).is_none());
}

#[test]
fn an_ended_session_is_known_and_its_person_s_contexts_go() {
    let (mut state, boot) = following();
    keep(&mut state, active(1, 1, as_of(10, 10), READ), boot);
    state.event(&session_ended(11, 10, 1), wall());
    assert!(state.has_ended(session(1)) && !state.has_ended(session(2)));
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_none());
}

/// security 8: a session may be over with all of its person's and have no event of its own that says so.
#[test]
fn what_is_kept_of_a_person_counts_for_no_session_that_was_not_answered_for_since_all_of_theirs_were_ended() {
    let (mut state, boot) = following();
    let (thief, victim) = (session(7), session(1));
    let answer = |auth| Arc::new(active(1, 1, as_of(auth, 10), READ));
    let allowed = |state: &State, session| state.lookup(&asked(1, 1), session, wall(), boot).is_some();
    state.fill(asked(1, 1), thief, &answer(10), boot);
    assert!(allowed(&state, thief) && !allowed(&state, victim), "Auth has not been asked about the other one");
    let ended = ("user.sessions_ended", None, serde_json::json!({}));
    state.event(&envelope(Log::Auth, 11, 10, &StreamName::user(user(1)), ended), wall());
    assert_eq!(state.fill(asked(1, 1), thief, &answer(10), boot), Filled::Overtaken);
    state.fill(asked(1, 1), victim, &answer(11), boot);
    assert!(allowed(&state, victim), "they signed in again");
    assert!(!allowed(&state, thief), "and do not let the other session in by it");
    // Nothing of it rests on having seen the event: whoever begins later knows as little of either session.
    let (mut cold, _) = following();
    cold.fill(asked(1, 1), victim, &answer(10), boot);
    assert!(!allowed(&cold, thief));
}

#[test]
fn an_event_that_is_not_understood_drops_everything() {
    let (mut state, boot) = following();
    keep(&mut state, active(1, 1, as_of(10, 10), READ), boot);
    let mut unknown = permission_revoked(11, 10, 7, 7);
    unknown.stream = StreamName::from_stored("vault-7".to_owned());
    assert_eq!(state.event(&unknown, wall()), Arrived::Applied(Named::Everybody));
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_none());
}

#[test]
fn a_hole_applies_nothing_until_it_is_filled() {
    let (mut state, _) = following();
    assert_eq!(state.event(&permission_revoked(14, 12, 1, 1), wall()), Arrived::Hole);
    assert_eq!(state.applied(Log::Auth), Some(at(10)));
    assert!(matches!(state.event(&permission_revoked(12, 10, 1, 1), wall()), Arrived::Applied(_)));
    assert!(matches!(state.event(&permission_revoked(14, 12, 1, 1), wall()), Arrived::Applied(_)));
    assert_eq!(state.event(&permission_revoked(14, 12, 1, 1), wall()), Arrived::Old);
}

#[test]
fn an_answer_that_an_event_overtook_is_not_kept() {
    let (mut state, boot) = following();
    state.event(&permission_revoked(12, 10, 1, 1), wall());
    assert_eq!(keep(&mut state, active(1, 1, as_of(11, 10), READ), boot), Filled::Overtaken);
    assert_eq!(keep(&mut state, active(2, 1, as_of(11, 10), READ), boot), Filled::Kept);
    assert_eq!(keep(&mut state, active(1, 1, as_of(12, 10), &[]), boot), Filled::Kept);
    state.event(&entitlement_changed(11, 10, 1), wall());
    assert_eq!(keep(&mut state, active(2, 1, as_of(12, 10), READ), boot), Filled::Overtaken);
}

#[test]
fn an_answer_from_before_the_start_is_used_but_not_kept() {
    let (mut state, boot) = following();
    assert_eq!(keep(&mut state, active(1, 1, as_of(9, 10), READ), boot), Filled::Passed);
    let other_epoch = kisum_events::AsOf { auth: Cursor { epoch: 2, position: 10 }, core: at(10) };
    assert_eq!(keep(&mut state, active(1, 1, other_epoch, READ), boot), Filled::Passed);
    state.forget(Log::Core);
    assert_eq!(keep(&mut state, active(1, 1, as_of(10, 10), READ), boot), Filled::Passed);
}

#[test]
fn a_refusal_is_kept_like_any_answer_but_a_revoked_session_is_not_a_context() {
    let (mut state, boot) = following();
    assert_eq!(keep(&mut state, stranger(1, 1, as_of(10, 10)), boot), Filled::Kept);
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_some());
    let revoked = Answer { verdict: Verdict::SessionRevoked, ..stranger(2, 1, as_of(10, 10)) };
    assert_eq!(keep(&mut state, revoked, boot), Filled::Passed);
}

#[test]
fn a_context_is_good_until_something_in_it_changes_by_itself() {
    let (mut state, boot) = following();
    let mut context = crate::samples::context(1, 1, 1, READ);
    context.valid_until = Some(wall().plus(SECOND));
    let answer = Answer { verdict: Verdict::Active(Arc::new(context)), ..active(1, 1, as_of(10, 10), READ) };
    keep(&mut state, answer, boot);
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_some());
    assert!(state.lookup(&asked(1, 1), session(1), wall().plus(SECOND), boot).is_none());
}

#[test]
fn a_head_above_what_is_applied_is_a_hole_after_250_ms() {
    let (mut state, boot) = following();
    state.head(Log::Core, &head(15), boot, boot);
    assert!(!state.is_behind(Log::Core, boot.plus(Duration::from_millis(249))));
    assert!(state.is_behind(Log::Core, boot.plus(Duration::from_millis(250))));
    assert!(!state.is_behind(Log::Auth, boot.plus(SECOND)));
    state.event(&entitlement_changed(15, 10, 1), wall());
    assert!(!state.is_behind(Log::Core, boot.plus(SECOND)));
}

#[test]
fn a_new_epoch_is_noticed_and_an_old_one_ignored() {
    let (mut state, boot) = following();
    let newer = Head { epoch: 2, ..head(3) };
    assert_eq!(state.head(Log::Core, &newer, boot, boot), HeadSeen::NewEpoch);
    let older = Head { epoch: 0, ..head(300) };
    assert_eq!(state.head(Log::Core, &older, boot, boot), HeadSeen::Older);
    let mut event = permission_revoked(11, 10, 1, 1);
    event.epoch = 2;
    assert_eq!(state.event(&event, wall()), Arrived::NewEpoch);
    event.epoch = 0;
    assert_eq!(state.event(&event, wall()), Arrived::Old);
    state.forget(Log::Auth);
    assert_eq!(state.event(&event, wall()), Arrived::Cold);
    assert_eq!(state.head(Log::Auth, &head(10), boot, boot), HeadSeen::Cold);
}

#[test]
fn forgetting_a_log_drops_all_that_rests_on_it() {
    let (mut state, boot) = following();
    keep(&mut state, active(1, 1, as_of(10, 10), READ), boot);
    state.end_session(session(5), wall(), wall());
    state.forget(Log::Core);
    state.start(Log::Core, at(10));
    state.head(Log::Core, &head(10), boot, boot);
    assert!(state.lookup(&asked(1, 1), session(1), wall(), boot).is_none());
    assert!(state.has_ended(session(5)));
    state.forget(Log::Auth);
    assert!(!state.has_ended(session(5)));
}

#[test]
fn a_question_demands_what_is_applied_and_what_a_running_proof_showed() {
    let (mut state, boot) = following();
    assert_eq!(State::new(1).minimum(boot).auth, Cursor::default());
    state.head(Log::Core, &head(15), boot, boot);
    assert_eq!(state.minimum(boot), as_of(10, 15));
    assert_eq!(state.minimum(boot.plus(5 * SECOND)), as_of(10, 10));
}

#[test]
fn an_answer_is_usable_only_if_it_saw_enough_and_both_logs_are_proven() {
    let (state, boot) = following();
    let minimum = state.minimum(boot);
    let good = active(1, 1, as_of(10, 10), READ);
    assert_eq!(state.judge(&good, &minimum, boot), Ok(()));
    assert_eq!(state.judge(&active(1, 1, as_of(9, 10), READ), &minimum, boot), Err(Unusable::Behind));
    assert_eq!(state.judge(&active(1, 1, as_of(10, 9), READ), &minimum, boot), Err(Unusable::Behind));
    assert_eq!(state.judge(&good, &minimum, boot.plus(5 * SECOND)), Err(Unusable::Unproven));
    let mut newer = active(1, 1, as_of(10, 10), READ);
    newer.as_of.core.epoch = 2;
    assert_eq!(state.judge(&newer, &minimum, boot), Err(Unusable::NewEpoch(Log::Core)));
    // A primary that was cut off answers reads and proves no head, of either log.
    for log in [Log::Auth, Log::Core] {
        let (mut state, boot) = following();
        state.forget(log);
        assert_eq!(state.judge(&good, &state.minimum(boot), boot), Err(Unusable::Unproven));
    }
}
