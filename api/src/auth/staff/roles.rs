//! Giving and taking staff roles, and making the first owner.
//!
//! It owns the appends. That an owner stays concerns two streams: whoever is one is found by their claim, and the append
//! that takes the role from another guards them.

use super::{Acting, last_owner, load};
use crate::{
    auth::{
        Auth,
        companies::active_user,
        login::append_for,
        race::{self, Outcome},
        signed_in,
    },
    shared::{
        problem::{self, Problem, conflict},
        request_label::RequestLabel,
    },
};
use kisum_domains::{
    Staff,
    staff::{self, RevokeRoleError},
};
use kisum_events::{Actor, StaffRole, StreamName, UserId};
use kisum_log::{Append, ClaimKey, Loaded, Receipt};

/// Owners that are looked at to find another one.
const OWNERS_MAX: i64 = 16;

/// A change of one person's roles.
#[derive(Clone, Copy, Debug)]
pub(in crate::auth) struct RoleChange {
    /// Whose.
    pub(in crate::auth) user: UserId,
    /// Which role.
    pub(in crate::auth) role: StaffRole,
    /// Whether they are to have it.
    pub(in crate::auth) granted: bool,
    /// The version of their roles that whoever decided this was shown.
    pub(in crate::auth) shown: u64,
}

/// Their roles after a change; the receipt where something was written.
pub(in crate::auth) type Changed = (Loaded<Staff>, Option<Receipt>);

/// Gives or takes a role, for an owner who has stepped up. What is so already is left as it is.
///
/// # Errors
/// 409 `version` when the roles are not those that were shown, `last_owner` when none would be left.
pub(in crate::auth) async fn change(
    auth: &Auth,
    acting: &Acting,
    change: RoleChange,
    label: &RequestLabel,
) -> Result<Changed, Problem> {
    let RoleChange { user, role, granted, shown } = change;
    for _ in 0..race::ATTEMPTS_MAX {
        let mut append = append_for(acting.actor(), label);
        if granted {
            append.guard(&active_user(auth, user).await?);
        }
        let mut loaded = load(auth, user).await?;
        if loaded.version != shown {
            return Err(Problem::conflict(conflict::VERSION, "The roles are not those that were shown; look again."));
        }
        let events = if granted {
            staff::grant(&loaded.state, role)
        } else {
            let needs_another = role == StaffRole::PlatformOwner && loaded.state.is_owner();
            let another = needs_another && another_owner(auth, user, &mut append).await?;
            staff::revoke(&loaded.state, role, another).map_err(|RevokeRoleError::LastOwner| last_owner())?
        };
        if events.is_empty() {
            return Ok((loaded, None));
        }
        acting.guard(&mut append, Some(&loaded.stream));
        match (role, granted) {
            (StaffRole::PlatformOwner, true) => append.claim(ClaimKey::staff_owner(user), &loaded.stream),
            (StaffRole::PlatformOwner, false) => append.release(ClaimKey::staff_owner(user), &loaded.stream),
            (StaffRole::PlatformOperator | StaffRole::CatalogEditor | StaffRole::Support, _) => {}
        }
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            let event = if granted { "staff.role_granted" } else { "staff.role_revoked" };
            tracing::info!(event, user_id = %user, %role, actor = %acting.actor(), "a staff role has changed");
            (loaded.state, loaded.version) = (state, loaded.version.saturating_add(1));
            return Ok((loaded, Some(receipt)));
        }
    }
    Err(race::lost())
}

/// Gives the claim of an owner back, of somebody who loses every role.
pub(in crate::auth) fn release_owner(append: &mut Append, user: UserId, loaded: &Loaded<Staff>) {
    if loaded.state.is_owner() {
        append.release(ClaimKey::staff_owner(user), &loaded.stream);
    }
}

/// Whether somebody else who may use the platform owns it; the append depends on them from then on.
///
/// # Errors
/// 503 when it cannot be read.
pub(in crate::auth) async fn another_owner(auth: &Auth, user: UserId, append: &mut Append) -> Result<bool, Problem> {
    let (least, most) = ClaimKey::staff_owners();
    let holders = sqlx::query_scalar!(
        "select holder from claim where key >= $1 and key < $2 order by key limit $3",
        least,
        most,
        OWNERS_MAX
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(problem::of_query)?;
    for holder in holders {
        let Some(other) = StreamName::from_stored(holder).person().filter(|other| *other != user) else { continue };
        let (staff, person) = (load(auth, other).await?, signed_in::load_user(auth, other).await?);
        if staff.state.is_owner() && person.state.is_active() {
            append.guard(&staff);
            append.guard(&person);
            return Ok(true);
        }
    }
    Ok(false)
}

/// What became of a bootstrap.
pub(in crate::auth) enum Bootstrapped {
    /// The person is the first owner.
    Done(Receipt),
    /// There has been one before.
    Before,
}

/// Makes somebody the platform's first owner, once and never again: a claim decides.
///
/// # Errors
/// 404 when there is no such person, 409 when they are suspended.
pub(in crate::auth) async fn bootstrap(
    auth: &Auth,
    service: &Actor,
    user: UserId,
    label: &RequestLabel,
) -> Result<Bootstrapped, Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let (person, loaded) = (active_user(auth, user).await?, load(auth, user).await?);
        let events = staff::grant(&loaded.state, StaffRole::PlatformOwner);
        if events.is_empty() {
            return Ok(Bootstrapped::Before);
        }
        let mut append = append_for(service.clone(), label);
        append.guard(&person);
        append.claim(ClaimKey::staff_bootstrap(), &loaded.stream);
        append.claim(ClaimKey::staff_owner(user), &loaded.stream);
        append.write(&loaded, events).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) => {
                tracing::warn!(event = "staff.bootstrapped", user_id = %user, "the platform has its first owner");
                return Ok(Bootstrapped::Done(receipt));
            }
            Outcome::Taken => return Ok(Bootstrapped::Before),
            Outcome::Again => {}
        }
    }
    Err(race::lost())
}
