//! Bounds of time that the product promises, with the bound itself. One test at a time: what is measured here is the
//! product, not what else this suite is doing.
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

mod faults;
mod login_flood;

use kisum::{
    ambient::{Stopwatch, now},
    local::{Part, Stack, child::Signal},
};
use kisum_events::Timestamp;
use kisum_log::{EventLog, Loaded};
use kisum_tests::{
    counted::{Counted, new_stream, widen},
    processes::Process,
    proxy::{Proxy, Traffic, Way},
    seeded::Seeded,
    servers,
    streams::{self, address, append_many, auth_log, caught_up, head, reached, store},
    writer::Task,
};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::Mutex, time};

/// An API process frozen at any moment does not delay another's append by more than this.
const FREEZE_DELAY_MAX: Duration = Duration::from_millis(100);
const FREEZES: usize = 60;
/// A relay resumes within this from the moment NATS takes connections again.
const RESUME_MAX: Duration = Duration::from_secs(1);
const OUTAGE: Duration = Duration::from_millis(500);

/// One test of this file at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn timed_append(log: &EventLog, loaded: &mut Loaded<Counted>) -> Duration {
    let started = Stopwatch::start();
    log.append(widen(loaded, "x")).await.unwrap_or_else(|error| panic!("{error}"));
    loaded.version += 1;
    loaded.state.count += 1;
    started.elapsed()
}

/// The median of what an append takes beside the writer.
async fn usual(log: &EventLog, loaded: &mut Loaded<Counted>) -> Duration {
    let mut usual = Vec::new();
    for _ in 0..51 {
        usual.push(timed_append(log, loaded).await);
    }
    usual.sort();
    usual[usual.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_frozen_at_any_moment_does_not_delay_the_append_of_another() {
    let _alone = ALONE.lock().await;
    let stack = servers::start(&[]).await;
    let database = servers::fresh_log(&stack).await;
    let log = servers::open(&database).await;
    // A thousand appends at once gather to batches of 512.
    let task = Task { seed: 7, from: 0, count: 10_000_000, writers: 1024, streams: 1_000_000, retry: Vec::new() };
    let binary = env!("CARGO_BIN_EXE_kisum-writer");
    let writer = Process::writer(&stack, binary, &database.run_url, &task, "");
    writer.until("work", |lines| lines.len() > 2048).await;

    let mut own: Loaded<Counted> = Loaded::new_stream(new_stream());
    let usual = usual(&log, &mut own).await;
    let mut chance = Seeded::new(8);
    let mut delays = Vec::new();
    for _ in 0..FREEZES {
        let before = head(&log).await;
        // A moment is a place in what the writer does, and some time more.
        time::sleep(Duration::from_micros(chance.below(40_000))).await;
        writer.signal(Signal::Stop);
        // What it had sent before may still be on its way through the server; then nobody appends but this test.
        let (mut at, mut alone) = (head(&log).await, 0);
        for _ in 0..200 {
            delays.push(timed_append(&log, &mut own).await.saturating_sub(usual));
            let after = head(&log).await;
            alone = if after == at + 1 { alone + 1 } else { 0 };
            at = after;
            if alone == 10 {
                break;
            }
        }
        assert_eq!(alone, 10, "the writer was not frozen");
        writer.signal(Signal::Continue);
        let working = async { while head(&log).await < before + 600 {} };
        assert!(time::timeout(Duration::from_secs(20), working).await.is_ok(), "the writer does not go on");
    }
    writer.kill().await;
    let largest = delays.iter().max().copied().unwrap_or_default();
    println!("{} appends beside a frozen writer: usual {usual:?}, largest delay {largest:?}", delays.len());
    assert!(largest <= FREEZE_DELAY_MAX, "delayed by {largest:?} beyond the usual {usual:?}: {delays:?}");
    stack.stop().await;
}

/// One connection of an appender that nothing answers on does not hold up what the other can carry: well below the 3 s
/// after which its call counts as lost.
const STUCK_DELAY_MAX: Duration = Duration::from_secs(1);

fn signal_backend(pid: i32, signal: &str) {
    let done = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "kill {signal} {pid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_connection_of_an_appender_does_not_hold_up_the_other() {
    let _alone = ALONE.lock().await;
    let stack = servers::start(&[]).await;
    let database = servers::fresh_log(&stack).await;
    let log = servers::open(&database).await;
    // Enough for both connections.
    append_many(&log, 2_000).await;
    let name = database.run_url.rsplit('/').next().unwrap_or_default();
    let sql = "select pid from pg_stat_activity where datname = $1 and application_name like 'kisum-append%' limit 1";
    let pid: i32 = sqlx::query_scalar(sql)
        .bind(name)
        .fetch_one(&servers::pool(&database.superuser_url).await)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    signal_backend(pid, "-STOP");
    let mut own: Loaded<Counted> = Loaded::new_stream(new_stream());
    // The connections take turns, so that one of these meets the frozen one.
    let stuck = loop {
        let (log, append) = (log.clone(), widen(&Loaded::<Counted>::new_stream(new_stream()), "stuck"));
        let mut task = tokio::spawn(async move { log.append(append).await });
        if time::timeout(Duration::from_millis(300), &mut task).await.is_err() {
            break task;
        }
    };
    for _ in 0..20 {
        let took = timed_append(&log, &mut own).await;
        assert!(took <= STUCK_DELAY_MAX, "an append took {took:?} beside a stuck connection");
    }
    signal_backend(pid, "-CONT");
    let answered = stuck.await.unwrap_or_else(|error| panic!("{error}"));
    assert!(answered.is_ok(), "{answered:?}");
    stack.stop().await;
}

/// When NATS greets whoever connects.
async fn greets(address: String) -> Timestamp {
    loop {
        let mut start = [0; 4];
        if let Ok(mut connection) = TcpStream::connect(&address).await
            && connection.read_exact(&mut start).await.is_ok()
        {
            return now();
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// How long after `since` the server stored the message behind `before`.
async fn resumed_after(stack: &Stack, before: u64, since: Timestamp) -> Duration {
    let stream = reached(&streams::admin(stack).await, before + 1).await;
    let first = stream.get_raw_message(before + 1).await.unwrap_or_else(|error| panic!("{error}"));
    let micros = first.time.unix_timestamp_nanos() / 1000 - i128::from(since.micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn assert_resumed(what: &str, took: &[Duration]) {
    let longest = took.iter().max().copied().unwrap_or_default();
    println!("{what}: resumed after {took:?}");
    assert!(longest <= RESUME_MAX, "{what}: the relay took {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_resumes_within_a_second_when_nats_is_back() {
    let _alone = ALONE.lock().await;
    let mut stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 100).await;
    caught_up(&stack, &log).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let before = head(&log).await;
        stack.kill(Part::Nats).await;
        append_many(&log, 100).await;
        time::sleep(OUTAGE).await;
        let greeting = tokio::spawn(greets(address(&stack, Part::Nats)));
        stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
        let since = greeting.await.unwrap_or_else(|error| panic!("{error}"));
        took.push(resumed_after(&stack, before, since).await);
        caught_up(&stack, &log).await;
    }
    for _ in 0..5 {
        stack.pause(Part::Nats);
        let before = head(&log).await;
        append_many(&log, 100).await;
        time::sleep(OUTAGE).await;
        let since = now();
        stack.resume(Part::Nats);
        took.push(resumed_after(&stack, before, since).await);
        caught_up(&stack, &log).await;
    }
    let stream = caught_up(&stack, &log).await;
    streams::assert_equal(&stream, &log).await;
    assert_resumed("NATS was killed, or frozen", &took);
    relay.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_resumes_within_a_second_when_the_stream_or_its_tail_is_lost() {
    let _alone = ALONE.lock().await;
    let mut stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relay = Process::relay(&stack, &[]);
    let mut took = Vec::new();
    for round in 0..6 {
        append_many(&log, 200).await;
        caught_up(&stack, &log).await;
        stack.stop_part(Part::Nats).await;
        let (folder, store) = store(&stack);
        let older = folder.join("older");
        let kept = if round % 2 == 0 { 0 } else { head(&log).await };
        if kept > 0 {
            streams::copy(&store, &older);
            stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
            append_many(&log, 200).await;
            caught_up(&stack, &log).await;
            stack.stop_part(Part::Nats).await;
        }
        std::fs::remove_dir_all(&store).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
        if kept > 0 {
            std::fs::rename(&older, &store).unwrap_or_else(|error| panic!("{}: {error}", older.display()));
        }
        let greeting = tokio::spawn(greets(address(&stack, Part::Nats)));
        stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
        let since = greeting.await.unwrap_or_else(|error| panic!("{error}"));
        took.push(resumed_after(&stack, kept, since).await);
        let stream = caught_up(&stack, &log).await;
        streams::assert_equal(&stream, &log).await;
    }
    assert_resumed("the stream, or its tail, was lost", &took);
    relay.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_resumes_within_a_second_when_it_is_cut_off_in_the_midst_of_a_pipeline() {
    let _alone = ALONE.lock().await;
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let server = address(&stack, Part::Nats);
    let proxy = Proxy::start(&server).await;
    let direct = stack.addresses_with(|at| at.nats("relay-auth")).unwrap_or_else(|failure| panic!("{failure}"));
    let relay = Process::relay(&stack, &[("NATS_URL", &proxy.instead_of(&server, &direct))]);
    append_many(&log, 10).await;
    caught_up(&stack, &log).await;
    let (mut chance, mut took) = (Seeded::new(11), Vec::new());
    for _ in 0..10 {
        let before = head(&log).await;
        // 200 events are 130 kB.
        proxy.cut_after_bytes_up(chance.below(120_000));
        append_many(&log, 200).await;
        let appended = now();
        let stream = caught_up(&stack, &log).await;
        // From one message to the next, or from when there was something to publish: nowhere more than the bound.
        let mut last: Option<Timestamp> = None;
        for sequence in before + 1..=head(&log).await {
            let message = stream.get_raw_message(sequence).await.unwrap_or_else(|error| panic!("{error}"));
            let micros = i64::try_from(message.time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
            let stored = Timestamp::from_micros(micros);
            took.push(stored.since(last.unwrap_or(appended)));
            last = Some(stored);
        }
    }
    assert!(proxy.connections() > 10, "{} connections: too few were cut", proxy.connections());
    took.sort();
    assert_resumed("cut in the midst of a pipeline", &took[took.len() - 10..]);
    relay.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_resumes_within_a_second_when_the_network_is_back() {
    let _alone = ALONE.lock().await;
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let server = address(&stack, Part::Nats);
    let proxy = Proxy::start(&server).await;
    let direct = stack.addresses_with(|at| at.nats("relay-auth")).unwrap_or_else(|failure| panic!("{failure}"));
    let relay = Process::relay(&stack, &[("NATS_URL", &proxy.instead_of(&server, &direct))]);
    append_many(&log, 100).await;
    caught_up(&stack, &log).await;
    let silence = |traffic| [Way::Up, Way::Down].map(|way| proxy.set(way, traffic));
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    let mut chance = Seeded::new(10);
    for round in 0..15 {
        let before = head(&log).await;
        match round % 3 {
            0 => proxy.close(),
            1 => proxy.cut(),
            _ => {
                proxy.strand();
                silence(Traffic::Vanishes);
            }
        }
        append_many(&log, 100).await;
        match round % 3 {
            0 => time::sleep(OUTAGE).await,
            1 => {}
            // At any time of what the relay does when nothing answers.
            _ => time::sleep(Duration::from_millis(chance.below(700))).await,
        }
        let since = now();
        match round % 3 {
            0 => proxy.open(),
            1 => {}
            _ => {
                // Whoever came in the silence is forgotten, too.
                proxy.strand();
                silence(Traffic::Flows);
            }
        }
        took[round % 3].push(resumed_after(&stack, before, since).await);
        caught_up(&stack, &log).await;
    }
    let stream = caught_up(&stack, &log).await;
    streams::assert_equal(&stream, &log).await;
    for (what, took) in ["no connection was taken", "cut", "silent, and connections forgotten"].iter().zip(took) {
        assert_resumed(what, &took);
    }
    relay.stopped_in_order().await;
    stack.stop().await;
}
