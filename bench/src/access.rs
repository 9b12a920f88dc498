//! `bench access`: what `/auth/me/access` costs from memory, from Redis and from the states, beside a bare route; then
//! commands over HTTP, how far a projection is behind them, and the memory of each service.

use crate::{
    ambient,
    load::{self, BARE, Connection},
    platform::{Running, resident_mb, told},
    report::{self, Latency, Line, Units},
    workers::{Measured, workers},
};
use anyhow::{Context as _, ensure};
use kisum::{
    local::{Part, databases::Database, stack::binary_beside_this},
    platform::{Ask, Callee},
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use std::{
    net::{SocketAddr, TcpListener},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::process::{Child, Command};

/// Connections of the load, for reads and for commands.
const READERS: usize = 32;
const COMMANDERS: usize = 64;
const COMPANY: &str = "acme-live";
const SUPERADMIN: &str = "superadmin@acme-live.example";
/// Those who ask, in turn.
const PEOPLE: [&str; 4] =
    [SUPERADMIN, "admin@acme-live.example", "manager@acme-live.example", "user@acme-live.example"];
const REFERENCE: &str = "reference: bare axum JSON route";
/// The projection whose lag is measured: one of Auth's own log.
const PROJECTION: &str = "member_list_v1";
/// How long a process may take to answer, and a projection to follow.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Options of `bench access`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// An Auth that answers from one level only, and what is aimed at.
pub(crate) struct Variant {
    name: &'static str,
    /// Part of the reference's rate.
    aim: f64,
    /// What its environment has other than the platform's Auth.
    changed: &'static [(&'static str, &'static str)],
}

/// Nobody listens at Redis's address of the last: the breaker stays open, as when Redis is gone.
pub(crate) const VARIANTS: [Variant; 3] = [
    Variant { name: "/auth/me/access, warm", aim: 0.40, changed: &[] },
    Variant { name: "/auth/me/access, memory off", aim: 0.15, changed: &[("ACCESS_CONTEXTS_MAX", "0")] },
    Variant {
        name: "/auth/me/access, memory and Redis off",
        aim: 0.06,
        changed: &[("ACCESS_CONTEXTS_MAX", "0"), ("REDIS_URL", "redis://127.0.0.1:1/")],
    },
];

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let running = Running::start().await?;
    let measured = measure(&running, &options).await;
    running.stack.stop().await;
    for (title, units, lines) in measured? {
        report::print_in(units, &title, &lines)?;
    }
    Ok(())
}

async fn measure(running: &Running, options: &Options) -> anyhow::Result<Vec<(String, Units, Vec<Line>)>> {
    let units = |rate| Units { rate, latency: Latency::Millis };
    let span = Duration::from_secs(options.seconds);
    let reads = reads(running, options.rounds, span).await?;
    let commands = commands(running, options.rounds, span).await?;
    let memory = memory(running)?;
    Ok(vec![
        (format!("bench access: reads over {READERS} connections"), units("requests/s"), reads),
        (
            format!("bench access: permissions granted and revoked by {COMMANDERS} clients"),
            units("commands/s"),
            commands,
        ),
        ("bench access: memory of each service after that".to_owned(), units("MB"), memory),
    ])
}

async fn reads(running: &Running, rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let mut requests = Vec::new();
    for person in PEOPLE {
        let authorization = format!("Bearer {}", running.sign_in(person).await?);
        let headers = [("authorization", authorization.as_str()), ("x-org", COMPANY)];
        requests.push(load::request("GET", "/auth/me/access", &headers));
    }
    let requests: Arc<[Vec<u8>]> = requests.into();
    let mut subjects = vec![(Line::new(REFERENCE, None), load::serve(load::bare()).await?, Vec::new())];
    let mut others = Vec::new();
    for variant in VARIANTS {
        let line = Line::new(variant.name, Some((REFERENCE, variant.aim)));
        let address = if variant.changed.is_empty() {
            load::address(&running.platform.addresses().auth)?
        } else {
            let (process, address) = another_auth(running, &variant, requests.first().context("a request")?).await?;
            others.push(process);
            address
        };
        subjects.push((line, address, Vec::new()));
    }
    let bare: Arc<[Vec<u8>]> = Arc::from([load::request("GET", BARE, &[])]);
    for round in 0..rounds {
        for (line, address, took) in &mut subjects {
            let requests = if line.against.is_none() { &bare } else { &requests };
            let (rate, mut one) = load::run(*address, requests, READERS, span).await?;
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
            took.append(&mut one);
        }
    }
    let lines = subjects.into_iter().map(|(mut line, _, mut took)| {
        line.set_latencies(&mut took);
        line
    });
    Ok(lines.collect())
}

/// Starts an Auth beside the platform's, on the same database, and waits until it answers.
pub(crate) async fn another_auth(
    running: &Running,
    variant: &Variant,
    request: &[u8],
) -> anyhow::Result<(Child, SocketAddr)> {
    let mut variables = running.stack.environment(Part::Auth).map_err(told)?;
    let (public, internal) = (free_address()?, free_address()?);
    variables.insert("LISTEN_ADDR".to_owned(), public.to_string());
    variables.insert("OPS_LISTEN_ADDR".to_owned(), internal.to_string());
    variables.extend(variant.changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let process = Command::new(binary_beside_this().map_err(told)?)
        .args(["serve", "auth"])
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let answers = async {
        loop {
            if let Ok(mut connection) = Connection::open(public).await
                && matches!(connection.ask(request).await, Ok(200))
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, answers).await.with_context(|| format!("no answer: {}", variant.name))?;
    Ok((process, public))
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Every client grants and revokes one permission of a member of its own.
async fn commands(running: &Running, rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let platform = &running.platform;
    let token = running.sign_in(SUPERADMIN).await?;
    let ask = Ask::get("/auth/me/access").company(COMPANY);
    let company = platform.public(&platform.addresses().auth, Some(&token), ask).await?.text("/companyId")?;
    let members = members(running, &company, COMMANDERS + 1).await?;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("x-org", company.as_str()), ("content-length", "0")];
    let toggle = |member: &String| {
        let path = format!("/companies/{company}/members/{member}/permissions/finance.bills.read");
        [load::request("PUT", &path, &headers), load::request("DELETE", &path, &headers)]
    };
    let toggles: Vec<_> = members.iter().map(toggle).collect();
    let address = load::address(&platform.addresses().auth)?;
    let (sampled, clients) = toggles.split_last().context("a member whose commands are followed")?;
    let url = running.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.map_err(told)?;

    let mut line = Line::new("grant or revoke a permission", None);
    let mut lag = Line::new(format!("answer → {PROJECTION} holds it, meanwhile"), None);
    let (mut took, mut lags) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let load = command(address, clients, span);
        let sampling = follow(address, sampled, &url, span);
        let ((rate, mut one), mut seen) = tokio::try_join!(load, sampling)?;
        eprintln!("round {} of {rounds}: {rate:.0} commands/s", round + 1);
        line.rates.push(rate);
        took.append(&mut one);
        lags.append(&mut seen);
    }
    line.set_latencies(&mut took);
    lag.set_latencies(&mut lags);
    Ok(vec![line, lag])
}

pub(crate) async fn command(address: SocketAddr, clients: &[[Vec<u8>; 2]], span: Duration) -> anyhow::Result<Measured> {
    let clients: Arc<[[Vec<u8>; 2]]> = clients.into();
    workers(clients.len(), |index| {
        let clients = Arc::clone(&clients);
        async move {
            let requests = clients.get(index).context("a client")?;
            let mut connection = Connection::open(address).await?;
            let (mut done, mut took) = (0, Vec::new());
            let started = ambient::now();
            // Always whole pairs, so that every member is left as they were.
            while started.elapsed() < span {
                for request in requests {
                    let asked = ambient::now();
                    let status = connection.ask(request).await?;
                    ensure!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(connection.body()));
                    took.push(asked.elapsed().as_secs_f64() * 1000.0);
                    done += 1;
                }
            }
            Ok((done, took))
        }
    })
    .await
}

/// Gives commands one after the other, and measures for each how long after its answer the projection holds it.
async fn follow(address: SocketAddr, requests: &[Vec<u8>; 2], url: &str, span: Duration) -> anyhow::Result<Vec<f64>> {
    let mut conn = PgConnection::connect(url).await?;
    let mut connection = Connection::open(address).await?;
    let mut took = Vec::new();
    let started = ambient::now();
    while started.elapsed() < span {
        for request in requests {
            let status = connection.ask(request).await?;
            ensure!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(connection.body()));
            let answered = ambient::now();
            // What is committed before this is read lies at or below it.
            let head: i64 =
                sqlx::query_scalar("select last_position from log_batch order by last_position desc limit 1")
                    .fetch_one(&mut conn)
                    .await?;
            loop {
                let reached: i64 = sqlx::query_scalar("select position from projection_checkpoint where name = $1")
                    .bind(PROJECTION)
                    .fetch_one(&mut conn)
                    .await?;
                if reached >= head {
                    break;
                }
                ensure!(answered.elapsed() < PATIENCE, "{PROJECTION} does not follow");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            took.push(answered.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(took)
}

/// Adds so many members to a company, each with the module that the permission is of.
async fn members(running: &Running, company: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let platform = &running.platform;
    let mut members = Vec::with_capacity(count);
    for number in 0..count {
        let email = format!("member{number}@bench.example");
        let password = &platform.addresses().demo_password;
        let body = json!({ "email": email, "name": format!("Member {number}"), "password": password });
        let ask = Ask::new(Method::POST, "/internal/v1/users").body(body);
        let user = platform.internal(Callee::Auth, ask).await?.text("/userId")?;
        let path = format!("/internal/v1/companies/{company}/members");
        let body = json!({ "userId": user, "tenantRole": "USER" });
        let ask = Ask::new(Method::POST, &path).body(body);
        let member = platform.internal(Callee::Auth, ask).await?.text("/membershipId")?;
        let path = format!("/internal/v1/companies/{company}/members/{member}/modules/finance");
        platform.internal(Callee::Auth, Ask::new(Method::PUT, &path)).await?.data()?;
        members.push(member);
    }
    Ok(members)
}

/// What each service's process holds in memory.
fn memory(running: &Running) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for part in Part::SERVICES {
        let mut line = Line::new(part.name(), None);
        line.rates.push(resident_mb(&running.stack, part)?);
        lines.push(line);
    }
    Ok(lines)
}
