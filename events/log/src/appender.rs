//! Group commit: whatever has gathered goes to the log as one call.
//!
//! INVARIANT: a batch holds at most one append for each stream, claim key and request id, and no stream that one of
//! its appends writes and another guards. The others wait for the next batch.
//!
//! Two batches may be in flight at once and may commit in either order: versions, claims and request ids decide what is
//! right, never the order of sending.

use crate::{
    AppendError, Receipt,
    arrays::{Arrays, Prepared},
    error::epoch_message,
    fail_points,
};
use kisum_events::Log;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, mpsc, oneshot},
    time::Instant,
};

/// The most appends in one call, and the bound of the channel.
pub(crate) const BATCH_MAX: usize = 512;
/// How long an append is resent after lost connections before its caller hears that the log cannot be reached.
const RESEND_MAX: Duration = Duration::from_secs(5);
/// The longest wait for a connection and for one call; beyond it the connection counts as lost.
const CALL_MAX: Duration = Duration::from_secs(3);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// One append and who waits for it.
pub(crate) struct Waiting {
    /// Boxed: it moves from hand to hand.
    pub(crate) prepared: Box<Prepared>,
    pub(crate) answer: oneshot::Sender<Result<Receipt, AppendError>>,
}

/// Calls in flight at once, each on a connection of its own: while the server works on one batch, the next is put
/// together and sent. The log's lock keeps them in order.
pub(crate) const LANES: u32 = 2;
/// A second call goes off beside another only with this many appends. Fewer wait for the answer to the first: each call
/// costs the server a fixed part and a flush to disk, whatever it holds.
const SECOND_MIN: usize = BATCH_MAX / 2;
/// But no longer than this: the other call may be stuck on a connection that nothing answers on.
const PATIENCE: Duration = Duration::from_millis(25);
/// The most events and bytes in one call, unless a single append has more: the lock is held while they are written.
const EVENTS_MAX: usize = 4096;
const BYTES_MAX: usize = 16 << 20;

pub(crate) fn spawn(log: Log, options: &PgConnectOptions) -> mpsc::Sender<Waiting> {
    let (sender, receiver) = mpsc::channel(BATCH_MAX);
    let flights = Arc::new(Flights::default());
    let gathering = Gathering { receiver, pending: VecDeque::new(), flights: flights.clone() };
    let gathering = Arc::new(Mutex::new(gathering));
    for _ in 0..LANES {
        let (gathering, flights) = (gathering.clone(), flights.clone());
        tokio::spawn(Lane { log, options: options.clone(), conn: None, gathering, flights }.run());
    }
    sender
}

/// The calls that are in flight.
#[derive(Default)]
struct Flights {
    count: AtomicUsize,
    landed: Notify,
}

/// One of them. It lands when it is dropped, however that comes.
struct Flight(Arc<Flights>);

impl Flight {
    fn take_off(flights: &Arc<Flights>) -> Self {
        flights.count.fetch_add(1, Ordering::AcqRel);
        Self(flights.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.landed.notify_one();
    }
}

/// What waits to be sent. One lane at a time gathers.
struct Gathering {
    receiver: mpsc::Receiver<Waiting>,
    pending: VecDeque<Waiting>,
    flights: Arc<Flights>,
}

impl Gathering {
    /// Whatever has gathered and can go together; waits until something should go. Empty when nobody can append any
    /// more.
    async fn next_batch(&mut self) -> Vec<Waiting> {
        let mut closed = false;
        let mut patience_until: Option<Instant> = None;
        loop {
            while self.pending.len() < BATCH_MAX
                && let Ok(waiting) = self.receiver.try_recv()
            {
                self.pending.push_back(waiting);
            }
            if closed && self.pending.is_empty() {
                return Vec::new();
            }
            let alone = self.flights.count.load(Ordering::Acquire) == 0;
            let impatient = patience_until.is_some_and(|until| until <= Instant::now());
            if self.pending.len() >= if alone || impatient { 1 } else { SECOND_MIN } {
                // Who was told that it took too long must not find it done later: what was not sent yet is dropped.
                self.pending.retain(|waiting| !waiting.answer.is_closed());
                if !self.pending.is_empty() {
                    return next_batch(&mut self.pending);
                }
                patience_until = None;
                continue;
            }
            if !self.pending.is_empty() {
                patience_until.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
            tokio::select! {
                received = self.receiver.recv(), if !closed => match received {
                    Some(waiting) => self.pending.push_back(waiting),
                    None => closed = true,
                },
                () = self.flights.landed.notified() => {}
                () = over(patience_until) => {}
            }
        }
    }
}

/// Waits until then; for ever where there is no such time.
async fn over(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

struct Lane {
    log: Log,
    options: PgConnectOptions,
    conn: Option<PgConnection>,
    gathering: Arc<Mutex<Gathering>>,
    flights: Arc<Flights>,
}

/// How a call went.
enum Called {
    Answered,
    /// The server refused the statement as a whole.
    Refused(sqlx::Error),
    /// Nobody knows whether it was carried out.
    Lost(String),
}

impl Lane {
    async fn run(mut self) {
        loop {
            let mut gathering = self.gathering.lock().await;
            let batch = gathering.next_batch().await;
            if batch.is_empty() {
                return;
            }
            // Before the other lane gathers, so that it knows.
            let flight = Flight::take_off(&self.flights);
            drop(gathering);
            metrics::histogram!("kisum_append_batch_size", "log" => self.log.name()).record(batch.len() as f64);
            let started = Instant::now();
            self.commit(batch, Instant::now() + RESEND_MAX).await;
            drop(flight);
            metrics::histogram!("kisum_append_seconds", "log" => self.log.name())
                .record(started.elapsed().as_secs_f64());
        }
    }

    /// Sends a batch until it is answered, or its time is over. Resending is safe: request ids make it the same batch.
    async fn commit(&mut self, mut batch: Vec<Waiting>, deadline: Instant) {
        let mut backoff = BACKOFF.0;
        loop {
            match self.call(&mut batch).await {
                Called::Answered => return,
                Called::Refused(error) => {
                    let shared = epoch_message(&error).map(AppendError::Epoch);
                    if shared.is_none() && batch.len() > 1 {
                        return self.commit_singly(batch, deadline).await;
                    }
                    let verdict = shared.unwrap_or_else(|| refusal(&error));
                    return answer_all(batch, &verdict);
                }
                Called::Lost(why) => {
                    self.conn = None;
                    if Instant::now() + backoff > deadline {
                        return answer_all(batch, &AppendError::Unavailable(why));
                    }
                    tracing::warn!(log = self.log.name(), reason = why, "append: connection lost, sending again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// One bad append must not cost the good ones: each gets its own verdict, as far as their common time goes.
    async fn commit_singly(&mut self, batch: Vec<Waiting>, deadline: Instant) {
        for waiting in batch {
            if Instant::now() > deadline {
                let why = "the log was too slow for what had to be sent singly".to_owned();
                answer_all(vec![waiting], &AppendError::Unavailable(why));
            } else if !waiting.answer.is_closed() {
                Box::pin(self.commit(vec![waiting], deadline)).await;
            }
        }
    }

    async fn call(&mut self, batch: &mut Vec<Waiting>) -> Called {
        if self.conn.is_none() {
            match tokio::time::timeout(CALL_MAX, PgConnection::connect_with(&self.options)).await {
                Ok(Ok(conn)) => self.conn = Some(conn),
                Ok(Err(error)) => return Called::Lost(error.to_string()),
                Err(_) => return Called::Lost("connecting took too long".to_owned()),
            }
        }
        let Some(conn) = self.conn.as_mut() else {
            return Called::Lost("no connection".to_owned());
        };
        let arrays = Arrays::new(batch.iter().map(|waiting| waiting.prepared.as_ref()));
        fail_points::point("append.before_call");
        let sending = fail_points::point_when_sent("append.call_sent", arrays.call(conn));
        let verdicts = match tokio::time::timeout(CALL_MAX, sending).await {
            Ok(Ok(verdicts)) => verdicts,
            Ok(Err(error)) if is_refusal(&error) => return Called::Refused(error),
            Ok(Err(error)) => return Called::Lost(error.to_string()),
            Err(_) => return Called::Lost("the call took too long".to_owned()),
        };
        fail_points::point("append.answer_read");
        for (index, one) in batch.drain(..).enumerate() {
            let verdict = verdicts.read(self.log, index, &one.prepared.append);
            // A caller that has gone away does not want the answer.
            let _ = one.answer.send(verdict);
        }
        Called::Answered
    }
}

/// Whether the server answered with an error about the statement, as opposed to the connection being lost or the
/// server going away under it (classes 08, 53, 57: connection, resources, operator; PostgreSQL appendix A), or the
/// log's lock not being had in time (55P03), which says nothing about any append: retried singly, each of a batch
/// would wait for it in turn, and everybody behind them.
pub(crate) fn is_refusal(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(database) => {
            let code = database.code().unwrap_or_default();
            !["08", "53", "57", "25006", "55P03"].iter().any(|class| code.starts_with(class))
        }
        None => matches!(error, sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
    }
}

/// What a refused statement means for the one append that it held.
fn refusal(error: &sqlx::Error) -> AppendError {
    match error.as_database_error() {
        // A row without a partition to go to is a violation too, of no constraint: no fault of the append.
        Some(database) if database.is_check_violation() && database.constraint().is_some() => {
            AppendError::Refused(format!("constraint {}", database.constraint().unwrap_or_default()))
        }
        Some(database) => AppendError::Unavailable(database.message().to_owned()),
        None => AppendError::Unavailable(error.to_string()),
    }
}

fn answer_all(batch: Vec<Waiting>, verdict: &AppendError) {
    for waiting in batch {
        let _ = waiting.answer.send(Err(verdict.clone()));
    }
}

/// Takes from the front of `pending` whatever can go together; what cannot keeps its place.
fn next_batch(pending: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut taken = Taken::default();
    let mut batch = Vec::with_capacity(pending.len());
    let mut rest = VecDeque::new();
    let (mut events, mut bytes) = (0_usize, 0_usize);
    while let Some(waiting) = pending.pop_front() {
        let (more_events, more_bytes) = waiting.prepared.weight();
        let fits = batch.is_empty()
            || (batch.len() < BATCH_MAX && events + more_events <= EVENTS_MAX && bytes + more_bytes <= BYTES_MAX);
        if taken.take(&waiting.prepared) && fits {
            (events, bytes) = (events + more_events, bytes + more_bytes);
            batch.push(waiting);
        } else {
            rest.push_back(waiting);
        }
    }
    *pending = rest;
    batch
}

/// What the appends of a batch touch.
#[derive(Default)]
struct Taken {
    written: HashSet<String>,
    guarded: HashSet<String>,
    claims: HashSet<String>,
    requests: HashSet<uuid::Uuid>,
}

impl Taken {
    fn take(&mut self, prepared: &Prepared) -> bool {
        let append = &prepared.append;
        let clashes = self.requests.contains(&append.request.uuid())
            || append.writes.iter().any(|write| {
                let name = write.stream.as_str();
                self.written.contains(name) || self.guarded.contains(name)
            })
            || append.guards.iter().any(|(stream, _)| self.written.contains(stream.as_str()))
            || append.claims.iter().any(|change| self.claims.contains(change.key.as_str()));
        // Also what has to wait is remembered, so that nobody behind it overtakes it on the same stream.
        self.requests.insert(append.request.uuid());
        self.written.extend(append.writes.iter().map(|write| write.stream.as_str().to_owned()));
        self.guarded.extend(append.guards.iter().map(|(stream, _)| stream.as_str().to_owned()));
        self.claims.extend(append.claims.iter().map(|change| change.key.as_str().to_owned()));
        !clashes
    }
}

#[cfg(test)]
mod tests {
    use super::{Prepared, VecDeque, Waiting, next_batch};
    use crate::append::{Append, ClaimKey, StreamWrite};
    use kisum_events::{Actor, Meta, RequestId, StreamName};
    use tokio::sync::oneshot;
    use uuid::Uuid;

    fn stream(name: &str) -> StreamName {
        StreamName::from_stored(name.to_owned())
    }

    fn waiting(request: u128, writes: &[&str], guards: &[&str], claims: &[&str]) -> Waiting {
        let request_id = RequestId::new(Uuid::from_u128(request));
        let meta = Meta::new(Actor::System, request_id);
        let mut append = Append::new(request_id, meta);
        append.writes.extend(writes.iter().map(|name| StreamWrite {
            stream: stream(name),
            expected: 0,
            person: None,
            events: Vec::new(),
            state_schema: 1,
            state: String::new(),
            sealed_state: None,
        }));
        append.guards.extend(guards.iter().map(|name| (stream(name), 0)));
        for key in claims {
            append.claim(ClaimKey::email(key), &stream("holder"));
        }
        let prepared = Prepared { append, meta: String::new(), sealed_events: Vec::new(), sealed_states: Vec::new() };
        Waiting { prepared: Box::new(prepared), answer: oneshot::channel().0 }
    }

    /// The batches that appends go in, each by its request's number.
    fn batches(appends: Vec<Waiting>) -> Vec<Vec<u128>> {
        let mut pending = VecDeque::from(appends);
        let mut batches = Vec::new();
        while !pending.is_empty() {
            let batch = next_batch(&mut pending);
            batches.push(batch.iter().map(|one| one.prepared.append.request.uuid().as_u128()).collect());
        }
        batches
    }

    #[test]
    fn independent_appends_go_together_and_a_guarded_stream_may_be_guarded_twice() {
        let found = batches(vec![waiting(1, &["a"], &["x"], &["k"]), waiting(2, &["b"], &["x"], &["l"])]);
        assert_eq!(found, [[1, 2]]);
    }

    #[test]
    fn the_same_stream_claim_or_request_waits_for_the_next_batch() {
        assert_eq!(batches(vec![waiting(1, &["a"], &[], &[]), waiting(2, &["a"], &[], &[])]), [[1], [2]]);
        assert_eq!(batches(vec![waiting(1, &["a"], &[], &["k"]), waiting(2, &["b"], &[], &["k"])]), [[1], [2]]);
        assert_eq!(batches(vec![waiting(1, &["a"], &[], &[]), waiting(1, &["b"], &[], &[])]), [[1], [1]]);
    }

    #[test]
    fn a_stream_is_never_written_by_one_append_and_guarded_by_another_of_a_batch() {
        assert_eq!(batches(vec![waiting(1, &["a"], &["b"], &[]), waiting(2, &["b"], &["a"], &[])]), [[1], [2]]);
        assert_eq!(batches(vec![waiting(1, &["a"], &[], &[]), waiting(2, &["b"], &["a"], &[])]), [[1], [2]]);
    }

    #[test]
    fn nobody_overtakes_an_append_that_waits_on_the_same_stream() {
        let found = batches(vec![
            waiting(1, &["a"], &[], &[]),
            waiting(2, &["a", "b"], &[], &[]),
            waiting(3, &["b"], &[], &[]),
            waiting(4, &["c"], &[], &[]),
        ]);
        assert_eq!(found, [vec![1, 4], vec![2], vec![3]]);
    }
}
