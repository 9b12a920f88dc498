//! `kisum log`: looking at a log, following it, and verifying it against itself.
//!
//! It reads with the run-time role's rights and shows public parts alone. Beginning an epoch takes the owner's.

mod epoch;
mod show;
mod verify;

use crate::{
    ambient,
    local::{databases::Database, failure::with_causes},
    serve,
    usage::Usage,
};
use anyhow::Result;
use kisum_events::{Envelope, Log, Position};
use kisum_log::{Follow, FollowError, read_head};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{error::Error, process::ExitCode, time::Duration};

/// How long connecting may take before the database counts as unreachable.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What `kisum log` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Which log.
    #[arg(long, global = true, value_enum, default_value = "auth")]
    log: serve::Log,
    /// The database's URL; without it, the variable `AUTH_DB_URL` or `CORE_DB_URL`, for `epoch` the owner's
    /// (`AUTH_DB_OWNER_URL`, `CORE_DB_OWNER_URL`).
    #[arg(long, global = true, hide_env_values = true)]
    url: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Where the log ends.
    Head,
    /// Events from a position on.
    Show(show::Args),
    /// Events as they come, until Ctrl-C.
    Tail {
        /// Begin behind this position instead of at the end.
        #[arg(long)]
        after: Option<Position>,
        #[command(flatten)]
        filter: show::Filter,
    },
    /// Check contiguity, hashes, the chain of batches and the versions of streams.
    Verify,
    /// The epoch: which history of the log this database is.
    Epoch {
        #[command(subcommand)]
        command: epoch::Command,
    },
}

/// The database cannot be reached: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("the database of the {log} log cannot be reached")]
struct Unreachable {
    log: Log,
    source: sqlx::Error,
}

/// 3 when the database cannot be reached.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let unreachable = || cause.downcast_ref::<Unreachable>().map(|_| 3);
    let lost = || cause.downcast_ref::<sqlx::Error>().filter(|error| is_lost(error)).map(|_| 3);
    unreachable().or_else(|| epoch::exit_code(cause)).or_else(lost)
}

/// Whether the database went away, as opposed to answering that something is wrong (PostgreSQL, appendix A: connection
/// exception, operator intervention).
fn is_lost(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(answer) => answer.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_)),
    }
}

/// Runs the command.
///
/// # Errors
/// A position beyond the head, an epoch that is refused, a database that cannot be reached.
pub async fn run(args: Args) -> Result<ExitCode> {
    let log: Log = args.log.into();
    let database = match log {
        Log::Auth => Database::Auth,
        Log::Core => Database::Core,
    };
    let variable = match args.command {
        Command::Epoch { .. } => database.owner_url_variable(),
        _ => database.url_variable(),
    };
    let pool = connect(log, args.url, variable, "kisum-log").await?;
    let print = |event: &Envelope| show::print(event, args.json);
    match args.command {
        Command::Head => head(&pool, log, args.json).await,
        Command::Show(wanted) => show::run(&pool, log, &wanted, print).await,
        Command::Tail { after, filter } => {
            let mut conn = pool.acquire().await?;
            let head = read_head(&mut conn).await?;
            drop(conn);
            let position = after.unwrap_or(head.position);
            let at = kisum_events::Cursor { epoch: head.epoch, position };
            tail(Follow::new(pool, log, at), &filter, print).await
        }
        Command::Verify => verify::run(&pool, log, args.json).await,
        Command::Epoch { command } => epoch::run(&pool, log, command, args.json).await,
    }
}

/// Connects to a log's database, by `url` or the variable, under the given name.
///
/// # Errors
/// Exit code 2 without a URL, 3 when nobody answers.
pub(crate) async fn connect(log: Log, url: Option<String>, variable: &str, application: &str) -> Result<PgPool> {
    let url = url.or_else(|| ambient::variable(variable));
    let url = url.ok_or_else(|| Usage::new(format!("{variable} is not set")))?;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>();
    let options = options.map_err(|_| Usage::new(format!("what is given for {variable} is no URL")))?;
    // Verifying reads a whole log in a few long statements, comparing a whole table; the role's own limit is made for
    // requests.
    let options = options.application_name(application).options([("statement_timeout", "0")]);
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(CONNECT_MAX);
    Ok(pool.connect_with(options).await.map_err(|source| Unreachable { log, source })?)
}

async fn head(pool: &PgPool, log: Log, json: bool) -> Result<ExitCode> {
    let mut conn = pool.acquire().await?;
    let head = read_head(&mut conn).await?;
    if json {
        let (epoch, position) = (head.epoch, head.position);
        let access_position = head.access_position;
        println!(
            "{}",
            serde_json::json!({ "log": log, "epoch": epoch, "position": position, "accessPosition": access_position })
        );
    } else {
        println!(
            "{log} log, epoch {}: position {}, last access event {}",
            head.epoch, head.position, head.access_position
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn tail(mut follow: Follow, filter: &show::Filter, print: impl Fn(&Envelope) -> Result<()>) -> Result<ExitCode> {
    let mut stop = serve::shutdown_signal()?;
    loop {
        let events = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
            events = follow.next() => events,
        };
        let events = match events {
            // Asking again is right, and what was printed stays true.
            Err(error @ FollowError::Interrupted { .. }) => {
                eprintln!("kisum: {}", with_causes(&error));
                continue;
            }
            events => events?,
        };
        for event in events.iter().filter(|event| filter.takes(event)) {
            print(event)?;
        }
    }
}
