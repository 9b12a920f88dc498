//! `bench auth`: what Auth's own work costs: refreshes beside the signatures that they contain, and the key set beside a
//! bare route.

mod refresh;
mod signatures;

use crate::{
    load::{self, BARE},
    platform::Running,
    report::{self, Latency, Line, Units},
};
use std::{sync::Arc, time::Duration};

/// Connections of the load.
const CONNECTIONS: usize = 32;
const BARE_ROUTE: &str = "reference: bare axum JSON route";
const RAW_PS256: &str = "reference: PS256-2048 signatures, all cores";

/// Options of `bench auth`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let running = Running::start().await?;
    let measured = measure(&running, &options).await;
    running.stack.stop().await;
    let (refreshes, key_set) = measured?;
    let units = |rate| Units { rate, latency: Latency::Millis };
    report::print_in(units("a second"), &format!("bench auth: refreshes over {CONNECTIONS} connections"), &refreshes)?;
    report::print_in(units("requests/s"), &format!("bench auth: key set over {CONNECTIONS} connections"), &key_set)
}

async fn measure(running: &Running, options: &Options) -> anyhow::Result<(Vec<Line>, Vec<Line>)> {
    let span = Duration::from_secs(options.seconds);
    let key_set = key_set(running, options.rounds, span).await?;
    // The platform begins with PS256; what it is compared with runs in the same rounds.
    let mut raw = Line::new(RAW_PS256, None);
    let mut ps256 = Line::new("POST /auth/refresh, PS256-2048", Some((RAW_PS256, 0.60)));
    let mut eddsa = Line::new("POST /auth/refresh, EdDSA (aim 6,000/s)", None);
    let mut took = Vec::new();
    let mut chains = refresh::Chains::start(running, CONNECTIONS).await?;
    for round in 0..options.rounds {
        let rate = signatures::ps256(span).await?;
        eprintln!("round {} of {}: {} {rate:.0}/s", round + 1, options.rounds, raw.name);
        raw.rates.push(rate);
        took.append(&mut chains.go_on(&mut ps256, "PS256", span).await?);
    }
    ps256.set_latencies(&mut took);
    took.clear();
    refresh::rotate_to_eddsa(running, &mut chains).await?;
    for _ in 0..options.rounds {
        took.append(&mut chains.go_on(&mut eddsa, "EdDSA", span).await?);
    }
    eddsa.set_latencies(&mut took);
    Ok((vec![raw, ps256, eddsa], key_set))
}

/// The key set, beside a route that does nothing.
async fn key_set(running: &Running, rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let auth = load::address(&running.platform.addresses().auth)?;
    let mut subjects = [
        (Line::new(BARE_ROUTE, None), load::serve(load::bare()).await?, BARE),
        (Line::new("GET /.well-known/jwks.json", Some((BARE_ROUTE, 0.80))), auth, "/.well-known/jwks.json"),
    ]
    .map(|(line, address, path)| (line, address, Arc::from([load::request("GET", path, &[])]), Vec::new()));
    for round in 0..rounds {
        for (line, address, requests, took) in &mut subjects {
            let (rate, mut one) = load::run(*address, requests, CONNECTIONS, span).await?;
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
            took.append(&mut one);
        }
    }
    let lines = subjects.into_iter().map(|(mut line, _, _, mut took)| {
        line.set_latencies(&mut took);
        line
    });
    Ok(lines.collect())
}
