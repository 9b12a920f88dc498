//! `bench companies`: a company of fifty thousand members and five hundred named roles beside a small one: commands, lists,
//! access resolved from the states; and what it takes until everybody's access is current once a role changes that all of
//! them hold.

use crate::{
    access, ambient,
    load::{self, BARE, Connection},
    platform::{Running, told},
    report::{self, Latency, Line, Units, percentile},
    workers::workers,
};
use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kisum::{local::Part, platform::Ask};
use kisum_api::auth::bench;
use kisum_events::{Log, MembershipId, UserId};
use kisum_log::{EventLog, Sealer};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Clients that send commands, and connections that read.
const COMMANDERS: usize = 64;
const READERS: usize = 8;
/// Connections that ask for everybody once a role has changed.
const SWEEPERS: usize = 32;
/// Members of each company whose access is resolved, in turn.
const SAMPLE: usize = 512;
/// People whose sessions are started side by side.
const AT_ONCE: usize = 64;
const SMALL_MEMBERS: usize = 600;
const SMALL_ROLES: usize = 5;
const READ: &str = "finance.bills.read";
const CREATE: &str = "finance.bills.create";
/// How often another route is asked meanwhile.
const PACE: Duration = Duration::from_millis(5);
/// How long other routes are asked before anything changes.
const QUIET: Duration = Duration::from_secs(3);
/// The longest that anything may stay as it was (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);
const OF_AUTH: [(&str, &str); 2] = [("REFRESHES_PER_MINUTE_MAX", "1000000"), ("ACCESS_TOKEN_TTL", "3600")];

/// Options of `bench companies`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Members of the large company.
    #[arg(long, default_value_t = 50_000)]
    members: usize,
    /// Its named roles.
    #[arg(long, default_value_t = 500)]
    roles: usize,
}

/// A company, and people who ask about it.
struct Firm {
    slug: &'static str,
    id: String,
    /// Access token of its superadmin.
    lead: String,
    /// The role that every member has who was added.
    role: String,
    members: Vec<MembershipId>,
    /// Access tokens of the first of them.
    tokens: Vec<String>,
}

/// What members are made with.
struct Making {
    log: EventLog,
    key: Arc<[u8]>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let running = Running::start_with(&OF_AUTH).await?;
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
    let making = making(running).await?;
    let small = firm(running, &making, "acme-live", (SMALL_MEMBERS, SMALL_ROLES, SAMPLE)).await?;
    let large = firm(running, &making, "bright-books", (options.members, options.roles, options.members)).await?;
    let (members, roles) = (options.members, options.roles);
    eprintln!("{}: {members} members and {roles} roles are there", large.slug);
    let commands = commands(running, [&small, &large], options.rounds, span).await?;
    let lists = lists(running, [&small, &large], options.rounds, span).await?;
    let cold = cold(running, [&small, &large], options.rounds, span).await?;
    let changed = role_change(running, &small, &large).await?;
    Ok(vec![
        (
            format!("bench companies: permissions granted and revoked by {COMMANDERS} clients"),
            units("commands/s"),
            commands,
        ),
        (format!("bench companies: lists over {READERS} connections"), units("requests/s"), lists),
        ("bench companies: access resolved from the states, one connection".to_owned(), units("requests/s"), cold),
        (format!("bench companies: a role that {members} members hold is changed"), units("ms"), changed),
    ])
}

async fn making(running: &Running) -> anyhow::Result<Making> {
    let mut variables = running.stack.environment(Part::Auth).map_err(told)?;
    let mut take = |name: &str| variables.remove(name).with_context(|| format!("Auth is told no {name}"));
    let (url, key, keys) = (take("AUTH_DB_URL")?, take("REFRESH_TOKEN_KEY")?, take("DATA_ENCRYPTION_KEYS")?);
    let pool = PgPoolOptions::new().max_connections(2).connect(&url).await?;
    let log = EventLog::open(Log::Auth, &url, pool, Sealer::new(&keys)?).await?;
    Ok(Making { log, key: STANDARD.decode(key)?.into() })
}

/// Fills a company of the demo that owns Finance.
async fn firm(
    running: &Running,
    making: &Making,
    slug: &'static str,
    (members, roles, asking): (usize, usize, usize),
) -> anyhow::Result<Firm> {
    let auth = &running.platform.addresses().auth;
    let lead = running.sign_in(&format!("superadmin@{slug}.example")).await?;
    let ask = Ask::get("/auth/me/access").company(slug);
    let id = running.platform.public(auth, Some(&lead), ask).await?.text("/companyId")?;
    let path = format!("/companies/{id}/roles");
    let mut role = String::new();
    for number in 0..roles {
        let body = json!({ "name": format!("Role {number}"), "permissions": [READ] });
        let ask = Ask::new(Method::POST, &path).company(&id).body(body);
        role = running.platform.public(auth, Some(&lead), ask).await?.text("/roleId")?;
    }
    let grants = (&"finance".parse()?, role.parse()?);
    let added = bench::add_members(&making.log, id.parse()?, grants, members).await?;
    let people: Vec<UserId> = added.iter().map(|(user, _)| *user).take(asking).collect();
    let tokens = sessions(running, making, &people).await?;
    Ok(Firm { slug, id, lead, role, members: added.into_iter().map(|(_, member)| member).collect(), tokens })
}

/// An access token of each.
async fn sessions(running: &Running, making: &Making, people: &[UserId]) -> anyhow::Result<Vec<String>> {
    let auth = load::address(&running.platform.addresses().auth)?;
    let mut connections = Vec::new();
    for _ in 0..AT_ONCE {
        connections.push(Connection::open(auth).await?);
    }
    let mut tokens = Vec::with_capacity(people.len());
    for some in people.chunks(AT_ONCE) {
        let mut tasks = Vec::new();
        for (person, mut connection) in some.iter().copied().zip(connections.drain(..)) {
            let (log, key) = (making.log.clone(), Arc::clone(&making.key));
            tasks.push(tokio::spawn(async move {
                let refresh = bench::start_sessions(&log, &key, person, 1).await?.pop().context("a session")?;
                let request = load::post("/auth/refresh", &json!({ "refreshToken": refresh }), &[]);
                let status = connection.ask(&request).await?;
                ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(connection.body()));
                let answer: Value = serde_json::from_slice(connection.body())?;
                let token = answer.pointer("/data/accessToken").and_then(Value::as_str).context("no access token")?;
                anyhow::Ok((token.to_owned(), connection))
            }));
        }
        for task in tasks {
            let (token, connection) = task.await??;
            tokens.push(token);
            connections.push(connection);
        }
        while connections.len() < AT_ONCE {
            connections.push(Connection::open(auth).await?);
        }
    }
    Ok(tokens)
}

fn headers<'a>(firm: &'a Firm, authorization: &'a str) -> [(&'static str, &'a str); 2] {
    [("authorization", authorization), ("x-org", firm.id.as_str())]
}

/// The same measured in the small company and in the large one.
fn pair(what: &str) -> [Line; 2] {
    let small = format!("{what}, small company");
    [Line::new(small.clone(), None), Line::new(format!("{what}, large company"), Some((&small, 0.5)))]
}

async fn commands(running: &Running, firms: [&Firm; 2], rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let address = load::address(&running.platform.addresses().auth)?;
    let mut lines = pair("grant or revoke a permission");
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for ((line, firm), took) in lines.iter_mut().zip(firms).zip(&mut took) {
            let authorization = format!("Bearer {}", firm.lead);
            let [who, org] = headers(firm, &authorization);
            let toggles = firm.members.iter().take(COMMANDERS).map(|member| {
                let path = format!("/companies/{}/members/{member}/permissions/{CREATE}", firm.id);
                ["PUT", "DELETE"].map(|method| load::request(method, &path, &[who, org, ("content-length", "0")]))
            });
            let toggles: Vec<_> = toggles.collect();
            let (rate, mut one) = access::command(address, &toggles, span).await?;
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
            took.append(&mut one);
        }
    }
    Ok(finished(lines, took))
}

fn finished(lines: [Line; 2], took: [Vec<f64>; 2]) -> Vec<Line> {
    let lines = lines.into_iter().zip(took).map(|(mut line, mut took)| {
        line.set_latencies(&mut took);
        line
    });
    lines.collect()
}

async fn lists(running: &Running, firms: [&Firm; 2], rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let address = load::address(&running.platform.addresses().auth)?;
    let mut all = Vec::new();
    for what in ["members?limit=50", "roles?limit=50"] {
        let (mut lines, mut took) = (pair(&format!("GET …/{what}")), [Vec::new(), Vec::new()]);
        for round in 0..rounds {
            for ((line, firm), took) in lines.iter_mut().zip(firms).zip(&mut took) {
                let authorization = format!("Bearer {}", firm.lead);
                let path = format!("/companies/{}/{what}", firm.id);
                let requests: Arc<[Vec<u8>]> = Arc::from([load::request("GET", &path, &headers(firm, &authorization))]);
                let (rate, mut one) = load::run(address, &requests, READERS, span).await?;
                eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
                line.rates.push(rate);
                took.append(&mut one);
            }
        }
        all.extend(finished(lines, took));
    }
    Ok(all)
}

/// By an Auth that keeps nothing and has no Redis: every answer is resolved.
async fn cold(running: &Running, firms: [&Firm; 2], rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    let [_, _, nothing_kept] = access::VARIANTS;
    let requests = firms.map(|firm| {
        let tokens = firm.tokens.iter().take(SAMPLE).map(|token| format!("Bearer {token}"));
        let requests = tokens.map(|token| load::request("GET", "/auth/me/access", &headers(firm, &token)));
        requests.collect::<Arc<[Vec<u8>]>>()
    });
    let first = requests.first().and_then(|some| some.first()).context("a request")?;
    let (_process, address) = access::another_auth(running, &nothing_kept, first).await?;
    let (mut lines, mut took) = (pair("GET /auth/me/access, resolved"), [Vec::new(), Vec::new()]);
    for round in 0..rounds {
        for ((line, requests), took) in lines.iter_mut().zip(&requests).zip(&mut took) {
            let (rate, mut one) = load::run(address, requests, 1, span).await?;
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
            took.append(&mut one);
        }
    }
    Ok(finished(lines, took))
}

/// Takes from the role what it gives, and asks a backend for every member until it has refused them all; and how other routes
/// do meanwhile.
async fn role_change(running: &Running, small: &Firm, large: &Firm) -> anyhow::Result<Vec<Line>> {
    let addresses = running.platform.addresses();
    let (auth, finance) = (load::address(&addresses.auth)?, load::address(&addresses.finance)?);
    let asked = large.tokens.iter().map(|token| {
        let authorization = format!("Bearer {token}");
        load::request("GET", "/api/bills", &headers(large, &authorization))
    });
    let asked: Arc<[Vec<u8>]> = asked.collect();
    let mut lines = Vec::new();
    let line = |name: &str, ms: f64| {
        let mut line = Line::new(name, None);
        line.rates.push(ms);
        line
    };
    let warm = sweep(finance, &asked, 200).await?;
    lines.push(line("every member is let in for the first time", warm.all_ms));
    let others = [
        ("bare axum JSON route", load::serve(load::bare()).await?, load::request("GET", BARE, &[])),
        ("GET /.well-known/jwks.json", auth, load::request("GET", "/.well-known/jwks.json", &[])),
        ("GET /auth/me/access of another company", auth, {
            let authorization = format!("Bearer {}", small.lead);
            load::request("GET", "/auth/me/access", &headers(small, &authorization))
        }),
    ];
    let quiet = Arc::new(AtomicBool::new(false));
    let probing = others.iter().map(|(_, address, request)| probe(*address, request.clone(), Arc::clone(&quiet)));
    let probing: Vec<_> = probing.map(tokio::spawn).collect();
    tokio::time::sleep(QUIET).await;
    quiet.store(true, Ordering::Relaxed);
    let mut before = Vec::new();
    for one in probing {
        before.push(one.await??);
    }
    let over = Arc::new(AtomicBool::new(false));
    let probing = others.iter().map(|(_, address, request)| probe(*address, request.clone(), Arc::clone(&over)));
    let probing: Vec<_> = probing.map(tokio::spawn).collect();
    let path = format!("/companies/{}/roles/{}", large.id, large.role);
    let ask = Ask::new(Method::PATCH, &path).company(&large.id).body(json!({ "permissions": [] }));
    let changed = running.platform.public(&addresses.auth, Some(&large.lead), ask).await?;
    ensure!(changed.is_success(), "{changed}");
    let swept = sweep(finance, &asked, 403).await?;
    over.store(true, Ordering::Relaxed);
    lines.push(line("the last that is let in after the change was answered", swept.last_other_ms));
    lines.push(line("the last member is refused (all contexts made anew)", swept.all_ms));
    for ((name, ..), (mut quiet, meanwhile)) in others.iter().zip(before.into_iter().zip(probing)) {
        let mut meanwhile = meanwhile.await??;
        for (when, took) in [("quiet", &mut quiet), ("meanwhile", &mut meanwhile)] {
            let mut line = Line::new(format!("{name}, {when}"), None);
            line.rates.push(percentile(took, 1.0));
            line.set_latencies(took);
            lines.push(line);
        }
    }
    Ok(lines)
}

/// When everybody had been answered so, and when the last was answered otherwise.
struct Swept {
    all_ms: f64,
    last_other_ms: f64,
}

/// Asks for each until the answer is this one; "not now" is asked again. Anything else is let be for as long as the bound.
async fn sweep(address: SocketAddr, requests: &Arc<[Vec<u8>]>, wanted: u16) -> anyhow::Result<Swept> {
    let started = ambient::now();
    let (_, mut others) = workers(SWEEPERS, |index| {
        let requests = Arc::clone(requests);
        async move {
            let mut connection = Connection::open(address).await?;
            let (mut done, mut others) = (0, vec![0.0]);
            for request in requests.iter().skip(index).step_by(SWEEPERS) {
                loop {
                    let status = connection.ask(request).await?;
                    let at = started.elapsed();
                    match status {
                        status if status == wanted => break,
                        503 => {}
                        200 | 403 if at < BOUND => others.push(at.as_secs_f64() * 1000.0),
                        status => bail!("{status} after {at:?}: {}", String::from_utf8_lossy(connection.body())),
                    }
                }
                done += 1;
            }
            Ok((done, others))
        }
    })
    .await?;
    Ok(Swept { all_ms: started.elapsed().as_secs_f64() * 1000.0, last_other_ms: percentile(&mut others, 1.0) })
}

/// Asks again and again until told that it is over.
async fn probe(address: SocketAddr, request: Vec<u8>, is_over: Arc<AtomicBool>) -> anyhow::Result<Vec<f64>> {
    let mut connection = Connection::open(address).await?;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        let asked = ambient::now();
        let status = connection.ask(&request).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(connection.body()));
        took.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
