//! What the guard's tasks and its requests share, and the few steps that touch more than one part of it.
//!
//! It owns no rule: the rules are `state`'s. It sees to it that what a log says of sessions also reaches the tokens
//! that were checked.

use crate::{
    clock::{self, BootTime, Clock},
    follower::follow,
    named::Named,
    proof::prove,
    source::Source,
    state::{Arrived, HeadSeen, State},
    token::TokenVerifier,
};
use kisum_events::{AnyEvent, Envelope, Head, KeyringEvent, Log, Position};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::{
    sync::{Notify, broadcast},
    task::JoinSet,
};

/// The stream of signing keys (`events.md`).
const KEYRING: &str = "keyring";
/// Names kept for who is slow to act on them.
const NAMED_MAX: usize = 1024;

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) tokens: TokenVerifier,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) nats: async_nats::Client,
    state: RwLock<State>,
    auth_restart: Notify,
    core_restart: Notify,
    /// Wakes the prover: a log was taken up and has no lease yet.
    pub(crate) prove_now: Notify,
    /// How many positions before its end a log is taken up.
    pub(crate) history: Position,
    /// What applied events named, for who acts on it; whoever is slow misses some.
    pub(crate) named: broadcast::Sender<Named>,
    /// Wakes whoever fetches published keys: there may be another one.
    pub(crate) keys_changed: Notify,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        tokens: TokenVerifier,
        source: Arc<dyn Source>,
        nats: async_nats::Client,
        entries_max: usize,
    ) -> Self {
        Self {
            clock,
            tokens,
            source,
            nats,
            state: RwLock::new(State::new(entries_max)),
            auth_restart: Notify::new(),
            core_restart: Notify::new(),
            prove_now: Notify::new(),
            history: 0,
            named: broadcast::Sender::new(NAMED_MAX),
            keys_changed: Notify::new(),
        }
    }

    /// Takes logs up that many positions before their ends, to know what happened there.
    pub(crate) fn looking_back(self, history: Position) -> Self {
        Self { history, ..self }
    }

    /// Starts to follow both logs and to prove that they are followed to their ends. Dropping the tasks ends that.
    pub(crate) fn keep_current(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(Arc::clone(self), Log::Auth));
        tasks.spawn(follow(Arc::clone(self), Log::Core));
        tasks.spawn(prove(Arc::clone(self)));
        tasks
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the bus is connected.
    pub(crate) fn has_bus(&self) -> bool {
        self.nats.connection_state() == async_nats::connection::State::Connected
    }

    /// Wakes a log's follower to start cold.
    pub(crate) fn restart(&self, log: Log) -> &Notify {
        match log {
            Log::Auth => &self.auth_restart,
            Log::Core => &self.core_restart,
        }
    }

    /// Takes an event in.
    pub(crate) fn event(&self, envelope: &Envelope) -> Arrived {
        let _in_its_trace = apply_span(envelope).entered();
        let now = self.clock.now();
        let arrived = self.state_mut().event(envelope, now);
        if let Arrived::Applied(named) = arrived {
            if envelope.stream.kind() == KEYRING {
                self.key_event(envelope);
            }
            // Nobody has to listen.
            let _ = self.named.send(named);
        }
        tracing::debug!(event = "access.event", ?arrived, "an access event has arrived");
        match arrived {
            Arrived::Applied(Named::EndedSession { id, .. }) => self.tokens.forget_session(id),
            Arrived::Applied(
                Named::Company(_) | Named::Membership { .. } | Named::User(_) | Named::Keys | Named::Everybody,
            )
            | Arrived::Old
            | Arrived::Hole
            | Arrived::NewEpoch
            | Arrived::Cold => {}
        }
        arrived
    }

    /// Applies what happened to the keys that sign tokens. A published key is fetched, not believed: what comes by the
    /// bus may take a right away, never give one.
    fn key_event(&self, envelope: &Envelope) {
        match envelope.decode() {
            Ok(AnyEvent::Keyring(KeyringEvent::Removed { kid })) => self.tokens.remove_key(&kid),
            Ok(AnyEvent::Keyring(KeyringEvent::Published { kid, .. })) => {
                self.tokens.expect_key(kid);
                self.keys_changed.notify_one();
            }
            Ok(AnyEvent::Keyring(KeyringEvent::Activated { .. } | KeyringEvent::Retired { .. })) => {}
            // Of a later program: a key may be gone.
            Ok(_) | Err(_) => self.tokens.forget_everything(),
        }
    }

    /// Takes a head in that was asked for at `asked`.
    pub(crate) fn head(&self, log: Log, head: &Head, asked: BootTime) {
        let now = self.clock.boot();
        if self.state_mut().head(log, head, asked, now) == HeadSeen::NewEpoch {
            self.restart(log).notify_one();
        }
    }
}

/// The step that an event causes here, as a part of the trace that wrote it.
fn apply_span(envelope: &Envelope) -> tracing::Span {
    let Some(parent) = envelope.meta.traceparent else { return tracing::Span::none() };
    let here = parent.child(clock::new_span_id());
    tracing::error_span!(
        "apply",
        trace_id = %here.trace_id(),
        span_id = %here.span_id(),
        parent_span_id = %parent.span_id(),
        span_kind = "consumer",
        sampled = here.is_sampled(),
        log = envelope.log.name(),
        position = envelope.position,
        r#type = envelope.event_type,
    )
}
