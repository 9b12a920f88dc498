//! A row that was inserted under an idempotency key before.
//!
//! It owns the comparison of what was asked then and now. It refuses to know any table.

use crate::shared::problem::{Problem, conflict};

/// The row of the same command, where it asked for the same; another one under the same key is a conflict.
pub(super) fn same_command<R>(earlier: Option<R>, asks_the_same: impl FnOnce(&R) -> bool) -> Result<R, Problem> {
    match earlier {
        Some(row) if asks_the_same(&row) => Ok(row),
        Some(_) => Err(Problem::conflict(conflict::KEY_REUSED, "This idempotency key was used with another request.")),
        None => Err(Problem::unavailable("The same command is being carried out at this moment.")),
    }
}
