//! A standby that was promoted after it had lost what the primary committed last.

use super::{
    LogCopy, Relay, append, assert_equal, begins_epoch, copies::Standby, epoch_new, kisum, published, run_sql, said,
    stack_with_a_log,
};
use kisum::local::{Part, Stack};
use kisum_events::{Cursor, Log};
use kisum_log::{Follow, FollowError};
use kisum_tests::servers;

/// Events that both have; three follow on the primary alone.
const SHARED: u64 = 10;

/// A promoted standby that lost three published events, and whose primary is gone.
async fn promoted() -> (Stack, Standby) {
    let (mut stack, _original, log, relay) = stack_with_a_log(10).await;
    let standby = Standby::start(&stack).await;
    standby.reaches(SHARED).await;
    let (code, text) = said(epoch_new(&stack, &standby.copy, &["--yes"])).await;
    assert!(code == 1 && text.contains("is a standby") && text.contains("promote"), "{code} {text}");
    let (code, text) = said(kisum(&["log", "epoch", "show", "--url", &standby.copy.owner_url])).await;
    assert!(code == 1 && text.contains("this server is a standby"), "{code} {text}");
    standby.cut_off().await;
    append(&log, 3, "lost").await;
    published(&stack, "AUTH_1", SHARED + 3).await;
    relay.stop().await;
    stack.kill(Part::Postgres).await;
    standby.promote().await;
    assert_eq!(standby.copy.head().await, SHARED);
    (stack, standby)
}

/// The stream of an epoch equals the log, and a follower of the lost history starts over and sees all of it.
async fn is_whole_again(stack: &Stack, copy: &LogCopy, epoch: u32, events: u64) {
    let relay = Relay::start(stack, copy).await;
    let stream = published(stack, &format!("AUTH_{epoch}"), events).await;
    assert_equal(&stream, copy, epoch).await;
    relay.stop().await;
    let pool = servers::pool(&copy.run_url).await;
    let mut stale = Follow::new(pool.clone(), Log::Auth, Cursor { epoch: 1, position: SHARED + 3 });
    let told = stale.next().await;
    assert!(matches!(told, Err(FollowError::OtherEpoch { now, cursor: 1 }) if now == epoch), "{told:?}");
    let mut anew = Follow::new(pool, Log::Auth, Cursor { epoch, position: 0 });
    let mut at = 0;
    while at < events {
        at = anew.next().await.ok().and_then(|seen| seen.last().map(|last| last.position)).unwrap_or(u64::MAX);
    }
    assert_eq!(at, events);
    let (code, text) = said(kisum(&["log", "verify", "--url", &copy.run_url])).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_that_lost_events_refuses_until_its_new_epoch() {
    let (stack, standby) = promoted().await;
    standby.copy.refuses_everything(&stack).await;
    let done = begins_epoch(&stack, &standby.copy).await;
    assert_eq!((&done["epoch"], &done["begunAt"]), (&2.into(), &(SHARED + 1).into()), "{done}");
    assert_eq!((&done["published"]["shared"], &done["published"]["unknown"]), (&SHARED.into(), &3.into()), "{done}");
    append(&standby.copy.log().await, 5, "anew").await;
    is_whole_again(&stack, &standby.copy, 2, SHARED + 6).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_epoch_row_lets_appends_through_but_not_past_the_relay() {
    let (stack, standby) = promoted().await;
    let forged = "update log_epoch e set timeline = i.timeline from log_identity() i";
    run_sql(&mut standby.copy.superuser().await, forged).await;
    append(&standby.copy.log().await, 5, "over the lost ones").await;
    let halted = Relay::start(&stack, &standby.copy).await.halted().await;
    assert!(halted.contains("AUTH_1") && halted.contains(&format!("message {} ", SHARED + 1)), "{halted}");

    let (code, text) = said(kisum(&["log", "epoch", "show", "--url", &standby.copy.owner_url])).await;
    assert_eq!(code, 0, "the row says that all is well: {text}");
    let done = begins_epoch(&stack, &standby.copy).await;
    assert_eq!((&done["epoch"], &done["begunAt"]), (&2.into(), &(SHARED + 6).into()), "{done}");
    assert_eq!((&done["published"]["shared"], &done["published"]["unknown"]), (&SHARED.into(), &3.into()), "{done}");
    is_whole_again(&stack, &standby.copy, 2, SHARED + 6).await;
    stack.stop().await;
}
