//! Who acts for a company, and on what their command is decided.
//!
//! It owns the order in which somebody is turned away before any rule is asked: session, company, membership,
//! standing. It refuses to hold the platform's authority for anybody who is not a service.

use super::refusals;
use crate::{
    auth::{
        Auth,
        access::Findings,
        person::{self, Person, denied},
    },
    shared::{
        access_position::AccessPosition,
        observe,
        problem::{self, Problem, reason},
    },
};
use kisum_domains::{Authority, Catalog, Company, Holdings, Membership, Role, membership::MembershipStatus};
use kisum_events::{
    Actor, CompanyId, Cursor, Log, MembershipId, ModuleKey, PermissionKey, Position, RoleId, StreamName,
};
use kisum_guard::XOrg;
use kisum_log::{Append, Loaded};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who sends a command.
#[derive(Clone, Debug)]
pub(in crate::auth) enum By {
    /// A person, for the company that `x-org` names.
    Person(Person, XOrg),
    /// A service of the platform, by name.
    Service(String),
}

impl By {
    /// As the log names them.
    pub(in crate::auth) fn actor(&self) -> Actor {
        match self {
            Self::Person(person, _) => person.actor(),
            Self::Service(name) => Actor::Service(name.clone()),
        }
    }
}

/// Who acts, once admitted.
enum Acting {
    /// A service of the platform.
    Platform,
    /// An active member of the company.
    Member(Loaded<Membership>),
}

/// What a command about a company's members is decided on.
pub(super) struct Grounds {
    /// The company.
    pub(super) company: Loaded<Company>,
    /// How many members it may have.
    pub(super) seat_limit: Option<i64>,
    acting: Acting,
    /// Those of the acting member.
    roles: BTreeMap<RoleId, Loaded<Role>>,
    owned: BTreeSet<ModuleKey>,
    catalog: Arc<Catalog>,
    head: Cursor,
}

impl Grounds {
    /// Reads them, and turns away who may not even ask.
    ///
    /// # Errors
    /// 400 for another company than the one of `x-org`; 401 for a session that is over; 403 for who is no active
    /// member of an active company; 404 for a company that does not exist, where a service asks; 503 where it cannot
    /// be told.
    pub(super) async fn read(auth: &Auth, by: &By, company: CompanyId) -> Result<Self, Problem> {
        observe::note_company(company);
        let (org, person) = match by {
            By::Person(person, org) => (org.clone(), Some(*person)),
            By::Service(_) => (XOrg::Id(company), None),
        };
        let found = auth.access.findings(org, person).await.map_err(person::unprovable)?;
        if !found.is_core_known {
            return Err(Problem::unavailable("What companies own and what can be granted is not known here yet."));
        }
        match by {
            By::Person(person, _) => admit_person(*person, company, found),
            By::Service(_) => admit_service(found),
        }
    }

    /// Reads what an acceptance of an invitation is decided on: the company, and the right of whoever sent it, which is
    /// `member`'s, by their named roles too, or the platform's. Whether they may still, the rules say.
    ///
    /// # Errors
    /// As [`Grounds::read`] of a service.
    pub(super) async fn of_inviter(
        auth: &Auth,
        company: CompanyId,
        member: Option<Loaded<Membership>>,
    ) -> Result<Self, Problem> {
        let mut grounds = Self::read(auth, &By::Service(String::new()), company).await?;
        let ids = member.iter().flat_map(|member| member.state.roles.keys());
        let roles = auth.log.load_all::<Role>(ids.map(|id| StreamName::role(*id))).await.map_err(problem::of_load)?;
        grounds.roles = roles.into_iter().filter_map(|role| Some((role.stream.id().parse().ok()?, role))).collect();
        Ok(Self { acting: member.map_or(Acting::Platform, Acting::Member), ..grounds })
    }

    /// The acting membership's id; nothing where the platform acts.
    pub(super) fn acting_id(&self) -> Option<MembershipId> {
        self.acting_member().and_then(|membership| membership.stream.id().parse().ok())
    }

    /// What the acting person, or the platform, may do.
    pub(super) fn authority(&self) -> Authority<'_> {
        match &self.acting {
            Acting::Member(membership) => {
                let roles = self.roles.iter().map(|(id, role)| (*id, &role.state));
                let holdings = Holdings::of(&membership.state, roles);
                Authority::member((holdings, &self.company.state), &self.owned, &self.catalog)
            }
            Acting::Platform => Authority::platform(&self.owned, &self.catalog),
        }
    }

    /// The acting member, where a person acts.
    pub(super) const fn acting_member(&self) -> Option<&Loaded<Membership>> {
        match &self.acting {
            Acting::Member(membership) => Some(membership),
            Acting::Platform => None,
        }
    }

    /// Refuses who may not manage members at all.
    ///
    /// # Errors
    /// 403 `role_too_low`.
    pub(super) fn require_manager(&self) -> Result<(), Problem> {
        if self.authority().rights().can_manage_users {
            Ok(())
        } else {
            Err(denied(reason::ROLE_TOO_LOW, "Your role does not allow this."))
        }
    }

    /// Refuses who may not change what binds everybody in the company.
    ///
    /// # Errors
    /// 403 `role_too_low`.
    pub(super) fn require_superadmin(&self, company: CompanyId) -> Result<(), Problem> {
        self.authority().leads(company).map_err(refusals::of_refused)
    }

    /// Whether `target` is the acting member's own membership, loaded later than these grounds and changed meanwhile:
    /// its append would check the later version, and so let the earlier right pass.
    pub(super) fn are_outrun_by(&self, target: &Loaded<Membership>) -> bool {
        match &self.acting {
            Acting::Member(membership) => membership.stream == target.stream && membership.version != target.version,
            Acting::Platform => false,
        }
    }

    /// Makes an append depend on the acting membership. Where that is the stream to be written, its version is checked
    /// anyway: the same one, once [`Grounds::are_outrun_by`] was asked.
    pub(super) fn guard_acting(&self, append: &mut Append, written: &StreamName) {
        match &self.acting {
            Acting::Member(membership) if membership.stream != *written => append.guard(membership),
            Acting::Member(_) | Acting::Platform => {}
        }
    }

    /// Makes an append depend on the roles by which the acting member holds these permissions: who loses one meanwhile has
    /// given nothing by it.
    pub(super) fn guard_rights<'a>(
        &self,
        append: &mut Append,
        permissions: impl IntoIterator<Item = &'a PermissionKey>,
    ) {
        let authority = self.authority();
        let roles = permissions.into_iter().filter_map(|permission| authority.rests_on(permission));
        for role in roles.filter_map(|id| self.roles.get(&id)) {
            append.guard(role);
        }
    }

    /// The position of a command that found nothing to change: where the state it looked at stands.
    pub(super) const fn unchanged(&self, position: Position) -> AccessPosition {
        AccessPosition { log: Log::Auth, cursor: Cursor { epoch: self.head.epoch, position } }
    }
}

/// Whether somebody may ask about a company at all.
///
/// # Errors
/// As [`Grounds::read`].
pub(in crate::auth) async fn admit(auth: &Auth, by: &By, company: CompanyId) -> Result<(), Problem> {
    Grounds::read(auth, by, company).await.map(drop)
}

fn admit_service(mut found: Findings) -> Result<Grounds, Problem> {
    let (_, company) = found.company.take().ok_or_else(|| Problem::not_found("There is no such company."))?;
    let Findings { owned, catalog, seat_limit, head, roles, .. } = found;
    Ok(Grounds { company, acting: Acting::Platform, roles, owned, catalog, seat_limit, head })
}

/// The contract's order: session, `x-org`, membership, company.
fn admit_person(person: Person, wanted: CompanyId, mut found: Findings) -> Result<Grounds, Problem> {
    if !found.is_signed_in {
        return Err(person::session_over(person));
    }
    let refused = |reason| denied(reason, "You may not act for this company.");
    // A stranger hears the same of a company that exists, under whatever path: a 400 for the path alone would tell
    // which short names are in use.
    let (Some((id, company)), Some(membership)) = (found.company.take(), found.membership.take()) else {
        return Err(refused(reason::NOT_A_MEMBER));
    };
    if id != wanted {
        return Err(Problem::validation("The company in the path is not the one of x-org."));
    }
    match membership.state.status {
        MembershipStatus::Unknown | MembershipStatus::Revoked => return Err(refused(reason::NOT_A_MEMBER)),
        MembershipStatus::Suspended => return Err(refused(reason::SUSPENDED)),
        MembershipStatus::Active => {}
    }
    if !company.state.is_active() {
        return Err(refused(reason::COMPANY_NOT_ACTIVE));
    }
    let Findings { owned, catalog, seat_limit, head, roles, .. } = found;
    Ok(Grounds { company, acting: Acting::Member(membership), roles, owned, catalog, seat_limit, head })
}

#[cfg(test)]
mod tests {
    use super::{Acting, Grounds};
    use kisum_domains::{Company, Membership};
    use kisum_events::{CompanyId, Cursor, MembershipId, StreamName};
    use kisum_log::Loaded;
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };
    use uuid::Uuid;

    fn membership(id: u128, version: u64) -> Loaded<Membership> {
        let stream = StreamName::membership(MembershipId::new(Uuid::from_u128(id)));
        Loaded { stream, version, position: version, state: Membership::default() }
    }

    #[test]
    fn a_member_who_changed_after_they_were_admitted_does_not_act_on_themselves() {
        let company = Loaded::<Company>::new_stream(StreamName::company(CompanyId::new(Uuid::from_u128(1))));
        let grounds = Grounds {
            company,
            seat_limit: None,
            acting: Acting::Member(membership(7, 5)),
            roles: BTreeMap::new(),
            owned: BTreeSet::new(),
            catalog: Arc::default(),
            head: Cursor::default(),
        };
        assert!(grounds.are_outrun_by(&membership(7, 6)), "demoted in between");
        assert!(!grounds.are_outrun_by(&membership(7, 5)));
        assert!(!grounds.are_outrun_by(&membership(8, 6)), "somebody else's version is their own");
    }
}
