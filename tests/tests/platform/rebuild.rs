//! A rebuild beside a running projection: it makes rows right that were not, and touches no other, whatever goes on.

use kisum::local::databases::Database;
use kisum_domains::{Module, Session, Subscription};
use kisum_events::{
    Aggregate, CompanyId, Cursor, EntitlementCause, EventId, Log, ModuleEvent, SessionEndCause, SessionEvent,
    StreamName, SubscriptionEvent, Timestamp, UserId,
};
use kisum_log::{Append, EventLog, Loaded, Sealer, read, read_head};
use kisum_projectors::{
    Audit, AuthEventIndex, Catalog, Compared, CoreEventIndex, EndedSessions, Entitlements, InvitationList, LogPage,
    LogSource, MemberList, Progress, Projection, RebuildError, Runner, SessionList, SourceError, commit,
    read_checkpoint, rebuild_local, rebuild_remote, run_local,
};
use kisum_tests::{
    counted::{append, new_request, new_uuid},
    demo,
    seeded::Seeded,
    servers::{self, LogDatabase},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
/// Companies, sessions, modules and streams below are written once, before anything is damaged.
const KEPT: u64 = 20;
const FAR_AWAY: i64 = 4_000_000_000_000_000;

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// An append of one event to a stream of its own.
fn say<A: Aggregate>(stream: String, event: A::Event) -> Append {
    let mut append = append(new_request());
    let loaded = Loaded::<A>::new_stream(StreamName::from_stored(stream));
    append.write(&loaded, vec![event]).unwrap_or_else(|error| panic!("{error}"));
    append
}

fn session_ended(number: u128, until: i64) -> Append {
    let event = SessionEvent::Ended {
        user_id: UserId::new(Uuid::from_u128(number % 7)),
        cause: SessionEndCause::Logout,
        tokens_until: Timestamp::from_micros(until),
    };
    say::<Session>(format!("session-{}", Uuid::from_u128(number)), event)
}

fn entitled(number: u64, until: i64) -> Append {
    let company_id = CompanyId::new(Uuid::from_u128(number.into()));
    let until = Timestamp::from_micros(until);
    let entitlements = json!([{ "module": "finance", "source": { "type": "addon", "id": "finance" },
        "from": "2026-01-01T00:00:00Z", "until": until }]);
    let event = SubscriptionEvent::EntitlementChanged {
        company_id,
        entitlements: serde_json::from_value(entitlements).unwrap_or_else(|error| panic!("{error}")),
        entitlement_version: 0,
        previous_entitlement_version: 0,
        cause: EntitlementCause { event_id: EventId::new(Uuid::nil()), event_type: "addon.attached".to_owned() },
    };
    say::<Subscription>(format!("subscription-{}", new_uuid()), event)
}

fn catalogued(kind: u64, number: u64) -> Append {
    let module = format!("m{number}");
    let permission = || format!("{module}.things.read").parse().unwrap_or_else(|error| panic!("{error}"));
    let event = match kind {
        0 => ModuleEvent::Defined {
            key: module.parse().unwrap_or_else(|error| panic!("{error}")),
            name: new_uuid().to_string(),
        },
        1 => ModuleEvent::PermissionAdded { key: permission() },
        _ => ModuleEvent::PermissionRetired { key: permission() },
    };
    say::<Module>(format!("module-{}", new_uuid()), event)
}

/// What is there before anything is damaged.
fn kept() -> Vec<Append> {
    let each = |number: u64| {
        let session = session_ended(number.into(), FAR_AWAY);
        [session, entitled(number, FAR_AWAY), catalogued(0, number), catalogued(1, number)]
    };
    (1..=KEPT).flat_map(each).collect()
}

/// Anything that touches nothing of what is kept.
fn anything(chance: &mut Seeded) -> Append {
    let number = KEPT + 1 + chance.below(40);
    match chance.below(5) {
        0 => session_ended(new_uuid().as_u128(), FAR_AWAY),
        // Its tokens are long gone, so that it is forgotten at once.
        1 => session_ended(new_uuid().as_u128(), 1),
        2 => entitled(number, FAR_AWAY + i64::try_from(chance.below(1000)).unwrap_or(0)),
        _ => catalogued(chance.below(3), number),
    }
}

async fn append_all(log: &EventLog, appends: Vec<Append>) {
    let mut sending = JoinSet::new();
    for append in appends {
        let log = log.clone();
        sending.spawn(async move { log.append(append).await.unwrap_or_else(|error| panic!("{error}")) });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// All projections of one log, which holds the events of both.
struct Running {
    database: LogDatabase,
    log: EventLog,
    progress: Vec<Progress>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    async fn start() -> Self {
        let database = servers::fresh_log(servers::shared().await).await;
        let log = servers::open(&database).await;
        let (stop, shutdown) = watch::channel(false);
        let mut running = Self { database, log, progress: Vec::new(), stop, tasks: JoinSet::new() };
        running.run::<Entitlements>(&shutdown);
        running.run::<Catalog>(&shutdown);
        running.run::<EndedSessions>(&shutdown);
        running.run::<AuthEventIndex>(&shutdown);
        running
    }

    fn run<P: Projection>(&mut self, shutdown: &watch::Receiver<bool>) {
        let options = self.database.run_url.parse().unwrap_or_else(|error| panic!("{error}"));
        let (runner, progress) = Runner::<P>::new(options, shutdown.clone());
        self.progress.push(progress);
        self.tasks.spawn(run_local(runner, self.log.clone()));
    }

    async fn settle(&self) {
        settled(&self.log, &self.progress).await;
    }

    /// How many rows of each table were repaired.
    async fn rebuild<P: Projection>(&self) -> Vec<(&'static str, u64)> {
        let compared = rebuild_local::<P>(&self.log).await.unwrap_or_else(|error| panic!("{}: {error:?}", P::NAME));
        compared.tables.iter().map(|table| (table.table, table.rows())).collect()
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Waits until projections have applied everything.
async fn settled(log: &EventLog, progress: &[Progress]) {
    let head = log.head().await.unwrap_or_else(|error| panic!("{error}"));
    let head = Cursor { epoch: head.epoch, position: head.position };
    for progress in progress {
        let reached = tokio::time::timeout(PATIENCE, progress.reached(head)).await;
        assert!(matches!(reached, Ok(Ok(_))), "{head:?}: {reached:?} at {:?}", progress.standing());
    }
}

async fn rows<P: Projection>(conn: &mut PgConnection) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    for table in P::TABLES.iter().copied() {
        let sql = format!("select t::text from public.{table} t order by 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *conn).await;
        all.push((table, rows.unwrap_or_else(|error| panic!("{table}: {error}"))));
    }
    all
}

/// What a projection is when its log is folded by nobody else, in other batches.
async fn folded<P: Projection>(running: &Running) -> Vec<(&'static str, Vec<String>)> {
    let database = servers::fresh_log(servers::shared().await).await;
    let (mut from, mut to) = (connect(&running.database.run_url).await, connect(&database.run_url).await);
    let events = read(&mut from, P::LOG, 0, i64::MAX, None).await.unwrap_or_else(|error| panic!("{error}"));
    for batch in events.chunks(37) {
        let committed = commit::<P>(&mut to, 1, batch).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(committed.poison, None);
    }
    rows::<P>(&mut to).await
}

async fn run(conn: &mut PgConnection, sql: &str) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
}

/// One table each: rows changed, deleted and invented.
const DAMAGE: [(&str, &[&str]); 6] = [
    (
        "company_entitlement_v1",
        &[
            "update company_entitlement_v1 set schedule = '[]' where company_id = '{1}'",
            "update company_entitlement_v1 set entitlement_version = 1 where company_id = '{2}'",
            "delete from company_entitlement_v1 where company_id = '{3}'",
            "insert into company_entitlement_v1 values ('{999}', '[]', 1, 1)",
        ],
    ),
    (
        "catalog_module_v1",
        &[
            "update catalog_module_v1 set name = 'Another' where key = 'm1'",
            "delete from catalog_module_v1 where key = 'm2'",
            r#"insert into catalog_module_v1 values ('it''s "invented"\', 'x')"#,
        ],
    ),
    (
        "catalog_permission_v1",
        &[
            "update catalog_permission_v1 set retired = true where key = 'm1.things.read'",
            "delete from catalog_permission_v1 where key = 'm2.things.read'",
            "insert into catalog_permission_v1 values ('m1.invented.read', 'm1', false)",
        ],
    ),
    (
        "ended_session_v1",
        &[
            "update ended_session_v1 set until = 5 where session_id = '{1}'",
            "delete from ended_session_v1 where session_id = '{2}'",
            "insert into ended_session_v1 values ('{999}', '{1}', 4000000000000000, 1)",
        ],
    ),
    (
        "event_index_v1",
        &[
            "delete from event_index_v1 where (kind, key, position) in
                 (select kind, key, position from event_index_v1 where kind = 'person' order by position limit 1)",
            "insert into event_index_v1 values ('actor', 'invented', 9223372036854775807)",
        ],
    ),
    (
        "event_index_stream_v1",
        &[
            "delete from event_index_stream_v1 where stream = 'session-{1}'",
            "insert into event_index_stream_v1 values ('session-x', '{999}')",
        ],
    ),
];

/// Damages a projection's tables; answers how many rows are wrong then.
async fn damage<P: Projection>(conn: &mut PgConnection) -> Vec<(&'static str, u64)> {
    let mut damaged = Vec::new();
    for table in P::TABLES.iter().copied() {
        let (_, statements) = DAMAGE.iter().find(|(name, _)| *name == table).unwrap_or_else(|| panic!("{table}"));
        for statement in *statements {
            let mut sql = (*statement).to_owned();
            for number in [1, 2, 3, 999] {
                sql = sql.replace(&format!("{{{number}}}"), &Uuid::from_u128(number).to_string());
            }
            assert_eq!(run(conn, &sql).await, 1, "{sql}");
        }
        damaged.push((table, statements.len() as u64));
    }
    damaged
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_are_repaired_while_appends_go_on_and_no_other_row_is_touched() {
    let running = Running::start().await;
    append_all(&running.log, kept()).await;
    running.settle().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (log, progress, is_over) = (running.log.clone(), running.progress.clone(), Arc::clone(&is_over));
        async move {
            let mut chance = Seeded::new(4);
            while !is_over.load(Ordering::Relaxed) {
                append_all(&log, (0..10).map(|_| anything(&mut chance)).collect()).await;
                // No faster than the slowest projection: a log that outgrows every fold is another test.
                settled(&log, &progress).await;
            }
        }
    });
    let mut conn = connect(&running.database.run_url).await;
    let damaged = damage::<Entitlements>(&mut conn).await;
    assert_eq!(running.rebuild::<Entitlements>().await, damaged);
    let damaged = damage::<Catalog>(&mut conn).await;
    assert_eq!(running.rebuild::<Catalog>().await, damaged);
    let damaged = damage::<EndedSessions>(&mut conn).await;
    assert_eq!(running.rebuild::<EndedSessions>().await, damaged);
    let damaged = damage::<AuthEventIndex>(&mut conn).await;
    assert_eq!(running.rebuild::<AuthEventIndex>().await, damaged);
    is_over.store(true, Ordering::Relaxed);
    writer.await.unwrap_or_else(|error| panic!("{error}"));
    running.settle().await;
    assert_eq!(rows::<Entitlements>(&mut conn).await, folded::<Entitlements>(&running).await);
    assert_eq!(rows::<Catalog>(&mut conn).await, folded::<Catalog>(&running).await);
    assert_eq!(rows::<EndedSessions>(&mut conn).await, folded::<EndedSessions>(&running).await);
    assert_eq!(rows::<AuthEventIndex>(&mut conn).await, folded::<AuthEventIndex>(&running).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_misses_a_row_that_is_being_repaired() {
    let running = Running::start().await;
    append_all(&running.log, kept()).await;
    running.settle().await;
    let mut conn = connect(&running.database.run_url).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (url, is_over) = (running.database.run_url.clone(), Arc::clone(&is_over));
        async move {
            let mut conn = connect(&url).await;
            while !is_over.load(Ordering::Relaxed) {
                let found = sqlx::query("select count(*) from company_entitlement_v1").fetch_one(&mut conn).await;
                let found: i64 = found.unwrap_or_else(|error| panic!("{error}")).get(0);
                assert_eq!(found.unsigned_abs(), KEPT);
            }
        }
    });
    for _ in 0..5 {
        assert_eq!(run(&mut conn, "update company_entitlement_v1 set schedule = '[]'").await, KEPT);
        assert_eq!(running.rebuild::<Entitlements>().await, [("company_entitlement_v1", KEPT)]);
    }
    is_over.store(true, Ordering::Relaxed);
    reader.await.unwrap_or_else(|error| panic!("{error}"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_put_back_that_was_lost() {
    let running = Running::start().await;
    let mut chance = Seeded::new(5);
    append_all(&running.log, (0..1500).map(|_| anything(&mut chance)).collect()).await;
    running.settle().await;
    let mut conn = connect(&running.database.run_url).await;
    let before = rows::<AuthEventIndex>(&mut conn).await;
    let lost = run(&mut conn, "delete from event_index_v1").await;
    assert!(lost > 1500, "more than one lock's worth: {lost}");
    let repaired = running.rebuild::<AuthEventIndex>().await;
    assert_eq!(repaired, [("event_index_v1", lost), ("event_index_stream_v1", 0)]);
    assert_eq!(rows::<AuthEventIndex>(&mut conn).await, before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_at_once_end_each_other_and_break_nothing() {
    let running = Running::start().await;
    append_all(&running.log, kept()).await;
    running.settle().await;
    let mut conn = connect(&running.database.run_url).await;
    let before = rows::<Catalog>(&mut conn).await;
    let mut rebuilding = JoinSet::new();
    for _ in 0..3 {
        let log = running.log.clone();
        rebuilding.spawn(async move {
            for _ in 0..3 {
                match rebuild_local::<Catalog>(&log).await {
                    // Nothing was damaged, so that whatever is repaired is damage.
                    Ok(compared) => assert_eq!(compared.rows(), 0, "{compared:?}"),
                    Err(error) => assert!(matches!(error, RebuildError::Busy), "{error:?}"),
                }
            }
        });
    }
    while let Some(ended) = rebuilding.join_next().await {
        ended.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(rows::<Catalog>(&mut conn).await, before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rebuilt_says_why_and_changes_nothing() {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    let refused = rebuild_local::<Catalog>(&log).await;
    assert!(matches!(refused, Err(RebuildError::NotBegun)), "{refused:?}");

    append_all(&log, vec![catalogued(0, 1)]).await;
    let mut conn = connect(&database.run_url).await;
    let events = read(&mut conn, Log::Auth, 0, 10, None).await.unwrap_or_else(|error| panic!("{error}"));
    commit::<Catalog>(&mut conn, 2, &events).await.unwrap_or_else(|error| panic!("{error}"));
    let refused = rebuild_local::<Catalog>(&log).await;
    assert!(matches!(refused, Err(RebuildError::OtherEpoch { folded: 2, now: 1 })), "{refused:?}");
    let stored = read_checkpoint(&mut conn, "catalog_v1").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(stored.map(|stored| stored.cursor), Some(Cursor { epoch: 2, position: 1 }));
    assert_eq!(rows::<Catalog>(&mut conn).await[0].1.len(), 1);
}

/// A log of the demo, read in its own database as its owner would answer.
fn source_of(url: String) -> LogSource {
    LogSource::new(vec![url], |url, after, limit| {
        let url = url.to_owned();
        async move {
            let failed = |error: &dyn std::error::Error| SourceError::Unavailable(error.to_string());
            let mut conn = PgConnection::connect(&url).await.map_err(|error| failed(&error))?;
            let head = read_head(&mut conn).await.map_err(|error| failed(&error))?;
            let events = read(&mut conn, Log::Core, after, limit.into(), None).await.map_err(|error| failed(&error))?;
            Ok(LogPage { epoch: head.epoch, position: Some(head.position), events })
        }
    })
}

async fn demo_log(log: Log, database: Database) -> EventLog {
    let url = demo::database_url(database).await;
    let sealer = Sealer::new(servers::DATA_KEYS).unwrap_or_else(|error| panic!("{error}"));
    EventLog::open(log, &url, servers::pool(&url).await, sealer).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_platform_at_work_needs_repair() {
    let (auth, core) = (demo_log(Log::Auth, Database::Auth).await, demo_log(Log::Core, Database::Core).await);
    let (source, at) = (source_of(demo::database_url(Database::Core).await), auth.pool().connect_options());
    for rebuilt in [
        rebuild_remote::<Entitlements>(&at, &source).await,
        rebuild_remote::<Catalog>(&at, &source).await,
        rebuild_local::<EndedSessions>(&auth).await,
        rebuild_local::<AuthEventIndex>(&auth).await,
        rebuild_local::<Audit>(&auth).await,
        rebuild_local::<MemberList>(&auth).await,
        rebuild_local::<SessionList>(&auth).await,
        rebuild_local::<InvitationList>(&auth).await,
        rebuild_local::<CoreEventIndex>(&core).await,
    ] {
        let compared = rebuilt.unwrap_or_else(|error| panic!("{error:?}"));
        let Compared { through, tables } = &compared;
        assert!(through.position > 20, "{through:?}");
        assert!(!tables.is_empty() && compared.rows() == 0, "{tables:?}");
    }
}
