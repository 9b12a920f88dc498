//! `kisum projections`: which read models there are and how far they are, whether they are what their logs say, and
//! making them so.
//!
//! It works with the run-time roles' rights, beside running services. Folding and comparing are `kisum-projectors`'.

mod bar;
mod compare;
mod list;
mod reach;

use crate::{serve, usage::Usage};
use anyhow::Result;
use kisum_events::Log;
use kisum_log::FollowError;
use kisum_projectors::{RebuildError, Registered, SourceError, registry};
use reach::Reach;
use std::{error::Error, process::ExitCode};

/// What `kisum projections` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Only those that fold this log.
    #[arg(long, global = true, value_enum)]
    log: Option<serve::Log>,
    /// Only those that live in this log's database.
    #[arg(long, global = true, value_enum)]
    database: Option<serve::Log>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// How far each is behind its log, and what stopped it: exit code 1 when an event has stopped one.
    List {
        /// Only this one.
        name: Option<String>,
    },
    /// Fold the log anew beside a running projection, and repair the rows that are not what it says.
    Rebuild(Wanted),
    /// Fold the log anew and name the rows that are not what it says: exit code 1 when there are any. Changes nothing.
    Diff(Wanted),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Wanted {
    /// Which, such as member_list_v1.
    name: Option<String>,
    /// All of them, one after the other.
    #[arg(long)]
    all: bool,
}

/// 3 when what a projection lives in or folds cannot be reached.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let source = || cause.downcast_ref::<SourceError>().map(|_| 3);
    let log = || match cause.downcast_ref::<RebuildError>()? {
        RebuildError::Log(FollowError::Interrupted { .. }) => Some(3),
        _ => None,
    };
    source().or_else(log)
}

/// Runs the command.
///
/// # Errors
/// A name that no projection has, a variable that is not set, a dependency that cannot be reached.
pub async fn run(args: Args) -> Result<ExitCode> {
    let (log, database) = (args.log.map(Log::from), args.database.map(Log::from));
    let name = match &args.command {
        Command::List { name } => name,
        Command::Rebuild(wanted) | Command::Diff(wanted) => &wanted.name,
    };
    let wanted = select(name.as_deref(), log, database)?;
    let reach = Reach::of(&wanted).await?;
    match args.command {
        Command::List { .. } => list::run(&wanted, &reach, args.json).await,
        Command::Rebuild(_) => compare::run(&wanted, &reach, compare::Task::Rebuild, args.json).await,
        Command::Diff(_) => compare::run(&wanted, &reach, compare::Task::Diff, args.json).await,
    }
}

/// The projections that are meant.
fn select(name: Option<&str>, log: Option<Log>, database: Option<Log>) -> Result<Vec<Registered>, Usage> {
    let known = |one: &Registered| name.is_none_or(|name| one.name == name);
    if !registry::ALL.iter().any(known) {
        let mut names: Vec<_> = registry::ALL.iter().map(|one| one.name).collect();
        names.dedup();
        return Err(Usage::new(format!(
            "there is no projection {}; there are {}",
            name.unwrap_or_default(),
            names.join(", ")
        )));
    }
    let wanted = |one: &Registered| {
        known(one) && log.is_none_or(|log| one.log == log) && database.is_none_or(|log| one.database == log)
    };
    let found: Vec<_> = registry::ALL.into_iter().filter(wanted).collect();
    if found.is_empty() { Err(Usage::new("no projection folds that log in that database")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::{Log, select};

    fn names(name: Option<&str>, log: Option<Log>, database: Option<Log>) -> Vec<(&'static str, Log)> {
        let found = select(name, log, database).unwrap_or_else(|error| panic!("{error}"));
        found.iter().map(|one| (one.name, one.database)).collect()
    }

    #[test]
    fn a_name_means_every_projection_that_has_it_and_options_narrow() {
        let both = [("event_index_v1", Log::Auth), ("event_index_v1", Log::Core)];
        assert_eq!(names(Some("event_index_v1"), None, None), both);
        assert_eq!(names(Some("event_index_v1"), Some(Log::Core), None), both[1..]);
        let of_core_in_auth = names(None, Some(Log::Core), Some(Log::Auth));
        assert_eq!(of_core_in_auth, [("entitlements_v1", Log::Auth), ("catalog_v1", Log::Auth)]);
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        let said = |error: Result<Vec<_>, crate::usage::Usage>| error.err().map(|error| error.to_string());
        let unknown = said(select(Some("members"), None, None)).unwrap_or_default();
        assert!(unknown.contains("no projection members") && unknown.contains("member_list_v1"), "{unknown}");
        assert!(said(select(Some("member_list_v1"), Some(Log::Core), None)).is_some());
    }
}
