//! Heads on request: how far the log is, and how old that knowledge is. The ground of every guard's proof.
//!
//! INVARIANT: the stamp is taken before the read, and the barrier is committed after it. A head stamped after reading
//! would claim to know what it cannot.

use crate::{LoadError, LogHead, ambient::boottime, head::read_head_with_barrier};
use async_nats::Client;
use futures_util::StreamExt;
use kisum_events::{Head, Log};
use serde::Deserialize;
use sqlx::PgPool;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// One read serves all who ask within this time.
const SHARED: Duration = Duration::from_millis(250);
/// Questions that may wait for a read; beyond it they are not answered, which proves nothing to anybody.
const WAITING_MAX: usize = 1024;
/// A read that takes longer is given up: guards ask again after 400 ms.
const READ_MAX: Duration = Duration::from_secs(1);

/// A head that could not be proven.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the head of the log cannot be proven: {0}")]
pub struct HeadError(String);

/// Answers for the head of one log.
#[derive(Clone)]
pub struct HeadService {
    questions: mpsc::Sender<Question>,
}

struct Question {
    fresh: bool,
    answer: oneshot::Sender<Result<Head, HeadError>>,
}

/// The body of a head request; empty asks for a shared one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    fresh: bool,
}

impl HeadService {
    /// Starts the reader. It lives as long as a handle does.
    pub fn start(pool: PgPool) -> Self {
        let (questions, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(read_for_all(pool, receiver));
        Self { questions }
    }

    /// The head, at most 250 ms old; with `fresh`, from a read begun after this call.
    ///
    /// # Errors
    /// [`HeadError`] when the primary cannot be read or cannot commit.
    pub async fn head(&self, fresh: bool) -> Result<Head, HeadError> {
        let (answer, reply) = oneshot::channel();
        let busy = |_| HeadError("too many wait".to_owned());
        self.questions.try_send(Question { fresh, answer }).map_err(|error| busy(error.to_string()))?;
        reply.await.map_err(|_| HeadError("the reader has stopped".to_owned()))?
    }

    /// Answers head requests on the bus until told to stop. `nats` may publish to inboxes alone, so that a reply
    /// address can never be a log's subject.
    ///
    /// # Errors
    /// When the subscription is refused.
    pub async fn answer_on(
        &self,
        nats: Client,
        log: Log,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), async_nats::SubscribeError> {
        let mut requests = nats.subscribe(format!("kisum.{log}.v1.head")).await?;
        loop {
            let message = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                message = requests.next() => message,
            };
            let Some(message) = message else { return Ok(()) };
            let Some(reply) = message.reply else { continue };
            let asked: Asked = serde_json::from_slice(&message.payload).unwrap_or_default();
            let (service, nats) = (self.clone(), nats.clone());
            tokio::spawn(async move {
                // No answer proves nothing, which is the right thing to say when the head is not known.
                let Ok(head) = service.head(asked.fresh).await else { return };
                if let Ok(body) = serde_json::to_vec(&head) {
                    let _ = nats.publish(reply, body.into()).await;
                }
            });
        }
    }
}

async fn read_for_all(pool: PgPool, mut questions: mpsc::Receiver<Question>) {
    let mut known: Option<(Duration, LogHead)> = None;
    while let Some(first) = questions.recv().await {
        if !first.fresh
            && let Some((stamp, head)) = known
            && boottime().saturating_sub(stamp) < SHARED
        {
            let _ = first.answer.send(Ok(aged(stamp, head)));
            continue;
        }
        let mut waiting = vec![first];
        while let Ok(more) = questions.try_recv() {
            waiting.push(more);
        }
        let stamp = boottime();
        let read = tokio::time::timeout(READ_MAX, read(&pool)).await;
        let result = match read {
            Ok(Ok(head)) => Ok(head),
            Ok(Err(error)) => Err(HeadError(super::chain(&error))),
            Err(_) => Err(HeadError("the read took too long".to_owned())),
        };
        if let Err(error) = &result {
            tracing::warn!(reason = %error, "head: not proven");
        }
        known = result.as_ref().ok().map(|head| (stamp, *head)).or(known);
        for question in waiting {
            let _ = question.answer.send(result.clone().map(|head| aged(stamp, head)));
        }
    }
}

async fn read(pool: &PgPool) -> Result<LogHead, LoadError> {
    let mut conn = pool.acquire().await?;
    read_head_with_barrier(&mut conn).await
}

fn aged(stamp: Duration, head: LogHead) -> Head {
    let age = boottime().saturating_sub(stamp);
    Head {
        epoch: head.epoch,
        position: head.position,
        access_position: head.access_position,
        age_ms: u64::try_from(age.as_micros().div_ceil(1000)).unwrap_or(u64::MAX),
    }
}
