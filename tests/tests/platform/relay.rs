//! The relay on a real JetStream: the stream equals the log whatever happens to the relay or to NATS.

use kisum::local::{Part, Stack, child::Signal};
use kisum_tests::{
    processes::Process,
    proxy::Proxy,
    seeded::Seeded,
    servers,
    streams::{self, address, append_many, assert_equal, auth_log, caught_up, head, reached, store},
};
use std::time::Duration;

async fn start_nats(stack: &mut Stack) {
    stack.start_part(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_and_started_again_changes_nothing() {
    let mut stack = servers::start(&[Part::RelayAuth]).await;
    let log = auth_log(&stack).await;
    for _ in 0..4 {
        let before = head(&log).await;
        let (log_here, burst) = (log.clone(), 400);
        let appending = tokio::spawn(async move { append_many(&log_here, burst).await });
        // In the midst of the burst: the relay is at work.
        while head(&log).await < before + 50 {
            tokio::task::yield_now().await;
        }
        stack.kill(Part::RelayAuth).await;
        appending.await.unwrap_or_else(|error| panic!("{error}"));
        stack.start_part(Part::RelayAuth).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_race_harmlessly_and_a_lost_stream_is_published_again() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relays = [Process::relay(&stack, &[]), Process::relay(&stack, &[])];
    append_many(&log, 1000).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;

    let admin = streams::admin(&stack).await;
    admin.delete_stream(streams::NAME).await.unwrap_or_else(|error| panic!("{error}"));
    append_many(&log, 100).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    for relay in relays {
        relay.stopped_in_order().await;
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_frozen_while_another_publishes_ten_thousand_events_goes_on_where_the_other_is() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let [frozen, other] = [Process::relay(&stack, &[]), Process::relay(&stack, &[])];
    append_many(&log, 500).await;
    caught_up(&stack, &log).await;
    let appending = tokio::spawn({
        let log = log.clone();
        async move { append_many(&log, 2_000).await }
    });
    // In the midst of publishing, so that it may be frozen with messages that are not sent yet.
    reached(&streams::admin(&stack).await, 1000).await;
    frozen.signal(Signal::Stop);
    appending.await.unwrap_or_else(|error| panic!("{error}"));
    // These are the other's alone.
    append_many(&log, 10_000).await;
    let stream = caught_up(&stack, &log).await;
    frozen.signal(Signal::Continue);
    append_many(&log, 500).await;
    caught_up(&stack, &log).await;
    other.kill().await;
    append_many(&log, 500).await;
    caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    frozen.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_jetstream_is_filled_again_from_position_1() {
    let mut stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 700).await;
    caught_up(&stack, &log).await;
    stack.stop_part(Part::Nats).await;
    let (_, store) = store(&stack);
    std::fs::remove_dir_all(&store).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    append_many(&log, 50).await;
    start_nats(&mut stack).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    relay.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_of_the_stream_is_published_again() {
    let mut stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 300).await;
    caught_up(&stack, &log).await;
    stack.stop_part(Part::Nats).await;
    let (folder, store) = store(&stack);
    let older = folder.join("older");
    streams::copy(&store, &older);
    start_nats(&mut stack).await;
    append_many(&log, 300).await;
    caught_up(&stack, &log).await;
    stack.stop_part(Part::Nats).await;
    std::fs::remove_dir_all(&store).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    std::fs::rename(&older, &store).unwrap_or_else(|error| panic!("{}: {error}", older.display()));
    start_nats(&mut stack).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    relay.stopped_in_order().await;
    stack.stop().await;
}

/// A relay whose NATS stands behind a proxy.
async fn relay_behind(stack: &Stack) -> (Process, Proxy) {
    let server = address(stack, Part::Nats);
    let proxy = Proxy::start(&server).await;
    let direct = stack.addresses_with(|at| at.nats("relay-auth")).unwrap_or_else(|failure| panic!("{failure}"));
    let relay = Process::relay(stack, &[("NATS_URL", &proxy.instead_of(&server, &direct))]);
    (relay, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_the_midst_of_a_pipeline_loses_nothing() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let (relay, proxy) = relay_behind(&stack).await;
    let mut chance = Seeded::new(5);
    append_many(&log, 10).await;
    caught_up(&stack, &log).await;
    for _ in 0..20 {
        // 200 events are 130 kB.
        proxy.cut_after_bytes_up(chance.below(120_000));
        append_many(&log, 200).await;
        caught_up(&stack, &log).await;
    }
    assert!(proxy.connections() > 20, "{} connections: too few were cut", proxy.connections());
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    relay.stopped_in_order().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_never_arrive_make_nothing_twice() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let (relay, proxy) = relay_behind(&stack).await;
    append_many(&log, 10).await;
    caught_up(&stack, &log).await;
    for lost in 1..=20 {
        // An acknowledgement is JSON, and a message ends with a line.
        proxy.lose_next_answer(b"}\r\n");
        append_many(&log, 50).await;
        caught_up(&stack, &log).await;
        let losing = async {
            while proxy.lost() < lost {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), losing).await.is_ok(), "no answer came");
        // It is connected again, and the next answer that is lost is not the server's greeting.
        append_many(&log, 1).await;
        caught_up(&stack, &log).await;
    }
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    relay.stopped_in_order().await;
    stack.stop().await;
}
