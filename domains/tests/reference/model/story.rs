//! What is asked next, drawn at random from a seed: few people and companies, so that commands meet. It looks at the world
//! alone, so that the same seed and the same answers tell the same story.

use super::{
    Actor, CATALOG, Command, CompanyStatus, DAY, Instant, Key, MemberStatus, Rank, UNKNOWN_MODULE, UNKNOWN_PERMISSION,
    Wish, World,
};
use std::collections::VecDeque;

pub(crate) const PEOPLE: usize = 8;
const COMPANIES_MAX: usize = 4;
const SLUGS: usize = 5;
const NAMES: [&str; 6] = ["Bookkeepers", "bookkeepers", "Crew", "CREW", "Bookers", "Night shift"];
const MINUTE: Instant = 60 * 1_000;
const HOUR: Instant = 60 * MINUTE;
/// Of a list the last so many are asked for most of the time.
const RECENT: usize = 12;

/// What a story may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Everything.
    Anything,
    /// What can be asked over HTTP at will: no time that goes by, no seats, no catalog that changes.
    Requests,
}

/// A story that is being told.
pub(crate) struct Story {
    drawn: u64,
    stage: Stage,
    /// One that many delegations are given in.
    is_generous: bool,
    opening: VecDeque<(Actor, Command)>,
}

impl Story {
    pub(crate) fn new(seed: u64, stage: Stage) -> Self {
        let mut story = Self { drawn: seed, stage, is_generous: false, opening: VecDeque::new() };
        story.is_generous = story.one_in(8);
        for company in 0..2 {
            story.open(company);
        }
        story
    }

    /// The next thing that is asked, and who asks.
    pub(crate) fn next(&mut self, world: &World) -> (Actor, Command) {
        if let Some(first) = self.opening.pop_front() {
            return first;
        }
        let requests = self.stage == Stage::Requests;
        match self.below(100) {
            0 => self.register(world),
            1..=2 => self.person(),
            3..=4 => (Actor::Platform, self.buy(world)),
            5 if requests || self.below(4) > 0 => (Actor::Platform, self.lose(world)),
            5 => {
                let limit = self.one_in(2).then(|| self.below(PEOPLE + 2));
                (Actor::Platform, Command::Seats { company: self.company(world), limit })
            }
            6..=12 if !(requests || self.is_generous && self.below(3) > 0) => (Actor::Platform, self.pass()),
            13 if !requests && self.one_in(6) => (Actor::Platform, Command::Retire { permission: self.permission() }),
            14..=15 => self.standing(world),
            17..=40 if self.is_generous => self.generous(world),
            _ => self.wish(world),
        }
    }

    /// A company with members of every rank, who hold something.
    fn open(&mut self, company: usize) {
        let lead = Actor::Person(company);
        let slug = format!("company-{company}");
        self.opening.push_back((lead, Command::Register { owner: company, slug }));
        self.ask(Actor::Platform, company, Wish::Approve);
        for (module, permissions) in CATALOG {
            if self.below(6) > 0 {
                let buy = Command::Buy { company, module, from: 0, until: None };
                self.opening.push_back((Actor::Platform, buy));
            }
            self.ask(lead, company, Wish::GrantModule { member: 0, module });
            for permission in permissions {
                self.ask(lead, company, Wish::GrantPermission { member: 0, permission });
            }
        }
        let ranks = [Rank::Superadmin, Rank::Admin, Rank::Manager, Rank::User, Rank::Manager];
        for (place, rank) in ranks.into_iter().enumerate() {
            let member = place + 1;
            self.ask(lead, company, Wish::AddMember { person: (company + member) % PEOPLE, rank });
            for _ in 0..4 {
                let (module, permissions) = CATALOG[self.below(CATALOG.len())];
                self.ask(lead, company, Wish::GrantModule { member, module });
                if self.one_in(2) {
                    let permission = permissions[self.below(permissions.len())];
                    self.ask(lead, company, Wish::GrantPermission { member, permission });
                }
            }
        }
        for rank in [Rank::Admin, Rank::Manager] {
            let (modules, permissions) = (self.modules(), self.permissions(8));
            self.ask(lead, company, Wish::SetPolicy { rank, modules, permissions });
        }
        for (role, name) in ["Crew", "Bookers"].into_iter().enumerate() {
            let permissions = self.permissions(3);
            self.ask(lead, company, Wish::CreateRole { name: name.to_owned(), permissions });
            for member in [1, 2, 3, 5] {
                if self.one_in(2) {
                    self.ask(lead, company, Wish::AssignRole { member, role });
                }
            }
        }
    }

    fn ask(&mut self, actor: Actor, company: usize, wish: Wish) {
        self.opening.push_back((actor, Command::Company { company, wish }));
    }

    fn register(&mut self, world: &World) -> (Actor, Command) {
        let new = if world.companies.len() < COMPANIES_MAX { SLUGS } else { world.companies.len() };
        let (owner, slug) = (self.below(PEOPLE), format!("company-{}", self.below(new)));
        let actor = if self.one_in(3) { Actor::Platform } else { Actor::Person(owner) };
        (actor, Command::Register { owner, slug })
    }

    fn person(&mut self) -> (Actor, Command) {
        let person = self.below(PEOPLE);
        let suspends = self.one_in(4);
        let command = if suspends { Command::SuspendPerson { person } } else { Command::ReactivatePerson { person } };
        (Actor::Platform, command)
    }

    fn buy(&mut self, world: &World) -> Command {
        let (company, (module, _)) = (self.company(world), CATALOG[self.below(CATALOG.len())]);
        let is_plain = self.stage == Stage::Requests || self.one_in(3);
        let from = if is_plain { world.now } else { world.now + self.span() };
        let until = (!is_plain).then(|| from + self.span());
        Command::Buy { company, module, from, until }
    }

    fn lose(&mut self, world: &World) -> Command {
        let (company, (module, _)) = (self.company(world), CATALOG[self.below(CATALOG.len())]);
        // Over HTTP what was not bought cannot be given up.
        if self.stage == Stage::Requests && !world.owned_at(company, world.now).contains(module) {
            return Command::Buy { company, module, from: world.now, until: None };
        }
        Command::Lose { company, module }
    }

    fn pass(&mut self) -> Command {
        let millis = if self.one_in(3) { 1 + self.instant(HOUR) } else { self.span() };
        Command::Pass { millis }
    }

    /// Some time between a minute and a few weeks.
    fn span(&mut self) -> Instant {
        let most = [HOUR, DAY, 30 * DAY][self.below(3)];
        MINUTE + self.instant(most)
    }

    /// The platform decides about a company.
    fn standing(&mut self, world: &World) -> (Actor, Command) {
        let company = self.below(world.companies.len());
        let wish = match (self.below(8), world.companies[company].status) {
            (0, _) => Wish::Approve,
            (1, _) => Wish::Reject,
            (2, _) => Wish::Suspend,
            (3, _) => Wish::Reactivate,
            (_, CompanyStatus::Suspended) => Wish::Reactivate,
            (4, CompanyStatus::Pending) => Wish::Reject,
            (_, CompanyStatus::Pending | CompanyStatus::Active | CompanyStatus::Rejected) => Wish::Approve,
        };
        (Actor::Platform, Command::Company { company, wish })
    }

    /// A superadmin passes something on for a long time.
    fn generous(&mut self, world: &World) -> (Actor, Command) {
        let company = self.company(world);
        let actor = self.of_rank(world, company, Rank::Superadmin).map_or(Actor::Person(0), Actor::Person);
        let (to, permissions) = (self.member(world, company), self.permissions(1));
        let until = world.now + 80 * DAY + self.instant(9 * DAY);
        (actor, Command::Company { company, wish: Wish::Delegate { to, permissions, from: None, until } })
    }

    fn wish(&mut self, world: &World) -> (Actor, Command) {
        let company = self.company(world);
        let member = self.member(world, company);
        let (module, permission) = (self.module(), self.permission());
        let role = self.place(world.companies[company].roles.len());
        let (wish, has_route) = match self.below(88) {
            0..=5 => (Wish::AddMember { person: self.below(PEOPLE), rank: self.rank() }, true),
            6..=13 => (self.change(member), false),
            14..=15 => (Wish::EndMember { member }, false),
            16..=24 => (Wish::GrantModule { member, module }, true),
            25..=28 => (Wish::RevokeModule { member, module }, true),
            29..=38 => (Wish::GrantPermission { member, permission }, true),
            39..=44 => (Wish::RevokePermission { member, permission }, true),
            45..=48 => (Wish::CreateRole { name: self.name(), permissions: self.permissions(4) }, true),
            49..=53 => (self.change_role(role), true),
            54..=55 => (Wish::DeleteRole { role }, true),
            56..=64 => (Wish::AssignRole { member, role }, true),
            65..=68 => (Wish::UnassignRole { member, role }, true),
            69..=72 => {
                let rank = if self.one_in(2) { Rank::Admin } else { Rank::Manager };
                (Wish::SetPolicy { rank, modules: self.modules(), permissions: self.permissions(8) }, true)
            }
            73..=83 => return self.delegate(world, company),
            _ => {
                let delegation = self.place(world.companies[company].delegations.len());
                (Wish::EndDelegation { delegation }, false)
            }
        };
        let actor = if has_route && self.one_in(12) { Actor::Platform } else { self.actor(world, company) };
        (actor, Command::Company { company, wish })
    }

    fn change(&mut self, member: usize) -> Wish {
        let rank = self.one_in(2).then(|| self.rank());
        let suspended = (rank.is_none() || self.one_in(6)).then(|| self.one_in(3));
        Wish::ChangeMember { member, rank, suspended }
    }

    fn change_role(&mut self, role: usize) -> Wish {
        let permissions = (!self.one_in(4)).then(|| self.permissions(4));
        let name = (permissions.is_none() || self.one_in(6)).then(|| self.name());
        Wish::ChangeRole { role, name, permissions }
    }

    /// Mostly somebody passes on to a lower role what they hold, and could use.
    fn delegate(&mut self, world: &World, company: usize) -> (Actor, Command) {
        let rank = [Rank::Superadmin, Rank::Admin, Rank::Admin, Rank::Manager][self.below(4)];
        let giver = self.of_rank(world, company, rank).unwrap_or_else(|| self.below(PEOPLE));
        let actor = if self.one_in(10) { self.actor(world, company) } else { Actor::Person(giver) };
        let members = &world.companies[company].members;
        let below = |place: usize| members.get(place).is_some_and(|one| one.rank < rank && one.person != giver);
        let drawn = [self.member(world, company), self.member(world, company), self.member(world, company)];
        let to = drawn.into_iter().find(|place| below(*place)).unwrap_or(drawn[0]);
        let held = members.iter().position(|one| one.person == giver && one.status != MemberStatus::Revoked);
        let held: Vec<Key> = held.map(|place| world.passes_on(company, place)).unwrap_or_default();
        let permissions = match self.below(30) {
            0 => vec![],
            1..=5 => self.permissions(2),
            6..=12 if held.len() > 1 => vec![held[self.below(held.len())], held[self.below(held.len())]],
            _ if !held.is_empty() => vec![held[self.below(held.len())]],
            _ => self.permissions(1),
        };
        let wish = self.terms(world, to, permissions);
        (actor, Command::Company { company, wish })
    }

    fn terms(&mut self, world: &World, to: usize, permissions: Vec<Key>) -> Wish {
        // Over HTTP time goes by as it likes, and nothing may begin meanwhile.
        let from = self.one_in(5).then(|| match self.stage {
            Stage::Anything => world.now + self.span() - self.span(),
            Stage::Requests => world.now + HOUR,
        });
        let until = match self.below(16) {
            0 => world.now - MINUTE,
            1 => world.now + 91 * DAY,
            2..=8 => world.now + 60 * DAY,
            _ => world.now + self.span() + 2 * HOUR,
        };
        Wish::Delegate { to, permissions, from, until }
    }

    /// Somebody who may: mostly a member, often one who leads.
    fn actor(&mut self, world: &World, company: usize) -> Actor {
        let rank = [Rank::Superadmin, Rank::Superadmin, Rank::Admin, Rank::Manager, Rank::User][self.below(5)];
        let person = if self.one_in(12) { None } else { self.of_rank(world, company, rank) };
        Actor::Person(person.unwrap_or_else(|| self.below(PEOPLE)))
    }

    /// A member of a rank who may act, where there is one.
    fn of_rank(&mut self, world: &World, company: usize, rank: Rank) -> Option<usize> {
        let members = world.companies[company].members.iter();
        let able: Vec<usize> = members
            .filter(|member| member.rank == rank && member.status == MemberStatus::Active)
            .map(|member| member.person)
            .filter(|person| !world.suspended[*person])
            .collect();
        (!able.is_empty()).then(|| able[self.below(able.len())])
    }

    /// The first two have most of the members.
    fn company(&mut self, world: &World) -> usize {
        if self.one_in(8) { self.below(world.companies.len()) } else { self.below(2) }
    }

    fn member(&mut self, world: &World, company: usize) -> usize {
        let members = &world.companies[company].members;
        let live = world.companies[company].delegations.iter().filter(|one| !one.ended && one.valid_until > world.now);
        let givers: Vec<usize> = live.map(|one| one.from).collect();
        if !givers.is_empty() && self.one_in(5) {
            return givers[self.below(givers.len())];
        }
        let place = self.place(members.len());
        let is_gone = |place: usize| members.get(place).is_some_and(|one| one.status == MemberStatus::Revoked);
        if is_gone(place) && self.below(4) > 0 { self.below(members.len()) } else { place }
    }

    /// A place in a list, mostly of what was added lately; now and then one that is in none of the company's.
    fn place(&mut self, length: usize) -> usize {
        if length == 0 || self.one_in(25) {
            return length + self.below(3);
        }
        if self.one_in(4) { self.below(length) } else { length - 1 - self.below(length.min(RECENT)) }
    }

    fn module(&mut self) -> Key {
        if self.one_in(30) {
            return UNKNOWN_MODULE;
        }
        CATALOG[self.below(CATALOG.len())].0
    }

    fn permission(&mut self) -> Key {
        if self.one_in(40) {
            return UNKNOWN_PERMISSION;
        }
        let (_, permissions) = CATALOG[self.below(CATALOG.len())];
        permissions[self.below(permissions.len())]
    }

    fn permissions(&mut self, most: usize) -> Vec<Key> {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.permission()).collect()
    }

    fn modules(&mut self) -> Vec<Key> {
        CATALOG.iter().map(|(module, _)| *module).filter(|_| self.below(4) > 0).collect()
    }

    fn rank(&mut self) -> Rank {
        [Rank::User, Rank::User, Rank::Manager, Rank::Manager, Rank::Admin, Rank::Superadmin][self.below(6)]
    }

    fn name(&mut self) -> String {
        NAMES[self.below(NAMES.len())].to_owned()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % bound).unwrap_or(0)
    }

    fn instant(&mut self, bound: Instant) -> Instant {
        Instant::try_from(self.draw() % bound.unsigned_abs().max(1)).unwrap_or(0)
    }

    /// SplitMix64 (Steele et al. 2014).
    const fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
