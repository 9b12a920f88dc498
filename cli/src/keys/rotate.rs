//! `kisum keys rotate`: the last key of the list is published, and signs as soon as it may.

use super::Ring;
use crate::{ambient, usage::Usage};
use anyhow::Result;
use kisum_api::shared::signing_key::SigningKey;
use kisum_domains::{Keyring, keyring};
use kisum_events::{KeyId, KeyringEvent, Timestamp};
use serde_json::json;
use std::process::ExitCode;

/// What `kisum keys rotate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// This key of the list instead of its last.
    #[arg(long)]
    activate: Option<KeyId>,
    /// Wait until it may sign, instead of saying when to come again.
    #[arg(long)]
    wait: bool,
}

/// How far a rotation came.
enum Came {
    /// It signs.
    Active { former: Option<(KeyId, Timestamp)> },
    /// It may not sign yet.
    Published { not_before: Timestamp },
}

pub(super) async fn run(ring: &Ring, args: &Args, held: Vec<SigningKey>, json: bool) -> Result<ExitCode> {
    let key = match &args.activate {
        Some(kid) => held.iter().find(|key| key.kid() == kid),
        None => held.last(),
    };
    let key = key.ok_or_else(|| Usage::new("the list has no such key: run `kisum keys generate`"))?;
    let publish =
        |state: &Keyring| keyring::publish(state, (key.kid(), key.alg(), key.public()), ring.cached, ambient::now());
    ring.change(publish).await?;
    loop {
        match activate(ring, key.kid()).await? {
            Came::Active { former } => {
                say_active(key.kid(), former, json);
                return Ok(ExitCode::SUCCESS);
            }
            Came::Published { not_before } if args.wait => {
                if !json {
                    eprintln!("{} may sign from {not_before}; waiting", key.kid());
                }
                tokio::time::sleep(not_before.since(ambient::now())).await;
            }
            Came::Published { not_before } => {
                if json {
                    println!("{}", json!({ "kid": key.kid(), "standing": "published", "notBefore": not_before }));
                } else {
                    println!("{} is published and may sign from {not_before}: run this again then", key.kid());
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

async fn activate(ring: &Ring, kid: &KeyId) -> Result<Came> {
    let activate = |state: &Keyring| keyring::activate(state, kid, ring.tokens_live, ambient::now());
    match ring.change(activate).await {
        Ok((_, events)) => {
            let former = events.into_iter().find_map(|event| match event {
                KeyringEvent::Retired { kid, until } => Some((kid, until)),
                KeyringEvent::Published { .. } | KeyringEvent::Activated { .. } | KeyringEvent::Removed { .. } => None,
            });
            Ok(Came::Active { former })
        }
        Err(error) => match error.downcast_ref() {
            Some(keyring::KeyringError::TooEarly { not_before, .. }) => Ok(Came::Published { not_before: *not_before }),
            _ => Err(error),
        },
    }
}

fn say_active(kid: &KeyId, former: Option<(KeyId, Timestamp)>, json: bool) {
    if json {
        let former = former.map(|(kid, until)| json!({ "kid": kid, "until": until }));
        println!("{}", json!({ "kid": kid, "standing": "active", "former": former }));
        return;
    }
    println!("{kid} signs");
    if let Some((former, until)) = former {
        println!("{former} is retired; `kisum keys remove {former}` from {until}");
    }
}
