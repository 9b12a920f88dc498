//! `/companies/{company}/delegations`: what one member passes on to another for a time, whoever ends it.
//!
//! It owns what the appends rest on, and that a delegation ends with its giver's rights in one append. Rules stand in
//! `kisum_domains::delegation`.

use super::{
    Sent,
    grounds::Grounds,
    public::{ForCompany, Member},
    refusals, stream_at,
};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        ambient,
        extract::{ApiPath, ApiQuery},
        idempotency::{ApiCommand, Idempotency},
        problem::{self, Problem},
        request_label::RequestLabel,
        respond::{Created, NoContent, Receipted, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{
    Delegation, Holdings, Membership, Role,
    delegation::{self, Decided, Delegate, PERMISSIONS_MAX, Party, Terms},
};
use kisum_events::{
    Aggregate, CompanyId, DelegationEndCause, DelegationId, MembershipEvent, MembershipId, PermissionKey, StreamName,
    Timestamp,
};
use kisum_log::{Append, Loaded};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new().routes(routes!(list_delegations, delegate)).routes(routes!(end_delegation))
}

/// What to pass on.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DelegateBody {
    /// The membership of whoever is to receive it.
    to: Uuid,
    /// Keys of permissions that the caller can use and may grant.
    #[schema(min_items = 1, max_items = 50)]
    permissions: Vec<String>,
    /// From then on; without it from now on.
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_from: Option<Timestamp>,
    /// Until right before then, within 90 days from now.
    #[schema(value_type = String, format = DateTime)]
    valid_until: Timestamp,
}

impl DelegateBody {
    fn permissions(&self) -> Result<BTreeSet<PermissionKey>, Problem> {
        if self.permissions.len() > PERMISSIONS_MAX {
            return Err(refusals::of_delegation(delegation::DelegationError::Permissions));
        }
        self.permissions.iter().map(|key| super::permission(key)).collect()
    }
}

/// A delegation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DelegationView {
    /// Its id.
    delegation_id: Uuid,
    /// The giver's membership.
    from: Uuid,
    /// The receiver's membership.
    to: Uuid,
    /// Keys of permissions, in order; of use are those that the giver can use at the moment.
    permissions: Vec<String>,
    /// From then on.
    #[schema(value_type = String, format = DateTime)]
    valid_from: Timestamp,
    /// Until right before then.
    #[schema(value_type = String, format = DateTime)]
    valid_until: Timestamp,
}

impl DelegationView {
    fn new(id: DelegationId, state: &Delegation) -> Result<Self, Problem> {
        let terms = state.terms.as_ref().ok_or_else(refusals::no_such_delegation)?;
        Ok(Self {
            delegation_id: id.uuid(),
            from: terms.from.uuid(),
            to: terms.to.uuid(),
            permissions: words(&terms.permissions),
            valid_from: terms.valid_from,
            valid_until: terms.valid_until,
        })
    }
}

fn words(permissions: &BTreeSet<PermissionKey>) -> Vec<String> {
    permissions.iter().map(ToString::to_string).collect()
}

/// A member's delegations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Delegations {
    /// What they have passed on.
    given: Vec<DelegationView>,
    /// What was passed on to them.
    received: Vec<DelegationView>,
}

impl Delegations {
    /// Those of a membership that are not over at `now`.
    fn of(id: MembershipId, state: &Membership, now: Timestamp) -> Self {
        let given = state.given.iter().filter(|(_, given)| now < given.valid_until);
        let received = state.received.iter().filter(|(_, received)| now < received.valid_until);
        Self {
            given: given
                .map(|(delegation_id, given)| DelegationView {
                    delegation_id: delegation_id.uuid(),
                    from: id.uuid(),
                    to: given.to.uuid(),
                    permissions: words(&given.permissions),
                    valid_from: given.valid_from,
                    valid_until: given.valid_until,
                })
                .collect(),
            received: received
                .map(|(delegation_id, received)| DelegationView {
                    delegation_id: delegation_id.uuid(),
                    from: received.from.membership_id.uuid(),
                    to: id.uuid(),
                    permissions: words(&received.permissions),
                    valid_from: received.valid_from,
                    valid_until: received.valid_until,
                })
                .collect(),
        }
    }
}

/// Whose delegations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WhoseQuery {
    /// The membership; without it one's own.
    member: Option<Uuid>,
}

/// The delegation that a path names.
#[derive(Deserialize)]
struct DelegationPath {
    delegation: Uuid,
}

/// Shows what a member has passed on and received: one's own, and others' to whoever manages members.
#[utoipa::path(get, path = "/companies/{company}/delegations", tag = "delegation",
    params(("company" = Uuid, Path), WhoseQuery, ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The delegations that are not over.", body = SuccessBody<Delegations>)))]
async fn list_delegations(
    State(auth): State<Auth>,
    actor: ForCompany,
    ApiQuery(query): ApiQuery<WhoseQuery>,
) -> Result<Success<Delegations>, Problem> {
    let grounds = Grounds::read(&auth, &actor.by(), actor.company).await?;
    let own = grounds.acting_member().ok_or_else(refusals::no_such_member)?;
    let (own_id, now) = (membership_id(&own.stream)?, auth.clock.now());
    let wanted = query.member.map_or(own_id, MembershipId::new);
    if wanted == own_id {
        return Ok(Success(Delegations::of(own_id, &own.state, now)));
    }
    grounds.require_manager()?;
    let other = member(&auth, actor.company, wanted).await?;
    Ok(Success(Delegations::of(wanted, &other.state, now)))
}

/// Passes on to another member, for a time, what one can use oneself.
#[utoipa::path(post, path = "/companies/{company}/delegations", tag = "delegation", request_body = DelegateBody,
    params(("company" = Uuid, Path), ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 201, description = "The delegation.", body = SuccessBody<DelegationView>)))]
async fn delegate(
    State(auth): State<Auth>,
    Member(actor): Member,
    label: RequestLabel,
    carried: super::Carried,
    command: ApiCommand<DelegateBody>,
) -> Result<Receipted<Created<DelegationView>>, Problem> {
    let sent = Sent { idempotency: command.idempotency, label };
    carried.settle(&auth).await?;
    let (view, position) = pass_on(&auth, &actor, &command.body, &sent).await?;
    Ok(Receipted::new(Created(view), position))
}

/// Ends a delegation: whoever gave it does, whoever received it, and whoever manages that one.
#[utoipa::path(delete, path = "/companies/{company}/delegations/{delegation}", tag = "delegation",
    params(("company" = Uuid, Path), ("delegation" = Uuid, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "It gives nothing any more.")))]
async fn end_delegation(
    State(auth): State<Auth>,
    actor: ForCompany,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<DelegationPath>,
) -> Result<Receipted<NoContent>, Problem> {
    let sent = Sent { idempotency, label };
    let position = end(&auth, &actor, DelegationId::new(path.delegation), &sent).await?;
    Ok(Receipted::new(NoContent, position))
}

/// The command's name, for its idempotency key.
const DELEGATE: &str = "delegation.grant";

/// The append writes the delegation and both memberships, and guards the company and the roles by which the giver holds what
/// they pass on.
async fn pass_on(
    auth: &Auth,
    actor: &ForCompany,
    wanted: &DelegateBody,
    sent: &Sent,
) -> Result<(DelegationView, AccessPosition), Problem> {
    let (by, company, to) = (actor.by(), actor.company, MembershipId::new(wanted.to));
    let permissions = wanted.permissions()?;
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, &by, company).await?;
        let giver = grounds.acting_member().ok_or_else(refusals::no_such_member)?;
        if let Some(position) = sent.earlier(auth, &by.actor(), Some(company), DELEGATE).await? {
            return Ok((made_at(auth, position).await?, position));
        }
        let (from, now) = (membership_id(&giver.stream)?, auth.clock.now());
        // Oneself is no other member; what was loaded is asked, so that one stream is not written twice.
        let receiver = if to == from { giver.clone() } else { member(auth, company, to).await? };
        let command = Delegate {
            id: DelegationId::new(ambient::new_id()),
            company_id: company,
            permissions: permissions.clone(),
            valid_from: wanted.valid_from.unwrap_or(now),
            valid_until: wanted.valid_until,
        };
        let delegation = Loaded::<Delegation>::new_stream(StreamName::delegation(command.id));
        let id = command.id;
        let parties = (Party { id: from, state: &giver.state }, Party { id: to, state: &receiver.state });
        let decided =
            delegation::grant(&grounds.authority(), parties, command, now).map_err(refusals::of_delegation)?;
        let mut append = sent.append(&by.actor(), Some(company), DELEGATE);
        append.guard(&grounds.company);
        grounds.guard_rights(&mut append, &permissions);
        append.write(giver, decided.giver).map_err(problem::of_append)?;
        append.write(&receiver, decided.receiver).map_err(problem::of_append)?;
        // Last: where the append ends is how a repetition finds it (`made_at`).
        let made = append.write(&delegation, decided.delegation).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => {
                let position = (&receipt).into();
                return Ok((made_at(auth, position).await?, position));
            }
            Outcome::Done(receipt) => return Ok((DelegationView::new(id, &made)?, (&receipt).into())),
            Outcome::Again | Outcome::Taken => {}
        }
    }
    Err(race::lost())
}

async fn end(auth: &Auth, actor: &ForCompany, id: DelegationId, sent: &Sent) -> Result<AccessPosition, Problem> {
    let (by, company, stream) = (actor.by(), actor.company, StreamName::delegation(id));
    let command = format!("{id}|delegation.end");
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, &by, company).await?;
        let delegation: Loaded<Delegation> = auth.log.load(&stream).await.map_err(problem::of_load)?;
        let Some(&Terms { from, to, .. }) = delegation.state.terms.as_ref().filter(|it| it.company_id == company)
        else {
            return Err(refusals::no_such_delegation());
        };
        if let Some(position) = sent.earlier(auth, &by.actor(), Some(company), &command).await? {
            return Ok(position);
        }
        let (giver, receiver) = (member(auth, company, from).await?, member(auth, company, to).await?);
        if grounds.are_outrun_by(&giver) || grounds.are_outrun_by(&receiver) {
            continue;
        }
        let acting = grounds.acting_id();
        let parties = (Party { id: from, state: &giver.state }, Party { id: to, state: &receiver.state });
        let decided = delegation::end(&grounds.authority(), acting, (id, &delegation.state), parties)
            .map_err(refusals::of_delegation)?;
        if decided == Decided::default() {
            return Ok(grounds.unchanged(delegation.position));
        }
        let mut append = sent.append(&by.actor(), Some(company), &command);
        append.guard(&grounds.company);
        if acting != Some(from) && acting != Some(to) {
            grounds.guard_acting(&mut append, &stream);
        }
        write(&mut append, decided, (&delegation, &giver, &receiver))?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            return Ok((&receipt).into());
        }
    }
    Err(race::lost())
}

fn write(
    append: &mut Append,
    decided: Decided,
    (delegation, giver, receiver): (&Loaded<Delegation>, &Loaded<Membership>, &Loaded<Membership>),
) -> Result<(), Problem> {
    append.write(giver, decided.giver).map_err(problem::of_append)?;
    append.write(receiver, decided.receiver).map_err(problem::of_append)?;
    append.write(delegation, decided.delegation).map_err(problem::of_append)?;
    Ok(())
}

/// Ends what a member has passed on and no longer holds, or may no longer give, once `events` have happened to them. Writes
/// the ends to the delegations and to who received them, and answers what is to be written to the giver besides.
///
/// # Errors
/// 503 when something cannot be read.
pub(in crate::auth) async fn end_given(
    auth: &Auth,
    append: &mut Append,
    giver: &Loaded<Membership>,
    events: &[MembershipEvent],
) -> Result<Vec<MembershipEvent>, Problem> {
    if giver.state.given.is_empty() {
        return Ok(vec![]);
    }
    let mut after = giver.state.clone();
    for (event, version) in events.iter().zip(giver.version.saturating_add(1)..) {
        after.evolve(event, version);
    }
    let roles: BTreeSet<_> = giver.state.roles.keys().chain(after.roles.keys()).copied().collect();
    let roles = roles.into_iter().map(StreamName::role);
    let roles: Vec<Loaded<Role>> = auth.log.load_all(roles).await.map_err(problem::of_load)?;
    // One that loses something at this moment takes it from whoever received it when that is asked for.
    let roles: Vec<_> = roles.iter().filter_map(|role| Some((role.stream.id().parse().ok()?, &role.state))).collect();
    let holdings = |of| Holdings::of(of, roles.iter().copied());
    let lost = delegation::lost_with(&holdings(&giver.state), &holdings(&after));
    let from = membership_id(&giver.stream)?;
    let mut receivers: Vec<(Loaded<Membership>, Vec<MembershipEvent>)> = vec![];
    let mut of_giver = vec![];
    for (id, given) in giver.state.given.iter().filter(|(id, _)| lost.contains(id)) {
        let delegation: Loaded<Delegation> =
            auth.log.load(&StreamName::delegation(*id)).await.map_err(problem::of_load)?;
        let stream = StreamName::membership(given.to);
        let place = match receivers.iter().position(|(receiver, _)| receiver.stream == stream) {
            Some(place) => place,
            None => {
                receivers.push((auth.log.load(&stream).await.map_err(problem::of_load)?, vec![]));
                receivers.len().saturating_sub(1)
            }
        };
        let Some((receiver, of_receiver)) = receivers.get_mut(place) else { continue };
        let parties = (Party { id: from, state: &giver.state }, Party { id: given.to, state: &receiver.state });
        let decided = delegation::ended(*id, &delegation.state, parties, DelegationEndCause::GiverNarrowed);
        append.write(&delegation, decided.delegation).map_err(problem::of_append)?;
        of_receiver.extend(decided.receiver);
        // A membership that ends has forgotten them with everything else.
        if after.given.contains_key(id) {
            of_giver.extend(decided.giver);
        }
    }
    for (receiver, events) in receivers {
        append.write(&receiver, events).map_err(problem::of_append)?;
    }
    Ok(of_giver)
}

/// A member of the company, past or present.
async fn member(auth: &Auth, company: CompanyId, id: MembershipId) -> Result<Loaded<Membership>, Problem> {
    let loaded: Loaded<Membership> = auth.log.load(&StreamName::membership(id)).await.map_err(problem::of_load)?;
    if loaded.state.company_id == Some(company) { Ok(loaded) } else { Err(refusals::no_such_member()) }
}

fn membership_id(stream: &StreamName) -> Result<MembershipId, Problem> {
    stream.id().parse().map_err(|_| refusals::no_such_member())
}

/// The delegation that an earlier sending of the same command made: its append ends with it.
async fn made_at(auth: &Auth, position: AccessPosition) -> Result<DelegationView, Problem> {
    let stream = stream_at(auth, position).await?.ok_or_else(refusals::no_such_delegation)?;
    let id = stream.id().parse().map_err(|_| refusals::no_such_delegation())?;
    let delegation: Loaded<Delegation> = auth.log.load(&stream).await.map_err(problem::of_load)?;
    DelegationView::new(id, &delegation.state)
}
