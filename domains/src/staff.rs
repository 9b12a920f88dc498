//! A person as one of the platform's staff: stream `staff-{userId}`.
//!
//! It owns which roles they have. It refuses to know companies: no staff role gives a membership. That an owner is left
//! concerns more than one stream: the append that takes the role from one guards another who has it.

use kisum_events::{Aggregate, StaffEvent, StaffRole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The state of a person as staff.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Staff {
    /// Their roles.
    pub roles: BTreeSet<StaffRole>,
}

impl Staff {
    /// Whether they have a role that may everything concerning staff.
    pub fn is_owner(&self) -> bool {
        self.roles.contains(&StaffRole::PlatformOwner)
    }
}

impl Aggregate for Staff {
    type Event = StaffEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &StaffEvent, _version: u64) {
        match event {
            StaffEvent::RoleGranted { role } => {
                self.roles.insert(*role);
            }
            StaffEvent::RoleRevoked { role } => {
                self.roles.remove(role);
            }
        }
    }
}

/// Gives a role. Twice is once.
pub fn grant(state: &Staff, role: StaffRole) -> Vec<StaffEvent> {
    if state.roles.contains(&role) { vec![] } else { vec![StaffEvent::RoleGranted { role }] }
}

/// Why a role was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeRoleError {
    /// Somebody has to be able to make others staff.
    #[error("the platform would be left without an owner")]
    LastOwner,
}

/// Takes a role. Twice is once. `another_owner` says whether somebody else who is active owns the platform; the append
/// has to guard them.
///
/// # Errors
/// [`RevokeRoleError`] when no owner would be left.
pub fn revoke(state: &Staff, role: StaffRole, another_owner: bool) -> Result<Vec<StaffEvent>, RevokeRoleError> {
    if !state.roles.contains(&role) {
        return Ok(vec![]);
    }
    if role == StaffRole::PlatformOwner && !another_owner {
        return Err(RevokeRoleError::LastOwner);
    }
    Ok(vec![StaffEvent::RoleRevoked { role }])
}

/// Takes every role, of somebody who leaves the platform.
///
/// # Errors
/// [`RevokeRoleError`] when no owner would be left.
pub fn revoke_all(state: &Staff, another_owner: bool) -> Result<Vec<StaffEvent>, RevokeRoleError> {
    if state.is_owner() && !another_owner {
        return Err(RevokeRoleError::LastOwner);
    }
    Ok(state.roles.iter().map(|role| StaffEvent::RoleRevoked { role: *role }).collect())
}
