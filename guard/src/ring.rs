//! The last access events of one log, as far as they are needed to judge an answer that was computed earlier.
//!
//! It owns the question "did anything happen to these people since", and knows how far back it can answer it.

use crate::named::Named;
use kisum_events::{AccessSubject, Position};
use std::collections::VecDeque;

/// Events kept for each log. An answer is seldom older than a few hundred milliseconds; 4096 events are that much at
/// ten thousand changes of access a second.
const EVENTS_MAX: usize = 4096;

/// What is known of the time since a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing happened to them.
    Nothing,
    /// Something did.
    Something,
    /// It lies too far back.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Ring {
    /// Every event above this position, up to the last applied, is held.
    floor: Position,
    events: VecDeque<(Position, Named)>,
}

impl Ring {
    /// A ring that knows nothing up to `floor`.
    pub(crate) const fn new(floor: Position) -> Self {
        Self { floor, events: VecDeque::new() }
    }

    /// Records an applied event; positions only grow.
    pub(crate) fn push(&mut self, position: Position, named: Named) {
        if self.events.len() >= EVENTS_MAX
            && let Some((gone, _)) = self.events.pop_front()
        {
            self.floor = gone;
        }
        self.events.push_back((position, named));
    }

    /// Whether an event above `after` names the subject.
    pub(crate) fn since(&self, after: Position, subject: &AccessSubject) -> Since {
        if after < self.floor {
            return Since::Unknown;
        }
        let newer = self.events.iter().rev().take_while(|(position, _)| *position > after);
        if newer.into_iter().any(|(_, named)| named.concerns(subject)) { Since::Something } else { Since::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENTS_MAX, Ring, Since};
    use crate::named::Named;
    use kisum_events::{AccessSubject, CompanyId, SessionId, UserId};
    use uuid::Uuid;

    fn company(n: u128) -> CompanyId {
        CompanyId::new(Uuid::from_u128(n))
    }

    fn subject(n: u128) -> AccessSubject {
        let (user_id, session_id) = (UserId::new(Uuid::from_u128(1)), SessionId::new(Uuid::from_u128(1)));
        AccessSubject { user_id, session_id, company_id: Some(company(n)), membership_id: None }
    }

    #[test]
    fn an_event_counts_only_above_the_asked_position_and_for_whom_it_names() {
        let mut ring = Ring::new(10);
        ring.push(12, Named::Company(company(1)));
        assert_eq!(ring.since(10, &subject(1)), Since::Something);
        assert_eq!(ring.since(12, &subject(1)), Since::Nothing);
        assert_eq!(ring.since(10, &subject(2)), Since::Nothing);
        assert_eq!(ring.since(9, &subject(2)), Since::Unknown);
    }

    #[test]
    fn what_was_pushed_out_is_unknown_not_nothing() {
        let mut ring = Ring::new(0);
        for position in 1..=(EVENTS_MAX as u64 + 1) {
            ring.push(position, Named::Company(company(1)));
        }
        assert_eq!(ring.since(0, &subject(2)), Since::Unknown);
        assert_eq!(ring.since(1, &subject(2)), Since::Nothing);
    }
}
