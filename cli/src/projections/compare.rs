//! `kisum projections rebuild` and `diff`: the same comparison, with and without repairing what differs.

use super::{bar::Bar, reach::Reach};
use crate::{bar::REFRESH, local::failure::with_causes};
use anyhow::Result;
use kisum_events::Log;
use kisum_log::FollowError;
use kisum_projectors::{Compared, Difference, RebuildError, Registered, Stage, TableDifferences};
use serde_json::{Value, json};
use std::process::ExitCode;
use tokio::sync::watch;

/// What is done about rows that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// They are made what the log says.
    Rebuild,
    /// They are named.
    Diff,
}

/// Compares one projection after the other; one that cannot be compared does not keep the others from it. 1 when one
/// could not, or when something differs that was not repaired.
pub(super) async fn run(wanted: &[Registered], reach: &Reach, task: Task, json: bool) -> Result<ExitCode> {
    let mut is_fine = true;
    for one in wanted {
        let outcome = compare(one, reach, task).await?;
        is_fine &= outcome.as_ref().is_ok_and(|compared| task == Task::Rebuild || compared.rows() == 0);
        match outcome {
            Ok(compared) if json => println!("{}", as_json(one, task, &compared)),
            Ok(compared) => print(one, task, &compared),
            // Nobody else will fare better.
            Err(error @ (RebuildError::Database(_) | RebuildError::Log(FollowError::Interrupted { .. }))) => {
                return Err(anyhow::Error::from(error).context(title(one)));
            }
            Err(error) if json => {
                let Registered { name, log, database, .. } = one;
                let said = with_causes(&error);
                let line = json!({ "projection": name, "log": log, "database": database, "ok": false, "error": said });
                println!("{line}");
            }
            Err(error) => println!("{}: {}", title(one), with_causes(&error)),
        }
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares one, and shows how far it is.
async fn compare(one: &Registered, reach: &Reach, task: Task) -> Result<Result<Compared, RebuildError>> {
    let (database, log) = (reach.database(one)?.connect_options(), reach.log(one)?);
    let stage = watch::Sender::new(Stage::default());
    let comparing = async {
        match task {
            Task::Rebuild => one.rebuild(&database, &log, &stage).await,
            Task::Diff => one.diff(&database, &log, &stage).await,
        }
    };
    tokio::pin!(comparing);
    let mut bar = Bar::on_stderr(title(one));
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            outcome = &mut comparing => break outcome,
            _ = refresh.tick() => bar.show(&stage.borrow()),
        }
    };
    bar.close();
    Ok(outcome)
}

fn title(one: &Registered) -> String {
    let (log, database) = (one.log, one.database);
    if log == database {
        format!("{} ({log} log)", one.name)
    } else {
        format!("{} ({log} log, {database} database)", one.name)
    }
}

/// What is called what: in the same order, rows that were missing, wrong, and too many.
const fn words(task: Task) -> [&'static str; 3] {
    match task {
        Task::Rebuild => ["inserted", "changed", "deleted"],
        Task::Diff => ["missing", "wrong", "surplus"],
    }
}

const fn word(task: Task, difference: Difference) -> &'static str {
    let [missing, wrong, surplus] = words(task);
    match difference {
        Difference::Missing => missing,
        Difference::Wrong => wrong,
        Difference::Surplus => surplus,
    }
}

fn print(one: &Registered, task: Task, compared: &Compared) {
    let through = compared.through;
    println!("{}: compared up to position {} of epoch {}", title(one), through.position, through.epoch);
    for table in &compared.tables {
        println!("  {}", counted(task, table));
        for (key, difference) in &table.first {
            println!("    {} {key}", word(task, *difference));
        }
        let unnamed = table.rows().saturating_sub(u64::try_from(table.first.len()).unwrap_or(0));
        if unnamed > 0 {
            println!("    and {unnamed} more");
        }
    }
}

fn counted(task: Task, table: &TableDifferences) -> String {
    let (name, rows) = (table.table, table.rows());
    if rows == 0 {
        return format!("{name}: is what the log says");
    }
    let [missing, wrong, surplus] = words(task);
    let done = match (task, table.is_partial) {
        (Task::Rebuild, _) => format!("{rows} rows repaired"),
        (Task::Diff, false) => format!("{rows} rows differ"),
        (Task::Diff, true) => format!("at least {rows} rows differ"),
    };
    format!("{name}: {done}: {} {missing}, {} {wrong}, {} {surplus}", table.missing, table.wrong, table.surplus)
}

fn as_json(one: &Registered, task: Task, compared: &Compared) -> Value {
    let [missing, wrong, surplus] = words(task);
    let table = |table: &TableDifferences| {
        let key = |(key, difference): &(String, Difference)| {
            let key: Value = serde_json::from_str(key).unwrap_or_default();
            json!({ "key": key, "row": word(task, *difference) })
        };
        let first: Vec<Value> = table.first.iter().map(key).collect();
        json!({
            "table": table.table, missing: table.missing, wrong: table.wrong, surplus: table.surplus,
            "isPartial": table.is_partial, "first": first,
        })
    };
    let (log, database): (Log, Log) = (one.log, one.database);
    json!({
        "projection": one.name, "log": log, "database": database,
        "ok": task == Task::Rebuild || compared.rows() == 0,
        "epoch": compared.through.epoch, "position": compared.through.position,
        "tables": compared.tables.iter().map(table).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Difference, TableDifferences, Task, counted, word};

    #[test]
    fn what_was_repaired_is_told_by_what_was_done_and_what_differs_by_what_it_is() {
        let table = TableDifferences {
            table: "member_list_v1",
            missing: 3,
            wrong: 2,
            surplus: 1,
            first: Vec::new(),
            is_partial: false,
        };
        assert_eq!(counted(Task::Rebuild, &table), "member_list_v1: 6 rows repaired: 3 inserted, 2 changed, 1 deleted");
        assert_eq!(counted(Task::Diff, &table), "member_list_v1: 6 rows differ: 3 missing, 2 wrong, 1 surplus");
        assert_eq!(word(Task::Diff, Difference::Surplus), "surplus");
        let more = TableDifferences { is_partial: true, ..table };
        assert!(counted(Task::Diff, &more).contains("at least 6 rows"));
    }
}
