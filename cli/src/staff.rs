//! `kisum staff`: making the platform's first owner, through the running Auth.
//!
//! It owns the command line. That it works once is decided by Auth; every other role is given by an owner.

use crate::{
    ambient,
    platform::{Addresses, Answer, Ask, Callee, Platform},
    usage::Usage,
};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use std::process::ExitCode;

/// What `kisum staff` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make somebody who is registered the platform's first owner; works once.
    Bootstrap {
        /// Their address.
        #[arg(long)]
        email: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it; 1 where the platform has had its first owner.
///
/// # Errors
/// When a variable is missing, Auth does not answer, or nobody has the address.
pub async fn run(args: Args) -> Result<ExitCode> {
    let Command::Bootstrap { email, json } = args.command;
    if !email.contains('@') {
        return Err(Usage::new(format!("--email: '{email}' is no address")).into());
    }
    let platform = Platform::new(Addresses::from_variables(&ambient::variables())?)?;
    let answer = bootstrap(&platform, &email).await?;
    if answer.reason() == ALREADY {
        if json {
            println!("{}", json!({ "bootstrapped": false, "reason": ALREADY }));
        } else {
            eprintln!("kisum: the platform has had its first owner already; an owner makes others staff");
        }
        return Ok(ExitCode::FAILURE);
    }
    let user = answer.text("/userId")?;
    if json {
        println!("{}", json!({ "bootstrapped": true, "userId": user }));
    } else {
        println!("{email} ({user}) is the platform's first owner");
    }
    Ok(ExitCode::SUCCESS)
}

/// The reason of the refusal of a second first owner.
pub const ALREADY: &str = "already_bootstrapped";

/// Asks for it.
///
/// # Errors
/// When there is no answer.
pub async fn bootstrap(platform: &Platform, email: &str) -> Result<Answer> {
    let ask = Ask::new(Method::POST, "/internal/v1/staff/bootstrap").body(json!({ "email": email }));
    platform.internal(Callee::Auth, ask).await
}
