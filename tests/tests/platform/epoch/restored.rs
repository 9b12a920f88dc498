//! A log restored from an older dump, while the original went on.

use super::{
    LogCopy, Relay, append, assert_equal, begins_epoch, copies, epoch_new, kisum, published, said, stack_with_a_log,
};
use async_nats::jetstream;
use kisum::local::Stack;
use kisum_events::{Cursor, Log};
use kisum_log::{Follow, FollowError};
use kisum_tests::servers;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

/// On a log that is well the command changes nothing, however often it is run.
async fn nothing_is_due(stack: &Stack, of: &LogCopy, epoch: u32) {
    let head = of.head().await;
    let done = begins_epoch(stack, of).await;
    assert_eq!((&done["epoch"], &done["begunAt"]), (&epoch.into(), &Value::Null), "{done}");
    assert_eq!((&done["retired"], &done["published"]["unknown"]), (&serde_json::json!([]), &0.into()), "{done}");
    assert_eq!(of.head().await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_restored_from_an_older_dump_is_refused_until_its_new_epoch_and_then_published_anew() {
    let (stack, original, log, relay) = stack_with_a_log(12).await;
    nothing_is_due(&stack, &original, 1).await;
    let dump = copies::dump(&stack, &original).await;
    append(&log, 25, "lost").await;
    published(&stack, "AUTH_1", 37).await;
    relay.stop().await;

    let restored = copies::restore(&stack, &dump).await;
    restored.refuses_everything(&stack).await;
    let (code, text) = said(kisum(&["log", "epoch", "show", "--url", &restored.run_url])).await;
    assert!(code == 1 && text.contains("another history"), "{text}");

    // What was taken from PostgreSQL's own functions is in the dump, too.
    for url in [&restored.run_url, &restored.relay_url] {
        let mut conn = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"));
        let locked = sqlx::query("select pg_advisory_lock_shared(1)").execute(&mut conn).await;
        assert!(locked.is_err(), "a run-time role may take advisory locks after a restore");
    }

    let done = begins_epoch(&stack, &restored).await;
    assert_eq!((&done["epoch"], &done["begunAt"]), (&2.into(), &13.into()), "{done}");
    assert_eq!(done["published"]["stream"], "AUTH_1");
    assert_eq!((&done["published"]["shared"], &done["published"]["unknown"]), (&12.into(), &25.into()), "{done}");
    let named = done["published"]["first"].as_array().cloned().unwrap_or_default();
    let positions: Vec<_> = named.iter().filter_map(|event| event["position"].as_u64()).collect();
    assert_eq!(positions, (13..=32).collect::<Vec<_>>(), "the first twenty");
    assert!(named.iter().all(|event| event["type"] == "counted.widened" && event["recordedAt"].is_string()), "{done}");
    assert_eq!(done["retired"], serde_json::json!(["AUTH_1"]));

    let restored_log = restored.log().await;
    append(&restored_log, 5, "anew").await;
    let relay = Relay::start(&stack, &restored).await;
    let stream = published(&stack, "AUTH_2", 18).await;
    assert_equal(&stream, &restored, 2).await;
    relay.stop().await;

    // What was published and lost is still there to be read, and nobody can throw it away.
    let admin = jetstream::new(servers::nats(&stack, "admin").await);
    let old = admin.get_stream("AUTH_1").await.unwrap_or_else(|error| panic!("{error}"));
    let info = old.get_info().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((info.state.first_sequence, info.state.messages), (1, 37));
    assert!(info.config.deny_delete && info.config.deny_purge);
    assert!(old.purge().await.is_err());

    // A relay of the old history is told that its stream takes nothing any more.
    let fenced = Relay::start(&stack, &original).await.halted().await;
    assert!(fenced.contains("AUTH_1") && fenced.contains("kisum.retired.auth.1.>"), "{fenced}");
    append(&log, 3, "fenced").await;
    append(&restored_log, 3, "anew").await;
    let relay = Relay::start(&stack, &restored).await;
    let stream = published(&stack, "AUTH_2", 21).await;
    assert_equal(&stream, &restored, 2).await;
    assert_eq!(old.get_info().await.map(|info| info.state.messages).ok(), Some(37));
    relay.stop().await;

    nothing_is_due(&stack, &restored, 2).await;
    let pool = servers::pool(&restored.run_url).await;
    let mut stale = Follow::new(pool.clone(), Log::Auth, Cursor { epoch: 1, position: 37 });
    let told = stale.next().await;
    assert!(matches!(told, Err(FollowError::OtherEpoch { now: 2, cursor: 1 })), "{told:?}");
    let mut anew = Follow::new(pool, Log::Auth, Cursor { epoch: 2, position: 0 });
    let mut seen = 0;
    while seen < 21 {
        let events = anew.next().await.unwrap_or_else(|error| panic!("{error}"));
        for event in events {
            seen += 1;
            assert_eq!(event.position, seen);
        }
    }

    let (code, text) = said(kisum(&["log", "verify", "--url", &restored.run_url])).await;
    assert!(code == 0 && text.contains("21 events"), "{text}");
    let (code, text) = said(kisum(&["log", "epoch", "show", "--url", &restored.owner_url])).await;
    assert!(code == 0 && text.contains("epoch 2") && text.contains("(a test)"), "{text}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_never_uses_a_number_again_that_a_stream_carries() {
    let (stack, original, log, relay) = stack_with_a_log(3).await;
    let dump = copies::dump(&stack, &original).await;
    append(&log, 2, "lost").await;
    published(&stack, "AUTH_1", 5).await;
    relay.stop().await;
    let first = copies::restore(&stack, &dump).await;
    assert_eq!(begins_epoch(&stack, &first).await["epoch"], 2);
    let relay = Relay::start(&stack, &first).await;
    append(&first.log().await, 4, "lost, too").await;
    published(&stack, "AUTH_2", 8).await;
    relay.stop().await;

    // The same dump again: it knows nothing of epoch 2.
    let second = copies::restore(&stack, &dump).await;
    let done = begins_epoch(&stack, &second).await;
    assert_eq!((&done["epoch"], &done["retired"]), (&3.into(), &serde_json::json!(["AUTH_2"])), "{done}");
    assert_eq!((&done["published"]["shared"], &done["published"]["unknown"]), (&3.into(), &5.into()), "{done}");
    let relay = Relay::start(&stack, &second).await;
    let stream = published(&stack, "AUTH_3", 4).await;
    assert_equal(&stream, &second, 3).await;
    relay.stop().await;

    // And once more while NATS is left out: number 2 is used again, and the next run finds that it is another's.
    let third = copies::restore(&stack, &dump).await;
    let (code, text) = said(epoch_new(&stack, &third, &["--yes", "--skip-stream"])).await;
    assert!(code == 0 && text.contains("epoch 2") && text.contains("left to do"), "{text}");
    let halted = Relay::start(&stack, &third).await.halted().await;
    assert!(halted.contains("AUTH_2"), "{halted}");
    let done = begins_epoch(&stack, &third).await;
    assert_eq!((&done["epoch"], &done["retired"]), (&4.into(), &serde_json::json!(["AUTH_3"])), "{done}");
    let relay = Relay::start(&stack, &third).await;
    let stream = published(&stack, "AUTH_4", 5).await;
    assert_equal(&stream, &third, 4).await;
    relay.stop().await;
    stack.stop().await;
}
