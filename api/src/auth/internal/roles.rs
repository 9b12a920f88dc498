//! Named roles of any company, with the platform's own authority.

use super::members::{Request, set, unset};
use crate::{
    auth::{
        Auth,
        companies::{self, By, Carried, Change, ChangeRoleBody, MembershipView, NewRoleBody, RoleView, Roles, Sent},
    },
    shared::{
        caller::Caller,
        extract::{ApiPath, ApiQuery},
        idempotency::{ApiCommand, Idempotency},
        paging::PageQuery,
        problem::Problem,
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{CompanyId, RoleId};
use serde::Deserialize;
use uuid::Uuid;

/// The role that a path names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolePath {
    id: Uuid,
    role_id: Uuid,
}

impl RolePath {
    const fn role(&self) -> (CompanyId, RoleId) {
        (CompanyId::new(self.id), RoleId::new(self.role_id))
    }
}

/// The member and the role that a path names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssignmentPath {
    id: Uuid,
    membership: Uuid,
    role_id: Uuid,
}

/// Lists a company's named roles, in the order of their names.
#[utoipa::path(get, path = "/internal/v1/companies/{id}/roles", tag = "administration",
    params(("id" = Uuid, Path, description = "The company."), PageQuery),
    responses((status = 200, description = "A page of roles.", body = SuccessBody<Roles>)))]
pub(super) async fn list(
    State(auth): State<Auth>,
    caller: Caller,
    ApiPath(id): ApiPath<Uuid>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Roles>, Problem> {
    let company = CompanyId::new(id);
    let page = companies::roles_page(company, query)?;
    companies::admit(&auth, &By::Service(caller.service), company).await?;
    companies::list_roles(&auth, company, &page).await.map(Success)
}

/// Makes a named role.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/roles", tag = "administration", request_body = NewRoleBody,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 201, description = "The role.", body = SuccessBody<RoleView>)))]
pub(super) async fn create(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    carried: Carried,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<NewRoleBody>,
) -> Result<Receipted<Created<RoleView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    carried.settle(&auth).await?;
    let by = By::Service(caller.service);
    let (view, position) = companies::create_role(&auth, &by, CompanyId::new(id), &command.body, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Renames a role, or changes what it gives, for everybody who has it.
#[utoipa::path(patch, path = "/internal/v1/companies/{id}/roles/{roleId}", tag = "administration",
    request_body = ChangeRoleBody,
    params(("id" = Uuid, Path, description = "The company."), ("roleId" = Uuid, Path)),
    responses((status = 200, description = "The role.", body = SuccessBody<RoleView>)))]
pub(super) async fn change(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    carried: Carried,
    ApiPath(path): ApiPath<RolePath>,
    command: ApiCommand<ChangeRoleBody>,
) -> Result<Receipted<Success<RoleView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    carried.settle(&auth).await?;
    let by = By::Service(caller.service);
    let (view, position) = companies::change_role(&auth, &by, path.role(), &command.body, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}

/// Deletes a role: whoever has it holds nothing by it any more.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/roles/{roleId}", tag = "administration",
    params(("id" = Uuid, Path, description = "The company."), ("roleId" = Uuid, Path)),
    responses((status = 204, description = "The role gives nothing.")))]
pub(super) async fn delete(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<RolePath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    let position = companies::delete_role(&auth, &By::Service(caller.service), path.role(), &sent).await?;
    Ok(Receipted::new(NoContent, position))
}

/// Assigns a named role.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/members/{membership}/roles/{roleId}", tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("roleId" = Uuid, Path)),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
pub(super) async fn assign(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<AssignmentPath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    request.carried.settle(&auth).await?;
    let change = Change::AssignRole(RoleId::new(path.role_id));
    set(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}

/// Takes a named role back.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/members/{membership}/roles/{roleId}",
    tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("roleId" = Uuid, Path)),
    responses((status = 204, description = "The member does not have it.")))]
pub(super) async fn unassign(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<AssignmentPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let change = Change::UnassignRole(RoleId::new(path.role_id));
    unset(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}
