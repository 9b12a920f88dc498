//! Companies as tenants, as the platform's administration makes, finds and approves them.

use crate::{
    auth::{
        Auth,
        companies::{self, By, CompanyView, NewCompany, Sent, check_text, of_standing},
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        caller::Caller,
        extract::ApiPath,
        idempotency::ApiCommand,
        observe,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    Company,
    company::{self, CompanyStandingError},
};
use kisum_events::{Actor, CompanyEvent, CompanyId, Cursor, Log, Slug, StreamName, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A company to register.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterCompanyBody {
    /// Its display name, 1 to 200 characters.
    name: String,
    /// Its name in `x-org`, `[a-z0-9-]{2,63}`, which no other company has.
    #[schema(value_type = String)]
    slug: Slug,
    /// Who registers it and becomes its superadmin.
    owner_user_id: Uuid,
}

/// Nothing to say beside the path.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) struct NoFields {}

/// Why.
#[derive(Deserialize, ToSchema)]
pub(super) struct ReasonBody {
    /// In words for the company, 1 to 200 characters.
    reason: String,
}

/// Registers a company, pending, and makes its owner its superadmin, in one append.
#[utoipa::path(post, path = "/internal/v1/companies", tag = "administration", request_body = RegisterCompanyBody,
    responses((status = 201, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn register(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    command: ApiCommand<RegisterCompanyBody>,
) -> Result<Receipted<Created<CompanyView>>, Problem> {
    let RegisterCompanyBody { name, slug, owner_user_id } = command.body;
    let sent = Sent { idempotency: command.idempotency, label };
    let new = NewCompany { name, slug, owner: UserId::new(owner_user_id) };
    let (view, position) = companies::register(&auth, &Actor::Service(caller.service), new, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Finds a company by its name in `x-org`.
#[utoipa::path(get, path = "/internal/v1/companies/by-slug/{slug}", tag = "administration",
    params(("slug" = String, Path, description = "Its name in `x-org`.")),
    responses((status = 200, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn by_slug(
    State(auth): State<Auth>,
    ApiPath(slug): ApiPath<Slug>,
) -> Result<Success<CompanyView>, Problem> {
    companies::find_company(&auth, &slug).await.map(Success)
}

/// Approves a pending company.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/approve", tag = "administration", request_body = NoFields,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 200, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn approve(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<NoFields>,
) -> Result<Receipted<Success<CompanyView>>, Problem> {
    let change = Standing { id: CompanyId::new(id), name: "approve", event: "company.approved" };
    let sent = Sent { idempotency: command.idempotency, label };
    change.make(&auth, &By::Service(caller.service), &sent, company::approve).await
}

/// Turns a pending company down.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/reject", tag = "administration", request_body = ReasonBody,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 200, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn reject(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<ReasonBody>,
) -> Result<Receipted<Success<CompanyView>>, Problem> {
    let reason = command.body.reason;
    check_text("reason", &reason)?;
    let change = Standing { id: CompanyId::new(id), name: "reject", event: "company.rejected" };
    let sent = Sent { idempotency: command.idempotency, label };
    change.make(&auth, &By::Service(caller.service), &sent, |state| company::reject(state, &reason)).await
}

/// Suspends an active company.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/suspend", tag = "administration", request_body = ReasonBody,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 200, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn suspend(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<ReasonBody>,
) -> Result<Receipted<Success<CompanyView>>, Problem> {
    let reason = command.body.reason;
    check_text("reason", &reason)?;
    let change = Standing { id: CompanyId::new(id), name: "suspend", event: "company.suspended" };
    let sent = Sent { idempotency: command.idempotency, label };
    change.make(&auth, &By::Service(caller.service), &sent, |state| company::suspend(state, &reason)).await
}

/// Lets a suspended company back.
#[utoipa::path(post, path = "/internal/v1/companies/{id}/reactivate", tag = "administration", request_body = NoFields,
    params(("id" = Uuid, Path, description = "The company.")),
    responses((status = 200, description = "The company.", body = SuccessBody<CompanyView>)))]
pub(super) async fn reactivate(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
    command: ApiCommand<NoFields>,
) -> Result<Receipted<Success<CompanyView>>, Problem> {
    let change = Standing { id: CompanyId::new(id), name: "reactivate", event: "company.reactivated" };
    let sent = Sent { idempotency: command.idempotency, label };
    change.make(&auth, &By::Service(caller.service), &sent, company::reactivate).await
}

/// A change of one company's standing.
struct Standing {
    id: CompanyId,
    name: &'static str,
    event: &'static str,
}

impl Standing {
    async fn make(
        &self,
        auth: &Auth,
        by: &By,
        sent: &Sent,
        decide: impl Fn(&Company) -> Result<Vec<CompanyEvent>, CompanyStandingError>,
    ) -> Result<Receipted<Success<CompanyView>>, Problem> {
        observe::note_company(self.id);
        let stream = StreamName::company(self.id);
        for _ in 0..race::ATTEMPTS_MAX {
            let loaded = auth.log.load::<Company>(&stream).await.map_err(problem::of_load)?;
            if let Some(position) = sent.earlier(auth, &by.actor(), Some(self.id), self.name).await? {
                return Ok(Receipted::new(Success(CompanyView::new(self.id, &loaded.state)), position));
            }
            let events = decide(&loaded.state).map_err(of_standing)?;
            if events.is_empty() {
                let epoch = auth.log.head().await.map_err(problem::of_load)?.epoch;
                let cursor = Cursor { epoch, position: loaded.position };
                let view = CompanyView::new(self.id, &loaded.state);
                return Ok(Receipted::new(Success(view), AccessPosition { log: Log::Auth, cursor }));
            }
            let mut append = sent.append(&by.actor(), Some(self.id), self.name);
            let state = append.write(&loaded, events).map_err(problem::of_append)?;
            match race::settle(auth.append(append).await)? {
                Outcome::Done(receipt) => {
                    let state = match receipt.duplicate {
                        true => auth.log.load::<Company>(&stream).await.map_err(problem::of_load)?.state,
                        false => state,
                    };
                    let actor = by.actor();
                    tracing::info!(event = self.event, company_id = %self.id, %actor, "a company's standing has changed");
                    return Ok(Receipted::new(Success(CompanyView::new(self.id, &state)), &receipt));
                }
                Outcome::Again | Outcome::Taken => {}
            }
        }
        Err(race::lost())
    }
}
