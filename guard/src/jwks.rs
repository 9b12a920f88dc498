//! Public keys of access tokens: a fixed set, or Auth's published one, fetched when it is needed.
//!
//! It owns when to fetch (`security.md` 19). It refuses keys without a stated algorithm, and any algorithm that is
//! not on the allow-list: a key verifies its own algorithm and no other.

use crate::{
    cause::{Cause, trace_header},
    clock::{BootTime, Clock},
    jws,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Algorithms that sign access tokens (`security.md` 10).
pub(crate) const ALGORITHMS: [Algorithm; 3] = [Algorithm::PS256, Algorithm::RS256, Algorithm::EdDSA];

/// How long an unknown `kid` causes no further fetch after one that worked (`security.md` 19).
const COOL_DOWN: Duration = Duration::from_secs(30);
/// The same after one that failed: Auth may be back any moment, and nobody can be let in meanwhile.
const COOL_DOWN_FAILED: Duration = Duration::from_secs(1);
/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest key set that is read, in bytes.
const BODY_LEN_MAX: usize = 64 * 1024;
/// Smallest RSA modulus in bytes: 2048 bits.
const RSA_MODULUS_LEN_MIN: usize = 256;

/// One key and the algorithm that it verifies.
#[derive(Clone, Debug)]
pub(crate) struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// Keys by `kid`.
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<String, VerifyingKey>);

/// The text is not a key set (RFC 7517 §5).
#[derive(Debug, thiserror::Error)]
#[error("this is not a JSON Web Key Set")]
pub struct KeySetError(#[source] serde_json::Error);

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    alg: String,
    #[serde(rename = "use")]
    key_use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds or algorithms, and keys without `kid` or `alg`, are passed over, as RFC
    /// 7517 §5 asks.
    ///
    /// # Errors
    /// [`KeySetError`] when it is no key set at all.
    pub fn from_json(json: &str) -> Result<Self, KeySetError> {
        let set: JwkSet = serde_json::from_str(json).map_err(KeySetError)?;
        let readable = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self(readable.filter_map(verifying_key).collect()))
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// Whether it has a key of such a name.
    fn any(&self, is_such: impl Fn(&str) -> bool) -> bool {
        self.0.keys().any(|kid| is_such(kid))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn verifying_key(jwk: Jwk) -> Option<(String, VerifyingKey)> {
    let algorithm = ALGORITHMS.into_iter().find(|algorithm| jws::name(*algorithm) == jwk.alg)?;
    if jwk.key_use.is_some_and(|key_use| key_use != "sig") {
        return None;
    }
    let part = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
    let key = match (algorithm, jwk.kty.as_str()) {
        (Algorithm::PS256 | Algorithm::RS256, "RSA") => {
            let (n, e) = (part(jwk.n)?, part(jwk.e)?);
            (n.len() >= RSA_MODULUS_LEN_MIN).then(|| DecodingKey::from_rsa_raw_components(&n, &e))?
        }
        (Algorithm::EdDSA, "OKP") if jwk.crv.as_deref() == Some("Ed25519") => {
            let x = part(jwk.x)?;
            (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))?
        }
        _ => return None,
    };
    Some((jwk.kid, VerifyingKey { algorithm, key }))
}

/// What is known of a `kid`.
#[derive(Debug)]
pub(crate) enum Known {
    /// This key.
    Key(Box<VerifyingKey>),
    /// There is no such key.
    No,
    /// The keys could not be fetched.
    Unknown,
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Held by whoever signs: Auth itself.
    Fixed(Arc<RwLock<Arc<KeySet>>>),
    /// Published by Auth.
    Published(Arc<Published>),
}

impl Keys {
    pub(crate) async fn find(&self, kid: &str) -> Known {
        match self {
            Self::Fixed(set) => match set.read().unwrap_or_else(PoisonError::into_inner).get(kid) {
                Some(key) => Known::Key(Box::new(key.clone())),
                None => Known::No,
            },
            Self::Published(published) => published.find(kid).await,
        }
    }
}

/// Auth's published keys.
#[derive(Debug)]
pub(crate) struct Published {
    url: String,
    http: reqwest::Client,
    clock: Clock,
    held: RwLock<Held>,
    /// Whoever holds it fetches; the others wait for the outcome.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Arc<KeySet>,
    fetched: Option<Fetched>,
    /// Counts [`Published::forget`]: a fetch that began before one must not bring back what was forgotten.
    generation: u64,
}

/// The last fetch.
#[derive(Clone, Copy, Debug)]
struct Fetched {
    at: BootTime,
    worked: bool,
}

impl Fetched {
    fn cools_down(self, now: BootTime) -> bool {
        now.since(self.at) < if self.worked { COOL_DOWN } else { COOL_DOWN_FAILED }
    }
}

impl Published {
    pub(crate) fn new(auth_url: &str, http: reqwest::Client, clock: Clock) -> Self {
        Self {
            url: format!("{}/.well-known/jwks.json", auth_url.trim_end_matches('/')),
            http,
            clock,
            held: RwLock::default(),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    /// The key of that name; an unknown name causes at most one fetch per cool-down, whatever the number of callers.
    pub(crate) async fn find(&self, kid: &str) -> Known {
        if let Some(known) = self.settled(kid) {
            return known;
        }
        let _turn = self.fetching.lock().await;
        // Another caller may have fetched while this one waited for its turn.
        if let Some(known) = self.settled(kid) {
            return known;
        }
        self.fetch().await;
        self.settled(kid).unwrap_or(Known::Unknown)
    }

    /// What can be said without a fetch; `None` when one is due.
    fn settled(&self, kid: &str) -> Option<Known> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = held.keys.get(kid) {
            return Some(Known::Key(Box::new(key.clone())));
        }
        let last = held.fetched.filter(|last| last.cools_down(self.clock.boot()))?;
        Some(if last.worked { Known::No } else { Known::Unknown })
    }

    /// Fetches the keys now. What was held stays when that fails.
    pub(crate) async fn refresh(&self) {
        let _turn = self.fetching.lock().await;
        self.fetch().await;
    }

    /// Forgets all keys, so that the next token causes a fetch: a key may have been removed.
    pub(crate) fn forget(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = Held { generation: held.generation.wrapping_add(1), ..Held::default() };
    }

    /// Whether there is a key that is good by its name.
    pub(crate) fn is_ready(&self, is_good: impl Fn(&str) -> bool) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.any(is_good)
    }

    /// Whether a key of that name was fetched.
    pub(crate) fn holds(&self, kid: &str) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.get(kid).is_some()
    }

    async fn fetch(&self) {
        let generation = self.held.read().unwrap_or_else(PoisonError::into_inner).generation;
        let keys = self.download().await;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.generation != generation {
            return;
        }
        held.fetched = Some(Fetched { at: self.clock.boot(), worked: keys.is_some() });
        if let Some(keys) = keys {
            held.keys = Arc::new(keys);
        }
    }

    async fn download(&self) -> Option<KeySet> {
        // Many requests may wait for one fetch, so it is a part of none of their traces.
        let (name, trace) = trace_header(Cause::default().step());
        // Keys are fetched because they may have changed: what a cache in between still has is no answer.
        let request = self.http.get(&self.url).header(name, trace).header(header::CACHE_CONTROL, "no-cache");
        let answer = request.timeout(FETCH_TIMEOUT).send().await;
        let body = match answer.and_then(reqwest::Response::error_for_status) {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        let body = match body {
            Ok(body) if body.len() <= BODY_LEN_MAX => body,
            Ok(_) => {
                tracing::warn!(url = self.url, "the published key set is too large");
                return None;
            }
            Err(error) => {
                tracing::warn!(url = self.url, error = %error.without_url(), "the published keys cannot be fetched");
                return None;
            }
        };
        let keys = std::str::from_utf8(&body).ok().and_then(|json| KeySet::from_json(json).ok());
        if keys.as_ref().is_none_or(KeySet::is_empty) {
            tracing::warn!(url = self.url, "the published key set holds no usable key");
            return None;
        }
        keys
    }
}
