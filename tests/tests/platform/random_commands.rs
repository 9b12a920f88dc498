//! Whatever is commanded, in whatever shape its events are delivered: every read model is the fold of its log, and every
//! stream's state is the fold of its stream.
//!
//! Sequences are drawn from a seed; another one is tried with `KISUM_SEED=…`. One that fails is shrunk to the few steps
//! that it takes, and those are printed with the seed.

pub(crate) mod command;
mod proof;
pub(crate) mod world;

use command::{Command, any_command, member_command};
use kisum::ambient;
use kisum_events::{AnyEvent, Envelope, Log, MembershipEvent, Timestamp};
use kisum_log::read;
use kisum_projectors::{
    ApplyError, Audit, AuthEventIndex, Batch, Catalog, CommitError, Committed, CoreEventIndex, EndedSessions,
    Entitlements, InvitationList, MemberList, Projection, Recorded, Registered, SessionList, commit, registry,
};
use kisum_tests::servers;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};
use sqlx::{Connection as _, PgConnection};
use std::pin::Pin;
use tokio::{runtime::Runtime, sync::Mutex};
use world::World;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody asks for something.
    Do(Command),
    /// Every projection is brought events: some that it has applied, then some that it has not.
    Deliver { again: usize, new: usize },
    /// Every projection is brought events behind a hole, which it must refuse.
    DeliverBehindAHole,
}

type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send + 'a>>;

/// A projection as it runs.
#[derive(Clone, Copy)]
struct Running {
    registered: Registered,
    commit: for<'a> fn(&'a mut PgConnection, &'a [Envelope]) -> Delivering<'a>,
}

impl Running {
    const fn of<P: Projection>(registered: Registered) -> Self {
        Self { registered, commit: |conn, events| Box::pin(commit::<P>(conn, 1, events)) }
    }
}

const fn running() -> [Running; 9] {
    let [
        entitlements,
        catalog,
        ended_sessions,
        auth_index,
        audit,
        member_list,
        session_list,
        invitation_list,
        core_index,
    ] = registry::ALL;
    [
        Running::of::<Entitlements>(entitlements),
        Running::of::<Catalog>(catalog),
        Running::of::<EndedSessions>(ended_sessions),
        Running::of::<AuthEventIndex>(auth_index),
        Running::of::<Audit>(audit),
        Running::of::<MemberList>(member_list),
        Running::of::<SessionList>(session_list),
        Running::of::<InvitationList>(invitation_list),
        Running::of::<CoreEventIndex>(core_index),
    ]
}

/// Two logs that one sequence after the other has for itself.
struct Ground {
    runtime: Runtime,
    story: Mutex<Story>,
}

impl Ground {
    fn new(running: &[Running]) -> Self {
        let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
        let story = runtime.block_on(Story::begin(running));
        Self { runtime, story: Mutex::new(story) }
    }

    /// Runs a sequence on empty logs, and proves what has to hold then.
    fn holds(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        self.runtime.block_on(async {
            let mut story = self.story.lock().await;
            story.start_over().await;
            for step in steps {
                match step {
                    Step::Do(command) => drop(story.world.execute(command).await),
                    Step::Deliver { again, new } => story.deliver(*again, *new).await,
                    Step::DeliverBehindAHole => story.deliver_behind_a_hole().await,
                }
            }
            story.deliver(0, usize::MAX).await;
            for one in &story.projections {
                proof::is_the_fold(&story.world, &one.running.registered).await?;
            }
            proof::states_are_folds(&mut story).await
        })
    }
}

/// A running projection, and where it stands.
struct Delivered {
    running: Running,
    conn: PgConnection,
    at: usize,
}

/// One sequence as it goes on.
struct Story {
    world: World,
    projections: Vec<Delivered>,
    superusers: [PgConnection; 2],
    events: [Vec<Envelope>; 2],
}

impl Story {
    async fn begin(running: &[Running]) -> Self {
        let stack = servers::shared().await;
        let databases = [servers::fresh_log_of(stack, Log::Auth).await, servers::fresh_log_of(stack, Log::Core).await];
        let [auth, core] = &databases;
        let superusers = [connect(&auth.superuser_url).await, connect(&core.superuser_url).await];
        let mut projections = Vec::new();
        for running in running {
            let database = of_log(&databases, running.registered.database);
            projections.push(Delivered { running: *running, conn: connect(&database.run_url).await, at: 0 });
        }
        let (auth, core) = (servers::open_log(auth, Log::Auth).await, servers::open_log(core, Log::Core).await);
        let world = World::new(auth, core, 0, Timestamp::from_micros(0));
        Self { world, projections, superusers, events: [Vec::new(), Vec::new()] }
    }

    /// Empties logs and read models. The next world's people are others, so that nothing that is remembered of these is
    /// right for those.
    async fn start_over(&mut self) {
        for conn in &mut self.superusers {
            proof::empty(conn).await;
        }
        for one in &mut self.projections {
            one.at = 0;
        }
        self.events = [Vec::new(), Vec::new()];
        // By the database's clock, since the log records by it.
        let now = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
            .fetch_one(self.world.auth.pool())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        self.world = self.world.next(Timestamp::from_micros(now));
    }

    /// Reads what has come to the logs.
    async fn read(&mut self) {
        for (log, known) in [Log::Auth, Log::Core].into_iter().zip(&mut self.events) {
            let mut conn = self.world.log(log).pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
            let news = read(&mut conn, log, known.len() as u64, i64::MAX, None).await;
            known.extend(news.unwrap_or_else(|error| panic!("{error}")));
        }
    }

    async fn deliver(&mut self, again: usize, new: usize) {
        self.read().await;
        for Delivered { running, conn, at } in &mut self.projections {
            let events = of_log(&self.events, running.registered.log);
            let chunk = &events[at.saturating_sub(again)..at.saturating_add(new).min(events.len())];
            let committed = (running.commit)(conn, chunk).await;
            let committed = committed.unwrap_or_else(|error| panic!("{}: {error}", running.registered.name));
            assert_eq!(committed.poison, None, "{}", running.registered.name);
            *at = usize::try_from(committed.cursor.position).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    async fn deliver_behind_a_hole(&mut self) {
        self.read().await;
        for Delivered { running, conn, at } in &mut self.projections {
            let behind = of_log(&self.events, running.registered.log).get(*at + 1..).unwrap_or_default();
            if !behind.is_empty() {
                let refused = (running.commit)(conn, behind).await;
                assert!(matches!(refused, Err(CommitError::Hole { .. })), "{}: {refused:?}", running.registered.name);
            }
        }
    }
}

const fn of_log<T>([auth, core]: &[T; 2], log: Log) -> &T {
    match log {
        Log::Auth => auth,
        Log::Core => core,
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

fn any_step(command: impl Strategy<Value = Command>) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => command.prop_map(Step::Do),
        2 => (0..6_usize, 0..12_usize).prop_map(|(again, new)| Step::Deliver { again, new }),
        1 => Just(Step::DeliverBehindAHole),
    ]
}

/// Why, with the fewest steps that make it fail.
type Failure = TestError<Vec<Step>>;

fn run(ground: &Ground, (seed, cases): (u64, u32), steps: &impl Strategy<Value = Vec<Step>>) -> Result<(), Failure> {
    let config = Config { cases, max_shrink_iters: 600, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    runner.run(steps, |steps| ground.holds(&steps))
}

fn seed(usual: u64) -> u64 {
    ambient::variable("KISUM_SEED").map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn whatever_is_commanded_and_delivered_read_models_and_states_are_folds() {
    /// How many sequences, and how many steps at most: few and long, since each builds on what came before it.
    const CASES: u32 = 3;
    const STEPS: usize = 300;
    let seed = seed(7);
    match run(&Ground::new(&running()), (seed, CASES), &vec(any_step(any_command()), 0..=STEPS)) {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            panic!("seed {seed}: {why}\nthe fewest steps that make it fail: {steps:#?}")
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

/// Folds as `member_list_v1` does, but loses a suspension that does not come alone.
struct Forgetful;

impl Projection for Forgetful {
    const NAME: &'static str = MemberList::NAME;
    const LOG: Log = MemberList::LOG;
    const TABLES: &'static [&'static str] = MemberList::TABLES;

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let is_lost = |one: &&Recorded<'_>| {
            batch.events.len() == 1 || !matches!(one.event, AnyEvent::Membership(MembershipEvent::Suspended))
        };
        let events: Vec<Recorded<'_>> = batch.events.iter().filter(is_lost).cloned().collect();
        MemberList::apply(conn, &Batch { epoch: batch.epoch, events: &events }).await
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        MemberList::clear(conn).await
    }
}

#[test]
fn a_fold_that_forgets_is_caught_and_told_in_few_steps() {
    let (seed, [.., member_list, _, _, _]) = (seed(1), running());
    assert_eq!(member_list.registered.name, Forgetful::NAME);
    let ground = Ground::new(&[Running::of::<Forgetful>(member_list.registered)]);
    let outcome = run(&ground, (seed, 50), &vec(any_step(member_command()), 0..=20));
    let Err(TestError::Fail(why, steps)) = outcome else { panic!("seed {seed}: it was not caught: {outcome:?}") };
    assert!(why.message().contains("member_list_v1"), "{why}");
    // Somebody joins and is suspended, and both come at once; where the suspension comes in the first delivery, the
    // shrinker may keep that.
    assert!(steps.len() <= 3, "seed {seed}: not shrunk: {steps:#?}");
    let suspends = |step: &Step| matches!(step, Step::Do(Command::Member { wish: command::MemberWish::Suspend, .. }));
    assert!(steps.iter().any(suspends), "{steps:#?}");
}

#[test]
fn a_state_that_is_not_the_fold_of_its_stream_is_caught() {
    let ground = Ground::new(&[]);
    let commands = [
        Command::User { user: 0, wish: command::UserWish::Register },
        Command::Session { session: 0, wish: command::SessionWish::Start { user: 0 }, at: 0 },
    ];
    ground.runtime.block_on(async {
        for damage in [
            // A public field, a sealed one that was lost, and one that stands in the open.
            "update stream set state = replace(state, '\"active\"', '\"suspended\"') where name like 'user-%'",
            "update stream set sealed_state = null where name like 'session-%'",
            "update stream set state = replace(state, '{', '{\"email\":\"a@b.example\",') where name like 'user-%'",
        ] {
            let mut story = ground.story.lock().await;
            story.start_over().await;
            for command in &commands {
                assert!(story.world.execute(command).await.is_some(), "{command:?}");
            }
            assert!(proof::states_are_folds(&mut story).await.is_ok());
            assert_eq!(proof::run(&mut story.superusers[0], damage).await, 1, "{damage}");
            assert!(proof::states_are_folds(&mut story).await.is_err(), "{damage}");
        }
    });
}
