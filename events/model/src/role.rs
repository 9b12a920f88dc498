//! Events of a named role, a set of permissions with a name: stream `role-{id}`, claim on company and name.

use crate::{CompanyId, PermissionKey, event::events};

events! {
    /// What happens to a named role.
    RoleEvent, company: company_of {
        /// A company has a role of that name. Nobody is given it by that.
        Created = "role.created" None {
            /// Of this company.
            company_id: CompanyId,
            /// What it is called.
            name: String,
            /// What it gives, in order.
            permissions: Vec<PermissionKey>,
        },
        /// It is called differently, or gives something else; counts as narrowing, since it may.
        Changed = "role.changed" Narrows {
            /// What it is called now; absent where that has not changed.
            #[serde(default, skip_serializing_if = "Option::is_none")] name: Option<String>,
            /// What it was called before, where that has changed.
            #[serde(default, skip_serializing_if = "Option::is_none")] previous_name: Option<String>,
            /// What it gives now and did not before, in order.
            added: Vec<PermissionKey>,
            /// What it gave before and does not now, in order.
            removed: Vec<PermissionKey>,
        },
        /// It gives nothing any more, whoever it is assigned to, and never will again.
        Deleted = "role.deleted" Narrows,
    }
}

/// The company that the event itself names.
const fn company_of(event: &RoleEvent) -> Option<CompanyId> {
    match event {
        RoleEvent::Created { company_id, .. } => Some(*company_id),
        RoleEvent::Changed { .. } | RoleEvent::Deleted => None,
    }
}
