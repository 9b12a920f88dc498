//! `GET /internal/v1/heads`: where both logs end, for guards that cannot ask over the bus.
//!
//! The relays know. When the auth log's relays do not answer, Auth reads that head itself, on the primary and behind
//! the commit barrier, as they do.

use crate::{
    auth::{Auth, peers::Peer},
    shared::{
        ambient::Stopwatch,
        extract::ApiQuery,
        problem::{Chain, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{Head, Heads, Log};
use kisum_log::LoadError;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// Longest wait for one relay; the guard gives the whole answer 400 ms (`consistency.md`, *Proof*).
const PATIENCE: Duration = Duration::from_millis(150);

/// How fresh the heads have to be.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HeadsQuery {
    /// Read after this request arrived, for routes that bear no staleness.
    #[serde(default)]
    fresh: bool,
}

/// Says where both logs end, and how old that knowledge is.
#[utoipa::path(get, path = "/internal/v1/heads", tag = "guards", params(HeadsQuery),
    responses((status = 200, description = "Each log's head; null where nobody who knows it answered.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn heads(
    State(auth): State<Auth>,
    ApiQuery(query): ApiQuery<HeadsQuery>,
) -> Result<Success<Heads>, Problem> {
    let (auth_head, core) =
        tokio::join!(auth_head(&auth, query.fresh), relayed(&auth.core_relay, Log::Core, query.fresh));
    if auth_head.is_none() && core.is_none() {
        return Err(Problem::unavailable("No log's head can be read."));
    }
    Ok(Success(Heads { auth: auth_head, core }))
}

async fn auth_head(auth: &Auth, fresh: bool) -> Option<Head> {
    if let Some(head) = relayed(&auth.auth_relay, Log::Auth, fresh).await {
        return Some(head);
    }
    // The clock is read before the head: age may only be overstated.
    let watch = Stopwatch::start();
    match own_head(auth).await {
        Ok(head) => Some(Head { age_ms: millis_up(watch.elapsed()), ..head }),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the head of the auth log cannot be read");
            None
        }
    }
}

async fn own_head(auth: &Auth) -> Result<Head, LoadError> {
    let mut conn = auth.log.pool().acquire().await?;
    let head = kisum_log::read_head_with_barrier(&mut conn).await?;
    Ok(Head { epoch: head.epoch, position: head.position, access_position: head.access_position, age_ms: 0 })
}

/// A relay's answer. The whole way there and back is added to its age: which part of it came after the reading is
/// not known.
async fn relayed(relay: &Peer, log: Log, fresh: bool) -> Option<Head> {
    let query: &[(&str, String)] = if fresh { &[("fresh", "true".to_owned())] } else { &[] };
    match relay.get::<Heads>("/internal/v1/heads", query, PATIENCE).await {
        Ok(answer) => {
            let head = match log {
                Log::Auth => answer.data.auth,
                Log::Core => answer.data.core,
            }?;
            Some(Head { age_ms: head.age_ms.saturating_add(millis_up(answer.took)), ..head })
        }
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "a relay did not say where its log ends");
            None
        }
    }
}

/// Whole milliseconds, rounded up.
fn millis_up(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::millis_up;
    use std::time::Duration;

    #[test]
    fn an_age_is_rounded_up() {
        for (micros, millis) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(millis_up(Duration::from_micros(micros)), millis);
        }
    }
}
