//! A process that appends as a service would, so that suites can kill or freeze one: every acknowledged append is one
//! line on standard output. What it appends is `kisum_tests::writer`'s to say.

use anyhow::{Result, anyhow};
use clap::Parser;
use kisum_events::Log;
use kisum_log::{EventLog, Sealer};
use kisum_tests::{
    servers,
    writer::{self, Acknowledged, Task, URL_VARIABLE},
};
use sqlx::postgres::PgPoolOptions;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    task: Task,
    /// The log's database, as the run-time role.
    #[arg(long, env = URL_VARIABLE, hide_env_values = true)]
    url: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Cli { task, url } = Cli::parse();
    kisum_log::fail_points::arm();
    let pool = PgPoolOptions::new().max_connections(8).connect(&url).await?;
    let log = EventLog::open(Log::Auth, &url, pool, Sealer::new(servers::DATA_KEYS)?).await?;
    let numbers: Arc<[u64]> = task.retry.iter().copied().chain(task.new_requests()).collect();
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..task.writers)
        .map(|_| tokio::spawn(write(log.clone(), task.clone(), numbers.clone(), next.clone())))
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

async fn write(log: EventLog, task: Task, numbers: Arc<[u64]>, next: Arc<AtomicU64>) -> Result<()> {
    loop {
        let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
        let Some(&number) = numbers.get(index) else { return Ok(()) };
        let receipt = writer::make(&log, &task, number).await.map_err(|error| anyhow!("request {number}: {error}"))?;
        // A line is one write, so that a killed process leaves whole lines.
        println!("{}", Acknowledged::new(number, receipt).line(task.seed));
    }
}
