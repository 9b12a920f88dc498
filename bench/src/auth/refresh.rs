//! Chains of refreshes: each request is made from the answer to the one before, as a native client does.

use crate::{
    ambient,
    load::{Connection, address, post},
    platform::{Running, told},
    report::Line,
    workers::workers,
};
use anyhow::{Context as _, bail, ensure};
use kisum::{local::stack::binary_beside_this, platform::Ask};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::process::Command;

/// How long a new key may take to sign.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Whose sessions they are.
pub(super) const PERSON: &str = "user@acme-live.example";

#[derive(Deserialize)]
struct Answer {
    data: Tokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
}

/// One session for each connection, and its newest refresh token.
pub(super) struct Chains {
    auth: SocketAddr,
    tokens: Arc<[Mutex<String>]>,
}

impl Chains {
    /// Signs in once for each connection.
    pub(super) async fn start(running: &Running, connections: usize) -> anyhow::Result<Self> {
        let addresses = running.platform.addresses();
        let mut tokens = Vec::with_capacity(connections);
        for _ in 0..connections {
            tokens.push(Mutex::new(sign_in(running).await?));
        }
        Ok(Self { auth: address(&addresses.auth)?, tokens: tokens.into() })
    }

    /// Refreshes on all connections for a round; every token has to be signed so. Returns what each took, in ms.
    pub(super) async fn go_on(
        &mut self,
        line: &mut Line,
        alg: &'static str,
        span: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let (auth, tokens) = (self.auth, Arc::clone(&self.tokens));
        let (rate, took) = workers(tokens.len(), |index| {
            let tokens = Arc::clone(&tokens);
            async move {
                let kept = tokens.get(index).context("a session")?;
                let mut connection = Connection::open(auth).await?;
                let (mut done, mut took) = (0, Vec::new());
                let started = ambient::now();
                let mut token = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                while started.elapsed() < span {
                    let asked = ambient::now();
                    let answer = refresh(&mut connection, &token).await?;
                    took.push(asked.elapsed().as_secs_f64() * 1000.0);
                    done += 1;
                    ensure!(is_signed_by(&answer.access_token, alg), "a token that is not signed by {alg}");
                    token = answer.refresh_token;
                }
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = token;
                Ok((done, took))
            }
        })
        .await?;
        eprintln!("{} {rate:.0}/s", line.name);
        line.rates.push(rate);
        Ok(took)
    }

    /// Refreshes one session until a key of that algorithm signs.
    async fn until(&mut self, alg: &str) -> anyhow::Result<()> {
        let kept = self.tokens.first().context("a session")?;
        let mut connection = Connection::open(self.auth).await?;
        let started = ambient::now();
        loop {
            let token = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let answer = refresh(&mut connection, &token).await?;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = answer.refresh_token;
            if is_signed_by(&answer.access_token, alg) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "no {alg} key signs");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Refreshes one session.
pub(super) async fn refresh(connection: &mut Connection, token: &str) -> anyhow::Result<Tokens> {
    let request = post("/auth/refresh", &json!({ "refreshToken": token }), &[]);
    let status = connection.ask(&request).await?;
    if status != 200 {
        bail!("{status}: {}", String::from_utf8_lossy(connection.body()));
    }
    Ok(serde_json::from_slice::<Answer>(connection.body())?.data)
}

/// Signs in; returns the refresh token.
pub(super) async fn sign_in(running: &Running) -> anyhow::Result<String> {
    let addresses = running.platform.addresses();
    let body = json!({ "email": PERSON, "password": addresses.demo_password, "client": "native" });
    let ask = Ask::new(Method::POST, "/auth/login").body(body);
    running.platform.public(&addresses.auth, None, ask).await?.text("/refreshToken")
}

/// Whether the header says so: what is signed by `PS256` begins otherwise than what is signed by `EdDSA`.
fn is_signed_by(token: &str, alg: &str) -> bool {
    // `{"alg":"`, and then the name: 8 + 5 bytes. The first 12 of them fill 16 characters of base64.
    match alg {
        "PS256" => token.starts_with("eyJhbGciOiJQUzI1"),
        "EdDSA" => token.starts_with("eyJhbGciOiJFZERT"),
        _ => false,
    }
}

/// Makes an Ed25519 key and lets it sign, as an operator does.
pub(super) async fn rotate_to_eddsa(running: &Running, chains: &mut Chains) -> anyhow::Result<()> {
    let mut variables = running.stack.variables().map_err(told)?;
    // Nobody but this program holds the key set.
    variables.insert("JWKS_MAX_AGE".to_owned(), "1".to_owned());
    let binary = binary_beside_this().map_err(told)?;
    for arguments in [&["keys", "generate", "--alg", "EdDSA"][..], &["keys", "rotate", "--wait"]] {
        let output = Command::new(&binary).args(arguments).env_clear().envs(&variables).output().await?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    chains.until("EdDSA").await
}
