//! Lost races: a command that was decided on a state that somebody else changed meanwhile is decided again.

use crate::shared::problem::{self, Problem};
use kisum_log::{AppendError, Receipt};

/// Times that a command is decided before its caller is told that others keep being faster.
pub(super) const ATTEMPTS_MAX: u32 = 8;

/// What became of an append.
pub(super) enum Outcome {
    /// It is committed.
    Done(Receipt),
    /// The states it was decided on have changed: load and decide again.
    Again,
    /// A unique value is held by another stream.
    Taken,
}

/// Sorts an append's verdict.
///
/// # Errors
/// The problem of every other failure.
pub(super) fn settle(result: Result<Receipt, AppendError>) -> Result<Outcome, Problem> {
    match result {
        Ok(receipt) => Ok(Outcome::Done(receipt)),
        Err(AppendError::Version { .. } | AppendError::Guard { .. }) => Ok(Outcome::Again),
        Err(AppendError::Claim { .. }) => Ok(Outcome::Taken),
        Err(error) => Err(problem::of_append(error)),
    }
}

/// What a caller is told who lost every race.
pub(super) fn lost() -> Problem {
    let message = "Others keep changing this at the same time; try again.";
    Problem::conflict(problem::conflict::VERSION, message)
}
