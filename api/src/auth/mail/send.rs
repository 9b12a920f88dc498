//! Sending what is due, one mail at a time in each process.

use super::{
    MailStatus, Post, interrupted,
    letter::{self, Cover},
    transport::TransportError,
    work::{self, Due, Kind},
};
use crate::{
    auth::tokens::MailedToken,
    shared::{ambient, fail_points},
};
use kisum_domains::{User, user};
use kisum_events::StreamName;
use kisum_log::{Backoff, LoadError};
use lettre::Address;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

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

/// Sends for ever.
pub(super) async fn run(post: Post, wake: Arc<Notify>, status: MailStatus) {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = send_all(&post, &wake, &status, &mut backoff).await;
        interrupted("mails wait for the database", &error);
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Why no mail can be sent now.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// The work cannot be read or noted.
    #[error("the database is unavailable")]
    Database(#[from] sqlx::Error),
    /// The person cannot be read.
    #[error("a person cannot be read")]
    Load(#[from] LoadError),
}

async fn send_all(
    post: &Post,
    wake: &Notify,
    status: &MailStatus,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, SendError> {
    let options = post.log.pool().connect_options().as_ref().clone().application_name("kisum-mail");
    let mut conn = options.connect().await?;
    sqlx::raw_sql(IDLE_IN_TRANSACTION).execute(&mut conn).await?;
    let mut checked: Option<ambient::Stopwatch> = None;
    loop {
        while send_next(post, status, &mut conn).await? {
            backoff.reset();
            checked = Some(ambient::Stopwatch::start());
        }
        if checked.is_none_or(|checked| checked.elapsed() >= CHECK) {
            status.is(post.transport.check().await.err().map(TransportError::words));
            checked = Some(ambient::Stopwatch::start());
        }
        let waiting = work::waiting(&mut conn).await?;
        let now = post.clock.now();
        let oldest = waiting.map_or(0.0, |(_, oldest)| now.since(oldest).as_secs_f64());
        metrics::gauge!("kisum_mail_oldest_seconds").set(oldest);
        // At least a moment: what is due may be held by another sender.
        let wait = waiting.map_or(LOOK, |(due, _)| due.since(now).clamp(Duration::from_millis(50), LOOK));
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What became of a mail.
enum Outcome {
    Sent,
    /// It is not to be sent any more, for this reason.
    GivenUp(&'static str),
    Failed(TransportError),
}

/// Sends the mail that is due the longest; answers whether there was one.
async fn send_next(post: &Post, status: &MailStatus, conn: &mut PgConnection) -> Result<bool, SendError> {
    let mut tx = conn.begin().await?;
    let Some(due) = work::lock_due(&mut tx, post.clock.now()).await? else {
        tx.rollback().await?;
        return Ok(false);
    };
    let kind = due.kind.map_or("unknown", Kind::name);
    match deliver(post, &due).await? {
        Outcome::Sent => {
            fail_points::point("mail.sent");
            work::done(&mut tx, due.event).await?;
            status.is(None);
            metrics::counter!("kisum_mail_sent_total", "kind" => kind).increment(1);
            tracing::info!(event = "mail.sent", kind, event_id = %due.event, user_id = %due.person, "a mail is sent");
        }
        Outcome::GivenUp(reason) => {
            work::done(&mut tx, due.event).await?;
            metrics::counter!("kisum_mail_given_up_total", "reason" => reason).increment(1);
            tracing::warn!(event = "mail.given_up", kind, reason, event_id = %due.event, user_id = %due.person);
        }
        Outcome::Failed(error) => {
            let wait = retry_wait(due.attempts);
            work::postpone(&mut tx, due.event, post.clock.now().plus(wait)).await?;
            status.is(Some(error.words()));
            metrics::counter!("kisum_mail_failures_total", "reason" => error.name()).increment(1);
            let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(event = "mail.failed", kind, %error, retry_ms, event_id = %due.event, user_id = %due.person);
        }
    }
    tx.commit().await?;
    Ok(true)
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
    let person = post.log.load::<User>(&StreamName::user(due.person)).await?.state;
    let token = match (kind, due.secret) {
        (Kind::Secret(purpose), Some(id)) => {
            let token = post.key.token(due.person, id, purpose);
            // One that was used, or gave way to newer ones, would only mislead; so would one of another key.
            if user::find_secret(&person, &token.presented(purpose), now).is_err() {
                return Ok(Outcome::GivenUp("not_good"));
            }
            Some(token)
        }
        (Kind::Secret(_), None) => return Ok(Outcome::GivenUp("not_good")),
        (
            Kind::RegistrationAttempted
            | Kind::PasswordSet
            | Kind::FactorAdded
            | Kind::FactorRemoved
            | Kind::RecoveryCodesIssued
            | Kind::RecoveryCodeUsed,
            _,
        ) => None,
    };
    Ok(hand_over(post, due, &person, (kind, token.as_ref())).await)
}

async fn hand_over(post: &Post, due: &Due, person: &User, (kind, token): (Kind, Option<&MailedToken>)) -> Outcome {
    let Some(email) = person.email.get() else { return Outcome::GivenUp("erased") };
    let Ok(to) = email.parse::<Address>() else { return Outcome::GivenUp("address") };
    let (subject, text) = letter::write(kind, &post.app_url, token);
    let cover = Cover { from: &post.from, to: to.into(), event: due.event, recorded_at: due.recorded_at };
    let Ok(message) = letter::address(cover, subject, text) else { return Outcome::GivenUp("address") };
    match post.transport.send(due.event, message).await {
        Ok(()) => Outcome::Sent,
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
