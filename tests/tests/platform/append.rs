//! The append under concurrency: positions, verdicts, guards, claims, sealing, epochs.

use kisum_events::{Aggregate, Log, Sealed};
use kisum_log::{Append, AppendError, ClaimKey, EventLog, LoadError, Loaded, read};
use kisum_tests::{
    counted::{Counted, Happened, append, new_request, new_stream, new_uuid, widen},
    servers,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::watch;

async fn fresh() -> (servers::LogDatabase, EventLog) {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    (database, log)
}

fn note(text: &str) -> Vec<Happened> {
    vec![Happened::Noted { note: text.to_owned(), secret: Sealed::absent() }]
}

fn written(append: &mut Append, loaded: &Loaded<Counted>, events: Vec<Happened>) -> Counted {
    append.write(loaded, events).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads the log from the start over and over, and fails on any hole or disorder that a reader could see.
async fn watch_for_holes(url: String, mut done: watch::Receiver<bool>) -> u64 {
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let mut last = 0;
    loop {
        let finished = *done.borrow_and_update();
        let events = read(&mut conn, Log::Auth, last, 1000, None).await.unwrap_or_else(|error| panic!("{error}"));
        for event in &events {
            assert_eq!(event.position, last + 1, "a reader saw a hole");
            last = event.position;
        }
        if finished && events.is_empty() {
            return last;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_contiguous_and_in_commit_order_under_64_writers_with_conflicts() {
    let (database, log) = fresh().await;
    let contested: Vec<_> = (0..4).map(|_| new_stream()).collect();
    let (stop, done) = watch::channel(false);
    let reader = tokio::spawn(watch_for_holes(database.run_url.clone(), done));
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let (log, contested) = (log.clone(), contested.clone());
            tokio::spawn(async move {
                let mut own: Loaded<Counted> = Loaded::new_stream(new_stream());
                let mut acknowledged = Vec::new();
                let mut conflicts = 0;
                for round in 0..25 {
                    let fights = round % 5 == 0;
                    let loaded = if fights {
                        let stream = &contested[(writer + round) % contested.len()];
                        log.load::<Counted>(stream).await.unwrap_or_else(|error| panic!("{error}"))
                    } else {
                        own.clone()
                    };
                    match log.append(widen(&loaded, "x")).await {
                        Ok(receipt) => {
                            acknowledged.push((receipt.last, loaded.stream.clone(), loaded.version + 1));
                            if !fights {
                                own.version += 1;
                                own.state.count += 1;
                            }
                        }
                        Err(AppendError::Version { .. }) if fights => conflicts += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                (acknowledged, conflicts)
            })
        })
        .collect();
    let mut acknowledged = BTreeMap::new();
    let mut conflicts = 0;
    for writer in writers {
        let (mine, lost) = writer.await.unwrap_or_else(|error| panic!("{error}"));
        conflicts += lost;
        for (position, stream, version) in mine {
            assert!(acknowledged.insert(position, (stream, version)).is_none(), "position {position} was given twice");
        }
    }
    stop.send_replace(true);
    let last = reader.await.unwrap_or_else(|error| panic!("{error}"));
    assert!(conflicts > 0, "nothing was contested");
    assert_eq!(last, acknowledged.len() as u64, "what was acknowledged is what is there");
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let events = read(&mut conn, Log::Auth, 0, 10_000, None).await.unwrap_or_else(|error| panic!("{error}"));
    for event in events {
        let expected = acknowledged.get(&event.position).map(|(stream, version)| (stream.clone(), *version));
        assert_eq!(expected, Some((event.stream, event.version)), "position {}", event.position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_appends_gets_its_own_verdict() {
    let (_, log) = fresh().await;
    let twice = new_request();
    let (once, taken) = (new_stream(), new_stream());
    let claim = ClaimKey::email(&new_uuid().to_string());
    let mut appends = Vec::new();
    for _ in 0..2 {
        let mut repeated = append(twice);
        written(&mut repeated, &Loaded::new_stream(once.clone()), note("repeated"));
        appends.push(("repeated", repeated));
        appends.push(("raced", widen(&Loaded::new_stream(taken.clone()), "raced")));
        let holder = new_stream();
        let mut claiming = append(new_request());
        written(&mut claiming, &Loaded::new_stream(holder.clone()), note("claiming"));
        claiming.claim(claim.clone(), &holder);
        appends.push(("claiming", claiming));
    }
    for bad in ["\u{0}", &"x".repeat(70_000)] {
        let mut refused = append(new_request());
        written(&mut refused, &Loaded::new_stream(new_stream()), note(bad));
        appends.push(("refused", refused));
    }
    for _ in 0..500 {
        appends.push(("good", widen(&Loaded::new_stream(new_stream()), "good")));
    }
    let tasks: Vec<_> = appends
        .into_iter()
        .map(|(kind, append)| {
            let log = log.clone();
            tokio::spawn(async move { (kind, log.append(append).await) })
        })
        .collect();
    let mut verdicts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for task in tasks {
        let (kind, verdict) = task.await.unwrap_or_else(|error| panic!("{error}"));
        verdicts.entry(kind).or_default().push(verdict);
    }
    let receipts: Vec<_> = verdicts["repeated"].iter().map(|v| v.clone().unwrap_or_else(|e| panic!("{e}"))).collect();
    assert_eq!(receipts[0].last, receipts[1].last, "one request is one append");
    assert_eq!(receipts.iter().filter(|receipt| receipt.duplicate).count(), 1);
    for kind in ["raced", "claiming"] {
        assert_eq!(verdicts[kind].iter().filter(|verdict| verdict.is_ok()).count(), 1, "one {kind} append wins");
    }
    assert!(verdicts["raced"].iter().any(|v| matches!(v, Err(AppendError::Version { actual: 1, .. }))));
    assert!(verdicts["claiming"].iter().any(|v| matches!(v, Err(AppendError::Claim { .. }))));
    assert!(verdicts["refused"].iter().all(|v| matches!(v, Err(AppendError::Refused(_)))));
    assert!(verdicts["good"].iter().all(Result::is_ok));
    let head = log.head().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head.position, 503, "one repeated, one raced, one claiming, 500 good");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_appends_that_guard_what_the_other_writes_do_not_both_pass() {
    let (_, log) = fresh().await;
    for _ in 0..50 {
        let (left, right) = (Loaded::<Counted>::new_stream(new_stream()), Loaded::<Counted>::new_stream(new_stream()));
        let mut first = widen(&left, "left");
        first.guard(&right);
        let mut second = widen(&right, "right");
        second.guard(&left);
        let (one, other) = tokio::join!(log.append(first), log.append(second));
        let lost = match (one, other) {
            (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
            (one, other) => panic!("exactly one passes: {one:?}, {other:?}"),
        };
        assert!(matches!(lost, AppendError::Guard { actual: 1, expected: 0, .. }), "{lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_with_another_body_is_refused() {
    let (_, log) = fresh().await;
    let request = new_request();
    let make = |body: u8| {
        let mut append = append(request).with_body_hash([body; 32]);
        written(&mut append, &Loaded::new_stream(new_stream()), note("once"));
        append
    };
    log.append(make(1)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(log.append(make(2)).await, Err(AppendError::RequestReused)));
    assert!(log.append(make(1)).await.is_ok_and(|receipt| receipt.duplicate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_claim_can_be_taken_again_and_only_by_its_holder_released() {
    let (_, log) = fresh().await;
    let (holder, other) = (new_stream(), new_stream());
    let key = ClaimKey::email(&new_uuid().to_string());
    let mut take = widen(&Loaded::new_stream(holder.clone()), "take");
    take.claim(key.clone(), &holder);
    log.append(take).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(log.claim_holder(&key).await.ok().flatten(), Some(holder.clone()));
    let mut steal = widen(&Loaded::new_stream(other.clone()), "steal");
    steal.release(key.clone(), &other);
    assert!(matches!(log.append(steal).await, Err(AppendError::Claim { .. })));
    let loaded = log.load::<Counted>(&holder).await.unwrap_or_else(|error| panic!("{error}"));
    let mut give = widen(&loaded, "give");
    give.release(key.clone(), &holder);
    log.append(give).await.unwrap_or_else(|error| panic!("{error}"));
    let mut again = widen(&Loaded::new_stream(other.clone()), "again");
    again.claim(key.clone(), &other);
    log.append(again).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(log.claim_holder(&key).await.ok().flatten(), Some(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_is_readable_only_through_the_person_s_key() {
    let (database, log) = fresh().await;
    let stream = new_stream();
    let secret = "nobody-else-may-read-this";
    let mut sealed = append(new_request());
    let events = vec![Happened::Noted { note: "public".to_owned(), secret: Sealed::new(secret.to_owned()) }];
    written(&mut sealed, &Loaded::new_stream(stream.clone()), events);
    log.append(sealed).await.unwrap_or_else(|error| panic!("{error}"));
    let loaded = log.load::<Counted>(&stream).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.state.secret.get().map(String::as_str), Some(secret));

    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let dump: String = sqlx::query_scalar(
        "select (select string_agg(e::text, '') from event e) || (select string_agg(s::text, '') from stream s)",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains("public") && !dump.contains(secret) && !dump.contains(&hex));

    sqlx::raw_sql("delete from person_key").execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let erased = log.load::<Counted>(&stream).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((erased.state.count, erased.state.secret.get()), (1, None), "the fold stays, the secret is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_hold_its_own_position_and_positions_can_be_found_by_version() {
    let (_, log) = fresh().await;
    log.append(widen(&Loaded::new_stream(new_stream()), "before")).await.unwrap_or_else(|error| panic!("{error}"));
    let stream = new_stream();
    let mut placed = append(new_request());
    let mut events = note("\"own\":0");
    events.push(Happened::Placed { own: 0 });
    written(&mut placed, &Loaded::new_stream(stream.clone()), events);
    let receipt = log.append(placed).await.unwrap_or_else(|error| panic!("{error}"));
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let events = read(&mut conn, Log::Auth, 1, 10, None).await.unwrap_or_else(|error| panic!("{error}"));
    let bodies: Vec<_> = events.iter().map(|event| event.data.get()).collect();
    assert_eq!(bodies, [r#"{"note":"\"own\":0"}"#, r#"{"own":3}"#]);
    assert_eq!(log.position_of(&stream, 2).await.ok().flatten(), Some(receipt.last));
    assert_eq!(events.iter().map(|event| event.previous_access_position).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_schema_is_folded_anew_from_events() {
    let (database, log) = fresh().await;
    let stream = new_stream();
    let mut three = append(new_request());
    let secret = Happened::Noted { note: "2".to_owned(), secret: Sealed::new("kept".to_owned()) };
    written(&mut three, &Loaded::new_stream(stream.clone()), vec![Happened::Placed { own: 0 }, secret]);
    log.append(three).await.unwrap_or_else(|error| panic!("{error}"));
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    for schema in [0, 99] {
        let sql = format!("update stream set schema = {schema}, state = '{{\"other\":true}}', sealed_state = null");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
        let loaded = log.load::<Counted>(&stream).await.unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(Counted::STATE_SCHEMA, 99);
        assert_eq!((loaded.version, loaded.state.count), (2, 2));
        assert_eq!(loaded.state.secret.get().map(String::as_str), Some("kept"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_cover_every_event_and_chain_the_batches() {
    let (database, log) = fresh().await;
    for _ in 0..20 {
        log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let wrong = |conn: PgConnection| async move {
        let mut conn = conn;
        let events: Vec<i64> = sqlx::query_scalar(
            "select position from event where hash <> event_hash(position, epoch, previous_access_position, id, stream,
                 version, type, schema, company_id, effect, recorded_at, data, sealed, person, meta) order by position",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let batches: Vec<i64> = sqlx::query_scalar(
            "select b.last_position from log_batch b where b.hash <> batch_hash(
                 coalesce((select p.hash from log_batch p where p.last_position < b.first_position
                           order by p.last_position desc limit 1), ''),
                 b.first_position, b.last_position, b.epoch, b.recorded_at,
                 (select string_agg(e.hash, ''::bytea order by e.position) from event e
                  where e.position between b.first_position and b.last_position)) order by 1",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        (events, batches, conn)
    };
    let (events, batches, back) = wrong(conn).await;
    assert!(events.is_empty() && batches.is_empty(), "{events:?} {batches:?}");
    conn = back;
    sqlx::raw_sql("update event set data = replace(data, 'x', 'y') where position = 7")
        .execute(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(wrong(conn).await.0, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_database_refuses_to_be_written_or_to_prove_anything() {
    let (database, log) = fresh().await;
    log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    log.pool().close().await;
    drop(log);
    let original = database.run_url.rsplit('/').next().unwrap_or_default().to_owned();
    let copy = format!("{original}_copy");
    let admin = database.superuser_url.replace(&original, "postgres");
    let mut conn = PgConnection::connect(&admin).await.unwrap_or_else(|error| panic!("{error}"));
    for sql in [
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{original}'"),
        format!("create database {copy} template {original} owner auth_owner"),
        format!("grant connect on database {copy} to kisum_auth"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let url = |url: &str| url.replace(&original, &copy);
    let copied = servers::LogDatabase {
        superuser_url: url(&database.superuser_url),
        run_url: url(&database.run_url),
        relay_url: url(&database.relay_url),
    };
    let log = servers::open(&copied).await;
    let refused = log.append(widen(&Loaded::new_stream(new_stream()), "x")).await;
    assert!(matches!(&refused, Err(AppendError::Epoch(why)) if why.contains("kisum log epoch new")), "{refused:?}");
    let head = log.head().await;
    assert!(matches!(&head, Err(LoadError::Epoch(why)) if why.contains("kisum log epoch new")), "{head:?}");
}

/// Appends made while connections are cut.
const APPENDS: usize = 640;

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_connection_is_cut_gets_one_right_verdict() {
    let (database, log) = fresh().await;
    let original = database.run_url.rsplit('/').next().unwrap_or_default().to_owned();
    let (acknowledged, mut progress) = watch::channel(0_usize);
    // Cuts by progress, not by time: a slow machine is not cut off for good.
    let cutter = tokio::spawn(async move {
        let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
        let sql = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = '{original}' and application_name like 'kisum-append%'"
        );
        let mut cuts = 0;
        for at in (20..APPENDS).step_by(20) {
            let reached = progress.wait_for(|count| *count >= at).await.is_ok();
            assert!(reached, "the writers stopped early");
            let cut = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut conn).await;
            cuts += cut.map_or(0, |result| result.rows_affected());
        }
        cuts
    });
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let (log, acknowledged) = (log.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut loaded: Loaded<Counted> = Loaded::new_stream(new_stream());
                let mut positions = Vec::new();
                for _ in 0..APPENDS / 16 {
                    let receipt = log.append(widen(&loaded, "x")).await.unwrap_or_else(|error| panic!("{error}"));
                    positions.push(receipt.last);
                    acknowledged.send_modify(|count| *count += 1);
                    loaded.version += 1;
                    loaded.state.count += 1;
                }
                positions
            })
        })
        .collect();
    let mut positions = HashSet::new();
    for writer in writers {
        positions.extend(writer.await.unwrap_or_else(|error| panic!("{error}")));
    }
    let cuts = cutter.await.unwrap_or_else(|error| panic!("{error}"));
    assert!(cuts > 0, "no connection was cut");
    let head = log.head().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((positions.len(), head.position), (APPENDS, APPENDS as u64), "each append is there once");
}

/// Backends of this database that wait for the log's lock.
async fn waiting_for_the_lock(conn: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar(
        "select l.pid from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
         where l.locktype = 'advisory' and not l.granted",
    )
    .fetch_all(conn)
    .await
    .unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_beyond_its_time_out_refuses_nobody() {
    let (database, log) = fresh().await;
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let lock = "select pg_advisory_lock(4207849484)";
    sqlx::raw_sql(lock).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.append(widen(&Loaded::new_stream(new_stream()), "x")).await })
        })
        .collect();
    let first = loop {
        if let Some(pid) = waiting_for_the_lock(&mut conn).await.first() {
            break *pid;
        }
        tokio::task::yield_now().await;
    };
    // Once it waits no longer, its time was over.
    while waiting_for_the_lock(&mut conn).await.contains(&first) {
        tokio::task::yield_now().await;
    }
    conn.close().await.unwrap_or_else(|error| panic!("{error}"));
    for writer in writers {
        let appended = writer.await.unwrap_or_else(|error| panic!("{error}"));
        assert!(appended.is_ok(), "{appended:?}");
    }
    let head = log.head().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head.position, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ran_out_of_partitions_is_unavailable_and_not_the_client_s_fault() {
    let (database, log) = fresh().await;
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let gone = "alter table event detach partition event_p0000";
    sqlx::raw_sql(gone).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let appended = log.append(widen(&Loaded::new_stream(new_stream()), "x")).await;
    assert!(matches!(&appended, Err(AppendError::Unavailable(_))), "{appended:?}");
}
