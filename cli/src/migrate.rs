//! `kisum migrate <database>`: the embedded migrations, applied by the database's owner.

use crate::{
    ambient,
    local::databases::{self, Database, MigrationFailure},
};
use anyhow::{Context as _, Result};
use std::{error::Error, process::ExitCode};

/// What `kisum migrate` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// auth, core, basic or finance.
    database: Database,
    /// The owner's URL; without it, the variable `<DATABASE>_DB_OWNER_URL`.
    #[arg(long, hide_env_values = true)]
    url: Option<String>,
}

/// Applies what is missing.
///
/// # Errors
/// See [`MigrationFailure`]; also when no URL is given.
pub async fn run(args: Args) -> Result<ExitCode> {
    let variable = args.database.owner_url_variable();
    let url = args.url.or_else(|| ambient::variable(variable)).with_context(|| format!("{variable} is not set"))?;
    databases::migrate(args.database, &url).await?;
    println!("{} has every migration", args.database);
    Ok(ExitCode::SUCCESS)
}

/// 3 when the database cannot be reached.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    cause.downcast_ref().map(|failure| match failure {
        MigrationFailure::Connect { .. } => 3,
        MigrationFailure::Changed { .. } | MigrationFailure::Newer { .. } | MigrationFailure::Run { .. } => 1,
    })
}
