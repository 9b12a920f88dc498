//! Following one log's access events: by subscription, and over HTTP where that left a hole or is gone.
//!
//! It owns when to fetch and when to start cold; one task owns each log's sequence. It refuses to judge an event;
//! `state` does.

use crate::{
    clock::{BootTime, jittered},
    proof::request_head,
    shared::Shared,
    source::{AccessPage, PAGE_LEN, SourceError},
    state::Arrived,
};
use futures_util::StreamExt;
use kisum_events::{Cursor, Envelope, Log};
use std::{sync::Arc, time::Duration};

/// How often the follower looks whether it is behind.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the log is read over HTTP while the bus is gone.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Between two fetches while the bus is there: a head that is above what any page shows must not become a storm.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two attempts at something that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const JITTER_PERCENT: u32 = 20;

/// Why the log cannot be followed further over HTTP.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the log's pages cannot be read")]
    Ask(#[from] SourceError),
    #[error("the log's pages have a hole after {0}")]
    Hole(u64),
    /// Whoever answered stands on a history that is over: its silence about an event says nothing.
    #[error("the log's pages are of epoch {0}, which is over")]
    OlderEpoch(u32),
}

/// Whether a log goes on in the epoch that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Epoch {
    Same,
    New,
}

/// Follows for ever.
pub(crate) async fn follow(shared: Arc<Shared>, log: Log) {
    let mut subscription = subscribe(&shared, log).await;
    let mut over = 0;
    loop {
        shared.state_mut().forget(log);
        while !start_cold(&shared, log).await {
            tokio::time::sleep(jittered(AGAIN_AFTER, JITTER_PERCENT)).await;
        }
        shared.prove_now.notify_one();
        let at = shared.state().applied(log).unwrap_or_default();
        tracing::info!(%log, epoch = at.epoch, position = at.position, "following the log");
        if at.epoch <= over {
            // Who was asked does not know of the new epoch yet, and every event of it would lead here again.
            tokio::time::sleep(jittered(AGAIN_AFTER, JITTER_PERCENT)).await;
        }
        over = at.epoch;
        let hole = shared.history > 0;
        Follower { shared: &shared, log, hole, fetch_after: shared.clock.boot() }.run(&mut subscription).await;
        tracing::warn!(%log, "a new epoch began; starting cold");
    }
}

async fn subscribe(shared: &Shared, log: Log) -> async_nats::Subscriber {
    loop {
        match shared.nats.subscribe(format!("kisum.{log}.v1.access.>")).await {
            Ok(subscription) => return subscription,
            Err(error) => tracing::error!(%log, error = %error, "cannot subscribe"),
        }
        tokio::time::sleep(jittered(AGAIN_AFTER, JITTER_PERCENT)).await;
    }
}

/// Takes up a log at its end, or as far before as its history is to be known. Nothing is kept yet, so nothing before
/// needs to be known but which sessions are over.
async fn start_cold(shared: &Shared, log: Log) -> bool {
    let started = match log {
        Log::Auth => start_auth(shared).await,
        Log::Core => start_core(shared).await,
    };
    if !started {
        tracing::debug!(%log, "cannot start to follow yet");
    }
    started
}

/// The list of ended sessions says how far it goes; events above that are applied as they come.
async fn start_auth(shared: &Shared) -> bool {
    let Ok(list) = shared.source.revocations().await else { return false };
    let from = begin(shared, Log::Auth, Cursor { epoch: list.epoch, position: list.position }).await;
    // Before events are applied and leases can run: what happened up to here is not told again.
    list.removed_keys.iter().for_each(|kid| shared.tokens.remove_key(kid));
    shared.keys_changed.notify_one();
    let now = shared.clock.now();
    let mut state = shared.state_mut();
    state.start(Log::Auth, from);
    for session in list.sessions {
        state.end_session(session.sid, session.until, now);
    }
    true
}

async fn start_core(shared: &Shared) -> bool {
    let mut asked = shared.clock.boot();
    let mut head = request_head(shared, Log::Core).await;
    if head.is_none() {
        asked = shared.clock.boot();
        head = shared.source.heads().await.ok().and_then(|heads| heads.core);
    }
    let Some(head) = head else { return false };
    let from = begin(shared, Log::Core, Cursor { epoch: head.epoch, position: head.access_position }).await;
    shared.state_mut().start(Log::Core, from);
    shared.head(Log::Core, &head, asked);
    true
}

/// Where to take a log up that ends at `end`: before that, where its history is to be known. Events of an earlier epoch
/// are none of it.
async fn begin(shared: &Shared, log: Log, end: Cursor) -> Cursor {
    let back = end.position.saturating_sub(shared.history);
    if back == end.position {
        return end;
    }
    match shared.source.page(log, back).await {
        Ok(page) if page.epoch == end.epoch => {
            let before = page.events.iter().rev().find(|event| event.epoch < end.epoch).map(|event| event.position);
            Cursor { position: before.unwrap_or(back), ..end }
        }
        Ok(_) | Err(_) => end,
    }
}

struct Follower<'a> {
    shared: &'a Shared,
    log: Log,
    /// An event showed that one before it is missing.
    hole: bool,
    /// Not before then is the log read over HTTP again.
    fetch_after: BootTime,
}

impl Follower<'_> {
    /// Applies events until a new epoch begins.
    async fn run(&mut self, subscription: &mut async_nats::Subscriber) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut epoch = Epoch::Same;
        while epoch == Epoch::Same {
            epoch = tokio::select! {
                message = subscription.next() => match message {
                    Some(message) => self.received(&message.payload),
                    None => {
                        // The client ended it; heads and pages go on meanwhile.
                        *subscription = subscribe(self.shared, self.log).await;
                        Epoch::Same
                    }
                },
                () = self.shared.restart(self.log).notified() => Epoch::New,
                _ = look.tick() => self.look().await,
            };
        }
    }

    fn received(&mut self, payload: &[u8]) -> Epoch {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(payload) else {
            tracing::error!(log = %self.log, "an event on the bus cannot be read");
            self.hole = true;
            return Epoch::Same;
        };
        if envelope.log != self.log {
            return Epoch::Same;
        }
        match self.shared.event(&envelope) {
            Arrived::Applied(_) | Arrived::Old => Epoch::Same,
            Arrived::Hole => {
                self.hole = true;
                Epoch::Same
            }
            Arrived::NewEpoch | Arrived::Cold => Epoch::New,
        }
    }

    /// Reads the log over HTTP where that is due.
    async fn look(&mut self) -> Epoch {
        let now = self.shared.clock.boot();
        let due = self.hole || self.shared.state().is_behind(self.log, now) || !self.shared.has_bus();
        if !due || now < self.fetch_after {
            return Epoch::Same;
        }
        match self.fetch().await {
            Ok(epoch) => {
                self.hole = false;
                let pause = if self.shared.has_bus() { PAUSE } else { POLL_EVERY };
                self.fetch_after = self.shared.clock.boot().plus(jittered(pause, JITTER_PERCENT));
                epoch
            }
            Err(error) => {
                tracing::warn!(log = %self.log, error = %error, "cannot catch up with the log");
                self.fetch_after = self.shared.clock.boot().plus(jittered(AGAIN_AFTER, JITTER_PERCENT));
                Epoch::Same
            }
        }
    }

    /// Applies everything up to the log's end.
    async fn fetch(&self) -> Result<Epoch, FetchError> {
        loop {
            let Some(at) = self.shared.state().applied(self.log) else { return Ok(Epoch::New) };
            let AccessPage { epoch, events } = self.shared.source.page(self.log, at.position).await?;
            if epoch > at.epoch {
                return Ok(Epoch::New);
            }
            if epoch < at.epoch {
                return Err(FetchError::OlderEpoch(epoch));
            }
            let is_last = events.len() < PAGE_LEN;
            for envelope in &events {
                match self.shared.event(envelope) {
                    Arrived::Applied(_) | Arrived::Old => {}
                    Arrived::Hole => return Err(FetchError::Hole(at.position)),
                    Arrived::NewEpoch | Arrived::Cold => return Ok(Epoch::New),
                }
            }
            if is_last {
                return Ok(Epoch::Same);
            }
        }
    }
}
