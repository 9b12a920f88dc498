//! A company's entitlements from Core itself, for when the projection of them is not far enough.

use crate::auth::peers::{Peer, PeerError};
use kisum_events::{CompanyId, Cursor, ModuleEntitlement, Position};
use serde::Deserialize;
use std::time::Duration;

/// Longest wait for Core. A guard gives up earlier (150 ms, `consistency.md`, the ladder) and asks again; a person who
/// asks Auth directly waits.
const PATIENCE: Duration = Duration::from_millis(400);

/// What Core says a company owns.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoreEntitlements {
    /// The whole schedule.
    pub(super) entitlements: Vec<ModuleEntitlement>,
    /// Position of the event that gave it, 0 when there is none.
    pub(super) entitlement_version: Position,
    /// Head of the core log when it was read.
    pub(super) as_of: Cursor,
}

/// Asks Core.
///
/// # Errors
/// [`PeerError`] when it does not answer in time.
pub(super) async fn ask(core: &Peer, company: CompanyId) -> Result<CoreEntitlements, PeerError> {
    let path = format!("/internal/v1/companies/{company}/entitlements");
    let answer = core.get(&path, &[], PATIENCE).await?;
    metrics::histogram!("kisum_core_lookup_seconds").record(answer.took.as_secs_f64());
    Ok(answer.data)
}
