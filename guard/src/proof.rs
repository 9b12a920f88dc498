//! Asking for heads, once a second: the proofs that what is applied is current (`consistency.md`, proof).
//!
//! It owns whom to ask and how often. It refuses to judge a head; `state` does.

use crate::{auth_client::HEADS_TIMEOUT, clock::jittered, shared::Shared};
use kisum_events::{Head, Log};
use std::{sync::Arc, time::Duration};

/// Between two rounds; a lease of 5 s so survives four lost ones.
const EVERY: Duration = Duration::from_secs(1);
const JITTER_PERCENT: u32 = 20;

/// Asks for ever.
pub(crate) async fn prove(shared: Arc<Shared>) {
    loop {
        round(&shared).await;
        for log in [Log::Auth, Log::Core] {
            let age = shared.state().proof_age(log, shared.clock.boot());
            // Infinity says "never"; a gauge that stays at its last value would say "just now".
            let age_s = age.map_or(f64::INFINITY, |age| age.as_secs_f64());
            metrics::gauge!("kisum_proof_age_seconds", "log" => log.name()).set(age_s);
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(EVERY, JITTER_PERCENT)) => {}
            () = shared.prove_now.notified() => {}
        }
    }
}

/// Asks the bus for both heads, and Auth for those that the bus did not give.
async fn round(shared: &Shared) {
    let (auth, core) = tokio::join!(from_bus(shared, Log::Auth), from_bus(shared, Log::Core));
    if auth && core {
        return;
    }
    let asked = shared.clock.boot();
    match shared.source.heads().await {
        Ok(heads) => {
            for (log, head) in [(Log::Auth, heads.auth), (Log::Core, heads.core)] {
                if let Some(head) = head {
                    shared.head(log, &head, asked);
                }
            }
        }
        Err(error) => tracing::warn!(error = %error, "no head over http"),
    }
}

/// Asks the bus for one head and takes it in; says whether there was one.
async fn from_bus(shared: &Shared, log: Log) -> bool {
    let asked = shared.clock.boot();
    match request_head(shared, log).await {
        Some(head) => {
            shared.head(log, &head, asked);
            true
        }
        None => false,
    }
}

/// Asks the bus for one head.
pub(crate) async fn request_head(shared: &Shared, log: Log) -> Option<Head> {
    // The client would keep the request until it is connected again, and nobody waits for it then.
    if !shared.has_bus() {
        return None;
    }
    let request = shared.nats.request(format!("kisum.{log}.v1.head"), Vec::new().into());
    match tokio::time::timeout(HEADS_TIMEOUT, request).await {
        Ok(Ok(message)) => serde_json::from_slice(&message.payload).ok(),
        Ok(Err(error)) => {
            tracing::debug!(%log, error = %error, "no head over the bus");
            None
        }
        Err(_) => None,
    }
}
