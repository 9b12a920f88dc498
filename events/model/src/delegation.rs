//! Events of a delegation, by which one member passes on to another what they hold themselves, for a time: stream
//! `delegation-{id}`. Both memberships' streams carry it too: access is resolved from those.

use crate::{CompanyId, MembershipId, PermissionKey, Timestamp, event::events};
use serde::{Deserialize, Serialize};

/// Why a delegation is over before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DelegationEndCause {
    /// Somebody who may ended it.
    Ended,
    /// Its giver holds, or is, less than when it was given.
    GiverNarrowed,
}

events! {
    /// What happens to a delegation.
    DelegationEvent, company: company_of {
        /// One member has passed permissions on to another. They are worth what the giver holds whenever it is asked.
        Granted = "delegation.granted" Widens {
            /// In this company.
            company_id: CompanyId,
            /// Whose they are.
            from: MembershipId,
            /// Who may use them.
            to: MembershipId,
            /// Which, in order.
            permissions: Vec<PermissionKey>,
            /// From then on.
            valid_from: Timestamp,
            /// Until right before then.
            valid_until: Timestamp,
        },
        /// It gives nothing any more, and never will again.
        Ended = "delegation.ended" Narrows {
            /// Who may not use them any more.
            to: MembershipId,
            /// Why.
            cause: DelegationEndCause,
        },
    }
}

/// The company that the event itself names.
const fn company_of(event: &DelegationEvent) -> Option<CompanyId> {
    match event {
        DelegationEvent::Granted { company_id, .. } => Some(*company_id),
        DelegationEvent::Ended { .. } => None,
    }
}
