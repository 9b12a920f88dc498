//! `/companies/{company}/roles` and `/companies/{company}/members/{member}/roles/{roleId}`, for the people who administer a
//! company.

use super::{
    Carried, Change, Sent,
    public::{ForCompany, Manager, Superadmin, set, unset},
    role_list::{self, Roles},
    roles::{self, ChangeRoleBody, NewRoleBody, RoleView},
    views::MembershipView,
};
use crate::{
    auth::Auth,
    shared::{
        extract::{ApiPath, ApiQuery},
        idempotency::{ApiCommand, Idempotency},
        paging::PageQuery,
        problem::Problem,
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::RoleId;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(list_roles, create_role))
        .routes(routes!(change_role, delete_role))
        .routes(routes!(assign_role, unassign_role))
}

/// The role that a path names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RolePath {
    role_id: Uuid,
}

/// The member and the role that a path names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentPath {
    member: Uuid,
    role_id: Uuid,
}

/// Lists a company's named roles, in the order of their names.
#[utoipa::path(get, path = "/companies/{company}/roles", tag = "roles",
    params(("company" = Uuid, Path), PageQuery, ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of roles.", body = SuccessBody<Roles>)))]
async fn list_roles(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    carried: Carried,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Roles>, Problem> {
    let page = role_list::roles_page(actor.company, query)?;
    carried.settle(&auth).await?;
    role_list::list_roles(&auth, actor.company, &page).await.map(Success)
}

/// Makes a named role. A superadmin does.
#[utoipa::path(post, path = "/companies/{company}/roles", tag = "roles", request_body = NewRoleBody,
    params(("company" = Uuid, Path), ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 201, description = "The role.", body = SuccessBody<RoleView>)))]
async fn create_role(
    State(auth): State<Auth>,
    Superadmin(actor): Superadmin,
    label: RequestLabel,
    carried: Carried,
    command: ApiCommand<NewRoleBody>,
) -> Result<Receipted<Created<RoleView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    carried.settle(&auth).await?;
    let (view, position) = roles::create_role(&auth, &actor.by(), actor.company, &command.body, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Renames a role, or changes what it gives, for everybody who has it. A superadmin does.
#[utoipa::path(patch, path = "/companies/{company}/roles/{roleId}", tag = "roles", request_body = ChangeRoleBody,
    params(("company" = Uuid, Path), ("roleId" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The role.", body = SuccessBody<RoleView>)))]
async fn change_role(
    State(auth): State<Auth>,
    Superadmin(actor): Superadmin,
    label: RequestLabel,
    carried: Carried,
    ApiPath(path): ApiPath<RolePath>,
    command: ApiCommand<ChangeRoleBody>,
) -> Result<Receipted<Success<RoleView>>, Problem> {
    let (role, sent) = ((actor.company, RoleId::new(path.role_id)), Sent { idempotency: command.idempotency, label });
    carried.settle(&auth).await?;
    let (view, position) = roles::change_role(&auth, &actor.by(), role, &command.body, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}

/// Deletes a role: whoever has it holds nothing by it any more. A superadmin does.
#[utoipa::path(delete, path = "/companies/{company}/roles/{roleId}", tag = "roles",
    params(("company" = Uuid, Path), ("roleId" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "The role gives nothing.")))]
async fn delete_role(
    State(auth): State<Auth>,
    Superadmin(actor): Superadmin,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<RolePath>,
) -> Result<Receipted<NoContent>, Problem> {
    let (role, sent) = ((actor.company, RoleId::new(path.role_id)), Sent { idempotency, label });
    let position = roles::delete_role(&auth, &actor.by(), role, &sent).await?;
    Ok(Receipted::new(NoContent, position))
}

/// Assigns a named role, all of which the caller has to be able to grant.
#[utoipa::path(put, path = "/companies/{company}/members/{member}/roles/{roleId}", tag = "roles",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("roleId" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
async fn assign_role(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    carried: Carried,
    ApiPath(path): ApiPath<AssignmentPath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let sent = Sent { idempotency, label };
    carried.settle(&auth).await?;
    set(&auth, &actor, path.member, Change::AssignRole(RoleId::new(path.role_id)), &sent).await
}

/// Takes a named role back.
#[utoipa::path(delete, path = "/companies/{company}/members/{member}/roles/{roleId}", tag = "roles",
    params(("company" = Uuid, Path), ("member" = Uuid, Path), ("roleId" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "The member does not have it.")))]
async fn unassign_role(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<AssignmentPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    unset(&auth, &actor, path.member, Change::UnassignRole(RoleId::new(path.role_id)), &sent).await
}
