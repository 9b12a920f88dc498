//! Members of any company, as the platform's administration adds them and changes their grants: the commands of the
//! public routes, sent with the platform's own authority.

use crate::{
    auth::{
        Auth,
        companies::{self, By, Carried, Change, MembershipView, NewMember, Role, Sent},
    },
    shared::{
        caller::Caller,
        extract::ApiPath,
        idempotency::{ApiCommand, Idempotency},
        problem::Problem,
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{CompanyId, MembershipId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Who is to become a member.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddMemberBody {
    /// The person.
    user_id: Uuid,
    /// With which standing.
    tenant_role: Role,
}

/// The member that a path names, and what of theirs.
#[derive(Deserialize)]
pub(super) struct ModulePath {
    id: Uuid,
    membership: Uuid,
    module: String,
}

/// The same for a permission.
#[derive(Deserialize)]
pub(super) struct PermissionPath {
    id: Uuid,
    membership: Uuid,
    permission: String,
}

/// Makes somebody a member.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/members", tag = "administration", request_body = AddMemberBody,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 201, description = "The member.", body = SuccessBody<MembershipView>)))]
pub(super) async fn add_member(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<AddMemberBody>,
) -> Result<Receipted<Created<MembershipView>>, Problem> {
    let AddMemberBody { user_id, tenant_role } = command.body;
    let (company, user) = (CompanyId::new(id), UserId::new(user_id));
    let new = NewMember { company, user, role: tenant_role.into(), via: "platform" };
    let sent = Sent { idempotency: command.idempotency, label };
    let added = companies::add(&auth, &By::Service(caller.service), &new, &sent).await?;
    Ok(Receipted::new(Created(MembershipView::new(added.id, &added.state)), added.position))
}

/// Grants a module that the company owns now.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/members/{membership}/modules/{module}", tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("module" = String, Path)),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
pub(super) async fn grant_module(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<ModulePath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    request.carried.settle(&auth).await?;
    let change = Change::GrantModule(companies::module(&path.module)?);
    set(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}

/// Takes a module back.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/members/{membership}/modules/{module}", tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("module" = String, Path)),
    responses((status = 204, description = "The member does not hold it.")))]
pub(super) async fn revoke_module(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<ModulePath>,
) -> Result<Receipted<NoContent>, Problem> {
    let change = Change::RevokeModule(companies::module(&path.module)?);
    unset(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}

/// Grants a permission of a module that the company owns now.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/members/{membership}/permissions/{permission}",
    tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("permission" = String, Path)),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
pub(super) async fn grant_permission(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<PermissionPath>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    request.carried.settle(&auth).await?;
    let change = Change::GrantPermission(companies::permission(&path.permission)?);
    set(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}

/// Takes a permission back.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/members/{membership}/permissions/{permission}",
    tag = "administration",
    params(("id" = Uuid, Path), ("membership" = Uuid, Path), ("permission" = String, Path)),
    responses((status = 204, description = "The member does not hold it.")))]
pub(super) async fn revoke_permission(
    State(auth): State<Auth>,
    caller: Caller,
    request: Request,
    ApiPath(path): ApiPath<PermissionPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let change = Change::RevokePermission(companies::permission(&path.permission)?);
    unset(&auth, caller, (path.id, path.membership), &change, &request.sent).await
}

/// What a command without a body carries in its headers.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) sent: Sent,
    pub(super) carried: Carried,
}

impl axum::extract::FromRequestParts<Auth> for Request {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, auth: &Auth) -> Result<Self, Problem> {
        let Ok(label) = RequestLabel::from_request_parts(parts, auth).await;
        let idempotency = Idempotency::from_request_parts(parts, auth).await?;
        let carried = Carried::from_request_parts(parts, auth).await?;
        Ok(Self { sent: Sent { idempotency, label }, carried })
    }
}

/// Changes what a member holds, and shows the member.
pub(super) async fn set(
    auth: &Auth,
    caller: Caller,
    (company, member): (Uuid, Uuid),
    wanted: &Change,
    sent: &Sent,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let (by, member) = (By::Service(caller.service), MembershipId::new(member));
    let changed = companies::change(auth, &by, (CompanyId::new(company), member), wanted, sent).await?;
    Ok(Receipted::new(Success(MembershipView::new(member, &changed.state)), changed.position))
}

/// Takes back what a member holds.
pub(super) async fn unset(
    auth: &Auth,
    caller: Caller,
    (company, member): (Uuid, Uuid),
    wanted: &Change,
    sent: &Sent,
) -> Result<Receipted<NoContent>, Problem> {
    let (by, member) = (By::Service(caller.service), MembershipId::new(member));
    let changed = companies::change(auth, &by, (CompanyId::new(company), member), wanted, sent).await?;
    Ok(Receipted::new(NoContent, changed.position))
}
