//! `GET /internal/v1/access/explain`: why somebody may do what they may, and why not the rest.

use crate::{
    auth::{
        Auth,
        access::{EventRow, Explained, Whose},
        companies, person,
    },
    shared::{
        extract::ApiQuery,
        observe,
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use http::HeaderMap;
use kisum_domains::{
    explain::{ModuleWhy, PermissionWhy},
    holdings::Source,
};
use kisum_events::{Actor, AsOf, EntitlementSource, Meta, SessionId, StreamName, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Of whom, where, and about what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExplainQuery {
    /// The person.
    user: Uuid,
    /// Their session; without it no session is asked about.
    session: Option<Uuid>,
    /// The permission that is asked about; without it whether they may act for the company at all.
    permission: Option<String>,
}

/// Why somebody may do what they may.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplanationView {
    /// The person.
    user_id: Uuid,
    /// The company; absent where there is none of that name.
    company_id: Option<Uuid>,
    /// Their membership; absent where they have none.
    membership_id: Option<Uuid>,
    /// Whether what was asked about is allowed.
    is_allowed: bool,
    /// The first rule that fails; absent where none does.
    failed: Option<FailedView>,
    /// Modules that the company owns or the member is granted, in order.
    modules: Vec<ModuleView>,
    /// Permissions that the member holds, in order.
    permissions: Vec<PermissionView>,
    /// What it was explained from, by log: `{epoch, position}`.
    #[schema(value_type = Object)]
    as_of: AsOf,
}

/// A rule that fails.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailedView {
    /// `session_live`, `member`, `membership_active`, `person_active`, `company_active`, `module_owned`, `module_granted` or
    /// `permission_held`: the contract's order.
    rule: &'static str,
    /// What a caller hears: the code or the reason.
    reason: &'static str,
    /// The latest event that can have taken away what is missing; absent where none is found.
    event: Option<EventView>,
}

/// An event that something rests on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EventView {
    /// `auth` or `core`.
    log: &'static str,
    /// Its epoch.
    epoch: u32,
    /// Its position.
    position: u64,
    /// Its id; absent for events of Core, which are asked for there.
    id: Option<Uuid>,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// The stream, such as `membership-{id}`.
    stream: String,
    /// When it was committed; absent for events of Core.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<Timestamp>,
    /// Who did it; absent for events of Core.
    #[schema(value_type = Option<String>)]
    actor: Option<Actor>,
}

/// A module.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModuleView {
    /// Which.
    module: String,
    /// Whether the company owns it and the member is granted it.
    is_usable: bool,
    /// By what the company owns it now.
    owned: Vec<OwnedView>,
    /// What grants it.
    granted: Vec<SourceView>,
}

/// What the company owns a module by.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnedView {
    /// `{type, id}` of the purchase.
    #[schema(value_type = Object)]
    source: EntitlementSource,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Until right before then; absent where there is no end.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// The company's last `entitlement.changed`, which says so.
    event: EventView,
}

/// A permission.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PermissionView {
    /// Which.
    permission: String,
    /// Whether its module is usable.
    is_usable: bool,
    /// Everything that gives it.
    sources: Vec<SourceView>,
}

/// What gives something.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceView {
    /// `grant`, `role` or `delegation`.
    kind: &'static str,
    /// The role or the delegation.
    id: Option<Uuid>,
    /// The membership of who passed it on.
    giver: Option<Uuid>,
    /// The events that gave it: the grant; the assignment and the role's own; what was received.
    events: Vec<EventView>,
}

/// Explains what a person may do in a company.
#[utoipa::path(get, path = "/internal/v1/access/explain", tag = "administration",
    params(ExplainQuery, ("x-org" = String, Header, description = "The company, by id or short name.")),
    responses((status = 200, description = "The explanation.", body = SuccessBody<ExplanationView>)))]
pub(super) async fn explain(
    State(auth): State<Auth>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<ExplainQuery>,
) -> Result<Success<ExplanationView>, Problem> {
    let org = person::org(&headers)?;
    let permission = query.permission.as_deref().map(companies::permission).transpose()?;
    let session = query.session.map(SessionId::new);
    let whose = Whose { user: UserId::new(query.user), org, session, permission };
    let explained = auth.access.explain(&whose).await.map_err(person::unprovable)?;
    if let Some(company) = explained.company {
        observe::note_company(company);
    }
    view(&whose, &explained).map(Success)
}

fn view(whose: &Whose, explained: &Explained) -> Result<ExplanationView, Problem> {
    let failed = explained.explanation.failed;
    let event = explained.refused_by.as_ref().map(|event| of_auth(explained, event)).transpose()?;
    let failed = failed.map(|rule| FailedView { rule: rule.name(), reason: rule.reason(), event });
    let modules = explained.explanation.modules.iter().map(|why| module(explained, why));
    let permissions = explained.explanation.permissions.iter().map(|why| permission(explained, why));
    Ok(ExplanationView {
        user_id: whose.user.uuid(),
        company_id: explained.company.map(|id| id.uuid()),
        membership_id: explained.membership.map(|id| id.uuid()),
        is_allowed: failed.is_none(),
        failed,
        modules: modules.collect::<Result<_, _>>()?,
        permissions: permissions.collect::<Result<_, _>>()?,
        as_of: explained.as_of,
    })
}

fn module(explained: &Explained, why: &ModuleWhy) -> Result<ModuleView, Problem> {
    let owned = why.owned.iter().map(|entry| OwnedView {
        source: entry.source.clone(),
        from: entry.from,
        until: entry.until,
        event: of_core(explained),
    });
    Ok(ModuleView {
        module: why.module.to_string(),
        is_usable: why.is_usable(),
        owned: owned.collect(),
        granted: sources(explained, &why.granted)?,
    })
}

fn permission(explained: &Explained, why: &PermissionWhy) -> Result<PermissionView, Problem> {
    Ok(PermissionView {
        permission: why.permission.to_string(),
        is_usable: why.is_usable,
        sources: sources(explained, &why.sources)?,
    })
}

fn sources(explained: &Explained, sources: &[Source]) -> Result<Vec<SourceView>, Problem> {
    sources.iter().map(|source| source_view(explained, source)).collect()
}

fn source_view(explained: &Explained, source: &Source) -> Result<SourceView, Problem> {
    let (kind, id, giver) = match source {
        Source::Grant { .. } => ("grant", None, None),
        Source::Role { role, .. } => ("role", Some(role.uuid()), None),
        Source::Delegation { delegation, giver, .. } => ("delegation", Some(delegation.uuid()), Some(giver.uuid())),
    };
    let events = explained.of(source).map(|event| of_auth(explained, event));
    Ok(SourceView { kind, id, giver, events: events.collect::<Result<_, _>>()? })
}

fn of_auth(explained: &Explained, event: &EventRow) -> Result<EventView, Problem> {
    let meta: Meta = serde_json::from_str(&event.meta).map_err(|error| problem::of_defect(&error))?;
    Ok(EventView {
        log: "auth",
        epoch: explained.as_of.auth.epoch,
        position: u64::try_from(event.position).unwrap_or_default(),
        id: Some(event.id),
        event_type: event.event_type.clone(),
        stream: event.stream.clone(),
        recorded_at: Some(Timestamp::from_micros(event.recorded_at)),
        actor: Some(meta.actor),
    })
}

fn of_core(explained: &Explained) -> EventView {
    let company = explained.company.map(|company| StreamName::subscription(company).to_string());
    EventView {
        log: "core",
        epoch: explained.as_of.core.epoch,
        position: explained.entitlement_version,
        id: None,
        event_type: "entitlement.changed".to_owned(),
        stream: company.unwrap_or_default(),
        recorded_at: None,
        actor: None,
    }
}
