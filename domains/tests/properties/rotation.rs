//! A session's token under any mix of refreshes, lost answers, thefts and forgeries.

use crate::story::{at, user};
use kisum_domains::{
    Session,
    session::{self, Presented, RefreshOutcome, RefreshPolicy, StartSession},
};
use kisum_events::{Aggregate, AuthMethod, SessionEvent};
use proptest::{collection::vec, prelude::*};
use std::time::Duration;

const POLICY: RefreshPolicy =
    RefreshPolicy { idle_ttl: Duration::from_secs(2000), access_token_ttl: Duration::from_secs(300) };

fn hash(generation: u32) -> String {
    format!("h{generation}")
}

/// After so many seconds a token comes, so many generations behind the current one.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    after: u64,
    behind: u32,
    forged: bool,
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let after = prop_oneof![0_u64..15, 500_u64..700];
    let behind = prop_oneof![3 => Just(0_u32), 2 => Just(1_u32), 1 => 2_u32..5];
    (after, behind, proptest::bool::weighted(0.1)).prop_map(|(after, behind, forged)| Attempt { after, behind, forged })
}

fn started() -> Session {
    let command = StartSession {
        user_id: user(1),
        amr: vec![AuthMethod::Pwd],
        token_hash: hash(0),
        ip: None,
        agent: None,
        idle_ttl: POLICY.idle_ttl,
        absolute_ttl: Duration::from_secs(100_000),
        user_version: 1,
    };
    let events = session::start(&Session::default(), command, at(0)).unwrap_or_else(|error| panic!("{error}"));
    let mut state = Session::default();
    apply(&mut state, &events);
    state
}

fn apply(state: &mut Session, events: &[SessionEvent]) {
    for event in events {
        state.evolve(event, 1);
    }
}

proptest! {
    #[test]
    fn every_token_has_one_successor_and_a_forged_one_has_no_consequence(
        attempts in vec(any_attempt(), 0..60)
    ) {
        let mut state = started();
        let mut second = 0;
        for attempt in attempts {
            second += attempt.after;
            let Some(current) = state.generation() else { break };
            let generation = current.saturating_sub(attempt.behind);
            let token_hash = if attempt.forged { "forged".to_owned() } else { hash(generation) };
            let presented = Presented { generation, token_hash };
            let before = state.clone();
            match session::refresh(&state, presented, hash(generation + 1), POLICY, at(second)) {
                Ok(RefreshOutcome::Rotated { events, generation: successor }) => {
                    prop_assert!(!attempt.forged && generation == current && successor == current + 1);
                    apply(&mut state, &events);
                    prop_assert_eq!(state.generation(), Some(successor));
                    prop_assert!(session::is_live(&state, at(second)));
                }
                Ok(RefreshOutcome::Replayed { generation: successor }) => {
                    prop_assert!(!attempt.forged && generation < current && successor == generation + 1);
                }
                Ok(RefreshOutcome::Reuse { events }) => {
                    prop_assert!(!attempt.forged && generation < current);
                    apply(&mut state, &events);
                    prop_assert!(!session::is_live(&state, at(second)));
                }
                Err(_) => prop_assert_eq!(&state, &before),
            }
        }
    }
}
