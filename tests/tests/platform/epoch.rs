//! Restored and promoted databases: refused until a new epoch begins, and what everybody does once it has.

mod command;
mod copies;
mod everybody;
mod promoted;
mod restored;

use async_nats::jetstream;
use kisum::local::{Stack, databases::Database, stack::binary_beside_this};
use kisum_events::{Log, header};
use kisum_log::{AppendError, EventLog, Loaded, read, read_head_with_barrier, relay};
use kisum_tests::{
    counted::{Counted, new_stream, widen},
    servers,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{process::Stdio, time::Duration};
use tokio::{process::Command, sync::watch, task::JoinHandle};

/// What every refusal must name.
const REMEDY: &str = "kisum log epoch new";
/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition.
async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A database of the auth log: the stack's own, or a copy of it on this or another server.
#[derive(Clone)]
struct LogCopy {
    /// `address/database`
    place: String,
    run_url: String,
    relay_url: String,
    owner_url: String,
    superuser_url: String,
}

impl LogCopy {
    /// The database `name` at `address`, with the stack's roles and passwords.
    fn at(stack: &Stack, address: &str, name: &str) -> Self {
        let url = |role: &str| {
            let password = stack.secrets().database_password(role).unwrap_or_else(|failure| panic!("{failure}"));
            format!("postgres://{role}:{password}@{address}/{name}")
        };
        Self {
            place: format!("{address}/{name}"),
            run_url: url("kisum_auth"),
            relay_url: url("kisum_relay_auth"),
            owner_url: url("auth_owner"),
            superuser_url: url("postgres"),
        }
    }

    /// The stack's own.
    fn original(stack: &Stack) -> Self {
        Self::at(stack, &address(stack), Database::Auth.name())
    }

    async fn log(&self) -> EventLog {
        let (run_url, relay_url) = (self.run_url.clone(), self.relay_url.clone());
        let database = servers::LogDatabase { superuser_url: self.superuser_url.clone(), run_url, relay_url };
        servers::open(&database).await
    }

    async fn superuser(&self) -> PgConnection {
        PgConnection::connect(&self.superuser_url).await.unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }

    /// Where the log ends, whatever its epoch.
    async fn head(&self) -> u64 {
        let sql = "select coalesce(max(last_position), 0) from log_batch";
        let head: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.superuser().await).await.unwrap_or(-1);
        u64::try_from(head).unwrap_or_else(|error| panic!("{}: {error}", self.place))
    }

    /// Append, heads and relay refuse, each with what to do.
    async fn refuses_everything(&self, stack: &Stack) {
        let log = self.log().await;
        let refused = log.append(widen(&Loaded::<Counted>::new_stream(new_stream()), "x")).await;
        assert!(matches!(&refused, Err(AppendError::Epoch(line)) if line.contains(REMEDY)), "{refused:?}");
        for url in [&self.run_url, &self.relay_url] {
            let mut conn = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"));
            let head = read_head_with_barrier(&mut conn).await;
            assert!(matches!(&head, Err(error) if error.to_string().contains(REMEDY)), "{head:?}");
        }
        let halted = Relay::start(stack, self).await.halted().await;
        assert!(halted.contains(REMEDY), "{halted}");
    }
}

/// Where the stack's PostgreSQL listens.
fn address(stack: &Stack) -> String {
    let url = stack.addresses_with(|at| at.database(Database::Auth, "postgres")).unwrap_or_else(|f| panic!("{f}"));
    let place = url.rsplit('@').next().unwrap_or_default();
    place.split('/').next().unwrap_or_default().to_owned()
}

async fn run_sql(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Appends access events one after the other.
async fn append(log: &EventLog, count: usize, note: &str) {
    for _ in 0..count {
        let appended = log.append(widen(&Loaded::<Counted>::new_stream(new_stream()), note)).await;
        appended.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A relay inside this process.
struct Relay {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), relay::RelayHalted>>,
}

impl Relay {
    async fn start(stack: &Stack, of: &LogCopy) -> Self {
        let (stop, shutdown) = watch::channel(false);
        let (pool, nats) = (servers::pool(&of.relay_url).await, servers::nats(stack, "relay-auth").await);
        let config = relay::RelayConfig { log: Log::Auth, pool, nats, replicas: 1 };
        Self { stop, task: tokio::spawn(relay::run(config, shutdown)) }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let ended = self.task.await.unwrap_or_else(|error| panic!("{error}"));
        assert!(ended.is_ok(), "{ended:?}");
    }

    /// What it said when it stopped for good.
    async fn halted(self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.unwrap_or_else(|_| panic!("the relay went on"));
        let ended = ended.unwrap_or_else(|error| panic!("{error}"));
        ended.err().unwrap_or_else(|| panic!("the relay stopped in peace")).to_string()
    }
}

/// The stream once it holds `last` messages.
async fn published(stack: &Stack, name: &str, last: u64) -> jetstream::stream::Stream {
    let admin = jetstream::new(servers::nats(stack, "admin").await);
    until(&format!("{name} at {last}"), async || {
        let stream = admin.get_stream(name).await.ok()?;
        (stream.get_info().await.ok()?.state.last_sequence >= last).then_some(stream)
    })
    .await
}

/// Compares stream and log, byte for byte of the public part.
async fn assert_equal(stream: &jetstream::stream::Stream, of: &LogCopy, epoch: u32) {
    let mut conn = of.superuser().await;
    let events = read(&mut conn, Log::Auth, 0, 100_000, None).await.unwrap_or_else(|error| panic!("{error}"));
    let state = stream.get_info().await.unwrap_or_else(|error| panic!("{error}")).state;
    assert_eq!((state.first_sequence, state.messages), (1, events.len() as u64));
    for event in events {
        let message = stream.get_raw_message(event.position).await.unwrap_or_else(|error| panic!("{error}"));
        let body = serde_json::to_vec(&event).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(message.payload.as_ref(), body.as_slice(), "position {}", event.position);
        let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        assert_eq!((header(header::EVENT_ID), header(header::EPOCH)), (event.id.to_string(), epoch.to_string()));
    }
}

/// The command, without a terminal.
fn kisum(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary_beside_this().unwrap_or_else(|failure| panic!("{failure}")));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for variable in ["NATS_ADMIN_URL", "AUTH_DB_URL", "AUTH_DB_OWNER_URL"] {
        command.env_remove(variable);
    }
    command
}

/// Exit code and everything printed.
async fn said(mut command: Command) -> (i32, String) {
    let output = command.output().await.unwrap_or_else(|error| panic!("{error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap_or(-1), text)
}

/// `kisum log epoch new` on a copy, with these words behind it.
fn epoch_new(stack: &Stack, of: &LogCopy, more: &[&str]) -> Command {
    let nats = stack.addresses_with(|at| at.nats("admin")).unwrap_or_else(|failure| panic!("{failure}"));
    let given = ["log", "epoch", "new", "--reason", "a test", "--url", &of.owner_url, "--nats-url", &nats];
    kisum(&[&given, more].concat())
}

/// `kisum log epoch new --yes --json`, which must do it.
async fn begins_epoch(stack: &Stack, of: &LogCopy) -> Value {
    let (code, text) = said(epoch_new(stack, of, &["--yes", "--json"])).await;
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A stack with servers alone, `shared` events in its log, published.
async fn stack_with_a_log(shared: usize) -> (Stack, LogCopy, EventLog, Relay) {
    let stack = servers::start(&[]).await;
    let original = LogCopy::original(&stack);
    let log = original.log().await;
    let relay = Relay::start(&stack, &original).await;
    append(&log, shared, "shared").await;
    published(&stack, "AUTH_1", shared as u64).await;
    (stack, original, log, relay)
}
