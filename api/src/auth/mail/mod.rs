//! Mail: work that follows from events.
//!
//! A follower notes which events of the auth log want a mail, rows and checkpoint together; senders send what is due and try
//! again until it is sent, nobody wants it any more, or the server has no such recipient. A mail server that is dead or slow
//! blocks nothing and loses nothing; what strangers can have sent waits behind what somebody with an account waits for. A mail may be sent twice, by a process that dies between sending and noting so; it is the same mail then, to
//! the letter, and has the same Message-ID.
//!
//! It owns what is sent, when and how often. It refuses to know what a secret opens.

mod follow;
mod invited;
mod letter;
mod send;
mod smtp;
mod transport;
mod work;

pub(super) use transport::Transport;

use super::tokens::MailedKey;
use crate::shared::{ambient::Clock, problem::Chain};
use kisum_log::EventLog;
use lettre::message::Mailbox;
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{sync::watch, task::JoinSet};

/// Connections to Auth's database that mail makes beside the pool: one to follow the log by, and each sender's own, which
/// holds the row of the mail that is being sent.
pub(super) const CONNECTIONS: u32 = 1 + send::SENDERS;

/// What sending needs.
#[derive(Clone)]
pub(super) struct Post {
    /// The auth log.
    pub(super) log: EventLog,
    /// The time.
    pub(super) clock: Clock,
    /// Derives what is mailed.
    pub(super) key: MailedKey,
    /// The way out.
    pub(super) transport: Transport,
    /// `MAIL_FROM`.
    pub(super) from: Mailbox,
    /// `APP_URL`: what links lead to.
    pub(super) app_url: String,
}

/// Whether mail gets out, as the sender last saw it; for readiness.
#[derive(Clone, Default)]
pub(super) struct MailStatus(Arc<Mutex<Option<&'static str>>>);

impl MailStatus {
    /// What is wrong, in words of ours.
    ///
    /// # Errors
    /// That.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.map_or(Ok(()), |wrong| Err(wrong.to_owned()))
    }

    fn is(&self, wrong: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

/// One of the senders.
struct Sender {
    role: send::Role,
    /// Changes whenever there is new work.
    wake: watch::Receiver<()>,
    status: MailStatus,
}

/// Starts follower and senders. All try again by themselves whatever may pass.
pub(super) fn spawn(post: Post, shutdown: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) -> MailStatus {
    let (wake, woken) = watch::channel(());
    let status = MailStatus::default();
    for role in send::ROLES {
        let sender = Sender { role, wake: woken.clone(), status: status.clone() };
        tasks.spawn(until(shutdown.clone(), send::run(post.clone(), sender)));
    }
    tasks.spawn(until(shutdown.clone(), follow::run(post.log.clone(), post.clock.clone(), wake)));
    status
}

/// Ends a task when the process ends. What is dropped in the middle is as if the process had been killed there.
async fn until(mut shutdown: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = task => {}
    }
}

fn interrupted(what: &'static str, error: &(dyn Error + 'static)) {
    tracing::warn!(event = "mail.interrupted", error = %Chain(error), "{what}");
}
