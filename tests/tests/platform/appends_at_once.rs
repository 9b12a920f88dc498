//! Many appends at once: beside transactions that never end, under readers that look all the time, and over a network
//! that loses answers.

use kisum_events::{Log, Sealed};
use kisum_log::{Append, AppendError, ClaimKey, EventLog, Loaded, Receipt, Sealer, read, verify};
use kisum_tests::{
    counted::{Counted, Happened, append, new_request, new_stream, new_uuid, widen},
    proxy::Proxy,
    servers,
    streams::address,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeMap;
use tokio::{sync::watch, task::JoinHandle};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A transaction with an id and a snapshot, which is never ended.
async fn open_transaction(url: &str) -> PgConnection {
    let mut conn = connect(url).await;
    let sql = "begin isolation level repeatable read; create temporary table unrelated (x int);
               insert into unrelated values (1); select count(*) from pg_class";
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    conn
}

/// Follows the log by position: there is never a hole in what it sees.
async fn tail(url: String, done: watch::Receiver<bool>) -> u64 {
    let mut conn = connect(&url).await;
    let mut last = 0;
    loop {
        let finished = *done.borrow();
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

/// Looks at the whole log over and over: whatever snapshot it gets, what it sees is all up to some position, that is
/// the head, and it never goes back.
async fn look(url: String, done: watch::Receiver<bool>) -> u64 {
    let mut conn = connect(&url).await;
    let mut before = 0;
    loop {
        let finished = *done.borrow();
        let (count, last, head): (i64, i64, i64) = sqlx::query_as(
            "select count(*), coalesce(max(position), 0),
                    coalesce((select max(last_position) from log_batch), 0) from event",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((count, head), (last, last), "a snapshot with a hole");
        assert!(last >= before, "a later snapshot saw less");
        before = last;
        if finished {
            return u64::try_from(last).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// What one of many writers was told: positions with the stream and version written there, and how often it lost.
type Told = (Vec<(u64, Loaded<Counted>)>, usize);

/// Appends one event after the other; every fifth writer on streams that others write as well.
async fn write(log: EventLog, contested: Option<Vec<Loaded<Counted>>>) -> Told {
    let mut own: Loaded<Counted> = Loaded::new_stream(new_stream());
    let (mut told, mut lost) = (Vec::new(), 0);
    for round in 0..3 {
        let loaded = match &contested {
            Some(contested) => {
                let stream = &contested[round % contested.len()].stream;
                log.load(stream).await.unwrap_or_else(|error| panic!("{error}"))
            }
            None => own.clone(),
        };
        match log.append(widen(&loaded, "x")).await {
            Ok(receipt) => {
                assert!(!receipt.duplicate && receipt.first == receipt.last);
                told.push((receipt.last, loaded));
                own.version += 1;
                own.state.count += 1;
            }
            Err(AppendError::Version { .. }) if contested.is_some() => lost += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (told, lost)
}

const WRITERS: usize = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_appends_at_once_are_in_commit_order_for_every_reader_beside_open_transactions() {
    let database = servers::fresh_log(servers::shared().await).await;
    // Two appenders, as two processes would have.
    let logs = [servers::open(&database).await, servers::open(&database).await];
    let name = database.run_url.rsplit('/').next().unwrap_or_default();
    let elsewhere = database.superuser_url.replace(name, "postgres");
    let open = [open_transaction(&database.superuser_url).await, open_transaction(&elsewhere).await];

    let (stop, done) = watch::channel(false);
    let mut readers: Vec<JoinHandle<u64>> = Vec::new();
    for url in [&database.run_url, &database.relay_url] {
        readers.push(tokio::spawn(tail(url.clone(), done.clone())));
        readers.push(tokio::spawn(look(url.clone(), done.clone())));
    }
    let contested: Vec<Loaded<Counted>> = (0..8).map(|_| Loaded::new_stream(new_stream())).collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| tokio::spawn(write(logs[n % 2].clone(), (n % 5 == 0).then(|| contested.clone()))))
        .collect();
    let (mut told, mut lost) = (BTreeMap::new(), 0);
    for writer in writers {
        let (mine, conflicts) = writer.await.unwrap_or_else(|error| panic!("{error}"));
        lost += conflicts;
        for (position, loaded) in mine {
            assert!(told.insert(position, loaded).is_none(), "position {position} was given twice");
        }
    }
    stop.send_replace(true);
    for reader in readers {
        assert_eq!(
            reader.await.unwrap_or_else(|error| panic!("{error}")),
            told.len() as u64,
            "what is there is what was acknowledged"
        );
    }
    assert!(lost > WRITERS / 20, "only {lost} appends met another");
    let mut conn = connect(&database.run_url).await;
    for event in read(&mut conn, Log::Auth, 0, 10_000, None).await.unwrap_or_else(|error| panic!("{error}")) {
        let loaded = told.remove(&event.position).unwrap_or_else(|| panic!("nobody appended {}", event.position));
        assert_eq!((event.stream, event.version), (loaded.stream, loaded.version + 1));
    }
    assert!(told.is_empty(), "acknowledged and not there: {told:?}");
    verify(&mut conn, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
    drop(open);
}

/// How PostgreSQL ends an answer outside a transaction: ReadyForQuery, idle. It is sent after the commit.
const ANSWERED: &[u8] = b"Z\0\0\0\x05I";
const ROUNDS: usize = 25;

fn made(loaded: &Loaded<Counted>, mut append: Append) -> Append {
    let events = vec![Happened::Noted { note: "x".to_owned(), secret: Sealed::absent() }];
    append.write(loaded, events).unwrap_or_else(|error| panic!("{error}"));
    append
}

/// Forty appends at once, of each kind whose verdict a lost answer could spoil.
fn forty() -> Vec<(&'static str, Append)> {
    let mut appends = Vec::new();
    let fresh = || Loaded::<Counted>::new_stream(new_stream());
    for _ in 0..4 {
        let (raced, claim, request) = (fresh(), ClaimKey::email(&new_uuid().to_string()), new_request());
        let repeated = made(&fresh(), append(request));
        for _ in 0..2 {
            appends.push(("raced", made(&raced, append(new_request()))));
            appends.push(("repeated", repeated.clone()));
            let holder = fresh();
            let mut claiming = made(&holder, append(new_request()));
            claiming.claim(claim.clone(), &holder.stream);
            appends.push(("claiming", claiming));
            appends.push(("alone", made(&fresh(), append(new_request()))));
            appends.push(("alone", made(&fresh(), append(new_request()))));
        }
    }
    appends
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_after_the_commit_leaves_each_append_its_own_right_verdict() {
    let stack = servers::shared().await;
    let database = servers::fresh_log(stack).await;
    let server = address(stack, kisum::local::Part::Postgres);
    let proxy = Proxy::start(&server).await;
    let sealer = Sealer::new(servers::DATA_KEYS).unwrap_or_else(|error| panic!("{error}"));
    // The appender alone goes through the proxy.
    let pool = servers::pool(&database.run_url).await;
    let log = EventLog::open(Log::Auth, &proxy.instead_of(&server, &database.run_url), pool, sealer).await;
    let log = log.unwrap_or_else(|error| panic!("{error}"));
    let (mut expected, mut again) = (0, 0);
    for round in 0..=ROUNDS {
        // The first round only makes connections and prepares the call.
        if round > 0 {
            proxy.lose_next_answer(ANSWERED);
        }
        let appending: Vec<_> = forty()
            .into_iter()
            .map(|(kind, append)| {
                let log = log.clone();
                tokio::spawn(async move { (kind, log.append(append).await) })
            })
            .collect();
        let mut verdicts: BTreeMap<&str, Vec<Result<Receipt, AppendError>>> = BTreeMap::new();
        for one in appending {
            let (kind, verdict) = one.await.unwrap_or_else(|error| panic!("{error}"));
            again += usize::from(kind != "repeated" && verdict.as_ref().is_ok_and(|receipt| receipt.duplicate));
            verdicts.entry(kind).or_default().push(verdict);
        }
        let made = |kind: &str| verdicts[kind].iter().filter(|verdict| verdict.is_ok()).count();
        assert_eq!((made("raced"), made("claiming"), made("repeated"), made("alone")), (4, 4, 8, 16), "{verdicts:?}");
        for verdict in verdicts.values().flatten().filter_map(|verdict| verdict.as_ref().err()) {
            assert!(matches!(verdict, AppendError::Version { .. } | AppendError::Claim { .. }), "{verdict}");
        }
        expected += 4 + 4 + 4 + 16;
    }
    let mut conn = connect(&database.run_url).await;
    let verified = verify(&mut conn, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(verified.events, expected, "each append is there once");
    // Some answers were to the preparing of the call on a new connection.
    assert!(proxy.lost() == ROUNDS as u64 && again >= ROUNDS / 2, "{} answers lost, {again} made before", proxy.lost());
}
