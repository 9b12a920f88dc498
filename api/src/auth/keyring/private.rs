//! The private keys that this process was given: one in its environment, or the list in a file, read again when it
//! changes.

use crate::shared::{
    problem::Chain,
    signing_key::{KeyringFileError, SigningKey, read_keyring},
    trust::{Mark, mark},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The keys. Clones share them.
#[derive(Clone)]
pub(in crate::auth) struct PrivateKeys {
    file: Option<PathBuf>,
    held: Arc<RwLock<Vec<SigningKey>>>,
}

impl PrivateKeys {
    /// The keys of a file.
    ///
    /// # Errors
    /// [`KeyringFileError`] when it is unusable from the start.
    pub(in crate::auth) fn of_file(path: &Path) -> Result<Self, KeyringFileError> {
        let held = read_keyring(path)?;
        Ok(Self { file: Some(path.to_owned()), held: Arc::new(RwLock::new(held)) })
    }

    /// One key, for as long as the process runs.
    pub(in crate::auth) fn one(key: SigningKey) -> Self {
        Self { file: None, held: Arc::new(RwLock::new(vec![key])) }
    }

    /// The keys, in their order.
    pub(in crate::auth) fn held(&self) -> Vec<SigningKey> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What says whether the file is another one.
    pub(super) async fn mark(&self) -> Mark {
        match &self.file {
            Some(path) => mark(path).await,
            None => None,
        }
    }

    /// Reads the file again. One that has become unusable changes nothing and is reported.
    pub(super) fn reread(&self) {
        let Some(path) = &self.file else { return };
        match read_keyring(path) {
            Ok(keys) => {
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = keys;
                tracing::info!(event = "keys.reloaded", path = %path.display(), "the private keys were read again");
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the list of private keys is unusable; the former keys stay");
            }
        }
    }
}
