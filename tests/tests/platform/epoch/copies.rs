//! Copies of a log's database: dumps that are restored, and standbys that are promoted.

use super::{LogCopy, address, run_sql, until};
use kisum::local::{
    Stack,
    child::{self, Child, Plan, Signal, StopBy},
    databases::Database,
};
use kisum_tests::counted::new_uuid;
use sqlx::{Connection, PgConnection};
use std::{collections::BTreeMap, net::TcpListener, path::PathBuf};

/// The programs of the stack's PostgreSQL release.
fn programs(stack: &Stack) -> PathBuf {
    let opts = stack.layout().root().join("postgres/data/postmaster.opts");
    let text = std::fs::read_to_string(&opts).unwrap_or_else(|error| panic!("{}: {error}", opts.display()));
    let server = PathBuf::from(text.split_whitespace().next().unwrap_or_default());
    server.parent().unwrap_or_else(|| panic!("{}", server.display())).to_owned()
}

fn plan(stack: &Stack, name: &str, folder: PathBuf, command: Vec<String>) -> Plan {
    let ground = stack.ground();
    let password = ground.secrets.database_password("postgres").unwrap_or_else(|failure| panic!("{failure}"));
    Plan {
        name: name.to_owned(),
        command: ground.account.command(command),
        environment: BTreeMap::from([("PGPASSWORD".to_owned(), password)]),
        folder,
        log: ground.layout.log(name),
        run: ground.layout.run(),
        stop: StopBy { signal: Signal::Quit, patience_secs: 5 },
    }
}

/// Runs one of PostgreSQL's programs to its end.
async fn run(stack: &Stack, folder: PathBuf, program: &str, arguments: &[&str]) {
    let mut command = vec![programs(stack).join(program).display().to_string()];
    command.extend(arguments.iter().map(|&word| word.to_owned()));
    let done = child::run_to_end(plan(stack, program, folder, command)).await;
    done.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A folder that the servers' account owns.
fn folder(stack: &Stack, name: &str) -> PathBuf {
    let ground = stack.ground();
    ground.account.folder(ground.layout.root(), name).unwrap_or_else(|failure| panic!("{failure}"))
}

/// A dump of a database, as `pg_dump` writes it.
pub(super) struct Dump(PathBuf);

pub(super) async fn dump(stack: &Stack, of: &LogCopy) -> Dump {
    let folder = folder(stack, "dumps");
    let file = folder.join(new_uuid().simple().to_string());
    let to = format!("--file={}", file.display());
    run(stack, folder, "pg_dump", &["--format=custom", &to, &of.superuser_url]).await;
    Dump(file)
}

/// Restores a dump into a database of that name, which must not exist.
pub(super) async fn restore_as(stack: &Stack, dump: &Dump, database: Database, name: &str) -> LogCopy {
    let admin = servers_superuser(stack).await;
    create(admin, database, name).await;
    let copy = LogCopy::at(stack, &address(stack), name);
    let (into, from) = (format!("--dbname={}", copy.superuser_url), dump.0.display().to_string());
    run(stack, folder(stack, "dumps"), "pg_restore", &["--exit-on-error", &into, &from]).await;
    copy
}

/// Restores a dump of the auth log into a new database.
pub(super) async fn restore(stack: &Stack, dump: &Dump) -> LogCopy {
    restore_as(stack, dump, Database::Auth, &format!("restored_{}", new_uuid().simple())).await
}

async fn servers_superuser(stack: &Stack) -> PgConnection {
    let url = LogCopy::at(stack, &address(stack), "postgres").superuser_url;
    PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn create(mut admin: PgConnection, database: Database, name: &str) {
    let (owner, run_time) = (database.owner(), database.runtime_role());
    let relay = database.relay_role().unwrap_or(run_time);
    for sql in [
        format!("create database {name} owner {owner}"),
        format!("revoke connect, temporary on database {name} from public"),
        format!("grant connect on database {name} to {run_time}, {relay}"),
    ] {
        run_sql(&mut admin, &sql).await;
    }
}

/// A streaming standby of the stack's PostgreSQL. It dies with this process.
pub(super) struct Standby {
    pub(super) copy: LogCopy,
    _server: Child,
}

impl Standby {
    pub(super) async fn start(stack: &Stack) -> Self {
        let (home, primary) = (folder(stack, "standby"), address(stack));
        let data = home.join("data").display().to_string();
        let (host, port) = primary.split_once(':').unwrap_or_else(|| panic!("{primary}"));
        let from = ["-h", host, "-p", port, "-U", "postgres", "-D", &data, "-X", "stream", "-c", "fast", "-R", "-N"];
        run(stack, home.clone(), "pg_basebackup", &from).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let port = listener.local_addr().unwrap_or_else(|error| panic!("{error}")).port();
        drop(listener);
        let mut command = vec![programs(stack).join("postgres").display().to_string(), "-D".to_owned(), data];
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "unix_socket_directories=",
            "cluster_name=kisum-standby",
            "max_connections=200",
            "shared_buffers=32MB",
            "fsync=off",
            "timezone=UTC",
        ] {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let server = Child::start(plan(stack, "standby", home, command)).unwrap_or_else(|failure| panic!("{failure}"));
        let copy = LogCopy::at(stack, &format!("127.0.0.1:{port}"), Database::Auth.name());
        until("the standby answers", async || PgConnection::connect(&copy.superuser_url).await.ok()).await;
        Self { copy, _server: server }
    }

    /// Waits until it has replayed the log up to a position.
    pub(super) async fn reaches(&self, position: u64) {
        until("the standby replays", async || (self.copy.head().await >= position).then_some(())).await;
    }

    /// Cuts it off from the primary.
    pub(super) async fn cut_off(&self) {
        let mut conn = self.copy.superuser().await;
        run_sql(&mut conn, "alter system set primary_conninfo = ''").await;
        run_sql(&mut conn, "select pg_reload_conf()").await;
        until("the standby is cut off", async || {
            let receivers: Result<i64, _> =
                sqlx::query_scalar("select count(*) from pg_stat_wal_receiver").fetch_one(&mut conn).await;
            (receivers.ok()? == 0).then_some(())
        })
        .await;
    }

    /// Makes it a primary.
    pub(super) async fn promote(&self) {
        let mut conn = self.copy.superuser().await;
        let promoted: bool =
            sqlx::query_scalar("select pg_promote()").fetch_one(&mut conn).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(promoted);
    }
}

/// Renames a database while services try to reach it.
pub(super) async fn rename(stack: &Stack, from: &str, to: &str) {
    let mut admin = servers_superuser(stack).await;
    run_sql(&mut admin, &format!("alter database {from} with allow_connections false")).await;
    until("nobody is connected", async || {
        let ended = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{from}'");
        run_sql(&mut admin, &ended).await;
        let renamed = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter database {from} rename to {to}")));
        renamed.execute(&mut admin).await.ok()
    })
    .await;
    run_sql(&mut admin, &format!("alter database {to} with allow_connections true")).await;
}
