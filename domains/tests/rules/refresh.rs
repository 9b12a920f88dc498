//! Rules of the rotation: current, lost answer, theft, forgery.

use crate::given::{at, given, user};
use kisum_domains::session::{
    PREDECESSORS_MAX, Presented, RefreshError, RefreshOutcome, RefreshPolicy, Session, refresh,
};
use kisum_events::{AuthMethod, Sealed, SessionEndCause, SessionEvent};
use std::time::Duration;

const POLICY: RefreshPolicy =
    RefreshPolicy { idle_ttl: Duration::from_secs(1000), access_token_ttl: Duration::from_secs(300) };

/// The hash that the story gives to a generation.
fn hash(generation: u32) -> String {
    format!("h{generation}")
}

fn started() -> SessionEvent {
    SessionEvent::Started {
        user_id: user(1),
        amr: vec![AuthMethod::Pwd],
        idle_until: at(1000),
        absolute_until: at(5000),
        token_hash: Sealed::new(hash(0)),
        ip: Sealed::absent(),
        agent: Sealed::absent(),
        user_version: None,
    }
}

/// Rotated to `generation` at that second.
fn rotated(generation: u32, second: u64) -> SessionEvent {
    SessionEvent::Refreshed {
        generation,
        rotated_at: at(second),
        idle_until: at((second + 1000).min(5000)),
        token_hash: Sealed::new(hash(generation)),
    }
}

fn token(generation: u32) -> Presented {
    Presented { generation, token_hash: hash(generation) }
}

/// Presents a token at that second to a session with that history.
fn present(history: &[SessionEvent], presented: Presented, second: u64) -> Result<RefreshOutcome, RefreshError> {
    let state = given::<Session>([started()].into_iter().chain(history.iter().cloned())).state;
    let successor = hash(presented.generation + 1);
    refresh(&state, presented, successor, POLICY, at(second))
}

fn reuse(generation: u32, second: u64) -> Result<RefreshOutcome, RefreshError> {
    Ok(RefreshOutcome::Reuse {
        events: vec![
            SessionEvent::ReuseDetected { generation },
            SessionEvent::Ended {
                user_id: user(1),
                cause: SessionEndCause::ReuseDetected,
                tokens_until: at(second + 300 + 30),
            },
        ],
    })
}

#[test]
fn the_current_token_is_rotated() {
    let expected = RefreshOutcome::Rotated { events: vec![rotated(1, 100)], generation: 1 };
    assert_eq!(present(&[], token(0), 100), Ok(expected));
    let expected = RefreshOutcome::Rotated { events: vec![rotated(2, 900)], generation: 2 };
    assert_eq!(present(&[rotated(1, 100)], token(1), 900), Ok(expected));
}

#[test]
fn rotation_never_moves_the_idle_end_behind_the_absolute_one() {
    let history = [rotated(1, 900), rotated(2, 1800), rotated(3, 2700), rotated(4, 3600), rotated(5, 4500)];
    let expected = RefreshOutcome::Rotated { events: vec![rotated(6, 4900)], generation: 6 };
    assert_eq!(present(&history, token(5), 4900), Ok(expected));
    assert_eq!(present(&history, token(5), 5000), Err(RefreshError::Expired));
}

#[test]
fn a_replayed_predecessor_gets_the_same_successor_until_it_is_used_for_ten_minutes_at_most() {
    let history = [rotated(1, 100)];
    for second in [100, 109, 111, 699] {
        assert_eq!(present(&history, token(0), second), Ok(RefreshOutcome::Replayed { generation: 1 }), "{second}");
    }
    assert_eq!(present(&history, token(0), 700), reuse(0, 700));
}

#[test]
fn a_replayed_predecessor_gets_its_successor_for_ten_seconds_even_when_that_was_used() {
    let history = [rotated(1, 100), rotated(2, 103)];
    assert_eq!(present(&history, token(0), 109), Ok(RefreshOutcome::Replayed { generation: 1 }));
    assert_eq!(present(&history, token(1), 109), Ok(RefreshOutcome::Replayed { generation: 2 }));
    assert_eq!(present(&history, token(0), 110), reuse(0, 110));
    assert_eq!(present(&history, token(1), 600), Ok(RefreshOutcome::Replayed { generation: 2 }));
}

#[test]
fn a_token_older_than_the_predecessor_ends_the_session() {
    let history = [rotated(1, 100), rotated(2, 300), rotated(3, 500)];
    assert_eq!(present(&history, token(0), 501), reuse(0, 501));
    assert_eq!(present(&history, token(1), 501), reuse(1, 501));
    assert_eq!(present(&history, token(2), 501), Ok(RefreshOutcome::Replayed { generation: 3 }));
}

#[test]
fn whoever_knows_only_the_session_id_cannot_end_the_session_by_guessing() {
    let history = [rotated(1, 100), rotated(2, 300)];
    for generation in [0, 1, 2, 3, u32::MAX - 1] {
        let forged = Presented { generation, token_hash: "guessed".into() };
        assert_eq!(present(&history, forged, 301), Err(RefreshError::WrongSecret), "{generation}");
    }
}

#[test]
fn a_right_hash_under_another_generation_is_worth_nothing() {
    let history = [rotated(1, 100)];
    let moved = Presented { generation: 0, token_hash: hash(1) };
    assert_eq!(present(&history, moved, 101), Err(RefreshError::WrongSecret));
}

#[test]
fn a_generation_below_the_kept_ones_ends_the_session() {
    let history: Vec<SessionEvent> = (1..=20).map(|generation| rotated(generation, u64::from(generation))).collect();
    let state = given::<Session>([started()].into_iter().chain(history.iter().cloned())).state;
    let kept: Vec<u32> = state.predecessors.get().into_iter().flatten().map(|kept| kept.generation).collect();
    assert_eq!(kept, (4..20).collect::<Vec<u32>>());
    assert_eq!(kept.len(), PREDECESSORS_MAX);
    assert_eq!(present(&history, token(3), 21), reuse(3, 21));
    assert_eq!(present(&history, token(19), 21), Ok(RefreshOutcome::Replayed { generation: 20 }));
}

#[test]
fn nothing_comes_of_a_session_that_is_over_or_unknown() {
    let ended = SessionEvent::Ended { user_id: user(1), cause: SessionEndCause::Logout, tokens_until: at(400) };
    assert_eq!(present(&[ended], token(0), 100), Err(RefreshError::Ended));
    assert_eq!(present(&[], token(0), 1000), Err(RefreshError::Expired));
    let unknown = refresh(&Session::default(), token(0), hash(1), POLICY, at(0));
    assert_eq!(unknown, Err(RefreshError::Unknown));
}

#[test]
fn a_session_whose_sealed_part_is_gone_refreshes_for_nobody() {
    let mut state = given::<Session>([started(), rotated(1, 100)]).state;
    state.token_hash = Sealed::absent();
    assert_eq!(refresh(&state, token(1), hash(2), POLICY, at(101)), Err(RefreshError::WrongSecret));
}
