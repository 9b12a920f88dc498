//! Group reads: whatever is asked at one moment goes to the database as one statement.
//!
//! A statement costs its server and its client a fixed part that is larger than what one more question adds to it, and a
//! pool asks a connection before and after whether it is still there. It owns gathering, its own connections and what
//! their loss means. It refuses to know what is asked.

use crate::{LoadError, appender::is_refusal};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Statements in flight at once, each on a connection of its own.
pub(crate) const LANES: u32 = 2;
/// The most questions of one statement: their rows are in memory at once.
const GROUP_MAX: usize = 64;
/// Questions that wait at once; whoever asks more waits to wait.
const WAITING_MAX: usize = 512;
/// The longest wait for a connection and for one statement; beyond it the connection counts as lost.
const CALL_MAX: Duration = Duration::from_secs(3);
/// What the statements of a group are planned with. They look rows up by their keys, and a plan that was made while the
/// tables were nearly empty would read all of them for ever.
const PLANS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A kind of question, and the statement that answers many of them.
pub trait Group: Send + Sync + 'static {
    /// What is asked.
    type Question: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;

    /// Answers questions in their order, all by one statement: as many answers as questions.
    fn read(
        &self,
        conn: &mut PgConnection,
        questions: &[&Self::Question],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, LoadError>> + Send;
}

/// Asks questions of one kind. Clones share their connections, which are made when first needed.
pub struct Reads<G: Group> {
    waiting: mpsc::Sender<Waiting<G>>,
}

impl<G: Group> Clone for Reads<G> {
    fn clone(&self) -> Self {
        Self { waiting: self.waiting.clone() }
    }
}

struct Waiting<G: Group> {
    question: G::Question,
    answer: oneshot::Sender<Result<G::Answer, LoadError>>,
}

impl<G: Group> Reads<G> {
    /// Starts to answer; ends when the last clone is dropped. `name` is what the connections are called at the server.
    pub fn start(group: G, options: &PgConnectOptions, name: &str) -> Self {
        let (waiting, receiver) = mpsc::channel(WAITING_MAX);
        let (group, receiver) = (Arc::new(group), Arc::new(Mutex::new(receiver)));
        let options = options.clone().application_name(&format!("kisum-read-{name}")).options(PLANS);
        for _ in 0..LANES {
            let lane = Lane {
                group: Arc::clone(&group),
                receiver: Arc::clone(&receiver),
                options: options.clone(),
                conn: None,
            };
            tokio::spawn(lane.keep_running());
        }
        Self { waiting }
    }

    /// Asks one question.
    ///
    /// # Errors
    /// [`LoadError`]: each question gets its own, whatever goes with it in one statement.
    pub async fn ask(&self, question: G::Question) -> Result<G::Answer, LoadError> {
        let gone = || LoadError::Unavailable("the read was not finished".to_owned());
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Waiting { question, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

struct Lane<G: Group> {
    group: Arc<G>,
    receiver: Arc<Mutex<mpsc::Receiver<Waiting<G>>>>,
    options: PgConnectOptions,
    conn: Option<PgConnection>,
}

impl<G: Group> Lane<G> {
    /// Runs, and goes on behind a panic: whoever was in that statement is told that it was not finished, and nobody else.
    async fn keep_running(self) {
        loop {
            let lane = Self {
                group: Arc::clone(&self.group),
                receiver: Arc::clone(&self.receiver),
                options: self.options.clone(),
                conn: None,
            };
            match tokio::spawn(lane.run()).await {
                Err(ended) if ended.is_panic() => tracing::error!(error = %ended, "reads: a panic; going on"),
                Ok(()) | Err(_) => return,
            }
        }
    }

    async fn run(mut self) {
        loop {
            let mut group = Vec::new();
            let received = self.receiver.lock().await.recv_many(&mut group, GROUP_MAX).await;
            if received == 0 {
                return;
            }
            group.retain(|waiting| !waiting.answer.is_closed());
            if !group.is_empty() {
                self.answer(group).await;
            }
        }
    }

    /// A read can be asked again: one that a stale connection lost is, once.
    async fn answer(&mut self, group: Vec<Waiting<G>>) {
        let was_connected = self.conn.is_some();
        let mut read = self.read(&group).await;
        if was_connected && matches!(&read, Err(error) if is_lost(error)) {
            read = self.read(&group).await;
        }
        match read {
            Ok(answers) => {
                for (waiting, answer) in group.into_iter().zip(answers) {
                    // Whoever has gone away does not want it.
                    let _ = waiting.answer.send(Ok(answer));
                }
            }
            Err(LoadError::Epoch(message)) => refuse(group, || LoadError::Epoch(message.clone())),
            Err(error) if is_lost(&error) => {
                tracing::warn!(%error, "reads: the connection is lost");
                refuse(group, || LoadError::Unavailable(error.to_string()));
            }
            // One question that cannot be answered must not cost the others.
            Err(error) if group.len() > 1 => {
                tracing::warn!(%error, "reads: refused together, asking singly");
                for waiting in group {
                    Box::pin(self.answer(vec![waiting])).await;
                }
            }
            Err(error) => {
                let mut error = Some(error);
                refuse(group, || error.take().unwrap_or_else(|| LoadError::Unavailable("refused".to_owned())));
            }
        }
    }

    async fn read(&mut self, group: &[Waiting<G>]) -> Result<Vec<G::Answer>, LoadError> {
        let questions: Vec<&G::Question> = group.iter().map(|waiting| &waiting.question).collect();
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => within("connecting", async { Ok(PgConnection::connect_with(&self.options).await?) }).await?,
        };
        let answers = within("a read", self.group.read(&mut conn, &questions)).await?;
        if answers.len() != questions.len() {
            // Handed out by place: one too many, and everybody behind it gets somebody else's.
            let why = format!("{} questions have {} answers", questions.len(), answers.len());
            return Err(LoadError::Stored { what: "a group of reads".to_owned(), why });
        }
        // Kept only after a good answer: what is left on it otherwise is not known.
        self.conn = Some(conn);
        Ok(answers)
    }
}

async fn within<T>(what: &str, work: impl Future<Output = Result<T, LoadError>>) -> Result<T, LoadError> {
    let outcome = tokio::time::timeout(CALL_MAX, work).await;
    outcome.unwrap_or_else(|_| Err(LoadError::Unavailable(format!("{what} took longer than {CALL_MAX:?}"))))
}

/// Whether the question was never answered, as opposed to answered with an error about it.
fn is_lost(error: &LoadError) -> bool {
    match error {
        LoadError::Unavailable(_) => true,
        LoadError::Database(error) => !is_refusal(error),
        LoadError::Epoch(_) | LoadError::Decode(_) | LoadError::Stored { .. } | LoadError::Seal { .. } => false,
    }
}

fn refuse<G: Group>(group: Vec<Waiting<G>>, mut error: impl FnMut() -> LoadError) {
    for waiting in group {
        let _ = waiting.answer.send(Err(error()));
    }
}
