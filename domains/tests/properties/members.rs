//! No sequence of commands leaves a company that has a superadmin without one, and its books equal its members.

use crate::story::{any_role, company as firm, member, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Membership,
    company::{self, MembersError},
    membership::{self, ChangeMembershipError, CreateMembership, MembershipStatus},
};
use kisum_events::{Aggregate, MembershipEvent, TenantRole};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::collections::{BTreeMap, BTreeSet};

/// The company sells that many seats.
const SEATS: i64 = 4;

/// What somebody asks for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Create(TenantRole),
    ChangeRole(TenantRole),
    Suspend,
    Reactivate,
    Revoke,
}

/// Somebody asks for something about a member; the platform asks where nobody is named.
#[derive(Clone, Copy, Debug)]
struct Command {
    by: Option<u8>,
    on: u8,
    wish: Wish,
}

fn any_command() -> impl Strategy<Value = Command> {
    let wish = prop_oneof![
        any_role().prop_map(Wish::Create),
        any_role().prop_map(Wish::ChangeRole),
        select(&[Wish::Suspend, Wish::Reactivate, Wish::Revoke]),
    ];
    (option::weighted(0.7, 0_u8..6), 0_u8..6, wish).prop_map(|(by, on, wish)| Command { by, on, wish })
}

#[derive(Default)]
struct World {
    company: Company,
    members: BTreeMap<u8, Membership>,
}

impl World {
    fn member(&self, number: u8) -> Membership {
        self.members.get(&number).cloned().unwrap_or_default()
    }

    /// Decides as a service does: the membership first, then what that means for the company, then one append.
    fn execute(&mut self, command: Command) {
        let (owned, catalog) = (BTreeSet::new(), Catalog::default());
        let acting = command.by.map(|number| self.member(number));
        let authority = match &acting {
            Some(acting) => Authority::member((Holdings::of(acting, []), &self.company), &owned, &catalog),
            None => Authority::platform(&owned, &catalog),
        };
        let before = self.member(command.on);
        let Ok(events) = decide(&before, &authority, command) else { return };
        let mut after = before.clone();
        for event in &events {
            after.evolve(event, 1);
        }
        let books = company::follow_membership(&self.company, member(command.on), &before, &after, Some(SEATS));
        let books = match books {
            Ok(books) => books,
            Err(MembersError::LastSuperadmin | MembersError::LimitReached { .. }) => return,
        };
        for event in &books {
            self.company.evolve(event, 1);
        }
        self.members.insert(command.on, after);
    }

    fn count(&self, counts: impl Fn(&Membership) -> bool) -> BTreeSet<u8> {
        self.members.iter().filter(|(_, state)| counts(state)).map(|(number, _)| *number).collect()
    }
}

fn decide(
    state: &Membership,
    authority: &Authority<'_>,
    command: Command,
) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    match command.wish {
        Wish::Create(role) => {
            let wanted =
                CreateMembership { company_id: firm(), user_id: user(command.on), role, via: "invitation".into() };
            membership::create(state, authority, wanted)
        }
        Wish::ChangeRole(role) => membership::change_role(state, authority, role),
        Wish::Suspend => membership::suspend(state, authority),
        Wish::Reactivate => membership::reactivate(state, authority),
        Wish::Revoke => membership::revoke(state, authority),
    }
}

proptest! {
    #[test]
    fn a_company_with_superadmins_never_loses_its_last_one(commands in vec(any_command(), 0..60)) {
        let mut world = World::default();
        let mut has_led = false;
        for command in commands {
            world.execute(command);
            let leading = world.count(|state| state.is_active() && state.role == TenantRole::TenantSuperadmin);
            let seated = world.count(|state| {
                matches!(state.status, MembershipStatus::Active | MembershipStatus::Suspended)
            });
            has_led |= !leading.is_empty();
            prop_assert_eq!(has_led, !leading.is_empty());
            let listed: BTreeSet<_> = leading.iter().copied().map(member).collect();
            prop_assert_eq!(&world.company.superadmins, &listed);
            prop_assert_eq!(usize::try_from(world.company.seats_used).ok(), Some(seated.len()));
            prop_assert!(i64::from(world.company.seats_used) <= SEATS);
        }
    }

    #[test]
    fn nobody_below_superadmin_ever_makes_one(commands in vec(any_command(), 0..60)) {
        let mut world = World::default();
        for command in commands {
            let leads = |world: &World| world.count(|state| state.role == TenantRole::TenantSuperadmin);
            let before = leads(&world);
            let acting = command.by.map(|number| world.member(number));
            world.execute(command);
            if !leads(&world).is_subset(&before) {
                prop_assert!(acting.is_none_or(|acting| acting.is_active() && acting.role == TenantRole::TenantSuperadmin));
            }
        }
    }
}
