//! Sending invitations, sending them again and taking them back, for the people who administer a company.

use super::{
    InvitationView, invite, resend,
    send::{NewInvitation, read_grants},
    withdraw,
};
use crate::{
    auth::{
        Auth,
        companies::{Carried, Role, Sent, public::Manager},
        lookup::Email,
    },
    shared::{
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
use utoipa::ToSchema;
use uuid::Uuid;

/// Who is to be invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct InviteBody {
    /// The address, whether it has an account or not.
    email: String,
    /// With which standing; below one's own, unless one is superadmin.
    tenant_role: Role,
    /// Keys of modules to grant with it; with the permissions at most 100.
    #[serde(default)]
    #[schema(max_items = 100)]
    modules: Vec<String>,
    /// Keys of permissions to grant with it.
    #[serde(default)]
    #[schema(max_items = 100)]
    permissions: Vec<String>,
}

impl InviteBody {
    /// As a command about a company.
    ///
    /// # Errors
    /// 400 for no address or too many grants, 422 for what no catalog can have.
    pub(in crate::auth) fn read(self, company: CompanyId) -> Result<NewInvitation, Problem> {
        let email = Email::parse(&self.email)
            .ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
        let grants = read_grants(&self.modules, &self.permissions)?;
        Ok(NewInvitation { company, email, role: self.tenant_role.into(), grants })
    }
}

/// Nothing to say beside the path.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(in crate::auth) struct NothingMore {}

/// The invitation that a path names.
#[derive(Deserialize)]
pub(in crate::auth) struct InvitationPath {
    invitation: Uuid,
}

/// Invites an address, whether it has an account or not: the answer does not tell. What waits for it on the same terms is
/// sent once more.
#[utoipa::path(post, path = "/companies/{company}/invitations", tag = "invitations", request_body = InviteBody,
    params(("company" = Uuid, Path), ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 201, description = "The invitation.", body = SuccessBody<InvitationView>)))]
pub(in crate::auth) async fn send_invitation(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    carried: Carried,
    command: ApiCommand<InviteBody>,
) -> Result<Receipted<Created<InvitationView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    let wanted = command.body.read(actor.company)?;
    carried.settle(&auth).await?;
    let (view, position) = invite(&auth, &actor.by(), &wanted, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Sends an invitation once more, for another week. The link before is good for nothing, and the invitation rests on whoever
/// does this.
#[utoipa::path(post, path = "/companies/{company}/invitations/{invitation}/resend", tag = "invitations",
    request_body = NothingMore,
    params(("company" = Uuid, Path), ("invitation" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The invitation.", body = SuccessBody<InvitationView>)))]
pub(in crate::auth) async fn resend_invitation(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    ApiPath(path): ApiPath<InvitationPath>,
    command: ApiCommand<NothingMore>,
) -> Result<Receipted<Success<InvitationView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    let which = (actor.company, InvitationId::new(path.invitation));
    let (view, position) = resend(&auth, &actor.by(), which, &sent).await?;
    Ok(Receipted::new(Success(view), position))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/companies/{company}/invitations/{invitation}", tag = "invitations",
    params(("company" = Uuid, Path), ("invitation" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "It cannot be accepted.")))]
pub(in crate::auth) async fn withdraw_invitation(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<InvitationPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    let which = (actor.company, InvitationId::new(path.invitation));
    let position = withdraw(&auth, &actor.by(), which, &sent).await?;
    Ok(Receipted::new(NoContent, position))
}
