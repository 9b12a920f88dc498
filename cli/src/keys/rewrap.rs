//! `kisum keys rewrap`: persons' keys are wrapped by the first of `DATA_ENCRYPTION_KEYS`.

use crate::{ambient, local::databases::Database, log::connect, seed::counting, serve, usage::Usage};
use anyhow::Result;
use kisum_events::Log;
use kisum_log::{SealError, Sealer};
use serde_json::json;
use sqlx::PgPool;
use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

/// The variable with the keys that wrap.
const KEYS_VARIABLE: &str = "DATA_ENCRYPTION_KEYS";

/// What `kisum keys rewrap` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which log's database.
    #[arg(long, value_enum, default_value = "auth")]
    log: serve::Log,
}

pub(super) async fn run(args: &Args, url: Option<String>, json: bool) -> Result<ExitCode> {
    let log: Log = args.log.into();
    let keys = ambient::variable(KEYS_VARIABLE).ok_or_else(|| Usage::new(format!("{KEYS_VARIABLE} is not set")))?;
    let sealer = Sealer::new(&keys)?;
    let database = match log {
        Log::Auth => Database::Auth,
        Log::Core => Database::Core,
    };
    let pool = connect(log, url, database.owner_url_variable(), "kisum-keys").await?;
    let total = sealer.wrapped_otherwise(&pool).await?;
    let done = AtomicU64::new(0);
    counting::shown("keys", total, &done, all(&sealer, &pool, &done)).await?;
    // Whoever still runs with another key first may have wrapped by it meanwhile.
    let left = sealer.wrapped_otherwise(&pool).await?;
    let (done, name) = (done.into_inner(), sealer.wraps_by().unwrap_or_default());
    if json {
        println!("{}", json!({ "log": log, "wrappedBy": name, "rewrapped": done, "left": left }));
    } else {
        println!("{done} persons' keys were wrapped by '{name}'; {left} are wrapped by another");
        if left == 0 {
            println!("Nothing in the {log} log's database needs another key of {KEYS_VARIABLE} any more.");
        }
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn all(sealer: &Sealer, pool: &PgPool, done: &AtomicU64) -> Result<(), SealError> {
    let mut through = None;
    while let Some(batch) = sealer.rewrap(pool, through).await? {
        through = Some(batch.through);
        done.fetch_add(batch.found, Ordering::Relaxed);
    }
    Ok(())
}
