//! The platform's staff: who acts through an internal route, what their roles allow, and giving and taking roles.
//!
//! It owns reading the person behind `X-Actor-Token` and what is asked of them before anything else is. The rules are
//! `kisum_domains::staff`'s. It refuses to give anybody a membership of a company.

mod acting;
mod roles;

pub(super) use acting::Acting;
pub(super) use roles::{Bootstrapped, Changed, RoleChange, another_owner, bootstrap, change, release_owner};

use super::Auth;
use crate::shared::problem::{self, Problem};
use kisum_domains::Staff;
use kisum_events::{StreamName, UserId};
use kisum_log::Loaded;

/// Loads somebody as staff; who never was any has no roles.
///
/// # Errors
/// 503 when the log cannot be read.
pub(super) async fn load(auth: &Auth, user: UserId) -> Result<Loaded<Staff>, Problem> {
    auth.log.load(&StreamName::staff(user)).await.map_err(problem::of_load)
}

/// The platform would be left without an owner.
pub(super) fn last_owner() -> Problem {
    Problem::conflict("last_owner", "The platform would be left without an owner.")
}
