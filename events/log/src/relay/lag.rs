//! How far the stream is behind the log: the log's head less the last position that NATS has acknowledged.
//!
//! It measures beside the publishing, so that the figure grows while there is nobody to publish to. It refuses to guess:
//! while the log cannot be read, the figure stays as it was.

use crate::read_head;
use kisum_events::{Log, Position};
use sqlx::PgPool;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often it is measured: often enough for whoever collects metrics, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(250);

/// The last position that was acknowledged, or compared with the log; 0 until the stream has been looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged(Arc<AtomicU64>);

impl Acknowledged {
    pub(super) fn set(&self, position: Position) {
        self.0.store(position, Ordering::Relaxed);
    }
}

/// Measures for ever.
pub(super) async fn report(pool: &PgPool, log: Log, acknowledged: Acknowledged) -> Infallible {
    let lag = metrics::gauge!("kisum_relay_lag_events", "log" => log.name());
    loop {
        tokio::time::sleep(EVERY).await;
        // Read before the head, so that what is acknowledged meanwhile makes the figure larger, never wrong.
        let sent = acknowledged.0.load(Ordering::Relaxed);
        if let Ok(mut conn) = pool.acquire().await
            && let Ok(head) = read_head(&mut conn).await
        {
            #[expect(clippy::cast_precision_loss, reason = "a gauge of how many wait needs no more than 52 bits")]
            lag.set(head.position.saturating_sub(sent) as f64);
        }
    }
}
