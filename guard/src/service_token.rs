//! Service tokens: how one service of the platform shows another who it is (`security.md` 14).
//!
//! It owns signing, checking, the route allow-list and the memory of tokens already seen. It refuses to know what a
//! route does, and never takes a person's token in place of a service's.

use crate::{
    clock::random_id,
    jws::{self, JwsError},
    problem::Problem,
    replay::{Replays, Seen},
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use kisum_events::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

const TYP: &str = "kisum-service+jwt";

/// How long a token is good, in seconds; the contract allows 60. Short, because every token is remembered until
/// then.
const LIFETIME_S: i64 = 30;
const LIFETIME_S_MAX: i64 = 60;

/// How far two machines' clocks may differ, in seconds (`security.md` 18).
const SKEW_S: i64 = 30;

/// Longest id of a token: every one is remembered, so an id is not the caller's room to fill. Ours have 32 bytes.
const JTI_LEN_MAX: usize = 64;

/// Tokens remembered at once; about 20 MB. At 60 s and 30 s of skew that is 2,900 calls a second.
const REPLAYS_MAX: usize = 262_144;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    exp: i64,
}

/// The issuer, which names the keys to try.
#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// Why a key cannot be used. It never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// It is not a PEM text of an Ed25519 private key in PKCS#8.
    #[error("the service's private key is not an Ed25519 key in PKCS#8 PEM")]
    Format,
}

/// Signs this service's own tokens.
#[derive(Clone)]
pub struct ServiceSigner {
    environment: Arc<str>,
    service: Arc<str>,
    kid: Arc<str>,
    key: Arc<Ed25519KeyPair>,
}

impl fmt::Debug for ServiceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSigner").field("service", &self.service).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl ServiceSigner {
    /// A signer for `service` in `environment`; its key is known to others as `{service}-1`.
    ///
    /// # Errors
    /// [`SigningKeyError`] when the PEM text is not an Ed25519 private key.
    pub fn new(environment: &str, service: &str, private_key_pem: &str) -> Result<Self, SigningKeyError> {
        let encoded = EncodingKey::from_ed_pem(private_key_pem.as_bytes()).map_err(|_| SigningKeyError::Format)?;
        let key = Ed25519KeyPair::from_pkcs8(encoded.as_bytes()).map_err(|_| SigningKeyError::Format)?;
        Ok(Self {
            environment: environment.into(),
            service: service.into(),
            kid: format!("{service}-1").into(),
            key: Arc::new(key),
        })
    }

    /// The same signer under another key id, while keys are rotated.
    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: kid.into(), ..self }
    }

    /// The public key as it stands in a trust file's `x`.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref())
    }

    /// A token for one request to `callee`; send it as `Authorization: Bearer`. Each is good once.
    ///
    /// `path` is the request's path; a query is left out.
    pub fn token(&self, callee: &str, method: &str, path: &str, now: Timestamp) -> String {
        let own = format!("{}/{}", self.environment, self.service);
        let claims = Claims {
            iss: own.clone(),
            sub: own,
            aud: format!("{}/{callee}", self.environment),
            jti: random_id().simple().to_string(),
            htm: method.to_owned(),
            htu: without_query(path).to_owned(),
            iat: now.seconds(),
            exp: now.seconds().saturating_add(LIFETIME_S),
        };
        let header = serde_json::json!({ "alg": "EdDSA", "typ": TYP, "kid": self.kid.as_ref() });
        let message = format!("{}.{}", encode(&header), encode(&serde_json::json!(claims)));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

fn encode(json: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The service's name, such as `finance`.
    pub service: String,
}

/// Why a trust file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is not JSON of the contract's shape.
    #[error("the trust file does not have the expected shape")]
    Shape(#[source] serde_json::Error),
    /// A public key is not 32 bytes of base64url.
    #[error("key '{kid}' of service '{service}' is not a base64url Ed25519 public key")]
    Key {
        /// Whose.
        service: String,
        /// Which.
        kid: String,
    },
    /// A route is not `METHOD /path`.
    #[error("route '{route}' of service '{service}' is not of the form 'METHOD /path'")]
    Route {
        /// Whose.
        service: String,
        /// Which.
        route: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    services: HashMap<String, TrustedService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedService {
    keys: Vec<TrustedKey>,
    #[serde(default)]
    routes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedKey {
    kid: String,
    x: String,
}

struct Trusted {
    keys: HashMap<String, DecodingKey>,
    routes: Vec<Route>,
}

/// Which services may call this one, and where.
///
/// Clones share the rules and the memory of tokens already seen. That memory is per process: a token could be
/// replayed once to each replica within its lifetime.
#[derive(Clone)]
pub struct ServiceTrust {
    environment: Arc<str>,
    audience: Arc<str>,
    callers: Arc<RwLock<HashMap<String, Trusted>>>,
    replays: Arc<Replays>,
}

impl fmt::Debug for ServiceTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTrust").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl ServiceTrust {
    /// Reads the rules of `own_service` in `environment`.
    ///
    /// # Errors
    /// [`TrustError`], naming what cannot be read.
    pub fn from_json(environment: &str, own_service: &str, json: &str) -> Result<Self, TrustError> {
        Ok(Self {
            environment: environment.into(),
            audience: format!("{environment}/{own_service}").into(),
            callers: Arc::new(RwLock::new(read_trust(json)?)),
            replays: Arc::new(Replays::new(REPLAYS_MAX)),
        })
    }

    /// Puts new rules in force everywhere this trust is shared, and keeps the memory of tokens already seen.
    ///
    /// # Errors
    /// [`TrustError`]; the old rules stay then.
    pub fn replace(&self, json: &str) -> Result<(), TrustError> {
        let callers = read_trust(json)?;
        *self.callers.write().unwrap_or_else(PoisonError::into_inner) = callers;
        Ok(())
    }

    /// Checks a service token, sent with this method and path (with or without query).
    ///
    /// `bearer` is the token, or the whole value of the `Authorization` header.
    ///
    /// # Errors
    /// 401 for whatever is not a fresh token of a known caller for this very request; 403 when the caller is known
    /// and the route is not on its list; 503 when no more tokens can be remembered.
    pub fn verify(&self, bearer: &str, method: &str, path: &str, now: Timestamp) -> Result<Caller, Problem> {
        self.check(bearer, method, without_query(path), now).map_err(|refusal| {
            metrics::counter!("kisum_service_tokens_rejected_total", "reason" => refusal.name()).increment(1);
            tracing::warn!(event = "token.rejected", kind = "service", reason = refusal.name(), method, path);
            refusal.into_problem()
        })
    }

    fn check(&self, bearer: &str, method: &str, path: &str, now: Timestamp) -> Result<Caller, Refusal> {
        let token = bearer.strip_prefix("Bearer ").unwrap_or(bearer).trim();
        let parts = jws::parse(token, TYP, &[Algorithm::EdDSA])?;
        let issuer: Issuer = parts.claims_unverified()?;
        let service = issuer
            .iss
            .strip_prefix(self.environment.as_ref())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(Refusal::Caller)?;
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = callers.get(service).ok_or(Refusal::Caller)?;
        let key = trusted.keys.get(&parts.kid).ok_or(Refusal::Caller)?;
        let claims: Claims = parts.verify(key)?;
        self.check_claims(&claims, method, path, now.seconds())?;
        if !trusted.routes.iter().any(|route| route.matches(method, path)) {
            return Err(Refusal::Route);
        }
        match self.replays.first_use(&claims.jti, claims.exp.saturating_add(SKEW_S), now.seconds()) {
            Seen::First => Ok(Caller { service: service.to_owned() }),
            Seen::Again => Err(Refusal::Replayed),
            Seen::Full => Err(Refusal::Full),
        }
    }

    fn check_claims(&self, claims: &Claims, method: &str, path: &str, now_s: i64) -> Result<(), Refusal> {
        if claims.sub != claims.iss {
            return Err(Refusal::Caller);
        }
        if claims.jti.is_empty() || claims.jti.len() > JTI_LEN_MAX {
            return Err(Refusal::Token(JwsError::Malformed));
        }
        if claims.aud != *self.audience {
            return Err(Refusal::Audience);
        }
        if claims.htm != method || claims.htu != path {
            return Err(Refusal::Request);
        }
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let fresh = claims.iat <= now_s.saturating_add(SKEW_S) && now_s < claims.exp.saturating_add(SKEW_S);
        if !(0..=LIFETIME_S_MAX).contains(&lifetime) || !fresh {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

/// Why a service token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Token(JwsError),
    Caller,
    Audience,
    Request,
    Expired,
    Replayed,
    Route,
    Full,
}

impl From<JwsError> for Refusal {
    fn from(error: JwsError) -> Self {
        Self::Token(error)
    }
}

impl Refusal {
    const fn name(self) -> &'static str {
        match self {
            Self::Token(error) => error.name(),
            Self::Caller => "caller",
            Self::Audience => "audience",
            Self::Request => "request",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::Route => "route",
            Self::Full => "full",
        }
    }

    fn into_problem(self) -> Problem {
        match self {
            Self::Route => Problem::forbidden(None, "This service may not call this route."),
            Self::Full => Problem::unavailable("Too many service calls at once."),
            Self::Token(_) | Self::Caller | Self::Audience | Self::Request | Self::Expired | Self::Replayed => {
                Problem::unauthorized("A valid service token is required.")
            }
        }
    }
}

fn read_trust(json: &str) -> Result<HashMap<String, Trusted>, TrustError> {
    let file: TrustFile = serde_json::from_str(json).map_err(TrustError::Shape)?;
    file.services.into_iter().map(|(service, given)| Ok((service.clone(), read_service(&service, given)?))).collect()
}

fn read_service(service: &str, given: TrustedService) -> Result<Trusted, TrustError> {
    let mut keys = HashMap::new();
    for key in given.keys {
        let bytes = URL_SAFE_NO_PAD.decode(&key.x).ok().filter(|bytes| bytes.len() == 32);
        let Some(bytes) = bytes else {
            return Err(TrustError::Key { service: service.to_owned(), kid: key.kid });
        };
        keys.insert(key.kid, DecodingKey::from_ed_der(&bytes));
    }
    let mut routes = Vec::new();
    for route in given.routes {
        match Route::read(&route) {
            Some(read) => routes.push(read),
            None => return Err(TrustError::Route { service: service.to_owned(), route }),
        }
    }
    Ok(Trusted { keys, routes })
}

/// One entry of an allow-list: `METHOD /path`, where a last segment `*` stands for one or more segments.
struct Route {
    method: String,
    path: String,
    open_end: bool,
}

impl Route {
    fn read(text: &str) -> Option<Self> {
        let (method, path) = text.split_once(' ')?;
        if method.is_empty() || !path.starts_with('/') {
            return None;
        }
        let (path, open_end) = path.strip_suffix('*').map_or((path, false), |prefix| (prefix, true));
        if path.contains('*') || (open_end && !path.ends_with('/')) {
            return None;
        }
        Some(Self { method: method.to_owned(), path: path.to_owned(), open_end })
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method == method
            && if self.open_end {
                path.strip_prefix(self.path.as_str()).is_some_and(|rest| !rest.is_empty())
            } else {
                self.path == path
            }
    }
}

#[cfg(test)]
#[path = "service_token_tests.rs"]
pub(crate) mod tests;
