//! `kisum keys generate`: a new private key, in the list and nowhere else.

use super::KEYRING_VARIABLE;
use crate::{
    ambient,
    local::{keys, layout::write_private},
    usage::Usage,
};
use anyhow::{Context as _, Result};
use kisum_api::shared::signing_key::{KeyringEntry, SigningKey, read_entries};
use kisum_events::{KeyId, SigningAlgorithm};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};

/// What `kisum keys generate` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How it signs: PS256, RS256 where a client knows nothing else, or EdDSA.
    #[arg(long, default_value = "PS256")]
    alg: SigningAlgorithm,
    /// Its name; without it, one of today's date. Never used for another key.
    #[arg(long)]
    kid: Option<KeyId>,
}

pub(super) fn run(args: Args, file: Option<PathBuf>, json: bool) -> Result<ExitCode> {
    let file =
        file.ok_or_else(|| Usage::new(format!("{KEYRING_VARIABLE} is not set, and --keyring-file not given")))?;
    let mut entries = if file.exists() { read_entries(&file)? } else { Vec::new() };
    let kid = match args.kid {
        Some(kid) => kid,
        None => new_name(&entries)?,
    };
    if entries.iter().any(|entry| entry.kid == kid) {
        return Err(Usage::new(format!("{} has a key '{kid}' already", file.display())).into());
    }
    let pem = match args.alg {
        SigningAlgorithm::PS256 | SigningAlgorithm::RS256 => keys::rsa()?,
        SigningAlgorithm::EdDSA => keys::ed25519()?,
    };
    SigningKey::from_pem(kid.clone(), Some(args.alg), &pem).context("the key that was made")?;
    let name = format!("jwt-{kid}.pem");
    let path = file.with_file_name(&name);
    if path.exists() {
        return Err(Usage::new(format!("{} exists already", path.display())).into());
    }
    // The key first: a list never names one that is not there.
    write_private(&path, pem.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    entries.push(KeyringEntry { kid: kid.clone(), alg: args.alg, private_key: format!("file:{name}") });
    let list = format!("{}\n", serde_json::to_string_pretty(&entries)?);
    write_private(&file, list.as_bytes()).with_context(|| format!("writing {}", file.display()))?;
    if json {
        println!("{}", json!({ "kid": kid, "alg": args.alg, "privateKey": path, "keyringFile": file }));
    } else {
        println!("{kid} ({}) is in {}", args.alg, file.display());
        println!("It signs nothing yet. Give the list to every Auth, then run `kisum keys rotate`.");
    }
    Ok(ExitCode::SUCCESS)
}

/// The month as `yymm` and a number that the list has not: every token carries the name, and has 700 bytes at most
/// (security.md, 9). Numbers begin anywhere, since the list need not have every key that the log knows.
fn new_name(entries: &[KeyringEntry]) -> Result<KeyId> {
    let today = ambient::now().to_string();
    let month: String = today.chars().take("yyyy-mm".len()).skip("yy".len()).filter(char::is_ascii_digit).collect();
    let [first] = ambient::random::<1>()?;
    let names = (0..=u8::MAX).map(|step| format!("{month}-{:02x}", first.wrapping_add(step)));
    let free = names.filter_map(|name| name.parse().ok()).find(|kid| entries.iter().all(|entry| entry.kid != *kid));
    free.context("every name of this month is taken: give one with --kid")
}
