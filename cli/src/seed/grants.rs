//! What a member is granted, one command each, as soon as Auth knows that the company owns it.

use super::Seeder;
use crate::{
    demo::{Company, Holds},
    platform::{Answer, Ask, Callee, until},
};
use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// Longest wait until Auth knows what Core has sold.
const KNOWN_LIMIT: Duration = Duration::from_secs(20);

/// A company whose members are granted something.
#[derive(Debug)]
pub(super) struct Granting {
    company: String,
    /// Modules that it owns.
    owned: Vec<String>,
    /// Every permission of those.
    permissions: Vec<String>,
    /// From where in the core log the purchases can be read, when there were any.
    bought: Option<String>,
}

/// A membership and what it is known to hold.
#[derive(Debug)]
pub(super) struct Held {
    membership: String,
    /// `modules/finance`, `permissions/finance.bills.read`.
    grants: BTreeSet<String>,
}

impl Held {
    /// A membership of which nothing else is known.
    pub(super) const fn unknown(membership: String) -> Self {
        Self { membership, grants: BTreeSet::new() }
    }

    /// A membership as a command answered it.
    pub(super) fn of(answer: &Answer) -> Result<Self> {
        let mut grants = BTreeSet::new();
        for kind in ["modules", "permissions"] {
            let held = answer.data()?.get(kind).and_then(Value::as_array);
            grants.extend(held.into_iter().flatten().filter_map(Value::as_str).map(|key| format!("{kind}/{key}")));
        }
        Ok(Self { membership: answer.text("/membershipId")?, grants })
    }
}

impl Seeder {
    /// What can be granted in a company of the plan.
    pub(super) fn granting(&self, plan: &Company, company: &str, bought: Option<String>) -> Result<Granting> {
        let owned = self.catalog.owned(plan)?;
        let permissions = owned.iter().flat_map(|module| self.catalog.permissions(module)).cloned().collect();
        Ok(Granting { company: company.to_owned(), owned, permissions, bought })
    }

    /// Grants what the membership does not hold yet.
    pub(super) async fn grant(&self, granting: &Granting, mut held: Held, holds: &Holds) -> Result<()> {
        for grant in wanted(granting, holds) {
            if !held.grants.contains(&grant) {
                held = self.grant_one(granting, &held.membership, &grant).await?;
            }
        }
        Ok(())
    }

    async fn grant_one(&self, granting: &Granting, membership: &str, grant: &str) -> Result<Held> {
        let path = format!("/internal/v1/companies/{}/members/{membership}/{grant}", granting.company);
        until(KNOWN_LIMIT, async || {
            let ask = Ask::new(Method::PUT, &path).from_position(granting.bought.as_deref());
            let answer = self.platform.internal(Callee::Auth, ask).await?;
            if answer.is_success() {
                return Held::of(&answer).map(Ok);
            }
            if may_pass(&answer) {
                Ok(Err(answer.unexpected("a success")))
            } else {
                bail!(answer.unexpected("a success"))
            }
        })
        .await
    }
}

/// Whether a refusal may only mean that Auth has not yet heard what Core sold or defined.
fn may_pass(answer: &Answer) -> bool {
    matches!((answer.status, answer.reason()), (403, "module_not_owned") | (409, "version") | (422 | 429 | 503, _))
}

/// The grants of a plan, modules first.
fn wanted(granting: &Granting, holds: &Holds) -> Vec<String> {
    let (modules, permissions): (Vec<&String>, Vec<&String>) = match holds {
        Holds::Everything => (granting.owned.iter().collect(), granting.permissions.iter().collect()),
        Holds::EveryRead => {
            let reads = granting.permissions.iter().filter(|permission| permission.ends_with(".read"));
            (granting.owned.iter().collect(), reads.collect())
        }
        Holds::Few { from, count } => {
            let total = granting.permissions.len();
            let some = granting.permissions.iter().cycle().skip(from.checked_rem(total).unwrap_or(0));
            let permissions: Vec<&String> = some.take((*count).min(total)).collect();
            let is_used = |module: &&String| permissions.iter().any(|permission| is_of(permission, module));
            (granting.owned.iter().filter(is_used).collect(), permissions)
        }
        Holds::Only { modules, permissions } => (modules.iter().collect(), permissions.iter().collect()),
    };
    let modules = modules.into_iter().map(|key| format!("modules/{key}"));
    modules.chain(permissions.into_iter().map(|key| format!("permissions/{key}"))).collect()
}

/// Whether a permission is one of the module's: `finance.bills.read` is of `finance`.
fn is_of(permission: &str, module: &str) -> bool {
    permission.split_once('.').is_some_and(|(of, _)| of == module)
}

#[cfg(test)]
mod tests {
    use super::{Granting, Holds, wanted};

    #[test]
    fn a_manager_holds_every_module_and_what_only_reads() {
        let granting = Granting {
            company: String::new(),
            owned: vec!["finance".to_owned()],
            permissions: vec!["finance.bills.create".to_owned(), "finance.bills.read".to_owned()],
            bought: None,
        };
        assert_eq!(wanted(&granting, &Holds::EveryRead), ["modules/finance", "permissions/finance.bills.read"]);
        assert_eq!(wanted(&granting, &Holds::Everything).len(), 3);
    }

    #[test]
    fn few_permissions_come_with_their_modules_alone_and_go_round() {
        let text = |text: &&str| (*text).to_owned();
        let granting = Granting {
            company: String::new(),
            owned: ["basic", "finance"].iter().map(text).collect(),
            permissions: ["basic.events.read", "finance.bills.create", "finance.bills.read"].iter().map(text).collect(),
            bought: None,
        };
        let few = |from, count| wanted(&granting, &Holds::Few { from, count });
        assert_eq!(few(4, 1), ["modules/finance", "permissions/finance.bills.create"]);
        assert_eq!(
            few(2, 2),
            ["modules/basic", "modules/finance", "permissions/finance.bills.read", "permissions/basic.events.read"]
        );
        assert_eq!(few(0, 9).len(), 5, "no more than there are");
        let nothing = Granting { owned: Vec::new(), permissions: Vec::new(), ..granting };
        assert!(wanted(&nothing, &Holds::Few { from: 7, count: 3 }).is_empty());
    }
}
