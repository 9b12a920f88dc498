//! Delegation policies of any company, with the platform's own authority.

use crate::{
    auth::{
        Auth,
        companies::{self, By, Carried, Policy, PolicyRole, PolicyView, Sent},
    },
    shared::{
        caller::Caller,
        extract::ApiPath,
        idempotency::ApiCommand,
        problem::Problem,
        request_label::RequestLabel,
        respond::{Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::CompanyId;
use serde::Deserialize;
use uuid::Uuid;

/// The policy that a path names.
#[derive(Deserialize)]
pub(super) struct PolicyPath {
    id: Uuid,
    role: PolicyRole,
}

/// Shows what members of a role may grant at most.
#[utoipa::path(get, path = "/internal/v1/companies/{id}/delegation-policy/{role}", tag = "administration",
    params(("id" = Uuid, Path, description = "The company."), ("role" = PolicyRole, Path)),
    responses((status = 200, description = "The policy.", body = SuccessBody<PolicyView>)))]
pub(super) async fn show(
    State(auth): State<Auth>,
    caller: Caller,
    carried: Carried,
    ApiPath(path): ApiPath<PolicyPath>,
) -> Result<Success<PolicyView>, Problem> {
    carried.settle(&auth).await?;
    companies::policy_of(&auth, &By::Service(caller.service), CompanyId::new(path.id), path.role).await.map(Success)
}

/// Sets what members of a role may grant at most.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/delegation-policy/{role}", tag = "administration",
    request_body = Policy,
    params(("id" = Uuid, Path, description = "The company."), ("role" = PolicyRole, Path)),
    responses((status = 200, description = "The policy.", body = SuccessBody<PolicyView>)))]
pub(super) async fn set(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    carried: Carried,
    ApiPath(path): ApiPath<PolicyPath>,
    command: ApiCommand<Policy>,
) -> Result<Receipted<Success<PolicyView>>, Problem> {
    let (company, sent) = (CompanyId::new(path.id), Sent { idempotency: command.idempotency, label });
    carried.settle(&auth).await?;
    let by = By::Service(caller.service);
    let (view, position) = companies::set_policy(&auth, &by, (company, path.role), &command.body, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}
