//! Registering a company, pending, whoever asks for it; and `POST /companies`, by which a person does.
//!
//! It owns the append: the company, its slug, and its first superadmin go together.

use super::{Sent, active_user, company_status, refusals};
use crate::{
    auth::{
        Auth,
        person::Person,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        ambient,
        idempotency::ApiCommand,
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, Receipted, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    Authority, Company, Membership,
    company::{self, RegisterCompany},
    membership::{self, CreateMembership},
};
use kisum_events::{Actor, Aggregate, CompanyEvent, CompanyId, MembershipId, Slug, StreamName, TenantRole, UserId};
use kisum_log::{Append, ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a company's name, and of a reason.
const TEXT_CHARS_MAX: usize = 200;

/// A company to register.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewCompanyBody {
    /// Its display name, 1 to 200 characters.
    name: String,
    /// Its name in `x-org`, `[a-z0-9-]{2,63}`, which no other company has.
    #[schema(value_type = String)]
    slug: Slug,
}

/// A company.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct CompanyView {
    /// Its id.
    company_id: Uuid,
    /// Its name in `x-org`.
    slug: String,
    /// Its display name.
    name: String,
    /// `pending`, `active`, `suspended` or `rejected`.
    status: &'static str,
    /// How many members count as seats.
    seats_used: u32,
}

impl CompanyView {
    pub(in crate::auth) fn new(id: CompanyId, state: &Company) -> Self {
        Self {
            company_id: id.uuid(),
            slug: state.slug.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: state.name.clone(),
            status: company_status(&state.status),
            seats_used: state.seats_used,
        }
    }
}

/// Registers a company, which waits for the platform's approval. The caller becomes its superadmin.
#[utoipa::path(post, path = "/companies", tag = "companies", request_body = NewCompanyBody, security(("bearer" = [])),
    responses((status = 201, description = "The company, pending.", body = SuccessBody<CompanyView>)))]
pub(super) async fn register_company(
    State(auth): State<Auth>,
    person: Person,
    label: RequestLabel,
    command: ApiCommand<NewCompanyBody>,
) -> Result<Receipted<Created<CompanyView>>, Problem> {
    let NewCompanyBody { name, slug } = command.body;
    let sent = Sent { idempotency: command.idempotency, label };
    let new = NewCompany { name, slug, owner: person.user };
    let (view, position) = register(&auth, &person.actor(), new, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// A company to register.
#[derive(Clone, Debug)]
pub(in crate::auth) struct NewCompany {
    /// Its display name.
    pub(in crate::auth) name: String,
    /// Its name in `x-org`.
    pub(in crate::auth) slug: Slug,
    /// Who becomes its superadmin.
    pub(in crate::auth) owner: UserId,
}

/// Registers a company, pending, and makes its owner its superadmin, in one append.
///
/// # Errors
/// 404 or 409 for an owner who may not; 409 `slug_taken`.
pub(in crate::auth) async fn register(
    auth: &Auth,
    actor: &Actor,
    new: NewCompany,
    sent: &Sent,
) -> Result<(CompanyView, AccessPosition), Problem> {
    check_text("name", &new.name)?;
    for _ in 0..race::ATTEMPTS_MAX {
        let user = active_user(auth, new.owner).await?;
        let mut append = sent.append(actor, None, "company.register");
        append.guard(&user);
        let (id, state) = write_company(&mut append, new.clone())?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) => {
                let view =
                    if receipt.duplicate { find_company(auth, &new.slug).await? } else { CompanyView::new(id, &state) };
                return Ok((view, (&receipt).into()));
            }
            Outcome::Taken => return Err(Problem::conflict("slug_taken", "This slug is in use.")),
            Outcome::Again => {}
        }
    }
    Err(race::lost())
}

/// Adds a new company and its superadmin to an append.
///
/// # Errors
/// The problem of a defect: nothing can refuse a new company and its first member.
pub(in crate::auth) fn write_company(append: &mut Append, new: NewCompany) -> Result<(CompanyId, Company), Problem> {
    let id = CompanyId::new(ambient::new_id());
    let loaded = Loaded::<Company>::new_stream(StreamName::company(id));
    append.claim(ClaimKey::slug(&new.slug), &loaded.stream);
    let owner = new.owner;
    let registration = RegisterCompany { slug: new.slug, name: new.name, owner };
    let registered = company::register(&loaded.state, registration).map_err(|error| problem::of_defect(&error))?;
    let (state, _) = register_owner(append, &loaded, id, registered, owner)?;
    Ok((id, state))
}

/// Finds a company by its name in `x-org`.
///
/// # Errors
/// 404 when there is none.
pub(in crate::auth) async fn find_company(auth: &Auth, slug: &Slug) -> Result<CompanyView, Problem> {
    let missing = || Problem::not_found("There is no such company.");
    let holder = auth.log.claim_holder(&ClaimKey::slug(slug)).await.map_err(problem::of_load)?;
    let stream = holder.ok_or_else(missing)?;
    let id = stream.id().parse().map_err(|_| missing())?;
    let loaded = auth.log.load::<Company>(&stream).await.map_err(problem::of_load)?;
    Ok(CompanyView::new(id, &loaded.state))
}

/// Checks a text that people read.
///
/// # Errors
/// 400 when it is empty or too long.
pub(in crate::auth) fn check_text(field: &str, text: &str) -> Result<(), Problem> {
    let fits = (1..=TEXT_CHARS_MAX).contains(&text.chars().count()) && !text.trim().is_empty();
    if fits {
        Ok(())
    } else {
        Err(Problem::validation(format!("The field {field} does not have 1 to {TEXT_CHARS_MAX} characters.")))
    }
}

/// Writes the first superadmin of a company that is registered by the same append.
///
/// # Errors
/// The problem of a defect: nothing can refuse the first member of a new company.
fn register_owner(
    append: &mut Append,
    company: &Loaded<Company>,
    company_id: CompanyId,
    registered: Vec<CompanyEvent>,
    owner: UserId,
) -> Result<(Company, MembershipId), Problem> {
    let id = MembershipId::new(ambient::new_id());
    let membership = Loaded::<Membership>::new_stream(StreamName::membership(id));
    let (owned, catalog) = Default::default();
    let command = CreateMembership {
        company_id,
        user_id: owner,
        role: TenantRole::TenantSuperadmin,
        via: "registration".to_owned(),
    };
    let events = membership::create(&membership.state, &Authority::platform(&owned, &catalog), command)
        .map_err(refusals::of_change)?;
    append.claim(ClaimKey::member(company_id, owner), &membership.stream);
    let member = append.write(&membership, events).map_err(problem::of_append)?;
    let mut state = company.state.clone();
    let mut version = company.version;
    for event in &registered {
        version = version.saturating_add(1);
        state.evolve(event, version);
    }
    let followed = company::follow_membership(&state, id, &Membership::default(), &member, None)
        .map_err(refusals::of_company_members)?;
    let all = registered.into_iter().chain(followed).collect();
    let state = append.write(company, all).map_err(problem::of_append)?;
    Ok((state, id))
}
