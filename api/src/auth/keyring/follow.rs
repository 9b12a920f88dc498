//! Following the keyring: one row by its key, once a second and whenever an event about keys has come.
//!
//! The row is the fold of the stream, so that nothing can be missed. That a key was removed is also heard by the memory
//! that follows the log's access events, and by it alone when this fails: it tells the verifier directly.

use super::Keys;
use crate::shared::{ambient::Stopwatch, problem::Chain};
use kisum_domains::Keyring;
use kisum_events::StreamName;
use kisum_guard::Named;
use kisum_log::{EventLog, LoadError};
use std::{sync::PoisonError, time::Duration};
use tokio::sync::{broadcast, watch};

/// How often it is looked at though nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows until shutdown.
pub(in crate::auth) async fn follow(
    keys: Keys,
    log: EventLog,
    mut named: broadcast::Receiver<Named>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut files = keys.0.private.mark().await;
    let mut is_read = true;
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|end| *end) => return,
            () = heard(&mut named) => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = keys.0.private.mark().await;
        let has_other_files = now != files;
        if has_other_files {
            files = now;
            keys.0.private.reread();
        }
        match look(&keys, &log, has_other_files).await {
            Ok(()) => is_read = true,
            // Once is enough: what cannot read its database says so everywhere.
            Err(error) if is_read => {
                is_read = false;
                tracing::error!(error = %Chain(&error), "the keyring cannot be read; the keys stay as they are");
            }
            Err(_) => {}
        }
    }
}

/// Resolves when something was said about keys, or may have been.
async fn heard(named: &mut broadcast::Receiver<Named>) {
    loop {
        match named.recv().await {
            Ok(Named::Keys | Named::Everybody) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Named::Company(_) | Named::Membership { .. } | Named::User(_) | Named::EndedSession { .. }) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn look(keys: &Keys, log: &EventLog, has_other_files: bool) -> Result<(), LoadError> {
    let began = Stopwatch::start();
    let loaded = log.load::<Keyring>(&StreamName::keyring()).await?;
    let view = keys.view();
    if (view.version, &view.keyring) != (loaded.version, &loaded.state) || has_other_files {
        keys.take(loaded.version, loaded.state)
            .map_err(|error| LoadError::Stored { what: "the keyring".to_owned(), why: error.to_string() })?;
    }
    // Counted from before the reading.
    *keys.0.looked.write().unwrap_or_else(PoisonError::into_inner) = began;
    Ok(())
}
