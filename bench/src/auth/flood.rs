//! What a login flood does to everybody else: routes asked at a steady pace, while all is quiet and during the flood.

use super::{login::People, refresh};
use crate::{
    ambient,
    load::{self, BARE, Connection},
    platform::Running,
    report::{Line, percentile},
};
use anyhow::ensure;
use std::{net::SocketAddr, time::Duration};

/// How many times what Auth can take comes.
const TIMES: f64 = 20.0;
/// Connections of the flood: more than may wait, so that most are told to come back.
const CONNECTIONS: usize = 192;
/// How often each route is asked.
const PACE: Duration = Duration::from_millis(5);
/// How long the flood is let grow before anything is measured.
const RUN_UP: Duration = Duration::from_secs(1);

/// A route that is asked.
enum Probe {
    /// With the same request each time.
    Same(SocketAddr, Vec<u8>),
    /// With the refresh token that the last answer gave.
    Refresh(SocketAddr, String),
}

/// Rounds of quiet and flood in turn; `capacity` is how many sign-ins a second Auth takes.
pub(super) async fn measure(
    running: &Running,
    people: &People,
    (capacity, rounds, span): (f64, usize, Duration),
) -> anyhow::Result<Vec<Line>> {
    let auth = load::address(&running.platform.addresses().auth)?;
    let authorization = format!("Bearer {}", running.sign_in(refresh::PERSON).await?);
    let access = [("authorization", authorization.as_str()), ("x-org", "acme-live")];
    let mut probes = vec![
        ("bare axum JSON route", Probe::Same(load::serve(load::bare()).await?, load::request("GET", BARE, &[]))),
        ("GET /auth/me/access", Probe::Same(auth, load::request("GET", "/auth/me/access", &access))),
        ("POST /auth/refresh", Probe::Refresh(auth, refresh::sign_in(running).await?)),
        ("GET /.well-known/jwks.json", Probe::Same(auth, load::request("GET", "/.well-known/jwks.json", &[]))),
    ];
    let mut quiet: Vec<(String, Vec<f64>)> = Vec::new();
    let mut flooded = Vec::new();
    for (name, _) in &probes {
        quiet.push((format!("{name}, quiet"), Vec::new()));
        flooded.push((format!("{name}, flood (aim p99 25)"), Vec::new()));
    }
    let mut refused = Line::new("503 of the flood (aim p99 50)", None);
    let mut refusals = Vec::new();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}: quiet, then {TIMES:.0} × {capacity:.0} sign-ins a second", round + 1);
        paced(&mut probes, &mut quiet, span).await?;
        let load = people.flood(capacity * TIMES, CONNECTIONS, RUN_UP + span);
        let asking = async {
            tokio::time::sleep(RUN_UP).await;
            paced(&mut probes, &mut flooded, span).await
        };
        let (mut flood, ()) = tokio::try_join!(load, asking)?;
        refused.rates.push(flood.refused_a_second);
        refusals.append(&mut flood.took);
    }
    let mut lines = Vec::new();
    for (name, mut took) in quiet.into_iter().chain(flooded) {
        let mut line = Line::new(name, None);
        line.rates.push(percentile(&mut took, 1.0));
        line.set_latencies(&mut took);
        lines.push(line);
    }
    refused.set_latencies(&mut refusals);
    lines.push(refused);
    Ok(lines)
}

/// Asks all routes side by side, each at its pace.
async fn paced(
    probes: &mut Vec<(&'static str, Probe)>,
    took: &mut [(String, Vec<f64>)],
    span: Duration,
) -> anyhow::Result<()> {
    let asking: Vec<_> = probes.drain(..).map(|(name, probe)| (name, tokio::spawn(probe.ask(span)))).collect();
    for ((name, one), (_, all)) in asking.into_iter().zip(took) {
        let (probe, mut some) = one.await??;
        all.append(&mut some);
        probes.push((name, probe));
    }
    Ok(())
}

impl Probe {
    async fn ask(mut self, span: Duration) -> anyhow::Result<(Self, Vec<f64>)> {
        let (Self::Same(address, _) | Self::Refresh(address, _)) = self;
        let mut connection = Connection::open(address).await?;
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (started, mut took) = (ambient::now(), Vec::new());
        while started.elapsed() < span {
            pace.tick().await;
            let asked = ambient::now();
            match &mut self {
                Self::Same(_, request) => {
                    let status = connection.ask(request).await?;
                    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(connection.body()));
                }
                Self::Refresh(_, token) => *token = refresh::refresh(&mut connection, token).await?.refresh_token,
            }
            took.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        Ok((self, took))
    }
}
