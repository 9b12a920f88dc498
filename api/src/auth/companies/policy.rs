//! `GET` and `PUT /companies/{company}/delegation-policy/{role}`: what administrators and managers may grant at most.

use super::{
    By, Carried, Sent,
    grounds::Grounds,
    public::{Manager, Superadmin},
    refusals,
};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        extract::ApiPath,
        idempotency::ApiCommand,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::company::{self, DelegationPolicy};
use kisum_events::{CompanyId, TenantRole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keys that a policy names at most, of either kind.
const KEYS_MAX: usize = 1_000;

/// Roles that a policy is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::auth) enum PolicyRole {
    /// Administrators.
    Admin,
    /// Managers.
    Manager,
}

impl From<PolicyRole> for TenantRole {
    fn from(role: PolicyRole) -> Self {
        match role {
            PolicyRole::Admin => Self::Admin,
            PolicyRole::Manager => Self::Manager,
        }
    }
}

/// What may be granted at most, of what one holds oneself. It grants nothing.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct Policy {
    /// Keys of modules.
    #[schema(max_items = 1_000)]
    modules: Vec<String>,
    /// Keys of permissions.
    #[schema(max_items = 1_000)]
    permissions: Vec<String>,
}

impl Policy {
    fn read(&self) -> Result<DelegationPolicy, Problem> {
        if self.modules.len() > KEYS_MAX || self.permissions.len() > KEYS_MAX {
            return Err(Problem::validation(format!("A policy names {KEYS_MAX} modules and permissions at most.")));
        }
        let modules = self.modules.iter().map(|key| super::module(key)).collect::<Result<_, _>>()?;
        let permissions = self.permissions.iter().map(|key| super::permission(key)).collect::<Result<_, _>>()?;
        Ok(DelegationPolicy { modules, permissions })
    }
}

/// A policy as it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct PolicyView {
    /// For members of this role.
    role: PolicyRole,
    /// Keys of modules, in order.
    modules: Vec<String>,
    /// Keys of permissions, in order.
    permissions: Vec<String>,
}

impl PolicyView {
    fn new(role: PolicyRole, policy: &DelegationPolicy) -> Self {
        Self {
            role,
            modules: policy.modules.iter().map(ToString::to_string).collect(),
            permissions: policy.permissions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The role that a path names.
#[derive(Deserialize)]
pub(super) struct RolePath {
    role: PolicyRole,
}

/// Shows what members of a role may grant at most.
#[utoipa::path(get, path = "/companies/{company}/delegation-policy/{role}", tag = "delegation",
    params(("company" = Uuid, Path), ("role" = PolicyRole, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The policy.", body = SuccessBody<PolicyView>)))]
pub(super) async fn show_policy(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    carried: Carried,
    ApiPath(path): ApiPath<RolePath>,
) -> Result<Success<PolicyView>, Problem> {
    carried.settle(&auth).await?;
    policy_of(&auth, &actor.by(), actor.company, path.role).await.map(Success)
}

/// Sets what members of a role may grant at most. A superadmin does.
#[utoipa::path(put, path = "/companies/{company}/delegation-policy/{role}", tag = "delegation", request_body = Policy,
    params(("company" = Uuid, Path), ("role" = PolicyRole, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The policy.", body = SuccessBody<PolicyView>)))]
pub(super) async fn put_policy(
    State(auth): State<Auth>,
    Superadmin(actor): Superadmin,
    label: RequestLabel,
    carried: Carried,
    ApiPath(path): ApiPath<RolePath>,
    command: ApiCommand<Policy>,
) -> Result<Receipted<Success<PolicyView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    carried.settle(&auth).await?;
    let (view, position) = set_policy(&auth, &actor.by(), (actor.company, path.role), &command.body, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}

/// Reads a policy.
///
/// # Errors
/// As [`Grounds::read`].
pub(in crate::auth) async fn policy_of(
    auth: &Auth,
    by: &By,
    company: CompanyId,
    role: PolicyRole,
) -> Result<PolicyView, Problem> {
    let grounds = Grounds::read(auth, by, company).await?;
    Ok(PolicyView::new(role, grounds.company.state.policy(role.into())))
}

/// Sets a policy.
///
/// # Errors
/// 403 `role_too_low`; 422 for what the catalog does not have; otherwise as [`Grounds::read`].
pub(in crate::auth) async fn set_policy(
    auth: &Auth,
    by: &By,
    (company, role): (CompanyId, PolicyRole),
    wanted: &Policy,
    sent: &Sent,
) -> Result<(PolicyView, AccessPosition), Problem> {
    let (actor, wanted) = (by.actor(), wanted.read()?);
    let command = format!("policy.set|{role:?}");
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        let before = &grounds.company;
        if let Some(position) = sent.earlier(auth, &actor, Some(company), &command).await? {
            return Ok((PolicyView::new(role, before.state.policy(role.into())), position));
        }
        let events = company::set_policy(&before.state, company, &grounds.authority(), (role.into(), wanted.clone()))
            .map_err(refusals::of_policy)?;
        if events.is_empty() {
            return Ok((PolicyView::new(role, &wanted), grounds.unchanged(before.position)));
        }
        let mut append = sent.append(&actor, Some(company), &command);
        grounds.guard_acting(&mut append, &before.stream);
        append.write(before, events).map_err(problem::of_append)?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            return Ok((PolicyView::new(role, &wanted), (&receipt).into()));
        }
    }
    Err(race::lost())
}
