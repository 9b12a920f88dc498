//! The real rules over states in memory: every command is decided, folded and followed up as the services do it
//! (`kisum_api`'s `auth/companies` and `auth/people/standing.rs`), without a log between.

mod delegations;
mod members;
mod roles;

use crate::{
    model::{Actor, Answer, CATALOG, Command, Context, Instant, PEOPLE, Rank, Refusal, Wish},
    refusals,
};
use kisum_domains::{
    Authority, Catalog, Company, Delegation, Holdings, Membership, PermissionStanding, Role, Session, User,
    access::{self, AccessInputs, AccessVersions, Resolution},
    company::{self, CompanyStandingError, RegisterCompany},
    holdings::GiverState,
    membership::MembershipStatus,
    schedule, session, user,
};
use kisum_events::{
    Aggregate, AuthMethod, CompanyEvent, CompanyId, DelegationId, EntitlementSource, MembershipId, ModuleEntitlement,
    ModuleKey, PermissionKey, RoleId, Sealed, SessionEvent, SourceKind, TenantRole, Timestamp, UserEvent, UserId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    str::FromStr,
    time::Duration,
};

/// A stream's state and version.
#[derive(Clone, Debug)]
pub(crate) struct Stream<I, A> {
    id: I,
    version: u64,
    state: A,
}

impl<I, A: Aggregate> Stream<I, A> {
    fn new(id: I) -> Self {
        Self { id, version: 0, state: A::default() }
    }

    fn write(&mut self, events: &[A::Event]) {
        for event in events {
            self.version += 1;
            self.state.evolve(event, self.version);
        }
    }
}

struct Person {
    user: Stream<UserId, User>,
    /// They sign in again as soon as they may.
    session: Session,
}

struct Firm {
    company: Stream<CompanyId, Company>,
    members: Vec<Stream<MembershipId, Membership>>,
    roles: Vec<Stream<RoleId, Role>>,
    delegations: Vec<Stream<DelegationId, Delegation>>,
    /// Who holds the claim to be the company's member.
    memberships: BTreeMap<UserId, usize>,
    /// Names of roles that are claimed.
    names: BTreeSet<String>,
    schedule: Vec<ModuleEntitlement>,
    seat_limit: Option<i64>,
}

/// All that the services keep.
pub(crate) struct Platform {
    drawn: u32,
    now: Timestamp,
    people: Vec<Person>,
    firms: Vec<Firm>,
    slugs: BTreeSet<String>,
    catalog: Catalog,
}

/// What a command about a company is decided on.
struct Grounds {
    acting: Option<usize>,
    owned: BTreeSet<ModuleKey>,
}

pub(crate) fn key<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

const fn tenant_role(rank: Rank) -> TenantRole {
    match rank {
        Rank::User => TenantRole::User,
        Rank::Manager => TenantRole::Manager,
        Rank::Admin => TenantRole::Admin,
        Rank::Superadmin => TenantRole::TenantSuperadmin,
    }
}

/// An instant of the story.
fn at(instant: Instant) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + instant * 1_000)
}

impl Platform {
    pub(crate) fn new() -> Self {
        let permissions = CATALOG.iter().flat_map(|(_, permissions)| permissions.iter());
        let mut platform = Self {
            drawn: 0,
            now: at(0),
            people: vec![],
            firms: vec![],
            slugs: BTreeSet::new(),
            catalog: Catalog {
                modules: CATALOG.iter().map(|(module, _)| key(module)).collect(),
                permissions: permissions.map(|text| (key(text), PermissionStanding::Grantable)).collect(),
            },
        };
        for _ in 0..PEOPLE {
            let mut user = Stream::<UserId, User>::new(platform.new_id());
            user.write(&[UserEvent::Registered { email: Sealed::absent(), name: Sealed::absent() }]);
            let session = signed_in(&user);
            platform.people.push(Person { user, session });
        }
        platform
    }

    fn new_id<T: FromStr<Err: Debug>>(&mut self) -> T {
        self.drawn += 1;
        key(&format!("01890000-0000-7000-8000-{:012x}", self.drawn))
    }

    pub(crate) fn apply(&mut self, actor: Actor, command: &Command) -> Answer {
        match command {
            Command::Register { owner, slug } => self.register(actor, *owner, slug),
            Command::Company { company, wish } => self.wish(actor, *company, wish),
            Command::SuspendPerson { person } => self.stands(*person, user::suspend),
            Command::ReactivatePerson { person } => {
                self.stands(*person, user::reactivate)?;
                let Person { user, session } = &mut self.people[*person];
                if session::is_superseded(session, &user.state) {
                    *session = signed_in(user);
                }
                Ok(())
            }
            Command::Buy { company, module, from, until } => {
                let source = EntitlementSource { kind: SourceKind::Addon, id: (*module).to_owned() };
                let (module, from, until) = (key(module), at(*from), until.map(at));
                let entry = ModuleEntitlement { module, source, from, until, limits: BTreeMap::new() };
                self.firms[*company].schedule.push(entry);
                Ok(())
            }
            Command::Lose { company, module } => {
                self.firms[*company].schedule.retain(|entry| entry.module.as_str() != *module);
                Ok(())
            }
            Command::Seats { company, limit } => {
                self.firms[*company].seat_limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
                Ok(())
            }
            Command::Retire { permission } => {
                if let Some(standing) = self.catalog.permissions.get_mut(&key(permission)) {
                    *standing = PermissionStanding::Retired;
                }
                Ok(())
            }
            Command::Pass { millis } => {
                self.now = self.now.plus(Duration::from_millis(millis.unsigned_abs()));
                Ok(())
            }
        }
    }

    fn wish(&mut self, actor: Actor, company: usize, wish: &Wish) -> Answer {
        match wish {
            Wish::Approve => self.stand(company, company::approve),
            Wish::Reject => self.stand(company, |state| company::reject(state, "No.")),
            Wish::Suspend => self.stand(company, |state| company::suspend(state, "No.")),
            Wish::Reactivate => self.stand(company, company::reactivate),
            Wish::CreateRole { name, permissions } => self.create_role(actor, company, name, permissions),
            Wish::ChangeRole { role, name, permissions } => {
                self.change_role(actor, (company, *role), (name.as_deref(), permissions.as_deref()))
            }
            Wish::DeleteRole { role } => self.delete_role(actor, (company, *role)),
            Wish::SetPolicy { rank, modules, permissions } => {
                self.set_policy(actor, company, *rank, (modules, permissions))
            }
            Wish::Delegate { to, permissions, from, until } => {
                self.delegate(actor, (company, *to), permissions, (from.map(at), at(*until)))
            }
            Wish::EndDelegation { delegation } => self.end_delegation(actor, company, *delegation),
            Wish::AddMember { .. }
            | Wish::ChangeMember { .. }
            | Wish::EndMember { .. }
            | Wish::GrantModule { .. }
            | Wish::RevokeModule { .. }
            | Wish::GrantPermission { .. }
            | Wish::RevokePermission { .. }
            | Wish::AssignRole { .. }
            | Wish::UnassignRole { .. } => self.member_wish(actor, company, wish),
        }
    }

    /// As `people/standing.rs`.
    fn stands(
        &mut self,
        person: usize,
        decide: impl Fn(&User) -> Result<Vec<UserEvent>, user::UserStandingError>,
    ) -> Answer {
        let user = &mut self.people[person].user;
        let events = decide(&user.state).map_err(|_| refusals::NOT_FOUND)?;
        user.write(&events);
        Ok(())
    }

    fn stand(
        &mut self,
        company: usize,
        decide: impl Fn(&Company) -> Result<Vec<CompanyEvent>, CompanyStandingError>,
    ) -> Answer {
        let stream = &mut self.firms[company].company;
        let events = decide(&stream.state).map_err(refusals::of_standing)?;
        stream.write(&events);
        Ok(())
    }

    /// As `companies/register.rs`.
    fn register(&mut self, actor: Actor, owner: usize, slug: &str) -> Answer {
        self.require_session(actor)?;
        self.require_active(owner)?;
        let owner_id = self.people[owner].user.id;
        let registration = RegisterCompany { slug: key(slug), name: "A firm".to_owned(), owner: owner_id };
        let mut company = Stream::<CompanyId, Company>::new(self.new_id());
        let registered = company::register(&company.state, registration).unwrap_or_else(|error| panic!("{error}"));
        if !self.slugs.insert(slug.to_owned()) {
            return Err(refusals::SLUG_TAKEN);
        }
        company.write(&registered);
        self.firms.push(Firm {
            company,
            members: vec![],
            roles: vec![],
            delegations: vec![],
            memberships: BTreeMap::new(),
            names: BTreeSet::new(),
            schedule: vec![],
            seat_limit: None,
        });
        let grounds = Grounds { acting: None, owned: BTreeSet::new() };
        self.create_member(&grounds, self.firms.len() - 1, (owner_id, TenantRole::TenantSuperadmin))
    }

    fn require_session(&self, actor: Actor) -> Answer {
        let Actor::Person(person) = actor else { return Ok(()) };
        let Person { user, session } = &self.people[person];
        if session::is_signed_in(session, (user.id, &user.state), self.now) {
            Ok(())
        } else {
            Err(refusals::SESSION_REVOKED)
        }
    }

    fn require_active(&self, person: usize) -> Answer {
        if self.people[person].user.state.is_active() { Ok(()) } else { Err(refusals::SUSPENDED) }
    }

    /// As `companies/grounds.rs`: who acts for a company, and what it owns.
    fn grounds(&self, actor: Actor, company: usize) -> Result<Grounds, Refusal> {
        self.require_session(actor)?;
        let firm = &self.firms[company];
        let owned = schedule::owned(&firm.schedule, self.now);
        let Actor::Person(person) = actor else { return Ok(Grounds { acting: None, owned }) };
        let member = firm.memberships.get(&self.people[person].user.id).copied();
        let member = member.ok_or(refusals::forbidden("not_a_member"))?;
        match firm.members[member].state.status {
            MembershipStatus::Unknown | MembershipStatus::Revoked => return Err(refusals::forbidden("not_a_member")),
            MembershipStatus::Suspended => return Err(refusals::forbidden("suspended")),
            MembershipStatus::Active => {}
        }
        if !firm.company.state.is_active() {
            return Err(refusals::forbidden("company_not_active"));
        }
        Ok(Grounds { acting: Some(member), owned })
    }

    fn authority<'a>(&'a self, grounds: &'a Grounds, company: usize) -> Authority<'a> {
        let Some(member) = grounds.acting else { return Authority::platform(&grounds.owned, &self.catalog) };
        let firm = &self.firms[company];
        let holdings = firm.holdings(&firm.members[member].state);
        Authority::member((holdings, &firm.company.state), &grounds.owned, &self.catalog)
    }

    /// As the extractor `Manager`: asked before the rest of the command is looked at.
    fn require_manager(&self, actor: Actor, company: usize) -> Answer {
        let grounds = self.grounds(actor, company)?;
        if grounds.acting.is_none() || self.authority(&grounds, company).rights().can_manage_users {
            Ok(())
        } else {
            Err(refusals::forbidden("role_too_low"))
        }
    }

    /// As the extractor `Superadmin`.
    fn require_superadmin(&self, actor: Actor, company: usize) -> Answer {
        let grounds = self.grounds(actor, company)?;
        self.authority(&grounds, company).leads(self.firms[company].company.id).map_err(refusals::of_refused)
    }

    /// As `auth/access`: what `GET /auth/me/access` answers.
    pub(crate) fn resolve(&self, person: usize, company: usize) -> Resolution {
        let (Person { user, session }, firm) = (&self.people[person], &self.firms[company]);
        let member = firm.memberships.get(&user.id).map(|place| &firm.members[*place]);
        let mut roles = member.map(|member| firm.roles_of(&member.state)).unwrap_or_default();
        let mut givers = BTreeMap::new();
        for giver in member.iter().flat_map(|member| member.state.givers(self.now)) {
            let Some(of) = firm.members.iter().find(|other| other.id == giver.membership_id) else { continue };
            let Some(whose) = self.people.iter().find(|other| other.user.id == giver.user_id) else { continue };
            roles.extend(firm.roles_of(&of.state));
            let state = GiverState { membership: of.state.clone(), user: whose.user.state.clone() };
            givers.insert(giver.membership_id, state);
        }
        let inputs = AccessInputs {
            user_id: user.id,
            user: &user.state,
            session,
            company: Some((firm.company.id, &firm.company.state)),
            membership: member.map(|member| (member.id, &member.state)),
            roles: &roles,
            givers: &givers,
            entitlements: &firm.schedule,
            catalog: &self.catalog,
            versions: AccessVersions::default(),
        };
        access::resolve(&inputs, self.now)
    }
}

impl Firm {
    fn holdings<'a>(&'a self, membership: &'a Membership) -> Holdings<'a> {
        let roles = self.roles.iter().filter(|role| membership.roles.contains_key(&role.id));
        Holdings::of(membership, roles.map(|role| (role.id, &role.state)))
    }

    fn roles_of(&self, membership: &Membership) -> BTreeMap<RoleId, Role> {
        let roles = self.roles.iter().filter(|role| membership.roles.contains_key(&role.id));
        roles.map(|role| (role.id, role.state.clone())).collect()
    }
}

fn signed_in(user: &Stream<UserId, User>) -> Session {
    let mut session = Session::default();
    let started = SessionEvent::Started {
        user_id: user.id,
        amr: vec![AuthMethod::Pwd],
        idle_until: at(Instant::MAX / 2_000),
        absolute_until: at(Instant::MAX / 2_000),
        token_hash: Sealed::absent(),
        ip: Sealed::absent(),
        agent: Sealed::absent(),
        user_version: Some(user.version),
    };
    session.evolve(&started, 1);
    session
}

/// Whether an answer of the platform's is what the model says.
pub(crate) fn agrees(real: &Resolution, model: &Result<Context, &'static str>) -> bool {
    use kisum_events::AccessOutcome as Outcome;
    let (context, model) = match (&real.context, model) {
        (Some(context), Ok(model)) => (context, model),
        (None, Err(outcome)) => {
            return match real.outcome {
                Outcome::Active => false,
                Outcome::NotAMember => *outcome == "not_a_member",
                Outcome::Suspended => *outcome == "suspended",
                Outcome::CompanyNotActive => *outcome == "company_not_active",
                Outcome::SessionRevoked => *outcome == "session_revoked",
            };
        }
        (Some(_), Err(_)) | (None, Ok(_)) => return false,
    };
    let rights = &context.delegation;
    let same_modules =
        |real: &[ModuleKey], model: &BTreeSet<&str>| real.iter().map(ModuleKey::as_str).eq(model.iter().copied());
    let same_permissions = |real: &[PermissionKey], model: &BTreeSet<&str>| {
        real.iter().map(PermissionKey::as_str).eq(model.iter().copied())
    };
    context.tenant_role == tenant_role(model.rank)
        && context.core_app_visible == model.core_app_visible
        && same_modules(&context.owned_modules, &model.owned)
        && same_modules(&context.modules, &model.modules)
        && same_permissions(&context.permissions, &model.permissions)
        && rights.can_manage_users == model.can_manage_users
        && rights.can_buy_addons == model.can_buy_addons
        && same_modules(&rights.grantable_modules, &model.grantable_modules)
        && same_permissions(&rights.grantable_permissions, &model.grantable_permissions)
        && context.valid_until == model.valid_until.map(at)
}
