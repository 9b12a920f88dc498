//! `PATCH` and `DELETE /companies/{company}/members/{member}`: a member's role and standing, and the end of a membership.

use super::{
    Sent,
    alter::alter,
    public::Manager,
    refusals,
    views::{MembershipView, Role},
};
use crate::{
    auth::Auth,
    shared::{
        extract::ApiPath,
        idempotency::{ApiCommand, Idempotency},
        problem::Problem,
        request_label::RequestLabel,
        respond::{NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    Authority, Membership,
    membership::{self, ChangeMember},
};
use kisum_events::MembershipId;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What is to become of a member; what is absent stays. Something has to be said.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeMemberBody {
    /// Their role; both the old and the new one have to be below one's own, unless one is superadmin.
    tenant_role: Option<Role>,
    /// Whether they may not act for the company, for now.
    suspended: Option<bool>,
}

/// The member that a path names.
#[derive(Deserialize)]
pub(super) struct MemberPath {
    member: Uuid,
}

/// Changes a member's role, suspends them or lets them back.
#[utoipa::path(patch, path = "/companies/{company}/members/{member}", tag = "members", request_body = ChangeMemberBody,
    params(("company" = Uuid, Path), ("member" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The member.", body = SuccessBody<MembershipView>)))]
pub(super) async fn change_member(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    ApiPath(path): ApiPath<MemberPath>,
    command: ApiCommand<ChangeMemberBody>,
) -> Result<Receipted<Success<MembershipView>>, Problem> {
    let ChangeMemberBody { tenant_role, suspended } = command.body;
    if tenant_role.is_none() && suspended.is_none() {
        return Err(Problem::validation("Neither tenantRole nor suspended is there: nothing would change."));
    }
    let (member, sent) = (MembershipId::new(path.member), Sent { idempotency: command.idempotency, label });
    let wanted = ChangeMember { role: tenant_role.map(Into::into), suspended };
    let name = format!("{member}|membership.change");
    let decide = |state: &Membership, authority: &Authority<'_>| {
        membership::change(state, authority, wanted).map_err(refusals::of_change)
    };
    let changed = alter(&auth, &actor.by(), (actor.company, member), (&name, &sent), decide).await?;
    Ok(Receipted::new(Success(MembershipView::new(member, &changed.state)), changed.position))
}

/// Ends a membership; the person may become a member anew.
#[utoipa::path(delete, path = "/companies/{company}/members/{member}", tag = "members",
    params(("company" = Uuid, Path), ("member" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "They are no member.")))]
pub(super) async fn end_member(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<MemberPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let (member, sent) = (MembershipId::new(path.member), Sent { idempotency, label });
    let name = format!("{member}|membership.end");
    let decide = |state: &Membership, authority: &Authority<'_>| {
        membership::revoke(state, authority).map_err(refusals::of_change)
    };
    let ended = alter(&auth, &actor.by(), (actor.company, member), (&name, &sent), decide).await?;
    Ok(Receipted::new(NoContent, ended.position))
}
