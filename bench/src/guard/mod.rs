//! `bench guard`: the guard's decision beside that of other engines and of a plain map; a guarded request beside a bare
//! one; and how soon after its commit a revocation is refused.

mod check;
mod request;
mod revocation;
#[cfg(feature = "rivals")]
mod rivals;

use crate::{
    platform::Running,
    report::{self, Latency, Line, Units},
};
use std::time::Duration;

/// Options of `bench guard`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Revocations of which it is measured how soon they are honoured.
    #[arg(long, default_value_t = 1000)]
    revocations: usize,
    /// Only this part: `check`, `request` or `revocation`.
    #[arg(long, default_value = "")]
    only: String,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let span = Duration::from_secs(options.seconds);
    let is_wanted = |part: &str| part.contains(&options.only);
    let mut tables = Vec::new();
    if is_wanted("check") {
        let title = format!("bench guard: one check in this process, {}", check::QUESTION);
        let units = Units { rate: "checks/s", latency: Latency::Nanos };
        tables.push((title, units, check::measure(options.rounds, span)?));
    }
    if is_wanted("request") || is_wanted("revocation") {
        let running = Running::start().await?;
        let measured = on_platform(&running, &options, span).await;
        running.stack.stop().await;
        tables.extend(measured?);
    }
    for (title, units, lines) in tables {
        report::print_in(units, &title, &lines)?;
    }
    Ok(())
}

async fn on_platform(
    running: &Running,
    options: &Options,
    span: Duration,
) -> anyhow::Result<Vec<(String, Units, Vec<Line>)>> {
    let mut tables = Vec::new();
    let units = Units { rate: "requests/s", latency: Latency::Millis };
    if "request".contains(&options.only) {
        let title = format!("bench guard: requests over {} connections, from this process", request::CONNECTIONS);
        tables.push((title, units, request::measure(running, options.rounds, span).await?));
    }
    if "revocation".contains(&options.only) {
        let title = format!("bench guard: {} revocations of a permission (aim p99 50 ms)", options.revocations);
        tables.push((title, units, revocation::measure(running, options.revocations).await?));
    }
    Ok(tables)
}
