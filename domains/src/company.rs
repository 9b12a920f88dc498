//! A company as a tenant: stream `company-{id}`.
//!
//! It owns the company's standing, who its superadmins are, and how many seats are used: what has to hold across
//! memberships stands here, because a membership's own stream sees only itself. It refuses to know what the company
//! bought.

use crate::{
    authority::{Authority, GrantRefused, Refused},
    membership::{Membership, MembershipStatus},
};
use kisum_events::{
    Aggregate, CompanyEvent, CompanyId, MembershipId, ModuleKey, PermissionKey, Slug, StreamName, TenantRole, UserId,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a company stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum CompanyStatus {
    /// No company by that id.
    #[default]
    Unknown,
    /// Registered, waiting for staff.
    Pending,
    /// Its members may act for it.
    Active,
    /// They may not.
    Suspended {
        /// Why.
        reason: String,
    },
    /// Staff turned it down.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// What members of a role may grant at most: a ceiling, which grants nothing by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationPolicy {
    /// Modules.
    pub modules: BTreeSet<ModuleKey>,
    /// Permissions.
    pub permissions: BTreeSet<PermissionKey>,
}

/// The policy of roles that none was set for.
static NOTHING: DelegationPolicy = DelegationPolicy { modules: BTreeSet::new(), permissions: BTreeSet::new() };

/// The state of a company.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    /// Where it stands.
    pub status: CompanyStatus,
    /// Its name in `x-org`; absent only while unknown.
    pub slug: Option<Slug>,
    /// Its display name.
    pub name: String,
    /// Who registered it.
    pub owner: Option<UserId>,
    /// Memberships that are active superadmins. Once there is one, there always is one.
    pub superadmins: BTreeSet<MembershipId>,
    /// Memberships that count as seats.
    pub seats_used: u32,
    /// What members of a role may grant at most.
    pub policies: BTreeMap<TenantRole, DelegationPolicy>,
}

impl Company {
    /// What members of a role may grant at most of what they hold. Superadmins are not bound by one.
    pub fn policy(&self, role: TenantRole) -> &DelegationPolicy {
        self.policies.get(&role).unwrap_or(&NOTHING)
    }

    /// Whether its members may act for it.
    pub const fn is_active(&self) -> bool {
        matches!(self.status, CompanyStatus::Active)
    }
}

impl Aggregate for Company {
    type Event = CompanyEvent;
    const STATE_SCHEMA: u16 = 2;

    fn evolve(&mut self, event: &CompanyEvent, _version: u64) {
        match event {
            CompanyEvent::Registered { slug, name, owner } => {
                self.status = CompanyStatus::Pending;
                self.slug = Some(slug.clone());
                self.name.clone_from(name);
                self.owner = Some(*owner);
            }
            CompanyEvent::Approved | CompanyEvent::Reactivated => self.status = CompanyStatus::Active,
            CompanyEvent::Rejected { reason } => self.status = CompanyStatus::Rejected { reason: reason.clone() },
            CompanyEvent::Suspended { reason } => self.status = CompanyStatus::Suspended { reason: reason.clone() },
            CompanyEvent::SuperadminsChanged { memberships } => {
                self.superadmins = memberships.iter().copied().collect();
            }
            CompanyEvent::SeatsChanged { used } => self.seats_used = *used,
            CompanyEvent::PolicySet { role, modules, permissions } => {
                let policy = DelegationPolicy {
                    modules: modules.iter().cloned().collect(),
                    permissions: permissions.iter().cloned().collect(),
                };
                self.policies.insert(*role, policy);
            }
        }
    }

    fn company(&self, stream: &StreamName) -> Option<CompanyId> {
        stream.id().parse().ok()
    }
}

/// Makes a company known.
#[derive(Clone, Debug)]
pub struct RegisterCompany {
    /// Its name in `x-org`.
    pub slug: Slug,
    /// Its display name.
    pub name: String,
    /// Who registers it.
    pub owner: UserId,
}

/// Why a company was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterCompanyError {
    /// The id is taken.
    #[error("the company is already registered")]
    AlreadyRegistered,
}

/// Registers a company, which is pending from then on. That the slug is free is the claim's business.
///
/// # Errors
/// [`RegisterCompanyError`] when the id is taken.
pub fn register(state: &Company, command: RegisterCompany) -> Result<Vec<CompanyEvent>, RegisterCompanyError> {
    match state.status {
        CompanyStatus::Unknown => {
            Ok(vec![CompanyEvent::Registered { slug: command.slug, name: command.name, owner: command.owner }])
        }
        CompanyStatus::Pending
        | CompanyStatus::Active
        | CompanyStatus::Suspended { .. }
        | CompanyStatus::Rejected { .. } => Err(RegisterCompanyError::AlreadyRegistered),
    }
}

/// Why a company's standing was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompanyStandingError {
    /// No company by that id.
    #[error("the company is unknown")]
    Unknown,
    /// Only a pending company is approved or rejected.
    #[error("the company is not pending")]
    NotPending,
    /// Only an active company is suspended.
    #[error("the company is not active")]
    NotActive,
    /// Only a suspended company is reactivated.
    #[error("the company is not suspended")]
    NotSuspended,
}

/// Approves a pending company. Twice is once.
///
/// # Errors
/// [`CompanyStandingError`] when it is neither pending nor active.
pub fn approve(state: &Company) -> Result<Vec<CompanyEvent>, CompanyStandingError> {
    match state.status {
        CompanyStatus::Unknown => Err(CompanyStandingError::Unknown),
        CompanyStatus::Pending => Ok(vec![CompanyEvent::Approved]),
        CompanyStatus::Active => Ok(vec![]),
        CompanyStatus::Suspended { .. } | CompanyStatus::Rejected { .. } => Err(CompanyStandingError::NotPending),
    }
}

/// Rejects a pending company. Twice is once; the first reason stays.
///
/// # Errors
/// [`CompanyStandingError`] when it is neither pending nor rejected.
pub fn reject(state: &Company, reason: &str) -> Result<Vec<CompanyEvent>, CompanyStandingError> {
    match state.status {
        CompanyStatus::Unknown => Err(CompanyStandingError::Unknown),
        CompanyStatus::Pending => Ok(vec![CompanyEvent::Rejected { reason: reason.to_owned() }]),
        CompanyStatus::Rejected { .. } => Ok(vec![]),
        CompanyStatus::Active | CompanyStatus::Suspended { .. } => Err(CompanyStandingError::NotPending),
    }
}

/// Suspends an active company. Twice is once; the first reason stays.
///
/// # Errors
/// [`CompanyStandingError`] when it is neither active nor suspended.
pub fn suspend(state: &Company, reason: &str) -> Result<Vec<CompanyEvent>, CompanyStandingError> {
    match state.status {
        CompanyStatus::Unknown => Err(CompanyStandingError::Unknown),
        CompanyStatus::Active => Ok(vec![CompanyEvent::Suspended { reason: reason.to_owned() }]),
        CompanyStatus::Suspended { .. } => Ok(vec![]),
        CompanyStatus::Pending | CompanyStatus::Rejected { .. } => Err(CompanyStandingError::NotActive),
    }
}

/// Lets a suspended company back. Twice is once.
///
/// # Errors
/// [`CompanyStandingError`] when it is neither suspended nor active.
pub fn reactivate(state: &Company) -> Result<Vec<CompanyEvent>, CompanyStandingError> {
    match state.status {
        CompanyStatus::Unknown => Err(CompanyStandingError::Unknown),
        CompanyStatus::Suspended { .. } => Ok(vec![CompanyEvent::Reactivated]),
        CompanyStatus::Active => Ok(vec![]),
        CompanyStatus::Pending | CompanyStatus::Rejected { .. } => Err(CompanyStandingError::NotSuspended),
    }
}

/// Why a delegation policy was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetPolicyError {
    /// No company by that id.
    #[error("the company is unknown")]
    Unknown,
    /// Superadmins grant everything, and users nothing.
    #[error("a delegation policy is set for ADMIN or MANAGER")]
    NoSuchPolicy,
    /// The acting person may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It names what the catalog does not have.
    #[error(transparent)]
    Catalog(#[from] GrantRefused),
}

/// Sets what members of a role may grant at most. The same again is once. It may name what the company does not own yet,
/// and what can no longer be granted: it is a ceiling.
///
/// # Errors
/// [`SetPolicyError`], naming the rule.
pub fn set_policy(
    state: &Company,
    id: CompanyId,
    authority: &Authority<'_>,
    (role, wanted): (TenantRole, DelegationPolicy),
) -> Result<Vec<CompanyEvent>, SetPolicyError> {
    if state.status == CompanyStatus::Unknown {
        return Err(SetPolicyError::Unknown);
    }
    authority.leads(id)?;
    match role {
        TenantRole::Admin | TenantRole::Manager => {}
        TenantRole::TenantSuperadmin | TenantRole::User => return Err(SetPolicyError::NoSuchPolicy),
    }
    for module in &wanted.modules {
        authority.knows_module(module)?;
    }
    for permission in &wanted.permissions {
        authority.knows_permission(permission)?;
    }
    if *state.policy(role) == wanted {
        return Ok(vec![]);
    }
    let DelegationPolicy { modules, permissions } = wanted;
    let (modules, permissions) = (modules.into_iter().collect(), permissions.into_iter().collect());
    Ok(vec![CompanyEvent::PolicySet { role, modules, permissions }])
}

/// Why a company does not bear a change of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// The last superadmin stays.
    #[error("the company would be left without a superadmin")]
    LastSuperadmin,
    /// Every seat is used.
    #[error("all {limit} seats are used")]
    LimitReached {
        /// How many there are.
        limit: i64,
    },
}

/// Counts a membership among the superadmins. Twice is once.
pub fn add_superadmin(state: &Company, membership: MembershipId) -> Vec<CompanyEvent> {
    let mut superadmins = state.superadmins.clone();
    if superadmins.insert(membership) { vec![superadmins_changed(superadmins)] } else { vec![] }
}

/// Counts a membership among the superadmins no longer. Twice is once.
///
/// # Errors
/// [`MembersError::LastSuperadmin`] when none would be left.
pub fn remove_superadmin(state: &Company, membership: MembershipId) -> Result<Vec<CompanyEvent>, MembersError> {
    let mut superadmins = state.superadmins.clone();
    if !superadmins.remove(&membership) {
        return Ok(vec![]);
    }
    if superadmins.is_empty() {
        return Err(MembersError::LastSuperadmin);
    }
    Ok(vec![superadmins_changed(superadmins)])
}

fn superadmins_changed(superadmins: BTreeSet<MembershipId>) -> CompanyEvent {
    CompanyEvent::SuperadminsChanged { memberships: superadmins.into_iter().collect() }
}

/// Takes a seat.
///
/// # Errors
/// [`MembersError::LimitReached`] when `limit` seats are used already; without a limit there is always one.
pub fn take_seat(state: &Company, limit: Option<i64>) -> Result<Vec<CompanyEvent>, MembersError> {
    if let Some(limit) = limit
        && i64::from(state.seats_used) >= limit
    {
        return Err(MembersError::LimitReached { limit });
    }
    Ok(vec![CompanyEvent::SeatsChanged { used: state.seats_used.saturating_add(1) }])
}

/// Gives a seat back.
pub fn free_seat(state: &Company) -> Vec<CompanyEvent> {
    match state.seats_used.checked_sub(1) {
        Some(used) => vec![CompanyEvent::SeatsChanged { used }],
        None => vec![],
    }
}

/// What a change of one membership means for its company: superadmins and seats, from the membership's state before
/// and after. Every append that creates, ends, suspends, reactivates or re-ranks a membership carries these events, so
/// that two of them at once collide on the company's stream.
///
/// A suspended member keeps the seat; a suspended superadmin does not count as one.
///
/// # Errors
/// [`MembersError`] when the company does not bear the change.
pub fn follow_membership(
    state: &Company,
    id: MembershipId,
    before: &Membership,
    after: &Membership,
    seat_limit: Option<i64>,
) -> Result<Vec<CompanyEvent>, MembersError> {
    let mut events = match (leads(before), leads(after)) {
        (false, true) => add_superadmin(state, id),
        (true, false) => remove_superadmin(state, id)?,
        (true, true) | (false, false) => vec![],
    };
    match (has_seat(before), has_seat(after)) {
        (false, true) => events.extend(take_seat(state, seat_limit)?),
        (true, false) => events.extend(free_seat(state)),
        (true, true) | (false, false) => {}
    }
    Ok(events)
}

fn leads(membership: &Membership) -> bool {
    membership.is_active() && membership.role == TenantRole::TenantSuperadmin
}

const fn has_seat(membership: &Membership) -> bool {
    match membership.status {
        MembershipStatus::Active | MembershipStatus::Suspended => true,
        MembershipStatus::Unknown | MembershipStatus::Revoked => false,
    }
}
