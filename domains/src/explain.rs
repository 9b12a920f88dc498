//! Why access is what it is: what gave each module and permission, and which rule fails first where something is refused.
//!
//! It asks the same states and the same rules as `access`, in the same order. It names events by stream and version; it
//! refuses to look for the event that took something away, which no state remembers.

use crate::{
    Holdings,
    access::{self, AccessInputs},
    holdings::Source,
    schedule,
};
use kisum_events::{AccessOutcome, ModuleEntitlement, ModuleKey, PermissionKey, Timestamp};
use std::collections::BTreeSet;

/// The rules that a request has to pass, in the contract's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The session is live.
    Session,
    /// The person is a member of a company that exists.
    Member,
    /// The membership is not suspended.
    Membership,
    /// The person is not suspended.
    Person,
    /// The company is active.
    Company,
    /// The company owns the module now.
    ModuleOwned,
    /// The member is granted the module.
    ModuleGranted,
    /// The member holds the permission.
    PermissionHeld,
}

impl Rule {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session_live",
            Self::Member => "member",
            Self::Membership => "membership_active",
            Self::Person => "person_active",
            Self::Company => "company_active",
            Self::ModuleOwned => "module_owned",
            Self::ModuleGranted => "module_granted",
            Self::PermissionHeld => "permission_held",
        }
    }

    /// The code or reason that a caller hears (contract, *HTTP*).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Session => "session_revoked",
            Self::Member => "not_a_member",
            Self::Membership | Self::Person => "suspended",
            Self::Company => "company_not_active",
            Self::ModuleOwned => "module_not_owned",
            Self::ModuleGranted => "module_not_granted",
            Self::PermissionHeld => "missing_permission",
        }
    }
}

/// A module that the company owns or the member is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleWhy {
    /// Which.
    pub module: ModuleKey,
    /// By what the company owns it now; empty when it does not.
    pub owned: Vec<ModuleEntitlement>,
    /// What grants it to the member; empty when nothing does.
    pub granted: Vec<Source>,
}

impl ModuleWhy {
    /// Whether it can be used.
    pub const fn is_usable(&self) -> bool {
        !self.owned.is_empty() && !self.granted.is_empty()
    }
}

/// A permission that the member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionWhy {
    /// Which.
    pub permission: PermissionKey,
    /// Whether it can be used: its module is.
    pub is_usable: bool,
    /// Everything that gives it.
    pub sources: Vec<Source>,
}

/// Why access is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that fails first, where one does.
    pub failed: Option<Rule>,
    /// Modules, in order; none for who is no member.
    pub modules: Vec<ModuleWhy>,
    /// Permissions held, in order; none for who is no member.
    pub permissions: Vec<PermissionWhy>,
}

/// Explains what [`access::resolve`] answers, and, of one permission, what its check says. Without a session that one is not
/// asked about.
pub fn explain(
    inputs: &AccessInputs<'_>,
    is_session_asked: bool,
    asked: Option<&PermissionKey>,
    now: Timestamp,
) -> Explanation {
    let failed_before = is_session_asked && !access::is_session_live(inputs, now);
    let admitted = access::admit(inputs);
    let Some((_, membership)) = inputs.membership.filter(|_| !matches!(admitted, Err(AccessOutcome::NotAMember)))
    else {
        let failed = Some(if failed_before { Rule::Session } else { Rule::Member });
        return Explanation { failed, modules: vec![], permissions: vec![] };
    };
    let holdings = Holdings::of(membership, inputs.roles.iter().map(|(id, role)| (*id, role)));
    let holdings = holdings.with_delegations(inputs.givers, inputs.roles, now);
    let owned = schedule::owned(inputs.entitlements, now);
    let modules: Vec<_> = owned
        .iter()
        .chain(membership.modules.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|module| ModuleWhy {
            module: module.clone(),
            owned: inputs
                .entitlements
                .iter()
                .filter(|entry| entry.is_active(now) && entry.module == *module)
                .cloned()
                .collect(),
            granted: holdings.module_sources(module),
        })
        .collect();
    let usable = |module: &ModuleKey| modules.iter().any(|why| why.module == *module && why.is_usable());
    let permissions: Vec<_> = holdings
        .permissions()
        .into_iter()
        .map(|permission| PermissionWhy {
            permission: permission.clone(),
            is_usable: usable(&permission.module()),
            sources: holdings.permission_sources(permission),
        })
        .collect();
    let failed = match admitted {
        _ if failed_before => Some(Rule::Session),
        Err(AccessOutcome::Suspended) if membership.is_active() => Some(Rule::Person),
        Err(AccessOutcome::Suspended) => Some(Rule::Membership),
        Err(AccessOutcome::CompanyNotActive) => Some(Rule::Company),
        Err(AccessOutcome::SessionRevoked) => Some(Rule::Session),
        Err(AccessOutcome::NotAMember) => Some(Rule::Member),
        Err(AccessOutcome::Active) | Ok(_) => asked.and_then(|permission| missing(permission, &modules, &permissions)),
    };
    Explanation { failed, modules, permissions }
}

fn missing(permission: &PermissionKey, modules: &[ModuleWhy], held: &[PermissionWhy]) -> Option<Rule> {
    let module = permission.module();
    let why = modules.iter().find(|why| why.module == module);
    if why.is_none_or(|why| why.owned.is_empty()) {
        return Some(Rule::ModuleOwned);
    }
    if why.is_none_or(|why| why.granted.is_empty()) {
        return Some(Rule::ModuleGranted);
    }
    if held.iter().any(|why| why.permission == *permission) { None } else { Some(Rule::PermissionHeld) }
}
