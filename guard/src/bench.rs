//! The guard's memory filled by hand, so that its decision can be measured without a platform around it (feature
//! `bench`).
//!
//! It refuses to give access: what it answers is yes or no, never a permit.

use crate::{
    answer::{Answer, Verdict},
    clock::Clock,
    contexts::Asked,
    org::XOrg,
    state::State,
};
use kisum_events::{AccessContext, AccessSubject, AsOf, CompanyId, Cursor, Head, Log, SessionId, UserId};
use std::sync::{Arc, PoisonError, RwLock};

/// Where the two logs stand that it claims to follow.
const AT: Cursor = Cursor { epoch: 1, position: 1 };

/// A guard's memory.
#[derive(Debug)]
pub struct Memory {
    state: RwLock<State>,
    clock: Clock,
}

impl Memory {
    /// An empty one for so many contexts, that follows both logs and holds no lease yet.
    pub fn new(contexts_max: usize, clock: Clock) -> Self {
        let mut state = State::new(contexts_max);
        state.start(Log::Auth, AT);
        state.start(Log::Core, AT);
        Self { state: RwLock::new(state), clock }
    }

    /// Takes in a head of each log: both leases run for five seconds from now.
    pub fn prove(&self) {
        let now = self.clock.boot();
        let head = Head { epoch: AT.epoch, position: AT.position, access_position: AT.position, age_ms: 0 };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for log in [Log::Auth, Log::Core] {
            state.head(log, &head, now, now);
        }
    }

    /// Keeps a context as if Auth had just answered it.
    pub fn keep(&self, context: AccessContext, session: SessionId) {
        let asked = Asked { user: context.user_id, org: XOrg::Id(context.company_id) };
        let subject = AccessSubject {
            user_id: context.user_id,
            session_id: session,
            company_id: Some(context.company_id),
            membership_id: Some(context.membership_id),
            relies_on: vec![],
        };
        let verdict = Verdict::Active(Arc::new(context));
        let as_of = AsOf { auth: AT, core: AT };
        let answer = Arc::new(Answer { verdict, as_of, subject, access_version: 1, entitlement_version: 1 });
        let now = self.clock.boot();
        self.state.write().unwrap_or_else(PoisonError::into_inner).fill(asked, session, &answer, now);
    }

    /// The ladder's first step and what follows it, as for a request whose token is checked: whether the session is
    /// live, both leases run, the answer is kept and valid, and the permission is held.
    pub fn allows(&self, user: UserId, session: SessionId, company: CompanyId, permission: &str) -> bool {
        let asked = Asked { user, org: XOrg::Id(company) };
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.has_ended(session) {
            return false;
        }
        let Some(answer) = state.lookup(&asked, session, now, boot) else { return false };
        drop(state);
        match &answer.verdict {
            Verdict::Active(context) => context.allows(permission),
            Verdict::NotAMember | Verdict::Suspended | Verdict::CompanyNotActive | Verdict::SessionRevoked => false,
        }
    }
}
