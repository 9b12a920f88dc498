//! `kill -9` of the processes that run projections at the moments where rows, checkpoint and memory differ; events that
//! are published twice, and all of them again; while commands keep coming. At the end every read model is the fold of
//! its log.

use crate::random_commands::{command::any_command, world::World};
use kisum::local::{Part, Stack};
use kisum_events::{Cursor, Log, header, subject_for};
use kisum_log::{EventLog, Pages, read};
use kisum_projectors::{Stage, read_checkpoint, registry};
use kisum_tests::{
    processes::{Ended, Process},
    seeded::Seeded,
    servers, streams,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sqlx::{Connection as _, PgConnection};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// At each moment.
const KILLS: u64 = 10;
/// A process dies at one of its first so many commits; the first of each projection is what came while it was dead.
const COMMITS: u64 = 24;
const MOMENTS: [&str; 3] = ["projection.rows_written", "projection.before_commit", "projection.committed"];

/// Commands that keep coming to both logs until they are told to stop.
struct Commands {
    task: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
    made: watch::Receiver<u64>,
}

impl Commands {
    fn start(auth: EventLog, core: EventLog, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (say, made) = watch::channel(0);
        let task = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.to_le_bytes());
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
                let mut chance = TestRunner::new_with_rng(Config::default(), rng);
                let now = kisum::ambient::now();
                for number in 0.. {
                    // One after the other, since in each there is less and less left to do.
                    let mut world = World::new(auth.clone(), core.clone(), number, now);
                    for _ in 0..150 {
                        if stop.load(Ordering::Relaxed) {
                            return *say.borrow();
                        }
                        let drawn = any_command().new_tree(&mut chance).map(|drawn| drawn.current());
                        let command = drawn.unwrap_or_else(|why| panic!("{why}"));
                        if world.execute(&command).await.is_some() {
                            say.send_modify(|made| *made += 1);
                        }
                    }
                }
                0
            }
        });
        Self { task, stop, made }
    }

    /// Waits until so many more commands were carried out.
    async fn more(&mut self, count: u64) {
        let wanted = *self.made.borrow() + count;
        let waited = tokio::time::timeout(PATIENCE, self.made.wait_for(|made| *made >= wanted)).await;
        assert!(matches!(waited, Ok(Ok(_))), "no more commands are carried out");
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Both logs of a platform, and its servers.
struct Platform {
    stack: Stack,
    auth: EventLog,
    core: EventLog,
}

impl Platform {
    /// With these services of its own.
    async fn start(services: &[Part]) -> Self {
        let stack = servers::start(services).await;
        let auth = servers::open_log(&streams::database(&stack, Log::Auth), Log::Auth).await;
        let core = servers::open_log(&streams::database(&stack, Log::Core), Log::Core).await;
        Self { stack, auth, core }
    }

    const fn log(&self, log: Log) -> &EventLog {
        match log {
            Log::Auth => &self.auth,
            Log::Core => &self.core,
        }
    }

    async fn head(&self, log: Log) -> Cursor {
        let head = self.log(log).head().await.unwrap_or_else(|error| panic!("{error}"));
        Cursor { epoch: head.epoch, position: head.position }
    }

    async fn connect(&self, log: Log) -> PgConnection {
        let url = streams::database(&self.stack, log).run_url;
        PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until every projection has applied all that there is, and proves that it is the fold of that.
    async fn assert_folded(&self) {
        for one in registry::ALL {
            let (head, mut conn) = (self.head(one.log).await, self.connect(one.database).await);
            let mut stored = None;
            let waiting = async {
                loop {
                    stored = read_checkpoint(&mut conn, one.name).await.unwrap_or_else(|error| panic!("{error}"));
                    if stored.as_ref().is_some_and(|stored| stored.cursor == head) {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let waited = tokio::time::timeout(PATIENCE, waiting).await;
            assert!(waited.is_ok(), "{} does not get to {head:?}: {stored:?}", one.name);
            let database = self.log(one.database).pool().connect_options();
            let log = Pages::from(self.log(one.log).pool().clone());
            let compared = one.diff(&database, &log, &watch::Sender::new(Stage::default())).await;
            let compared = compared.unwrap_or_else(|error| panic!("{}: {error:?}", one.name));
            assert_eq!((compared.through, compared.rows()), (head, 0), "{}: {:?}", one.name, compared.tables);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_killed_at_any_moment_of_a_commit_end_as_the_folds_of_their_logs() {
    let platform = Platform::start(&[Part::RelayAuth, Part::RelayCore]).await;
    let commands = Commands::start(platform.auth.clone(), platform.core.clone(), 5);
    let mut chance = Seeded::new(6);
    for moment in MOMENTS {
        for kill in 0..KILLS {
            // Core runs one projection of eight.
            let victim = if kill % 5 == 4 { Part::Core } else { Part::Auth };
            let failpoints = format!("{moment}={}*off->return", chance.below(COMMITS));
            let process = Process::service(&platform.stack, victim, &[("FAILPOINTS", &failpoints)]);
            let (ended, lines) = process.ended().await;
            assert_eq!(ended, Ended::Killed, "kill {kill} of {victim}, {failpoints}: {:?}", lines.last());
        }
    }
    let made = commands.stop().await;
    assert!(made > KILLS, "only {made} commands came meanwhile: this proved nothing");
    let survivors = [Part::Auth, Part::Core].map(|part| Process::service(&platform.stack, part, &[]));
    platform.assert_folded().await;
    for survivor in survivors {
        survivor.stopped_in_order().await;
    }
    platform.stack.stop().await;
}

/// Says events of the core log again that were said before, in any order. A stream refuses what does not follow on its
/// end, as it does with a relay that was outrun; those who listen on the bus hear it all the same.
async fn say_again(platform: &Platform, chance: &mut Seeded) {
    let relay = servers::nats(&platform.stack, "relay-core").await;
    let mut conn = platform.connect(Log::Core).await;
    let events = read(&mut conn, Log::Core, 0, i64::MAX, None).await.unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..200 {
        let event = &events[usize::try_from(chance.below(events.len() as u64)).unwrap_or(0)];
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::EPOCH, event.epoch.to_string());
        headers.insert(header::POSITION, event.position.to_string());
        headers.insert(header::EVENT_ID, event.id.to_string());
        headers.insert(header::PREVIOUS_ACCESS_POSITION, event.previous_access_position.to_string());
        headers.insert(header::EFFECT, event.effect.name());
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, u64::MAX.to_string());
        let subject = subject_for(event.log, event.effect, event.company_id, &event.event_type);
        let body = serde_json::to_vec(event).unwrap_or_else(|error| panic!("{error}"));
        let said = relay.publish_with_headers(subject, headers, body.into()).await;
        said.unwrap_or_else(|error| panic!("{error}"));
    }
    relay.flush().await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_twice_and_streams_that_are_wiped_leave_the_folds_of_the_logs() {
    let platform = Platform::start(&[Part::RelayAuth, Part::RelayCore, Part::Core, Part::Auth]).await;
    // A second relay of each log: both publish everything, and the bus brings what either says.
    let rivals = [Part::RelayAuth, Part::RelayCore].map(|part| Process::service(&platform.stack, part, &[]));
    let mut commands = Commands::start(platform.auth.clone(), platform.core.clone(), 8);
    let (admin, mut chance) = (streams::admin(&platform.stack).await, Seeded::new(9));
    for _ in 0..3 {
        commands.more(60).await;
        say_again(&platform, &mut chance).await;
        // The relays make the streams anew and publish the whole logs once more.
        for name in ["AUTH_1", "CORE_1"] {
            admin.delete_stream(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        commands.more(30).await;
        for log in [Log::Auth, Log::Core] {
            refilled(&platform, &admin, log).await;
        }
    }
    let made = commands.stop().await;
    assert!(made >= 270, "only {made} commands came");
    platform.assert_folded().await;
    for rival in rivals {
        rival.kill().await;
    }
    platform.stack.stop().await;
}

/// Waits until a log's stream holds what the log holds now.
async fn refilled(platform: &Platform, admin: &async_nats::jetstream::Context, log: Log) {
    let (name, head) = (kisum_log::relay::stream_name(log, 1), platform.head(log).await);
    let waiting = async {
        loop {
            if let Ok(stream) = admin.get_stream(&name).await
                && stream.cached_info().state.last_sequence >= head.position
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{name} is not published again");
}
