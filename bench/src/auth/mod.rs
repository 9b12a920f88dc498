//! `bench auth`: what Auth's own work costs: sign-ins beside the hashes and refreshes beside the signatures that they
//! contain, the key set beside a bare route, what a login flood does to other routes, whether time tells which addresses
//! are known, and what many sessions cost.

mod flood;
mod login;
mod refresh;
mod sessions;
mod signatures;

use crate::{
    load::{self, BARE},
    platform::Running,
    report::{self, Latency, Line, Units},
};
use login::People;
use std::{sync::Arc, time::Duration};

/// Connections of the load.
const CONNECTIONS: usize = 32;
const BARE_ROUTE: &str = "reference: bare axum JSON route";
const RAW_PS256: &str = "reference: PS256-2048 signatures, all cores";
const RAW_HASHES: &str = "reference: argon2id hashes, as many threads";
/// What the measured Auth is told besides: a session is refreshed as fast as it can be, tokens outlive the run, and this
/// machine says for whom it asks, as a flood comes from many networks.
const OF_AUTH: [(&str, &str); 3] =
    [("REFRESHES_PER_MINUTE_MAX", "1000000"), ("ACCESS_TOKEN_TTL", "3600"), ("TRUSTED_PROXIES", "127.0.0.1/32")];

/// Options of `bench auth`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these tables.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Table::Login, Table::Guessing, Table::Flood, Table::Keys, Table::Refresh, Table::Sessions])]
    only: Vec<Table>,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    /// Sign-ins beside raw hashes.
    Login,
    /// Wrong passwords of known and unknown addresses.
    Guessing,
    /// Other routes during a login flood.
    Flood,
    /// The key set.
    Keys,
    /// Refreshes beside raw signatures.
    Refresh,
    /// Memory and rates with many sessions.
    Sessions,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let running = Running::start_with(&OF_AUTH).await?;
    let measured = measure(&running, &options).await;
    running.stack.stop().await;
    measured
}

fn show(title: &str, rate: &'static str, lines: &[Line]) -> anyhow::Result<()> {
    report::print_in(Units { rate, latency: Latency::Millis }, &format!("bench auth: {title}"), lines)
}

/// Each table is shown as soon as it is measured: the whole takes minutes.
async fn measure(running: &Running, options: &Options) -> anyhow::Result<()> {
    let (rounds, span) = (options.rounds, Duration::from_secs(options.seconds));
    let wants = |table| options.only.contains(&table);
    let people = People::of(running)?;
    if wants(Table::Login) || wants(Table::Flood) {
        let lines = logins(&people, rounds, span).await?;
        let capacity = lines.last().map_or(0.0, Line::median);
        show("sign-ins, with nothing else running", "a second", &lines)?;
        if wants(Table::Flood) {
            let lines = flood::measure(running, &people, (capacity, rounds, span)).await?;
            show(&format!("a login flood of 20 × {capacity:.0} a second"), "max ms", &lines)?;
        }
    }
    if wants(Table::Guessing) {
        show("wrong passwords, one after the other", "%", &people.fail(rounds).await?)?;
    }
    if wants(Table::Keys) {
        let lines = key_set(running, rounds, span).await?;
        show(&format!("key set over {CONNECTIONS} connections"), "requests/s", &lines)?;
    }
    if wants(Table::Refresh) || wants(Table::Sessions) {
        let mut chains = refresh::Chains::start(running, CONNECTIONS).await?;
        let lines = refreshes(running, &mut chains, rounds, span).await?;
        show(&format!("refreshes over {CONNECTIONS} connections"), "a second", &lines)?;
    }
    if wants(Table::Sessions) {
        // Signed by EdDSA now, so that signatures are not what is measured.
        let (rates, memory) = sessions::measure(running, rounds, span).await?;
        show(&format!("many sessions, over {CONNECTIONS} connections"), "a second", &rates)?;
        show("memory of Auth", "MB", &memory)?;
    }
    Ok(())
}

/// Sign-ins, beside hashes alone on as many threads.
async fn logins(people: &People, rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let mut raw = Line::new(RAW_HASHES, None);
    let mut signed_in = Line::new("POST /auth/login", Some((RAW_HASHES, 0.90)));
    let mut took = Vec::new();
    for round in 0..rounds {
        raw.rates.push(login::hashes(span).await?);
        let (rate, mut one) = people.sign_in(span).await?;
        eprintln!(
            "round {} of {rounds}: {rate:.1} sign-ins, {:.1} hashes/s",
            round + 1,
            raw.rates.last().unwrap_or(&0.0)
        );
        signed_in.rates.push(rate);
        took.append(&mut one);
    }
    signed_in.set_latencies(&mut took);
    Ok(vec![raw, signed_in])
}

/// The platform begins with PS256; each kind of key beside the signatures alone.
async fn refreshes(
    running: &Running,
    chains: &mut refresh::Chains,
    rounds: usize,
    span: Duration,
) -> anyhow::Result<Vec<Line>> {
    let mut raw = Line::new(RAW_PS256, None);
    let mut ps256 = Line::new("POST /auth/refresh, PS256-2048", Some((RAW_PS256, 0.60)));
    let mut eddsa = Line::new("POST /auth/refresh, EdDSA (aim 6,000/s)", None);
    let mut took = Vec::new();
    for round in 0..rounds {
        let rate = signatures::ps256(span).await?;
        eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, raw.name);
        raw.rates.push(rate);
        took.append(&mut chains.go_on(&mut ps256, "PS256", span).await?);
    }
    ps256.set_latencies(&mut took);
    took.clear();
    refresh::rotate_to_eddsa(running, chains).await?;
    for _ in 0..rounds {
        took.append(&mut chains.go_on(&mut eddsa, "EdDSA", span).await?);
    }
    eddsa.set_latencies(&mut took);
    Ok(vec![raw, ps256, eddsa])
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
