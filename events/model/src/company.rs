//! Events of a company as a tenant: stream `company-{id}`, claim on the slug.

use crate::{MembershipId, Slug, UserId, event::events};

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
        /// That many seats are used now.
        SeatsChanged = "company.seats_changed" None {
            /// Members that count.
            used: u32,
        },
    }
}
