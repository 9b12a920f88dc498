//! Invitations into any company, with the platform's own authority: the commands of the public routes.

use super::companies::NoFields;
use crate::{
    auth::{
        Auth,
        companies::{By, Carried, InvitationView, InviteBody, Sent, invite, resend, withdraw},
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
use kisum_events::{CompanyId, InvitationId};
use serde::Deserialize;
use uuid::Uuid;

/// The invitation that a path names.
#[derive(Deserialize)]
pub(super) struct InvitationPath {
    id: Uuid,
    invitation: Uuid,
}

/// Invites an address.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/invitations", tag = "administration",
    request_body = InviteBody,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 201, description = "The invitation.", body = SuccessBody<InvitationView>)))]
pub(super) async fn send(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    carried: Carried,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<InviteBody>,
) -> Result<Receipted<Created<InvitationView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    let wanted = command.body.read(CompanyId::new(id))?;
    carried.settle(&auth).await?;
    let (view, position) = invite(&auth, &By::Service(caller.service), &wanted, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Sends an invitation once more.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/invitations/{invitation}/resend", tag = "administration",
    request_body = NoFields,
    params(("id" = Uuid, Path, description = "The company."), ("invitation" = Uuid, Path)),
    responses((status = 200, description = "The invitation.", body = SuccessBody<InvitationView>)))]
pub(super) async fn send_again(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(path): ApiPath<InvitationPath>,
    command: ApiCommand<NoFields>,
) -> Result<Receipted<Success<InvitationView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    let which = (CompanyId::new(path.id), InvitationId::new(path.invitation));
    let (view, position) = resend(&auth, &By::Service(caller.service), which, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/invitations/{invitation}", tag = "administration",
    params(("id" = Uuid, Path, description = "The company."), ("invitation" = Uuid, Path)),
    responses((status = 204, description = "It cannot be accepted.")))]
pub(super) async fn take_back(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<InvitationPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    let which = (CompanyId::new(path.id), InvitationId::new(path.invitation));
    let position = withdraw(&auth, &By::Service(caller.service), which, &sent).await?;
    Ok(Receipted::new(NoContent, position))
}
