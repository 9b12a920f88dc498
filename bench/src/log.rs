//! `bench log`: the append as services use it, beside the two references of `measurements.md` on the same server.

use crate::{
    ambient,
    log_subject::{Counted, Happened, filler},
    report::{self, Line, percentile},
};
use kisum::local::{Stack, StackOptions, databases::Database};
use kisum_events::{Actor, Log, Meta, StreamName};
use kisum_log::{Append, EventLog, Loaded, Sealer};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// Options of `bench log`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const SINGLE: &str = "reference: INSERT + commit, 64 connections";
const BULK: &str = "reference: 500-row INSERT, 1 connection";

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // Durable, unlike the servers of tests: what a commit costs is what is measured.
    let folder = std::env::temp_dir().join(format!("kisum-bench-{}", ambient::new_uuid().simple()));
    let servers = StackOptions { durable: true, ..StackOptions::temporary(folder, "kisum".into()) }.with_services(&[]);
    let stack = Stack::start(servers).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let url = |role: &'static str| {
        stack.addresses_with(|at| at.database(Database::Auth, role)).map_err(|failure| anyhow::anyhow!("{failure}"))
    };
    let measured = measure(&options, &url(Database::Auth.runtime_role())?, &url(Database::Auth.owner())?).await;
    stack.stop().await;
    measured
}

/// `url` is the run-time role's, for appends; `plain_url` the owner's, who may have a table of its own.
async fn measure(options: &Options, url: &str, plain_url: &str) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(4).connect(url).await?;
    let sealer = Sealer::new("1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?;
    let log = EventLog::open(Log::Auth, url, pool, sealer).await?;
    let mut owner = PgConnection::connect(plain_url).await?;
    sqlx::raw_sql(
        "create table bench_plain (position bigint generated always as identity primary key,
         id uuid not null, stream text not null, version bigint not null, type text not null, data text not null,
         unique (stream, version))",
    )
    .execute(&mut owner)
    .await?;
    let mut lines = [line(SINGLE, None), line(BULK, None)].to_vec();
    for (writers, aim) in [(1, None), (64, Some((SINGLE, 1.0))), (1024, Some((BULK, 0.4)))] {
        lines.push(line(&format!("append, {writers} writers"), aim));
    }
    let mut latencies = vec![Vec::new(); lines.len()];
    // Rounds are interleaved, so that a machine that drifts drifts under all lines alike.
    for round in 0..options.rounds {
        for (index, line) in lines.iter_mut().enumerate() {
            let seconds = Duration::from_secs(options.seconds);
            let (rate, mut took) = match index {
                0 => plain(plain_url, seconds).await?,
                1 => bulk(plain_url, seconds).await?,
                2 => appends(&log, 1, seconds).await?,
                3 => appends(&log, 64, seconds).await?,
                _ => appends(&log, 1024, seconds).await?,
            };
            eprintln!("round {} of {}: {} {rate:.0}/s", round + 1, options.rounds, line.name);
            line.rates.push(rate);
            if let Some(all) = latencies.get_mut(index) {
                all.append(&mut took);
            }
        }
    }
    for (line, took) in lines.iter_mut().zip(&mut latencies) {
        line.p50_ms = Some(percentile(took, 0.5));
        line.p99_ms = Some(percentile(took, 0.99));
    }
    report::print("bench log", &lines)
}

fn line(name: &str, against: Option<(&str, f64)>) -> Line {
    let against = against.map(|(name, aim)| (name.to_owned(), aim));
    Line { name: name.to_owned(), rates: Vec::new(), p50_ms: None, p99_ms: None, against }
}

/// Runs `count` workers until the time is over; each returns events written and its latencies in ms.
async fn workers<F>(count: usize, work: impl Fn(usize) -> F) -> anyhow::Result<(f64, Vec<f64>)>
where
    F: Future<Output = anyhow::Result<(u64, Vec<f64>)>> + Send + 'static,
{
    let started = ambient::now();
    let tasks: Vec<_> = (0..count).map(|index| tokio::spawn(work(index))).collect();
    let mut events = 0;
    let mut latencies = Vec::new();
    for task in tasks {
        let (written, mut took) = task.await??;
        events += written;
        latencies.append(&mut took);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = events as f64 / started.elapsed().as_secs_f64();
    Ok((rate, latencies))
}

async fn appends(log: &EventLog, writers: usize, seconds: Duration) -> anyhow::Result<(f64, Vec<f64>)> {
    workers(writers, |_| {
        let log = log.clone();
        async move {
            let meta = Meta {
                actor: Actor::System,
                request_id: ambient::new_request(),
                causation_id: None,
                correlation_id: None,
            };
            let stream = StreamName::from_stored(format!("bench-{}", ambient::new_uuid()));
            let mut loaded: Loaded<Counted> = Loaded::new_stream(stream);
            let (mut events, mut took) = (0, Vec::new());
            let started = ambient::now();
            while started.elapsed() < seconds {
                let request = ambient::new_request();
                let mut append = Append::new(request, Meta { request_id: request, ..meta.clone() });
                let state = append.write(&loaded, vec![Happened::Happened { filler: filler() }])?;
                let asked = ambient::now();
                let receipt = log.append(append).await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
                events += 1;
                loaded = Loaded { version: loaded.version + 1, position: receipt.last, state, ..loaded };
            }
            Ok((events, took))
        }
    })
    .await
}

/// One event, one commit, over 64 connections: what a table without a log's promises gives.
async fn plain(url: &str, seconds: Duration) -> anyhow::Result<(f64, Vec<f64>)> {
    let pool = Arc::new(PgPoolOptions::new().min_connections(64).max_connections(64).connect(url).await?);
    workers(64, |_| {
        let pool: Arc<PgPool> = pool.clone();
        async move {
            let mut conn = pool.acquire().await?;
            let stream = ambient::new_uuid().to_string();
            let (mut events, mut took) = (0_i64, Vec::new());
            let started = ambient::now();
            while started.elapsed() < seconds {
                let asked = ambient::now();
                events += 1;
                sqlx::query("insert into bench_plain (id, stream, version, type, data) values ($1, $2, $3, $4, $5)")
                    .bind(ambient::new_uuid())
                    .bind(&stream)
                    .bind(events)
                    .bind("bench.happened")
                    .bind(filler() + &filler())
                    .execute(&mut *conn)
                    .await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            Ok((events.unsigned_abs(), took))
        }
    })
    .await
}

/// 500 events a commit on one connection: about what the server can take in.
async fn bulk(url: &str, seconds: Duration) -> anyhow::Result<(f64, Vec<f64>)> {
    let conn = Arc::new(Mutex::new(PgConnection::connect(url).await?));
    workers(1, |_| {
        let conn = conn.clone();
        async move {
            let mut conn = conn.lock().await;
            let (mut events, mut took) = (0, Vec::new());
            let started = ambient::now();
            while started.elapsed() < seconds {
                // The rows are sent, as a service would: what the server invents itself costs no way.
                let stream = ambient::new_uuid().to_string();
                let ids: Vec<_> = (0..500).map(|_| ambient::new_uuid()).collect();
                let versions: Vec<i64> = (1..=500).collect();
                let (streams, types) = (vec![stream; 500], vec!["bench.happened"; 500]);
                let bodies = vec![filler() + &filler(); 500];
                let asked = ambient::now();
                sqlx::query(
                    "insert into bench_plain (id, stream, version, type, data)
                     select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])",
                )
                .bind(&ids)
                .bind(&streams)
                .bind(&versions)
                .bind(&types)
                .bind(&bodies)
                .execute(&mut *conn)
                .await?;
                took.push(asked.elapsed().as_secs_f64() * 1000.0);
                events += 500;
            }
            Ok((events, took))
        }
    })
    .await
}
