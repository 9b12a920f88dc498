//! `/companies/{company}/…` for the people who administer a company.
//!
//! The company of the path has to be the one of `x-org`: no other input selects a company (contract, *x-org*).

use super::{
    By, Carried, Sent,
    addons::{__path_buy_addon, __path_give_addon_up, buy_addon, give_addon_up},
    audit::{__path_list_audit, list_audit},
    delegations,
    grants::{Change, change},
    grounds::Grounds,
    invitations::{
        __path_accept_invitation, __path_list_invitations, __path_resend_invitation, __path_send_invitation,
        __path_withdraw_invitation, accept_invitation, list_invitations, resend_invitation, send_invitation,
        withdraw_invitation,
    },
    list::{__path_list_members, list_members},
    members::{NewMember, add},
    policy::{__path_put_policy, __path_show_policy, put_policy, show_policy},
    register::{__path_register_company, register_company},
    role_routes,
    standing::{__path_change_member, __path_end_member, change_member, end_member},
    views::{MembershipView, Role},
};
use crate::{
    auth::{
        Auth,
        lookup::Email,
        person::{self, Person},
    },
    shared::{
        extract::ApiPath,
        idempotency::{ApiCommand, Idempotency},
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::{FromRequestParts, RawPathParams, State};
use http::request::Parts;
use kisum_events::{CompanyId, MembershipId, ModuleKey, PermissionKey, UserId};
use kisum_guard::XOrg;
use kisum_log::ClaimKey;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this module.
pub(in crate::auth) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(list_members))
        .routes(routes!(list_audit))
        .routes(routes!(register_company))
        .routes(routes!(add_member))
        .routes(routes!(change_member, end_member))
        .routes(routes!(show_policy, put_policy))
        .routes(routes!(grant_module, revoke_module))
        .routes(routes!(grant_permission, revoke_permission))
        .routes(routes!(list_invitations, send_invitation))
        .routes(routes!(resend_invitation))
        .routes(routes!(withdraw_invitation))
        .routes(routes!(accept_invitation))
        .routes(routes!(buy_addon, give_addon_up))
        .merge(role_routes::routes())
        .merge(delegations::routes())
}

/// A person who acts for the company of the path, which `x-org` names too, by id or by slug. Whether they may, and
/// whose slug that is, is not asked yet: it belongs to the snapshot that the command is decided on.
pub(super) struct ForCompany {
    person: Person,
    org: XOrg,
    pub(super) company: CompanyId,
}

impl ForCompany {
    pub(super) fn by(&self) -> By {
        By::Person(self.person, self.org.clone())
    }
}

impl FromRequestParts<Auth> for ForCompany {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let person = person::of_headers(auth, &parts.headers).await?;
        let org = person::org(&parts.headers)?;
        let path = RawPathParams::from_request_parts(parts, auth)
            .await
            .map_err(|_| Problem::validation("A part of the path is not of the documented form."))?;
        let company = path.iter().find(|(name, _)| *name == "company").and_then(|(_, value)| value.parse().ok());
        let company: CompanyId =
            company.ok_or_else(|| Problem::validation("The company in the path is not a UUID."))?;
        if matches!(&org, XOrg::Id(id) if *id != company) {
            return Err(Problem::validation("The company in the path is not the one of x-org."));
        }
        tracing::Span::current().record("company_id", tracing::field::display(company));
        Ok(Self { person, org, company })
    }
}

/// A person who may act for the company at all: asked before the body is looked at.
pub(super) struct Member(pub(super) ForCompany);

impl FromRequestParts<Auth> for Member {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let actor = ForCompany::from_request_parts(parts, auth).await?;
        Grounds::read(auth, &actor.by(), actor.company).await?;
        Ok(Self(actor))
    }
}

/// A person who may manage members of the company: asked before the body is looked at.
pub(super) struct Manager(pub(super) ForCompany);

impl FromRequestParts<Auth> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let actor = ForCompany::from_request_parts(parts, auth).await?;
        Grounds::read(auth, &actor.by(), actor.company).await?.require_manager()?;
        Ok(Self(actor))
    }
}

/// A superadmin of the company: asked before the body is looked at.
pub(super) struct Superadmin(pub(super) ForCompany);

impl FromRequestParts<Auth> for Superadmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let actor = ForCompany::from_request_parts(parts, auth).await?;
        Grounds::read(auth, &actor.by(), actor.company).await?.require_superadmin(actor.company)?;
        Ok(Self(actor))
    }
}

/// Who is to become a member.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddMemberBody {
    /// The address of somebody who has an account.
    email: String,
    /// With which standing; below one's own, unless one is superadmin.
    tenant_role: Role,
}

/// The member that a path names, and what of theirs.
#[derive(Deserialize)]
struct ModulePath {
    member: Uuid,
    module: String,
}

#[derive(Deserialize)]
struct PermissionPath {
    member: Uuid,
    permission: String,
}

/// Makes somebody who has an account a member, without an invitation.
#[utoipa::path(post, path = "/companies/{company}/members", tag = "members", request_body = AddMemberBody,
    params(("company" = Uuid, Path), ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 201, description = "The member.", body = SuccessBody<MembershipView>)))]
async fn add_member(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    command: ApiCommand<AddMemberBody>,
) -> Result<Receipted<Created<MembershipView>>, Problem> {
    let email = Email::parse(&command.body.email)
        .ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
    let claim = ClaimKey::email(&auth.lookup.email(&email));
    let holder = auth.log.claim_holder(&claim).await.map_err(problem::of_load)?;
    let user: UserId = holder
        .and_then(|stream| stream.id().parse().ok())
        .ok_or_else(|| Problem::not_found("Nobody with this address has an account."))?;
    let role = command.body.tenant_role.into();
    let new = NewMember { company: actor.company, user, role, via: "administrator" };
    let sent = Sent { idempotency: command.idempotency, label };
    let added = add(&auth, &actor.by(), &new, &sent).await?;
    Ok(Receipted::new(Created(MembershipView::new(added.id, &added.state)), added.position))
}

/// Grants a module that the company owns now.
#[utoipa::path(put, path = "/companies/{company}/members/{member}/modules/{module}", tag = "members",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("module" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
async fn grant_module(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    carried: Carried,
    ApiPath(path): ApiPath<ModulePath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let sent = Sent { idempotency, label };
    carried.settle(&auth).await?;
    set(&auth, &actor, path.member, Change::GrantModule(module(&path.module)?), &sent).await
}

/// Takes a module back.
#[utoipa::path(delete, path = "/companies/{company}/members/{member}/modules/{module}", tag = "members",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("module" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "The member does not hold it.")))]
async fn revoke_module(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<ModulePath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    unset(&auth, &actor, path.member, Change::RevokeModule(module(&path.module)?), &sent).await
}

/// Grants a permission of a module that the company owns now.
#[utoipa::path(put, path = "/companies/{company}/members/{member}/permissions/{permission}", tag = "members",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("permission" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
async fn grant_permission(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    carried: Carried,
    ApiPath(path): ApiPath<PermissionPath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let sent = Sent { idempotency, label };
    carried.settle(&auth).await?;
    set(&auth, &actor, path.member, Change::GrantPermission(permission(&path.permission)?), &sent).await
}

/// Takes a permission back.
#[utoipa::path(delete, path = "/companies/{company}/members/{member}/permissions/{permission}", tag = "members",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("permission" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "The member does not hold it.")))]
async fn revoke_permission(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<PermissionPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    unset(&auth, &actor, path.member, Change::RevokePermission(permission(&path.permission)?), &sent).await
}

/// Changes what a member holds, and shows the member.
pub(super) async fn set(
    auth: &Auth,
    actor: &ForCompany,
    member: Uuid,
    wanted: Change,
    sent: &Sent,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let member = MembershipId::new(member);
    let changed = change(auth, &actor.by(), (actor.company, member), &wanted, sent).await?;
    Ok(Receipted::new(Success(MembershipView::new(member, &changed.state)), changed.position))
}

/// Takes back what a member holds.
pub(super) async fn unset(
    auth: &Auth,
    actor: &ForCompany,
    member: Uuid,
    wanted: Change,
    sent: &Sent,
) -> Result<Receipted<NoContent>, Problem> {
    let changed = change(auth, &actor.by(), (actor.company, MembershipId::new(member)), &wanted, sent).await?;
    Ok(Receipted::new(NoContent, changed.position))
}

/// A module's key out of a path; one of another form names no module.
pub(in crate::auth) fn module(text: &str) -> Result<ModuleKey, Problem> {
    text.parse().map_err(|_| Problem::unprocessable("There is no module of that name."))
}

/// A permission's key out of a path; one of another form names no permission.
pub(in crate::auth) fn permission(text: &str) -> Result<PermissionKey, Problem> {
    text.parse().map_err(|_| Problem::unprocessable("There is no permission of that name."))
}
