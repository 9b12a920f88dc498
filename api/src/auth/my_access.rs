//! `GET /auth/me/access`: what the caller may do in the company that `x-org` names.

use super::{
    Auth,
    access::AccessError,
    companies::{Carried, Role},
    person,
};
use crate::shared::{
    observe,
    problem::{Problem, reason},
    respond::{Success, SuccessBody},
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use kisum_events::{AccessContext, AsOf, Limits, ModuleKey, PermissionKey, Timestamp};
use kisum_guard::Verdict;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What the caller may do in one company (plan §2).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MyAccess<'a> {
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
    #[schema(value_type = Vec<String>)]
    modules: &'a [ModuleKey],
    /// Modules that the company owns, granted or not.
    #[schema(value_type = Vec<String>)]
    owned_modules: &'a [ModuleKey],
    /// Permissions held whose module is usable.
    #[schema(value_type = Vec<String>)]
    permissions: &'a [PermissionKey],
    /// Limits by name.
    #[schema(value_type = std::collections::BTreeMap<String, i64>)]
    limits: &'a Limits,
    /// What the caller may give to others.
    delegation: Delegation<'a>,
    /// The next instant at which anything of this changes by itself.
    #[schema(value_type = Option<String>)]
    valid_until: Option<Timestamp>,
    /// What it was resolved from.
    meta: Meta,
    /// Up to where in both logs nothing has changed it.
    #[schema(value_type = Object)]
    as_of: AsOf,
}

/// What the caller may give to others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Delegation<'a> {
    /// Whether members may be added and changed.
    can_manage_users: bool,
    /// Whether add-ons may be bought.
    can_buy_addons: bool,
    /// Modules that may be granted.
    #[schema(value_type = Vec<String>)]
    grantable_modules: &'a [ModuleKey],
    /// Permissions that may be granted.
    #[schema(value_type = Vec<String>)]
    grantable_permissions: &'a [PermissionKey],
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
    #[schema(value_type = String)]
    generated_at: Timestamp,
}

impl<'a> MyAccess<'a> {
    fn of(context: &'a AccessContext, as_of: AsOf) -> Self {
        let AccessContext { delegation, meta, .. } = context;
        Self {
            user_id: context.user_id.uuid(),
            company_id: context.company_id.uuid(),
            membership_id: context.membership_id.uuid(),
            tenant_role: context.tenant_role.into(),
            core_app_visible: context.core_app_visible,
            modules: &context.modules,
            owned_modules: &context.owned_modules,
            permissions: &context.permissions,
            limits: &context.limits,
            delegation: Delegation {
                can_manage_users: delegation.can_manage_users,
                can_buy_addons: delegation.can_buy_addons,
                grantable_modules: &delegation.grantable_modules,
                grantable_permissions: &delegation.grantable_permissions,
            },
            valid_until: context.valid_until,
            meta: Meta {
                token_version: meta.token_version,
                access_version: meta.access_version,
                entitlement_version: meta.entitlement_version,
                generated_at: meta.generated_at,
            },
            as_of,
        }
    }
}

/// Says what the caller may do in the company that `x-org` names.
#[utoipa::path(get, path = "/auth/me/access", tag = "me", security(("bearer" = [])),
    params(("x-org" = String, Header, description = "The company, by id or short name.")),
    responses((status = 200, description = "The access context.", body = SuccessBody<MyAccess<'static>>)))]
pub(super) async fn my_access(
    State(auth): State<Auth>,
    headers: HeaderMap,
    carried: Carried,
) -> Result<Response, Problem> {
    let person = person::of_headers(&auth, &headers).await?;
    let company = person::org(&headers)?;
    let known = auth.access.answer(person.asker(), company, carried.least()).await.map_err(|error| match error {
        // Both heads were read fresh, on the primaries: nobody can have been given that position.
        AccessError::Behind { .. } => Problem::validation("The position in X-Access-Position does not exist."),
        other => person::unprovable(other),
    })?;
    if let Some(company) = known.answer.subject.company_id {
        observe::note_company(company);
    }
    match &known.answer.verdict {
        Verdict::Active(context) => Ok(Success(MyAccess::of(context, known.as_of)).into_response()),
        Verdict::SessionRevoked => Err(person::session_over(person)),
        Verdict::NotAMember => Err(person::denied(reason::NOT_A_MEMBER, "You are no member of this company.")),
        Verdict::Suspended => Err(person::denied(reason::SUSPENDED, "You may not act for this company.")),
        Verdict::CompanyNotActive => Err(person::denied(reason::COMPANY_NOT_ACTIVE, "This company is not active.")),
    }
}
