//! The sessions that Auth has vouched for, each by an answer of its own.
//!
//! A context is kept for a person, and every session of theirs would find it. It owns saying which of them may: those
//! that were answered for since all of the person's were last ended. It refuses to rely on each session's own end being
//! told: a session may be over with all of its person's and have no event that says so (`session::is_superseded`).

use crate::named::Named;
use kisum_events::{SessionId, UserId};
use std::collections::HashMap;

/// Sessions of one person that are known; the one that was shown first gives way and is asked about again.
const SESSIONS_MAX: usize = 128;

/// Persons who are remembered, and as many again before they are forgotten: of each at least one session, about 100 bytes.
pub(crate) const PERSONS_MAX: usize = 100_000;

type Sessions = HashMap<UserId, Vec<SessionId>>;

#[derive(Debug)]
pub(crate) struct Shown {
    /// Persons in each of the two.
    capacity: usize,
    young: Sessions,
    /// Who was shown before as many others; they go once `young` is full again.
    old: Sessions,
}

impl Shown {
    /// Room for so many persons, and for as many again before they are forgotten.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    pub(crate) fn contains(&self, user: UserId, session: SessionId) -> bool {
        [&self.young, &self.old].iter().any(|all| all.get(&user).is_some_and(|shown| shown.contains(&session)))
    }

    /// Auth has answered for a session, and nothing has happened to its person since.
    pub(crate) fn insert(&mut self, user: UserId, session: SessionId) {
        if !self.young.contains_key(&user) && self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        let shown = self.young.entry(user).or_default();
        if !shown.contains(&session) {
            let surplus = (shown.len() + 1).saturating_sub(SESSIONS_MAX);
            shown.drain(..surplus);
            shown.push(session);
        }
    }

    /// Forgets the sessions that an event may have ended.
    pub(crate) fn drop_named(&mut self, named: &Named) {
        match *named {
            Named::Everybody => self.clear(),
            Named::User(user) => [&mut self.young, &mut self.old].into_iter().for_each(|all| drop(all.remove(&user))),
            Named::EndedSession { id, user, .. } => {
                for all in [&mut self.young, &mut self.old] {
                    if let Some(shown) = all.get_mut(&user) {
                        shown.retain(|session| *session != id);
                    }
                }
            }
            Named::Company(_) | Named::Membership { .. } | Named::Keys => {}
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::{SESSIONS_MAX, Shown};
    use crate::{
        named::Named,
        samples::{company, session, user, wall},
    };

    #[test]
    fn what_happens_to_a_person_forgets_all_their_sessions_and_the_end_of_one_that_one() {
        let mut shown = Shown::new(10);
        for (person, number) in [(1, 1), (1, 2), (2, 3)] {
            shown.insert(user(person), session(number));
        }
        shown.drop_named(&Named::Company(company(1)));
        shown.drop_named(&Named::EndedSession { id: session(1), user: user(1), until: wall() });
        assert!(!shown.contains(user(1), session(1)) && shown.contains(user(1), session(2)));
        assert!(!shown.contains(user(2), session(2)), "somebody else's");
        shown.drop_named(&Named::User(user(1)));
        assert!(!shown.contains(user(1), session(2)) && shown.contains(user(2), session(3)));
        shown.drop_named(&Named::Everybody);
        assert!(!shown.contains(user(2), session(3)));
    }

    #[test]
    fn it_has_bounded_room_and_what_was_shown_last_stays() {
        let mut shown = Shown::new(4);
        for number in 0..100 {
            shown.insert(user(number), session(number));
            assert!(shown.contains(user(number), session(number)));
            assert!(shown.young.len() + shown.old.len() <= 8);
        }
        assert!(shown.contains(user(98), session(98)) && !shown.contains(user(1), session(1)));
        // What was moved aside is forgotten all the same.
        for number in 96..100 {
            shown.drop_named(&Named::User(user(number)));
            assert!(!shown.contains(user(number), session(number)));
        }
        for number in 0..2 * SESSIONS_MAX as u128 {
            shown.insert(user(1), session(number));
        }
        assert_eq!(shown.young[&user(1)].len(), SESSIONS_MAX);
        assert!(shown.contains(user(1), session(2 * SESSIONS_MAX as u128 - 1)) && !shown.contains(user(1), session(0)));
    }
}
