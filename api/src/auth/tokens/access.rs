//! Access tokens: RFC 9068 JWTs that say who and by which session, and nothing about access.

use crate::{
    auth::keyring::Keys,
    shared::{
        ambient::{self, RandomError},
        problem::{self, Problem},
        signing_key::SignError,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum_domains::session::Assurance;
use kisum_events::{SessionId, Timestamp, UserId};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Bytes of randomness in `jti`: unique within a session is all it has to be, and a token stays under 700 bytes.
const JTI_BYTES: usize = 6;

/// Why a token could not be issued.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum IssueError {
    /// No key that may sign is here.
    #[error("there is no key to sign access tokens with")]
    NoKey,
    /// Nothing to make its id of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key did not sign.
    #[error("the access token could not be signed")]
    Sign(#[from] SignError),
    /// The claims cannot be written, which is a defect.
    #[error("the access token could not be written")]
    Write(#[from] serde_json::Error),
}

impl IssueError {
    /// What the client is told.
    pub(in crate::auth) fn into_problem(self) -> Problem {
        match self {
            Self::NoKey => Problem::unavailable("Nobody can be signed in at the moment."),
            Self::Random(_) | Self::Sign(_) | Self::Write(_) => problem::of_defect(&self),
        }
    }
}

/// Issues access tokens under the key that signs at the moment.
#[derive(Clone)]
pub(in crate::auth) struct AccessTokens {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: String,
    audience: String,
    ttl: Duration,
    keys: Keys,
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
    /// Issues tokens that live for `ttl` at most.
    pub(in crate::auth) fn new(issuer: String, audience: String, ttl: Duration, keys: Keys) -> Self {
        Self { inner: Arc::new(Inner { issuer, audience, ttl, keys }) }
    }

    /// Whether a token can be issued: to be asked before something is written that ends in one.
    ///
    /// # Errors
    /// [`IssueError::NoKey`]
    pub(in crate::auth) fn can_issue(&self, now: Timestamp) -> Result<(), IssueError> {
        self.inner.keys.signer(now).map(drop).ok_or(IssueError::NoKey)
    }

    /// A token for `session`, whose person proved who they are as `assurance` says, and how long it lives: never
    /// beyond the session's own end.
    ///
    /// # Errors
    /// When no key is here, there is no randomness, or the key cannot sign, which a key that was read once does not do.
    pub(in crate::auth) fn issue(
        &self,
        user: UserId,
        session: SessionId,
        (assurance, ends_at): (Assurance, Timestamp),
        now: Timestamp,
    ) -> Result<(String, Duration), IssueError> {
        let inner = &*self.inner;
        let (signer, lives_max) = inner.keys.signer(now).ok_or(IssueError::NoKey)?;
        let lives = inner.ttl.min(ends_at.since(now)).min(lives_max);
        let claims = Claims {
            iss: &inner.issuer,
            aud: &inner.audience,
            sub: user,
            sid: session.uuid().simple().to_string(),
            jti: URL_SAFE_NO_PAD.encode(ambient::random::<JTI_BYTES>()?),
            iat: now.seconds(),
            exp: now.plus(lives).seconds(),
            auth_time: assurance.at.seconds(),
            acr: assurance.level.name(),
        };
        let mut token = format!("{}.{}", signer.header, URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims)?));
        let signature = signer.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok((token, lives))
    }

    /// Who issues.
    pub(in crate::auth) fn issuer(&self) -> &str {
        &self.inner.issuer
    }
}

#[cfg(test)]
mod tests {
    use super::AccessTokens;
    use crate::auth::keyring::tests::{AUDIENCE, ISSUER, NOW, ed25519, keys_of, rsa};
    use kisum_domains::session::{Assurance, AssuranceLevel};
    use kisum_events::{SessionId, Timestamp, UserId};
    use std::time::Duration;

    const TTL: Duration = Duration::from_secs(300);

    fn tokens(pem: &str) -> AccessTokens {
        AccessTokens::new(ISSUER.to_owned(), AUDIENCE.to_owned(), TTL, keys_of(pem))
    }

    fn ids() -> (UserId, SessionId) {
        let id = "0198c5a2-7b1e-7000-8000-000000000001";
        (id.parse().unwrap(), id.parse().unwrap())
    }

    fn issue(tokens: &AccessTokens, ends_at: Timestamp) -> (String, Duration) {
        let (user, session) = ids();
        let assurance = Assurance { level: AssuranceLevel::Aal1, at: NOW };
        tokens.issue(user, session, (assurance, ends_at), NOW).unwrap()
    }

    async fn is_accepted(tokens: &AccessTokens, token: &str) -> bool {
        let verifier = tokens.inner.keys.verifier();
        verifier.verify(token, NOW).await.is_ok_and(|claims| (claims.sub, claims.sid) == ids())
    }

    #[tokio::test]
    async fn a_token_opens_with_the_published_key_and_stays_small() {
        let tokens = tokens(&rsa());
        let (token, lives) = issue(&tokens, NOW.plus(TTL).plus(TTL));
        assert!(is_accepted(&tokens, &token).await);
        assert_eq!(lives, TTL);
        // security.md, 9.
        assert!(token.len() <= 700, "{} bytes", token.len());
    }

    #[tokio::test]
    async fn an_ed25519_key_signs_too() {
        let tokens = tokens(&ed25519());
        assert!(is_accepted(&tokens, &issue(&tokens, NOW.plus(TTL)).0).await);
    }

    #[test]
    fn a_token_never_outlives_its_session() {
        let tokens = tokens(&rsa());
        let left = Duration::from_secs(7);
        assert_eq!(issue(&tokens, NOW.plus(left)).1, left);
    }
}
