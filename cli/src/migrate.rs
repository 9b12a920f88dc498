//! `kisum migrate <database>`: the embedded migrations, applied by the database's owner.

use crate::{
    ambient,
    local::databases::{self, Database, MigrationFailure},
    usage::Usage,
};
use anyhow::Result;
use sqlx::postgres::PgConnectOptions;
use std::{error::Error, process::ExitCode};

/// What `kisum migrate` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// auth, core, basic or finance.
    database: Database,
    /// The owner's URL; without it, the variable `<DATABASE>_DB_OWNER_URL`.
    #[arg(long, hide_env_values = true)]
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Applies what is missing.
///
/// # Errors
/// See [`MigrationFailure`]; also when no URL is given.
pub async fn run(args: Args) -> Result<ExitCode> {
    let variable = args.database.owner_url_variable();
    let url = args.url.or_else(|| ambient::variable(variable));
    let url = url.ok_or_else(|| Usage::new(format!("{variable} is not set")))?;
    if url.parse::<PgConnectOptions>().is_err() {
        return Err(Usage::new(format!("what is given for {variable} is no URL")).into());
    }
    databases::migrate(args.database, &url).await?;
    if args.json {
        println!("{}", serde_json::json!({ "database": args.database.name(), "ok": true }));
    } else {
        println!("{} has every migration", args.database);
    }
    Ok(ExitCode::SUCCESS)
}

/// 3 when the database cannot be reached.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    cause.downcast_ref().map(|failure| match failure {
        MigrationFailure::Connect { .. } => 3,
        MigrationFailure::Changed { .. } | MigrationFailure::Newer { .. } | MigrationFailure::Run { .. } => 1,
    })
}
