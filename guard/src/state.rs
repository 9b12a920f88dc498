//! What a guard knows, as a plain state machine: events, heads and answers come in, decisions come out.
//!
//! It owns the fill rule, the leases and the ladder's first step (`consistency.md`). It refuses to do any I/O and to
//! read a clock; everything around it may fail or repeat itself without making it wrong.

use crate::{
    answer::{Answer, Verdict},
    clock::BootTime,
    contexts::{Asked, Contexts},
    ended::EndedSessions,
    lease::{Counted, Proofs},
    named::Named,
    passing::Passing,
    ring::{Ring, Since},
    shown::{PERSONS_MAX, Shown},
};
use kisum_events::{
    AccessSubject, AsOf, Cursor, Envelope, Head, Log, Position, Sequence, SessionId, Step, Timestamp, UserId, View,
};
use std::{sync::Arc, time::Duration};

/// How long a head may be above what is applied before that counts as a hole (`consistency.md`, push).
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// What became of an event that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// It was the next one; what it names was dropped.
    Applied(Named),
    /// It was known, or belongs to an epoch that is over.
    Old,
    /// Something before it is missing.
    Hole,
    /// A new epoch began: start cold.
    NewEpoch,
    /// Nobody follows this log yet.
    Cold,
}

/// What became of a head that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadSeen {
    /// It is a proof.
    Counted,
    /// It is older than one seen before.
    Older,
    /// A new epoch began: start cold.
    NewEpoch,
    /// Nobody follows this log yet.
    Cold,
}

/// What became of an answer that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// It is kept.
    Kept,
    /// It may be used, not kept.
    Passed,
    /// Something happened to these people while it was computed: ask again.
    Overtaken,
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It was computed from less than was asked for.
    Behind,
    /// It is of a newer epoch of this log than the one followed: start cold.
    NewEpoch(Log),
    /// Nobody can say that the entitlements in it are current.
    Unproven,
}

/// One log in one epoch.
#[derive(Debug)]
struct Followed {
    sequence: Sequence,
    ring: Ring,
    proofs: Proofs,
    /// The highest access position that a head showed.
    shown: Position,
    /// Since when `shown` has been above what is applied.
    behind_since: Option<BootTime>,
}

impl Followed {
    fn applied(&self) -> Cursor {
        self.sequence.at()
    }

    fn leased(&self, now: BootTime) -> bool {
        self.proofs.lease(self.applied().position).is_some_and(|until| now < until)
    }

    fn apply(&mut self, envelope: &Envelope, named: Named) {
        self.ring.push(envelope.position, named);
        self.sequence.applied(envelope.position);
        if self.applied().position >= self.shown {
            self.behind_since = None;
        }
    }
}

#[derive(Debug)]
pub(crate) struct State {
    auth: Option<Followed>,
    core: Option<Followed>,
    contexts: Contexts,
    passing: Passing,
    ended: EndedSessions,
    shown: Shown,
}

impl State {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            auth: None,
            core: None,
            contexts: Contexts::new(entries_max),
            passing: Passing::default(),
            ended: EndedSessions::default(),
            shown: Shown::new(PERSONS_MAX),
        }
    }

    fn log(&self, log: Log) -> Option<&Followed> {
        match log {
            Log::Auth => self.auth.as_ref(),
            Log::Core => self.core.as_ref(),
        }
    }

    fn log_mut(&mut self, log: Log) -> &mut Option<Followed> {
        match log {
            Log::Auth => &mut self.auth,
            Log::Core => &mut self.core,
        }
    }

    /// Forgets everything that rests on a log: its epoch is over, or it was never followed.
    pub(crate) fn forget(&mut self, log: Log) {
        *self.log_mut(log) = None;
        self.contexts.clear();
        self.passing.clear();
        if log == Log::Auth {
            self.ended = EndedSessions::default();
            self.shown.clear();
        }
    }

    /// Starts to follow a log at a place up to which nothing needs to be known, because nothing is kept yet.
    pub(crate) fn start(&mut self, log: Log, at: Cursor) {
        *self.log_mut(log) = Some(Followed {
            sequence: Sequence::new(View::AccessOnly, at),
            ring: Ring::new(at.position),
            proofs: Proofs::default(),
            shown: at.position,
            behind_since: None,
        });
    }

    /// Records that a session is over, whoever said so.
    pub(crate) fn end_session(&mut self, session: SessionId, tokens_until: Timestamp, now: Timestamp) {
        self.ended.insert(session, tokens_until, now);
    }

    /// Whether a session is known to be over.
    pub(crate) fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains(session)
    }

    /// Whether Auth has answered for a session since anything happened to its person. What is kept of a person counts for
    /// no other: it may be over with all of theirs, though no event has said so of it.
    pub(crate) fn is_shown(&self, user: UserId, session: SessionId) -> bool {
        self.shown.contains(user, session) && !self.has_ended(session)
    }

    /// Where a log is followed up to.
    pub(crate) fn applied(&self, log: Log) -> Option<Cursor> {
        self.log(log).map(Followed::applied)
    }

    /// Up to where nothing of both logs is missing, while both leases run: nothing that either holds behind it can be five
    /// seconds old.
    pub(crate) fn proven(&self, boot: BootTime) -> Option<AsOf> {
        let reached = |followed: &Followed| {
            let Cursor { epoch, position } = followed.applied();
            Cursor { epoch, position: followed.proofs.reached(position) }
        };
        let leased = |log| self.log(log).filter(|followed| followed.leased(boot)).map(reached);
        Some(AsOf { auth: leased(Log::Auth)?, core: leased(Log::Core)? })
    }

    /// Whether anything between `as_of` and what is applied concerns somebody.
    pub(crate) fn since(&self, as_of: AsOf, subject: &AccessSubject) -> Since {
        let mut since = Since::Nothing;
        for (log, as_of) in [(Log::Auth, as_of.auth), (Log::Core, as_of.core)] {
            let Some(followed) = self.log(log).filter(|followed| followed.applied().epoch == as_of.epoch) else {
                return Since::Unknown;
            };
            match followed.ring.since(as_of.position, subject) {
                Since::Nothing => {}
                Since::Something => since = Since::Something,
                Since::Unknown => return Since::Unknown,
            }
        }
        since
    }

    /// Takes an access event in, whichever way it came.
    pub(crate) fn event(&mut self, envelope: &Envelope, now: Timestamp) -> Arrived {
        let Some(followed) = self.log_mut(envelope.log) else { return Arrived::Cold };
        match followed.sequence.judge(envelope.cursor(), envelope.previous_access_position) {
            Step::Old => Arrived::Old,
            Step::Hole { .. } => Arrived::Hole,
            Step::OtherEpoch if envelope.epoch < followed.applied().epoch => Arrived::Old,
            Step::OtherEpoch => Arrived::NewEpoch,
            Step::Apply => {
                let named = Named::by(envelope);
                followed.apply(envelope, named);
                if let Named::EndedSession { id, until, .. } = named {
                    self.ended.insert(id, until, now);
                }
                self.contexts.drop_named(&named);
                self.passing.drop_named(&named);
                self.shown.drop_named(&named);
                Arrived::Applied(named)
            }
        }
    }

    /// Takes a head in that was asked for at `asked` and arrived at `now`.
    pub(crate) fn head(&mut self, log: Log, head: &Head, asked: BootTime, now: BootTime) -> HeadSeen {
        let Some(followed) = self.log_mut(log) else { return HeadSeen::Cold };
        if head.epoch < followed.applied().epoch {
            return HeadSeen::Older;
        }
        if head.epoch > followed.applied().epoch {
            return HeadSeen::NewEpoch;
        }
        if followed.proofs.record(asked, head) == Counted::Older {
            return HeadSeen::Older;
        }
        followed.shown = followed.shown.max(head.access_position);
        if followed.shown > followed.applied().position && followed.behind_since.is_none() {
            followed.behind_since = Some(now);
        }
        HeadSeen::Counted
    }

    /// Whether an event that a head showed has not come for so long that it must be fetched.
    pub(crate) fn is_behind(&self, log: Log, now: BootTime) -> bool {
        self.log(log).and_then(|followed| followed.behind_since).is_some_and(|since| now.since(since) >= BEHIND_MAX)
    }

    /// Whether the lease of a log runs.
    pub(crate) fn is_leased(&self, log: Log, now: BootTime) -> bool {
        self.log(log).is_some_and(|followed| followed.leased(now))
    }

    /// How old the newest proof is that what is applied satisfies.
    pub(crate) fn proof_age(&self, log: Log, now: BootTime) -> Option<Duration> {
        let followed = self.log(log)?;
        followed.proofs.proven(followed.applied().position).map(|at| now.since(at))
    }

    /// What an answer asked for now must have seen: everything applied, and everything that a running proof showed.
    pub(crate) fn minimum(&self, now: BootTime) -> AsOf {
        let of = |log| {
            self.log(log).map_or_else(Cursor::default, |followed: &Followed| {
                let Cursor { epoch, position } = followed.applied();
                Cursor { epoch, position: position.max(followed.proofs.newest(now).unwrap_or(0)) }
            })
        };
        AsOf { auth: of(Log::Auth), core: of(Log::Core) }
    }

    /// The ladder's first step: the answer that is kept, while both leases run and it is still valid, for a session that
    /// Auth has answered for.
    pub(crate) fn lookup(
        &self,
        asked: &Asked,
        session: SessionId,
        now: Timestamp,
        boot: BootTime,
    ) -> Option<Arc<Answer>> {
        self.proven(boot)?;
        if !self.is_shown(asked.user, session) {
            return None;
        }
        let answer = self.contexts.get(asked).or_else(|| self.passing.get(asked, boot))?;
        answer.is_valid(now).then(|| Arc::clone(answer))
    }

    /// Whether an answer may be used: it saw what was asked for, and heads prove that what it saw is current.
    ///
    /// Entitlements reach Auth by a projection, and a primary of the auth log that was cut off still answers reads: in
    /// both cases only a head that was proven by a commit tells how current the answer is.
    pub(crate) fn judge(&self, answer: &Answer, minimum: &AsOf, boot: BootTime) -> Result<(), Unusable> {
        let pairs = [(Log::Auth, answer.as_of.auth, minimum.auth), (Log::Core, answer.as_of.core, minimum.core)];
        for (log, given, wanted) in pairs {
            if wanted.epoch > 0 && given.epoch > wanted.epoch {
                return Err(Unusable::NewEpoch(log));
            }
            if given.epoch < wanted.epoch || (given.epoch == wanted.epoch && given.position < wanted.position) {
                return Err(Unusable::Behind);
            }
        }
        let proven = |log, as_of: Cursor| {
            let followed = self.log(log).filter(|followed| followed.applied().epoch == as_of.epoch);
            followed.and_then(|followed| followed.proofs.lease(as_of.position)).is_some_and(|until| boot < until)
        };
        let current = proven(Log::Auth, answer.as_of.auth) && proven(Log::Core, answer.as_of.core);
        if current { Ok(()) } else { Err(Unusable::Unproven) }
    }

    /// The fill rule: an answer is kept only if no access event since it was computed, up to what is applied, names
    /// whom it is about. What Auth answered to one session is the same for all of the person's that it has answered to.
    pub(crate) fn fill(&mut self, asked: Asked, session: SessionId, answer: &Arc<Answer>, boot: BootTime) -> Filled {
        if answer.verdict == Verdict::SessionRevoked {
            return Filled::Passed;
        }
        match self.since(answer.as_of, &answer.subject) {
            Since::Nothing => {}
            Since::Something => return Filled::Overtaken,
            Since::Unknown => return Filled::Passed,
        }
        self.shown.insert(asked.user, session);
        if answer.subject.company_id.is_none() {
            self.passing.insert(asked, Arc::clone(answer), boot);
            return Filled::Kept;
        }
        if self.contexts.insert(asked, Arc::clone(answer)) { Filled::Kept } else { Filled::Passed }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "state_properties.rs"]
mod properties;
