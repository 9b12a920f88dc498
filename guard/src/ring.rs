//! The last access events of one log, as far as they are needed to judge an answer that was computed earlier.
//!
//! It owns the question "did anything happen to these people since", answers it without looking at every event, and
//! knows how far back it can.

use crate::named::Named;
use kisum_events::{AccessSubject, CompanyId, MembershipId, Position, SessionId, UserId};
use std::collections::{HashMap, VecDeque};

/// Events remembered; an answer that is older is used once and not kept.
const EVENTS_MAX: usize = 16_384;

/// What the remembered events say of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing happened to them.
    Nothing,
    /// Something did.
    Something,
    /// It is not remembered that far back.
    Unknown,
}

/// What an event can be found by. Who is no member yet is meant by any membership of their company that may be theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Everybody,
    Company(CompanyId),
    User(UserId),
    /// A person's sessions: their end is nothing to whom they gave something.
    SessionsOf(UserId),
    Session(SessionId),
    Membership(MembershipId),
    Stranger(Option<CompanyId>, Option<UserId>),
    StrangerAnywhere(Option<UserId>),
}

impl Key {
    fn of_event(named: &Named) -> impl Iterator<Item = Self> + use<> {
        let (one, two, three) = match *named {
            Named::Keys => return [None, None, None].into_iter().flatten(),
            Named::Everybody => (Self::Everybody, None, None),
            Named::Company(id) => (Self::Company(id), None, None),
            Named::User(id) => (Self::User(id), None, None),
            Named::EndedSession { id, user, .. } => (Self::SessionsOf(user), Some(Self::Session(id)), None),
            Named::Membership { id, company, user } => {
                (Self::Membership(id), Some(Self::Stranger(company, user)), Some(Self::StrangerAnywhere(user)))
            }
        };
        [Some(one), two, three].into_iter().flatten()
    }

    fn of_subject(subject: &AccessSubject) -> impl Iterator<Item = Self> + use<'_> {
        let AccessSubject { user_id: user, session_id, company_id, membership_id, ref relies_on } = *subject;
        let by_membership = match (membership_id, company_id) {
            (Some(id), _) => [Some(Self::Membership(id)), None, None, None],
            (None, Some(company)) => {
                let stranger = |company, user| Some(Self::Stranger(company, user));
                [
                    stranger(Some(company), Some(user)),
                    stranger(Some(company), None),
                    stranger(None, Some(user)),
                    stranger(None, None),
                ]
            }
            (None, None) => [Some(Self::StrangerAnywhere(Some(user))), Some(Self::StrangerAnywhere(None)), None, None],
        };
        let by_givers =
            relies_on.iter().flat_map(|giver| [Self::User(giver.user_id), Self::Membership(giver.membership_id)]);
        [Self::Everybody, Self::User(user), Self::SessionsOf(user), Self::Session(session_id)]
            .into_iter()
            .chain(company_id.map(Self::Company))
            .chain(by_membership.into_iter().flatten())
            .chain(by_givers)
    }
}

/// The last events of one log.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Everything above is remembered.
    floor: Position,
    events: VecDeque<(Position, Named)>,
    /// The newest event of each key.
    newest: HashMap<Key, Position>,
}

impl Ring {
    /// A ring of a log that is followed from `floor` on.
    pub(crate) fn new(floor: Position) -> Self {
        Self { floor, events: VecDeque::new(), newest: HashMap::new() }
    }

    /// Remembers an event, which is above all others.
    pub(crate) fn push(&mut self, position: Position, named: Named) {
        if self.events.len() >= EVENTS_MAX
            && let Some((gone, named)) = self.events.pop_front()
        {
            self.floor = gone;
            for key in Key::of_event(&named) {
                if self.newest.get(&key) == Some(&gone) {
                    self.newest.remove(&key);
                }
            }
        }
        self.events.push_back((position, named));
        self.newest.extend(Key::of_event(&named).map(|key| (key, position)));
    }

    /// Whether an event above `after` concerns somebody.
    pub(crate) fn since(&self, after: Position, subject: &AccessSubject) -> Since {
        if after < self.floor {
            return Since::Unknown;
        }
        let happened = |key| self.newest.get(&key).is_some_and(|position| *position > after);
        if Key::of_subject(subject).any(happened) { Since::Something } else { Since::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENTS_MAX, Ring, Since};
    use crate::{
        named::Named,
        samples::{company, membership, session, user, wall},
    };
    use kisum_events::{AccessSubject, Giver};
    use proptest::{collection::vec, option, prelude::*};

    fn subject(n: u128) -> AccessSubject {
        AccessSubject {
            user_id: user(1),
            session_id: session(1),
            company_id: Some(company(n)),
            membership_id: None,
            relies_on: vec![],
        }
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
            ring.push(position, Named::Company(company(u128::from(position))));
        }
        assert_eq!(ring.since(0, &subject(2)), Since::Unknown);
        assert_eq!(ring.since(1, &subject(1)), Since::Nothing);
        assert_eq!(ring.since(1, &subject(2)), Since::Something);
        assert_eq!((ring.events.len(), ring.newest.len()), (EVENTS_MAX, EVENTS_MAX));
    }

    fn named() -> impl Strategy<Value = Named> {
        let few = 1..4_u128;
        prop_oneof![
            1 => Just(Named::Everybody),
            1 => Just(Named::Keys),
            4 => few.clone().prop_map(|n| Named::Company(company(n))),
            4 => few.clone().prop_map(|n| Named::User(user(n))),
            4 => (few.clone(), few.clone())
                .prop_map(|(id, n)| Named::EndedSession { id: session(id), user: user(n), until: wall() }),
            8 => (few.clone(), option::of(few.clone()), option::of(few)).prop_map(|(id, company_n, user_n)| {
                Named::Membership { id: membership(id), company: company_n.map(company), user: user_n.map(user) }
            }),
        ]
    }

    proptest! {
        #[test]
        fn it_says_what_looking_at_every_event_says(
            events in vec(named(), 0..12),
            after in 0..13_u64,
            who in (1..4_u128, 1..4_u128, option::of(1..4_u128), option::of(1..4_u128)),
            givers in vec((1..4_u128, 1..4_u128), 0..2),
        ) {
            let subject = AccessSubject {
                user_id: user(who.0),
                session_id: session(who.1),
                company_id: who.2.map(company),
                membership_id: who.3.map(membership),
                // Only members are given something.
                relies_on: givers
                    .into_iter()
                    .filter(|_| who.3.is_some())
                    .map(|(user_n, n)| Giver { user_id: user(user_n), membership_id: membership(n) })
                    .collect(),
            };
            let mut ring = Ring::new(0);
            let placed: Vec<_> = (1..).zip(events).collect();
            for (position, named) in &placed {
                ring.push(*position, *named);
            }
            let happened = placed.iter().any(|(position, named)| *position > after && named.concerns(&subject));
            let expected = if happened { Since::Something } else { Since::Nothing };
            prop_assert_eq!(ring.since(after, &subject), expected);
        }
    }
}
