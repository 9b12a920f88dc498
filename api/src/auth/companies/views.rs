//! Memberships and companies as they are shown.

use kisum_domains::{Membership, company::CompanyStatus, membership::MembershipStatus};
use kisum_events::{MembershipId, TenantRole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A person's standing in a company, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::auth) enum Role {
    /// An ordinary member.
    User,
    /// Manages within what the delegation policy allows.
    Manager,
    /// Administers members.
    Admin,
    /// May grant everything the company owns.
    TenantSuperadmin,
}

impl Role {
    /// As read models store it: its name on the wire.
    pub(in crate::auth) const fn stored(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Manager => "MANAGER",
            Self::Admin => "ADMIN",
            Self::TenantSuperadmin => "TENANT_SUPERADMIN",
        }
    }

    /// Reads what a read model stores.
    pub(in crate::auth) fn read(stored: &str) -> Option<Self> {
        [Self::User, Self::Manager, Self::Admin, Self::TenantSuperadmin].into_iter().find(|it| it.stored() == stored)
    }
}

impl From<TenantRole> for Role {
    fn from(role: TenantRole) -> Self {
        match role {
            TenantRole::User => Self::User,
            TenantRole::Manager => Self::Manager,
            TenantRole::Admin => Self::Admin,
            TenantRole::TenantSuperadmin => Self::TenantSuperadmin,
        }
    }
}

impl From<Role> for TenantRole {
    fn from(role: Role) -> Self {
        match role {
            Role::User => Self::User,
            Role::Manager => Self::Manager,
            Role::Admin => Self::Admin,
            Role::TenantSuperadmin => Self::TenantSuperadmin,
        }
    }
}

/// Where a membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::auth) enum MemberStatus {
    /// The member may act for the company.
    Active,
    /// Not for now.
    Suspended,
    /// No longer a member.
    Revoked,
}

impl MemberStatus {
    /// As read models store it: its name on the wire.
    pub(in crate::auth) const fn stored(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// Reads what a read model stores.
    pub(in crate::auth) fn read(stored: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Revoked].into_iter().find(|status| status.stored() == stored)
    }
}

/// Where a company stands, as it is shown.
pub(in crate::auth) const fn company_status(status: &CompanyStatus) -> &'static str {
    match status {
        CompanyStatus::Unknown | CompanyStatus::Pending => "pending",
        CompanyStatus::Active => "active",
        CompanyStatus::Suspended { .. } => "suspended",
        CompanyStatus::Rejected { .. } => "rejected",
    }
}

/// A membership.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct MembershipView {
    /// Its id.
    membership_id: Uuid,
    /// Of which company.
    company_id: Option<Uuid>,
    /// Whose.
    user_id: Option<Uuid>,
    /// With which standing.
    tenant_role: Role,
    /// `active`, `suspended` or `revoked`.
    status: &'static str,
    /// Modules granted, whether owned now or dormant.
    modules: Vec<String>,
    /// Permissions granted to the member, whether usable now or dormant; what their named roles give is not among them.
    permissions: Vec<String>,
    /// Ids of their named roles, deleted ones included, which give nothing.
    roles: Vec<Uuid>,
}

impl MembershipView {
    /// A membership by id and state.
    pub(in crate::auth) fn new(id: MembershipId, state: &Membership) -> Self {
        Self {
            membership_id: id.uuid(),
            company_id: state.company_id.map(kisum_events::CompanyId::uuid),
            user_id: state.user_id.map(kisum_events::UserId::uuid),
            tenant_role: state.role.into(),
            status: match state.status {
                MembershipStatus::Active => "active",
                MembershipStatus::Suspended => "suspended",
                MembershipStatus::Unknown | MembershipStatus::Revoked => "revoked",
            },
            modules: state.modules.keys().map(ToString::to_string).collect(),
            permissions: state.permissions.keys().map(ToString::to_string).collect(),
            roles: state.roles.keys().map(|id| id.uuid()).collect(),
        }
    }
}
