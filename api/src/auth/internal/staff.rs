//! The platform's staff: who somebody is, what roles they have, and giving and taking them.

use super::people::{NoFields, answered};
use crate::{
    auth::{
        Auth,
        lookup::Email,
        signed_in,
        staff::{self, Acting, Bootstrapped, Changed, RoleChange},
    },
    shared::{
        caller::Caller,
        extract::{ApiPath, ApiQuery},
        idempotency::ApiCommand,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::Staff;
use kisum_events::{Actor, StaffRole, Timestamp, UserId};
use kisum_log::{ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Who may see who has which role.
const READERS: &[StaffRole] = &[StaffRole::PlatformOwner, StaffRole::PlatformOperator, StaffRole::Support];

/// A member of staff who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StaffContext {
    /// Who.
    user_id: Uuid,
    /// By which session.
    session_id: Uuid,
    /// Their roles.
    roles: Vec<&'static str>,
    /// How well they proved who they are: `aal2`.
    acr: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    auth_time: Timestamp,
    /// Whether that was a moment ago: what is of high risk wants it.
    stepped_up: bool,
}

/// Tells what the person of `X-Actor-Token` may do as staff.
#[utoipa::path(post, path = "/internal/v1/staff-context", tag = "staff", request_body = NoFields,
    params(("X-Actor-Token" = String, Header, description = "The access token of the person who asks.")),
    responses((status = 200, description = "Their roles.", body = SuccessBody<StaffContext>)))]
pub(super) async fn context(
    State(auth): State<Auth>,
    acting: Acting,
    _command: ApiCommand<NoFields>,
) -> Result<Success<StaffContext>, Problem> {
    let person = acting.person()?;
    Ok(Success(StaffContext {
        user_id: person.user.uuid(),
        session_id: person.session.uuid(),
        roles: names(&person.staff.state),
        acr: person.acr.clone(),
        auth_time: person.auth_time,
        stepped_up: person.is_stepped_up(auth.clock.now()),
    }))
}

/// Somebody's roles.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StaffView {
    /// Whose.
    user_id: Uuid,
    /// Which; none for who is no staff.
    roles: Vec<&'static str>,
    /// The version of this, which a change names.
    version: u64,
}

impl StaffView {
    fn new(user: UserId, staff: &Loaded<Staff>) -> Self {
        Self { user_id: user.uuid(), roles: names(&staff.state), version: staff.version }
    }
}

fn names(staff: &Staff) -> Vec<&'static str> {
    staff.roles.iter().map(|role| role.name()).collect()
}

/// Shows somebody's roles.
#[utoipa::path(get, path = "/internal/v1/staff/{id}", tag = "staff",
    params(("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 200, description = "Their roles.", body = SuccessBody<StaffView>)))]
pub(super) async fn show(
    State(auth): State<Auth>,
    acting: Acting,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Success<StaffView>, Problem> {
    acting.require(READERS)?;
    let user = UserId::new(id);
    if signed_in::load_user(&auth, user).await?.version == 0 {
        return Err(Problem::not_found("There is no such person."));
    }
    Ok(Success(StaffView::new(user, &staff::load(&auth, user).await?)))
}

/// The role that a path names, and whose.
#[derive(Deserialize)]
pub(super) struct RolePath {
    id: Uuid,
    role: StaffRole,
}

/// What whoever changes roles was shown.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Shown {
    /// `version` of the roles that were shown.
    version: u64,
}

/// Gives a role. An owner asks for it, who has just shown a second factor.
#[utoipa::path(put, path = "/internal/v1/staff/{id}/roles/{role}", tag = "staff",
    params(Shown, ("id" = Uuid, Path, description = "The person."), ("role" = String, Path, description = "The role."),
        ("X-Actor-Token" = String, Header, description = "The access token of the owner who asks.")),
    responses((status = 200, description = "Their roles.", body = SuccessBody<StaffView>)))]
pub(super) async fn grant(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(path): ApiPath<RolePath>,
    ApiQuery(shown): ApiQuery<Shown>,
) -> Result<Receipted<Success<StaffView>>, Problem> {
    let granted = RoleChange { granted: true, ..named(&path, &shown) };
    let (staff, receipt) = change(&auth, &acting, granted, &label).await?;
    answered(&auth, Success(StaffView::new(granted.user, &staff)), receipt, staff.position).await
}

/// Takes a role. An owner asks for it, who has just shown a second factor; an owner stays.
#[utoipa::path(delete, path = "/internal/v1/staff/{id}/roles/{role}", tag = "staff",
    params(Shown, ("id" = Uuid, Path, description = "The person."), ("role" = String, Path, description = "The role."),
        ("X-Actor-Token" = String, Header, description = "The access token of the owner who asks.")),
    responses((status = 204, description = "They do not have it.")))]
pub(super) async fn revoke(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(path): ApiPath<RolePath>,
    ApiQuery(shown): ApiQuery<Shown>,
) -> Result<Receipted<NoContent>, Problem> {
    let (staff, receipt) = change(&auth, &acting, named(&path, &shown), &label).await?;
    answered(&auth, NoContent, receipt, staff.position).await
}

fn named(path: &RolePath, shown: &Shown) -> RoleChange {
    RoleChange { user: UserId::new(path.id), role: path.role, granted: false, shown: shown.version }
}

async fn change(auth: &Auth, acting: &Acting, change: RoleChange, label: &RequestLabel) -> Result<Changed, Problem> {
    acting.stepped_up(&[StaffRole::PlatformOwner], auth.clock.now())?;
    staff::change(auth, acting, change, label).await
}

/// Who is to be the first owner.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BootstrapBody {
    /// The address of somebody who is registered.
    email: String,
}

/// Makes the platform's first owner, once and never again.
#[utoipa::path(post, path = "/internal/v1/staff/bootstrap", tag = "staff", request_body = BootstrapBody,
    responses((status = 201, description = "The first owner.", body = SuccessBody<StaffView>)))]
pub(super) async fn bootstrap(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    command: ApiCommand<BootstrapBody>,
) -> Result<Receipted<Created<StaffView>>, Problem> {
    let email = Email::parse(&command.body.email);
    let email = email.ok_or_else(|| Problem::validation("The field email is not an e-mail address."))?;
    let claim = ClaimKey::email(&auth.lookup.email(&email));
    let holder = auth.log.claim_holder(&claim).await.map_err(problem::of_load)?;
    let user =
        holder.and_then(|stream| stream.person()).ok_or_else(|| Problem::not_found("Nobody has this address."))?;
    match staff::bootstrap(&auth, &Actor::Service(caller.service), user, &label).await? {
        Bootstrapped::Done(receipt) => {
            let view = StaffView::new(user, &staff::load(&auth, user).await?);
            Ok(Receipted::new(Created(view), &receipt))
        }
        Bootstrapped::Before => {
            Err(Problem::conflict("already_bootstrapped", "The platform has had its first owner already."))
        }
    }
}
