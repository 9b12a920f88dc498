//! Memory and rates with many sessions: what Auth keeps of each, and whether one among many costs more.

use super::refresh;
use crate::{
    ambient,
    load::{self, BARE, Connection},
    platform::{Running, resident_mb, told},
    report::Line,
    workers::{Measured, workers},
};
use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum::{
    local::{Part, stack::binary_beside_this},
    platform::{Ask, Callee},
};
use kisum_events::{Log, UserId};
use kisum_log::{EventLog, Sealer};
use sqlx::postgres::PgPoolOptions;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::process::Command;

/// Whose sessions they are: as many people as companies have members together.
const COMPANIES: usize = 20;
const MEMBERS: usize = 50;
/// Sessions of each at the end; a person may have no more.
const EACH: usize = 100;
const CONNECTIONS: usize = 32;
/// People whose sessions are started side by side.
const AT_ONCE: usize = 8;
const REFERENCE: &str = "reference: bare axum JSON route";
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A session as its client holds it.
#[derive(Default)]
struct Held {
    company: String,
    refresh: String,
    access: String,
}

/// Each session behind a lock of its own: a connection takes one after the other, and no two the same at once.
type Sessions = Arc<[Mutex<Held>]>;

/// The same with a thousand sessions and with a hundred thousand, each beside a bare route.
pub(super) async fn measure(
    running: &Running,
    rounds: usize,
    span: Duration,
) -> anyhow::Result<(Vec<Line>, Vec<Line>)> {
    let people = people(running).await?;
    let bare = load::serve(load::bare()).await?;
    let (mut rates, mut memory) = (Vec::new(), Vec::new());
    let mut held = Vec::new();
    for (each, what) in [(1, "1 k"), (EACH - 1, "100 k")] {
        start_sessions(running, &people, each, &mut held).await?;
        let sessions: Sessions = held.drain(..).map(Mutex::new).collect();
        let auth = load::address(&running.platform.addresses().auth)?;
        // Everybody comes by once: what is kept of a session is kept then.
        once(auth, &sessions).await?;
        let mut lines = [
            Line::new(format!("{REFERENCE}, {what}"), None),
            Line::new(format!("POST /auth/refresh, {what} sessions, EdDSA"), None),
            Line::new(format!("GET /auth/me/access, {what} sessions"), None),
        ];
        let mut took = [Vec::new(), Vec::new(), Vec::new()];
        let nothing: Arc<[Vec<u8>]> = Arc::from([load::request("GET", BARE, &[])]);
        for round in 0..rounds {
            for (kind, (line, took)) in lines.iter_mut().zip(&mut took).enumerate() {
                let (rate, mut one) = match kind {
                    0 => load::run(bare, &nothing, CONNECTIONS, span).await?,
                    1 => each_in_turn(auth, &sessions, Way::Refresh, Until::Over(span)).await?,
                    _ => each_in_turn(auth, &sessions, Way::Access, Until::Over(span)).await?,
                };
                eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
                line.rates.push(rate);
                took.append(&mut one);
            }
        }
        for (mut line, mut took) in lines.into_iter().zip(took) {
            line.set_latencies(&mut took);
            rates.push(line);
        }
        let mut line = Line::new(format!("Auth with {what} sessions"), None);
        line.rates.push(resident_mb(&running.stack, Part::Auth)?);
        memory.push(line);
        held = sessions
            .iter()
            .map(|one| std::mem::take(&mut *one.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
    }
    Ok((rates, memory))
}

/// Makes the companies and their members as `kisum seed` does; returns id and company of each.
async fn people(running: &Running) -> anyhow::Result<Vec<(UserId, String)>> {
    let (companies, members) = (COMPANIES.to_string(), MEMBERS.to_string());
    let output = Command::new(binary_beside_this().map_err(told)?)
        .args(["seed", "--companies", &companies, "--members", &members, "--with-passwords", "0", "--json"])
        .env_clear()
        .envs(running.stack.variables().map_err(told)?)
        .output()
        .await?;
    ensure!(output.status.success(), "seeding: {}", String::from_utf8_lossy(&output.stderr));
    let mut people = Vec::new();
    for company in 1..=COMPANIES {
        for member in 1..=MEMBERS {
            let company = format!("seed-{company:04}");
            let path = format!("/internal/v1/users/by-email?email=s{member:06}@{company}.example");
            let id = running.platform.internal(Callee::Auth, Ask::get(&path)).await?.text("/userId")?;
            people.push((id.parse()?, company));
        }
    }
    Ok(people)
}

/// Adds so many sessions to each person, and waits until Auth lists them all.
async fn start_sessions(
    running: &Running,
    people: &[(UserId, String)],
    each: usize,
    held: &mut Vec<Held>,
) -> anyhow::Result<()> {
    let mut variables = running.stack.environment(Part::Auth).map_err(told)?;
    let mut take = |name: &str| variables.remove(name).with_context(|| format!("Auth is told no {name}"));
    let (url, key, keys) = (take("AUTH_DB_URL")?, take("REFRESH_TOKEN_KEY")?, take("DATA_ENCRYPTION_KEYS")?);
    let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
    let log = EventLog::open(Log::Auth, &url, pool.clone(), Sealer::new(&keys)?).await?;
    let key: Arc<[u8]> = STANDARD.decode(key)?.into();
    for some in people.chunks(AT_ONCE) {
        let starting = some.iter().map(|(person, company)| {
            let (log, key, person, company) = (log.clone(), Arc::clone(&key), *person, company.clone());
            tokio::spawn(async move {
                let tokens = kisum_api::auth::bench::start_sessions(&log, &key, person, each).await?;
                let held =
                    tokens.into_iter().map(|refresh| Held { company: company.clone(), refresh, access: String::new() });
                anyhow::Ok(held.collect::<Vec<_>>())
            })
        });
        for one in starting.collect::<Vec<_>>() {
            held.append(&mut one.await??);
        }
    }
    let head = log.head().await?.position;
    let started = ambient::now();
    loop {
        let reached: i64 =
            sqlx::query_scalar("select position from projection_checkpoint where name = 'session_list_v1'")
                .fetch_one(&pool)
                .await?;
        if u64::try_from(reached).is_ok_and(|reached| reached >= head) {
            eprintln!("{} sessions are there", held.len());
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "the list of sessions does not follow");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is asked for a session.
#[derive(Clone, Copy)]
enum Way {
    Refresh,
    Access,
}

/// When to stop.
#[derive(Clone, Copy)]
enum Until {
    /// When every session has had its turn.
    Once,
    /// When the time is over.
    Over(Duration),
}

async fn once(auth: SocketAddr, sessions: &Sessions) -> anyhow::Result<()> {
    for way in [Way::Refresh, Way::Access] {
        each_in_turn(auth, sessions, way, Until::Once).await?;
    }
    Ok(())
}

/// Every connection has a share of the sessions, which it goes through again and again.
async fn each_in_turn(auth: SocketAddr, sessions: &Sessions, way: Way, until: Until) -> anyhow::Result<Measured> {
    workers(CONNECTIONS, |index| {
        let sessions = Arc::clone(sessions);
        async move {
            let mut connection = Connection::open(auth).await?;
            let (mut done, mut took) = (0, Vec::new());
            let started = ambient::now();
            loop {
                for one in sessions.iter().skip(index).step_by(CONNECTIONS) {
                    if let Until::Over(span) = until
                        && started.elapsed() >= span
                    {
                        return Ok((done, took));
                    }
                    let mut held = std::mem::take(&mut *one.lock().unwrap_or_else(PoisonError::into_inner));
                    let asked = ambient::now();
                    held.ask(&mut connection, way).await?;
                    took.push(asked.elapsed().as_secs_f64() * 1000.0);
                    done += 1;
                    *one.lock().unwrap_or_else(PoisonError::into_inner) = held;
                }
                if matches!(until, Until::Once) {
                    return Ok((done, took));
                }
            }
        }
    })
    .await
}

impl Held {
    async fn ask(&mut self, connection: &mut Connection, way: Way) -> anyhow::Result<()> {
        match way {
            Way::Refresh => {
                let answer = refresh::refresh(connection, &self.refresh).await?;
                (self.refresh, self.access) = (answer.refresh_token, answer.access_token);
            }
            Way::Access => {
                let authorization = format!("Bearer {}", self.access);
                let headers = [("authorization", authorization.as_str()), ("x-org", self.company.as_str())];
                let status = connection.ask(&load::request("GET", "/auth/me/access", &headers)).await?;
                ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(connection.body()));
            }
        }
        Ok(())
    }
}
