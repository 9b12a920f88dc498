//! The keys that sign access tokens, as this process knows them: the log's keyring, followed, and the private keys that
//! it was given.
//!
//! It owns which key signs here, and the key set that is published. It refuses to change the log's keyring, but for the
//! first key of all (`establish`); operators do that.

mod establish;
mod follow;
mod private;

pub(super) use establish::establish;
pub(super) use follow::follow;
pub(super) use private::PrivateKeys;

use crate::shared::{ambient::Stopwatch, signing_key::SigningKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum_domains::{
    Keyring,
    keyring::{Key, KeyStanding, SIGNS_ON_MAX},
    session::CLOCK_SKEW_MAX,
};
use kisum_events::{KeyId, SigningAlgorithm, Timestamp};
use kisum_guard::{KeySet, KeySetError, TokenVerifier};
use serde_json::{Map, Value, json};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// RFC 9068 §2.1: what marks an access token apart from every other JWT.
const TYPE: &str = "at+jwt";
/// Bytes of a digest in an `ETag`: enough that no two key sets share one.
const ETAG_BYTES: usize = 16;

/// A key that this process may sign with now.
#[derive(Clone)]
pub(super) struct Signer {
    /// The header of what it signs, encoded.
    pub(super) header: String,
    /// The key.
    pub(super) key: SigningKey,
    /// What it signs has to have expired by then; absent for the active key.
    pub(super) until: Option<Timestamp>,
}

/// The key set as it is published.
#[derive(Clone)]
pub(super) struct Document {
    /// The JSON.
    pub(super) body: String,
    /// Its `ETag`, quotes included.
    pub(super) etag: String,
    /// What its keys sign with.
    pub(super) algorithms: Vec<SigningAlgorithm>,
}

/// What one version of the keyring comes to here.
struct View {
    version: u64,
    keyring: Keyring,
    /// The active key first, then retired ones, the latest first; only those whose private half is here.
    signers: Vec<Signer>,
    document: Document,
    /// Keys that sign, or may some day, whose private half is not here.
    missing: u32,
}

struct Inner {
    private: PrivateKeys,
    verifier: TokenVerifier,
    view: RwLock<Arc<View>>,
    /// Since when the view is known to be the log's.
    looked: RwLock<Stopwatch>,
}

/// The keys, as of now. Clones share everything.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

impl Keys {
    /// The keys as the log has them, and the verifier that knows them.
    ///
    /// # Errors
    /// When a published key is none, which no event of ours says.
    pub(super) fn new(
        private: PrivateKeys,
        (version, keyring): (u64, Keyring),
        (issuer, audience): (&str, &str),
    ) -> Result<Self, KeySetError> {
        let document = Document::of(&keyring);
        let verifier = TokenVerifier::with_keys(issuer, audience, KeySet::from_json(&document.body)?);
        keyring.removed.keys().for_each(|kid| verifier.remove_key(kid));
        let view = View::of(version, keyring, document, &private.held());
        let keys = Self(Arc::new(Inner {
            private,
            verifier,
            view: RwLock::new(Arc::new(view)),
            looked: RwLock::new(Stopwatch::start()),
        }));
        keys.tell();
        Ok(keys)
    }

    /// What checks tokens with these keys.
    pub(super) fn verifier(&self) -> &TokenVerifier {
        &self.0.verifier
    }

    /// The key set.
    pub(super) fn document(&self) -> Document {
        self.view().document.clone()
    }

    /// The key to sign with, and how long what it signs may live. Nothing when no private key of a good one is here, or
    /// it is not known which ones are good: the log has not been read for too long.
    pub(super) fn signer(&self, now: Timestamp) -> Option<(Signer, Duration)> {
        if self.0.looked.read().unwrap_or_else(PoisonError::into_inner).elapsed() >= SIGNS_ON_MAX {
            return None;
        }
        let view = self.view();
        let lives = |signer: &Signer| match signer.until {
            None => Duration::MAX,
            // A verifier accepts it for so much longer.
            Some(until) => until.minus(CLOCK_SKEW_MAX).since(now),
        };
        let signer = view.signers.iter().find(|signer| !lives(signer).is_zero())?;
        Some((signer.clone(), lives(signer)))
    }

    /// Whether the key that signs everywhere signs here, too.
    ///
    /// # Errors
    /// A sentence for `/ready`.
    pub(super) fn ready(&self) -> Result<(), String> {
        let view = self.view();
        match view.keyring.active() {
            None => Err("no key is active, and nobody can be signed in".to_owned()),
            Some(_) if view.signers.first().is_some_and(|signer| signer.until.is_none()) => Ok(()),
            Some((kid, _)) => Err(format!("the private half of the active key '{kid}' is not here")),
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what the log says and what private keys there are.
    fn take(&self, version: u64, keyring: Keyring) -> Result<(), KeySetError> {
        let document = Document::of(&keyring);
        let verifier = &self.0.verifier;
        // Removed names first: whatever goes wrong behind this, they are refused.
        keyring.removed.keys().for_each(|kid| verifier.remove_key(kid));
        if document.etag != self.view().document.etag {
            verifier.replace_keys(KeySet::from_json(&document.body)?);
        }
        let view = View::of(version, keyring, document, &self.0.private.held());
        *self.0.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        self.tell();
        Ok(())
    }

    /// Says how it stands, loudly where a key is missing.
    fn tell(&self) {
        let view = self.view();
        let active = view.keyring.active().map_or("-", |(kid, _)| kid.as_str());
        let published = view.keyring.keys.len();
        metrics::gauge!("kisum_signing_keys_missing").set(view.missing);
        metrics::gauge!("kisum_signing_key_held").set(if self.ready().is_ok() { 1.0 } else { 0.0 });
        match self.ready() {
            Ok(()) => tracing::info!(event = "keys.changed", kid = active, published, "this key signs access tokens"),
            Err(why) => {
                tracing::error!(event = "keys.missing", kid = active, published, error = why, "see `kisum keys list`")
            }
        }
    }
}

impl View {
    fn of(version: u64, keyring: Keyring, document: Document, held: &[SigningKey]) -> Self {
        let wanted = keyring.keys.iter().filter(|(_, key)| match key.standing {
            KeyStanding::Published { .. } | KeyStanding::Active => true,
            KeyStanding::Retired { .. } => false,
        });
        let missing = wanted.filter(|(kid, key)| !held.iter().any(|held| is_half_of(held, kid, key))).count();
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        Self { version, signers: signers(&keyring, held), keyring, document, missing }
    }
}

/// Whether this is the private half of a published key. One of the same name and another public half is another key.
fn is_half_of(held: &SigningKey, kid: &KeyId, key: &Key) -> bool {
    held.kid() == kid && held.alg() == key.alg && *held.public() == key.jwk
}

/// The keys that may sign and whose private half is here.
fn signers(keyring: &Keyring, held: &[SigningKey]) -> Vec<Signer> {
    let signer = |(kid, key): (&KeyId, &Key)| {
        let until = match key.standing {
            KeyStanding::Published { .. } => return None,
            KeyStanding::Active => None,
            KeyStanding::Retired { until } => Some(until),
        };
        let header = json!({ "alg": key.alg, "kid": kid, "typ": TYPE });
        let held = held.iter().find(|held| is_half_of(held, kid, key))?.clone();
        Some(Signer { header: URL_SAFE_NO_PAD.encode(header.to_string()), key: held, until })
    };
    let mut signers: Vec<Signer> = keyring.keys.iter().filter_map(signer).collect();
    signers.sort_by_key(|signer| (signer.until.is_some(), std::cmp::Reverse(signer.until)));
    signers
}

impl Document {
    fn of(keyring: &Keyring) -> Self {
        // The one that signs first; the others by name.
        let mut keys: Vec<(&KeyId, &Key)> = keyring.keys.iter().collect();
        keys.sort_by_key(|(_, key)| key.standing != KeyStanding::Active);
        let mut algorithms = Vec::new();
        for (_, key) in &keys {
            if !algorithms.contains(&key.alg) {
                algorithms.push(key.alg);
            }
        }
        let keys: Vec<Value> = keys.into_iter().map(|(kid, key)| jwk(kid, key)).collect();
        let body = json!({ "keys": keys }).to_string();
        let hash = digest(&SHA256, body.as_bytes());
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..ETAG_BYTES).unwrap_or_default()));
        Self { body, etag, algorithms }
    }
}

fn jwk(kid: &KeyId, key: &Key) -> Value {
    let mut members = match serde_json::to_value(&key.jwk) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.insert("kid".to_owned(), json!(kid));
    members.insert("alg".to_owned(), json!(key.alg));
    members.insert("use".to_owned(), json!("sig"));
    Value::Object(members)
}

#[cfg(test)]
pub(super) mod tests;
