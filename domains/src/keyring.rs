//! The keys that sign access tokens: stream `keyring`.
//!
//! It owns a key's life: published → active → retired → removed, one active. It refuses to know private keys, and how
//! long tokens and key sets live: the caller says.

use crate::session::CLOCK_SKEW_MAX;
use kisum_events::{Aggregate, KeyId, KeyringEvent, PublicKey, SigningAlgorithm, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Keys that may be published at once: a key set is small, and every verifier fetches all of it.
pub const KEYS_MAX: usize = 16;

/// How long a process may go on signing with a key that was retired, because it has not heard of it. Without its
/// database, from which it hears, it signs nothing.
pub const SIGNS_ON_MAX: Duration = Duration::from_secs(30);

/// Where a published key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum KeyStanding {
    /// In the key set, and has signed nothing.
    Published {
        /// It may sign from here on.
        not_before: Timestamp,
    },
    /// It signs.
    Active,
    /// It signs no more.
    Retired {
        /// The last token that it signed has expired by then.
        until: Timestamp,
    },
}

/// A published key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// How it signs.
    pub alg: SigningAlgorithm,
    /// Its public half.
    pub jwk: PublicKey,
    /// Where it stands.
    pub standing: KeyStanding,
}

/// The state of the keyring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keyring {
    /// What is published: what these keys signed is good.
    pub keys: BTreeMap<KeyId, Key>,
    /// What was. Kept for ever: none of these names, and none of these keys, is ever good again.
    pub removed: BTreeMap<KeyId, Option<PublicKey>>,
}

impl Keyring {
    /// The key that signs.
    pub fn active(&self) -> Option<(&KeyId, &Key)> {
        self.keys.iter().find(|(_, key)| key.standing == KeyStanding::Active)
    }

    fn published(&self, kid: &KeyId) -> Result<&Key, KeyringError> {
        match self.keys.get(kid) {
            Some(key) => Ok(key),
            None if self.removed.contains_key(kid) => Err(KeyringError::Removed { kid: kid.clone() }),
            None => Err(KeyringError::Unknown { kid: kid.clone() }),
        }
    }

    /// The name that a key has, or had.
    fn name_of(&self, jwk: &PublicKey) -> Option<&KeyId> {
        let published = self.keys.iter().find(|(_, key)| key.jwk == *jwk);
        let removed = || self.removed.iter().find(|(_, key)| key.as_ref() == Some(jwk)).map(|(kid, _)| kid);
        published.map(|(kid, _)| kid).or_else(removed)
    }

    fn stand(&mut self, kid: &KeyId, standing: KeyStanding) {
        if let Some(key) = self.keys.get_mut(kid) {
            key.standing = standing;
        }
    }
}

impl Aggregate for Keyring {
    type Event = KeyringEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &KeyringEvent, _version: u64) {
        match event {
            KeyringEvent::Published { kid, alg, jwk, not_before } => {
                let standing = KeyStanding::Published { not_before: *not_before };
                self.keys.insert(kid.clone(), Key { alg: *alg, jwk: jwk.clone(), standing });
            }
            KeyringEvent::Activated { kid } => self.stand(kid, KeyStanding::Active),
            KeyringEvent::Retired { kid, until } => self.stand(kid, KeyStanding::Retired { until: *until }),
            KeyringEvent::Removed { kid } => {
                let jwk = self.keys.remove(kid).map(|key| key.jwk);
                self.removed.entry(kid.clone()).or_insert(jwk);
            }
        }
    }
}

/// Why the keyring was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// No key by that name.
    #[error("there is no key '{kid}'")]
    Unknown {
        /// Which.
        kid: KeyId,
    },
    /// The name was used, and nothing is ever good under it again.
    #[error("the key '{kid}' was removed; a name is never used again")]
    Removed {
        /// Which.
        kid: KeyId,
    },
    /// The name is another key's.
    #[error("another key is published as '{kid}'")]
    Taken {
        /// Which.
        kid: KeyId,
    },
    /// The key has a name, or had one.
    #[error("this key is known as '{kid}'; make another one")]
    Known {
        /// Which.
        kid: KeyId,
    },
    /// Such a key cannot sign so.
    #[error("this kind of key cannot sign {alg}")]
    CannotSign {
        /// How it was to sign.
        alg: SigningAlgorithm,
    },
    /// As many are published as may be.
    #[error("{KEYS_MAX} keys are published already; remove one that is retired")]
    TooMany,
    /// Some verifier may hold a key set without it.
    #[error("the key '{kid}' may not sign before {not_before}: verifiers may hold a key set without it until then")]
    TooEarly {
        /// Which.
        kid: KeyId,
        /// When it may.
        not_before: Timestamp,
    },
    /// It signed its last.
    #[error("the key '{kid}' is retired; publish another one")]
    Retired {
        /// Which.
        kid: KeyId,
    },
    /// It is the one that signs.
    #[error("the key '{kid}' signs; activate another one first")]
    Active {
        /// Which.
        kid: KeyId,
    },
    /// Tokens that it signed may be alive.
    #[error("tokens that the key '{kid}' signed may live until {until}")]
    StillNeeded {
        /// Which.
        kid: KeyId,
        /// Until then.
        until: Timestamp,
    },
}

/// Puts a key into the key set. The same one twice is once.
///
/// It may sign once every verifier that keeps the key set for `cached` has fetched one with it. Where no key signs,
/// which is so at the beginning and after an emergency, there is nothing to wait for: nobody would be served meanwhile,
/// and whoever meets the key fetches it.
///
/// # Errors
/// [`KeyringError`] when the name or the kind does not do, or too many are published.
pub fn publish(
    state: &Keyring,
    (kid, alg, jwk): (&KeyId, SigningAlgorithm, &PublicKey),
    cached: Duration,
    now: Timestamp,
) -> Result<Vec<KeyringEvent>, KeyringError> {
    if !jwk.signs(alg) {
        return Err(KeyringError::CannotSign { alg });
    }
    match state.published(kid) {
        Ok(known) if known.alg == alg && known.jwk == *jwk => return Ok(vec![]),
        Ok(_) => return Err(KeyringError::Taken { kid: kid.clone() }),
        Err(KeyringError::Unknown { .. }) => {}
        Err(refused) => return Err(refused),
    }
    if let Some(kid) = state.name_of(jwk) {
        return Err(KeyringError::Known { kid: kid.clone() });
    }
    if state.keys.len() >= KEYS_MAX {
        return Err(KeyringError::TooMany);
    }
    let not_before = if state.active().is_some() { now.plus(cached) } else { now };
    Ok(vec![KeyringEvent::Published { kid: kid.clone(), alg, jwk: jwk.clone(), not_before }])
}

/// Lets a published key sign, and retires the one that did, whose tokens live for `tokens_live` at most. Twice is once.
///
/// # Errors
/// [`KeyringError`] when there is no such key, it is retired, or it is too early while another one signs.
pub fn activate(
    state: &Keyring,
    kid: &KeyId,
    tokens_live: Duration,
    now: Timestamp,
) -> Result<Vec<KeyringEvent>, KeyringError> {
    let former = state.active();
    match state.published(kid)?.standing {
        KeyStanding::Active => return Ok(vec![]),
        KeyStanding::Retired { .. } => return Err(KeyringError::Retired { kid: kid.clone() }),
        KeyStanding::Published { not_before } if now < not_before && former.is_some() => {
            return Err(KeyringError::TooEarly { kid: kid.clone(), not_before });
        }
        KeyStanding::Published { .. } => {}
    }
    // Never two at once, whatever event a reader stops behind.
    let retired = former.map(|(kid, _)| KeyringEvent::Retired { kid: kid.clone(), until: needed(tokens_live, now) });
    Ok(retired.into_iter().chain([KeyringEvent::Activated { kid: kid.clone() }]).collect())
}

/// When the last token of a key has expired that is retired now.
fn needed(tokens_live: Duration, now: Timestamp) -> Timestamp {
    now.plus(tokens_live).plus(CLOCK_SKEW_MAX).plus(SIGNS_ON_MAX)
}

/// Sees to it that a key that has signed nothing never will. Twice is once.
///
/// # Errors
/// [`KeyringError`] when there is no such key, or it signs.
pub fn retire(state: &Keyring, kid: &KeyId, now: Timestamp) -> Result<Vec<KeyringEvent>, KeyringError> {
    match state.published(kid)?.standing {
        KeyStanding::Active => Err(KeyringError::Active { kid: kid.clone() }),
        KeyStanding::Retired { .. } => Ok(vec![]),
        KeyStanding::Published { .. } => Ok(vec![KeyringEvent::Retired { kid: kid.clone(), until: now }]),
    }
}

/// Whether what a key signed may still be in use when it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is not: the key is retired, and its last token has expired.
    WhenDue,
    /// Whatever is in use ends with it: somebody else may hold the private half.
    AtOnce,
}

/// Takes a key away for ever, and with it everything that it signed. Twice is once.
///
/// # Errors
/// [`KeyringError`] when there never was such a key, or it is still needed and the removal no emergency.
pub fn remove(
    state: &Keyring,
    kid: &KeyId,
    removal: Removal,
    now: Timestamp,
) -> Result<Vec<KeyringEvent>, KeyringError> {
    let standing = match state.published(kid) {
        Ok(key) => key.standing,
        Err(KeyringError::Removed { .. }) => return Ok(vec![]),
        Err(unknown) => return Err(unknown),
    };
    match (removal, standing) {
        (Removal::AtOnce, _) | (Removal::WhenDue, KeyStanding::Published { .. }) => {}
        (Removal::WhenDue, KeyStanding::Active) => return Err(KeyringError::Active { kid: kid.clone() }),
        (Removal::WhenDue, KeyStanding::Retired { until }) if now < until => {
            return Err(KeyringError::StillNeeded { kid: kid.clone(), until });
        }
        (Removal::WhenDue, KeyStanding::Retired { .. }) => {}
    }
    Ok(vec![KeyringEvent::Removed { kid: kid.clone() }])
}
