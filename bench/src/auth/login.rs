//! Sign-ins beside the hashes that they cannot do without; and whether their time tells which addresses are known.

use crate::{
    ambient,
    load::{self, Connection},
    platform::Running,
    report::{Line, median},
    workers::{Measured, workers},
};
use anyhow::{Context as _, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use kisum::demo;
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// What Auth hashes with (`api/src/auth/passwords.rs`).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// People who sign in at once: enough that the hashing threads never wait.
const CONNECTIONS: usize = 8;
/// Wrong passwords of one account: fewer than are refused within a quarter of an hour.
const WRONG_EACH: usize = 18;
const WRONG_PASSWORD: &str = "surely not the password of the demo";

/// Hashes a second on as many threads as Auth has for them, each with memory of its own that it keeps, and nothing else.
pub(super) async fn hashes(span: Duration) -> anyhow::Result<f64> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let started = ambient::now();
    let hashing = (0..cores.saturating_sub(1).max(1)).map(|_| {
        let hasher = hasher.clone();
        tokio::task::spawn_blocking(move || {
            let mut memory = vec![Block::default(); hasher.params().block_count()];
            let (mut done, mut out) = (0_u32, [0; 32]);
            while started.elapsed() < span {
                hasher
                    .hash_password_into_with_memory(
                        b"a password like any other",
                        b"sixteen bytes of",
                        &mut out,
                        &mut memory,
                    )
                    .map_err(|error| anyhow::anyhow!("{error}"))?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut done = 0.0;
    for one in hashing.collect::<Vec<_>>() {
        done += f64::from(one.await.context("a thread that hashes")??);
    }
    Ok(done / started.elapsed().as_secs_f64())
}

/// The people of the demo who sign in with a password alone.
pub(super) struct People {
    auth: SocketAddr,
    emails: Vec<String>,
    password: String,
}

impl People {
    pub(super) fn of(running: &Running) -> anyhow::Result<Self> {
        let addresses = running.platform.addresses();
        let members = demo::companies().into_iter().flat_map(|company| company.members);
        let emails: BTreeSet<_> = members.filter(|member| member.has_password).map(|member| member.email).collect();
        // Somebody may be in two companies.
        let emails = emails.into_iter().collect();
        Ok(Self { auth: load::address(&addresses.auth)?, emails, password: addresses.demo_password.clone() })
    }

    /// Signs in over and over, everybody in turn.
    pub(super) async fn sign_in(&self, span: Duration) -> anyhow::Result<Measured> {
        let requests = self.emails.iter().map(|email| request(email, &self.password, 0));
        let requests: Arc<[Vec<u8>]> = requests.collect();
        load::run(self.auth, &requests, CONNECTIONS, span).await
    }

    /// One wrong password after the other, for known and unknown addresses in turn; how long each took, in ms.
    pub(super) async fn fail(&self, rounds: usize) -> anyhow::Result<[Line; 3]> {
        let mut lines = [
            Line::new("wrong password, known address", None),
            Line::new("wrong password, unknown address", None),
            Line::new("unknown − known, median, % of known (aim ± 5)", None),
        ];
        let [known, unknown, apart] = &mut lines;
        let mut connection = Connection::open(self.auth).await?;
        let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let (mut here, mut there) = (Vec::new(), Vec::new());
            for number in (round * WRONG_EACH / rounds)..((round + 1) * WRONG_EACH / rounds) {
                for (person, email) in self.emails.iter().enumerate() {
                    let network = number * self.emails.len() + person;
                    let stranger = format!("stranger{network}@nowhere.example");
                    // In turn, so that neither has the other's place in a row.
                    let mut pair = [(email.as_str(), &mut here), (stranger.as_str(), &mut there)];
                    if network % 2 == 1 {
                        pair.reverse();
                    }
                    for (email, took) in pair {
                        let asked = ambient::now();
                        let status = connection.ask(&request(email, WRONG_PASSWORD, network)).await?;
                        ensure!(status == 401, "{status}: {}", String::from_utf8_lossy(connection.body()));
                        took.push(asked.elapsed().as_secs_f64() * 1000.0);
                    }
                }
            }
            let (one, other) = (median(&here), median(&there));
            eprintln!("round {} of {rounds}: known {one:.2} ms, unknown {other:.2} ms", round + 1);
            apart.rates.push((other - one) / one * 100.0);
            of_known.append(&mut here);
            of_unknown.append(&mut there);
        }
        known.set_latencies(&mut of_known);
        unknown.set_latencies(&mut of_unknown);
        Ok(lines)
    }

    /// Wrong passwords for addresses that nobody has, each from a network of its own, so many a second whatever becomes of
    /// them; answers how many were refused at once and how long that took, in ms.
    pub(super) async fn flood(&self, a_second: f64, connections: usize, span: Duration) -> anyhow::Result<Flooded> {
        let (auth, sent) = (self.auth, Arc::new(AtomicU32::new(0)));
        let begun = ambient::now();
        let (rate, took) = workers(connections, |_| {
            let sent = Arc::clone(&sent);
            async move {
                let mut connection = Connection::open(auth).await?;
                let (mut refused, mut took) = (0, Vec::new());
                loop {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let due = begun + Duration::from_secs_f64(f64::from(number) / a_second);
                    if due.duration_since(begun) >= span {
                        return Ok((refused, took));
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let email = format!("flood{number}@nowhere.example");
                    let request = request(&email, WRONG_PASSWORD, usize::try_from(number)?);
                    let asked = ambient::now();
                    let status = connection.ask(&request).await?;
                    match status {
                        503 => {
                            refused += 1;
                            took.push(asked.elapsed().as_secs_f64() * 1000.0);
                        }
                        401 => {}
                        _ => anyhow::bail!("{status}: {}", String::from_utf8_lossy(connection.body())),
                    }
                }
            }
        })
        .await?;
        Ok(Flooded { refused_a_second: rate, took })
    }
}

/// What became of a flood.
pub(super) struct Flooded {
    pub(super) refused_a_second: f64,
    /// How long a refusal took, in ms.
    pub(super) took: Vec<f64>,
}

/// A sign-in from the network of that number (the platform measured trusts this machine to name it).
fn request(email: &str, password: &str, network: usize) -> Vec<u8> {
    let body = json!({ "email": email, "password": password, "client": "native" });
    let from = format!("10.{}.{}.{}", network >> 16 & 255, network >> 8 & 255, network & 255);
    load::post("/auth/login", &body, &[("x-forwarded-for", &from)])
}
