//! A person's standing and sessions, as staff change and see them.

use crate::{
    auth::{
        Auth,
        companies::{Carried, Sent},
        people::{self, Affected, Change, Confirmed},
        session_list::{self, Sessions},
        sessions::{End, end_session},
        signed_in,
        staff::Acting,
    },
    shared::{
        access_position::AccessPosition,
        extract::{ApiPath, ApiQuery},
        idempotency::ApiCommand,
        paging::PageQuery,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Receipted, Success, SuccessBody},
    },
};
use axum::{extract::State, response::Response};
use kisum_domains::{User, user::UserStatus};
use kisum_events::{Cursor, Log, MembershipId, SessionEndCause, SessionId, StaffRole, UserId};
use kisum_log::{Loaded, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Who may change people's standing.
const OPERATORS: &[StaffRole] = &[StaffRole::PlatformOwner, StaffRole::PlatformOperator];
/// Who may see it.
const READERS: &[StaffRole] = &[StaffRole::PlatformOwner, StaffRole::PlatformOperator, StaffRole::Support];

/// Nothing to say beside the path.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) struct NoFields {}

/// Where a person stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersonView {
    /// Their id.
    user_id: Uuid,
    /// `active`, `suspended` or `erased`.
    status: &'static str,
    /// The version of this.
    version: u64,
}

impl PersonView {
    fn new(id: UserId, user: &Loaded<User>) -> Self {
        Self { user_id: id.uuid(), status: status(&user.state), version: user.version }
    }
}

const fn status(user: &User) -> &'static str {
    match user.status {
        UserStatus::Unknown => "unknown",
        UserStatus::Active => "active",
        UserStatus::Suspended { .. } => "suspended",
        UserStatus::Erased { .. } => "erased",
    }
}

/// Suspends a person; every session of theirs ends.
#[utoipa::path(post, path = "/internal/v1/users/{id}/suspend", tag = "administration", request_body = NoFields,
    params(("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 200, description = "The person.", body = SuccessBody<PersonView>)))]
pub(super) async fn suspend(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<NoFields>,
) -> Result<Receipted<Success<PersonView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    change(&auth, &acting, (UserId::new(id), Change::Suspend), &sent).await
}

/// Lets a suspended person back; they have to sign in.
#[utoipa::path(post, path = "/internal/v1/users/{id}/reactivate", tag = "administration", request_body = NoFields,
    params(("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 200, description = "The person.", body = SuccessBody<PersonView>)))]
pub(super) async fn reactivate(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<NoFields>,
) -> Result<Receipted<Success<PersonView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    change(&auth, &acting, (UserId::new(id), Change::Reactivate), &sent).await
}

async fn change(
    auth: &Auth,
    acting: &Acting,
    wanted: (UserId, Change),
    sent: &Sent,
) -> Result<Receipted<Success<PersonView>>, Problem> {
    acting.require(OPERATORS)?;
    let (user, position) = people::change(auth, acting, wanted, sent).await?;
    let view = Success(PersonView::new(wanted.0, &user));
    match position {
        Some(position) => Ok(Receipted::new(view, position)),
        None => answered(auth, view, None, user.position).await,
    }
}

/// An answer with its position: where it was written, else where what it found stands.
pub(super) async fn answered<R>(
    auth: &Auth,
    answer: R,
    receipt: Option<Receipt>,
    position: u64,
) -> Result<Receipted<R>, Problem> {
    if let Some(receipt) = receipt {
        return Ok(Receipted::new(answer, &receipt));
    }
    let epoch = auth.log.head().await.map_err(problem::of_load)?.epoch;
    Ok(Receipted::new(answer, AccessPosition { log: Log::Auth, cursor: Cursor { epoch, position } }))
}

/// Lists a person's live sessions, the newest first.
#[utoipa::path(get, path = "/internal/v1/users/{id}/sessions", tag = "administration",
    params(PageQuery, ("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks."),
        ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    responses((status = 200, description = "A page of live sessions.", body = SuccessBody<Sessions>)))]
pub(super) async fn sessions(
    State(auth): State<Auth>,
    acting: Acting,
    carried: Carried,
    ApiPath(id): ApiPath<Uuid>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Sessions>, Problem> {
    acting.require(READERS)?;
    let user = UserId::new(id);
    let page = session_list::list(&auth, (user, None), carried, query).await?;
    if signed_in::load_user(&auth, user).await?.version == 0 {
        return Err(Problem::not_found("There is no such person."));
    }
    Ok(page)
}

/// The session that a path names, and whose.
#[derive(Deserialize)]
pub(super) struct SessionPath {
    id: Uuid,
    session: Uuid,
}

/// Ends one of a person's sessions, at once and everywhere.
#[utoipa::path(delete, path = "/internal/v1/users/{id}/sessions/{session}", tag = "administration",
    params(("id" = Uuid, Path, description = "The person."), ("session" = Uuid, Path, description = "Their session."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 204, description = "It has ended.")))]
pub(super) async fn end_one(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(path): ApiPath<SessionPath>,
) -> Result<Response, Problem> {
    acting.require(OPERATORS)?;
    let (id, whose) = (SessionId::new(path.session), Some(UserId::new(path.id)));
    end_session(&auth, &End { id, whose, cause: SessionEndCause::Revoked }, acting.actor(), &label).await
}

/// What erasing a person affects.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErasureView {
    #[serde(flatten)]
    person: PersonView,
    /// Memberships that end.
    memberships: Vec<BelongingView>,
    /// What has to be sent back to confirm this.
    confirm: ErasureConfirmed,
}

/// A membership that ends.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BelongingView {
    /// The membership.
    membership_id: Uuid,
    /// The company.
    company_id: Uuid,
    /// Its name in `x-org`.
    slug: String,
    /// Whether the company has no other superadmin: then the person cannot be erased yet.
    is_last_superadmin: bool,
}

/// What was shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErasureConfirmed {
    /// The version of the person.
    version: u64,
    /// Their memberships.
    memberships: Vec<Uuid>,
}

/// What is to be erased, as it was shown.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EraseBody {
    /// `confirm` of what was shown.
    confirm: ErasureConfirmed,
}

impl ErasureView {
    fn new(id: UserId, found: &Affected) -> Self {
        let memberships: Vec<_> = found.memberships.iter().map(|it| it.id.uuid()).collect();
        let views = found.memberships.iter().map(|it| BelongingView {
            membership_id: it.id.uuid(),
            company_id: it.company_id.uuid(),
            slug: it.company.state.slug.as_ref().map(ToString::to_string).unwrap_or_default(),
            is_last_superadmin: it.is_last_superadmin(),
        });
        Self {
            person: PersonView::new(id, &found.user),
            memberships: views.collect(),
            confirm: ErasureConfirmed { version: found.user.version, memberships },
        }
    }
}

/// Shows what erasing a person affects.
#[utoipa::path(get, path = "/internal/v1/users/{id}/erasure", tag = "administration",
    params(("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = Option<String>, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 200, description = "What it affects.", body = SuccessBody<ErasureView>)))]
pub(super) async fn erasure(
    State(auth): State<Auth>,
    acting: Acting,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Success<ErasureView>, Problem> {
    acting.require(READERS)?;
    let id = UserId::new(id);
    let found = people::affected(&auth, id).await?;
    Ok(Success(ErasureView::new(id, &found)))
}

/// Erases a person for ever, as it was shown: sessions, memberships, roles and address go, and nothing that was sealed
/// for them can be read again. An owner asks for it, who has just shown a second factor.
#[utoipa::path(post, path = "/internal/v1/users/{id}/erase", tag = "administration", request_body = EraseBody,
    params(("id" = Uuid, Path, description = "The person."),
        ("X-Actor-Token" = String, Header, description = "The access token of the member of staff who asks.")),
    responses((status = 200, description = "The person is no more.", body = SuccessBody<PersonView>)))]
pub(super) async fn erase(
    State(auth): State<Auth>,
    acting: Acting,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<EraseBody>,
) -> Result<Receipted<Success<PersonView>>, Problem> {
    acting.stepped_up(&[StaffRole::PlatformOwner], auth.clock.now())?;
    let (id, confirm) = (UserId::new(id), command.body.confirm);
    let mut memberships: Vec<_> = confirm.memberships.into_iter().map(MembershipId::new).collect();
    memberships.sort_unstable();
    let confirmed = Confirmed { version: confirm.version, memberships };
    let erased = people::erase(&auth, &acting, (id, &confirmed), &label).await?;
    answered(&auth, Success(PersonView::new(id, &erased.user)), erased.receipt, erased.user.position).await
}
