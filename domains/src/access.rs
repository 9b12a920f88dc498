//! Access: what one person may do in one company at one instant, resolved from stream states.
//!
//! It owns the order of the checks and the making of the context. It refuses to load anything and to remember
//! anything: the same inputs at the same instant give the same answer, so caches can be thrown away.

use crate::{
    Company, Holdings, Membership, Role, Session, User,
    authority::{Authority, Catalog},
    holdings::GiverState,
    membership::MembershipStatus,
    schedule, session,
};
use kisum_events::{
    AccessContext, AccessOutcome, CompanyId, ContextMeta, Denied, MembershipId, ModuleEntitlement, ModuleKey,
    PermissionKey, Position, RoleId, Timestamp, UserId,
};
use std::collections::BTreeMap;

/// What access is resolved from: states read in one snapshot, and the positions they stand at.
#[derive(Clone, Copy, Debug)]
pub struct AccessInputs<'a> {
    /// The person who asks, by the token.
    pub user_id: UserId,
    /// Their state.
    pub user: &'a User,
    /// Their session.
    pub session: &'a Session,
    /// The company that `x-org` names, when there is one.
    pub company: Option<(CompanyId, &'a Company)>,
    /// Their membership of it, when there is one.
    pub membership: Option<(MembershipId, &'a Membership)>,
    /// The named roles that the membership lists, deleted ones and others too: what counts of them is decided here.
    pub roles: &'a BTreeMap<RoleId, Role>,
    /// Who has passed something on to the member. Their named roles stand among `roles`.
    pub givers: &'a BTreeMap<MembershipId, GiverState>,
    /// The company's entitlement schedule.
    pub entitlements: &'a [ModuleEntitlement],
    /// The catalog, for what may be granted; the rest does not need it.
    pub catalog: &'a Catalog,
    /// Versions for the context's `meta`.
    pub versions: AccessVersions,
}

/// The positions that access is resolved from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessVersions {
    /// Position of the company's last `entitlement.changed`, 0 when there is none.
    pub entitlement_version: Position,
    /// Highest position among the states.
    pub access_version: Position,
    /// Position of the event that last ended this person's sessions, 0 when none did.
    pub token_version: Position,
}

/// What access came to: a context exactly when active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The outcome.
    pub outcome: AccessOutcome,
    /// The context.
    pub context: Option<AccessContext>,
}

impl Resolution {
    const fn denied(outcome: AccessOutcome) -> Self {
        Self { outcome, context: None }
    }
}

/// Resolves access, asking in the contract's order. Whatever does not fit together is denied: a session of somebody
/// else, a membership of another person or company.
///
/// The answer holds until `valid_until`, as long as no access event comes in between and the session lasts: a
/// session's own end bounds its tokens ([`Session::ends_at`]), not the context, which every session of the member
/// shares.
pub fn resolve(inputs: &AccessInputs<'_>, now: Timestamp) -> Resolution {
    if !is_session_live(inputs, now) {
        return Resolution::denied(AccessOutcome::SessionRevoked);
    }
    match admit(inputs) {
        Ok((company, membership)) => {
            Resolution { outcome: AccessOutcome::Active, context: Some(context(inputs, company, membership, now)) }
        }
        Err(outcome) => Resolution::denied(outcome),
    }
}

/// Whether the session is this person's, and neither over nor superseded.
pub(crate) fn is_session_live(inputs: &AccessInputs<'_>, now: Timestamp) -> bool {
    let is_theirs = inputs.session.user_id == Some(inputs.user_id);
    is_theirs && session::is_live(inputs.session, now) && !session::is_superseded(inputs.session, inputs.user)
}

/// The company and the membership by which a person may act, whatever their session.
pub(crate) type Admitted<'a> = ((CompanyId, &'a Company), (MembershipId, &'a Membership));

/// Whether a person may act for the company at all, whatever their session.
///
/// # Errors
/// The outcome that refuses it, in the contract's order.
pub(crate) fn admit<'a>(inputs: &AccessInputs<'a>) -> Result<Admitted<'a>, AccessOutcome> {
    let company = inputs.company.filter(|(_, company)| company.slug.is_some()).ok_or(AccessOutcome::NotAMember)?;
    let membership = inputs.membership.ok_or(AccessOutcome::NotAMember)?;
    if membership.1.company_id != Some(company.0) || membership.1.user_id != Some(inputs.user_id) {
        return Err(AccessOutcome::NotAMember);
    }
    match membership.1.status {
        MembershipStatus::Unknown | MembershipStatus::Revoked => return Err(AccessOutcome::NotAMember),
        MembershipStatus::Suspended => return Err(AccessOutcome::Suspended),
        MembershipStatus::Active if !inputs.user.is_active() => return Err(AccessOutcome::Suspended),
        MembershipStatus::Active => {}
    }
    if company.1.is_active() { Ok((company, membership)) } else { Err(AccessOutcome::CompanyNotActive) }
}

fn context(
    inputs: &AccessInputs<'_>,
    (company_id, company): (CompanyId, &Company),
    (membership_id, membership): (MembershipId, &Membership),
    now: Timestamp,
) -> AccessContext {
    let owned = schedule::owned(inputs.entitlements, now);
    let holdings = Holdings::of(membership, inputs.roles.iter().map(|(id, role)| (*id, role)));
    let holdings = holdings.with_delegations(inputs.givers, inputs.roles, now);
    let usable = |module: &ModuleKey| owned.contains(module) && holdings.has_module(module);
    AccessContext {
        user_id: inputs.user_id,
        company_id,
        membership_id,
        tenant_role: membership.role,
        core_app_visible: schedule::basic_active(inputs.entitlements, now),
        // Maps and sets of keys iterate in order, which is the order that `AccessContext` promises.
        modules: owned.iter().filter(|module| usable(module)).cloned().collect(),
        permissions: holdings.permissions().into_iter().filter(|key| usable(&key.module())).cloned().collect(),
        limits: schedule::limits(inputs.entitlements, now),
        delegation: Authority::member((holdings.clone(), company), &owned, inputs.catalog).rights(),
        valid_until: [schedule::next_change(inputs.entitlements, now), holdings.next_change(now)]
            .into_iter()
            .flatten()
            .min(),
        meta: ContextMeta {
            token_version: inputs.versions.token_version,
            access_version: inputs.versions.access_version,
            entitlement_version: inputs.versions.entitlement_version,
            generated_at: now,
        },
        owned_modules: owned.iter().cloned().collect(),
    }
}

/// Whether a context allows what a permission names.
///
/// # Errors
/// [`Denied`] with the first reason in the contract's order.
pub fn check(context: &AccessContext, permission: &PermissionKey) -> Result<(), Denied> {
    context.check(permission)
}
