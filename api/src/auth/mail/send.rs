//! Sending what is due: a few senders in each process, each one mail at a time.
//!
//! It owns what goes first, when a mail is tried again, and when it is given up.

use super::{
    Post, Sender, interrupted, invited,
    letter::{self, Cover, Names},
    transport::TransportError,
    work::{self, Due, Kind, Lane},
};
use crate::shared::{ambient, fail_points};
use kisum_domains::{User, user};
use kisum_events::StreamName;
use kisum_log::{Backoff, LoadError, SealError};
use lettre::Address;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::time::Duration;

/// The first wait after a mail did not get out; each is twice the one before.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// How long nobody looks while nothing is due: another process may have noted work.
const LOOK: Duration = Duration::from_secs(5);
/// How often an idle sender asks the mail server whether it is there, for readiness.
const CHECK: Duration = Duration::from_secs(30);
/// How long the database may hear nothing while a mail is being sent: longer than that takes.
const IDLE_IN_TRANSACTION: &str = "set idle_in_transaction_session_timeout = '60s'";

/// Senders of each process: enough that a few slow answers of a mail server delay nobody else's mail much.
pub(super) const SENDERS: u32 = 4;

/// What each of them sends, what comes first before the rest. One is free of whatever strangers can ask for, and one does
/// first what has failed before, so that neither a flood nor its leftovers hold up the others for ever.
pub(super) const ROLES: [Role; SENDERS as usize] = [
    Role { lanes: &[Lane::First, Lane::FirstAgain], looks_after_server: true },
    Role { lanes: IN_ORDER, looks_after_server: false },
    Role { lanes: IN_ORDER, looks_after_server: false },
    Role { lanes: &[Lane::FirstAgain, Lane::StrangersAgain, Lane::First, Lane::Strangers], looks_after_server: false },
];
const IN_ORDER: &[Lane] = &[Lane::First, Lane::Strangers, Lane::FirstAgain, Lane::StrangersAgain];

/// What a sender does.
#[derive(Clone, Copy)]
pub(super) struct Role {
    lanes: &'static [Lane],
    /// Whether it tells, while it is idle, how the mail server is and how old the oldest mail.
    looks_after_server: bool,
}

/// Sends for ever.
pub(super) async fn run(post: Post, mut sender: Sender) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = send_all(&post, &mut sender, &mut backoff).await;
        interrupted("mails wait for the database", &error);
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Why no mail can be sent now.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The work cannot be read or noted.
    #[error("the database is unavailable")]
    Database(#[from] sqlx::Error),
    /// Nobody can be read.
    #[error("the log cannot be read")]
    Load(#[source] LoadError),
}

async fn send_all(
    post: &Post,
    sender: &mut Sender,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, SendError> {
    let options = post.log.pool().connect_options().as_ref().clone().application_name("kisum-mail");
    let mut conn = options.connect().await?;
    sqlx::raw_sql(IDLE_IN_TRANSACTION).execute(&mut conn).await?;
    let mut checked: Option<ambient::Stopwatch> = None;
    loop {
        sender.wake.mark_unchanged();
        while send_next(post, sender, &mut conn).await? {
            backoff.reset();
            checked = Some(ambient::Stopwatch::start());
        }
        if sender.role.looks_after_server {
            if checked.is_none_or(|checked| checked.elapsed() >= CHECK) {
                sender.status.is(post.transport.check().await.err().map(TransportError::words));
                checked = Some(ambient::Stopwatch::start());
            }
            let oldest = work::oldest(&mut conn).await?;
            let age = oldest.map_or(0.0, |oldest| post.clock.now().since(oldest).as_secs_f64());
            metrics::gauge!("kisum_mail_oldest_seconds").set(age);
        }
        let due = work::next_due(&mut conn, sender.role.lanes).await?;
        // At least a moment: what is due may be held by another sender.
        let wait = due.map_or(LOOK, |due| due.since(post.clock.now()).clamp(Duration::from_millis(50), LOOK));
        tokio::select! {
            Ok(()) = sender.wake.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What became of a mail.
pub(super) enum Outcome {
    Sent,
    /// It is not to be sent any more, for this reason.
    GivenUp(&'static str),
    Failed(TransportError),
    /// Its person cannot be read by this process: another may, or this one later.
    Unreadable(&'static str),
}

/// Sends the mail that comes first; answers whether there was one.
async fn send_next(post: &Post, sender: &Sender, conn: &mut PgConnection) -> Result<bool, SendError> {
    let mut tx = conn.begin().await?;
    let Some(due) = work::lock_due(&mut tx, sender.role.lanes, post.clock.now()).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let kind = due.kind.map_or("unknown", Kind::name);
    match deliver(post, &due).await? {
        Outcome::Sent => {
            fail_points::point("mail.sent");
            work::done(&mut tx, due.event).await?;
            sender.status.is(None);
            metrics::counter!("kisum_mail_sent_total", "kind" => kind).increment(1);
            tracing::info!(event = "mail.sent", kind, event_id = %due.event, user_id = due.user_id().map(tracing::field::display), "a mail is sent");
        }
        Outcome::GivenUp(reason) => {
            work::done(&mut tx, due.event).await?;
            metrics::counter!("kisum_mail_given_up_total", "reason" => reason).increment(1);
            tracing::warn!(event = "mail.given_up", kind, reason, event_id = %due.event, user_id = due.user_id().map(tracing::field::display));
        }
        Outcome::Failed(error) => {
            sender.status.is(Some(error.words()));
            postpone(post, &mut tx, &due, (error.name(), &error.to_string())).await?;
        }
        Outcome::Unreadable(what) => postpone(post, &mut tx, &due, ("unreadable", what)).await?,
    }
    tx.commit().await?;
    Ok(true)
}

/// A mail is tried again later, until nobody wants it any more.
async fn postpone(
    post: &Post,
    conn: &mut PgConnection,
    due: &Due,
    (reason, error): (&'static str, &str),
) -> Result<(), sqlx::Error> {
    let wait = retry_wait(due.attempts);
    work::postpone(conn, due.event, post.clock.now().plus(wait)).await?;
    metrics::counter!("kisum_mail_failures_total", "reason" => reason).increment(1);
    let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let kind = due.kind.map_or("unknown", Kind::name);
    tracing::warn!(event = "mail.failed", kind, reason, error, retry_ms, event_id = %due.event, user_id = due.user_id().map(tracing::field::display));
    Ok(())
}

/// Half of a wait that doubles, and up to as much again at random, so that mails do not return all at once.
fn retry_wait(attempts: u32) -> Duration {
    let ceiling = RETRY_FIRST.saturating_mul(1 << attempts.min(16)).min(RETRY_LONGEST);
    let chance = ambient::random::<4>().map_or(u32::MAX, u32::from_le_bytes);
    (ceiling / 2).saturating_add((ceiling / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX)))
}

async fn deliver(post: &Post, due: &Due) -> Result<Outcome, SendError> {
    let now = post.clock.now();
    if due.until <= now {
        return Ok(Outcome::GivenUp("expired"));
    }
    let Some(kind) = due.kind else { return Ok(Outcome::GivenUp("unknown_kind")) };
    if kind == Kind::Invitation {
        return invited::deliver(post, due).await;
    }
    let person = match post.log.load::<User>(&StreamName::user(due.person)).await {
        Ok(person) => person.state,
        Err(error) => return unreadable(error),
    };
    let token = match (kind, due.secret) {
        (Kind::Secret(purpose), Some(id)) => {
            let token = post.key.token(due.person, id, purpose);
            // One that was used, or gave way to newer ones, would only mislead; so would one of another key.
            if user::find_secret(&person, &token.presented(purpose), now).is_err() {
                return Ok(Outcome::GivenUp("not_good"));
            }
            Some(token.reveal())
        }
        (Kind::Secret(_), None) => return Ok(Outcome::GivenUp("not_good")),
        (
            Kind::RegistrationAttempted
            | Kind::PasswordSet
            | Kind::FactorAdded
            | Kind::FactorRemoved
            | Kind::RecoveryCodesIssued
            | Kind::RecoveryCodeUsed
            | Kind::Invitation,
            _,
        ) => None,
    };
    let Some(email) = person.email.get() else { return Ok(Outcome::GivenUp("erased")) };
    Ok(hand_over(post, due, email, letter::write(kind, &post.app_url, token.as_deref(), &Names::default())).await)
}

/// What it means for a mail that its person could not be read: whether nobody can be, or they alone. What stands there is
/// not repeated, since it may be personal.
pub(super) fn unreadable(error: LoadError) -> Result<Outcome, SendError> {
    match error {
        LoadError::Epoch(_)
        | LoadError::Database(_)
        | LoadError::Unavailable(_)
        | LoadError::Seal { source: SealError::Database(_), .. } => Err(SendError::Load(error)),
        LoadError::Seal { .. } => Ok(Outcome::Unreadable("what is sealed of the person does not open")),
        LoadError::Stored { .. } => Ok(Outcome::Unreadable("the state of the person is not one of this program")),
        LoadError::Decode(_) => Ok(Outcome::Unreadable("an event of the person is not one of this program")),
    }
}

pub(super) async fn hand_over(post: &Post, due: &Due, email: &str, (subject, text): (&'static str, String)) -> Outcome {
    let Ok(to) = email.parse::<Address>() else { return Outcome::GivenUp("address") };
    let cover = Cover { from: &post.from, to: to.into(), event: due.event, recorded_at: due.recorded_at };
    let Ok(message) = letter::address(cover, subject, text) else { return Outcome::GivenUp("address") };
    match post.transport.send(due.event, &message).await {
        Ok(()) => Outcome::Sent,
        Err(error) if error.is_for_good() => Outcome::GivenUp(error.name()),
        Err(error) => Outcome::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{RETRY_FIRST, RETRY_LONGEST, retry_wait};

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempts, ceiling) in
            [(0, RETRY_FIRST), (3, RETRY_FIRST * 8), (20, RETRY_LONGEST), (u32::MAX, RETRY_LONGEST)]
        {
            let wait = retry_wait(attempts);
            assert!((ceiling / 2..=ceiling).contains(&wait), "{attempts}: {wait:?}");
        }
    }
}
