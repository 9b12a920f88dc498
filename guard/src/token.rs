//! Access tokens: who the person is, and in which session (RFC 9068).
//!
//! It owns which tokens are genuine and remembers those it has checked. It refuses to know companies, roles and
//! permissions, which no token carries, and whether the session has ended since.

use crate::{
    clock::Clock,
    jwks::{self, KeySet, Keys, Known, Published},
    jws::{self, JwsError},
    problem::Problem,
    remembered::Remembered,
};
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};
use kisum_events::{KeyId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

const TYP: &str = "at+jwt";

/// How far the signer's clock may differ from ours (`security.md` 18).
const SKEW: Duration = Duration::from_secs(30);

/// Published keys that are waited for at once; more are not published within the time that one takes to come.
const EXPECTED_MAX: usize = 16;

/// What a genuine token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The person.
    pub sub: UserId,
    /// The session that the token was issued for.
    pub sid: SessionId,
    /// The token's own id.
    pub jti: String,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends, without allowance for differing clocks.
    pub exp: Timestamp,
    /// When the person last proved who they are.
    pub auth_time: Timestamp,
    /// How well: `aal1` or `aal2`.
    pub acr: String,
}

#[derive(Deserialize)]
struct RawClaims {
    iss: String,
    aud: Audience,
    sub: UserId,
    sid: SessionId,
    jti: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    auth_time: i64,
    acr: String,
    #[serde(default, deserialize_with = "present")]
    act: bool,
}

/// One audience or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Several(names) => names.iter().any(|name| name == wanted),
        }
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

/// Why a token was refused, for logs and metrics; clients are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRefusal {
    Jws(JwsError),
    UnknownKey,
    Issuer,
    Audience,
    Expired,
    NotYet,
    Actor,
    /// The keys cannot be fetched: nothing is known about the token.
    KeysUnreachable,
}

impl From<JwsError> for TokenRefusal {
    fn from(error: JwsError) -> Self {
        Self::Jws(error)
    }
}

impl TokenRefusal {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Jws(error) => error.name(),
            Self::UnknownKey => "unknown_key",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Actor => "actor",
            Self::KeysUnreachable => "keys_unreachable",
        }
    }

    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::KeysUnreachable => Problem::unavailable("Tokens cannot be checked at the moment."),
            Self::Jws(_)
            | Self::UnknownKey
            | Self::Issuer
            | Self::Audience
            | Self::Expired
            | Self::NotYet
            | Self::Actor => Problem::unauthorized("A valid access token is required."),
        }
    }
}

/// The bearer token of a request.
///
/// # Errors
/// 401 when there is not exactly one `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(Problem::unauthorized("Send one Authorization header with a bearer token."));
    };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token.trim())
    } else {
        Err(Problem::unauthorized("Send one Authorization header with a bearer token."))
    }
}

/// Checks access tokens. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuer: Arc<str>,
    audience: Arc<str>,
    keys: Keys,
    /// Keys that were removed, wherever a key set may still have them: as many as the log ever removed.
    removed: Arc<RwLock<HashSet<String>>>,
    /// Keys that were published and may not have come yet, the latest last.
    expected: Arc<RwLock<Vec<KeyId>>>,
    remembered: Arc<RwLock<Remembered>>,
}

impl TokenVerifier {
    /// A verifier for whoever holds the keys: Auth itself.
    pub fn with_keys(issuer: &str, audience: &str, keys: KeySet) -> Self {
        Self::new(issuer, audience, Keys::Fixed(Arc::new(RwLock::new(Arc::new(keys)))))
    }

    /// A verifier that fetches Auth's published keys when it meets one it does not know.
    pub fn with_published_keys(
        issuer: &str,
        audience: &str,
        auth_url: &str,
        http: reqwest::Client,
        clock: Clock,
    ) -> Self {
        Self::new(issuer, audience, Keys::Published(Arc::new(Published::new(auth_url, http, clock))))
    }

    fn new(issuer: &str, audience: &str, keys: Keys) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            keys,
            removed: Arc::default(),
            expected: Arc::default(),
            remembered: Arc::default(),
        }
    }

    /// Checks a token and says what it claims.
    ///
    /// # Errors
    /// 401 for any defect of the token; 503 when there are no keys to check it with.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<AccessClaims>, Problem> {
        self.check(token, now).await.map_err(TokenRefusal::into_problem)
    }

    pub(crate) async fn check(&self, token: &str, now: Timestamp) -> Result<Arc<AccessClaims>, TokenRefusal> {
        if token.len() > jws::TOKEN_LEN_MAX {
            return Err(JwsError::Malformed.into());
        }
        let name = digest(&SHA256, token.as_bytes());
        let (known, generation) = {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            (remembered.get(name.as_ref()), remembered.generation())
        };
        if let Some(claims) = known {
            return if now < claims.exp.plus(SKEW) { Ok(claims) } else { Err(TokenRefusal::Expired) };
        }
        let parts = jws::parse(token, TYP, &jwks::ALGORITHMS)?;
        // Looked at behind the generation: a key that goes from here on takes what is about to be remembered with it.
        if self.is_removed(&parts.kid) {
            return Err(TokenRefusal::UnknownKey);
        }
        let key = match self.keys.find(&parts.kid).await {
            Known::Key(key) => key,
            // It is published, so that a token by it may be good.
            Known::No if self.is_expected(&parts.kid) => return Err(TokenRefusal::KeysUnreachable),
            Known::No => return Err(TokenRefusal::UnknownKey),
            Known::Unknown => return Err(TokenRefusal::KeysUnreachable),
        };
        if key.algorithm != parts.algorithm {
            return Err(JwsError::Algorithm.into());
        }
        let claims = Arc::new(self.judge(parts.verify(&key.key)?, now)?);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.generation() == generation {
            remembered.insert(name.as_ref(), Arc::clone(&claims), now.minus(SKEW));
        }
        Ok(claims)
    }

    fn judge(&self, raw: RawClaims, now: Timestamp) -> Result<AccessClaims, TokenRefusal> {
        let instant = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        if raw.act {
            return Err(TokenRefusal::Actor);
        }
        if raw.iss != *self.issuer {
            return Err(TokenRefusal::Issuer);
        }
        if !raw.aud.names(&self.audience) {
            return Err(TokenRefusal::Audience);
        }
        if now >= instant(raw.exp).plus(SKEW) {
            return Err(TokenRefusal::Expired);
        }
        if instant(raw.nbf.unwrap_or(raw.iat)) > now.plus(SKEW) {
            return Err(TokenRefusal::NotYet);
        }
        Ok(AccessClaims {
            sub: raw.sub,
            sid: raw.sid,
            jti: raw.jti,
            iat: instant(raw.iat),
            exp: instant(raw.exp),
            auth_time: instant(raw.auth_time),
            acr: raw.acr,
        })
    }

    /// Forgets checked tokens of a session that has ended.
    pub fn forget_session(&self, session: SessionId) {
        self.remembered.write().unwrap_or_else(PoisonError::into_inner).forget_session(session);
    }

    /// Forgets every checked token and every fetched key: one of the keys may be gone.
    pub fn forget_everything(&self) {
        self.remembered.write().unwrap_or_else(PoisonError::into_inner).forget_everything();
        if let Keys::Published(published) = &self.keys {
            published.forget();
        }
    }

    /// A key was removed: whatever it signed is refused from now on, and no key set brings it back.
    pub fn remove_key(&self, kid: &KeyId) {
        let is_new = self.removed.write().unwrap_or_else(PoisonError::into_inner).insert(kid.as_str().to_owned());
        if is_new {
            // Whose key checked which token is not remembered: to check the others again takes microseconds each.
            self.remembered.write().unwrap_or_else(PoisonError::into_inner).forget_everything();
        }
    }

    /// A key was published: until it has come, nothing is known about its tokens.
    pub(crate) fn expect_key(&self, kid: KeyId) {
        let mut expected = self.expected.write().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|known| *known != kid && !self.has_settled(known));
        let surplus = (expected.len() + 1).saturating_sub(EXPECTED_MAX);
        expected.drain(..surplus);
        expected.push(kid);
    }

    fn is_expected(&self, kid: &str) -> bool {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        expected.iter().any(|expected| expected.as_str() == kid)
    }

    /// Whether every key that was published has come, or is gone again.
    pub(crate) fn has_expected_keys(&self) -> bool {
        let expected = self.expected.read().unwrap_or_else(PoisonError::into_inner).clone();
        expected.iter().all(|kid| self.has_settled(kid))
    }

    fn has_settled(&self, kid: &KeyId) -> bool {
        let is_held = match &self.keys {
            Keys::Fixed(_) => true,
            Keys::Published(published) => published.holds(kid.as_str()),
        };
        is_held || self.is_removed(kid.as_str())
    }

    fn is_removed(&self, kid: &str) -> bool {
        self.removed.read().unwrap_or_else(PoisonError::into_inner).contains(kid)
    }

    /// Puts another set of held keys in force; published keys are fetched and ignore this.
    pub fn replace_keys(&self, keys: KeySet) {
        if let Keys::Fixed(held) = &self.keys {
            *held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            // What a key signed that is no longer held ends with it.
            self.remembered.write().unwrap_or_else(PoisonError::into_inner).forget_everything();
        }
    }

    /// Fetches published keys again, as is due once in a while.
    pub(crate) async fn refresh_keys(&self) {
        if let Keys::Published(published) = &self.keys {
            published.refresh().await;
        }
    }

    /// Whether there are keys to check tokens with.
    pub fn is_ready(&self) -> bool {
        match &self.keys {
            Keys::Fixed(_) => true,
            Keys::Published(published) => published.is_ready(|kid| !self.is_removed(kid)),
        }
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "token_mutations.rs"]
mod mutations;
