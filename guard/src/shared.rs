//! What the guard's tasks and its requests share, and the few steps that touch more than one part of it.
//!
//! It owns no rule: the rules are `state`'s. It sees to it that what a log says of sessions also reaches the tokens
//! that were checked.

use crate::{
    auth_client::AuthClient,
    clock::{BootTime, Clock},
    named::Named,
    state::{Arrived, HeadSeen, State},
    token::TokenVerifier,
};
use kisum_events::{Envelope, Head, Log};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;

/// The stream of signing keys (`events.md`).
const KEYRING: &str = "keyring";

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) tokens: TokenVerifier,
    pub(crate) auth: AuthClient,
    pub(crate) nats: async_nats::Client,
    state: RwLock<State>,
    auth_restart: Notify,
    core_restart: Notify,
    /// Wakes the prover: a log was taken up and has no lease yet.
    pub(crate) prove_now: Notify,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        tokens: TokenVerifier,
        auth: AuthClient,
        nats: async_nats::Client,
        entries_max: usize,
    ) -> Self {
        Self {
            clock,
            tokens,
            auth,
            nats,
            state: RwLock::new(State::new(entries_max)),
            auth_restart: Notify::new(),
            core_restart: Notify::new(),
            prove_now: Notify::new(),
        }
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
        let now = self.clock.now();
        let arrived = self.state_mut().event(envelope, now);
        match arrived {
            Arrived::Applied(Named::EndedSession { id, .. }) => self.tokens.forget_session(id),
            // A key may be gone. Other events that name everybody leave the keys: to fetch them, Auth must be up.
            Arrived::Applied(Named::Everybody) if envelope.stream.kind() == KEYRING => self.tokens.forget_everything(),
            Arrived::Applied(Named::Company(_) | Named::Membership { .. } | Named::User(_) | Named::Everybody)
            | Arrived::Old
            | Arrived::Hole
            | Arrived::NewEpoch
            | Arrived::Cold => {}
        }
        arrived
    }

    /// Takes a head in that was asked for at `asked`.
    pub(crate) fn head(&self, log: Log, head: &Head, asked: BootTime) {
        let now = self.clock.boot();
        if self.state_mut().head(log, head, asked, now) == HeadSeen::NewEpoch {
            self.restart(log).notify_one();
        }
    }
}
