//! Real servers for suites, and databases that belong to one test alone.

use crate::counted::new_uuid;
use kisum::local::{
    Part, Stack, StackOptions,
    databases::{self, Database},
    stack::binary_beside_this,
};
use kisum_events::Log;
use kisum_log::{EventLog, Sealer};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use std::path::PathBuf;
use tokio::sync::OnceCell;

static SERVERS: OnceCell<Stack> = OnceCell::const_new();

/// PostgreSQL, NATS and Redis, shared by all tests of this process. Tests that stop or fill one start their own.
pub async fn shared() -> &'static Stack {
    SERVERS.get_or_init(|| start(&[])).await
}

/// A stack of one's own, with these services.
pub async fn start(services: &[Part]) -> Stack {
    Stack::start(options().with_services(services)).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Where a stack of one's own would lie.
pub fn options() -> StackOptions {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    StackOptions::temporary(folder(), binary)
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("kisum-test-{}", new_uuid().simple()))
}

/// A log database that belongs to one test.
pub struct LogDatabase {
    /// The superuser's URL.
    pub superuser_url: String,
    /// The run-time role's URL.
    pub run_url: String,
    /// The relay's role's URL.
    pub relay_url: String,
}

/// Makes an empty database with the migrations of `auth_db`.
pub async fn fresh_log(stack: &Stack) -> LogDatabase {
    fresh_log_of(stack, Log::Auth).await
}

/// Makes an empty database with the migrations of a log's database.
pub async fn fresh_log_of(stack: &Stack, log: Log) -> LogDatabase {
    let database = database_of(log);
    let (run, relay) = (database.runtime_role(), database.relay_role().unwrap_or_default());
    let name = format!("log_{}", new_uuid().simple());
    let mut conn = PgConnection::connect(&superuser_url(stack, "postgres"))
        .await
        .unwrap_or_else(|error| panic!("the superuser: {error}"));
    let owner = database.owner();
    for sql in [
        format!("create database {name} owner {owner}"),
        format!("revoke connect, temporary on database {name} from public"),
        format!("grant connect on database {name} to {run}, {relay}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    }
    databases::migrate(database, &role_url(stack, owner, &name)).await.unwrap_or_else(|error| panic!("{error}"));
    LogDatabase {
        superuser_url: superuser_url(stack, &name),
        run_url: role_url(stack, run, &name),
        relay_url: role_url(stack, relay, &name),
    }
}

/// The database that a log stands in.
pub const fn database_of(log: Log) -> Database {
    match log {
        Log::Auth => Database::Auth,
        Log::Core => Database::Core,
    }
}

fn superuser_url(stack: &Stack, database: &str) -> String {
    role_url(stack, "postgres", database)
}

fn role_url(stack: &Stack, role: &str, database: &str) -> String {
    let known =
        stack.addresses_with(|at| at.database(Database::Auth, role)).unwrap_or_else(|failure| panic!("{failure}"));
    known.replace("/auth_db", &format!("/{database}"))
}

/// A small pool.
pub async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The `DATA_ENCRYPTION_KEYS` of logs that tests open.
pub const DATA_KEYS: &str = "1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// Opens the auth log of a database as the run-time role does.
pub async fn open(database: &LogDatabase) -> EventLog {
    open_log(database, Log::Auth).await
}

/// Opens the log of a database as the run-time role does.
pub async fn open_log(database: &LogDatabase, log: Log) -> EventLog {
    let sealer = Sealer::new(DATA_KEYS).unwrap_or_else(|error| panic!("{error}"));
    EventLog::open(log, &database.run_url, pool(&database.run_url).await, sealer)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A connection to a stack's NATS as one of its users, with that user's inbox.
pub async fn nats(stack: &Stack, user: &str) -> async_nats::Client {
    let password = stack.secrets().nats_password(user).unwrap_or_else(|failure| panic!("{failure}"));
    async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password)
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .connect(stack.addresses_with(|at| at.nats_bare()))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
