//! The rows of a snapshot as the states that access is resolved from.
//!
//! It owns reading them, and what to do about a state of another schema: it is folded anew from its events, and used
//! only if the stream has not moved since the snapshot. It refuses to skip what it cannot read.

use super::{
    core::CoreEntitlements,
    snapshot::{Question, Snapshot, StateRow},
};
use kisum_domains::{
    Catalog, Company, Membership, Role, Session, User,
    access::{AccessInputs, AccessVersions},
    holdings::GiverState,
    session,
};
use kisum_events::{
    Aggregate, Cursor, Giver, MembershipId, ModuleEntitlement, Position, RoleId, StreamName, Timestamp, UserId,
};
use kisum_log::{EventLog, LoadError, Loaded};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Why a row cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum StatesError {
    /// It is not of the shape that this program writes.
    #[error("{what} is not readable")]
    Shape {
        /// Which row.
        what: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A state of another schema could not be folded anew.
    #[error("a state of another schema cannot be folded anew")]
    Load(#[from] LoadError),
    /// It was folded anew, and had moved on since the snapshot.
    #[error("{stream} changed while it was folded anew")]
    Moved {
        /// Which.
        stream: String,
    },
}

/// The states of one snapshot.
pub(super) struct States {
    user: User,
    session: Session,
    /// The company, where there is one.
    pub(super) company: Option<Company>,
    /// The membership, where there is one.
    pub(super) membership: Option<Membership>,
    /// The named roles that the membership lists, and those of the givers.
    roles: BTreeMap<RoleId, Role>,
    /// Version and position of each of them.
    role_places: BTreeMap<RoleId, (u64, Position)>,
    /// Who has passed something on to the member.
    givers: BTreeMap<MembershipId, GiverState>,
    /// The highest position of theirs.
    givers_at: Position,
    /// What the company owns and when.
    pub(super) entitlements: Vec<ModuleEntitlement>,
    /// What exists to be granted.
    pub(super) catalog: Arc<Catalog>,
    /// Position of the event that last ended all of the person's sessions, 0 when none did.
    token_version: Position,
    /// Position of the company's last `entitlement.changed`.
    pub(super) entitlement_version: Position,
    /// How far the entitlements are known.
    pub(super) core: Cursor,
}

impl States {
    /// Reads the states; `core` replaces the projected entitlements.
    pub(super) async fn read(
        log: &EventLog,
        question: &Question,
        snapshot: &Snapshot,
        core: Option<CoreEntitlements>,
    ) -> Result<Self, StatesError> {
        let (entitlements, entitlement_version, core) = match (core, &snapshot.entitlement) {
            (Some(core), _) => (core.entitlements, core.entitlement_version, core.as_of),
            (None, Some(row)) => {
                let what = || format!("the entitlements in question of {}", question.company);
                (read_json(&row.schedule, what)?, row.version, snapshot.core)
            }
            (None, None) => (Vec::new(), 0, snapshot.core),
        };
        let user: User = state(log, snapshot.user.as_ref()).await?.unwrap_or_default();
        let membership = state(log, snapshot.membership.as_ref()).await?;
        let (givers, givers_at) = givers(log, snapshot, membership.as_ref()).await?;
        let with_roles = membership.iter().chain(givers.values().map(|giver| &giver.membership));
        let roles = roles(log, snapshot, with_roles).await?;
        Ok(Self {
            token_version: token_version(log, snapshot.user.as_ref(), &user).await?,
            user,
            session: state(log, snapshot.session.as_ref()).await?.unwrap_or_default(),
            company: state(log, snapshot.company.as_ref()).await?,
            membership,
            role_places: roles.iter().map(|(id, role)| (*id, (role.version, role.position))).collect(),
            roles: roles.into_iter().map(|(id, role)| (id, role.state)).collect(),
            givers,
            givers_at,
            entitlements,
            catalog: snapshot.catalog.clone().unwrap_or_default(),
            entitlement_version,
            core,
        })
    }

    /// Whether the session is this person's and live, and the person not suspended.
    pub(super) fn is_signed_in(&self, user: UserId, now: Timestamp) -> bool {
        session::is_signed_in(&self.session, (user, &self.user), now)
    }

    /// The highest position among what a context stands for.
    pub(super) fn access_version(&self, snapshot: &Snapshot) -> Position {
        let roles = self.role_places.values().map(|(_, position)| *position);
        roles.chain([snapshot.access_version(), self.givers_at]).max().unwrap_or(0)
    }

    /// Whose own access the member's rests on.
    pub(super) fn relies_on(&self, now: Timestamp) -> Vec<Giver> {
        let givers: BTreeSet<_> = self.membership.iter().flat_map(|membership| membership.givers(now)).collect();
        givers.into_iter().collect()
    }

    /// The named roles that the membership lists, as what an append may rest on.
    pub(super) fn take_roles(&mut self) -> BTreeMap<RoleId, Loaded<Role>> {
        let places = std::mem::take(&mut self.role_places);
        let roles = std::mem::take(&mut self.roles).into_iter();
        roles
            .filter_map(|(id, state)| {
                let (version, position) = *places.get(&id)?;
                Some((id, Loaded { stream: StreamName::role(id), version, position, state }))
            })
            .collect()
    }

    /// The states as the rule takes them.
    pub(super) fn inputs(&self, snapshot: &Snapshot, user: UserId) -> AccessInputs<'_> {
        AccessInputs {
            user_id: user,
            user: &self.user,
            session: &self.session,
            company: snapshot.company_id().zip(self.company.as_ref()),
            membership: snapshot.membership_id().zip(self.membership.as_ref()),
            roles: &self.roles,
            givers: &self.givers,
            entitlements: &self.entitlements,
            catalog: &self.catalog,
            versions: AccessVersions {
                entitlement_version: self.entitlement_version,
                access_version: self.access_version(snapshot),
                token_version: self.token_version,
            },
        }
    }
}

/// The roles that memberships list.
async fn roles(
    log: &EventLog,
    snapshot: &Snapshot,
    memberships: impl Iterator<Item = &Membership>,
) -> Result<BTreeMap<RoleId, Loaded<Role>>, StatesError> {
    let mut roles = BTreeMap::new();
    for id in memberships.flat_map(|membership| membership.roles.keys()) {
        roles.insert(*id, related(log, snapshot, StreamName::role(*id)).await?);
    }
    Ok(roles)
}

/// Who has passed something on to a member, and the highest of their positions.
async fn givers(
    log: &EventLog,
    snapshot: &Snapshot,
    membership: Option<&Membership>,
) -> Result<(BTreeMap<MembershipId, GiverState>, Position), StatesError> {
    let (mut givers, mut at) = (BTreeMap::new(), 0);
    for received in membership.into_iter().flat_map(|membership| membership.received.values()) {
        let Giver { user_id, membership_id } = received.from;
        let membership: Loaded<Membership> = related(log, snapshot, StreamName::membership(membership_id)).await?;
        let user: Loaded<User> = related(log, snapshot, StreamName::user(user_id)).await?;
        at = at.max(membership.position).max(user.position);
        givers.insert(membership_id, GiverState { membership: membership.state, user: user.state });
    }
    Ok((givers, at))
}

/// A state that a membership rests on. What a membership whose state was folded anew lists is not in the snapshot: it is
/// loaded, and used only if it has not moved since.
async fn related<A: Aggregate>(
    log: &EventLog,
    snapshot: &Snapshot,
    stream: StreamName,
) -> Result<Loaded<A>, StatesError> {
    let row = snapshot.related.iter().find(|row| row.stream == stream);
    let loaded = match (row, state(log, row).await?) {
        (Some(row), Some(state)) => Loaded { stream, version: row.version, position: row.position, state },
        _ => log.load(&stream).await?,
    };
    if loaded.position > snapshot.auth.position {
        return Err(StatesError::Moved { stream: loaded.stream.to_string() });
    }
    Ok(loaded)
}

/// A version of a stream has one position for ever, so it need not be of the snapshot.
async fn token_version(log: &EventLog, row: Option<&StateRow>, user: &User) -> Result<Position, LoadError> {
    match row {
        Some(row) if user.sessions_ended > 0 => {
            Ok(log.position_of(&row.stream, user.sessions_ended).await?.unwrap_or_default())
        }
        _ => Ok(0),
    }
}

fn is_current<A: Aggregate>(row: &StateRow) -> bool {
    u16::try_from(row.schema) == Ok(A::STATE_SCHEMA)
}

async fn state<A: Aggregate>(log: &EventLog, row: Option<&StateRow>) -> Result<Option<A>, StatesError> {
    let Some(row) = row else { return Ok(None) };
    if is_current::<A>(row) {
        return read_json(&row.state, || format!("the state of {}", row.stream)).map(Some);
    }
    let loaded = log.load::<A>(&row.stream).await?;
    if loaded.version == row.version {
        Ok(Some(loaded.state))
    } else {
        Err(StatesError::Moved { stream: row.stream.to_string() })
    }
}

fn read_json<T: DeserializeOwned>(text: &str, what: impl Fn() -> String) -> Result<T, StatesError> {
    serde_json::from_str(text).map_err(|source| StatesError::Shape { what: what(), source })
}
