//! The projections that live in Auth's database, started together.

use crate::{
    Audit, AuthEventIndex, Catalog, EndedSessions, Entitlements, InvitationList, LogSource, MemberList, Progress,
    Projection, Runner, SessionList, run_local, run_remote,
};
use kisum_log::EventLog;
use tokio::{sync::watch, task::JoinSet};

/// Connections to Auth's database that they make: each projection its own, and those of the auth log, which is in the
/// same database, one more to follow it by.
pub const CONNECTIONS: u32 = 2 + 6 * 2;

/// What Auth gives its projections.
#[derive(Clone)]
pub struct Dependencies {
    /// The auth log; its pool says where its database is.
    pub log: EventLog,
    /// How to read the core log from its owner.
    pub core: LogSource,
    /// The bus; may subscribe `kisum.core.v1.access.>` and `kisum.core.v1.info.>`.
    pub nats: async_nats::Client,
}

impl std::fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependencies").field("core", &self.core).finish_non_exhaustive()
    }
}

/// Auth's projections, running.
#[derive(Debug)]
pub struct Running {
    /// How far `entitlements_v1` is in the core log.
    pub entitlements: Progress,
    /// How far `catalog_v1` is in the core log.
    pub catalog: Progress,
    /// How far `ended_sessions_v1` is in the auth log.
    pub ended_sessions: Progress,
    /// How far `event_index_v1` is in the auth log.
    pub event_index: Progress,
    /// How far `audit_v1` is in the auth log.
    pub audit: Progress,
    /// How far `member_list_v1` is in the auth log.
    pub member_list: Progress,
    /// How far `session_list_v1` is in the auth log.
    pub session_list: Progress,
    /// How far `invitation_list_v1` is in the auth log.
    pub invitation_list: Progress,
    /// The tasks; each ends after shutdown and not before. Dropping the set ends them at once, which loses nothing.
    pub tasks: JoinSet<()>,
}

/// Starts all of them. They retry by themselves whatever may pass, so that starting never fails.
pub fn spawn(dependencies: &Dependencies, shutdown: &watch::Receiver<bool>) -> Running {
    let mut tasks = JoinSet::new();
    Running {
        entitlements: remote::<Entitlements>(dependencies, shutdown, &mut tasks),
        catalog: remote::<Catalog>(dependencies, shutdown, &mut tasks),
        ended_sessions: local::<EndedSessions>(&dependencies.log, shutdown, &mut tasks),
        event_index: local::<AuthEventIndex>(&dependencies.log, shutdown, &mut tasks),
        audit: local::<Audit>(&dependencies.log, shutdown, &mut tasks),
        member_list: local::<MemberList>(&dependencies.log, shutdown, &mut tasks),
        session_list: local::<SessionList>(&dependencies.log, shutdown, &mut tasks),
        invitation_list: local::<InvitationList>(&dependencies.log, shutdown, &mut tasks),
        tasks,
    }
}

/// Starts a projection of the log beside it.
pub(crate) fn local<P: Projection>(
    log: &EventLog,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Progress {
    let (runner, progress) = Runner::<P>::new((*log.pool().connect_options()).clone(), shutdown.clone());
    tasks.spawn(run_local(runner, log.clone()));
    progress
}

/// Starts a projection of the core log.
fn remote<P: Projection>(
    Dependencies { log, core, nats }: &Dependencies,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Progress {
    let (runner, progress) = Runner::<P>::new((*log.pool().connect_options()).clone(), shutdown.clone());
    tasks.spawn(run_remote(runner, core.clone(), nats.clone()));
    progress
}
