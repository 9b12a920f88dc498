//! Following a log: from its owner, over the bus, and in its own database.

use super::{
    at, database, defined, ended_sessions, invented_later, many_defined, modules, session, session_ended, stored,
};
use kisum_domains::Session;
use kisum_events::{Cursor, Position};
use kisum_log::Loaded;
use kisum_projectors::{Catalog, EndedSessions, Progress, Runner, Stopped, run_local, run_remote};
use kisum_tests::{
    counted::{append, new_request},
    owner::{Owner, publish},
    servers::{self, LogDatabase},
};
use std::time::Duration;
use tokio::{sync::watch, task::JoinHandle};

/// Longest wait for anything; what is waited for takes a second and a half at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A running projection, which stops with it.
pub(super) struct Running {
    pub(super) progress: Progress,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) async fn catalog(database: &LogDatabase, owner: &Owner, nats: async_nats::Client) -> Self {
        let (stop, shutdown) = watch::channel(false);
        let options = database.run_url.parse().unwrap_or_else(|error| panic!("{error}"));
        let (runner, progress) = Runner::<Catalog>::new(options, shutdown);
        Self { progress, stop, task: tokio::spawn(run_remote(runner, owner.source(), nats)) }
    }

    pub(super) async fn reaches(&self, at: Cursor) -> Result<Cursor, Stopped> {
        tokio::time::timeout(PATIENCE, self.progress.reached(at)).await.unwrap_or_else(|_| {
            panic!("{at:?} is not reached; it stands at {:?}", self.progress.standing());
        })
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A client of a bus that is not there.
pub(super) async fn no_bus() -> async_nats::Client {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    options.connect("nats://127.0.0.1:1").await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bus_a_cold_follower_reads_page_by_page_and_then_what_is_new() {
    let (_, database, mut conn) = database().await;
    let owner = Owner::of(1, many_defined(1..=1_100));
    let running = Running::catalog(&database, &owner, no_bus().await).await;
    assert_eq!(running.reaches(at(1, 1_100)).await, Ok(at(1, 1_100)));
    owner.change(|owned| owned.events.push(defined(1_101, "news")));
    assert_eq!(running.reaches(at(1, 1_101)).await, Ok(at(1, 1_101)));
    assert_eq!(modules(&mut conn).await.len(), 1_101);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_away_is_asked_again_until_it_is_back() {
    let (_, database, mut conn) = database().await;
    let owner = Owner::of(1, many_defined(1..=3));
    owner.change(|owned| owned.is_away = true);
    let running = Running::catalog(&database, &owner, no_bus().await).await;
    while owner.change(|owned| owned.asked) < 3 {
        tokio::task::yield_now().await;
    }
    owner.change(|owned| owned.is_away = false);
    assert_eq!(running.reaches(at(1, 3)).await, Ok(at(1, 3)));
    assert_eq!(modules(&mut conn).await, ["m1", "m2", "m3"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_at_the_owner_is_followed_from_its_beginning() {
    let (_, database, mut conn) = database().await;
    let owner = Owner::of(1, many_defined(1..=3));
    let running = Running::catalog(&database, &owner, no_bus().await).await;
    assert_eq!(running.reaches(at(1, 3)).await, Ok(at(1, 3)));
    // What was restored lacks the last event; its positions are used again.
    owner.change(|owned| (owned.epoch, owned.events) = (2, vec![defined(1, "m1"), defined(2, "other")]));
    assert_eq!(running.reaches(at(2, 2)).await, Ok(at(2, 2)));
    assert_eq!(modules(&mut conn).await, ["m1", "other"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_stops_the_projection_until_a_process_can_read_it() {
    let (_, database, mut conn) = database().await;
    let owner = Owner::of(1, vec![defined(1, "m1"), invented_later(2), defined(3, "m3")]);
    let running = Running::catalog(&database, &owner, no_bus().await).await;
    assert_eq!(running.reaches(at(1, 2)).await, Err(Stopped));
    let checkpoint = stored(&mut conn, "catalog_v1").await;
    assert_eq!((checkpoint.cursor, checkpoint.poison.map(|poison| poison.position)), (at(1, 1), Some(2)));
    running.stop().await;

    owner.change(|owned| owned.events[1] = defined(2, "m2"));
    let restarted = Running::catalog(&database, &owner, no_bus().await).await;
    assert_eq!(restarted.reaches(at(1, 3)).await, Ok(at(1, 3)));
    let checkpoint = stored(&mut conn, "catalog_v1").await;
    assert_eq!((checkpoint.cursor, checkpoint.poison), (at(1, 3), None));
    restarted.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_is_applied_in_order_while_the_owner_is_away_and_the_owner_fills_holes() {
    let (_, database, mut conn) = database().await;
    // A bus of its own: what other tests say on it would be holes and doubts here.
    let stack = servers::start(&[]).await;
    let relay = servers::nats(&stack, "relay-core").await;
    let owner = Owner::of(2, many_defined(1..=2));
    let running = Running::catalog(&database, &owner, servers::nats(&stack, "auth").await).await;
    assert_eq!(running.reaches(at(2, 2)).await, Ok(at(2, 2)));

    owner.change(|owned| owned.is_away = true);
    let say = |epoch, position: Position| {
        let relay = relay.clone();
        async move { publish(&relay, epoch, &defined(position, &format!("m{position}"))).await }
    };
    say(2, 4).await;
    publish(&relay, 1, &defined(3, "old-epoch")).await;
    say(2, 3).await;
    assert_eq!(running.reaches(at(2, 4)).await, Ok(at(2, 4)));

    say(2, 6).await;
    owner.change(|owned| {
        owned.events = many_defined(1..=6);
        owned.is_away = false;
    });
    assert_eq!(running.reaches(at(2, 6)).await, Ok(at(2, 6)));
    assert_eq!(modules(&mut conn).await, ["m1", "m2", "m3", "m4", "m5", "m6"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_beside_its_log_sees_appends_of_every_process() {
    let (_, database, mut conn) = database().await;
    let (own, other) = (servers::open(&database).await, servers::open(&database).await);
    let (stop, shutdown) = watch::channel(false);
    let options = database.run_url.parse().unwrap_or_else(|error| panic!("{error}"));
    let (runner, progress) = Runner::<EndedSessions>::new(options, shutdown);
    let task = tokio::spawn(run_local(runner, own.clone()));
    for (number, log) in [(1, &own), (2, &other)] {
        let mut append = append(new_request());
        let loaded = Loaded::<Session>::new_stream(session(number));
        append.write(&loaded, vec![session_ended(i64::MAX)]).unwrap_or_else(|error| panic!("{error}"));
        let receipt = log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
        let place = Cursor { epoch: receipt.epoch, position: receipt.last };
        let reached = tokio::time::timeout(PATIENCE, progress.reached(place)).await;
        assert_eq!(reached, Ok(Ok(place)));
    }
    assert_eq!(ended_sessions(&mut conn).await.len(), 2);
    stop.send_replace(true);
    task.await.unwrap_or_else(|error| panic!("{error}"));
}
