//! Refresh tokens: `sid.generation.secret`, each successor derived from its predecessor, none of them stored.

use crate::shared::ambient::{self, RandomError};
use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kisum_events::SessionId;
use std::{fmt, str::FromStr, sync::Arc};

/// Bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// A refresh token in a client's hands.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::auth) struct RefreshToken {
    /// The session that it continues.
    pub(in crate::auth) session: SessionId,
    /// How many rotations came before it.
    pub(in crate::auth) generation: u32,
    secret: [u8; SECRET_BYTES],
}

/// A text that is no refresh token. It does not say what was wrong: the text is a secret, or an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub(in crate::auth) struct NotARefreshToken;

impl RefreshToken {
    /// The first token of a session, drawn at random.
    pub(in crate::auth) fn first(session: SessionId) -> Result<Self, RandomError> {
        Ok(Self { session, generation: 0, secret: ambient::random()? })
    }

    /// What is stored of it: SHA-256 of the secret, lower-case hex.
    pub(in crate::auth) fn hash(&self) -> String {
        crate::auth::lookup::hex(digest::digest(&digest::SHA256, &self.secret).as_ref())
    }

    /// The token as the client gets it.
    pub(in crate::auth) fn reveal(&self) -> String {
        format!("{}.{}.{}", self.session, self.generation, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.…", self.session, self.generation)
    }
}

impl FromStr for RefreshToken {
    type Err = NotARefreshToken;
    fn from_str(text: &str) -> Result<Self, NotARefreshToken> {
        let mut parts = text.split('.');
        let (Some(session), Some(generation), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotARefreshToken);
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| NotARefreshToken)?;
        Ok(Self {
            session: session.parse().map_err(|_| NotARefreshToken)?,
            generation: generation.parse().map_err(|_| NotARefreshToken)?,
            secret: secret.try_into().map_err(|_| NotARefreshToken)?,
        })
    }
}

/// `REFRESH_TOKEN_KEY`: derives successors, so that whoever presents a token again gets the same successor and a
/// crash between commit and answer loses nobody's session (security.md, 7).
#[derive(Clone)]
pub(in crate::auth) struct RefreshKey(Arc<hmac::Key>);

impl RefreshKey {
    /// A key of 32 bytes.
    pub(in crate::auth) fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The one successor of a token; none after 2³² rotations.
    pub(in crate::auth) fn successor(&self, token: &RefreshToken) -> Option<RefreshToken> {
        let generation = token.generation.checked_add(1)?;
        let mut context = hmac::Context::with_key(&self.0);
        context.update(token.session.uuid().as_bytes());
        context.update(&generation.to_be_bytes());
        context.update(&token.secret);
        let secret = context.sign().as_ref().try_into().ok()?;
        Some(RefreshToken { session: token.session, generation, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::{NotARefreshToken, RefreshKey, RefreshToken};
    use kisum_events::SessionId;

    fn token() -> RefreshToken {
        let session: SessionId = "0198c5a2-7b1e-7000-8000-000000000001".parse().unwrap();
        RefreshToken::first(session).unwrap()
    }

    #[test]
    fn a_token_survives_the_way_to_the_client_and_back() {
        let token = token();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(token.reveal().rsplit('.').next().unwrap()));
    }

    #[test]
    fn a_token_has_one_successor_under_one_key() {
        let (key, other, token) = (RefreshKey::new(&[7; 32]), RefreshKey::new(&[8; 32]), token());
        let successor = key.successor(&token).unwrap();
        assert_eq!(successor.generation, 1);
        assert_eq!(key.successor(&token), Some(successor.clone()));
        assert_ne!(other.successor(&token).unwrap().hash(), successor.hash());
        assert_ne!(key.successor(&successor).unwrap().hash(), successor.hash());
    }

    #[test]
    fn the_stored_hash_is_sixty_four_hexadecimal_digits() {
        let hash = token().hash();
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    }

    #[test]
    fn anything_else_is_no_refresh_token() {
        let good = token().reveal();
        for bad in ["", "a.b.c", "..", &good[1..], &format!("{good}."), &format!("{good}A"), &good.replace('.', "-")] {
            assert_eq!(bad.parse::<RefreshToken>(), Err(NotARefreshToken), "{bad}");
        }
    }
}
