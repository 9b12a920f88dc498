//! Events of a company as a tenant: stream `company-{id}`, claim on the slug.

use crate::{MembershipId, ModuleKey, PermissionKey, Slug, TenantRole, UserId, event::events};

events! {
    /// What happens to a company.
    CompanyEvent {
        /// Somebody registered it; it is pending.
        Registered = "company.registered" Widens {
            /// Its name in `x-org`.
            slug: Slug,
            /// Its display name.
            name: String,
            /// Who registered it.
            owner: UserId,
        },
        /// Staff approved it; it is active.
        Approved = "company.approved" Widens,
        /// Staff rejected it.
        Rejected = "company.rejected" Narrows {
            /// Why.
            reason: String,
        },
        /// Staff suspended it.
        Suspended = "company.suspended" Narrows {
            /// Why.
            reason: String,
        },
        /// It is active again.
        Reactivated = "company.reactivated" Widens,
        /// The set of superadmins is now this one; it is never empty once the company has members.
        SuperadminsChanged = "company.superadmins_changed" None {
            /// Their memberships, in order of id.
            memberships: Vec<MembershipId>,
        },
        /// What members of a role may grant at most, of what they hold themselves, is now this and nothing else.
        PolicySet = "company.policy_set" Narrows {
            /// `ADMIN` or `MANAGER`.
            role: TenantRole,
            /// Modules, in order.
            modules: Vec<ModuleKey>,
            /// Permissions, in order.
            permissions: Vec<PermissionKey>,
        },
        /// That many seats are used now.
        SeatsChanged = "company.seats_changed" None {
            /// Members that count.
            used: u32,
        },
    }
}
