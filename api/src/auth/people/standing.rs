//! Suspending a person, and letting them back.

use crate::{
    auth::{
        Auth,
        login::append_for,
        race::{self, Outcome},
        sessions, signed_in,
        staff::{self, Acting},
    },
    shared::{
        problem::{self, Problem},
        request_label::RequestLabel,
    },
};
use kisum_domains::{
    User,
    user::{self, UserStandingError},
};
use kisum_events::{SessionEndCause, UserId};
use kisum_log::{Loaded, Receipt};

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
/// 404 when there is no such person; 409 `last_owner` when nobody else could make others staff.
pub(in crate::auth) async fn change(
    auth: &Auth,
    acting: &Acting,
    (user, wanted): (UserId, Change),
    label: &RequestLabel,
) -> Result<(Loaded<User>, Option<Receipt>), Problem> {
    for attempt in 0..race::ATTEMPTS_MAX {
        let mut loaded = signed_in::load_user(auth, user).await?;
        let events = match wanted {
            Change::Suspend => user::suspend(&loaded.state),
            Change::Reactivate => user::reactivate(&loaded.state),
        };
        let events = events.map_err(|UserStandingError::Unknown| missing())?;
        if events.is_empty() {
            return Ok((loaded, None));
        }
        let mut append = append_for(acting.actor(), label);
        acting.guard(&mut append, None);
        let written = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        let mut ended = None;
        if wanted == Change::Suspend {
            let as_staff = staff::load(auth, user).await?;
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
            return Ok((loaded, Some(receipt)));
        }
    }
    Err(race::lost())
}

/// There is no such person, or there is none any more.
pub(super) fn missing() -> Problem {
    Problem::not_found("There is no such person.")
}
