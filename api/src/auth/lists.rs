//! What the lists that are made from read models have in common: how fresh they are, and saying so.
//!
//! A list may lag behind the log it is a fold of. It waits for what was committed before it was asked for, but not
//! long; it always says where it stands. What a request carries (`X-Access-Position`) it contains, or there is no
//! answer. It refuses to know what is listed.

use super::{Auth, companies::Carried};
use crate::shared::problem::{self, Problem};
use kisum_events::Cursor;
use kisum_projectors::Progress;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a list waits for its read model (`consistency.md`, *Read your own write*).
const WAIT: Duration = Duration::from_millis(100);

/// Where a list stands in the auth log: it shows everything up to there, and nothing behind.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct ListAsOf {
    /// The log's epoch.
    epoch: u32,
    /// Position of the last event that is shown.
    position: u64,
}

impl ListAsOf {
    /// Reads what the list's own snapshot says: the log's epoch, and epoch and position of the read model.
    ///
    /// # Errors
    /// 503 while the read model has not begun with this epoch of the log: it would show nothing, or what has been.
    pub(super) fn read(current: i32, epoch: Option<i32>, position: Option<i64>) -> Result<Self, Problem> {
        match (epoch, position) {
            (Some(epoch), Some(position)) if epoch == current => {
                Ok(Self { epoch: u32::try_from(epoch).unwrap_or(0), position: u64::try_from(position).unwrap_or(0) })
            }
            _ => Err(Problem::unavailable("This list is being built.")),
        }
    }
}

/// Waits until a read model contains what was committed before, as long as that is worth it.
///
/// # Errors
/// 400 for a carried position that does not exist; 503 for one that is not reached in time, and where an event has
/// stopped the read model: it would show the past for as long as this process runs.
pub(super) async fn settle(auth: &Auth, list: &Progress, carried: Carried) -> Result<(), Problem> {
    let head = auth.log.head().await.map_err(problem::of_load)?;
    let least = carried.least().auth;
    if (least.epoch, least.position) > (head.epoch, head.position) {
        return Err(Problem::validation("The position in X-Access-Position does not exist."));
    }
    let head = Cursor { epoch: head.epoch, position: head.position };
    match tokio::time::timeout(WAIT, list.reached(head)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_stopped)) => Err(Problem::unavailable("This list stands still.")),
        Err(_elapsed) if list.has_reached(least) => Ok(()),
        Err(_elapsed) => Err(Problem::unavailable("The position that the request carries is not reached yet.")),
    }
}
