//! `kisum keys remove` and `retire`: taking a key away.
//!
//! To remove one is for ever and, in an emergency, ends tokens that are in use: it is confirmed by name, and refused
//! when the keyring has changed since it was shown (security 31).

use super::Ring;
use crate::ambient;
use anyhow::Result;
use kisum_domains::{
    Keyring,
    keyring::{self, KeyStanding, Removal, SIGNS_ON_MAX},
    session::CLOCK_SKEW_MAX,
};
use kisum_events::KeyId;
use serde_json::json;
use std::{
    error::Error,
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// What `kisum keys remove` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which.
    kid: KeyId,
    /// Whatever it signed ends with it, at once and everywhere: somebody else may hold the private half.
    #[arg(long)]
    emergency: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
enum NotRemoved {
    /// Nobody can be asked.
    #[error("there is no terminal to ask on, and nothing was changed: say --yes to remove '{0}'")]
    Unasked(KeyId),
    /// Somebody said no.
    #[error("nothing was changed")]
    Declined,
}

/// 2 when nobody could be asked, 1 when they said no.
pub(super) fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    cause.downcast_ref::<NotRemoved>().map(|error| match error {
        NotRemoved::Unasked(_) => 2,
        NotRemoved::Declined => 1,
    })
}

pub(super) async fn run(ring: &Ring, args: &Args, json: bool) -> Result<ExitCode> {
    let removal = if args.emergency { Removal::AtOnce } else { Removal::WhenDue };
    let loaded = ring.load().await?;
    // What is not allowed is said before anybody is asked.
    let events = keyring::remove(&loaded.state, &args.kid, removal, ambient::now())?;
    if !events.is_empty() {
        eprintln!("{}", effect(ring, &loaded.state, &args.kid));
        confirm(&args.kid, args.yes)?;
    }
    let state = ring.write(&loaded, &events).await?;
    let is_signing = state.active().is_some();
    if json {
        println!("{}", json!({ "kid": args.kid, "standing": "removed", "isAnotherActive": is_signing }));
    } else {
        println!("{} is removed", args.kid);
    }
    if !is_signing {
        eprintln!("no key signs now, and nobody can be signed in: run `kisum keys generate` and `kisum keys rotate`");
    }
    Ok(ExitCode::SUCCESS)
}

/// What a removal does to tokens that are in use.
fn effect(ring: &Ring, state: &Keyring, kid: &KeyId) -> String {
    let now = ambient::now();
    let until = match state.keys.get(kid).map(|key| key.standing) {
        Some(KeyStanding::Active) => now.plus(ring.tokens_live).plus(CLOCK_SKEW_MAX).plus(SIGNS_ON_MAX),
        Some(KeyStanding::Retired { until }) if now < until => until,
        Some(KeyStanding::Retired { .. } | KeyStanding::Published { .. }) | None => {
            return format!("No token that '{kid}' signed is alive. Its name is never used again.");
        }
    };
    format!(
        "Every token that '{kid}' signed ends, at once and everywhere; the last of them would have lived until {until}. \
         Whoever holds one has to refresh it. The name is never used again."
    )
}

/// Lets a person confirm by typing the key's name.
fn confirm(kid: &KeyId, yes: bool) -> Result<(), NotRemoved> {
    if yes {
        return Ok(());
    }
    let mut stdin = std::io::stdin().lock();
    if !stdin.is_terminal() {
        return Err(NotRemoved::Unasked(kid.clone()));
    }
    eprint!("Type {kid} to remove it: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let answered = stdin.read_line(&mut line).is_ok() && line.trim() == kid.as_str();
    if answered { Ok(()) } else { Err(NotRemoved::Declined) }
}

pub(super) async fn retire(ring: &Ring, kid: &KeyId, json: bool) -> Result<ExitCode> {
    ring.change(|state| keyring::retire(state, kid, ambient::now())).await?;
    if json {
        println!("{}", json!({ "kid": kid, "standing": "retired" }));
    } else {
        println!("{kid} is retired and will not sign; `kisum keys remove {kid}` takes it out of the key set");
    }
    Ok(ExitCode::SUCCESS)
}
