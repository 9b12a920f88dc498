//! Reading a log: `Follow` beside `COPY … TO STDOUT` of the same rows, the relay, and how soon a follower sees a commit.
//!
//! It measures on the core log, so that it shares a stack with what appends to the auth log.

use super::subject::{Counted, Happened, filler};
use crate::{
    ambient,
    report::{Line, percentile},
};
use anyhow::{Context as _, anyhow, ensure};
use kisum::local::{Stack, databases::Database};
use kisum_events::{Actor, Cursor, Log, Meta, StreamName};
use kisum_log::{Append, EventLog, Follow, FollowStream, Loaded, Sealer, relay};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use std::time::Duration;
use tokio::sync::watch;

const LOG: Log = Log::Core;
/// Events in the log that is read.
const EVENTS: u64 = 400_000;
/// Appends whose way to a follower is measured.
const APPENDS: usize = 500;
const COPY: &str = "reference: COPY (text) TO STDOUT";
/// Messages a second that a relay should publish (the aim is a figure, not a reference).
const RELAY: &str = "relay into a fresh stream (aim 40000/s)";
/// Between two appends that are timed: an idle log, out of step with whatever polls.
const PAUSE: Duration = Duration::from_millis(7);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the core log of a stack is, by role.
pub(super) struct Ground {
    /// The superuser's URL, for filling.
    pub(super) superuser_url: String,
    /// The relay's role, which reads without a limit of time.
    pub(super) reader_url: String,
    /// The run-time role, which appends.
    pub(super) run_url: String,
    /// The bus as the core log's relay.
    pub(super) relay_nats: async_nats::Client,
    /// The bus as its administrator.
    pub(super) admin_nats: async_nats::Client,
}

impl Ground {
    /// Looks up where the core log of a stack is, and connects to its bus.
    pub(super) async fn of(stack: &Stack) -> anyhow::Result<Self> {
        let url = |role: &'static str| {
            stack.addresses_with(|at| at.database(Database::Core, role)).map_err(|failure| anyhow!("{failure}"))
        };
        Ok(Self {
            superuser_url: url("postgres")?,
            reader_url: url("kisum_relay_core")?,
            run_url: url(Database::Core.runtime_role())?,
            relay_nats: nats(stack, "relay-core").await?,
            admin_nats: nats(stack, "admin").await?,
        })
    }
}

async fn nats(stack: &Stack, user: &str) -> anyhow::Result<async_nats::Client> {
    let password = stack.secrets().nats_password(user).map_err(|failure| anyhow!("{failure}"))?;
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password)
        .custom_inbox_prefix(format!("_INBOX.{user}"));
    Ok(options.connect(stack.addresses_with(|at| at.nats_bare())).await?)
}

/// Measures the lines of this module.
pub(super) async fn measure(stack: &Stack, rounds: usize, only: &str) -> anyhow::Result<Vec<Line>> {
    let mut lines = vec![line(COPY, None), line("Follow, from Postgres", Some((COPY, 0.6))), line(RELAY, None)];
    lines.push(line("FollowStream, from JetStream", None));
    lines.retain(|line| line.name.contains(only));
    if lines.is_empty() {
        return Ok(lines);
    }
    let ground = Ground::of(stack).await?;
    fill(&ground.superuser_url, EVENTS).await?;
    // Rounds are interleaved, so that a machine that drifts drifts under all lines alike.
    for round in 0..rounds {
        for line in &mut lines {
            let rate = match line.name.as_str() {
                COPY => copy_out(&ground.reader_url).await?,
                RELAY => publish(&ground, EVENTS).await?,
                name if name.starts_with("FollowStream") => follow_stream(&ground, EVENTS).await?,
                _ => follow(&ground.reader_url, EVENTS).await?,
            };
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
        }
    }
    if only.is_empty() {
        lines.extend(latencies(&ground, APPENDS).await?);
    }
    Ok(lines)
}

/// A line of the report.
fn line(name: &str, against: Option<(&str, f64)>) -> Line {
    let against = against.map(|(name, aim)| (name.to_owned(), aim));
    Line { name: name.to_owned(), rates: Vec::new(), p50_ms: None, p99_ms: None, against }
}

/// Fills an empty log with events of about 300 bytes, 100 a stream, every other of class access, as one batch.
pub(super) async fn fill(superuser_url: &str, events: u64) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect(superuser_url).await?;
    sqlx::query(
        r#"with filled as (
               insert into event (position, epoch, previous_access_position, previous_in_stream, id, stream, version, type, schema,
                                  effect, recorded_at, data, meta, hash)
               select f.*, event_hash(f.position, 1, f.previous, f.id, f.stream, f.version, 'bench.happened', f.schema,
                                      null, f.effect, f.recorded_at, f.data, null, null, f.meta)
               from (select p as position, 1 as epoch, (p - 1) - (p - 1) % 2 as previous,
                            case when p % 100 = 0 or p = 1 then 0 else p - 1 end as previous_in_stream,
                            gen_random_uuid() as id,
                            'bench-' || md5((p / 100)::text)::uuid as stream, p % 100 + 1 as version,
                            'bench.happened' as type, 1::smallint as schema,
                            case when p % 2 = 0 then 'widens' else 'none' end as effect,
                            1700000000000000 + p as recorded_at,
                            '{"filler":"' || repeat('x', 100) || '"}' as data,
                            '{"actor":"user:' || md5(p::text)::uuid || '","requestId":"' || gen_random_uuid() || '"}'
                                as meta
                     from generate_series(1, $1::bigint) p) f
               returning position
           )
           insert into log_batch (last_position, first_position, epoch, access_position, recorded_at, previous_hash, hash)
           select max(position), 1, 1, max(position) - max(position) % 2, 1700000000000000, '', sha256('') from filled"#,
    )
    .bind(i64::try_from(events)?)
    .execute(&mut conn)
    .await?;
    sqlx::raw_sql("vacuum analyze event").execute(&mut conn).await?;
    Ok(())
}

/// Rows a second of `COPY … TO STDOUT` of what a follower reads: about what the server can give.
pub(super) async fn copy_out(url: &str) -> anyhow::Result<f64> {
    let mut conn = PgConnection::connect(url).await?;
    let started = ambient::now();
    let mut rows = 0_usize;
    let mut copied = conn
        .copy_out_raw(
            "copy (select position, epoch, previous_access_position, id, stream, version, type, schema, company_id, \
             effect, recorded_at, data, meta from event) to stdout",
        )
        .await?;
    while let Some(chunk) = futures_util::TryStreamExt::try_next(&mut copied).await? {
        rows += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(rate(rows as u64, started.elapsed()))
}

/// Events a second of `Follow` from Postgres, from the first event to the end of the log.
pub(super) async fn follow(url: &str, events: u64) -> anyhow::Result<f64> {
    let pool = pool(url).await?;
    let started = ambient::now();
    let mut follow = Follow::new(pool, LOG, Cursor { epoch: 1, position: 0 });
    let mut seen = 0_u64;
    while seen < events {
        seen += follow.next().await?.len() as u64;
    }
    ensure!(seen == events && follow.at().position == events, "{seen} of {events} events were followed");
    Ok(rate(seen, started.elapsed()))
}

/// Messages a second of a relay that publishes a log of so many events into a JetStream that has none of them.
pub(super) async fn publish(ground: &Ground, events: u64) -> anyhow::Result<f64> {
    let jetstream = async_nats::jetstream::new(ground.admin_nats.clone());
    let name = relay::stream_name(LOG, 1);
    // The first round finds none.
    let _ = jetstream.delete_stream(&name).await;
    let running = Relay::start(ground).await?;
    let started = ambient::now();
    let published = async {
        loop {
            if let Ok(mut stream) = jetstream.get_stream(&name).await
                && stream.info().await.is_ok_and(|info| info.state.last_sequence >= events)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.context("the relay did not come to the end")?;
    let took = started.elapsed();
    running.stop().await?;
    Ok(rate(events, took))
}

/// Events a second of `FollowStream` from the stream that [`publish`] left.
pub(super) async fn follow_stream(ground: &Ground, events: u64) -> anyhow::Result<f64> {
    let started = ambient::now();
    let mut follow = FollowStream::new(ground.admin_nats.clone(), LOG, Cursor { epoch: 1, position: 0 });
    let mut seen = 0_u64;
    while seen < events {
        seen += follow.next().await?.len() as u64;
    }
    Ok(rate(seen, started.elapsed()))
}

/// From the answer of one append at a time to the event in a follower's hands, for each way of following.
pub(super) async fn latencies(ground: &Ground, appends: usize) -> anyhow::Result<Vec<Line>> {
    let sealer = Sealer::new("1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?;
    let log = EventLog::open(LOG, &ground.run_url, pool(&ground.run_url).await?, sealer).await?;
    let running = Relay::start(ground).await?;
    let mut lines = Vec::new();
    for name in ["commit → Follow of another process, Postgres", "commit → Follow, woken", "commit → Follow, bus"]
    {
        let head = log.head().await?;
        let at = Cursor { epoch: head.epoch, position: head.position };
        let follower = match lines.len() {
            0 => Follow::new(pool(&ground.reader_url).await?, LOG, at),
            1 => log.follow(at),
            _ => Follow::new(pool(&ground.reader_url).await?, LOG, at).with_bus(ground.admin_nats.clone()),
        };
        let mut took = latency(&log, follower, appends).await?;
        let mut line = line(name, None);
        line.p50_ms = Some(percentile(&mut took, 0.5));
        line.p99_ms = Some(percentile(&mut took, 0.99));
        lines.push(line);
    }
    running.stop().await?;
    Ok(lines)
}

/// Milliseconds from each append's answer until `follower` has handed it out; 0 where it was faster than the answer.
pub(super) async fn latency(log: &EventLog, follower: Follow, appends: usize) -> anyhow::Result<Vec<f64>> {
    let mut follower = follower;
    let (saw, mut seen) = watch::channel((0, ambient::now()));
    let following = tokio::spawn(async move {
        while let Ok(events) = follower.next().await {
            if let Some(last) = events.last() {
                saw.send_replace((last.position, ambient::now()));
            }
        }
    });
    let stream = StreamName::from_stored(format!("bench-{}", ambient::new_uuid()));
    let mut loaded: Loaded<Counted> = Loaded::new_stream(stream);
    let mut took = Vec::with_capacity(appends);
    for _ in 0..appends {
        tokio::time::sleep(PAUSE).await;
        let request = ambient::new_request();
        let meta = Meta::new(Actor::System, request);
        let mut append = Append::new(request, meta);
        let state = append.write(&loaded, vec![Happened::Happened { filler: filler() }])?;
        let receipt = log.append(append).await?;
        let answered = ambient::now();
        let arrived = seen.wait_for(|(position, _)| *position >= receipt.last);
        let (_, at) = *tokio::time::timeout(PATIENCE, arrived).await.context("an event was not seen")??;
        took.push(at.saturating_duration_since(answered).as_secs_f64() * 1000.0);
        loaded = Loaded { version: loaded.version + 1, position: receipt.last, state, ..loaded };
    }
    following.abort();
    Ok(took)
}

/// A relay of the core log inside this process.
struct Relay {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<(), relay::RelayHalted>>,
}

impl Relay {
    async fn start(ground: &Ground) -> anyhow::Result<Self> {
        let (stop, shutdown) = watch::channel(false);
        let pool = pool(&ground.reader_url).await?;
        let config = relay::RelayConfig { log: LOG, pool, nats: ground.relay_nats.clone(), replicas: 1 };
        Ok(Self { stop, task: tokio::spawn(relay::run(config, shutdown)) })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        Ok(self.task.await??)
    }
}

async fn pool(url: &str) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(4).connect(url).await?)
}

fn rate(count: u64, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = count as f64 / took.as_secs_f64();
    rate
}
