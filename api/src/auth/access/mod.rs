//! What one person may do in one company, answered from one snapshot.
//!
//! It owns the order of the steps: memory, Redis, states, and the rule that an answer is never older than what the
//! asking guard has applied. It refuses to decide: that is `kisum_domains::access`.

mod cache;
mod core;
mod explain;
mod fill;
mod findings;
mod snapshot;
mod states;
mod warm;

pub(super) use cache::ContextCache;
pub(super) use explain::{EventRow, Explained, Whose};
pub(super) use findings::Findings;
pub(super) use snapshot::{Question, Snapshots};
pub(super) use warm::keep_warm;

use self::{
    core::CoreEntitlements,
    fill::Missing,
    snapshot::Snapshot,
    states::{States, StatesError},
};
use super::peers::{Peer, PeerError};
use crate::shared::ambient::{Clock, Stopwatch};
use kisum_domains::access::{self, Resolution};
use kisum_events::{AccessOutcome, AccessSubject, AsOf, Cursor, Log, SessionId, UserId};
use kisum_guard::{Answer, Asker, Memory, Verdict, XOrg};
use kisum_log::{EventLog, LoadError, Reads};
use kisum_projectors::Progress;
use std::{sync::Arc, time::Duration};

/// How long an answer waits for a projection to reach what the guard has applied (`consistency.md`).
const FILL_WAIT: Duration = Duration::from_millis(100);

/// Why access cannot be told. Every one of these is a 503: never an allow, never a false refusal.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    /// The log or its epoch cannot be read.
    #[error("what access is resolved from cannot be read")]
    Load(#[from] LoadError),
    /// A state cannot be used.
    #[error("a state cannot be used")]
    States(#[from] StatesError),
    /// This database is behind what the guard has applied.
    #[error("the {log} log is behind what was asked for")]
    Behind {
        /// Which log.
        log: Log,
    },
    /// What Core says is being folded anew, and not all of it is here yet.
    #[error("the core log of a new epoch is not folded to its end yet")]
    StartingOver,
    /// Core was to be asked and did not answer.
    #[error("the entitlements cannot be had from Core")]
    Core(#[from] PeerError),
}

/// Whether a person is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They are.
    Live,
    /// The session has ended or run out, is another person's, or the person is suspended.
    Over,
}

/// Resolves access.
#[derive(Clone)]
pub(super) struct Access {
    /// The auth log and its database.
    pub(super) log: EventLog,
    /// What is read of it.
    pub(super) snapshots: Reads<Snapshots>,
    /// Answers that were given before, and the proof that they hold.
    pub(super) memory: Memory,
    /// Contexts that were resolved before, here or by another process.
    pub(super) cache: ContextCache,
    /// How far the entitlements are folded.
    pub(super) entitlements: Progress,
    /// Who knows them first-hand.
    pub(super) core: Peer,
    /// The time.
    pub(super) clock: Clock,
}

/// An answer, and the place that it is known to hold for.
pub(super) struct Known {
    /// The answer.
    pub(super) answer: Arc<Answer>,
    /// Both logs up to here could not change it.
    pub(super) as_of: AsOf,
}

impl Access {
    /// Answers who may do what, from a state of the platform at or after `least`: from memory, else from Redis, while
    /// it is proven that nothing has happened to the person since; else from the states.
    ///
    /// # Errors
    /// [`AccessError`] where that cannot be had.
    pub(super) async fn answer(&self, asker: Asker, company: XOrg, least: AsOf) -> Result<Known, AccessError> {
        let recalled = self.memory.recall(asker, &company, least);
        count("memory", if recalled.is_some() { "hit" } else { "miss" });
        if let Some((answer, as_of)) = recalled {
            return Ok(Known { answer, as_of });
        }
        if let Some(answer) = self.cache.get(&self.memory, asker, &company, least, self.clock.now()).await {
            let answer = Arc::new(answer);
            self.memory.keep(asker, &company, &answer);
            return Ok(Known { as_of: answer.as_of, answer });
        }
        self.resolve(asker, company, least).await
    }

    /// Answers from the states, and keeps the answer.
    ///
    /// # Errors
    /// As [`Access::answer`].
    async fn resolve(&self, asker: Asker, company: XOrg, least: AsOf) -> Result<Known, AccessError> {
        let question = Question { user: asker.user, session: asker.session, company };
        let answer = Arc::new(self.resolved(&question, least).await?);
        self.memory.keep(asker, &question.company, &answer);
        self.cache.put(&question.company, &answer);
        Ok(Known { as_of: answer.as_of, answer })
    }

    async fn resolved(&self, question: &Question, least: AsOf) -> Result<Answer, AccessError> {
        let mut snapshot = self.read(question).await?;
        if fill::missing(&snapshot, least) == Some(Missing::Core) {
            let wait = tokio::time::timeout(FILL_WAIT, self.entitlements.reached(least.core));
            if matches!(wait.await, Ok(Ok(_))) {
                snapshot = self.read(question).await?;
            }
        }
        match fill::missing(&snapshot, least) {
            // A projection that an event has stopped may be far enough for who asks and still be wrong.
            None if self.entitlements.standing().poisoned => self.by_core(question, snapshot, least.core).await,
            None => self.by_states(question, snapshot, None).await,
            Some(Missing::Auth) => Err(AccessError::Behind { log: Log::Auth }),
            Some(Missing::Core) => self.by_core(question, snapshot, least.core).await,
        }
    }

    /// Whether a person's session is live, whatever the company.
    ///
    /// # Errors
    /// [`AccessError`] where that cannot be told.
    pub(super) async fn standing(&self, user: UserId, session: SessionId) -> Result<Standing, AccessError> {
        let question = Question::of_no_company(user, session);
        let snapshot = self.read(&question).await?;
        let states = States::read(&self.log, &question, &snapshot, None).await?;
        Ok(if states.is_signed_in(user, self.clock.now()) { Standing::Live } else { Standing::Over })
    }

    /// Answers by what Core says itself, because the projection is not far enough.
    async fn by_core(&self, question: &Question, snapshot: Snapshot, least: Cursor) -> Result<Answer, AccessError> {
        let Some(company) = snapshot.company_id() else {
            // No company, no entitlements: the projection cannot make a difference.
            return self.by_states(question, snapshot, None).await;
        };
        let entitlements = core::ask(&self.core, company).await?;
        if fill::is_behind(entitlements.as_of, least) {
            return Err(AccessError::Behind { log: Log::Core });
        }
        self.by_states(question, snapshot, Some(entitlements)).await
    }

    async fn by_states(
        &self,
        question: &Question,
        snapshot: Snapshot,
        core: Option<CoreEntitlements>,
    ) -> Result<Answer, AccessError> {
        // What was told by an earlier snapshot may have begun an epoch since.
        let are_owned_known = core.is_some() || snapshot.core.epoch > 0;
        if snapshot.company_id().is_some() && !(are_owned_known && snapshot.is_catalog_known) {
            return Err(AccessError::StartingOver);
        }
        let watch = Stopwatch::start();
        let now = self.clock.now();
        let states = States::read(&self.log, question, &snapshot, core).await?;
        let resolution = access::resolve(&states.inputs(&snapshot, question.user), now);
        metrics::histogram!("kisum_access_merge_seconds").record(watch.elapsed().as_secs_f64());
        Ok(Answer {
            verdict: verdict(resolution),
            as_of: AsOf { auth: snapshot.auth, core: states.core },
            subject: AccessSubject {
                user_id: question.user,
                session_id: question.session,
                company_id: snapshot.company_id(),
                membership_id: snapshot.membership_id(),
                relies_on: states.relies_on(now),
            },
            access_version: states.access_version(&snapshot),
            entitlement_version: states.entitlement_version,
        })
    }

    async fn read(&self, question: &Question) -> Result<Snapshot, LoadError> {
        self.snapshots.ask(question.clone()).await
    }
}

fn verdict(Resolution { outcome, context }: Resolution) -> Verdict {
    match (outcome, context) {
        (AccessOutcome::Active, Some(context)) => Verdict::Active(Arc::new(context)),
        // A context is what being active means; without one nothing may be done.
        (AccessOutcome::Active | AccessOutcome::NotAMember, _) => Verdict::NotAMember,
        (AccessOutcome::Suspended, _) => Verdict::Suspended,
        (AccessOutcome::CompanyNotActive, _) => Verdict::CompanyNotActive,
        (AccessOutcome::SessionRevoked, _) => Verdict::SessionRevoked,
    }
}

fn count(level: &'static str, outcome: &'static str) {
    metrics::counter!("kisum_access_cache_total", "level" => level, "outcome" => outcome).increment(1);
}
