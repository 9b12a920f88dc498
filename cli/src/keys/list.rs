//! `kisum keys list`: every key that the log knows, and what is in the list of private keys alone.

use super::{Ring, private};
use anyhow::Result;
use kisum_api::shared::signing_key::SigningKey;
use kisum_domains::{
    Keyring,
    keyring::{Key, KeyStanding},
};
use kisum_events::KeyId;
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

pub(super) async fn run(ring: &Ring, file: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let keyring = ring.load().await?.state;
    let held = match file {
        Some(_) => Some(private(file)?),
        None => None,
    };
    for line in lines(&keyring, held.as_deref()) {
        println!("{}", if json { line.object().to_string() } else { line.to_string() });
    }
    let is_signing = keyring.active().is_some_and(|(kid, key)| is_held(held.as_deref(), kid, key) != Some(false));
    if !is_signing && !json {
        println!(
            "{}",
            if keyring.active().is_some() { "the key that signs is not in the list" } else { "no key signs" }
        );
    }
    Ok(if is_signing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

/// One key.
struct Line {
    kid: KeyId,
    alg: &'static str,
    standing: &'static str,
    /// What there is to say of it, and the instant that it says.
    more: Option<(&'static str, String)>,
    held: Option<bool>,
}

impl Line {
    fn object(&self) -> Value {
        let mut object = serde_json::Map::new();
        object.extend(
            [("kid", json!(self.kid)), ("alg", json!(self.alg)), ("standing", json!(self.standing))].map(named),
        );
        if let Some((name, at)) = &self.more {
            object.extend([named((name, json!(at)))]);
        }
        if let Some(held) = self.held {
            object.extend([named(("isHeld", json!(held)))]);
        }
        Value::Object(object)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = match &self.more {
            Some(("notBefore", at)) => format!("may sign from {at}"),
            Some((_, at)) => format!("may be removed from {at}"),
            None => String::new(),
        };
        let held = match self.held {
            Some(true) => "in the list",
            Some(false) => "NOT in the list",
            None => "",
        };
        write!(f, "{:<24} {:<6} {:<10} {more:<44} {held}", self.kid.as_str(), self.alg, self.standing)
    }
}

fn lines(keyring: &Keyring, held: Option<&[SigningKey]>) -> Vec<Line> {
    let published = keyring.keys.iter().map(|(kid, key)| {
        let (standing, more) = match key.standing {
            KeyStanding::Published { not_before } => ("published", Some(("notBefore", not_before.to_string()))),
            KeyStanding::Active => ("active", None),
            KeyStanding::Retired { until } => ("retired", Some(("until", until.to_string()))),
        };
        Line { kid: kid.clone(), alg: key.alg.name(), standing, more, held: is_held(held, kid, key) }
    });
    let removed = keyring.removed.keys().map(|kid| Line {
        kid: kid.clone(),
        alg: "-",
        standing: "removed",
        more: None,
        held: None,
    });
    let is_known =
        |key: &&SigningKey| !keyring.keys.contains_key(key.kid()) && !keyring.removed.contains_key(key.kid());
    let unpublished = held.unwrap_or_default().iter().filter(is_known).map(|key| Line {
        kid: key.kid().clone(),
        alg: key.alg().name(),
        standing: "unpublished",
        more: None,
        held: Some(true),
    });
    published.chain(unpublished).chain(removed).collect()
}

/// Whether the list has a key's private half, where there is a list.
fn is_held(held: Option<&[SigningKey]>, kid: &KeyId, key: &Key) -> Option<bool> {
    let is_it = |one: &SigningKey| one.kid() == kid && one.alg() == key.alg && *one.public() == key.jwk;
    held.map(|held| held.iter().any(is_it))
}
