//! The keys that sign access tokens, on a whole platform: made, rotated, removed and missing, by `kisum keys`.

mod command;
mod first;
mod missing;
mod removal;
mod rewrap;
mod rotation;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum::{local::stack::binary_beside_this, platform::Ask};
use kisum_tests::demo::{Backend, Demo, Signed, words};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::process::Command;

/// How long others may keep the key set in these tests, in seconds, so that a key soon signs.
const KEY_SET_S: &str = "2";
/// `consistency.md`.
const BOUND: Duration = Duration::from_secs(5);
/// The longest wait for anything on a busy machine that has no bound of the product's own.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const REFUSED: &str = "401 unauthorized";
const UNAVAILABLE: &str = "503 service_unavailable";

/// A platform with the demo whose keys may sign soon after they are published.
async fn demo() -> Demo {
    // Clients refresh again and again for as long as a rotation takes, which on a slow machine is more than a person may.
    Demo::start_with(&[("JWKS_MAX_AGE", KEY_SET_S), ("REFRESHES_PER_MINUTE_MAX", "100000")]).await
}

/// Exit code, standard output and standard error of `kisum keys`.
async fn run(arguments: &[&str], variables: &BTreeMap<String, String>) -> (i32, String, String) {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let mut command = Command::new(binary);
    command.arg("keys").args(arguments).env_clear().envs(variables).stdin(std::process::Stdio::null());
    let output = command.output().await.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// An operator's environment at a running platform.
fn environment(demo: &Demo) -> BTreeMap<String, String> {
    let mut variables = demo.stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    variables.insert("JWKS_MAX_AGE".to_owned(), KEY_SET_S.to_owned());
    variables
}

/// `kisum keys` as an operator of that platform runs it; it has to go well. Returns the objects that it prints.
async fn keys(demo: &Demo, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (code, out, err) = run(&arguments, &environment(demo)).await;
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    out.lines().map(object).collect()
}

/// Makes a key and lets it sign; returns its name.
async fn rotate_to(demo: &Demo, alg: &str) -> String {
    let kid = keys(demo, &["generate", "--alg", alg]).await[0]["kid"].as_str().unwrap_or_default().to_owned();
    let said = keys(demo, &["rotate", "--wait"]).await;
    assert_eq!(said[0]["standing"], "active", "{said:?}");
    kid
}

/// The header of a token.
fn header(token: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {token}"))
}

fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap_or_default().to_owned()
}

/// What Auth and a backend answer to a token.
async fn asked(demo: &Demo, token: &str) -> [String; 2] {
    let auth = demo.auth(Some(token), Ask::get("/auth/me")).await;
    [words(&auth), words(&demo.business(Backend::Finance, Method::GET, token, "acme-live").await)]
}

/// A session goes on with another token.
async fn refresh(demo: &Demo, person: &mut Signed) {
    let body = json!({ "refreshToken": person.refresh });
    let answer = demo.auth(None, Ask::new(Method::POST, "/auth/refresh").body(body)).await;
    let text = |pointer| answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    (person.access, person.refresh) = (text("/accessToken"), text("/refreshToken"));
}

/// Refreshes until a key signs the token.
async fn signed_by(demo: &Demo, person: &mut Signed, wanted: &str) {
    let waiting = async {
        loop {
            refresh(demo, person).await;
            if kid(&person.access) == wanted {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{} signs, not {wanted}", kid(&person.access));
}
