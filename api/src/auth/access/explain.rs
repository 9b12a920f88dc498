//! Why access is what it is, down to the events.
//!
//! It owns finding the events: those that the states name by stream and version, and, for what is refused, the latest one
//! that took it away. It refuses to judge: `kisum_domains::explain` does, by the states of one snapshot.

use super::{
    Access, AccessError,
    snapshot::{Question, Snapshot},
    states::States,
};
use kisum_domains::{
    Delegation, Role,
    explain::{self, Explanation, Rule},
    holdings::Source,
};
use kisum_events::{
    AsOf, CompanyId, DelegationId, MembershipId, PermissionKey, Position, RoleId, SessionId, StreamName, UserId,
};
use kisum_guard::XOrg;
use kisum_log::LoadError;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is asked.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Whose {
    /// Of whom.
    pub(in crate::auth) user: UserId,
    /// In which company.
    pub(in crate::auth) org: XOrg,
    /// By which session, where that is asked about too.
    pub(in crate::auth) session: Option<SessionId>,
    /// Whether they may do this, where it is about one thing.
    pub(in crate::auth) permission: Option<PermissionKey>,
}

/// An event of the auth log.
#[derive(Clone, Debug)]
pub(in crate::auth) struct EventRow {
    pub(in crate::auth) position: i64,
    pub(in crate::auth) id: Uuid,
    pub(in crate::auth) stream: String,
    pub(in crate::auth) event_type: String,
    pub(in crate::auth) recorded_at: i64,
    pub(in crate::auth) meta: String,
}

/// Where an event stands in its stream.
pub(in crate::auth) type Place = (StreamName, u64);

/// Everything that an explanation says.
#[derive(Debug)]
pub(in crate::auth) struct Explained {
    /// The company, where there is one.
    pub(in crate::auth) company: Option<CompanyId>,
    /// The membership, where there is one.
    pub(in crate::auth) membership: Option<MembershipId>,
    /// What the rules say.
    pub(in crate::auth) explanation: Explanation,
    /// The latest event that took away what is refused, where one did.
    pub(in crate::auth) refused_by: Option<EventRow>,
    /// Every event that something rests on.
    pub(in crate::auth) events: BTreeMap<Place, EventRow>,
    /// Position of the company's last `entitlement.changed` in the core log.
    pub(in crate::auth) entitlement_version: Position,
    /// What it was explained from.
    pub(in crate::auth) as_of: AsOf,
}

impl Explained {
    /// The events that a source names, in the order in which they gave it.
    pub(in crate::auth) fn of(&self, source: &Source) -> impl Iterator<Item = &EventRow> {
        let places = self.membership.map(|membership| places(membership, source)).unwrap_or_default();
        places.into_iter().filter_map(|place| self.events.get(&place))
    }
}

impl Access {
    /// Explains what a person may do in a company now.
    ///
    /// # Errors
    /// [`AccessError`] where it cannot be read.
    pub(in crate::auth) async fn explain(&self, whose: &Whose) -> Result<Explained, AccessError> {
        let session = whose.session.unwrap_or_else(|| SessionId::new(Uuid::nil()));
        let question = Question { user: whose.user, session, company: whose.org.clone() };
        let snapshot = self.read(&question).await?;
        if snapshot.company_id().is_some() && snapshot.core.epoch == 0 {
            return Err(AccessError::StartingOver);
        }
        let states = States::read(&self.log, &question, &snapshot, None).await?;
        let now = self.clock.now();
        let inputs = states.inputs(&snapshot, whose.user);
        let explanation = explain::explain(&inputs, whose.session.is_some(), whose.permission.as_ref(), now);
        let events = self.rested_on(&snapshot, &explanation).await?;
        let refused_by = match explanation.failed {
            Some(rule) => self.refused_by(rule, whose, &snapshot, &states).await?,
            None => None,
        };
        Ok(Explained {
            company: snapshot.company_id(),
            membership: snapshot.membership_id(),
            explanation,
            refused_by,
            events,
            entitlement_version: states.entitlement_version,
            as_of: AsOf { auth: snapshot.auth, core: states.core },
        })
    }

    /// The events behind everything that is held.
    async fn rested_on(
        &self,
        snapshot: &Snapshot,
        explanation: &Explanation,
    ) -> Result<BTreeMap<Place, EventRow>, AccessError> {
        let Some(membership) = snapshot.membership_id() else { return Ok(BTreeMap::new()) };
        let of_modules = explanation.modules.iter().flat_map(|why| &why.granted);
        let sources = of_modules.chain(explanation.permissions.iter().flat_map(|why| &why.sources));
        let mut wanted: BTreeMap<StreamName, Vec<u64>> = BTreeMap::new();
        for (stream, version) in sources.flat_map(|source| places(membership, source)) {
            wanted.entry(stream).or_default().push(version);
        }
        let mut found = BTreeMap::new();
        for (stream, versions) in wanted {
            found.extend(self.events_at(&stream, &versions).await?);
        }
        Ok(found)
    }

    async fn events_at(&self, stream: &StreamName, versions: &[u64]) -> Result<BTreeMap<Place, EventRow>, LoadError> {
        let versions: Vec<_> = versions.iter().map(|version| i64::try_from(*version).unwrap_or(i64::MAX)).collect();
        let rows = sqlx::query!(
            r#"with recursive back as (
                   select e.position, e.previous_in_stream, e.version
                   from stream s join event e on e.position = s.position where s.name = $1
                   union all
                   select e.position, e.previous_in_stream, e.version
                   from back b join event e on e.position = b.previous_in_stream
                   where b.version > (select min(v) from unnest($2::bigint[]) v))
               select e.position, e.id, e.stream, e.version, e.type as event_type, e.recorded_at, e.meta
               from back b join event e on e.position = b.position where e.version = any($2)"#,
            stream.as_str(),
            &versions
        )
        .fetch_all(self.log.pool())
        .await?;
        let placed = rows.into_iter().map(|row| {
            let version = u64::try_from(row.version).unwrap_or_default();
            let event = EventRow {
                position: row.position,
                id: row.id,
                stream: row.stream,
                event_type: row.event_type,
                recorded_at: row.recorded_at,
                meta: row.meta,
            };
            ((stream.clone(), version), event)
        });
        Ok(placed.collect())
    }

    /// The latest event of one of these types in a stream, whose data holds a text, where one is named.
    async fn latest(&self, stream: &StreamName, types: &[&str], holds: &str) -> Result<Option<EventRow>, LoadError> {
        let types: Vec<_> = types.iter().map(|name| (*name).to_owned()).collect();
        let found = sqlx::query_as!(
            EventRow,
            r#"with recursive back as (
                   select e.position, e.previous_in_stream, e.type = any($2) and strpos(e.data, $3) > 0 as is_it
                   from stream s join event e on e.position = s.position where s.name = $1
                   union all
                   select e.position, e.previous_in_stream, e.type = any($2) and strpos(e.data, $3) > 0
                   from back b join event e on e.position = b.previous_in_stream where not b.is_it)
               select e.position, e.id, e.stream, e.type as event_type, e.recorded_at, e.meta
               from back b join event e on e.position = b.position where b.is_it"#,
            stream.as_str(),
            &types,
            holds
        )
        .fetch_optional(self.log.pool())
        .await?;
        Ok(found)
    }

    /// The event because of which a rule fails: the latest that took away what it asks for, and none where it was never
    /// given.
    async fn refused_by(
        &self,
        rule: Rule,
        whose: &Whose,
        snapshot: &Snapshot,
        states: &States,
    ) -> Result<Option<EventRow>, AccessError> {
        let membership = snapshot.membership_id().map(StreamName::membership);
        let company = snapshot.company_id().map(StreamName::company);
        let latest = async |stream: Option<StreamName>, types: &[&str], holds: &str| match stream {
            Some(stream) => self.latest(&stream, types, holds).await,
            None => Ok(None),
        };
        let found = match rule {
            Rule::Session => latest(whose.session.map(StreamName::session), &["session.ended"], "").await?,
            Rule::Member => {
                latest(self.past_membership(whose.user, snapshot).await?, &["membership.revoked"], "").await?
            }
            Rule::Membership => latest(membership, &["membership.suspended"], "").await?,
            Rule::Person => latest(Some(StreamName::user(whose.user)), &["user.suspended", "user.erased"], "").await?,
            Rule::Company => {
                let types = ["company.registered", "company.suspended", "company.rejected"];
                latest(company, &types, "").await?
            }
            // That is Core's log: its position is `entitlement_version`.
            Rule::ModuleOwned => None,
            Rule::ModuleGranted => {
                let module = whose.permission.as_ref().map(|permission| quoted(permission.module().as_str()));
                latest(membership, &["membership.module_revoked"], &module.unwrap_or_default()).await?
            }
            Rule::PermissionHeld => match (&whose.permission, membership) {
                (Some(permission), Some(membership)) => self.lost(permission, &membership, states).await?,
                _ => None,
            },
        };
        Ok(found)
    }

    /// The latest of all events by which a member may have lost a permission.
    async fn lost(
        &self,
        permission: &PermissionKey,
        membership: &StreamName,
        states: &States,
    ) -> Result<Option<EventRow>, LoadError> {
        let key = quoted(permission.as_str());
        let mut found = vec![self.latest(membership, &["membership.permission_revoked"], &key).await?];
        for role in states.membership.iter().flat_map(|membership| membership.roles.keys()) {
            let stream = StreamName::role(*role);
            let removed = self.latest(&stream, &["role.changed"], &key).await?;
            found.push(removed);
            found.push(self.latest(&stream, &["role.deleted"], "").await?);
        }
        found.push(self.taken(membership, &key).await?);
        Ok(found.into_iter().flatten().max_by_key(|event| event.position))
    }

    /// The latest end of a role's assignment or of a delegation that gave a permission, among the last of them.
    async fn taken(&self, membership: &StreamName, key: &str) -> Result<Option<EventRow>, LoadError> {
        let ends = sqlx::query!(
            r#"with recursive back as (
                   select e.position, e.previous_in_stream
                   from stream s join event e on e.position = s.position where s.name = $1
                   union all
                   select e.position, e.previous_in_stream from back b join event e on e.position = b.previous_in_stream)
               select e.position, e.id, e.stream, e.type as event_type, e.recorded_at, e.meta,
                      coalesce(e.data::json ->> 'roleId', e.data::json ->> 'delegationId') as "gone?"
               from back b join event e on e.position = b.position
               where e.type in ('membership.role_unassigned', 'membership.delegation_ended')
               order by e.position desc limit $2"#,
            membership.as_str(),
            ENDS_MAX
        )
        .fetch_all(self.log.pool())
        .await?;
        for end in ends {
            let Some(gone) = end.gone.as_deref() else { continue };
            let gave = if end.event_type == "membership.role_unassigned" {
                let Ok(role) = gone.parse::<RoleId>() else { continue };
                let role = self.log.load::<Role>(&StreamName::role(role)).await?;
                role.state.permissions.keys().any(|held| quoted(held.as_str()) == key)
            } else {
                let Ok(delegation) = gone.parse::<DelegationId>() else { continue };
                let delegation = self.log.load::<Delegation>(&StreamName::delegation(delegation)).await?;
                let terms = delegation.state.terms;
                terms.is_some_and(|terms| terms.permissions.iter().any(|held| quoted(held.as_str()) == key))
            };
            if gave {
                return Ok(Some(EventRow {
                    position: end.position,
                    id: end.id,
                    stream: end.stream,
                    event_type: end.event_type,
                    recorded_at: end.recorded_at,
                    meta: end.meta,
                }));
            }
        }
        Ok(None)
    }

    /// The membership that a person had last of a company, where they have none.
    async fn past_membership(&self, user: UserId, snapshot: &Snapshot) -> Result<Option<StreamName>, LoadError> {
        let Some(company) = snapshot.company_id() else { return Ok(None) };
        let id = sqlx::query_scalar!(
            "select membership_id from member_list_v1 where user_id = $1 and company_id = $2
             order by position desc limit 1",
            user.uuid(),
            company.uuid()
        )
        .fetch_optional(self.log.pool())
        .await?;
        Ok(id.map(|id| StreamName::membership(MembershipId::new(id))))
    }
}

/// Ends of roles and delegations that are looked at for why a permission is missing.
const ENDS_MAX: i64 = 20;

/// A key as it stands in an event's data.
fn quoted(key: &str) -> String {
    format!("\"{key}\"")
}

/// The events that a source names.
fn places(membership: MembershipId, source: &Source) -> Vec<Place> {
    let own = StreamName::membership(membership);
    match *source {
        Source::Grant { version } => vec![(own, version)],
        Source::Role { role, assigned, added } => vec![(own, assigned), (StreamName::role(role), added)],
        Source::Delegation { received, .. } => vec![(own, received)],
    }
}
