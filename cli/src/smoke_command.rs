//! `kisum smoke`: the smoke check against the platform that the environment names (`.kisum/env`).

use crate::{
    ambient,
    platform::{Addresses, Ask, Platform},
    smoke::{self, Output},
};
use anyhow::Result;
use std::process::ExitCode;

/// What `kisum smoke` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs every check; 1 when one failed.
///
/// # Errors
/// When a variable is missing or the administrator's key cannot be read.
pub async fn run(args: Args) -> Result<ExitCode> {
    let platform = Platform::new(Addresses::from_variables(&ambient::variables())?)?;
    // A platform that is not there has nothing wrong that a check could find: exit code 3, not 1.
    platform.public(&platform.addresses().auth, None, Ask::get("/health")).await?;
    let output = if args.json { Output::Silent } else { Output::Lines };
    let report = smoke::run(&platform, output).await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
