//! What this process has written itself and not seen come back yet: kept answers about it are not believed until then,
//! so that whoever was told that a command is done sees it done.
//!
//! It owns that short memory. It refuses to know what was written.

use crate::clock::BootTime;
use kisum_events::{AccessSubject, CompanyId, Cursor, MembershipId, SessionId, StreamName, UserId};
use std::{collections::HashMap, time::Duration};

/// How long a write is doubted that does not come back, because its log has begun another epoch. A lease does not outlive
/// it.
const DOUBTED: Duration = Duration::from_secs(5);

/// A stream that an answer about access rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rest {
    User(UserId),
    Session(SessionId),
    Company(CompanyId),
    Membership(MembershipId),
}

impl Rest {
    /// What the stream of an event is to answers; a role is to all of its company's.
    fn of(stream: &StreamName, company: Option<CompanyId>) -> Option<Self> {
        let id = stream.id();
        match stream.kind() {
            "user" => id.parse().ok().map(Self::User),
            "session" => id.parse().ok().map(Self::Session),
            "company" => id.parse().ok().map(Self::Company),
            "membership" => id.parse().ok().map(Self::Membership),
            "role" => company.map(Self::Company),
            _ => None,
        }
    }
}

/// Writes that are not applied yet.
#[derive(Debug, Default)]
pub(crate) struct Doubts(HashMap<Rest, (Cursor, BootTime)>);

impl Doubts {
    /// Streams were written, each about a company or none, the last event at `at`.
    pub(crate) fn insert(
        &mut self,
        streams: &[(StreamName, Option<CompanyId>)],
        at: Cursor,
        applied: Cursor,
        now: BootTime,
    ) {
        self.0.retain(|_, doubt| is_open(doubt, applied, now));
        for rest in streams.iter().filter_map(|(stream, company)| Rest::of(stream, *company)) {
            // Two who wrote one after the other may come here the other way round.
            let (until, since) = self.0.entry(rest).or_insert((at, now));
            if (until.epoch, until.position) < (at.epoch, at.position) {
                *until = at;
            }
            *since = (*since).max(now);
        }
    }

    /// Whether an answer about somebody, by one of their sessions, rests on such a stream. A person who was no member
    /// may have become one: by that their own entry is not known, so any written membership counts.
    pub(crate) fn concern(&self, subject: &AccessSubject, session: SessionId, applied: Cursor, now: BootTime) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let doubted = |rest| self.0.get(&rest).is_some_and(|doubt| is_open(doubt, applied, now));
        let membership = match subject.membership_id {
            Some(id) => doubted(Rest::Membership(id)),
            None => self.0.iter().any(|(rest, doubt)| {
                matches!(rest, Rest::Membership(_) | Rest::Company(_)) && is_open(doubt, applied, now)
            }),
        };
        membership
            || doubted(Rest::User(subject.user_id))
            || subject
                .relies_on
                .iter()
                .any(|giver| doubted(Rest::User(giver.user_id)) || doubted(Rest::Membership(giver.membership_id)))
            || doubted(Rest::Session(session))
            || subject.company_id.is_some_and(|id| doubted(Rest::Company(id)))
    }
}

fn is_open((at, since): &(Cursor, BootTime), applied: Cursor, now: BootTime) -> bool {
    let is_applied = applied.epoch == at.epoch && applied.position >= at.position;
    !is_applied && now.since(*since) < DOUBTED
}

#[cfg(test)]
mod tests {
    use super::{DOUBTED, Doubts};
    use crate::clock::BootTime;
    use crate::samples::{at, company, membership, role, session, subject, user};
    use kisum_events::StreamName;
    use std::time::Duration;

    fn moment(ms: u64) -> BootTime {
        BootTime::since_boot(Duration::from_millis(ms))
    }

    #[test]
    fn an_own_write_is_doubted_until_it_comes_back() {
        let mut doubts = Doubts::default();
        doubts.insert(&[(StreamName::membership(membership(4)), None)], at(9), at(5), moment(0));
        assert!(doubts.concern(&subject(1, 1, Some(4)), session(1), at(8), moment(1)));
        assert!(!doubts.concern(&subject(1, 1, Some(4)), session(1), at(9), moment(1)));
        assert!(!doubts.concern(&subject(2, 1, Some(5)), session(2), at(8), moment(1)));
        // Who was no member may be one now.
        assert!(doubts.concern(&subject(3, 1, None), session(3), at(8), moment(1)));
    }

    #[test]
    fn a_role_of_one_s_own_writing_makes_every_answer_of_its_company_doubtful() {
        let mut doubts = Doubts::default();
        doubts.insert(&[(StreamName::role(role(3)), Some(company(1)))], at(9), at(5), moment(0));
        assert!(doubts.concern(&subject(1, 1, Some(4)), session(1), at(8), moment(1)));
        assert!(!doubts.concern(&subject(1, 1, Some(4)), session(1), at(9), moment(1)));
        assert!(!doubts.concern(&subject(1, 2, Some(4)), session(1), at(8), moment(1)));
    }

    #[test]
    fn what_never_comes_back_is_doubted_for_as_long_as_a_lease_lasts() {
        let mut doubts = Doubts::default();
        let streams = [StreamName::session(session(7)), StreamName::user(user(1)), StreamName::company(company(2))];
        doubts.insert(&streams.map(|stream| (stream, None)), at(9), at(5), moment(0));
        let last = u64::try_from(DOUBTED.as_millis()).unwrap() - 1;
        assert!(doubts.concern(&subject(3, 3, Some(3)), session(7), at(8), moment(last)));
        assert!(doubts.concern(&subject(1, 3, Some(3)), session(1), at(8), moment(last)));
        assert!(doubts.concern(&subject(3, 2, Some(3)), session(1), at(8), moment(last)));
        assert!(!doubts.concern(&subject(1, 2, Some(3)), session(7), at(8), moment(last + 1)));
        doubts.insert(&[], at(9), at(5), moment(last + 1));
        assert!(doubts.0.is_empty());
    }

    #[test]
    fn of_two_writes_the_later_one_counts_whichever_is_told_first() {
        for order in [[9, 10], [10, 9]] {
            let mut doubts = Doubts::default();
            for position in order {
                doubts.insert(&[(StreamName::membership(membership(4)), None)], at(position), at(5), moment(0));
            }
            assert!(doubts.concern(&subject(1, 1, Some(4)), session(1), at(9), moment(1)));
            assert!(!doubts.concern(&subject(1, 1, Some(4)), session(1), at(10), moment(1)));
        }
    }
}
