//! Who may give what to whom inside a company (contract, *Who owns what*).
//!
//! It owns the rules about rank, ownership, catalog and delegation policy that every change of a membership passes, and
//! the lists that `/auth/me/access` shows of them. It refuses to know how the catalog and the entitlements were found.

use crate::{Company, Holdings, company::DelegationPolicy};
use kisum_events::{CompanyId, DelegationRights, ModuleKey, PermissionKey, RoleId, TenantRole};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a permission may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PermissionStanding {
    /// It may.
    Grantable,
    /// No longer; who holds it keeps it.
    Retired,
}

/// The catalog as far as a decision needs it: modules and permissions by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Modules that exist.
    pub modules: BTreeSet<ModuleKey>,
    /// Permissions that exist.
    pub permissions: BTreeMap<PermissionKey, PermissionStanding>,
}

/// Who acts.
#[derive(Clone, Debug)]
pub enum Acting<'a> {
    /// A service, staff, or the platform itself: anything that the company owns.
    Platform,
    /// A member of a company. The append guards the versions of membership and company, and of the roles that
    /// [`Authority::rests_on`] names.
    Member {
        /// What they hold.
        holdings: Holdings<'a>,
        /// What their role may grant at most.
        policy: &'a DelegationPolicy,
    },
}

/// What the acting person may do, as loaded for one command.
#[derive(Clone, Debug)]
pub struct Authority<'a> {
    /// Who acts.
    pub acting: Acting<'a>,
    /// Modules that the company owns now.
    pub owned: &'a BTreeSet<ModuleKey>,
    /// The catalog; the keys of the command are enough.
    pub catalog: &'a Catalog,
}

/// Why somebody may not change a membership at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The acting membership is not active.
    #[error("the acting membership is not active")]
    ActorNotActive,
    /// The acting member belongs to another company, which to them means that there is no such member.
    #[error("the member belongs to another company")]
    OtherCompany,
    /// The member does not rank below the acting one, or the acting one ranks too low for this at all.
    #[error("the acting member's role is too low")]
    RoleTooLow,
}

/// Why something may not be granted by anybody, or not by this person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// The catalog has no such module.
    #[error("there is no module '{module}'")]
    UnknownModule {
        /// Which.
        module: ModuleKey,
    },
    /// The company does not own the module now.
    #[error("the company does not own the module '{module}'")]
    ModuleNotOwned {
        /// Which.
        module: ModuleKey,
    },
    /// The catalog has no such permission.
    #[error("there is no permission '{permission}'")]
    UnknownPermission {
        /// Which.
        permission: PermissionKey,
    },
    /// The permission exists, but may no longer be granted.
    #[error("the permission '{permission}' is retired")]
    RetiredPermission {
        /// Which.
        permission: PermissionKey,
    },
    /// The acting member may not give this: it is not held, or the delegation policy does not allow it.
    #[error("the acting member may not grant '{what}'")]
    NotGrantable {
        /// The module's or permission's key.
        what: String,
    },
}

impl<'a> Authority<'a> {
    /// What a service, staff, or the platform itself may do.
    pub const fn platform(owned: &'a BTreeSet<ModuleKey>, catalog: &'a Catalog) -> Self {
        Self { acting: Acting::Platform, owned, catalog }
    }

    /// What a member of a company may do.
    pub fn member(
        (acting, company): (Holdings<'a>, &'a Company),
        owned: &'a BTreeSet<ModuleKey>,
        catalog: &'a Catalog,
    ) -> Self {
        let policy = company.policy(acting.membership().role);
        let acting = Acting::Member { holdings: acting, policy };
        Self { acting, owned, catalog }
    }

    /// Whether a grant may be given to, or taken from, a member of `role`: superadmins over everybody, others over
    /// lower roles.
    pub(crate) fn reaches(&self, company: Option<CompanyId>, role: TenantRole) -> Result<(), Refused> {
        let Acting::Member { holdings, policy: _ } = &self.acting else { return Ok(()) };
        let acting = holdings.membership();
        if !acting.is_active() {
            return Err(Refused::ActorNotActive);
        }
        if acting.company_id.is_none() || acting.company_id != company {
            return Err(Refused::OtherCompany);
        }
        if acting.role == TenantRole::TenantSuperadmin || role < acting.role {
            return Ok(());
        }
        Err(Refused::RoleTooLow)
    }

    /// Whether members of `role` may be added, changed and ended, and grants taken from them: as
    /// [`Self::reaches`], for those who manage people at all.
    pub(crate) fn manages(&self, company: Option<CompanyId>, role: TenantRole) -> Result<(), Refused> {
        self.reaches(company, role)?;
        match &self.acting {
            Acting::Platform => Ok(()),
            Acting::Member { holdings, .. } if manages_users(holdings.membership().role) => Ok(()),
            Acting::Member { .. } => Err(Refused::RoleTooLow),
        }
    }

    /// Whether what binds everybody in a company may be changed: its superadmins may, and the platform.
    ///
    /// # Errors
    /// [`Refused`] for everybody else.
    pub fn leads(&self, company: CompanyId) -> Result<(), Refused> {
        self.reaches(Some(company), TenantRole::TenantSuperadmin)
    }

    /// Whether a module may be granted by the acting person.
    pub(crate) fn may_grant_module(&self, module: &ModuleKey) -> Result<(), GrantRefused> {
        self.knows_module(module)?;
        self.owns(module)?;
        let may = match &self.acting {
            Acting::Platform => true,
            Acting::Member { holdings, .. } if gives_everything(holdings) => true,
            Acting::Member { holdings, policy } => holdings.has_module(module) && policy.modules.contains(module),
        };
        if may { Ok(()) } else { Err(GrantRefused::NotGrantable { what: module.to_string() }) }
    }

    /// Whether a permission may be granted by the acting person.
    pub(crate) fn may_grant_permission(&self, permission: &PermissionKey) -> Result<(), GrantRefused> {
        match self.knows_permission(permission)? {
            PermissionStanding::Retired => {
                return Err(GrantRefused::RetiredPermission { permission: permission.clone() });
            }
            PermissionStanding::Grantable => {}
        }
        let module = permission.module();
        self.owns(&module)?;
        let may = match &self.acting {
            Acting::Platform => true,
            Acting::Member { holdings, .. } if gives_everything(holdings) => true,
            // Held means usable: a permission whose module they are not granted is nothing they could pass on.
            Acting::Member { holdings, policy } => {
                holdings.can_use(permission) && policy.permissions.contains(permission)
            }
        };
        if may { Ok(()) } else { Err(GrantRefused::NotGrantable { what: permission.to_string() }) }
    }

    /// Whether the acting member may pass a permission on for a time: as granting it, and whoever grants everything passes on
    /// what they can use themselves. The platform passes nothing on.
    pub(crate) fn may_delegate(&self, permission: &PermissionKey) -> Result<(), GrantRefused> {
        self.may_grant_permission(permission)?;
        match &self.acting {
            Acting::Member { holdings, .. } if holdings.can_use(permission) => Ok(()),
            Acting::Member { .. } | Acting::Platform => {
                Err(GrantRefused::NotGrantable { what: permission.to_string() })
            }
        }
    }

    /// Whether the catalog has a module.
    pub(crate) fn knows_module(&self, module: &ModuleKey) -> Result<(), GrantRefused> {
        if self.catalog.modules.contains(module) {
            return Ok(());
        }
        Err(GrantRefused::UnknownModule { module: module.clone() })
    }

    /// Where a permission stands in the catalog.
    pub(crate) fn knows_permission(&self, permission: &PermissionKey) -> Result<PermissionStanding, GrantRefused> {
        let standing = self.catalog.permissions.get(permission).copied();
        standing.ok_or_else(|| GrantRefused::UnknownPermission { permission: permission.clone() })
    }

    fn owns(&self, module: &ModuleKey) -> Result<(), GrantRefused> {
        if self.owned.contains(module) {
            return Ok(());
        }
        Err(GrantRefused::ModuleNotOwned { module: module.clone() })
    }

    /// The acting member's role without which a permission could not be granted, where there is one. Whoever gives
    /// everything gives it whatever they hold.
    pub fn rests_on(&self, permission: &PermissionKey) -> Option<RoleId> {
        match &self.acting {
            Acting::Platform => None,
            Acting::Member { holdings, .. } if gives_everything(holdings) => None,
            Acting::Member { holdings, policy: _ } => holdings.rests_on(permission),
        }
    }

    /// The same rules as lists, for the access context. They tell a client what to offer; a command decides afresh.
    pub fn rights(&self) -> DelegationRights {
        let (can_manage_users, can_buy_addons) = match &self.acting {
            Acting::Platform => (true, true),
            Acting::Member { holdings, .. } => (manages_users(holdings.membership().role), gives_everything(holdings)),
        };
        let modules = self.catalog.modules.iter().filter(|module| self.may_grant_module(module).is_ok());
        let permissions = self.catalog.permissions.keys().filter(|key| self.may_grant_permission(key).is_ok());
        DelegationRights {
            can_manage_users,
            can_buy_addons,
            grantable_modules: modules.cloned().collect(),
            grantable_permissions: permissions.cloned().collect(),
        }
    }
}

/// Whether somebody may grant whatever the company owns, held or not.
fn gives_everything(holdings: &Holdings<'_>) -> bool {
    holdings.membership().role == TenantRole::TenantSuperadmin
}

/// Who may add and change members: administrators and up.
fn manages_users(role: TenantRole) -> bool {
    role >= TenantRole::Admin
}
