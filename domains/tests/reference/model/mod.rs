//! Who may do what in which company, a second time: naively, from the contract and what the API's pages say, and from
//! nothing of the code.
//!
//! Sets and lists that are searched from end to end. It knows no event, no version and no way of storing anything; it
//! answers a command with the first refusal, and says what each person's context is at an instant. Quotes are of the
//! documents. What they leave open is marked *Open* with what the platform does, which gives nobody more than they say.

mod command;
mod context;
mod delegations;
mod members;
mod roles;
mod story;

pub(crate) use command::{Actor, Command, DAY, Instant, Key, Rank, Wish};
pub(crate) use context::Context;
use std::collections::{BTreeMap, BTreeSet};
pub(crate) use story::{PEOPLE, Stage, Story};

/// What a refused command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) reason: Option<&'static str>,
}

pub(crate) type Answer = Result<(), Refusal>;

const fn forbidden(reason: &'static str) -> Refusal {
    Refusal { status: 403, code: "forbidden", reason: Some(reason) }
}

const fn conflict(reason: &'static str) -> Refusal {
    Refusal { status: 409, code: "conflict", reason: Some(reason) }
}

const NOT_FOUND: Refusal = Refusal { status: 404, code: "not_found", reason: None };
const UNPROCESSABLE: Refusal = Refusal { status: 422, code: "unprocessable", reason: None };
const SESSION_REVOKED: Refusal = Refusal { status: 401, code: "session_revoked", reason: None };
const INVALID: Refusal = Refusal { status: 400, code: "validation_error", reason: None };
const ROLE_TOO_LOW: Refusal = forbidden("role_too_low");
const NOT_GRANTABLE: Refusal = forbidden("not_grantable");

/// The catalog of the story: modules, and which permissions each has.
pub(crate) const CATALOG: [(Key, &[Key]); 6] = [
    ("basic", &["basic.artists.read", "basic.events.read"]),
    ("finance", &["finance.bills.read", "finance.bills.create"]),
    ("market", &["market.contracts.read"]),
    ("touring", &["touring.tours.read"]),
    ("venue", &["venue.availability.read"]),
    ("ai", &["ai.predictions.read"]),
];
/// Keys that no catalog has.
pub(crate) const UNKNOWN_MODULE: Key = "shipping";
pub(crate) const UNKNOWN_PERMISSION: Key = "finance.bills.shred";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompanyStatus {
    Pending,
    Active,
    Suspended,
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberStatus {
    Active,
    Suspended,
    Revoked,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) person: usize,
    pub(crate) rank: Rank,
    pub(crate) status: MemberStatus,
    modules: BTreeSet<Key>,
    permissions: BTreeSet<Key>,
    roles: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
struct NamedRole {
    name: String,
    permissions: BTreeSet<Key>,
    deleted: bool,
}

#[derive(Clone, Debug, Default)]
struct Policy {
    modules: BTreeSet<Key>,
    permissions: BTreeSet<Key>,
}

#[derive(Clone, Debug)]
struct Delegation {
    from: usize,
    to: usize,
    permissions: BTreeSet<Key>,
    valid_from: Instant,
    valid_until: Instant,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Company {
    slug: String,
    pub(crate) status: CompanyStatus,
    pub(crate) members: Vec<Member>,
    roles: Vec<NamedRole>,
    policies: BTreeMap<Rank, Policy>,
    delegations: Vec<Delegation>,
    /// What was bought, and from when until when.
    terms: Vec<(Key, Instant, Option<Instant>)>,
    seats: Option<usize>,
}

/// Everything there is.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    /// Whether each person is suspended.
    pub(crate) suspended: Vec<bool>,
    pub(crate) companies: Vec<Company>,
    pub(crate) retired: BTreeSet<Key>,
    /// The rule that this world gets wrong: that it would be noticed is shown with it.
    wrong: Option<Wrong>,
}

/// Rules that a world can be made to get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    LastSuperadminMayGo,
    EqualRanksAreInReach,
    PolicyIsNoCeiling,
    LostModulesGoOnCounting,
    DelegationsOutliveTheirGivers,
    DelegationsOutliveTheirTerms,
    ReceivedIsPassedOn,
    RetiredKeysAreGrantable,
    DeletedRolesGoOnGiving,
    PendingCompaniesAreOpen,
}

impl World {
    pub(crate) fn new(people: usize, wrong: Option<Wrong>) -> Self {
        Self { now: 0, suspended: vec![false; people], companies: Vec::new(), retired: BTreeSet::new(), wrong }
    }

    fn gets_wrong(&self, rule: Wrong) -> bool {
        self.wrong == Some(rule)
    }

    /// Carries out what is asked, or says why not.
    pub(crate) fn apply(&mut self, actor: Actor, command: &Command) -> Answer {
        match command {
            Command::Register { owner, slug } => self.register(actor, *owner, slug),
            Command::Company { company, wish } => self.wish(actor, *company, wish),
            Command::SuspendPerson { person } => {
                self.suspended[*person] = true;
                Ok(())
            }
            Command::ReactivatePerson { person } => {
                self.suspended[*person] = false;
                Ok(())
            }
            Command::Buy { company, module, from, until } => {
                self.companies[*company].terms.push((module, *from, *until));
                Ok(())
            }
            Command::Lose { company, module } => {
                self.companies[*company].terms.retain(|(bought, ..)| bought != module);
                Ok(())
            }
            Command::Seats { company, limit } => {
                self.companies[*company].seats = *limit;
                Ok(())
            }
            Command::Retire { permission } => {
                self.retired.insert(permission);
                Ok(())
            }
            Command::Pass { millis } => {
                self.now += millis;
                Ok(())
            }
        }
    }

    fn wish(&mut self, actor: Actor, company: usize, wish: &Wish) -> Answer {
        match wish {
            Wish::Approve => self.standing(company, CompanyStatus::Pending, CompanyStatus::Active, "not_pending"),
            Wish::Reject => self.standing(company, CompanyStatus::Pending, CompanyStatus::Rejected, "not_pending"),
            Wish::Suspend => self.standing(company, CompanyStatus::Active, CompanyStatus::Suspended, "not_active"),
            Wish::Reactivate => {
                self.standing(company, CompanyStatus::Suspended, CompanyStatus::Active, "not_suspended")
            }
            Wish::AddMember { person, rank } => self.add_member(actor, company, *person, *rank),
            Wish::ChangeMember { member, rank, suspended } => {
                self.change_member(actor, company, *member, (*rank, *suspended))
            }
            Wish::EndMember { member } => self.end_member(actor, company, *member),
            Wish::GrantModule { member, module } => self.grant_module(actor, company, *member, module),
            Wish::RevokeModule { member, module } => self.revoke_module(actor, company, *member, module),
            Wish::GrantPermission { member, permission } => self.grant_permission(actor, company, *member, permission),
            Wish::RevokePermission { member, permission } => {
                self.revoke_permission(actor, company, *member, permission)
            }
            Wish::CreateRole { name, permissions } => self.create_role(actor, company, name, permissions),
            Wish::ChangeRole { role, name, permissions } => {
                self.change_role(actor, company, *role, (name.as_deref(), permissions.as_deref()))
            }
            Wish::DeleteRole { role } => self.delete_role(actor, company, *role),
            Wish::AssignRole { member, role } => self.assign_role(actor, company, *member, *role),
            Wish::UnassignRole { member, role } => self.unassign_role(actor, company, *member, *role),
            Wish::SetPolicy { rank, modules, permissions } => {
                self.set_policy(actor, company, *rank, (modules, permissions))
            }
            Wish::Delegate { to, permissions, from, until } => {
                self.delegate(actor, company, (*to, permissions), (*from, *until))
            }
            Wish::EndDelegation { delegation } => self.end_delegation(actor, company, *delegation),
        }
    }

    /// "status `pending|active|suspended|rejected`; its creator is TENANT_SUPERADMIN".
    fn register(&mut self, actor: Actor, owner: usize, slug: &str) -> Answer {
        self.require_session(actor)?;
        self.require_person(owner)?;
        if self.companies.iter().any(|company| company.slug == slug) {
            return Err(conflict("slug_taken"));
        }
        self.companies.push(Company {
            slug: slug.to_owned(),
            status: CompanyStatus::Pending,
            members: vec![Member::new(owner, Rank::Superadmin)],
            roles: Vec::new(),
            policies: BTreeMap::new(),
            delegations: Vec::new(),
            terms: Vec::new(),
            seats: None,
        });
        Ok(())
    }

    /// *Open*: of what is so already each command of the platform says that it is done.
    fn standing(
        &mut self,
        company: usize,
        before: CompanyStatus,
        after: CompanyStatus,
        otherwise: &'static str,
    ) -> Answer {
        let company = &mut self.companies[company];
        if company.status != before && company.status != after {
            return Err(conflict(otherwise));
        }
        company.status = after;
        Ok(())
    }

    /// "Suspended user: sessions end (401 `session_revoked`)."
    fn require_session(&self, actor: Actor) -> Answer {
        match actor {
            Actor::Person(person) if self.suspended[person] => Err(SESSION_REVOKED),
            Actor::Person(_) | Actor::Platform => Ok(()),
        }
    }

    /// Of a person who is to become something.
    fn require_person(&self, person: usize) -> Answer {
        if self.suspended[person] { Err(conflict("suspended")) } else { Ok(()) }
    }

    /// The first of "session live; … membership, user and company active" that does not hold, else the membership.
    fn admitted(&self, person: usize, company: usize) -> Result<usize, &'static str> {
        if self.suspended[person] {
            return Err("session_revoked");
        }
        let of = &self.companies[company];
        let member = of
            .members
            .iter()
            .position(|member| member.person == person && member.status != MemberStatus::Revoked)
            .ok_or("not_a_member")?;
        if of.members[member].status == MemberStatus::Suspended {
            return Err("suspended");
        }
        let open = match of.status {
            CompanyStatus::Active => true,
            CompanyStatus::Pending => self.gets_wrong(Wrong::PendingCompaniesAreOpen),
            CompanyStatus::Suspended | CompanyStatus::Rejected => false,
        };
        if open { Ok(member) } else { Err("company_not_active") }
    }

    /// The membership that somebody acts with; the platform needs none.
    fn acting(&self, actor: Actor, company: usize) -> Result<Option<usize>, Refusal> {
        self.require_session(actor)?;
        match actor {
            Actor::Platform => Ok(None),
            Actor::Person(person) => self.admitted(person, company).map(Some).map_err(forbidden),
        }
    }

    fn rank_of(&self, company: usize, acting: Option<usize>) -> Option<Rank> {
        acting.map(|member| self.companies[company].members[member].rank)
    }

    /// Who acts, where only such a rank or a higher one may.
    fn acting_at_least(&self, actor: Actor, company: usize, rank: Rank) -> Result<Option<usize>, Refusal> {
        let acting = self.acting(actor, company)?;
        if self.rank_of(company, acting).is_some_and(|own| own < rank) {
            return Err(ROLE_TOO_LOW);
        }
        Ok(acting)
    }

    /// "Roles at or above one's own are out of reach, except for superadmins."
    fn reaches(&self, company: usize, acting: Option<usize>, rank: Rank) -> bool {
        match self.rank_of(company, acting) {
            None | Some(Rank::Superadmin) => true,
            Some(own) => own > rank || (own == rank && self.gets_wrong(Wrong::EqualRanksAreInReach)),
        }
    }

    /// Of another company "there is no such member".
    fn member_ever(&self, company: usize, member: usize) -> Result<&Member, Refusal> {
        self.companies[company].members.get(member).ok_or(NOT_FOUND)
    }

    /// A member who is none any more is not found.
    fn member(&self, company: usize, member: usize) -> Result<&Member, Refusal> {
        self.member_ever(company, member).and_then(|member| match member.status {
            MemberStatus::Active | MemberStatus::Suspended => Ok(member),
            MemberStatus::Revoked => Err(NOT_FOUND),
        })
    }
}

fn module_of(permission: Key) -> Key {
    permission.split('.').next().unwrap_or(permission)
}

fn module_exists(module: Key) -> bool {
    CATALOG.iter().any(|(key, _)| *key == module)
}

fn permission_exists(permission: Key) -> bool {
    CATALOG.iter().any(|(_, permissions)| permissions.contains(&permission))
}
