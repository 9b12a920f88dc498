//! Events of a membership: stream `membership-{id}`, claim on company and person.

use crate::{
    CompanyId, DelegationId, MembershipId, ModuleKey, PermissionKey, RoleId, Timestamp, UserId, event::events,
};
use serde::{Deserialize, Serialize};

/// A person's standing in a company, lowest first, so that `<` compares rank. No role implies a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TenantRole {
    /// An ordinary member.
    User,
    /// Manages within what the delegation policy allows.
    Manager,
    /// Administers members.
    Admin,
    /// May grant everything the company owns.
    TenantSuperadmin,
}

events! {
    /// What happens to a membership.
    MembershipEvent, company: company_of {
        /// A person became a member.
        Created = "membership.created" Widens {
            /// Of this company.
            company_id: CompanyId,
            /// This person.
            user_id: UserId,
            /// With this role.
            tenant_role: TenantRole,
            /// By which way: `registration`, `administrator`, `invitation`, `seed`.
            via: String,
        },
        /// The role changed; counts as narrowing, since it may.
        TenantRoleChanged = "membership.tenant_role_changed" Narrows {
            /// Before.
            from: TenantRole,
            /// After.
            to: TenantRole,
        },
        /// The member may not act for the company.
        Suspended = "membership.suspended" Narrows,
        /// The member may again.
        Reactivated = "membership.reactivated" Widens,
        /// The person is no member any more.
        Revoked = "membership.revoked" Narrows,
        /// The member may use a module that the company owns.
        ModuleGranted = "membership.module_granted" Widens {
            /// Which.
            module: ModuleKey,
        },
        /// No longer.
        ModuleRevoked = "membership.module_revoked" Narrows {
            /// Which.
            module: ModuleKey,
        },
        /// The member holds a permission.
        PermissionGranted = "membership.permission_granted" Widens {
            /// Which.
            permission: PermissionKey,
        },
        /// No longer.
        PermissionRevoked = "membership.permission_revoked" Narrows {
            /// Which.
            permission: PermissionKey,
        },
        /// The member holds whatever a named role gives, for as long as it does.
        RoleAssigned = "membership.role_assigned" Widens {
            /// Which.
            role_id: RoleId,
        },
        /// No longer.
        RoleUnassigned = "membership.role_unassigned" Narrows {
            /// Which.
            role_id: RoleId,
        },
        /// Another member has passed permissions on to this one.
        DelegationReceived = "membership.delegation_received" Widens {
            /// By this delegation.
            delegation_id: DelegationId,
            /// The giver's membership.
            from: MembershipId,
            /// The giver.
            from_user: UserId,
            /// Which, in order.
            permissions: Vec<PermissionKey>,
            /// From then on.
            valid_from: Timestamp,
            /// Until right before then.
            valid_until: Timestamp,
        },
        /// This member has passed permissions on to another, and holds them still.
        DelegationGiven = "membership.delegation_given" None {
            /// By this delegation.
            delegation_id: DelegationId,
            /// The receiver's membership.
            to: MembershipId,
            /// Which, in order.
            permissions: Vec<PermissionKey>,
            /// From then on.
            valid_from: Timestamp,
            /// Until right before then.
            valid_until: Timestamp,
        },
        /// A delegation that this member has received or given is over.
        DelegationEnded = "membership.delegation_ended" Narrows {
            /// Which.
            delegation_id: DelegationId,
        },
    }
}

/// The company that the event itself names.
const fn company_of(event: &MembershipEvent) -> Option<CompanyId> {
    match event {
        MembershipEvent::Created { company_id, .. } => Some(*company_id),
        MembershipEvent::TenantRoleChanged { .. }
        | MembershipEvent::Suspended
        | MembershipEvent::Reactivated
        | MembershipEvent::Revoked
        | MembershipEvent::ModuleGranted { .. }
        | MembershipEvent::ModuleRevoked { .. }
        | MembershipEvent::PermissionGranted { .. }
        | MembershipEvent::PermissionRevoked { .. }
        | MembershipEvent::RoleAssigned { .. }
        | MembershipEvent::RoleUnassigned { .. }
        | MembershipEvent::DelegationReceived { .. }
        | MembershipEvent::DelegationGiven { .. }
        | MembershipEvent::DelegationEnded { .. } => None,
    }
}
