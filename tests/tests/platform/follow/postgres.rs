//! Following a log in its own database.

use super::{Dice, PATIENCE, VIEWS, append_at_once, at, error_of, followed, held, of_class, positions};
use kisum_events::{Class, Cursor, DecodeError, Log, Sealed};
use kisum_log::{EventLog, Follow, FollowError, Loaded, PageError};
use kisum_tests::{
    counted::{Counted, Happened, append, new_request, new_stream, widen},
    servers::{self, LogDatabase},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::time::Duration;

/// How often a connection is cut.
const CUTS: usize = 5;

async fn fresh() -> (LogDatabase, EventLog) {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    (database, log)
}

async fn as_superuser(database: &LogDatabase, sql: &str) {
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_64_writers_append_followers_of_each_class_see_exactly_it_from_any_cursor() {
    let (database, log) = fresh().await;
    append_at_once(&log, 8, 4).await;
    let middle = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    let reader = servers::pool(&database.relay_url).await;
    let writing = tokio::spawn({
        let log = log.clone();
        async move { append_at_once(&log, 64, 25).await }
    });
    let mut following = Vec::new();
    for view in VIEWS {
        for after in [0, 1, middle - 1, middle] {
            let mut follow = of_class(Follow::new(reader.clone(), Log::Auth, at(1, after)), view);
            following.push(tokio::spawn(async move {
                // How many there will be is not known yet: it ends with an event that is appended last.
                let mut seen = Vec::new();
                while let Ok(Ok(events)) = tokio::time::timeout(PATIENCE, follow.next()).await {
                    seen.extend(positions(&events));
                    if events.iter().any(|event| event.data.get().contains("the last one")) {
                        return (after, view, seen);
                    }
                }
                panic!("behind {after}, {view:?}: it stopped at {:?}", follow.at());
            }));
        }
    }
    writing.await.unwrap_or_else(|error| panic!("{error}"));
    // One of each class, so that every follower comes to its end.
    let note = || "the last one".to_owned();
    for last in [Happened::Noted { note: note(), secret: Sealed::default() }, Happened::Widened { note: note() }] {
        let mut append = append(new_request());
        append
            .write(&Loaded::<Counted>::new_stream(new_stream()), vec![last])
            .unwrap_or_else(|error| panic!("{error}"));
        log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for follower in following {
        let (after, view, seen) = follower.await.unwrap_or_else(|error| panic!("{error}"));
        let held = held(&log, after, view).await;
        assert_eq!(seen, held[..seen.len().min(held.len())], "behind {after}, {view:?}");
        assert!(held.len() - seen.len() <= 1, "behind {after}, {view:?}: {} of {}", seen.len(), held.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_wait_at_any_moment_loses_nothing() {
    let (database, log) = fresh().await;
    let reader = servers::pool(&database.relay_url).await;
    let writing = tokio::spawn({
        let log = log.clone();
        async move { append_at_once(&log, 16, 30).await }
    });
    let (mut follow, mut woken) = (Follow::new(reader, Log::Auth, at(1, 0)), log.follow(at(1, 0)));
    let (mut seen, mut seen_woken, mut dice, mut dropped) = (Vec::new(), Vec::new(), Dice(42), 0);
    let mut end = None;
    while end.is_none_or(|end| follow.at().position < end || woken.at().position < end) {
        let moment = Duration::from_micros(dice.below(3_000));
        tokio::select! {
            biased;
            events = follow.next() => seen.extend(positions(&events.unwrap_or_else(|error| panic!("{error}")))),
            events = woken.next() => seen_woken.extend(positions(&events.unwrap_or_else(|error| panic!("{error}")))),
            () = tokio::time::sleep(moment) => dropped += 1,
        }
        if end.is_none() && writing.is_finished() {
            end = Some(log.head().await.unwrap_or_else(|error| panic!("{error}")).position);
        }
    }
    let held = held(&log, 0, None).await;
    assert_eq!((&seen, &seen_woken), (&held, &held));
    assert!(dropped > 20, "only {dropped} waits were dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_said_and_made_anew_and_nothing_is_lost() {
    let (database, log) = fresh().await;
    append_at_once(&log, 16, 100).await;
    let mut follow = Follow::new(servers::pool(&database.relay_url).await, Log::Auth, at(1, 0));
    let cutting = tokio::spawn({
        let log = log.clone();
        async move {
            let mut conn =
                PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
            let mut cut = 0;
            while cut < CUTS {
                let found: i64 = sqlx::query_scalar(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where application_name = 'kisum-follow-auth' and datname = current_database() and state is not null",
                )
                .fetch_one(&mut conn)
                .await
                .unwrap_or_else(|error| panic!("{error}"));
                cut += usize::try_from(found).unwrap_or(0);
            }
            let last = widen(&Loaded::new_stream(new_stream()), "the last one");
            log.append(last).await.unwrap_or_else(|error| panic!("{error}")).last
        }
    });
    let (mut seen, mut interrupted) = (Vec::new(), 0);
    let mut is_over = false;
    while !is_over {
        match tokio::time::timeout(PATIENCE, follow.next()).await {
            Ok(Ok(events)) => {
                seen.extend(positions(&events));
                is_over = events.iter().any(|event| event.data.get().contains("the last one"));
            }
            Ok(Err(FollowError::Interrupted { source: PageError::Log(_), .. })) => interrupted += 1,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => panic!("it stands still at {:?} after {interrupted} interruptions", follow.at()),
        }
    }
    assert!(interrupted > 0, "{CUTS} cuts went unseen");
    cutting.await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(seen, held(&log, 0, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_begins_and_a_cursor_beyond_the_head_are_errors_of_their_own() {
    let (database, log) = fresh().await;
    append_at_once(&log, 4, 4).await;
    let end = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    let reader = servers::pool(&database.relay_url).await;
    for cursor in [0, 2] {
        let error = Follow::new(reader.clone(), Log::Auth, at(cursor, 0)).next().await.err();
        assert!(matches!(error, Some(FollowError::OtherEpoch { now: 1, cursor: c }) if c == cursor), "{error:?}");
    }
    for view in VIEWS {
        let error = of_class(Follow::new(reader.clone(), Log::Auth, at(1, end + 1)), view).next().await.err();
        let is_right =
            matches!(error, Some(FollowError::BeyondHead { cursor, head }) if (cursor, head) == (end + 1, end));
        assert!(is_right, "{view:?}: {error:?}");
    }

    let mut follow = Follow::new(reader, Log::Auth, at(1, 0));
    let all = held(&log, 0, None).await;
    assert_eq!(followed(&mut follow, end, all.len()).await, all);
    let next_epoch =
        "insert into log_epoch select 2, system_identifier, timeline, database_oid, 0, 'test' from log_identity()";
    as_superuser(&database, next_epoch).await;
    let error = error_of(&mut follow, |_| true).await;
    assert!(matches!(error, FollowError::OtherEpoch { now: 2, cursor: 1 }), "{error}");
    follow.start_over(2);
    assert_eq!(followed(&mut follow, end, all.len()).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_ends_in_a_newer_epoch_is_not_handed_out_under_the_old_one() {
    let (database, log) = fresh().await;
    append_at_once(&log, 16, 100).await;
    let end = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    assert!(end > 2_000, "the backlog of {end} events fits into a page or two");
    let mut follow = Follow::new(servers::pool(&database.relay_url).await, Log::Auth, at(1, 0));
    // The head is read with the first page, and no more until the backlog is read: the events must tell.
    let mut seen = follow.next().await.unwrap_or_else(|error| panic!("{error}")).len() as u64;
    let next_epoch = format!(
        "insert into log_epoch select 2, system_identifier, timeline, database_oid, 0, 'test' from log_identity();
         update event set epoch = 2 where position >= {end}"
    );
    as_superuser(&database, &next_epoch).await;
    let error = loop {
        match follow.next().await {
            Ok(events) => seen += events.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, FollowError::OtherEpoch { now: 2, cursor: 1 }), "{error}");
    assert!(seen < end, "an event of epoch 2 was handed out in epoch 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_gone_from_the_table_is_never_skipped() {
    let (database, log) = fresh().await;
    append_at_once(&log, 8, 8).await;
    let access = held(&log, 0, Some(Class::Access)).await;
    let gone = access[access.len() / 2];
    as_superuser(&database, &format!("delete from event where position = {gone}")).await;
    for view in [None, Some(Class::Access)] {
        let mut follow = of_class(Follow::new(servers::pool(&database.relay_url).await, Log::Auth, at(1, 0)), view);
        let error = error_of(&mut follow, |_| true).await;
        assert!(matches!(error, FollowError::Interrupted { source: PageError::Hole { .. }, .. }), "{view:?}: {error}");
        assert!(follow.at().position < gone, "{view:?}: it went on to {:?}", follow.at());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_newer_program_understands_is_handed_out_and_named_when_it_is_read() {
    let (database, log) = fresh().await;
    for _ in 0..3 {
        let append = widen(&Loaded::new_stream(new_stream()), "x");
        log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
    }
    as_superuser(&database, "update event set type = 'module.invented_later' where position = 2").await;
    as_superuser(&database, "update event set type = 'module.defined', schema = 99 where position = 3").await;
    let mut follow = Follow::new(servers::pool(&database.relay_url).await, Log::Auth, at(1, 0));
    let events = follow.next().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(positions(&events), [1, 2, 3]);
    let unknown = events[1].decode().err();
    let names_it = matches!(&unknown, Some(DecodeError::UnknownType { position: 2, event_type }) if event_type == "module.invented_later");
    assert!(names_it, "{unknown:?}");
    let newer = events[2].decode().err();
    let names_it = matches!(&newer, Some(DecodeError::NewerSchema { position: 3, event_type, schema: 99, .. }) if event_type == "module.defined");
    assert!(names_it, "{newer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_sees_when_a_follower_is_caught_up_and_when_it_is_not() {
    let (database, log) = fresh().await;
    append_at_once(&log, 16, 100).await;
    let end = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    let mut follow = Follow::new(servers::pool(&database.relay_url).await, Log::Auth, at(1, 0));
    let mut caught_up = follow.caught_up();
    while follow.at() != (Cursor { epoch: 1, position: end }) {
        follow.next().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(!*caught_up.borrow(), "what was handed out may not be handled yet, at {:?}", follow.at());
    }
    let waiting = async {
        tokio::select! {
            events = follow.next() => panic!("{events:?}"),
            caught_up = caught_up.wait_for(|caught_up| *caught_up) => assert!(caught_up.is_ok()),
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never said that it is caught up"));
}
