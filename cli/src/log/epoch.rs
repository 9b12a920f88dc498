//! `kisum log epoch`: which history of the log a database is, and the beginning of a new one on a database that was
//! restored or promoted.
//!
//! It owns the order of the steps: look, say what is found, ask, begin, retire the old streams. Each run goes through
//! all of them and does what is left to do, so that a run that died anywhere is completed by the next.

mod report;

use crate::{ambient, usage::Usage};
use anyhow::{Context as _, Result};
use kisum_api::shared::{bus, config::Secret};
use kisum_events::{Log, Position};
use kisum_log::{EpochBegun, EpochError, EpochStanding, LogStream, LogStreams, Published, StreamsError, begin_epoch};
use sqlx::PgPool;
use std::{
    error::Error,
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// The variable with the NATS administrator's URL.
const NATS_VARIABLE: &str = "NATS_ADMIN_URL";
/// A reason is a sentence, not a report.
const REASON_CHARACTERS_MAX: usize = 500;

/// What `kisum log epoch` takes.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Which epoch is recorded, and whether it was started on this very database: exit code 1 when it was not.
    Show,
    /// Begin a new epoch on a restored or promoted database, and take the subjects from the streams of the old ones.
    New(New),
}

/// What `kisum log epoch new` takes.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Why, in a sentence; it becomes part of the log.
    #[arg(long, value_parser = reason)]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Begin the epoch in the database alone while NATS cannot be reached; run the command again later.
    #[arg(long)]
    skip_stream: bool,
    /// The NATS administrator's URL; without it, the variable `NATS_ADMIN_URL`.
    #[arg(long, hide_env_values = true)]
    nats_url: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why".to_owned()),
        1..=REASON_CHARACTERS_MAX => Ok(text.to_owned()),
        _ => Err(format!("at most {REASON_CHARACTERS_MAX} characters")),
    }
}

/// Why nothing was begun, where that is not the database's affair.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    /// NATS cannot be reached.
    #[error(
        "NATS cannot be reached as its administrator, and nothing was changed; with --skip-stream the epoch begins in \
         the database alone, and the command must be run again once NATS is there"
    )]
    Nats(#[source] Box<dyn Error + Send + Sync>),
    /// Nobody can be asked.
    #[error(
        "there is no terminal to ask on, and nothing was changed: say --yes to begin epoch {number} of the {log} log"
    )]
    Unasked { log: Log, number: u32 },
    /// Somebody said no.
    #[error("nothing was changed")]
    Declined,
}

/// The epoch has begun, and the rest could not be done.
#[derive(Debug, thiserror::Error)]
#[error("epoch {0} is this database's, but an old stream still holds its subjects: run the same command again")]
struct Unfinished(u32, #[source] StreamsError);

/// 2 when nobody could be asked, 3 when a dependency cannot be reached.
pub(super) fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let not_begun = cause.downcast_ref::<NotBegun>().map(|error| match error {
        NotBegun::Nats(_) => 3,
        NotBegun::Unasked { .. } => 2,
        NotBegun::Declined => 1,
    });
    let streams = || cause.downcast_ref::<StreamsError>().map(|_| 3);
    let database = || match cause.downcast_ref::<EpochError>()? {
        EpochError::Database(error) => Some(if error.as_database_error().is_some() { 1 } else { 3 }),
        _ => Some(1),
    };
    not_begun.or_else(streams).or_else(database)
}

/// Everything that is known before anything is changed.
struct Found {
    log: Log,
    standing: EpochStanding,
    /// Absent when they were not looked at.
    streams: Option<(LogStreams, Vec<LogStream>)>,
    /// The newest stream that holds anything, and what the log does not have of it.
    newest: Option<(LogStream, Published)>,
}

/// Why a new epoch is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The newest epoch was started on another history: the database was restored or promoted.
    OtherHistory,
    /// The newest epoch, or a later one, was published by a history that is not this database's.
    OtherStream,
}

impl Found {
    /// Whether a new epoch is due, and why.
    ///
    /// A copy of the whole data folder brought back has the identity of the database that it is a copy of, and so has
    /// one whose epoch row was forged: then only the stream knows that there was more.
    fn due(&self) -> Option<Due> {
        if !self.standing.is_here() {
            return Some(Due::OtherHistory);
        }
        let (stream, published) = self.newest.as_ref()?;
        let is_other = match stream.epoch.cmp(&self.standing.number) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => published.unknown > 0,
            std::cmp::Ordering::Less => false,
        };
        is_other.then_some(Due::OtherStream)
    }

    /// The highest epoch that a stream carries.
    fn highest_stream(&self) -> u32 {
        let streams = self.streams.iter().flat_map(|(_, list)| list);
        streams.map(|stream| stream.epoch).max().unwrap_or(0)
    }

    /// The number that the next epoch gets.
    fn next(&self) -> u32 {
        self.standing.number.max(self.highest_stream()).saturating_add(1)
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    /// The current epoch.
    epoch: u32,
    /// The position of its event, where it was begun by this run.
    begun_at: Option<Position>,
    /// Streams that gave up their subjects in this run.
    retired: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What it could not do, and what was changed before.
pub(super) async fn run(pool: &PgPool, log: Log, command: Command, json: bool) -> Result<ExitCode> {
    match command {
        Command::Show => {
            let mut conn = pool.acquire().await?;
            let standing = EpochStanding::read(&mut conn).await?;
            report::standing(log, &standing, json);
            Ok(if standing.is_here() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::New(new) => begin(pool, log, &new, json).await,
    }
}

async fn begin(pool: &PgPool, log: Log, new: &New, json: bool) -> Result<ExitCode> {
    let found = look(pool, log, new).await?;
    if !json {
        report::found(&found);
    }
    let mut done = Done { epoch: found.standing.number, ..Done::default() };
    if found.due().is_some() {
        confirm(log, found.next(), new.yes)?;
        let mut conn = pool.acquire().await?;
        let seen = (found.standing.number, found.highest_stream());
        match begin_epoch(&mut conn, log, seen, &new.reason).await? {
            EpochBegun::Begun(receipt) => {
                done.epoch = receipt.epoch;
                done.begun_at = Some(receipt.first);
            }
            EpochBegun::Overtaken(number) => done.epoch = number,
        }
        if !json {
            report::begun(log, &done);
        }
    }
    if let Some((streams, list)) = &found.streams {
        for stream in list.iter().filter(|stream| stream.epoch < done.epoch && !stream.is_retired) {
            streams.retire(stream).await.map_err(|error| Unfinished(done.epoch, error))?;
            done.retired.push(stream.name.clone());
        }
    }
    report::done(&found, &done, json);
    Ok(ExitCode::SUCCESS)
}

/// Looks at the database and the streams. NATS is asked before anything is changed, so that a run that begins an epoch
/// can be expected to finish.
async fn look(pool: &PgPool, log: Log, new: &New) -> Result<Found> {
    let mut conn = pool.acquire().await?;
    let standing = EpochStanding::read(&mut conn).await?;
    if standing.is_standby {
        return Err(EpochError::Standby.into());
    }
    if !standing.may_begin {
        return Err(EpochError::NotOwner).context("the URL must be the one of the database's owner");
    }
    let mut found = Found { log, standing, streams: None, newest: None };
    if new.skip_stream {
        return Ok(found);
    }
    let url = new.nats_url.clone().or_else(|| ambient::variable(NATS_VARIABLE));
    let url = Secret::new(url.ok_or_else(|| Usage::new(format!("{NATS_VARIABLE} is not set")))?);
    let nats = bus::connect_once(&url, "admin").await.map_err(NotBegun::Nats)?;
    let streams = LogStreams::new(nats, log);
    let list = streams.list().await.map_err(|error| NotBegun::Nats(error.into()))?;
    if let Some(newest) = list.iter().rfind(|stream| stream.last > 0) {
        let published = streams.compare(&mut conn, newest).await?;
        found.newest = Some((newest.clone(), published));
    }
    found.streams = Some((streams, list));
    Ok(found)
}

/// Lets a person confirm by typing the log's name.
fn confirm(log: Log, number: u32, yes: bool) -> Result<(), NotBegun> {
    if yes {
        return Ok(());
    }
    let mut stdin = std::io::stdin().lock();
    if !stdin.is_terminal() {
        return Err(NotBegun::Unasked { log, number });
    }
    eprint!("No other copy of this database may be written to from now on. Type {log} to begin epoch {number}: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let answered = stdin.read_line(&mut line).is_ok() && line.trim() == log.name();
    if answered { Ok(()) } else { Err(NotBegun::Declined) }
}
