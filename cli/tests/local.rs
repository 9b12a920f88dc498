//! The developer's machine for real: servers that start, die, are left behind, and start again.

use kisum::local::{
    Part, Stack, StackOptions,
    child::Signal,
    databases::{self, Database, MigrationFailure},
    leftovers,
};
use sqlx::{Connection as _, PgConnection};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// How long a condition may take to come true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kisum-local-{name}-{}", std::process::id()))
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kisum"))
}

fn servers_only(folder: &Path) -> StackOptions {
    StackOptions::temporary(folder.to_owned(), binary()).with_services(&[])
}

async fn start(options: StackOptions) -> Stack {
    Stack::start(options).await.unwrap_or_else(|failure| panic!("{failure}"))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    while !holds() {
        assert!(tries > 0, "{what} did not come about");
        tries -= 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// `kisum up` as a process; killed at the end of a test that failed.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn up(folder: &Path) -> Up {
    let mut command = Command::new(binary());
    command.arg("up").arg("--dir").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    Up(command.spawn().unwrap_or_else(|error| panic!("{error}")))
}

async fn ended(mut up: Up) -> ExitStatus {
    let mut status = None;
    until("the end of `kisum up`", || {
        status = up.0.try_wait().unwrap_or_else(|error| panic!("{error}"));
        status.is_some()
    })
    .await;
    status.unwrap_or_else(|| panic!("it ended without a status"))
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}

#[tokio::test]
async fn what_up_started_dies_with_it_when_it_is_killed_and_the_next_one_starts() {
    let folder = folder("killed");
    let run = folder.join("run");
    let first = up(&folder);
    until("a NATS server", || leftovers::noted(&run, "nats").is_some()).await;
    leftovers::send(first.0.id(), Signal::Kill);
    ended(first).await;
    until("the end of its servers", || Part::ALL.into_iter().all(|part| leftovers::noted(&run, part.name()).is_none()))
        .await;

    let second = up(&folder);
    until("a NATS server again", || leftovers::noted(&run, "nats").is_some()).await;
    leftovers::send(second.0.id(), Signal::Int);
    assert!(ended(second).await.success());
    assert!(Part::ALL.into_iter().all(|part| leftovers::noted(&run, part.name()).is_none()));
    remove(&folder);
}

#[tokio::test]
async fn a_second_up_of_the_same_folder_is_refused() {
    let folder = folder("second");
    let first = up(&folder);
    until("a PostgreSQL server", || leftovers::noted(&folder.join("run"), "postgres").is_some()).await;
    let second = Command::new(binary()).arg("up").arg("--dir").arg(&folder).output();
    let second = second.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("process {}", first.0.id())), "{said}");
    leftovers::send(first.0.id(), Signal::Int);
    assert!(ended(first).await.success());
    remove(&folder);
}

#[tokio::test]
async fn a_data_folder_that_was_never_finished_is_made_anew() {
    let folder = folder("half-made");
    let half_made = folder.join("postgres").join("data.new");
    std::fs::create_dir_all(&half_made).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(half_made.join("PG_VERSION"), "15\n").unwrap_or_else(|error| panic!("{error}"));
    start(servers_only(&folder)).await.stop().await;
    assert!(!folder.exists(), "a temporary stack leaves nothing");
}

#[tokio::test]
async fn killed_servers_start_again_with_their_data() {
    let mut stack = start(servers_only(&folder("restart"))).await;
    let url = stack.variable("AUTH_DB_OWNER_URL").unwrap_or_else(|failure| panic!("{failure}"));
    for server in Part::SERVERS {
        stack.kill(server).await;
        stack.restart(server).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let mut connection = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(usize::try_from(applied), Ok(Database::Auth.migrator().iter().count()));
    stack.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_is_named_with_its_last_words() {
    let mut stack = start(servers_only(&folder("fallen"))).await;
    assert!(stack.fallen().is_none());
    stack.signal(Part::Redis, Signal::Term);
    let mut fallen = None;
    until("its obituary", || {
        fallen = stack.fallen();
        fallen.is_some()
    })
    .await;
    let (part, failure) = fallen.unwrap_or_else(|| panic!("nothing fell"));
    assert_eq!(part, Part::Redis);
    let line = failure.to_string();
    assert!(line.starts_with("redis stopped by itself") && line.contains("bye bye") && !line.contains('\n'), "{line}");
    stack.stop().await;
}

#[tokio::test]
async fn a_published_migration_that_was_changed_is_refused() {
    let stack = start(servers_only(&folder("migration"))).await;
    let url = stack.variable("FINANCE_DB_OWNER_URL").unwrap_or_else(|failure| panic!("{failure}"));
    assert!(databases::migrate(Database::Finance, &url).await.is_ok());
    let mut connection = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    sqlx::query("UPDATE _sqlx_migrations SET checksum = 'other'")
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let refusal = databases::migrate(Database::Finance, &url).await;
    assert!(matches!(refusal, Err(MigrationFailure::Changed { .. })), "{refusal:?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_project_that_is_deleted_and_made_again_at_the_same_path_starts() {
    use std::os::unix::fs::DirBuilderExt as _;
    // Nobody but its owner may enter, as in /root: root's servers then keep their data elsewhere.
    let closed = folder("again");
    std::fs::DirBuilder::new().mode(0o700).create(&closed).unwrap_or_else(|error| panic!("{error}"));
    let project = closed.join("project");
    let durable_folder = || StackOptions { temporary: false, ..servers_only(&project) };
    start(durable_folder()).await.stop().await;
    remove(&project);
    start(durable_folder()).await.stop().await;
    start(durable_folder()).await.stop().await;
    let elsewhere = kisum::local::account::elsewhere_root(&project);
    remove(&closed);
    if elsewhere.exists() {
        remove(&elsewhere);
    }
}
