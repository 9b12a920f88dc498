//! `GET /auth/me/access`: what the caller may do in the company that `x-org` names.

use super::{
    Auth,
    access::{AccessError, Question},
    companies::{Carried, Role},
    person,
};
use crate::shared::{
    problem::{Problem, reason},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use http::HeaderMap;
use kisum_events::{AccessContext, AccessOutcome};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// What the caller may do in one company (plan §2).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MyAccess {
    /// The caller.
    user_id: Uuid,
    /// The company.
    company_id: Uuid,
    /// Their membership of it.
    membership_id: Uuid,
    /// With which standing.
    tenant_role: Role,
    /// Whether Basic is active: alone decides whether the Core App is shown.
    core_app_visible: bool,
    /// Modules that the company owns and the caller is granted.
    modules: Vec<String>,
    /// Modules that the company owns, granted or not.
    owned_modules: Vec<String>,
    /// Permissions held whose module is usable.
    permissions: Vec<String>,
    /// Limits by name.
    limits: BTreeMap<String, i64>,
    /// What the caller may give to others.
    delegation: Delegation,
    /// The next instant at which anything of this changes by itself.
    valid_until: Option<String>,
    /// What it was resolved from.
    meta: Meta,
}

/// What the caller may give to others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Delegation {
    /// Whether members may be added and changed.
    can_manage_users: bool,
    /// Whether add-ons may be bought.
    can_buy_addons: bool,
    /// Modules that may be granted.
    grantable_modules: Vec<String>,
    /// Permissions that may be granted.
    grantable_permissions: Vec<String>,
}

/// Versions that the answer was resolved from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Meta {
    /// Position of the event that last ended the caller's sessions, 0 when none did.
    token_version: u64,
    /// Highest position among the states.
    access_version: u64,
    /// Position of the company's last `entitlement.changed`, 0 when there is none.
    entitlement_version: u64,
    /// When it was resolved.
    generated_at: String,
}

impl From<AccessContext> for MyAccess {
    fn from(context: AccessContext) -> Self {
        let texts = |keys: Vec<kisum_events::ModuleKey>| keys.into_iter().map(String::from).collect();
        let permissions = |keys: Vec<kisum_events::PermissionKey>| keys.into_iter().map(String::from).collect();
        Self {
            user_id: context.user_id.uuid(),
            company_id: context.company_id.uuid(),
            membership_id: context.membership_id.uuid(),
            tenant_role: context.tenant_role.into(),
            core_app_visible: context.core_app_visible,
            modules: texts(context.modules),
            owned_modules: texts(context.owned_modules),
            permissions: permissions(context.permissions),
            limits: context.limits,
            delegation: Delegation {
                can_manage_users: context.delegation.can_manage_users,
                can_buy_addons: context.delegation.can_buy_addons,
                grantable_modules: texts(context.delegation.grantable_modules),
                grantable_permissions: permissions(context.delegation.grantable_permissions),
            },
            valid_until: context.valid_until.map(|until| until.to_string()),
            meta: Meta {
                token_version: context.meta.token_version,
                access_version: context.meta.access_version,
                entitlement_version: context.meta.entitlement_version,
                generated_at: context.meta.generated_at.to_string(),
            },
        }
    }
}

/// Says what the caller may do in the company that `x-org` names.
#[utoipa::path(get, path = "/auth/me/access", tag = "me", security(("bearer" = [])),
    params(("x-org" = String, Header, description = "The company, by id or short name.")),
    responses((status = 200, description = "The access context.", body = SuccessBody<MyAccess>)))]
pub(super) async fn my_access(
    State(auth): State<Auth>,
    headers: HeaderMap,
    carried: Carried,
) -> Result<Success<MyAccess>, Problem> {
    let person = person::of_headers(&auth, &headers).await?;
    let company = person::org(&headers)?;
    let question = Question { user: person.user, session: person.session, company };
    let answer = auth.access.answer(&question, carried.least()).await.map_err(|error| match error {
        // Both heads were read fresh, on the primaries: nobody can have been given that position.
        AccessError::Behind { .. } => Problem::validation("The position in X-Access-Position does not exist."),
        other => person::unprovable(other),
    })?;
    match (answer.outcome, answer.context) {
        (AccessOutcome::Active, Some(context)) => Ok(Success(context.into())),
        (AccessOutcome::SessionRevoked, _) => Err(person::session_over(person)),
        (AccessOutcome::Active | AccessOutcome::NotAMember, _) => {
            Err(person::denied(reason::NOT_A_MEMBER, "You are no member of this company."))
        }
        (AccessOutcome::Suspended, _) => Err(person::denied(reason::SUSPENDED, "You may not act for this company.")),
        (AccessOutcome::CompanyNotActive, _) => {
            Err(person::denied(reason::COMPANY_NOT_ACTIVE, "This company is not active."))
        }
    }
}
