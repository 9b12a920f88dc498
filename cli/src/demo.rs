//! The demo as data: five companies, so that every rule shows, and who holds what in them (contract, *The demo*).
//!
//! It owns the plan. It refuses to know how any of it comes to be: `seed` does that, through commands.

use kisum_events::TenantRole;

/// The package that the demo sells.
pub const PACKAGE: &str = "basic";

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
}

/// What a member is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Every module and every permission that the company owns.
    Everything,
    /// Every module, and every permission that ends with `.read`.
    EveryRead,
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

/// A synthetic company of `members` people, for load: Basic and Finance, one superadmin, one user in two with a
/// right to read bills.
pub fn synthetic(number: usize, members: usize) -> Company {
    let slug = format!("synthetic-{number:05}");
    let members = (0..members.max(1))
        .map(|member| Member {
            email: format!("member-{member:05}@{slug}.example"),
            name: format!("Member {member}"),
            role: if member == 0 { TenantRole::TenantSuperadmin } else { TenantRole::User },
            holds: match member {
                0 => Holds::Everything,
                member if member % 2 == 0 => Holds::finance_with("finance.bills.read"),
                _ => Holds::nothing(),
            },
        })
        .collect();
    Company {
        name: format!("Synthetic {number}"),
        slug,
        package: Some(PACKAGE.to_owned()),
        addons: vec!["finance".to_owned()],
        members,
    }
}

fn company(slug: &str, name: &str, basic: bool, addons: &[&str]) -> Company {
    let member = |who: &str, role, holds| Member {
        email: format!("{who}@{slug}.example"),
        name: format!("{} of {name}", capitalised(who)),
        role,
        holds,
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

/// One person in two companies, with another right in each.
fn agent(permission: &str) -> Member {
    Member {
        email: "agent@agency.example".to_owned(),
        name: "Agent of two companies".to_owned(),
        role: TenantRole::User,
        holds: Holds::finance_with(permission),
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
    fn the_first_member_registers_the_company() {
        for company in companies().into_iter().chain([synthetic(1, 0)]) {
            assert_eq!(company.members.first().map(|member| member.role), Some(TenantRole::TenantSuperadmin));
        }
    }
}
