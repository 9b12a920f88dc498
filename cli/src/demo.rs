//! The demo as data: five companies, so that every rule shows, and who holds what in them (contract, *The demo*).
//!
//! It owns the plan. It refuses to know how any of it comes to be: `seed` does that, through commands.

use kisum_events::TenantRole;

/// The package that the demo sells.
pub const PACKAGE: &str = "basic";

/// The platform's first owner, of no company (`DEMO_ADMIN_EMAIL`).
pub const ADMIN_EMAIL: &str = "owner@platform.example";

/// A company of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    /// Its name in `x-org`.
    pub slug: String,
    /// Its display name.
    pub name: String,
    /// What it subscribes to.
    pub package: Option<String>,
    /// What it attaches.
    pub addons: Vec<String>,
    /// Its members. The first is the superadmin who registers it.
    pub members: Vec<Member>,
}

/// A person in a company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Their address, with which they sign in.
    pub email: String,
    /// Their display name.
    pub name: String,
    /// Their standing.
    pub role: TenantRole,
    /// What they are granted.
    pub holds: Holds,
    /// Whether they have the demo's password; without one nobody can sign in as them.
    pub has_password: bool,
}

/// What a member is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Every module and every permission that the company owns.
    Everything,
    /// Every module, and every permission that ends with `.read`.
    EveryRead,
    /// So many permissions of what the company owns, from one on, and their modules; from the last on to the first.
    Few {
        /// The index of the first among all.
        from: usize,
        /// How many.
        count: usize,
    },
    /// These, whatever the company owns.
    Only {
        /// Modules.
        modules: Vec<String>,
        /// Permissions.
        permissions: Vec<String>,
    },
}

impl Holds {
    fn nothing() -> Self {
        Self::Only { modules: Vec::new(), permissions: Vec::new() }
    }

    fn finance_with(permission: &str) -> Self {
        Self::Only { modules: vec!["finance".to_owned()], permissions: vec![permission.to_owned()] }
    }
}

/// The five companies of the demo.
pub fn companies() -> Vec<Company> {
    let mut acme = company("acme-live", "Acme Live", true, &["finance", "market"]);
    if let Some(user) = acme.members.iter_mut().find(|member| member.email == "user@acme-live.example") {
        user.holds = Holds::finance_with("finance.bills.read");
    }
    acme.members.push(agent("finance.bills.read"));
    let mut bright = company("bright-books", "Bright Books", false, &["finance"]);
    bright.members.push(agent("finance.expenses.read"));
    vec![
        acme,
        bright,
        company("core-club", "Core Club", true, &[]),
        company("dormant", "Dormant", false, &[]),
        company("echo-venues", "Echo Venues", false, &["venue", "ai"]),
    ]
}

/// What synthetic companies buy, in turn: package and add-ons.
const BOUGHT: [(bool, &[&str]); 8] = [
    (true, &["finance"]),
    (true, &["finance", "market"]),
    (true, &[]),
    (false, &["finance"]),
    (true, &["venue", "ai"]),
    (false, &["market", "touring"]),
    (true, &["finance", "market", "touring", "venue", "ai"]),
    (false, &[]),
];

/// A synthetic company for load, the same for the same number: what it owns and what its members hold is spread so that
/// no two neighbours are alike. The first `passwords` members can sign in; hashing one for each would take an hour for
/// what a minute makes.
pub fn synthetic(number: usize, members: usize, passwords: usize) -> Company {
    let slug = format!("seed-{number:04}");
    let bought = number.checked_sub(1).and_then(|index| BOUGHT.get(index % BOUGHT.len()));
    let (basic, addons) = bought.copied().unwrap_or_default();
    let members = (0..members.max(1)).map(|index| Member {
        email: format!("s{:06}@{slug}.example", index.saturating_add(1)),
        name: format!("Member {} of Seed {number}", index.saturating_add(1)),
        role: synthetic_role(index),
        holds: synthetic_grants(number, index),
        has_password: index < passwords,
    });
    Company {
        name: format!("Seed {number}"),
        package: basic.then(|| PACKAGE.to_owned()),
        addons: addons.iter().map(|&addon| addon.to_owned()).collect(),
        members: members.collect(),
        slug,
    }
}

/// One superadmin, one administrator in fifty, one manager in ten.
const fn synthetic_role(index: usize) -> TenantRole {
    match index {
        0 => TenantRole::TenantSuperadmin,
        index if index % 50 == 1 => TenantRole::Admin,
        index if index % 10 == 2 => TenantRole::Manager,
        _ => TenantRole::User,
    }
}

fn synthetic_grants(number: usize, index: usize) -> Holds {
    match synthetic_role(index) {
        TenantRole::TenantSuperadmin | TenantRole::Admin => Holds::Everything,
        TenantRole::Manager => Holds::EveryRead,
        TenantRole::User => Holds::Few { from: number.saturating_add(index), count: index % 4 },
    }
}

fn company(slug: &str, name: &str, basic: bool, addons: &[&str]) -> Company {
    let member = |who: &str, role, holds| Member {
        email: format!("{who}@{slug}.example"),
        name: format!("{} of {name}", capitalised(who)),
        role,
        holds,
        has_password: true,
    };
    Company {
        slug: slug.to_owned(),
        name: name.to_owned(),
        package: basic.then(|| PACKAGE.to_owned()),
        addons: addons.iter().map(|&addon| addon.to_owned()).collect(),
        members: vec![
            member("superadmin", TenantRole::TenantSuperadmin, Holds::Everything),
            member("admin", TenantRole::Admin, Holds::Everything),
            member("manager", TenantRole::Manager, Holds::EveryRead),
            member("user", TenantRole::User, Holds::nothing()),
        ],
    }
}

/// The platform's first owner as a person.
pub fn admin() -> Member {
    Member {
        email: ADMIN_EMAIL.to_owned(),
        name: "Owner of the platform".to_owned(),
        role: TenantRole::User,
        holds: Holds::nothing(),
        has_password: true,
    }
}

/// One person in two companies, with another right in each.
fn agent(permission: &str) -> Member {
    Member {
        email: "agent@agency.example".to_owned(),
        name: "Agent of two companies".to_owned(),
        role: TenantRole::User,
        holds: Holds::finance_with(permission),
        has_password: true,
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::{Holds, companies, synthetic};
    use kisum_events::TenantRole;

    #[test]
    fn the_five_companies_own_what_the_contract_says() {
        let owned: Vec<_> = companies()
            .iter()
            .map(|company| {
                format!("{}: {} {}", company.slug, company.package.as_deref().unwrap_or("-"), company.addons.join("+"))
            })
            .collect();
        assert_eq!(
            owned,
            [
                "acme-live: basic finance+market",
                "bright-books: - finance",
                "core-club: basic ",
                "dormant: - ",
                "echo-venues: - venue+ai"
            ]
        );
    }

    #[test]
    fn one_user_and_the_agent_hold_single_permissions_and_other_users_nothing() {
        let mut held = Vec::new();
        for company in companies() {
            for member in &company.members {
                if let Holds::Only { permissions, .. } = &member.holds
                    && !permissions.is_empty()
                {
                    assert_eq!(member.role, TenantRole::User);
                    held.push(format!("{} {} {}", member.email, company.slug, permissions.join(" ")));
                }
            }
        }
        assert_eq!(
            held,
            [
                "user@acme-live.example acme-live finance.bills.read",
                "agent@agency.example acme-live finance.bills.read",
                "agent@agency.example bright-books finance.expenses.read"
            ]
        );
    }

    #[test]
    fn synthetic_companies_are_the_same_every_time_and_differ_from_each_other() {
        let company = synthetic(3, 60, 2);
        assert_eq!(company, synthetic(3, 60, 2));
        assert_eq!(company.members.iter().filter(|member| member.has_password).count(), 2);
        let first = company.members.first().map(|member| member.email.as_str());
        assert_eq!(first, Some("s000001@seed-0003.example"));
        let roles = |role| company.members.iter().filter(|member| member.role == role).count();
        let counted =
            [TenantRole::TenantSuperadmin, TenantRole::Admin, TenantRole::Manager, TenantRole::User].map(roles);
        assert_eq!(counted, [1, 2, 6, 51]);
        let more = synthetic(3, 61, 2);
        assert_eq!(more.members.get(..60), company.members.get(..), "a larger run only adds");
        let owned: std::collections::BTreeSet<_> =
            (1..=8).map(|number| synthetic(number, 1, 0)).map(|company| (company.package, company.addons)).collect();
        assert_eq!(owned.len(), 8);
    }

    #[test]
    fn the_first_member_registers_the_company() {
        for company in companies().into_iter().chain([synthetic(1, 0, 0)]) {
            assert_eq!(company.members.first().map(|member| member.role), Some(TenantRole::TenantSuperadmin));
        }
    }
}
