//! What the relay's connection to NATS is doing: an attempt that spans two connections waits for what was lost between.

use super::{ACK_MAX, Interrupted};
use async_nats::{Client, connection::State};
use std::{error::Error, sync::atomic::Ordering, time::Duration};

/// How often the connection is looked at: a small part of the second that a relay may take to resume.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until there is a connection; says which one, by number.
pub(super) async fn connected(nats: &Client) -> u64 {
    while nats.connection_state() != State::Connected {
        tokio::time::sleep(LOOK).await;
    }
    number(nats)
}

/// Waits until the connection is another than that.
pub(super) async fn renewed(nats: &Client, than: u64) {
    while number(nats) == than {
        tokio::time::sleep(LOOK).await;
    }
}

fn number(nats: &Client) -> u64 {
    nats.statistics().connects.load(Ordering::Relaxed)
}

/// Waits for the answer to a request as long as for an acknowledgement.
pub(super) async fn answered<T, E: Error>(
    what: &str,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, Interrupted> {
    let silent = || {
        let epochs = "is the stream's epoch among those of nats.conf?";
        Err(Interrupted::Silent(format!("{what}, which it also does where a right is missing: {epochs}")))
    };
    match tokio::time::timeout(ACK_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        // The client has the same limit, and which of the two is over first is chance. It has no common error for it.
        Ok(Err(error)) if super::chain(&error).contains("timed out") => silent(),
        Ok(Err(error)) => Err(Interrupted::Stream(super::chain(&error))),
        Err(_) => silent(),
    }
}
