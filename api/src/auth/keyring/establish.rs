//! The first key: what this process was given to sign with is published and activated where no key ever was.
//!
//! It owns that beginning alone, however many processes start at once: the stream's version lets one of them win.

use super::PrivateKeys;
use crate::{
    auth::race,
    shared::ambient::{self, Clock},
};
use kisum_domains::{Keyring, keyring};
use kisum_events::{Actor, Aggregate as _, KeyringEvent, Meta, StreamName};
use kisum_log::{Append, AppendError, EventLog, LoadError, Loaded};
use std::time::Duration;

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum EstablishError {
    /// It cannot be read.
    #[error("the keyring cannot be read")]
    Load(#[from] LoadError),
    /// The first key cannot be written.
    #[error("the first key cannot be published")]
    Append(#[from] AppendError),
    /// It is none that the rules allow.
    #[error("the first key cannot be used")]
    Refused(#[from] keyring::KeyringError),
    /// Others keep being faster, and yet there is no key.
    #[error("the keyring keeps changing")]
    Contended,
}

/// The keyring, with a first key in it where it had none.
pub(in crate::auth) async fn establish(
    log: &EventLog,
    private: &PrivateKeys,
    clock: &Clock,
) -> Result<Loaded<Keyring>, EstablishError> {
    for _ in 0..race::ATTEMPTS_MAX {
        let loaded = log.load::<Keyring>(&StreamName::keyring()).await?;
        let held = private.held();
        // A keyring that ever had a key is its operators'.
        let (0, Some(first)) = (loaded.version, held.first()) else { return Ok(loaded) };
        let now = clock.now();
        let mut state = loaded.state.clone();
        let mut events = keyring::publish(&state, (first.kid(), first.alg(), first.public()), Duration::ZERO, now)?;
        events.iter().for_each(|event: &KeyringEvent| state.evolve(event, 0));
        events.extend(keyring::activate(&state, first.kid(), Duration::ZERO, now)?);
        let meta = Meta::new(Actor::Service("auth".to_owned()), ambient::new_request_id());
        let mut append = Append::new(meta.request_id, meta);
        append.write(&loaded, events)?;
        match log.append(append).await {
            Ok(_) | Err(AppendError::Version { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(EstablishError::Contended)
}
