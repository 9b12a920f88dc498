//! Access tokens: RFC 9068 JWTs that say who and by which session, and nothing about access.

use crate::shared::ambient::{self, RandomError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, EncodingKey, Header,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
use kisum_events::{SessionId, Timestamp, UserId};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// RFC 9068 §2.1: what marks an access token apart from every other JWT.
const TYPE: &str = "at+jwt";

/// Smallest RSA modulus, in bytes (security.md, 10).
const RSA_BYTES_MIN: usize = 256;

/// Bytes of randomness in `jti`: unique within a session is all it has to be, and a token stays under 700 bytes.
const JTI_BYTES: usize = 6;

/// Why the signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum KeyError {
    /// Not a PEM with an RSA or Ed25519 private key.
    #[error("JWT_PRIVATE_KEY is not the PEM of an RSA or Ed25519 private key")]
    Unreadable,
    /// An RSA key under 2048 bits.
    #[error("JWT_PRIVATE_KEY is an RSA key of fewer than 2048 bits")]
    TooShort,
}

/// Why a token could not be issued.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum IssueError {
    /// Nothing to make its id of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key did not sign.
    #[error("the access token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Issues access tokens under one key.
#[derive(Clone)]
pub(in crate::auth) struct AccessTokens {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: String,
    audience: String,
    ttl: Duration,
    header: Header,
    key: EncodingKey,
    jwks: JwkSet,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: UserId,
    /// Without hyphens: four bytes fewer, and still a UUID to every parser.
    sid: String,
    jti: String,
    iat: i64,
    exp: i64,
    auth_time: i64,
    acr: &'static str,
}

impl AccessTokens {
    /// Reads the key: RSA signs PS256, Ed25519 signs EdDSA (security.md, 10).
    pub(in crate::auth) fn new(
        issuer: String,
        audience: String,
        ttl: Duration,
        private_key_pem: &str,
        kid: String,
    ) -> Result<Self, KeyError> {
        let pem = private_key_pem.as_bytes();
        let key = EncodingKey::from_rsa_pem(pem)
            .or_else(|_| EncodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::Unreadable)?;
        let algorithm = match key.family() {
            AlgorithmFamily::Rsa => Algorithm::PS256,
            AlgorithmFamily::Ed => Algorithm::EdDSA,
            AlgorithmFamily::Hmac | AlgorithmFamily::Ec => return Err(KeyError::Unreadable),
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).map_err(|_| KeyError::Unreadable)?;
        if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
            && URL_SAFE_NO_PAD.decode(&rsa.n).map_or(0, |n| n.len()) < RSA_BYTES_MIN
        {
            return Err(KeyError::TooShort);
        }
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(algorithm);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid);
        let jwks = JwkSet { keys: vec![jwk] };
        Ok(Self { inner: Arc::new(Inner { issuer, audience, ttl, header, key, jwks }) })
    }

    /// A token for `session`, whose person proved who they are at `auth_time` with a single factor, and how long it
    /// lives: never beyond the session's own end.
    ///
    /// # Errors
    /// When there is no randomness, or the key cannot sign, which a key that was read once does not do.
    pub(in crate::auth) fn issue(
        &self,
        user: UserId,
        session: SessionId,
        (auth_time, ends_at): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<(String, Duration), IssueError> {
        let inner = &*self.inner;
        let lives = inner.ttl.min(ends_at.since(now));
        let claims = Claims {
            iss: &inner.issuer,
            aud: &inner.audience,
            sub: user,
            sid: session.uuid().simple().to_string(),
            jti: URL_SAFE_NO_PAD.encode(ambient::random::<JTI_BYTES>()?),
            iat: now.seconds(),
            exp: now.plus(lives).seconds(),
            auth_time: auth_time.seconds(),
            acr: "aal1",
        };
        Ok((jsonwebtoken::encode(&inner.header, &claims, &inner.key)?, lives))
    }

    /// Who issues.
    pub(in crate::auth) fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// The public keys that open tokens of this issuer.
    pub(in crate::auth) fn jwks(&self) -> &JwkSet {
        &self.inner.jwks
    }

    /// The algorithm in use, as JWA names it.
    pub(in crate::auth) fn algorithm(&self) -> Algorithm {
        self.inner.header.alg
    }
}

#[cfg(test)]
mod tests {
    use super::{AccessTokens, KeyError};
    use aws_lc_rs::{encoding::AsDer as _, rsa, signature::Ed25519KeyPair};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use kisum_events::{SessionId, Timestamp, UserId};
    use kisum_guard::{KeySet, TokenVerifier};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const TTL: Duration = Duration::from_secs(300);
    const ISSUER: &str = "https://auth.kisum.io";

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    fn rsa_pem(size: rsa::KeySize) -> String {
        let key = rsa::KeyPair::generate(size).unwrap();
        pem(rsa::KeyPair::as_der(&key).unwrap().as_ref())
    }

    fn tokens(pem: &str) -> Result<AccessTokens, KeyError> {
        AccessTokens::new(ISSUER.to_owned(), "kisum".to_owned(), TTL, pem, "2026-11".to_owned())
    }

    fn ids() -> (UserId, SessionId) {
        let id = "0198c5a2-7b1e-7000-8000-000000000001";
        (id.parse().unwrap(), id.parse().unwrap())
    }

    fn issue(tokens: &AccessTokens, ends_at: Timestamp) -> (String, Duration) {
        let (user, session) = ids();
        tokens.issue(user, session, (NOW, ends_at), NOW).unwrap()
    }

    async fn is_accepted(tokens: &AccessTokens, token: &str) -> bool {
        let keys = KeySet::from_json(&serde_json::to_string(tokens.jwks()).unwrap()).unwrap();
        let verifier = TokenVerifier::with_keys(ISSUER, "kisum", keys);
        verifier.verify(token, NOW).await.is_ok_and(|claims| (claims.sub, claims.sid) == ids())
    }

    #[tokio::test]
    async fn a_token_opens_with_the_published_key_and_stays_small() {
        let tokens = tokens(&rsa_pem(rsa::KeySize::Rsa2048)).unwrap();
        let (token, lives) = issue(&tokens, NOW.plus(TTL).plus(TTL));
        assert!(is_accepted(&tokens, &token).await);
        assert_eq!(lives, TTL);
        // security.md, 9.
        assert!(token.len() <= 700, "{} bytes", token.len());
    }

    #[tokio::test]
    async fn an_ed25519_key_signs_too() {
        let key = Ed25519KeyPair::generate().unwrap();
        let tokens = tokens(&pem(key.to_pkcs8v1().unwrap().as_ref())).unwrap();
        assert!(is_accepted(&tokens, &issue(&tokens, NOW.plus(TTL)).0).await);
    }

    #[test]
    fn a_token_never_outlives_its_session() {
        let tokens = tokens(&rsa_pem(rsa::KeySize::Rsa2048)).unwrap();
        let left = Duration::from_secs(7);
        assert_eq!(issue(&tokens, NOW.plus(left)).1, left);
    }

    #[test]
    fn what_is_no_private_key_signs_nothing() {
        assert!(matches!(tokens("nonsense"), Err(KeyError::Unreadable)));
        assert!(matches!(tokens(&pem(b"nonsense")), Err(KeyError::Unreadable)));
    }
}
