//! What one person may do in one company, answered from one snapshot.
//!
//! It owns the order of the steps: versions, Redis, states, and the rule that an answer is never older than what the
//! asking guard has applied. It refuses to decide: that is `kisum_domains::access`.

mod cache;
mod core;
mod fill;
mod findings;
mod snapshot;
mod states;

pub(super) use cache::ContextCache;
pub(super) use findings::Findings;
pub(super) use snapshot::Question;

use self::{
    cache::ContextKey,
    core::CoreEntitlements,
    fill::Missing,
    snapshot::{Depth, Snapshot},
    states::{States, StatesError},
};
use super::peers::{Peer, PeerError};
use crate::shared::ambient::{Clock, Stopwatch};
use kisum_domains::access::{self, Resolution};
use kisum_events::{AccessAnswer, AccessOutcome, AccessSubject, AsOf, Cursor, Log, Position, SessionId, UserId};
use kisum_log::{EventLog, LoadError};
use kisum_projectors::Progress;
use std::time::Duration;

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
    /// Contexts that were resolved before.
    pub(super) cache: ContextCache,
    /// How far the entitlements are folded.
    pub(super) entitlements: Progress,
    /// Who knows them first-hand.
    pub(super) core: Peer,
    /// The time.
    pub(super) clock: Clock,
}

impl Access {
    /// Answers a question from a state of the platform at or after `applied`.
    ///
    /// # Errors
    /// [`AccessError`] where that cannot be had.
    pub(super) async fn answer(&self, question: &Question, applied: AsOf) -> Result<AccessAnswer, AccessError> {
        let versions = self.read(question, Depth::Versions).await?;
        match fill::missing(&versions, applied) {
            // A projection that an event has stopped may be far enough for who asks and still be wrong.
            None if self.entitlements.standing().poisoned => self.answer_from_core(question, applied.core).await,
            None => self.answer_from(question, versions).await,
            Some(Missing::Auth) => Err(AccessError::Behind { log: Log::Auth }),
            Some(Missing::Core) => {
                let wait = tokio::time::timeout(FILL_WAIT, self.entitlements.reached(applied.core));
                let caught_up = matches!(wait.await, Ok(Ok(_)));
                let versions = if caught_up { self.read(question, Depth::Versions).await? } else { versions };
                match fill::missing(&versions, applied) {
                    None => self.answer_from(question, versions).await,
                    Some(Missing::Auth) => Err(AccessError::Behind { log: Log::Auth }),
                    Some(Missing::Core) => self.answer_from_core(question, applied.core).await,
                }
            }
        }
    }

    /// Whether a person's session is live, whatever the company.
    ///
    /// # Errors
    /// [`AccessError`] where that cannot be told.
    pub(super) async fn standing(&self, user: UserId, session: SessionId) -> Result<Standing, AccessError> {
        let question = Question::of_no_company(user, session);
        let snapshot = self.read(&question, Depth::States).await?;
        let states = States::read(&self.log, &question, &snapshot, None).await?;
        Ok(if states.is_signed_in(user, self.clock.now()) { Standing::Live } else { Standing::Over })
    }

    /// Answers by the projection, which is far enough.
    async fn answer_from(&self, question: &Question, versions: Snapshot) -> Result<AccessAnswer, AccessError> {
        let now = self.clock.now();
        if let Some(key) = context_key(&versions, versions.entitlement_version())
            && states::session_is_live(&versions, question.user, now)
        {
            let as_of = AsOf { auth: versions.auth, core: versions.core };
            if let Some(context) = self.cache.get(&key, as_of, now).await {
                let resolution = Resolution { outcome: AccessOutcome::Active, context: Some(context) };
                return Ok(answer(question, &versions, as_of, versions.entitlement_version(), resolution));
            }
        }
        let snapshot = self.read(question, Depth::States).await?;
        self.resolve(question, snapshot, None).await
    }

    /// Answers by what Core says itself, because the projection is not far enough.
    async fn answer_from_core(&self, question: &Question, least: Cursor) -> Result<AccessAnswer, AccessError> {
        let snapshot = self.read(question, Depth::States).await?;
        let Some(company) = snapshot.company_id() else {
            // No company, no entitlements: the projection cannot make a difference.
            return self.resolve(question, snapshot, None).await;
        };
        let entitlements = core::ask(&self.core, company).await?;
        if fill::is_behind(entitlements.as_of, least) {
            return Err(AccessError::Behind { log: Log::Core });
        }
        self.resolve(question, snapshot, Some(entitlements)).await
    }

    async fn resolve(
        &self,
        question: &Question,
        snapshot: Snapshot,
        core: Option<CoreEntitlements>,
    ) -> Result<AccessAnswer, AccessError> {
        // What was told by an earlier snapshot may have begun an epoch since.
        let are_owned_known = core.is_some() || snapshot.core.epoch > 0;
        if snapshot.company_id().is_some() && !(are_owned_known && snapshot.is_catalog_known) {
            return Err(AccessError::StartingOver);
        }
        let watch = Stopwatch::start();
        let now = self.clock.now();
        let states = States::read(&self.log, question, &snapshot, core).await?;
        let as_of = AsOf { auth: snapshot.auth, core: states.core };
        let resolution = access::resolve(&states.inputs(&snapshot, question.user), now);
        metrics::histogram!("kisum_access_merge_seconds").record(watch.elapsed().as_secs_f64());
        if let (Some(context), Some(key)) = (&resolution.context, context_key(&snapshot, states.entitlement_version)) {
            self.cache.put(&key, as_of, context.clone());
        }
        Ok(answer(question, &snapshot, as_of, states.entitlement_version, resolution))
    }

    async fn read(&self, question: &Question, depth: Depth) -> Result<Snapshot, LoadError> {
        let mut conn = self.log.pool().acquire().await?;
        snapshot::read(&mut conn, question, depth).await
    }
}

/// The cache key of a context, where there is a membership to have one.
fn context_key(snapshot: &Snapshot, entitlement_version: Position) -> Option<ContextKey> {
    Some(ContextKey {
        company: snapshot.company_id()?,
        membership: snapshot.membership_id()?,
        access_version: snapshot.access_version(),
        entitlement_version,
    })
}

fn answer(
    question: &Question,
    snapshot: &Snapshot,
    as_of: AsOf,
    entitlement_version: Position,
    resolution: Resolution,
) -> AccessAnswer {
    AccessAnswer {
        outcome: resolution.outcome,
        context: resolution.context,
        access_version: snapshot.access_version(),
        entitlement_version,
        as_of,
        subject: AccessSubject {
            user_id: question.user,
            session_id: question.session,
            company_id: snapshot.company_id(),
            membership_id: snapshot.membership_id(),
        },
    }
}
