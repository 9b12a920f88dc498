//! The guard's memory for Auth itself, which resolves access and so needs no ladder: what is kept of its own answers,
//! and the proof that it is current.
//!
//! It owns saying "nothing that concerns this person has happened since", which is what makes a kept answer, here or
//! in Redis, usable without asking the database. It refuses to say it without running leases of both logs.

use crate::{
    answer::{Answer, Verdict},
    clock::{BootTime, Clock},
    contexts::Asked,
    doubts::Doubts,
    named::Named,
    org::XOrg,
    ring::Since,
    shared::Shared,
    source::{PAGE_LEN, Source},
    token::TokenVerifier,
};
use kisum_events::{AccessSubject, AsOf, CompanyId, Cursor, Log, Position, SessionId, StreamName, Timestamp, UserId};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::broadcast, task::JoinSet};

/// Positions that are looked back at the start: the events of one page at most.
const HISTORY: Position = PAGE_LEN as Position - 1;

/// How long an answer is kept though nothing happens (contract, *Redis*).
const KEPT: Duration = Duration::from_secs(15 * 60);

/// Who asks, as their token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Who.
    pub user: UserId,
    /// By which session.
    pub session: SessionId,
    /// When the token ends. Later its session may no longer be on the list of ended ones.
    pub token_until: Timestamp,
}

/// A memory. Clones share everything; when the last is gone, its tasks end.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
    doubts: Arc<RwLock<Doubts>>,
    keeps_answers: bool,
    /// Dropping it ends them.
    _tasks: Arc<JoinSet<()>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// Starts to follow both logs over a bus connection that may subscribe to their access events and request heads,
    /// and otherwise by `source`. Returns at once; until everything is reached, nothing is vouched for. Tokens that
    /// `tokens` has checked are forgotten with their sessions. At most `answers_max` answers are kept.
    pub fn start(
        nats: async_nats::Client,
        source: Arc<dyn Source>,
        tokens: TokenVerifier,
        clock: Clock,
        answers_max: usize,
    ) -> Self {
        // What was computed within the last page of events before the start can be vouched for, too.
        let shared = Arc::new(Shared::new(clock, tokens, source, nats, answers_max).looking_back(HISTORY));
        let tasks = Arc::new(shared.keep_current());
        Self { shared, doubts: Arc::default(), keeps_answers: answers_max > 0, _tasks: tasks }
    }

    /// The answer that is kept, and the place that it is known to hold for, which is `least` or later.
    pub fn recall(&self, asker: Asker, org: &XOrg, least: AsOf) -> Option<(Arc<Answer>, AsOf)> {
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        if !self.keeps_answers || now >= asker.token_until {
            return None;
        }
        let asked = Asked { user: asker.user, org: org.clone() };
        let state = self.shared.state();
        let proven = state.proven(boot).filter(|proven| is_reached(*proven, least))?;
        let answer = state.lookup(&asked, asker.session, now, boot).filter(|answer| is_recent(answer, now))?;
        drop(state);
        (!self.is_doubted(&answer.subject, asker, proven, boot)).then_some((answer, proven))
    }

    /// The place, `least` or later, up to which nothing has happened to a subject since `as_of`. Nothing while that is
    /// not proven, or the person's session was not answered for or is known to be over.
    pub fn vouch(&self, asker: Asker, subject: &AccessSubject, as_of: AsOf, least: AsOf) -> Option<AsOf> {
        if self.shared.clock.now() >= asker.token_until {
            return None;
        }
        let boot = self.shared.clock.boot();
        let state = self.shared.state();
        let proven = state.proven(boot).filter(|proven| is_reached(*proven, least))?;
        if !state.is_shown(asker.user, asker.session) || state.since(as_of, subject) != Since::Nothing {
            return None;
        }
        drop(state);
        (!self.is_doubted(subject, asker, proven, boot)).then_some(proven)
    }

    /// This process has written access events to streams of the auth log, each about a company or none, the last one at
    /// `at`: until that comes back, nothing kept is believed of whom they are about.
    pub fn written(&self, streams: &[(StreamName, Option<CompanyId>)], at: Cursor) {
        let applied = self.shared.state().applied(Log::Auth).unwrap_or_default();
        let mut doubts = self.doubts.write().unwrap_or_else(PoisonError::into_inner);
        doubts.insert(streams, at, applied, self.shared.clock.boot());
    }

    fn is_doubted(&self, subject: &AccessSubject, asker: Asker, proven: AsOf, boot: BootTime) -> bool {
        let doubts = self.doubts.read().unwrap_or_else(PoisonError::into_inner);
        doubts.concern(subject, asker.session, proven.auth, boot)
    }

    /// Whether both leases run, so that what is kept could be used at all.
    pub fn is_proven(&self) -> bool {
        self.shared.state().proven(self.shared.clock.boot()).is_some()
    }

    /// Whether both leases run and the session was answered for, so that asking for what is kept makes sense.
    pub fn is_proven_for(&self, asker: Asker) -> bool {
        let state = self.shared.state();
        state.proven(self.shared.clock.boot()).is_some() && state.is_shown(asker.user, asker.session)
    }

    /// Keeps an answer, and that the session was answered for, unless something has happened since it was computed to
    /// whom it is about.
    pub fn keep(&self, asker: Asker, org: &XOrg, answer: &Arc<Answer>) {
        let (asked, boot) = (Asked { user: asker.user, org: org.clone() }, self.shared.clock.boot());
        // Whether it was kept or overtaken: it was computed from one snapshot, and is as right as it was then.
        let _ = self.shared.state_mut().fill(asked, asker.session, answer, boot);
    }

    /// What events name from now on. Whoever is slow misses some.
    pub fn named(&self) -> broadcast::Receiver<Named> {
        self.shared.named.subscribe()
    }
}

/// What no event names, such as what the catalog newly offers, shows once an answer is made anew.
fn is_recent(answer: &Answer, now: Timestamp) -> bool {
    match &answer.verdict {
        Verdict::Active(context) => now.since(context.meta.generated_at) < KEPT,
        Verdict::NotAMember | Verdict::Suspended | Verdict::CompanyNotActive | Verdict::SessionRevoked => true,
    }
}

/// Whether everything up to `least` is applied. Every place of an older epoch is: its successor was taken up whole.
const fn is_reached(have: AsOf, least: AsOf) -> bool {
    reaches(have.auth, least.auth) && reaches(have.core, least.core)
}

const fn reaches(have: Cursor, least: Cursor) -> bool {
    have.epoch > least.epoch || (have.epoch == least.epoch && have.position >= least.position)
}
