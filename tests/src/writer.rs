//! What a writer process does (`src/bin/kisum-writer.rs`), known to it and to the suites that judge what it did.
//!
//! Everything follows from a seed and a request's number, so that whoever kills a writer knows what it was about to do.

use crate::{
    counted::{Counted, Happened, append},
    seeded::Seeded,
};
use kisum_events::{RequestId, StreamName};
use kisum_log::{Append, AppendError, ClaimKey, EventLog, Receipt};
use std::{fmt::Write as _, ops::Range};
use uuid::Uuid;

/// The variable that holds the database's URL, as the run-time role.
pub const URL_VARIABLE: &str = "KISUM_WRITER_DB_URL";

/// What a writer is told to do.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Task {
    /// What everything is drawn from.
    #[arg(long)]
    pub seed: u64,
    /// The first new request's number.
    #[arg(long)]
    pub from: u64,
    /// How many new requests to make.
    #[arg(long)]
    pub count: u64,
    /// How many appends at once.
    #[arg(long)]
    pub writers: u64,
    /// How many streams they share.
    #[arg(long)]
    pub streams: u64,
    /// Requests to make again before any new one.
    #[arg(long, value_delimiter = ',')]
    pub retry: Vec<u64>,
}

impl Task {
    /// As the command line says it.
    pub fn arguments(&self) -> Vec<String> {
        let mut text = format!(
            "--seed {} --from {} --count {} --writers {} --streams {}",
            self.seed, self.from, self.count, self.writers, self.streams
        );
        for number in &self.retry {
            let _ = write!(text, " --retry {number}");
        }
        text.split(' ').map(str::to_owned).collect()
    }

    /// The new requests.
    pub const fn new_requests(&self) -> Range<u64> {
        self.from..self.from + self.count
    }
}

/// One acknowledged append, as a writer prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The request's number.
    pub number: u64,
    /// Position of its first event.
    pub first: u64,
    /// Position of its last event.
    pub last: u64,
    /// Whether it had been made before.
    pub duplicate: bool,
}

impl Acknowledged {
    /// Of a receipt.
    pub const fn new(number: u64, receipt: Receipt) -> Self {
        Self { number, first: receipt.first, last: receipt.last, duplicate: receipt.duplicate }
    }

    /// One line: number, request id, first and last position, `new` or `again`.
    pub fn line(&self, seed: u64) -> String {
        let when = if self.duplicate { "again" } else { "new" };
        format!("{} {} {} {} {when}", self.number, request(seed, self.number).uuid(), self.first, self.last)
    }

    /// Reads [`Acknowledged::line`]; none where the line is no such line.
    pub fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [number, _, first, last, when] = words.as_slice() else { return None };
        let duplicate = match *when {
            "again" => true,
            "new" => false,
            _ => return None,
        };
        Some(Self { number: number.parse().ok()?, first: first.parse().ok()?, last: last.parse().ok()?, duplicate })
    }
}

/// The id of a request.
pub fn request(seed: u64, number: u64) -> RequestId {
    RequestId::new(Uuid::from_u128((u128::from(seed) << 64) | u128::from(number)))
}

/// How many events a request makes: one to three.
pub const fn event_count(number: u64) -> u64 {
    number % 3 + 1
}

/// The stream that a request writes.
pub fn stream(task: &Task, number: u64) -> StreamName {
    let drawn = Seeded::new(task.seed ^ number.wrapping_mul(0x9e37_79b9)).below(task.streams.max(1));
    StreamName::from_stored(format!("counted-{}", Uuid::from_u128((u128::from(task.seed) << 64) | u128::from(drawn))))
}

/// Makes a request until it has a verdict that stays: where somebody else was faster on its stream, it decides anew.
///
/// # Errors
/// Any other verdict.
pub async fn make(log: &EventLog, task: &Task, number: u64) -> Result<Receipt, AppendError> {
    loop {
        match log.append(decide(log, task, number).await?).await {
            Err(AppendError::Version { .. }) => {}
            verdict => return verdict,
        }
    }
}

async fn decide(log: &EventLog, task: &Task, number: u64) -> Result<Append, AppendError> {
    let stream = stream(task, number);
    let loaded = log.load::<Counted>(&stream).await.map_err(|error| AppendError::Unavailable(error.to_string()))?;
    let mut made = append(request(task.seed, number)).with_body_hash([number.to_le_bytes()[0]; 32]);
    let events = (0..event_count(number)).map(|n| Happened::Widened { note: format!("{number}.{n}") }).collect();
    made.write(&loaded, events)?;
    if number.is_multiple_of(5) {
        made.claim(ClaimKey::email(&format!("{:016x}{number:016x}", task.seed)), &stream);
    }
    Ok(made)
}
