//! The projections that live in Auth's database, started together.

use crate::{
    AuthEventIndex, Catalog, EndedSessions, Entitlements, LogSource, MemberList, Progress, Runner, SessionList,
    run_local, run_remote,
};
use kisum_log::EventLog;
use tokio::{sync::watch, task::JoinSet};

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
    /// How far `member_list_v1` is in the auth log.
    pub member_list: Progress,
    /// How far `session_list_v1` is in the auth log.
    pub session_list: Progress,
    /// The tasks; each ends after shutdown and not before. Dropping the set ends them at once, which loses nothing.
    pub tasks: JoinSet<()>,
}

/// Starts all of them. They retry by themselves whatever may pass, so that starting never fails.
pub fn spawn(dependencies: &Dependencies, shutdown: &watch::Receiver<bool>) -> Running {
    let Dependencies { log, core, nats } = dependencies;
    let database = log.pool().connect_options();
    let (entitlements_runner, entitlements) = Runner::<Entitlements>::new((*database).clone(), shutdown.clone());
    let (catalog_runner, catalog) = Runner::<Catalog>::new((*database).clone(), shutdown.clone());
    let (ended_runner, ended_sessions) = Runner::<EndedSessions>::new((*database).clone(), shutdown.clone());
    let (index_runner, event_index) = Runner::<AuthEventIndex>::new((*database).clone(), shutdown.clone());
    let (member_runner, member_list) = Runner::<MemberList>::new((*database).clone(), shutdown.clone());
    let (session_runner, session_list) = Runner::<SessionList>::new((*database).clone(), shutdown.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(run_remote(entitlements_runner, core.clone(), nats.clone()));
    tasks.spawn(run_remote(catalog_runner, core.clone(), nats.clone()));
    tasks.spawn(run_local(ended_runner, log.clone()));
    tasks.spawn(run_local(index_runner, log.clone()));
    tasks.spawn(run_local(member_runner, log.clone()));
    tasks.spawn(run_local(session_runner, log.clone()));
    Running { entitlements, catalog, ended_sessions, event_index, member_list, session_list, tasks }
}
