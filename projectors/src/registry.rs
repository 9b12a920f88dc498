//! Every projection there is, as operators and tests know it: by name.
//!
//! It owns the list, and reaching the typed fold behind a name. It refuses to know what a projection folds; which ones
//! a service runs, and who waits for them, stand in `auth` and `core`.

use crate::{
    Audit, AuthEventIndex, Catalog, Compared, CoreEventIndex, EndedSessions, Entitlements, InvitationList, MemberList,
    Projection, RebuildError, SessionList, Stage,
    rebuild::{Purpose, compare},
};
use kisum_events::Log;
use kisum_log::Pages;
use sqlx::postgres::PgConnectOptions;
use std::pin::Pin;
use tokio::sync::watch;

/// Every projection, those of Auth's database first.
///
/// INVARIANT: what runs stands here too, or nobody would rebuild it: each database's checkpoints are compared with this
/// list by a test.
pub const ALL: [Registered; 9] = [
    Registered::of::<Entitlements>(Log::Auth),
    Registered::of::<Catalog>(Log::Auth),
    Registered::of::<EndedSessions>(Log::Auth),
    Registered::of::<AuthEventIndex>(Log::Auth),
    Registered::of::<Audit>(Log::Auth),
    Registered::of::<MemberList>(Log::Auth),
    Registered::of::<SessionList>(Log::Auth),
    Registered::of::<InvitationList>(Log::Auth),
    Registered::of::<CoreEventIndex>(Log::Core),
];

type Comparing<'a> = Pin<Box<dyn Future<Output = Result<Compared, RebuildError>> + Send + 'a>>;
type Compare = for<'a> fn(&'a PgConnectOptions, &'a Pages, Purpose, &'a watch::Sender<Stage>) -> Comparing<'a>;

/// One projection of one database.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// Its name in `projection_checkpoint`; unique within a database.
    pub name: &'static str,
    /// The log that it folds.
    pub log: Log,
    /// The log whose database its tables live in.
    pub database: Log,
    /// The tables that it alone writes.
    pub tables: &'static [&'static str],
    compare: Compare,
}

impl Registered {
    const fn of<P: Projection>(database: Log) -> Self {
        Self { name: P::NAME, log: P::LOG, database, tables: P::TABLES, compare: compare_boxed::<P> }
    }

    /// Folds the log anew and makes the projection's tables what it says, while the projection runs and is read.
    /// `database` is where the tables live, `log` where the log is read; `stage` hears how far it is.
    ///
    /// # Errors
    /// [`RebuildError`]; what was repaired by then is right.
    pub async fn rebuild(
        &self,
        database: &PgConnectOptions,
        log: &Pages,
        stage: &watch::Sender<Stage>,
    ) -> Result<Compared, RebuildError> {
        (self.compare)(database, log, Purpose::Repair, stage).await
    }

    /// As [`Registered::rebuild`], and changes nothing.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn diff(
        &self,
        database: &PgConnectOptions,
        log: &Pages,
        stage: &watch::Sender<Stage>,
    ) -> Result<Compared, RebuildError> {
        (self.compare)(database, log, Purpose::Tell, stage).await
    }
}

fn compare_boxed<'a, P: Projection>(
    database: &'a PgConnectOptions,
    log: &'a Pages,
    purpose: Purpose,
    stage: &'a watch::Sender<Stage>,
) -> Comparing<'a> {
    Box::pin(compare::<P>(database, log, purpose, stage))
}
