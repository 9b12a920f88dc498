//! `bench log`: the append as services use it, beside the two references of `measurements.md` on the same server; then
//! following, the relay, and how soon a follower sees a commit.

mod append;
mod read;
mod reference;
mod subject;

pub(crate) use append::{Writers, write};

use crate::{
    ambient,
    report::{self, Line, percentile},
};
use kisum::local::{Stack, StackOptions, databases::Database};
use kisum_events::Log;
use kisum_log::{EventLog, Sealer};
use reference::{BULK, SINGLE};
use sqlx::postgres::PgPoolOptions;
use std::time::Duration;

/// Options of `bench log`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only lines whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What a line measures.
#[derive(Clone, Copy)]
enum Subject {
    /// One event, one commit, over 64 connections.
    Single,
    /// 500 events a commit on one connection, on so many streams.
    Bulk { streams: usize },
    /// So many writers in this process.
    Append { writers: usize },
    /// 1024 writers in so many processes.
    Processes { count: usize },
}

/// Writers that several processes share.
const WRITERS_MAX: usize = 1024;

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // Durable, unlike the servers of tests: what a commit costs is what is measured.
    let folder = std::env::temp_dir().join(format!("kisum-bench-{}", ambient::new_uuid().simple()));
    let servers = StackOptions { durable: true, ..StackOptions::temporary(folder, "kisum".into()) }.with_services(&[]);
    let stack = Stack::start(servers).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let url = |role: &'static str| {
        stack.addresses_with(|at| at.database(Database::Auth, role)).map_err(|failure| anyhow::anyhow!("{failure}"))
    };
    let (runtime, owner) = (url(Database::Auth.runtime_role())?, url(Database::Auth.owner())?);
    let measured = async {
        let mut lines = measure(&options, &runtime, &owner).await?;
        lines.extend(read::measure(&stack, options.rounds, &options.only).await?);
        anyhow::Ok(lines)
    };
    let measured = measured.await;
    stack.stop().await;
    report::print("bench log", &measured?)
}

/// The lines, and what each is compared with.
fn lines() -> Vec<(Subject, Line)> {
    let line = |name: String, against: Option<(String, f64)>| Line {
        name,
        rates: Vec::new(),
        p50_ms: None,
        p99_ms: None,
        against,
    };
    let mut lines = vec![
        (Subject::Single, line(SINGLE.to_owned(), None)),
        (Subject::Bulk { streams: 1 }, line("reference: 500-row INSERT, one stream".to_owned(), None)),
        (Subject::Bulk { streams: WRITERS_MAX }, line(BULK.to_owned(), None)),
    ];
    for (writers, against) in [(1, None), (64, Some((SINGLE, 1.0))), (WRITERS_MAX, Some((BULK, 0.4)))] {
        let against = against.map(|(name, aim): (&str, f64)| (name.to_owned(), aim));
        lines.push((Subject::Append { writers }, line(format!("append, {writers} writers"), against)));
    }
    let name = |count: usize| format!("append, {WRITERS_MAX} writers in processes: {count}");
    for count in [1, 2, 4] {
        let against = (count > 1).then(|| (name(1), 0.6));
        lines.push((Subject::Processes { count }, line(name(count), against)));
    }
    lines
}

/// `url` is the run-time role's, for appends; `owner_url` the owner's, who may have tables of its own.
async fn measure(options: &Options, url: &str, owner_url: &str) -> anyhow::Result<Vec<Line>> {
    let log = open(url).await?;
    reference::prepare(owner_url).await?;
    let (subjects, mut lines): (Vec<_>, Vec<_>) =
        lines().into_iter().filter(|(_, line)| line.name.contains(&options.only)).unzip();
    let mut latencies = vec![Vec::new(); lines.len()];
    // Rounds are interleaved, so that a machine that drifts drifts under all lines alike.
    for round in 0..options.rounds {
        for ((subject, line), all) in subjects.iter().zip(&mut lines).zip(&mut latencies) {
            let seconds = Duration::from_secs(options.seconds);
            let (rate, mut took) = match *subject {
                Subject::Single => reference::single(owner_url, seconds).await?,
                Subject::Bulk { streams } => reference::bulk(owner_url, streams, seconds).await?,
                Subject::Append { writers } => append::in_this_process(&log, writers, seconds).await?,
                Subject::Processes { count } => append::in_processes(url, count, WRITERS_MAX / count, seconds).await?,
            };
            eprintln!("round {} of {}: {} {rate:.0}/s", round + 1, options.rounds, line.name);
            line.rates.push(rate);
            all.append(&mut took);
        }
    }
    for (line, took) in lines.iter_mut().zip(&mut latencies) {
        line.p50_ms = Some(percentile(took, 0.5));
        line.p99_ms = Some(percentile(took, 0.99));
    }
    Ok(lines)
}

/// The log as a service opens it.
async fn open(url: &str) -> anyhow::Result<EventLog> {
    let pool = PgPoolOptions::new().max_connections(4).connect(url).await?;
    let sealer = Sealer::new("1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?;
    Ok(EventLog::open(Log::Auth, url, pool, sealer).await?)
}
