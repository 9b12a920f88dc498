//! `kisum service-token`: a token for one request to an internal route, for a person at a local platform.
//!
//! Elsewhere than in `ENVIRONMENT=local` nobody borrows a service's key, so it refuses to work there.

use crate::{
    ambient,
    local::{layout::Layout, secrets::Secrets, services},
};
use anyhow::{Context as _, Result, bail};
use kisum_guard::ServiceSigner;
use std::{path::PathBuf, process::ExitCode};

/// What `kisum service-token` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The caller, whose key signs; `admin` may call everything.
    #[arg(long = "as", value_name = "CALLER")]
    caller: String,
    /// The service that is called: auth, core, relay-auth, …
    #[arg(long = "aud", value_name = "SERVICE")]
    callee: String,
    /// The method of the one request that the token is good for.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The path of that request.
    #[arg(long)]
    path: String,
    /// The folder of the local platform.
    #[arg(long, default_value = ".kisum")]
    dir: PathBuf,
}

/// Prints the token and nothing else, for use in `curl -H "Authorization: Bearer $(kisum service-token …)"`.
///
/// # Errors
/// Outside a local environment, and when the caller has no key in the folder.
pub fn run(args: &Args) -> Result<ExitCode> {
    let environment = ambient::variable("ENVIRONMENT").unwrap_or_else(|| services::ENVIRONMENT.to_owned());
    if environment != services::ENVIRONMENT {
        bail!("service tokens are made here only where ENVIRONMENT is {}", services::ENVIRONMENT);
    }
    let folder = Layout::at(&args.dir).secrets();
    let path = Secrets::in_folder(&folder).service_key_path(&args.caller);
    let key = std::fs::read_to_string(&path)
        .with_context(|| format!("{} has no key in {}; run `./dev up` first", args.caller, args.dir.display()))?;
    let signer = ServiceSigner::new(&environment, &args.caller, &key)?;
    println!("{}", signer.token(&args.callee, &args.method.to_uppercase(), &args.path, ambient::now()));
    Ok(ExitCode::SUCCESS)
}
