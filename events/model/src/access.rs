//! What services say to each other about access: the context, the answer that carries it, and heads.

use crate::{
    AsOf, CompanyId, Cursor, Limits, MembershipId, ModuleKey, PermissionKey, Position, SessionId, TenantRole,
    Timestamp, UserId,
};
use serde::{Deserialize, Serialize};

/// What one person may do in one company, resolved at one instant. Plan §2; contract, `GET /auth/me/access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessContext {
    /// Who.
    pub user_id: UserId,
    /// Where.
    pub company_id: CompanyId,
    /// By which membership.
    pub membership_id: MembershipId,
    /// With which standing.
    pub tenant_role: TenantRole,
    /// Whether Basic is active: alone decides whether the Core App is shown.
    pub core_app_visible: bool,
    /// Modules that the company owns now and the membership is granted, in order.
    pub modules: Vec<ModuleKey>,
    /// Modules that the company owns now, granted or not, in order: what tells `module_not_owned` from
    /// `module_not_granted`.
    pub owned_modules: Vec<ModuleKey>,
    /// Permissions held whose module stands in `modules`, in order.
    pub permissions: Vec<PermissionKey>,
    /// Limits of what the company owns now; of several sources the largest counts.
    pub limits: Limits,
    /// What the person may give to others.
    pub delegation: DelegationRights,
    /// The next instant at which anything above changes by itself; absent when nothing does.
    pub valid_until: Option<Timestamp>,
    /// What it was resolved from.
    pub meta: ContextMeta,
}

impl AccessContext {
    /// Whether the holder may do what `permission` names, asked in the contract's order: the company owns the
    /// module, the membership is granted it, the permission is held. Holds while `now < valid_until`.
    ///
    /// # Errors
    /// [`Denied`], naming the first thing that is missing.
    pub fn check(&self, permission: &PermissionKey) -> Result<(), Denied> {
        let module = permission.module();
        if self.owned_modules.binary_search(&module).is_err() {
            return Err(Denied::ModuleNotOwned { module });
        }
        if self.modules.binary_search(&module).is_err() {
            return Err(Denied::ModuleNotGranted { module });
        }
        if self.permissions.binary_search(permission).is_err() {
            return Err(Denied::MissingPermission { permission: permission.clone() });
        }
        Ok(())
    }

    /// Whether [`AccessContext::check`] finds nothing missing, without taking the key apart: for a decision's usual
    /// case.
    pub fn allows(&self, permission: &str) -> bool {
        let module = permission.split('.').next().unwrap_or_default();
        let owns = self.owned_modules.binary_search_by(|owned| owned.as_str().cmp(module)).is_ok();
        owns && self.has_module(module) && self.holds(permission)
    }

    /// Whether a permission is held. Permissions of modules that are not usable are never in the list.
    pub fn holds(&self, permission: &str) -> bool {
        self.permissions.binary_search_by(|held| held.as_str().cmp(permission)).is_ok()
    }

    /// Whether a module is usable: owned by the company and granted to the membership.
    pub fn has_module(&self, module: &str) -> bool {
        self.modules.binary_search_by(|held| held.as_str().cmp(module)).is_ok()
    }
}

/// Why a context does not allow something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The company does not own the module now.
    #[error("the company does not own the module '{module}'")]
    ModuleNotOwned {
        /// Which.
        module: ModuleKey,
    },
    /// The company owns the module, the membership was not granted it.
    #[error("the module '{module}' is not granted to this member")]
    ModuleNotGranted {
        /// Which.
        module: ModuleKey,
    },
    /// The permission is not held.
    #[error("the permission '{permission}' is missing")]
    MissingPermission {
        /// Which.
        permission: PermissionKey,
    },
}

impl Denied {
    /// The contract's reason code.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ModuleNotOwned { .. } => "module_not_owned",
            Self::ModuleNotGranted { .. } => "module_not_granted",
            Self::MissingPermission { .. } => "missing_permission",
        }
    }
}

/// What a person may give to others (plan §1, delegation).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegationRights {
    /// Whether members may be added and changed.
    pub can_manage_users: bool,
    /// Whether add-ons may be bought.
    pub can_buy_addons: bool,
    /// Modules that may be granted.
    pub grantable_modules: Vec<ModuleKey>,
    /// Permissions that may be granted.
    pub grantable_permissions: Vec<PermissionKey>,
}

/// Versions that a context was resolved from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextMeta {
    /// Position of the event that last ended this person's sessions, 0 when none did.
    pub token_version: Position,
    /// Highest position among the states that it was resolved from.
    pub access_version: Position,
    /// Position of the company's last `entitlement.changed`, 0 when there is none.
    pub entitlement_version: Position,
    /// When it was resolved.
    pub generated_at: Timestamp,
}

/// What a question about access came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessOutcome {
    /// There is a context.
    Active,
    /// The person is no member, or there is no such company.
    NotAMember,
    /// The person or the membership is suspended.
    Suspended,
    /// The company is pending, rejected or suspended.
    CompanyNotActive,
    /// The session is over.
    SessionRevoked,
}

/// Somebody else whose own access an answer rests on: the giver of a delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Giver {
    /// Who.
    pub user_id: UserId,
    /// By which membership of the same company.
    pub membership_id: MembershipId,
}

/// Whom an answer is about, as far as it is known: an access event that names one of these makes the answer old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessSubject {
    /// The person.
    pub user_id: UserId,
    /// Their session.
    pub session_id: SessionId,
    /// The company, where there is one.
    #[serde(default)]
    pub company_id: Option<CompanyId>,
    /// The membership, where there is one.
    #[serde(default)]
    pub membership_id: Option<MembershipId>,
    /// Whose own access it rests on besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relies_on: Vec<Giver>,
}

/// The answer of `POST /internal/v1/access-context`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessAnswer {
    /// What it came to.
    pub outcome: AccessOutcome,
    /// The context, when active.
    pub context: Option<AccessContext>,
    /// Highest position among the states that it was resolved from.
    pub access_version: Position,
    /// Position of the company's last `entitlement.changed` that was known.
    pub entitlement_version: Position,
    /// What it was computed from.
    pub as_of: AsOf,
    /// Whom it is about.
    pub subject: AccessSubject,
}

/// The head of a log, and how old that knowledge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Epoch of the log.
    pub epoch: u32,
    /// Position of its last event.
    pub position: Position,
    /// Position of its last access event.
    pub access_position: Position,
    /// How long before the answer was sent the head was read, in ms, rounded up.
    pub age_ms: u64,
}

impl Head {
    /// Where the log ends.
    pub const fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, position: self.position }
    }
}

/// The answer of `GET /internal/v1/heads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// Head of the auth log.
    pub auth: Option<Head>,
    /// Head of the core log; absent when nobody who knows it answered.
    pub core: Option<Head>,
}
