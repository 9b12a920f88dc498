//! Appends of every shape at once: several streams, several events, both classes, guards, claims, stale versions. What
//! is made must verify, chain and fold, whatever else went in the same batch.

use kisum_events::{Aggregate, Sealed};
use kisum_log::{Append, AppendError, ClaimKey, EventLog, Loaded, verify};
use kisum_tests::{
    counted::{Counted, Happened, append, new_request, new_stream, new_uuid, widen},
    seeded::Seeded,
    servers,
    streams::append_many,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::Duration;

fn event(random: &mut Seeded) -> Happened {
    match random.below(4) {
        0 => Happened::Placed { own: 0 },
        1 => Happened::Noted { note: "sealed".to_owned(), secret: Sealed::new("secret".to_owned()) },
        2 => Happened::Noted { note: "open".to_owned(), secret: Sealed::absent() },
        _ => Happened::Widened { note: "x".repeat(usize::try_from(random.below(300)).unwrap_or(0)) },
    }
}

/// An append to one to four of the given streams, and which.
fn shape(random: &mut Seeded, streams: &[Loaded<Counted>], guarded: &Loaded<Counted>) -> (Append, Vec<usize>) {
    let mut append = append(new_request());
    let first = usize::try_from(random.below(streams.len() as u64)).unwrap_or(0);
    let count = usize::try_from(random.below(4)).unwrap_or(0) + 1;
    let mut written = Vec::new();
    for index in (first..streams.len()).take(count) {
        let events: Vec<_> = (0..=random.below(3)).map(|_| event(random)).collect();
        append.write(&streams[index], events).unwrap_or_else(|error| panic!("{error}"));
        written.push(index);
    }
    if random.below(3) == 0 {
        append.guard(guarded);
    }
    if random.below(3) == 0 {
        append.claim(ClaimKey::email(&new_uuid().to_string()), &streams[first].stream);
    }
    (append, written)
}

/// One of many writers: appends with streams of its own, every fifth time on a version that is not the stream's.
async fn write(log: EventLog, seed: u64, guarded: Loaded<Counted>) -> Vec<Loaded<Counted>> {
    let mut random = Seeded::new(seed);
    let mut streams: Vec<Loaded<Counted>> = (0..6).map(|_| Loaded::new_stream(new_stream())).collect();
    for round in 0..25 {
        let (append, written) = shape(&mut random, &streams, &guarded);
        if round % 5 == 4 {
            let mut stale = widen(&streams[written[0]], "stale");
            stale.guard(&Loaded { version: guarded.version + 1, ..guarded.clone() });
            let refused = log.append(stale).await;
            assert!(matches!(refused, Err(AppendError::Guard { actual: 1, .. })), "{refused:?}");
        }
        let receipt = log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(!receipt.duplicate && receipt.first <= receipt.last);
        for index in written {
            let loaded = log.load(&streams[index].stream).await.unwrap_or_else(|error| panic!("{error}"));
            streams[index] = loaded;
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_every_shape_verify_chain_and_fold() {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    let guarded = new_stream();
    log.append(widen(&Loaded::new_stream(guarded.clone()), "guarded")).await.unwrap_or_else(|error| panic!("{error}"));
    let guarded = log.load::<Counted>(&guarded).await.unwrap_or_else(|error| panic!("{error}"));
    let writers: Vec<_> = (1..=32).map(|seed| tokio::spawn(write(log.clone(), seed, guarded.clone()))).collect();
    let mut streams = Vec::new();
    for writer in writers {
        streams.append(&mut writer.await.unwrap_or_else(|error| panic!("{error}")));
    }
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let verified = verify(&mut conn, |_| ()).await.unwrap_or_else(|error| panic!("{error}"));
    let folded = 1 + streams.iter().map(|stream| stream.state.count).sum::<u64>();
    assert_eq!(verified.events, folded, "every event is in one stream's state");

    // States of another schema are folded from events, which are found by the chain alone.
    let other =
        format!("update stream set schema = {}, state = '{{}}', sealed_state = null", Counted::STATE_SCHEMA + 1);
    sqlx::raw_sql(AssertSqlSafe(other)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    for stream in streams {
        let refolded = log.load::<Counted>(&stream.stream).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((refolded.version, &refolded.state), (stream.version, &stream.state));
        if stream.version > 0 {
            assert_eq!(log.position_of(&stream.stream, stream.version).await.ok().flatten(), Some(stream.position));
        }
        assert_eq!(log.position_of(&stream.stream, stream.version + 1).await.ok().flatten(), None);
    }
}

/// A call of `append()` with two appends of one event each to the same stream, whatever its version: what no appender
/// sends.
fn twice(stream: &str, version: u64) -> String {
    format!(
        "select append(
             array[gen_random_uuid(), gen_random_uuid()], array[null, null]::bytea[], array['{{}}', '{{}}'], array[1, 1],
             array[0, 0],
             array[1, 2], array['{stream}', '{stream}'], array[{version}, {version}]::bigint[], array[1, 1], array[1, 2],
             array[1, 1]::smallint[], array['{{}}', '{{}}'], array[null, null]::bytea[], array[null, null]::uuid[],
             '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}',
             array[1, 2], array[1, 2], array[1, 1], array[0, 0], array[gen_random_uuid(), gen_random_uuid()],
             array['counted.noted', 'counted.noted'], array[1, 1]::smallint[], array[null, null]::uuid[],
             array['none', 'none'], array['{{}}', '{{}}'], array[null, null]::text[], array[null, null]::bytea[],
             array[null, null]::uuid[])"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_writes_a_stream_twice_is_refused_by_the_database_itself() {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    let stream = new_stream();
    let mut conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    for version in [0, 1] {
        let sql = twice(stream.as_str(), version);
        let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map(|_| ());
        let why = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(why.contains("a batch writes a stream twice") || why.contains("stream_pkey"), "{version}: {why}");
        let head = log.head().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(head.position, version, "nothing of it was written");
        let loaded = log.load::<Counted>(&stream).await.unwrap_or_else(|error| panic!("{error}"));
        log.append(widen(&loaded, "once")).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// How often an index was searched, and how many of its entries were read.
async fn searched(conn: &mut PgConnection, index: &str) -> (i64, i64) {
    let sql = "select idx_scan, idx_tup_read from pg_stat_user_indexes where indexrelname = $1";
    sqlx::query_as(sql).bind(index).fetch_one(conn).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_kept_from_a_small_log_does_not_read_a_large_one_whole() {
    let database = servers::fresh_log(servers::shared().await).await;
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let log = servers::open(&database).await;
    for _ in 0..3 {
        log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    }
    sqlx::raw_sql("analyze").execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    // Plans are made by the first calls of a connection, which must be new ones to know of the small tables.
    let log = servers::open(&database).await;
    append_many(&log, 3_000).await;
    let before = (searched(&mut conn, "request_pkey").await, searched(&mut conn, "stream_pkey").await);
    for _ in 0..200 {
        log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    }
    // The server publishes these figures when it comes to it.
    let counted = async {
        loop {
            let (request, stream) =
                (searched(&mut conn, "request_pkey").await, searched(&mut conn, "stream_pkey").await);
            if request.0 - before.0.0 >= 200 && stream.0 - before.1.0 >= 200 {
                return (request.1 - before.0.1, stream.1 - before.1.1);
            }
            // The appender's own connection says what it has counted once it is used again.
            log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(60), counted).await;
    let (requests, streams) = read.unwrap_or_else(|_| panic!("the server does not say what it read"));
    // One plan that reads an index whole would read 3,000 entries each time.
    assert!(requests < 200_000 && streams < 200_000, "{requests} requests and {streams} streams were read");
}
