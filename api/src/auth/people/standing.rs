//! Suspending a person, and letting them back.

use crate::{
    auth::{
        Auth,
        companies::Sent,
        race::{self, Outcome},
        sessions, signed_in,
        staff::{self, Acting},
    },
    shared::{
        access_position::AccessPosition,
        problem::{self, Problem},
    },
};
use kisum_domains::{
    User,
    user::{self, UserStandingError},
};
use kisum_events::{SessionEndCause, StaffRole, UserId};
use kisum_log::Loaded;

/// What is to become of a person's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Change {
    /// They may not use the platform, and every session of theirs ends by the same append.
    Suspend,
    /// They may again; they have to sign in.
    Reactivate,
}

/// Changes a person's standing. What is so already is left as it is. Answers with their state, and the receipt where
/// something was written.
///
/// # Errors
/// 404 when there is no such person; 409 `last_owner` when nobody else could make others staff; 400 without a person who
/// acts, 403 `role_too_low` and `step_up_required` where it is about somebody of the staff.
pub(in crate::auth) async fn change(
    auth: &Auth,
    acting: &Acting,
    (user, wanted): (UserId, Change),
    sent: &Sent,
) -> Result<(Loaded<User>, Option<AccessPosition>), Problem> {
    let command = match wanted {
        Change::Suspend => format!("{user}|user.suspend"),
        Change::Reactivate => format!("{user}|user.reactivate"),
    };
    let actor = acting.actor();
    for attempt in 0..race::ATTEMPTS_MAX {
        let mut loaded = signed_in::load_user(auth, user).await?;
        if let Some(position) = sent.earlier(auth, &actor, None, &command).await? {
            return Ok((loaded, Some(position)));
        }
        let events = match wanted {
            Change::Suspend => user::suspend(&loaded.state),
            Change::Reactivate => user::reactivate(&loaded.state),
        };
        let events = events.map_err(|UserStandingError::Unknown| missing())?;
        if events.is_empty() {
            return Ok((loaded, None));
        }
        let mut append = sent.append(&actor, None, &command);
        acting.guard(&mut append, None);
        let written = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        let mut ended = None;
        let as_staff = staff::load(auth, user).await?;
        if !as_staff.state.roles.is_empty() {
            // Whoever works for the platform is an owner's business, or a lower role locked out a higher one.
            acting.stepped_up(&[StaffRole::PlatformOwner], auth.clock.now())?;
            acting.guard_staff(&mut append, &as_staff);
        }
        if wanted == Change::Suspend {
            if as_staff.state.is_owner() && !staff::another_owner(auth, user, &mut append).await? {
                return Err(staff::last_owner());
            }
            if sessions::may_end_along(attempt) {
                let cause = SessionEndCause::UserSuspended;
                ended = Some(sessions::end_all(auth, user, None, cause, &mut append).await?);
            }
        }
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            if let Some(ended) = ended {
                ended.note(auth);
            }
            let event = match wanted {
                Change::Suspend => "user.suspended",
                Change::Reactivate => "user.reactivated",
            };
            tracing::info!(event, user_id = %user, actor = %acting.actor(), "a person's standing has changed");
            (loaded.state, loaded.version) = (state, loaded.version.saturating_add(written));
            return Ok((loaded, Some((&receipt).into())));
        }
    }
    Err(race::lost())
}

/// There is no such person, or there is none any more.
pub(super) fn missing() -> Problem {
    Problem::not_found("There is no such person.")
}
