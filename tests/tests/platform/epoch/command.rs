//! `kisum log epoch new` itself: run twice, killed, without NATS, without a terminal, by the wrong role.

use super::{
    LogCopy, append, begins_epoch, copies, epoch_new, kisum, published, run_sql, said, stack_with_a_log, until,
};
use async_nats::jetstream;
use kisum::local::{Part, Stack, child::Signal};
use kisum_events::Log;
use kisum_log::{EpochError, EpochStanding, begin_epoch};
use kisum_tests::servers;
use sqlx::{Connection, PgConnection};
use std::process::Stdio;
use tokio::{io::AsyncWriteExt, process::Command};

/// A stack whose `AUTH_1` holds two events that the restored copy does not have.
async fn with_a_restored_copy() -> (Stack, LogCopy) {
    let (stack, original, log, relay) = stack_with_a_log(4).await;
    let dump = copies::dump(&stack, &original).await;
    append(&log, 2, "lost").await;
    published(&stack, "AUTH_1", 6).await;
    relay.stop().await;
    let restored = copies::restore(&stack, &dump).await;
    (stack, restored)
}

async fn standing(of: &LogCopy) -> EpochStanding {
    EpochStanding::read(&mut of.superuser().await).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The subjects of a stream.
async fn subjects(stack: &Stack, name: &str) -> Vec<String> {
    let admin = jetstream::new(servers::nats(stack, "admin").await);
    let stream = admin.get_stream(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    stream.cached_info().config.subjects.clone()
}

/// Nothing has begun, and the stream still has its subjects.
async fn nothing_has_changed(stack: &Stack, of: &LogCopy) {
    let now = standing(of).await;
    assert_eq!((now.number, now.head, now.is_here()), (1, 4, false));
    assert_eq!(subjects(stack, "AUTH_1").await.len(), 2);
}

/// The log's lock, held as an append in flight holds it.
struct Lock(PgConnection);

impl Lock {
    async fn take(of: &LogCopy) -> Self {
        let mut conn = of.superuser().await;
        run_sql(&mut conn, "select pg_advisory_lock(4207849484)").await;
        Self(conn)
    }

    async fn is_waited_for(&mut self, by: i64) {
        let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
        until("the lock is waited for", async || {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.0).await.ok()?;
            (waiting >= by).then_some(())
        })
        .await;
    }

    async fn release(mut self) {
        run_sql(&mut self.0, "select pg_advisory_unlock(4207849484)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_line_and_changes_nothing() {
    let (mut stack, restored) = with_a_restored_copy().await;
    let nobody = "nats://admin:wrong@127.0.0.1:1";
    let run_url = restored.run_url.as_str();
    let new = ["log", "epoch", "new"];
    let with = |more: &[&'static str]| [&new, more].concat();
    for (arguments, code, says) in [
        (with(&["--reason", "x", "--url", "postgres://nobody@127.0.0.1:1/none"]), 3, "cannot be reached"),
        (with(&["--reason", "x"]), 2, "AUTH_DB_OWNER_URL is not set"),
        (with(&["--reason", " "]), 2, "say why"),
        (with(&[]), 2, "--reason"),
    ] {
        let (found, text) = said(kisum(&arguments)).await;
        assert!(found == code && text.contains(says), "{arguments:?}: {found} {text}");
    }
    for role in [run_url, restored.relay_url.as_str()] {
        let given = ["log", "epoch", "new", "--reason", "x", "--yes", "--skip-stream", "--url", role];
        let (code, text) = said(kisum(&given)).await;
        assert!(code == 1 && text.contains("only the owner of the database may"), "{code} {text}");
        let mut conn = PgConnection::connect(role).await.unwrap_or_else(|error| panic!("{error}"));
        let refused = begin_epoch(&mut conn, Log::Auth, (1, 1), "x").await;
        assert!(matches!(refused, Err(EpochError::NotOwner)), "{refused:?}");
    }
    let owned = ["log", "epoch", "new", "--reason", "x", "--url", &restored.owner_url];
    let (code, text) = said(kisum(&owned)).await;
    assert!(code == 2 && text.contains("NATS_ADMIN_URL is not set"), "{code} {text}");
    let (code, text) = said(kisum(&[&owned[..], &["--yes", "--nats-url", nobody]].concat())).await;
    assert!(code == 3 && text.contains("nothing was changed") && text.contains("--skip-stream"), "{code} {text}");
    let (code, text) = said(epoch_new(&stack, &restored, &[])).await;
    assert!(code == 2 && text.contains("say --yes to begin epoch 2 of the auth log"), "{code} {text}");
    assert!(text.contains("AUTH_1 holds 2 events that this database does not have"), "{text}");
    nothing_has_changed(&stack, &restored).await;

    // A dump of a database that does not have the newest migrations.
    let mut older = restored.superuser().await;
    run_sql(&mut older, "alter function log_epoch_start rename to hidden").await;
    let (code, text) = said(epoch_new(&stack, &restored, &["--yes"])).await;
    assert!(code == 1 && text.contains("run `kisum migrate` on it first"), "{code} {text}");
    run_sql(&mut older, "alter function hidden rename to log_epoch_start").await;
    nothing_has_changed(&stack, &restored).await;

    stack.kill(Part::Nats).await;
    let (code, text) = said(epoch_new(&stack, &restored, &["--yes"])).await;
    assert!(code == 3 && text.contains("nothing was changed"), "{code} {text}");
    let (code, text) = said(epoch_new(&stack, &restored, &["--yes", "--skip-stream"])).await;
    assert!(code == 0 && text.contains("epoch 2 of the auth log has begun at position 5"), "{code} {text}");
    assert!(text.contains("left to do") && text.contains("without --skip-stream"), "{text}");
    stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(subjects(&stack, "AUTH_1").await.len(), 2);
    // What is left to do was agreed to before: nobody is asked again.
    let (code, text) = said(epoch_new(&stack, &restored, &[])).await;
    assert!(code == 0 && text.contains("AUTH_1 gave up its subjects"), "{code} {text}");
    assert_eq!(subjects(&stack, "AUTH_1").await, ["kisum.retired.auth.1.>"]);
    assert_eq!(standing(&restored).await.head, 5);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_twice_or_at_once_it_begins_one_epoch() {
    let (stack, restored) = with_a_restored_copy().await;
    let mut lock = Lock::take(&restored).await;
    let both = [0, 1].map(|_| tokio::spawn(said(epoch_new(&stack, &restored, &["--yes"]))));
    lock.is_waited_for(2).await;
    lock.release().await;
    let mut began = 0;
    for one in both {
        let (code, text) = one.await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(code, 0, "{text}");
        began += text.matches("has begun at position").count();
    }
    let now = standing(&restored).await;
    assert_eq!((began, now.number, now.head, now.is_here()), (1, 2, 5, true));
    let (code, text) = said(epoch_new(&stack, &restored, &[])).await;
    assert!(code == 0 && text.contains("there is none to begin"), "{code} {text}");
    assert_eq!(standing(&restored).await, now);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_anywhere_is_completed_by_the_next() {
    let (stack, restored) = with_a_restored_copy().await;
    let mut lock = Lock::take(&restored).await;
    let mut killed = epoch_new(&stack, &restored, &["--yes"]).spawn().unwrap_or_else(|error| panic!("{error}"));
    lock.is_waited_for(1).await;
    killed.kill().await.unwrap_or_else(|error| panic!("{error}"));
    lock.release().await;
    nothing_has_changed(&stack, &restored).await;

    // Committed, and the stream not yet retired: NATS stands still from the moment that the command waits for the lock.
    let mut lock = Lock::take(&restored).await;
    let mut killed = epoch_new(&stack, &restored, &["--yes"]).spawn().unwrap_or_else(|error| panic!("{error}"));
    lock.is_waited_for(1).await;
    stack.signal(Part::Nats, Signal::Stop);
    lock.release().await;
    until("the epoch has begun", async || (standing(&restored).await.number == 2).then_some(())).await;
    killed.kill().await.unwrap_or_else(|error| panic!("{error}"));
    stack.signal(Part::Nats, Signal::Continue);
    assert_eq!(subjects(&stack, "AUTH_1").await.len(), 2);
    let done = begins_epoch(&stack, &restored).await;
    assert_eq!((&done["epoch"], &done["begunAt"]), (&2.into(), &serde_json::Value::Null), "{done}");
    assert_eq!(done["retired"], serde_json::json!(["AUTH_1"]));
    assert_eq!(subjects(&stack, "AUTH_1").await, ["kisum.retired.auth.1.>"]);
    assert_eq!(standing(&restored).await.head, 5);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_could_not_be_retired_is_said_and_left_to_the_next_run() {
    let (stack, restored) = with_a_restored_copy().await;
    let mut lock = Lock::take(&restored).await;
    let waiting = tokio::spawn(said(epoch_new(&stack, &restored, &["--yes"])));
    lock.is_waited_for(1).await;
    stack.signal(Part::Nats, Signal::Stop);
    lock.release().await;
    let (code, text) = waiting.await.unwrap_or_else(|error| panic!("{error}"));
    assert!(code == 3 && text.contains("epoch 2 of the auth log has begun"), "{code} {text}");
    assert!(text.contains("run the same command again"), "{text}");
    // A server that takes connections and says nothing counts as gone, too.
    let (code, text) = said(epoch_new(&stack, &restored, &["--yes"])).await;
    assert!(code == 3 && text.contains("nothing was changed"), "{code} {text}");
    stack.signal(Part::Nats, Signal::Continue);
    let (code, text) = said(epoch_new(&stack, &restored, &[])).await;
    assert!(code == 0 && text.contains("AUTH_1 gave up its subjects"), "{code} {text}");
    stack.stop().await;
}

/// The command on a terminal, where `typed` is typed.
async fn on_a_terminal(command: &Command, typed: &str) -> (i32, String) {
    let words = std::iter::once(command.as_std().get_program()).chain(command.as_std().get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line.join(" "), "/dev/null"]).kill_on_drop(true);
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = terminal.spawn().unwrap_or_else(|error| panic!("script: {error}"));
    let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("script has no input"));
    stdin.write_all(format!("{typed}\n").as_bytes()).await.unwrap_or_else(|error| panic!("{error}"));
    let output = child.wait_with_output().await.unwrap_or_else(|error| panic!("{error}"));
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_log_s_name_must_be_typed() {
    let (stack, restored) = with_a_restored_copy().await;
    let command = epoch_new(&stack, &restored, &[]);
    let (code, text) = on_a_terminal(&command, "yes").await;
    assert!(code == 1 && text.contains("Type auth to begin epoch 2"), "{code} {text}");
    nothing_has_changed(&stack, &restored).await;
    let (code, text) = on_a_terminal(&command, "auth").await;
    assert!(code == 0 && text.contains("epoch 2 of the auth log has begun"), "{code} {text}");
    stack.stop().await;
}
