//! Failed sign-ins as events: gathered in memory, and written once a minute for each account, network and reason
//! (`events.md`), so that a flood of guesses costs no append each.
//!
//! It owns the gathering and the writing. Only accounts that exist are written of; an unknown address is a metric and no
//! more. What a process has gathered and not written dies with it: a crash loses at most a minute of counts, an orderly
//! end none but those of requests that it had not answered yet. What the log does not take is counted by a metric and not
//! kept: a database that is away must not fill the memory.

use super::{
    Auth,
    race::{self, Outcome},
    signed_in,
};
use crate::shared::{
    ambient,
    problem::{self, Problem},
};
use kisum_domains::{Signins, user::UserStatus};
use kisum_events::{Actor, Meta, Sealed, SigninEvent, SigninFailure, StreamName, Timestamp, UserId};
use kisum_log::{Append, Loaded};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How often what has been gathered is written.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Accounts, networks and reasons that are told apart within a minute; beyond that failures are counted by the metric
/// alone.
const GATHERED_MAX: usize = 4_096;
/// Events that one append writes.
const AT_ONCE: usize = 64;

/// Whose account, from where, why.
type Key = (UserId, String, SigninFailure);

/// How often, and between when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    count: u32,
    from: Timestamp,
    until: Timestamp,
}

/// What has been gathered.
#[derive(Default)]
pub(super) struct FailedSignins(Mutex<BTreeMap<Key, Counted>>);

impl FailedSignins {
    /// Counts a failure.
    pub(super) fn note(&self, user: UserId, network: &str, reason: SigninFailure, now: Timestamp) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (user, network.to_owned(), reason);
        if let Some(counted) = gathered.get_mut(&key) {
            counted.count = counted.count.saturating_add(1);
            counted.until = now;
        } else if gathered.len() < GATHERED_MAX {
            gathered.insert(key, Counted { count: 1, from: now, until: now });
        } else {
            metrics::counter!("kisum_signin_failures_unwritten_total").increment(1);
        }
    }

    fn take(&self) -> BTreeMap<Key, Counted> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what has been gathered until shutdown, and once more then.
pub(super) async fn write_failed_signins(auth: Auth, mut shutdown: watch::Receiver<bool>) {
    loop {
        let is_over = tokio::select! {
            _ = shutdown.wait_for(|over| *over) => true,
            () = tokio::time::sleep(WRITE_EVERY) => false,
        };
        write(&auth).await;
        if is_over {
            return;
        }
    }
}

async fn write(auth: &Auth) {
    let mut accounts: BTreeMap<UserId, Vec<SigninEvent>> = BTreeMap::new();
    for ((user_id, network, reason), Counted { count, from, until }) in auth.failed_signins.take() {
        let net = Sealed::new(network);
        let event = SigninEvent::Failed { user_id, reason, count, from, until, net };
        accounts.entry(user_id).or_default().push(event);
    }
    for (user, events) in accounts {
        for some in events.chunks(AT_ONCE) {
            if let Err(problem) = write_some(auth, user, some).await {
                let lost = u64::try_from(some.len()).unwrap_or(u64::MAX);
                metrics::counter!("kisum_signin_failures_unwritten_total").increment(lost);
                tracing::warn!(event = "signin.unwritten", code = problem.code, user_id = %user, "failures are not in the log");
            }
        }
    }
}

async fn write_some(auth: &Auth, user: UserId, events: &[SigninEvent]) -> Result<(), Problem> {
    let stream = StreamName::signin(user, auth.clock.now());
    for _ in 0..race::ATTEMPTS_MAX {
        let person = signed_in::load_user(auth, user).await?;
        // What is sealed under a key that is gone cannot be written, and of nobody there is nothing to write.
        match person.state.status {
            UserStatus::Active | UserStatus::Suspended { .. } => {}
            UserStatus::Unknown | UserStatus::Erased { .. } => return Ok(()),
        }
        let loaded: Loaded<Signins> = auth.log.load(&stream).await.map_err(problem::of_load)?;
        let request = ambient::new_request_id();
        let mut append = Append::new(request, Meta::new(Actor::System, request));
        append.guard(&person);
        append.write(&loaded, events.to_vec()).map_err(problem::of_append)?;
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            return Ok(());
        }
    }
    Err(race::lost())
}

#[cfg(test)]
mod tests {
    use super::{Counted, FailedSignins, GATHERED_MAX};
    use kisum_events::{SigninFailure, Timestamp, UserId};
    use uuid::Uuid;

    const fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn failures_of_one_account_and_network_are_one_count_between_its_first_and_its_last() {
        let (failed, user) = (FailedSignins::default(), UserId::new(Uuid::from_u128(1)));
        for second in 1..=5 {
            failed.note(user, "192.0.2.1", SigninFailure::Credentials, at(second));
        }
        failed.note(user, "192.0.2.2", SigninFailure::Credentials, at(6));
        failed.note(user, "192.0.2.1", SigninFailure::Suspended, at(7));
        let taken = failed.take();
        assert_eq!(taken.len(), 3);
        let counted = taken.get(&(user, "192.0.2.1".to_owned(), SigninFailure::Credentials));
        assert_eq!(counted, Some(&Counted { count: 5, from: at(1), until: at(5) }));
        assert!(failed.take().is_empty(), "what was taken is gone");
    }

    #[test]
    fn a_flood_of_networks_takes_no_more_room_than_there_is() {
        let (failed, user) = (FailedSignins::default(), UserId::new(Uuid::from_u128(1)));
        for number in 0..GATHERED_MAX + 100 {
            failed.note(user, &number.to_string(), SigninFailure::Credentials, at(1));
        }
        failed.note(user, "0", SigninFailure::Credentials, at(2));
        let taken = failed.take();
        assert_eq!(taken.len(), GATHERED_MAX);
        let known = taken.get(&(user, "0".to_owned(), SigninFailure::Credentials));
        assert_eq!(known.map(|counted| counted.count), Some(2), "what is gathered already goes on being counted");
    }
}
